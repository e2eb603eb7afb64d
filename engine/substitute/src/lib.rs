//! Flux's post-build variable substitution as a pure function.
//!
//! ```text
//! Object ─► YAML text ─► parse ${…} ─► evaluate with Variables ─► YAML text ─► Object
//! ```
//!
//! The grammar is that of `github.com/fluxcd/pkg/envsubst` 1.8: shell-like, but with differences that manifests in the
//! wild rely on, so they are kept and named where they are.

mod evaluate;
mod glob;
mod parse;
mod resource;
mod variables;

pub use evaluate::{ExpandError, expand};
pub use parse::SyntaxError;
pub use resource::{SubstituteError, is_disabled, substitute};
pub use variables::{Strategy, VariableNameError, Variables};
