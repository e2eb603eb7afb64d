//! The crate from outside: what charts render to, beside what Helm makes of them, and what is refused.

mod bad_input;
mod conformance;
mod entry;
mod fuzz;
mod golden;
mod hosts;
mod support;
