//! Doing what the plan says: resolve, fetch, pack, store.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use nave_crds::{
    Artifact, GitRepository,
    conditions::{FETCH_FAILED, INCLUDE_UNAVAILABLE, SOURCE_VERIFIED},
    meta::LocalRef,
    reasons::source as reasons,
};
use nave_git::{Auth, Checkout, GitError, Remote, RemoteHandle, Resolved, TrustedKeys};
use nave_net::{BasicAuth, cloud::GitLogin};
use nave_runtime::Severity;
use nave_store::Owner;

use super::{
    GitRepositorySteps, include,
    packed::Files,
    plan::{self, Access},
    status::{is_made_of, made_of},
    verify,
};
use crate::{
    common::{Common, artifact, not_stored, refused},
    failure::{Failure, Retry, chain},
    reconciler::{Done, Told, Work},
};

/// One revision of one object, and how to get it.
struct Revision<'a> {
    key: String,
    owner: Owner,
    remote: &'a RemoteHandle,
    resolved: &'a Resolved,
    planned: &'a plan::Plan,
    included: &'a [Artifact],
}

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
        let keys = match (&planned.verify, &object.spec.verification) {
            (Some(_), Some(verification)) => Some(self.trusted(common, &namespace, &verification.secret_ref).await?),
            _ => {
                work.draft.status.source_verification_mode = None;
                None
            }
        };
        let secret = common
            .secret(&namespace, "secretRef", object.spec.secret_ref.as_ref())
            .await?;
        let proxy = common
            .secret(&namespace, "proxySecretRef", object.spec.proxy_secret_ref.as_ref())
            .await?;
        let access = plan::access(&object.spec, secret.as_ref(), proxy.as_ref())?;
        let remote = self.remote(common, object, access, planned.timeout).await?;
        let remote = self.git.remote(&work.key(), remote).map_err(git_failure)?;
        let included = self.included(&namespace, object)?;

        let resolving = remote.resolve(&planned.wanted, planned.timeout);
        let resolved = common
            .with_progress(object, work, resolving)
            .await
            .inspect_err(|error| self.tokens.refused(remote.identity(), error))
            .map_err(git_failure)?;
        let status = &work.draft.status;
        let current = status
            .artifact
            .as_ref()
            .is_some_and(|artifact| same_revision(&artifact.revision, &resolved.revision));
        let made = current && is_made_of(status, &object.spec, &included);
        let verified = planned.verify.is_none_or(|verify| {
            work.draft.was_verified() && status.source_verification_mode.as_deref() == Some(verify.mode)
        });
        if made && verified {
            if planned.verify.is_some() {
                work.draft.still_verified();
            }
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
        if made {
            work.draft.progressing(false, "verifying signatures");
        } else if !current {
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
        let revision = Revision {
            key: work.key(),
            owner: work.owner.clone(),
            remote: &remote,
            resolved: &resolved,
            planned: &planned,
            included: &included,
        };
        let fetching = self.fetch(common, object, &revision);
        let (checkout, subject) = common.with_progress(object, work, fetching).await?;
        if let (Some(verify), Some(keys)) = (&planned.verify, &keys) {
            let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
            let message = verify::verify(verify, keys, &resolved, &checkout, now)?;
            work.draft.verified(&message);
            work.draft.status.source_verification_mode = Some(verify.mode.to_owned());
        }
        if made {
            return Ok(Done::UpToDate);
        }
        let stored = self
            .packed
            .store(
                &common.store,
                &work.key(),
                &work.owner,
                &file_name(&resolved),
                checkout.tree,
            )
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
        revision: &Revision<'_>,
    ) -> Result<(Checkout<Files>, String), Failure> {
        let Revision {
            key,
            owner,
            remote,
            resolved,
            planned,
            included,
        } = revision;
        let (selection, timeout) = (&planned.selection, planned.timeout);
        let checkout = if planned.recurse {
            Box::pin(remote.checkout_recursive(resolved, selection, timeout))
                .await
                .map(|checkout| checkout.map(Files::Tree))
        } else if included.is_empty() {
            let make = self.packed.packer(&common.store, key, owner).await;
            remote.checkout_with(resolved, selection, timeout, make).await
        } else {
            let checkout = remote.checkout(resolved, selection, timeout).await;
            checkout.map(|checkout| checkout.map(Files::Tree))
        };
        let mut checkout = checkout
            .inspect_err(|error| self.tokens.refused(remote.identity(), error))
            .map_err(git_failure)?;
        if !checkout.lfs_pointers.is_empty() {
            let message = lfs_message(&checkout.lfs_pointers);
            common.record(
                object,
                Severity::Error,
                reasons::GIT_OPERATION_FAILED,
                &message,
                BTreeMap::new(),
            );
        }
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
        for (spec, artifact) in object.spec.include.iter().zip(*included) {
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
            let Files::Tree(whole) = &mut checkout.tree else {
                unreachable!("a tree that others are included into is held in memory");
            };
            include::include(whole, &checkout.ignore, spec, &tree).map_err(|error| {
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

impl GitRepositorySteps {
    async fn trusted(
        &self,
        common: &Common<GitRepository>,
        namespace: &str,
        reference: &LocalRef,
    ) -> Result<TrustedKeys, Failure> {
        let secret = common
            .secret(namespace, "verify.secretRef", Some(reference))
            .await
            .map_err(|failure| Failure {
                condition: SOURCE_VERIFIED,
                reason: reasons::VERIFICATION_ERROR,
                ..failure
            })?
            .expect("a secret that is named is found or missed");
        plan::trusted(&secret)
    }

    async fn remote(
        &self,
        common: &Common<GitRepository>,
        object: &GitRepository,
        access: Access,
        timeout: Duration,
    ) -> Result<Remote, Failure> {
        match access {
            Access::Remote(remote) => Ok(remote),
            Access::GitHubApp { app, tls, proxy } => {
                let token = self
                    .tokens
                    .token(&app, &tls, proxy.as_ref(), timeout)
                    .await
                    .map_err(|error| refused(format!("spec.provider 'github': {}", chain(&error))))?;
                let auth = Auth::Basic(BasicAuth {
                    username: "x-access-token".to_owned(),
                    password: token,
                });
                Ok(plan::remote(&object.spec, auth, tls, proxy)?.with_identity(app.identity()))
            }
            Access::Cloud { provider, tls, proxy } => {
                let spec = &object.spec;
                let url = plan::remote(spec, Auth::None, tls.clone(), proxy.clone())?
                    .url()
                    .clone();
                let account = &spec.service_account_name;
                let (login, identity) = common
                    .git_login(object, provider, account, &url, proxy.as_ref())
                    .await?;
                let auth = match login {
                    GitLogin::Basic(basic) => Auth::Basic(basic),
                    GitLogin::Bearer(token) => Auth::Bearer(token),
                };
                let whose = format!("{provider} {identity}");
                Ok(plan::remote(spec, auth, tls, proxy)?.with_identity(whose))
            }
        }
    }
}

/// Files that nobody downstream can use are said, not served in silence.
fn lfs_message(pointers: &[String]) -> String {
    let shown: Vec<&str> = pointers.iter().take(3).map(String::as_str).collect();
    let more = if pointers.len() > shown.len() { ", …" } else { "" };
    format!(
        "{} files are pointers of Git LFS, whose content is not fetched: {}{more}; exclude them with spec.ignore",
        pointers.len(),
        shown.join(", ")
    )
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
    fn pointers_are_named_and_counted() {
        let all: Vec<String> = (0..5).map(|number| format!("f{number}")).collect();
        assert!(
            lfs_message(&all)
                .starts_with("5 files are pointers of Git LFS, whose content is not fetched: f0, f1, f2, …;")
        );
    }

    #[test]
    fn subjects_are_cut_at_fifty_characters() {
        assert_eq!(short("Add ünï"), "Add ünï");
        assert_eq!(short(&"ü".repeat(60)), format!("{}...", "ü".repeat(50)));
    }
}
