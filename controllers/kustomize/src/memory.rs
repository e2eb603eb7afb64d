//! What is remembered of each Kustomization between two reconciles. Losing it costs a full check, nothing more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use nave_apply::Change;
use nave_crds::kustomize::{KustomizationStatus, ResourceRef};
use nave_targets::Target;
use tokio::time::Instant;

use crate::{
    depends::Key,
    drift::{Guard, Unrest},
    place::Place,
    waiting::{Background, Paused, Waiting},
};

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
    /// An apply waits for something in the cluster before it goes on.
    pub paused: Option<Paused>,
    /// Health is being waited for.
    pub waiting: Option<Waiting>,
    /// It was reported that health is not good; once it is, the Kustomization is looked at again.
    pub recovery: Option<Background>,
    /// What was deleted with the Kustomization is waited for until it is gone.
    pub going: Option<Background>,
    /// The status as we last wrote it: the watch may be behind.
    pub status: Option<KustomizationStatus>,
    /// What the last reconcile worked on.
    pub attempt: Option<Attempt>,
    /// How often in a row the status could not be written.
    pub unwritten: u32,
    /// Checks by the watches alone since the last one by dry run.
    pub light_checks: u32,
    /// What was applied is watched for drift.
    pub guard: Option<Guard>,
    pub unrest: Unrest,
    /// Where the reconcile that runs applies to.
    pub target: Option<Arc<Target>>,
    /// What the guard watches.
    pub guarded_target: Option<Arc<Target>>,
    /// Stale objects that another Kustomization is about to take over, and since when there are some.
    pub pending: Vec<(ResourceRef, Key)>,
    pub pending_since: Option<Instant>,
    /// The cluster of the inventory, as we wrote it last: the watch may be behind.
    pub place: Option<Place>,
}

impl Kept {
    /// What is left to others has to be looked at again soon, so that a repetition is none.
    pub fn left_to_others(&mut self, pending: Vec<(ResourceRef, Key)>) {
        if pending.is_empty() {
            self.pending_since = None;
        }
        self.pending = pending;
    }
}

/// A complete apply.
pub(crate) struct Last {
    /// Digest of everything that went into it.
    pub input: String,
    /// Digest of what was built.
    pub digest: String,
    pub changes: Vec<Change>,
    /// Remote bases went into it: an equal input may come to something else.
    pub remote: bool,
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
