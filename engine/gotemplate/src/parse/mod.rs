//! Template text to nodes.

mod lex;
mod node;
mod number;
mod parser;

pub(crate) use node::{Branches, NodeId, NodeKind, Source};
pub(crate) use number::Number;
pub(crate) use parser::{Definition, parse};
