//! Remotes by the object that they are for, kept while its settings stay the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{Access, BucketError, CloudCredentials, Remote};

/// Remotes by the object that they are for: connections and tokens outlive a reconcile. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Buckets {
    cloud: Option<Arc<dyn CloudCredentials>>,
    known: Arc<Mutex<HashMap<String, Remote>>>,
}

impl Buckets {
    /// With a source of cloud identities; without, an object that asks for one gets an error that says so.
    pub fn with_cloud(cloud: Arc<dyn CloudCredentials>) -> Self {
        Buckets {
            cloud: Some(cloud),
            ..Buckets::default()
        }
    }

    /// The bucket of the object `key` (`namespace/name`): the one of last time if nothing changed.
    ///
    /// # Errors
    /// The endpoint, a name, or the keys cannot be used. Nothing is asked yet.
    pub fn open(&self, key: &str, access: Access) -> Result<Remote, BucketError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remote) = known.get(key)
            && *remote.access() == access
        {
            return Ok(remote.clone());
        }
        let remote = Remote::new(access, self.cloud.clone())?;
        known.insert(key.to_owned(), remote.clone());
        Ok(remote)
    }

    /// Forgets what was kept for an object.
    pub fn release(&self, key: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
