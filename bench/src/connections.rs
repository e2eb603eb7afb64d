//! What a connection costs the hub that only lies there: the floor of what an agent costs it.
//!
//! The listener is a process of its own with the hub's sockets, settings and allocator, and holds what comes in: a
//! connection that is authenticated both ways, and a control stream that carried a message each way. No session, no items.

use std::{io::Write, ops::Range, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use nave_identity::{Authority, AuthorityRole, Key, ServerCertificates, TimeFloor, Trust, client_config};
use nave_proto::StreamKind;
use nave_quic::{
    AgentDialer, Carriers, Connection, DialOptions, HubListener, ListenerOptions, RecvStream, SendStream, Transport,
};
use nave_runtime::{Tasks, resident};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::Semaphore,
    task::JoinSet,
};

use crate::{process, table::row};

/// Connections that come before memory is looked at.
const WARM: usize = 20;
/// Handshakes under way at once; the listener refuses more than it can take.
const AT_ONCE: usize = 64;
/// The listener gives free memory back some seconds after it became quiet.
const SETTLE: Duration = Duration::from_secs(20);
/// A connection on which nothing is heard for so long is gone: longer than this takes.
const IDLE: Duration = Duration::from_secs(600);
/// A control message as long as a heartbeat.
const MESSAGE: [u8; 32] = [7; 32];

/// What the listener says when it listens.
#[derive(Serialize, Deserialize)]
struct Listening {
    address: String,
    /// Its authority, in DER.
    root: Vec<u8>,
}

/// A connection that is held, with its stream.
type Held = (Connection, SendStream, RecvStream);

/// Prints the memory of a connection over each carrier.
pub async fn run(connections: usize) -> Result<()> {
    nave_bed::install_crypto_provider();
    println!("{connections} connections that lie there, for each carrier a listener with the hub's settings");
    for (transport, name) in [(Transport::Quic, "QUIC"), (Transport::Tcp, "TLS over TCP")] {
        let kib = measure(connections, transport).await?;
        row(&format!("{name}: memory per connection"), &format!("{kib:.1} KiB"), "");
    }
    Ok(())
}

async fn measure(connections: usize, transport: Transport) -> Result<f64> {
    let mut child = Command::new(std::env::current_exe().context("finding this program")?)
        .arg("connections-listener")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting the listener")?;
    let pid = child.id().context("the listener has ended")?;
    let _stops_it_when_dropped = child.stdin.take();
    let mut lines = BufReader::new(child.stdout.take().context("the listener has no output")?).lines();
    let line = lines.next_line().await?.context("the listener ended")?;
    let listening: Arc<Listening> = Arc::new(serde_json::from_str(&line)?);
    // The first connections bring what all of them need.
    let mut held = connect(&listening, 0..WARM, transport).await?;
    tokio::time::sleep(SETTLE).await;
    let (before, _) = process::memory(pid)?;
    held.extend(connect(&listening, WARM..WARM + connections, transport).await?);
    tokio::time::sleep(SETTLE).await;
    let (after, _) = process::memory(pid)?;
    let ended = held
        .iter()
        .filter(|(connection, ..)| connection.end().is_some())
        .count();
    ensure!(ended == 0, "{ended} connections ended");
    Ok((after - before) * 1024.0 / connections as f64)
}

/// Connections with keys of their own, each with an answer on its control stream.
async fn connect(listening: &Arc<Listening>, numbers: Range<usize>, transport: Transport) -> Result<Vec<Held>> {
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for _ in numbers {
        let (listening, at_once) = (listening.clone(), at_once.clone());
        tasks.spawn(async move {
            let _turn = at_once.acquire_owned().await?;
            dial(&listening, transport).await
        });
    }
    tasks.join_all().await.into_iter().collect()
}

async fn dial(listening: &Listening, transport: Transport) -> Result<Held> {
    let key = Key::generate()?;
    let chain = vec![key.self_signed(Timestamp::now())?];
    let roots = vec![listening.root.clone().into()];
    let tls = client_config(&key, chain, Trust::Roots(roots), TimeFloor::default())?;
    let dialer = AgentDialer::new(DialOptions {
        idle_timeout: IDLE,
        carriers: Carriers::Only(transport),
        ..DialOptions::default()
    })?;
    let connection = dialer.dial(std::slice::from_ref(&listening.address), tls).await?;
    let (mut send, mut receive) = connection.open(StreamKind::Control).await?;
    send.send(StreamKind::Control, MESSAGE.to_vec()).await?;
    receive.next().await?.context("the listener gave no answer")?;
    Ok((connection, send, receive))
}

/// Listens as a hub does, says where, and holds what comes until its standard input ends.
pub async fn listen() -> Result<()> {
    nave_bed::install_crypto_provider();
    let (now, day) = (Timestamp::now(), SignedDuration::from_hours(24));
    let authority = Authority::generate(AuthorityRole::Server, now, day * 2)?;
    let certificates = ServerCertificates::new(&authority.issue_server(now, day)?)?;
    let options = ListenerOptions {
        idle_timeout: IDLE,
        ..ListenerOptions::default()
    };
    let mut listener = HubListener::bind("127.0.0.1:0".parse()?, certificates, options)?;
    let listening = Listening {
        address: listener.local_addr()?.to_string(),
        root: authority.certificate().to_vec(),
    };
    println!("{}", serde_json::to_string(&listening)?);
    std::io::stdout().flush()?;
    let tasks = Tasks::new(tokio_util::sync::CancellationToken::new());
    resident::let_go_when_quiet(&tasks);
    let (asked, mut over) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Its end is what is waited for.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = asked.send(());
    });
    let mut held = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut over => return Ok(()),
            connection = listener.accept() => {
                held.spawn(hold(connection.context("the listener ended")?));
            }
        }
    }
}

async fn hold(connection: Connection) -> Result<()> {
    let (_, mut send, mut receive) = connection.accept().await?;
    while let Some(message) = receive.next().await? {
        send.send(StreamKind::Control, message.to_vec()).await?;
    }
    Ok(())
}
