//! Bytes are what a stranger sends; see `link/identity/tests/entry/mod.rs`.
#![no_main]

#[path = "../../../identity/tests/entry/mod.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::decoders(bytes));
