//! Waiting for what an action made, or for its end.

use std::{sync::Arc, time::Duration};

use nave_apply::{WaitItem, judge, wait, wait_until_gone};
use nave_health::Health;
use nave_object::duration;
use nave_targets::Judge;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    act::{Act, Failed},
    settings,
    write::Written,
};

impl Act<'_> {
    /// Waits until what was written is current. Something newer that is wanted ends it.
    pub async fn wait_for(&mut self, written: &[Written], limit: Duration, with_jobs: bool) -> Result<(), Failed> {
        let is_legacy = settings::waits_by_helm_3(&self.object.spec, &self.options.gates);
        let items: Vec<WaitItem> = written
            .iter()
            .filter(|one| {
                let object = &one.placed.object;
                let is_paused = object.kind() == "Deployment"
                    && object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true);
                !is_paused && (with_jobs || object.kind() != "Job")
            })
            .map(|one| match is_legacy {
                // It was judged by other rules.
                true => one.wait_item_unjudged(),
                false => one.wait_item(),
            })
            .collect();
        let rules: Arc<Judge> = match is_legacy {
            true => Arc::new(|live: &Value| nave_health::helm3::status(live, true)),
            false => judge(self.expressions.clone()),
        };
        let kinds = format!(
            "waiting for {} resource(s) for {}",
            items.len(),
            duration::format(limit)
        );
        self.notes.add(kinds);
        let waiting = wait(self.target, items, rules, limit, true);
        let preempt = self.preempt;
        self.turn
            .rest(async {
                tokio::select! {
                    result = waiting => result.map_err(|error| Failed::of(&error)),
                    _ = preempt.cancelled() => Err(Failed::canceled()),
                }
            })
            .await
    }

    /// Waits until a hook has done its work. What is not a Pod or Job, nor judged by an expression, has when it is there.
    ///
    /// Something newer ends it where it `may_be_cut`: a test may be begun anew at any time, and of other hooks nobody knows
    /// what they leave half done.
    pub async fn wait_for_hook(
        &mut self,
        written: &[Written],
        limit: Duration,
        may_be_cut: bool,
    ) -> Result<(), Failed> {
        let items = written.iter().map(Written::wait_item_unjudged).collect();
        // A Pod or Job that failed stays failed; of what an expression calls so, nobody knows that.
        let is_judged = |one: &Written| self.expressions.evaluate(one.placed.object.as_value()).is_some();
        let fail_fast = !written.iter().any(is_judged);
        let expressions = self.expressions.clone();
        let judge: Arc<Judge> =
            Arc::new(move |live: &Value| expressions.evaluate(live).unwrap_or_else(|| health_of_hook(live)));
        let waiting = wait(self.target, items, judge, limit, fail_fast);
        let never = CancellationToken::new();
        let cut = if may_be_cut { self.preempt } else { &never };
        self.turn
            .rest(async {
                tokio::select! {
                    result = waiting => result.map_err(|error| Failed::of(&error)),
                    _ = cut.cancelled() => Err(Failed::canceled()),
                }
            })
            .await
    }

    /// Waits until deleted objects are gone.
    pub async fn wait_until_gone(&mut self, items: Vec<WaitItem>, limit: Duration) -> Result<(), Failed> {
        let waiting = wait_until_gone(self.target, items, limit);
        self.turn.rest(waiting).await.map_err(|error| Failed::of(&error))
    }
}

/// A Pod or Job has to end well; everything else just has to be there.
fn health_of_hook(live: &Value) -> Health {
    let api_version = live["apiVersion"].as_str().unwrap_or_default();
    match (api_version, live["kind"].as_str().unwrap_or_default()) {
        ("v1", "Pod") => match live.pointer("/status/phase").and_then(Value::as_str) {
            Some("Succeeded") => Health::current("pod succeeded"),
            Some("Failed") => Health::failed("pod failed"),
            phase => Health::in_progress(format!("pod is {}", phase.unwrap_or("not started"))),
        },
        ("batch/v1", "Job") => {
            let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
            for condition in conditions.into_iter().flatten() {
                let message = condition["message"].as_str().unwrap_or_default();
                match (condition["type"].as_str(), condition["status"].as_str()) {
                    (Some("Complete"), Some("True")) => return Health::current("job completed"),
                    (Some("Failed"), Some("True")) => return Health::failed(format!("job failed: {message}")),
                    _ => {}
                }
            }
            Health::in_progress("job in progress")
        }
        _ => Health::current("Resource is current"),
    }
}

#[cfg(test)]
mod tests {
    use nave_health::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn hooks_have_to_end() {
        let job = |condition: &str, status: &str| json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"conditions": [{"type": condition, "status": status}]}});
        let pod = |phase: &str| json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": phase}});
        for (live, wanted) in [
            (job("Complete", "True"), Status::Current),
            (job("Complete", "False"), Status::InProgress),
            (job("Failed", "True"), Status::Failed),
            (pod("Succeeded"), Status::Current),
            (pod("Running"), Status::InProgress),
            (pod("Failed"), Status::Failed),
            (json!({"apiVersion": "v1", "kind": "Pod"}), Status::InProgress),
            (
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {}}),
                Status::Current,
            ),
        ] {
            assert_eq!(health_of_hook(&live).status, wanted, "{live}");
        }
    }
}
