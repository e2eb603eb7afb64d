//! What the controller knows of all fleet objects at once: who reaches which cluster, who was
//! retired, and who owns which object.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nave_placement::{Cause, Claims, ClusterKey, KnownOwner, OwnerKey, Placed, Policy, Verdict, deletions};

/// Answers what is to become of an item that an agent has. Cheap to clone; shared with the hub.
#[derive(Clone, Default)]
pub struct Knowledge {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Fleet objects by UID. `clusters` is `None` until one was planned: then nothing is known.
    pub known: HashMap<String, Known>,
    /// Retired UIDs by namespace.
    pub retired: HashMap<String, HashMap<String, Policy>>,
    /// Who owns which object.
    pub claims: Claims,
    /// Grows when claims are given up: a conflict may have ended.
    pub claims_epoch: u64,
    /// Fleet objects of the start that were not planned yet; `None` before the start.
    pub waiting: Option<HashSet<String>>,
}

impl State {
    /// Notes which clusters a fleet object reaches.
    pub fn reaches(&mut self, uid: &str, clusters: HashSet<ClusterKey>) {
        if let Some(known) = self.known.get_mut(uid) {
            known.clusters = Some(clusters);
        }
    }

    /// Which of some clusters a fleet object reaches. None when it was never planned.
    pub fn reached_of(&self, uid: &str, clusters: impl Iterator<Item = ClusterKey>) -> Option<HashSet<ClusterKey>> {
        let reached = self.known.get(uid)?.clusters.as_ref()?;
        Some(clusters.filter(|cluster| reached.contains(cluster)).collect())
    }

    /// Notes which of some clusters a fleet object reaches; it reaches the others as before.
    pub fn reaches_of(&mut self, uid: &str, before: &HashSet<ClusterKey>, now: HashSet<ClusterKey>) {
        if let Some(clusters) = self.known.get_mut(uid).and_then(|known| known.clusters.as_mut()) {
            clusters.retain(|cluster| !before.contains(cluster));
            clusters.extend(now);
        }
    }
}

pub(crate) struct Known {
    pub clusters: Option<HashSet<ClusterKey>>,
    pub policy: Policy,
}

impl Knowledge {
    /// What is to become of an item of `owner` that the agent of `cluster` has and that is not
    /// among its desired items. `None` while the hub has not planned everything: keep it and ask again.
    ///
    /// An item that is wanted but cannot be made at the moment, for example because its source is
    /// not fetched yet, is [`Verdict::Keep`].
    pub fn judge(&self, cluster: &ClusterKey, owner: &OwnerKey) -> Option<Verdict> {
        let state = self.lock();
        if !state.waiting.as_ref()?.is_empty() {
            return None;
        }
        let mut known = HashMap::new();
        if let Some(found) = state.known.get(&owner.uid) {
            let Some(clusters) = &found.clusters else {
                return Some(Verdict::Keep);
            };
            known.insert(
                owner.uid.clone(),
                KnownOwner {
                    clusters: clusters.get(cluster).cloned().into_iter().collect(),
                    policy: found.policy,
                },
            );
        }
        let empty = HashMap::new();
        let retired = state.retired.get(&owner.namespace).unwrap_or(&empty);
        let placed = Placed {
            cluster: cluster.clone(),
            owner: owner.clone(),
        };
        deletions(&[placed], &known, retired).pop()
    }

    /// The cause and policy with which an item is to be deleted, if it is.
    pub fn deletion(&self, cluster: &ClusterKey, owner: &OwnerKey) -> Option<(Cause, Policy)> {
        match self.judge(cluster, owner)? {
            Verdict::Delete { cause, policy } => Some((cause, policy)),
            Verdict::Keep | Verdict::Orphaned => None,
        }
    }

    /// Whether everything that was there at the start has been planned.
    pub fn is_complete(&self) -> bool {
        self.lock().waiting.as_ref().is_some_and(HashSet::is_empty)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic: every change is one insert or remove.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with the fleet objects of the start.
    pub(crate) fn begin(&self, uids: impl IntoIterator<Item = String>) {
        let mut state = self.lock();
        let uids: HashSet<String> = uids.into_iter().collect();
        for uid in &uids {
            state.known.entry(uid.clone()).or_insert(Known {
                clusters: None,
                policy: Policy::Prune,
            });
        }
        state.waiting = Some(uids);
    }

    /// Notes that a fleet object was looked at. True when it was the last of the start.
    pub(crate) fn looked_at(&self, uid: &str) -> bool {
        match &mut self.lock().waiting {
            Some(waiting) => waiting.remove(uid) && waiting.is_empty(),
            None => false,
        }
    }

    /// Notes that a fleet object exists.
    pub(crate) fn exists(&self, uid: &str, policy: Policy) {
        self.lock()
            .known
            .entry(uid.to_owned())
            .or_insert(Known { clusters: None, policy })
            .policy = policy;
    }

    /// Clusters that a fleet object reached when it was planned last.
    pub(crate) fn clusters_of(&self, uid: &str) -> HashSet<ClusterKey> {
        self.lock()
            .known
            .get(uid)
            .and_then(|known| known.clusters.clone())
            .unwrap_or_default()
    }

    /// Notes that a fleet object is gone for good.
    pub(crate) fn gone(&self, uid: &str) {
        let mut state = self.lock();
        state.known.remove(uid);
        state.claims.release(uid);
        state.claims_epoch += 1;
    }

    /// Replaces the retirement log of a namespace.
    pub(crate) fn set_retired(&self, namespace: &str, entries: HashMap<String, Policy>) {
        self.lock().retired.insert(namespace.to_owned(), entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str) -> OwnerKey {
        OwnerKey {
            kind: "FleetKustomization".into(),
            namespace: "team".into(),
            name: "apps".into(),
            uid: uid.into(),
        }
    }

    #[test]
    fn nothing_is_judged_before_everything_was_planned() {
        let knowledge = Knowledge::default();
        let cluster = ClusterKey::new("platform", "eu-1");
        assert_eq!(knowledge.judge(&cluster, &owner("a")), None);
        knowledge.begin(["a".to_owned(), "b".to_owned()]);
        assert!(!knowledge.looked_at("a"));
        assert_eq!(knowledge.judge(&cluster, &owner("x")), None);
        assert!(knowledge.looked_at("b"));
        assert!(knowledge.is_complete());
        // Known, but its spec could not be planned: that is no reason to delete.
        assert_eq!(knowledge.judge(&cluster, &owner("a")), Some(Verdict::Keep));
        assert_eq!(knowledge.judge(&cluster, &owner("x")), Some(Verdict::Orphaned));

        knowledge.lock().reaches("a", HashSet::from([cluster.clone()]));
        knowledge.lock().reaches("b", HashSet::new());
        knowledge.set_retired("team", HashMap::from([("x".into(), Policy::Orphan)]));
        assert_eq!(knowledge.judge(&cluster, &owner("a")), Some(Verdict::Keep));
        assert_eq!(
            knowledge.deletion(&cluster, &owner("b")),
            Some((Cause::Excluded, Policy::Prune))
        );
        assert_eq!(
            knowledge.deletion(&cluster, &owner("x")),
            Some((Cause::Retired, Policy::Orphan))
        );
    }

    #[test]
    fn the_log_of_another_workspace_retires_nothing() {
        let knowledge = Knowledge::default();
        knowledge.begin([]);
        knowledge.set_retired("other", HashMap::from([("x".into(), Policy::Prune)]));
        let cluster = ClusterKey::new("platform", "eu-1");
        assert_eq!(knowledge.judge(&cluster, &owner("x")), Some(Verdict::Orphaned));
    }
}
