//! What is remembered of each HelmRelease between two reconciles.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use nave_crds::helm::HelmReleaseStatus;

use crate::{depends::Key, running::Running};

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
    /// The job in the background.
    pub running: Option<Running>,
    /// The status as we last wrote it: the watch may be behind.
    pub status: Option<HelmReleaseStatus>,
}

/// What makes a job a new one and not a repetition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Attempt {
    pub generation: i64,
    /// Digest of the chart's artifact.
    pub artifact: String,
    /// Digest of the values.
    pub config: String,
    pub requested_at: String,
    pub deletes: bool,
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
