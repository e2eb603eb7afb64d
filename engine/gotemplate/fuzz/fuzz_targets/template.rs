//! Bytes are a template; see `tests/it/entry.rs`.
#![no_main]

#[path = "../../tests/it/functions.rs"]
mod functions;

#[path = "../../tests/it/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::template(bytes));
