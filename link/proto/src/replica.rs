//! The receiving end of a versioned map: which items are held, by digest.
//!
//! The agent has one for desired items (payloads are in its own store, from which this is rebuilt when it starts), the
//! hub has one per cluster for status. Both outlive sessions.

use std::sync::Arc;

use litemap::LiteMap;

use crate::digest::Digest;
use crate::pool::shared_text;
use crate::sorted;
use crate::tree::{Key, Snapshot};
use crate::wire::SetKind;

/// What is held of a map whose writer is at the other end.
#[derive(Debug)]
pub struct Replica {
    set: SetKind,
    items: LiteMap<Key, Held>,
    root: Option<Digest>,
}

/// One item that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Leaf digest of what was taken.
    pub digest: Digest,
    /// UID of its owner, empty for none.
    pub owner_uid: Arc<str>,
}

impl Replica {
    /// Nothing held yet.
    pub fn new(set: SetKind) -> Self {
        Self {
            set,
            items: LiteMap::new(),
            root: None,
        }
    }

    /// Which map it is of.
    pub fn set(&self) -> SetKind {
        self.set
    }

    /// Says that an item is held: when a store is read at start, or by the session after the item was taken.
    pub fn insert(&mut self, key: &str, digest: Digest, owner_uid: &str) {
        let held = Held {
            digest,
            owner_uid: shared_text(owner_uid),
        };
        sorted::insert(&mut self.items, shared_text(key), held);
        self.root = None;
    }

    /// Says that an item is held no longer.
    pub fn remove(&mut self, key: &str) -> Option<Held> {
        self.root = None;
        self.items.remove(key)
    }

    /// Forgets everything: the sender will send it all again.
    pub fn clear(&mut self) {
        self.items.clear();
        self.root = None;
    }

    /// What is held under a key.
    pub fn get(&self, key: &str) -> Option<&Held> {
        self.items.get(key)
    }

    /// Everything that is held.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Held)> {
        self.items.iter()
    }

    /// How many items are held.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The root of the tree of what is held.
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

    /// The tree of what is held, at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let leaf = |(key, held): (&Key, &Held)| (key.clone(), held.digest, held.owner_uid.clone());
        Snapshot::new(self.set, self.items.iter().map(leaf))
    }
}
