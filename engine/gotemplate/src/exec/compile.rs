//! Nodes to instructions.

use std::rc::Rc;

use super::convert;
use super::op::{Op, Range, Target, Template};
use crate::func::{Builtin, Functions};
use crate::parse::{Branches, Definition, NodeId, NodeKind, Source};
use crate::value::{GoType, Value};

/// Compiles one definition of a text.
pub(crate) fn compile(source: &Rc<Source>, definition: &Definition, functions: &Functions) -> Template {
    let mut compiler = Compiler {
        source: Rc::clone(source),
        functions,
        code: Vec::new(),
        consts: Vec::new(),
        ranges: Vec::new(),
        variables: vec![Rc::from("$")],
    };
    compiler.walk(definition.root);
    Template {
        name: Rc::clone(&definition.name),
        source: Rc::clone(source),
        code: compiler.code,
        empty: source.is_empty(definition.root),
        consts: compiler.consts,
        ranges: compiler.ranges,
        variables: compiler.variables,
    }
}

struct Compiler<'f> {
    source: Rc<Source>,
    functions: &'f Functions,
    code: Vec<Op>,
    consts: Vec<Value>,
    ranges: Vec<Range>,
    variables: Vec<Rc<str>>,
}

/// Jumps whose target is not known yet.
const LATER: Target = usize::MAX;

