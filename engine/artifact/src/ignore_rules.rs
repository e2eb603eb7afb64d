//! Which files of a source are left out (`.sourceignore` and `spec.ignore`).
//!
//! Rules are read as Flux reads them (fluxcd/pkg sourceignore, go-git 5 gitignore): gitignore syntax, one list from
//! the root's file through those of deeper directories to `spec.ignore`, and the *last rule that matches the path or
//! any directory above it* decides. That differs from git, where nothing below an excluded directory comes back:
//! `/*` followed by `!/deploy` keeps `deploy`, and `*.md` followed by `!/docs` keeps `docs/a.md`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

/// The file that carries rules, in the root and in every directory.
pub const FILE_NAME: &str = ".sourceignore";

const VCS: &str = ".git/ .gitignore .gitmodules .gitattributes";
const EXTENSIONS: &str = "*.jpg *.jpeg *.gif *.png *.wmv *.flv *.tar.gz *.zip";
const CI: &str = ".github/ .circleci/ .travis.yml .gitlab-ci.yml appveyor.yml .drone.yml cloudbuild.yaml \
     codeship-services.yml codeship-steps.yml";
const EXTRA: &str = "**/.goreleaser.yml **/.sops.yaml **/.flux.yaml";

/// The rules of one source, ready to be asked.
#[derive(Debug, Clone)]
pub struct Ignore {
    /// Weakest first; each decides for what is below its directory.
    groups: Vec<Arc<Group>>,
    invalid: Vec<String>,
}

#[derive(Debug, Clone)]
struct Group {
    directory: String,
    rules: Gitignore,
}

impl Ignore {
    /// The rules of a source: its `.sourceignore` files as path and content, in any order, and `spec.ignore`.
    ///
    /// Without a single pattern the defaults hold (version control, archives and images, CI files); with any, only the
    /// version control part of them. A pattern that is no valid glob matches nothing and is told by [`Ignore::invalid`].
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>, spec: Option<&str>) -> Self {
        // Compiling globs takes longer than asking them about a small source, so the defaults are compiled once.
        static ALL: LazyLock<Arc<Group>> = LazyLock::new(|| default_group(&[VCS, EXTENSIONS, CI, EXTRA]));
        static LEAST: LazyLock<Arc<Group>> = LazyLock::new(|| default_group(&[VCS]));
        let texts = texts(files, spec);
        let base = if texts.is_empty() { &ALL } else { &LEAST };
        Self::of(Some(Arc::clone(base)), &texts)
    }

    /// [`Ignore::new`] with nothing but what is given: the rules of a bucket.
    pub fn without_defaults<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>, spec: Option<&str>) -> Self {
        Self::of(None, &texts(files, spec))
    }

    fn of(base: Option<Arc<Group>>, texts: &[(String, String)]) -> Self {
        let (mut invalid, mut groups) = (Vec::new(), Vec::from_iter(base));
        for (directory, text) in texts {
            groups.push(Arc::new(Group::new(directory, text, &mut invalid)));
        }
        Ignore { groups, invalid }
    }

    /// Whether the file `path` is left out.
    pub fn excludes(&self, path: &str) -> bool {
        self.groups
            .iter()
            .rev()
            .find_map(|group| group.decision(path))
            .unwrap_or(false)
    }

    /// Patterns that could not be read, as `<directory>: <pattern>`.
    pub fn invalid(&self) -> &[String] {
        &self.invalid
    }
}

/// A group of rules that are known to be valid.
fn default_group(rules: &[&str]) -> Arc<Group> {
    Arc::new(Group::new("", &rules.join(" ").replace(' ', "\n"), &mut Vec::new()))
}

/// The texts with patterns by directory, weakest first.
fn texts<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>, spec: Option<&str>) -> Vec<(String, String)> {
    let mut texts: Vec<(String, String)> = files
        .into_iter()
        .map(|(path, text)| {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            (directory.to_owned(), String::from_utf8_lossy(text).into_owned())
        })
        .collect();
    // A parent's rules are weaker than those of the directories below it; unrelated directories never meet.
    texts.sort_by(|a, b| a.0.cmp(&b.0));
    texts.push((String::new(), spec.unwrap_or_default().to_owned()));
    texts.retain(|(_, text)| patterns(text).next().is_some());
    texts
}

impl Group {
    fn new(directory: &str, text: &str, invalid: &mut Vec<String>) -> Self {
        // An artificial root keeps "strip the common prefix" from touching paths that merely begin alike.
        let mut builder = GitignoreBuilder::new("/");
        for (position, line) in patterns(text).enumerate() {
            // The matcher tells which pattern won only by where it came from, so that carries its position.
            if builder
                .add_line(Some(PathBuf::from(position.to_string())), line)
                .is_err()
            {
                invalid.push(format!(
                    "{}: {line}",
                    if directory.is_empty() { "/" } else { directory }
                ));
            }
        }
        let rules = builder.build().unwrap_or_else(|_| {
            // Each line compiled alone; together they can only be too many for one automaton.
            invalid.push(format!("{directory}: too many patterns"));
            Gitignore::empty()
        });
        Group {
            directory: directory.to_owned(),
            rules,
        }
    }

