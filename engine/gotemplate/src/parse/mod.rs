//! Template text to nodes.

mod item;
mod lex;
mod node;
mod number;
mod parser;
mod pipeline;

pub(crate) use node::{Branches, NodeId, NodeKind, Source};
pub(crate) use number::Number;
pub(crate) use parser::{Definition, parse};
