//! Doing what the plan says: resolve, fetch, pack, store.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use nave_crds::{
    Artifact, GitRepository,
    conditions::{FETCH_FAILED, INCLUDE_UNAVAILABLE, STORAGE_OPERATION_FAILED},
    reasons::source as reasons,
};
use nave_git::{Checkout, GitError, RemoteHandle, Resolved};
use nave_runtime::{Severity, conditions::whole_seconds};
use nave_store::Owner;

use super::{GitRepositoryReconciler, Work, include, observe::Stored, plan, status::Draft};
use crate::failure::{Failure, Retry, chain};

/// What a reconcile came to.
pub(crate) enum Done {
    /// The stored artifact is of the current revision.
    UpToDate,
    /// A new artifact is stored; this is the subject of its commit.
    Stored { subject: String },
}

impl GitRepositoryReconciler {
    /// From the object to an artifact. The draft is left as far as it got.
    pub(super) async fn work(&self, object: &GitRepository, work: &mut Work) -> Result<Done, Failure> {
        let namespace = work.namespace.clone();
        match self.stored(work.draft.status.artifact.as_ref()).await? {
            Stored::Intact(artifact) => work.draft.status.artifact = Some(artifact),
            Stored::Missing => {
                work.draft.artifact_lost();
                work.draft.progressing(true, "building artifact");
            }
            Stored::Damaged(message) => {
                self.record(
                    object,
                    Severity::Error,
                    reasons::ARTIFACT_VERIFICATION_FAILED,
                    &message,
                    BTreeMap::new(),
                );
                work.draft.artifact_lost();
                work.draft
                    .progressing(true, "building artifact: disappeared from storage");
            }
        }
        let planned = plan::plan(&object.spec)?;
        let secret = self
            .secret(&namespace, "secretRef", object.spec.secret_ref.as_ref())
            .await?;
        let proxy = self
            .secret(&namespace, "proxySecretRef", object.spec.proxy_secret_ref.as_ref())
            .await?;
        let remote = plan::remote(
            &object.spec,
            secret.as_ref().map(|(name, data)| plan::Named { name, data }),
            proxy.as_ref().map(|(name, data)| plan::Named { name, data }),
        )?;
        let remote = self.ports.git.remote(&work.key(), remote).map_err(git_failure)?;
        let included = self.included(&namespace, object)?;

        let resolving = remote.resolve(&planned.wanted, planned.timeout);
        let resolved = self.with_progress(object, work, resolving).await.map_err(git_failure)?;
        let current = work
            .draft
            .status
            .artifact
            .as_ref()
            .is_some_and(|artifact| same_revision(&artifact.revision, &resolved.revision));
        if current && work.draft.is_made_of(&object.spec, &included) {
            // A poll by interval that finds nothing new writes nothing at all; Flux writes an event each time.
            if work.is_asked {
                let message = format!(
                    "no changes since last reconciliation: observed revision '{}'",
                    resolved.revision
                );
                let reason = reasons::GIT_OPERATION_SUCCEEDED;
                self.record(object, Severity::Trace, reason, &message, BTreeMap::new());
            }
            return Ok(Done::UpToDate);
        }
        if !current {
            let message = format!("new upstream revision '{}'", resolved.revision);
            work.draft.outdated(reasons::NEW_REVISION, &message);
        } else if work.draft.status.included_artifacts != included {
            work.draft.outdated(
                reasons::INCLUDE_CHANGE,
                "included artifacts differ from last observed includes",
            );
        } else {
            work.draft
                .progressing(true, "building artifact: the selection of files has changed");
        }
        let fetching = self.fetch(object, &remote, &resolved, &planned, &included);
        let (checkout, subject) = self.with_progress(object, work, fetching).await?;
        let artifact = self.store(work, &resolved, checkout).await?;
        work.draft.stored(&object.spec, artifact, included);
        Ok(Done::Stored { subject })
    }

