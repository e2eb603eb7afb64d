//! Whatever bytes come: no panic, no large allocation, and what is accepted keeps to the limits.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use nave_proto::wire::{
    self, Ack, Bundle, ChunkBody, ControlBody, EventMsg, FailedItem, Hello, ItemPut, LiveBody, Manifest, OwnerRef,
    PrunePlan, StateBody, StatusPayload, TreeEntry, TreeReply,
};
use nave_proto::{Close, ItemMap, StreamKind, is_clean, wire::SetKind};
use proptest::prelude::*;
use prost::Message;

/// Counts what this thread has allocated since it was asked.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

#[allow(
    unsafe_code,
    reason = "an allocator that counts can only be written so; it adds nothing but a number"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn decode_all(bytes: &[u8]) -> usize {
    let frame = Bytes::copy_from_slice(bytes);
    let before = ALLOCATED.get();
    let _ = wire::decode::<ControlBody>(frame.clone());
    let _ = wire::decode::<StateBody>(frame.clone());
    let _ = wire::decode::<ChunkBody>(frame.clone());
    let _ = wire::decode::<LiveBody>(frame.clone());
    let _ = Manifest::read(bytes);
    let _ = Bundle::read(frame);
    let _ = StatusPayload::read(bytes);
    let _ = Close::from_bytes(3, bytes);
    ALLOCATED.get() - before
}

/// Seven decoders see the bytes. A vector that grows has allocated twice its size, and strings and elements are a few
/// times what they are on the wire.
fn allowed(bytes: &[u8]) -> usize {
    512 * 1024 + 64 * bytes.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(decode_all(&bytes) <= allowed(&bytes));
    }

    #[test]
    fn damaged_messages_are_harmless(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        for (_, frame) in samples() {
            let mut damaged = frame.clone();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            damaged.truncate(1 + cut.index(damaged.len()));
            prop_assert!(decode_all(&damaged) <= allowed(&damaged));
        }
    }

    #[test]
    fn one_field_repeated_is_harmless(tag in 1u32..20, inner in 1u32..20, empty in any::<bool>()) {
        // The shortest element of a repeated field, as often as it fits: two bytes each.
        let element = [(inner << 3 | 2) as u8, 0];
        let body = element.repeat(if empty { 10 } else { 30_000 });
        let mut frame = vec![(tag << 3 | 2) as u8];
        nave_proto::put_varint(&mut frame, body.len() as u64);
        frame.extend(body);
        prop_assert!(decode_all(&frame) <= allowed(&frame));
    }

    #[test]
    fn texts_that_come_in_are_clean(text in "\\PC*|[\\x00-\\x20a\u{202e}\u{2028}]{0,40}", long in 0usize..5000) {
        let text = text + &"ä".repeat(long);
        let event = EventMsg { message: text.clone(), reason: text.clone(), ns: text.clone(), ..EventMsg::default() };
        let frame = wire::encode(StateBody::Event(event));
        let Ok(Some(StateBody::Event(read))) = wire::decode::<StateBody>(frame.into()) else {
            panic!("an event is never refused for its texts");
        };
        for (text, max) in [(&read.message, 2048), (&read.reason, 253), (&read.ns, 253)] {
            prop_assert!(text.is_empty() || is_clean(text, max));
        }
    }

    #[test]
    fn keys_that_come_in_are_clean_or_refused(key in "\\PC{0,600}|[\\x00-\\x20a]{0,20}") {
        let put = ItemPut { set: 1, key: key.clone(), version: 1, digest: vec![0; 32], ..ItemPut::default() };
        let decoded = wire::decode::<StateBody>(wire::encode(StateBody::ItemPut(put)).into());
        prop_assert_eq!(decoded.is_ok(), is_clean(&key, 512));
    }

    #[test]
    fn roots_depend_on_items_alone(keys in prop::collection::btree_set("[a-z]{1,8}", 0..80), seed in any::<u64>()) {
        let mut shuffled: Vec<_> = keys.iter().collect();
        shuffled.sort_by_key(|key| nave_proto::Digest::of_content(format!("{seed}{key}").as_bytes()));
        let root = |keys: &[&String]| {
            let mut map = ItemMap::new(SetKind::Desired);
            for key in keys {
                map.put(key, &OwnerRef::default(), Bytes::from(key.to_string()), None).expect("valid item");
            }
            map.root()
        };
        prop_assert_eq!(root(&keys.iter().collect::<Vec<_>>()), root(&shuffled));
    }
}

