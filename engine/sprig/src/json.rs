//! JSON as Go's `encoding/json` writes and reads it.

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::{Form, Whole, to_serde, write};

use nave_gotemplate::{FunctionError, Value};

use crate::table::{ANY, STRING, Table, str_at};

/// How deep values may nest.
pub(crate) const MAX_DEPTH: usize = 200;

pub(crate) fn register(table: &mut Table<'_>) {
    // Sprig's `fromJson`, `toJson` and `mustToJson` are Helm's own here.
    table.add("mustFromJson", &[STRING], |caller, args| {
        read(caller, str_at(args, 0).as_bytes())?.map_err(FunctionError::new)
    });
    table.add("toPrettyJson", &[ANY], |caller, args| {
        Ok(write(caller, &args[0], Form::Pretty)?.map_or_else(|_| "".into(), Value::string))
    });
    table.add("mustToPrettyJson", &[ANY], |caller, args| {
        write(caller, &args[0], Form::Pretty)?
            .map(Value::string)
            .map_err(FunctionError::new)
    });
    table.add("toRawJson mustToRawJson", &[ANY], |caller, args| {
        write(caller, &args[0], Form::Raw)?
            .map(Value::string)
            .map_err(FunctionError::new)
    });
}
