//! Two carriers: who wins, what is remembered, the way back to QUIC, proxies, and the door for TCP.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use nave_identity::{JoinToken, Key, TimeFloor, Trust, client_config};
use nave_proto::wire::OwnerRef;
use nave_proto::{Close, CloseCode, StreamKind};
use nave_quic::{
    AgentDialer, AgentIdentity, Carriers, Connection, DialOptions, JoinError, JoinOptions, LinkError, ListenerOptions,
    Proxy, ProxyRules, RaceOptions, Transport, join,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bed::{
    AgentState, HttpProxy, Relay, TestAgent, TestHub, TokenSpec, dial, eventually, join_options, start_agent_with,
};

/// Both carriers. QUIC has a second for itself: this machine may be busy, and nothing here is about who is faster.
fn racing() -> DialOptions {
    DialOptions {
        carriers: Carriers::Any,
        race: RaceOptions {
            head_start: Duration::from_secs(1),
            ..RaceOptions::default()
        },
        connect_timeout: Duration::from_secs(10),
        ..dial()
    }
}

async fn joined_by(
    token: &JoinToken,
    dial: DialOptions,
) -> Result<(AgentIdentity, std::sync::Arc<AgentState>), JoinError> {
    let state = std::sync::Arc::new(AgentState {
        instance: "eu-1".to_owned(),
        boot_seq: 1,
        ..AgentState::default()
    });
    let mut identity = AgentIdentity::begin(token).expect("key generation works");
    let options = JoinOptions {
        dial,
        ..join_options("eu-1")
    };
    join(&mut identity, token, &*state, options).await?;
    Ok((identity, state))
}

fn carrier_of(agent: &TestAgent) -> Option<Transport> {
    agent.handle.connection().map(|connection| connection.carried_by())
}

fn set_row(agent: &TestAgent, payload: &str) {
    let payload = Bytes::from(payload.to_owned());
    agent
        .handle
        .update_status(|status| status.put("row", &OwnerRef::default(), payload, None))
        .expect("valid row");
}

#[tokio::test]
async fn quic_wins_where_both_get_through() {
    let hub = TestHub::start();
    let relay = Relay::to(hub.address).await;
    let token = hub.token_at("platform/t", TokenSpec::default(), relay.address.clone());
    // So long a start that only QUIC can win, however busy the machine is.
    let mut options = racing();
    options.race.head_start = Duration::from_secs(60);
    let (identity, state) = joined_by(&token, options.clone()).await.expect("joins");
    let agent = start_agent_with(identity, state, options);
    eventually("it is connected", || carrier_of(&agent) == Some(Transport::Quic)).await;
    assert_eq!(relay.connections(), 0);
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn where_udp_is_swallowed_tcp_carries_the_link_and_is_remembered() {
    let hub = TestHub::start();
    let relay = Relay::to(hub.address).await;
    relay.swallow_udp(true);
    let token = hub.token_at("platform/t", TokenSpec::default(), relay.address.clone());
    // Times as they are in production.
    let options = DialOptions {
        race: RaceOptions::default(),
        ..racing()
    };
    let start = tokio::time::Instant::now();
    let (identity, state) = joined_by(&token, options.clone()).await.expect("joins");
    println!("joined after {:?} without UDP", start.elapsed());
    let agent = start_agent_with(identity, state, options.clone());
    eventually("it is connected", || carrier_of(&agent) == Some(Transport::Tcp)).await;
    println!("a session after {:?} without UDP (promised: 3 s)", start.elapsed());
    hub.put("eu-1", "apps", "one");
    eventually("items arrive", || agent.holds("apps", "one")).await;
    set_row(&agent, "ready");
    eventually("status arrives", || hub.row("eu-1", "row").is_some()).await;

    // The next process knows: it does not even send a datagram before TCP is through.
    let state = agent.stop().await;
    let identity = state
        .identity
        .lock()
        .expect("no panic holds it")
        .clone()
        .expect("stored");
    let mut options = options;
    options.race.late_start = Duration::from_secs(60);
    let before = relay.datagrams();
    let agent = start_agent_with(identity, state, options);
    eventually("it is connected", || carrier_of(&agent) == Some(Transport::Tcp)).await;
    assert_eq!(
        relay.datagrams(),
        before,
        "a network that swallows UDP is not asked first"
    );
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn when_udp_is_let_through_again_the_link_moves_and_nothing_is_sent_twice() {
    let hub = TestHub::start();
    let relay = Relay::to(hub.address).await;
    relay.swallow_udp(true);
    let token = hub.token_at("platform/t", TokenSpec::default(), relay.address.clone());
    let mut options = racing();
    options.race.first_probe = Duration::from_millis(300);
    options.race.longest_probe = Duration::from_millis(600);
    // A try that starts while UDP is swallowed must not take longer than this test waits.
    options.connect_timeout = Duration::from_secs(4);
    let (identity, state) = joined_by(&token, options.clone()).await.expect("joins");
    let agent = start_agent_with(identity, state, options);
    for number in 0..20 {
        hub.put("eu-1", &format!("item-{number}"), "one");
    }
    eventually("items arrive", || agent.effects().len() == 20).await;
    assert_eq!(carrier_of(&agent), Some(Transport::Tcp));
    set_row(&agent, "over tcp");

    relay.swallow_udp(false);
    eventually("it moves", || carrier_of(&agent) == Some(Transport::Quic)).await;
    hub.put("eu-1", "item-7", "two");
    set_row(&agent, "over quic");
    eventually("the change arrives", || agent.holds("item-7", "two")).await;
    eventually("status arrives", || {
        hub.row("eu-1", "row").is_some_and(|row| row == "over quic")
    })
    .await;
    assert_eq!(agent.effects().len(), 21, "what was held was not sent again");
    assert_eq!(agent.connections(), 2);
    let words = agent.last_words().expect("it has left a session");
    assert!(words.contains("moving to QUIC"), "{words}");

    // And back, when the network changes its mind.
    relay.swallow_udp(true);
    eventually("it is back on TCP", || carrier_of(&agent) == Some(Transport::Tcp)).await;
    set_row(&agent, "over tcp again");
    eventually("status arrives", || {
        hub.row("eu-1", "row").is_some_and(|row| row == "over tcp again")
    })
    .await;
    assert_eq!(agent.effects().len(), 21);
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn a_proxy_opens_the_way_for_those_who_may() {
    const HUB: &str = "hub.corp.invalid:9443";
    let hub = TestHub::start();
    let proxy = HttpProxy::start(HUB, hub.address).await;
    let token = hub.token_at("platform/t", TokenSpec::default(), HUB.to_owned());
    let through = |user: &str| {
        let url = format!("http://{user}{}", proxy.address);
        DialOptions {
            proxy: ProxyRules::new(Some(url.parse::<Proxy>().expect("a URL")), "other.example.com"),
            ..racing()
        }
    };
    let refused = async |user: &str| {
        let error = joined_by(&token, through(user)).await.err().expect("refused");
        assert!(error.may_pass(), "a proxy's mind may change");
        let JoinError::Dial(error) = error else {
            panic!("{error}")
        };
        error.to_string()
    };
    for user in ["", "agent:wrong@"] {
        let said = refused(user).await;
        let words = format!(
            "{HUB} over tcp: proxy {} answers \"407 Proxy Authentication Required\" to CONNECT {HUB} (it wants a user and a password)",
            proxy.address
        );
        assert!(said.contains(&words), "{said}");
        assert!(!said.contains("wrong"), "{said}");
    }
    assert_eq!(proxy.opened(), 0);
    let (identity, state) = joined_by(&token, through("agent:let%20me%20in@")).await.expect("joins");
    let agent = start_agent_with(identity, state, through("agent:let%20me%20in@"));
    hub.put("eu-1", "apps", "one");
    eventually("items arrive", || agent.holds("apps", "one")).await;
    assert_eq!(carrier_of(&agent), Some(Transport::Tcp));
    agent.stop().await;
    hub.shut().await;
}

/// A connection over TCP with a key that may join.
async fn stranger(hub: &TestHub) -> (AgentDialer, Connection) {
    let key = Key::generate().expect("random source works");
    let chain = vec![key.self_signed(jiff::Timestamp::now()).expect("signing works")];
    let roots = vec![hub.inner.server_authority.certificate().clone()];
    let tls = client_config(&key, chain, Trust::Roots(roots), TimeFloor::default()).expect("usable");
    let options = DialOptions {
        carriers: Carriers::Only(Transport::Tcp),
        ..dial()
    };
    let dialer = AgentDialer::new(options).expect("a socket");
    let connection = dialer
        .dial(&[hub.address.to_string()], tls)
        .await
        .expect("the handshake proves the key");
    (dialer, connection)
}

async fn ended(connection: &Connection) -> LinkError {
    tokio::time::timeout(Duration::from_secs(60), connection.closed())
        .await
        .expect("in time")
}

#[tokio::test]
async fn last_words_arrive_over_tcp_and_a_connection_without_owners_ends() {
    let hub = TestHub::start();
    // Nobody may join, so the hub has something to say at once, before any stream was opened.
    let (dialer, connection) = stranger(&hub).await;
    let LinkError::Closed(close) = ended(&connection).await else {
        panic!("no words")
    };
    assert_eq!(close.code(), Some(CloseCode::KeyUnknown), "{close}");
    let error = connection.open(StreamKind::Control).await.expect_err("it has ended");
    assert!(matches!(error, LinkError::Closed(_)), "{error}");
    drop((dialer, connection));

    hub.token("platform/t", TokenSpec::default());
    let (dialer, connection) = stranger(&hub).await;
    connection.close(&Close::new(CloseCode::Done, "nothing to say"));
    assert!(matches!(ended(&connection).await, LinkError::ClosedHere));
    dialer.finish().await;

    let (dialer, connection) = stranger(&hub).await;
    let streams = connection.open(StreamKind::Control).await.expect("opened");
    drop(connection);
    let (mut send, mut recv) = streams;
    send.send(StreamKind::Control, vec![1; 70_000])
        .await
        .expect("a stream keeps its connection");
    let error = recv.next().await.expect_err("the hub has read nonsense");
    let LinkError::Closed(close) = error else {
        panic!("{error}")
    };
    assert_eq!(close.reason, "control frame of 70000 bytes, at most 65536 are allowed");
    drop((send, recv));
    dialer.finish().await;
    hub.shut().await;
}

#[tokio::test]
async fn a_peer_that_sends_without_end_in_small_pieces_is_not_kept_in_memory() {
    let hub = TestHub::start();
    hub.token("platform/t", TokenSpec::default());
    let (_dialer, connection) = stranger(&hub).await;
    // While the hub waits for a request on this one it takes no other.
    let control = connection.open(StreamKind::Control).await.expect("opened");
    let mut held = Vec::new();
    let flood = async {
        for _ in 0..8 {
            let (mut send, recv) = connection.open(StreamKind::Chunk).await?;
            held.push(recv);
            let mut sent = 0_u64;
            // The window is 96 KiB: it stops, or the connection is ended.
            while let Ok(result) =
                tokio::time::timeout(Duration::from_millis(300), send.send(StreamKind::Chunk, vec![1; 1])).await
            {
                result?;
                sent += 2;
                assert!(sent < 200_000, "the hub takes what nobody reads");
            }
        }
        Ok::<_, LinkError>(())
    };
    let result = flood.await;
    println!("the flood ended with {result:?}");
    // Either the connection is over, or it waits for its control stream and ends for that.
    drop((control, held));
    let _ = ended(&connection).await;
    check_unharmed(&hub).await;
    hub.shut().await;
}

async fn check_unharmed(hub: &TestHub) {
    let spec = TokenSpec {
        name: "eu-1",
        ..TokenSpec::default()
    };
    let token = hub.token("platform/unharmed", spec);
    let options = DialOptions {
        carriers: Carriers::Only(Transport::Tcp),
        connect_timeout: Duration::from_secs(10),
        ..dial()
    };
    let (identity, state) = joined_by(&token, options.clone()).await.expect("joins");
    hub.put("eu-1", "apps", "one");
    let agent = start_agent_with(identity, state, options);
    eventually("items arrive", || agent.holds("apps", "one")).await;
    agent.stop().await;
}

#[tokio::test]
async fn silent_sockets_do_not_keep_others_out() {
    let options = ListenerOptions {
        max_pending: 8,
        handshake_timeout: Duration::from_secs(600),
        ..TestHub::options()
    };
    let hub = TestHub::start_with(options);
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(hub.address).await.expect("loopback"));
    }
    check_unharmed(&hub).await;
    hub.shut().await;
}

#[tokio::test]
async fn nonsense_at_the_tcp_door_leaves_the_hub_unharmed() {
    let hub = TestHub::start();
    let requests: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 0],
        &[0; 5000],
    ];
    for request in requests {
        let mut socket = TcpStream::connect(hub.address).await.expect("loopback");
        socket.write_all(request).await.expect("loopback");
        socket.shutdown().await.expect("loopback");
        let mut answer = Vec::new();
        // It may end in a reset.
        let _ = tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut answer))
            .await
            .expect("the hub lets go");
    }
    check_unharmed(&hub).await;
    hub.shut().await;
}

