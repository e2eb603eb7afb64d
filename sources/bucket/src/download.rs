//! Bringing the objects of an index to disk, many at once, none of them in memory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use nave_artifact::Limits;
use tokio::io::AsyncWriteExt as _;

use crate::{
    BucketError, Index, Listing, Object, Remote, google,
    list::in_time,
    paths,
    remote::Backend,
    request::{TRIES, header, read},
    s3::plain_etag,
};

/// What was downloaded.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The index as it turned out: with the etags of what was read, without what vanished meanwhile.
    pub index: Index,
    /// Files by the path they stand for, in the order of an archive.
    pub files: BTreeMap<String, FetchedFile>,
    /// Keys that were listed and are gone.
    pub vanished: Vec<String>,
}

/// A file of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// Where it is on disk.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

/// So many objects are read at once. Flux reads a hundred; each costs a connection and a buffer of some ten KiB.
const CONCURRENT: usize = 50;

/// What all downloads of one run share.
#[derive(Clone)]
struct Run {
    remote: Remote,
    directory: Arc<Path>,
    limit: u64,
    taken: Arc<AtomicU64>,
}

/// How one object ended.
enum Outcome {
    Here { object: Object, file: FetchedFile },
    Gone,
}

impl Remote {
    /// Downloads everything that was listed into numbered files of an empty directory.
    ///
    /// An object that changed since it was listed comes as it is now, with its etag; content and etag are always of one
    /// answer. One that vanished is left out.
    ///
    /// # Errors
    /// The storage refuses or fails, the disk fails, there is more than `limits` allow, or it takes too long.
    pub async fn download(
        &self,
        listing: &Listing,
        directory: &Path,
        limits: &Limits,
        timeout: Duration,
    ) -> Result<Fetched, BucketError> {
        let what = format!("fetch from bucket '{}' failed", self.bucket());
        let run = Run {
            remote: self.clone(),
            directory: directory.into(),
            limit: limits.bytes,
            taken: Arc::default(),
        };
        in_time(&what, timeout, run.all(&what, &listing.index)).await
    }
}

impl Run {
    async fn all(&self, what: &str, index: &Index) -> Result<Fetched, BucketError> {
        let paths = paths::plan(index)?;
        let mut wanted = Vec::with_capacity(paths.len());
        for (number, (path, key)) in paths.into_iter().enumerate() {
            let object = index.0.get(&key).cloned().unwrap_or_default();
            wanted.push((number, path, key, object));
        }
        let mut fetched = Fetched {
            index: Index::default(),
            files: BTreeMap::new(),
            vanished: Vec::new(),
        };
        let mut running = stream::iter(wanted.into_iter().map(|(number, path, key, object)| {
            let (run, what) = (self.clone(), format!("{what}: failed to get '{key}' object"));
            async move {
                let file = run.directory.join(number.to_string());
                let outcome = run.one(&what, &key, object, file).await;
                (path, key, outcome)
            }
        }))
        .buffer_unordered(CONCURRENT);
        while let Some((path, key, outcome)) = running.next().await {
            match outcome? {
                Outcome::Here { object, file } => {
                    fetched.index.0.insert(key, object);
                    fetched.files.insert(path, file);
                }
                Outcome::Gone => fetched.vanished.push(key),
            }
        }
        fetched.vanished.sort();
        Ok(fetched)
    }

    /// One object; from the beginning when the connection is cut.
    async fn one(&self, what: &str, key: &str, listed: Object, file: PathBuf) -> Result<Outcome, BucketError> {
        let mut listed = listed;
        let mut tries = 1;
        loop {
            let error = match self.attempt(what, key, &listed, &file).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            if self.remote.is_no_object(&error) {
                // Google keeps no generation that was replaced; there may be another one.
                match self.newer(what, key, &listed).await? {
                    Some(newer) if tries < TRIES => {
                        listed = newer;
                        tries += 1;
                        continue;
                    }
                    Some(_) => return Err(error),
                    None => return Ok(Outcome::Gone),
                }
            }
            // What was refused has been tried again already.
            if tries >= TRIES || !matches!(error, BucketError::Request { .. }) {
                return Err(error);
            }
            tries += 1;
        }
    }

    async fn newer(&self, what: &str, key: &str, listed: &Object) -> Result<Option<Object>, BucketError> {
        let (Backend::Google(google), Some(_)) = (self.remote.backend(), &listed.generation) else {
            return Ok(None);
        };
        let response = match self.remote.get(what, &google.about(key)).await {
            Ok(response) => response,
            Err(error) if self.remote.is_no_object(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = read(response, 64 << 10).await.unwrap_or_default();
        let object = google::parse_about(&String::from_utf8_lossy(&text))
            .map_err(|problem| self.remote.unreadable(what, problem))?;
        Ok(Some(object))
    }

    async fn attempt(&self, what: &str, key: &str, listed: &Object, file: &Path) -> Result<Outcome, BucketError> {
        let url = match self.remote.backend() {
            Backend::S3(s3) => s3.object(key),
            Backend::Google(google) => google.object(key, listed.generation.as_deref()),
            Backend::Azure(azure) => azure.object(key),
        };
        let mut response = self.remote.get(what, &url).await?;
        let answered = header(response.headers(), "etag");
        let etag = match (self.remote.backend(), answered) {
            (Backend::S3(_), Some(etag)) => plain_etag(etag).to_owned(),
            (Backend::Azure(_), Some(etag)) => crate::azure::etag(etag),
            // The generation that was listed was asked for.
            (Backend::Google(_), _) | (_, None) => listed.etag.clone(),
        };
        let disk = |source| BucketError::Disk {
            key: key.to_owned(),
            source,
        };
        let mut out = tokio::fs::File::create(file).await.map_err(disk)?;
        let mut size = 0;
        loop {
            let chunk = response.chunk().await.map_err(|error| {
                // What is tried again must not count twice.
                self.taken.fetch_sub(size, Ordering::Relaxed);
                BucketError::Request {
                    what: what.to_owned(),
                    problem: format!(
                        "{}: the connection was cut after {size} bytes: {}",
                        self.remote.server(),
                        crate::http_service::chain(&error.without_url())
                    ),
                }
            })?;
            let Some(chunk) = chunk else { break };
            size += chunk.len() as u64;
            let taken = self.taken.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
            if taken > self.limit {
                return Err(BucketError::TooMuch {
                    bucket: self.remote.bucket().to_owned(),
                    limit: format!("{} MiB", self.limit >> 20),
                });
            }
            out.write_all(&chunk).await.map_err(disk)?;
        }
        out.flush().await.map_err(disk)?;
        let generation = listed.generation.clone();
        Ok(Outcome::Here {
            object: Object { etag, size, generation },
            file: FetchedFile {
                file: file.to_owned(),
                size,
            },
        })
    }
}
