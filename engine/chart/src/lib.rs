//! Helm charts as pure functions: loading, values, rendering, hooks.
//!
//! ```text
//! archive, folder ─► load ─► Chart ─► dependencies ─► values ─► schema ─► templates ─► manifests, hooks, notes
//!                                          ▲             ▲                    ▲
//! --set, values files ─► values ───────────┴─────────────┘                    Lookup
//! ```
//!
//! What is matched is Helm 4.3.1 (`helm.sh/helm/v4`): its order of everything, its wording of errors where people
//! search for it, and its quirks where charts rely on them.

mod capabilities;
mod chart;
mod decode;
mod dependencies;
mod glob;
mod hook;
mod kind_order;
mod load;
mod manifest;
mod metadata;
mod name;
mod print;
mod render;
mod request;
mod schema;
mod text;
pub mod values;
mod version;

pub use capabilities::{BuildInfo, Capabilities, KubeVersion, KubeVersionError};
pub use chart::{Chart, Crd, File, Values};
pub use decode::DecodeError;
pub use hook::{Hook, HookDeletePolicy, HookEvent, HookOutputLogPolicy};
pub use kind_order::KindOrder;
pub use load::{IgnoreError, IgnoreRules, LoadError, LoadLimits, load_archive, load_files, load_folder};
pub use manifest::{Manifest, ManifestError, Sorted, UnknownHook, sort_manifests, split_manifests};
pub use metadata::{Dependency, InvalidMetadata, Lock, Maintainer, Metadata};
pub use name::{InvalidReleaseName, check_release_name};
pub use nave_gotemplate::Limits as RenderLimits;
pub use print::{NoSuchTemplate, Printing};
pub use render::{RenderError, Rendered, render, render_files};
pub use request::{Lookup, LookupError, ReleaseInfo, RenderRequest, Resolve, SchemaDocuments};
