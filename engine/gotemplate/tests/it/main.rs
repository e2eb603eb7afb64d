//! The template engine as its users see it.

mod entry;
mod functions;
mod fuzz;
mod helm_cases;
mod language;
mod limits;
mod objects;
