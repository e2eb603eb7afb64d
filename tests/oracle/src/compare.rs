//! Theirs beside ours.

use crate::{Answer, Built};

/// How two builds of one directory compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same text.
    Pass,
    /// Both refuse.
    BothFail,
    /// Ours asks for something from the network.
    Remote,
    /// Only ours refuses; with our error.
    OursFails(String),
    /// Only theirs refuses; with their error.
    TheirsFails(String),
    /// Theirs panics, which says nothing about what is right.
    TheirsCrashes,
    /// The same objects in another order; with the first difference.
    Order(String),
    /// Other text; with the first difference.
    Different(String),
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        matches!(
            self,
            Verdict::Pass | Verdict::BothFail | Verdict::Remote | Verdict::TheirsCrashes
        )
    }

    /// In one or two words.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::BothFail => "both fail",
            Verdict::Remote => "remote",
            Verdict::OursFails(_) => "ours fails",
            Verdict::TheirsFails(_) => "theirs fails",
            Verdict::TheirsCrashes => "theirs crashes",
            Verdict::Order(_) => "order",
            Verdict::Different(_) => "different",
        }
    }

    /// What differs.
    pub fn detail(&self) -> &str {
        match self {
            Verdict::Pass | Verdict::BothFail | Verdict::Remote | Verdict::TheirsCrashes => "",
            Verdict::OursFails(text) | Verdict::TheirsFails(text) | Verdict::Order(text) | Verdict::Different(text) => {
                text
            }
        }
    }
}

/// Compares two builds of one directory.
pub fn compare(ours: &Built, theirs: &Answer) -> Verdict {
    match (ours, &theirs.result) {
        (Built::Remote, _) => Verdict::Remote,
        (Built::Failed(_), Err(_)) => Verdict::BothFail,
        (Built::Failed(ours), Ok(_)) => Verdict::OursFails(format!("    {ours}")),
        (Built::Text(_), Err(theirs)) if theirs.starts_with("panic: ") => Verdict::TheirsCrashes,
        (Built::Text(_), Err(theirs)) => {
            Verdict::TheirsFails(format!("    {}", theirs.chars().take(600).collect::<String>()))
        }
        (Built::Text(ours), Ok(theirs)) if ours == theirs => Verdict::Pass,
        (Built::Text(ours), Ok(theirs)) => {
            let documents = |text: &str| {
                let mut list: Vec<String> = text.split("\n---\n").map(|d| d.trim().to_owned()).collect();
                list.sort();
                list
            };
            let difference = difference(theirs, ours);
            if documents(ours) == documents(theirs) {
                Verdict::Order(difference)
            } else {
                Verdict::Different(difference)
            }
        }
    }
}

/// The first lines that differ, `-` theirs and `+` ours.
fn difference(theirs: &str, ours: &str) -> String {
    let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.lines().collect(), ours.lines().collect());
    let first = theirs.iter().zip(&ours).take_while(|(a, b)| a == b).count();
    let mut out = String::new();
    let start = theirs[..first]
        .iter()
        .rposition(|line| *line == "---")
        .map_or(0, |line| line + 1);
    let names = ["kind: ", "  name: ", "  namespace: "];
    let head = theirs[start..].iter().take_while(|line| **line != "---");
    for line in head.filter(|line| names.iter().any(|name| line.starts_with(name))) {
        out.push_str(&format!("    | {line}\n"));
    }
    for line in &theirs[first.saturating_sub(4)..first] {
        out.push_str(&format!("      {line}\n"));
    }
    for (sign, lines) in [('-', &theirs), ('+', &ours)] {
        for line in lines.iter().skip(first).take(5) {
            let line: String = line.chars().take(160).collect();
            out.push_str(&format!("    {sign} {line}\n"));
        }
    }
    out
}
