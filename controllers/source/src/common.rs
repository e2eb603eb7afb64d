//! What every kind of source needs of its surroundings: the API server, the store, events, Secrets.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use kube::Api;
use nave_artifact::Digest;
use nave_crds::{
    Artifact,
    conditions::{FETCH_FAILED, STORAGE_OPERATION_FAILED},
    managers,
    meta::LocalRef,
    reasons::source as reasons,
};
use nave_net::{ProxyOptions, SecretData, TlsOptions};
use nave_runtime::{
    EventRecorder, Metrics, Severity, conditions::whole_seconds, schedule::Backoff, status as status_patch,
};
use nave_store::{Owner, PutError, Store, StoredArtifact, Verdict};

use crate::{
    draft::Draft,
    failure::{Failure, Retry, chain},
    reconciler::Work,
    run::{Options, Ports},
    source::{Source, SourceStatus},
};

/// For so long after a write the watch may not have brought it back yet, and the object is read afresh: building on an
/// old status would store and announce the same artifact again.
const ECHO: Duration = Duration::from_secs(5);

/// Why a reconcile ends early.
pub(crate) enum End {
    /// The object is gone.
    Gone,
    /// The API server did not take what was sent.
    Api(kube::Error),
}

impl From<kube::Error> for End {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 404 => End::Gone,
            other => End::Api(other),
        }
    }
}

/// A Secret that the spec names, with its content.
pub(crate) struct NamedSecret {
    /// `namespace/name`.
    pub name: String,
    pub data: SecretData,
}

/// What the reconciler of one kind works with.
pub(crate) struct Common<K: Source> {
    pub client: kube::Client,
    pub store: Arc<Store>,
    pub options: Options,
    pub backoff: Backoff<String>,
    events: EventRecorder,
    metrics: Metrics,
    written: Mutex<HashMap<String, Instant>>,
    kind: std::marker::PhantomData<fn() -> K>,
}

impl<K: Source> Common<K> {
    pub fn new(ports: &Ports, options: Options) -> Self {
        Common {
            client: ports.client.clone(),
            store: ports.store.clone(),
            backoff: Backoff::new(options.min_retry_delay, options.max_retry_delay),
            options,
            events: ports.events.clone(),
            metrics: ports.metrics.clone(),
            written: Mutex::default(),
            kind: std::marker::PhantomData,
        }
    }

