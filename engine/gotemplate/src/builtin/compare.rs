//! `eq ne lt le gt ge`.

use std::cmp::Ordering;

use crate::format;
use crate::func::FunctionError;
use crate::value::{Kind, Value};

/// What can be compared with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Basic {
    Bool,
    Complex,
    Int,
    Float,
    String,
    Uint,
}

fn basic_kind(value: &Value) -> Option<Basic> {
    match value.kind() {
        Kind::Bool => Some(Basic::Bool),
        Kind::Int(kind) if kind.is_signed() => Some(Basic::Int),
        Kind::Int(_) => Some(Basic::Uint),
        Kind::Float64 => Some(Basic::Float),
        Kind::Complex128 => Some(Basic::Complex),
        Kind::String => Some(Basic::String),
        _ => None,
    }
}

fn incompatible(a: &Value, b: &Value) -> FunctionError {
    let (a, b) = (a.type_name(), b.type_name());
    FunctionError::new(format!("incompatible types for comparison: {a} and {b}"))
}

/// Integers compare by value, whether signed or not.
fn integers(a: &Value, b: &Value) -> Option<Ordering> {
    let wide = |v: &Value| {
        v.as_signed()
            .map(i128::from)
            .or_else(|| v.as_unsigned().map(i128::from))
    };
    Some(wide(a)?.cmp(&wide(b)?))
}

/// Whether the first equals any of the others.
pub(super) fn eq(args: &[Value]) -> Result<bool, FunctionError> {
    let (first, others) = args.split_first().ok_or("missing argument for comparison")?;
    if others.is_empty() {
        return Err(FunctionError::new("missing argument for comparison"));
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: &Value, b: &Value) -> Result<bool, FunctionError> {
    let (kind_a, kind_b) = (basic_kind(a), basic_kind(b));
    match (kind_a, kind_b) {
        (Some(Basic::Int | Basic::Uint), Some(Basic::Int | Basic::Uint)) => Ok(integers(a, b) == Some(Ordering::Equal)),
        _ if kind_a != kind_b && (a.is_nil() || b.is_nil()) => Ok(false),
        _ if kind_a != kind_b => Err(incompatible(a, b)),
        (None, _) => identical(a, b),
        _ => Ok(match (&a.basic(), &b.basic()) {
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Complex(a, i), Value::Complex(b, j)) => a == b && i == j,
            (Value::Str(a), Value::Str(b)) => a == b,
            _ => false,
        }),
    }
}

/// Equality of what is not basic: nil, or host objects whose type has an equality.
fn identical(a: &Value, b: &Value) -> Result<bool, FunctionError> {
    let show = |v: &Value| format::sprintf(b"%s", std::slice::from_ref(v), 1 << 16);
    let (nil_a, nil_b) = (a.is_any_nil(), b.is_any_nil());
    if a.kind() != b.kind() && !a.is_nil() && !b.is_nil() {
        // Go has its own arguments in the wrong order here.
        let message = format!(
            "non-comparable types {}: {}, {}: ",
            show(a)?,
            a.type_name(),
            b.type_name()
        );
        return Err(FunctionError::new(format!("{message}{}", b.display(1 << 16)?)));
    }
    if nil_a || nil_b {
        return Ok(nil_a == nil_b);
    }
    if let (Value::Object(a), Value::Object(other)) = (a, b) {
        if a.type_name() != other.type_name() {
            return Ok(false);
        }
        if let Some(equal) = a.equals(other.as_ref()) {
            return Ok(equal);
        }
    }
    Err(FunctionError::new(format!(
        "non-comparable type {}: {}",
        show(b)?,
        b.type_name()
    )))
}

pub(super) fn lt(args: &[Value]) -> Result<bool, FunctionError> {
    let [a, b] = args else {
        return Err(FunctionError::new("missing argument for comparison"));
    };
    let bad = || FunctionError::new("invalid type for comparison");
    let (kind_a, kind_b) = (basic_kind(a).ok_or_else(bad)?, basic_kind(b).ok_or_else(bad)?);
    if let Some(order) = integers(a, b) {
        return Ok(order == Ordering::Less);
    }
    if kind_a != kind_b {
        return Err(incompatible(a, b));
    }
    match (&a.basic(), &b.basic()) {
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Str(a), Value::Str(b)) => Ok(a < b),
        _ => Err(bad()),
    }
}

pub(super) fn le(args: &[Value]) -> Result<bool, FunctionError> {
    Ok(lt(args)? || eq(args)?)
}
