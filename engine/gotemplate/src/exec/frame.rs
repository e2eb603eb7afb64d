//! The state of one running template.

use std::rc::Rc;

use super::loops::Loop;
use super::op::Template;
use super::stack::Operand;
use crate::func::{Function, Then};
use crate::parse::NodeId;
use crate::template::Scope;

/// A running template.
pub(super) struct Frame {
    pub(super) template: Rc<Template>,
    pub(super) scope: Rc<Scope>,
    pub(super) pc: usize,
    pub(super) dot: Operand,
    /// What an error would be about.
    pub(super) node: NodeId,
    /// Variables by number, the newest last; `$` first.
    pub(super) variables: Vec<(usize, Operand)>,
    /// What ends when a control structure does.
    pub(super) controls: Vec<Control>,
    /// Methods whose arguments are being evaluated.
    pub(super) methods: Vec<(Rc<str>, Function)>,
    /// Operands below belong to others.
    pub(super) stack_base: usize,
    pub(super) caller: CalledBy,
}

/// Who runs a template, and what becomes of its text.
pub(super) enum CalledBy {
    /// The one that was asked for.
    Host,
    /// `{{template}}`: the text goes on where it is.
    Template,
    /// A function, which makes a value of the text.
    Function(Box<Pending>),
}

/// A function waiting for text.
pub(super) struct Pending {
    pub(super) then: Then,
    pub(super) name: Rc<str>,
    /// What an error of the function would be about, in the frame below.
    pub(super) node: NodeId,
    /// The output before belongs to others.
    pub(super) out_base: usize,
}

/// An open control structure.
pub(super) enum Control {
    /// The number of variables to go back to.
    Mark(usize),
    /// The dot to go back to.
    Dot(Operand),
    Loop(Box<Loop>),
}
