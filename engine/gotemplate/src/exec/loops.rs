//! `range`: what it goes over, and its variables.

use std::rc::Rc;

use super::convert;
use super::stack::Operand;
use crate::value::{GoType, IntKind, List, Shape, Value};

/// An open loop.
pub(super) struct Loop {
    pub(super) index: usize,
    items: Items,
    next: u64,
    /// The dot outside of the loop.
    pub(super) dot: Operand,
    /// The number of variables at the beginning of each turn.
    pub(super) mark: usize,
}

enum Items {
    /// From 0 up to this one.
    Count(IntKind, u64),
    Values(Rc<List>),
    Bytes(Rc<[u8]>),
    Entries(std::vec::IntoIter<(Rc<str>, Value)>, bool),
}

impl Loop {
    /// Begins to go over a value; `Ok(None)` when there is nothing to go over.
    pub(super) fn over(
        index: usize,
        value: &Value,
        variables: usize,
        dot: Operand,
        mark: usize,
    ) -> Result<Option<Self>, String> {
        let cannot = || {
            let shown = crate::format::sprint(&[convert::printable(value)], 1 << 16);
            format!(
                "range can't iterate over {}",
                shown.map(|s| s.to_string()).unwrap_or_else(|_| value.type_name())
            )
        };
        let items = match &value.basic() {
            Value::Nil => return Ok(None),
            Value::Int(kind, bits) => {
                if variables > 1 {
                    let shown = if kind.is_signed() {
                        bits.cast_signed().to_string()
                    } else {
                        bits.to_string()
                    };
                    return Err(format!("can't use {shown} to iterate over more than one variable"));
                }
                let below = if kind.is_signed() {
                    bits.cast_signed().max(0).cast_unsigned()
                } else {
                    *bits
                };
                Items::Count(*kind, below)
            }
            Value::List(list) => Items::Values(Rc::clone(list)),
            Value::Bytes(bytes) => Items::Bytes(Rc::clone(bytes)),
            Value::Map(map) => Items::Entries(map.entries().into_iter(), map.elem() == GoType::Any),
            Value::Object(object) => match object.shape() {
                Shape::List(items) => Items::Values(Rc::new(List::new(GoType::List(&GoType::Reflect), items))),
                Shape::Map(entries) => Items::Entries(entries.into_iter(), false),
                _ => return Err(cannot()),
            },
            _ => return Err(cannot()),
        };
        let this = Self {
            index,
            items,
            next: 0,
            dot,
            mark,
        };
        Ok((!this.is_empty()).then_some(this))
    }

    fn is_empty(&self) -> bool {
        match &self.items {
            Items::Count(_, below) => *below == 0,
            Items::Values(list) => list.is_empty(),
            Items::Bytes(bytes) => bytes.is_empty(),
            Items::Entries(entries, _) => entries.len() == 0,
        }
    }

    /// How many entries were copied to begin with.
    pub(super) fn copied(&self) -> usize {
        match &self.items {
            Items::Entries(entries, _) => entries.len(),
            _ => 0,
        }
    }

    /// The next index or key, and the element.
    pub(super) fn turn(&mut self) -> Option<(Operand, Operand)> {
        let n = self.next;
        self.next += 1;
        let index = || Operand::concrete(Value::Int(IntKind::Int, n));
        let at = usize::try_from(n).unwrap_or(usize::MAX);
        match &mut self.items {
            // Go has no index beside a number.
            Items::Count(kind, below) => {
                (n < *below).then(|| (Operand::default(), Operand::concrete(Value::Int(*kind, n))))
            }
            Items::Values(list) => {
                let value = list.items().get(at)?.clone();
                Some((
                    index(),
                    Operand {
                        value,
                        interface: list.elem() == GoType::Any,
                    },
                ))
            }
            Items::Bytes(bytes) => {
                let byte = u64::from(*bytes.get(at)?);
                Some((index(), Operand::concrete(Value::Int(IntKind::Uint8, byte))))
            }
            Items::Entries(entries, interface) => {
                let (key, value) = entries.next()?;
                Some((
                    Operand::concrete(Value::string(key)),
                    Operand {
                        value,
                        interface: *interface,
                    },
                ))
            }
        }
    }
}
