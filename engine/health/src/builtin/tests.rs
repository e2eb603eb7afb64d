//! One line per rule: an object as JSON, and the status and message it must have.

use serde_json::{Value, json};

use crate::{Status, status};

const NOW: &str = "2026-01-01T00:01:00Z";

#[track_caller]
fn check_status(object: Value, wanted: Status, message: &str) {
    let health = status(&object, NOW.parse().expect("the time is valid"));
    assert_eq!((health.status, health.message.as_str()), (wanted, message), "{object}");
}

fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "generation": 1}, "spec": spec, "status": status})
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": format!("because {reason}")})
}

#[test]
fn every_kind() {
    use Status::*;
    let custom = |status| object("example.com/v1", "Widget", json!({}), status);
    check_status(custom(json!({})), Current, "Resource is current");
    check_status(
        custom(json!({"conditions": [condition("Ready", "True", "Ok")]})),
        Current,
        "Resource is Ready",
    );
    check_status(
        custom(json!({"conditions": [condition("Ready", "False", "No")]})),
        InProgress,
        "because No",
    );
    check_status(
        custom(json!({"conditions": [condition("Ready", "Unknown", "No")]})),
        InProgress,
        "because No",
    );
    check_status(
        custom(json!({"conditions": [condition("Ready", "True", "Ok"), condition("Stalled", "True", "Bad")]})),
        Failed,
        "because Bad",
    );
    check_status(
        custom(json!({"conditions": [condition("Reconciling", "True", "Busy")]})),
        InProgress,
        "because Busy",
    );
    check_status(
        custom(json!({"observedGeneration": 0, "conditions": [condition("Stalled", "True", "Bad")]})),
        InProgress,
        "Widget generation is 1, but latest observed generation is 0",
    );
    check_status(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "deletionTimestamp": NOW}}),
        Terminating,
        "Resource scheduled for deletion",
    );
    check_status(
        object("v1", "ConfigMap", json!({}), json!({})),
        Current,
        "Resource is always ready",
    );
    check_status(
        object("batch/v1", "CronJob", json!({}), json!({})),
        Current,
        "Resource is always ready",
    );
}

#[test]
fn deployments() {
    use Status::*;
    let deployment = |status| {
        object(
            "apps/v1",
            "Deployment",
            json!({"replicas": 3, "progressDeadlineSeconds": 600}),
            status,
        )
    };
    let done = [
        condition("Progressing", "True", "NewReplicaSetAvailable"),
        condition("Available", "True", "Ok"),
    ];
    check_status(deployment(json!({})), InProgress, "Replicas: 0/3");
    check_status(
        deployment(json!({"observedGeneration": 0, "replicas": 3})),
        InProgress,
        "Deployment generation is 1, but latest observed generation is 0",
    );
    check_status(
        deployment(json!({"replicas": 3, "updatedReplicas": 2})),
        InProgress,
        "Updated: 2/3",
    );
    check_status(
        deployment(json!({"replicas": 4, "updatedReplicas": 3})),
        InProgress,
        "Pending termination: 1",
    );
    check_status(
        deployment(json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 1})),
        InProgress,
        "Available: 1/3",
    );
    check_status(
        deployment(json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 2})),
        InProgress,
        "Ready: 2/3",
    );
    let counts = |conditions: Value| json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3, "conditions": conditions});
    check_status(deployment(counts(json!([]))), InProgress, "ReplicaSet not Available");
    check_status(
        deployment(counts(json!([done[0]]))),
        InProgress,
        "Deployment not Available",
    );
    check_status(
        deployment(counts(json!(done))),
        Current,
        "Deployment is available. Replicas: 3",
    );
    check_status(
        deployment(json!({"conditions": [condition("Progressing", "False", "ProgressDeadlineExceeded")]})),
        Failed,
        "Progress deadline exceeded",
    );
    check_status(
        object(
            "apps/v1",
            "Deployment",
            json!({"replicas": 0}),
            json!({"observedGeneration": 1, "conditions": done}),
        ),
        Current,
        "Deployment is available. Replicas: 0",
    );
}

