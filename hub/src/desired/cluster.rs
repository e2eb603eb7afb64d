//! Desired and reported state of one cluster: the link of its sessions, and what is on the way into it.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use bytes::Bytes;
use litemap::LiteMap;
use nave_artifact::Digest;
use nave_placement::OwnerKey;
use nave_placement_controller::ItemHeader;
use nave_proto::{Deletion, Item, Key, Pool, Salt, shared_text, sorted, wire};
use nave_quic::ClusterLink;

use crate::locked;

/// Manifests that are remembered after an item named them: an agent that fetches the next one may use the last as a
/// dictionary. As many as change together on a busy cluster.
const FORMER: usize = 16;

/// Items of one agent that nobody knows, over all its sessions; a spoke with more of them than this makes them up.
const MAX_ORPHANS: usize = 4096;

/// One cluster's state; it outlives its sessions.
///
/// The link's lock is taken inside the plans' and never the other way round.
#[derive(Default)]
pub struct ClusterState {
    link: Arc<ClusterLink>,
    plans: Mutex<Plans>,
}

/// An agent names more items that nobody knows than it can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent names more than {MAX_ORPHANS} items that this hub does not know")]
pub struct TooManyOrphans;

/// What is planned for a cluster and what its agent is known to hold.
#[derive(Default)]
pub struct Plans {
    planned: LiteMap<Key, ItemHeader>,
    staged: BTreeMap<Key, Staged>,
    manifests: LiteMap<Key, Arc<Digest>>,
    /// What they were before, oldest first; at most [`FORMER`].
    former: VecDeque<Digest>,
    /// Items that the agent holds and the map does not know, with the UID of their owner.
    orphans: BTreeMap<Key, Key>,
}

/// A change on its way into the map.
pub enum Staged {
    /// The item should be so.
    Put {
        /// Whose.
        owner: Arc<wire::OwnerRef>,
        /// What is sent.
        payload: Bytes,
        /// What it is much like; of it only the difference is kept.
        base: Arc<Bytes>,
        /// For sensitive items.
        salt: Option<Salt>,
        /// The manifest that it names.
        manifest: Option<Digest>,
    },
    /// The item should be no more.
    Delete(Deletion),
}

/// What a cluster is to have of one fleet object now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Leaf digest of the item.
    pub payload: nave_proto::Digest,
    /// The manifest that it names.
    pub manifest: Option<Digest>,
}

/// What became of the staged items of one cluster.
#[derive(Debug, Default)]
pub struct Published {
    /// Owners whose target is known from now on: what was reported of them is judged anew.
    pub targets: Vec<OwnerKey>,
    /// Items that cannot be sent, and why.
    pub refused: Vec<(OwnerKey, String)>,
}

impl ClusterState {
    /// The maps that sessions read: what is published, covered by a checkpoint.
    pub fn link(&self) -> &Arc<ClusterLink> {
        &self.link
    }

