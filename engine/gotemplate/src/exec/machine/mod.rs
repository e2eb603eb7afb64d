//! The machine: one instruction after the other.

mod call;
mod fault;
mod flow;

use std::rc::Rc;

use fault::{Fault, undefined};

use super::convert;
use super::frame::{CalledBy, Control, Frame};
use super::member::{self, Member};
use super::op::{Op, Template};
use super::stack::{Operand, Stack};
use crate::error::RenderError;
use crate::format;
use crate::func::Function;
use crate::session::Session;
use crate::template::{Scope, Settings};
use crate::value::Value;

/// Runs a template with its dot and gives its text.
pub(crate) fn execute(
    session: &mut Session,
    settings: &Settings,
    scope: &Rc<Scope>,
    template: &Rc<Template>,
    dot: Value,
) -> Result<Vec<u8>, RenderError> {
    let mut machine = Machine {
        session,
        settings,
        frames: Vec::new(),
        stack: Stack::default(),
        out: Vec::new(),
    };
    machine.enter(Rc::clone(template), Rc::clone(scope), dot, CalledBy::Host)?;
    machine.run()?;
    Ok(machine.out)
}

/// What is next after an instruction.
enum Next {
    /// The instruction after it.
    On,
    /// Another frame is on top, or none.
    Frame,
}

