//! Helm's own functions, where they need neither chart nor cluster.

use std::rc::Rc;

use nave_gotemplate::{Caller, FunctionError, GoType, LimitExceeded, List, Map, Value};

use crate::durations;
use crate::json::{self, Form};
use crate::table::{ANY, MAP, Result, STRING, Table, fail, str_at, text_at};
use crate::{toml, yaml};

/// What surrounds the message of `required` and `fail` in Helm, which takes it out of the error again.
const WARNING: [&str; 2] = ["HELM_ERR_START", "HELM_ERR_END"];

type Text = std::result::Result<std::result::Result<String, String>, LimitExceeded>;

pub(crate) fn register(table: &mut Table<'_>) {
    let mut writers = |name: &str, must: &str, write: fn(&mut Caller<'_>, &Value) -> Text, shows_error: bool| {
        table.add(name, &[ANY], move |caller, args| {
            match write(caller, &args[0])? {
                Ok(text) => Ok(text.into()),
                // BurntSushi/toml panics on nil, which is no error to show.
                Err(error) if shows_error && args[0].is_nil() => fail(error),
                Err(error) => Ok(if shows_error { error } else { String::new() }.into()),
            }
        });
        if !must.is_empty() {
            table.add(must, &[ANY], move |caller, args| {
                write(caller, &args[0])?.map(Value::from).map_err(FunctionError::new)
            });
        }
    };
    writers("toYaml", "mustToYaml", yaml::write, false);
    writers("toYamlPretty", "", yaml::write_pretty, false);
    writers(
        "toJson",
        "mustToJson",
        |caller, value| json::write(caller, value, Form::Compact),
        false,
    );
    writers("toToml", "mustToToml", toml::write, true);

    table.add("fromYaml", &[STRING], |caller, args| {
        Ok(map_or_error(yaml::read(caller, &text_at(args, 0))?, YAML))
    });
    table.add("fromYamlArray", &[STRING], |caller, args| {
        Ok(list_or_error(yaml::read(caller, &text_at(args, 0))?, YAML))
    });
    table.add("fromJson", &[STRING], |caller, args| {
        Ok(map_or_error(json::read(caller, str_at(args, 0).as_bytes())?, ""))
    });
    table.add("fromJsonArray", &[STRING], |caller, args| {
        Ok(list_or_error(json::read(caller, str_at(args, 0).as_bytes())?, ""))
    });
    table.add("fromToml", &[STRING], |caller, args| {
        Ok(map_or_error(toml::read(caller, &text_at(args, 0))?, ""))
    });

    durations::register(table);
    table.add("required", &[STRING, ANY], |_, args| {
        required(&text_at(args, 0), &args[1])
    });
    table.add("fail", &[STRING], |_, args| fail(warning(&text_at(args, 0))));
}

/// What `sigs.k8s.io/yaml` says before the error of the second step.
const YAML: &str = "error unmarshaling JSON: while decoding JSON: ";

/// A dictionary; the error is its entry `Error`. Null is the nil dictionary, but for YAML an empty one.
fn map_or_error(read: std::result::Result<Value, String>, prefix: &str) -> Value {
    let message = match read {
        Ok(Value::Map(map)) => return Value::Map(map),
        Ok(Value::Nil) if prefix == YAML => return Value::map(),
        Ok(Value::Nil) => return Value::Map(Rc::new(Map::nil(MAP))),
        Ok(other) => mismatch(&other, MAP, prefix),
        Err(message) => message,
    };
    let map = Map::new(MAP);
    map.insert("Error", Value::from(message));
    Value::Map(Rc::new(map))
}

/// A list; the error is its only element. Null is the nil list, but for YAML an empty one.
fn list_or_error(read: std::result::Result<Value, String>, prefix: &str) -> Value {
    let message = match read {
        Ok(Value::List(list)) => return Value::List(list),
        Ok(Value::Nil) if prefix == YAML => return Value::list(Vec::new()),
        Ok(Value::Nil) => return Value::List(Rc::new(List::nil(GoType::ANY_LIST))),
        Ok(other) => mismatch(&other, GoType::ANY_LIST, prefix),
        Err(message) => message,
    };
    Value::list(vec![message.into()])
}

fn mismatch(value: &Value, wanted: GoType, prefix: &str) -> String {
    let kind = match value {
        Value::Map(_) => "object",
        Value::List(_) => "array",
        Value::Str(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    };
    format!("{prefix}json: cannot unmarshal {kind} into Go value of type {wanted}")
}

fn required(message: &str, value: &Value) -> Result {
    let missing = match value {
        Value::Nil => true,
        Value::Str(text) => text.is_empty(),
        _ => false,
    };
    if missing {
        fail(warning(message))
    } else {
        Ok(value.clone())
    }
}

fn warning(message: &str) -> String {
    let [start, end] = WARNING;
    format!("{start}{message}{end}")
}
