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
    /// A release that is forced, or a count of failures that is to be forgotten, by the value of the annotation.
    pub demanded: String,
    pub deletes: bool,
}

impl Attempt {
    /// Whether something else is wanted than then, and not only another look at the same.
    pub fn wants_more_than(&self, before: &Attempt) -> bool {
        let again = Attempt {
            requested_at: before.requested_at.clone(),
            ..self.clone()
        };
        again != *before
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_look_is_nothing_new() {
        let before = Attempt {
            generation: 2,
            requested_at: "one".to_owned(),
            ..Attempt::default()
        };
        let look = Attempt {
            requested_at: "two".to_owned(),
            ..before.clone()
        };
        assert!(look != before && !look.wants_more_than(&before));
        for more in [
            Attempt {
                demanded: "two".to_owned(),
                ..look.clone()
            },
            Attempt {
                artifact: "sha256:0".to_owned(),
                ..look.clone()
            },
            Attempt {
                config: "sha256:0".to_owned(),
                ..look.clone()
            },
            Attempt {
                generation: 3,
                ..look.clone()
            },
        ] {
            assert!(more.wants_more_than(&before), "{more:?}");
        }
    }
}
