//! Which objects there are, and the revision that they make.

use std::collections::BTreeMap;

use nave_artifact::{Algorithm, Digest, Hasher};

/// One object, as the storage lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// What changes with the content, in the form that Flux makes revisions of.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// Google's number of the content.
    pub(crate) generation: Option<String>,
}

/// The objects of a bucket that count, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index(pub(crate) BTreeMap<String, Object>);

impl Index {
    /// Digest over `<key> <etag>` lines in the order of keys, as source-controller 1.9 makes it (`internal/index`).
    pub fn revision(&self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for (key, object) in &self.0 {
            for part in [key.as_str(), " ", object.etag.as_str(), "\n"] {
                hasher.update(part.as_bytes());
            }
        }
        hasher.finish()
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Objects by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.0.iter().map(|(key, object)| (key.as_str(), object))
    }

    /// Sum of the sizes.
    pub fn bytes(&self) -> u64 {
        self.0.values().fold(0, |sum, object| sum.saturating_add(object.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are `sha256sum` of the lines.
    #[test]
    fn revisions_are_those_of_flux() {
        let mut index = Index::default();
        assert_eq!(
            index.revision().to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (key, etag) in [("foo", "bar"), ("bar", "baz"), ("bar/a b", "\"0x8D\"")] {
            let etag = etag.to_owned();
            index.0.insert(
                key.to_owned(),
                Object {
                    etag,
                    ..Object::default()
                },
            );
        }
        assert_eq!(
            index.revision(),
            Digest::sha256(b"bar baz\nbar/a b \"0x8D\"\nfoo bar\n")
        );
    }
}
