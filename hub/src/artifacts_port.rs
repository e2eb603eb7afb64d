//! Manifests of the hub's sources, as the placement controller asks for them.

use std::{error::Error, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use nave_artifact::Digest;
use nave_crds::{ExternalArtifact, GitRepository, HelmChart, OCIRepository, meta::Artifact};
use nave_kustomize_controller::ArtifactReader;
use nave_placement::SourceKey;
use nave_placement_controller::{ArtifactHandle, Artifacts};
use nave_runtime::Watched;
use tokio_util::sync::CancellationToken;

use crate::{
    artifacts::{ArtifactError, ManifestCache},
    desired::Desired,
};

/// How often manifests that no item names any more are looked for.
const COLLECT: Duration = Duration::from_secs(30);

/// Reads a source's artifact and cuts it down.
pub struct SourceArtifacts {
    /// Sources.
    pub git_repositories: Watched<GitRepository>,
    /// Sources.
    pub external_artifacts: Watched<ExternalArtifact>,
    /// Charts taken out of sources.
    pub helm_charts: Watched<HelmChart>,
    /// Sources.
    pub oci_repositories: Watched<OCIRepository>,
    /// Reads their files.
    pub reader: Arc<dyn ArtifactReader>,
    /// What was cut down before.
    pub manifests: Arc<ManifestCache>,
}

impl SourceArtifacts {
    async fn make(&self, source: &SourceKey, include: &[String]) -> Result<ArtifactHandle, String> {
        let (artifact, origin) = self.artifact(source)?;
        let digest: Digest = artifact
            .digest
            .parse()
            .map_err(|error| format!("the artifact of {source}: {error}"))?;
        let served = match self.manifests.known(digest, include) {
            Some(served) => served,
            None => {
                let tree = self
                    .reader
                    .read(&artifact)
                    .await
                    .map_err(|error| told(source, &error))?;
                let (manifests, include) = (self.manifests.clone(), include.to_vec());
                let revision = artifact.revision.clone();
                let made = tokio::task::spawn_blocking(move || manifests.make(digest, &revision, &tree, &include));
                let made: Result<_, ArtifactError> = made.await.map_err(|_| format!("cutting down {source} failed"))?;
                made.map_err(|error| told(source, &error))?
            }
        };
        Ok(ArtifactHandle {
            manifest_digest: served.digest.to_string(),
            revision: artifact.revision,
            origin,
            size: served.bytes,
        })
    }

    /// The artifact of a source, and where its content came from, without credentials.
    fn artifact(&self, source: &SourceKey) -> Result<(Artifact, String), String> {
        let missing = || format!("{source} does not exist");
        let not_ready = || format!("{source} has no artifact yet");
        let SourceKey { kind, namespace, name } = source;
        match kind.as_str() {
            "GitRepository" => {
                let object = self.git_repositories.get(namespace, name).ok_or_else(missing)?;
                let artifact = object.status.as_ref().and_then(|status| status.artifact.clone());
                Ok((artifact.ok_or_else(not_ready)?, nave_net::redact(&object.spec.url)))
            }
            "OCIRepository" => {
                let object = self.oci_repositories.get(namespace, name).ok_or_else(missing)?;
                let artifact = object.status.as_ref().and_then(|status| status.artifact.clone());
                Ok((artifact.ok_or_else(not_ready)?, nave_net::redact(&object.spec.url)))
            }
            "HelmChart" => {
                let object = self.helm_charts.get(namespace, name).ok_or_else(missing)?;
                let artifact = object.status.as_ref().and_then(|status| status.artifact.clone());
                let from = &object.spec.source_ref;
                let origin = format!("{}/{namespace}/{}", from.kind, from.name);
                Ok((artifact.ok_or_else(not_ready)?, origin))
            }
            "ExternalArtifact" => {
                let object = self.external_artifacts.get(namespace, name).ok_or_else(missing)?;
                let artifact = object.status.as_ref().and_then(|status| status.artifact.clone());
                Ok((artifact.ok_or_else(not_ready)?, format!("{kind}/{namespace}/{name}")))
            }
            other => Err(format!(
                "{source}: sources of kind {other} are not known to this version"
            )),
        }
    }
}

impl Artifacts for SourceArtifacts {
    fn manifest<'a>(
        &'a self,
        source: &'a SourceKey,
        include: &'a [String],
    ) -> BoxFuture<'a, Result<ArtifactHandle, String>> {
        Box::pin(self.make(source, include))
    }
}

/// Lets go of manifests that no item names, until shutdown.
pub async fn collect(manifests: Arc<ManifestCache>, desired: Arc<Desired>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            _ = shutdown.cancelled() => return,
            _ = tokio::time::sleep(COLLECT) => {}
        }
        manifests.collect(&desired.manifests(), std::time::Instant::now());
    }
}

/// The error with its causes, in one line.
fn told(source: &SourceKey, error: &dyn Error) -> String {
    let mut text = format!("the artifact of {source}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    nave_net::redact(&text)
}
