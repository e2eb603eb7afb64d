//! `.helmignore`.

use super::pattern::{self, matches};

/// The rules of a `.helmignore`, and the one that always holds: `templates/.?*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: String,
    /// What does *not* match is ignored, which is how Helm reads `!`.
    negated: bool,
    folders_only: bool,
    /// Without a slash, only the last part of a path is looked at.
    base_only: bool,
}

/// A line of `.helmignore` that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem} in {rule:?}")]
pub struct IgnoreError {
    /// The line, from 1.
    pub line: usize,
    /// What it says.
    pub rule: String,
    /// What is wrong.
    pub problem: &'static str,
}

impl Default for IgnoreRules {
    fn default() -> IgnoreRules {
        IgnoreRules {
            rules: vec![Rule::new("templates/.?*")],
        }
    }
}

impl IgnoreRules {
    /// Reads a `.helmignore`.
    ///
    /// # Errors
    /// `**`, which Helm does not know, and brackets without an end.
    pub fn parse(text: &str) -> Result<IgnoreRules, IgnoreError> {
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let rule = line.trim();
            if rule.is_empty() || rule.starts_with('#') {
                continue;
            }
            let refuse = |problem| {
                Err(IgnoreError {
                    line: index + 1,
                    rule: rule.to_owned(),
                    problem,
                })
            };
            if rule.contains("**") {
                return refuse("double-star (**) syntax is not supported");
            }
            if !pattern::is_valid(rule) {
                return refuse("syntax error in pattern");
            }
            rules.push(Rule::new(rule));
        }
        rules.extend(IgnoreRules::default().rules);
        Ok(IgnoreRules { rules })
    }

    /// Whether a file is left out, by a rule for it or for a folder that it is in.
    pub fn is_ignored(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        folders.into_iter().any(|folder| self.decides(folder, true)) || self.decides(path, false)
    }

    /// Whether nothing of a folder is looked at, by a rule for it itself.
    pub fn is_folder_ignored(&self, path: &str) -> bool {
        self.decides(path, true)
    }

    fn decides(&self, path: &str, is_folder: bool) -> bool {
        for rule in &self.rules {
            let fits = || {
                let path = match rule.base_only {
                    true => path.rsplit('/').next().unwrap_or(path),
                    false => path,
                };
                matches(&rule.pattern, path)
            };
            match rule.negated {
                true if (rule.folders_only && !is_folder) || !fits() => return true,
                false if (is_folder || !rule.folders_only) && fits() => return true,
                _ => {}
            }
        }
        false
    }
}

impl Rule {
    fn new(rule: &str) -> Rule {
        let (negated, rule) = rule.strip_prefix('!').map_or((false, rule), |rest| (true, rest));
        let (folders_only, rule) = rule.strip_suffix('/').map_or((false, rule), |rest| (true, rest));
        let (rooted, rule) = rule.strip_prefix('/').map_or((false, rule), |rest| (true, rest));
        Rule {
            base_only: !rooted && !rule.contains('/'),
            pattern: rule.to_owned(),
            negated,
            folders_only,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_mean_what_they_mean_to_helm() {
        for (rules, path, ignored) in [
            ("", "templates/.hidden", true),
            ("", "templates/.d/x.yaml", true),
            ("", "templates/a.yaml", false),
            ("*.txt", "a/b/c.txt", true),
            ("*.txt", "a.txt/b", true),
            ("/*.txt", "a/c.txt", false),
            ("/*.txt", "c.txt", true),
            ("a/*.txt", "a/c.txt", true),
            ("a/*.txt", "a/b/c.txt", false),
            ("docs/", "docs/a.md", true),
            ("docs/", "docs", false),
            ("# c\n\n  x  ", "x", true),
            ("!*.yaml", "a.txt", true),
            ("!*.yaml", "a.yaml", false),
            ("[a-c]?.md", "b1.md", true),
        ] {
            let rules = IgnoreRules::parse(rules).unwrap();
            assert_eq!(rules.is_ignored(path), ignored, "{rules:?} {path}");
        }
        let error = IgnoreRules::parse("a\nb/**\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: double-star (**) syntax is not supported in \"b/**\"");
        assert!(IgnoreRules::parse("[a").is_err());
    }
}
