//! Templates and functions that are called, and functions that wait for text.

use std::rc::Rc;

use super::super::convert;
use super::super::frame::{CalledBy, Frame, Pending};
use super::super::op::Template;
use super::super::stack::Operand;
use super::fault::{Fault, shorten};
use super::{Machine, Next};
use crate::error::RenderError;
use crate::func::{Builtin, Caller, Function, FunctionError, Outcome, Render, RenderSource};
use crate::limits::LimitExceeded;
use crate::parse::NodeId;
use crate::template::Scope;
use crate::value::{GoType, Str, Value};

impl Machine<'_> {
    /// Makes the piped value, which lies under the arguments, the last of them.
    pub(super) fn pipe_in(&mut self, args: usize, wanted: GoType) -> Result<(), Fault> {
        self.stack.lift(args);
        let operand = self.stack.pop();
        let value = convert::check(operand.value, operand.interface, wanted)?;
        self.stack.push(Operand {
            value,
            interface: operand.interface,
        });
        Ok(())
    }

    pub(super) fn check_depth(&self) -> Result<(), LimitExceeded> {
        let most = self.session.meter.depth();
        if self.frames.len() > most {
            Err(LimitExceeded::Depth(most))
        } else {
            Ok(())
        }
    }

    pub(super) fn enter(
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
            node: NodeId(0),
            controls: Vec::new(),
            methods: Vec::new(),
            stack_base: self.stack.len(),
            caller,
        });
        Ok(())
    }

    /// The top frame has come to its end.
    pub(super) fn leave(&mut self) -> Result<(), Fault> {
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
    pub(super) fn go_on(&mut self, pending: Pending, text: Result<Str, RenderError>) -> Result<(), Fault> {
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

    pub(super) fn failed_call(&mut self, name: &str, node: NodeId, error: FunctionError) -> Fault {
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
    pub(super) fn call(
        &mut self,
        function: &Function,
        name: &Rc<str>,
        given: usize,
        node: NodeId,
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
    pub(super) fn render(
        &mut self,
        render: Render,
        name: &Rc<str>,
        node: NodeId,
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

    pub(super) fn call_value(
        &mut self,
        written: &Rc<str>,
        args: usize,
        piped: bool,
        node: NodeId,
    ) -> Result<Next, Fault> {
        let given = args + usize::from(piped);
        if piped {
            self.pipe_in(args, GoType::Reflect)?;
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
