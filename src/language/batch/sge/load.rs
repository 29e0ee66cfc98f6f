//! How many slots of each queue nobody uses.

use crate::language::batch::call::{limited, preamble};
use crate::language::batch::text::count;

/// Returns the command that asks for it: a line a queue.
pub fn load() -> String {
    format!("{}{}\n", preamble(10), limited(&["qstat", "-g", "c"]))
}

/// Reads free slots by queue. The columns are found by their titles: other Grid Engines have more of them.
pub fn parse_load(output: &str) -> Vec<(String, u32)> {
    let mut lines = output.lines();
    // The first title is of two words.
    let titles = lines.find_map(|line| line.trim_start().strip_prefix("CLUSTER QUEUE"));
    let at = titles.and_then(|titles| titles.split_whitespace().position(|title| title == "AVAIL"));
    let Some(at) = at else { return Vec::new() };
    let row = |line: &str| {
        let mut cells = line.split_whitespace();
        Some((cells.next()?.to_owned(), cells.nth(at).and_then(count)?))
    };
    lines.filter_map(row).collect()
}
