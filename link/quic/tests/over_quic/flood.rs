//! First packets from somebody without a key cost the hub less than him.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use nave_identity::{Key, SERVER_NAME, TimeFloor, Trust, client_config};
use nix::sys::resource::{UsageWho, getrusage};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, Endpoint, EndpointConfig};

use crate::bed::{TestHub, TokenSpec, dial, eventually, identity_of, start_agent_with};

const INITIALS: usize = 10_000;
/// So many are sent before their answers are waited for: none is lost, and so none is free.
const BATCH: usize = 25;

/// What this thread has used.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("every thread may ask");
    let time = |value: nix::sys::time::TimeVal| {
        Duration::from_secs(value.tv_sec() as u64) + Duration::from_micros(value.tv_usec() as u64)
    };
    time(usage.user_time()) + time(usage.system_time())
}

enum Ask {
    Cpu(mpsc::Sender<Duration>),
    /// Is the hub still one? Then end.
    Check,
}

#[test]
fn ten_thousand_initials_cost_the_hub_less_than_the_one_who_sends_them() {
    let (tell_address, address) = mpsc::channel();
    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let hub = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let hub = TestHub::start();
            let root = hub.inner.server_authority.certificate().clone();
            tell_address.send((hub.address, root)).expect("somebody waits for it");
            while let Some(question) = asked.recv().await {
                match question {
                    Ask::Cpu(answer) => answer.send(cpu()).expect("somebody waits for it"),
                    Ask::Check => break,
                }
            }
            let token = hub.token("platform/t", TokenSpec::default());
            let (identity, _, state) = identity_of(&token, "eu-1").await.expect("joins after all that");
            hub.put("eu-1", "apps", "one");
            let agent = start_agent_with(identity, state, dial());
            eventually("items arrive", || agent.holds("apps", "one")).await;
            agent.stop().await;
            hub.shut().await;
        });
    });
    let hub_cpu = || {
        let (answer, answered) = mpsc::channel();
        ask.send(Ask::Cpu(answer)).map_err(drop).expect("the hub lives");
        answered.recv().expect("the hub lives")
    };
    let (address, root) = address.recv().expect("the hub starts");

    let key = Key::generate().expect("random source works");
    let chain = vec![key.self_signed(jiff::Timestamp::now()).expect("signing works")];
    let tls = client_config(&key, chain, Trust::Roots(vec![root]), TimeFloor::default()).expect("usable");
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")));
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a socket");

    let (mut sender_cpu, mut answers, mut retries) = (Duration::ZERO, 0, 0);
    let hub_before = hub_cpu();
    let mut buffer = vec![0; 2048];
    for _ in 0..INITIALS / BATCH {
        let before = cpu();
        for _ in 0..BATCH {
            let mut packet = Vec::with_capacity(1500);
            let now = Instant::now();
            let (_, mut connection) = endpoint
                .connect(now, config.clone(), address, SERVER_NAME)
                .expect("a first flight");
            let sent = connection
                .poll_transmit(now, 1, &mut packet)
                .expect("it has something to say");
            socket.send_to(&packet[..sent.size], address).expect("loopback");
        }
        sender_cpu += cpu() - before;
        // Every one is answered: with a retry, or with the first flight of a handshake (more than one datagram).
        let mut waited = 0;
        while waited < BATCH {
            match socket.recv_from(&mut buffer) {
                Ok((length, _)) => {
                    let retry = length > 0 && buffer[0] & 0xf0 == 0xf0;
                    retries += usize::from(retry);
                    answers += 1;
                    waited += 1;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let hub_cost = hub_cpu() - hub_before;
    println!(
        "{INITIALS} Initials: the sender used {sender_cpu:?}, the hub {hub_cost:?}: {:.2} of it; {retries} retries in {answers} answers",
        hub_cost.as_secs_f64() / sender_cpu.as_secs_f64()
    );
    assert!(retries > INITIALS / 2, "most were not asked for their address");
    assert!(
        hub_cost < sender_cpu,
        "the hub used {hub_cost:?}, the sender {sender_cpu:?}"
    );
    ask.send(Ask::Check).map_err(drop).expect("the hub lives");
    hub.join().expect("the hub is unharmed");
}
