//! Changes of built manifests: another namespace, another image, more arguments.

use nave_object::Object;
use serde_json::{Value, json};

/// Moves an installation to another namespace.
///
/// Besides the namespace itself that means the subjects of bindings, the label of the instance, and the names of
/// cluster-wide roles and bindings, which end in the namespace so that two installations do not share them.
pub(super) fn relocate(objects: &mut [Object], from: &str, to: &str) {
    if from == to {
        return;
    }
    let suffix = format!("-{from}");
    let moved = |name: &str| name.strip_suffix(&suffix).map(|stem| format!("{stem}-{to}"));
    for object in objects {
        if object.kind() == "Namespace" && object.name() == from {
            object.set_name(to);
        }
        if object.namespace() == Some(from) {
            object.set_namespace(to);
        }
        if object.label("app.kubernetes.io/instance") == Some(from) {
            object.set_label("app.kubernetes.io/instance", to);
        }
        if matches!(object.kind(), "ClusterRole" | "ClusterRoleBinding")
            && let Some(name) = moved(object.name())
        {
            object.set_name(name);
        }
        let value = object.as_value_mut();
        if let Some(role) = value.pointer_mut("/roleRef/name")
            && let Some(name) = role.as_str().and_then(moved)
        {
            *role = Value::String(name);
        }
        for subject in value
            .get_mut("subjects")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if subject["namespace"] == from {
                subject["namespace"] = json!(to);
            }
        }
    }
}

/// Sets the image of the first container.
pub(super) fn set_image(deployment: &mut Object, image: &str) {
    if let Some(container) = deployment
        .as_value_mut()
        .pointer_mut("/spec/template/spec/containers/0")
    {
        container["image"] = json!(image);
    }
}

/// Sets `--<name>=<value>` among the arguments of the first container.
pub(super) fn set_argument(deployment: &mut Object, name: &str, value: &str) {
    let prefix = format!("--{name}=");
    let arguments = deployment
        .as_value_mut()
        .pointer_mut("/spec/template/spec/containers/0/args");
    if let Some(arguments) = arguments.and_then(Value::as_array_mut) {
        arguments.retain(|argument| !argument.as_str().is_some_and(|text| text.starts_with(&prefix)));
        arguments.push(Value::String(format!("{prefix}{value}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests::{Component, InstallOptions, manifests};

    #[test]
    fn nothing_is_left_of_the_old_namespace() {
        for component in [Component::Agent, Component::Hub] {
            let old = component.default_namespace();
            let options = InstallOptions {
                namespace: Some("elsewhere".into()),
                without_definitions: true,
                ..Default::default()
            };
            let objects = manifests(component, &options).expect("built in");
            for object in &objects {
                let text = object.as_value().to_string();
                assert!(!text.contains(old), "{object}: {text}");
            }
            assert!(objects.iter().any(|object| object.name().ends_with("-elsewhere")));
        }
    }

    #[test]
    fn an_argument_is_there_once() {
        let mut deployment = Object::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"template": {"spec": {"containers": [{"args": ["--log-level=info", "--log-level-x=1"]}]}}}
        }))
        .expect("an object");
        set_argument(&mut deployment, "log-level", "debug");
        assert_eq!(
            deployment.pointer("/spec/template/spec/containers/0/args"),
            Some(&json!(["--log-level-x=1", "--log-level=debug"]))
        );
    }
}
