//! Objects that are left alone and that we never applied. The watches keep no row of them, but tell who asks.

use std::sync::Arc;

use nave_health::{Health, Status};
use nave_object::ObjectId;
use nave_targets::{KindWatch, Resource, Subscription, Target};
use serde_json::Value;
use tokio::sync::Notify;

/// An object of somebody else, and the version in which it was left alone.
pub(crate) struct Foreign {
    watch: Arc<KindWatch>,
    subscription: Subscription,
    namespace: String,
    name: String,
    version: u64,
}

impl Foreign {
    /// From now on its changes are noted.
    pub fn watch(target: &Target, resource: &Resource, id: &ObjectId, live: &Value) -> Self {
        let namespace = if resource.namespaced {
            id.namespace.clone()
        } else {
            String::new()
        };
        let watch = target.watch(resource, &namespace);
        let indifferent = Arc::new(|_: &Value| Health::current(""));
        let one = [(namespace.clone(), id.name.clone())];
        // Nobody is woken by it: it is asked by interval.
        let subscription = watch.subscribe(one, indifferent, Arc::new(Notify::new()));
        let version = live.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        Foreign {
            watch,
            subscription,
            namespace,
            name: id.name.clone(),
            version: version.and_then(|version| version.parse().ok()).unwrap_or(0),
        }
    }

    /// Whether no change of it is known since. Where the kind may not be watched, none ever is.
    pub fn is_as_seen(&self) -> bool {
        if self.subscription.is_denied() {
            return true;
        }
        self.watch.is_current()
            && self
                .subscription
                .latest(&self.namespace, &self.name)
                .is_none_or(|news| {
                    let is_gone = news.health.is_some_and(|health| health.status == Status::NotFound);
                    news.version <= self.version && !is_gone
                })
    }
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Foreign({}/{}@{})", self.namespace, self.name, self.version)
    }
}
