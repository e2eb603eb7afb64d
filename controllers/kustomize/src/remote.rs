//! Remote bases: repositories and files that a build asks for, fetched within limits.
//!
//! A reference is resolved for every build, because a branch moves; objects of a commit are fetched once and kept on
//! disk, and a file that its server says is unchanged is not sent again.

mod kept;

use std::{
    borrow::Cow,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nave_artifact::{FileTree, Limits};
use nave_git::{Base, BaseError, Git, OpenError, Options, SshAuth};
use nave_kustomize::{Answer, Answers, Need, RepositoryUrl, Tree};
use nave_net::{ClientError, TlsOptions, is_local, redact};
use reqwest::{StatusCode, header, redirect};
use tokio::time::Instant;
use url::Url;

use self::kept::{Kept, Tagged};
use crate::reconcile::chain;

/// Questions of one build, and how often it may come back with new ones: bases of bases of bases.
const MOST_NEEDS: usize = 64;
const MOST_ROUNDS: usize = 16;
/// A file of manifests.
const LARGEST_FILE: usize = 10 << 20;
/// All that one build fetches, and one repository alone.
const MOST_BYTES: u64 = 128 << 20;
const REPOSITORY: Limits = Limits {
    bytes: 64 << 20,
    files: 20_000,
};
/// What a git server may send at once; a commit without its history is far below.
const LARGEST_PACK: u64 = 256 << 20;
/// Hops of a redirect.
const MOST_HOPS: usize = 5;

/// Fetches remote bases. Cheap to clone; clones share what is kept.
#[derive(Clone)]
pub struct RemoteBases(Arc<Inner>);

struct Inner {
    git: Git,
    http: reqwest::Client,
    allow_local: bool,
    /// Where a key and known hosts lie, for ssh.
    ssh: Option<PathBuf>,
    kept: Mutex<Kept>,
}

/// Why remote bases cannot be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenRemoteError {
    /// There is no place for git objects.
    #[error("opening the folder for remote bases")]
    Git(#[source] OpenError),
    /// There is no HTTP client.
    #[error("preparing the HTTP client for remote bases")]
    Client(#[source] ClientError),
}

/// Why a build's questions are not answered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMuch {
    #[error("remote bases lead to more than {MOST_ROUNDS} others, one inside of the other")]
    Rounds,
    #[error("the build asks for more than {MOST_NEEDS} remote bases")]
    Needs,
    #[error("remote bases have more than {MOST_BYTES} bytes together")]
    Bytes,
    #[error("the build asks again for what it was told")]
    Again,
}

/// The answers of one build, and what they have cost so far.
pub(crate) struct Fetching {
    pub answers: Answers,
    asked: Vec<Need>,
    rounds: usize,
    bytes: u64,
    deadline: Instant,
}

impl RemoteBases {
    /// Git objects are kept in `folder`. Addresses of this machine and its link are fetched from only if `allow_local`:
    /// who builds the files of others must not reach for them what only this process can reach.
    ///
    /// Repositories over ssh are fetched with the key and the known hosts in folder `ssh`, as in `~/.ssh`; without one they
    /// are refused.
    ///
    /// # Errors
    /// The folder cannot be used, or there are no root certificates.
    pub fn open(
        folder: impl Into<PathBuf>,
        allow_local: bool,
        ssh: Option<PathBuf>,
    ) -> Result<RemoteBases, OpenRemoteError> {
        let git = Git::open(Options {
            limits: REPOSITORY,
            max_response: LARGEST_PACK,
            refuse_local: !allow_local,
            ..Options::new(folder)
        })
        .map_err(OpenRemoteError::Git)?;
        let hops = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MOST_HOPS {
                attempt.error("too many redirects")
            } else if !allow_local && is_local(attempt.url()) {
                attempt.error("a redirect to an address of this machine, which is not allowed")
            } else {
                attempt.follow()
            }
        });
        let http = nave_net::http_client(&TlsOptions::default(), None)
            .and_then(|builder| builder.redirect(hops).build().map_err(ClientError::Build))
            .map_err(OpenRemoteError::Client)?;
        Ok(RemoteBases(Arc::new(Inner {
            git,
            http,
            allow_local,
            ssh,
            kept: Mutex::default(),
        })))
    }

    /// Adds the answers to what a build needs. What cannot be fetched is an answer, too: the build says who asked.
    pub(crate) async fn answer(&self, fetching: &mut Fetching, needs: Vec<Need>) -> Result<(), TooMuch> {
        fetching.rounds += 1;
        if fetching.rounds > MOST_ROUNDS {
            return Err(TooMuch::Rounds);
        }
        let new: Vec<Need> = needs
            .into_iter()
            .filter(|need| !fetching.asked.contains(need))
            .collect();
        if new.is_empty() {
            return Err(TooMuch::Again);
        }
        for need in new {
            if fetching.asked.len() == MOST_NEEDS {
                return Err(TooMuch::Needs);
            }
            let (answer, bytes) = match self.fetch_or_rest(&need, fetching.deadline).await {
                Ok(fetched) => fetched,
                Err(why) => (Answer::Failed(redact(&why).to_string()), 0),
            };
            fetching.bytes += bytes;
            if fetching.bytes > MOST_BYTES {
                return Err(TooMuch::Bytes);
            }
            fetching.answers.insert(need.clone(), answer);
            fetching.asked.push(need);
        }
        Ok(())
    }

    async fn fetch_or_rest(&self, need: &Need, deadline: Instant) -> Result<(Answer, u64), String> {
        let (began, host) = (Instant::now(), host_of(need));
        if let Some(why) = self.lock().rests(&host, began) {
            return Err(why);
        }
        let fetched = self.fetch(need, deadline.saturating_duration_since(began)).await;
        if let Err(why) = &fetched {
            self.lock().failed(host, began, Instant::now(), why);
        }
        fetched
    }

    async fn fetch(&self, need: &Need, left: Duration) -> Result<(Answer, u64), String> {
        match need {
            Need::File { url } => {
                let file = tokio::time::timeout(left, self.file(url)).await;
                let bytes = file.map_err(|_| format!("it took longer than the {left:.0?} that were left"))??;
                Ok((Answer::File(bytes.to_vec()), bytes.len() as u64))
            }
            Need::Repository(url) => {
                let tree = self.repository(url, left.min(url.timeout)).await?;
                let bytes = tree.bytes();
                Ok((Answer::Tree(Arc::new(Files(tree))), bytes))
            }
            Need::Chart(chart) => Err(format!("chart {} is not rendered by the controller", chart.name)),
        }
    }

    async fn file(&self, address: &str) -> Result<Arc<[u8]>, String> {
        let url = Url::parse(address).map_err(|error| error.to_string())?;
        self.check(&url)?;
        let known = self.lock().files.get(address).cloned();
        let mut request = self.0.http.get(url);
        if let Some(known) = &known {
            request = request.header(header::IF_NONE_MATCH, known.etag.clone());
        }
        let failed = |error: reqwest::Error| chain(&error.without_url());
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        match known {
            Some(known) if status == StatusCode::NOT_MODIFIED => return Ok(known.bytes),
            _ if !status.is_success() => return Err(format!("the server answered {status}")),
            _ => {}
        }
        let etag = response.headers().get(header::ETAG).cloned();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > LARGEST_FILE {
                return Err(format!("the file has more than {LARGEST_FILE} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let bytes: Arc<[u8]> = bytes.into();
        if let Some(etag) = etag {
            let tagged = Tagged {
                etag,
                bytes: bytes.clone(),
            };
            self.lock().keep_file(address, tagged);
        }
        Ok(bytes)
    }

    async fn repository(&self, url: &RepositoryUrl, timeout: Duration) -> Result<FileTree, String> {
        let address = url.clone_url();
        if address.starts_with("file:") {
            return Err("only repositories at addresses of http, https and ssh are fetched".to_owned());
        }
        let key = match &self.0.ssh {
            // Read each time: a Secret that is mounted there may change.
            Some(folder) if is_ssh(&address) => SshAuth::of_folder(folder).await.map_err(|error| chain(&error))?,
            _ => None,
        };
        if let Some(old) = self.lock().use_repository(&address) {
            self.0.git.release(&old);
        }
        let base = Base {
            url: &address,
            reference: &url.reference,
            submodules: url.submodules,
            ssh: key.as_ref(),
            timeout,
        };
        self.0.git.base(&address, base).await.map_err(|error| match error {
            BaseError::NoKey => match &self.0.ssh {
                Some(folder) => format!("it needs a key for ssh, and {} has none", folder.display()),
                None => "repositories over ssh are not fetched here: there is no key for them".to_owned(),
            },
            BaseError::Git(error) => chain(&error),
            other => chain(&other),
        })
    }

    fn check(&self, url: &Url) -> Result<(), String> {
        if !self.0.allow_local && is_local(url) {
            return Err("the address is one of this machine, which is not allowed".to_owned());
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetching {
    /// Nothing was asked yet; everything together may take `limit`.
    pub fn new(limit: Duration) -> Fetching {
        Fetching {
            answers: Answers::new(),
            asked: Vec::new(),
            rounds: 0,
            bytes: 0,
            deadline: Instant::now() + limit,
        }
    }

    /// Whether anything was fetched: then an equal input does not mean an equal result.
    pub fn is_remote(&self) -> bool {
        !self.asked.is_empty()
    }
}

/// Host and port, or all of an address that has none.
fn host_of(need: &Need) -> String {
    let address = match need {
        Need::File { url } => url.clone(),
        Need::Repository(url) => url.clone_url(),
        Need::Chart(chart) => chart.repository.clone(),
    };
    let host = Url::parse(&address).ok().and_then(|url| {
        let port = url.port_or_known_default()?;
        Some(format!("{}:{port}", url.host_str()?))
    });
    host.unwrap_or(address)
}

/// `ssh://…`, or `user@host:path`.
fn is_ssh(address: &str) -> bool {
    address.starts_with("ssh://") || !address.contains("://")
}

/// A commit's files as kustomize sees them.
struct Files(FileTree);

impl Tree for Files {
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

    fn need(url: &str) -> Need {
        match RepositoryUrl::parse(url) {
            Some(repository) => Need::Repository(repository),
            None => Need::File { url: url.to_owned() },
        }
    }

    async fn fetch_refused(allow_local: bool, need: &Need) -> String {
        nave_net::install_crypto_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let bases = RemoteBases::open(folder.path(), allow_local, Some(folder.path().to_owned())).expect("it opens");
        match bases.fetch(need, Duration::from_secs(5)).await {
            Ok(_) => panic!("{need:?} was fetched"),
            Err(why) => why,
        }
    }

    #[test]
    fn hosts_are_those_that_are_asked() {
        assert_eq!(
            host_of(&need("https://git.example.com/o/r.git//x?ref=v1")),
            "git.example.com:443"
        );
        assert_eq!(host_of(&need("git@example.com:o/r")), "git@example.com:o/r");
    }

    #[tokio::test]
    async fn what_must_not_be_reached_is_not_asked() {
        for url in [
            "http://127.0.0.1:1/o/r.git//x?ref=v1",
            "http://169.254.169.254/latest/meta-data//x",
        ] {
            let why = fetch_refused(false, &need(url)).await;
            assert!(why.contains("address of this machine"), "{url}: {why}");
        }
        let file = Need::File {
            url: "http://localhost:1/a.yaml".to_owned(),
        };
        assert!(fetch_refused(false, &file).await.contains("one of this machine"));
        for (url, wanted) in [
            ("git@github.com:o/r//x", "it needs a key for ssh, and "),
            ("ssh://git@host/o/r//x", "it needs a key for ssh, and "),
            (
                "file:///srv/r//x",
                "only repositories at addresses of http, https and ssh",
            ),
        ] {
            let why = fetch_refused(true, &need(url)).await;
            assert!(why.contains(wanted), "{url}: {why}");
        }
    }

    #[tokio::test]
    async fn a_build_may_not_ask_for_ever() {
        nave_net::install_crypto_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let bases = RemoteBases::open(folder.path(), false, None).expect("it opens");
        let file = |number: usize| Need::File {
            url: format!("http://127.0.0.1:1/{number}.yaml"),
        };
        let mut fetching = Fetching::new(Duration::from_secs(5));
        assert!(!fetching.is_remote());
        bases
            .answer(&mut fetching, vec![file(0)])
            .await
            .expect("a failure is an answer");
        assert!(fetching.is_remote());
        assert_eq!(bases.answer(&mut fetching, vec![file(0)]).await, Err(TooMuch::Again));
        let mut fetching = Fetching::new(Duration::from_secs(5));
        let many = (0..=MOST_NEEDS).map(file).collect();
        assert_eq!(bases.answer(&mut fetching, many).await, Err(TooMuch::Needs));
        let mut fetching = Fetching::new(Duration::from_secs(5));
        for round in 0..MOST_ROUNDS {
            bases
                .answer(&mut fetching, vec![file(round)])
                .await
                .expect("not too many yet");
        }
        assert_eq!(bases.answer(&mut fetching, vec![file(99)]).await, Err(TooMuch::Rounds));
    }
}
