//! One command's answer in parts: lines that nobody else prints stand between them.

use std::collections::HashMap;

use crate::reach::clock;

/// Returns a line that nobody else prints.
pub(super) fn mark(turn: u64) -> String {
    let hash = blake3::hash(format!("{turn}:{}:{}", clock::now(), std::process::id()).as_bytes()).to_hex();
    format!("csync-{}", hash.get(..24).unwrap_or_default())
}

/// Splits a reply at its marks.
pub(super) fn sections<'a>(stdout: &'a [u8], mark: &str) -> HashMap<String, &'a [u8]> {
    let needle = format!("\n{mark} ");
    let mut found = HashMap::new();
    let mut rest = stdout;
    let mut name: Option<String> = None;
    loop {
        let at = memchr::memmem::find(rest, needle.as_bytes());
        let body = rest.get(..at.unwrap_or(rest.len())).unwrap_or_default();
        if let Some(name) = name.take() {
            found.insert(name, body);
        }
        let Some(at) = at else { return found };
        rest = rest.get(at + needle.len()..).unwrap_or_default();
        let line = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        name = Some(String::from_utf8_lossy(rest.get(..line).unwrap_or_default()).into_owned());
        rest = rest.get((line + 1).min(rest.len())..).unwrap_or_default();
    }
}
