//! Artifacts as Flux and Helm lay them out: which blobs, which manifest.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use nave_artifact::Digest;

use crate::{Descriptor, Manifest, OciError, Remote, media_type};

/// An artifact ready to be pushed.
#[derive(Debug, Clone)]
pub struct PackedArtifact {
    /// Media type and bytes of its configuration.
    pub config: (&'static str, Bytes),
    /// Media type and bytes of its layers, with their annotations.
    pub layers: Vec<(String, Bytes, BTreeMap<String, String>)>,
    /// Facts about it.
    pub annotations: BTreeMap<String, String>,
}

/// What `flux push artifact` makes: one layer with the files, and a configuration without content.
///
/// `annotations` are usually `org.opencontainers.image.created`, `.source` and `.revision`.
pub fn flux_artifact(tarball: Bytes, annotations: BTreeMap<String, String>) -> PackedArtifact {
    PackedArtifact {
        // What Flux's library writes for an image without a configuration of its own.
        config: (
            media_type::FLUX_CONFIG,
            Bytes::from_static(
                br#"{"architecture":"","created":"0001-01-01T00:00:00Z","os":"","rootfs":{"type":"layers","diff_ids":[]},"config":{}}"#,
            ),
        ),
        layers: vec![(media_type::FLUX_CONTENT.to_owned(), tarball, BTreeMap::new())],
        annotations,
    }
}

/// What `helm push` makes: the package, and its `Chart.yaml` as JSON.
pub fn chart_artifact(package: Bytes, chart_json: Bytes, annotations: BTreeMap<String, String>) -> PackedArtifact {
    PackedArtifact {
        config: (media_type::HELM_CONFIG, chart_json),
        layers: vec![(media_type::HELM_CHART.to_owned(), package, BTreeMap::new())],
        annotations,
    }
}

impl Remote {
    /// Pushes an artifact under a tag and says the digest of its manifest. `timeout` is for each request.
    ///
    /// # Errors
    /// The registry's.
    pub async fn push_artifact(
        &self,
        tag: &str,
        artifact: PackedArtifact,
        timeout: Duration,
    ) -> Result<Digest, OciError> {
        let (kind, data) = artifact.config;
        let config = self.push_blob(kind, data, timeout).await?;
        let mut layers = Vec::with_capacity(artifact.layers.len());
        for (kind, data, annotations) in artifact.layers {
            let descriptor = self.push_blob(&kind, data, timeout).await?;
            layers.push(Descriptor {
                annotations,
                ..descriptor
            });
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            artifact_type: String::new(),
            config,
            layers,
            annotations: artifact.annotations,
        };
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is JSON");
        self.push_manifest(tag, bytes.into(), media_type::OCI_MANIFEST, timeout)
            .await
    }
}
