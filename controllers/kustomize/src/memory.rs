//! What is remembered of each Kustomization between two reconciles. Losing it costs a full check, nothing more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use nave_apply::Change;
use nave_crds::kustomize::KustomizationStatus;

use crate::{depends::Key, waiting::Waiting};

/// By namespace and name.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<HashMap<Key, Kept>>);

/// Of one object.
#[derive(Default)]
pub(crate) struct Kept {
    /// An object of the same name with another UID starts anew.
    pub uid: String,
    /// We added the finalizer; the watch may not have shown it yet.
    pub has_finalizer: bool,
    /// What the last apply saw of each object.
    pub apply: nave_apply::Memory,
    /// The last apply that was complete, pruning included.
    pub last: Option<Last>,
    /// Health is being waited for.
    pub waiting: Option<Waiting>,
    /// The status as we last wrote it: the watch may be behind.
    pub status: Option<KustomizationStatus>,
    /// What the last reconcile worked on.
    pub attempt: Option<Attempt>,
    /// Checks by the watches alone since the last one by dry run.
    pub light_checks: u32,
}

/// A complete apply.
pub(crate) struct Last {
    /// Digest of everything that went into it.
    pub input: String,
    /// Digest of what was built.
    pub digest: String,
    pub changes: Vec<Change>,
}

/// What makes a reconcile a new one and not a repetition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Attempt {
    pub generation: i64,
    pub revision: String,
    pub digest: String,
    pub requested_at: String,
}

impl Remembered {
    /// Takes what is kept of an object; the controller never reconciles one object twice at once.
    pub fn take(&self, key: &Key, uid: &str) -> Kept {
        let kept = self.lock().remove(key).filter(|kept| kept.uid == uid);
        kept.unwrap_or_else(|| Kept {
            uid: uid.to_owned(),
            ..Kept::default()
        })
    }

    pub fn put(&self, key: Key, kept: Kept) {
        self.lock().insert(key, kept);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
