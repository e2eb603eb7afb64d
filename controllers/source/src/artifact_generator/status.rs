//! What is written into the status of an ArtifactGenerator. Pure: the time is an argument.

use jiff::Timestamp;
use nave_crds::{
    conditions::{READY, RECONCILING, STALLED},
    extensions::{ArtifactGeneratorStatus, GeneratedArtifact},
    reasons::{self, generator},
};
use nave_runtime::{Conditions, Status};

const IN_PROGRESS: &str = "Reconciliation in progress";

/// A status being written.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub status: ArtifactGeneratorStatus,
    generation: i64,
    now: Timestamp,
}

impl Draft {
    pub fn new(status: ArtifactGeneratorStatus, generation: i64, now: Timestamp) -> Self {
        Draft {
            status,
            generation,
            now,
        }
    }

    fn set(&mut self, kind: &str, status: Status, reason: &str, message: &str) {
        self.status
            .conditions
            .set(kind, status, reason, message, self.generation, self.now);
    }

    /// A suspended object that nobody has looked at says so; others stay as they are.
    pub fn suspended(&mut self) {
        if self.status.conditions.get_condition(READY).is_none() {
            let message = "Initialized with reconciliation suspended";
            self.set(READY, Status::True, generator::RECONCILIATION_DISABLED, message);
        }
    }

    /// Everything is built again.
    pub fn progressing(&mut self) {
        self.set(RECONCILING, Status::True, reasons::PROGRESSING, IN_PROGRESS);
        self.set(READY, Status::Unknown, reasons::PROGRESSING, IN_PROGRESS);
    }

    /// It failed, and will be tried again.
    pub fn failed(&mut self, reason: &str, message: &str) {
        self.status.conditions.remove_condition(STALLED);
        self.set(RECONCILING, Status::True, reasons::PROGRESSING_WITH_RETRY, IN_PROGRESS);
        self.set(READY, Status::False, reason, message);
    }

    /// It failed, and only another spec helps.
    pub fn stalled(&mut self, reason: &str, message: &str) {
        self.set(READY, Status::False, reason, message);
        self.set(STALLED, Status::True, reason, message);
    }

    /// Everything is as the spec wants it.
    pub fn succeeded(&mut self, inventory: Vec<GeneratedArtifact>, digest: String, message: &str) {
        self.status.inventory = inventory;
        self.status.observed_sources_digest = digest;
        self.settled();
        self.set(READY, Status::True, reasons::SUCCEEDED, message);
    }

    /// Nothing had to be done.
    pub fn settled(&mut self) {
        self.status.conditions.remove_condition(RECONCILING);
        self.status.conditions.remove_condition(STALLED);
    }

    /// The request that this reconcile answers.
    pub fn handled(&mut self, requested: Option<&str>) {
        if let Some(requested) = requested {
            requested.clone_into(&mut self.status.last_handled_reconcile_at);
        }
    }
}
