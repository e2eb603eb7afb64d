//! Who asked for what, and what came of it: a line in the log for each decision and each end, and a count.
//!
//! Lines carry `audit="live-read"` and the id under which the agent writes down the same read.

use std::time::Instant;

use nave_identity::ClusterRef;

use super::{
    front_proxy::Caller,
    question::{Question, What},
};
use crate::metrics::HubMetrics;

/// A read that was asked for.
pub struct Record {
    /// The same at both ends.
    pub id: String,
    caller: Caller,
    cluster: String,
    right: String,
    target: String,
    started: Instant,
    metrics: HubMetrics,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was read.
    Done,
    /// The rights on the hub, or the spoke's, say no.
    Denied,
    /// It went wrong, or there is no such thing.
    Failed,
    /// Too many at once.
    Busy,
    /// The caller did not wait for the end.
    Gone,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Busy => "busy",
            Self::Gone => "gone",
        }
    }
}

impl Record {
    /// Begins.
    pub fn new(caller: &Caller, cluster: &ClusterRef, what: What, question: &Question, metrics: &HubMetrics) -> Self {
        let target = [&question.resource, &question.namespace, &question.name];
        let target: Vec<&str> = target
            .iter()
            .map(|part| part.as_str())
            .filter(|part| !part.is_empty())
            .collect();
        Record {
            id: format!("{:032x}", rand::random::<u128>()),
            caller: caller.clone(),
            cluster: cluster.to_string(),
            right: format!("{} clusters/{}", question.verb(what).1, what.subresource()),
            target: target.join("/"),
            started: Instant::now(),
            metrics: metrics.clone(),
        }
    }

    /// The rights on the hub allow it; the agent is asked.
    pub fn allowed(&self) {
        tracing::info!(
            audit = "live-read",
            outcome = "allowed",
            id = self.id,
            user = self.caller.user,
            groups = self.caller.groups.join(","),
            cluster = self.cluster,
            right = self.right,
            target = self.target,
            "live read allowed"
        );
    }

    /// It is over.
    pub fn ended(&self, outcome: Outcome, reason: &str, bytes: u64) {
        self.metrics.live_reads.with_label_values(&[outcome.name()]).inc();
        self.metrics.live_bytes.inc_by(bytes);
        tracing::info!(
            audit = "live-read",
            outcome = outcome.name(),
            id = self.id,
            user = self.caller.user,
            groups = self.caller.groups.join(","),
            cluster = self.cluster,
            right = self.right,
            target = self.target,
            bytes,
            milliseconds = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            reason,
            "live read ended"
        );
    }
}
