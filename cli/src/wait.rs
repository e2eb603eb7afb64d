//! Waiting for what an object reports, by watch.

use std::{pin::pin, time::Duration};

use anyhow::{Context, Result};
use futures::StreamExt;
use kube::{
    Api, ResourceExt,
    api::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};

use crate::{
    failure::advised,
    fields::{self, ConditionView},
    hints,
    progress::Progress,
    say,
};

/// What a look at an object says about a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet, and what it does meanwhile.
    Waiting(String),
    /// As wanted; the text is its message.
    Done(String),
    /// It tried and failed; the text is its message.
    Failed(String),
}

/// Waits until `judge` gives a verdict other than waiting.
///
/// # Errors
/// The object failed or vanished, the time is over, or the API server refuses to let it be watched.
pub async fn until(
    api: Api<DynamicObject>,
    name: &str,
    what: &str,
    timeout: Duration,
    judge: impl Fn(&DynamicObject) -> Verdict,
) -> Result<String> {
    let progress = Progress::spinner(what.to_owned());
    let mut last = String::new();
    let mut told = None;
    let verdict = watch(api, name, timeout, |object| {
        let verdict = match object {
            Some(object) => judge(object),
            None => Verdict::Failed("it was deleted meanwhile".to_owned()),
        };
        if let Verdict::Waiting(doing) = &verdict {
            let setback = object.and_then(setback);
            if let Some(why) = setback.as_ref().filter(|_| setback != told) {
                progress.suspend(|| say::warning(&format!("{name}: {why}; it is tried again")));
            }
            told = setback;
            if !doing.is_empty() {
                progress.message(format!("{what}: {doing}"));
            }
            last.clone_from(doing);
            return None;
        }
        Some(verdict)
    })
    .await
    .with_context(|| what.to_owned())?;
    match verdict {
        Some(Verdict::Done(message)) => Ok(message),
        Some(Verdict::Failed(message)) => Err(anyhow::anyhow!("{name}: {message}")),
        Some(Verdict::Waiting(_)) | None => Err(timed_out(name, timeout, &last)),
    }
}

/// Waits until an object is gone; false when the time is over.
///
/// # Errors
/// The API server refuses to let it be watched.
pub async fn until_gone(api: Api<DynamicObject>, name: &str, timeout: Duration) -> Result<bool> {
    let gone = watch(api, name, timeout, |object| object.is_none().then_some(())).await;
    let gone = gone.with_context(|| format!("waiting for the end of {name}"))?;
    Ok(gone.is_some())
}

/// Looks at every state of an object until `look` has seen enough; None when the time is over.
///
/// An API server that is away for a while is waited for, because whoever waits for an upgrade meets that. When it is
/// still away at the end, that is the error.
async fn watch<T>(
    api: Api<DynamicObject>,
    name: &str,
    timeout: Duration,
    mut look: impl FnMut(Option<&DynamicObject>) -> Option<T>,
) -> Result<Option<T>, watcher::Error> {
    let mut away = None;
    let watching = async {
        let mut states = pin!(watcher::watch_object(api, name).default_backoff());
        while let Some(state) = states.next().await {
            match state {
                Ok(object) => {
                    away = None;
                    if let Some(seen) = look(object.as_ref()) {
                        return Ok(Some(seen));
                    }
                }
                Err(error) if hints::is_refusal(&error) => return Err(error),
                Err(error) => away = Some(error),
            }
        }
        Ok(None)
    };
    match tokio::time::timeout(timeout, watching).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => away.map_or(Ok(None), Err),
    }
}

/// Judges an object after a request to reconcile it: `previous` is the request handled before.
pub fn reconciled(previous: &str) -> impl Fn(&DynamicObject) -> Verdict {
    move |object| {
        if fields::text(object, "/status/lastHandledReconcileAt") == previous {
            return Verdict::Waiting(progress_of(object));
        }
        verdict(object)
    }
}

/// Judges an object after a change of its spec.
pub fn observed(object: &DynamicObject) -> Verdict {
    let generation = object.metadata.generation.unwrap_or_default();
    let seen = match fields::condition(object, "Ready") {
        Some(ready) if ready.observed_generation > 0 => ready.observed_generation,
        _ => fields::number(object, "/status/observedGeneration"),
    };
    if seen < 1 || seen != generation {
        return Verdict::Waiting(progress_of(object));
    }
    verdict(object)
}

/// By the Ready condition. What the controller tries again is in progress, as in flux: a dependency that is not ready yet,
/// or a build that fails until the next commit. The reason is told meanwhile.
fn verdict(object: &DynamicObject) -> Verdict {
    let Some(ready) = fields::condition(object, "Ready") else {
        return Verdict::Waiting(progress_of(object));
    };
    let is = |kind: &str| fields::condition(object, kind).is_some_and(|condition| condition.status == "True");
    match ready.status {
        "True" => Verdict::Done(fields::shorten(ready.message)),
        "False" if is("Stalled") => Verdict::Failed(fields::shorten(ready.message)),
        // A source that is not there yet is waited for, and nobody says Reconciling before there was one.
        "False" if ready.reason == "ArtifactFailed" => Verdict::Waiting(progress_of(object)),
        "False" if !is("Reconciling") && !is("Progressing") && !is_progress(&ready) => {
            Verdict::Failed(fields::shorten(ready.message))
        }
        _ => Verdict::Waiting(progress_of(object)),
    }
}

/// Reasons of what waits for others, from controllers that do not say that they are reconciling.
fn is_progress(ready: &ConditionView<'_>) -> bool {
    matches!(
        ready.reason,
        "Progressing" | "ProgressingWithRetry" | "DependencyNotReady"
    )
}

