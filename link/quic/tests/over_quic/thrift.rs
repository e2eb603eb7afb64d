//! What is saved and what is counted: the meter, metered lines, dictionaries, the hub's budget.

use std::time::Duration;

use bytes::Bytes;
use nave_identity::Approval;
use nave_proto::wire::{ChunkEncoding, EventMsg, LinkProfile};
use nave_proto::{Digest, StreamKind};
use nave_quic::{EgressBudget, Note, Older};

use crate::bed::{GATHER, METERED_MS, TestAgent, TestHub, TokenSpec, eventually, identity_of, start_agent};
use crate::link::{joined, set_row};

fn chunks_of(files: &[(&str, Vec<u8>)]) -> Vec<Digest> {
    files.iter().map(|(_, content)| Digest::of_content(content)).collect()
}

/// Bytes that do not compress.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[tokio::test]
async fn both_ends_count_the_same_bytes_by_what_they_are_for() {
    let (hub, agent) = joined().await;
    let files = [("a", noise(1, 100_000))];
    let digest = hub.publish("eu-1", &files);
    hub.put("eu-1", "apps", &"x".repeat(5_000));
    set_row(&agent, "row", "ready");
    agent
        .handle
        .fetch_chunks(&digest, &chunks_of(&files), |_, _| ())
        .await
        .expect("it is ours");
    let ours = agent.handle.connection().expect("connected");
    let theirs = hub.handle("eu-1").connection().clone();
    eventually("all of it has arrived", || {
        let (sent, got) = (theirs.traffic().sent.streams, ours.traffic().received.streams);
        let (told, heard) = (ours.traffic().sent.streams, theirs.traffic().received.streams);
        let same = |kind| sent.of(kind) == got.of(kind) && told.of(kind) == heard.of(kind);
        agent.holds("apps", &"x".repeat(5_000))
            && hub.row("eu-1", "row").is_some()
            && [StreamKind::Control, StreamKind::State, StreamKind::Chunk]
                .into_iter()
                .all(same)
    })
    .await;
    let traffic = theirs.traffic();
    let sent = |kind| traffic.sent.streams.of(kind);
    assert!((100_000..101_000).contains(&sent(StreamKind::Chunk)), "{traffic:?}");
    assert!((5_000..6_000).contains(&sent(StreamKind::State)), "{traffic:?}");
    assert_eq!(sent(StreamKind::Live), 0);
    assert!(
        traffic.sent.overhead() > 0 && traffic.received.overhead() > 0,
        "{traffic:?}"
    );
    assert!(
        traffic.sent.total > 105_000 && traffic.sent.total < 200_000,
        "{traffic:?}"
    );
    agent.stop().await;
    // What was carried is known after the end, for who adds it up.
    eventually("the hub's end has ended", || theirs.end().is_some()).await;
    assert!(theirs.traffic().sent.total >= traffic.sent.total);
    hub.shut().await;
}

/// An agent whose line is metered.
async fn metered() -> (TestHub, TestAgent) {
    let hub = TestHub::start();
    *hub.inner.profile.lock().expect("no panic holds it") = LinkProfile::Metered;
    let token = hub.token("platform/t", TokenSpec::default());
    let (identity, _, state) = identity_of(&token, "eu-1").await.expect("joins");
    let agent = start_agent(identity, state);
    agent.handle.connected().await;
    (hub, agent)
}

#[tokio::test]
async fn on_a_metered_line_status_is_gathered_and_events_stay() {
    let (hub, agent) = metered().await;
    assert_eq!(hub.handle("eu-1").profile(), LinkProfile::Metered);
    set_row(&agent, "row", "first");
    eventually("what was to be told at first is told at once", || {
        hub.row("eu-1", "row").is_some_and(|row| row == "first")
    })
    .await;
    eventually("the agent knows that", || {
        agent.notes().contains(&nave_quic::AgentNote::InSync)
    })
    .await;
    let heartbeats = |hub: &TestHub| {
        hub.with("eu-1", |cluster| {
            let beats = cluster
                .notes
                .iter()
                .filter(|note| matches!(note, Note::Heartbeat { .. }));
            beats.count()
        })
    };
    let (beats, begun) = (heartbeats(&hub), tokio::time::Instant::now());
    agent.handle.event(EventMsg {
        reason: "Applied".to_owned(),
        ..EventMsg::default()
    });
    // Changes in a row, over more than one window: the last always arrives, most of the others never do.
    let before = hub
        .handle("eu-1")
        .connection()
        .traffic()
        .received
        .streams
        .of(StreamKind::State);
    for number in 0..200 {
        set_row(&agent, "row", &format!("{number:0>5000}"));
        tokio::time::sleep(GATHER / 100).await;
    }
    let last = format!("{:0>5000}", 199);
    eventually("the last of them arrives", || {
        hub.row("eu-1", "row").is_some_and(|row| row == last)
    })
    .await;
    let after = hub
        .handle("eu-1")
        .connection()
        .traffic()
        .received
        .streams
        .of(StreamKind::State);
    let rows = (after - before) / 5000;
    let windows = begun.elapsed().as_millis() / GATHER.as_millis() + 2;
    assert!(u128::from(rows) <= windows, "{rows} rows in {windows} windows");
    eventually("heartbeats go on", || heartbeats(&hub) >= beats + 2).await;
    let most = begun.elapsed().as_millis() / u128::from(METERED_MS) + 2;
    let beats = heartbeats(&hub) - beats;
    assert!(beats as u128 <= most, "{beats} heartbeats, {most} at most");
    hub.with("eu-1", |cluster| {
        let events = cluster.notes.iter().filter(|note| matches!(note, Note::Event(_)));
        assert_eq!(events.count(), 0, "history waits for a better line");
    });
    // Items are not held up.
    hub.put("eu-1", "apps", "one");
    eventually("items arrive", || agent.holds("apps", "one")).await;
    agent.stop().await;
    hub.shut().await;
}

