//! Doing what the plan says: resolve, pull, unpack, store.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Seek, SeekFrom},
    sync::Arc,
};

use nave_artifact::{FileTree, IGNORE_FILE, Ignore, Limits, unpack};
use nave_crds::{
    OCIRepository,
    conditions::{FETCH_FAILED, STORAGE_OPERATION_FAILED},
    reasons::{SUCCEEDED, source as reasons},
    source::{OciLayerOperation, OciProvider},
};
use nave_oci::{OciError, Pulled, Remote};
use nave_runtime::Severity;
use nave_store::{Owner, StoredArtifact};

use super::{
    OciRepositorySteps,
    plan::{self, Plan, Wanted},
    status::{is_made_of, made_of},
};
use crate::{
    cloud_login::Whose,
    common::{Common, artifact, not_stored},
    failure::{Failure, Retry, chain},
    oci_access::Ways,
    reconciler::{Done, Told, Work},
};

/// What is pulled, and the name under which the status has it.
struct Found {
    digest: nave_artifact::Digest,
    revision: String,
}

impl OciRepositorySteps {
    /// From the object to an artifact. The draft is left as far as it got.
    pub(super) async fn reconcile(
        &self,
        common: &Common<OCIRepository>,
        object: &OCIRepository,
        work: &mut Work<OCIRepository>,
    ) -> Result<Done, Failure> {
        common.check_stored(object, work).await?;
        let spec = &object.spec;
        let planned = plan::plan(spec)?;
        let remote = self.remote(common, &work.namespace, object, &planned).await?;
        let resolving = find(&remote, &planned, &spec.url);
        let found = common.with_progress(object, work, resolving).await?;
        let status = &work.draft.status;
        let is_current = status
            .artifact
            .as_ref()
            .is_some_and(|artifact| artifact.revision == found.revision);
        let is_made = is_current && is_made_of(status, spec);
        match &spec.verification {
            None => {}
            // As in Flux: once for a revision and a spec.
            Some(_) if is_current && work.draft.was_verified() => work.draft.still_verified(),
            Some(verification) => {
                if !is_current {
                    work.draft.outdated(
                        reasons::NEW_REVISION,
                        &format!("new revision '{}' for '{}'", found.revision, spec.url),
                    );
                }
                let namespace = work.namespace.clone();
                let verifying = common.verify(&namespace, verification.into(), &remote, &found.digest, planned.timeout);
                if let Some(signer) = common.with_progress(object, work, verifying).await? {
                    let message = format!("verified signature of revision {}", found.revision);
                    work.draft.verified(&message);
                    let told = format!("{message}, made by {signer}");
                    common.record(object, Severity::Trace, SUCCEEDED, &told, BTreeMap::new());
                }
            }
        }
        if is_made {
            if work.is_asked {
                let message = format!("artifact up-to-date with remote revision: '{}'", found.revision);
                let reason = reasons::ARTIFACT_UP_TO_DATE;
                common.record(object, Severity::Trace, reason, &message, BTreeMap::new());
            }
            self.relink(common, object, work).await;
            return Ok(Done::UpToDate);
        }
        if is_current {
            work.draft
                .progressing(true, "building artifact: the selection of content has changed");
        } else {
            let message = format!("new revision '{}' for '{}'", found.revision, spec.url);
            work.draft.outdated(reasons::NEW_REVISION, &message);
        }
        let owner = work.owner.clone();
        let pulling = pull(common, object, &owner, &remote, &found, &planned);
        let (stored, pulled) = common.with_progress(object, work, pulling).await?;
        let annotations = pulled.manifest.annotations;
        let message = told(&found.revision, &spec.url, &annotations);
        work.draft.stored(artifact(stored, found.revision, annotations));
        made_of(&mut work.draft.status, spec);
        self.relink(common, object, work).await;
        Ok(Done::Stored(Told {
            reason: reasons::NEW_ARTIFACT,
            message,
        }))
    }

    async fn relink(&self, common: &Common<OCIRepository>, object: &OCIRepository, work: &mut Work<OCIRepository>) {
        let path = work
            .draft
            .status
            .artifact
            .as_ref()
            .map(|artifact| artifact.path.clone());
        if let Some(file) = path.as_deref().and_then(|path| path.rsplit('/').next()) {
            work.draft.status.url = common.link(object, &work.owner, LATEST, file).await;
        }
    }

    async fn remote(
        &self,
        common: &Common<OCIRepository>,
        namespace: &str,
        object: &OCIRepository,
        planned: &Plan,
    ) -> Result<Remote, Failure> {
        let spec = &object.spec;
        let ways = Ways {
            secret: spec.secret_ref.as_ref(),
            service_account: &spec.service_account_name,
            certificates: spec.cert_secret_ref.as_ref(),
            proxy: spec.proxy_secret_ref.as_ref(),
            insecure: spec.insecure,
            takes_basic: false,
        };
        let mut found = common.registry_access(namespace, &planned.repository, ways).await?;
        // As in Flux, the cloud is asked only where no Secret is named.
        let provider = spec.provider.unwrap_or_default();
        if provider != OciProvider::Generic && !found.names_credentials {
            let (host, whose) = (
                planned.repository.registry(),
                Whose::Account(&spec.service_account_name),
            );
            let login = common.cloud_login("spec.provider", object, provider, whose, host);
            found.access.credentials = login.await?;
        }
        self.registries
            .open(&planned.repository, found.access)
            .map_err(|error| pull_failure(format!("'{}'", spec.url), &error))
    }
}

