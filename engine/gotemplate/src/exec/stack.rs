//! The operands, and where they come from.

use crate::value::Value;

/// A value, and whether Go would hold it in a place of type `interface {}`: there it tells an empty place from one that
/// does not exist, and names the place's type in messages.
#[derive(Clone, Default)]
pub(super) struct Operand {
    pub(super) value: Value,
    pub(super) interface: bool,
}

impl Operand {
    pub(super) fn concrete(value: Value) -> Self {
        Self {
            value,
            interface: false,
        }
    }

    /// What Go prints as the type of the place.
    pub(super) fn static_type(&self) -> String {
        if self.interface {
            "interface {}".to_owned()
        } else {
            self.value.type_name()
        }
    }
}

/// The operand stack. The values lie side by side, so that a function's arguments are a slice of it.
#[derive(Default)]
pub(super) struct Stack {
    values: Vec<Value>,
    interface: Vec<bool>,
}

impl Stack {
    pub(super) fn push(&mut self, operand: Operand) {
        self.values.push(operand.value);
        self.interface.push(operand.interface);
    }

    pub(super) fn pop(&mut self) -> Operand {
        let value = self.values.pop().expect("the compiler pairs pushes and pops");
        let interface = self.interface.pop().expect("as long as the values");
        Operand { value, interface }
    }

    pub(super) fn top(&self) -> (&Value, bool) {
        let value = self.values.last().expect("the compiler pairs pushes and pops");
        (value, self.interface.last().copied().unwrap_or(false))
    }

    /// From here on the top operand is what is in the place, not the place.
    pub(super) fn top_is_concrete(&mut self) {
        if let Some(interface) = self.interface.last_mut() {
            *interface = false;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.interface.truncate(len);
    }

    /// The newest operands.
    pub(super) fn newest(&self, count: usize) -> &[Value] {
        &self.values[self.values.len() - count..]
    }

    /// Brings the operand under the newest `count` ones to the top.
    pub(super) fn lift(&mut self, count: usize) {
        let from = self.values.len() - count - 1;
        self.values[from..].rotate_left(1);
        self.interface[from..].rotate_left(1);
    }
}
