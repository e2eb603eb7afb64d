//! `index slice len`.

use std::rc::Rc;

use crate::func::{Caller, FunctionError};
use crate::value::{GoType, IntKind, List, Map, Shape, Value};

/// `index x 1 2 3` is `x[1][2][3]`.
pub(super) fn index(args: &[Value]) -> Result<Value, FunctionError> {
    let (item, indexes) = args.split_first().ok_or("index of untyped nil")?;
    let mut item = item.clone();
    if item.is_nil() {
        return Err(FunctionError::new("index of untyped nil"));
    }
    for index in indexes {
        item = match &item.basic() {
            Value::Nil => return Err(FunctionError::new("index of nil pointer")),
            Value::Str(text) => byte(text.as_bytes(), index, "string")?,
            Value::Bytes(bytes) => byte(bytes, index, "slice")?,
            Value::List(list) => element(list.items(), index)?,
            Value::Map(map) => map.get(&key(index)?).unwrap_or_else(|| zero(map)),
            Value::Object(object) => match object.shape() {
                Shape::List(items) => element(&items, index)?,
                Shape::Map(_) => object.field(&key(index)?).unwrap_or_default(),
                _ => return Err(cannot_index(&item)),
            },
            _ => return Err(cannot_index(&item)),
        };
    }
    Ok(item)
}

fn cannot_index(item: &Value) -> FunctionError {
    FunctionError::new(format!("can't index item of type {}", item.type_name()))
}

fn zero(map: &Rc<Map>) -> Value {
    match map.elem() {
        GoType::String => Value::string(""),
        GoType::Bool => Value::Bool(false),
        GoType::Int(kind) => Value::Int(kind, 0),
        GoType::Float64 => Value::Float(0.0),
        _ => Value::Nil,
    }
}

fn key(index: &Value) -> Result<String, FunctionError> {
    match index {
        Value::Str(key) => Ok(key.to_text().into_owned()),
        Value::Nil => Err(FunctionError::new("value is nil; should be of type string")),
        other => Err(FunctionError::new(format!(
            "value has type {}; should be string",
            other.type_name()
        ))),
    }
}

fn byte(bytes: &[u8], index: &Value, what: &str) -> Result<Value, FunctionError> {
    let at = position(index, bytes.len())?;
    match bytes.get(at) {
        Some(byte) => Ok(Value::Int(IntKind::Uint8, u64::from(*byte))),
        None => Err(FunctionError::new(format!("reflect: {what} index out of range"))),
    }
}

fn element(items: &[Value], index: &Value) -> Result<Value, FunctionError> {
    let at = position(index, items.len())?;
    items
        .get(at)
        .cloned()
        .ok_or_else(|| FunctionError::new("reflect: slice index out of range"))
}

/// A place from 0 up to and with `most`.
fn position(index: &Value, most: usize) -> Result<usize, FunctionError> {
    let n = match (index.as_signed(), index.as_unsigned(), index) {
        (Some(n), ..) => n,
        (_, Some(n), _) => n.cast_signed(),
        (_, _, Value::Nil) => return Err(FunctionError::new("cannot index slice/array with nil")),
        (_, _, other) => {
            let name = other.type_name();
            return Err(FunctionError::new(format!("cannot index slice/array with type {name}")));
        }
    };
    usize::try_from(n)
        .ok()
        .filter(|n| *n <= most)
        .ok_or_else(|| FunctionError::new(format!("index out of range: {n}")))
}

/// `slice x 1 2` is `x[1:2]`, `slice x 1 2 3` is `x[1:2:3]`.
pub(super) fn slice(caller: &mut Caller<'_>, args: &[Value]) -> Result<Value, FunctionError> {
    let (item, indexes) = args.split_first().ok_or("slice of untyped nil")?;
    if item.is_nil() {
        return Err(FunctionError::new("slice of untyped nil"));
    }
    if indexes.len() > 3 {
        return Err(FunctionError::new(format!("too many slice indexes: {}", indexes.len())));
    }
    let item = item.basic();
    let len = match &item {
        Value::Str(_) if indexes.len() == 3 => return Err(FunctionError::new("cannot 3-index slice a string")),
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        other => {
            return Err(FunctionError::new(format!(
                "can't slice item of type {}",
                other.type_name()
            )));
        }
    };
    let mut at = [0, len, len];
    for (place, index) in at.iter_mut().zip(indexes) {
        *place = position(index, len)?;
    }
    let [from, to, cap] = at;
    if from > to {
        return Err(FunctionError::new(format!("invalid slice index: {from} > {to}")));
    }
    if indexes.len() == 3 && to > cap {
        return Err(FunctionError::new(format!("invalid slice index: {to} > {cap}")));
    }
    Ok(match &item {
        Value::Str(text) => {
            caller.charge_bytes(to - from)?;
            Value::string(&text.as_bytes()[from..to])
        }
        Value::Bytes(bytes) => {
            caller.charge_bytes(to - from)?;
            Value::Bytes(Rc::from(&bytes[from..to]))
        }
        Value::List(list) => {
            caller.charge_items(to - from)?;
            Value::List(Rc::new(List::new(list.go_type(), list.items()[from..to].to_vec())))
        }
        _ => Value::Nil,
    })
}

/// The length of a string, slice or map.
pub(super) fn length(item: &Value) -> Result<Value, FunctionError> {
    let len = match &item.basic() {
        // The words of the reflect package, which Go's template package passes on.
        Value::Nil => return Err(FunctionError::new("reflect: call of reflect.Value.Type on zero Value")),
        Value::Str(text) => Some(text.len()),
        Value::Bytes(bytes) => Some(bytes.len()),
        Value::List(list) => Some(list.len()),
        Value::Map(map) => Some(map.len()),
        Value::Object(object) => match object.shape() {
            Shape::List(items) => Some(items.len()),
            Shape::Map(entries) => Some(entries.len()),
            _ => None,
        },
        _ => None,
    };
    match len {
        Some(len) => Ok(Value::int(i64::try_from(len).unwrap_or(i64::MAX))),
        None => Err(FunctionError::new(format!(
            "len of type {}",
            item.type_name().trim_start_matches('*')
        ))),
    }
}
