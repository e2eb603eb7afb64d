//! The user's values over those of a chart and of the charts below it.
//!
//! This works on maps that are shared by reference because Helm's does, and charts can see it: tables within globals
//! are one table for a chart and those below it.

use std::rc::Rc;

use nave_gotemplate::{GoType, Map, Value as Go};

use super::go::table;
use crate::Chart;

/// What becomes of null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// A null of the user takes the chart's value away, and a chart's own null means nothing.
    Delete,
    /// Null is a value.
    Keep,
}

/// Lays `values`, which it changes, over the values of a chart and those below it; says what it left out.
///
/// # Errors
/// The values have something other than a map under the name of a chart below.
pub(crate) fn coalesce(
    chart: &Chart,
    values: &Rc<Map>,
    nulls: Nulls,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    coalesce_chart(chart, values, "", nulls, warnings)
}

fn join(prefix: &str, key: &str) -> String {
    match prefix {
        "" => key.to_owned(),
        prefix => format!("{prefix}.{key}"),
    }
}

fn coalesce_chart(
    chart: &Chart,
    values: &Rc<Map>,
    prefix: &str,
    nulls: Nulls,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let prefix = join(prefix, chart.name());
    coalesce_values(chart, values, &prefix, nulls, warnings);
    for below in &chart.dependencies {
        let table = match values.get(below.name()) {
            None => {
                let table = Rc::new(Map::new(GoType::ANY_MAP));
                values.insert(below.name(), Go::Map(Rc::clone(&table)));
                table
            }
            Some(Go::Map(table)) => table,
            Some(other) => return Err(format!("type mismatch on {}: {}", below.name(), as_bool(&other))),
        };
        coalesce_globals(&table, values, &prefix, warnings);
        coalesce_chart(below, &table, &prefix, nulls, warnings)?;
    }
    Ok(())
}

/// What Go's `%t` prints.
fn as_bool(value: &Go) -> String {
    match value {
        Go::Bool(value) => value.to_string(),
        Go::Nil => "%!t(<nil>)".to_owned(),
        other => format!("%!t({}={})", other.type_name(), display(other)),
    }
}

fn display(value: &Go) -> String {
    match super::go::from_go(value) {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

fn coalesce_globals(below: &Map, above: &Map, prefix: &str, warnings: &mut Vec<String>) {
    let empty = || Rc::new(Map::new(GoType::ANY_MAP));
    let globals = match below.get("global") {
        None => empty(),
        Some(Go::Map(globals)) => globals,
        Some(_) => {
            warnings.push("warning: skipping globals because destination global is not a table.".to_owned());
            return;
        }
    };
    let given = match above.get("global") {
        None => empty(),
        Some(Go::Map(globals)) => globals,
        Some(_) => {
            warnings.push("warning: skipping globals because source global is not a table.".to_owned());
            return;
        }
    };
    for (key, value) in given.entries() {
        match (value, globals.get(&key)) {
            (Go::Map(value), there) => {
                // A copy of one level: what is below stays shared.
                let copy = Rc::new(Map::with(value.go_type(), value.entries().into_iter().collect()));
                match there {
                    None => {
                        globals.insert(key, Go::Map(copy));
                    }
                    Some(Go::Map(there)) => {
                        coalesce_tables(&copy, &there, &join(prefix, &key), Nulls::Keep, warnings);
                        globals.insert(key, Go::Map(copy));
                    }
                    Some(_) => warnings.push(format!(
                        "Conflict: cannot merge map onto non-map for {}. Skipping.",
                        crate::text::quote(&key)
                    )),
                }
            }
            (_, Some(Go::Map(_))) => warnings.push(format!("key {key} is table. Skipping")),
            (value, _) => {
                globals.insert(key, value);
            }
        }
    }
    below.insert("global", Go::Map(globals));
}

fn coalesce_values(chart: &Chart, values: &Map, prefix: &str, nulls: Nulls, warnings: &mut Vec<String>) {
    for (key, default) in table(&chart.values).entries() {
        match values.get(&key) {
            Some(Go::Nil) if nulls == Nulls::Delete => {
                values.remove(&key);
            }
            Some(Go::Map(value)) => match default {
                Go::Map(default) => {
                    let is_chart = chart.dependencies.iter().any(|below| *below.name() == *key);
                    let nulls = if is_chart { Nulls::Keep } else { nulls };
                    if nulls == Nulls::Delete {
                        remove_nulls(&default);
                    }
                    coalesce_tables(&value, &default, &join(prefix, &key), nulls, warnings);
                }
                Go::Nil => {}
                _ => warnings.push(format!("warning: skipped value for {prefix}.{key}: Not a table.")),
            },
            Some(_) => {}
            None => {
                if nulls == Nulls::Delete {
                    match &default {
                        Go::Nil => continue,
                        Go::Map(default) => remove_nulls(default),
                        _ => {}
                    }
                }
                values.insert(key, default);
            }
        }
    }
}

/// Lays `over` over `base`, whose maps may end up in `over`.
pub(crate) fn coalesce_tables(over: &Map, base: &Map, prefix: &str, nulls: Nulls, warnings: &mut Vec<String>) {
    let was_there: Vec<Rc<str>> = base
        .entries()
        .into_iter()
        .filter(|(_, value)| !value.is_nil())
        .map(|(key, _)| key)
        .collect();
    for (key, value) in over.entries() {
        if value.is_nil() {
            base.insert(key, Go::Nil);
        }
    }
    for (key, value) in base.entries() {
        let full = || join(prefix, &key);
        match (over.get(&key), value) {
            (Some(Go::Nil), _) if nulls == Nulls::Delete && was_there.contains(&key) => {
                over.remove(&key);
            }
            (None, value) => {
                over.insert(key, value);
            }
            (Some(Go::Map(there)), Go::Map(value)) => coalesce_tables(&there, &value, &full(), nulls, warnings),
            (Some(_), Go::Map(value)) => warnings.push(format!(
                "warning: cannot overwrite table with non table for {} ({})",
                full(),
                display(&Go::Map(value))
            )),
            (Some(Go::Map(_)), value) if !value.is_nil() => warnings.push(format!(
                "warning: destination for {} is a table. Ignoring non-table value ({})",
                full(),
                display(&value)
            )),
            _ => {}
        }
    }
}

/// Takes nulls out of a map and the maps in it.
pub(crate) fn remove_nulls(map: &Map) {
    for (key, value) in map.entries() {
        match value {
            Go::Nil => {
                map.remove(&key);
            }
            Go::Map(below) => remove_nulls(&below),
            _ => {}
        }
    }
}
