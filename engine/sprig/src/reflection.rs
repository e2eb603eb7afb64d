//! Types and kinds of values.

use crate::convert::deep_equal;
use crate::table::{ANY, STRING, Table, str_at};

pub(crate) fn register(table: &mut Table<'_>) {
    table.add("typeOf", &[ANY], |_, args| Ok(args[0].type_name().into()));
    table.add("typeIs", &[STRING, ANY], |_, args| {
        Ok((str_at(args, 0) == *args[1].type_name()).into())
    });
    table.add("typeIsLike", &[STRING, ANY], |_, args| {
        let name = args[1].type_name();
        let wanted = str_at(args, 0);
        Ok((wanted == *name || name.strip_prefix('*').is_some_and(|name| wanted == *name)).into())
    });
    table.add("kindOf", &[ANY], |_, args| Ok(args[0].kind().name().into()));
    table.add("kindIs", &[STRING, ANY], |_, args| {
        Ok((str_at(args, 0) == *args[1].kind().name()).into())
    });
    table.add("deepEqual", &[ANY, ANY], |caller, args| {
        Ok(deep_equal(caller, &args[0], &args[1])?.into())
    });
}
