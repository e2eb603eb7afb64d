//! The sending end of a versioned map: what should be, kept by its owner across sessions.
//!
//! The hub has one per cluster (desired), the agent has one (status). A session only reads it, remembers how far it has
//! got by version, and looks each item up when its turn comes: what changed twice is sent once, in its latest form.

use std::sync::Arc;

use bytes::Bytes;
use litemap::LiteMap;

use crate::digest::{Digest, Salt};
use crate::frame::MAX_ITEM;
use crate::payload::Payload;
use crate::pool::{shared_owner, shared_text};
use crate::sorted;
use crate::text::is_clean;
use crate::tree::{Key, Snapshot};
use crate::wire::{Checkpoint, DeleteCause, DeletePolicy, MAX_KEY, OwnerRef, SetKind};

/// A versioned map, as its writer holds it.
#[derive(Debug)]
pub struct ItemMap {
    set: SetKind,
    version: u64,
    /// Sorted lists: a hub holds a map per cluster, mostly at rest, and the nodes of a tree are half empty.
    items: LiteMap<Key, Item>,
    order: LiteMap<u64, Key>,
    tombstones: usize,
    root: Option<Digest>,
    checkpoint: Option<Checkpoint>,
}

/// An item at the sending end.
#[derive(Debug, Clone)]
pub struct Item {
    /// Version of the map that made it so.
    pub version: u64,
    /// Where it comes from.
    pub owner: Arc<OwnerRef>,
    /// Its leaf digest; that of a deletion too, which is not in the tree.
    pub digest: Digest,
    /// Present or deleted.
    pub content: Content,
}

/// What an item is.
#[derive(Debug, Clone)]
pub enum Content {
    /// It should be.
    Present {
        /// Its payload as it is sent.
        payload: Payload,
        /// Present for sensitive items and only for them.
        salt: Option<Box<Salt>>,
    },
    /// It should be no more; kept until the other end has acknowledged it.
    Deleted {
        /// Why.
        cause: DeleteCause,
        /// What happens to what it made.
        policy: DeletePolicy,
        /// The change that causes it.
        change_id: Arc<str>,
    },
}

/// Why a deletion is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Whose item goes.
    pub owner: OwnerRef,
    /// Why: positive knowledge, never absence.
    pub cause: DeleteCause,
    /// What happens to what it made.
    pub policy: DeletePolicy,
    /// The change that causes it; may be empty.
    pub change_id: String,
}

/// An item that cannot be put into a map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The key is empty, too long, or holds control characters.
    #[error("item key {key:?} is empty, longer than {MAX_KEY} bytes or unclean")]
    Key {
        /// The key, shortened.
        key: String,
    },
    /// Larger than any peer takes.
    #[error("item {key} has {bytes} bytes, at most {MAX_ITEM} are possible")]
    TooLarge {
        /// The item.
        key: String,
        /// Its size.
        bytes: usize,
    },
}

impl ItemMap {
    /// An empty map.
    pub fn new(set: SetKind) -> Self {
        let (items, order) = (LiteMap::new(), LiteMap::new());
        Self {
            set,
            version: 0,
            items,
            order,
            tombstones: 0,
            root: None,
            checkpoint: None,
        }
    }

    /// Which map it is.
    pub fn set(&self) -> SetKind {
        self.set
    }

    /// Says how an item should be. Returns whether that changes anything: the same content again does not.
    ///
    /// `salt` makes the item sensitive ([`crate::item_salt`]); it must stay the same while the content does.
    pub fn put(&mut self, key: &str, owner: &OwnerRef, payload: Bytes, salt: Option<Salt>) -> Result<bool, PutError> {
        self.put_like(key, owner, payload, None, salt)
    }