/// A frame of each interesting shape.
fn samples() -> Vec<(StreamKind, Vec<u8>)> {
    let hello = Hello {
        major: 1,
        instance_id: "i".into(),
        desired_root: vec![1; 32],
        ..Hello::default()
    };
    let plan = PrunePlan {
        key: "k".into(),
        digest: vec![1; 32],
        sample: vec!["a".into(); 5],
        ..PrunePlan::default()
    };
    let put = ItemPut {
        set: 1,
        key: "k".into(),
        digest: vec![0; 32],
        payload: "x".into(),
        ..ItemPut::default()
    };
    let entry = TreeEntry {
        key: "k".into(),
        digest: vec![1; 32],
        owner_uid: "u".into(),
    };
    let reply = TreeReply {
        set: 1,
        entries: vec![entry; 4],
        children: vec![vec![0; 32]; 16],
        ..TreeReply::default()
    };
    let ack = Ack {
        set: 2,
        version: 1,
        failed: vec![FailedItem {
            key: "k".into(),
            ..FailedItem::default()
        }],
    };
    vec![
        (StreamKind::Control, wire::encode(ControlBody::Hello(hello))),
        (StreamKind::Control, wire::encode(ControlBody::PrunePlan(plan))),
        (StreamKind::State, wire::encode(StateBody::ItemPut(put))),
        (StreamKind::State, wire::encode(StateBody::TreeReply(reply))),
        (StreamKind::State, wire::encode(StateBody::Ack(ack))),
    ]
}

#[test]
fn samples_are_valid() {
    for (kind, frame) in samples() {
        let read = match kind {
            StreamKind::Control => wire::decode::<ControlBody>(frame.into()).map(|body| body.is_some()),
            _ => wire::decode::<StateBody>(frame.into()).map(|body| body.is_some()),
        };
        assert_eq!(read, Ok(true), "{kind:?}");
    }
}

#[test]
fn a_manifest_of_empty_elements_does_not_unpack_to_hundreds_of_megabytes() {
    let mut bytes = Vec::new();
    // files[0] with two million empty chunks, in 4 MiB.
    let chunks = [0x2a, 0].repeat(2_000_000);
    bytes.push(0x0a);
    nave_proto::put_varint(&mut bytes, chunks.len() as u64);
    bytes.extend(chunks);
    let before = ALLOCATED.get();
    assert!(Manifest::read(&bytes).is_err());
    assert!(ALLOCATED.get() - before < 1024);
    assert!(Manifest::read(&Manifest::default().encode_to_vec()).is_ok());
}

#[test]
fn a_message_of_a_later_version_is_ignored() {
    // Field 90 of the envelope, an empty message.
    let frame = Bytes::from_static(&[0xd2, 0x05, 0x00]);
    assert_eq!(wire::decode::<ControlBody>(frame.clone()), Ok(None));
    assert_eq!(wire::decode::<StateBody>(frame), Ok(None));
    // A known message with a field of a later version.
    let mut frame = wire::encode(StateBody::Ack(Ack {
        set: 2,
        version: 7,
        failed: Vec::new(),
    }));
    frame.extend([0xf8, 0x06, 0x01]);
    frame[1] += 3;
    assert!(matches!(wire::decode::<StateBody>(frame.into()), Ok(Some(StateBody::Ack(ack))) if ack.version == 7));
}
