use super::*;
use nave_runtime::Metrics;

fn metrics() -> HubMetrics {
    HubMetrics::new(&Metrics::new())
}

fn record(digest: u8) -> RowRecord {
    RowRecord {
        digest: vec![digest; 32],
        ..RowRecord::default()
    }
}

fn cluster(name: &str) -> ClusterKey {
    ClusterKey::new("platform", name)
}

/// Opens, runs until the changes are written, and closes. Answers what had been kept.
async fn session(path: &std::path::Path, changes: impl FnOnce(&Memory)) -> Vec<String> {
    let (memory, kept) = Memory::open(path.to_owned(), Limits::default(), metrics()).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(memory.clone().run(stop.clone(), || ()));
    changes(&memory);
    stop.cancel();
    running.await.unwrap();
    let mut kept: Vec<String> = kept
        .iter()
        .map(|row| format!("{} {} {}", row.cluster, row.key, row.record.digest[0]))
        .collect();
    kept.sort();
    kept
}

#[tokio::test]
async fn the_last_word_of_each_row_is_kept_when_the_hub_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let nothing = session(&path, |memory| {
        memory.keep(&cluster("a"), "k1".into(), record(1));
        memory.keep(&cluster("a"), "k1".into(), record(2));
        memory.keep(&cluster("a"), "k2".into(), record(3));
        memory.keep(&cluster("b"), "k1".into(), record(4));
    })
    .await;
    assert_eq!(nothing, [""; 0]);
    let first = session(&path, |memory| {
        memory.remove(&cluster("a"), "k1".into());
        memory.forget(&cluster("b"));
        memory.keep(&cluster("b"), "k9".into(), record(5));
    })
    .await;
    assert_eq!(first, ["platform/a k1 2", "platform/a k2 3", "platform/b k1 4"]);
    assert_eq!(session(&path, |_| ()).await, ["platform/a k2 3", "platform/b k9 5"]);
}

#[tokio::test]
async fn a_place_where_no_file_can_be_makes_no_hub_fail() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("a file");
    std::fs::write(&blocked, "").unwrap();
    let (memory, kept) = Memory::open(blocked.join("state.redb"), Limits::default(), metrics()).await;
    assert_eq!(kept, []);
    memory.keep(&cluster("a"), "k".into(), record(1));
    assert!(!memory.write().await);
    assert!(!memory.write().await, "what was not written is pending still");
    std::fs::remove_file(&blocked).unwrap();
    memory.keep(&cluster("a"), "k".into(), record(2));
    assert!(memory.write().await);
    drop(memory);
    let kept = session(&blocked.join("state.redb"), |_| ()).await;
    assert_eq!(kept, ["platform/a k 2"]);
}

#[test]
fn what_came_since_a_failed_write_is_newer() {
    let mut failed = Pending::default();
    let row = |pending: &mut Pending, name: &str, digest| {
        let rows = pending.rows.entry(cluster(name)).or_default();
        rows.insert("k".into(), Some(record(digest)));
    };
    row(&mut failed, "a", 1);
    row(&mut failed, "b", 1);
    row(&mut failed, "c", 1);
    let mut since = Pending::default();
    row(&mut since, "a", 2);
    since.forgotten.push(cluster("b"));
    since.put_back(failed);
    let digest = |name: &str| {
        let row = since.rows.get(&cluster(name))?.get("k")?.clone()?;
        Some(row.digest[0])
    };
    assert_eq!((digest("a"), digest("b"), digest("c")), (Some(2), None, Some(1)));
    assert_eq!(since.forgotten, [cluster("b")]);
}

#[tokio::test]
async fn a_history_is_read_before_and_after_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let at = |time_ms| Transition {
        time_ms,
        ..Transition::default()
    };
    let times = async |memory: &Memory| -> Vec<i64> {
        let found = memory.history(&cluster("a")).await.unwrap();
        found
            .iter()
            .flat_map(|(_, record)| record.transitions.iter().map(|one| one.time_ms))
            .collect()
    };
    let (memory, _) = Memory::open(path.clone(), Limits::default(), metrics()).await;
    memory.became(&cluster("a"), "k".into(), at(1));
    assert_eq!(times(&memory).await, [1], "it is not written yet");
    assert!(memory.write().await);
    let told = |time_ms| SpokeEvent {
        time_ms,
        reason: "BuildFailed".into(),
        ..SpokeEvent::default()
    };
    memory.told(&cluster("a"), "k".into(), told(5));
    assert!(memory.write().await);
    memory.told(&cluster("a"), "k".into(), told(6));
    let found = memory.history(&cluster("a")).await.unwrap();
    let heard: Vec<i64> = found[0].1.events.iter().map(|event| event.time_ms).collect();
    assert_eq!((found.len(), heard), (1, vec![5, 6]), "in the order in which they came");
    memory.became(&cluster("a"), "k".into(), at(2));
    memory.became(&cluster("b"), "k".into(), at(9));
    assert_eq!(times(&memory).await, [1, 2]);
    assert!(memory.write().await);
    locked::mutex(&memory.file).take();
    assert_eq!(times(&memory).await, [0; 0], "without a file nothing is known");
    let (memory, _) = Memory::open(path, Limits::default(), metrics()).await;
    assert_eq!(times(&memory).await, [1, 2]);
    memory.forget(&cluster("a"));
    assert!(memory.write().await);
    assert_eq!(times(&memory).await, [0; 0]);
    for number in 0..3 * TRANSITIONS as i64 {
        memory.became(&cluster("a"), "k".into(), at(number));
    }
    assert_eq!(locked::mutex(&memory.pending).transitions.len(), TRANSITIONS);
}
