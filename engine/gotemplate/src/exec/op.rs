//! The instructions that a template is compiled to.

use std::rc::Rc;

use crate::parse::{NodeId, Source};
use crate::value::{GoType, Value};

/// A template ready to run.
pub(crate) struct Template {
    pub(crate) name: Rc<str>,
    pub(crate) source: Rc<Source>,
    pub(crate) code: Vec<Op>,
    /// Whether there is nothing but space in it: such a definition replaces no other.
    pub(crate) empty: bool,
    pub(super) consts: Vec<Value>,
    pub(super) ranges: Vec<Range>,
    /// Names of variables; instructions have their numbers.
    pub(super) variables: Vec<Rc<str>>,
}

/// A place in the code.
pub(super) type Target = usize;

/// One instruction. Operands are on a stack; what is evaluated for an error message is noted by [`Op::At`].
pub(crate) enum Op {
    /// Writes the text from byte to byte.
    Text(usize, usize),
    /// This node is what an error is about from here on.
    At(NodeId),
    /// An error known when the template was compiled.
    Fail(Box<str>),
    Dot,
    Nil,
    Const(usize),
    Variable(usize),
    /// The field, entry or method without arguments of the top operand.
    Member(Rc<str>),
    /// The same where arguments may follow: a method is set up to be called, anything else skips the call.
    MemberCall {
        name: Rc<str>,
        args: usize,
        piped: bool,
        skip: Target,
    },
    /// The top operand is given where this type is wanted.
    Check(GoType),
    /// The top operand is given to the n-th parameter of the method being set up.
    CheckParam(usize),
    /// A constant for the n-th parameter of the method being set up.
    ConstParam(NodeId, usize),
    /// Calls a function of the table. A piped value lies under the arguments.
    Call {
        function: usize,
        args: usize,
        piped: Option<GoType>,
        node: NodeId,
    },
    /// Calls the method that was set up.
    CallMethod {
        args: usize,
        piped: bool,
        node: NodeId,
    },
    /// The built-in `call`; `name` is how its first operand was written.
    CallValue {
        name: Rc<str>,
        args: usize,
        piped: bool,
        node: NodeId,
    },
    /// Ends `and` or `or` early with the top operand, or drops it.
    ShortCircuit {
        or: bool,
        piped: bool,
        end: Target,
    },
    /// A command of a pipeline has been evaluated.
    EndCommand,
    Declare(usize),
    Assign(usize),
    Pop,
    Print(NodeId),
    /// Variables declared from here on end at [`Op::Unmark`].
    Mark,
    Unmark,
    Jump(Target),
    JumpIfFalse(Target),
    /// The top operand becomes the dot until [`Op::EndWith`], or if it is false, jumps.
    With(Target),
    EndWith,
    RangeBegin(usize),
    RangeStep(usize),
    Continue,
    Break,
    /// Fails unless there is such a template.
    HasTemplate(Rc<str>),
    /// Runs it with the top operand as its dot.
    Template(Rc<str>),
}

/// A loop.
pub(super) struct Range {
    /// Variables set in each turn: none, the element, or index and element.
    pub(super) variables: Vec<usize>,
    /// Whether they are assigned and not declared.
    pub(super) assign: bool,
    pub(super) step: Target,
    pub(super) otherwise: Target,
    pub(super) end: Target,
}