struct Machine<'s> {
    session: &'s mut Session,
    settings: &'s Settings,
    frames: Vec<Frame>,
    stack: Stack,
    out: Vec<u8>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<(), RenderError> {
        while !self.frames.is_empty() {
            if let Err(fault) = self.run_frame() {
                self.unwind(fault)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("a frame runs")
    }

    /// Runs the top frame until it ends or another one is on top.
    fn run_frame(&mut self) -> Result<(), Fault> {
        let template = Rc::clone(&self.frame().template);
        loop {
            let frame = self.frame();
            let Some(op) = template.code.get(frame.pc) else {
                return self.leave();
            };
            frame.pc += 1;
            self.session.meter.charge(1)?;
            if let Next::Frame = self.step(&template, op)? {
                return Ok(());
            }
        }
    }

    fn step(&mut self, template: &Template, op: &Op) -> Result<Next, Fault> {
        match op {
            Op::Text(start, end) => {
                let text = &template.source.text[*start..*end];
                self.session.meter.charge_bytes(text.len())?;
                self.out.extend_from_slice(text);
            }
            Op::At(node) => self.frame().node = *node,
            Op::Fail(message) => return Err(Fault::from(message.to_string())),
            Op::Dot => {
                let dot = self.frame().dot.clone();
                self.stack.push(dot);
            }
            Op::Nil => self.stack.push(Operand::default()),
            Op::Const(index) => self.stack.push(Operand::concrete(template.consts[*index].clone())),
            Op::Variable(number) => {
                let found = self.frame().variables.iter().rev().find(|(n, _)| n == number);
                let value = found.map(|(_, value)| value.clone());
                self.stack.push(value.ok_or_else(|| undefined(template, *number))?);
            }
            Op::Member(name) => {
                let receiver = self.stack.pop();
                match member::find(receiver, name, false, self.settings.missing_key)? {
                    Member::Value(value) => self.stack.push(value),
                    Member::Method(method) => {
                        if let Some(message) = convert::wrong_number(&method, name, 0, 0) {
                            return Err(Fault::from(message));
                        }
                        let node = self.frame().node;
                        return self.call(&method, name, 0, node);
                    }
                }
            }
            Op::MemberCall {
                name,
                args,
                piped,
                skip,
            } => {
                let receiver = self.stack.pop();
                match member::find(receiver, name, true, self.settings.missing_key)? {
                    Member::Value(value) => {
                        // Only what is nil anyway gets here: a field of something is an error with arguments.
                        if *piped {
                            self.stack.pop();
                        }
                        self.stack.push(value);
                        self.frame().pc = *skip;
                    }
                    Member::Method(method) => {
                        let given = args + usize::from(*piped);
                        if let Some(message) = convert::wrong_number(&method, name, *args, given) {
                            return Err(Fault::from(message));
                        }
                        self.frame().methods.push((Rc::clone(name), method));
                    }
                }
            }
            Op::Check(wanted) => {
                let operand = self.stack.pop();
                let interface = operand.interface;
                let value = convert::check(operand.value, interface, *wanted)?;
                self.stack.push(Operand { value, interface });
            }
            Op::CheckParam(n) => {
                let operand = self.stack.pop();
                let wanted = convert::param(self.method(), *n);
                self.stack.push(Operand::concrete(convert::check(
                    operand.value,
                    operand.interface,
                    wanted,
                )?));
            }
            Op::ConstParam(node, n) => {
                let wanted = convert::param(self.method(), *n);
                let kind = &template.source.node(*node).kind;
                self.stack.push(Operand::concrete(convert::constant(
                    &template.source,
                    *node,
                    kind,
                    wanted,
                )?));
            }
            Op::Call {
                function,
                args,
                piped,
                node,
            } => {
                let mut given = *args;
                if let Some(wanted) = piped {
                    self.pipe_in(*args, *wanted)?;
                    given += 1;
                }
                let settings = self.settings;
                let (name, function) = settings.functions.at(*function);
                return self.call(function, name, given, *node);
            }
            Op::CallMethod { args, piped, node } => {
                let (name, method) = self.frame().methods.pop().expect("set up before its arguments");
                let given = args + usize::from(*piped);
                if *piped {
                    self.pipe_in(*args, convert::param(&method, given - 1))?;
                }
                return self.call(&method, &name, given, *node);
            }
            Op::CallValue {
                name,
                args,
                piped,
                node,
            } => return self.call_value(name, *args, *piped, *node),
            Op::ShortCircuit { or, piped, end } => {
                if self.stack.top().0.truth() == *or {
                    if *piped {
                        let decided = self.stack.pop();
                        self.stack.pop();
                        self.stack.push(decided);
                    }
                    self.frame().pc = *end;
                } else {
                    self.stack.pop();
                }
            }
            Op::EndCommand => self.stack.top_is_concrete(),
            Op::Declare(number) => {
                let value = Operand::concrete(self.stack.top().0.clone());
                self.session.meter.charge_items(1)?;
                self.frame().variables.push((*number, value));
            }
            Op::Assign(number) => {
                let value = Operand::concrete(self.stack.top().0.clone());
                self.assign(template, *number, value)?;
            }
            Op::Pop => {
                self.stack.pop();
            }
            Op::Print(node) => {
                self.frame().node = *node;
                let value = self.stack.pop().value;
                self.print(template, &value)?;
            }
            Op::Mark => {
                let frame = self.frame();
                let mark = frame.variables.len();
                frame.controls.push(Control::Mark(mark));
            }
            Op::Unmark => {
                if let Some(Control::Mark(mark)) = self.frame().controls.pop() {
                    self.frame().variables.truncate(mark);
                }
            }
            Op::Jump(target) => self.frame().pc = *target,
            Op::JumpIfFalse(target) => {
                if !self.stack.pop().value.truth() {
                    self.frame().pc = *target;
                }
            }
            Op::With(target) => {
                let value = self.stack.pop();
                let frame = self.frame();
                if value.value.truth() {
                    let outer = std::mem::replace(&mut frame.dot, value);
                    frame.controls.push(Control::Dot(outer));
                } else {
                    frame.pc = *target;
                }
            }
            Op::EndWith => {
                if let Some(Control::Dot(dot)) = self.frame().controls.pop() {
                    self.frame().dot = dot;
                }
            }
            Op::RangeBegin(index) => self.begin_loop(template, *index)?,
            Op::RangeStep(index) => self.turn(template, *index)?,
            Op::Continue => {
                let index = self.close_to_loop();
                self.frame().pc = template.ranges[index].step;
            }
            Op::Break => {
                let index = self.close_to_loop();
                self.end_loop(template, index);
            }
            Op::HasTemplate(name) => {
                if self.frame().scope.lookup(name).is_none() {
                    return Err(Fault::from(format!(
                        "template {} not defined",
                        format::quote(name.as_bytes())
                    )));
                }
                self.check_depth()?;
            }
            Op::Template(name) => {
                let dot = self.stack.pop().value;
                let scope = Rc::clone(&self.frame().scope);
                let called = scope.lookup(name).map(Rc::clone).expect("looked up before its dot");
                self.enter(called, scope, dot, CalledBy::Template)?;
                return Ok(Next::Frame);
            }
        }
        Ok(Next::On)
    }

    fn method(&mut self) -> &Function {
        let (_, method) = self.frame().methods.last().expect("set up before its arguments");
        method
    }
}
