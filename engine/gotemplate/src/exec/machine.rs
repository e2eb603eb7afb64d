//! The machine: one instruction after the other.

use std::rc::Rc;

use super::convert;
use super::frame::{CalledBy, Control, Frame, Pending};
use super::loops::Loop;
use super::member::{self, Member};
use super::op::{Op, Template};
use super::stack::{Operand, Stack};
use crate::error::{ExecError, RenderError};
use crate::format;
use crate::func::{Builtin, Caller, Function, FunctionError, Outcome, Render, RenderSource};
use crate::limits::LimitExceeded;
use crate::parse::NodeKind;
use crate::session::Session;
use crate::template::{Scope, Settings};
use crate::value::{Str, Value};

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

/// A failure that does not know yet where it happened.
pub(super) struct Fault {
    message: String,
    limit: Option<LimitExceeded>,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, limit: None }
    }
}

impl From<LimitExceeded> for Fault {
    fn from(limit: LimitExceeded) -> Self {
        Self {
            message: limit.to_string(),
            limit: Some(limit),
        }
    }
}

/// Messages within messages grow with the depth of templates; what is in the middle of one too long is left out.
const LONGEST_MESSAGE: usize = 64 << 10;

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
                let kind: &NodeKind = &template.source.node(*node).kind;
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

    /// Makes the piped value, which lies under the arguments, the last of them.
    fn pipe_in(&mut self, args: usize, wanted: crate::value::GoType) -> Result<(), Fault> {
        self.stack.lift(args);
        let operand = self.stack.pop();
        let value = convert::check(operand.value, operand.interface, wanted)?;
        self.stack.push(Operand {
            value,
            interface: operand.interface,
        });
        Ok(())
    }

    fn assign(&mut self, template: &Template, number: usize, value: Operand) -> Result<(), Fault> {
        match self.frame().variables.iter_mut().rev().find(|(n, _)| *n == number) {
            Some((_, old)) => {
                *old = value;
                Ok(())
            }
            None => Err(undefined(template, number)),
        }
    }

    fn print(&mut self, template: &Template, value: &Value) -> Result<(), Fault> {
        if !convert::is_printable(value) {
            let shown = template.source.expression(self.frame().node);
            return Err(Fault::from(format!(
                "can't print {shown} of type {}",
                value.type_name()
            )));
        }
        let text = match value {
            Value::Nil => Str::from("<no value>"),
            value => format::sprint(
                std::slice::from_ref(&convert::printable(value)),
                self.session.meter.bytes_left(),
            )?,
        };
        self.session.meter.charge_bytes(text.len())?;
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn begin_loop(&mut self, template: &Template, index: usize) -> Result<(), Fault> {
        let value = self.stack.pop().value;
        let range = &template.ranges[index];
        let frame = self.frame();
        let (dot, mark) = (frame.dot.clone(), frame.variables.len());
        match Loop::over(index, &value, range.variables.len(), dot, mark)? {
            Some(begun) => {
                self.session.meter.charge_items(begun.copied())?;
                self.frame().controls.push(Control::Loop(Box::new(begun)));
            }
            None => self.frame().pc = range.otherwise,
        }
        Ok(())
    }

    /// One turn of the innermost loop, or its end.
    fn turn(&mut self, template: &Template, index: usize) -> Result<(), Fault> {
        let range = &template.ranges[index];
        let frame = self.frame();
        let Some(Control::Loop(current)) = frame.controls.last_mut() else {
            unreachable!("a loop is open where its turns begin")
        };
        frame.variables.truncate(current.mark);
        let Some((key, element)) = current.turn() else {
            self.end_loop(template, index);
            return Ok(());
        };
        frame.dot = element.clone();
        match (&range.variables[..], range.assign) {
            ([], _) => {}
            ([one], true) => self.assign(template, *one, element)?,
            ([one, two, ..], true) => {
                self.assign(template, *one, key)?;
                self.assign(template, *two, element)?;
            }
            (declared, false) => {
                // The pipeline has declared them; they are the newest.
                let top = frame.variables.len();
                if declared.len() > 1 {
                    frame.variables[top - 2].1 = key;
                }
                frame.variables[top - 1].1 = element;
            }
        }
        Ok(())
    }

    /// Closes what is open within the innermost loop and says which loop it is.
    fn close_to_loop(&mut self) -> usize {
        let frame = self.frame();
        loop {
            match frame
                .controls
                .last()
                .expect("the parser lets break and continue stand in loops only")
            {
                Control::Loop(current) => return current.index,
                _ => frame.controls.pop(),
            };
        }
    }

    fn end_loop(&mut self, template: &Template, index: usize) {
        let frame = self.frame();
        if let Some(Control::Loop(ended)) = frame.controls.pop() {
            frame.dot = ended.dot;
        }
        frame.pc = template.ranges[index].end;
    }

    fn check_depth(&self) -> Result<(), LimitExceeded> {
        let most = self.session.meter.depth();
        if self.frames.len() > most {
            Err(LimitExceeded::Depth(most))
        } else {
            Ok(())
        }
    }

    fn enter(
        &mut self,
        template: Rc<Template>,
        scope: Rc<Scope>,
        dot: Value,
        caller: CalledBy,
    ) -> Result<(), LimitExceeded> {
        self.check_depth()?;
        // The frame itself, so that depth costs what it takes.
        self.session.meter.charge_items(16)?;
        let dot = Operand::concrete(dot);
        self.frames.push(Frame {
            template,
            scope,
            pc: 0,
            variables: vec![(0, dot.clone())],
            dot,
            node: crate::parse::NodeId(0),
            controls: Vec::new(),
            methods: Vec::new(),
            stack_base: self.stack.len(),
            caller,
        });
        Ok(())
    }

    /// The top frame has come to its end.
    fn leave(&mut self) -> Result<(), Fault> {
        let frame = self.frames.pop().expect("a frame runs");
        if let CalledBy::Function(pending) = frame.caller {
            let text = Str::from(&self.out[pending.out_base..]);
            self.out.truncate(pending.out_base);
            self.session.meter.charge_bytes(text.len())?;
            return self.go_on(*pending, Ok(text));
        }
        Ok(())
    }

    /// A function goes on with the text it has waited for.
    fn go_on(&mut self, pending: Pending, text: Result<Str, RenderError>) -> Result<(), Fault> {
        let scope = Rc::clone(&self.frame().scope);
        let result = (pending.then)(
            &mut Caller {
                session: self.session,
                scope: &scope,
            },
            text,
        );
        match result {
            Ok(value) => {
                self.stack.push(Operand::concrete(value));
                Ok(())
            }
            Err(error) => Err(self.failed_call(&pending.name, pending.node, error)),
        }
    }

    fn failed_call(&mut self, name: &str, node: crate::parse::NodeId, error: FunctionError) -> Fault {
        self.frame().node = node;
        match error {
            FunctionError::Failed(message) => Fault::from(format!("error calling {name}: {}", shorten(message))),
            FunctionError::Limit(limit) => Fault {
                message: format!("error calling {name}: {limit}"),
                limit: Some(limit),
            },
        }
    }

    /// Calls a function with the newest `given` operands.
    fn call(
        &mut self,
        function: &Function,
        name: &Rc<str>,
        given: usize,
        node: crate::parse::NodeId,
    ) -> Result<Next, Fault> {
        if function.builtin == Some(Builtin::Len) && matches!(self.stack.top(), (Value::Nil, true)) {
            // Beside the value the built-in sees the place it comes from.
            return Err(self.failed_call(name, node, FunctionError::new("len of nil pointer")));
        }
        let scope = Rc::clone(&self.frame().scope);
        let mut caller = Caller {
            session: self.session,
            scope: &scope,
        };
        let outcome = (function.body)(&mut caller, self.stack.newest(given));
        let below = self.stack.len() - given;
        self.stack.truncate(below);
        match outcome {
            Ok(Outcome::Value(value)) => {
                // Only a result of type `interface {}` can be the untyped nil.
                self.stack.push(Operand {
                    interface: value.is_nil(),
                    value,
                });
                Ok(Next::On)
            }
            Ok(Outcome::Render(render)) => self.render(*render, name, node, scope),
            Err(error) => Err(self.failed_call(name, node, error)),
        }
    }

    /// Starts what a function wants rendered.
    fn render(
        &mut self,
        render: Render,
        name: &Rc<str>,
        node: crate::parse::NodeId,
        scope: Rc<Scope>,
    ) -> Result<Next, Fault> {
        let Render { source, dot, then } = render;
        let pending = Pending {
            then,
            name: Rc::clone(name),
            node,
            out_base: self.out.len(),
        };
        let found = match source {
            RenderSource::Template(wanted) => match scope.lookup(&wanted).map(Rc::clone) {
                Some(template) => Ok((template, scope)),
                None => Err(self.settings.not_found(wanted)),
            },
            RenderSource::Text { name, text } => self.settings.scope_of_text(self.session, &scope, &name, text),
        };
        match found {
            Ok((template, scope)) => {
                // A failure from here on is one of the call.
                self.frame().node = node;
                self.enter(template, scope, dot, CalledBy::Function(Box::new(pending)))?;
                Ok(Next::Frame)
            }
            Err(RenderError::Limit(limit)) => Err(self.failed_call(name, node, FunctionError::Limit(limit))),
            Err(error) => self.go_on(pending, Err(error)).map(|()| Next::On),
        }
    }

    fn call_value(
        &mut self,
        written: &Rc<str>,
        args: usize,
        piped: bool,
        node: crate::parse::NodeId,
    ) -> Result<Next, Fault> {
        let given = args + usize::from(piped);
        if piped {
            self.pipe_in(args, crate::value::GoType::Reflect)?;
        }
        let callee = self.stack.newest(given)[0].clone();
        let written: Rc<str> = match &callee {
            Value::Str(text) if args == 0 => Rc::from(text.to_text()),
            callee if args == 0 => Rc::from(format!("<{} Value>", callee.type_name())),
            _ => Rc::clone(written),
        };
        let arguments = self.stack.newest(given - 1).to_vec();
        let below = self.stack.len() - given;
        self.stack.truncate(below);
        match prepare_call(&callee, &written, arguments) {
            Ok((function, arguments)) => {
                let given = arguments.len();
                arguments
                    .into_iter()
                    .for_each(|value| self.stack.push(Operand::concrete(value)));
                self.call(&function, &Rc::from("call"), given, node)
            }
            Err(message) => Err(self.failed_call("call", node, FunctionError::Failed(message))),
        }
    }

    /// Lets a failure go up until a function takes it, or the host gets it.
    fn unwind(&mut self, mut fault: Fault) -> Result<(), RenderError> {
        loop {
            let frame = self
                .frames
                .last()
                .expect("what fails is a frame, or a function that one has called");
            let source = &frame.template.source;
            let (line, column) = source.position(frame.node);
            let error = Box::new(ExecError {
                name: frame.template.name.to_string(),
                parse_name: source.name.to_string(),
                line,
                column,
                expression: shorten(source.expression(frame.node)),
                message: fault.message,
                limit: fault.limit,
            });
            let pending = loop {
                let Some(frame) = self.frames.pop() else {
                    return Err(RenderError::Exec(error));
                };
                self.stack.truncate(frame.stack_base);
                match frame.caller {
                    CalledBy::Function(pending) => {
                        self.out.truncate(pending.out_base);
                        // Nobody goes on beyond a limit.
                        if error.limit.is_none() {
                            break pending;
                        }
                    }
                    CalledBy::Template | CalledBy::Host => {}
                }
            };
            match self.go_on(*pending, Err(RenderError::Exec(error))) {
                Ok(()) => return Ok(()),
                Err(next) => fault = next,
            }
        }
    }
}

