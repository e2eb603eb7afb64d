//! The client against a real registry, and against one that lies.

mod access;
mod faults;
mod reading;
mod stage;
