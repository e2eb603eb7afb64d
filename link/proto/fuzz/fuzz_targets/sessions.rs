//! Bytes are what a peer sends; see `tests/entry/mod.rs`.
#![no_main]

#[path = "../../tests/entry/mod.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::sessions(bytes));
