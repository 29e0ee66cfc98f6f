//! Parquet for csync: what was learned as a table for data frames, and tables of others as rows that csync reads.
//!
//! ```text
//! csync-frames write FILE --types NAME=TYPE,...   rows of CSV from standard input to a Parquet file; str, u64, i64 and f64
//! csync-frames read FILE [--columns NAME,...]     a Parquet file as rows of CSV on standard output
//! ```
//!
//! Both go through it part by part: memory is bounded by a part, however long the table is.

mod read;
mod write;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str =
    "usage: csync-frames write FILE --types NAME=TYPE,...\n       csync-frames read FILE [--columns NAME,...]";

/// Rows of a part.
const PART: usize = 200_000;

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--version"] => writeln!(io::stdout(), "csync-frames {}", env!("CARGO_PKG_VERSION"))
            .map_err(|error| format!("the version cannot be written: {error}")),
        ["write", file, "--types", types] => write::write(Path::new(file), types),
        ["read", file] => read::read(Path::new(file), None),
        ["read", file, "--columns", columns] => read::read(Path::new(file), Some(columns)),
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Polars adds advice on its own options.
            say(&format!("csync-frames: {}", message.lines().next().unwrap_or_default()));
            ExitCode::FAILURE
        }
    }
}

/// Says something on standard error. Where that is closed nobody is left to tell.
fn say(words: &str) {
    drop(writeln!(io::stderr(), "{words}"));
}
