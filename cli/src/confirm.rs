//! Questions before something that cannot be undone.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Result;

use crate::failure::advised;

/// Asks for a yes. Anything else ends the command.
///
/// Without a terminal there is nobody to ask, so the answer has to be given on the command line with `flag`.
pub fn confirm(question: &str, flag: &str) -> Result<()> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(advised(
            format!("{question}: nobody to ask, standard input is not a terminal"),
            format!("say yes beforehand with {flag}"),
        ));
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "{question}? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if is_yes(&answer) {
        Ok(())
    } else {
        Err(anyhow::anyhow!("cancelled; nothing was changed"))
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_clear_yes_counts() {
        for (answer, yes) in [
            ("y\n", true),
            ("YES", true),
            ("", false),
            ("n", false),
            ("yy", false),
            ("\n", false),
        ] {
            assert_eq!(super::is_yes(answer), yes, "{answer:?}");
        }
    }
}
