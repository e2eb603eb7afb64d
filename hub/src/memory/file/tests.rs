use super::*;
use crate::memory::Transition;

fn record(digest: u8, message: &str) -> RowRecord {
    RowRecord {
        digest: vec![digest; 32],
        owner_uid: "u".into(),
        state: "ready".into(),
        message: message.into(),
        ..RowRecord::default()
    }
}

fn put(cluster: &str, key: &str, digest: u8) -> Change {
    Change::Row {
        cluster: cluster.into(),
        key: key.into(),
        record: Some(record(digest, "").encode_to_vec()),
    }
}

fn gone(cluster: &str, key: &str) -> Change {
    Change::Row {
        cluster: cluster.into(),
        key: key.into(),
        record: None,
    }
}

/// What the file holds after it was opened again, as `cluster key digest`.
fn reopened(path: &Path, limits: Limits) -> Vec<String> {
    let (_file, rows) = StateFile::open(path, limits).unwrap();
    rows.iter()
        .map(|row| format!("{} {} {}", row.cluster, row.key, row.record.digest[0]))
        .collect()
}

#[test]
fn what_was_written_is_there_after_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/state.redb");
    let (file, rows) = StateFile::open(&path, Limits::default()).unwrap();
    assert_eq!(rows, []);
    let first = [
        put("p/a", "k1", 1),
        put("p/a", "k2", 2),
        put("p/b", "k1", 3),
        put("p/a-b", "k1", 4),
    ];
    let before = file.apply(&first).unwrap().bytes;
    file.apply(&[put("p/a", "k1", 5), gone("p/a", "k2"), gone("p/c", "k")])
        .unwrap();
    drop(file);
    let expected = ["p/a k1 5", "p/a-b k1 4", "p/b k1 3"];
    assert_eq!(reopened(&path, Limits::default()), expected);
    let (file, _) = StateFile::open(&path, Limits::default()).unwrap();
    let forget = Change::Forget { cluster: "p/a".into() };
    let Held { rows, bytes: after } = file.apply(&[forget]).unwrap();
    assert_eq!(rows, 2);
    let of = |cluster| size(&row_id(cluster, "k1"), &record(1, "").encode_to_vec());
    assert_eq!((before, after), (3 * of("p/b") + of("p/a-b"), of("p/b") + of("p/a-b")));
}

#[test]
fn a_forgotten_cluster_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (file, _) = StateFile::open(&path, Limits::default()).unwrap();
    file.apply(&[put("p/a", "k", 1), put("p/a0", "k", 2), put("p/a-b", "k", 3)])
        .unwrap();
    file.apply(&[Change::Forget { cluster: "p/a".into() }]).unwrap();
    drop(file);
    assert_eq!(reopened(&path, Limits::default()), ["p/a-b k 3", "p/a0 k 2"]);
}

#[test]
fn a_process_beside_it_is_told_that_it_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let _held = StateFile::open(&path, Limits::default()).unwrap();
    let error = StateFile::open(&path, Limits::default()).map(drop).unwrap_err();
    assert!(matches!(error, FileError::InUse { .. }), "{error}");
    assert!(!folder.path().join("state.redb.damaged").exists());
}

/// Spoils a file that held a row, and says what it holds when it is opened again and whether the old one is put aside.
fn check_damage(name: &str, spoil: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (file, _) = StateFile::open(&path, Limits::default()).unwrap();
    let changes: Vec<Change> = (0..200).map(|n| put("p/a", &format!("k{n}"), 1)).collect();
    file.apply(&changes).unwrap();
    drop(file);
    spoil(&path);
    let (file, rows) = StateFile::open(&path, Limits::default()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert_eq!(rows, [], "{name}");
    assert!(folder.path().join("state.redb.damaged").exists(), "{name}");
    file.apply(&[put("p/a", "k", 7)]).unwrap();
    drop(file);
    assert_eq!(reopened(&path, Limits::default()), ["p/a k 7"], "{name}");
}

#[test]
fn a_damaged_file_is_put_aside_and_the_next_is_empty() {
    check_damage("no database", |path| {
        fs::write(path, "this is no database at all").unwrap()
    });
    check_damage("cut short", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 3]).unwrap();
    });
    check_damage("zeroed", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, vec![0; bytes.len()]).unwrap();
    });
    check_damage("content changed", |path| {
        let mut bytes = fs::read(path).unwrap();
        let word = b"ready";
        let mut at = 0;
        while let Some(next) = bytes[at..].windows(word.len()).position(|window| window == word) {
            bytes[at + next] ^= 0xff;
            at += next + word.len();
        }
        assert!(at > 0, "the rows stand in the file");
        fs::write(path, bytes).unwrap();
    });
    check_damage("another format", |path| {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(FORMAT_KEY, 99).unwrap();
        transaction.commit().unwrap();
    });
    check_damage("a row that is none", |path| {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(ROWS)
            .unwrap()
            .insert(&b"p/a\0k"[..], &[0xff; 3][..])
            .unwrap();
        transaction.commit().unwrap();
    });
}

