//! What a host has of some files.

use std::collections::HashMap;

use crate::language::quote::sh;
use crate::reach::stage::{StageError, checked, words};
use crate::reach::transport::{Exec, Transport};

/// What a host has under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Size in bytes.
    pub size: u64,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Looks for files below a directory of a host; those that are not there are left out. One command, whatever their number.
///
/// # Errors
/// When the host cannot be asked.
pub async fn look(
    host: &dyn Transport,
    root: &str,
    names: impl IntoIterator<Item = &str>,
) -> Result<HashMap<String, Seen>, StageError> {
    let mut list = Vec::new();
    for name in names {
        // Names that begin with `-` are no options behind `./`.
        list.extend_from_slice(b"./");
        list.extend_from_slice(checked(name)?.as_bytes());
        list.push(0);
    }
    if list.is_empty() {
        return Ok(HashMap::new());
    }
    // The status of xargs says no more than that some are not there.
    let script =
        format!("cd -- {} 2>/dev/null || exit 0; xargs -0 stat -L -c '%s %Y %F|%n' -- 2>/dev/null; exit 0", sh(root));
    let reply = host.exec(Exec::new(script).reading(list).printing(256 << 20)).await?;
    if !reply.status.is_success() {
        let host = host.host().to_owned();
        return Err(StageError::There { host, action: "cannot look for files", words: words(&reply.stderr) });
    }
    let text = String::from_utf8_lossy(&reply.stdout);
    Ok(text.lines().filter_map(line).collect())
}

/// Reads a line. A name with a line end is cut here, and so is not found: such a file moves each time.
fn line(line: &str) -> Option<(String, Seen)> {
    let (facts, name) = line.split_once('|')?;
    let mut facts = facts.splitn(3, ' ');
    let (size, mtime) = (facts.next()?.parse().ok()?, facts.next()?.parse().ok()?);
    let is_dir = facts.next()? == "directory";
    Some((name.strip_prefix("./")?.to_owned(), Seen { size, mtime, is_dir }))
}
