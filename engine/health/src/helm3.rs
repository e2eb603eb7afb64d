//! Readiness as Helm 3 judges it (`pkg/kube/ready.go` of Helm 4.3.1, its "legacy" way of waiting): fewer kinds, and nothing
//! but a Job ever fails.

use serde_json::Value;

use crate::{
    Health,
    fields::{self, count, number, text},
};

/// The readiness of a live object. Without `with_jobs` a Job is ready when it is there.
///
/// Of a Deployment, Helm counts the ready Pods of its newest ReplicaSet. Its status does not tell them apart from those of
/// older ones, so that as long as there are old Pods these are taken for ready: a Deployment may be said to be ready
/// later than Helm says so, and never earlier.
pub fn status(live: &Value, with_jobs: bool) -> Health {
    let group = text(live, "/apiVersion")
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    match (group, text(live, "/kind")) {
        ("", "Pod") => when(is_true(live, "Ready"), "Pod is not ready"),
        ("batch", "Job") if with_jobs => job(live),
        ("apps", "Deployment") => deployment(live),
        ("", "PersistentVolumeClaim") => when(
            text(live, "/status/phase") == "Bound",
            "PersistentVolumeClaim is not bound",
        ),
        ("", "Service") => service(live),
        ("apps", "DaemonSet") => daemon_set(live),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let names_are_taken = fields::conditions(live).any(|one| one.kind == "NamesAccepted" && one.is_false());
            when(
                is_true(live, "Established") || names_are_taken,
                "CustomResourceDefinition is not established",
            )
        }
        ("apps", "StatefulSet") => stateful_set(live),
        ("", "ReplicationController") | ("apps", "ReplicaSet") => match observed(live) {
            false => Health::in_progress("its generation was not observed"),
            true => enough(count(live, "/status/readyReplicas"), replicas(live)),
        },
        _ => Health::current("it is there"),
    }
}

fn when(is_ready: bool, otherwise: &str) -> Health {
    match is_ready {
        true => Health::current("it is ready"),
        false => Health::in_progress(otherwise),
    }
}

fn enough(ready: i64, wanted: i64) -> Health {
    when(ready >= wanted, &format!("ready: {ready}/{wanted}"))
}

fn is_true(live: &Value, kind: &str) -> bool {
    fields::conditions(live).any(|condition| condition.kind == kind && condition.is_true())
}

fn observed(live: &Value) -> bool {
    count(live, "/status/observedGeneration") == count(live, "/metadata/generation")
}

fn replicas(live: &Value) -> i64 {
    number(live, "/spec/replicas").unwrap_or(1)
}

fn job(live: &Value) -> Health {
    if count(live, "/status/failed") > number(live, "/spec/backoffLimit").unwrap_or(6) {
        return Health::failed("Job is failed");
    }
    let (done, wanted) = (count(live, "/status/succeeded"), count(live, "/spec/completions"));
    when(done >= wanted, &format!("Job is not completed: {done}/{wanted}"))
}

fn deployment(live: &Value) -> Health {
    if live.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return Health::current("Deployment is paused");
    }
    if !observed(live) {
        return Health::in_progress("its generation was not observed");
    }
    let wanted = replicas(live);
    let unavailable = match text(live, "/spec/strategy/type") {
        "Recreate" => 0,
        _ => scaled(
            live.pointer("/spec/strategy/rollingUpdate/maxUnavailable"),
            wanted,
            false,
        )
        .min(wanted),
    };
    let old = count(live, "/status/replicas") - count(live, "/status/updatedReplicas");
    enough(count(live, "/status/readyReplicas") - old.max(0), wanted - unavailable)
}

fn service(live: &Value) -> Health {
    let kind = text(live, "/spec/type");
    if kind == "ExternalName" {
        return Health::current("it is ready");
    }
    if text(live, "/spec/clusterIP").is_empty() {
        return Health::in_progress("Service does not have cluster IP address");
    }
    let some = |pointer: &str| {
        let list = live.pointer(pointer).and_then(Value::as_array);
        list.is_some_and(|list| !list.is_empty())
    };
    let is_served = kind != "LoadBalancer" || some("/spec/externalIPs") || some("/status/loadBalancer/ingress");
    when(is_served, "Service does not have load balancer ingress IP address")
}

fn daemon_set(live: &Value) -> Health {
    if !observed(live) {
        return Health::in_progress("its generation was not observed");
    }
    if text(live, "/spec/updateStrategy/type") != "RollingUpdate" {
        return Health::current("it is ready");
    }
    let wanted = count(live, "/status/desiredNumberScheduled");
    let updated = count(live, "/status/updatedNumberScheduled");
    if updated != wanted {
        return Health::in_progress(format!("scheduled: {updated}/{wanted}"));
    }
    let unavailable = scaled(
        live.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable"),
        wanted,
        true,
    );
    enough(count(live, "/status/numberReady"), wanted - unavailable)
}