#[test]
fn rows_above_the_limits_are_not_kept_and_hurt_no_other_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let row = size(&row_id("p/a", "k0"), &record(1, "").encode_to_vec());
    let limits = Limits {
        cluster_rows: 2 * row,
        rows: 3 * row,
        ..Limits::default()
    };
    let (file, _) = StateFile::open(&path, limits).unwrap();
    file.apply(&[put("p/a", "k0", 1), put("p/a", "k1", 1), put("p/a", "k2", 1)])
        .unwrap();
    assert_eq!(
        file.apply(&[put("p/b", "k0", 1), put("p/c", "k0", 1)]).unwrap().bytes,
        3 * row
    );
    // A row that was not kept leaves nothing of an older digest behind either; one that is replaced has its room.
    file.apply(&[put("p/a", "k1", 2)]).unwrap();
    file.apply(&[gone("p/a", "k0"), put("p/c", "k0", 3)]).unwrap();
    drop(file);
    assert_eq!(reopened(&path, limits), ["p/a k1 2", "p/b k0 1", "p/c k0 3"]);
}

#[test]
fn a_file_that_stays_too_large_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (file, _) = StateFile::open(&path, Limits::default()).unwrap();
    let message = "m".repeat(1000);
    let changes: Vec<Change> = (0..400)
        .map(|n| Change::Row {
            cluster: "p/a".into(),
            key: format!("k{n}"),
            record: Some(record(1, &message).encode_to_vec()),
        })
        .collect();
    file.apply(&changes).unwrap();
    drop(file);
    let limits = Limits {
        file: 64 * 1024,
        ..Limits::default()
    };
    let Err(error) = open_checked(&path, limits) else {
        panic!("400 KB of rows do not fit into 64 KiB")
    };
    assert!(matches!(error, FileError::Damaged { .. }), "{error}");
}

fn became(cluster: &str, key: &str, time_ms: i64, message: &str) -> Change {
    Change::History {
        cluster: cluster.into(),
        key: key.into(),
        noted: Noted::Became(Transition {
            time_ms,
            state: "failed".into(),
            message: message.into(),
            ..Transition::default()
        }),
    }
}

/// The times of a cluster's transitions, as `key: times`.
fn times(file: &StateFile, cluster: &str) -> Vec<String> {
    let found = file.history(cluster).unwrap();
    let lines = found.iter().map(|(key, record)| {
        let times: Vec<String> = record.transitions.iter().map(|one| one.time_ms.to_string()).collect();
        format!("{key}: {}", times.join(" "))
    });
    lines.collect()
}

#[test]
fn transitions_of_each_item_are_kept_over_a_restart_and_go_with_their_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (file, _) = StateFile::open(&path, Limits::default()).unwrap();
    assert_eq!(times(&file, "p/a"), [""; 0]);
    let changes = [
        became("p/a", "k1", 1, "x"),
        became("p/a", "k2", 2, "x"),
        became("p/a", "k1", 3, "x"),
        became("p/a-b", "k1", 4, "x"),
        put("p/a", "k1", 1),
    ];
    file.apply(&changes).unwrap();
    drop(file);
    let (file, rows) = StateFile::open(&path, Limits::default()).unwrap();
    assert_eq!(rows.len(), 1, "a history is no row");
    assert_eq!(times(&file, "p/a"), ["k1: 1 3", "k2: 2"]);
    file.apply(&[gone("p/a", "k1")]).unwrap();
    assert_eq!(times(&file, "p/a"), ["k1: 1 3", "k2: 2"], "what is no more has been");
    file.apply(&[Change::Forget { cluster: "p/a".into() }]).unwrap();
    assert_eq!(
        (times(&file, "p/a").len(), times(&file, "p/a-b")),
        (0, vec!["k1: 4".to_owned()])
    );
}

#[test]
fn histories_stay_within_their_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let limits = Limits {
        history: 4096,
        ..Limits::default()
    };
    let (file, _) = StateFile::open(&path, limits).unwrap();
    let long = "m".repeat(500);
    for time in 0..200 {
        let key = format!("k{}", time % 20);
        file.apply(&[became("p/a", &key, time, &long)]).unwrap();
        let held: u64 = file
            .history("p/a")
            .unwrap()
            .iter()
            .map(|(key, record)| size(&row_id("p/a", key), &record.encode_to_vec()))
            .sum();
        assert!(held <= 4096, "{held} bytes after {time}");
        assert_eq!(held, locked::mutex(&file.sizes).history);
    }
    drop(file);
    let (file, _) = StateFile::open(&path, limits).unwrap();
    assert!(locked::mutex(&file.sizes).history > 2048, "there is still something");
}