/// What went wrong and is tried again; it may be all that there is to see before the time is over.
fn setback(object: &DynamicObject) -> Option<String> {
    let ready = fields::condition(object, "Ready").filter(|ready| ready.status == "False" && !is_progress(ready))?;
    Some(fields::shorten(ready.message)).filter(|message| !message.is_empty())
}

/// What an object says it is doing.
fn progress_of(object: &DynamicObject) -> String {
    ["Reconciling", "Progressing", "Ready"]
        .into_iter()
        .filter_map(|kind| fields::condition(object, kind))
        .map(|condition| fields::shorten(condition.message))
        .find(|message| !message.is_empty())
        .unwrap_or_default()
}

fn timed_out(name: &str, timeout: Duration, last: &str) -> anyhow::Error {
    let timeout = nave_object::duration::format(timeout);
    let message = match last {
        "" => format!("{name} said nothing within {timeout}"),
        last => format!("{name} was not ready within {timeout}: {last}"),
    };
    advised(
        message,
        "`nave check` shows whether its controller runs; wait longer with --timeout",
    )
}

/// Judges a Deployment: `needed` replicas of its newest generation serve and no older ones are left.
pub fn deployment(object: &DynamicObject, needed: i64) -> Verdict {
    let generation = object.metadata.generation.unwrap_or_default();
    let observed = fields::number(object, "/status/observedGeneration");
    let (updated, available) = (
        fields::number(object, "/status/updatedReplicas"),
        fields::number(object, "/status/availableReplicas"),
    );
    let old = fields::number(object, "/status/replicas") - updated;
    if let Some(failure) = fields::condition(object, "ReplicaFailure").filter(|condition| condition.status == "True") {
        return Verdict::Failed(failure.message.to_owned());
    }
    if let Some(progressing) = fields::condition(object, "Progressing")
        && progressing.reason == "ProgressDeadlineExceeded"
        && observed >= generation
    {
        return Verdict::Failed(progressing.message.to_owned());
    }
    if observed >= generation && updated >= needed && available >= needed && old <= 0 {
        Verdict::Done(format!("{} is ready", object.name_any()))
    } else {
        Verdict::Waiting(format!("{available} of {needed} replicas are ready"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(status: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": "apps", "generation": 3},
            "status": status
        }))
        .expect("an object")
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": format!("{kind} {reason}"), "observedGeneration": 3})
    }

    #[test]
    fn a_request_is_judged_once_it_was_handled() {
        let check = |handled: &str, conditions: Vec<Value>, verdict: Verdict| {
            let object = object(json!({"lastHandledReconcileAt": handled, "conditions": conditions}));
            assert_eq!(reconciled("before")(&object), verdict);
        };
        let (ready, failed) = (
            condition("Ready", "True", "ReconciliationSucceeded"),
            condition("Ready", "False", "BuildFailed"),
        );
        let retry = condition("Reconciling", "True", "ProgressingWithRetry");
        check(
            "before",
            vec![ready.clone()],
            Verdict::Waiting("Ready ReconciliationSucceeded".into()),
        );
        check(
            "now",
            vec![ready],
            Verdict::Done("Ready ReconciliationSucceeded".into()),
        );
        let stalled = condition("Stalled", "True", "BuildFailed");
        check("now", vec![failed.clone()], Verdict::Failed("Ready BuildFailed".into()));
        check(
            "now",
            vec![failed.clone(), retry.clone()],
            Verdict::Waiting("Reconciling ProgressingWithRetry".into()),
        );
        check(
            "now",
            vec![failed.clone(), retry, stalled],
            Verdict::Failed("Ready BuildFailed".into()),
        );
        check(
            "now",
            vec![condition("Ready", "False", "DependencyNotReady")],
            Verdict::Waiting("Ready DependencyNotReady".into()),
        );
        check(
            "now",
            vec![condition("Ready", "False", "ArtifactFailed")],
            Verdict::Waiting("Ready ArtifactFailed".into()),
        );
        check(
            "now",
            vec![condition("Ready", "Unknown", "Progressing")],
            Verdict::Waiting("Ready Progressing".into()),
        );
        check(
            "now",
            vec![failed, condition("Progressing", "True", "Waiting")],
            Verdict::Waiting("Progressing Waiting".into()),
        );
        check("now", vec![], Verdict::Waiting(String::new()));
    }

    #[test]
    fn a_change_is_judged_once_its_generation_was_seen() {
        let mut old = condition("Ready", "True", "ReconciliationSucceeded");
        old["observedGeneration"] = json!(2);
        assert!(matches!(
            observed(&object(json!({"conditions": [old.clone()]}))),
            Verdict::Waiting(_)
        ));
        old["observedGeneration"] = json!(0);
        let seen = object(json!({"observedGeneration": 3, "conditions": [old]}));
        assert!(matches!(observed(&seen), Verdict::Done(_)));
        assert!(matches!(observed(&object(json!({}))), Verdict::Waiting(_)));
    }

    #[test]
    fn a_deployment_is_ready_when_only_new_replicas_are_left() {
        let check = |status: Value, done: bool| {
            assert_eq!(
                matches!(deployment(&object(status.clone()), 1), Verdict::Done(_)),
                done,
                "{status}"
            );
        };
        check(
            json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
            true,
        );
        check(
            json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}),
            false,
        );
        check(
            json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}),
            false,
        );
        check(
            json!({"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1}),
            false,
        );
    }
}
