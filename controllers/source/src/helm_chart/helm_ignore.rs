//! Which files of a chart's folder stay out of its package (`.helmignore`).
//!
//! The rules are Helm's and not gitignore's: a pattern matches the whole path when it has a slash, else the last part of
//! it; the first pattern that excludes decides; `!` excludes what does *not* match; there is no `**`.

use globset::{GlobBuilder, GlobMatcher};

/// The file that carries the patterns.
pub(crate) const FILE_NAME: &str = ".helmignore";
/// Hidden files of templates are left out always.
const DEFAULT: &str = "templates/.?*";

/// The patterns of one chart.
#[derive(Debug)]
pub(crate) struct HelmIgnore {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    glob: GlobMatcher,
    is_negated: bool,
    is_for_directories: bool,
    is_for_paths: bool,
}

impl HelmIgnore {
    /// Reads the text of a `.helmignore`.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for line in text.trim_start_matches('\u{feff}').lines().chain([DEFAULT]) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.contains("**") {
                return Err(format!("{FILE_NAME}: double-star (**) syntax is not supported"));
            }
            let (is_negated, rest) = match line.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            let (is_for_directories, rest) = match rest.strip_suffix('/') {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            let (is_for_paths, rest) = match rest.strip_prefix('/') {
                Some(rest) => (true, rest),
                None => (rest.contains('/'), rest),
            };
            // Go knows no alternatives.
            let escaped = rest.replace('{', "[{]").replace('}', "[}]");
            let glob = GlobBuilder::new(&escaped)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| format!("{FILE_NAME}: pattern '{line}': {}", error.kind()))?;
            patterns.push(Pattern {
                glob: glob.compile_matcher(),
                is_negated,
                is_for_directories,
                is_for_paths,
            });
        }
        Ok(HelmIgnore { patterns })
    }

    /// Whether the file is left out, or a directory above it.
    pub fn excludes(&self, path: &str) -> bool {
        path.match_indices('/')
            .any(|(at, _)| self.excludes_one(&path[..at], true))
            || self.excludes_one(path, false)
    }

    fn excludes_one(&self, path: &str, is_directory: bool) -> bool {
        for pattern in &self.patterns {
            let name = if pattern.is_for_paths {
                path
            } else {
                path.rsplit('/').next().unwrap_or(path)
            };
            let matches = pattern.glob.is_match(name);
            if pattern.is_negated {
                if (pattern.is_for_directories && !is_directory) || !matches {
                    return true;
                }
            } else if matches && (is_directory || !pattern.is_for_directories) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rules: &str, kept: &[&str], excluded: &[&str]) {
        let ignore = HelmIgnore::new(rules).unwrap();
        for path in kept {
            assert!(!ignore.excludes(path), "{path} should be kept");
        }
        for path in excluded {
            assert!(ignore.excludes(path), "{path} should be excluded");
        }
    }

    #[test]
    fn helm_s_rules() {
        check(
            "",
            &["Chart.yaml", ".a", "templates/a"],
            &["templates/.a", "templates/.b/c"],
        );
        check("# note\n*.txt\n", &["a.yaml", "txt"], &["a.txt", "x/y/a.txt"]);
        check("/a.txt\n", &["x/a.txt"], &["a.txt"]);
        check("x/*.txt\n", &["a.txt", "y/x/a.txt", "x/y/a.txt"], &["x/a.txt"]);
        check("docs/\n", &["docs"], &["docs/a", "x/docs/a"]);
        check("{a}\n", &["a"], &["{a}"]);
        check("[a-c]\n", &["d"], &["a", "x/b"]);
        check("!a\n", &["a"], &["b"]);
        assert!(HelmIgnore::new("a/**\n").is_err());
        assert!(HelmIgnore::new("[a\n").is_err());
    }
}
