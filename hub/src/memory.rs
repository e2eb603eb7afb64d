//! What the hub remembers over a restart: the rows of its view, with the digests by which agents and hub compare them.
//!
//! ```text
//! view ─► pending (latest per row) ─► gathered, one commit ─► state file
//! state file ─► rows, roots ─► view, replicas of the links     (at start, once)
//! ```
//!
//! Beside a row stand the last transitions of its item, for people; hubs do not need them.
//!
//! Nothing waits for the disk. A row that was not written when the process died is sent again by its agent, since the
//! digests differ; the digest stands in the same record as the row, so that a digest is never newer than what it is of.
//! The file is disposable: a damaged one is put aside, and agents send everything once more.

mod file;
mod history;
mod record;
mod traffic;

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use nave_placement::ClusterKey;
use nave_proto::Key;
use prost::Message;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

pub use file::Limits;
use file::{Change, FileError, Held, StateFile};
use history::Noted;
pub use history::{HistoryRecord, SpokeEvent, Transition};
pub use record::RowRecord;
pub use traffic::{Bytes as TrafficBytes, TrafficRecord};

use crate::{locked, metrics::HubMetrics};

/// Changes that come together become one commit; what is lost with the process is sent again.
const GATHER: Duration = Duration::from_millis(500);
/// How long a hub that is ending may still hold the file.
const HELD: Duration = Duration::from_secs(5);
/// After a failure, a full disk mostly.
const RETRY: Duration = Duration::from_secs(30);

/// Transitions, and events, that wait for the disk. With more, the oldest are lost: two for each of a thousand clusters in [`GATHER`].
const TRANSITIONS: usize = 2048;

/// The rows of the view on disk.
pub struct Memory {
    path: PathBuf,
    limits: Limits,
    metrics: HubMetrics,
    file: Mutex<Option<Arc<StateFile>>>,
    pending: Mutex<Pending>,
    wake: Notify,
}

/// A row as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Where it is from.
    pub cluster: ClusterKey,
    /// Key of the item that it speaks of.
    pub key: String,
    /// What it says.
    pub record: RowRecord,
}

/// What is not written yet: of each row the latest. It has no more rows than the view had since the last commit.
#[derive(Default)]
struct Pending {
    rows: HashMap<ClusterKey, HashMap<Key, Option<RowRecord>>>,
    /// Every one of them counts, oldest first.
    transitions: VecDeque<(ClusterKey, Key, Transition)>,
    /// What agents told, oldest first.
    events: VecDeque<(ClusterKey, Key, SpokeEvent)>,
    /// Accounts of traffic; none to be dropped.
    traffic: HashMap<ClusterKey, Option<TrafficRecord>>,
    forgotten: Vec<ClusterKey>,
}

impl Memory {
    /// Opens the file, or begins one, and answers what it holds. Without a file that can be used the hub works on, and
    /// says so in its log.
    pub async fn open(path: PathBuf, limits: Limits, metrics: HubMetrics) -> (Arc<Self>, Vec<Kept>) {
        let opened = open_when_free(path.clone(), limits).await;
        let (file, rows) = match opened {
            Ok((file, rows)) => {
                tracing::info!(path = %path.display(), rows = rows.len(), "what the hub remembers is read");
                (Some(Arc::new(file)), rows)
            }
            Err(error) => {
                tracing::error!(
                    path = %path.display(), error = &error as &dyn std::error::Error,
                    "nothing is remembered over a restart: agents will send their status anew after the next one"
                );
                (None, Vec::new())
            }
        };
        let memory = Memory {
            path,
            limits,
            metrics,
            file: Mutex::new(file),
            pending: Mutex::default(),
            wake: Notify::new(),
        };
        if let Some(file) = &*locked::mutex(&memory.file) {
            memory.measure(file.held());
        }
        let rows = rows.into_iter().filter_map(|row| {
            let (namespace, name) = row.cluster.split_once('/')?;
            Some(Kept {
                cluster: ClusterKey::new(namespace, name),
                key: row.key,
                record: row.record,
            })
        });
        let rows = rows.collect();
        (Arc::new(memory), rows)
    }

    /// The row is so now.
    pub fn keep(&self, cluster: &ClusterKey, key: Key, record: RowRecord) {
        self.note(cluster, key, Some(record));
    }

    /// The row is no more.
    pub fn remove(&self, cluster: &ClusterKey, key: Key) {
        self.note(cluster, key, None);
    }