fn stateful_set(live: &Value) -> Health {
    if !observed(live) {
        return Health::in_progress("its generation was not observed");
    }
    if text(live, "/spec/updateStrategy/type") != "RollingUpdate" {
        return Health::current("it is ready");
    }
    let partition = count(live, "/spec/updateStrategy/rollingUpdate/partition");
    let wanted = replicas(live);
    let updated = count(live, "/status/updatedReplicas");
    if updated < wanted - partition {
        return Health::in_progress(format!("updated: {updated}/{}", wanted - partition));
    }
    let ready = count(live, "/status/readyReplicas");
    if ready != wanted {
        return Health::in_progress(format!("ready: {ready}/{wanted}"));
    }
    let is_current = text(live, "/status/currentRevision") == text(live, "/status/updateRevision");
    when(partition != 0 || is_current, "not all Pods are of the newest revision")
}

/// A number, or a share of `total` in percent, as Kubernetes reads it; 0 when it is neither.
fn scaled(value: Option<&Value>, total: i64, round_up: bool) -> i64 {
    match value {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
        Some(Value::String(share)) => {
            let Some(share) = share.strip_suffix('%').and_then(|share| share.parse::<i64>().ok()) else {
                return 0;
            };
            let product = share.saturating_mul(total);
            if round_up {
                product.saturating_add(99) / 100
            } else {
                product / 100
            }
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Status;

    #[track_caller]
    fn check(kind: (&str, &str), spec: Value, live_status: Value, wanted: Status) {
        let live = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"generation": 2}, "spec": spec, "status": live_status});
        assert_eq!(status(&live, true).status, wanted, "{live}");
    }

    #[test]
    fn readiness_by_kind() {
        use Status::{Current, Failed, InProgress};
        let pod = ("v1", "Pod");
        check(
            pod,
            json!({}),
            json!({"conditions": [{"type": "Ready", "status": "True"}]}),
            Current,
        );
        check(
            pod,
            json!({}),
            json!({"conditions": [{"type": "Ready", "status": "False"}], "phase": "Failed"}),
            InProgress,
        );
        let job = ("batch/v1", "Job");
        check(
            job,
            json!({"completions": 2, "backoffLimit": 0}),
            json!({"succeeded": 2}),
            Current,
        );
        check(
            job,
            json!({"completions": 2, "backoffLimit": 0}),
            json!({"succeeded": 1}),
            InProgress,
        );
        check(
            job,
            json!({"completions": 1, "backoffLimit": 1}),
            json!({"failed": 2}),
            Failed,
        );
        let deployment = ("apps/v1", "Deployment");
        let rolling = |unavailable: Value| json!({"replicas": 4, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable}}});
        let counts = |ready: i64, updated: i64| json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": updated, "readyReplicas": ready});
        check(deployment, rolling(json!("25%")), counts(3, 4), Current);
        check(deployment, rolling(json!(0)), counts(3, 4), InProgress);
        check(deployment, rolling(json!("25%")), counts(4, 2), InProgress);
        check(
            deployment,
            rolling(json!("25%")),
            json!({"observedGeneration": 1, "readyReplicas": 4}),
            InProgress,
        );
        check(deployment, json!({"paused": true}), json!({}), Current);
        check(
            ("v1", "PersistentVolumeClaim"),
            json!({}),
            json!({"phase": "Bound"}),
            Current,
        );
        check(
            ("v1", "PersistentVolumeClaim"),
            json!({}),
            json!({"phase": "Pending"}),
            InProgress,
        );
        let service = ("v1", "Service");
        check(service, json!({"type": "ExternalName"}), json!({}), Current);
        check(service, json!({"type": "ClusterIP"}), json!({}), InProgress);
        check(
            service,
            json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}),
            json!({}),
            InProgress,
        );
        check(
            service,
            json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1", "externalIPs": ["1.2.3.4"]}),
            json!({}),
            Current,
        );
        let daemons = ("apps/v1", "DaemonSet");
        let spec = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}});
        let counts = |ready: i64| json!({"observedGeneration": 2, "desiredNumberScheduled": 5, "updatedNumberScheduled": 5, "numberReady": ready});
        check(daemons, spec.clone(), counts(4), Current);
        check(daemons, spec, counts(3), InProgress);
        let set = ("apps/v1", "StatefulSet");
        let spec = |partition: i64| json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
        let counts = |updated: i64, current: &str| json!({"observedGeneration": 2, "updatedReplicas": updated, "readyReplicas": 3, "currentRevision": current, "updateRevision": "b"});
        check(set, spec(0), counts(3, "b"), Current);
        check(set, spec(0), counts(3, "a"), InProgress);
        check(set, spec(2), counts(1, "a"), Current);
        let definition = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        check(
            definition,
            json!({}),
            json!({"conditions": [{"type": "Established", "status": "True"}]}),
            Current,
        );
        check(definition, json!({}), json!({}), InProgress);
        check(("example.com/v1", "Deployment"), json!({}), json!({}), Current);
    }
}