    /// Excluded, kept, or nothing said.
    fn decision(&self, path: &str) -> Option<bool> {
        let below = if self.directory.is_empty() {
            path
        } else {
            path.strip_prefix(self.directory.as_str())?.strip_prefix('/')?
        };
        let mut strongest: Option<(usize, bool)> = None;
        let mut level = Some(Path::new(below));
        let mut is_dir = false;
        while let Some(path) = level.filter(|path| !path.as_os_str().is_empty()) {
            let (glob, excluded) = match self.rules.matched(path, is_dir) {
                Match::Ignore(glob) => (Some(glob), true),
                Match::Whitelist(glob) => (Some(glob), false),
                Match::None => (None, false),
            };
            let position = glob
                .and_then(|glob| glob.from())
                .and_then(|from| from.to_str())
                .and_then(|text| text.parse().ok());
            if let Some(position) = position
                && strongest.is_none_or(|(best, _)| position > best)
            {
                strongest = Some((position, excluded));
            }
            level = path.parent();
            is_dir = true;
        }
        strongest.map(|(_, excluded)| excluded)
    }
}

fn patterns(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], spec: Option<&str>, kept: &[&str], excluded: &[&str]) {
        let ignore = Ignore::new(files.iter().map(|(path, text)| (*path, text.as_bytes())), spec);
        for path in kept {
            assert!(!ignore.excludes(path), "{path} should be kept");
        }
        for path in excluded {
            assert!(ignore.excludes(path), "{path} should be excluded");
        }
    }

    #[test]
    fn without_patterns_the_defaults_hold() {
        let kept = ["a.yaml", "deploy/app.yaml", "x.tar", "github/a", ".gitkeep"];
        let excluded = [
            ".gitignore",
            "a/.gitattributes",
            "logo.png",
            "a/b/c.tar.gz",
            ".github/workflows/ci.yml",
            "sub/.circleci/config.yml",
            ".sops.yaml",
            "deep/er/.flux.yaml",
            ".travis.yml",
        ];
        check(&[], None, &kept, &excluded);
        check(&[], Some(""), &kept, &excluded);
        check(
            &[(".sourceignore", "# only a comment\n\n   \n")],
            None,
            &kept,
            &excluded,
        );
    }

    #[test]
    fn any_pattern_leaves_only_the_version_control_defaults() {
        check(
            &[],
            Some("/docs\n"),
            &["logo.png", ".github/workflows/ci.yml", ".sops.yaml", "a/docs/x"],
            &[".gitignore", "docs/a.md"],
        );
        check(
            &[("sub/.sourceignore", "x\n")],
            None,
            &["logo.png", "x"],
            &["sub/x", "sub/a/x/y"],
        );
    }

    #[test]
    fn everything_but_one_directory() {
        check(
            &[],
            Some("# exclude all\n/*\n# include deploy dir\n!/deploy\n# but not its docs\n/deploy/**/*.md\n"),
            &["deploy/app.yaml", "deploy/base/app.yaml"],
            &["README.md", "src/main.rs", "deploy/base/README.md", "deploy/README.md"],
        );
    }

    #[test]
    fn the_last_rule_that_matches_the_path_or_a_directory_above_decides() {
        check(&[], Some("*.md\n!/docs\n"), &["docs/a.md"], &["a.md", "x/docs/a.md"]);
        check(&[], Some("!/docs\n*.md\n"), &["docs/a.txt"], &["docs/a.md"]);
        check(
            &[],
            Some("vendor/\n!vendor/keep/\n"),
            &["vendor/keep/a"],
            &["vendor/a", "x/vendor/a"],
        );
    }

    #[test]
    fn a_directory_rules_below_itself_only() {
        check(
            &[
                ("apps/.sourceignore", "*.txt\n!/keep.txt\n/only-here.yaml\n"),
                (".sourceignore", "*.tmp\n"),
            ],
            None,
            &[
                "a.txt",
                "apps/keep.txt",
                "apps-2/a.txt",
                "only-here.yaml",
                "apps/x/only-here.yaml",
            ],
            &["apps/a.txt", "apps/x/keep.txt", "apps/only-here.yaml", "apps/x/a.tmp"],
        );
    }

    #[test]
    fn the_spec_wins_over_files() {
        check(
            &[(".sourceignore", "*.yaml\n"), ("apps/.sourceignore", "*.json\n")],
            Some("!/apps\n"),
            &["apps/a.yaml", "apps/a.json"],
            &["a.yaml"],
        );
    }

    #[test]
    fn a_directory_rule_does_not_match_a_file() {
        check(&[], Some("build/\n"), &["build", "x/build"], &["build/a", "x/build/a"]);
    }

    #[test]
    fn a_broken_pattern_is_told_and_matches_nothing() {
        let ignore = Ignore::new([("a/.sourceignore", b"x[z-a]\n*.md\n".as_slice())], None);
        assert_eq!(ignore.invalid(), ["a: x[z-a]"]);
        assert!(ignore.excludes("a/b.md") && !ignore.excludes("a/xz"));
    }
}
