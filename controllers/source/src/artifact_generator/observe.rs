//! Reading sources: their artifacts from the watches, the files from the store or over HTTP.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::Resource;
use nave_artifact::{Digest, FileTree, Limits, unpack};
use nave_crds::{Artifact, ArtifactGenerator, Bucket, ExternalArtifact, GitRepository, HelmChart, OCIRepository};
use nave_net::TlsOptions;
use nave_store::Store;
use serde::de::DeserializeOwned;

use super::compose::Trees;
use crate::{failure::chain, run::Watches};
use nave_runtime::Watched;

/// A kind of object with an artifact.
pub(crate) trait HasArtifact:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static
{
    fn artifact(&self) -> Option<&Artifact>;
}

macro_rules! has_artifact {
    ($($kind:ty),*) => {
        $(impl HasArtifact for $kind {
            fn artifact(&self) -> Option<&Artifact> {
                self.status.as_ref()?.artifact.as_ref()
            }
        })*
    };
}

has_artifact!(GitRepository, OCIRepository, Bucket, HelmChart, ExternalArtifact);

/// Downloads are given up after so long.
const DOWNLOAD: Duration = Duration::from_secs(60);

/// The artifacts of all sources by alias; the error says which is missing.
pub(crate) fn artifacts(
    object: &ArtifactGenerator,
    git_repositories: &Watched<GitRepository>,
    watches: &Watches,
) -> Result<BTreeMap<String, Artifact>, String> {
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    let mut found = BTreeMap::new();
    for source in &object.spec.sources {
        let namespace = if source.namespace.is_empty() {
            own
        } else {
            &source.namespace
        };
        let (kind, name) = (source.kind.as_str(), source.name.as_str());
        let artifact = match kind {
            "GitRepository" => of(git_repositories, namespace, name),
            "OCIRepository" => of(&watches.oci_repositories, namespace, name),
            "Bucket" => watches
                .buckets
                .as_ref()
                .and_then(|buckets| of(buckets, namespace, name)),
            "HelmChart" => of(&watches.helm_charts, namespace, name),
            "ExternalArtifact" => of(&watches.external_artifacts, namespace, name),
            other => return Err(format!("source '{name}' kind '{other}' not supported")),
        };
        let artifact = artifact
            .ok_or_else(|| format!("source '{kind}/{namespace}/{name}' not found"))?
            .ok_or_else(|| format!("source '{kind}/{namespace}/{name}' is not ready"))?;
        found.insert(source.alias.clone(), artifact);
    }
    Ok(found)
}

fn of<K: HasArtifact>(watched: &Watched<K>, namespace: &str, name: &str) -> Option<Option<Artifact>> {
    watched.get(namespace, name).map(|source| source.artifact().cloned())
}

/// The files of all sources by alias.
pub(crate) async fn trees(artifacts: &BTreeMap<String, Artifact>, store: &Store) -> Result<Trees, String> {
    let mut trees = Trees::new();
    for (alias, artifact) in artifacts {
        let tree = tree(artifact, store)
            .await
            .map_err(|problem| format!("source with alias '{alias}': {problem}"))?;
        trees.insert(alias.clone(), tree);
    }
    Ok(trees)
}

async fn tree(artifact: &Artifact, store: &Store) -> Result<Arc<FileTree>, String> {
    let digest: Digest = artifact
        .digest
        .parse()
        .map_err(|error| format!("digest '{}': {}", artifact.digest, chain(&error)))?;
    match store.tree(&artifact.path, &digest).await {
        Ok(tree) => Ok(tree),
        // Another controller's, or another shard's.
        Err(nave_store::ReadError::Missing { .. } | nave_store::ReadError::Digest { .. }) => {
            download(artifact, &digest).await
        }
        Err(error) => Err(chain(&error)),
    }
}

async fn download(artifact: &Artifact, digest: &Digest) -> Result<Arc<FileTree>, String> {
    let url = &artifact.url;
    let failed = |problem: String| format!("downloading artifact {url}: {problem}");
    let client = nave_net::http_client(&TlsOptions::default(), None)
        .map_err(|error| failed(chain(&error)))?
        .gzip(false)
        .timeout(DOWNLOAD)
        .build()
        .map_err(|error| failed(chain(&error)))?;
    let mut response = client
        .get(url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| failed(chain(&error.without_url())))?;
    let limits = Limits::default();
    let mut data = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failed(chain(&error.without_url())))?
    {
        if (data.len() + chunk.len()) as u64 > limits.bytes {
            return Err(failed(format!("it is larger than {} MiB", limits.bytes >> 20)));
        }
        data.extend_from_slice(&chunk);
    }
    let digest = *digest;
    let unpacked = tokio::task::spawn_blocking(move || {
        let actual = digest.algorithm().digest(&data);
        if actual != digest {
            return Err(format!("it has digest {actual}, expected {digest}"));
        }
        unpack(data.as_slice(), &limits).map_err(|error| chain(&error))
    });
    match unpacked.await {
        Ok(Ok(tree)) => Ok(Arc::new(tree)),
        Ok(Err(problem)) => Err(failed(problem)),
        Err(error) => Err(failed(error.to_string())),
    }
}
