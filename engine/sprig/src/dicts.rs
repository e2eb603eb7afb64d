//! Sprig's functions of dictionaries. Keys come out sorted, where Go has them in no order.

use std::collections::BTreeMap;
use std::rc::Rc;

use nave_gotemplate::{Caller, FunctionError, GoType, LimitExceeded, List, Map, Value};

use crate::table::{ANY, MAP, Result, STRING, Table, fail, map_at, text_at};
use crate::text::strval;

/// How deep values are copied.
const MAX_DEPTH: usize = 200;

pub(crate) fn register(table: &mut Table<'_>) {
    table.rest("dict", &[ANY], |caller, args| {
        let mut entries: BTreeMap<Rc<str>, Value> = BTreeMap::new();
        caller.charge_items(args.len().div_ceil(2))?;
        for pair in args.chunks(2) {
            let key = strval(caller, &pair[0])?;
            entries.insert(
                Rc::from(&*key.to_text()),
                pair.get(1).cloned().unwrap_or_else(|| "".into()),
            );
        }
        Ok(Value::Map(Rc::new(Map::with(MAP, entries))))
    });
    table.add("get", &[MAP, STRING], |_, args| {
        Ok(map_at(args, 0).get(&text_at(args, 1)).unwrap_or_else(|| "".into()))
    });
    table.add("set", &[MAP, STRING, ANY], |caller, args| {
        let map = map_at(args, 0);
        if map.is_nil() {
            return fail("assignment to entry in nil map");
        }
        caller.set(&map, text_at(args, 1), args[2].clone())?;
        Ok(Value::Map(map))
    });
    table.add("unset", &[MAP, STRING], |_, args| {
        let map = map_at(args, 0);
        map.remove(&text_at(args, 1));
        Ok(Value::Map(map))
    });
    table.add("hasKey", &[MAP, STRING], |_, args| {
        Ok(map_at(args, 0).contains(&text_at(args, 1)).into())
    });
    table.rest("pluck", &[STRING, MAP], |caller, args| {
        let key = text_at(args, 0);
        caller.charge_items(args.len())?;
        Ok(Value::list(
            (1..args.len())
                .filter_map(|index| map_at(args, index).get(&key))
                .collect(),
        ))
    });
    table.rest("keys", &[MAP], |caller, args| {
        let mut keys = Vec::new();
        for index in 0..args.len() {
            let map = map_at(args, index);
            caller.charge_items(map.len())?;
            keys.extend(map.keys());
        }
        Ok(Value::strings(keys))
    });
    table.add("values", &[MAP], |caller, args| {
        let map = map_at(args, 0);
        caller.charge_items(map.len())?;
        Ok(Value::list(map.entries().into_iter().map(|(_, value)| value).collect()))
    });
    table.rest("pick", &[MAP, STRING], |caller, args| {
        let map = map_at(args, 0);
        caller.charge_items(args.len())?;
        let entries = (1..args.len()).filter_map(|index| {
            let key: Rc<str> = Rc::from(text_at(args, index));
            map.get(&key).map(|value| (key, value))
        });
        Ok(Value::Map(Rc::new(Map::with(MAP, entries.collect()))))
    });
    table.rest("omit", &[MAP, STRING], |caller, args| {
        let map = map_at(args, 0);
        caller.charge_items(map.len())?;
        let mut entries: BTreeMap<Rc<str>, Value> = map.entries().into_iter().collect();
        for index in 1..args.len() {
            entries.remove(&*text_at(args, index));
        }
        Ok(Value::Map(Rc::new(Map::with(MAP, entries))))
    });
    table.rest("dig", &[ANY], dig);
    table.add("deepCopy mustDeepCopy", &[ANY], |caller, args| {
        if args[0].is_nil() {
            return fail("reflect: call of reflect.Value.Type on zero Value");
        }
        copy(caller, &args[0], 0).map_err(FunctionError::from)
    });
}

/// `dig KEY… DEFAULT DICT`.
fn dig(_: &mut Caller<'_>, args: &[Value]) -> Result {
    let [keys @ .., otherwise, dict] = args else {
        return fail("dig needs at least three arguments");
    };
    if keys.is_empty() {
        return fail("dig needs at least three arguments");
    }
    let mut here = as_dict(dict)?;
    let keys = keys.iter().map(|key| match key {
        Value::Str(key) => Ok(key.to_text().into_owned()),
        other => Err(conversion(other, "string")),
    });
    let keys = keys.collect::<std::result::Result<Vec<_>, _>>()?;
    let (last, path) = keys.split_last().expect("there is at least one key");
    for key in path {
        let Some(next) = here.get(key) else {
            return Ok(otherwise.clone());
        };
        here = as_dict(&next)?;
    }
    Ok(here.get(last).unwrap_or_else(|| otherwise.clone()))
}

/// Go's type assertion, which a map type with a name of its own does not pass.
fn as_dict(value: &Value) -> std::result::Result<Rc<Map>, FunctionError> {
    match value {
        Value::Map(map) if map.go_type() == MAP => Ok(Rc::clone(map)),
        other => Err(conversion(other, "map[string]interface {}")),
    }
}

fn conversion(value: &Value, wanted: &str) -> FunctionError {
    let is = if value.is_nil() {
        "nil".to_owned()
    } else {
        value.type_name()
    };
    FunctionError::new(format!("interface conversion: interface {{}} is {is}, not {wanted}"))
}

/// A copy that shares no map with the original.
pub(crate) fn copy(caller: &mut Caller<'_>, value: &Value, depth: usize) -> std::result::Result<Value, LimitExceeded> {
    if depth > MAX_DEPTH {
        return Err(LimitExceeded::Nesting(MAX_DEPTH));
    }
    Ok(match value {
        Value::Map(map) if !map.is_nil() => {
            caller.charge_items(map.len())?;
            let mut entries = BTreeMap::new();
            for (key, value) in map.entries() {
                entries.insert(key, copy(caller, &value, depth + 1)?);
            }
            Value::Map(Rc::new(Map::with(map.go_type(), entries)))
        }
        Value::List(list) if !list.is_nil() => {
            caller.charge_items(list.len())?;
            let items = list
                .items()
                .iter()
                .map(|item| copy(caller, item, depth + 1))
                .collect::<std::result::Result<_, _>>()?;
            Value::List(Rc::new(List::new(list.go_type(), items)))
        }
        other => other.clone(),
    })
}

/// The type of what `regexSplit` and its like give for nothing.
pub(crate) fn nil_strings() -> Value {
    Value::List(Rc::new(List::nil(GoType::STRING_LIST)))
}
