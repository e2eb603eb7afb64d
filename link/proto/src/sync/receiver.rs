//! The receiving end of one map in one session.

use std::collections::VecDeque;

use bytes::Bytes;

use super::ProtocolError;
use crate::digest::{Digest, Salt};
use crate::replica::Replica;
use crate::tree::{Key, Node, Snapshot};
use crate::wire::{
    Ack, DeleteCause, DeletePolicy, FailCode, FailedItem, ItemDelete, ItemPut, OwnerRef, SetKind, StateBody, TreeEntry,
    TreeReply, TreeRequest,
};

/// Most replies that wait to be sent: as many as a sender asks for at once, and some more for a later version's.
const REPLIES: usize = 32;

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
    unsettled: Option<Unsettled>,
}

#[derive(Debug)]
struct Unsettled {
    key: Key,
    version: u64,
    put: Option<(Digest, String)>,
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
            unsettled: None,
        }
    }

    pub(crate) fn poll(&mut self) -> Option<StateBody> {
        self.replies.pop_front()
    }

    pub(crate) fn handle_request(&mut self, replica: &Replica, request: TreeRequest) -> Result<(), ProtocolError> {
        if self.replies.len() >= REPLIES {
            let why = "the answers to earlier ones are not read";
            return Err(ProtocolError::Unexpected {
                message: "TreeRequest",
                why,
            });
        }
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
        self.expect_settled("ItemPut")?;
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
            return Ok(None);
        }
        if replica.get(&key).is_some_and(|held| held.digest == actual) {
            self.acknowledge(&key, version, Ok(()));
            return Ok(None);
        }
        let key: Key = key.into();
        self.unsettled = Some(Unsettled {
            key: key.clone(),
            version,
            put: Some((actual, owner.uid.clone())),
        });
        Ok(Some(Step::Put(IncomingPut {
            key,
            version,
            owner,
            payload,
            digest: actual,
            salt,
        })))
    }

    pub(crate) fn handle_delete(
        &mut self,
        replica: &Replica,
        delete: ItemDelete,
    ) -> Result<Option<Step>, ProtocolError> {
        self.expect_settled("ItemDelete")?;
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
            return Ok(None);
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
                let key: Key = key.into();
                self.unsettled = Some(Unsettled {
                    key: key.clone(),
                    version,
                    put: None,
                });
                return Ok(Some(Step::Delete(IncomingDelete {
                    key,
                    version,
                    owner,
                    cause,
                    policy,
                    change_id,
                })));
            }
        }
        Ok(None)
    }

    /// The owner has dealt with the item: only now is it held (or gone), and acknowledged.
    pub(crate) fn settle(&mut self, replica: &mut Replica, version: u64, result: Result<(), ItemFailure>) -> bool {
        let Some(Unsettled { key, put, .. }) = self.unsettled.take_if(|unsettled| unsettled.version == version) else {
            return false;
        };
        if result.is_ok() {
            match put {
                Some((digest, owner_uid)) => replica.insert(&key, digest, &owner_uid),
                None => drop(replica.remove(&key)),
            }
        }
        self.acknowledge(&key, version, result);
        true
    }

    /// A heartbeat passed: a snapshot that nobody has asked about since the last one is not kept.
    pub(crate) fn heartbeat(&mut self) {
        if !std::mem::take(&mut self.asked) {
            self.snapshot = None;
        }
    }

    fn expect_settled(&self, message: &'static str) -> Result<(), ProtocolError> {
        match &self.unsettled {
            None => Ok(()),
            Some(_) => Err(ProtocolError::Unexpected {
                message,
                why: "this end has not settled the item before it",
            }),
        }
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
mod tests {
    use super::*;

    const SET: SetKind = SetKind::Desired;

    fn owner(uid: &str) -> OwnerRef {
        OwnerRef {
            uid: uid.to_owned(),
            ..OwnerRef::default()
        }
    }

    fn put(key: &str, uid: &str, payload: &'static str) -> ItemPut {
        let digest = Digest::leaf(SET as u32, key, false, uid, None, payload.as_bytes());
        ItemPut {
            set: SET as i32,
            key: key.to_owned(),
            version: 7,
            owner: Some(owner(uid)),
            digest: digest.to_vec(),
            payload: Bytes::from_static(payload.as_bytes()),
            ..ItemPut::default()
        }
    }

    fn delete(key: &str, uid: &str) -> ItemDelete {
        ItemDelete {
            set: SET as i32,
            key: key.to_owned(),
            version: 7,
            owner: Some(owner(uid)),
            cause: DeleteCause::NotPlaced as i32,
            policy: DeletePolicy::Prune as i32,
            change_id: String::new(),
        }
    }

    /// A replica that holds `held` of owner `1` with payload `x`.
    fn replica() -> Replica {
        let mut replica = Replica::new(SET);
        replica.insert("held", Digest::leaf(SET as u32, "held", false, "1", None, b"x"), "1");
        replica
    }

    /// What the receiver says at once, or that it hands the item to its owner.
    fn told(receiver: &mut Receiver, step: Option<Step>) -> String {
        match (step, receiver.poll()) {
            (Some(Step::Put(put)), None) => format!("take {}", put.key),
            (Some(Step::Delete(delete)), None) => format!("drop {}", delete.key),
            (None, Some(StateBody::Ack(ack))) => match ack.failed.first() {
                None => "taken".to_owned(),
                Some(failed) => format!("{:?}", FailCode::try_from(failed.code).expect("a known code")),
            },
            other => panic!("{other:?}"),
        }
    }

    fn check_put(put: ItemPut, expected: &str) {
        let mut receiver = Receiver::new(SET, 100);
        let step = receiver.handle_put(&replica(), put).expect("in order");
        assert_eq!(told(&mut receiver, step), expected);
    }

    fn check_delete(delete: ItemDelete, expected: &str) {
        let mut receiver = Receiver::new(SET, 100);
        let step = receiver.handle_delete(&replica(), delete).expect("in order");
        assert_eq!(told(&mut receiver, step), expected);
    }

    #[test]
    fn puts() {
        check_put(put("new", "1", "x"), "take new");
        check_put(put("held", "1", "y"), "take held");
        // The same again has no effect: nobody is asked to store it.
        check_put(put("held", "1", "x"), "taken");
        check_put(put("held", "2", "x"), "take held");
        check_put(
            ItemPut {
                payload: Bytes::from_static(b"y"),
                ..put("new", "1", "x")
            },
            "BadDigest",
        );
        check_put(
            ItemPut {
                key: "other".to_owned(),
                ..put("new", "1", "x")
            },
            "BadDigest",
        );
        check_put(
            ItemPut {
                payload: vec![0; 101].into(),
                ..put("new", "1", "x")
            },
            "TooLarge",
        );
        check_put(
            ItemPut {
                chunks: vec![vec![0; 32]],
                ..put("new", "1", "x")
            },
            "Unsupported",
        );
        check_put(
            ItemPut {
                sensitive: true,
                ..put("new", "1", "x")
            },
            "Malformed",
        );
        check_put(
            ItemPut {
                salt: vec![0; 32],
                ..put("new", "1", "x")
            },
            "Malformed",
        );
    }

    #[test]
    fn deletes() {
        check_delete(delete("held", "1"), "drop held");
        check_delete(delete("unknown", "1"), "taken");
        check_delete(delete("held", "2"), "OwnerMismatch");
        check_delete(
            ItemDelete {
                cause: 0,
                ..delete("held", "1")
            },
            "Unsupported",
        );
        check_delete(
            ItemDelete {
                cause: 99,
                ..delete("held", "1")
            },
            "Unsupported",
        );
        check_delete(
            ItemDelete {
                policy: 99,
                ..delete("held", "1")
            },
            "Unsupported",
        );
    }

    #[test]
    fn an_item_is_held_when_it_is_settled_and_not_before() {
        let (mut receiver, mut replica) = (Receiver::new(SET, 100), replica());
        assert!(
            receiver
                .handle_put(&replica, put("new", "1", "x"))
                .expect("in order")
                .is_some()
        );
        assert!(replica.get("new").is_none());
        assert!(
            receiver.handle_put(&replica, put("more", "1", "x")).is_err(),
            "one at a time"
        );
        assert!(!receiver.settle(&mut replica, 6, Ok(())), "another version");
        assert!(receiver.settle(&mut replica, 7, Ok(())));
        assert!(replica.get("new").is_some());
        assert!(!receiver.settle(&mut replica, 7, Ok(())), "settled already");

        assert!(
            receiver
                .handle_put(&replica, put("bad", "1", "x"))
                .expect("in order")
                .is_some()
        );
        assert!(receiver.settle(&mut replica, 7, Err(ItemFailure::new(FailCode::Denied, "no"))));
        assert!(replica.get("bad").is_none());
    }

    #[test]
    fn a_snapshot_lasts_while_it_is_asked_for() {
        let (mut receiver, mut replica) = (Receiver::new(SET, 100), replica());
        for number in 0..600 {
            replica.insert(&format!("key-{number}"), Digest::of_content(b""), "");
        }
        let ask = |receiver: &mut Receiver, root: Vec<u8>, replica: &Replica| {
            let request = TreeRequest {
                set: SET as i32,
                snapshot_root: root,
                prefix: vec![3],
            };
            receiver.handle_request(replica, request).expect("few requests");
            match receiver.poll() {
                Some(StateBody::TreeReply(reply)) => (reply.gone, reply.snapshot_root),
                other => panic!("{other:?}"),
            }
        };
        let (gone, root) = ask(&mut receiver, Vec::new(), &replica);
        assert!(!gone);
        replica.remove("key-5");
        assert_eq!(
            ask(&mut receiver, root.clone(), &replica),
            (false, root.clone()),
            "as it was"
        );
        receiver.heartbeat();
        assert!(!ask(&mut receiver, root.clone(), &replica).0);
        receiver.heartbeat();
        receiver.heartbeat();
        let (gone, current) = ask(&mut receiver, root.clone(), &replica);
        assert!(gone && current != root, "it is not kept for ever");
        assert!(
            !ask(&mut receiver, current, &replica).0,
            "the one that was named instead is there"
        );
    }
}