/// A file of settings, and the same with one line changed.
fn settings() -> (Vec<u8>, Vec<u8>) {
    let noise = noise(7, 32 * 1024);
    let line = |bytes: &[u8]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("- name: setting-{}\n  value: {hex}\n", &hex[..4])
    };
    let mut text: String = noise.chunks(24).map(line).collect();
    text.truncate(64 * 1024);
    let changed = text.replacen("value: ", "value: 00", 1);
    (text.into_bytes(), changed.into_bytes())
}

#[tokio::test]
async fn a_changed_file_travels_as_what_differs() {
    let (hub, agent) = joined().await;
    let (before, after) = settings();
    let other = noise(3, 20_000);
    let first = hub.publish("eu-1", &[("a.yaml", before.clone()), ("b", other)]);
    let second = hub.publish("eu-1", &[("a.yaml", after.clone())]);
    let chunk = Digest::of_content(&after);
    let fetch = async |manifest: Digest, dictionary: &(dyn Fn(&Digest) -> Option<Bytes> + Sync)| {
        let older = Some(Older { manifest, dictionary });
        let counted = || {
            agent
                .handle
                .connection()
                .map(|one| one.traffic().received.streams.of(StreamKind::Chunk))
        };
        let (was, mut got) = (counted().expect("connected"), Vec::new());
        agent
            .handle
            .fetch_changes(&second, &[chunk], older, |_, content| got.push(content))
            .await
            .expect("it is ours");
        assert_eq!(
            got,
            [Bytes::from(after.clone())],
            "whatever happens, the content is right"
        );
        let encodings: Vec<ChunkEncoding> = std::mem::take(&mut *hub.inner.sent.lock().expect("no panic holds it"))
            .iter()
            .map(|sent| sent.encoding)
            .collect();
        (counted().expect("connected") - was, encodings)
    };
    let held = |_: &Digest| Some(Bytes::from(before.clone()));
    let (with, encodings) = fetch(first, &held).await;
    assert_eq!(encodings, [ChunkEncoding::ZstdDictionary]);
    // A manifest that this cluster never had, and one that nobody has.
    let foreign = hub.publish("us-1", &[("a.yaml", [&before[..], b"#"].concat())]);
    let (without, encodings) = fetch(foreign, &held).await;
    assert_eq!(
        encodings,
        [ChunkEncoding::Zstd],
        "how small it becomes would tell what others have"
    );
    let (_, encodings) = fetch(Digest::of_content(b"nowhere"), &held).await;
    assert_eq!(encodings, [ChunkEncoding::Zstd]);
    // An agent that does not hold what it named, or holds something else, gets it all the same.
    let (_, encodings) = fetch(first, &|_| None).await;
    assert_eq!(encodings, [ChunkEncoding::ZstdDictionary, ChunkEncoding::Zstd]);
    let damaged = [&before[..1_000], b"#", &before[1_000..]].concat();
    let (_, encodings) = fetch(first, &|_| Some(Bytes::from(damaged.clone()))).await;
    assert_eq!(encodings, [ChunkEncoding::ZstdDictionary, ChunkEncoding::Zstd]);
    println!(
        "64 KiB of YAML, one line changed, on the chunk stream: {with} bytes with the dictionary, {without} without"
    );
    assert!(with * 20 < without);
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn within_a_budget_one_large_artifact_delays_nobodys_items() {
    let hub = TestHub::start();
    let rate = 400_000_u64;
    *hub.inner.budget.lock().expect("no panic holds it") = Some(EgressBudget::new(rate));
    let mut agents = Vec::new();
    for (id, name) in [("platform/a", "eu-1"), ("platform/b", "us-1")] {
        let spec = TokenSpec {
            name,
            approval: Some(Approval::Automatic),
            ..TokenSpec::default()
        };
        let (identity, _, state) = identity_of(&hub.token(id, spec), name).await.expect("joins");
        let agent = start_agent(identity, state);
        agent.handle.connected().await;
        agents.push(agent);
    }
    let files: Vec<(String, Vec<u8>)> = (0..12).map(|n| (format!("f{n}"), noise(n + 1, 250_000))).collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, data)| (name.as_str(), data.clone())).collect();
    let digest = hub.publish("eu-1", &files);
    let chunks = chunks_of(&files);
    let begun = tokio::time::Instant::now();
    let large = agents[0].handle.clone();
    let (mut got, done) = (0, std::cell::Cell::new(false));
    let mut overtaken = 0;
    let fetching = large.fetch_chunks(&digest, &chunks, |_, content| got += content.len());
    let items = async {
        // Of both agents, also of the one that is busy.
        for round in 0..3 {
            for (agent, name) in agents.iter().zip(["eu-1", "us-1"]) {
                let payload = format!("round {round}");
                hub.put(name, "apps", &payload);
                eventually("the item arrives", || agent.holds("apps", &payload)).await;
                overtaken += u32::from(!done.get());
            }
        }
    };
    let (fetched, ()) = tokio::join!(
        async {
            fetching.await.expect("it is ours");
            done.set(true);
            begun.elapsed()
        },
        items
    );
    // 3 MB at 400 KB/s, with what may go at once at first and the last frame that is not waited for.
    let least = Duration::from_secs_f64((3_000_000.0 - 250_000.0) / rate as f64 - 0.2);
    assert!(fetched >= least, "{fetched:?}, at least {least:?}");
    assert_eq!(got, 3_000_000);
    assert!(
        overtaken >= 2,
        "{overtaken} items of both agents came before the whole artifact"
    );
    for agent in agents {
        agent.stop().await;
    }
    hub.shut().await;
}
