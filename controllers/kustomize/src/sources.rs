//! Reading the source that a Kustomization refers to.

use nave_crds::{kustomize::Kustomization, meta::Artifact};
use nave_object::Gvk;

use crate::{Options, Ports, plan::SourceSeen};

/// What the source looks like now. It comes from the shared watches; kinds without one are asked for.
pub(crate) async fn source_of(kustomization: &Kustomization, ports: &Ports, options: &Options) -> SourceSeen {
    let reference = &kustomization.spec.source_ref;
    let own = kustomization.metadata.namespace.as_deref().unwrap_or_default();
    let namespace = if reference.namespace.is_empty() {
        own
    } else {
        &reference.namespace
    };
    let name = format!("{}/{namespace}/{}", reference.kind, reference.name);
    if options.no_cross_namespace_refs && namespace != own {
        return SourceSeen::Denied(format!(
            "can't access '{name}', cross-namespace references have been blocked"
        ));
    }
    if reference.kind == "ExternalArtifact" && !options.gates.external_artifact {
        return SourceSeen::Denied(format!(
            "can't access '{name}', the feature gate ExternalArtifact is disabled"
        ));
    }
    let is_known = ["GitRepository", "OCIRepository", "Bucket", "ExternalArtifact"].contains(&reference.kind.as_str());
    if options.gates.direct_source_fetch && is_known {
        return ask(ports, &reference.kind, namespace, &reference.name, name).await;
    }
    let artifact = match reference.kind.as_str() {
        "GitRepository" => match ports.git_repositories.get(namespace, &reference.name) {
            Some(source) => Some(source.status.as_ref().and_then(|status| status.artifact.clone())),
            // It may belong to another shard, whose objects are not watched here.
            None => return ask(ports, &reference.kind, namespace, &reference.name, name).await,
        },
        "ExternalArtifact" => ports
            .external_artifacts
            .get(namespace, &reference.name)
            .map(|source| source.status.as_ref().and_then(|status| status.artifact.clone())),
        "OCIRepository" => match &ports.oci_repositories {
            Some(watched) => watched
                .get(namespace, &reference.name)
                .map(|source| source.status.as_ref().and_then(|status| status.artifact.clone())),
            None => return ask(ports, &reference.kind, namespace, &reference.name, name).await,
        },
        "Bucket" => return ask(ports, &reference.kind, namespace, &reference.name, name).await,
        kind => {
            return SourceSeen::Unsupported(format!("spec.sourceRef.kind {kind:?} is not supported by this version"));
        }
    };
    seen(artifact, name)
}

fn seen(artifact: Option<Option<Artifact>>, name: String) -> SourceSeen {
    match artifact {
        None => SourceSeen::Missing(name),
        Some(None) => SourceSeen::Empty(name),
        Some(Some(artifact)) => SourceSeen::Ready(Box::new(artifact)),
    }
}

async fn ask(ports: &Ports, kind: &str, namespace: &str, object: &str, name: String) -> SourceSeen {
    let target = match ports.targets.local(None) {
        Ok(target) => target,
        Err(error) => return SourceSeen::Unreadable(error.to_string()),
    };
    let gvk = Gvk::new("source.toolkit.fluxcd.io/v1", kind);
    let resource = match target.resolve(&gvk).await {
        Ok(resource) => resource,
        Err(_) => {
            return SourceSeen::Unsupported(format!(
                "spec.sourceRef.kind {kind:?} is not installed in this cluster and not supported by this version"
            ));
        }
    };
    match target.get(&resource, namespace, object).await {
        Ok(None) => SourceSeen::Missing(name),
        Ok(Some(source)) => match source.pointer("/status/artifact") {
            None => SourceSeen::Empty(name),
            Some(artifact) => match serde_json::from_value(artifact.clone()) {
                Ok(artifact) => SourceSeen::Ready(Box::new(artifact)),
                Err(error) => SourceSeen::Unreadable(format!("status.artifact of '{name}' cannot be read: {error}")),
            },
        },
        Err(error) => SourceSeen::Unreadable(format!("reading source '{name}': {error}")),
    }
}
