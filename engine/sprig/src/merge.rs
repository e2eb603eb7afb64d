//! `merge`, `mergeOverwrite`: dictionaries into the first one, as `dario.cat/mergo` 1.0.1 does.
//!
//! Nested dictionaries are merged where they are, so that everyone who holds them sees it; what the first one lacks is
//! taken over by reference.

use std::rc::Rc;

use nave_gotemplate::{Caller, FunctionError, LimitExceeded, Map, Value};

use crate::convert::is_empty;
use crate::table::{MAP, Table, map_at};

/// How deep dictionaries are merged.
const MAX_DEPTH: usize = 200;

pub(crate) fn register(table: &mut Table<'_>) {
    for (names, overwrite) in [("merge mustMerge", false), ("mergeOverwrite mustMergeOverwrite", true)] {
        table.rest(names, &[MAP, MAP], move |caller, args| {
            let mut first = map_at(args, 0);
            for index in 1..args.len() {
                let source = map_at(args, index);
                if first.is_nil() && !source.is_nil() {
                    first = Rc::new(Map::new(MAP));
                }
                merge(caller, &first, &source, overwrite, 0)?;
            }
            Ok(Value::Map(first))
        });
    }
}

fn merge(
    caller: &mut Caller<'_>,
    into: &Rc<Map>,
    from: &Map,
    overwrite: bool,
    depth: usize,
) -> Result<(), FunctionError> {
    if depth > MAX_DEPTH {
        return Err(LimitExceeded::Nesting(MAX_DEPTH).into());
    }
    caller.charge(from.len() as u64)?;
    for (key, value) in from.entries() {
        let mine = into.get(&key);
        if value.is_nil() {
            if overwrite {
                caller.set(into, key, value)?;
            }
            continue;
        }
        if let (Some(Value::Map(mine)), Value::Map(value)) = (&mine, &value)
            && !Rc::ptr_eq(mine, value)
            && !mine.is_nil()
        {
            merge(caller, mine, value, overwrite, depth + 1)?;
        }
        let keep = match &mine {
            None => false,
            Some(mine) if is_empty(mine) => false,
            // Two dictionaries have been merged by now.
            Some(Value::Map(_)) if matches!(value, Value::Map(_)) => true,
            Some(_) => !overwrite,
        };
        if !keep {
            caller.set(into, key, value)?;
        }
    }
    Ok(())
}
