//! The digest tree of a map: two ends with equal roots hold equal items, and a walk finds the few that differ.
//!
//! ```text
//! root = H(set, count, node(all))
//! node = 0                        no items
//!        H(leaf, leaf, …)         at most 16 items, in path order
//!        H(child 0, …, child 15)  by the next four bits of the path
//! path = H(key)                   so that no choice of keys makes the tree deep
//! ```
//!
//! The tree depends on the items alone, not on the order in which they came. Deletions are not in it: an item is there or
//! it is not, so nothing has to be remembered for ever at either end to keep roots equal.

use std::sync::Arc;

use crate::digest::{Digest, Hasher};
use crate::wire::{MAX_TREE_ENTRIES, SetKind};

/// Names an item within its map. Shared, because the map, its index and a walk hold the same key.
pub type Key = Arc<str>;

/// Up to this many items are hashed as one node.
const BUCKET: usize = 16;

/// What is known of one item in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// SHA-256 of the key: its place.
    pub(crate) path: [u8; 32],
    /// The item.
    pub key: Key,
    /// Its leaf digest.
    pub digest: Digest,
    /// UID of its owner, empty for none.
    pub owner_uid: Arc<str>,
}

/// All leaves of a map at one moment, in path order. Never changes: a walk that lasts sees one state.
#[derive(Debug, Clone)]
pub struct Snapshot {
    root: Digest,
    leaves: Vec<Leaf>,
}

/// What a node below a prefix looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node<'a> {
    /// All items, because they are few.
    Few(&'a [Leaf]),
    /// The digests of the sixteen children.
    Many(Box<[Digest; 16]>),
}

impl Snapshot {
    pub(crate) fn new(set: SetKind, leaves: impl Iterator<Item = (Key, Digest, Arc<str>)>) -> Self {
        let with_path = |(key, digest, owner_uid): (Key, Digest, Arc<str>)| Leaf {
            path: path_of(&key),
            key,
            digest,
            owner_uid,
        };
        let mut leaves: Vec<Leaf> = leaves.map(with_path).collect();
        leaves.sort_unstable_by_key(|a| a.path);
        let mut hash = Hasher::new(b"nave root v1\0");
        hash.number(set as u64)
            .number(leaves.len() as u64)
            .digest(&node(&leaves, 0));
        Self {
            root: hash.finish(),
            leaves,
        }
    }

    /// The digest of everything.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The items whose paths begin with `prefix` (one value below 16 per level).
    pub(crate) fn below(&self, prefix: &[u8]) -> &[Leaf] {
        let start = self.leaves.partition_point(|leaf| compare(&leaf.path, prefix).is_lt());
        let length = self.leaves[start..].partition_point(|leaf| compare(&leaf.path, prefix).is_eq());
        &self.leaves[start..start + length]
    }

    /// What to tell a walker that asks about `prefix`.
    pub(crate) fn node(&self, prefix: &[u8]) -> Node<'_> {
        let leaves = self.below(prefix);
        // A prefix of 64 values names one path; there are no children below it.
        if leaves.len() <= MAX_TREE_ENTRIES || prefix.len() >= 64 {
            return Node::Few(&leaves[..leaves.len().min(MAX_TREE_ENTRIES)]);
        }
        Node::Many(Box::new(children(leaves, prefix.len())))
    }

    /// The digest of the node below `prefix`, as it stands in its parent.
    pub(crate) fn digest_below(&self, prefix: &[u8]) -> Digest {
        node(self.below(prefix), prefix.len())
    }
}

/// Whether `key` lies below `prefix`.
pub(crate) fn lies_below(key: &str, prefix: &[u8]) -> bool {
    compare(&path_of(key), prefix).is_eq()
}

fn path_of(key: &str) -> [u8; 32] {
    let mut hash = Hasher::new(b"nave path v1\0");
    hash.part(key.as_bytes());
    *hash.finish().as_bytes()
}

fn nibble(path: &[u8; 32], level: usize) -> u8 {
    let byte = path[level / 2];
    if level.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
}

/// The order of `path`'s first values against `prefix`.
fn compare(path: &[u8; 32], prefix: &[u8]) -> std::cmp::Ordering {
    (0..prefix.len().min(64))
        .map(|level| nibble(path, level))
        .cmp(prefix.iter().copied())
}

fn node(leaves: &[Leaf], level: usize) -> Digest {
    if leaves.is_empty() {
        return Digest::default();
    }
    if leaves.len() <= BUCKET || level >= 64 {
        let mut hash = Hasher::new(b"nave bucket v1\0");
        for leaf in leaves {
            hash.digest(&leaf.digest);
        }
        return hash.finish();
    }
    let mut hash = Hasher::new(b"nave node v1\0");
    for child in children(leaves, level) {
        hash.digest(&child);
    }
    hash.finish()
}

fn children(leaves: &[Leaf], level: usize) -> [Digest; 16] {
    let mut rest = leaves;
    std::array::from_fn(|child| {
        let length = rest.partition_point(|leaf| usize::from(nibble(&leaf.path, level)) <= child);
        let (below, after) = rest.split_at(length);
        rest = after;
        node(below, level + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(number: usize, content: &str) -> (Key, Digest, Arc<str>) {
        (
            format!("key-{number}").into(),
            Digest::of_content(content.as_bytes()),
            "".into(),
        )
    }

    fn snapshot(numbers: impl Iterator<Item = usize>) -> Snapshot {
        Snapshot::new(SetKind::Desired, numbers.map(|number| leaf(number, "same")))
    }

    #[test]
    fn root_depends_on_items_and_not_on_their_order() {
        assert_eq!(snapshot(0..2000).root(), snapshot((0..2000).rev()).root());
        assert_ne!(snapshot(0..2000).root(), snapshot(0..1999).root());
        assert_ne!(
            snapshot(0..0).root(),
            Snapshot::new(SetKind::Status, std::iter::empty()).root()
        );
        let changed = (0..2000).map(|number| leaf(number, if number == 7 { "other" } else { "same" }));
        assert_ne!(
            Snapshot::new(SetKind::Desired, changed).root(),
            snapshot(0..2000).root()
        );
    }

    #[test]
    fn recorded_roots_stay() {
        assert_eq!(
            snapshot(0..0).root().to_string(),
            "sha256:79474dfc7215397f57f6d31ce8154fb434874d529ae394ed85c436809f7884c9"
        );
        assert_eq!(
            snapshot(0..3).root().to_string(),
            "sha256:45a4c8db01bdb5ae3370d48b713ee94556f839c01e0578d823ccb886df9ed0ad"
        );
        assert_eq!(
            snapshot(0..1000).root().to_string(),
            "sha256:d7f81eb21c49c570c367bb46654fa92cf397a664c8113cc7451b2b22257752ab"
        );
    }

    #[test]
    fn nodes_split_their_leaves_completely() {
        let tree = snapshot(0..9000);
        let Node::Many(digests) = tree.node(&[]) else {
            panic!("9000 items are many")
        };
        let mut seen = 0;
        for child in 0..16 {
            assert_eq!(tree.digest_below(&[child]), digests[usize::from(child)]);
            let below = tree.below(&[child]);
            assert!(below.iter().all(|leaf| lies_below(&leaf.key, &[child])));
            seen += below.len();
        }
        assert_eq!(seen, 9000);
        assert!(matches!(tree.node(&[3, 1]), Node::Few(few) if few.len() < 100 && !few.is_empty()));
        assert!(matches!(tree.node(&[0; 64]), Node::Few([])));
    }
}
