//! The files of a repository that something is built on: a base of a kustomization, named by address and reference.

use std::time::Duration;

use nave_artifact::FileTree;
use nave_net::TlsOptions;

use crate::{Auth, Git, GitError, Remote, RemoteError, Selection, SshAuth, Wanted, remote::scp_like};

/// What is wanted of whom.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// An address of http, https or ssh, or `user@host:path`. Credentials in it are used.
    pub url: &'a str,
    /// A branch, a tag, a commit in full or a name below `refs/`; the default branch when empty.
    pub reference: &'a str,
    /// Whether repositories within the repository are fetched, too.
    pub submodules: bool,
    /// A key, for ssh.
    pub ssh: Option<&'a SshAuth>,
    /// For everything together.
    pub timeout: Duration,
}

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The address is none that can be asked.
    #[error("{0}")]
    Remote(RemoteError),
    /// SSH, and no key.
    #[error("there is no key for ssh here")]
    NoKey,
    /// The remote does not give them.
    #[error("{0}")]
    Git(GitError),
    /// All of it took too long.
    #[error("it took longer than {0:.0?}; add ?timeout=2m to allow more")]
    Timeout(Duration),
}

impl BaseError {
    /// Whether the server wants to know who asks, or knows and refuses.
    pub fn is_refusal(&self) -> bool {
        matches!(self, BaseError::Git(GitError::Unauthorized { .. }))
    }
}

impl Git {
    /// All files of the commit that the reference means now; ignore rules of sources do not count. Objects are kept for
    /// `user` until [`Git::release`].
    ///
    /// # Errors
    /// See [`BaseError`].
    pub async fn base(&self, user: &str, base: Base<'_>) -> Result<FileTree, BaseError> {
        let url = scp_like(base.url).unwrap_or_else(|| base.url.to_owned());
        let auth = match (url.starts_with("ssh://"), base.ssh) {
            (true, Some(key)) => Auth::Ssh(key.clone()),
            (true, None) => return Err(BaseError::NoKey),
            (false, _) => Auth::None,
        };
        let remote = Remote::new(&url, auth, TlsOptions::default(), None).map_err(BaseError::Remote)?;
        let handle = self.remote(user, remote).map_err(BaseError::Git)?;
        let everything = Selection::new(&[], Some("!*".to_owned())).expect("no directory is given");
        let work = async {
            let mut found = None;
            for wanted in wanted(base.reference) {
                match handle.resolve(&wanted, base.timeout).await {
                    Err(error @ GitError::ReferenceNotFound { .. }) => found = Some(Err(error)),
                    other => {
                        found = Some(other);
                        break;
                    }
                }
            }
            let resolved = found.expect("there is at least one reference")?;
            let checkout = if base.submodules {
                handle.checkout_recursive(&resolved, &everything, base.timeout).await?
            } else {
                handle.checkout(&resolved, &everything, base.timeout).await?
            };
            Ok::<_, GitError>(checkout.tree)
        };
        match tokio::time::timeout(base.timeout, work).await {
            Ok(found) => found.map_err(BaseError::Git),
            Err(_) => Err(BaseError::Timeout(base.timeout)),
        }
    }
}

/// What a reference may be, in git's order.
fn wanted(reference: &str) -> Vec<Wanted> {
    let is_commit = reference.len() == 40 && reference.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match reference {
        "" => vec![Wanted::Name("HEAD".to_owned())],
        _ if is_commit => vec![Wanted::Commit {
            id: reference.to_owned(),
            branch: None,
        }],
        _ if reference.starts_with("refs/") => vec![Wanted::Name(reference.to_owned())],
        _ => vec![Wanted::Tag(reference.to_owned()), Wanted::Branch(reference.to_owned())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_tried_in_gits_order() {
        let commit = "a".repeat(40);
        assert_eq!(wanted(""), [Wanted::Name("HEAD".into())]);
        assert_eq!(
            wanted(&commit),
            [Wanted::Commit {
                id: commit.clone(),
                branch: None
            }]
        );
        assert_eq!(wanted("refs/pull/1/head"), [Wanted::Name("refs/pull/1/head".into())]);
        assert_eq!(wanted("v1"), [Wanted::Tag("v1".into()), Wanted::Branch("v1".into())]);
    }
}
