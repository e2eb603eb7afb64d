//! One file per verb: `Arguments` is what was typed, `run` what it means.

pub mod build;
pub mod check;
pub mod completion;
pub mod describe;
pub mod diff;
pub mod docgen;
pub mod events;
pub mod forget;
pub mod get;
pub mod hub;
pub mod install;
pub mod join;
pub mod leave;
pub mod reconcile;
pub mod resume;
pub mod suspend;
pub mod target;
pub mod template;
pub mod uninstall;
pub mod version;
