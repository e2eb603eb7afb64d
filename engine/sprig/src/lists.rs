//! Sprig's functions of lists. Each `mustX` gives the error as such; `X` panics with it, which a template sees as the same.

use std::rc::Rc;

use nave_gotemplate::{Caller, FunctionError, GoType, List, Value};

use crate::convert::{deep_equal, is_empty, to_int64};
use crate::table::{ANY, INT, Result, Table, fail, int_at, nil_pointer};
use crate::text::{strslice, strval};

pub(crate) fn register(table: &mut Table<'_>) {
    table.rest("list tuple", &[ANY], |caller, args| made(caller, args.to_vec()));
    table.add("append push mustAppend mustPush", &[ANY, ANY], |caller, args| {
        let mut items = items(&args[0], "Cannot push on type")?;
        items.push(args[1].clone());
        made(caller, items)
    });
    table.add("prepend mustPrepend", &[ANY, ANY], |caller, args| {
        let mut items = items(&args[0], "Cannot prepend on type")?;
        items.insert(0, args[1].clone());
        made(caller, items)
    });
    table.add("first mustFirst", &[ANY], |_, args| {
        Ok(items(&args[0], "Cannot find first on type")?
            .first()
            .cloned()
            .unwrap_or_default())
    });
    table.add("last mustLast", &[ANY], |_, args| {
        Ok(items(&args[0], "Cannot find last on type")?
            .last()
            .cloned()
            .unwrap_or_default())
    });
    table.add("rest mustRest", &[ANY], |caller, args| {
        let items = items(&args[0], "Cannot find rest on type")?;
        if items.is_empty() {
            Ok(nil_list())
        } else {
            made(caller, items[1..].to_vec())
        }
    });
    table.add("initial mustInitial", &[ANY], |caller, args| {
        let items = items(&args[0], "Cannot find initial on type")?;
        if items.is_empty() {
            Ok(nil_list())
        } else {
            made(caller, items[..items.len() - 1].to_vec())
        }
    });
    table.add("reverse mustReverse", &[ANY], |caller, args| {
        let mut items = items(&args[0], "Cannot find reverse on type")?;
        items.reverse();
        made(caller, items)
    });
    table.add("compact mustCompact", &[ANY], |caller, args| {
        let mut items = items(&args[0], "Cannot compact on type")?;
        items.retain(|item| !is_empty(item));
        made(caller, items)
    });
    table.add("uniq mustUniq", &[ANY], |caller, args| {
        let mut kept: Vec<Value> = Vec::new();
        for item in items(&args[0], "Cannot find uniq on type")? {
            if !contains(caller, &kept, &item)? {
                kept.push(item);
            }
        }
        made(caller, kept)
    });
    table.rest("without mustWithout", &[ANY, ANY], |caller, args| {
        let mut kept = Vec::new();
        for item in items(&args[0], "Cannot find without on type")? {
            if !contains(caller, &args[1..], &item)? {
                kept.push(item);
            }
        }
        made(caller, kept)
    });
    table.add("has mustHas", &[ANY, ANY], |caller, args| {
        if args[1].is_nil() {
            return Ok(false.into());
        }
        let items = items(&args[1], "Cannot find has on type")?;
        Ok(contains(caller, &items, &args[0])?.into())
    });
    table.rest("slice mustSlice", &[ANY, ANY], slice);
    table.rest("concat", &[ANY], |caller, args| {
        if args.is_empty() {
            return Ok(nil_list());
        }
        let mut all = Vec::new();
        for list in args {
            let Some(items) = list.items() else {
                kind_of(list)?;
                return fail(format!("Cannot concat type {} as list", list.kind().name()));
            };
            caller.charge_items(items.len())?;
            all.extend(items);
        }
        Ok(if all.is_empty() { nil_list() } else { Value::list(all) })
    });
    table.add("chunk mustChunk", &[INT, ANY], |caller, args| {
        let items = items(&args[1], "Cannot chunk type")?;
        caller.charge_items(items.len())?;
        let Some(size) = usize::try_from(int_at(args, 0)).ok().filter(|size| *size > 0) else {
            return fail("runtime error: makeslice: len out of range");
        };
        let chunks: Vec<Value> = items.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect();
        Ok(Value::List(Rc::new(List::new(GoType::List(&GoType::ANY_LIST), chunks))))
    });
    table.add("sortAlpha", &[ANY], |caller, args| {
        if args[0].items().is_none() {
            return Ok(Value::strings([strval(caller, &args[0])?]));
        }
        let mut words = strslice(caller, &args[0])?;
        caller.charge(words.len() as u64 * u64::from(words.len().max(1).ilog2()))?;
        words.sort();
        Ok(Value::strings(words))
    });
}

fn slice(_: &mut Caller<'_>, args: &[Value]) -> Result {
    let items = items(&args[0], "list should be type of slice or array but")?;
    if items.is_empty() {
        return Ok(Value::Nil);
    }
    let bound = |index: usize, otherwise: usize| {
        args.get(index).map_or(Some(otherwise), |value| {
            usize::try_from(to_int64(value)).ok().filter(|n| *n <= items.len())
        })
    };
    match (bound(1, 0), bound(2, items.len())) {
        (Some(from), Some(to)) if from <= to => Ok(match &args[0] {
            Value::List(list) => Value::List(Rc::new(List::new(list.go_type(), items[from..to].to_vec()))),
            Value::Bytes(bytes) => Value::Bytes(Rc::from(&bytes[from..to])),
            _ => Value::list(items[from..to].to_vec()),
        }),
        _ => fail("reflect.Value.Slice: slice index out of bounds"),
    }
}

/// The elements of a list of any type, or the reference's complaint with the kind at its end.
fn items(value: &Value, complaint: &str) -> std::result::Result<Vec<Value>, FunctionError> {
    match value.items() {
        Some(items) => Ok(items),
        None => {
            kind_of(value)?;
            Err(FunctionError::new(format!("{complaint} {}", value.kind().name())))
        }
    }
}

/// The reference asks for the type of nil, which there is none of.
fn kind_of(value: &Value) -> std::result::Result<(), FunctionError> {
    if value.is_nil() { Err(nil_pointer()) } else { Ok(()) }
}

fn made(caller: &mut Caller<'_>, items: Vec<Value>) -> Result {
    caller.charge_items(items.len())?;
    Ok(Value::list(items))
}

fn nil_list() -> Value {
    Value::List(Rc::new(List::nil(GoType::ANY_LIST)))
}

fn contains(caller: &mut Caller<'_>, items: &[Value], wanted: &Value) -> std::result::Result<bool, FunctionError> {
    for item in items {
        if deep_equal(caller, wanted, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}
