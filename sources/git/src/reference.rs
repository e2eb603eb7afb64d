//! Which commit a reference means, and how the revision is written.

use crate::GitError;

/// What `spec.ref` asks for. Precedence between its fields is the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A branch by short name.
    Branch(String),
    /// A tag by short name.
    Tag(String),
    /// A commit by full hash, on a branch where one is given.
    Commit {
        /// Forty hexadecimal digits.
        id: String,
        /// The branch that the revision names.
        branch: Option<String>,
    },
    /// The tag with the highest version within a range, as Masterminds' semver reads both.
    Semver(String),
    /// Any reference by full name, `refs/…` or `HEAD`; `^{}` at the end is allowed.
    Name(String),
}

/// A reference with the commit that it means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The commit's hash, forty hexadecimal digits.
    pub commit: String,
    /// The full name of the reference on the remote; none for a commit without branch.
    pub reference: Option<String>,
    /// The hash of the annotated tag that leads to the commit, where there is one.
    pub tag: Option<String>,
    /// As Flux writes it: `main@sha1:…`, `v1.0.0@sha1:…`, `refs/pull/1/head@sha1:…`, `sha1:…`.
    pub revision: String,
}

/// One line of what a remote advertises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advertised {
    pub name: String,
    /// What it points to, annotated tags peeled.
    pub commit: String,
    /// The annotated tag that it points to.
    pub tag: Option<String>,
}

impl Wanted {
    /// Prefixes that make the remote list what is needed to resolve this, and little else.
    pub(crate) fn prefixes(&self) -> Vec<String> {
        match self {
            Wanted::Branch(name) => vec![format!("refs/heads/{name}")],
            Wanted::Tag(name) => vec![format!("refs/tags/{name}")],
            Wanted::Semver(_) => vec!["refs/tags/".to_owned()],
            Wanted::Name(name) => vec![name.strip_suffix("^{}").unwrap_or(name).to_owned()],
            Wanted::Commit { branch, .. } => match branch {
                Some(branch) => vec![format!("refs/heads/{branch}")],
                None => vec!["HEAD".to_owned()],
            },
        }
    }

    fn full_name(&self) -> Option<String> {
        match self {
            Wanted::Commit { branch: None, .. } | Wanted::Semver(_) => None,
            Wanted::Commit { branch: Some(_), .. } | Wanted::Branch(_) | Wanted::Tag(_) | Wanted::Name(_) => {
                self.prefixes().into_iter().next()
            }
        }
    }

    /// Whether this can be a reference at all; `git check-ref-format` refuses the rest.
    pub(crate) fn check(&self) -> Result<(), GitError> {
        let text = match self {
            Wanted::Commit { id, .. } => {
                if id.len() != 40 || !id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                    return Err(GitError::InvalidReference {
                        reference: id.chars().take(256).collect(),
                        what: "a commit is forty hexadecimal digits",
                    });
                }
                match self.full_name() {
                    Some(name) => name,
                    None => return Ok(()),
                }
            }
            Wanted::Semver(range) => return parse_range(range).map(|_| ()),
            other => other.full_name().expect("only commits and ranges have no reference"),
        };
        let bad = text.is_empty()
            || text.len() > 1024
            || text.ends_with('/')
            || text.contains("..")
            || text.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c));
        if bad {
            return Err(GitError::InvalidReference {
                reference: text.chars().take(256).collect(),
                what: "it contains what no reference may contain",
            });
        }
        Ok(())
    }

    /// Finds the reference among what the remote advertises; none when it is not there.
    pub(crate) fn find(&self, advertised: &[Advertised]) -> Option<Resolved> {
        let find = |name: &str| advertised.iter().find(|reference| reference.name == name);
        let resolved = |short: &str, name: String, commit: &str, tag: &Option<String>| Resolved {
            revision: format!("{short}@sha1:{commit}"),
            commit: commit.to_owned(),
            reference: Some(name),
            tag: tag.clone(),
        };
        match self {
            Wanted::Branch(short) | Wanted::Tag(short) => {
                let name = self.full_name()?;
                find(&name).map(|found| resolved(short, name, &found.commit, &found.tag))
            }
            Wanted::Name(short) => {
                let name = self.full_name()?;
                let found = find(&name)?;
                Some(resolved(
                    short.strip_suffix("^{}").unwrap_or(short),
                    name,
                    &found.commit,
                    &found.tag,
                ))
            }
            Wanted::Semver(range) => {
                let range = parse_range(range).ok()?;
                let tags = advertised
                    .iter()
                    .filter_map(|reference| reference.name.strip_prefix("refs/tags/"));
                let short = *nave_version::sort_descending(Some(&range), tags).first()?;
                let name = format!("refs/tags/{short}");
                let found = find(&name)?;
                Some(resolved(short, name, &found.commit, &found.tag))
            }
            Wanted::Commit { id, branch: None } => Some(Resolved {
                commit: id.clone(),
                reference: None,
                tag: None,
                revision: format!("sha1:{id}"),
            }),
            Wanted::Commit {
                id,
                branch: Some(branch),
            } => {
                let name = self.full_name()?;
                find(&name).map(|_| resolved(branch, name, id, &None))
            }
        }
    }

    /// What a person calls it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Wanted::Branch(name) | Wanted::Commit { branch: Some(name), .. } => format!("branch '{name}'"),
            Wanted::Tag(name) => format!("tag '{name}'"),
            Wanted::Name(name) => format!("reference '{name}'"),
            Wanted::Commit { id, .. } => format!("commit '{id}'"),
            Wanted::Semver(range) => format!("a tag within '{range}'"),
        }
    }

    /// References of the same kind that are there, for the error message.
    pub(crate) fn alternatives(&self, advertised: &[Advertised]) -> Vec<String> {
        let prefix = match self {
            Wanted::Branch(_) | Wanted::Commit { .. } => "refs/heads/",
            Wanted::Tag(_) | Wanted::Semver(_) => "refs/tags/",
            Wanted::Name(_) => "",
        };
        let names = advertised
            .iter()
            .filter_map(|reference| reference.name.strip_prefix(prefix))
            .filter(|name| *name != "HEAD")
            .map(str::to_owned);
        names.take(5).collect()
    }
}

