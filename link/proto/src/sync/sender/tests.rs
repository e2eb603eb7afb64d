use bytes::Bytes;

use super::*;
use crate::map::Deletion;
use crate::wire::{DeleteCause, DeletePolicy, OwnerRef};

fn owner(uid: &str) -> OwnerRef {
    OwnerRef {
        uid: uid.to_owned(),
        ..OwnerRef::default()
    }
}

fn put(map: &mut ItemMap, key: &str, payload: &'static str) {
    map.put(key, &owner("1"), Bytes::from_static(payload.as_bytes()), None)
        .expect("valid item");
}

fn delete(map: &mut ItemMap, key: &str, uid: &str) {
    let (cause, policy) = (DeleteCause::OwnerDeleted, DeletePolicy::Prune);
    map.delete(
        key,
        Deletion {
            owner: owner(uid),
            cause,
            policy,
            change_id: String::new(),
        },
    );
}

/// A sender that has asked for the whole tree of a receiver which holds something else.
fn walking(map: &mut ItemMap) -> Sender {
    let mut sender = Sender::new(SetKind::Desired);
    sender.start(map, &[9; 32], usize::MAX, None);
    let asked = sender.poll(map, &mut VecDeque::new());
    assert!(matches!(asked, Some(StateBody::TreeRequest(request)) if request.prefix.is_empty()));
    sender
}

fn entry(key: &str, uid: &str, payload: &str) -> TreeEntry {
    let digest = Digest::leaf(SetKind::Desired as u32, key, false, uid, None, payload.as_bytes());
    TreeEntry {
        key: key.to_owned(),
        digest: digest.to_vec(),
        owner_uid: uid.to_owned(),
    }
}

fn reply(entries: Vec<TreeEntry>) -> TreeReply {
    TreeReply {
        set: SetKind::Desired as i32,
        snapshot_root: vec![9; 32],
        entries,
        ..TreeReply::default()
    }
}

/// What is sent, each item acknowledged at once.
fn sent(sender: &mut Sender, map: &mut ItemMap, events: &mut VecDeque<SenderEvent>) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(body) = sender.poll(map, events) {
        let (text, version) = match body {
            StateBody::ItemPut(put) => (format!("put {}", put.key), put.version),
            StateBody::ItemDelete(delete) => (format!("delete {}", delete.key), delete.version),
            other => panic!("{other:?}"),
        };
        sent.push(text);
        let ack = Ack {
            set: SetKind::Desired as i32,
            version,
            failed: Vec::new(),
        };
        sender.handle_ack(map, ack, events).expect("just sent");
    }
    sent
}

#[test]
fn what_differs_is_sent_and_what_changes_meanwhile_once() {
    let mut map = ItemMap::new(SetKind::Desired);
    for key in ["equal", "missing", "older", "changing", "changing too"] {
        put(&mut map, key, "x");
    }
    let mut sender = walking(&mut map);
    let mut events = VecDeque::new();
    // One change is sent before the reply comes, one is made between comparing and sending.
    put(&mut map, "changing", "y");
    assert_eq!(sent(&mut sender, &mut map, &mut events), ["put changing"]);
    let entries = vec![
        entry("equal", "1", "x"),
        entry("older", "1", "w"),
        entry("changing", "1", "w"),
        entry("changing too", "1", "w"),
    ];
    sender
        .handle_reply(&mut map, reply(entries), &mut events)
        .expect("asked for");
    put(&mut map, "changing too", "z");
    let all = sent(&mut sender, &mut map, &mut events);
    assert_eq!(all, ["put missing", "put older", "put changing too"]);
    sender.poll_in_sync(&map, &mut events);
    assert_eq!(events.back(), Some(&SenderEvent::InSync));
}

#[test]
fn a_change_overtakes_what_a_walk_found() {
    let mut map = ItemMap::new(SetKind::Desired);
    put(&mut map, "a", "x");
    put(&mut map, "b", "x");
    let mut sender = walking(&mut map);
    let mut events = VecDeque::new();
    // The window is full, so that what the walk found has to wait.
    sender.in_flight_bytes = WINDOW_BYTES;
    sender
        .handle_reply(&mut map, reply(Vec::new()), &mut events)
        .expect("asked for");
    assert!(sender.poll(&map, &mut events).is_none());
    put(&mut map, "a", "y");
    sender.in_flight_bytes = 0;
    assert_eq!(sent(&mut sender, &mut map, &mut events), ["put b", "put a"]);
}

