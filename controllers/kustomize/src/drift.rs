//! Reporting drift, and being woken by it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nave_apply::{Action, Change, guarded, until_drift};
use nave_crds::{conditions, reasons};
use nave_runtime::{Conditions, Status, Tasks};
use nave_targets::Target;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{memory::Kept, modes::Drift, reconcile::Run, triggers::Trigger};

/// How many objects and fields of each a message names.
const NAMED: usize = 10;
/// Somebody who keeps changing an object back is answered ever slower, so that two controllers do not race…
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// …until nothing happened for this long.
const QUIET: Duration = Duration::from_secs(60);

/// Watches what was applied; wakes its Kustomization once. Dropping it ends it.
pub(crate) struct Guard {
    fired: Arc<AtomicBool>,
    stop: CancellationToken,
}

/// How often a Kustomization was woken by drift lately.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Unrest {
    times: u32,
    last: Option<Instant>,
}

impl Unrest {
    fn count(&mut self, now: Instant) {
        let is_quiet = self.last.is_none_or(|last| now.duration_since(last) > QUIET);
        self.times = if is_quiet { 1 } else { self.times.saturating_add(1) };
        self.last = Some(now);
    }

    /// Before the next time. The first one is not delayed.
    fn pause(&self, now: Instant) -> Duration {
        match self.last {
            Some(last) if now.duration_since(last) <= QUIET => {
                (FIRST_PAUSE * 2_u32.saturating_pow(self.times.min(16))).min(LONGEST_PAUSE)
            }
            _ => Duration::ZERO,
        }
    }
}

impl Guard {
    fn begin(tasks: &Tasks, target: Arc<Target>, kept: &Kept, trigger: Trigger) -> Option<Guard> {
        let last = kept.last.as_ref()?;
        let items = guarded(&last.changes, &kept.apply);
        if items.is_empty() {
            return None;
        }
        let stop = tasks.shutdown_token().child_token();
        let fired = Arc::new(AtomicBool::new(false));
        let (stopped, flag) = (stop.clone(), fired.clone());
        let pause = kept.unrest.pause(Instant::now());
        tasks.spawn("drift", async move {
            let noticed = async {
                tokio::time::sleep(pause).await;
                until_drift(target, items).await;
            };
            tokio::select! {
                () = stopped.cancelled() => return,
                () = noticed => {}
            }
            flag.store(true, Ordering::SeqCst);
            trigger.fire().await;
        });
        Some(Guard { fired, stop })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A reconcile begins: it looks itself.
pub(crate) fn lower(kept: &mut Kept) {
    if let Some(guard) = kept.guard.take()
        && guard.fired.load(Ordering::SeqCst)
    {
        kept.unrest.count(Instant::now());
    }
}

impl Run<'_> {
    /// A reconcile ended: what it left is guarded where that was asked for.
    pub(crate) fn raise_guard(&self, kept: &mut Kept) {
        let target = kept.target.take();
        if self.modes.drift == Drift::ByInterval {
            kept.guarded_target = None;
            return;
        }
        if self.object.spec.suspend || kept.waiting.is_some() || kept.paused.is_some() {
            kept.guarded_target = target.or_else(|| kept.guarded_target.take());
            return;
        }
        if let Some(target) = target.or_else(|| kept.guarded_target.take()) {
            kept.guard = Guard::begin(&self.ports.tasks, target.clone(), kept, self.triggers.of(&self.key));
            kept.guarded_target = Some(target);
        }
    }

    /// Whether this build is what was applied last, so that every difference is drift and not something new.
    pub(crate) fn is_applied(&self, digest: &str) -> bool {
        self.written.observed_generation == self.generation()
            && self.written.history.first().is_some_and(|newest| {
                newest.digest == digest
                    && [
                        reasons::kustomize::RECONCILIATION_SUCCEEDED,
                        reasons::kustomize::HEALTH_CHECK_FAILED,
                    ]
                    .contains(&newest.last_reconciled_status.as_str())
            })
    }

    /// Sets the condition and the metric, and tells what is new.
    pub(crate) fn report_drift(&mut self, changes: &[Change]) {
        let (namespace, name) = &self.key;
        if self.modes.drift != Drift::Detect {
            self.status.conditions.remove_condition(conditions::DRIFTED);
            self.ports.metrics.drifted("Kustomization", namespace, name, None);
            return;
        }
        let drifted: Vec<&Change> = changes
            .iter()
            .filter(|change| change.action == Action::Drifted)
            .collect();
        let metrics = &self.ports.metrics;
        metrics.drifted("Kustomization", namespace, name, Some(drifted.len()));
        if drifted.is_empty() {
            self.status.conditions.remove_condition(conditions::DRIFTED);
            return;
        }
        let message = describe(&drifted);
        let known = self
            .status
            .conditions
            .get_condition(conditions::DRIFTED)
            .is_some_and(|condition| condition.message == message);
        if !known {
            self.reporter()
                .failed(reasons::kustomize::DRIFT_DETECTED, &message, &self.revision);
        }
        let at = self.at();
        self.status.conditions.set(
            conditions::DRIFTED,
            Status::True,
            reasons::kustomize::DRIFT_DETECTED,
            message,
            at.generation,
            at.now,
        );
    }
}

fn describe(drifted: &[&Change]) -> String {
    let mut lines: Vec<String> = drifted
        .iter()
        .take(NAMED)
        .map(|change| {
            let mut fields = change.drift.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            if change.drift.len() > NAMED {
                fields = format!("{fields} and {} more", change.drift.len() - NAMED);
            }
            format!("{}: {fields}", change.id)
        })
        .collect();
    if drifted.len() > NAMED {
        lines.push(format!("and {} more objects", drifted.len() - NAMED));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_keeps_changing_things_is_answered_ever_slower() {
        let mut unrest = Unrest::default();
        assert_eq!(unrest.pause(Instant::now()), Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            unrest.count(Instant::now());
            pauses.push(unrest.pause(Instant::now()).as_millis());
        }
        assert_eq!(pauses, [400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
        tokio::time::advance(QUIET + Duration::from_secs(1)).await;
        assert_eq!(unrest.pause(Instant::now()), Duration::ZERO);
        unrest.count(Instant::now());
        assert_eq!(unrest.pause(Instant::now()).as_millis(), 400);
    }
}
