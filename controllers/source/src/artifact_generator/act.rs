//! Doing what the plan says: read sources, compose, store, publish, clean up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Client, Resource, ResourceExt};
use nave_artifact::{Digest, Limits};
use nave_crds::{
    Artifact, ArtifactGenerator, ExternalArtifact, GitRepository, annotations,
    conditions::READY,
    extensions::{ArtifactGeneratorStatus, GeneratedArtifact},
    finalizers, managers,
    reasons::generator as reasons,
};
use nave_runtime::{
    EventRecorder, Metrics, Next, Reconciler, Severity, Watched, finalizer,
    schedule::{Backoff, jittered},
    status as status_patch,
};
use nave_store::{Owner, Store, Verdict};

use super::{
    compose::{self, Trees},
    observe, output,
    pattern::{self, Request},
    plan,
    status::Draft,
};
use crate::{
    common::End,
    failure::chain,
    run::{Options, Ports, Watches},
};

/// Without a field for it, Flux looks again every hour.
const INTERVAL: Duration = Duration::from_secs(3600);
/// When to look again at sources that are not ready, if nothing wakes us before; Flux's source-watcher has five seconds.
const SOURCES: Duration = Duration::from_secs(5);

/// Reconciles ArtifactGenerators.
pub(crate) struct Generators {
    client: Client,
    store: Arc<Store>,
    git_repositories: Watched<GitRepository>,
    watches: Watches,
    options: Options,
    backoff: Backoff<String>,
    events: EventRecorder,
    metrics: Metrics,
}

