//! What the fuzz targets run: bytes in, and nothing that panics, runs away or does what a session may not.
#![allow(dead_code, reason = "each user takes one of the two")]

use std::sync::Arc;

use bytes::Bytes;
use nave_proto::agent::{self, Opening};
use nave_proto::hub::{self, Admission, Entry};
use nave_proto::wire::{
    self, Bundle, ChunkBody, ControlBody, FenceReply, Hello, LinkProfile, LiveBody, Manifest, Mode, SetKind, StateBody,
    StatusPayload,
};
use nave_proto::{Close, EventQueue, ItemMap, LIVE_WINDOW, LiveEvent, LiveReader, LiveWriter, Now, Plans, Replica};

/// Bytes as a message of every kind; what is read is written and read again.
pub fn decoders(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    macro_rules! check {
        ($body:ty) => {
            if let Ok(Some(read)) = wire::decode::<$body>(frame.clone()) {
                let again = wire::decode::<$body>(wire::encode(read.clone()).into());
                assert_eq!(again.expect("what was read can be read again"), Some(read));
            }
        };
    }
    check!(ControlBody);
    check!(StateBody);
    check!(ChunkBody);
    check!(LiveBody);
    live(bytes);
    let _ = Manifest::read(bytes);
    let _ = Bundle::read(frame);
    let _ = StatusPayload::read(bytes);
    let _ = Close::from_bytes(3, bytes);
}

/// Bytes as what a hostile agent answers to a live read, and as what a hostile hub sends after its request.
fn live(bytes: &[u8]) {
    let request = wire::LiveRequest {
        window: LIVE_WINDOW,
        ..wire::LiveRequest::default()
    };
    let (mut reader, mut writer) = (LiveReader::new(NOW, 1000), LiveWriter::new(&request));
    for frame in bytes.split(|byte| *byte == 0xff) {
        let frame = Bytes::copy_from_slice(frame);
        if writer.handle(frame.clone()).is_ok() {
            writer.sent(writer.allowance().min(1000));
        }
        if let Ok(Some(LiveEvent::Data(data))) = reader.handle(frame) {
            reader.taken(data.len());
        }
    }
    reader.handle_timeout(NOW.plus(2000));
}

/// Bytes as frames of a hostile peer: each begins with a byte that says to whom and on which stream (and in which mode
/// the session began), and two with its length. Everything that the session asks its owner is answered.
pub fn sessions(bytes: &[u8]) {
    let mode = [
        Mode::Normal,
        Mode::Behind,
        Mode::Quarantined,
        Mode::Pending,
        Mode::RenewOnly,
    ][usize::from(bytes.first().copied().unwrap_or_default()) % 5];
    let (mut hub, mut agent) = begin(mode);
    let mut rest = bytes.get(1..).unwrap_or_default();
    let mut now = NOW;
    while let [to, low, high, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (frame, others) = after.split_at(length);
        rest = others;
        now = now.plus(u64::from(to >> 2) * 100);
        let frame = Bytes::copy_from_slice(frame);
        match to % 4 {
            0 => hub.take(now, frame, true),
            1 => hub.take(now, frame, false),
            2 => agent.take(now, frame, true),
            _ => agent.take(now, frame, false),
        }
    }
}

const NOW: Now = Now {
    mono: 1_000_000,
    wall: 1_800_000_000_000,
};
/// More answers than one frame can ask for.
const MOST: usize = 100_000;

struct HubEnd {
    session: Option<hub::Session>,
    desired: ItemMap,
    status: Replica,
}

struct AgentEnd {
    session: Option<agent::Session>,
    desired: Replica,
    status: ItemMap,
    plans: Plans,
    events: EventQueue,
    mode: Mode,
}

