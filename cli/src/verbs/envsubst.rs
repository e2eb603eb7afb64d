//! `nave envsubst`: post-build substitution of standard input with the variables of the environment.

use std::io::{BufRead, Write};

use anyhow::{Context, Result};
use nave_substitute::{Variables, expand};

use crate::failure::advised;

/// Substitute variables of the environment in what is read from standard input
///
/// Line by line, with the syntax and functions of spec.postBuild of a Kustomization.
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

/// Prints each line as it was read.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut variables = Variables::new();
    for (name, value) in std::env::vars_os() {
        if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
            variables.set_as_is(name, value);
        }
    }
    let stdin = std::io::stdin().lock();
    substitute(stdin, &mut std::io::stdout().lock(), &variables, arguments.strict)
}

fn substitute(from: impl BufRead, to: &mut impl Write, variables: &Variables, strict: bool) -> Result<()> {
    for (place, line) in from.lines().enumerate() {
        let line = line.with_context(|| format!("reading line {} of standard input", place + 1))?;
        let text = expand(&line, variables, strict).map_err(|error| {
            let hint = "what should stay as it is is written $${…}";
            advised(format!("line {}: {error}", place + 1), hint)
        })?;
        writeln!(to, "{text}")?;
    }
    to.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, strict: bool, wanted: Result<&str, &str>) {
        let mut variables = Variables::new();
        variables.set_as_is("name", "web");
        variables.set_as_is("lines", "a\nb");
        let mut out = Vec::new();
        let found = substitute(text.as_bytes(), &mut out, &variables, strict).map_err(|error| error.to_string());
        let out = String::from_utf8(out).expect("it is text");
        assert_eq!(found.map(|()| out.as_str()), wanted.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn lines_are_substituted_one_by_one() {
        check("a: ${name}\r\nb: ${none:-x}", false, Ok("a: web\nb: x\n"));
        check("a: $name $${name}\n\n", false, Ok("a: $name ${name}\n\n"));
        check("${lines}\n", false, Ok("a\nb\n"));
        check("${none}|\n", false, Ok("|\n"));
        check(
            "a\n${none}\n",
            true,
            Err("line 2: variable \"none\" is not set and has no default"),
        );
        check("", true, Ok(""));
    }

    #[test]
    fn an_expression_ends_in_its_line() {
        let mut out = Vec::new();
        let error = substitute("a\nb ${name\n}\n".as_bytes(), &mut out, &Variables::new(), false).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "), "{error}");
        assert_eq!(out, b"a\n");
    }
}