/// Why a reconcile did not get to its end.
enum Failed {
    /// Sources are missing or cannot be read: they are waited for.
    Sources(String),
    /// Only another spec helps.
    Terminal(&'static str, String),
    /// It is tried again, later each time.
    Again(&'static str, String),
    /// The API server did not take the status, or the object is gone.
    End(End),
}

impl From<End> for Failed {
    fn from(end: End) -> Self {
        Failed::End(end)
    }
}

/// What one reconcile works on.
struct Work {
    api: Api<ArtifactGenerator>,
    name: String,
    draft: Draft,
    sent: ArtifactGeneratorStatus,
}

impl Work {
    async fn send(&mut self) -> Result<(), End> {
        if status_patch::patch(&self.api, &self.name, managers::WATCHER, &self.sent, &self.draft.status).await? {
            self.sent = self.draft.status.clone();
        }
        Ok(())
    }
}

impl Reconciler<ArtifactGenerator> for Generators {
    async fn reconcile(&self, object: Arc<ArtifactGenerator>) -> Next {
        let key = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
        match Box::pin(self.handle(object, &key)).await {
            Ok(next) => next,
            Err(End::Gone) => {
                self.forget(&key);
                Next::Await
            }
            Err(End::Api(error)) => {
                let conflict = matches!(&error, kube::Error::Api(status) if status.code == 409);
                if !conflict {
                    tracing::error!(object = key, error = chain(&error), "writing an ArtifactGenerator");
                }
                Next::Retry(self.backoff.failed(key))
            }
        }
    }
}

impl Generators {
    pub fn new(ports: &Ports, options: &Options, watches: &Watches) -> Self {
        Generators {
            client: ports.client.clone(),
            store: ports.store.clone(),
            git_repositories: ports.watched.clone(),
            watches: watches.clone(),
            options: options.clone(),
            backoff: Backoff::new(options.min_retry_delay, options.max_retry_delay),
            events: ports.events.clone(),
            metrics: ports.metrics.clone(),
        }
    }

    fn forget(&self, key: &str) {
        self.backoff.succeeded(&key.to_owned());
        if let Some((namespace, name)) = key.split_once('/') {
            self.metrics.forget(&ArtifactGenerator::kind(&()), namespace, name);
        }
    }

    fn record(&self, object: &ArtifactGenerator, severity: Severity, reason: &str, message: &str) {
        self.events
            .record_about(object, severity, reason, message, BTreeMap::new());
    }

    async fn handle(&self, object: Arc<ArtifactGenerator>, key: &str) -> Result<Next, End> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<ArtifactGenerator> = Api::namespaced(self.client.clone(), &namespace);
        // The watch may not have brought back yet what was written last; building on that would build twice.
        let object = api.get(&name).await?;
        if object.meta().deletion_timestamp.is_some() {
            return self.delete(&api, &object, key).await;
        }
        finalizer::add(&api, &object, finalizers::GENERATOR, managers::WATCHER).await?;
        let sent = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let mut work = Work {
            api,
            name,
            draft: Draft::new(sent.clone(), generation, Timestamp::now()),
            sent,
        };
        let requested = object.annotations().get(annotations::REQUESTED_AT).cloned();
        let before = work.sent.clone();
        let next = if is_disabled(&object) {
            let message = "Reconciliation is disabled";
            self.record(&object, Severity::Trace, reasons::RECONCILIATION_DISABLED, message);
            work.draft.suspended();
            Next::Await
        } else {
            let done = self.generate(&object, &mut work).await;
            self.settle(&object, &mut work, &before, done, key)?
        };
        work.draft.handled(requested.as_deref());
        work.send().await?;
        Ok(next)
    }

    /// Says what a reconcile came to, and when to look again.
    fn settle(
        &self,
        object: &ArtifactGenerator,
        work: &mut Work,
        before: &ArtifactGeneratorStatus,
        done: Result<(), Failed>,
        key: &str,
    ) -> Result<Next, End> {
        let (reason, message, next) = match done {
            Ok(()) => {
                self.backoff.succeeded(&key.to_owned());
                self.tell(object, before, &work.draft.status.inventory);
                return Ok(Next::After(jittered(INTERVAL, self.options.interval_jitter)));
            }
            Err(Failed::End(end)) => return Err(end),
            Err(Failed::Terminal(reason, message)) => {
                work.draft.stalled(reason, &message);
                (reason, message, Next::Await)
            }
            Err(Failed::Sources(message)) => {
                let reason = reasons::SOURCE_FETCH_FAILED;
                work.draft.failed(reason, &message);
                let delay = self.options.requeue_dependency.min(SOURCES);
                (
                    reason,
                    message,
                    Next::After(jittered(delay, self.options.interval_jitter)),
                )
            }
            Err(Failed::Again(reason, message)) => {
                work.draft.failed(reason, &message);
                (reason, message, Next::Retry(self.backoff.failed(key.to_owned())))
            }
        };
        self.record(object, Severity::Error, reason, &message);
        Ok(next)
    }

    async fn generate(&self, object: &ArtifactGenerator, work: &mut Work) -> Result<(), Failed> {
        let namespace = object.namespace().unwrap_or_default();
        plan::check(&object.spec, &namespace, self.options.no_cross_namespace_refs)
            .map_err(|(reason, message)| Failed::Terminal(reason, message))?;
        let artifacts = observe::artifacts(object, &self.git_repositories, &self.watches)
            .map_err(|problem| Failed::Sources(format!("get sources failed: {problem}")))?;
        let digest = plan::sources_digest(&artifacts);
        let Some(why) = self.drift(object, &work.draft.status, &digest).await else {
            let count = work.draft.status.inventory.len();
            let message = format!("No drift detected, {count} artifact(s) up to date");
            self.record(object, Severity::Trace, READY, &message);
            work.draft.settled();
            return Ok(());
        };
        tracing::debug!(object = work.name, why, "generating artifacts");
        work.draft.progressing();
        work.send().await?;
        let trees = observe::trees(&artifacts, &self.store)
            .await
            .map_err(|problem| Failed::Sources(format!("fetch sources failed: {problem}")))?;
        let requests = pattern::requests(&object.spec, &trees).map_err(|problem| {
            Failed::Terminal(
                reasons::BUILD_FAILED,
                format!("failed to expand path pattern: {problem}"),
            )
        })?;
        let mut inventory = Vec::with_capacity(requests.len());
        for request in requests {
            inventory.push(self.make(object, &request, &trees, &artifacts).await?);
        }
        self.remove_orphans(object, &work.draft.status.inventory, &inventory)
            .await
            .map_err(|problem| Failed::Again(reasons::RECONCILIATION_FAILED, problem))?;
        for made in &inventory {
            self.collect(made).await;
        }
        let message = format!("reconciliation succeeded, generated {} artifact(s)", inventory.len());
        self.record(object, Severity::Trace, READY, &message);
        work.draft.succeeded(inventory, digest, &message);
        Ok(())
    }

    /// Why everything has to be built, the store and the cluster included.
    async fn drift(
        &self,
        object: &ArtifactGenerator,
        status: &ArtifactGeneratorStatus,
        digest: &str,
    ) -> Option<&'static str> {
        if let Some(why) = plan::drift(object, status, digest) {
            return Some(why);
        }
        for made in &status.inventory {
            let path = Owner::new(&ExternalArtifact::kind(&()), &made.namespace, &made.name)
                .and_then(|owner| owner.file(&made.filename));
            let (Ok(path), Ok(digest)) = (path, made.digest.parse::<Digest>()) else {
                return Some("an artifact cannot be named");
            };
            match self.store.verify(&path, &digest).await {
                Ok(Verdict::Intact) => {}
                Ok(Verdict::Missing) => return Some("an artifact is missing in the store"),
                Ok(Verdict::Mismatch { .. }) => {
                    if let Err(error) = self.store.remove(&path).await {
                        tracing::warn!(path, error = chain(&error), "removing a damaged artifact");
                    }
                    return Some("an artifact is damaged");
                }
                Err(error) => {
                    tracing::warn!(path, error = chain(&error), "looking at an artifact");
                    return Some("an artifact cannot be read");
                }
            }
        }
        match output::ours(&self.client, object).await {
            Ok(found) if output::are_there(&found, &status.inventory) => None,
            Ok(_) => Some("ExternalArtifacts were changed"),
            Err(_) => Some("ExternalArtifacts cannot be listed"),
        }
    }

