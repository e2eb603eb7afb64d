//! Writing: blobs, manifests, tags.

use std::time::Duration;

use bytes::Bytes;
use nave_artifact::Digest;
use url::Url;

use crate::{Descriptor, OciError, Remote, manifest::media_type, pull::header, repository::is_tag, session::Right};

const PUSHING: &str = "pushing to";
const TAGGING: &str = "tagging in";

impl Remote {
    /// Uploads a blob, unless the repository has it.
    ///
    /// # Errors
    /// The registry's, or `timeout` is over.
    pub async fn push_blob(&self, media_type: &str, data: Bytes, timeout: Duration) -> Result<Descriptor, OciError> {
        let descriptor = Descriptor::of(media_type, &data);
        self.within(PUSHING, timeout, self.upload(&descriptor, data)).await?;
        Ok(descriptor)
    }

    async fn upload(&self, descriptor: &Descriptor, data: Bytes) -> Result<(), OciError> {
        let session = &self.session;
        session.greet().await?;
        let wanted = || "the repository".to_owned();
        let known = session.url(&format!("blobs/{}", descriptor.digest));
        let response = session
            .send(Right::Push, true, |client| client.head(known.as_str()))
            .await?;
        if response.status().is_success() {
            return Ok(());
        }
        let start = session.url("blobs/uploads/");
        let response = session
            .send(Right::Push, false, |client| {
                client.post(start.as_str()).header("content-length", "0")
            })
            .await?;
        let response = session.success(PUSHING, wanted, response).await?;
        let location = header(&response, "location")
            .ok_or_else(|| self.protocol(PUSHING, "the registry names no place for the upload".to_owned()))?;
        let target = self.upload_target(&start, location, &descriptor.digest)?;
        let response = session
            .send(Right::Push, false, |client| {
                client
                    .put(target.clone())
                    .header("content-type", "application/octet-stream")
                    .body(data.clone())
            })
            .await?;
        session.success(PUSHING, wanted, response).await?;
        Ok(())
    }

    /// The place of an upload, which has to be on the same host: credentials go there.
    fn upload_target(&self, start: &str, location: &str, digest: &str) -> Result<Url, OciError> {
        let unreadable = |error: url::ParseError| {
            self.protocol(PUSHING, format!("the place for the upload cannot be read: {error}"))
        };
        let start = Url::parse(start).map_err(unreadable)?;
        let mut target = start.join(location).map_err(unreadable)?;
        if target.host_str() != start.host_str() || (start.scheme() == "https" && target.scheme() != "https") {
            return Err(self.protocol(
                PUSHING,
                "the place for the upload is on another server, which is not followed".to_owned(),
            ));
        }
        target.query_pairs_mut().append_pair("digest", digest);
        Ok(target)
    }

    /// Stores a manifest under a tag.
    ///
    /// # Errors
    /// The registry's, or `timeout` is over.
    pub async fn push_manifest(
        &self,
        tag: &str,
        manifest: Bytes,
        media_type: &str,
        timeout: Duration,
    ) -> Result<Digest, OciError> {
        if !is_tag(tag) {
            return Err(OciError::Reference {
                reference: tag.chars().take(200).collect(),
            });
        }
        let put = async {
            self.session.greet().await?;
            let url = self.session.url(&format!("manifests/{tag}"));
            let response = self
                .session
                .send(Right::Push, false, |client| {
                    client
                        .put(url.as_str())
                        .header("content-type", media_type)
                        .body(manifest.clone())
                })
                .await?;
            self.session
                .success(PUSHING, || "the repository".to_owned(), response)
                .await?;
            Ok(Digest::sha256(&manifest))
        };
        self.within(PUSHING, timeout, put).await
    }

    /// Gives what `digest` names another tag.
    ///
    /// # Errors
    /// The registry's, there is no such manifest, or `timeout` is over.
    pub async fn tag(&self, digest: &Digest, tag: &str, timeout: Duration) -> Result<(), OciError> {
        let pulled = self.manifest(digest, timeout).await?;
        if pulled.digest != *digest {
            return Err(self.protocol(TAGGING, format!("{digest} is an index, which cannot be tagged")));
        }
        let kind = match pulled.media_type.split(';').next().unwrap_or_default().trim() {
            "" => media_type::OCI_MANIFEST.to_owned(),
            kind => kind.to_owned(),
        };
        self.push_manifest(tag, pulled.raw.into(), &kind, timeout).await?;
        Ok(())
    }
}
