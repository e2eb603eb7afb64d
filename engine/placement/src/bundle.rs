//! What one cluster gets from one fleet object.

use nave_object::Object;
use serde::Serialize;
use serde_json::Value;

use crate::grant::Grant;
use crate::model::SourceKey;

/// Everything that a cluster needs to carry out one fleet object, so that it changes together.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The Flux objects. For an agent they belong on the spoke, for a kubeconfig cluster on the hub.
    pub objects: Vec<Object>,
    /// The files to send along.
    pub artifact: Option<ArtifactRequest>,
    /// The Secrets to send along.
    pub secrets: Vec<SecretRequest>,
    /// The rights that the objects have.
    pub grant: Grant,
    /// Whether reconciliation is suspended.
    pub suspend: bool,
    /// The request for a reconcile, as annotated on the fleet object.
    pub requested_at: Option<String>,
}

/// Files of a source that become an ExternalArtifact on the spoke.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ArtifactRequest {
    /// The source on the hub.
    pub source: SourceKey,
    /// Globs over its files; empty means all.
    pub include: Vec<String>,
    /// Namespace of the ExternalArtifact.
    pub namespace: String,
    /// Name of the ExternalArtifact.
    pub name: String,
}

/// A Secret of the workspace that is copied to the spoke under the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SecretRequest {
    /// Its name.
    pub name: String,
    /// Namespace on the spoke.
    pub namespace: String,
    /// Whether it may be missing.
    pub optional: bool,
}

impl Bundle {
    /// The bundle as bytes: JSON with sorted keys and without white space. The same bundle gives
    /// the same bytes on every machine and in every build.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"{\"artifact\":");
        canonical_of(&mut out, &self.artifact);
        out.extend_from_slice(b",\"grant\":");
        canonical_of(&mut out, &self.grant);
        out.extend_from_slice(b",\"objects\":[");
        for (index, object) in self.objects.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            canonical(&mut out, object.as_value());
        }
        out.extend_from_slice(b"],\"requestedAt\":");
        canonical_of(&mut out, &self.requested_at);
        out.extend_from_slice(b",\"secrets\":");
        canonical_of(&mut out, &self.secrets);
        out.extend_from_slice(b",\"suspend\":");
        canonical_of(&mut out, &self.suspend);
        out.push(b'}');
        out
    }

    /// `sha256:<hex>` of [`Bundle::bytes`]. It says nothing about the content of Secrets.
    pub fn digest(&self) -> String {
        nave_object::digest::sha256(self.bytes())
    }
}

/// Writes plain data; keys of structs come in the order of their fields, which is fixed.
fn canonical_of(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("plain data is JSON and a vector takes every byte");
}

/// Writes a value with sorted keys.
///
/// `serde_json` sorts by itself only as long as no crate of the build asks for the order of
/// insertion; bytes must not depend on that.
pub(crate) fn canonical(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                canonical_of(out, key);
                out.push(b':');
                canonical(out, value);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                canonical(out, item);
            }
            out.push(b']');
        }
        scalar => canonical_of(out, scalar),
    }
}
