//! The form in which an object is applied, so that a dry run differs only where it must.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::object::Object;

/// Brings an object into the form in which Flux applies it (fluxcd/pkg `ssa/normalize`).
///
/// - ports of pods and services without a protocol get `TCP`: the server defaults them, and a
///   server-side apply merges them by port *and* protocol, so without it two managers fight;
/// - `stringData` of a Secret is encoded into `data`, where it wins over what is there; values
///   that are no texts stay where they are, for the server to refuse by name;
/// - `metadata.creationTimestamp: null` goes, wherever a pod template has one, too;
/// - fields that Go writes although nobody set them are there, empty: metadata of a pod template, resources of a container,
///   the strategy of a workload, the target port of a service. Flux owns them on every object that it applied, and what an
///   owner does not send any more is taken away: a Job would lose the labels of its pods, which it refuses;
/// - `status` goes, except for CustomResourceDefinitions, whose readiness is judged by it.
///
/// Role and ClusterRole are left as they are but for `status` and the time stamp.
pub fn normalize(object: &mut Object) {
    let gvk = object.gvk();
    let value = object.as_value_mut();
    drop_null_timestamp(value);
    if (gvk.group.as_str(), gvk.kind.as_str()) != ("apiextensions.k8s.io", "CustomResourceDefinition") {
        value.as_object_mut().map(|map| map.remove("status"));
    }
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Secret") => encode_string_data(value),
        ("", "Service") => {
            let ports = value.pointer_mut("/spec/ports");
            default_ports(ports, |port| set_if_missing(port, "targetPort", || Value::from(0)));
        }
        ("", "Namespace") => set_if_missing(value, "spec", empty),
        _ => {
            set_empty_strategy(&gvk.group, &gvk.kind, value);
            if let Some(path) = template_path(&gvk.group, &gvk.kind) {
                if let Some(template) = value.pointer_mut(path) {
                    drop_null_timestamp(template);
                    set_if_missing(template, "metadata", empty);
                    normalize_pod(template.get_mut("spec"));
                }
            } else if (gvk.group.as_str(), gvk.kind.as_str()) == ("", "Pod") {
                normalize_pod(value.get_mut("spec"));
            }
        }
    }
}

fn template_path(group: &str, kind: &str) -> Option<&'static str> {
    match (group, kind) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => Some("/spec/template"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

fn normalize_pod(spec: Option<&mut Value>) {
    let Some(spec) = spec else { return };
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            default_ports(container.get_mut("ports"), |_| {});
            set_if_missing(container, "resources", empty);
        }
    }
}

/// What Go writes of a structure in which nothing is set.
fn empty() -> Value {
    Value::Object(Map::new())
}

/// Sets a field of a map that does not have it, or has null there.
fn set_if_missing(map: &mut Value, field: &str, value: impl FnOnce() -> Value) {
    if let Some(map) = map.as_object_mut()
        && map.get(field).is_none_or(Value::is_null)
    {
        map.insert(field.to_owned(), value());
    }
}

fn set_empty_strategy(group: &str, kind: &str, workload: &mut Value) {
    let field = match (group, kind) {
        ("apps", "Deployment") => "strategy",
        ("apps", "StatefulSet" | "DaemonSet") => "updateStrategy",
        ("batch", "CronJob") => {
            if let Some(template) = workload.pointer_mut("/spec/jobTemplate") {
                set_if_missing(template, "metadata", empty);
            }
            return;
        }
        _ => return,
    };
    if let Some(spec) = workload.get_mut("spec") {
        set_if_missing(spec, field, empty);
    }
}

/// Gives every port its protocol, and what else `more` gives it.
fn default_ports(ports: Option<&mut Value>, more: impl Fn(&mut Value)) {
    for port in ports.and_then(Value::as_array_mut).into_iter().flatten() {
        more(port);
        if let Some(port) = port.as_object_mut() {
            let protocol = port.entry("protocol").or_insert(Value::Null);
            if protocol.is_null() || *protocol == "" {
                *protocol = Value::String("TCP".to_owned());
            }
        }
    }
}

fn drop_null_timestamp(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("creationTimestamp").is_some_and(Value::is_null)
    {
        metadata.remove("creationTimestamp");
    }
}

fn encode_string_data(secret: &mut Value) {
    let Some(secret) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(plain)) = secret.remove("stringData") else {
        return;
    };
    let mut refused = Map::new();
    for (key, value) in plain {
        let Value::String(text) = value else {
            refused.insert(key, value);
            continue;
        };
        let data = secret.entry("data").or_insert(Value::Null);
        if !data.is_object() {
            *data = Value::Object(Map::new());
        }
        data.as_object_mut()
            .expect("made a map just above when it was none")
            .insert(key, Value::String(STANDARD.encode(text)));
    }
    if !refused.is_empty() {
        secret.insert("stringData".to_owned(), Value::Object(refused));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(given: Value, wanted: Value) {
        let mut object = Object::from_value(given).unwrap();
        normalize(&mut object);
        assert_eq!(object.into_value(), wanted);
    }

    #[test]
    fn secrets_are_encoded() {
        check(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "creationTimestamp": null},
                "data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "z", "n": 1}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
                "data": {"a": "eg==", "b": "eQ=="}, "stringData": {"n": 1}}),
        );
    }

    #[test]
    fn ports_get_their_protocol() {
        check(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
                "spec": {"ports": [{"port": 1}, {"port": 2, "protocol": "UDP"}]}, "status": {}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
                "spec": {"ports": [{"port": 1, "protocol": "TCP", "targetPort": 0}, {"port": 2, "protocol": "UDP", "targetPort": 0}]}}),
        );
        check(
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "s"}, "spec": {"jobTemplate":
                {"spec": {"template": {"metadata": {"creationTimestamp": null}, "spec": {"initContainers": [{"ports": [{"containerPort": 1}]}]}}}}}}),
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "s"}, "spec": {"jobTemplate":
                {"metadata": {}, "spec": {"template": {"metadata": {}, "spec": {"initContainers": [
                    {"ports": [{"containerPort": 1, "protocol": "TCP"}], "resources": {}}]}}}}}}),
        );
    }

    #[test]
    fn what_go_writes_of_empty_fields_is_there() {
        let workload = |kind: &str, group: &str, spec: Value| json!({"apiVersion": group, "kind": kind, "metadata": {"name": "w"}, "spec": spec});
        let pods = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": 1}}}]}});
        let filled = json!({"metadata": {}, "spec": {"containers": [
            {"name": "a", "resources": {}}, {"name": "b", "resources": {"limits": {"cpu": 1}}}]}});
        for (kind, group, strategy) in [
            ("Job", "batch/v1", None),
            ("Deployment", "apps/v1", Some("strategy")),
            ("StatefulSet", "apps/v1", Some("updateStrategy")),
            ("DaemonSet", "apps/v1", Some("updateStrategy")),
        ] {
            let mut wanted = workload(kind, group, json!({"template": filled}));
            if let Some(field) = strategy {
                wanted["spec"][field] = json!({});
            }
            check(workload(kind, group, json!({"template": pods})), wanted);
        }
        let set = workload("Deployment", "apps/v1", json!({"strategy": {"type": "Recreate"}}));
        check(set.clone(), set);
        check(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "spec": {}}),
        );
    }

    #[test]
    fn only_definitions_keep_their_status() {
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "x"}, "status": {"conditions": []}});
        check(definition.clone(), definition);
        check(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "status": {"a": 1}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}),
        );
    }
}