#[tokio::test]
async fn larger_datagrams_are_found_where_the_path_carries_them() {
    let hub = TestHub::start();
    let token = hub.token("platform/t", TokenSpec::default());
    let (identity, state) = joined_by(&token, dial()).await.expect("joins");
    let agent = start_agent_with(identity, state, dial());
    eventually("datagrams of 1,452 bytes", || {
        let connection = agent.handle.connection();
        connection.is_some_and(|connection| connection.stats().datagram_size == 1452)
    })
    .await;
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn a_path_that_forgets_is_noticed_by_the_one_who_must_keep_it_open() {
    let hub = TestHub::start();
    let relay = Relay::to(hub.address).await;
    let token = hub.token_at("platform/t", TokenSpec::default(), relay.address.clone());
    let (identity, state) = joined_by(&token, dial()).await.expect("joins");
    let agent = start_agent_with(identity, state, dial());
    eventually("it is connected", || agent.handle.mode().is_some()).await;
    let connection = agent.handle.connection().expect("connected");
    assert_eq!(connection.stats().path_challenges, 0);
    relay.forget();
    eventually("the hub has asked whether it is still the same", || {
        connection.stats().path_challenges > 0
    })
    .await;
    hub.put("eu-1", "apps", "one");
    eventually("items arrive", || agent.holds("apps", "one")).await;
    assert_eq!(agent.connections(), 1, "the connection outlives its address");
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn an_address_where_nobody_is_says_so_for_each_carrier() {
    let (_, address) = TestHub::start().shut().await;
    let address: SocketAddr = address;
    let hub = TestHub::start();
    let token = hub.token_at("platform/t", TokenSpec::default(), address.to_string());
    let options = DialOptions {
        connect_timeout: Duration::from_secs(1),
        ..racing()
    };
    let error = joined_by(&token, options).await.err().expect("nobody is there");
    let JoinError::Dial(error) = error else {
        panic!("{error}")
    };
    assert_eq!(
        error.to_string(),
        format!(
            "no hub address answers: {address} over quic: no answer in 1 s (is UDP let through?); {address} over tcp: connecting: connection refused: nobody listens there"
        )
    );
    hub.shut().await;
}
