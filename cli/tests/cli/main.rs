//! The `nave` program as people run it: arguments in, exit code and text out.

mod artifacts;
mod building;
mod decrypting;
mod diffing;
mod fleet;
mod gitops;
mod identity;
mod installation;
mod logs;
mod objects;
mod offline;
mod parting;
mod releases;
mod remote_bases;
mod sources;
mod support;
mod templating;
