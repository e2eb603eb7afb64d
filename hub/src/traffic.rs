//! What each cluster's link carries in a day.
//!
//! ```text
//! connections of open sessions ─► read once a minute ─► accounts by cluster and day ─► series, `nave describe cluster`
//!                                                            └─► state file, every few minutes and at the end
//! ```
//!
//! Nothing of it goes to etcd. A hub that is killed forgets the minutes since the accounts were written last.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use nave_placement::ClusterKey;
use nave_proto::StreamKind;
use nave_quic::{Carried, Connection, Traffic};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    locked,
    memory::{Memory, TrafficBytes, TrafficRecord},
    metrics::HubMetrics,
};

/// How often connections are read.
const READ: Duration = Duration::from_secs(60);
/// So many readings later the accounts are written: what a hub that is killed forgets.
const WRITE_EVERY: u32 = 5;
/// Seconds in a day.
const DAY: i64 = 24 * 3600;

/// The accounts of all clusters.
pub struct TrafficBook {
    memory: Arc<Memory>,
    metrics: HubMetrics,
    /// How many clusters get series of their own.
    top: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Open>,
    accounts: HashMap<ClusterKey, Account>,
}

/// A connection that is being counted.
struct Open {
    cluster: ClusterKey,
    connection: Connection,
    read: Traffic,
}

#[derive(Default)]
struct Account {
    record: TrafficRecord,
    is_written: bool,
}

impl TrafficBook {
    /// Goes on with what is remembered of clusters that `exists` knows. `top` clusters get series of their own.
    pub async fn open(
        memory: Arc<Memory>,
        metrics: HubMetrics,
        top: usize,
        exists: impl Fn(&ClusterKey) -> bool,
    ) -> Arc<Self> {
        let today = day(Timestamp::now());
        let kept = match memory.traffic().await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what the links carried before is not known"
                );
                Vec::new()
            }
        };
        let mut state = State::default();
        for (cluster, record) in kept {
            if exists(&cluster) && record.is_recent(today) {
                let account = Account {
                    record,
                    is_written: true,
                };
                state.accounts.insert(cluster, account);
            } else {
                memory.account(&cluster, None);
            }
        }
        Arc::new(TrafficBook {
            memory,
            metrics,
            top,
            state: Mutex::new(state),
        })
    }

    /// Counts what the connection of a session carries, all of it, for the cluster.
    pub fn opened(&self, session: u64, cluster: &ClusterKey, connection: Connection) {
        let open = Open {
            cluster: cluster.clone(),
            connection,
            read: Traffic::default(),
        };
        locked::mutex(&self.state).open.insert(session, open);
    }

    /// The session has ended: what it carried since the last reading is added.
    pub fn closed(&self, session: u64) {
        let mut state = locked::mutex(&self.state);
        if let Some(mut open) = state.open.remove(&session) {
            self.read(&mut open, &mut state.accounts, day(Timestamp::now()));
        }
    }

    /// The cluster was removed from the hub. What is kept on disk goes with its rows.
    pub fn forget(&self, cluster: &ClusterKey) {
        locked::mutex(&self.state).accounts.remove(cluster);
    }

    /// What the link of a cluster carried, up to now; oldest day first.
    pub fn of(&self, cluster: &ClusterKey) -> TrafficRecord {
        let mut state = locked::mutex(&self.state);
        let State { open, accounts } = &mut *state;
        let today = day(Timestamp::now());
        for one in open.values_mut().filter(|one| one.cluster == *cluster) {
            self.read(one, accounts, today);
        }
        let account = accounts.get(cluster).filter(|account| account.record.is_recent(today));
        account.map(|account| account.record.clone()).unwrap_or_default()
    }

    /// Reads every connection.
    fn read_all(&self) {
        let mut state = locked::mutex(&self.state);
        let State { open, accounts } = &mut *state;
        let today = day(Timestamp::now());
        for one in open.values_mut() {
            self.read(one, accounts, today);
        }
        if self.top > 0 {
            self.show_top(accounts, today);
        }
    }

    fn read(&self, open: &mut Open, accounts: &mut HashMap<ClusterKey, Account>, today: i64) {
        let now = open.connection.traffic();
        let since = now.since(&open.read);
        open.read = now;
        if since == Traffic::default() {
            return;
        }
        let account = accounts.entry(open.cluster.clone()).or_default();
        account.is_written = false;
        let day = account.record.day(today);
        for (direction, carried, bytes) in [
            ("sent", since.sent, &mut day.sent),
            ("received", since.received, &mut day.received),
        ] {
            add(bytes, &carried);
            for (stream, bytes) in parts(&carried) {
                let series = &self.metrics.link_bytes;
                series.with_label_values(&[direction, stream]).inc_by(bytes);
            }
        }
    }

    /// Series of the clusters whose links carried most today; of nobody else.
    fn show_top(&self, accounts: &HashMap<ClusterKey, Account>, today: i64) {
        let mut all: Vec<_> = accounts
            .iter()
            .filter_map(|(cluster, account)| {
                let day = account.record.days.last().filter(|day| day.day == today)?;
                Some((day.sent.total + day.received.total, cluster, day))
            })
            .collect();
        all.sort_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
        let series = &self.metrics.cluster_bytes;
        series.reset();
        for (_, cluster, day) in all.into_iter().take(self.top) {
            for (direction, bytes) in [("sent", day.sent.total), ("received", day.received.total)] {
                let labels = [cluster.namespace.as_str(), cluster.name.as_str(), direction];
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                series.with_label_values(&labels).set(bytes);
            }
        }
    }

    /// Reads every connection, and hands what changed to the memory.
    pub fn write(&self) {
        self.read_all();
        let mut state = locked::mutex(&self.state);
        for (cluster, account) in state.accounts.iter_mut().filter(|(_, account)| !account.is_written) {
            self.memory.account(cluster, Some(account.record.clone()));
            account.is_written = true;
        }
    }

    /// Keeps the accounts until shutdown. What is left then is written by whoever ends the memory, with
    /// [`TrafficBook::write`].
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        for number in 1_u32.. {
            tokio::select! {
                _ = shutdown.cancelled() => return,
                _ = tokio::time::sleep(READ) => {}
            }
            if number.is_multiple_of(WRITE_EVERY) {
                self.write();
            } else {
                self.read_all();
            }
        }
    }
}

