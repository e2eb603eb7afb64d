//! Running templates.
//!
//! nodes ─► instructions ([`compile`]) ─► [`Machine`], which keeps its own stack: however deep templates call each
//! other, the thread's stack stays as it is.

mod compile;
mod convert;
mod frame;
mod loops;
mod machine;
mod member;
mod op;
mod stack;

pub(crate) use compile::compile;
pub(crate) use machine::execute;
pub(crate) use op::Template;
