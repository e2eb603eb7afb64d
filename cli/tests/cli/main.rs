//! The `nave` program as people run it: arguments in, exit code and text out.

mod building;
mod diffing;
mod fleet;
mod installation;
mod objects;
mod offline;
mod parting;
mod remote_bases;
mod support;
mod templating;
