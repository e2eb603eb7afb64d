//! Which sources of the management cluster are the hub's: those that it made for a fleet object, and those that one
//! names in `source.ref`. The rest belongs to an agent there, if any.

use std::{
    collections::HashSet,
    sync::{Arc, RwLock},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use nave_crds::{FleetKustomization, GitRepository, Kustomization, labels};
use nave_runtime::Watched;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::locked;

/// A watch that was interrupted does not tell what went meanwhile.
const SWEEP: Duration = Duration::from_secs(30);
/// Sources that became the hub's and wait for their first reconcile; the sweep repeats what is lost.
const WAITING: usize = 1024;

/// Whether a Kustomization is the hub's: one for a fleet object, or for another cluster.
pub fn is_ours_to_apply(kustomization: &Kustomization) -> bool {
    kustomization.labels().contains_key(labels::FLEET_KIND) || kustomization.spec.kube_config.is_some()
}

/// Namespaces and names of sources that fleet objects name.
#[derive(Default)]
struct Named(RwLock<HashSet<(String, String)>>);

impl Named {
    /// Whether a source is the hub's.
    fn is_ours(&self, source: &GitRepository) -> bool {
        let key = (source.namespace().unwrap_or_default(), source.name_any());
        source.labels().contains_key(labels::FLEET_KIND) || locked::read(&self.0).contains(&key)
    }

    /// Takes over what is named now; answers what is new. What is named no longer is nobody's any more.
    fn set(&self, now: HashSet<(String, String)>) -> Vec<(String, String)> {
        let mut named = locked::write(&self.0);
        let fresh = now.difference(&named).cloned().collect();
        *named = now;
        fresh
    }
}

/// Follows the fleet objects; tells of sources that became the hub's.
pub struct Referenced {
    fleets: Watched<FleetKustomization>,
    named: Arc<Named>,
    became: broadcast::Sender<(String, String)>,
}

impl Referenced {
    /// Nothing named yet.
    pub fn new(fleets: Watched<FleetKustomization>) -> Arc<Self> {
        Arc::new(Referenced {
            fleets,
            named: Arc::default(),
            became: broadcast::channel(WAITING).0,
        })
    }

    /// Which sources are the hub's, as it is whenever it is asked.
    pub fn filter(&self) -> nave_source_controller::Filter {
        let named = self.named.clone();
        Arc::new(move |source| named.is_ours(source))
    }

    /// Takes over what fleet objects name now.
    pub fn load(&self) {
        let now = self
            .fleets
            .store()
            .state()
            .iter()
            .filter_map(|fleet| named(fleet))
            .collect();
        for key in self.named.set(now) {
            let _ = self.became.send(key); // nobody listening is fine
        }
    }

    /// Follows the watch until shutdown.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = std::pin::pin!(self.fleets.changes());
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                _ = shutdown.cancelled() => return,
                _ = sweep.tick() => self.load(),
                Some(_) = changes.next() => self.load(),
            }
        }
    }

    /// Sources that became the hub's from now on.
    pub fn triggers(&self) -> impl Stream<Item = ObjectRef<GitRepository>> + Send + use<> {
        stream::unfold(self.became.subscribe(), |mut became| async move {
            loop {
                match became.recv().await {
                    Ok(key) => return Some((key, became)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        .map(|(namespace, name)| ObjectRef::new(&name).within(&namespace))
    }
}

fn named(fleet: &FleetKustomization) -> Option<(String, String)> {
    let reference = fleet.spec.source.reference.as_ref()?;
    (reference.kind == "GitRepository").then(|| (fleet.namespace().unwrap_or_default(), reference.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_crds::source::GitRepositorySpec;

    #[test]
    fn only_owned_and_named_sources_are_ours() {
        let source = |namespace: &str, name: &str| {
            let mut source = GitRepository::new(name, GitRepositorySpec::default());
            source.metadata.namespace = Some(namespace.into());
            source
        };
        let named = Named::default();
        let key = |name: &str| ("team".to_owned(), name.to_owned());
        assert_eq!(named.set([key("shared")].into()), [key("shared")]);
        assert!(named.set([key("shared")].into()).is_empty());
        assert!(named.is_ours(&source("team", "shared")));
        assert!(!named.is_ours(&source("other", "shared")));
        named.set([key("another")].into());
        assert!(!named.is_ours(&source("team", "shared")), "nobody names it any more");
        let mut owned = source("other", "owned");
        assert!(!named.is_ours(&owned));
        owned
            .labels_mut()
            .insert(labels::FLEET_KIND.into(), "FleetKustomization".into());
        assert!(named.is_ours(&owned));
    }
}
