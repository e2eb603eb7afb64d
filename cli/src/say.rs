//! Messages for people, to stderr. The glyphs are those of `flux`.

use anstream::eprintln;
use owo_colors::OwoColorize;

/// Something begins.
pub fn action(text: &str) {
    eprintln!("{} {text}", "►".cyan());
}

/// Something is being made.
pub fn generating(text: &str) {
    eprintln!("{} {text}", "✚".cyan());
}

/// Something is waited for.
pub fn waiting(text: &str) {
    eprintln!("{} {text}", "◎".cyan());
}

/// Something is done.
pub fn success(text: &str) {
    eprintln!("{} {text}", "✔".green());
}

/// Something is not as it should be.
pub fn warning(text: &str) {
    eprintln!("{} {text}", "⚠️".yellow());
}

/// Something failed.
pub fn failure(text: &str) {
    eprintln!("{} {text}", "✗".red());
}

/// What the reader can do.
pub fn hint(text: &str) {
    eprintln!("{} {text}", "hint:".bold());
}

/// A detail under one of the above.
pub fn detail(text: &str) {
    eprintln!("  {text}");
}
