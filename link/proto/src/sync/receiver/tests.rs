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

fn numbered(version: u64, put: ItemPut) -> ItemPut {
    ItemPut { version, ..put }
}

#[test]
fn an_item_is_held_when_it_is_settled_and_not_before() {
    let (mut receiver, mut replica) = (Receiver::new(SET, 100), replica());
    let first = receiver.handle_put(&replica, put("new", "1", "x")).expect("in order");
    assert!(first.is_some() && replica.get("new").is_none());
    assert_eq!(receiver.settle(&mut replica, 6, Ok(())), None, "another version");
    assert_eq!(receiver.settle(&mut replica, 7, Ok(())), Some(None));
    assert!(replica.get("new").is_some());
    assert_eq!(receiver.settle(&mut replica, 7, Ok(())), None, "settled already");

    let bad = receiver.handle_put(&replica, put("bad", "1", "x")).expect("in order");
    assert!(bad.is_some());
    let refusal = Err(ItemFailure::new(FailCode::Denied, "no"));
    assert_eq!(receiver.settle(&mut replica, 7, refusal), Some(None));
    assert!(replica.get("bad").is_none());
}

#[test]
fn different_items_are_in_hand_side_by_side_and_one_item_in_order() {
    let (mut receiver, mut replica) = (Receiver::new(SET, 100), replica());
    let hear = |receiver: &mut Receiver, replica: &Replica, version, key, payload| {
        let step = receiver.handle_put(replica, numbered(version, put(key, "1", payload)));
        step.expect("in order").map(|_| version)
    };
    assert_eq!(hear(&mut receiver, &replica, 1, "held", "y"), Some(1));
    assert_eq!(hear(&mut receiver, &replica, 2, "other", "x"), Some(2));
    // What it was, sent again before the change is settled: not held any more when its turn comes.
    assert_eq!(hear(&mut receiver, &replica, 3, "held", "x"), None);
    assert_eq!(hear(&mut receiver, &replica, 4, "held", "z"), None);
    assert!(receiver.poll().is_none(), "nothing is acknowledged yet");
    assert_eq!(receiver.settle(&mut replica, 2, Ok(())), Some(None));
    let next = receiver.settle(&mut replica, 1, Ok(())).expect("it was in hand");
    assert!(matches!(next, Some(Step::Put(put)) if put.version == 3));
    let failed = Err(ItemFailure::new(FailCode::Internal, "later"));
    let next = receiver.settle(&mut replica, 3, failed).expect("it was in hand");
    assert!(matches!(next, Some(Step::Put(put)) if put.version == 4));
    assert_eq!(receiver.settle(&mut replica, 4, Ok(())), Some(None));
}

#[test]
fn a_deletion_behind_a_put_of_its_item_is_not_taken_for_done() {
    let (mut receiver, mut replica) = (Receiver::new(SET, 100), replica());
    let put = receiver.handle_put(&replica, numbered(1, put("new", "1", "x")));
    assert!(put.expect("in order").is_some());
    let gone = receiver.handle_delete(&replica, delete("new", "1")).expect("in order");
    assert!(gone.is_none() && receiver.poll().is_none());
    let next = receiver.settle(&mut replica, 1, Ok(())).expect("it was in hand");
    assert!(matches!(next, Some(Step::Delete(delete)) if delete.version == 7));
}

#[test]
fn what_is_in_hand_is_bounded() {
    let (mut receiver, replica) = (Receiver::new(SET, 100), replica());
    for number in 0..IN_HAND as u64 {
        let put = numbered(number, put(&format!("key-{}", number / 2), "1", "x"));
        receiver.handle_put(&replica, put).expect("there is room");
    }
    let more = receiver.handle_put(&replica, numbered(1000, put("more", "1", "x")));
    assert!(matches!(more, Err(ProtocolError::Unexpected { .. })));
    let (mut receiver, again) = (Receiver::new(SET, 100), put("again", "1", "x"));
    receiver
        .handle_put(&replica, put("one", "1", "x"))
        .expect("there is room");
    assert!(
        receiver.handle_put(&replica, again).is_err(),
        "a version names one item"
    );
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

#[test]
fn a_peer_that_never_reads_is_refused_and_an_honest_one_is_not() {
    let (mut receiver, replica) = (Receiver::new(SET, 100), replica());
    // Everything that an honest sender may have without an answer.
    for _ in 0..64 {
        receiver
            .handle_put(&replica, put("held", "1", "x"))
            .expect("a full window");
    }
    for _ in 0..8 {
        receiver
            .handle_request(&replica, TreeRequest::default())
            .expect("a full walk");
    }
    let error = (0..1000).find_map(|_| receiver.handle_put(&replica, put("held", "1", "x")).err());
    let words = error.expect("memory is bounded").to_string();
    assert_eq!(
        words,
        "ItemPut is not expected: the answers to earlier ones are not read"
    );
}
