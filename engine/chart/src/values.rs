//! Values: reading them, laying one over the other, and `--set`.

mod merge;
mod read;

pub use merge::merge_maps;
pub use read::load_values;
