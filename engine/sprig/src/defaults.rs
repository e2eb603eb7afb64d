//! Values for what is missing, and `fail`.

use nave_gotemplate::Value;

use crate::convert::is_empty;
use crate::table::{ANY, BOOL, STRING, Table, fail, text_at};

pub(crate) fn register(table: &mut Table<'_>) {
    table.rest("default", &[ANY, ANY], |_, args| {
        Ok(match args.get(1) {
            Some(given) if !is_empty(given) => given.clone(),
            _ => args[0].clone(),
        })
    });
    table.add("empty", &[ANY], |_, args| Ok(is_empty(&args[0]).into()));
    table.rest("coalesce", &[ANY], |_, args| {
        Ok(args.iter().find(|value| !is_empty(value)).cloned().unwrap_or_default())
    });
    table.rest("all", &[ANY], |_, args| Ok((!args.iter().any(is_empty)).into()));
    table.rest("any", &[ANY], |_, args| Ok((!args.iter().all(is_empty)).into()));
    table.add("ternary", &[ANY, ANY, BOOL], |_, args| {
        Ok(args[usize::from(args[2].as_bool() != Some(true))].clone())
    });
    table.add("fail", &[STRING], |_, args| fail(text_at(args, 0)));
    // Without access to the network, as in Helm.
    table.add("getHostByName", &[STRING], |_, _| Ok(Value::from("")));
}
