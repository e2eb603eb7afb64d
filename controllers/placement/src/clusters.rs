//! The clusters as the planner takes them, converted once per change and shared by all fleet objects.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use nave_crds::Cluster;
use nave_placement::{Cluster as Planned, ClusterKey};

use crate::convert;

/// All clusters, and a number that grows with every change that matters to planning.
#[derive(Default)]
pub(crate) struct ClusterCache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clusters: BTreeMap<ClusterKey, Arc<Planned>>,
    epoch: u64,
    snapshot: Option<Snapshot>,
}

/// All clusters at one moment, sorted.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub epoch: u64,
    pub clusters: Arc<Vec<Arc<Planned>>>,
}

impl Snapshot {
    /// The keys of all clusters.
    pub fn keys(&self) -> HashSet<ClusterKey> {
        self.clusters.iter().map(|one| one.key.clone()).collect()
    }
}

impl ClusterCache {
    /// Takes in a cluster. The answer is the workspaces whose fleet objects may be concerned; none
    /// when nothing changed that matters, such as a status.
    pub fn update(&self, object: &Cluster) -> BTreeSet<String> {
        let new = Arc::new(convert::cluster(object));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let old = state.clusters.get(&new.key).cloned();
        if old.as_ref().is_some_and(|old| same(old, &new)) {
            return BTreeSet::new();
        }
        let mut concerned = workspaces(&new);
        concerned.extend(old.iter().flat_map(|old| workspaces(old)));
        state.clusters.insert(new.key.clone(), new);
        state.epoch += 1;
        state.snapshot = None;
        concerned
    }

    /// Takes out a cluster that is gone.
    pub fn remove(&self, key: &ClusterKey) -> BTreeSet<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(old) = state.clusters.remove(key) else {
            return BTreeSet::new();
        };
        state.epoch += 1;
        state.snapshot = None;
        workspaces(&old)
    }

    /// All clusters now.
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State {
            clusters,
            epoch,
            snapshot,
        } = &mut *state;
        snapshot
            .get_or_insert_with(|| Snapshot {
                epoch: *epoch,
                clusters: Arc::new(clusters.values().cloned().collect()),
            })
            .clone()
    }
}

/// Workspaces that may see a cluster.
fn workspaces(cluster: &Planned) -> BTreeSet<String> {
    cluster
        .access
        .iter()
        .map(|access| access.workspace.clone())
        .chain([cluster.key.namespace.clone()])
        .collect()
}

fn same(a: &Planned, b: &Planned) -> bool {
    a.labels == b.labels
        && a.variables == b.variables
        && a.access == b.access
        && a.suspend == b.suspend
        && a.accepted == b.accepted
        && a.mode == b.mode
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_matters_to_planning_counts_as_a_change() {
        let object = |label: &str, access: &[&str], ready: &str| -> Cluster {
            let access: Vec<_> = access
                .iter()
                .map(|name| json!({"workspace": name, "admin": true}))
                .collect();
            serde_json::from_value(json!({
                "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
                "metadata": {"name": "eu-1", "namespace": "platform", "labels": {"env": label}},
                "spec": {"access": access}, "status": {"transport": ready},
            }))
            .expect("readable")
        };
        let cache = ClusterCache::default();
        let names = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(names(cache.update(&object("a", &["team-a"], ""))), "platform team-a");
        let before = cache.snapshot().epoch;
        assert_eq!(names(cache.update(&object("a", &["team-a"], "quic"))), "");
        assert_eq!(cache.snapshot().epoch, before);
        // Whoever loses access is concerned too.
        assert_eq!(
            names(cache.update(&object("a", &["team-b"], "quic"))),
            "platform team-a team-b"
        );
        assert_eq!(cache.snapshot().epoch, before + 1);
        assert_eq!(
            names(cache.remove(&ClusterKey::new("platform", "eu-1"))),
            "platform team-b"
        );
        assert!(cache.snapshot().clusters.is_empty());
    }
}
