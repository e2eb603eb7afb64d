//! Reading the source that a Kustomization refers to.

use std::fmt::Debug;

use kube::Resource;
use nave_crds::{kustomize::Kustomization, meta::Artifact};
use nave_object::Gvk;
use nave_runtime::Watched;
use nave_targets::ResolveError;
use serde::de::DeserializeOwned;

use crate::{Options, Ports, plan::SourceSeen, reconcile::chain};

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
            "can't access '{name}', ExternalArtifact feature gate is disabled"
        ));
    }
    let is_known = ["GitRepository", "OCIRepository", "Bucket", "ExternalArtifact"].contains(&reference.kind.as_str());
    if options.gates.direct_source_fetch && is_known {
        return ask(ports, &reference.kind, namespace, &reference.name, name).await;
    }
    // None: nothing watches the kind, or no such object is watched here. It may belong to another shard, or be newer than
    // what the watch has seen.
    let watched = match reference.kind.as_str() {
        "GitRepository" => artifact_of(Some(&ports.git_repositories), namespace, &reference.name, |source| {
            source.status.as_ref()?.artifact.as_ref()
        }),
        "OCIRepository" => artifact_of(ports.oci_repositories.as_ref(), namespace, &reference.name, |source| {
            source.status.as_ref()?.artifact.as_ref()
        }),
        "Bucket" => artifact_of(ports.buckets.as_ref(), namespace, &reference.name, |source| {
            source.status.as_ref()?.artifact.as_ref()
        }),
        "ExternalArtifact" => artifact_of(Some(&ports.external_artifacts), namespace, &reference.name, |source| {
            source.status.as_ref()?.artifact.as_ref()
        }),
        kind => {
            return SourceSeen::Unsupported(format!("spec.sourceRef.kind {kind:?} is not supported by this version"));
        }
    };
    match watched {
        Some(Some(artifact)) => SourceSeen::Ready(Box::new(artifact)),
        Some(None) => SourceSeen::Empty(name),
        None => ask(ports, &reference.kind, namespace, &reference.name, name).await,
    }
}

/// The artifact of a source that is watched.
fn artifact_of<K>(
    watched: Option<&Watched<K>>,
    namespace: &str,
    name: &str,
    artifact: fn(&K) -> Option<&Artifact>,
) -> Option<Option<Artifact>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let source = watched?.get(namespace, name)?;
    Some(artifact(&source).cloned())
}

async fn ask(ports: &Ports, kind: &str, namespace: &str, object: &str, name: String) -> SourceSeen {
    let target = match ports.targets.local(None) {
        Ok(target) => target,
        Err(error) => return SourceSeen::Unreadable(error.to_string()),
    };
    let gvk = Gvk::new("source.toolkit.fluxcd.io/v1", kind);
    let resource = match target.resolve(&gvk).await {
        Ok(resource) => resource,
        // The API server may be ill for a moment; only its word that there is no such kind is final.
        Err(error @ ResolveError::Request { .. }) => {
            return SourceSeen::Unreadable(format!("reading source '{name}': {}", chain(&error)));
        }
        Err(ResolveError::NoMatch(_)) => {
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
