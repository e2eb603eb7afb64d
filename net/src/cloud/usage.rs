//! For whom credentials are asked, and who counts how often they were at hand.

use std::sync::{Arc, OnceLock};

/// The object and the operation that credentials are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Kind of the object.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// One of Flux's words: `reconcile`, `fetch_kubeconfig`, `decrypt_with_aws` and its like.
    pub operation: &'static str,
}

/// Counts what happens to the credentials that are kept. Called often; must not block.
pub trait CacheObserver: Send + Sync + 'static {
    /// Credentials were looked for on behalf of an object: a hit is no request to a cloud.
    fn looked_up(&self, hit: bool, usage: &Usage);
    /// An answer was given, from what is kept or from a cloud; or there was none to give.
    fn answered(&self, succeeded: bool);
    /// Something had to go before its time to make room.
    fn evicted(&self);
    /// So many more are kept than before; negative when there are fewer.
    fn kept(&self, change: i64);
}

/// The observer of all caches of one [`crate::cloud::Cloud`], once there is one.
#[derive(Clone, Default)]
pub(crate) struct Observed(Arc<OnceLock<Arc<dyn CacheObserver>>>);

impl Observed {
    /// The first one stays.
    pub fn set(&self, observer: Arc<dyn CacheObserver>) {
        let _ = self.0.set(observer);
    }

    pub fn tell(&self, what: impl FnOnce(&dyn CacheObserver)) {
        if let Some(observer) = self.0.get() {
            what(observer.as_ref());
        }
    }
}