    /// [`ItemMap::put`] of an item that is much like `base`, which others hold too: of it only the difference is kept.
    pub fn put_like(
        &mut self,
        key: &str,
        owner: &OwnerRef,
        payload: Bytes,
        base: Option<&Arc<Bytes>>,
        salt: Option<Salt>,
    ) -> Result<bool, PutError> {
        if !is_clean(key, MAX_KEY) {
            return Err(PutError::Key {
                key: key.chars().take(80).filter(|c| !c.is_control()).collect(),
            });
        }
        if payload.len() > MAX_ITEM {
            return Err(PutError::TooLarge {
                key: key.to_owned(),
                bytes: payload.len(),
            });
        }
        let digest = Digest::leaf(self.set as u32, key, false, &owner.uid, salt.as_ref(), &payload);
        let same = |item: &Item| matches!(item.content, Content::Present { .. }) && item.digest == digest;
        if self.items.get(key).is_some_and(same) {
            return Ok(false);
        }
        let payload = match base {
            Some(base) => Payload::alike(payload, base),
            None => payload.into(),
        };
        let salt = salt.map(Box::new);
        self.set_item(key, owner, digest, Content::Present { payload, salt });
        Ok(true)
    }

    /// Says that an item should be no more, known here or not (a peer may hold one that this map lost).
    ///
    /// Returns whether that changes anything: the same deletion again does not.
    pub fn delete(&mut self, key: &str, deletion: Deletion) -> bool {
        let same = |item: &Item| match &item.content {
            Content::Deleted { cause, policy, .. } => {
                (*cause, *policy, &*item.owner) == (deletion.cause, deletion.policy, &deletion.owner)
            }
            Content::Present { .. } => false,
        };
        if !is_clean(key, MAX_KEY) || self.items.get(key).is_some_and(same) {
            return false;
        }
        let digest = Digest::leaf(self.set as u32, key, true, &deletion.owner.uid, None, &[]);
        let Deletion {
            owner,
            cause,
            policy,
            change_id,
        } = deletion;
        self.set_item(
            key,
            &owner,
            digest,
            Content::Deleted {
                cause,
                policy,
                change_id: change_id.into(),
            },
        );
        true
    }

    /// The item, or its deletion while that is not acknowledged.
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.items.get(key)
    }

    /// Items that should be.
    pub fn present(&self) -> impl Iterator<Item = (&Key, &Item)> {
        self.items
            .iter()
            .filter(|(_, item)| matches!(item.content, Content::Present { .. }))
    }

    /// Deletions that are not acknowledged yet.
    pub fn deleted(&self) -> impl Iterator<Item = (&Key, &Item)> {
        self.items
            .iter()
            .filter(|(_, item)| matches!(item.content, Content::Deleted { .. }))
    }

    /// How many items should be.
    pub fn len(&self) -> usize {
        self.items.len() - self.tombstones
    }

    /// Whether no item should be.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The root of the tree of what should be.
    pub fn root(&mut self) -> Digest {
        match self.root {
            Some(root) => root,
            None => {
                let root = self.snapshot().root();
                self.root = Some(root);
                root
            }
        }
    }

    /// The tree of what should be, at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let leaf = |(key, item): (&Key, &Item)| (key.clone(), item.digest, item.owner.uid.as_str().into());
        Snapshot::new(self.set, self.present().map(leaf))
    }

    /// The checkpoint that covers everything in this map. It must be durable before it is set here, and set here before
    /// the items that it covers are put: sessions send it ahead of them.
    pub fn set_checkpoint(&mut self, checkpoint: Checkpoint) {
        self.checkpoint = Some(checkpoint);
    }

    /// The checkpoint that was set last.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// The first item that changed after `version`.
    pub(crate) fn after(&self, version: u64) -> Option<(&Key, &Item)> {
        let (Ok(next) | Err(next)) = self.order.find_index(&(version + 1));
        let (_, key) = self.order.get_indexed(next)?;
        self.items.get_indexed(self.items.find_index(key).ok()?)
    }

    /// The other end has dealt with this version: a deletion need not be remembered any longer.
    pub(crate) fn acknowledged(&mut self, key: &str, version: u64) {
        let done = |item: &Item| item.version == version && matches!(item.content, Content::Deleted { .. });
        if self.items.get(key).is_some_and(done) {
            self.order.remove(&version);
            self.items.remove(key);
            self.tombstones -= 1;
        }
    }

    /// The other end holds none of these: deletions up to `version`, except those that `keep` names, have been done.
    pub(crate) fn forget_deletions(&mut self, version: u64, keep: impl Fn(&str) -> bool) {
        let done: Vec<(Key, u64)> = self
            .deleted()
            .filter(|(key, item)| item.version <= version && !keep(key))
            .map(|(key, item)| (key.clone(), item.version))
            .collect();
        for (key, version) in done {
            self.acknowledged(&key, version);
        }
    }

    fn set_item(&mut self, key: &str, owner: &OwnerRef, digest: Digest, content: Content) {
        self.version += 1;
        self.tombstones += usize::from(matches!(content, Content::Deleted { .. }));
        let item = Item {
            version: self.version,
            owner: shared_owner(owner),
            digest,
            content,
        };
        let key = shared_text(key);
        if let Some(old) = sorted::insert(&mut self.items, key.clone(), item) {
            self.order.remove(&old.version);
            self.tombstones -= usize::from(matches!(old.content, Content::Deleted { .. }));
        }
        sorted::insert(&mut self.order, self.version, key);
        self.root = None;
    }
}

