//! `nave envsubst`: post-build substitution of standard input with the variables of the environment.

use std::io::Write;

use anyhow::{Context, Result};
use nave_substitute::{Variables, expand};

use crate::failure::advised;

/// Substitute variables of the environment in what is read from standard input
///
/// With the syntax and functions of spec.postBuild of a Kustomization.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  nave envsubst < manifests.yaml | kubectl apply -f -
  nave build kustomization ./apps | cluster=eu-1 nave envsubst --strict")]
pub struct Arguments {
    /// Fail on a variable that is not set and has no default
    #[arg(long)]
    strict: bool,
}

/// Prints the text as it was read. Nothing is printed when any expression of it fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut variables = Variables::new();
    for (name, value) in std::env::vars_os() {
        if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
            variables.set_as_is(name, value);
        }
    }
    let text = std::io::read_to_string(std::io::stdin().lock()).context("reading standard input")?;
    let text = substitute(&text, &variables, arguments.strict)?;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// The whole text at once: a default value may go over several lines, and the last line keeps its end.
fn substitute(text: &str, variables: &Variables, strict: bool) -> Result<String> {
    expand(text, variables, strict)
        .map_err(|error| advised(error.to_string(), "what should stay as it is is written $${…}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, strict: bool, wanted: Result<&str, &str>) {
        let mut variables = Variables::new();
        variables.set_as_is("name", "web");
        variables.set_as_is("lines", "a\nb");
        let found = substitute(text, &variables, strict).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), wanted, "{text}");
    }

    #[test]
    fn text_is_substituted_and_otherwise_kept() {
        check("a: ${name}\r\nb: ${none:-x}", false, Ok("a: web\r\nb: x"));
        check("a: $name $${name}\n\n", false, Ok("a: $name ${name}\n\n"));
        check("${lines}\n", false, Ok("a\nb\n"));
        check("${none}|\n", false, Ok("|\n"));
        check("${none:-two\nlines}", false, Ok("two\nlines"));
        check(
            "a\n${none}\n",
            true,
            Err("variable \"none\" is not set and has no default"),
        );
        check("", true, Ok(""));
    }

    #[test]
    fn an_open_expression_is_named_with_its_line() {
        let error = substitute("a\nb ${name\n}\n", &Variables::new(), false).unwrap_err();
        assert!(error.to_string().contains("(line 2)"), "{error}");
    }
}