#[test]
fn other_workloads() {
    use Status::*;
    let set = |spec, status| object("apps/v1", "StatefulSet", spec, status);
    check_status(
        set(json!({"updateStrategy": {"type": "OnDelete"}}), json!({})),
        Current,
        "StatefulSet is using the ondelete update strategy",
    );
    check_status(set(json!({}), json!({})), InProgress, "Replicas: 0/1");
    check_status(set(json!({}), json!({"replicas": 1})), InProgress, "Ready: 0/1");
    check_status(
        set(json!({}), json!({"replicas": 2, "readyReplicas": 2})),
        InProgress,
        "Pending termination: 1",
    );
    check_status(
        set(json!({}), json!({"replicas": 1, "readyReplicas": 1})),
        InProgress,
        "current: 0/1",
    );
    check_status(
        set(
            json!({}),
            json!({"replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "currentRevision": "a", "updateRevision": "b"}),
        ),
        InProgress,
        "Waiting for updated revision to match current",
    );
    check_status(
        set(
            json!({}),
            json!({"replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "currentRevision": "a", "updateRevision": "a"}),
        ),
        Current,
        "All replicas scheduled as expected. Replicas: 1",
    );
    let partitioned = json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}});
    check_status(
        set(partitioned.clone(), json!({"replicas": 3, "readyReplicas": 3})),
        InProgress,
        "updated: 0/1",
    );
    check_status(
        set(
            partitioned,
            json!({"replicas": 3, "readyReplicas": 3, "updatedReplicas": 1}),
        ),
        Current,
        "Partition rollout complete. updated: 1",
    );

    let daemons = |status| object("apps/v1", "DaemonSet", json!({}), status);
    check_status(daemons(json!({})), InProgress, "Missing .status.desiredNumberScheduled");
    check_status(
        daemons(json!({"desiredNumberScheduled": 0})),
        InProgress,
        "Controller has not observed the resource yet",
    );
    check_status(
        daemons(json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 1})),
        InProgress,
        "Current: 1/2",
    );
    check_status(
        daemons(
            json!({"observedGeneration": 1, "desiredNumberScheduled": 1, "currentNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1, "numberReady": 0}),
        ),
        InProgress,
        "Ready: 0/1",
    );
    check_status(
        daemons(json!({"observedGeneration": 1, "desiredNumberScheduled": 0})),
        Current,
        "All replicas scheduled as expected. Replicas: 0",
    );

    let replicas = |status| object("apps/v1", "ReplicaSet", json!({"replicas": 1}), status);
    check_status(replicas(json!({})), InProgress, "Labelled: 0/1");
    check_status(
        replicas(json!({"conditions": [condition("ReplicaFailure", "True", "Quota")]})),
        InProgress,
        "Replica Failure condition. Check Pods",
    );
    check_status(
        replicas(json!({"replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1})),
        Current,
        "ReplicaSet is available. Replicas: 1",
    );

    let job = |spec, status| object("batch/v1", "Job", spec, status);
    check_status(
        job(json!({}), json!({"startTime": NOW, "active": 1})),
        InProgress,
        "Job in progress",
    );
    check_status(job(json!({"suspend": true}), json!({})), Current, "Job Suspended");
    check_status(
        job(
            json!({}),
            json!({"succeeded": 1, "conditions": [condition("Complete", "True", "Done")]}),
        ),
        Current,
        "Job Completed. succeeded: 1/1",
    );
    check_status(
        job(
            json!({}),
            json!({"failed": 7, "conditions": [condition("Failed", "True", "BackoffLimitExceeded")]}),
        ),
        Failed,
        "Job Failed. failed: 7: because BackoffLimitExceeded",
    );
}

#[test]
fn pods() {
    use Status::*;
    let pod = |status| object("v1", "Pod", json!({}), status);
    let scheduled = |since: &str| json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": since}]});
    let looping = json!([{"name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
    check_status(pod(json!({})), InProgress, "Pod phase not available");
    check_status(
        pod(json!({"phase": "Pending"})),
        InProgress,
        "Pod is in the Pending phase",
    );
    check_status(
        pod(scheduled("2026-01-01T00:00:50Z")),
        InProgress,
        "Pod has not been scheduled",
    );
    check_status(
        pod(scheduled("2026-01-01T00:00:40Z")),
        Failed,
        "Pod could not be scheduled",
    );
    check_status(
        pod(json!({"phase": "Pending", "initContainerStatuses": looping})),
        Failed,
        "Containers in CrashLoop state: app",
    );
    check_status(
        pod(json!({"phase": "Running"})),
        InProgress,
        "Pod is running but is not Ready",
    );
    check_status(
        pod(json!({"phase": "Running", "containerStatuses": looping})),
        Failed,
        "Containers in CrashLoop state: app",
    );
    check_status(
        pod(json!({"phase": "Running", "conditions": [condition("Ready", "True", "")]})),
        Current,
        "Pod is Ready",
    );
    check_status(
        pod(json!({"phase": "Succeeded"})),
        Current,
        "Pod has completed successfully",
    );
    check_status(
        pod(json!({"phase": "Failed"})),
        Failed,
        "Pod has completed, but not successfully",
    );
}

#[test]
fn the_rest() {
    use Status::*;
    let claim = |status| object("v1", "PersistentVolumeClaim", json!({}), status);
    check_status(claim(json!({})), InProgress, "PVC is not Bound. phase: unknown");
    check_status(
        claim(json!({"phase": "Pending"})),
        InProgress,
        "PVC is not Bound. phase: Pending",
    );
    check_status(claim(json!({"phase": "Bound"})), Current, "PVC is Bound");
    let service = |spec| object("v1", "Service", spec, json!({}));
    check_status(
        service(json!({"type": "LoadBalancer"})),
        InProgress,
        "ClusterIP not set. Service type: LoadBalancer",
    );
    check_status(service(json!({"type": "ClusterIP"})), Current, "Service is ready");
    let definition = |conditions| {
        object(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({"conditions": conditions}),
        )
    };
    check_status(definition(json!([])), InProgress, "Install in progress");
    check_status(
        definition(json!([condition("NamesAccepted", "False", "Conflict")])),
        Failed,
        "because Conflict",
    );
    check_status(
        definition(json!([condition("Established", "False", "Installing")])),
        InProgress,
        "Install in progress",
    );
    check_status(
        definition(json!([condition("Established", "False", "NotAccepted")])),
        Failed,
        "because NotAccepted",
    );
    check_status(
        definition(json!([
            condition("NamesAccepted", "True", ""),
            condition("Established", "True", "")
        ])),
        Current,
        "CRD is established",
    );
    check_status(
        object("policy/v1", "PodDisruptionBudget", json!({}), json!({})),
        Current,
        "AllowedDisruptions has been computed.",
    );
}

#[test]
fn nonsense_never_panics() {
    for value in [
        json!(null),
        json!([]),
        json!({"apiVersion": 1, "kind": []}),
        json!({"apiVersion": "v1", "kind": "Pod", "status": {"conditions": [1, {"type": 3}], "phase": 5, "containerStatuses": {}}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "three"}, "status": []}),
    ] {
        status(&value, NOW.parse().expect("the time is valid"));
    }
}