impl Item {
    /// Whether its payload holds secrets.
    pub fn is_sensitive(&self) -> bool {
        matches!(self.content, Content::Present { salt: Some(_), .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str) -> OwnerRef {
        OwnerRef {
            kind: "FleetKustomization".into(),
            ns: "platform".into(),
            name: "apps".into(),
            uid: uid.into(),
        }
    }

    fn deletion(uid: &str) -> Deletion {
        Deletion {
            owner: owner(uid),
            cause: DeleteCause::OwnerDeleted,
            policy: DeletePolicy::Prune,
            change_id: String::new(),
        }
    }

    fn put(map: &mut ItemMap, key: &str, uid: &str, payload: &'static str) -> bool {
        map.put(key, &owner(uid), Bytes::from_static(payload.as_bytes()), None)
            .expect("valid item")
    }

    #[test]
    fn equal_content_is_no_change_and_a_new_owner_is_one() {
        let mut map = ItemMap::new(SetKind::Desired);
        assert!(put(&mut map, "a", "1", "x"));
        let root = map.root();
        assert!(!put(&mut map, "a", "1", "x"));
        assert_eq!((map.version(), map.root()), (1, root));
        assert!(put(&mut map, "a", "2", "x"));
        assert_ne!(map.root(), root);
    }

    #[test]
    fn changes_come_in_order_and_each_item_once() {
        let mut map = ItemMap::new(SetKind::Desired);
        put(&mut map, "a", "1", "x");
        put(&mut map, "b", "1", "x");
        put(&mut map, "a", "1", "y");
        let (key, item) = map.after(0).expect("b changed");
        assert_eq!((&**key, item.version), ("b", 2));
        let (key, item) = map.after(2).expect("a changed later");
        assert_eq!((&**key, item.version), ("a", 3));
        assert!(map.after(3).is_none());
    }

    #[test]
    fn a_deletion_leaves_the_tree_and_lasts_until_acknowledged() {
        let mut map = ItemMap::new(SetKind::Desired);
        let empty = map.root();
        put(&mut map, "a", "1", "x");
        assert!(map.delete("a", deletion("1")));
        assert!(!map.delete("a", deletion("1")));
        assert_eq!((map.root(), map.len(), map.deleted().count()), (empty, 0, 1));
        map.acknowledged("a", 1);
        assert_eq!(
            map.deleted().count(),
            1,
            "an old version's acknowledgement says nothing"
        );
        map.acknowledged("a", 2);
        assert_eq!((map.deleted().count(), map.after(0).is_none()), (0, true));
        assert!(map.delete("never seen", deletion("9")));
        map.forget_deletions(map.version(), |key| key == "never seen");
        assert_eq!(map.deleted().count(), 1);
        map.forget_deletions(map.version(), |_| false);
        assert_eq!(map.deleted().count(), 0);
    }

    #[test]
    fn bad_items_are_refused() {
        let mut map = ItemMap::new(SetKind::Desired);
        let error = map.put("a\nb", &owner("1"), Bytes::new(), None).expect_err("unclean");
        assert_eq!(
            error.to_string(),
            "item key \"ab\" is empty, longer than 512 bytes or unclean"
        );
        let large = Bytes::from(vec![0; MAX_ITEM + 1]);
        assert!(matches!(
            map.put("a", &owner("1"), large, None),
            Err(PutError::TooLarge { .. })
        ));
    }
}
