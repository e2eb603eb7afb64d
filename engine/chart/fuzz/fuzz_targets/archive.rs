//! See `tests/it/entry.rs`.
#![no_main]
#![allow(dead_code)]

#[path = "../../tests/it/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::archive(bytes));
