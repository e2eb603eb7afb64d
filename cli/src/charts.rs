//! Charts from elsewhere: a repository over HTTP, a registry, or what `Chart.yaml` of another chart asks for.
//!
//! ```text
//! NAME --repo URL ─► index ─► version ─┐
//! oci://host/chart ─► tags ─► version ─┼─► package ─► Chart ─► missing dependencies, each the same way
//! https://…/chart.tgz ─────────────────┘
//! ```

mod arguments;
mod dependencies;
mod fetch;

pub use arguments::ChartArguments;
pub use dependencies::with_dependencies;
pub use fetch::{Way, from_address, from_registry, from_repository};
