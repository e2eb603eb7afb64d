//! Variables, output, and loops.

use super::super::convert;
use super::super::frame::Control;
use super::super::loops::Loop;
use super::super::op::Template;
use super::super::stack::Operand;
use super::Machine;
use super::fault::{Fault, undefined};
use crate::format;
use crate::value::{Str, Value};

impl Machine<'_> {
    pub(super) fn assign(&mut self, template: &Template, number: usize, value: Operand) -> Result<(), Fault> {
        match self.frame().variables.iter_mut().rev().find(|(n, _)| *n == number) {
            Some((_, old)) => {
                *old = value;
                Ok(())
            }
            None => Err(undefined(template, number)),
        }
    }

    pub(super) fn print(&mut self, template: &Template, value: &Value) -> Result<(), Fault> {
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

    pub(super) fn begin_loop(&mut self, template: &Template, index: usize) -> Result<(), Fault> {
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
    pub(super) fn turn(&mut self, template: &Template, index: usize) -> Result<(), Fault> {
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
    pub(super) fn close_to_loop(&mut self) -> usize {
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

    pub(super) fn end_loop(&mut self, template: &Template, index: usize) {
        let frame = self.frame();
        if let Some(Control::Loop(ended)) = frame.controls.pop() {
            frame.dot = ended.dot;
        }
        frame.pc = template.ranges[index].end;
    }
}
