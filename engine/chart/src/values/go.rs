//! Values as templates and Go's merging see them: maps are shared by reference.

use std::rc::Rc;

use nave_gotemplate::{GoType, Map, Value as Go};
use serde_json::{Number, Value};

use crate::Values;

/// A fresh copy of values for templates. Integers are of `--set` and stay integers (`int64`).
pub(crate) fn to_go(value: &Value) -> Go {
    match value {
        Value::Null => Go::Nil,
        Value::Bool(value) => Go::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Go::int64(integer),
            None => Go::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Go::string(text.as_str()),
        Value::Array(items) => Go::list(items.iter().map(to_go).collect()),
        Value::Object(map) => Go::Map(table(map)),
    }
}

/// What Kubernetes' client makes of an object's JSON: whole numbers are `int64`, others `float64`.
pub(crate) fn json_to_go(value: &Value) -> Go {
    to_go(value)
}

/// As [`to_go`], for a whole map.
pub(crate) fn table(values: &Values) -> Rc<Map> {
    let entries = values.iter().map(|(key, value)| (Rc::from(key.as_str()), to_go(value)));
    Rc::new(Map::with(GoType::ANY_MAP, entries.collect()))
}

/// The values that a map has now; what is no value (nothing of the kind gets into values) is null.
pub(crate) fn from_go(value: &Go) -> Value {
    match value {
        Go::Bool(value) => Value::Bool(*value),
        Go::Int(kind, bits) if kind.is_signed() => Value::from(bits.cast_signed()),
        Go::Int(_, bits) => Value::from(*bits),
        Go::Float(float) => Number::from_f64(*float).map_or(Value::Null, Value::Number),
        Go::Str(text) => Value::String(text.to_text().into_owned()),
        Go::List(list) => Value::Array(list.items().iter().map(from_go).collect()),
        Go::Map(map) => Value::Object(values_of(map)),
        _ => Value::Null,
    }
}

/// As [`from_go`], for a whole map.
pub(crate) fn values_of(map: &Map) -> Values {
    map.entries()
        .into_iter()
        .map(|(key, value)| (key.to_string(), from_go(&value)))
        .collect()
}

/// A copy that shares nothing with the original.
pub(crate) fn deep_copy(map: &Map) -> Rc<Map> {
    let copy = |value: Go| match value {
        Go::Map(map) => Go::Map(deep_copy(&map)),
        // Lists cannot change, but the maps in them can.
        Go::List(list) => Go::list(list.items().iter().map(copy_item).collect()),
        other => other,
    };
    let entries = map.entries().into_iter().map(|(key, value)| (key, copy(value)));
    Rc::new(Map::with(map.go_type(), entries.collect()))
}

fn copy_item(value: &Go) -> Go {
    match value {
        Go::Map(map) => Go::Map(deep_copy(map)),
        Go::List(list) => Go::list(list.items().iter().map(copy_item).collect()),
        other => other.clone(),
    }
}

/// The map at a path of keys joined by dots.
pub(crate) fn table_at(values: &Rc<Map>, path: &str) -> Option<Rc<Map>> {
    let mut table = Rc::clone(values);
    for key in path.split('.') {
        let next = match table.get(key)? {
            Go::Map(next) => next,
            _ => return None,
        };
        table = next;
    }
    Some(table)
}

/// The value at a path of keys joined by dots, if it is there and no map.
pub(crate) fn value_at(values: &Rc<Map>, path: &str) -> Option<Go> {
    let found = match path.rsplit_once('.') {
        Some((tables, key)) => table_at(values, tables)?.get(key)?,
        None => values.get(path)?,
    };
    (!matches!(found, Go::Map(_))).then_some(found)
}
