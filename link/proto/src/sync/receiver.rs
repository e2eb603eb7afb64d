//! The receiving end of one map in one session.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{ProtocolError, pop};
use crate::digest::{Digest, Salt};
use crate::pool::shared_text;
use crate::replica::Replica;
use crate::tree::{Key, Node, Snapshot};
use crate::wire::{
    Ack, DeleteCause, DeletePolicy, FailCode, FailedItem, ItemDelete, ItemPut, OwnerRef, SetKind, StateBody, TreeEntry,
    TreeReply, TreeRequest,
};

/// Most answers that wait to be sent: an honest sender has at most 64 items and 8 tree requests without an answer, and a
/// later version may have some more. Without a limit, a peer that sends and never reads would fill the memory.
const REPLIES: usize = 128;
/// Most items that are not settled: an honest sender has at most 64 without an acknowledgement.
const IN_HAND: usize = 128;

/// An item to be taken. The owner of the replica stores it and then settles it.
#[derive(Debug, Clone, PartialEq)]
pub struct IncomingPut {
    /// Names the item.
    pub key: Key,
    /// The sender's version, by which it is settled.
    pub version: u64,
    /// Where it comes from.
    pub owner: OwnerRef,
    /// Its content.
    pub payload: Bytes,
    /// Its leaf digest, checked.
    pub digest: Digest,
    /// Present for sensitive items; to be stored with the payload, or the digest cannot be computed again.
    pub salt: Option<Salt>,
}

/// An item to be deleted. The owner of the replica notes that durably and then settles it; what the item made is
/// deleted later, under the brake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingDelete {
    /// Names the item.
    pub key: Key,
    /// The sender's version, by which it is settled.
    pub version: u64,
    /// Whose item goes; the same owner as that of what is held.
    pub owner: OwnerRef,
    /// Why.
    pub cause: DeleteCause,
    /// What happens to what it made.
    pub policy: DeletePolicy,
    /// The change that causes it.
    pub change_id: String,
}

/// Why an item was not taken. It fails alone: the others go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ItemFailure {
    /// For the program.
    pub code: FailCode,
    /// For people.
    pub message: String,
}

/// What is to be done with an item that came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Put(IncomingPut),
    Delete(IncomingDelete),
}

#[derive(Debug)]
pub(crate) struct Receiver {
    set: SetKind,
    max_item: usize,
    snapshot: Option<Box<Snapshot>>,
    /// Whether the snapshot was asked for since the last heartbeat.
    asked: bool,
    replies: VecDeque<StateBody>,
    /// What the owner has in hand, by version. Different items are dealt with side by side.
    unsettled: BTreeMap<u64, Unsettled>,
    /// What came for an item that is in hand: its turn is when that is settled.
    waiting: VecDeque<Incoming>,
}

#[derive(Debug)]
enum Incoming {
    Put(ItemPut),
    Delete(ItemDelete),
}

#[derive(Debug)]
struct Unsettled {
    key: Key,
    put: Option<(Digest, String)>,
}

impl Incoming {
    fn key(&self) -> &str {
        match self {
            Incoming::Put(put) => &put.key,
            Incoming::Delete(delete) => &delete.key,
        }
    }

    fn version(&self) -> u64 {
        match self {
            Incoming::Put(put) => put.version,
            Incoming::Delete(delete) => delete.version,
        }
    }

    fn message(&self) -> &'static str {
        match self {
            Incoming::Put(_) => "ItemPut",
            Incoming::Delete(_) => "ItemDelete",
        }
    }
}