    /// The cluster was removed from the hub.
    pub fn forget(&self, cluster: &ClusterKey) {
        let mut pending = locked::mutex(&self.pending);
        pending.rows.remove(cluster);
        pending.traffic.remove(cluster);
        pending.transitions.retain(|(of, ..)| of != cluster);
        pending.events.retain(|(of, ..)| of != cluster);
        pending.forgotten.push(cluster.clone());
        drop(pending);
        self.wake.notify_one();
    }

    /// The item became otherwise.
    pub fn became(&self, cluster: &ClusterKey, key: Key, transition: Transition) {
        let mut pending = locked::mutex(&self.pending);
        pending.transitions.push_back((cluster.clone(), key, transition));
        pending.bound();
        drop(pending);
        self.wake.notify_one();
    }

    /// The agent told something of the item.
    pub fn told(&self, cluster: &ClusterKey, key: Key, event: SpokeEvent) {
        let mut pending = locked::mutex(&self.pending);
        pending.events.push_back((cluster.clone(), key, event));
        pending.bound();
        drop(pending);
        self.wake.notify_one();
    }

    /// What the link of a cluster carried, or that nothing of it is worth keeping.
    pub fn account(&self, cluster: &ClusterKey, record: Option<TrafficRecord>) {
        locked::mutex(&self.pending).traffic.insert(cluster.clone(), record);
        self.wake.notify_one();
    }