    pub fn api(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub fn record(
        &self,
        object: &K,
        severity: Severity,
        reason: &str,
        message: &str,
        metadata: BTreeMap<String, String>,
    ) {
        self.events.record_about(object, severity, reason, message, metadata);
    }

    /// Writes the draft, if it differs from what was written last.
    pub async fn send(&self, work: &mut Work<K>) -> Result<(), End> {
        let api = self.api(&work.namespace);
        let sent = status_patch::patch(&api, &work.name, managers::SOURCE, &work.sent, &work.draft.status).await?;
        if sent {
            let mut written = self.lock_written();
            written.retain(|_, at| at.elapsed() < ECHO);
            written.insert(work.key(), Instant::now());
            drop(written);
            work.sent = work.draft.status.clone();
        }
        Ok(())
    }

    pub fn wrote_recently(&self, key: &str) -> bool {
        self.lock_written().get(key).is_some_and(|at| at.elapsed() < ECHO)
    }

    pub fn forget(&self, key: &str) {
        self.backoff.succeeded(&key.to_owned());
        self.lock_written().remove(key);
        if let Some((namespace, name)) = key.split_once('/') {
            self.metrics.forget(&K::kind(&()), namespace, name);
        }
    }

    fn lock_written(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the file of the artifact that the status names. Gone or damaged, it is as if there were none.
    pub async fn check_stored(&self, object: &K, work: &mut Work<K>) -> Result<(), Failure> {
        let Some(artifact) = work.draft.status.artifact().cloned() else {
            work.draft.artifact_lost();
            work.draft.progressing(true, "building artifact");
            return Ok(());
        };
        let failed = |error: nave_store::VerifyError| {
            let message = chain(&error);
            Failure::new(
                Retry::Backoff,
                STORAGE_OPERATION_FAILED,
                reasons::STAT_OPERATION_FAILED,
                message,
            )
        };
        // One written by another controller with an algorithm that is unknown here is made anew.
        let verdict = match artifact.digest.parse::<Digest>() {
            Ok(digest) => match self.store.verify(&artifact.path, &digest).await {
                Err(nave_store::VerifyError::Place(_)) => Verdict::Missing,
                other => other.map_err(failed)?,
            },
            Err(_) => Verdict::Missing,
        };
        match verdict {
            Verdict::Intact => {
                let url = self.store.url(&artifact.path);
                work.draft.stored(Artifact { url, ..artifact });
            }
            Verdict::Missing => {
                work.draft.artifact_lost();
                work.draft.progressing(true, "building artifact");
            }
            Verdict::Mismatch { actual } => {
                self.store.remove(&artifact.path).await.map_err(failed)?;
                let message = format!(
                    "artifact '{}' has digest {actual}, expected {}; it is removed and built again",
                    artifact.path, artifact.digest
                );
                let reason = reasons::ARTIFACT_VERIFICATION_FAILED;
                self.record(object, Severity::Error, reason, &message, BTreeMap::new());
                work.draft.artifact_lost();
                work.draft
                    .progressing(true, "building artifact: disappeared from storage");
            }
        }
        Ok(())
    }

    /// The content of a Secret that the object names.
    pub async fn secret(
        &self,
        namespace: &str,
        field: &str,
        reference: Option<&LocalRef>,
    ) -> Result<Option<NamedSecret>, Failure> {
        let Some(reference) = reference else { return Ok(None) };
        let name = format!("{namespace}/{}", reference.name);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = api
            .get_opt(&reference.name)
            .await
            .map_err(|error| refused(format!("spec.{field}: reading secret '{name}': {}", chain(&error))))?
            .ok_or_else(|| refused(format!("spec.{field}: secret '{name}' not found")))?;
        let data = secret.data.unwrap_or_default();
        let data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
        Ok(Some(NamedSecret { name, data }))
    }

    /// What a Secret in `certSecretRef` says of TLS.
    pub async fn certificates(&self, namespace: &str, reference: Option<&LocalRef>) -> Result<TlsOptions, Failure> {
        let Some(NamedSecret { name, data }) = self.secret(namespace, "certSecretRef", reference).await? else {
            return Ok(TlsOptions::default());
        };
        let options = TlsOptions::from_certificate_secret(&data)
            .and_then(|options| options.client_config().map(|_| options))
            .map_err(|error| refused(format!("spec.certSecretRef: secret '{name}': {}", chain(&error))))?;
        Ok(options)
    }

    /// What a Secret in `proxySecretRef` says.
    pub async fn proxy(&self, namespace: &str, reference: Option<&LocalRef>) -> Result<Option<ProxyOptions>, Failure> {
        let Some(NamedSecret { name, data }) = self.secret(namespace, "proxySecretRef", reference).await? else {
            return Ok(None);
        };
        ProxyOptions::from_secret(&data)
            .map(Some)
            .map_err(|error| refused(format!("spec.proxySecretRef: secret '{name}': {}", chain(&error))))
    }

    /// Sets the link to the latest artifact, and says under which address it is served.
    pub async fn link(&self, object: &K, owner: &Owner, name: &str, file: &str) -> String {
        match self.store.link(owner, name, file).await {
            Ok(url) => url,
            Err(error) => {
                // As in Flux: readers of the artifact itself do not need it.
                let message = format!("failed to update status URL symlink: {}", chain(&error));
                let reason = reasons::SYMLINK_UPDATE_FAILED;
                self.record(object, Severity::Trace, reason, &message, BTreeMap::new());
                String::new()
            }
        }
    }

    /// Removes artifacts that retention no longer allows. What cannot be removed now is tried again next time.
    pub async fn collect(&self, object: &K, owner: &Owner, draft: &Draft<K::Status>) {
        let Some(artifact) = draft.status.artifact() else {
            return;
        };
        let Some(current) = artifact.path.rsplit('/').next() else {
            return;
        };
        let none = BTreeMap::new();
        match self.store.collect(owner, current, SystemTime::now()).await {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => {
                let message = format!("garbage collected {} artifacts", removed.len());
                let reason = reasons::GARBAGE_COLLECTION_SUCCEEDED;
                self.record(object, Severity::Trace, reason, &message, none);
            }
            Err(error) => {
                let message = format!("garbage collection of artifacts failed: {error}");
                let reason = reasons::GARBAGE_COLLECTION_FAILED;
                self.record(object, Severity::Error, reason, &message, none);
            }
        }
    }
}

/// A failure of credentials or certificates.
pub(crate) fn refused(message: String) -> Failure {
    Failure::new(Retry::Backoff, FETCH_FAILED, reasons::AUTHENTICATION_FAILED, message)
}

/// A failure of the store.
pub(crate) fn not_stored(error: &PutError) -> Failure {
    Failure::new(
        Retry::Backoff,
        STORAGE_OPERATION_FAILED,
        reasons::ARCHIVE_OPERATION_FAILED,
        chain(error),
    )
}

/// What the status says of a file that was stored just now.
pub(crate) fn artifact(stored: StoredArtifact, revision: String, metadata: BTreeMap<String, String>) -> Artifact {
    Artifact {
        path: stored.path,
        url: stored.url,
        revision,
        digest: stored.digest.to_string(),
        last_update_time: Time(whole_seconds(Timestamp::now())),
        size: i64::try_from(stored.size).ok(),
        metadata,
    }
}