/// Both ends after their greeting.
fn begin(mode: Mode) -> (HubEnd, AgentEnd) {
    let mut hub = HubEnd {
        session: None,
        desired: ItemMap::new(SetKind::Desired),
        status: Replica::new(SetKind::Status),
    };
    let mut agent = AgentEnd {
        session: None,
        desired: Replica::new(SetKind::Desired),
        status: ItemMap::new(SetKind::Status),
        plans: Plans::new(),
        events: EventQueue::new(),
        mode,
    };
    let owner = wire::OwnerRef::default();
    let payload = Bytes::from_static(b"payload");
    hub.desired.put("a", &owner, payload, None).expect("a valid item");
    let agent_maps = &mut agent::Maps {
        desired: &mut agent.desired,
        status: &mut agent.status,
        plans: &mut agent.plans,
        events: &mut agent.events,
    };
    let hub_maps = &mut hub::Maps {
        desired: &mut hub.desired,
        status: &mut hub.status,
    };
    let hello = Hello {
        instance_id: "instance".to_owned(),
        boot_seq: 1,
        session_seq: 1,
        ..Hello::default()
    };
    let config = hub::Config {
        hub_uid: "hub".to_owned(),
        ..hub::Config::default()
    };
    let mut theirs = agent::Session::new(NOW, Opening::Hello(Box::new(hello)), 1000, agent_maps);
    let mut ours = hub::Session::new(NOW, Arc::new(config), Entry::Member);
    let hello = theirs.poll_control(NOW, agent_maps).expect("it says Hello");
    ours.handle_control(NOW, hello.into(), hub_maps)
        .expect("an honest Hello");
    while ours.poll_event().is_some() {}
    ours.admit(NOW, admission(mode), hub_maps);
    let welcome = ours.poll_control(NOW, hub_maps).expect("it says Welcome");
    theirs
        .handle_control(NOW, welcome.into(), agent_maps)
        .expect("an honest Welcome");
    while theirs.poll_event().is_some() {}
    assert_eq!((ours.mode(), theirs.mode()), (Some(mode), Some(mode)));
    (hub.session, agent.session) = (Some(ours), Some(theirs));
    (hub, agent)
}

impl HubEnd {
    fn take(&mut self, now: Now, frame: Bytes, control: bool) {
        let Self {
            session: slot,
            desired,
            status,
        } = self;
        let Some(session) = slot else { return };
        let maps = &mut hub::Maps { desired, status };
        let taken = if control {
            session.handle_control(now, frame, maps)
        } else {
            session.handle_state(now, frame, maps)
        };
        if taken.is_err() {
            *slot = None; // the driver closes
            return;
        }
        for _ in 0..MOST {
            match session.poll_event() {
                Some(hub::Event::Status(put)) => drop(session.settle(put.version, Ok(()), maps)),
                Some(hub::Event::StatusGone(gone)) => drop(session.settle(gone.version, Ok(()), maps)),
                Some(hub::Event::Hello(_)) => session.admit(now, admission(Mode::Normal), maps),
                Some(_) => {}
                None => break,
            }
        }
        drain(|| session.poll_control(now, maps));
        drain(|| session.poll_state(maps));
        if session.handle_timeout(now).is_some() {
            *slot = None;
        }
    }
}

impl AgentEnd {
    fn take(&mut self, now: Now, frame: Bytes, control: bool) {
        let Self {
            session: slot,
            desired,
            status,
            plans,
            events,
            mode,
        } = self;
        let Some(session) = slot else { return };
        let maps = &mut agent::Maps {
            desired,
            status,
            plans,
            events,
        };
        let taken = if control {
            session.handle_control(now, frame, maps)
        } else {
            session.handle_state(now, frame, maps)
        };
        if taken.is_err() {
            *slot = None;
            return;
        }
        for _ in 0..MOST {
            let version = match session.poll_event() {
                Some(agent::Event::Put(put)) => put.version,
                Some(agent::Event::Delete(delete)) => delete.version,
                Some(agent::Event::Welcome(welcome)) => {
                    *mode = Mode::try_from(welcome.mode).expect("only known modes are welcome");
                    continue;
                }
                Some(agent::Event::Fence(_)) => {
                    session.answer_fence(FenceReply::default());
                    continue;
                }
                Some(_) => continue,
                None => break,
            };
            assert_eq!(*mode, Mode::Normal, "desired state flows in a normal session only");
            session.settle(version, Ok(()), maps);
        }
        drain(|| session.poll_control(now, maps));
        drain(|| session.poll_state(maps));
        if session.handle_timeout(now).is_some() {
            *slot = None;
        }
    }
}

fn admission(mode: Mode) -> Admission {
    Admission {
        mode,
        profile: LinkProfile::Standard,
        reason: String::new(),
        cluster_ns: "platform".to_owned(),
        cluster_name: "eu-1".to_owned(),
        ..Admission::default()
    }
}

/// One frame asks for a bounded number of frames.
fn drain(mut poll: impl FnMut() -> Option<Vec<u8>>) {
    for _ in 0..MOST {
        if poll().is_none() {
            return;
        }
    }
    panic!("one frame asks for frames without end");
}
