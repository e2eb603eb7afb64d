//! What can be given where a type is wanted: constants, and the number of arguments.

use crate::func::Function;
use crate::parse::{NodeId, NodeKind, Number, Source};
use crate::value::{GoType, Kind, Shape, Value};

/// The type of the n-th parameter, the last one repeated if the function is variadic.
pub(super) fn param(function: &Function, n: usize) -> GoType {
    let params = function.params();
    params.get(n).or(params.last()).copied().unwrap_or(GoType::Any)
}

/// Go's complaint about a wrong number of arguments; `args` are those written, `given` also the piped one.
pub(super) fn wrong_number(function: &Function, name: &str, args: usize, given: usize) -> Option<String> {
    let params = function.params().len();
    if function.is_variadic() {
        let least = params.saturating_sub(1);
        (given < least).then(|| format!("wrong number of args for {name}: want at least {least} got {args}"))
    } else {
        (given != params).then(|| format!("wrong number of args for {name}: want {params} got {given}"))
    }
}

/// The value of a number where nothing says what type it should have.
pub(super) fn ideal(number: &Number) -> Result<Value, String> {
    if let Some((re, im)) = number.complex {
        return Ok(Value::Complex(re, im));
    }
    let written_as_float = number.text.contains(['.', 'e', 'E', 'p', 'P']);
    if let Some(f) = number
        .float
        .filter(|_| !number.is_hex_int() && !number.is_character() && written_as_float)
    {
        return Ok(Value::Float(f));
    }
    match number.int {
        Some(int) => Ok(Value::int(int)),
        None => Err(format!("{} overflows int", number.text)),
    }
}

/// A constant as an argument for a parameter of the wanted type.
pub(super) fn constant(source: &Source, id: NodeId, kind: &NodeKind, wanted: GoType) -> Result<Value, String> {
    let shown = || source.expression(id);
    if matches!(kind, NodeKind::Nil) {
        return if wanted.can_be_nil() {
            Ok(Value::Nil)
        } else {
            Err(format!("cannot assign nil to {wanted}"))
        };
    }
    match (wanted, kind) {
        (GoType::Any | GoType::Reflect, NodeKind::Bool(b)) | (GoType::Bool, NodeKind::Bool(b)) => Ok(Value::Bool(*b)),
        (GoType::Any | GoType::Reflect | GoType::String, NodeKind::String { text, .. }) => {
            Ok(Value::string(std::rc::Rc::clone(text)))
        }
        (GoType::Any | GoType::Reflect, NodeKind::Number(number)) => ideal(number),
        (GoType::Bool, _) => Err(format!("expected bool; found {}", shown())),
        (GoType::String, _) => Err(format!("expected string; found {}", shown())),
        (GoType::Int(int), kind) => match kind {
            NodeKind::Number(number) if int.is_signed() && number.int.is_some() => {
                Ok(Value::Int(int, int.wrap(number.int.unwrap_or(0).cast_unsigned())))
            }
            NodeKind::Number(number) if !int.is_signed() && number.uint.is_some() => {
                Ok(Value::Int(int, int.wrap(number.uint.unwrap_or(0))))
            }
            _ if int.is_signed() => Err(format!("expected integer; found {}", shown())),
            _ => Err(format!("expected unsigned integer; found {}", shown())),
        },
        (GoType::Float64, NodeKind::Number(number)) if number.float.is_some() => {
            Ok(Value::Float(number.float.unwrap_or(0.0)))
        }
        (GoType::Float64, _) => Err(format!("expected float; found {}", shown())),
        (GoType::Complex128, NodeKind::Number(number)) if number.complex.is_some() => {
            let (re, im) = number.complex.unwrap_or((0.0, 0.0));
            Ok(Value::Complex(re, im))
        }
        (GoType::Complex128, _) => Err(format!("expected complex; found {}", shown())),
        _ => Err(format!("can't handle {} for arg of type {wanted}", shown())),
    }
}

/// Checks a value for a parameter. `interface` says whether it comes from a place of type `interface {}`, which Go
/// names when such a place is empty.
pub(super) fn check(value: Value, interface: bool, wanted: GoType) -> Result<Value, String> {
    let Some(own) = value.go_type() else {
        return if matches!(wanted, GoType::Any | GoType::Reflect) {
            Ok(Value::Nil)
        } else if interface {
            Err(format!("wrong type for value; expected {wanted}; got interface {{}}"))
        } else if wanted.can_be_nil() {
            Ok(zero(wanted))
        } else {
            Err(format!("invalid value; expected {wanted}"))
        };
    };
    if own.assignable_to(wanted) || points_to(own, wanted) {
        return Ok(value);
    }
    Err(format!("wrong type for value; expected {wanted}; got {own}"))
}

/// The nil of a type that has one.
pub(super) fn zero(t: GoType) -> Value {
    use crate::value::{List, Map};
    use std::rc::Rc;
    match t {
        GoType::Bool => Value::Bool(false),
        GoType::Int(kind) => Value::Int(kind, 0),
        GoType::Float64 => Value::Float(0.0),
        GoType::Complex128 => Value::Complex(0.0, 0.0),
        GoType::String => Value::string(""),
        GoType::Bytes => Value::Bytes(Rc::from([].as_slice())),
        GoType::List(_) => Value::List(Rc::new(List::nil(t))),
        GoType::Map(_) | GoType::NamedMap(..) => Value::Map(Rc::new(Map::nil(t))),
        GoType::Any | GoType::Reflect | GoType::Named(_) | GoType::Func => Value::Nil,
    }
}

/// One dereference is done on the way to a parameter.
fn points_to(own: GoType, wanted: GoType) -> bool {
    matches!((own, wanted), (GoType::Named(own), GoType::Named(wanted)) if own.strip_prefix('*') == Some(wanted))
}

/// As [`check`] for the built-in `call`, in its words.
pub(super) fn prepare(value: &Value, wanted: GoType) -> Result<Value, String> {
    let Some(own) = value.go_type() else {
        return if wanted.can_be_nil() {
            Ok(zero(wanted))
        } else {
            Err(format!("value is nil; should be of type {wanted}"))
        };
    };
    match (value, wanted) {
        _ if own.assignable_to(wanted) => Ok(value.clone()),
        (Value::Int(_, bits), GoType::Int(kind)) => Ok(Value::Int(kind, kind.wrap(*bits))),
        _ => Err(format!("value has type {own}; should be {wanted}")),
    }
}

/// Whether an action can print the value.
pub(super) fn is_printable(value: &Value) -> bool {
    value.kind() != Kind::Func
}

/// A pointer is printed as what it points to.
pub(super) fn printable(value: &Value) -> Value {
    match value {
        Value::Object(object) if object.is_pointer() && object.text().is_none() => match object.shape() {
            Shape::Basic(value) => value,
            _ => Value::Object(crate::value::pointee(object)),
        },
        value => value.clone(),
    }
}
