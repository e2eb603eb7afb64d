//! Manifests: what an artifact is made of.

use std::collections::BTreeMap;

use nave_artifact::Digest;
use serde::{Deserialize, Serialize};

/// Media types by their use.
pub mod media_type {
    /// An image manifest of the OCI specification.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image index of the OCI specification.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker's image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// The configuration of a Flux artifact.
    pub const FLUX_CONFIG: &str = "application/vnd.cncf.flux.config.v1+json";
    /// The files of a Flux artifact.
    pub const FLUX_CONTENT: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";
    /// The configuration of a Helm chart: its `Chart.yaml` as JSON.
    pub const HELM_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
    /// The package of a Helm chart.
    pub const HELM_CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    /// The provenance file of a Helm chart.
    pub const HELM_PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";
}

/// What a manifest says of a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest, `<algorithm>:<hex>`.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// Facts about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Describes bytes.
    pub fn of(media_type: &str, data: &[u8]) -> Self {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::sha256(data).to_string(),
            size: data.len() as u64,
            annotations: BTreeMap::new(),
        }
    }
}

/// An image manifest, of OCI or of Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// What it is itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// What it describes, where that is not the configuration's media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
    /// Its configuration.
    pub config: Descriptor,
    /// Its content, in order.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// Facts about it.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// Several manifests, one per platform.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Index {
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<IndexEntry>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct IndexEntry {
    pub digest: String,
    #[serde(default)]
    pub platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
}

impl Index {
    /// The manifest for `linux/amd64`, as Flux's library takes it; one without a platform is for every.
    pub fn choose(&self) -> Option<&IndexEntry> {
        let fits = |entry: &&IndexEntry| {
            entry
                .platform
                .as_ref()
                .is_none_or(|platform| (platform.os.as_str(), platform.architecture.as_str()) == ("linux", "amd64"))
        };
        self.manifests.iter().find(fits)
    }
}

/// Go writes empty lists and maps as null.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_of_go_are_empty() {
        let text =
            r#"{"schemaVersion": 2, "config": {"digest": "sha256:0", "size": 2}, "layers": null, "annotations": null}"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        assert!(manifest.layers.is_empty() && manifest.annotations.is_empty());
    }

    #[test]
    fn the_platform_of_an_index() {
        let index = |text: &str| serde_json::from_str::<Index>(text).unwrap();
        let both = index(
            r#"{"manifests": [
                {"digest": "a", "platform": {"os": "linux", "architecture": "arm64"}},
                {"digest": "b", "platform": {"os": "linux", "architecture": "amd64"}}]}"#,
        );
        assert_eq!(both.choose().unwrap().digest, "b");
        assert_eq!(
            index(r#"{"manifests": [{"digest": "a"}]}"#).choose().unwrap().digest,
            "a"
        );
        let other =
            index(r#"{"manifests": [{"digest": "a", "platform": {"os": "windows", "architecture": "amd64"}}]}"#);
        assert!(other.choose().is_none());
        assert!(index(r#"{"manifests": null}"#).choose().is_none());
    }
}
