//! Remote files and repositories, fetched into memory or a scratch folder that goes with the process.

use std::{borrow::Cow, error::Error, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nave_artifact::FileTree;
use nave_git::{Auth, Git, GitError, Options, Remote, Resolved, Selection, Wanted};
use nave_kustomize::{Answer, Need, RepositoryUrl, Tree};
use nave_net::TlsOptions;
use tempfile::TempDir;

use super::clone::clone_with_git;
use crate::say;

/// Larger files are refused, as the engine refuses them.
const MAX_FILE: usize = 64 << 20;

/// What fetches. Nothing of it is kept between two runs: a branch may have moved.
pub struct Remotes {
    scratch: TempDir,
    git: Git,
    http: reqwest::Client,
    timeout: Duration,
}

impl Remotes {
    /// Opens a scratch folder; no connection is made yet.
    ///
    /// # Errors
    /// There is no folder for temporary files, or no root certificate to trust.
    pub fn new(timeout: Duration) -> Result<Remotes> {
        let scratch = tempfile::Builder::new()
            .prefix("nave-build-")
            .tempdir()
            .context("making a folder for remote bases")?;
        let git = Git::open(Options::new(scratch.path().join("git")))?;
        let http = nave_net::http_client(&TlsOptions::default(), None)?
            .build()
            .context("preparing to fetch remote files")?;
        Ok(Remotes {
            scratch,
            git,
            http,
            timeout,
        })
    }

    /// The answer to a question; a failure is an answer too, so that the build can say who asked.
    pub async fn answer(&self, need: &Need) -> Answer {
        let answer = match need {
            Need::File { url } => self.file(url).await.map(Answer::File),
            Need::Repository(url) => self.repository(url).await.map(Answer::Tree),
            Need::Chart(chart) => Err(anyhow::anyhow!(
                "{} is a chart and cannot be fetched as files",
                chart.name
            )),
        };
        // The engine names the URL; the text is what comes after it.
        answer.unwrap_or_else(|error| Answer::Failed(crate::hints::describe(&error)))
    }

    async fn file(&self, url: &str) -> Result<Vec<u8>> {
        let fetch = async {
            let mut response = self.http.get(url).send().await.map_err(plain)?;
            let status = response.status();
            ensure!(status.is_success(), "the server answered {status}");
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(plain)? {
                bytes.extend_from_slice(&chunk);
                ensure!(bytes.len() <= MAX_FILE, "the file has more than {MAX_FILE} bytes");
            }
            Ok(bytes)
        };
        match tokio::time::timeout(self.timeout, fetch).await {
            Ok(fetched) => fetched,
            Err(_) => bail!("it took longer than {:?}", self.timeout),
        }
    }

    async fn repository(&self, url: &RepositoryUrl) -> Result<Arc<dyn Tree>> {
        let address = url.clone_url();
        if !(address.starts_with("https://") || address.starts_with("http://")) {
            return clone_with_git(url, self.scratch.path()).await;
        }
        match self.fetch(url, &address).await {
            Ok(tree) => Ok(tree),
            // Whoever has git set up for a private repository has credentials where only git looks.
            Err(error) if is_refusal(&error) => clone_with_git(url, self.scratch.path())
                .await
                .map_err(|second| error.context(format!("git: {}", crate::hints::describe(&second)))),
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, url: &RepositoryUrl, address: &str) -> Result<Arc<dyn Tree>> {
        let remote = Remote::new(address, Auth::None, TlsOptions::default(), None)?;
        let handle = self.git.remote(address, remote)?;
        let mut resolved = Err(anyhow::anyhow!("there is no reference to look for"));
        for wanted in wanted(&url.reference) {
            match handle.resolve(&wanted, url.timeout).await {
                Ok(found) => {
                    resolved = Ok(found);
                    break;
                }
                Err(error @ GitError::ReferenceNotFound { .. }) => resolved = Err(error.into()),
                Err(error) => return Err(error.into()),
            }
        }
        let resolved: Resolved = resolved?;
        // Everything: the ignore rules of a source are not those of a base.
        let everything = Selection::new(&[], Some("!*".to_owned()))?;
        let checkout = handle.checkout(&resolved, &everything, url.timeout).await?;
        if url.submodules && checkout.tree.get(".gitmodules").is_some() {
            say::warning(&format!(
                "{}: submodules are not fetched; add ?submodules=false to say that they are not needed",
                nave_net::redact(address)
            ));
        }
        Ok(Arc::new(Checkout(checkout.tree)))
    }
}

/// What a reference may be, in git's order.
fn wanted(reference: &str) -> Vec<Wanted> {
    let is_commit = reference.len() == 40 && reference.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if reference.is_empty() {
        vec![Wanted::Name("HEAD".to_owned())]
    } else if is_commit {
        vec![Wanted::Commit {
            id: reference.to_owned(),
            branch: None,
        }]
    } else if reference.starts_with("refs/") {
        vec![Wanted::Name(reference.to_owned())]
    } else {
        vec![Wanted::Tag(reference.to_owned()), Wanted::Branch(reference.to_owned())]
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| matches!(cause.downcast_ref::<GitError>(), Some(GitError::Unauthorized { .. })))
}

/// reqwest names the URL in its first line and the reason in its last.
fn plain(error: reqwest::Error) -> anyhow::Error {
    let error = error.without_url();
    let mut last: &dyn Error = &error;
    while let Some(source) = last.source() {
        last = source;
    }
    anyhow::anyhow!("{last}")
}

/// A commit's files.
struct Checkout(FileTree);

impl Tree for Checkout {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        self.0.get(path).map(|file| Cow::Borrowed(&file.data[..]))
    }

    fn is_dir(&self, path: &str) -> bool {
        self.0.get(path).is_none() && self.0.is_dir(path)
    }

    fn list(&self, dir: &str) -> Vec<String> {
        self.0.list(dir)
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
