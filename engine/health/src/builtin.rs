//! Rules for the kinds that come with Kubernetes.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    Health,
    fields::{condition, conditions, count, number, text},
};

/// How long a Pod may be unschedulable before it counts as failed.
pub const SCHEDULING_WINDOW_SECONDS: i64 = 15;

/// Health by the rules of the object's kind; none for kinds without rules of their own.
pub(crate) fn by_kind(object: &Value, now: Timestamp) -> Option<Health> {
    let api_version = text(object, "/apiVersion");
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    Some(match (group, text(object, "/kind")) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object, now),
        ("", "PersistentVolumeClaim") => volume_claim(object),
        ("", "Service") => service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("policy", "PodDisruptionBudget") => Health::current("AllowedDisruptions has been computed."),
        ("", "Secret" | "ConfigMap") | ("batch", "CronJob") => Health::current("Resource is always ready"),
        _ => return None,
    })
}

/// In progress while `have` has not reached `want`.
fn short_of(what: &str, have: i64, want: i64) -> Option<Health> {
    (want > have).then(|| Health::in_progress(format!("{what}: {have}/{want}")))
}

/// In progress while old replicas are still there.
fn too_many(have: i64, want: i64) -> Option<Health> {
    (have > want).then(|| Health::in_progress(format!("Pending termination: {}", have - want)))
}

fn wanted_replicas(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1)
}

fn deployment(object: &Value) -> Health {
    let progressing = condition(object, "Progressing");
    if progressing.is_some_and(|condition| condition.reason == "ProgressDeadlineExceeded") {
        return Health::failed("Progress deadline exceeded");
    }
    let want = wanted_replicas(object);
    let replicas = count(object, "/status/replicas");
    let updated = count(object, "/status/updatedReplicas");
    let available = count(object, "/status/availableReplicas");
    let ready = count(object, "/status/readyReplicas");
    // Without a deadline the controller does not report progress.
    let rolled_out = number(object, "/spec/progressDeadlineSeconds").is_none()
        || progressing.is_some_and(|condition| condition.is_true() && condition.reason == "NewReplicaSetAvailable");
    short_of("Replicas", replicas, want)
        .or_else(|| short_of("Updated", updated, want))
        .or_else(|| too_many(replicas, want))
        .or_else(|| short_of("Available", available, updated))
        .or_else(|| short_of("Ready", ready, want))
        .or_else(|| (!rolled_out).then(|| Health::in_progress("ReplicaSet not Available")))
        .or_else(|| {
            (!condition(object, "Available").is_some_and(|condition| condition.is_true()))
                .then(|| Health::in_progress("Deployment not Available"))
        })
        .unwrap_or_else(|| Health::current(format!("Deployment is available. Replicas: {replicas}")))
}

fn stateful_set(object: &Value) -> Health {
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::current("StatefulSet is using the ondelete update strategy");
    }
    let want = wanted_replicas(object);
    let replicas = count(object, "/status/replicas");
    let updated = count(object, "/status/updatedReplicas");
    if let Some(health) = short_of("Replicas", replicas, want)
        .or_else(|| short_of("Ready", count(object, "/status/readyReplicas"), want))
        .or_else(|| too_many(replicas, want))
    {
        return health;
    }
    if let Some(partition) = number(object, "/spec/updateStrategy/rollingUpdate/partition")
        && partition != 0
    {
        return short_of("updated", updated, want - partition)
            .unwrap_or_else(|| Health::current(format!("Partition rollout complete. updated: {updated}")));
    }
    short_of("current", count(object, "/status/currentReplicas"), want)
        .or_else(|| {
            (text(object, "/status/currentRevision") != text(object, "/status/updateRevision"))
                .then(|| Health::in_progress("Waiting for updated revision to match current"))
        })
        .unwrap_or_else(|| Health::current(format!("All replicas scheduled as expected. Replicas: {replicas}")))
}

fn daemon_set(object: &Value) -> Health {
    let Some(want) = number(object, "/status/desiredNumberScheduled") else {
        return Health::in_progress("Missing .status.desiredNumberScheduled");
    };
    if number(object, "/status/observedGeneration").is_none() {
        return Health::in_progress("Controller has not observed the resource yet");
    }
    [
        ("Current", "/status/currentNumberScheduled"),
        ("Updated", "/status/updatedNumberScheduled"),
        ("Available", "/status/numberAvailable"),
        ("Ready", "/status/numberReady"),
    ]
    .into_iter()
    .find_map(|(what, pointer)| short_of(what, count(object, pointer), want))
    .unwrap_or_else(|| Health::current(format!("All replicas scheduled as expected. Replicas: {want}")))
}