    /// What the links carried, as it was written last.
    ///
    /// # Errors
    /// The disk is broken.
    pub async fn traffic(&self) -> Result<Vec<(ClusterKey, TrafficRecord)>, FileError> {
        let Some(file) = locked::mutex(&self.file).clone() else {
            return Ok(Vec::new());
        };
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || file.traffic()).await;
        let found = read.unwrap_or(Err(FileError::Panicked { path }))?;
        let known = found.into_iter().filter_map(|(cluster, record)| {
            let (namespace, name) = cluster.split_once('/')?;
            Some((ClusterKey::new(namespace, name), record))
        });
        Ok(known.collect())
    }

    /// What the items of a cluster were before: key and transitions. What is not written yet is among them.
    ///
    /// # Errors
    /// There is no file, or the disk is broken.
    pub async fn history(&self, cluster: &ClusterKey) -> Result<Vec<(String, HistoryRecord)>, FileError> {
        let open = locked::mutex(&self.file).clone();
        let mut found = match open {
            Some(file) => {
                let (name, path) = (cluster.to_string(), self.path.clone());
                let read = tokio::task::spawn_blocking(move || file.history(&name)).await;
                read.unwrap_or(Err(FileError::Panicked { path }))?
            }
            None => Vec::new(),
        };
        let pending = locked::mutex(&self.pending);
        for (_, key, transition) in pending.transitions.iter().filter(|(of, ..)| of == cluster) {
            of_item(&mut found, key).push(transition.clone());
        }
        for (_, key, event) in pending.events.iter().filter(|(of, ..)| of == cluster) {
            of_item(&mut found, key).hear(event.clone());
        }
        Ok(found)
    }

    fn note(&self, cluster: &ClusterKey, key: Key, record: Option<RowRecord>) {
        let mut pending = locked::mutex(&self.pending);
        pending.rows.entry(cluster.clone()).or_default().insert(key, record);
        drop(pending);
        self.wake.notify_one();
    }

    /// Writes what changes until shutdown, and then what is left, after `last` has said what else is to be kept; then the
    /// file is free for another process.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken, last: impl FnOnce()) {
        let mut last = Some(last);
        let mut retry = None;
        loop {
            let again = async {
                match retry {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let ending = tokio::select! {
                _ = shutdown.cancelled() => true,
                _ = self.wake.notified(), if retry.is_none() => false,
                () = again => false,
            };
            if !ending {
                tokio::select! {
                    _ = shutdown.cancelled() => {}
                    _ = tokio::time::sleep(GATHER) => {}
                }
            }
            if let Some(last) = last.take_if(|_| ending) {
                last();
            }
            retry = (!self.write().await).then(|| Instant::now() + RETRY);
            if ending {
                locked::mutex(&self.file).take();
                return;
            }
        }
    }

    /// Writes everything pending. False when it has to be tried again.
    async fn write(&self) -> bool {
        let batch = std::mem::take(&mut *locked::mutex(&self.pending));
        if batch.is_empty() {
            return true;
        }
        let written = self.commit(batch.changes()).await;
        let outcome = if written.is_ok() { "written" } else { "failed" };
        self.metrics.state_writes.with_label_values(&[outcome]).inc();
        match written {
            Ok(held) => {
                self.measure(held);
                true
            }
            Err(error) => {
                tracing::error!(
                    path = %self.path.display(), error = &error as &dyn std::error::Error,
                    "writing what the hub remembers; it is tried again"
                );
                // Its accounts may be wrong now, and a failed write closes it for good.
                locked::mutex(&self.file).take();
                locked::mutex(&self.pending).put_back(batch);
                false
            }
        }
    }

    fn measure(&self, held: Held) {
        self.metrics
            .state_rows
            .set(i64::try_from(held.rows).unwrap_or(i64::MAX));
        self.metrics
            .state_bytes
            .set(i64::try_from(held.bytes).unwrap_or(i64::MAX));
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Held, FileError> {
        let open = locked::mutex(&self.file).clone();
        let file = match open {
            Some(file) => file,
            None => {
                // Its rows are older than those in memory: agents compare with the latter, and changes are pending.
                let (file, _) = open_when_free(self.path.clone(), self.limits).await?;
                let file = Arc::new(file);
                *locked::mutex(&self.file) = Some(file.clone());
                file
            }
        };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || file.apply(&changes)).await;
        written.unwrap_or_else(|_| Err(FileError::Panicked { path }))
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.forgotten.is_empty()
            && self.transitions.is_empty()
            && self.events.is_empty()
            && self.traffic.is_empty()
    }

    fn changes(&self) -> Vec<Change> {
        let forgotten = self.forgotten.iter().map(|cluster| Change::Forget {
            cluster: cluster.to_string(),
        });
        let rows = self.rows.iter().flat_map(|(cluster, rows)| {
            let cluster = cluster.to_string();
            rows.iter().map(move |(key, record)| Change::Row {
                cluster: cluster.clone(),
                key: key.to_string(),
                record: record.as_ref().map(Message::encode_to_vec),
            })
        });
        let transitions = self
            .transitions
            .iter()
            .map(|(cluster, key, transition)| (cluster, key, Noted::Became(transition.clone())));
        let events = self.events.iter();
        let events = events.map(|(cluster, key, event)| (cluster, key, Noted::Told(event.clone())));
        let history = transitions.chain(events).map(|(cluster, key, noted)| Change::History {
            cluster: cluster.to_string(),
            key: key.to_string(),
            noted,
        });
        let traffic = self.traffic.iter().map(|(cluster, record)| Change::Traffic {
            cluster: cluster.to_string(),
            record: record.as_ref().map(Message::encode_to_vec),
        });
        forgotten.chain(rows).chain(history).chain(traffic).collect()
    }

    fn bound(&mut self) {
        let excess = self.transitions.len().saturating_sub(TRANSITIONS);
        self.transitions.drain(..excess);
        let excess = self.events.len().saturating_sub(TRANSITIONS);
        self.events.drain(..excess);
    }

    /// A batch that was not written: what came meanwhile is newer.
    fn put_back(&mut self, batch: Pending) {
        let since = std::mem::replace(&mut self.transitions, batch.transitions);
        let forgotten = &self.forgotten;
        self.transitions.retain(|(cluster, ..)| !forgotten.contains(cluster));
        self.transitions.extend(since);
        let since = std::mem::replace(&mut self.events, batch.events);
        self.events.retain(|(cluster, ..)| !forgotten.contains(cluster));
        self.events.extend(since);
        self.bound();
        for (cluster, record) in batch.traffic {
            if !self.forgotten.contains(&cluster) {
                self.traffic.entry(cluster).or_insert(record);
            }
        }
        for (cluster, rows) in batch.rows {
            if self.forgotten.contains(&cluster) {
                continue;
            }
            let newer = self.rows.entry(cluster).or_default();
            for (key, record) in rows {
                newer.entry(key).or_insert(record);
            }
        }
        let since = std::mem::replace(&mut self.forgotten, batch.forgotten);
        for cluster in since {
            if !self.forgotten.contains(&cluster) {
                self.forgotten.push(cluster);
            }
        }
    }
}

/// What is known of an item, begun where nothing is.
fn of_item<'a>(found: &'a mut Vec<(String, HistoryRecord)>, key: &str) -> &'a mut HistoryRecord {
    let at = found.iter().position(|(known, _)| known == key);
    let at = at.unwrap_or_else(|| {
        found.push((key.to_owned(), HistoryRecord::default()));
        found.len() - 1
    });
    &mut found[at].1
}

type Opened = (StateFile, Vec<file::StoredRow>);

async fn open_when_free(path: PathBuf, limits: Limits) -> Result<Opened, FileError> {
    let until = Instant::now() + HELD;
    loop {
        let (at, panicked) = (path.clone(), path.clone());
        let opened = tokio::task::spawn_blocking(move || StateFile::open(&at, limits)).await;
        match opened.unwrap_or(Err(FileError::Panicked { path: panicked })) {
            Err(FileError::InUse { .. }) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