    fn plans(&self) -> MutexGuard<'_, Plans> {
        locked::mutex(&self.plans)
    }

    /// Whether the item is planned exactly so.
    pub fn is_planned(&self, key: &str, header: &ItemHeader) -> bool {
        self.plans().planned.get(key).is_some_and(|planned| planned == header)
    }

    /// Plans an item.
    pub fn plan(&self, key: &str, header: ItemHeader, staged: Staged) {
        let (key, mut plans) = (shared_text(key), self.plans());
        sorted::insert(&mut plans.planned, key.clone(), header);
        plans.staged.insert(key, staged);
    }

    /// Takes an owner's item back. True when there is something to publish: the item is planned, in the map, or the agent
    /// is known to hold it. What an agent turns out to hold later is judged then.
    pub fn retract(&self, owner: &OwnerKey, deletion: Deletion) -> bool {
        let key = owner.item_key();
        let mut plans = self.plans();
        if plans
            .planned
            .get(&*key)
            .is_some_and(|header| header.owner.uid != owner.uid)
        {
            return false; // another life of the owner has the key: its item is not touched
        }
        let planned = plans.planned.remove(&*key).is_some();
        let held = plans.orphans.get(&*key).is_some_and(|uid| **uid == *owner.uid);
        let in_map = self.published(&key, |item| is_present(item) && item.owner.uid == owner.uid);
        if planned || held || in_map == Some(true) {
            plans.staged.insert(shared_text(&key), Staged::Delete(deletion));
            return true;
        }
        false
    }

    /// The agent holds an item that the map does not know. False when a change of it is on its way anyway.
    ///
    /// # Errors
    /// There are too many of them.
    pub fn orphan(&self, key: &str, owner_uid: &str) -> Result<bool, TooManyOrphans> {
        let mut plans = self.plans();
        if plans.orphans.len() >= MAX_ORPHANS && !plans.orphans.contains_key(key) {
            return Err(TooManyOrphans);
        }
        plans.orphans.insert(shared_text(key), shared_text(owner_uid));
        Ok(!plans.planned.contains_key(key) && !plans.staged.contains_key(key))
    }

    /// The agent dealt with an item: what it held without being known is settled.
    pub fn settled(&self, key: &str) {
        self.plans().orphans.remove(key);
    }

    /// Items that the agent holds and nobody knows: key and UID of the owner.
    pub fn orphans(&self) -> Vec<(String, String)> {
        self.plans()
            .orphans
            .iter()
            .map(|(key, uid)| (key.to_string(), uid.to_string()))
            .collect()
    }

    /// What is planned of one owner.
    pub fn header(&self, owner: &OwnerKey) -> Option<ItemHeader> {
        let plans = self.plans();
        let header = plans.planned.get(owner.item_key().as_str())?;
        (header.owner.uid == owner.uid).then(|| header.clone())
    }

    /// Planned items.
    pub fn headers(&self) -> Vec<ItemHeader> {
        self.plans().planned.values().cloned().collect()
    }

    /// Whether an item of that key is planned, published or held: whether the cluster may speak of it.
    pub fn concerns(&self, key: &str) -> bool {
        let plans = self.plans();
        plans.planned.contains_key(key) || plans.orphans.contains_key(key) || self.published(key, |_| ()).is_some()
    }

    /// UID of the owner of the published item.
    pub fn owner_uid(&self, key: &str) -> Option<String> {
        self.published(key, |item| item.owner.uid.clone())
    }

    /// How many items are published.
    pub fn len(&self) -> usize {
        self.link.desired(nave_proto::ItemMap::len)
    }

    /// Whether publishing would change the map.
    pub fn has_changes(&self) -> bool {
        self.plans().staged.iter().any(|(key, staged)| match staged {
            Staged::Put {
                owner, payload, salt, ..
            } => {
                let set = wire::SetKind::Desired as u32;
                let leaf = nave_proto::Digest::leaf(set, key, false, &owner.uid, salt.as_ref(), payload);
                self.published(key, |item| is_present(item) && item.digest == leaf) != Some(true)
            }
            Staged::Delete(_) => true,
        })
    }

    /// Moves what is staged into the map, which a live session sends at once.
    pub fn publish(&self, checkpoint: Option<&wire::Checkpoint>) -> Published {
        let mut plans = self.plans();
        let staged = std::mem::take(&mut plans.staged);
        let mut published = Published::default();
        if staged.is_empty() {
            return published;
        }
        self.link.update(|map| {
            if let Some(checkpoint) = checkpoint {
                map.set_checkpoint(checkpoint.clone());
            }
            for (key, staged) in staged {
                match staged {
                    Staged::Put {
                        owner,
                        payload,
                        base,
                        salt,
                        manifest,
                    } => match map.put_like(&key, &owner, payload, Some(&base), salt) {
                        Ok(_) => {
                            if let Some(header) = plans.planned.get(&key) {
                                published.targets.push(OwnerKey::clone(&header.owner));
                            }
                            let before = match manifest {
                                Some(manifest) => sorted::insert(&mut plans.manifests, key, shared_manifest(manifest)),
                                None => plans.manifests.remove(&key),
                            };
                            plans.remember(before.map(|before| *before).filter(|before| Some(*before) != manifest));
                        }
                        Err(error) => {
                            // Forgetting the header makes the next plan try again.
                            if let Some(header) = plans.planned.remove(&key) {
                                published
                                    .refused
                                    .push((OwnerKey::clone(&header.owner), error.to_string()));
                            }
                        }
                    },
                    Staged::Delete(deletion) => {
                        plans.manifests.remove(&key);
                        map.delete(&key, deletion);
                    }
                }
            }
        });
        published
    }

    /// What is to be there of one fleet object; none while a change is on its way into the map.
    pub fn target(&self, owner: &OwnerKey) -> Option<Target> {
        let key = owner.item_key();
        let plans = self.plans();
        if plans.staged.contains_key(&*key) {
            return None;
        }
        let digest = self.published(&key, |item| {
            (is_present(item) && item.owner.uid == owner.uid).then_some(item.digest)
        })??;
        Some(Target {
            payload: digest,
            manifest: plans.manifests.get(&*key).map(|manifest| **manifest),
        })
    }

    /// Whether a published item names the manifest: whether the cluster may fetch it.
    pub fn names_manifest(&self, manifest: &Digest) -> bool {
        self.plans().manifests.values().any(|named| **named == *manifest)
    }

    /// Whether the cluster was to have the manifest, now or lately: whether what is in it may show in what is sent.
    pub fn had_manifest(&self, manifest: &Digest) -> bool {
        self.plans().former.contains(manifest) || self.names_manifest(manifest)
    }

    /// Manifests of published items and of those about to be.
    pub fn manifests(&self) -> HashSet<Digest> {
        let plans = self.plans();
        let staged = plans.staged.values().filter_map(|staged| match staged {
            Staged::Put { manifest, .. } => *manifest,
            Staged::Delete(_) => None,
        });
        plans.manifests.values().map(|named| **named).chain(staged).collect()
    }

    fn published<T>(&self, key: &str, look: impl FnOnce(&Item) -> T) -> Option<T> {
        self.link.desired(|map| map.get(key).map(look))
    }

    /// A state in which a published item names that manifest.
    #[cfg(test)]
    pub fn naming(key: &str, manifest: Digest) -> Self {
        let plans = Plans {
            manifests: [(shared_text(key), Arc::new(manifest))].into_iter().collect(),
            ..Plans::default()
        };
        ClusterState {
            plans: Mutex::new(plans),
            ..ClusterState::default()
        }
    }
}

