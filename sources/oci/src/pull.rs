//! Reading: which tags there are, what a tag stands for, manifests, and blobs as streams.

use std::{future::Future, time::Duration};

use nave_artifact::{Digest, Hasher};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use url::Url;

use crate::{
    Descriptor, Manifest, OciError, Remote,
    manifest::{Index, media_type},
    repository::is_tag,
    request::bounded_body,
    session::Right,
};

/// What a tag or digest stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Digest of the manifest or index.
    pub digest: Digest,
}

/// A manifest with the bytes that its digest is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The manifest; of an index, the one for `linux/amd64`.
    pub manifest: Manifest,
    /// Its digest.
    pub digest: Digest,
    /// The bytes.
    pub raw: Vec<u8>,
    /// What the registry says they are.
    pub media_type: String,
}

/// As the specification asks registries to take at least.
const MAX_MANIFEST: u64 = 4 << 20;
const MAX_TAGS_PAGE: u64 = 8 << 20;
const PAGE: usize = 1000;
/// A repository with a build per minute has half a million tags a year.
const MAX_TAGS: usize = 1_000_000;
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
const PULLING: &str = "pulling from";
const LISTING: &str = "listing tags of";
const RESOLVING: &str = "resolving a tag of";

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Remote {
    /// All tags, page by page.
    ///
    /// # Errors
    /// The registry's, or `timeout` is over.
    pub async fn tags(&self, timeout: Duration) -> Result<Vec<String>, OciError> {
        self.within(LISTING, timeout, self.all_tags()).await
    }

    async fn all_tags(&self) -> Result<Vec<String>, OciError> {
        self.session.greet().await?;
        let mut url = self.session.url(&format!("tags/list?n={PAGE}"));
        let mut all = Vec::new();
        loop {
            let response = self
                .session
                .send(Right::Pull, true, |client| client.get(url.as_str()))
                .await?;
            let response = self
                .session
                .success(LISTING, || "the repository".to_owned(), response)
                .await?;
            let next = next_page(&response, &url).map_err(|detail| self.protocol(LISTING, detail))?;
            let body = bounded_body(response, MAX_TAGS_PAGE, LISTING, self.repository()).await?;
            let page: Tags = serde_json::from_slice(&body)
                .map_err(|error| self.protocol(LISTING, format!("the answer is no list of tags: {error}")))?;
            let page = page.tags.unwrap_or_default();
            let is_empty = page.is_empty();
            all.extend(page);
            match next {
                // An empty page that points on is a registry going in circles.
                Some(next) if !is_empty && next != url && all.len() < MAX_TAGS => url = next,
                Some(_) if all.len() >= MAX_TAGS => {
                    return Err(self.protocol(LISTING, format!("there are more than {MAX_TAGS} tags")));
                }
                _ => return Ok(all),
            }
        }
    }

    /// The digest that a tag stands for: asked for with HEAD, and read with GET where that is not answered.
    ///
    /// # Errors
    /// The registry's, there is no such tag, or `timeout` is over.
    pub async fn resolve(&self, tag: &str, timeout: Duration) -> Result<Resolved, OciError> {
        if !is_tag(tag) {
            return Err(OciError::Reference {
                reference: tag.chars().take(200).collect(),
            });
        }
        self.within(RESOLVING, timeout, self.resolve_tag(tag)).await
    }

    async fn resolve_tag(&self, tag: &str) -> Result<Resolved, OciError> {
        let response = self.manifest_request(tag, true).await?;
        let status = response.status();
        if status.is_success()
            && let Some(digest) = header(&response, "docker-content-digest").and_then(|text| text.parse().ok())
        {
            return Ok(Resolved { digest });
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(self.session.failure(RESOLVING, format!("tag '{tag}'"), status, &[]));
        }
        let response = self.manifest_request(tag, false).await?;
        let response = self
            .session
            .success(RESOLVING, || format!("tag '{tag}'"), response)
            .await?;
        let body = bounded_body(response, MAX_MANIFEST, RESOLVING, self.repository()).await?;
        Ok(Resolved {
            digest: Digest::sha256(&body),
        })
    }

    /// The manifest of that digest. Of an index, the manifest for `linux/amd64` is read.
    ///
    /// # Errors
    /// The registry's, it does not exist, it is not what its digest says, or `timeout` is over.
    pub async fn manifest(&self, digest: &Digest, timeout: Duration) -> Result<Pulled, OciError> {
        self.within(PULLING, timeout, async {
            let (raw, kind) = self.raw(digest).await?;
            if !is_index(&kind, &raw) {
                return self.read(raw, *digest, kind);
            }
            let wrong = |detail: String| self.protocol(PULLING, detail);
            let index: Index = serde_json::from_slice(&raw)
                .map_err(|error| wrong(format!("index {digest} cannot be read: {error}")))?;
            let entry = index
                .choose()
                .ok_or_else(|| wrong(format!("index {digest} has no manifest for linux/amd64")))?;
            let inner: Digest = entry
                .digest
                .parse()
                .map_err(|error| wrong(format!("index {digest}: {error}")))?;
            let (raw, kind) = self.raw(&inner).await?;
            if is_index(&kind, &raw) {
                return Err(wrong(format!("index {digest} leads to another index")));
            }
            self.read(raw, inner, kind)
        })
        .await
    }

    fn read(&self, raw: Vec<u8>, digest: Digest, media_type: String) -> Result<Pulled, OciError> {
        let manifest = serde_json::from_slice(&raw)
            .map_err(|error| self.protocol(PULLING, format!("manifest {digest} cannot be read: {error}")))?;
        Ok(Pulled {
            manifest,
            digest,
            raw,
            media_type,
        })
    }

    /// The bytes of a manifest, checked, with their media type.
    async fn raw(&self, digest: &Digest) -> Result<(Vec<u8>, String), OciError> {
        let response = self.manifest_request(&digest.to_string(), false).await?;
        let response = self
            .session
            .success(PULLING, || format!("manifest {digest}"), response)
            .await?;
        let kind = header(&response, "content-type").unwrap_or_default().to_owned();
        let body = bounded_body(response, MAX_MANIFEST, PULLING, self.repository()).await?;
        let actual = digest.algorithm().digest(&body);
        if actual != *digest {
            return Err(OciError::Digest {
                what: "manifest",
                repository: self.repository().to_string(),
                expected: Box::new(*digest),
                actual: Box::new(actual),
            });
        }
        Ok((body, kind))
    }

    async fn manifest_request(&self, reference: &str, head: bool) -> Result<Response, OciError> {
        self.session.greet().await?;
        let url = self.session.url(&format!("manifests/{reference}"));
        self.session
            .send(Right::Pull, true, |client| {
                let request = if head {
                    client.head(url.as_str())
                } else {
                    client.get(url.as_str())
                };
                request.header("accept", MANIFESTS)
            })
            .await
    }

    /// Writes a blob to `into` as it comes. What was written is only worth something when this returns well: size and
    /// digest are known at the end.
    ///
    /// # Errors
    /// The registry's, another size or digest than the manifest says, a pause longer than the registries allow,
    /// `timeout` is over, or the writer's.
    pub async fn download(
        &self,
        blob: &Descriptor,
        into: &mut (impl AsyncWrite + Unpin),
        timeout: Duration,
    ) -> Result<(), OciError> {
        self.within(PULLING, timeout, self.stream(blob, into)).await
    }

    async fn stream(&self, blob: &Descriptor, into: &mut (impl AsyncWrite + Unpin)) -> Result<(), OciError> {
        let expected: Digest = blob
            .digest
            .parse()
            .map_err(|error| self.protocol(PULLING, format!("layer: {error}")))?;
        self.session.greet().await?;
        let url = self.session.url(&format!("blobs/{expected}"));
        let response = self
            .session
            .send(Right::Pull, true, |client| client.get(url.as_str()))
            .await?;
        let mut response = self
            .session
            .success(PULLING, || format!("blob {expected}"), response)
            .await?;
        let wrong_size = |actual: String| OciError::Size {
            digest: expected.to_string(),
            repository: self.repository().to_string(),
            expected: blob.size,
            actual,
        };
        if let Some(length) = response.content_length()
            && length != blob.size
        {
            return Err(wrong_size(length.to_string()));
        }
        let mut hasher = Hasher::new(expected.algorithm());
        let mut received: u64 = 0;
        let writing = |source| OciError::Write {
            repository: self.repository().to_string(),
            source,
        };
        loop {
            let chunk = tokio::time::timeout(self.stall, response.chunk())
                .await
                .map_err(|_| OciError::Stalled {
                    what: PULLING,
                    repository: self.repository().to_string(),
                    stall: self.stall,
                    received,
                    size: blob.size,
                })?
                .map_err(|error| self.session.unreachable(&error))?;
            let Some(chunk) = chunk else { break };
            received += chunk.len() as u64;
            if received > blob.size {
                return Err(wrong_size("more".to_owned()));
            }
            hasher.update(&chunk);
            into.write_all(&chunk).await.map_err(writing)?;
        }
        into.flush().await.map_err(writing)?;
        if received != blob.size {
            return Err(wrong_size(received.to_string()));
        }
        let actual = hasher.finish();
        if actual != expected {
            return Err(OciError::Digest {
                what: "blob",
                repository: self.repository().to_string(),
                expected: Box::new(expected),
                actual: Box::new(actual),
            });
        }
        Ok(())
    }

    /// A small blob in memory.
    ///
    /// # Errors
    /// As [`Remote::download`], and when it is larger than `limit`.
    pub async fn blob(&self, blob: &Descriptor, limit: u64, timeout: Duration) -> Result<Vec<u8>, OciError> {
        if blob.size > limit {
            return Err(OciError::TooLarge {
                what: PULLING,
                repository: self.repository().to_string(),
                limit,
            });
        }
        let mut data = Vec::new();
        self.download(blob, &mut data, timeout).await?;
        Ok(data)
    }

    pub(crate) async fn within<T>(
        &self,
        what: &'static str,
        timeout: Duration,
        work: impl Future<Output = Result<T, OciError>>,
    ) -> Result<T, OciError> {
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            Err(OciError::Timeout {
                what,
                repository: self.repository().to_string(),
                timeout,
            })
        })
    }

    pub(crate) fn protocol(&self, what: &'static str, detail: String) -> OciError {
        OciError::Protocol {
            what,
            repository: self.repository().to_string(),
            detail: nave_net::redact(&detail),
        }
    }
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