impl ItemFailure {
    /// A failure.
    pub fn new(code: FailCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl Receiver {
    pub(crate) fn new(set: SetKind, max_item: usize) -> Self {
        Self {
            set,
            max_item,
            snapshot: None,
            asked: false,
            replies: VecDeque::new(),
            unsettled: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn poll(&mut self) -> Option<StateBody> {
        pop(&mut self.replies)
    }

    pub(crate) fn handle_request(&mut self, replica: &Replica, request: TreeRequest) -> Result<(), ProtocolError> {
        self.expect_read("TreeRequest")?;
        self.asked = true;
        let TreeRequest {
            snapshot_root, prefix, ..
        } = request;
        let held = self
            .snapshot
            .as_ref()
            .is_some_and(|held| *held.root().as_bytes() == *snapshot_root);
        let mut gone = false;
        if !held {
            let current = Box::new(replica.snapshot());
            gone = !snapshot_root.is_empty() && *current.root().as_bytes() != *snapshot_root;
            self.snapshot = Some(current);
        }
        let snapshot = self.snapshot.as_ref().expect("set above when there was none");
        let mut reply = TreeReply {
            set: self.set as i32,
            snapshot_root: snapshot.root().to_vec(),
            prefix,
            children: Vec::new(),
            entries: Vec::new(),
            gone,
        };
        let mut complete = false;
        if !gone {
            match snapshot.node(&reply.prefix) {
                Node::Few(leaves) => {
                    complete = reply.prefix.is_empty();
                    let entry = |leaf: &crate::tree::Leaf| TreeEntry {
                        key: leaf.key.to_string(),
                        digest: leaf.digest.to_vec(),
                        owner_uid: leaf.owner_uid.to_string(),
                    };
                    reply.entries = leaves.iter().map(entry).collect();
                }
                Node::Many(digests) => reply.children = digests.iter().map(|digest| digest.to_vec()).collect(),
            }
        }
        if complete {
            // Everything was told at once; a session must not hold a copy of all keys for longer than it is needed.
            self.snapshot = None;
        }
        self.replies.push_back(StateBody::TreeReply(reply));
        Ok(())
    }

    /// Deals with an item: what is already held is acknowledged, what cannot be right fails, the rest is for the owner.
    pub(crate) fn handle_put(&mut self, replica: &Replica, put: ItemPut) -> Result<Option<Step>, ProtocolError> {
        self.handle(replica, Incoming::Put(put))
    }

    /// The same of a deletion.
    pub(crate) fn handle_delete(
        &mut self,
        replica: &Replica,
        delete: ItemDelete,
    ) -> Result<Option<Step>, ProtocolError> {
        self.handle(replica, Incoming::Delete(delete))
    }

    fn handle(&mut self, replica: &Replica, incoming: Incoming) -> Result<Option<Step>, ProtocolError> {
        let (message, key, version) = (incoming.message(), incoming.key(), incoming.version());
        self.expect_read(message)?;
        self.expect_room(message, version)?;
        // What is held is known only when what came before it is settled.
        let is_in_hand = self.unsettled.values().any(|other| *other.key == *key);
        if is_in_hand || self.waiting.iter().any(|other| other.key() == key) {
            self.waiting.push_back(incoming);
            return Ok(None);
        }
        Ok(self.take(replica, incoming))
    }

    fn take(&mut self, replica: &Replica, incoming: Incoming) -> Option<Step> {
        match incoming {
            Incoming::Put(put) => self.take_put(replica, put),
            Incoming::Delete(delete) => self.take_delete(replica, delete),
        }
    }

    fn take_put(&mut self, replica: &Replica, put: ItemPut) -> Option<Step> {
        let ItemPut {
            key,
            version,
            owner,
            digest,
            payload,
            chunks,
            sensitive,
            salt,
            ..
        } = put;
        let refuse = |code, message: &str| Err(ItemFailure::new(code, message));
        let salt = Salt::try_from(salt.as_slice()).ok();
        let owner = owner.unwrap_or_default();
        let actual = Digest::leaf(self.set as u32, &key, false, &owner.uid, salt.as_ref(), &payload);
        let checked = if !chunks.is_empty() {
            refuse(
                FailCode::Unsupported,
                "payloads in chunks are not supported by this version",
            )
        } else if payload.len() > self.max_item {
            let message = format!(
                "the payload has {} bytes, this end takes {}",
                payload.len(),
                self.max_item
            );
            refuse(FailCode::TooLarge, &message)
        } else if sensitive != salt.is_some() {
            refuse(
                FailCode::Malformed,
                "a salt belongs to sensitive items and to no others",
            )
        } else if *actual.as_bytes() != *digest {
            refuse(FailCode::BadDigest, "the digest does not fit the content")
        } else {
            Ok(())
        };
        if let Err(failure) = checked {
            self.acknowledge(&key, version, Err(failure));
            return None;
        }
        if replica.get(&key).is_some_and(|held| held.digest == actual) {
            self.acknowledge(&key, version, Ok(()));
            return None;
        }
        let key = shared_text(&key);
        let unsettled = Unsettled {
            key: key.clone(),
            put: Some((actual, owner.uid.clone())),
        };
        self.unsettled.insert(version, unsettled);
        Some(Step::Put(IncomingPut {
            key,
            version,
            owner,
            payload,
            digest: actual,
            salt,
        }))
    }

    fn take_delete(&mut self, replica: &Replica, delete: ItemDelete) -> Option<Step> {
        let ItemDelete {
            key,
            version,
            owner,
            cause,
            policy,
            change_id,
            ..
        } = delete;
        let owner = owner.unwrap_or_default();
        let cause = DeleteCause::try_from(cause)
            .ok()
            .filter(|cause| *cause != DeleteCause::Unspecified);
        // An unknown policy must not become the one that deletes more.
        let policy = DeletePolicy::try_from(policy);
        let (Some(cause), Ok(policy)) = (cause, policy) else {
            let failure = ItemFailure::new(
                FailCode::Unsupported,
                "its cause or policy is not known to this version",
            );
            self.acknowledge(&key, version, Err(failure));
            return None;
        };
        match replica.get(&key) {
            None => self.acknowledge(&key, version, Ok(())),
            Some(held) if *held.owner_uid != *owner.uid => {
                let message = format!(
                    "the item held is of owner {:?}, not of {:?}",
                    &*held.owner_uid, owner.uid
                );
                self.acknowledge(&key, version, Err(ItemFailure::new(FailCode::OwnerMismatch, message)));
            }
            Some(_) => {
                let key = shared_text(&key);
                let unsettled = Unsettled {
                    key: key.clone(),
                    put: None,
                };
                self.unsettled.insert(version, unsettled);
                return Some(Step::Delete(IncomingDelete {
                    key,
                    version,
                    owner,
                    cause,
                    policy,
                    change_id,
                }));
            }
        }
        None
    }

    /// The owner has dealt with the item: only now is it held (or gone), and acknowledged. Answers what came for the same
    /// item meanwhile, if that is for the owner too; `None` when no such item was in hand.
    pub(crate) fn settle(
        &mut self,
        replica: &mut Replica,
        version: u64,
        result: Result<(), ItemFailure>,
    ) -> Option<Option<Step>> {
        let Unsettled { key, put } = self.unsettled.remove(&version)?;
        if result.is_ok() {
            match put {
                Some((digest, owner_uid)) => replica.insert(&key, digest, &owner_uid),
                None => drop(replica.remove(&key)),
            }
        }
        self.acknowledge(&key, version, result);
        Some(self.take_next(replica, &key))
    }

    fn take_next(&mut self, replica: &Replica, key: &str) -> Option<Step> {
        while let Some(at) = self.waiting.iter().position(|incoming| incoming.key() == key) {
            let step = self
                .waiting
                .remove(at)
                .and_then(|incoming| self.take(replica, incoming));
            if step.is_some() {
                return step;
            }
        }
        None
    }

    /// A heartbeat passed: a snapshot that nobody has asked about since the last one is not kept.
    pub(crate) fn heartbeat(&mut self) {
        if !std::mem::take(&mut self.asked) {
            self.snapshot = None;
        }
    }

    fn expect_read(&self, message: &'static str) -> Result<(), ProtocolError> {
        if self.replies.len() < REPLIES {
            return Ok(());
        }
        let why = "the answers to earlier ones are not read";
        Err(ProtocolError::Unexpected { message, why })
    }

    fn expect_room(&self, message: &'static str, version: u64) -> Result<(), ProtocolError> {
        let unexpected = |why| Err(ProtocolError::Unexpected { message, why });
        let is_there = |incoming: &Incoming| incoming.version() == version;
        if self.unsettled.contains_key(&version) || self.waiting.iter().any(is_there) {
            return unexpected("an item of that version is in hand");
        }
        if self.unsettled.len() + self.waiting.len() >= IN_HAND {
            return unexpected("too many before it are not settled");
        }
        Ok(())
    }

    fn acknowledge(&mut self, key: &str, version: u64, result: Result<(), ItemFailure>) {
        let failed = result.err().map(|failure| FailedItem {
            key: key.to_owned(),
            code: failure.code as i32,
            message: failure.message,
        });
        let ack = Ack {
            set: self.set as i32,
            version,
            failed: failed.into_iter().collect(),
        };
        self.replies.push_back(StateBody::Ack(ack));
    }
}

#[cfg(test)]
mod tests;
