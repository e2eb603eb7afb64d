//! Which files of a commit are wanted.

/// `spec.sparseCheckout` and `spec.ignore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    sparse: Vec<String>,
    ignore: Option<String>,
    /// Ignore rules are not applied, because that is done later.
    everything: bool,
}

/// A directory that cannot be in a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sparseCheckout[{index}] '{path}' is not a relative path inside the repository")]
pub struct SelectionError {
    /// Its position.
    pub index: usize,
    /// As given.
    pub path: String,
}

impl Selection {
    /// Only what is below the directories (all when there is none), without what the ignore rules exclude.
    ///
    /// A leading `./` and a trailing `/` of a directory change nothing.
    ///
    /// # Errors
    /// A directory leads out of the repository.
    pub fn new(sparse: &[String], ignore: Option<String>) -> Result<Self, SelectionError> {
        let mut directories = Vec::with_capacity(sparse.len());
        let mut all = false;
        for (index, path) in sparse.iter().enumerate() {
            let plain = path.trim_start_matches("./").trim_end_matches('/');
            if matches!(plain, "" | ".") && !path.starts_with('/') {
                all = true;
                continue;
            }
            if plain.split('/').any(|segment| matches!(segment, "" | "." | "..")) || plain.contains('\0') {
                return Err(SelectionError {
                    index,
                    path: path.chars().take(512).collect(),
                });
            }
            directories.push(plain.to_owned());
        }
        if all {
            directories.clear();
        }
        Ok(Selection {
            sparse: directories,
            ignore,
            everything: false,
        })
    }

    /// The same directories, and in them what ignore rules would exclude.
    pub(crate) fn with_everything(mut self) -> Self {
        self.everything = true;
        self
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.everything
    }

    /// The same as seen from within a directory that is entered.
    pub(crate) fn below(&self, directory: &str) -> Self {
        let whole = self.sparse.iter().any(|wanted| is_below(directory, wanted));
        let sparse = self.sparse.iter().filter(|_| !whole);
        Selection {
            sparse: sparse
                .filter_map(|wanted| wanted.strip_prefix(directory)?.strip_prefix('/'))
                .map(str::to_owned)
                .collect(),
            ..self.clone()
        }
    }

    /// The directories, normalised.
    pub(crate) fn sparse(&self) -> &[String] {
        &self.sparse
    }

    /// `spec.ignore`.
    pub(crate) fn ignore(&self) -> Option<&str> {
        self.ignore.as_deref()
    }

    /// Whether a directory is, leads to, or lies below a wanted one.
    pub(crate) fn enters(&self, directory: &str) -> bool {
        self.sparse.is_empty()
            || self
                .sparse
                .iter()
                .any(|wanted| is_below(directory, wanted) || is_below(wanted, directory))
    }

    /// Whether a file lies below a wanted directory.
    pub(crate) fn holds(&self, path: &str) -> bool {
        self.sparse.is_empty() || self.sparse.iter().any(|wanted| is_below(path, wanted))
    }
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_entered_on_the_way_and_below() {
        let selection = Selection::new(&["./apps/a/".into(), "infra".into()], None).unwrap();
        assert!(selection.enters("apps") && selection.enters("apps/a/b") && selection.enters("infra/x"));
        assert!(!selection.enters("apps/ab") && !selection.enters("docs"));
        assert!(selection.holds("apps/a/x") && selection.holds("infra/x"));
        assert!(!selection.holds("README.md") && !selection.holds("apps/x") && !selection.holds("infra-2/x"));
        assert!(
            Selection::new(&[".".into(), "a".into()], None)
                .unwrap()
                .holds("README.md")
        );
    }

    #[test]
    fn a_submodule_sees_what_is_wanted_of_it() {
        let selection = Selection::new(&["apps/a".into(), "lib/deep/x".into()], None).unwrap();
        assert_eq!(selection.below("apps/a/sub").sparse(), [""; 0]);
        assert_eq!(selection.below("apps/a").sparse(), [""; 0]);
        assert_eq!(selection.below("lib").sparse(), ["deep/x"]);
        assert_eq!(Selection::default().below("lib"), Selection::default());
    }

    #[test]
    fn ways_out_are_refused() {
        for path in ["../a", "/a", "a/../b", "a//b", "/"] {
            assert!(Selection::new(&[path.into()], None).is_err(), "{path}");
        }
    }
}