/// Checks the operands of the built-in `call`, in its words.
fn prepare_call(callee: &Value, written: &str, arguments: Vec<Value>) -> Result<(Rc<Function>, Vec<Value>), String> {
    let function = match callee {
        Value::Nil => return Err("call of nil".to_owned()),
        Value::Func(function) => Rc::clone(function),
        other => return Err(format!("non-function {written} of type {}", other.type_name())),
    };
    let params = function.params().len();
    let got = arguments.len();
    if function.is_variadic() && got + 1 < params {
        return Err(format!(
            "wrong number of args for {written}: got {got} want at least {}",
            params - 1
        ));
    }
    if !function.is_variadic() && got != params {
        return Err(format!("wrong number of args for {written}: got {got} want {params}"));
    }
    let prepared = arguments
        .iter()
        .enumerate()
        .map(|(i, value)| {
            convert::prepare(value, convert::param(&function, i)).map_err(|message| format!("arg {i}: {message}"))
        })
        .collect::<Result<_, _>>()?;
    Ok((function, prepared))
}

fn undefined(template: &Template, number: usize) -> Fault {
    Fault::from(format!("undefined variable: {}", template.variables[number]))
}

/// Leaves out the middle of a text that is too long.
fn shorten(text: String) -> String {
    if text.len() <= LONGEST_MESSAGE {
        return text;
    }
    let quarter = LONGEST_MESSAGE / 4;
    let head = (0..=quarter).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
    let tail = (text.len() - quarter..text.len())
        .find(|n| text.is_char_boundary(*n))
        .unwrap_or(text.len());
    format!("{} … {}", &text[..head], &text[tail..])
}
