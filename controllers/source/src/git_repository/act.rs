//! Doing what the plan says: resolve, fetch, pack, store.

use std::{collections::BTreeMap, sync::Arc};

use nave_crds::{
    Artifact, GitRepository,
    conditions::{FETCH_FAILED, INCLUDE_UNAVAILABLE},
    reasons::source as reasons,
};
use nave_git::{Checkout, GitError, RemoteHandle, Resolved};
use nave_runtime::Severity;

use super::{
    GitRepositorySteps, include, plan,
    status::{is_made_of, made_of},
};
use crate::{
    common::{Common, artifact, not_stored},
    failure::{Failure, Retry, chain},
    reconciler::{Done, Told, Work},
};

impl GitRepositorySteps {
    /// From the object to an artifact. The draft is left as far as it got.
    pub(super) async fn reconcile(
        &self,
        common: &Common<GitRepository>,
        object: &GitRepository,
        work: &mut Work<GitRepository>,
    ) -> Result<Done, Failure> {
        let namespace = work.namespace.clone();
        common.check_stored(object, work).await?;
        let planned = plan::plan(&object.spec)?;
        // A plan verifies nothing yet.
        work.draft.status.source_verification_mode = None;
        let secret = common
            .secret(&namespace, "secretRef", object.spec.secret_ref.as_ref())
            .await?;
        let proxy = common
            .secret(&namespace, "proxySecretRef", object.spec.proxy_secret_ref.as_ref())
            .await?;
        let remote = plan::remote(&object.spec, secret.as_ref(), proxy.as_ref())?;
        let remote = self.git.remote(&work.key(), remote).map_err(git_failure)?;
        let included = self.included(&namespace, object)?;

        let resolving = remote.resolve(&planned.wanted, planned.timeout);
        let resolved = common
            .with_progress(object, work, resolving)
            .await
            .map_err(git_failure)?;
        let status = &work.draft.status;
        let current = status
            .artifact
            .as_ref()
            .is_some_and(|artifact| same_revision(&artifact.revision, &resolved.revision));
        if current && is_made_of(status, &object.spec, &included) {
            // A poll by interval that finds nothing new writes nothing at all; Flux writes an event each time.
            if work.is_asked {
                let message = format!(
                    "no changes since last reconciliation: observed revision '{}'",
                    resolved.revision
                );
                let reason = reasons::GIT_OPERATION_SUCCEEDED;
                common.record(object, Severity::Trace, reason, &message, BTreeMap::new());
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
        let fetching = self.fetch(common, object, &remote, &resolved, &planned, &included);
        let (checkout, subject) = common.with_progress(object, work, fetching).await?;
        let stored = common
            .store
            .put_tree(&work.owner, &file_name(&resolved), Arc::new(checkout.tree))
            .await
            .map_err(|error| not_stored(&error))?;
        work.draft
            .stored(artifact(stored, resolved.revision.clone(), BTreeMap::new()));
        made_of(&mut work.draft.status, &object.spec, included);
        Ok(Done::Stored(Told {
            reason: reasons::NEW_ARTIFACT,
            message: format!("stored artifact for commit '{}'", short(&subject)),
        }))
    }

    /// The files of a revision with what is included into them.
    async fn fetch(
        &self,
        common: &Common<GitRepository>,
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
            common.record(
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
            let tree = common.store.tree(&artifact.path, &digest).await.map_err(|error| {
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
fn short(subject: &str) -> String {
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
