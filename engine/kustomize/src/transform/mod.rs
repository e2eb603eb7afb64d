//! The built-in transformers.
//!
//! Each changes a [`crate::resource::ResMap`] in place, in the order in which kustomize runs them.

mod hash;
mod images;
mod labels;
mod name_reference;
mod names;
mod namespace;
mod patches;
mod replacements;
mod replicas;
mod value_add;
mod vars;

pub(crate) use hash::add_hashes;
pub(crate) use images::set_images;
pub(crate) use labels::add_pairs;
pub(crate) use name_reference::fix_references;
pub(crate) use names::{Affix, add_affix};
pub(crate) use namespace::{SubjectMode, set_namespace};
pub(crate) use patches::parse_operations as parse_json_patch;
pub(crate) use patches::{ParsedPatch, PatchBody, apply_json_patch, apply_patch, apply_strategic};
pub(crate) use replacements::replace;
pub(crate) use replicas::set_replicas;
pub(crate) use value_add::{ValueAdd, ValueAddTarget, add_values};
pub(crate) use vars::{VarSet, resolve_vars};
