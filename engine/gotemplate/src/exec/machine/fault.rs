//! Failures on their way up.

use super::super::frame::CalledBy;
use super::super::op::Template;
use super::Machine;
use crate::error::{ExecError, RenderError};
use crate::limits::LimitExceeded;

/// A failure that does not know yet where it happened.
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) limit: Option<LimitExceeded>,
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

impl Machine<'_> {
    /// Lets a failure go up until a function takes it, or the host gets it.
    pub(super) fn unwind(&mut self, mut fault: Fault) -> Result<(), RenderError> {
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

pub(super) fn undefined(template: &Template, number: usize) -> Fault {
    Fault::from(format!("undefined variable: {}", template.variables[number]))
}

/// Leaves out the middle of a text that is too long.
pub(super) fn shorten(text: String) -> String {
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
