//! `kustomize build` as a pure function of an in-memory tree.
//!
//! tree + directory ─► resources ─► generators ─► components ─► transformers ─► objects
//!
//! What only the outside has (remote bases, rendered charts) comes back as [`Step::Needs`]; the caller
//! builds again with [`Answers`]. The behaviour followed is that of kustomize 5.8.1.

mod build;
mod cache;
mod config;
mod decode;
mod edit;
mod error;
mod fieldpath;
pub mod flux;
mod generate;
mod helm;
mod ids;
mod json_patch;
mod kustomization;
mod load;
mod merge;
mod origin;
mod plugins;
mod repository;
mod resource;
mod schema;
mod selector;
mod sort;
mod target;
mod transform;
mod tree;
mod twins;

pub use build::{Answer, Answers, Built, LoadRestriction, Need, Options, Reorder, Step, build, build_with_warnings};
pub use cache::Cache;
pub use error::{BuildError, Problem};
pub use helm::{ChartRequest, ValuesMerge};
pub use repository::RepositoryUrl;
pub use schema::{is_cluster_scoped, merge_keys};
pub use tree::{MemoryTree, Tree};
