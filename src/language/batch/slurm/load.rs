//! How many cores of each partition nobody uses.

use crate::language::batch::call::{limited, preamble};
use crate::language::batch::text::count;

/// Returns the command that asks for it: a line a partition.
pub fn load() -> String {
    format!("{}{}\n", preamble(10), limited(&["sinfo", "-h", "-o", "%R|%C"]))
}

/// Reads idle cores by partition: of `%C` the second, behind those that are allocated.
pub fn parse_load(output: &str) -> Vec<(String, u32)> {
    let mut found: Vec<(String, u32)> = Vec::new();
    for (name, cores) in output.lines().filter_map(|line| line.rsplit_once('|')) {
        let Some(idle) = cores.split('/').nth(1).and_then(count) else { continue };
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum = sum.saturating_add(idle),
            None => found.push((name.to_owned(), idle)),
        }
    }
    found
}
