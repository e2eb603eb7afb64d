//! Doing what the plan says: list, download, store.

use std::{collections::BTreeMap, fs::File, io, path::PathBuf};

use kube::ResourceExt as _;
use nave_artifact::{IGNORE_FILE, Limits, Tarball};
use nave_bucket::{Access, CloudAsk, Fetched, Keys, Listing, Remote, Storage};
use nave_crds::{
    Bucket,
    conditions::STORAGE_OPERATION_FAILED,
    reasons::source as reasons,
    source::{BucketProvider, BucketSpec},
};
use nave_net::{
    TlsOptions,
    cloud::{Identity, Provider},
};
use nave_runtime::Severity;
use nave_store::{Owner, StoredArtifact};

use super::{
    BucketSteps,
    plan::{self, Plan},
};
use crate::{
    cloud_login::Whose,
    common::{Common, NamedSecret, artifact, not_stored, refused},
    failure::{Failure, Retry, chain},
    reconciler::{Done, Told, Work},
};

const LATEST: &str = "latest.tar.gz";

impl BucketSteps {
    /// From the object to an artifact. The draft is left as far as it got.
    pub(super) async fn reconcile(
        &self,
        common: &Common<Bucket>,
        object: &Bucket,
        work: &mut Work<Bucket>,
    ) -> Result<Done, Failure> {
        common.check_stored(object, work).await?;
        if work.draft.status.artifact.is_none() {
            work.draft.status.url.clear();
        }
        let spec = &object.spec;
        let planned = plan::plan(spec)?;
        let access = access(common, &work.namespace, object, &planned).await?;
        let failed = |error| plan::failure(&error);
        let remote = self.buckets.open(&work.key(), access).map_err(failed)?;
        let limits = Limits::default();
        let listing = remote.list(&spec.prefix, spec.ignore.as_deref(), &limits, planned.timeout);
        let listing = common.with_progress(object, work, listing).await.map_err(failed)?;
        if !listing.invalid.is_empty() {
            let message = format!("ignore patterns that cannot be read: {}", listing.invalid.join(", "));
            let reason = reasons::SOURCE_IGNORE_ERROR;
            common.record(object, Severity::Trace, reason, &message, BTreeMap::new());
        }
        if is_current(work, &listing.index.revision().to_string()) {
            return Ok(up_to_date(common, object, work).await);
        }
        let message = format!("new upstream revision '{}'", listing.index.revision());
        work.draft.outdated(reasons::NEW_REVISION, &message);
        let owner = work.owner.clone();
        let fetching = fetch(common, &owner, &remote, &listing, &limits, &planned);
        let (stored, fetched) = common.with_progress(object, work, fetching).await?;
        if !fetched.vanished.is_empty() {
            let count = fetched.vanished.len();
            tracing::info!(
                object = work.key(),
                count,
                "objects that were listed vanished from the bucket"
            );
        }
        let revision = fetched.index.revision().to_string();
        work.draft.stored(artifact(stored, revision, BTreeMap::new()));
        work.draft.status.observed_ignore.clone_from(&spec.ignore);
        relink(common, object, work).await;
        Ok(Done::Stored(Told {
            reason: reasons::NEW_ARTIFACT,
            message: format!(
                "stored artifact with {} fetched files from '{}' bucket",
                fetched.index.len(),
                spec.bucket_name
            ),
        }))
    }
}

fn is_current(work: &Work<Bucket>, revision: &str) -> bool {
    let artifact = work.draft.status.artifact.as_ref();
    artifact.is_some_and(|artifact| artifact.revision == revision)
}

async fn up_to_date(common: &Common<Bucket>, object: &Bucket, work: &mut Work<Bucket>) -> Done {
    if work.is_asked {
        let revision = work.draft.status.artifact.as_ref().map_or("", |a| a.revision.as_str());
        let message = format!("artifact up-to-date with remote revision: '{revision}'");
        let reason = reasons::ARTIFACT_UP_TO_DATE;
        common.record(object, Severity::Trace, reason, &message, BTreeMap::new());
    }
    relink(common, object, work).await;
    Done::UpToDate
}

async fn relink(common: &Common<Bucket>, object: &Bucket, work: &mut Work<Bucket>) {
    let artifact = work.draft.status.artifact.as_ref();
    let path = artifact.map(|artifact| artifact.path.clone());
    if let Some(file) = path.as_deref().and_then(|path| path.rsplit('/').next()) {
        work.draft.status.url = common.link(object, &work.owner, LATEST, file).await;
    }
}

