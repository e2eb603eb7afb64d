//! A commit with the commits of other repositories that are part of it (`spec.recurseSubmodules`).

use std::{future::Future, pin::Pin, time::Duration};

use nave_artifact::{FileTree, IGNORE_FILE, Ignore};

use crate::{
    Auth, Checkout, GitError, Remote, RemoteHandle, Resolved, Selection,
    submodule::{Submodule, is_same_server, submodules},
};

/// Submodules within submodules: git has no bound, and a repository that contains itself has no end.
const MAX_DEPTH: usize = 10;
/// All together.
const MAX_SUBMODULES: usize = 200;

impl RemoteHandle {
    /// [`RemoteHandle::checkout`] with the files of all submodules in their places.
    ///
    /// Submodules on the same server are read with the same credentials, others with none. The ignore rules of files and
    /// of the selection apply to the whole, as they would to a work tree.
    ///
    /// # Errors
    /// See [`GitError`].
    pub async fn checkout_recursive(
        &self,
        resolved: &Resolved,
        selection: &Selection,
        timeout: Duration,
    ) -> Result<Checkout, GitError> {
        let raw = selection.clone().with_everything();
        let mut whole = self.checkout(resolved, &raw, timeout).await?;
        let mut state = State {
            top: self,
            timeout,
            count: 0,
            users: Vec::new(),
        };
        let links = submodules(self.url(), whole.gitmodules.as_deref(), &whole.links)?;
        for submodule in links {
            state
                .add(&mut whole.tree, self.url().clone(), submodule, "", &raw, 1)
                .await?;
        }
        let users = std::mem::take(&mut state.users);
        self.git.keep_parts(&self.user, &users);

        let rules: Vec<(String, Vec<u8>)> = whole
            .tree
            .iter()
            .filter(|(path, _)| path.rsplit('/').next() == Some(IGNORE_FILE))
            .map(|(path, file)| (path.to_owned(), file.data.to_vec()))
            .collect();
        let ignore = Ignore::new(
            rules.iter().map(|(path, data)| (path.as_str(), data.as_slice())),
            selection.ignore(),
        );
        let excluded: Vec<String> = whole
            .tree
            .iter()
            .map(|(path, _)| path)
            .filter(|path| ignore.excludes(path))
            .map(str::to_owned)
            .collect();
        for path in excluded {
            whole.tree.remove(&path);
        }
        whole.lfs_pointers = crate::tree::lfs_pointers(&whole.tree);
        whole.ignore = ignore;
        Ok(whole)
    }
}

struct State<'a> {
    top: &'a RemoteHandle,
    timeout: Duration,
    count: usize,
    /// Under which names the stores of submodules are in use.
    users: Vec<String>,
}

impl State<'_> {
    /// Puts the files of a submodule, and of what is part of it, below `prefix` into `whole`.
    fn add<'b>(
        &'b mut self,
        whole: &'b mut FileTree,
        parent: url::Url,
        submodule: Submodule,
        prefix: &'b str,
        selection: &'b Selection,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<(), GitError>> + Send + 'b>> {
        Box::pin(async move {
            let wrong = |detail: String| GitError::Submodule {
                path: format!("{prefix}{}", submodule.path),
                url: parent.to_string(),
                detail,
            };
            if depth > MAX_DEPTH {
                return Err(wrong(format!(
                    "submodules within submodules go deeper than {MAX_DEPTH}"
                )));
            }
            self.count += 1;
            if self.count > MAX_SUBMODULES {
                return Err(wrong(format!("there are more than {MAX_SUBMODULES} submodules")));
            }
            let remote = self.remote(&submodule).map_err(|error| wrong(error.to_string()))?;
            let place = format!("{prefix}{}", submodule.path);
            let user = format!("{}\0{place}", self.top.user);
            let handle = self.top.git.remote(&user, remote)?;
            self.users.push(user);
            let resolved = Resolved {
                commit: submodule.commit.to_string(),
                reference: None,
                tag: None,
                revision: format!("sha1:{}", submodule.commit),
            };
            let selection = selection.below(&submodule.path);
            let found = handle
                .checkout(&resolved, &selection, self.timeout)
                .await
                .map_err(|error| match error {
                    GitError::Timeout { .. } | GitError::Submodule { .. } => error,
                    other => wrong(crate::error::told(&other)),
                })?;
            let limits = self.top.git.inner.options.limits;
            let too_large = |limit, what| {
                Err(GitError::TooLarge {
                    url: self.top.url().to_string(),
                    limit,
                    what,
                })
            };
            for (path, file) in found.tree.iter() {
                whole
                    .insert(format!("{place}/{path}"), file.clone())
                    .map_err(|source| GitError::Path {
                        commit: resolved.commit.clone(),
                        source,
                    })?;
            }
            if whole.len() > limits.files {
                return too_large(limits.files as u64, "files");
            }
            if whole.bytes() > limits.bytes {
                return too_large(limits.bytes, "bytes");
            }
            let within = submodules(handle.url(), found.gitmodules.as_deref(), &found.links)?;
            let prefix = format!("{place}/");
            for inner in within {
                self.add(whole, handle.url().clone(), inner, &prefix, &selection, depth + 1)
                    .await?;
            }
            Ok(())
        })
    }

    /// How to reach a submodule: as its parent, where it is on the same server.
    fn remote(&self, submodule: &Submodule) -> Result<Remote, crate::RemoteError> {
        let top = &self.top.remote;
        if is_same_server(&top.url, &submodule.url) {
            let mut remote = Remote::new(
                submodule.url.as_str(),
                top.auth.clone(),
                top.tls.clone(),
                top.proxy.clone(),
            )?;
            remote.identity = top.identity.clone();
            return Ok(remote);
        }
        let tls = nave_net::TlsOptions {
            ca: top.tls.ca.clone(),
            identity: None,
        };
        Remote::new(submodule.url.as_str(), Auth::None, tls, top.proxy.clone())
    }
}
