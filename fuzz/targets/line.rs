//! Whatever an agent types: no byte changes but those that were meant to.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|text: &str| checks::line(text));