const LATEST: &str = "latest.tar.gz";

/// The manifest that the spec asks for.
async fn find(remote: &Remote, planned: &Plan, url: &str) -> Result<Found, Failure> {
    let tag = match &planned.wanted {
        Wanted::Digest(digest) => {
            return Ok(Found {
                digest: *digest,
                revision: digest.to_string(),
            });
        }
        Wanted::Tag(tag) => tag.clone(),
        Wanted::Version(choice) => {
            let failed = |message: String| {
                let message = format!("failed to determine the artifact tag for '{url}': {message}");
                Failure::new(Retry::Backoff, FETCH_FAILED, reasons::READ_OPERATION_FAILED, message)
            };
            let tags = remote
                .tags(planned.timeout)
                .await
                .map_err(|error| failed(chain(&error)))?;
            choice.choose(&tags).map_err(failed)?
        }
    };
    let resolved = remote
        .resolve(&tag, planned.timeout)
        .await
        .map_err(|error| pull_failure("failed to determine artifact digest".to_owned(), &error))?;
    Ok(Found {
        revision: format!("{tag}@{}", resolved.digest),
        digest: resolved.digest,
    })
}

/// From a digest to a file in the store. The layer goes through a file, whatever its size.
async fn pull(
    common: &Common<OCIRepository>,
    object: &OCIRepository,
    owner: &Owner,
    remote: &Remote,
    found: &Found,
    planned: &Plan,
) -> Result<(StoredArtifact, Pulled), Failure> {
    let spec = &object.spec;
    let failed = |error: OciError| pull_failure(format!("failed to pull artifact from '{}'", spec.url), &error);
    let pulled = remote.manifest(&found.digest, planned.timeout).await.map_err(failed)?;
    let (layer, operation) = plan::layer(&pulled.manifest, spec.layer_selector.as_ref()).map_err(layer_failure)?;
    let scratch = common.store.scratch().await.map_err(|error| {
        let message = format!("making a file for the layer: {error}");
        Failure::new(
            Retry::Backoff,
            STORAGE_OPERATION_FAILED,
            reasons::DIRECTORY_CREATION_FAILED,
            message,
        )
    })?;
    let mut file = tokio::fs::File::from_std(scratch);
    remote
        .download(layer, &mut file, planned.timeout)
        .await
        .map_err(failed)?;
    let file = file.into_std().await;
    let name = format!("{}.tar.gz", found.digest);
    let stored = match operation {
        OciLayerOperation::Copy => {
            let file = rewound(file).map_err(|error| layer_failure(format!("reading the layer: {error}")))?;
            common.store.put_reader(owner, &name, file).await
        }
        OciLayerOperation::Extract => {
            let ignore = spec.ignore.clone();
            let (tree, invalid) = tokio::task::spawn_blocking(move || extract(file, ignore.as_deref()))
                .await
                .map_err(|error| layer_failure(format!("unpacking the layer: {error}")))?
                .map_err(|message| {
                    layer_failure(format!("failed to extract layer contents from artifact: {message}"))
                })?;
            if !invalid.is_empty() {
                let message = format!("ignore patterns that cannot be read: {}", invalid.join(", "));
                let reason = reasons::SOURCE_IGNORE_ERROR;
                common.record(object, Severity::Trace, reason, &message, BTreeMap::new());
            }
            common.store.put_tree(owner, &name, Arc::new(tree)).await
        }
    };
    Ok((stored.map_err(|error| not_stored(&error))?, pulled))
}

fn rewound(mut file: File) -> std::io::Result<File> {
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// The files of a layer without what is ignored, and patterns that could not be read.
fn extract(file: File, ignore: Option<&str>) -> Result<(FileTree, Vec<String>), String> {
    let file = rewound(file).map_err(|error| error.to_string())?;
    let mut tree = unpack(std::io::BufReader::new(file), &Limits::default()).map_err(|error| chain(&error))?;
    let rules: Vec<(String, Arc<[u8]>)> = tree
        .iter()
        .filter(|(path, _)| path.rsplit('/').next() == Some(IGNORE_FILE))
        .map(|(path, file)| (path.to_owned(), file.data.clone()))
        .collect();
    let ignore = Ignore::new(rules.iter().map(|(path, text)| (path.as_str(), &**text)), ignore);
    let excluded: Vec<String> = tree
        .iter()
        .filter(|(path, _)| ignore.excludes(path))
        .map(|(path, _)| path.to_owned())
        .collect();
    for path in &excluded {
        tree.remove(path);
    }
    Ok((tree, ignore.invalid().to_vec()))
}

fn told(revision: &str, url: &str, annotations: &BTreeMap<String, String>) -> String {
    let mut message = format!("stored artifact with revision '{revision}' from '{url}'");
    for (name, key) in [
        ("source", "org.opencontainers.image.source"),
        ("revision", "org.opencontainers.image.revision"),
    ] {
        if let Some(value) = annotations.get(key) {
            message.push_str(&format!(", origin {name} '{value}'"));
        }
    }
    message
}

fn pull_failure(what: String, error: &OciError) -> Failure {
    let message = format!("{what}: {}", chain(error));
    Failure::new(Retry::Backoff, FETCH_FAILED, reasons::OCI_PULL_FAILED, message)
}

fn layer_failure(message: String) -> Failure {
    Failure::new(
        Retry::Backoff,
        FETCH_FAILED,
        reasons::OCI_LAYER_OPERATION_FAILED,
        message,
    )
}
