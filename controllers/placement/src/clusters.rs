//! The clusters as the planner takes them, converted once per change and shared by all fleet objects.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use nave_crds::Cluster;
use nave_placement::{Cluster as Planned, ClusterKey};

use crate::convert;

/// So many changes are remembered; a fleet object that has seen none of the last so many is planned whole.
const REMEMBERED: usize = 4096;

/// All clusters, and a number that grows with every change that matters to planning.
#[derive(Default)]
pub(crate) struct ClusterCache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clusters: BTreeMap<ClusterKey, Arc<Planned>>,
    epoch: u64,
    /// Which cluster each of the last epochs began with.
    changes: VecDeque<(u64, ClusterKey)>,
    snapshot: Option<Snapshot>,
}

/// Clusters that changed, as they are now; `None` for one that is gone.
pub(crate) type Changed = BTreeMap<ClusterKey, Option<Arc<Planned>>>;

/// A change of one cluster that matters to planning.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// As it was, if it was there.
    pub before: Option<Arc<Planned>>,
    /// As it is, if it is there.
    pub now: Option<Arc<Planned>>,
}

impl Change {
    /// The cluster before and now.
    pub fn both(&self) -> impl Iterator<Item = &Planned> {
        self.before.iter().chain(&self.now).map(|one| &**one)
    }
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
    /// Takes in a cluster. None when nothing changed that matters, such as a status.
    pub fn update(&self, object: &Cluster) -> Option<Change> {
        let new = Arc::new(convert::cluster(object));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let old = state.clusters.get(&new.key).cloned();
        if old.as_ref().is_some_and(|old| same(old, &new)) {
            return None;
        }
        state.clusters.insert(new.key.clone(), new.clone());
        state.changed(new.key.clone());
        Some(Change {
            before: old,
            now: Some(new),
        })
    }

    /// Takes out a cluster that is gone.
    pub fn remove(&self, key: &ClusterKey) -> Option<Change> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let old = state.clusters.remove(key)?;
        state.changed(key.clone());
        Some(Change {
            before: Some(old),
            now: None,
        })
    }

    /// The cluster as it is.
    pub fn get(&self, key: &ClusterKey) -> Option<Arc<Planned>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clusters.get(key).cloned()
    }

    /// What changed after an epoch. None when that was too long ago.
    pub fn changed_since(&self, epoch: u64) -> Option<Changed> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.epoch != epoch && state.changes.front().is_none_or(|(first, _)| *first > epoch + 1) {
            return None;
        }
        let later = state.changes.iter().rev().take_while(|(at, _)| *at > epoch);
        Some(
            later
                .map(|(_, key)| (key.clone(), state.clusters.get(key).cloned()))
                .collect(),
        )
    }

    /// All clusters now.
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State {
            clusters,
            epoch,
            snapshot,
            ..
        } = &mut *state;
        snapshot
            .get_or_insert_with(|| Snapshot {
                epoch: *epoch,
                clusters: Arc::new(clusters.values().cloned().collect()),
            })
            .clone()
    }
}

impl State {
    fn changed(&mut self, key: ClusterKey) {
        self.epoch += 1;
        self.snapshot = None;
        if self.changes.len() == REMEMBERED {
            self.changes.pop_front();
        }
        self.changes.push_back((self.epoch, key));
    }
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
        // Before and now, by whom it may be seen.
        let told = |change: Option<Change>| -> Option<Vec<Option<String>>> {
            let change = change?;
            let seen = |one: Option<Arc<Planned>>| Some(one?.access.first()?.workspace.clone());
            Some(vec![seen(change.before), seen(change.now)])
        };
        let team = |name: &str| Some(name.to_owned());
        assert_eq!(
            told(cache.update(&object("a", &["team-a"], ""))),
            Some(vec![None, team("team-a")])
        );
        let before = cache.snapshot().epoch;
        assert_eq!(told(cache.update(&object("a", &["team-a"], "quic"))), None);
        assert_eq!(cache.snapshot().epoch, before);
        // Whoever loses access is concerned too.
        let change = cache.update(&object("a", &["team-b"], "quic"));
        assert_eq!(told(change), Some(vec![team("team-a"), team("team-b")]));
        assert_eq!(cache.snapshot().epoch, before + 1);
        let key = ClusterKey::new("platform", "eu-1");
        assert_eq!(told(cache.remove(&key)), Some(vec![team("team-b"), None]));
        assert!(cache.get(&key).is_none());
        assert!(cache.snapshot().clusters.is_empty());
    }

    #[test]
    fn what_changed_since_is_told_as_it_is_now_and_not_when_it_is_too_long_ago() {
        let object = |name: &str, label: usize| -> Cluster {
            serde_json::from_value(json!({
                "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
                "metadata": {"name": name, "namespace": "platform", "labels": {"n": label.to_string()}},
                "spec": {},
            }))
            .expect("readable")
        };
        let cache = ClusterCache::default();
        assert_eq!(cache.changed_since(0).map(|changed| changed.len()), Some(0));
        cache.update(&object("a", 1));
        let first = cache.snapshot().epoch;
        cache.update(&object("b", 1));
        cache.update(&object("b", 2));
        cache.update(&object("c", 1));
        cache.remove(&ClusterKey::new("platform", "c"));
        let told = |epoch| -> Option<String> {
            let changed = cache.changed_since(epoch)?;
            let words = changed.iter().map(|(key, now)| {
                let label = now.as_ref().map_or("gone", |now| now.labels["n"].as_str());
                format!("{}={label}", key.name)
            });
            Some(words.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(told(first).as_deref(), Some("b=2 c=gone"));
        assert_eq!(told(0).as_deref(), Some("a=1 b=2 c=gone"));
        assert_eq!(told(cache.snapshot().epoch).as_deref(), Some(""));
        for label in 0..REMEMBERED {
            cache.update(&object("a", label + 2));
        }
        assert_eq!(told(first), None);
        assert_eq!(
            told(cache.snapshot().epoch - 1).as_deref(),
            Some(format!("a={}", REMEMBERED + 1).as_str())
        );
    }
}
