//! Parse, run, turn an error into an exit code.

fn main() {}
