//! Bytes are a tarball; see `tests/it/entry/mod.rs`.
#![no_main]

#[path = "../../tests/it/entry/mod.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::archive(bytes));
