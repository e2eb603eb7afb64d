//! What all actions on one release share.

use std::{collections::BTreeSet, sync::Arc};

use kube::ResourceExt;
use nave_crds::{helm::HelmRelease, labels};
use nave_health::HealthExpressions;
use nave_object::ObjectId;
use nave_release::{Release, Snapshot};
use nave_runtime::ports::{Action, FleetRef, OwnerRef};
use nave_targets::Target;
use tokio_util::sync::CancellationToken;

use crate::{Options, Ports, notes::Notes, running::Turn, settings::Place, storage::Storage};

/// Why an action failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub message: String,
    pub cause: Cause,
}

/// What kind of end it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Something did not work.
    Error,
    /// Something newer is wanted, and waiting was given up for it.
    Canceled,
    /// What it would delete is not permitted yet.
    Held,
}

impl Failed {
    pub fn new(message: impl Into<String>) -> Self {
        Failed {
            message: message.into(),
            cause: Cause::Error,
        }
    }

    /// Something newer is wanted.
    pub fn canceled() -> Self {
        Failed {
            message: "waiting was given up: something newer is wanted".to_owned(),
            cause: Cause::Canceled,
        }
    }

    /// So many deletions wait for a permit.
    pub fn held(deletions: usize, reason: &str) -> Self {
        let what = match deletions {
            1 => "1 deletion waits".to_owned(),
            count => format!("{count} deletions wait"),
        };
        Failed {
            message: format!("{what} for a permit: {reason}"),
            cause: Cause::Held,
        }
    }

    pub fn is_canceled(&self) -> bool {
        self.cause == Cause::Canceled
    }

    pub fn is_held(&self) -> bool {
        self.cause == Cause::Held
    }

    /// The error with its whole chain of causes.
    pub fn of(error: &dyn std::error::Error) -> Self {
        Failed::new(chain(error))
    }

    /// The same, with what was being done in front.
    pub fn while_doing(self, what: &str) -> Self {
        Failed {
            message: format!("{what}: {}", self.message),
            cause: self.cause,
        }
    }
}

/// One release, one cluster, and everything that acting needs.
pub(crate) struct Act<'a> {
    pub ports: &'a Ports,
    pub options: &'a Options,
    pub object: &'a HelmRelease,
    pub target: &'a Arc<Target>,
    pub place: &'a Place,
    pub expressions: &'a Arc<HealthExpressions>,
    pub preempt: &'a CancellationToken,
    pub turn: &'a mut Turn,
    pub storage: &'a mut Storage,
    /// What is remembered of the versions, newest first; follows every write to the storage.
    pub history: &'a mut Vec<Snapshot>,
    /// What is behind the snapshots that are made now.
    pub oci_digest: String,
    /// The action, as snapshots name it.
    pub action: &'static str,
    /// Definitions were written, so that a kind may be served in a moment.
    pub has_new_definitions: bool,
    /// What this action may delete: it was asked for as a whole.
    pub permitted: BTreeSet<ObjectId>,
    /// What was done last.
    pub notes: Notes,
}

impl Act<'_> {
    /// The HelmRelease as the owner of what it applies; the fleet object behind it from its labels.
    pub fn owner(&self) -> OwnerRef {
        let label = |key: &str| self.object.labels().get(key).cloned();
        let fleet = match (label(labels::FLEET_KIND), label(labels::FLEET_NAME)) {
            (Some(kind), Some(name)) => Some(FleetRef {
                kind,
                name,
                namespace: label(labels::FLEET_NAMESPACE).unwrap_or_default(),
                uid: label(labels::FLEET_UID).unwrap_or_default(),
            }),
            _ => None,
        };
        OwnerRef {
            kind: "HelmRelease".to_owned(),
            namespace: self.object.namespace().unwrap_or_default(),
            name: self.object.name_any(),
            fleet,
        }
    }

    /// Asks the policy of this cluster.
    pub fn may_apply(&self, id: &ObjectId) -> Result<(), Failed> {
        self.ports
            .policy
            .check(
                &self.owner(),
                Action::Apply,
                &id.group,
                &id.kind,
                &id.namespace,
                &id.name,
            )
            .map_err(|why| Failed::new(format!("{id} is not allowed here: {why}")))
    }

    /// Stores a new version and remembers it.
    pub async fn store_new(&mut self, release: &Release, stored: &[Release], max_history: i64) -> Result<(), Failed> {
        self.storage
            .create(release, stored, max_history)
            .await
            .map_err(|error| Failed::of(&error))?;
        self.remember(release);
        Ok(())
    }

    /// Writes a version again and remembers it.
    pub async fn store(&mut self, release: &Release) -> Result<(), Failed> {
        self.storage.update(release).await.map_err(|error| Failed::of(&error))?;
        self.remember(release);
        Ok(())
    }

    /// The same where another error is on its way already.
    pub async fn store_anyway(&mut self, release: &Release) {
        if let Err(failed) = self.store(release).await {
            tracing::warn!(
                release = release.name,
                version = release.version,
                error = failed.message,
                "a release record could not be written"
            );
        }
    }

    fn remember(&mut self, release: &Release) {
        if let Some(known) = self.history.iter_mut().find(|known| known.is_of(release)) {
            let tests = known.tests.take();
            let mut now = Snapshot::of(release, &known.oci_digest, &known.action);
            now.tests = tests;
            *known = now;
            return;
        }
        // A version that somebody else made is not ours to remember.
        if !self.history.iter().any(|known| known.version > release.version) {
            self.history
                .insert(0, Snapshot::of(release, &self.oci_digest, self.action));
        }
    }
}

/// The whole chain of causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
