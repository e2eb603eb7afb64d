//! `nave docgen`: the command line reference, from the command line itself.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{output, reference, say};

/// Write the reference of the command line
#[derive(Debug, Clone, clap::Args)]
#[command(hide = true)]
pub struct Arguments {
    /// File to write; standard output when not given
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
}

/// Writes Markdown.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(path) = &arguments.path else {
        return output::print_text(&reference());
    };
    std::fs::write(path, reference()).with_context(|| format!("writing {}", path.display()))?;
    say::success(&format!("{} written", path.display()));
    Ok(())
}
