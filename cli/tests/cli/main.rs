//! The `nave` program as people run it: arguments in, exit code and text out.

mod artifacts;
mod building;
mod decrypting;
mod diffing;
mod fleet;
mod identity;
mod installation;
mod objects;
mod offline;
mod parting;
mod remote_bases;
mod support;
mod templating;