    /// The files of a revision with what is included into them.
    async fn fetch(
        &self,
        object: &GitRepository,
        remote: &RemoteHandle,
        resolved: &Resolved,
        planned: &plan::Plan,
        included: &[Artifact],
    ) -> Result<(Checkout, String), Failure> {
        let mut checkout = remote
            .checkout(resolved, &planned.selection, planned.timeout)
            .await
            .map_err(git_failure)?;
        if !checkout.ignore.invalid().is_empty() {
            let message = format!(
                "ignore patterns that cannot be read: {}",
                checkout.ignore.invalid().join(", ")
            );
            self.record(
                object,
                Severity::Trace,
                reasons::SOURCE_IGNORE_ERROR,
                &message,
                BTreeMap::new(),
            );
        }
        for (spec, artifact) in object.spec.include.iter().zip(included) {
            let unavailable =
                |reason, message: String| Failure::new(Retry::Backoff, INCLUDE_UNAVAILABLE, reason, message);
            let digest = artifact.digest.parse().map_err(|error: nave_artifact::DigestError| {
                unavailable(
                    reasons::COPY_FAILURE,
                    format!("include of '{}': {error}", spec.repository.name),
                )
            })?;
            let tree = self.ports.store.tree(&artifact.path, &digest).await.map_err(|error| {
                unavailable(
                    reasons::COPY_FAILURE,
                    format!("include of '{}': {}", spec.repository.name, chain(&error)),
                )
            })?;
            include::include(&mut checkout.tree, &checkout.ignore, spec, &tree).map_err(|error| {
                let reason = match error {
                    include::IncludeError::Path { .. } => reasons::ILLEGAL_PATH,
                    _ => reasons::COPY_FAILURE,
                };
                unavailable(reason, error.to_string())
            })?;
        }
        let subject = checkout.commit.subject.clone();
        Ok((checkout, subject))
    }

    async fn store(&self, work: &Work, resolved: &Resolved, checkout: Checkout) -> Result<Artifact, Failure> {
        let file = file_name(resolved);
        let stored = self
            .ports
            .store
            .put_tree(&work.owner, &file, Arc::new(checkout.tree))
            .await
            .map_err(|error| {
                let message = chain(&error);
                Failure::new(
                    Retry::Backoff,
                    STORAGE_OPERATION_FAILED,
                    reasons::ARCHIVE_OPERATION_FAILED,
                    message,
                )
            })?;
        Ok(Artifact {
            path: stored.path,
            url: stored.url,
            revision: resolved.revision.clone(),
            digest: stored.digest.to_string(),
            last_update_time: Time(whole_seconds(Timestamp::now())),
            size: i64::try_from(stored.size).ok(),
            metadata: BTreeMap::new(),
        })
    }

    /// Removes artifacts that retention no longer allows. What cannot be removed now is tried again next time.
    pub(super) async fn collect(&self, object: &GitRepository, owner: &Owner, draft: &Draft) {
        let Some(artifact) = &draft.status.artifact else { return };
        let Some(current) = artifact.path.rsplit('/').next() else {
            return;
        };
        let none = BTreeMap::new();
        match self.ports.store.collect(owner, current, SystemTime::now()).await {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => {
                let message = format!("garbage collected {} artifacts", removed.len());
                self.record(
                    object,
                    Severity::Trace,
                    reasons::GARBAGE_COLLECTION_SUCCEEDED,
                    &message,
                    none,
                );
            }
            Err(error) => {
                let message = format!("garbage collection of artifacts failed: {error}");
                self.record(
                    object,
                    Severity::Error,
                    reasons::GARBAGE_COLLECTION_FAILED,
                    &message,
                    none,
                );
            }
        }
    }
}

fn file_name(resolved: &Resolved) -> String {
    format!("{}.tar.gz", resolved.commit)
}

/// Flux before 2.0 wrote `main/<hash>`; such a status is understood, so that taking over builds nothing anew.
fn same_revision(stored: &str, resolved: &str) -> bool {
    stored == resolved
        || stored
            .rsplit_once('/')
            .is_some_and(|(name, hash)| !stored.contains("sha1:") && format!("{name}@sha1:{hash}") == resolved)
}

fn git_failure(error: GitError) -> Failure {
    let reason = if error.is_empty_repository() {
        reasons::EMPTY_GIT_REPOSITORY
    } else {
        reasons::GIT_OPERATION_FAILED
    };
    let retry = if error.is_terminal() {
        Retry::Stalled
    } else {
        Retry::Backoff
    };
    Failure::new(retry, FETCH_FAILED, reason, chain(&error))
}

/// A commit subject of at most fifty characters, as Flux's events carry it.
pub(super) fn short(subject: &str) -> String {
    let mut cut: String = subject.chars().take(50).collect();
    if cut.len() < subject.len() {
        cut.push_str("...");
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_of_older_versions_are_the_same() {
        let now = "feature/x@sha1:0a";
        assert!(same_revision(now, now));
        assert!(same_revision("feature/x/0a", now));
        assert!(!same_revision("feature/x/0b", now));
        assert!(!same_revision("feature/y@sha1:0a", now));
        assert!(!same_revision("", now));
    }

    #[test]
    fn subjects_are_cut_at_fifty_characters() {
        assert_eq!(short("Add ünï"), "Add ünï");
        assert_eq!(short(&"ü".repeat(60)), format!("{}...", "ü".repeat(50)));
    }
}
