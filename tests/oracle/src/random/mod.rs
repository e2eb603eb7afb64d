//! Random trees with kustomizations, made from a list of choices.
//!
//! choices ─► objects ─► bases ─► overlays and components ─► files
//!
//! A choice of 0 is always the plainest one, and a list that ends goes on with 0: so a failing list can be
//! shortened and its numbers lowered, and what comes of it is a simpler tree.

mod choices;
mod fields;
mod objects;
mod patches;
mod plugins;
mod scalars;
mod tree;
mod write;

pub use choices::Choices;
pub use tree::{Files, tree};