fn replica_set(object: &Value) -> Health {
    if condition(object, "ReplicaFailure").is_some_and(|condition| condition.is_true()) {
        return Health::in_progress("Replica Failure condition. Check Pods");
    }
    let want = wanted_replicas(object);
    let replicas = count(object, "/status/replicas");
    short_of("Labelled", count(object, "/status/fullyLabeledReplicas"), want)
        .or_else(|| short_of("Available", count(object, "/status/availableReplicas"), want))
        .or_else(|| short_of("Ready", count(object, "/status/readyReplicas"), want))
        .or_else(|| too_many(replicas, want))
        .unwrap_or_else(|| Health::current(format!("ReplicaSet is available. Replicas: {replicas}")))
}

/// A started Job is not done: unlike kstatus, Flux waits for its end.
fn job(object: &Value) -> Health {
    let succeeded = count(object, "/status/succeeded");
    for condition in conditions(object).filter(|condition| condition.is_true()) {
        match condition.kind {
            "Complete" => {
                let want = number(object, "/spec/completions").unwrap_or(1);
                return Health::current(format!("Job Completed. succeeded: {succeeded}/{want}"));
            }
            "Failed" => {
                return Health::failed(format!(
                    "Job Failed. failed: {}: {}",
                    count(object, "/status/failed"),
                    condition.message
                ));
            }
            "Suspended" => return Health::current("Job Suspended"),
            _ => {}
        }
    }
    if object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Health::current("Job Suspended");
    }
    Health::in_progress("Job in progress")
}

fn pod(object: &Value, now: Timestamp) -> Health {
    match text(object, "/status/phase") {
        "Succeeded" => Health::current("Pod has completed successfully"),
        "Failed" => Health::failed("Pod has completed, but not successfully"),
        "Running" => {
            if condition(object, "Ready").is_some_and(|condition| condition.is_true()) {
                return Health::current("Pod is Ready");
            }
            crash_looping(object).unwrap_or_else(|| Health::in_progress("Pod is running but is not Ready"))
        }
        "Pending" => pending_pod(object, now),
        "" => Health::in_progress("Pod phase not available"),
        phase => Health::in_progress(format!("Pod phase is {phase}")),
    }
}

fn pending_pod(object: &Value, now: Timestamp) -> Health {
    if let Some(scheduled) = condition(object, "PodScheduled")
        && scheduled.is_false()
        && scheduled.reason == "Unschedulable"
    {
        let window = SignedDuration::from_secs(SCHEDULING_WINDOW_SECONDS);
        let too_long = scheduled
            .last_transition_time
            .parse::<Timestamp>()
            .is_ok_and(|since| now.duration_since(since) > window);
        return if too_long {
            Health::failed("Pod could not be scheduled")
        } else {
            Health::in_progress("Pod has not been scheduled")
        };
    }
    crash_looping(object).unwrap_or_else(|| Health::in_progress("Pod is in the Pending phase"))
}

/// Failed with the names of the containers that the kubelet backs off from.
fn crash_looping(pod: &Value) -> Option<Health> {
    let names: Vec<&str> = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|pointer| pod.pointer(pointer)?.as_array())
        .flatten()
        .filter(|container| text(container, "/state/waiting/reason") == "CrashLoopBackOff")
        .map(|container| text(container, "/name"))
        .collect();
    (!names.is_empty()).then(|| Health::failed(format!("Containers in CrashLoop state: {}", names.join(","))))
}

fn volume_claim(object: &Value) -> Health {
    match text(object, "/status/phase") {
        "Bound" => Health::current("PVC is Bound"),
        "" => Health::in_progress("PVC is not Bound. phase: unknown"),
        phase => Health::in_progress(format!("PVC is not Bound. phase: {phase}")),
    }
}

fn service(object: &Value) -> Health {
    if text(object, "/spec/type") == "LoadBalancer" && text(object, "/spec/clusterIP").is_empty() {
        return Health::in_progress("ClusterIP not set. Service type: LoadBalancer");
    }
    Health::current("Service is ready")
}

fn definition(object: &Value) -> Health {
    for condition in conditions(object) {
        match condition.kind {
            "NamesAccepted" if condition.is_false() => return Health::failed(condition.message),
            "Established" if condition.is_true() => return Health::current("CRD is established"),
            "Established" if condition.is_false() && condition.reason != "Installing" => {
                return Health::failed(condition.message);
            }
            _ => {}
        }
    }
    Health::in_progress("Install in progress")
}

#[cfg(test)]
mod tests;
