//! Remote files and repositories, fetched into memory or a scratch folder that goes with the process.

use std::{borrow::Cow, error::Error, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nave_artifact::FileTree;
use nave_git::{Base, BaseError, Git, Options};
use nave_kustomize::{Answer, Need, RepositoryUrl, Tree};
use nave_net::TlsOptions;
use tempfile::TempDir;

use super::clone::clone_with_git;

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
            Err(error) if error.is_refusal() => clone_with_git(url, self.scratch.path()).await.map_err(|second| {
                let second = crate::hints::describe(&second);
                told(error).context(format!("git: {second}"))
            }),
            Err(error) => Err(told(error)),
        }
    }

    async fn fetch(&self, url: &RepositoryUrl, address: &str) -> Result<Arc<dyn Tree>, BaseError> {
        let base = Base {
            url: address,
            reference: &url.reference,
            submodules: url.submodules,
            ssh: None,
            timeout: url.timeout,
        };
        let tree = self.git.base(address, base).await?;
        Ok(Arc::new(Checkout(tree)))
    }
}

/// The remote's own error where there is one: it has causes and hints.
fn told(error: BaseError) -> anyhow::Error {
    match error {
        BaseError::Git(error) => error.into(),
        BaseError::Remote(error) => error.into(),
        other => other.into(),
    }
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
