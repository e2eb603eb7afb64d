//! The last things that an action did, for the event that tells of its failure.

use std::collections::VecDeque;

/// Lines that are kept.
const LINES: usize = 10;
/// A longer line is cut; logs of hooks may hold anything.
const LONGEST: usize = 300;

/// The last lines.
#[derive(Debug, Default)]
pub(crate) struct Notes(VecDeque<String>);

impl Notes {
    pub fn add(&mut self, line: impl Into<String>) {
        let line: String = line.into();
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        tracing::debug!(line, "helm");
        if self.0.len() == LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.chars().take(LONGEST).collect());
    }

    /// What is added to an event; nothing when there is nothing to say.
    pub fn for_event(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let lines: Vec<&str> = self.0.iter().map(String::as_str).collect();
        format!("\n\nLast Helm logs:\n\n{}", lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_long_ones_cut() {
        let mut notes = Notes::default();
        assert_eq!(notes.for_event(), "");
        notes.add("");
        for number in 0..12 {
            notes.add(format!("line {number}\n"));
        }
        notes.add("é".repeat(1000));
        let text = notes.for_event();
        assert!(text.starts_with("\n\nLast Helm logs:\n\nline 3\nline 4\n"), "{text}");
        assert!(text.ends_with(&format!("\n{}", "é".repeat(LONGEST))), "{text}");
    }
}
