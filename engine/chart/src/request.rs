//! What a rendering is asked.

use std::error::Error;
use std::sync::Arc;

use jiff::Timestamp;
use nave_gotemplate::Limits;
use serde_json::Value;

use crate::{Capabilities, Values};

/// `.Release` of templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseInfo {
    /// The release's name.
    pub name: String,
    /// The namespace that objects without one go to.
    pub namespace: String,
    /// 1 for the first installation.
    pub revision: i64,
    /// Whether this is an upgrade or a roll-back; `.Release.IsInstall` is the opposite.
    pub is_upgrade: bool,
}

/// The cluster's answers to the template function `lookup`.
pub trait Lookup: Send + Sync {
    /// One object, or, where `name` is empty, the list of them (with `items`) in the namespace, or in all where that
    /// is empty, too. Nothing where the object does not exist.
    ///
    /// # Errors
    /// The kind does not exist, or the cluster did not answer; this fails the rendering.
    fn lookup(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>, LookupError>;
}

/// The network's answers to the template function `getHostByName`.
pub trait Resolve: Send + Sync {
    /// The addresses of a host; none where there is no such host.
    ///
    /// # Errors
    /// The network did not answer; this fails the rendering.
    fn resolve(&self, host: &str) -> Result<Vec<String>, LookupError>;
}

/// The documents that a `values.schema.json` refers to by their addresses.
pub trait SchemaDocuments: Send + Sync {
    /// The text behind an `http` or `https` address.
    ///
    /// # Errors
    /// There is none, or the network did not answer; values are not checked then, and the rendering fails.
    fn document(&self, url: &str) -> Result<Vec<u8>, LookupError>;
}

/// Why a lookup failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(#[source] pub Box<dyn Error + Send + Sync>);

impl LookupError {
    /// An error with this text.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> LookupError {
        LookupError(source.into())
    }
}

/// Everything besides the chart that a rendering depends on.
#[derive(Clone)]
pub struct RenderRequest {
    /// The release.
    pub release: ReleaseInfo,
    /// The cluster and Helm itself.
    pub capabilities: Capabilities,
    /// The user's values, over those of the chart.
    pub values: Values,
    /// Whom `lookup` asks; without one it finds nothing, as in `helm template`.
    pub lookup: Option<Arc<dyn Lookup>>,
    /// Whom `getHostByName` asks; without one it answers with an empty text, as in Helm unless DNS is allowed.
    pub resolve: Option<Arc<dyn Resolve>>,
    /// Whom schemas of values ask for other documents; without one, a schema that refers to any fails.
    pub schema_documents: Option<Arc<dyn SchemaDocuments>>,
    /// Where random names, passwords and keys come from: the same seed gives the same text, so that it has to come from
    /// a good source.
    pub seed: [u8; 32],
    /// What `now` is.
    pub now: Timestamp,
    /// Whether `values.schema.json` is not looked at.
    pub skip_schema_validation: bool,
    /// Whether notes of charts below are part of the notes.
    pub subchart_notes: bool,
    /// How much work and memory the templates may take together.
    pub limits: Limits,
}

impl RenderRequest {
    /// A first installation into `namespace`, with Helm's idea of a cluster when there is none.
    pub fn install(name: impl Into<String>, namespace: impl Into<String>, values: Values) -> Self {
        RenderRequest {
            release: ReleaseInfo {
                name: name.into(),
                namespace: namespace.into(),
                revision: 1,
                is_upgrade: false,
            },
            capabilities: Capabilities::default(),
            values,
            lookup: None,
            resolve: None,
            schema_documents: None,
            seed: [0; 32],
            now: Timestamp::UNIX_EPOCH,
            skip_schema_validation: false,
            subchart_notes: false,
            limits: Limits::default(),
        }
    }
}

impl std::fmt::Debug for RenderRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may hold secrets.
        f.debug_struct("RenderRequest")
            .field("release", &self.release)
            .field("capabilities", &self.capabilities.kube_version)
            .finish_non_exhaustive()
    }
}
