//! Reading the source that has the chart of a HelmRelease.

use nave_crds::{
    helm::{ChartReference, HelmRelease},
    meta::Artifact,
    source,
};
use nave_object::Gvk;
use serde_json::Value;

use crate::{Options, Ports, plan::SourceSeen};

/// Kinds that are asked for where they are served; ExternalArtifacts come from the shared watch.
pub(crate) const ASKED: [&str; 2] = ["HelmChart", "OCIRepository"];

/// What the source of a `chartRef` looks like now.
pub(crate) async fn source_of(
    release: &HelmRelease,
    reference: &ChartReference,
    ports: &Ports,
    options: &Options,
) -> SourceSeen {
    let own = release.metadata.namespace.as_deref().unwrap_or_default();
    let namespace = match reference.namespace.as_str() {
        "" => own,
        given => given,
    };
    let kind = reference.kind.as_str();
    let name = format!("{kind}/{namespace}/{}", reference.name);
    if let Some(denied) = denied(kind, namespace, &reference.name, own, options) {
        return denied;
    }
    match kind {
        "ExternalArtifact" if !options.gates.external_artifact => SourceSeen::Denied(format!(
            "can't access '{name}', ExternalArtifact feature gate is disabled"
        )),
        "ExternalArtifact" => match ports.external_artifacts.get(namespace, &reference.name) {
            None => SourceSeen::Missing(name),
            Some(found) => match found.status.as_ref().and_then(|status| status.artifact.clone()) {
                None => SourceSeen::NotReady(format!("{name} is not ready: it does not have an artifact")),
                Some(artifact) => SourceSeen::Ready(Box::new(artifact)),
            },
        },
        kind if ASKED.contains(&kind) => ask(ports, kind, namespace, &reference.name).await,
        kind => SourceSeen::Unsupported(format!("spec.chartRef.kind {kind:?} is not supported by this version")),
    }
}

/// The lock-down of references into other namespaces.
pub(crate) fn denied(kind: &str, namespace: &str, name: &str, own: &str, options: &Options) -> Option<SourceSeen> {
    (options.no_cross_namespace_refs && namespace != own).then(|| {
        SourceSeen::Denied(format!(
            "cross-namespace references are not allowed: cannot access {kind} {namespace}/{name}"
        ))
    })
}

/// Reads a source from the API server.
pub(crate) async fn ask(ports: &Ports, kind: &str, namespace: &str, object: &str) -> SourceSeen {
    let name = format!("{kind}/{namespace}/{object}");
    let target = match ports.targets.local(None) {
        Ok(target) => target,
        Err(error) => return SourceSeen::Unreadable(error.to_string()),
    };
    let resource = match target.resolve(&Gvk::new(source::API_VERSION, kind)).await {
        Ok(resource) => resource,
        Err(error) => return SourceSeen::Unsupported(format!("{name}: {error}")),
    };
    match target.get(&resource, namespace, object).await {
        Ok(None) => SourceSeen::Missing(name),
        Ok(Some(found)) => judge(&found, &name),
        Err(error) => SourceSeen::Unreadable(format!("could not get Source object: {name}: {error}")),
    }
}

/// A source can be used when it was looked at, is not stalled and has an artifact; Ready itself is not asked for.
fn judge(found: &Value, name: &str) -> SourceSeen {
    let not_ready = |why: &str| SourceSeen::NotReady(format!("{name} is not ready: {why}"));
    if found.pointer("/metadata/generation") != found.pointer("/status/observedGeneration") {
        return not_ready("latest generation of object has not been reconciled");
    }
    let conditions = found.pointer("/status/conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        if condition["type"] == "Stalled" && condition["status"] == "True" {
            return not_ready(condition["message"].as_str().unwrap_or("it is stalled"));
        }
    }
    match found.pointer("/status/artifact") {
        None => not_ready("it does not have an artifact"),
        Some(artifact) => match serde_json::from_value::<Artifact>(artifact.clone()) {
            Ok(artifact) => SourceSeen::Ready(Box::new(artifact)),
            Err(error) => SourceSeen::Unreadable(format!("status.artifact of {name} cannot be read: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_be_used() {
        let artifact = json!({"path": "p", "url": "u", "revision": "1", "digest": "sha256:0", "lastUpdateTime": "2026-01-01T00:00:00Z"});
        for (observed, stalled, artifact, wanted) in [
            (2, "False", Some(artifact.clone()), "Ready("),
            (
                1,
                "False",
                Some(artifact.clone()),
                "NotReady(\"HelmChart/n/c is not ready: latest generation",
            ),
            (2, "True", Some(artifact), "NotReady(\"HelmChart/n/c is not ready: why"),
            (
                2,
                "False",
                None,
                "NotReady(\"HelmChart/n/c is not ready: it does not have",
            ),
            (2, "False", Some(json!({"path": 1})), "Unreadable("),
        ] {
            let mut found = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": observed,
                "conditions": [{"type": "Stalled", "status": stalled, "message": "why"}]}});
            if let Some(artifact) = artifact {
                found["status"]["artifact"] = artifact;
            }
            let seen = format!("{:?}", judge(&found, "HelmChart/n/c"));
            assert!(seen.starts_with(wanted), "{seen}");
        }
    }
}
