//! Which artifact each Kustomization was last reconciled with, so that a source's change wakes only who has not seen it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use nave_crds::meta::Artifact;

use crate::depends::Key;

pub(crate) use nave_runtime::wakes::Version;

/// The version of an artifact.
pub(crate) fn version_of(artifact: &Artifact) -> Version {
    (artifact.revision.clone(), artifact.digest.clone())
}

/// By Kustomization.
#[derive(Default)]
pub(crate) struct Reads(Mutex<HashMap<Key, Read>>);

enum Read {
    /// A reconcile runs and has not looked at its source yet; it will, and needs no waking for what it was told of.
    Ahead(Option<Version>),
    /// The last reconcile worked with this.
    Done(Version),
}

impl Reads {
    /// A reconcile begins.
    pub fn begin(&self, key: &Key) {
        self.lock().insert(key.clone(), Read::Ahead(None));
    }

    /// The reconcile that began found this artifact, or none. True when it was told of another one meanwhile: its look
    /// at the store came too early, and it has to be repeated.
    pub fn found(&self, key: &Key, version: Option<Version>) -> bool {
        let mut reads = self.lock();
        let told = match reads.remove(key) {
            Some(Read::Ahead(told)) => told,
            _ => None,
        };
        let is_outdated = told.is_some() && told != version;
        if let Some(version) = version {
            reads.insert(key.clone(), Read::Done(version));
        }
        is_outdated
    }

    /// The reconcile ended. True when it never looked at its source although it was told of a change.
    pub fn end(&self, key: &Key) -> bool {
        let mut reads = self.lock();
        let Some(Read::Ahead(told)) = reads.get(key) else {
            return false;
        };
        let was_told = told.is_some();
        reads.remove(key);
        was_told
    }

    /// Whether a Kustomization has to be woken, its source now having this artifact.
    pub fn must_wake(&self, key: &Key, version: &Version) -> bool {
        match self.lock().get_mut(key) {
            Some(Read::Ahead(told)) => {
                *told = Some(version.clone());
                false
            }
            Some(Read::Done(done)) => done != version,
            None => true,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Read>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(revision: &str) -> Version {
        (revision.to_owned(), "sha256:0".to_owned())
    }

    #[test]
    fn a_change_wakes_who_has_not_seen_it() {
        let (reads, key) = (Reads::default(), ("n".to_owned(), "x".to_owned()));
        assert!(reads.must_wake(&key, &version("1")), "never reconciled");
        reads.begin(&key);
        assert!(!reads.must_wake(&key, &version("1")), "it is about to look");
        assert!(!reads.found(&key, Some(version("1"))));
        assert!(!reads.end(&key));
        assert!(!reads.must_wake(&key, &version("1")));
        assert!(reads.must_wake(&key, &version("2")));
        let packed_anew = ("1".to_owned(), "sha256:1".to_owned());
        assert!(reads.must_wake(&key, &packed_anew));
    }

    #[test]
    fn what_a_reconcile_missed_is_made_up_for() {
        let (reads, key) = (Reads::default(), ("n".to_owned(), "x".to_owned()));
        reads.begin(&key);
        assert!(!reads.must_wake(&key, &version("2")));
        assert!(
            reads.found(&key, Some(version("1"))),
            "it looked before the store had it"
        );
        reads.begin(&key);
        assert!(!reads.must_wake(&key, &version("2")));
        assert!(reads.end(&key), "it ended before it looked");
        assert!(reads.must_wake(&key, &version("2")));
        reads.begin(&key);
        assert!(!reads.found(&key, None), "no artifact yet");
        assert!(reads.must_wake(&key, &version("2")));
    }
}