impl Compiler<'_> {
    fn emit(&mut self, op: Op) -> usize {
        self.code.push(op);
        self.code.len() - 1
    }

    fn here(&self) -> Target {
        self.code.len()
    }

    /// Lets an earlier jump lead to this place.
    fn land(&mut self, jump: usize) {
        let here = self.here();
        match &mut self.code[jump] {
            Op::Jump(target)
            | Op::JumpIfFalse(target)
            | Op::With(target)
            | Op::MemberCall { skip: target, .. }
            | Op::ShortCircuit { end: target, .. } => *target = here,
            _ => unreachable!("only jumps are landed"),
        }
    }

    fn variable(&mut self, name: &Rc<str>) -> usize {
        self.variables.iter().position(|v| v == name).unwrap_or_else(|| {
            self.variables.push(Rc::clone(name));
            self.variables.len() - 1
        })
    }

    fn constant(&mut self, value: Value) {
        let index = self.consts.len();
        self.consts.push(value);
        self.emit(Op::Const(index));
    }

    fn fail(&mut self, message: impl Into<Box<str>>) {
        self.emit(Op::Fail(message.into()));
    }

    fn walk(&mut self, id: NodeId) {
        let source = Rc::clone(&self.source);
        match &source.node(id).kind {
            NodeKind::List(nodes) => nodes.iter().for_each(|n| self.walk(*n)),
            NodeKind::Text(start, end) => {
                self.emit(Op::Text(*start, *end));
            }
            NodeKind::Action(pipe) => {
                let declares = self.pipeline(*pipe);
                self.emit(if declares { Op::Pop } else { Op::Print(id) });
            }
            NodeKind::Break => {
                self.emit(Op::Break);
            }
            NodeKind::Continue => {
                self.emit(Op::Continue);
            }
            NodeKind::If(branches) => self.conditions(id, branches, false),
            NodeKind::With(branches) => self.conditions(id, branches, true),
            NodeKind::Range(branches) => self.range(id, branches),
            NodeKind::Template { name, pipe } => {
                self.emit(Op::At(id));
                self.emit(Op::HasTemplate(Rc::clone(name)));
                match pipe {
                    Some(pipe) => {
                        self.pipeline(*pipe);
                    }
                    None => {
                        self.emit(Op::Nil);
                    }
                }
                self.emit(Op::Template(Rc::clone(name)));
            }
            _ => unreachable!("the parser puts nothing else into lists"),
        }
    }

    fn conditions(&mut self, id: NodeId, branches: &Branches, with: bool) {
        self.emit(Op::At(id));
        self.emit(Op::Mark);
        let mut ends = Vec::new();
        for (pipe, list) in &branches.arms {
            self.pipeline(*pipe);
            let test = self.emit(if with { Op::With(LATER) } else { Op::JumpIfFalse(LATER) });
            self.walk(*list);
            if with {
                self.emit(Op::EndWith);
            }
            ends.push(self.emit(Op::Jump(LATER)));
            self.land(test);
        }
        if let Some(list) = branches.otherwise {
            self.walk(list);
        }
        for end in ends {
            self.land(end);
        }
        self.emit(Op::Unmark);
    }

    fn range(&mut self, id: NodeId, branches: &Branches) {
        let [(pipe, list)] = branches.arms[..] else {
            unreachable!("a range has one arm")
        };
        let source = Rc::clone(&self.source);
        let NodeKind::Pipe { assign, decl, .. } = &source.node(pipe).kind else {
            unreachable!("a range has a pipeline")
        };
        let variables = decl.iter().map(|v| self.declared(*v)).collect();
        self.emit(Op::At(id));
        self.emit(Op::Mark);
        self.pipeline(pipe);
        let index = self.ranges.len();
        self.ranges.push(Range {
            variables,
            assign: *assign,
            step: LATER,
            otherwise: LATER,
            end: LATER,
        });
        self.emit(Op::RangeBegin(index));
        self.ranges[index].step = self.here();
        self.emit(Op::RangeStep(index));
        self.walk(list);
        self.emit(Op::Continue);
        self.ranges[index].otherwise = self.here();
        if let Some(list) = branches.otherwise {
            self.walk(list);
        }
        self.ranges[index].end = self.here();
        self.emit(Op::Unmark);
    }

    /// The number of the variable that a declaration names.
    fn declared(&mut self, id: NodeId) -> usize {
        let source = Rc::clone(&self.source);
        let NodeKind::Variable(idents) = &source.node(id).kind else {
            unreachable!("a declaration has variables")
        };
        self.variable(&idents[0])
    }

    /// Leaves the value as the top operand; says whether it declares or assigns variables.
    fn pipeline(&mut self, id: NodeId) -> bool {
        let source = Rc::clone(&self.source);
        let NodeKind::Pipe { assign, decl, cmds } = &source.node(id).kind else {
            unreachable!("a pipeline")
        };
        self.emit(Op::At(id));
        for (i, command) in cmds.iter().enumerate() {
            self.command(*command, i > 0);
            self.emit(Op::EndCommand);
        }
        for variable in decl {
            let variable = self.declared(*variable);
            self.emit(if *assign {
                Op::Assign(variable)
            } else {
                Op::Declare(variable)
            });
        }
        !decl.is_empty()
    }

    fn command(&mut self, id: NodeId, piped: bool) {
        let source = Rc::clone(&self.source);
        let NodeKind::Command(args) = &source.node(id).kind else {
            unreachable!("a command")
        };
        let first = args[0];
        match &source.node(first).kind {
            NodeKind::Field(idents) => self.field(first, idents, &args[1..], piped),
            NodeKind::Chain { node, fields } => self.chain(first, *node, fields, &args[1..], piped),
            NodeKind::Identifier(name) => self.function(first, id, name, &args[1..], piped),
            NodeKind::Pipe { .. } => {
                if self.is_function(args, piped) {
                    self.pipeline(first);
                }
            }
            NodeKind::Variable(idents) => self.variable_node(first, idents, &args[1..], piped),
            kind => {
                self.emit(Op::At(first));
                if !self.is_function(args, piped) {
                    return;
                }
                match kind {
                    NodeKind::Bool(b) => self.constant(Value::Bool(*b)),
                    NodeKind::Dot => {
                        self.emit(Op::Dot);
                    }
                    NodeKind::Nil => self.fail("nil is not a command"),
                    NodeKind::Number(number) => match convert::ideal(number) {
                        Ok(value) => self.constant(value),
                        Err(message) => self.fail(message),
                    },
                    NodeKind::String { text, .. } => self.constant(Value::string(Rc::clone(text))),
                    _ => unreachable!("no other operand"),
                }
            }
        }
    }

    /// An operand that is no function takes no arguments: says whether none are given.
    fn is_function(&mut self, args: &[NodeId], piped: bool) -> bool {
        if args.len() > 1 || piped {
            let shown = self.source.expression(args[0]);
            self.fail(format!("can't give argument to non-function {shown}"));
            return false;
        }
        true
    }

    fn field(&mut self, id: NodeId, idents: &[Rc<str>], args: &[NodeId], piped: bool) {
        self.emit(Op::At(id));
        self.emit(Op::Dot);
        self.members(id, idents, args, piped);
    }

    fn variable_node(&mut self, id: NodeId, idents: &[Rc<str>], args: &[NodeId], piped: bool) {
        self.emit(Op::At(id));
        let variable = self.variable(&idents[0]);
        self.emit(Op::Variable(variable));
        if idents.len() > 1 {
            self.members(id, &idents[1..], args, piped);
        } else if !args.is_empty() || piped {
            let shown = &idents[0];
            self.fail(format!("can't give argument to non-function {shown}"));
        }
    }

    fn chain(&mut self, id: NodeId, node: NodeId, fields: &[Rc<str>], args: &[NodeId], piped: bool) {
        self.emit(Op::At(id));
        self.argument(node, None);
        self.members(id, fields, args, piped);
    }

    /// The fields of the top operand, one after the other; the last one may be a method with arguments.
    fn members(&mut self, id: NodeId, idents: &[Rc<str>], args: &[NodeId], piped: bool) {
        let (last, before) = idents.split_last().expect("at least one field");
        for name in before {
            self.emit(Op::Member(Rc::clone(name)));
        }
        if args.is_empty() && !piped {
            self.emit(Op::Member(Rc::clone(last)));
            return;
        }
        let call = self.emit(Op::MemberCall {
            name: Rc::clone(last),
            args: args.len(),
            piped,
            skip: LATER,
        });
        for (i, arg) in args.iter().enumerate() {
            self.argument(*arg, Some(Param::Method(i)));
        }
        self.emit(Op::CallMethod {
            args: args.len(),
            piped,
            node: id,
        });
        self.land(call);
    }

    fn function(&mut self, id: NodeId, whole: NodeId, name: &str, args: &[NodeId], piped: bool) {
        self.emit(Op::At(id));
        let index = self
            .functions
            .index_of(name)
            .expect("the parser checks that functions exist");
        let (_, function) = self.functions.at(index);
        let given = args.len() + usize::from(piped);
        if let Some(message) = convert::wrong_number(function, name, args.len(), given) {
            self.fail(message);
            return;
        }
        let builtin = function.builtin;
        if let Some(Builtin::And | Builtin::Or) = builtin {
            return self.short_circuit(builtin == Some(Builtin::Or), args, piped);
        }
        let types: Vec<_> = (0..given).map(|i| convert::param(function, i)).collect();
        for (arg, wanted) in args.iter().zip(&types) {
            self.argument(*arg, Some(Param::Type(*wanted)));
        }
        if builtin == Some(Builtin::Call) {
            let name = match args.first() {
                Some(first) => Rc::from(self.source.expression(*first)),
                None => Rc::from(""),
            };
            self.emit(Op::CallValue {
                name,
                args: args.len(),
                piped,
                node: whole,
            });
        } else {
            let piped = piped.then(|| types[given - 1]);
            self.emit(Op::Call {
                function: index,
                args: args.len(),
                piped,
                node: whole,
            });
        }
    }

    fn short_circuit(&mut self, or: bool, args: &[NodeId], piped: bool) {
        let mut jumps = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            self.argument(*arg, Some(Param::Type(GoType::Reflect)));
            if piped || i + 1 < args.len() {
                jumps.push(self.emit(Op::ShortCircuit { or, piped, end: LATER }));
            }
        }
        for jump in jumps {
            self.land(jump);
        }
    }

    /// An argument; without a parameter it is what a chain begins with.
    fn argument(&mut self, id: NodeId, param: Option<Param>) {
        let source = Rc::clone(&self.source);
        self.emit(Op::At(id));
        match &source.node(id).kind {
            NodeKind::Dot => {
                self.emit(Op::Dot);
            }
            NodeKind::Field(idents) => self.field(id, idents, &[], false),
            NodeKind::Variable(idents) => self.variable_node(id, idents, &[], false),
            NodeKind::Pipe { .. } => {
                self.pipeline(id);
            }
            NodeKind::Identifier(name) => self.function(id, id, name, &[], false),
            NodeKind::Chain { node, fields } => self.chain(id, *node, fields, &[], false),
            kind => {
                match param {
                    Some(Param::Type(wanted)) => match convert::constant(&source, id, kind, wanted) {
                        Ok(value) => self.constant(value),
                        Err(message) => self.fail(message),
                    },
                    Some(Param::Method(i)) => {
                        self.emit(Op::ConstParam(id, i));
                    }
                    None => unreachable!("the parser refuses fields of constants"),
                }
                return;
            }
        }
        match param {
            Some(Param::Type(wanted)) => {
                self.emit(Op::Check(wanted));
            }
            Some(Param::Method(i)) => {
                self.emit(Op::CheckParam(i));
            }
            None => {}
        }
    }
}

/// What an argument is for.
#[derive(Clone, Copy)]
enum Param {
    /// A parameter of this type.
    Type(GoType),
    /// The n-th parameter of a method that is only known when the template runs.
    Method(usize),
}
