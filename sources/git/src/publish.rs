//! Writing to a remote: a commit on top of what is there, or a reference that goes.

use std::time::Duration;

use gix::{ObjectId, protocol::transport::Service};

use crate::{
    GitError, Lease, NewCommit, RemoteHandle, Resolved, cache::ObjectStore, commit, fetch, push, session,
    session::Session,
};

impl RemoteHandle {
    /// Puts a commit on top of `base` (on nothing, where that is none) and sets `reference` to it.
    ///
    /// The hash of the commit; none when the changes change nothing, and then nothing is sent. The push goes through only
    /// where the reference is what `lease` says, which the remote checks as well, so that nobody's commit is lost.
    ///
    /// # Errors
    /// See [`GitError`]; [`GitError::Moved`] and [`GitError::Rejected`] are particular to writing.
    pub async fn commit(
        &self,
        base: Option<&Resolved>,
        new: NewCommit,
        reference: &str,
        lease: Lease,
        timeout: Duration,
    ) -> Result<Option<String>, GitError> {
        check_reference(reference)?;
        let parent = base
            .map(|base| {
                ObjectId::from_hex(base.commit.as_bytes()).map_err(|_| GitError::InvalidReference {
                    reference: base.commit.chars().take(256).collect(),
                    what: "a commit is forty hexadecimal digits",
                })
            })
            .transpose()?;
        let from = base.and_then(|base| base.reference.clone());
        let reference = reference.to_owned();
        let remote = self.remote.clone();
        let directory = self.shared.directory.clone();
        let turn = self.shared.lock.clone().lock_owned().await;
        self.run(session::PUSHING, timeout, Some(turn), move |call| {
            let mut store = ObjectStore::open(&directory)?;
            if let Some(parent) = &parent
                && !store.has(parent)
            {
                let mut session = Session::open(call.wire.clone(), &remote, Service::UploadPack, timeout)?;
                fetch::fetch_commit(&mut store, &mut session, parent, None, from.as_deref(), &call.interrupt)?;
            }
            let Some(objects) = commit::build(store.repository(), parent.as_ref(), &new)? else {
                return Ok(None);
            };
            let id = objects.last().expect("the commit is the last one").id;
            let mut session = Session::open(call.wire, &remote, Service::ReceivePack, timeout)?;
            push::push(&mut session, &reference, &lease, Some(&id), &objects)?;
            Ok(Some(id.to_string()))
        })
        .await
    }

    /// Sets `reference` to a commit that the remote has already, such as a new branch on the tip of another.
    ///
    /// # Errors
    /// See [`GitError`].
    pub async fn set_reference(
        &self,
        reference: &str,
        commit: &str,
        lease: Lease,
        timeout: Duration,
    ) -> Result<(), GitError> {
        let id = ObjectId::from_hex(commit.as_bytes()).map_err(|_| GitError::InvalidReference {
            reference: commit.chars().take(256).collect(),
            what: "a commit is forty hexadecimal digits",
        })?;
        self.update(reference, Some(id), lease, timeout).await
    }

    /// Deletes `reference`. One that is not there is deleted already, unless the lease says otherwise.
    ///
    /// # Errors
    /// See [`GitError`].
    pub async fn delete_reference(&self, reference: &str, lease: Lease, timeout: Duration) -> Result<(), GitError> {
        self.update(reference, None, lease, timeout).await
    }

    async fn update(
        &self,
        reference: &str,
        to: Option<ObjectId>,
        lease: Lease,
        timeout: Duration,
    ) -> Result<(), GitError> {
        check_reference(reference)?;
        let reference = reference.to_owned();
        let remote = self.remote.clone();
        self.run(session::PUSHING, timeout, None, move |call| {
            let mut session = Session::open(call.wire, &remote, Service::ReceivePack, timeout)?;
            push::push(&mut session, &reference, &lease, to.as_ref(), &[])
        })
        .await
    }
}

fn check_reference(reference: &str) -> Result<(), GitError> {
    if !reference.starts_with("refs/") {
        return Err(GitError::InvalidReference {
            reference: reference.chars().take(256).collect(),
            what: "only full names, refs/heads/… or refs/tags/…, can be written to",
        });
    }
    crate::Wanted::Name(reference.to_owned()).check()
}