impl Plans {
    fn remember(&mut self, former: Option<Digest>) {
        let Some(former) = former.filter(|former| !self.former.contains(former)) else {
            return;
        };
        if self.former.len() == FORMER {
            self.former.pop_front();
        }
        self.former.push_back(former);
    }
}

/// The one copy of a manifest's digest in this process: a fleet object's is the same on all of its clusters.
fn shared_manifest(manifest: Digest) -> Arc<Digest> {
    static MANIFESTS: LazyLock<Mutex<Pool<Arc<Digest>>>> = LazyLock::new(Mutex::default);
    locked::mutex(&MANIFESTS).share(&manifest, || Arc::new(manifest))
}

fn is_present(item: &Item) -> bool {
    matches!(item.content, nave_proto::Content::Present { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_placement::Grant;
    use nave_placement_controller::ItemVersion;
    use nave_proto::wire::{DeleteCause, DeletePolicy};

    fn owner(uid: &str) -> OwnerKey {
        OwnerKey {
            kind: "FleetKustomization".into(),
            namespace: "team".into(),
            name: "apps".into(),
            uid: uid.into(),
        }
    }

    fn wire_owner(uid: &str) -> wire::OwnerRef {
        super::super::bundle::owner(&owner(uid))
    }

    fn plan(state: &ClusterState, uid: &str, payload: &'static str) {
        let header = ItemHeader {
            owner: Arc::new(owner(uid)),
            version: ItemVersion::of(payload),
            grant: Arc::new(Grant {
                admin: true,
                service_account: String::new(),
                namespaces: Vec::new(),
                lockdown: false,
            }),
        };
        let staged = Staged::Put {
            owner: Arc::new(wire_owner(uid)),
            payload: Bytes::from_static(payload.as_bytes()),
            base: Arc::default(),
            salt: None,
            manifest: Some(Digest::sha256(payload.as_bytes())),
        };
        state.plan(&owner(uid).item_key(), header, staged);
    }

    fn deletion(uid: &str) -> Deletion {
        Deletion {
            owner: wire_owner(uid),
            cause: DeleteCause::NotPlaced,
            policy: DeletePolicy::Prune,
            change_id: String::new(),
        }
    }

    fn deleted(state: &ClusterState) -> usize {
        state.link.desired(|map| map.deleted().count())
    }

    const KEY: &str = "FleetKustomization/team/apps";

    #[test]
    fn a_plan_becomes_a_target_when_published_and_the_same_again_is_no_change() {
        let state = ClusterState::default();
        plan(&state, "1", "x");
        assert!(state.has_changes());
        assert_eq!(state.target(&owner("1")), None, "not covered by a checkpoint yet");
        assert!(!state.names_manifest(&Digest::sha256(b"x")));
        assert_eq!(state.publish(None).targets, [owner("1")]);
        let target = state.target(&owner("1")).unwrap();
        assert_eq!(target.manifest, Some(Digest::sha256(b"x")));
        assert!(state.names_manifest(&Digest::sha256(b"x")));
        plan(&state, "1", "x");
        assert!(!state.has_changes());
        plan(&state, "1", "y");
        assert!(!state.had_manifest(&Digest::sha256(b"y")), "nobody was told of it yet");
        state.publish(None);
        for (manifest, named, had) in [(b"x", false, true), (b"y", true, true), (b"z", false, false)] {
            let manifest = Digest::sha256(manifest);
            assert_eq!(
                (state.names_manifest(&manifest), state.had_manifest(&manifest)),
                (named, had)
            );
        }
    }

    #[test]
    fn taking_back_deletes_only_what_is_known_to_be_there() {
        let state = ClusterState::default();
        assert!(!state.retract(&owner("1"), deletion("1")), "nothing is known here");
        assert!(!state.has_changes());
        // The agent of a spoke that was away holds one from before the restart.
        assert_eq!(state.orphan(KEY, "1"), Ok(true));
        assert!(!state.retract(&owner("2"), deletion("2")), "another owner's");
        assert!(state.retract(&owner("1"), deletion("1")));
        assert!(state.has_changes());
        state.publish(None);
        assert_eq!((deleted(&state), state.orphans().len()), (1, 1));
        state.settled(KEY);
        assert_eq!(state.orphans().len(), 0);
    }

    #[test]
    fn names_that_an_agent_makes_up_are_bounded_over_its_sessions() {
        let state = ClusterState::default();
        for number in 0..MAX_ORPHANS {
            assert_eq!(state.orphan(&format!("{KEY}-{number}"), "1"), Ok(true));
        }
        assert_eq!(state.orphan(KEY, "1"), Err(TooManyOrphans));
        assert_eq!(state.orphan(&format!("{KEY}-7"), "1"), Ok(true), "the same again");
        assert_eq!(state.orphans().len(), MAX_ORPHANS);
    }

    #[test]
    fn the_end_of_one_life_does_not_touch_the_next() {
        let state = ClusterState::default();
        plan(&state, "1", "x");
        state.publish(None);
        plan(&state, "2", "x");
        assert!(!state.retract(&owner("1"), deletion("1")));
        state.publish(None);
        assert!(state.target(&owner("2")).is_some());
        assert_eq!(state.orphan(KEY, "1"), Ok(false), "the new owner's item replaces it");
    }

    #[test]
    fn an_item_that_comes_back_is_not_deleted() {
        let state = ClusterState::default();
        plan(&state, "1", "x");
        state.publish(None);
        assert!(state.retract(&owner("1"), deletion("1")));
        plan(&state, "1", "x");
        state.publish(None);
        assert!(state.target(&owner("1")).is_some());
        assert_eq!(deleted(&state), 0);
    }
}
