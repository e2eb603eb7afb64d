//! ExternalArtifact: telling Flux's consumers of content that came here by another way than a source controller's.
//!
//! An agent puts the files together that its hub sent, and publishes them; nothing else writes these objects.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Client, Resource};
use nave_artifact::{Digest, FileTree};
use nave_crds::{Artifact, ExternalArtifact, conditions::READY, managers, reasons};
use nave_runtime::{Conditions, Status, conditions::whole_seconds, status};
use nave_store::{Owner, PlaceError, PutError, Store, Verdict};

/// An artifact that could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Its name cannot be a path.
    #[error("naming the artifact of ExternalArtifact {namespace}/{name}")]
    Name {
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// Why not.
        #[source]
        source: PlaceError,
    },
    /// The object does not exist.
    #[error("ExternalArtifact {namespace}/{name} does not exist")]
    NotFound {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The files could not be stored.
    #[error("storing the artifact of ExternalArtifact {namespace}/{name}")]
    Store {
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// The store's error.
        #[source]
        source: PutError,
    },
    /// The object could not be read or written.
    #[error("{what} ExternalArtifact {namespace}/{name}")]
    Api {
        /// `reading` or `writing the status of`.
        what: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Stores `tree` as the artifact of an ExternalArtifact that exists, and says so in its status.
///
/// Publishing what is published already writes nothing. After it, consumers that watch the object are woken.
///
/// # Errors
/// The object does not exist, the disk fails, or the API server refuses.
pub async fn publish(
    client: &Client,
    store: &Store,
    namespace: &str,
    name: &str,
    tree: Arc<FileTree>,
    revision: &str,
    metadata: BTreeMap<String, String>,
) -> Result<Artifact, PublishError> {
    let named = || (namespace.to_owned(), name.to_owned());
    let api: Api<ExternalArtifact> = Api::namespaced(client.clone(), namespace);
    let failed = |what| {
        move |source: kube::Error| {
            let (namespace, name) = named();
            match source {
                kube::Error::Api(status) if status.code == 404 => PublishError::NotFound { namespace, name },
                source => PublishError::Api {
                    what,
                    namespace,
                    name,
                    source: Box::new(source),
                },
            }
        }
    };
    let object = api.get(name).await.map_err(failed("reading"))?;
    let owner = owner(namespace, name)?;
    let stored = store
        .put_tree(&owner, &file_name(revision), tree)
        .await
        .map_err(|source| {
            let (namespace, name) = named();
            PublishError::Store {
                namespace,
                name,
                source,
            }
        })?;

    let before = object.status.clone().unwrap_or_default();
    let now = whole_seconds(Timestamp::now());
    let mut artifact = Artifact {
        path: stored.path,
        url: stored.url,
        revision: revision.to_owned(),
        digest: stored.digest.to_string(),
        last_update_time: Time(now),
        size: i64::try_from(stored.size).ok(),
        metadata,
    };
    if let Some(known) = &before.artifact {
        let then = Artifact {
            last_update_time: known.last_update_time.clone(),
            ..artifact.clone()
        };
        if then == *known {
            artifact = then;
        }
    }
    let mut after = before.clone();
    after.artifact = Some(artifact.clone());
    let generation = object.meta().generation.unwrap_or_default();
    let message = format!("stored artifact for revision '{revision}'");
    after
        .conditions
        .set(READY, Status::True, reasons::SUCCEEDED, message, generation, now);
    status::patch(&api, name, managers::SOURCE, &before, &after)
        .await
        .map_err(failed("writing the status of"))?;

    let current = artifact.path.rsplit('/').next().unwrap_or_default();
    if let Err(error) = store.collect(&owner, current, std::time::SystemTime::now()).await {
        tracing::warn!(namespace, name, %error, "removing earlier artifacts of an ExternalArtifact");
    }
    Ok(artifact)
}

/// Whether the stored file of a published artifact is there and whole; a wiped volume calls for [`publish`] again.
pub async fn is_stored(store: &Store, artifact: &Artifact) -> bool {
    let Ok(digest) = artifact.digest.parse::<Digest>() else {
        return false;
    };
    matches!(store.verify(&artifact.path, &digest).await, Ok(Verdict::Intact))
}

/// Removes the stored artifacts of an ExternalArtifact that is gone. Nothing there is fine.
///
/// # Errors
/// The disk's.
pub async fn withdraw(store: &Store, namespace: &str, name: &str) -> std::io::Result<()> {
    match owner(namespace, name) {
        Ok(owner) => store.remove_all(&owner).await,
        // What cannot be named was never stored.
        Err(_) => Ok(()),
    }
}

fn owner(namespace: &str, name: &str) -> Result<Owner, PublishError> {
    Owner::new(&ExternalArtifact::kind(&()), namespace, name).map_err(|source| PublishError::Name {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source,
    })
}

/// One file per revision. Flux's source-watcher names its files by a 32-bit checksum of the revision, where two
/// revisions may meet; nobody reads anything into the name.
fn file_name(revision: &str) -> String {
    format!("{}.tar.gz", Digest::sha256(revision.as_bytes()).hex())
}
