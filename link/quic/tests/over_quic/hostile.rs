//! Peers that mean harm, or that are broken: refused with words where they can hear them, and the hub unharmed.

use std::time::Duration;

use crate::bed::{Relay, TestHub, TokenSpec, carrier, dial, eventually, identity_of, start_agent, start_agent_with};
use nave_identity::{Key, TimeFloor, Trust, client_config};
use nave_proto::wire::{self, ControlBody, Heartbeat, Hello, ItemPut, StateBody};
use nave_proto::{Close, CloseCode, StreamKind};
use nave_quic::{AgentDialer, AgentNote, Connection, DialOptions, LinkError, ListenerOptions, Transport};
use tokio::net::UdpSocket;

/// A connection with a key that may join, to misbehave on.
async fn stranger(hub: &TestHub) -> Connection {
    let key = Key::generate().expect("random source works");
    connect(hub, &key).await
}

async fn connect(hub: &TestHub, key: &Key) -> Connection {
    let chain = vec![key.self_signed(jiff::Timestamp::now()).expect("signing works")];
    let roots = vec![hub.inner.server_authority.certificate().clone()];
    let tls = client_config(key, chain, Trust::Roots(roots), TimeFloor::default()).expect("usable");
    let dialer = AgentDialer::new(dial()).expect("a socket");
    dialer
        .dial(&[hub.address.to_string()], tls)
        .await
        .expect("the handshake proves the key")
}

/// How the hub ended the connection.
async fn ended(connection: &Connection) -> Close {
    let error = tokio::time::timeout(Duration::from_secs(20), connection.closed())
        .await
        .expect("in time");
    match error {
        LinkError::Closed(close) => close,
        other => panic!("the hub said nothing: {other}"),
    }
}

/// Whether the hub still does its work.
async fn check_unharmed(hub: &TestHub, name: &'static str) {
    let token = hub.token(
        &format!("platform/{name}"),
        TokenSpec {
            name,
            ..TokenSpec::default()
        },
    );
    let (identity, _, state) = identity_of(&token, name).await.expect("joins");
    hub.put(name, "apps", "one");
    let agent = start_agent(identity, state);
    eventually("items arrive", || agent.holds("apps", "one")).await;
    agent.stop().await;
}

#[tokio::test]
async fn garbage_datagrams_leave_the_hub_unharmed() {
    let hub = TestHub::start();
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    let mut word = 88_172_645_463_325_252u64;
    for length in (0..1400).chain([1, 2, 1200, 1200, 1200]) {
        let mut garbage = vec![0u8; length];
        for byte in &mut garbage {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            *byte = word as u8;
        }
        // Half of them look like the start of a connection.
        if length % 2 == 0 && length > 8 {
            garbage[..5].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
        }
        socket.send_to(&garbage, hub.address).await.expect("loopback");
    }
    check_unharmed(&hub, "eu-1").await;
    hub.shut().await;
}