#[test]
fn a_deletion_is_asked_for_by_owner() {
    let mut map = ItemMap::new(SetKind::Desired);
    delete(&mut map, "theirs", "1");
    delete(&mut map, "gone already", "1");
    delete(&mut map, "another owner's", "1");
    let mut sender = walking(&mut map);
    let entries = vec![
        entry("theirs", "1", "x"),
        entry("another owner's", "2", "x"),
        entry("stray", "3", "x"),
    ];
    let mut events = VecDeque::new();
    sender
        .handle_reply(&mut map, reply(entries), &mut events)
        .expect("asked for");
    let mut orphans: Vec<_> = events
        .iter()
        .map(|event| match event {
            SenderEvent::Orphan { key, owner_uid } => format!("{key} of {owner_uid}"),
            other => panic!("{other:?}"),
        })
        .collect();
    orphans.sort();
    assert_eq!(orphans, ["another owner's of 2", "stray of 3"]);
    assert_eq!(sent(&mut sender, &mut map, &mut events), ["delete theirs"]);
    assert!(
        map.get("gone already").is_none(),
        "the receiver does not hold it, so it has been done"
    );
    assert!(map.get("theirs").is_none(), "acknowledged");
}

#[test]
fn a_peer_that_answers_nonsense_is_refused() {
    fn check(reply: TreeReply, why: &str) {
        let mut map = ItemMap::new(SetKind::Desired);
        put(&mut map, "a", "x");
        let error = walking(&mut map)
            .handle_reply(&mut map, reply, &mut VecDeque::new())
            .expect_err("nonsense");
        assert!(error.to_string().contains(why), "{error}");
    }
    check(
        TreeReply {
            prefix: vec![1],
            ..reply(Vec::new())
        },
        "a prefix that was not asked",
    );
    check(
        TreeReply {
            snapshot_root: vec![8; 32],
            ..reply(Vec::new())
        },
        "another snapshot",
    );
    // A tree whose every child differs, for ever.
    let mut map = ItemMap::new(SetKind::Desired);
    put(&mut map, "a", "x");
    let mut sender = walking(&mut map);
    let (mut events, mut prefixes) = (VecDeque::new(), vec![Vec::new()]);
    let error = loop {
        let prefix = prefixes.pop().expect("it goes on asking");
        let children = vec![vec![7; 32]; 16];
        let nonsense = TreeReply {
            prefix,
            children,
            ..reply(Vec::new())
        };
        if let Err(error) = sender.handle_reply(&mut map, nonsense, &mut events) {
            break error;
        }
        while let Some(StateBody::TreeRequest(request)) = sender.poll(&map, &mut events) {
            prefixes.push(request.prefix);
        }
    };
    assert_eq!(error.to_string(), "TreeReply: its tree has no end");
}

/// Sends everything; what is refused is so with that code. Answers the keys.
fn refuse(sender: &mut Sender, map: &mut ItemMap, code: FailCode) -> Vec<String> {
    let (mut keys, mut events) = (Vec::new(), VecDeque::new());
    while let Some(body) = sender.poll(map, &mut events) {
        let StateBody::ItemPut(put) = body else {
            panic!("{body:?}")
        };
        let ack = Ack {
            set: SetKind::Desired as i32,
            version: put.version,
            failed: vec![FailedItem {
                key: put.key.clone(),
                code: code as i32,
                message: String::new(),
            }],
        };
        sender.handle_ack(map, ack, &mut events).expect("just sent");
        keys.push(put.key);
    }
    keys
}

#[test]
fn what_failed_for_a_reason_that_may_pass_is_tried_again_ever_more_rarely() {
    let mut map = ItemMap::new(SetKind::Desired);
    let mut sender = Sender::new(SetKind::Desired);
    let empty = map.root();
    sender.start(&mut map, empty.as_bytes(), usize::MAX, None);
    put(&mut map, "a", "x");
    assert_eq!(refuse(&mut sender, &mut map, FailCode::Internal), ["a"]);
    let mut tries = Vec::new();
    for heartbeat in 1..=80 {
        // The receiver has what it had, so that no walk begins.
        let ours = map.root().short();
        sender.compare(&mut map, ours);
        if !refuse(&mut sender, &mut map, FailCode::Conflict).is_empty() {
            tries.push(heartbeat);
        }
    }
    assert_eq!(tries, [1, 3, 7, 15, 31, 47, 63, 79]);
    // What changes is sent at once, and what is taken is forgotten.
    put(&mut map, "a", "y");
    let mut events = VecDeque::new();
    assert_eq!(sent(&mut sender, &mut map, &mut events), ["put a"]);
    assert!(sender.failed.is_empty());
    put(&mut map, "a", "z");
    assert_eq!(refuse(&mut sender, &mut map, FailCode::Malformed), ["a"]);
    for _ in 0..80 {
        let ours = map.root().short();
        sender.compare(&mut map, ours);
        assert!(
            refuse(&mut sender, &mut map, FailCode::Internal).is_empty(),
            "it would fail again"
        );
    }
}

#[test]
fn a_receiver_cannot_make_up_items_without_end() {
    let mut map = ItemMap::new(SetKind::Desired);
    let mut sender = walking(&mut map);
    let mut events = VecDeque::new();
    let entries = (0..=MAX_ORPHANS).map(|number| entry(&format!("made up {number}"), "u", "x"));
    let refused = sender.handle_reply(&mut map, reply(entries.collect()), &mut events);
    assert!(refused.is_err());
    assert!(events.len() <= MAX_ORPHANS);
}