/// An account as it is told.
pub fn told(record: &TrafficRecord) -> Value {
    let direction = |bytes: &TrafficBytes| {
        json!({
            "control": bytes.control, "state": bytes.state, "chunk": bytes.chunk, "live": bytes.live,
            "carrier": bytes.overhead(), "total": bytes.total,
        })
    };
    let days: Vec<Value> = record
        .days
        .iter()
        .map(|day| {
            let date = Timestamp::from_second(day.day * DAY).unwrap_or(Timestamp::UNIX_EPOCH);
            let date = date.to_string();
            json!({
                "day": date.split('T').next().unwrap_or_default(),
                "sent": direction(&day.sent), "received": direction(&day.received),
            })
        })
        .collect();
    Value::Array(days)
}

fn add(bytes: &mut TrafficBytes, carried: &Carried) {
    let of = |kind| carried.streams.of(kind);
    bytes.control += of(StreamKind::Control);
    bytes.state += of(StreamKind::State);
    bytes.chunk += of(StreamKind::Chunk);
    bytes.live += of(StreamKind::Live);
    bytes.total += carried.total;
}

/// What a direction consists of, by the names of the series.
fn parts(carried: &Carried) -> BTreeMap<&'static str, u64> {
    let of = |kind| carried.streams.of(kind);
    BTreeMap::from([
        ("control", of(StreamKind::Control)),
        ("state", of(StreamKind::State)),
        ("chunk", of(StreamKind::Chunk)),
        ("live", of(StreamKind::Live)),
        ("carrier", carried.overhead()),
    ])
}

fn day(now: Timestamp) -> i64 {
    now.as_second().div_euclid(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Limits;
    use nave_runtime::Metrics;

    fn cluster(name: &str) -> ClusterKey {
        ClusterKey::new("platform", name)
    }

    /// What a hub does: opens, works, ends. Answers what was known at its start of some clusters.
    async fn life(path: &std::path::Path, known: &[&str], work: impl FnOnce(&TrafficBook)) -> Vec<(String, u64)> {
        let metrics = HubMetrics::new(&Metrics::new());
        let (memory, _) = Memory::open(path.to_owned(), Limits::default(), metrics.clone()).await;
        let book = TrafficBook::open(memory.clone(), metrics, 1, |cluster| {
            known.contains(&cluster.name.as_str())
        })
        .await;
        let mut at_start: Vec<(String, u64)> = ["a", "b"]
            .iter()
            .filter_map(|name| {
                let record = book.of(&cluster(name));
                Some(((*name).to_owned(), record.days.last()?.sent.total))
            })
            .collect();
        at_start.sort();
        work(&book);
        let stop = CancellationToken::new();
        stop.cancel();
        memory.run(stop, || book.write()).await;
        at_start
    }

    fn charge(book: &TrafficBook, name: &str, day: i64, bytes: u64) {
        let mut state = locked::mutex(&book.state);
        let account = state.accounts.entry(cluster(name)).or_default();
        account.record.day(day).sent.total += bytes;
        account.is_written = false;
    }

    #[tokio::test]
    async fn accounts_survive_a_restart_and_old_and_unknown_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let today = day(Timestamp::now());
        let first = life(&path, &[], |book| {
            charge(book, "a", today, 100);
            charge(book, "b", today, 7);
            charge(book, "c", today - 5, 1);
        })
        .await;
        assert_eq!(first, []);
        let second = life(&path, &["a", "b"], |book| charge(book, "a", today, 11)).await;
        assert_eq!(second, [("a".to_owned(), 100), ("b".to_owned(), 7)]);
        // "b" was removed while the hub was away.
        let third = life(&path, &["a"], |_| ()).await;
        assert_eq!(third, [("a".to_owned(), 111)]);
        assert_eq!(life(&path, &["a", "b"], |_| ()).await, [("a".to_owned(), 111)]);
    }

    #[tokio::test]
    async fn as_many_clusters_as_are_asked_for_have_series() {
        let folder = tempfile::tempdir().unwrap();
        let today = day(Timestamp::now());
        life(&folder.path().join("state.redb"), &[], |book| {
            charge(book, "a", today, 100);
            charge(book, "b", today, 7);
            book.read_all();
            let shown = |name: &str| {
                let labels = ["platform", name, "sent"];
                book.metrics
                    .cluster_bytes
                    .get_metric_with_label_values(&labels)
                    .unwrap()
                    .get()
            };
            assert_eq!((shown("a"), shown("b")), (100, 0));
        })
        .await;
    }

    #[test]
    fn what_is_told_names_day_and_parts() {
        let mut record = TrafficRecord::default();
        record.day(20_000).sent = TrafficBytes {
            control: 1,
            state: 2,
            chunk: 3,
            live: 0,
            total: 10,
        };
        let told = told(&record);
        assert_eq!(told[0]["day"], "2024-10-04");
        assert_eq!(told[0]["sent"]["carrier"], 4);
        assert_eq!(told[0]["received"]["total"], 0);
    }
}
