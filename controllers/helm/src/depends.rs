//! `spec.dependsOn`: whether dependencies are ready.

use nave_crds::{conditions, helm::HelmRelease, meta::DependencyRef};
use nave_health::ReadyExpression;
use nave_runtime::Conditions;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// The dependency's key; its namespace defaults to that of the dependent.
pub(crate) fn key_of(dependency: &DependencyRef, namespace: &str) -> Key {
    let namespace = match dependency.namespace.as_str() {
        "" => namespace,
        given => given,
    };
    (namespace.to_owned(), dependency.name.clone())
}

/// Why a dependency is not ready; none when it is. `expression` replaces the built-in check unless `additive`.
pub(crate) fn not_ready(
    dependent: &HelmRelease,
    dependency: Option<&HelmRelease>,
    name: &str,
    expression: Option<&ReadyExpression>,
    additive: bool,
) -> Option<String> {
    let Some(dependency) = dependency else {
        return Some(format!("unable to get '{name}' dependency: not found"));
    };
    if expression.is_none() || additive {
        let status = dependency.status.clone().unwrap_or_default();
        if dependency.metadata.generation != Some(status.observed_generation)
            || !status.conditions.is_true(conditions::READY)
        {
            return Some(format!("dependency '{name}' is not ready"));
        }
    }
    let expression = expression?;
    let (Ok(this), Ok(other)) = (serde_json::to_value(dependent), serde_json::to_value(dependency)) else {
        return Some(format!("dependency '{name}' cannot be given to readyExpr"));
    };
    match expression.evaluate(&this, &other) {
        Ok(true) => None,
        Ok(false) => Some(format!("dependency '{name}' is not ready according to readyExpr eval")),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn release(status: Value) -> HelmRelease {
        serde_json::from_value(json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "x", "namespace": "n", "generation": 2},
            "spec": {"interval": "1m", "chartRef": {"kind": "HelmChart", "name": "c"}}, "status": status}))
        .expect("it is complete")
    }

    #[test]
    fn a_dependency_is_ready_at_its_generation() {
        let ready = |observed: i64, status: &str| {
            release(
                json!({"observedGeneration": observed, "conditions": [{"type": "Ready", "status": status,
                "reason": "X", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
            )
        };
        let this = release(json!({}));
        let check = |dependency: Option<&HelmRelease>, expression: Option<&str>, additive: bool| {
            let expression = expression.map(|text| ReadyExpression::compile(text, "f").expect("it compiles"));
            not_ready(&this, dependency, "n/d", expression.as_ref(), additive)
        };
        assert_eq!(check(Some(&ready(2, "True")), None, false), None);
        for bad in [ready(1, "True"), ready(2, "False"), release(json!({}))] {
            assert_eq!(
                check(Some(&bad), None, false).as_deref(),
                Some("dependency 'n/d' is not ready")
            );
        }
        assert!(check(None, None, false).is_some_and(|why| why.contains("not found")));
        let same = "dep.metadata.name == self.metadata.name";
        assert_eq!(check(Some(&ready(1, "True")), Some(same), false), None);
        assert!(check(Some(&ready(1, "True")), Some(same), true).is_some());
        assert!(check(Some(&ready(2, "True")), Some("dep.metadata.name == 'y'"), false).is_some());
    }
}
