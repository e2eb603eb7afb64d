//! Live reads: what is asked for comes, a slow reader holds back nothing else, and nobody reads for a caller who left.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nave_proto::wire::{LiveEndCode, LiveRequest};
use nave_quic::LiveFailure;

use crate::bed::eventually;
use crate::link::{joined, set_row};

const LONGEST: Duration = Duration::from_secs(600);

fn ask(resource: &str) -> LiveRequest {
    LiveRequest {
        resource: resource.to_owned(),
        user: "jane".into(),
        ..LiveRequest::default()
    }
}

#[tokio::test]
async fn live_reads_go_through_or_are_refused() {
    let (hub, agent) = joined().await;
    let mut stream = hub.handle("eu-1").live(ask("pods"), LONGEST).await.expect("opened");
    let mut bytes = 0;
    while let Some(piece) = stream.next().await.expect("readable") {
        bytes += piece.len();
    }
    assert_eq!(
        (bytes, stream.end().map(|end| end.code)),
        (500_000, Some(LiveEndCode::Done as i32))
    );
    let mut stream = hub.handle("eu-1").live(ask("secrets"), LONGEST).await.expect("opened");
    assert_eq!(stream.next().await.expect("readable"), None);
    assert_eq!(stream.end().map(|end| end.code), Some(LiveEndCode::Forbidden as i32));
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn readers_that_do_not_read_hold_back_no_state() {
    let (hub, agent) = joined().await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = hub.handle("eu-1").live(ask("endless"), LONGEST).await.expect("opened");
        // The answer has begun; from here on nobody reads it.
        assert!(stream.next().await.expect("readable").is_some());
        streams.push(stream);
    }
    // More than one window of the connection, in rows that are as large as they may be.
    for number in 0..20 {
        let row = format!("{number}").repeat(20_000);
        set_row(&agent, "busy", &row);
        eventually("the row has arrived", || {
            hub.row("eu-1", "busy").is_some_and(|seen| seen == row)
        })
        .await;
    }
    hub.put("eu-1", "apps", "down as well");
    eventually("the item has arrived", || agent.holds("apps", "down as well")).await;
    // They go on where they stopped.
    for stream in &mut streams {
        let before = stream.received();
        while stream.received() < before + 100_000 {
            assert!(stream.next().await.expect("readable").is_some());
        }
    }
    drop(streams);
    eventually("nobody reads for callers who left", || {
        agent.state.endless.load(Ordering::Relaxed) == 0
    })
    .await;
    let mut stream = hub
        .handle("eu-1")
        .live(ask("pods"), LONGEST)
        .await
        .expect("there is room again");
    assert!(stream.next().await.expect("readable").is_some());
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn a_read_that_lasts_too_long_ends() {
    let (hub, agent) = joined().await;
    let longest = Duration::from_millis(300);
    let mut stream = hub.handle("eu-1").live(ask("endless"), longest).await.expect("opened");
    while stream.next().await.expect("readable").is_some() {}
    let end = stream.end().expect("the hub says how it ended");
    assert!(end.message.contains("time") || end.message.contains("long"), "{end:?}");
    drop(stream);
    eventually("the agent stops", || agent.state.endless.load(Ordering::Relaxed) == 0).await;
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn an_older_agent_is_not_asked() {
    let (hub, agent) = joined().await;
    agent.state.is_old.store(true, Ordering::Relaxed);
    hub.handle("eu-1")
        .close(nave_proto::Close::new(nave_proto::CloseCode::Reconnect, "come back"));
    eventually("it is connected again", || agent.connections() == 2).await;
    let refused = hub.handle("eu-1").live(ask("pods"), LONGEST).await;
    let failure = refused.expect_err("it cannot");
    assert!(matches!(failure, LiveFailure::Unsupported), "{failure}");
    assert_eq!(failure.to_string(), "the cluster's agent is too old for live reads");
    agent.stop().await;
    hub.shut().await;
}