fn parse_range(range: &str) -> Result<nave_version::Range, GitError> {
    nave_version::Range::parse(range).map_err(|source| GitError::Range {
        range: range.chars().take(256).collect(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[track_caller]
    fn check(wanted: Wanted, expected: Option<&str>) {
        let advertised = [
            ("HEAD", A),
            ("refs/heads/feature/x", B),
            ("refs/heads/main", A),
            ("refs/heads/main-2", B),
            ("refs/pull/1/head", B),
            ("refs/tags/v1.0.0", B),
            ("refs/tags/1.10.0", A),
            ("refs/tags/v1.9.9", B),
            ("refs/tags/v2.0.0-rc.1", B),
            ("refs/tags/3.0", B),
            ("refs/tags/nightly", B),
        ]
        .map(|(name, commit)| Advertised {
            name: name.to_owned(),
            commit: commit.to_owned(),
            tag: None,
        });
        wanted.check().unwrap();
        assert_eq!(
            wanted.find(&advertised).map(|found| found.revision).as_deref(),
            expected
        );
    }

    #[test]
    fn revisions_are_written_as_flux_writes_them() {
        let text = |short: &str, commit: &str| format!("{short}@sha1:{commit}");
        check(Wanted::Branch("main".into()), Some(&text("main", A)));
        check(Wanted::Branch("feature/x".into()), Some(&text("feature/x", B)));
        check(Wanted::Branch("mai".into()), None);
        check(Wanted::Tag("v1.0.0".into()), Some(&text("v1.0.0", B)));
        check(
            Wanted::Name("refs/heads/main".into()),
            Some(&text("refs/heads/main", A)),
        );
        check(
            Wanted::Name("refs/pull/1/head".into()),
            Some(&text("refs/pull/1/head", B)),
        );
        check(
            Wanted::Name("refs/tags/v1.0.0^{}".into()),
            Some(&text("refs/tags/v1.0.0", B)),
        );
        check(Wanted::Semver(">=1.0.0".into()), Some(&text("1.10.0", A)));
        check(Wanted::Semver("1.9.x".into()), Some(&text("v1.9.9", B)));
        check(Wanted::Semver(">=2.0.0-0".into()), Some(&text("v2.0.0-rc.1", B)));
        check(Wanted::Semver(">=3".into()), None);
        check(
            Wanted::Commit {
                id: B.into(),
                branch: None,
            },
            Some(&format!("sha1:{B}")),
        );
        check(
            Wanted::Commit {
                id: B.into(),
                branch: Some("main".into()),
            },
            Some(&text("main", B)),
        );
        check(
            Wanted::Commit {
                id: B.into(),
                branch: Some("gone".into()),
            },
            None,
        );
    }

    #[test]
    fn what_cannot_be_a_reference_is_refused_before_the_network() {
        for wanted in [
            Wanted::Branch("a b".into()),
            Wanted::Branch("a..b".into()),
            Wanted::Tag("v1\n0000".into()),
            Wanted::Name(String::new()),
            Wanted::Branch(String::new()),
            Wanted::Semver("not a range".into()),
            Wanted::Commit {
                id: "abc".into(),
                branch: None,
            },
            Wanted::Commit {
                id: A.to_uppercase(),
                branch: None,
            },
        ] {
            assert!(wanted.check().is_err(), "{wanted:?}");
        }
    }
}
