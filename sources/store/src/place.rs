//! Where an object's artifacts lie: `<kind in lower case>/<namespace>/<name>/<file>`.

use std::path::PathBuf;

/// The object that artifacts belong to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    directory: String,
}

/// A name that cannot be part of a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} cannot be part of an artifact's path")]
pub struct PlaceError {
    /// `kind`, `namespace`, `name`, `file name` or `path`.
    pub what: &'static str,
    /// What was given.
    pub value: String,
}

impl Owner {
    /// The owner with that kind (any case), namespace and name.
    ///
    /// # Errors
    /// One of them is empty, begins with a dot, or contains a slash or NUL.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Result<Self, PlaceError> {
        let kind = kind.to_ascii_lowercase();
        check("kind", &kind)?;
        check("namespace", namespace)?;
        check("name", name)?;
        Ok(Owner {
            directory: format!("{kind}/{namespace}/{name}"),
        })
    }

    /// The directory, relative to the store's.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The relative path of one file, as `status.artifact.path` carries it.
    ///
    /// # Errors
    /// As [`Owner::new`].
    pub fn file(&self, file_name: &str) -> Result<String, PlaceError> {
        check("file name", file_name)?;
        Ok(format!("{}/{file_name}", self.directory))
    }
}

/// `path` from a status, which anyone may have written, as a path below the store.
pub(crate) fn relative(path: &str) -> Result<PathBuf, PlaceError> {
    let segments: Vec<&str> = path.split('/').collect();
    let wrong = || PlaceError {
        what: "path",
        value: path.chars().take(512).collect(),
    };
    if segments.len() != 4 || segments.iter().any(|segment| check("path", segment).is_err()) {
        return Err(wrong());
    }
    Ok(segments.iter().collect())
}

/// Names that begin with a dot are the store's own (temporary files) and never published.
fn check(what: &'static str, value: &str) -> Result<(), PlaceError> {
    if value.is_empty() || value.starts_with('.') || value.contains(['/', '\0', '\\']) {
        return Err(PlaceError {
            what,
            value: value.chars().take(512).collect(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_flux() {
        let owner = Owner::new("GitRepository", "flux-system", "podinfo").unwrap();
        assert_eq!(
            owner.file("0a1b.tar.gz").unwrap(),
            "gitrepository/flux-system/podinfo/0a1b.tar.gz"
        );
        assert!(relative("gitrepository/flux-system/podinfo/0a1b.tar.gz").is_ok());
    }

    #[test]
    fn nothing_leads_out() {
        assert!(Owner::new("K", "..", "n").is_err());
        assert!(Owner::new("K", "ns", "a/b").is_err());
        assert!(Owner::new("K", "ns", "").is_err());
        assert!(Owner::new("K", "ns", "n").unwrap().file(".tmp-x").is_err());
        for path in [
            "a/b/c",
            "/a/b/c",
            "a/b/c/d/e",
            "a/../c/d",
            "a/b/c/.tmp",
            "../../etc/passwd",
        ] {
            assert!(relative(path).is_err(), "{path}");
        }
    }
}
