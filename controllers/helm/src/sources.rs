//! The source that has the chart of a HelmRelease, as the shared watches know it.

use std::{fmt::Debug, sync::Arc};

use kube::{Api, Client, Resource, core::NamespaceResourceScope, runtime::watcher};
use nave_crds::{
    Condition,
    helm::{ChartReference, HelmRelease},
    meta::Artifact,
    source::{ExternalArtifact, HelmChart, OCIRepository},
};
use nave_runtime::{Tasks, Watched, wakes::Version, watch::without_managed_fields};
use serde::de::DeserializeOwned;

use crate::{Options, Ports, cluster::describe, plan::SourceSeen};

/// The shared watches of all kinds that a `chartRef` may name.
pub(crate) struct Sources {
    pub external_artifacts: Watched<ExternalArtifact>,
    pub helm_charts: Watched<HelmChart>,
    pub oci_repositories: Watched<OCIRepository>,
}

impl Sources {
    /// Those that the process has already; a watch of our own where it has none.
    pub fn new(ports: &Ports) -> Self {
        fn own<S>(client: &Client, tasks: &Tasks) -> Watched<S>
        where
            S: Source + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        {
            Watched::start(
                Api::all(client.clone()),
                watcher::Config::default(),
                without_managed_fields,
                tasks,
            )
        }
        Sources {
            external_artifacts: ports.external_artifacts.clone(),
            helm_charts: ports
                .helm_charts
                .clone()
                .unwrap_or_else(|| own(&ports.client, &ports.tasks)),
            oci_repositories: ports
                .oci_repositories
                .clone()
                .unwrap_or_else(|| own(&ports.client, &ports.tasks)),
        }
    }
}

/// A kind of sources.
pub(crate) trait Source: Resource<DynamicType = ()> {
    const KIND: &'static str;

    /// Whether the status is about the current generation.
    fn is_observed(&self) -> bool;

    fn conditions(&self) -> &[Condition];

    fn artifact(&self) -> Option<&Artifact>;
}

impl Source for OCIRepository {
    const KIND: &'static str = "OCIRepository";

    fn is_observed(&self) -> bool {
        let observed = self.status.as_ref().map(|status| status.observed_generation);
        self.metadata.generation == observed
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn artifact(&self) -> Option<&Artifact> {
        self.status.as_ref()?.artifact.as_ref()
    }
}

impl Source for HelmChart {
    const KIND: &'static str = "HelmChart";

    fn is_observed(&self) -> bool {
        let observed = self.status.as_ref().map(|status| status.observed_generation);
        self.metadata.generation == observed
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn artifact(&self) -> Option<&Artifact> {
        self.status.as_ref()?.artifact.as_ref()
    }
}

impl Source for ExternalArtifact {
    const KIND: &'static str = "ExternalArtifact";