/// The way in, from the spec and the Secrets that it names.
async fn access(common: &Common<Bucket>, namespace: &str, object: &Bucket, planned: &Plan) -> Result<Access, Failure> {
    let spec = &object.spec;
    let proxy = common.proxy(namespace, spec.proxy_secret_ref.as_ref()).await?;
    let tls = common.certificates(namespace, spec.cert_secret_ref.as_ref()).await?;
    let named = common.secret(namespace, "secretRef", spec.secret_ref.as_ref()).await?;
    let from_secret = match named {
        Some(NamedSecret { name, data }) => Keys::from_secret(planned.storage, &data)
            .map_err(|problem| refused(format!("spec.secretRef: invalid '{name}' secret data: {problem}")))?,
        None => None,
    };
    let keys = match (from_secret, planned.provider) {
        (Some(keys), _) => keys,
        (None, BucketProvider::Generic) if spec.sts.is_some() => ldap(common, namespace, spec).await?,
        (None, BucketProvider::Generic) => Keys::Anonymous,
        (None, provider) => Keys::Cloud(CloudAsk {
            provider: provider.as_str(),
            namespace: namespace.to_owned(),
            name: object.name_any(),
            service_account: account(common, namespace, spec)?,
            region: spec.region.clone(),
            sts_endpoint: spec.sts.as_ref().map(|sts| sts.endpoint.clone()),
            proxy: proxy.clone(),
        }),
    };
    // As in Flux, certificates count only where TLS is spoken.
    let tls = match planned.storage {
        Storage::S3 if spec.insecure => TlsOptions::default(),
        _ => tls,
    };
    Ok(Access {
        storage: planned.storage,
        endpoint: spec.endpoint.clone(),
        bucket: spec.bucket_name.clone(),
        region: spec.region.clone(),
        insecure: spec.insecure,
        tls,
        proxy,
        keys,
    })
}

/// The account whose identity counts; empty for that of the process.
fn account(common: &Common<Bucket>, namespace: &str, spec: &BucketSpec) -> Result<String, Failure> {
    let provider = match spec.provider.unwrap_or_default() {
        BucketProvider::Aws => Provider::Aws,
        BucketProvider::Azure => Provider::Azure,
        BucketProvider::Gcp => Provider::Gcp,
        BucketProvider::Generic => return Ok(String::new()),
    };
    let whose = Whose::Account(&spec.service_account_name);
    Ok(
        match common.cloud_identity("spec.provider", provider, namespace, &whose)? {
            Identity::Process => String::new(),
            Identity::Account { name, .. } => name,
        },
    )
}

async fn ldap(common: &Common<Bucket>, namespace: &str, spec: &BucketSpec) -> Result<Keys, Failure> {
    let Some(sts) = &spec.sts else {
        return Ok(Keys::Anonymous);
    };
    let named = common
        .secret(namespace, "sts.secretRef", sts.secret_ref.as_ref())
        .await?;
    let user = match named {
        Some(NamedSecret { name, data }) => Some(
            Keys::ldap_user(&data)
                .map_err(|problem| refused(format!("spec.sts.secretRef: secret '{name}': {problem}")))?,
        ),
        None => None,
    };
    let tls = match common
        .secret(namespace, "sts.certSecretRef", sts.cert_secret_ref.as_ref())
        .await?
    {
        Some(NamedSecret { name, data }) => TlsOptions::from_certificate_secret(&data)
            .and_then(|options| options.client_config().map(|_| options))
            .map_err(|error| refused(format!("spec.sts.certSecretRef: secret '{name}': {}", chain(&error))))?,
        None => TlsOptions::default(),
    };
    Ok(Keys::Ldap {
        endpoint: sts.endpoint.clone(),
        user,
        tls,
    })
}

/// Where the content of one file of the archive is.
enum Content {
    OnDisk(PathBuf, u64),
    InMemory(Vec<u8>),
}

/// From a listing to a file in the store. The objects go through files, so that a bucket need not fit into memory.
async fn fetch(
    common: &Common<Bucket>,
    owner: &Owner,
    remote: &Remote,
    listing: &Listing,
    limits: &Limits,
    planned: &Plan,
) -> Result<(StoredArtifact, Fetched), Failure> {
    let scratch = common.store.scratch_directory().await.map_err(|error| {
        let message = format!("making a directory for the objects: {error}");
        Failure::new(
            Retry::Backoff,
            STORAGE_OPERATION_FAILED,
            reasons::DIRECTORY_CREATION_FAILED,
            message,
        )
    })?;
    let fetched = remote
        .download(listing, scratch.path(), limits, planned.timeout)
        .await
        .map_err(|error| plan::failure(&error))?;
    let mut content: BTreeMap<String, Content> = fetched
        .files
        .iter()
        .map(|(path, file)| (path.clone(), Content::OnDisk(file.file.clone(), file.size)))
        .collect();
    if let Some(text) = &listing.ignore_file {
        content.insert(IGNORE_FILE.to_owned(), Content::InMemory(text.clone()));
    }
    let name = format!("{}.tar.gz", fetched.index.revision().hex());
    let stored = common
        .store
        .put_with(owner, &name, move |out| {
            // The directory goes when everything is packed.
            let scratch = scratch;
            let mut tarball = Tarball::new(out)?;
            for (path, content) in content {
                match content {
                    Content::OnDisk(file, size) => tarball.file(&path, false, size, File::open(file)?)?,
                    Content::InMemory(text) => tarball.file(&path, false, text.len() as u64, text.as_slice())?,
                }
            }
            tarball.finish()?;
            scratch.close().or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
        })
        .await
        .map_err(|error| not_stored(&error))?;
    Ok((stored, fetched))
}
