//! The reference tools as child processes, and random trees to ask them about.
//!
//! random choices ─► tree of files ─► reference and ours ─► verdict

mod binary;
mod compare;
mod disk;
mod flux;
mod helm;
mod process;
pub mod random;
mod sops;

pub use binary::binary;
pub use compare::{Verdict, compare};
pub use disk::{Built, Disk, build_here};
pub use flux::{FLUX_CONTROLLERS, flux_controller};
pub use helm::{Helm, template_here};
pub use process::{Answer, Kustomize};
pub use sops::{Sops, SopsAnswer, SopsQuestion};
