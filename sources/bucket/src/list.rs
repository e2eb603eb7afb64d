//! Which objects of a bucket count.

use std::{future::Future, time::Duration};

use nave_artifact::{IGNORE_FILE, Ignore, Limits};

use crate::{BucketError, Index, Object, Remote, paths, remote::Backend, request::read};

/// What a bucket holds, without what is ignored.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The objects that count.
    pub index: Index,
    /// The bucket's own `.sourceignore`: not part of the index, but of the artifact.
    pub ignore_file: Option<Vec<u8>>,
    /// Ignore patterns that could not be read.
    pub invalid: Vec<String>,
}

/// One part of a listing.
pub(crate) struct Page {
    pub objects: Vec<Listed>,
    /// Where the next one begins.
    pub next: Option<String>,
}

pub(crate) struct Listed {
    pub key: String,
    pub object: Object,
}

/// A thousand keys of 1024 bytes, each byte escaped, with what stands around them.
const PAGE: usize = 16 << 20;
/// Far above any list of patterns.
const IGNORE: usize = 1 << 20;

impl Remote {
    /// Lists what is below `prefix`, without what `.sourceignore` in the bucket's root and `ignore` leave out. Unlike with
    /// other sources there are no default patterns (source-controller 1.9, `fetchEtagIndex`).
    ///
    /// # Errors
    /// The storage refuses or fails, there is more than `limits` allow, a key cannot be a path, or it takes too long.
    pub async fn list(
        &self,
        prefix: &str,
        ignore: Option<&str>,
        limits: &Limits,
        timeout: Duration,
    ) -> Result<Listing, BucketError> {
        let what = format!("indexation of objects from bucket '{}' failed", self.bucket());
        in_time(&what, timeout, self.list_all(&what, prefix, ignore, limits)).await
    }

    async fn list_all(
        &self,
        what: &str,
        prefix: &str,
        ignore: Option<&str>,
        limits: &Limits,
    ) -> Result<Listing, BucketError> {
        let ignore_file = self.ignore_file().await?;
        let root = ignore_file.as_deref().map(|text| (IGNORE_FILE, text));
        let rules = Ignore::without_defaults(root, ignore);
        let mut index = Index::default();
        let (mut token, mut bytes): (Option<String>, u64) = (None, 0);
        loop {
            let page = self.page(what, prefix, token.as_deref()).await?;
            for listed in page.objects {
                let Listed { key, object } = listed;
                if key.ends_with('/') || key == IGNORE_FILE || rules.excludes(&key) {
                    continue;
                }
                bytes = bytes.saturating_add(object.size);
                index.0.insert(key, object);
            }
            let bucket = || self.bucket().to_owned();
            if index.len() > limits.files {
                let limit = format!("{} objects", limits.files);
                return Err(BucketError::TooMuch {
                    bucket: bucket(),
                    limit,
                });
            }
            if bytes > limits.bytes {
                let limit = format!("{} MiB", limits.bytes >> 20);
                return Err(BucketError::TooMuch {
                    bucket: bucket(),
                    limit,
                });
            }
            match page.next {
                // A server that goes in circles would be listed for ever.
                Some(next) if token.as_ref() == Some(&next) => {
                    return Err(self.unreadable(what, "the next page is the one before".to_owned()));
                }
                Some(next) => token = Some(next),
                None => break,
            }
        }
        paths::plan(&index)?;
        Ok(Listing {
            index,
            ignore_file,
            invalid: rules.invalid().to_vec(),
        })
    }

    async fn ignore_file(&self) -> Result<Option<Vec<u8>>, BucketError> {
        let what = format!("failed to get '{IGNORE_FILE}' object");
        let url = match self.backend() {
            Backend::S3(s3) => s3.object(IGNORE_FILE),
            Backend::Google(google) => google.object(IGNORE_FILE, None),
            Backend::Azure(azure) => azure.object(IGNORE_FILE),
        };
        match self.get(&what, &url).await {
            Ok(response) => match read(response, IGNORE).await {
                Some(text) if text.len() < IGNORE => Ok(Some(text)),
                Some(_) => Err(self.unreadable(&what, format!("it is larger than {} KiB", IGNORE >> 10))),
                None => Err(BucketError::Request {
                    what,
                    problem: format!("{}: the connection was cut", self.server()),
                }),
            },
            Err(error) if self.is_no_object(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn page(&self, what: &str, prefix: &str, token: Option<&str>) -> Result<Page, BucketError> {
        let url = match self.backend() {
            Backend::S3(s3) => s3.page(prefix, token),
            Backend::Google(google) => google.page(prefix, token),
            Backend::Azure(azure) => azure.page(prefix, token),
        };
        let response = self.get(what, &url).await?;
        let text = read(response, PAGE).await.ok_or_else(|| BucketError::Request {
            what: what.to_owned(),
            problem: format!("{}: the connection was cut", self.server()),
        })?;
        let unreadable = |problem: String| self.unreadable(what, problem);
        if text.len() == PAGE {
            return Err(unreadable(format!("a page is larger than {} MiB", PAGE >> 20)));
        }
        let text = String::from_utf8(text).map_err(|_| unreadable("it is not text".to_owned()))?;
        match self.backend() {
            Backend::S3(_) => crate::s3::parse(&text),
            Backend::Google(_) => crate::google::parse(&text),
            Backend::Azure(_) => crate::azure::parse(&text),
        }
        .map_err(unreadable)
    }

    pub(crate) fn unreadable(&self, what: &str, problem: String) -> BucketError {
        BucketError::Answer {
            what: what.to_owned(),
            server: self.server().to_owned(),
            problem: problem.chars().take(300).collect(),
        }
    }
}

/// The result of `work`, or that it took too long.
pub(crate) async fn in_time<T>(
    what: &str,
    timeout: Duration,
    work: impl Future<Output = Result<T, BucketError>>,
) -> Result<T, BucketError> {
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(BucketError::Timeout {
            what: what.to_owned(),
            seconds: timeout.as_secs(),
        }),
    }
}
