//! What an object cannot do without: its namespace, the definition of its kind, and the objects it names.

use std::collections::HashSet;

use nave_object::{Object, ObjectId};
use serde_json::Value;

/// Objects that could not be applied, to be asked for each that comes after them.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    /// By kind, namespace and name. References rarely say the group.
    objects: HashSet<(String, String, String)>,
    /// Group and kind that a failed CRD defines.
    kinds: HashSet<(String, String)>,
}

impl Failed {
    /// `object` is what was to be applied, where it is at hand: a CRD says in it what it defines.
    pub fn add(&mut self, id: &ObjectId, object: Option<&Object>) {
        self.objects
            .insert((id.kind.clone(), id.namespace.clone(), id.name.clone()));
        if id.kind == "CustomResourceDefinition"
            && let Some(object) = object
        {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            self.kinds
                .insert((text("/spec/group").to_owned(), text("/spec/names/kind").to_owned()));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// What `object` needs of it; none when it can be applied all the same.
    pub fn needed_by(&self, object: &Object) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let (gvk, namespace) = (object.gvk(), object.namespace().unwrap_or_default());
        if self.kinds.contains(&(gvk.group.clone(), gvk.kind.clone())) {
            return Some(format!("the definition of {}", gvk.kind));
        }
        let has = |kind: &str, namespace: &str, name: &str| {
            self.objects
                .contains(&(kind.to_owned(), namespace.to_owned(), name.to_owned()))
        };
        if has("Namespace", "", namespace) {
            return Some(format!("Namespace/{namespace}"));
        }
        references(object).into_iter().find_map(|(kind, name)| {
            if has(&kind, namespace, &name) {
                Some(format!("{kind}/{namespace}/{name}"))
            } else if has(&kind, "", &name) {
                Some(format!("{kind}/{name}"))
            } else {
                None
            }
        })
    }
}

/// Kind and name of everything that the content of an object refers to.
fn references(object: &Object) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<&Value> = ["/spec", "/roleRef", "/template", "/imagePullSecrets"]
        .iter()
        .filter_map(|pointer| object.pointer(pointer))
        .collect();
    if let Some(role) = object.pointer("/roleRef") {
        by_kind(role, &mut found);
    }
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                for (field, value) in fields {
                    reference(field, value, &mut found);
                    open.push(value);
                }
            }
            _ => {}
        }
    }
    found
}

/// What one field refers to. Optional references count as well: somebody wanted what they name.
fn reference(field: &str, value: &Value, found: &mut Vec<(String, String)>) {
    let by_name = |kind: &str, key: &str, found: &mut Vec<(String, String)>| {
        if let Some(name) = value.get(key).and_then(Value::as_str) {
            found.push((kind.to_owned(), name.to_owned()));
        }
    };
    let plain = |kind: &str, found: &mut Vec<(String, String)>| {
        if let Some(name) = value.as_str() {
            found.push((kind.to_owned(), name.to_owned()));
        }
    };
    match field {
        "configMap" | "configMapRef" | "configMapKeyRef" => by_name("ConfigMap", "name", found),
        "secret" => {
            by_name("Secret", "secretName", found);
            by_name("Secret", "name", found);
        }
        "secretRef" | "secretKeyRef" => by_name("Secret", "name", found),
        "persistentVolumeClaim" => by_name("PersistentVolumeClaim", "claimName", found),
        "serviceAccountName" => plain("ServiceAccount", found),
        "ingressClassName" => plain("IngressClass", found),
        "storageClassName" => plain("StorageClass", found),
        "gatewayClassName" => plain("GatewayClass", found),
        "runtimeClassName" => plain("RuntimeClass", found),
        "priorityClassName" => plain("PriorityClass", found),
        "scaleTargetRef" | "roleRef" | "targetRef" => by_kind(value, found),
        "imagePullSecrets" => {
            for item in value.as_array().into_iter().flatten() {
                if let Some(name) = item.get("name").and_then(Value::as_str) {
                    found.push(("Secret".to_owned(), name.to_owned()));
                }
            }
        }
        _ => {}
    }
}

fn by_kind(value: &Value, found: &mut Vec<(String, String)>) {
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    if let (Some(kind), Some(name)) = (text("kind"), text("name")) {
        found.push((kind.to_owned(), name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("the test's object is valid")
    }

    #[track_caller]
    fn check_needs(failed: Value, other: Value, wanted: Option<&str>) {
        let mut all = Failed::default();
        let failed = object(failed);
        all.add(&failed.id(), Some(&failed));
        assert_eq!(all.needed_by(&object(other)).as_deref(), wanted);
    }

    fn pods(spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
            "spec": {"template": {"spec": spec}}})
    }

    fn named(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n"}})
    }

    #[test]
    fn what_needs_what() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
        check_needs(namespace, named("ConfigMap", "c"), Some("Namespace/n"));
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "w"}, "spec": {"group": "example.com", "names": {"kind": "Widget"}}});
        let widget =
            json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "w", "namespace": "n"}});
        check_needs(definition.clone(), widget, Some("the definition of Widget"));
        check_needs(definition, named("ConfigMap", "w"), None);
        let config = || named("ConfigMap", "c");
        check_needs(config(), named("ConfigMap", "other"), None);
        let from = |spec: Value| pods(json!({"containers": [spec]}));
        check_needs(
            config(),
            from(json!({"envFrom": [{"configMapRef": {"name": "c"}}]})),
            Some("ConfigMap/n/c"),
        );
        check_needs(
            config(),
            from(json!({"env": [{"valueFrom": {"configMapKeyRef": {"name": "other"}}}]})),
            None,
        );
        check_needs(
            named("Secret", "s"),
            pods(json!({"volumes": [{"secret": {"secretName": "s"}}]})),
            Some("Secret/n/s"),
        );
        check_needs(
            named("ServiceAccount", "a"),
            pods(json!({"serviceAccountName": "a"})),
            Some("ServiceAccount/n/a"),
        );
        let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "i"}});
        let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "x", "namespace": "n"},
            "spec": {"ingressClassName": "i"}});
        check_needs(class, ingress, Some("IngressClass/i"));
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "b", "namespace": "n"}, "roleRef": {"kind": "Role", "name": "r"}});
        check_needs(named("Role", "r"), binding, Some("Role/n/r"));
    }
}
