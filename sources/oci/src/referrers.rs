//! What was added to an artifact later: signatures and attestations that refer to it.

use std::time::Duration;

use nave_artifact::Digest;
use reqwest::StatusCode;
use serde::Deserialize;

use crate::{Manifest, OciError, Remote, manifest::media_type, pull::Pulled, request::bounded_body, session::Right};

/// A manifest that refers to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// What it is; empty where the registry does not say.
    pub artifact_type: String,
}

const REFERRERS: &str = "looking for signatures in";
const MAX_INDEX: u64 = 4 << 20;
/// So many referrers are looked at; anybody who may push can add more.
const MAX_REFERRERS: usize = 256;

#[derive(Default, Deserialize)]
struct Referrers {
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    digest: String,
    #[serde(default)]
    artifact_type: Option<String>,
}

impl Remote {
    /// The manifests that refer to `subject`: by the registry's own list, or where it keeps none, by the index under
    /// the tag `<algorithm>-<hex>` (OCI distribution specification 1.1, "referrers tag schema").
    ///
    /// # Errors
    /// The registry's, its answer is no index, or `timeout` is over.
    pub async fn referrers(&self, subject: &Digest, timeout: Duration) -> Result<Vec<Referrer>, OciError> {
        self.within(REFERRERS, timeout, self.find_referrers(subject)).await
    }

    async fn find_referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, OciError> {
        self.session.greet().await?;
        let listed = self.index(&self.session.url(&format!("referrers/{subject}"))).await?;
        let found = match listed {
            Some(listed) => Some(listed),
            None => {
                let tag = subject.to_string().replacen(':', "-", 1);
                self.index(&self.session.url(&format!("manifests/{tag}"))).await?
            }
        };
        let entries = found.unwrap_or_default().manifests.unwrap_or_default();
        // One that is named by something unreadable cannot be fetched either.
        let referrers = entries.into_iter().filter_map(|entry| {
            Some(Referrer {
                digest: entry.digest.parse().ok()?,
                artifact_type: entry.artifact_type.unwrap_or_default(),
            })
        });
        Ok(referrers.take(MAX_REFERRERS).collect())
    }

    /// An index of manifests; none where there is none.
    async fn index(&self, url: &str) -> Result<Option<Referrers>, OciError> {
        let response = self
            .session
            .send(Right::Pull, true, |client| {
                client.get(url).header("accept", media_type::OCI_INDEX)
            })
            .await?;
        // Registries that know nothing of referrers have more than one way to say so.
        let is_absent = matches!(
            response.status(),
            StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::BAD_REQUEST
                | StatusCode::NOT_ACCEPTABLE
        );
        if is_absent {
            return Ok(None);
        }
        let response = self
            .session
            .success(REFERRERS, || "the repository".to_owned(), response)
            .await?;
        let body = bounded_body(response, MAX_INDEX, REFERRERS, self.repository()).await?;
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| self.protocol(REFERRERS, format!("the list of referrers cannot be read: {error}")))
    }

    /// The manifest under a tag; none when there is no such tag.
    ///
    /// # Errors
    /// The registry's, it is no manifest, or `timeout` is over.
    pub async fn tagged(&self, tag: &str, timeout: Duration) -> Result<Option<Pulled>, OciError> {
        match self.resolve(tag, timeout).await {
            Ok(resolved) => self.manifest(&resolved.digest, timeout).await.map(Some),
            Err(OciError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Manifest {
    /// The media type of what it describes: its own word for it, or its configuration's.
    pub fn kind(&self) -> &str {
        if self.artifact_type.is_empty() {
            &self.config.media_type
        } else {
            &self.artifact_type
        }
    }
}
