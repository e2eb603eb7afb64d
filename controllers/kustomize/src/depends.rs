//! `spec.dependsOn`: whether dependencies are ready.

use nave_crds::{
    conditions,
    kustomize::{Kustomization, SourceRef},
    meta::DependencyRef,
};
use nave_health::ReadyExpression;
use nave_runtime::Conditions;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// The dependency's key; its namespace defaults to that of the dependent.
pub(crate) fn key_of(dependency: &DependencyRef, namespace: &str) -> Key {
    let namespace = if dependency.namespace.is_empty() {
        namespace
    } else {
        &dependency.namespace
    };
    (namespace.to_owned(), dependency.name.clone())
}

/// Why a dependency is not ready; none when it is.
///
/// `expression` replaces the built-in check unless `additive`. `source` and `revision` are those of the dependent: a dependency
/// of the same source has to have applied the same revision, so that one commit goes through in order.
pub(crate) fn not_ready(
    dependent: &Kustomization,
    dependency: Option<&Kustomization>,
    expression: Option<&ReadyExpression>,
    additive: bool,
    revision: &str,
) -> Option<String> {
    let Some(dependency) = dependency else {
        return Some("not found".to_owned());
    };
    if expression.is_none() || additive {
        let built_in = built_in_check(dependent, dependency, revision);
        if built_in.is_some() {
            return built_in;
        }
    }
    let expression = expression?;
    let (Ok(this), Ok(other)) = (serde_json::to_value(dependent), serde_json::to_value(dependency)) else {
        return Some("it cannot be given to readyExpr".to_owned());
    };
    match expression.evaluate(&this, &other) {
        Ok(true) => None,
        Ok(false) => Some("readyExpr is false".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

fn built_in_check(dependent: &Kustomization, dependency: &Kustomization, revision: &str) -> Option<String> {
    let status = dependency.status.clone().unwrap_or_default();
    if status.conditions.is_empty()
        || dependency.metadata.generation != Some(status.observed_generation)
        || !status.conditions.is_true(conditions::READY)
    {
        let why = status
            .conditions
            .get_condition(conditions::READY)
            .filter(|ready| ready.status == "False")
            .map(|ready| format!(": {}", ready.reason))
            .unwrap_or_default();
        return Some(format!("not ready{why}"));
    }
    if source_key(dependent) == source_key(dependency) && status.last_applied_revision != revision {
        return Some(format!("has not applied revision {revision} yet"));
    }
    None
}

/// Kind, namespace and name of the source.
fn source_key(kustomization: &Kustomization) -> (String, String, String) {
    let SourceRef {
        kind, name, namespace, ..
    } = &kustomization.spec.source_ref;
    let namespace = if namespace.is_empty() {
        kustomization.metadata.namespace.clone().unwrap_or_default()
    } else {
        namespace.clone()
    };
    (kind.clone(), namespace, name.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kustomization(source: &str, status: Value) -> Kustomization {
        serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "x", "namespace": "n", "generation": 2, "labels": {"v": "1"}},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": source}},
            "status": status,
        }))
        .expect("it is complete")
    }

    fn ready(revision: &str) -> Value {
        json!({"observedGeneration": 2, "lastAppliedRevision": revision, "conditions": [
            {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
    }

    #[track_caller]
    fn check(dependency: Option<Kustomization>, expression: Option<&str>, additive: bool, wanted: Option<&str>) {
        let expression = expression.map(|text| ReadyExpression::compile(text, "f").expect("it compiles"));
        let found = not_ready(
            &kustomization("s", json!({})),
            dependency.as_ref(),
            expression.as_ref(),
            additive,
            "main@sha1:2",
        );
        match (found, wanted) {
            (Some(found), Some(wanted)) => assert!(found.contains(wanted), "{found}"),
            (found, wanted) => assert_eq!(found.as_deref(), wanted),
        }
    }

    #[test]
    fn when_a_dependency_is_ready() {
        check(None, None, false, Some("not found"));
        check(Some(kustomization("s", json!({}))), None, false, Some("not ready"));
        check(Some(kustomization("s", ready("main@sha1:2"))), None, false, None);
        check(
            Some(kustomization("s", ready("main@sha1:1"))),
            None,
            false,
            Some("has not applied revision main@sha1:2 yet"),
        );
        check(Some(kustomization("other", ready("main@sha1:1"))), None, false, None);
        let mut old = ready("main@sha1:2");
        old["observedGeneration"] = json!(1);
        check(Some(kustomization("s", old)), None, false, Some("not ready"));
        let mut failed = ready("main@sha1:2");
        failed["conditions"][0]["status"] = json!("False");
        failed["conditions"][0]["reason"] = json!("BuildFailed");
        check(
            Some(kustomization("s", failed)),
            None,
            false,
            Some("not ready: BuildFailed"),
        );
    }

    #[test]
    fn expressions_replace_or_add_to_the_check() {
        let same = "dep.metadata.labels['v'] == self.metadata.labels['v']";
        check(Some(kustomization("s", json!({}))), Some(same), false, None);
        check(Some(kustomization("s", json!({}))), Some(same), true, Some("not ready"));
        check(
            Some(kustomization("s", json!({}))),
            Some("dep.metadata.labels['v'] == '2'"),
            false,
            Some("readyExpr is false"),
        );
        check(
            Some(kustomization("s", json!({}))),
            Some("dep.nothing"),
            false,
            Some("evaluating"),
        );
    }
}
