//! Live reads: what a user of the hub may see here, which this cluster's own RBAC decides.
//!
//! ```text
//! LiveRequest ─► kinds: what is `po`? ─► api: as nave-live:<user> ─► show: no Secrets, no managed fields ─► sink
//! ```
//!
//! The agent asks the API server in the name of the caller, with a fixed prefix before the user and each group. No
//! caller can so become a user, group or service account of this cluster, whatever the hub says; and what nobody has
//! bound to a `nave-live:` subject here is refused. The API server's audit log shows both names.

mod api;
mod kinds;
mod places;
mod read;
mod show;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use kube::Client;
use nave_proto::wire::{LiveEnd, LiveEndCode, LiveRequest, LiveVerb};
use nave_quic::LiveSink;
use nave_runtime::Metrics;
use prometheus::{IntCounter, IntCounterVec, Opts};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use self::{kinds::Kinds, places::Places};

/// Stands before the name of a user and of a group.
pub const PREFIX: &str = "nave-live:";

/// Serves live reads. They run as tasks of their own, so that a large list does not keep the link waiting.
pub struct LiveReads {
    client: Client,
    kinds: Kinds,
    places: Places,
    reads: IntCounterVec,
    bytes: IntCounter,
}

/// Why a read ended other than well.
pub struct Ended {
    code: LiveEndCode,
    message: String,
}

/// Where pieces of an answer go. It fails when nobody listens any more.
pub struct Pieces(mpsc::Sender<Bytes>);

impl Pieces {
    /// Passes one on; an empty one says that the answer begins.
    pub async fn send(&self, piece: Bytes) -> Result<(), Ended> {
        let gone = |_| Ended::new(LiveEndCode::Failed, "nobody listens any more");
        self.0.send(piece).await.map_err(gone)
    }
}

impl Ended {
    fn new(code: LiveEndCode, message: impl Into<String>) -> Self {
        Ended {
            code,
            message: message.into(),
        }
    }
}

impl LiveReads {
    /// Reads with `client`, in the name of others.
    pub fn new(client: Client, metrics: &Metrics) -> Arc<Self> {
        let reads = Opts::new("nave_live_reads_total", "Live reads that the hub asked for.");
        let reads = IntCounterVec::new(reads, &["outcome"]).expect("the metric is well formed");
        let bytes = IntCounter::new("nave_live_bytes_total", "Bytes that live reads sent.");
        let bytes = bytes.expect("the metric is well formed");
        metrics.register(reads.clone());
        metrics.register(bytes.clone());
        Arc::new(LiveReads {
            kinds: Kinds::new(client.clone()),
            places: Places::default(),
            client,
            reads,
            bytes,
        })
    }

    /// Answers one request, and writes down who asked for what and what came of it.
    pub async fn serve(self: &Arc<Self>, request: LiveRequest, mut sink: LiveSink) -> LiveEnd {
        let mut record = Record::begin(self.clone(), &request);
        // One piece ahead of the link.
        let (pieces, mut ready) = mpsc::channel(1);
        let reads = self.clone();
        let work = AbortOnDropHandle::new(tokio::spawn(async move { reads.read(&request, &Pieces(pieces)).await }));
        while let Some(piece) = ready.recv().await {
            record.bytes += piece.len() as u64;
            if let Err(error) = sink.send(piece).await {
                // The caller has gone; the record says so when it is dropped, and the work ends with its handle.
                let message = error.to_string();
                let code = LiveEndCode::Failed as i32;
                return LiveEnd { code, message };
            }
        }
        let end = match work.await {
            Ok(Ok(())) => Ended::new(LiveEndCode::Done, ""),
            Ok(Err(ended)) => ended,
            Err(error) => Ended::new(LiveEndCode::Failed, format!("the read failed: {error}")),
        };
        record.ended(&end);
        LiveEnd {
            code: end.code as i32,
            message: end.message,
        }
    }

    async fn read(&self, request: &LiveRequest, pieces: &Pieces) -> Result<(), Ended> {
        if request.user.is_empty() {
            return Err(Ended::new(LiveEndCode::Invalid, "the hub names no user"));
        }
        let _place = self.places.take(&request.user)?;
        match LiveVerb::try_from(request.verb) {
            Ok(LiveVerb::Get) => read::get(self, request, pieces).await,
            Ok(LiveVerb::List) => read::list(self, request, pieces).await,
            Ok(LiveVerb::Events) => read::events(self, request, pieces).await,
            Ok(LiveVerb::Logs) => read::logs(self, request, pieces).await,
            Ok(LiveVerb::Unspecified) | Err(_) => {
                let text = "this agent does not know what is asked for; it may be older than the hub";
                Err(Ended::new(LiveEndCode::Unsupported, text))
            }
        }
    }
}

/// A read as it is written down; one that is dropped was left by its caller.
struct Record {
    reads: Arc<LiveReads>,
    id: String,
    user: String,
    groups: String,
    target: String,
    bytes: u64,
    started: Instant,
    told: bool,
}

impl Record {
    fn begin(reads: Arc<LiveReads>, request: &LiveRequest) -> Self {
        let verb = LiveVerb::try_from(request.verb).map_or("unknown", |verb| match verb {
            LiveVerb::Get => "get",
            LiveVerb::List => "list",
            LiveVerb::Events => "events",
            LiveVerb::Logs => "logs",
            LiveVerb::Unspecified => "nothing",
        });
        let parts = [&request.group, &request.resource, &request.ns, &request.name];
        let parts: Vec<&str> = parts
            .iter()
            .map(|part| part.as_str())
            .filter(|part| !part.is_empty())
            .collect();
        let record = Record {
            reads,
            id: request.id.clone(),
            user: format!("{PREFIX}{}", request.user),
            groups: request.groups.join(","),
            target: format!("{verb} {}", parts.join("/")),
            bytes: 0,
            started: Instant::now(),
            told: false,
        };
        tracing::info!(
            audit = "live-read",
            outcome = "asked",
            id = record.id,
            user = record.user,
            groups = record.groups,
            target = record.target,
            "live read asked for"
        );
        record
    }

    fn ended(&mut self, end: &Ended) {
        let outcome = match end.code {
            LiveEndCode::Done | LiveEndCode::Truncated => "done",
            LiveEndCode::Forbidden => "denied",
            LiveEndCode::Busy => "busy",
            _ => "failed",
        };
        self.tell(outcome, &end.message);
    }

    fn tell(&mut self, outcome: &'static str, reason: &str) {
        self.told = true;
        self.reads.reads.with_label_values(&[outcome]).inc();
        self.reads.bytes.inc_by(self.bytes);
        tracing::info!(
            audit = "live-read",
            outcome,
            id = self.id,
            user = self.user,
            groups = self.groups,
            target = self.target,
            bytes = self.bytes,
            milliseconds = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            reason,
            "live read ended"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.told {
            self.tell("gone", "");
        }
    }
}
