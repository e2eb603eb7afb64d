//! Reading one remote: on a thread where it may block, with a deadline, one fetch at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gix::{ObjectId, protocol::transport::Service};
use reqwest::header::HeaderValue;
use tokio::runtime::Handle;

use crate::{
    Checkout, Git, GitError, Listing, ReadError, Remote, Resolved, Selection, Wanted,
    cache::ObjectStore,
    fetch,
    git::{Shared, authorization},
    session,
    session::Session,
    tree,
    wire::{FailureSlot, Wire},
};

/// One remote as one user sees it.
#[derive(Clone)]
pub struct RemoteHandle {
    pub(crate) git: Git,
    pub(crate) user: String,
    pub(crate) remote: Arc<Remote>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: reqwest::Client,
}

impl RemoteHandle {
    /// The URL without credentials.
    pub fn url(&self) -> &url::Url {
        self.remote.url()
    }

    /// As given with [`Remote::with_identity`].
    pub fn identity(&self) -> Option<&str> {
        self.remote.identity.as_deref()
    }

    /// The commit that a reference means now. Costs a greeting and one listing, no objects.
    ///
    /// # Errors
    /// See [`GitError`].
    pub async fn resolve(&self, wanted: &Wanted, timeout: Duration) -> Result<Resolved, GitError> {
        wanted.check()?;
        let wanted = wanted.clone();
        let remote = self.remote.clone();
        self.run(session::LISTING, timeout, None, move |call| {
            Session::open(call.wire, &remote, Service::UploadPack, timeout)?.resolve(&wanted)
        })
        .await
    }

    /// The selected files of a resolved commit. Objects that are not in the cache are fetched, without history; a damaged
    /// cache is made anew.
    ///
    /// # Errors
    /// See [`GitError`].
    pub async fn checkout(
        &self,
        resolved: &Resolved,
        selection: &Selection,
        timeout: Duration,
    ) -> Result<Checkout, GitError> {
        self.checkout_with(resolved, selection, timeout, |listing| listing.tree())
            .await
    }

    /// As [`RemoteHandle::checkout`], with what `make` makes of the files in the place of the files, for trees that do not
    /// fit into memory. `make` runs where it may block, and says which files stand for content in Git LFS; it runs again
    /// where the cache turns out to be damaged.
    ///
    /// # Errors
    /// See [`GitError`].
    pub async fn checkout_with<F: Send + 'static>(
        &self,
        resolved: &Resolved,
        selection: &Selection,
        timeout: Duration,
        mut make: impl FnMut(&Listing<'_>) -> Result<(F, Vec<String>), ReadError> + Send + 'static,
    ) -> Result<Checkout<F>, GitError> {
        let commit = ObjectId::from_hex(resolved.commit.as_bytes()).map_err(|_| GitError::InvalidReference {
            reference: resolved.commit.chars().take(256).collect(),
            what: "a commit is forty hexadecimal digits",
        })?;
        let tag = resolved
            .tag
            .as_ref()
            .and_then(|tag| ObjectId::from_hex(tag.as_bytes()).ok());
        let turn = self.shared.lock.clone().lock_owned().await;
        let resolved = resolved.clone();
        let selection = selection.clone();
        let directory = self.shared.directory.clone();
        let limits = self.git.inner.options.limits;
        let url = self.remote.url.to_string();
        let remote = self.remote.clone();
        self.run(session::FETCHING, timeout, Some(turn), move |call| {
            let mut store = ObjectStore::open(&directory)?;
            let mut again = false;
            loop {
                let missing = tag.filter(|tag| store.repository().find_header(*tag).is_err());
                if !store.has(&commit) || missing.is_some() {
                    let mut session = Session::open(call.wire.clone(), &remote, Service::UploadPack, timeout)?;
                    let reference = resolved.reference.as_deref();
                    fetch::fetch_commit(&mut store, &mut session, &commit, missing, reference, &call.interrupt)?;
                }
                let listing = tree::list(&store, &url, &resolved, &commit, &selection, &limits, &call.interrupt);
                let read = listing.and_then(|listing| {
                    let (made, pointers) = make(&listing)?;
                    Ok(listing.into_checkout(made, pointers))
                });
                match read {
                    Ok(checkout) => return Ok(checkout),
                    Err(ReadError::Git(error)) => return Err(error),
                    Err(ReadError::Damaged(detail)) if !again => {
                        tracing::warn!(url, detail, "the git cache is damaged, fetching anew");
                        store = ObjectStore::create(&directory)?;
                        again = true;
                    }
                    Err(ReadError::Damaged(detail)) => {
                        return Err(GitError::Corrupt {
                            commit: resolved.commit,
                            url,
                            detail,
                        });
                    }
                }
            }
        })
        .await
    }

    /// Runs `work` on a thread where it may block, with a deadline, and with a bound on how many do so at once.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        timeout: Duration,
        turn: Option<tokio::sync::OwnedMutexGuard<()>>,
        work: impl FnOnce(Call) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let permit = self
            .git
            .inner
            .permits
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let deadline = Instant::now() + timeout;
        let interrupt = Arc::new(AtomicBool::new(false));
        let wire = Wire {
            client: self.client.clone(),
            runtime: Handle::current(),
            authorization: authorization(&self.remote.auth).map(|value| {
                let mut value = HeaderValue::from_str(value.expose())
                    .expect("base64, or a token that was checked when the remote was made");
                value.set_sensitive(true);
                value
            }),
            origin: self.remote.url.clone(),
            deadline,
            max_bytes: self.git.inner.options.max_response,
            max_object: self.git.inner.options.max_object,
            failures: FailureSlot::default(),
            redirected: None,
            ssh: Arc::new(self.git.inner.options.ssh.clone()),
        };
        let call = Call {
            wire,
            interrupt: interrupt.clone(),
        };
        // Also when the caller goes away: the thread then stops at the next object, and only then gives up its turn.
        let _stop = StopOnDrop(interrupt);
        let task = tokio::task::spawn_blocking(move || {
            let result = work(call);
            drop((turn, permit));
            result
        });
        match tokio::time::timeout_at(deadline.into(), task).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Ok(Err(_)) => unreachable!("a blocking task is only cancelled before it starts, when the runtime ends"),
            Err(_) => Err(GitError::Timeout {
                what,
                url: self.remote.url.to_string(),
                timeout,
            }),
        }
    }
}

/// What one piece of blocking work is given.
pub(crate) struct Call {
    pub wire: Wire,
    pub interrupt: Arc<AtomicBool>,
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
