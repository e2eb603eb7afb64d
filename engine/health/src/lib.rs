//! Whether a live object is current, in progress or failed, by kstatus rules.
//!
//! ```text
//! object ─► deleting? ─► observed? ─► Reconciling / Stalled ─► rules of its kind ─► Ready condition
//! ```
//!
//! The rules are those of `sigs.k8s.io/cli-utils` kstatus 0.37 with Flux's own reading of Jobs (fluxcd/pkg ssa), and
//! expressions of `healthCheckExprs` and `readyExpr` in CEL. [`helm3`] has the rules of Helm 3 beside them.

mod builtin;
pub mod cel;
mod fields;
mod generic;
pub mod helm3;

pub use cel::{CelError, CustomHealth, HealthExpressions, ReadyExpression};

use jiff::Timestamp;
use serde_json::Value;

/// How far the cluster is with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// What was asked for is there.
    Current,
    /// Something is still being done.
    InProgress,
    /// It will not become current by itself.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It is not there.
    NotFound,
}

impl Status {
    /// The word kstatus uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Current => "Current",
            Status::InProgress => "InProgress",
            Status::Failed => "Failed",
            Status::Terminating => "Terminating",
            Status::NotFound => "NotFound",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A status and what it is based on, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How far the cluster is.
    pub status: Status,
    /// Why, such as `Available: 1/3`.
    pub message: String,
}

impl Health {
    /// A status with its reason.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Health {
            status,
            message: message.into(),
        }
    }

    /// What was asked for is there.
    pub fn current(message: impl Into<String>) -> Self {
        Health::new(Status::Current, message)
    }

    /// Something is still being done.
    pub fn in_progress(message: impl Into<String>) -> Self {
        Health::new(Status::InProgress, message)
    }

    /// It will not become current by itself.
    pub fn failed(message: impl Into<String>) -> Self {
        Health::new(Status::Failed, message)
    }

    /// The health of an object that the API server does not have.
    pub fn not_found() -> Self {
        Health::new(Status::NotFound, "resource not found")
    }
}

/// The health of a live object at `now`.
///
/// The time matters for one rule only: a Pod that could not be scheduled counts as failed after
/// [`SCHEDULING_WINDOW_SECONDS`]. Whoever waits must look again then, as no event will come.
pub fn status(object: &Value, now: Timestamp) -> Health {
    generic::before_kind(object)
        .or_else(|| builtin::by_kind(object, now))
        .or_else(|| generic::by_ready_condition(object))
        .unwrap_or_else(|| Health::current("Resource is current"))
}

pub use builtin::SCHEDULING_WINDOW_SECONDS;
