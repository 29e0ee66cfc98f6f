//! What expansion needs to know: the paths that match patterns, and texts of files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use crate::language::manifest::{Facts, Wants, matcher};
use crate::reach::files::FilesError;

/// Largest file that is read as a list of rows.
pub const TEXT_LIMIT: u64 = 256 << 20;

/// Directories deeper than this are not looked into: a link cycle that escapes every other check ends here.
const MAX_DEPTH: usize = 64;

/// Looks at the disk for what a workflow wants to know, from its directory (absolute).
///
/// # Errors
/// When a directory may not be read or a name is not UTF-8. A file that cannot be read is a fact, not an error.
pub fn gather(root: &Path, wants: &Wants) -> Result<Facts, FilesError> {
    let mut facts = Facts { globs: BTreeMap::new(), files: BTreeMap::new() };
    for pattern in &wants.globs {
        if !facts.globs.contains_key(pattern) {
            facts.globs.insert(pattern.clone(), glob(root, pattern)?);
        }
    }
    for file in &wants.files {
        facts.files.insert(file.clone(), text(&root.join(file)));
    }
    Ok(facts)
}

/// Returns the files and directories that match a pattern, sorted, relative to the root where the pattern is.
///
/// `*` and `?` match within a name and not its leading dot; `**` matches any number of directories, not hidden ones; `[a-z]`
/// and `{a,b}` as usual; a backslash takes the next character as it is. Links are followed, those that lead back up are not.
///
/// # Errors
/// When the pattern means nothing, a directory may not be read, or the name of something that matches is not UTF-8.
pub fn glob(root: &Path, pattern: &str) -> Result<Vec<String>, FilesError> {
    let clean = pattern.strip_prefix("./").unwrap_or(pattern);
    let prefix = literal_prefix(clean);
    let matcher = matcher(clean).map_err(|why| FilesError::Pattern { pattern: pattern.to_owned(), why })?;
    let start = root.join(&prefix);
    let pieces: Vec<&str> = clean.split('/').collect();
    let deep = pieces.contains(&"**");
    // As many levels below the prefix as the pattern has, unless it has `**`.
    let fixed = prefix.components().filter(|part| *part != Component::RootDir).count();
    let depth =
        if deep { MAX_DEPTH } else { pieces.iter().filter(|piece| !piece.is_empty()).count().saturating_sub(fixed) };
    let hidden = pieces.iter().any(|piece| spells_dot(piece));
    let absolute = clean.starts_with('/');
    let mut found = Vec::new();
    let walk = WalkDir::new(&start).follow_links(true).max_depth(depth).into_iter();
    let walk =
        walk.filter_entry(|entry| entry.depth() == 0 || hidden || !is_hidden(entry.file_name().as_encoded_bytes()));
    for entry in walk {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if is_harmless(&error) => continue,
            Err(error) => {
                let path = error.path().unwrap_or(&start).to_path_buf();
                return Err(FilesError::io("look into", path)(error.into()));
            }
        };
        let path = entry.path();
        let named = if absolute { path } else { path.strip_prefix(root).unwrap_or(path) };
        if matcher.is_match(named) && !hides(&pieces, named) {
            let name = named.to_str().ok_or_else(|| FilesError::NotUtf8 { path: path.to_path_buf() })?;
            found.push(if pattern.len() == clean.len() { name.to_owned() } else { format!("./{name}") });
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns the directories with which a pattern begins, as far as they are plain names: the walk starts there.
fn literal_prefix(pattern: &str) -> PathBuf {
    let plain = |piece: &&str| !piece.contains(['*', '?', '[', ']', '{', '}', '\\']);
    let pieces: Vec<&str> = pattern.split('/').collect();
    let plain = pieces.iter().take_while(|piece| plain(piece)).count();
    // The last piece is what is looked for, even when it is plain.
    let dirs = plain.min(pieces.len() - 1);
    let prefix = pieces.get(..dirs).unwrap_or(&[]).join("/");
    if prefix.is_empty() && pattern.starts_with('/') { PathBuf::from("/") } else { PathBuf::from(prefix) }
}

/// Returns whether a piece of a pattern writes out the dot of a hidden name. A class like `[!a]` does not, as in shells.
fn spells_dot(piece: &str) -> bool {
    piece.starts_with('.') || piece.starts_with("\\.") || (piece.starts_with('{') && piece.contains('.'))
}

fn is_hidden(name: &[u8]) -> bool {
    name.first() == Some(&b'.')
}

/// Returns whether a match has a hidden name where the pattern does not write the dot out.
fn hides(pieces: &[&str], path: &Path) -> bool {
    let names: Vec<&[u8]> = path
        .components()
        .filter(|component| matches!(component, Component::Normal(_)))
        .map(|component| component.as_os_str().as_encoded_bytes())
        .collect();
    let pieces: Vec<&str> = pieces.iter().copied().filter(|piece| !piece.is_empty()).collect();
    if names.len() == pieces.len() && !pieces.contains(&"**") {
        return names.iter().zip(&pieces).any(|(name, piece)| is_hidden(name) && !spells_dot(piece));
    }
    // With `**` in it, the last name is matched by the last piece, and the first ones by the plain ones before it; what lies
    // between is matched by `**`, which matches no hidden name.
    let before = pieces.iter().take_while(|piece| **piece != "**").count();
    let after = pieces.iter().rev().take_while(|piece| **piece != "**").count();
    names.iter().enumerate().any(|(index, name)| {
        let piece = if index < before {
            pieces.get(index)
        } else if index + after >= names.len() {
            pieces.get(pieces.len() - (names.len() - index))
        } else {
            None
        };
        is_hidden(name) && !piece.is_some_and(|piece| spells_dot(piece))
    })
}

/// What a walk may pass over: what vanished, a prefix that is not there, a link that leads nowhere or back up.
fn is_harmless(error: &walkdir::Error) -> bool {
    error.loop_ancestor().is_some()
        || error.io_error().is_some_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
                || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
        })
}

/// Reads a text, or says why it cannot be.
fn text(path: &Path) -> Result<String, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(TEXT_LIMIT)).unwrap_or(0));
        file.take(TEXT_LIMIT + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read (permission denied)".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    })?;
    if bytes.len() as u64 > TEXT_LIMIT {
        return Err(format!("it is larger than {} MiB", TEXT_LIMIT >> 20));
    }
    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 (byte {})", error.utf8_error().valid_up_to()))
}