    /// One artifact, from files to an object that tells of them.
    async fn make(
        &self,
        object: &ArtifactGenerator,
        request: &Request,
        trees: &Trees,
        sources: &BTreeMap<String, Artifact>,
    ) -> Result<GeneratedArtifact, Failed> {
        let namespace = object.namespace().unwrap_or_default();
        let name = request.artifact.name.clone();
        let failed = |problem: String| Failed::Again(reasons::BUILD_FAILED, format!("{name} build failed: {problem}"));
        let (copy, trees) = (request.artifact.copy.clone(), trees.clone());
        let composed = tokio::task::spawn_blocking(move || compose::compose(&copy, &trees, &Limits::default()));
        let tree = composed
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(failed)?;
        // One file per content: Flux's 32-bit checksum of it could mean two.
        let filename = format!("{}.tar.gz", compose::content_digest(&tree).hex());
        let owner =
            Owner::new(&ExternalArtifact::kind(&()), &namespace, &name).map_err(|error| failed(chain(&error)))?;
        let stored = self
            .store
            .put_tree(&owner, &filename, Arc::new(tree))
            .await
            .map_err(|error| failed(chain(&error)))?;
        let digest = stored.digest.to_string();
        let (revision, metadata) = plan::revision(&request.artifact, &digest, sources);
        let artifact = Artifact {
            path: stored.path,
            url: stored.url,
            revision,
            digest: digest.clone(),
            last_update_time: Time(Timestamp::now()),
            size: i64::try_from(stored.size).ok(),
            metadata,
        };
        output::publish(&self.client, object, request, artifact)
            .await
            .map_err(|problem| {
                let message = format!("{name} reconcile failed: {problem}");
                Failed::Again(reasons::RECONCILIATION_FAILED, message)
            })?;
        Ok(GeneratedArtifact {
            name,
            namespace,
            digest,
            filename,
        })
    }

    /// Removes what was generated and is not wanted any more: what the inventory has, and what a process that was killed
    /// before it could write one has left.
    async fn remove_orphans(
        &self,
        object: &ArtifactGenerator,
        before: &[GeneratedArtifact],
        wanted: &[GeneratedArtifact],
    ) -> Result<(), String> {
        let ours = output::ours(&self.client, object)
            .await
            .map_err(|error| format!("listing ExternalArtifacts: {}", chain(&error)))?;
        let namespace = object.namespace().unwrap_or_default();
        let mut gone: BTreeSet<(String, String)> = ours
            .iter()
            .map(|external| (namespace.clone(), external.name_any()))
            .collect();
        gone.extend(before.iter().map(|made| (made.namespace.clone(), made.name.clone())));
        for made in wanted {
            gone.remove(&(made.namespace.clone(), made.name.clone()));
        }
        for (namespace, name) in gone {
            output::withdraw(&self.client, &self.store, object, &namespace, &name).await?;
        }
        Ok(())
    }

    async fn collect(&self, made: &GeneratedArtifact) {
        let Ok(owner) = Owner::new(&ExternalArtifact::kind(&()), &made.namespace, &made.name) else {
            return;
        };
        if let Err(error) = self.store.collect(&owner, &made.filename, SystemTime::now()).await {
            tracing::warn!(name = made.name, %error, "removing earlier artifacts of an ExternalArtifact");
        }
    }

    /// Says in an event what is new.
    fn tell(&self, object: &ArtifactGenerator, before: &ArtifactGeneratorStatus, now: &[GeneratedArtifact]) {
        let is_known = |made: &&GeneratedArtifact| {
            before.inventory.iter().any(|known| {
                known.name == made.name && known.namespace == made.namespace && known.digest == made.digest
            })
        };
        let fresh: Vec<String> = now
            .iter()
            .filter(|made| !is_known(made))
            .map(|made| format!("{}/{} ({})", made.namespace, made.name, made.digest))
            .collect();
        if !fresh.is_empty() {
            let message = format!("external artifacts reconciled: {}", fresh.join("\n"));
            self.record(object, Severity::Info, READY, &message);
        }
    }

    async fn delete(&self, api: &Api<ArtifactGenerator>, object: &ArtifactGenerator, key: &str) -> Result<Next, End> {
        if !finalizer::has(object, finalizers::GENERATOR) {
            self.forget(key);
            return Ok(Next::Await);
        }
        let inventory = object.status.clone().unwrap_or_default().inventory;
        if let Err(problem) = self.remove_orphans(object, &inventory, &[]).await {
            self.record(object, Severity::Error, reasons::RECONCILIATION_FAILED, &problem);
            return Ok(Next::Retry(self.backoff.failed(key.to_owned())));
        }
        finalizer::remove(api, object, finalizers::GENERATOR, managers::WATCHER).await?;
        self.forget(key);
        Ok(Next::Await)
    }
}

fn is_disabled(object: &ArtifactGenerator) -> bool {
    object
        .annotations()
        .get(annotations::GENERATOR_RECONCILE)
        .is_some_and(|value| value.eq_ignore_ascii_case(annotations::DISABLED))
}
