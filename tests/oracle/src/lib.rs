//! The reference tools as child processes, and random trees to ask them about.
//!
//! random choices ─► tree of files ─► reference and ours ─► verdict

mod binary;
mod compare;
mod disk;
mod helm;
mod process;
pub mod random;

pub use binary::binary;
pub use compare::{Verdict, compare};
pub use disk::{Built, Disk, build_here};
pub use helm::{Helm, template_here};
pub use process::{Answer, Kustomize};
