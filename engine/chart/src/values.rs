//! Values: reading them, laying one over the other, and `--set`.

mod coalesce;
mod flags;
mod go;
mod merge;
mod read;
mod set;

pub(crate) use coalesce::{Nulls, coalesce, coalesce_tables};
pub use flags::{FlagError, ValueFlags};
pub(crate) use go::{deep_copy, json_to_go, table, table_at, value_at, values_of};
pub use merge::merge_maps;
pub use read::load_values;
pub(crate) use read::with_floats;
pub use set::{SetError, set, set_file, set_json, set_literal, set_string};
