//! The `nave` program as people run it: arguments in, exit code and text out.

mod fleet;
mod installation;
mod objects;
mod offline;
mod parting;
mod support;
