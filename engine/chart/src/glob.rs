//! Patterns of `.Files.Glob`: `*` and `?` stay within a folder, `**` does not; `[a-z]`, `[!a]`, `{a,b}`, `\`.

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// A pattern. One that cannot be read fits everything, as in Helm.
pub(crate) struct Glob(Option<Regex>);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Glob {
        let regex = to_regex(pattern).and_then(|regex| {
            RegexBuilder::new(&regex)
                .dot_matches_new_line(true)
                .size_limit(PATTERN_BYTES)
                .build()
                .ok()
        });
        Glob(regex)
    }

    pub(crate) fn fits(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|regex| regex.is_match(path))
    }
}

fn to_regex(pattern: &str) -> Option<String> {
    let mut regex = String::from("^(?:");
    let mut rest = pattern.chars().peekable();
    let mut groups = 0usize;
    while let Some(c) = rest.next() {
        match c {
            '*' => {
                if rest.next_if_eq(&'*').is_some() {
                    while rest.next_if_eq(&'*').is_some() {}
                    regex.push_str(".*");
                } else {
                    regex.push_str("[^/]*");
                }
            }
            '?' => regex.push_str("[^/]"),
            '{' => {
                groups += 1;
                regex.push_str("(?:");
            }
            '}' if groups > 0 => {
                groups -= 1;
                regex.push(')');
            }
            ',' if groups > 0 => regex.push('|'),
            '[' => {
                regex.push('[');
                if rest.next_if_eq(&'!').is_some() {
                    regex.push('^');
                }
                let mut inside = Vec::new();
                loop {
                    match rest.next()? {
                        ']' => break,
                        '\\' => inside.push(rest.next()?),
                        c => inside.push(c),
                    }
                }
                if inside.is_empty() {
                    return None;
                }
                // A range has three characters; otherwise a hyphen is one of the list.
                let is_range = inside.len() == 3 && inside[1] == '-';
                for (index, c) in inside.into_iter().enumerate() {
                    match is_range && index == 1 {
                        true => regex.push('-'),
                        false => regex.push_str(&regex::escape(&c.to_string())),
                    }
                }
                regex.push(']');
            }
            '\\' => regex.push_str(&regex::escape(&rest.next()?.to_string())),
            c => regex.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex.push_str(")$");
    (groups == 0).then_some(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_helm() {
        for (pattern, path, fits) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("**.txt", "d/a.txt", true),
            ("conf/*", "conf/a", true),
            ("conf/**", "conf/a/b", true),
            ("conf/**/x", "conf/x", false),
            ("{a,b[cd]}.x", "bd.x", true),
            ("[!a-c]x", "dx", true),
            ("[!a-c]x", "bx", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("[", "anything", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).fits(path), fits, "{pattern} {path}");
        }
    }
}
