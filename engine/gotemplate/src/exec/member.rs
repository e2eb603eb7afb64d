//! `.name`: a method, a field, or an entry.

use std::rc::Rc;

use super::convert;
use super::stack::Operand;
use crate::func::Function;
use crate::template::MissingKey;
use crate::value::{GoType, Shape, Value};

/// What a name stands for.
pub(super) enum Member {
    Method(Function),
    Value(Operand),
}

/// Looks up `name`; `arguments` says whether the template gives it any. An error is the message.
pub(super) fn find(receiver: Operand, name: &Rc<str>, arguments: bool, missing: MissingKey) -> Result<Member, String> {
    let no_field = |receiver: &Operand| {
        Err(format!(
            "can't evaluate field {name} in type {}",
            receiver.static_type()
        ))
    };
    match &receiver.value {
        Value::Nil if receiver.interface => Err(format!("nil pointer evaluating interface {{}}.{name}")),
        Value::Nil if missing == MissingKey::Error => Err(format!("nil data; no entry for key \"{name}\"")),
        Value::Nil => Ok(Member::Value(Operand::default())),
        Value::Map(map) => {
            if let Some(method) = map.method(name) {
                return Ok(Member::Method(method));
            }
            if arguments {
                return Err(format!("{name} is not a method but has arguments"));
            }
            let elem = map.elem();
            entry(map.get(name), elem, name, missing)
        }
        Value::Object(object) => {
            if let Some(method) = object.method(name) {
                return Ok(Member::Method(method));
            }
            let is_map = || matches!(object.shape(), Shape::Map(_));
            match object.field(name) {
                Some(value) if !arguments => Ok(Member::Value(Operand::concrete(value))),
                Some(_) if !is_map() => Err(format!("{name} has arguments but cannot be invoked as function")),
                None if !is_map() => no_field(&receiver),
                _ if arguments => Err(format!("{name} is not a method but has arguments")),
                _ => entry(None, GoType::Any, name, missing),
            }
        }
        _ => no_field(&receiver),
    }
}

fn entry(found: Option<Value>, elem: GoType, name: &str, missing: MissingKey) -> Result<Member, String> {
    let interface = elem == GoType::Any;
    let operand = match (found, missing) {
        (Some(value), _) => Operand { value, interface },
        (None, MissingKey::Default) => Operand::default(),
        (None, MissingKey::Zero) => Operand {
            value: convert::zero(elem),
            interface,
        },
        (None, MissingKey::Error) => {
            return Err(format!(
                "map has no entry for key {}",
                crate::format::quote(name.as_bytes())
            ));
        }
    };
    Ok(Member::Value(operand))
}
