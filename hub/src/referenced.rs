//! Which sources of the management cluster are the hub's: those that it made for a fleet object, and those that one
//! names in `source.ref`. The rest belongs to an agent there, if any.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, RwLock},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use nave_crds::{FleetKustomization, GitRepository, Kustomization, labels};
use nave_runtime::Watched;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::locked;

/// The controllers take their filter as a plain function, so what it looks at is the process's.
static NAMED: LazyLock<RwLock<HashSet<(String, String)>>> = LazyLock::new(RwLock::default);

/// A watch that was interrupted does not tell what went meanwhile.
const SWEEP: Duration = Duration::from_secs(30);
/// Sources that became the hub's and wait for their first reconcile; the sweep repeats what is lost.
const WAITING: usize = 1024;

/// Whether a source is the hub's.
pub fn is_ours(source: &GitRepository) -> bool {
    let key = (source.namespace().unwrap_or_default(), source.name_any());
    source.labels().contains_key(labels::FLEET_KIND) || locked::read(&NAMED).contains(&key)
}

/// Whether a Kustomization is the hub's: one for a fleet object, or for another cluster.
pub fn is_ours_to_apply(kustomization: &Kustomization) -> bool {
    kustomization.labels().contains_key(labels::FLEET_KIND) || kustomization.spec.kube_config.is_some()
}

/// Follows the fleet objects; tells of sources that became the hub's.
pub struct Referenced {
    fleets: Watched<FleetKustomization>,
    became: broadcast::Sender<(String, String)>,
}

impl Referenced {
    /// Nothing named yet.
    pub fn new(fleets: Watched<FleetKustomization>) -> Arc<Self> {
        Arc::new(Referenced {
            fleets,
            became: broadcast::channel(WAITING).0,
        })
    }

    /// Takes over what fleet objects name now. Names of another hub in this process stay.
    pub fn load(&self) {
        let now: Vec<(String, String)> = self
            .fleets
            .store()
            .state()
            .iter()
            .filter_map(|fleet| named(fleet))
            .collect();
        let fresh: Vec<(String, String)> = {
            let mut named = locked::write(&NAMED);
            now.into_iter().filter(|key| named.insert(key.clone())).collect()
        };
        for key in fresh {
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
        locked::write(&NAMED).insert(("referenced-test".into(), "shared".into()));
        assert!(is_ours(&source("referenced-test", "shared")));
        assert!(!is_ours(&source("other", "shared")));
        let mut owned = source("other", "owned");
        assert!(!is_ours(&owned));
        owned
            .labels_mut()
            .insert(labels::FLEET_KIND.into(), "FleetKustomization".into());
        assert!(is_ours(&owned));
    }
}