#[tokio::test]
async fn nonsense_on_streams_ends_the_session_with_words() {
    let hub = TestHub::start();
    hub.token("platform/t", TokenSpec::default());

    let connection = stranger(&hub).await;
    let (mut send, _recv) = connection.open(StreamKind::Control).await.expect("opened");
    send.send(StreamKind::Control, b"nonsense".to_vec())
        .await
        .expect("sent");
    let close = ended(&connection).await;
    assert_eq!(
        (close.code(), close.reason.as_str()),
        (Some(CloseCode::Protocol), "control frame cannot be read")
    );

    let connection = stranger(&hub).await;
    let (mut send, _recv) = connection.open(StreamKind::Control).await.expect("opened");
    let hello = Hello {
        major: 1,
        instance_id: "i".into(),
        ..Hello::default()
    };
    send.send(StreamKind::Control, wire::encode(ControlBody::Hello(hello)))
        .await
        .expect("sent");
    let words = ended(&connection).await.reason;
    assert_eq!(
        words,
        "Hello is not expected: this key is not known, so a JoinRequest must come first"
    );

    let connection = stranger(&hub).await;
    let (_send, _recv) = connection.open(StreamKind::State).await.expect("opened");
    assert_eq!(
        ended(&connection).await.reason,
        "the control stream comes first, not State"
    );

    let connection = stranger(&hub).await;
    let (mut send, _recv) = connection.open(StreamKind::Control).await.expect("opened");
    // A frame that says it is large, sent as large as it says.
    let _ = send.send(StreamKind::Control, vec![0; 100_000]).await;
    assert_eq!(
        ended(&connection).await.reason,
        "control frame of 100000 bytes, at most 65536 are allowed"
    );

    check_unharmed(&hub, "eu-1").await;
    hub.shut().await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_let_go() {
    let hub = TestHub::start();
    hub.token("platform/t", TokenSpec::default());
    let connection = stranger(&hub).await;
    // It keeps the path alive and still says nothing that counts.
    let error = tokio::time::timeout(Duration::from_secs(20), connection.closed())
        .await
        .expect("in time");
    assert!(matches!(error, LinkError::TimedOut | LinkError::Closed(_)), "{error}");
    hub.shut().await;
}

#[tokio::test]
async fn a_member_cannot_do_what_its_place_does_not_allow() {
    let hub = TestHub::start();
    let token = hub.token("platform/t", TokenSpec::default());
    let (identity, ..) = identity_of(&token, "eu-1").await.expect("joins");
    let misbehave = async |frames: Vec<(StreamKind, Vec<u8>)>| -> Close {
        let dialer = AgentDialer::new(dial()).expect("a socket");
        let tls = identity.tls(TimeFloor::default()).expect("usable");
        let connection = dialer.dial(&identity.addresses, tls).await.expect("reaches the hub");
        let (mut send, mut recv) = connection.open(StreamKind::Control).await.expect("opened");
        let session_seq = hub.with("eu-1", |cluster| {
            cluster.stored.as_ref().map_or(1, |last| last.id.session_seq + 1)
        });
        let hello = Hello {
            major: 1,
            instance_id: "i".into(),
            boot_seq: 1,
            session_seq,
            ..Hello::default()
        };
        send.send(StreamKind::Control, wire::encode(ControlBody::Hello(hello)))
            .await
            .expect("sent");
        recv.next().await.expect("readable").expect("a welcome");
        let mut streams = Vec::new();
        for (kind, frame) in frames {
            if kind == StreamKind::Control {
                send.send(kind, frame).await.expect("sent");
            } else {
                let (mut send, recv) = connection.open(kind).await.expect("opened");
                send.send(kind, frame).await.expect("sent");
                streams.push((send, recv));
            }
        }
        ended(&connection).await
    };
    let put = ItemPut {
        set: 1,
        key: "k".into(),
        version: 1,
        digest: vec![0; 32],
        ..ItemPut::default()
    };
    let close = misbehave(vec![(StreamKind::State, wire::encode(StateBody::ItemPut(put)))]).await;
    assert_eq!(
        close.reason,
        "ItemPut is not expected: this session's mode does not allow it"
    );

    let ack = wire::encode(StateBody::Ack(wire::Ack {
        set: 1,
        version: 99,
        failed: Vec::new(),
    }));
    let close = misbehave(vec![(StreamKind::State, ack)]).await;
    assert_eq!(close.reason, "Ack: it names a version that is not in flight");

    let beat = wire::encode(ControlBody::Heartbeat(Heartbeat::default()));
    let close = misbehave(vec![
        (StreamKind::State, beat.clone()),
        (StreamKind::State, beat.clone()),
    ])
    .await;
    assert_eq!(close.code(), Some(CloseCode::Protocol));

    let close = misbehave(vec![(StreamKind::Live, beat)]).await;
    assert_eq!(close.reason, "live streams are opened by the hub");
    check_unharmed(&hub, "eu-2").await;
    hub.shut().await;
}

#[tokio::test]
async fn another_clusters_key_gets_that_cluster_and_no_other() {
    let hub = TestHub::start();
    let one = hub.token(
        "platform/one",
        TokenSpec {
            name: "eu-1",
            ..TokenSpec::default()
        },
    );
    let two = hub.token(
        "platform/two",
        TokenSpec {
            name: "eu-2",
            ..TokenSpec::default()
        },
    );
    let (identity, _, state) = identity_of(&one, "eu-1").await.expect("joins");
    identity_of(&two, "eu-2").await.expect("joins");
    hub.put("eu-1", "mine", "one");
    hub.put("eu-2", "theirs", "two");
    let agent = start_agent(identity, state);
    eventually("its own items arrive", || agent.holds("mine", "one")).await;
    assert_eq!(agent.effects(), ["put mine"]);
    let payload = bytes::Bytes::from_static(b"forged");
    agent
        .handle
        .update_status(|status| status.put("theirs", &wire::OwnerRef::default(), payload, None))
        .expect("valid row");
    eventually("its status arrives as its own", || hub.row("eu-1", "theirs").is_some()).await;
    assert_eq!(hub.row("eu-2", "theirs"), None);
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn handshakes_that_are_never_finished_do_not_keep_others_out() {
    if carrier() == Transport::Tcp {
        println!("skipped: over TCP it is carriers::silent_sockets_do_not_keep_others_out");
        return;
    }
    let options = ListenerOptions {
        max_pending: 16,
        validate_above: 4,
        ..TestHub::options()
    };
    let hub = TestHub::start_with(options);
    // First packets of real handshakes, recorded where nobody answers.
    let sink = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    let nobody = sink.local_addr().expect("bound").to_string();
    let record = async {
        let mut packets = Vec::new();
        let mut buffer = vec![0; 2000];
        while packets.len() < 60 {
            let (length, _) = sink.recv_from(&mut buffer).await.expect("loopback");
            packets.push(buffer[..length].to_vec());
        }
        packets
    };
    let dials = async {
        let key = Key::generate().expect("random source works");
        let chain = vec![key.self_signed(jiff::Timestamp::now()).expect("signing works")];
        let roots = vec![hub.inner.server_authority.certificate().clone()];
        let tls = client_config(&key, chain, Trust::Roots(roots), TimeFloor::default()).expect("usable");
        let options = DialOptions {
            connect_timeout: Duration::from_millis(20),
            ..dial()
        };
        let dialer = AgentDialer::new(options).expect("a socket");
        loop {
            let _ = dialer.dial(std::slice::from_ref(&nobody), tls.clone()).await;
        }
    };
    let packets = tokio::select! {
        packets = record => packets,
        () = dials => unreachable!("it dials for ever"),
    };
    for packet in &packets {
        let from = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
        from.send_to(packet, hub.address).await.expect("loopback");
    }
    // Their deadline is ten seconds away; an agent whose address answers gets in at once.
    let start = tokio::time::Instant::now();
    check_unharmed(&hub, "eu-1").await;
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "it took {:?}",
        start.elapsed()
    );
    hub.shut().await;
}

#[tokio::test]
async fn a_hub_killed_without_a_word_is_noticed_with_the_next_heartbeat() {
    if carrier() == Transport::Tcp {
        println!("skipped: over TCP the kernel tells at once");
        return;
    }
    let options = ListenerOptions {
        idle_timeout: Duration::from_secs(60),
        ..TestHub::options()
    };
    let hub = TestHub::start_with(options);
    let relay = Relay::to(hub.address).await;
    let token = hub.token_at("platform/t", TokenSpec::default(), relay.address.clone());
    let (identity, _, state) = identity_of(&token, "eu-1").await.expect("joins");
    let dial = DialOptions {
        idle_timeout: Duration::from_secs(60),
        ..dial()
    };
    let agent = start_agent_with(identity, state, dial);
    hub.put("eu-1", "apps", "one");
    eventually("items have arrived", || agent.holds("apps", "one")).await;

    // What the dying hub says is lost, as if it had said nothing.
    relay.cut();
    let memory = hub.shut().await;
    let hub = TestHub::reopen(memory);
    relay.mend();
    let start = tokio::time::Instant::now();
    eventually("it is connected again", || agent.connections() == 2).await;
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "it took {:?}",
        start.elapsed()
    );
    let words = agent.notes().into_iter().find_map(|note| match note {
        AgentNote::Disconnected { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(
        words.as_deref(),
        Some("connection unknown to the other end: it was restarted")
    );
    hub.put("eu-1", "apps", "two");
    eventually("items flow", || agent.holds("apps", "two")).await;
    assert_eq!(agent.effects(), ["put apps", "put apps"]);
    agent.stop().await;
    hub.shut().await;
}
