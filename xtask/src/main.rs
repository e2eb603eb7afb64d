//! Project chores: CI steps, generated files, the dependency map.

fn main() {}