fn is_index(kind: &str, raw: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        #[serde(default)]
        media_type: String,
    }
    let is = |kind: &str| matches!(kind, media_type::OCI_INDEX | media_type::DOCKER_LIST);
    let kind = kind.split(';').next().unwrap_or_default().trim();
    is(kind) || serde_json::from_slice::<Kind>(raw).is_ok_and(|content| is(&content.media_type))
}

/// The address of the next page (RFC 5988), which has to be on the same server: credentials go there.
fn next_page(response: &Response, current: &str) -> Result<Option<String>, String> {
    let Some(link) = header(response, "link") else {
        return Ok(None);
    };
    let Some(target) = next_link(link) else {
        return Ok(None);
    };
    let current = Url::parse(current).map_err(|error| error.to_string())?;
    let next = current
        .join(target)
        .map_err(|error| format!("the address of the next page cannot be read: {error}"))?;
    if next.origin() != current.origin() {
        return Err("the next page of tags is on another server, which is not followed".to_owned());
    }
    Ok(Some(next.into()))
}

fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters
            .split(';')
            .any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page() {
        for (header, expected) in [
            (
                "</v2/a/tags/list?last=x&n=1>; rel=\"next\"",
                Some("/v2/a/tags/list?last=x&n=1"),
            ),
            ("<https://h/x>; title=\"a\"; rel=next", Some("https://h/x")),
            ("</first>; rel=\"prev\", </second>; rel=\"next\"", Some("/second")),
            ("</x>; rel=\"prev\"", None),
            ("nonsense", None),
        ] {
            assert_eq!(next_link(header), expected, "{header}");
        }
    }
}
