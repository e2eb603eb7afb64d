//! The step that looks for what others changed, and corrects it where that is wanted.

use nave_crds::{conditions, helm::DriftMode, kustomize::ResourceInventory, reasons};
use nave_release::{Release, Snapshot, last, objects};
use nave_runtime::Status;

use crate::{
    act::{Act, Failed},
    definitions::entries_of,
    drift,
    job::{Ended, Job, Ready},
    report::About,
    running::Turn,
    settings, status,
    steps::state_error,
    storage::Storage,
};

impl Job {
    /// The metric; none where drift is not looked for.
    pub fn measure_drift(&self, count: Option<usize>) {
        let (namespace, name) = &self.key;
        self.shared.ports.metrics.drifted("HelmRelease", namespace, name, count);
    }

    pub async fn check_drift(
        &mut self,
        ready: &Ready,
        turn: &mut Turn,
        storage: &mut Storage,
        history: &mut Vec<Snapshot>,
        stored: &[Release],
        refresh: bool,
    ) -> Ended {
        let mode = settings::drift_mode(&self.object.spec);
        let shared = self.shared.clone();
        let (object, preempt) = (self.object.clone(), self.preempt.clone());
        let mut act = self.act(ready, &shared, &object, &preempt, turn, storage, history);
        let Some(release) = last(stored) else {
            return state_error("the release is gone");
        };
        if self.status.inventory.is_none() || refresh {
            match inventory_of(&mut act, stored, ready).await {
                Ok(inventory) => self.status.inventory = Some(inventory),
                Err(failed) => {
                    return Ended::Failed {
                        reason: reasons::helm::INVENTORY_BUILD_FAILED,
                        message: failed.message,
                        after: None,
                    };
                }
            }
        }
        let drifted = match act.find_drift(release, &ready.ignore).await {
            Ok(drifted) => drifted,
            Err(failed) => return state_error(&format!("unable to determine cluster state: {}", failed.message)),
        };
        let at = self.at();
        let about = act.history.first().map(About::snapshot).unwrap_or_default();
        let name = act.history.first().map(Snapshot::full_name).unwrap_or_default();
        let (kind, reason) = (conditions::DRIFTED, reasons::helm::NO_DRIFT_DETECTED);
        self.measure_drift(Some(drifted.len()));
        if drifted.is_empty() {
            let message = format!("No drift detected for release {name}");
            status::set(&mut self.status, kind, Status::False, reason, message, at);
            return Ended::InSync;
        }
        let list = drift::list(&drifted);
        let message = format!("Cluster state of release {name} has drifted from the desired state:\n{list}");
        let found = reasons::helm::DRIFT_DETECTED;
        let is_told = nave_runtime::Conditions::get_condition(&self.written.conditions, kind)
            .is_some_and(|known| known.message == message);
        status::set(&mut self.status, kind, Status::True, found, message.clone(), at);
        if !is_told || mode == DriftMode::Enabled {
            self.reporter().warning(found, &message, &about);
        }
        if mode != DriftMode::Enabled {
            return Ended::InSync;
        }
        match act.correct(release, drifted).await {
            Ok(()) => {
                self.measure_drift(Some(0));
                let message = format!("Cluster state of release {name} has been corrected:\n{list}");
                self.reporter().info(reasons::helm::DRIFT_CORRECTED, &message, &about);
                let message = format!("No drift detected for release {name}");
                status::set(&mut self.status, kind, Status::False, reason, message, at);
                Ended::InSync
            }
            Err(failed) => {
                let reason = reasons::helm::DRIFT_CORRECTION_FAILED;
                let message = format!(
                    "Failed to correct the cluster state of release {name}: {}",
                    failed.message
                );
                Ended::Failed {
                    reason,
                    message,
                    after: None,
                }
            }
        }
    }
}

/// The objects of the newest version and the chart's definitions.
pub(crate) async fn inventory_of(
    act: &mut Act<'_>,
    stored: &[Release],
    ready: &Ready,
) -> Result<ResourceInventory, Failed> {
    let Some(release) = last(stored) else {
        return Ok(ResourceInventory::default());
    };
    let found = objects(&release.manifest, &release.name).map_err(|error| Failed::of(&error))?;
    let mut entries: Vec<_> = act.place_known(found).await?.iter().map(|one| one.entry()).collect();
    entries.extend(entries_of(&ready.chart.crds()));
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries.dedup();
    Ok(ResourceInventory { entries })
}
