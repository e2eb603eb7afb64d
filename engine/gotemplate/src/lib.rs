//! Go's text/template: parser, evaluator, built-in functions and printing, as pure functions.
//!
//! text ─► [`Templates`] ─► execute with data ([`Value`]) and [`Functions`] in a [`Session`] ─► text
//!
//! The reference is Go 1.26. Delimiters are `{{` and `}}`. Functions beyond Go's own come from the caller.

mod format;
mod func;
mod limits;
mod session;
mod template;
mod value;

pub use func::{Caller, Function, FunctionError, Functions, Render, RenderSource};
pub use limits::{LimitExceeded, Limits};
pub use session::Session;
pub use template::{ExecError, MissingKey, ParseError, RenderError};
pub use value::{GoType, IntKind, JsonError, Kind, List, Map, Object, Shape, Str, Value};
