//! Go's text/template: parser, evaluator, built-in functions and printing, as pure functions.
//!
//! text ─► [`Templates`] ─► execute with data ([`Value`]) and [`Functions`] in a [`Session`] ─► text
//!
//! The reference is Go 1.26. Delimiters are `{{` and `}}`. Functions beyond Go's own come from the caller. Work, memory
//! and depth are bounded by [`Limits`]; the thread's stack does not grow with the depth of templates.

mod builtin;
mod error;
mod exec;
mod format;
mod func;
mod limits;
mod parse;
mod session;
mod template;
mod value;

pub use error::{ExecError, ParseError, RenderError};
pub use format::{sprint, sprintf, sprintln};
pub use func::{Caller, Function, FunctionError, Functions, Render, RenderSource};
pub use limits::{LimitExceeded, Limits};
pub use session::Session;
pub use template::{MissingKey, Templates};
pub use value::{GoType, IntKind, JsonError, Kind, List, Map, MapMethods, Object, Shape, Str, Value};