    /// Its status has no generation.
    fn is_observed(&self) -> bool {
        true
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn artifact(&self) -> Option<&Artifact> {
        self.status.as_ref()?.artifact.as_ref()
    }
}

/// What the source of a `chartRef` looks like now.
pub(crate) async fn source_of(
    release: &HelmRelease,
    reference: &ChartReference,
    ports: &Ports,
    sources: &Sources,
    options: &Options,
) -> SourceSeen {
    let own = release.metadata.namespace.as_deref().unwrap_or_default();
    let namespace = match reference.namespace.as_str() {
        "" => own,
        given => given,
    };
    let (kind, name) = (reference.kind.as_str(), reference.name.as_str());
    if let Some(denied) = denied(kind, namespace, name, own, options) {
        return denied;
    }
    let client = &ports.client;
    match kind {
        "ExternalArtifact" if !options.gates.external_artifact => SourceSeen::Denied(format!(
            "can't access '{kind}/{namespace}/{name}', ExternalArtifact feature gate is disabled"
        )),
        "ExternalArtifact" => seen(&sources.external_artifacts, client, namespace, name, options).await,
        "HelmChart" => seen(&sources.helm_charts, client, namespace, name, options).await,
        "OCIRepository" => seen(&sources.oci_repositories, client, namespace, name, options).await,
        kind => SourceSeen::Unsupported(format!("spec.chartRef.kind {kind:?} is not supported by this version")),
    }
}

async fn seen<S>(watched: &Watched<S>, client: &Client, namespace: &str, name: &str, options: &Options) -> SourceSeen
where
    S: Source + Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    match find(watched, client, namespace, name, options).await {
        Ok(found) => judge(found.as_deref(), namespace, name),
        Err(message) => SourceSeen::Unreadable(message),
    }
}

/// A source as the watch knows it, or, where a gate asks for that, as the server has it now.
///
/// # Errors
/// The server did not answer.
pub(crate) async fn find<S>(
    watched: &Watched<S>,
    client: &Client,
    namespace: &str,
    name: &str,
    options: &Options,
) -> Result<Option<Arc<S>>, String>
where
    S: Source + Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    if !options.gates.direct_source_fetch {
        return Ok(watched.get(namespace, name));
    }
    let api: Api<S> = Api::namespaced(client.clone(), namespace);
    match api.get_opt(name).await {
        Ok(found) => Ok(found.map(Arc::new)),
        Err(error) => Err(format!("reading {}/{namespace}/{name}: {}", S::KIND, describe(&error))),
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

/// A source can be used when it was looked at, is not stalled and has an artifact; Ready itself is not asked for.
pub(crate) fn judge<S: Source>(found: Option<&S>, namespace: &str, name: &str) -> SourceSeen {
    let name = format!("{}/{namespace}/{name}", S::KIND);
    let Some(found) = found else {
        return SourceSeen::Missing(name);
    };
    match problem(found) {
        Some(why) => SourceSeen::NotReady(format!("{name} is not ready: {why}")),
        None => match found.artifact() {
            None => SourceSeen::NotReady(format!("{name} is not ready: it does not have an artifact")),
            Some(artifact) => SourceSeen::Ready(Box::new(artifact.clone())),
        },
    }
}

fn problem<S: Source>(found: &S) -> Option<String> {
    if !found.is_observed() {
        return Some("latest generation of object has not been reconciled".to_owned());
    }
    let stalled = found.conditions().iter().find(|condition| condition.type_ == "Stalled");
    stalled
        .filter(|condition| condition.status == "True")
        .map(|condition| match condition.message.as_str() {
            "" => "it is stalled".to_owned(),
            message => message.to_owned(),
        })
}

/// What has to change for its HelmReleases to be woken. None while it cannot be used: nobody is told then, and everybody
/// once it can be again.
pub(crate) fn version_of<S: Source>(found: &S) -> Option<Version> {
    let artifact = found.artifact()?;
    problem(found)
        .is_none()
        .then(|| (artifact.revision.clone(), artifact.digest.clone()))
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
        ] {
            let mut found = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
                "metadata": {"name": "c", "namespace": "n", "generation": 2},
                "spec": {"chart": "c", "interval": "1m", "sourceRef": {"kind": "HelmRepository", "name": "r"}},
                "status": {"observedGeneration": observed, "conditions": [{"type": "Stalled", "status": stalled,
                    "message": "why", "reason": "X", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
            if let Some(artifact) = artifact {
                found["status"]["artifact"] = artifact;
            }
            let found: HelmChart = serde_json::from_value(found).expect("it is complete");
            let seen = format!("{:?}", judge(Some(&found), "n", "c"));
            assert!(seen.starts_with(wanted), "{seen}");
        }
        let missing = format!("{:?}", judge::<OCIRepository>(None, "n", "c"));
        assert_eq!(missing, "Missing(\"OCIRepository/n/c\")");
    }

    #[test]
    fn becoming_usable_is_a_change() {
        let repository = |observed: i64, artifact: bool| -> OCIRepository {
            let mut found = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
                "metadata": {"name": "c", "namespace": "n", "generation": 2},
                "spec": {"url": "oci://example.com/c", "interval": "1m"}, "status": {"observedGeneration": observed}});
            if artifact {
                found["status"]["artifact"] = json!({"path": "p", "url": "u", "revision": "1", "digest": "sha256:0",
                    "lastUpdateTime": "2026-01-01T00:00:00Z"});
            }
            serde_json::from_value(found).expect("it is complete")
        };
        assert_eq!(version_of(&repository(2, false)), None);
        assert_eq!(version_of(&repository(1, true)), None);
        let usable = Some(("1".to_owned(), "sha256:0".to_owned()));
        assert_eq!(version_of(&repository(2, true)), usable);
    }
}
