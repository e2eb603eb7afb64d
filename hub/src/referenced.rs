//! Which sources of the management cluster are the hub's: those that it made for a fleet object, those that one names in
//! `source.ref`, and those behind a chart that is the hub's. The rest belongs to an agent there, if any.

use std::{
    collections::HashSet,
    sync::{Arc, RwLock},
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use nave_crds::{
    FleetHelmRelease, FleetKustomization, HelmChart, HelmRelease, Kustomization, fleet::FleetResource, labels,
};
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

/// Whether a HelmRelease is the hub's: one for a fleet object, or for another cluster.
pub fn is_ours_to_release(release: &HelmRelease) -> bool {
    release.labels().contains_key(labels::FLEET_KIND) || release.spec.kube_config.is_some()
}

/// Kind, namespace and name of a source.
type Key = (String, String, String);

/// Sources that fleet objects name.
#[derive(Default)]
struct Named(RwLock<HashSet<Key>>);

impl Named {
    /// Whether a source is the hub's.
    fn is_ours(&self, kind: &str, source: &ObjectMeta) -> bool {
        let is_made = source
            .labels
            .as_ref()
            .is_some_and(|labels| labels.contains_key(labels::FLEET_KIND));
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let key = (kind.to_owned(), text(&source.namespace), text(&source.name));
        is_made || locked::read(&self.0).contains(&key)
    }

    /// Takes over what is named now; answers what is new. What is named no longer is nobody's any more.
    fn set(&self, now: HashSet<Key>) -> Vec<Key> {
        let mut named = locked::write(&self.0);
        let fresh = now.difference(&named).cloned().collect();
        *named = now;
        fresh
    }
}

/// Follows the fleet objects; tells of sources that became the hub's.
pub struct Referenced {
    kustomizations: Watched<FleetKustomization>,
    releases: Watched<FleetHelmRelease>,
    charts: Watched<HelmChart>,
    named: Arc<Named>,
    became: broadcast::Sender<Key>,
}

impl Referenced {
    /// Nothing named yet.
    pub fn new(
        kustomizations: Watched<FleetKustomization>,
        releases: Watched<FleetHelmRelease>,
        charts: Watched<HelmChart>,
    ) -> Arc<Self> {
        Arc::new(Referenced {
            kustomizations,
            releases,
            charts,
            named: Arc::default(),
            became: broadcast::channel(WAITING).0,
        })
    }

    /// Which sources are the hub's, as it is whenever it is asked.
    pub fn filter(&self) -> nave_source_controller::KindFilter {
        let named = self.named.clone();
        Arc::new(move |kind, source| named.is_ours(kind, source))
    }

    /// The same for those that are included in others.
    pub fn git_filter(&self) -> nave_source_controller::Filter {
        let named = self.named.clone();
        Arc::new(move |source| named.is_ours("GitRepository", source.meta()))
    }

    /// Takes over what fleet objects name now.
    pub fn load(&self) {
        let mut now: HashSet<Key> = HashSet::new();
        now.extend(
            self.kustomizations
                .store()
                .state()
                .iter()
                .filter_map(|fleet| named(fleet.as_ref())),
        );
        now.extend(
            self.releases
                .store()
                .state()
                .iter()
                .filter_map(|fleet| named(fleet.as_ref())),
        );
        let charts = self.charts.store().state();
        let ours: Vec<Key> = charts
            .iter()
            .filter(|chart| {
                let key = (
                    "HelmChart".to_owned(),
                    chart.namespace().unwrap_or_default(),
                    chart.name_any(),
                );
                chart.labels().contains_key(labels::FLEET_KIND) || now.contains(&key)
            })
            .map(|chart| source_of(chart))
            .collect();
        now.extend(ours);
        for key in self.named.set(now) {
            let _ = self.became.send(key); // nobody listening is fine
        }
    }

    /// Follows the watches until shutdown.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let mut kustomizations = std::pin::pin!(self.kustomizations.changes());
        let mut releases = std::pin::pin!(self.releases.changes());
        let mut charts = std::pin::pin!(self.charts.changes());
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                _ = shutdown.cancelled() => return,
                _ = sweep.tick() => self.load(),
                Some(_) = kustomizations.next() => self.load(),
                Some(_) = releases.next() => self.load(),
                Some(_) = charts.next() => self.load(),
            }
        }
    }

    /// Sources of a kind that became the hub's from now on.
    pub fn wakes(self: &Arc<Self>) -> nave_source_controller::Wakes {
        let this = self.clone();
        Arc::new(move |kind| this.became_of(kind.to_owned()))
    }

    fn became_of(&self, kind: String) -> BoxStream<'static, (String, String)> {
        stream::unfold((self.became.subscribe(), kind), |(mut became, kind)| async move {
            loop {
                match became.recv().await {
                    Ok((of, namespace, name)) if of == kind => return Some(((namespace, name), (became, kind))),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        // A stream that ended would end the controller.
        .chain(stream::pending())
        .boxed()
    }
}

fn named<K: FleetResource>(fleet: &K) -> Option<Key> {
    let reference = fleet.parts().source.reference.as_ref()?;
    let namespace = fleet.namespace().unwrap_or_default();
    // What somebody else makes is nothing for a source controller.
    (reference.kind != "ExternalArtifact").then(|| (reference.kind.clone(), namespace, reference.name.clone()))
}

fn source_of(chart: &HelmChart) -> Key {
    let source = &chart.spec.source_ref;
    (
        source.kind.clone(),
        chart.namespace().unwrap_or_default(),
        source.name.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_owned_and_named_sources_are_ours() {
        let source = |namespace: &str, name: &str| ObjectMeta {
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            ..ObjectMeta::default()
        };
        let named = Named::default();
        let key = |name: &str| ("GitRepository".to_owned(), "team".to_owned(), name.to_owned());
        let is_ours = |source: &ObjectMeta| named.is_ours("GitRepository", source);
        assert_eq!(named.set([key("shared")].into()), [key("shared")]);
        assert!(named.set([key("shared")].into()).is_empty());
        assert!(is_ours(&source("team", "shared")));
        assert!(!is_ours(&source("other", "shared")));
        assert!(!named.is_ours("OCIRepository", &source("team", "shared")));
        named.set([key("another")].into());
        assert!(!is_ours(&source("team", "shared")), "nobody names it any more");
        let mut owned = source("other", "owned");
        assert!(!is_ours(&owned));
        owned.labels = Some([(labels::FLEET_KIND.into(), "FleetKustomization".into())].into());
        assert!(is_ours(&owned));
    }
}
