//! Whatever an agent sends: one valid reply or silence.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::input(bytes));
