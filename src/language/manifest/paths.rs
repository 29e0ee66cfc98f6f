//! Paths of a workflow as texts: one spelling each, their parts, and what lies on another host. Nothing here looks at a disk.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::Hasher;

use crate::model::data::DATA;
use crate::model::plan::Strings;
use crate::model::task::PathPart;

/// Returns whether a path names something that is not on this machine: `data:NAME/sub` or `host:/path`.
pub fn is_remote(path: &str) -> bool {
    let Some((head, rest)) = path.split_once(':') else { return false };
    if head == "data" {
        return !rest.is_empty();
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    rest.starts_with('/') && !head.is_empty() && head.bytes().all(letter)
}

/// Returns where a path of a dataset is found from the workflow's directory: `data:reads/a.fq` is `.csync/data/reads/a.fq`. Others
/// are as they were.
pub fn localized(path: &str) -> Cow<'_, str> {
    match path.strip_prefix("data:").filter(|rest| !rest.is_empty()) {
        Some(rest) => Cow::Owned(format!("{DATA}{}", rest.trim_start_matches('/'))),
        None => Cow::Borrowed(path),
    }
}

/// Returns the names of the datasets that a text may speak of: what stands behind `data:`.
pub fn datasets_in(text: &str) -> BTreeSet<&str> {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let names = text.match_indices("data:").filter_map(|(at, found)| {
        let rest = text.get(at + found.len()..)?;
        rest.split(|next| !letter(next)).next()
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// Returns the one spelling of a path in the directory `root` (absolute): without `.`, `..` and doubled slashes, and relative
/// when it lies in `root`. `..` is taken by name, as `make` and `ninja` do: links are not followed.
pub(super) fn normal<'p>(path: &'p str, root: &str) -> Cow<'p, str> {
    if path.starts_with("data:") && is_remote(path) {
        return Cow::Owned(normal(&localized(path), root).into_owned());
    }
    if is_remote(path) {
        return Cow::Borrowed(path);
    }
    let inside = |absolute: &str| -> Option<usize> {
        let root = root.trim_end_matches('/');
        let rest = absolute.strip_prefix(root)?;
        if rest.is_empty() { Some(absolute.len()) } else { rest.starts_with('/').then_some(root.len() + 1) }
    };
    if is_normal(path) {
        if !path.starts_with('/') {
            return Cow::Borrowed(path);
        }
        return match inside(path).and_then(|from| path.get(from..)) {
            Some("") => Cow::Borrowed("."),
            Some(rest) => Cow::Borrowed(rest),
            None => Cow::Borrowed(path),
        };
    }
    let absolute = if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("{root}/{path}")) };
    let mut parts: Vec<&str> = Vec::new();
    for part in absolute.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let whole = format!("/{}", parts.join("/"));
    let clean_root = root.trim_end_matches('/');
    match inside(&whole).and_then(|from| whole.get(from..)) {
        Some("") => Cow::Borrowed("."),
        Some(rest) => Cow::Owned(rest.to_owned()),
        None if path.starts_with('/') => Cow::Owned(whole),
        None => Cow::Owned(above(&whole, clean_root)),
    }
}

/// Spells an absolute path outside the root relative to it.
fn above(whole: &str, root: &str) -> String {
    let from: Vec<&str> = root.split('/').filter(|part| !part.is_empty()).collect();
    let to: Vec<&str> = whole.split('/').filter(|part| !part.is_empty()).collect();
    let common = from.iter().zip(&to).take_while(|(left, right)| left == right).count();
    let mut parts = vec![".."; from.len() - common];
    parts.extend(to.iter().skip(common));
    parts.join("/")
}

/// Returns whether a path needs no work: most do not.
fn is_normal(path: &str) -> bool {
    let bytes = path.as_bytes();
    if path.len() > 1 && bytes.last() == Some(&b'/') || path == "." {
        return path == ".";
    }
    let mut start = true;
    let mut previous = b' ';
    for (index, &byte) in bytes.iter().enumerate() {
        if start && byte == b'.' {
            let next = bytes.get(index + 1).copied().unwrap_or(b'/');
            let after = bytes.get(index + 2).copied().unwrap_or(b'/');
            if next == b'/' || next == b'.' && after == b'/' {
                return false;
            }
        }
        if byte == b'/' && previous == b'/' {
            return false;
        }
        start = byte == b'/';
        previous = byte;
    }
    true
}

/// Returns the directory of a normal path; none at the top.
pub(super) fn parent(path: &str) -> Option<&str> {
    let cut = path.rfind('/')?;
    path.get(..cut).filter(|dir| !dir.is_empty())
}

/// Returns a part of a path.
pub(super) fn part(path: &str, part: PathPart) -> &str {
    let trimmed = path.trim_end_matches('/');
    let (dir, name) =
        trimmed.rsplit_once('/').map_or((".", trimmed), |(dir, name)| (if dir.is_empty() { "/" } else { dir }, name));
    // A leading dot hides a file, it starts no extension.
    let hidden = usize::from(name.starts_with('.'));
    let visible = name.get(hidden..).unwrap_or_default();
    match part {
        PathPart::Whole => path,
        PathPart::Name => name,
        PathPart::Dir => dir,
        PathPart::Stem => visible.find('.').and_then(|dot| name.get(..hidden + dot)).unwrap_or(name),
        PathPart::Ext => visible.rsplit_once('.').map_or("", |(_, ext)| ext),
    }
}

/// Texts, each kept once, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Interner {
    pub(super) strings: Strings,
    /// Open addressing: a piece of the hash and the number plus one; 0 is free.
    slots: Vec<(u32, u32)>,
    bytes: usize,
}

impl Interner {
    /// Returns a text's number, keeping it when it is new.
    pub(super) fn intern(&mut self, text: &str) -> u32 {
        if (self.strings.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let hash = hash(text);
        let (slot, found) = self.search(text, hash);
        if let Some(found) = found {
            return found;
        }
        let number = self.strings.push(text);
        self.bytes += text.len();
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = ((hash >> 32) as u32, number + 1);
        }
        number
    }

    /// Finds a text's number.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        if self.slots.is_empty() { None } else { self.search(text, hash(text)).1 }
    }

    /// Returns how many bytes the texts have.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn search(&self, text: &str, hash: u64) -> (usize, Option<u32>) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(&(tag, number)) = self.slots.get(slot) {
            if number == 0 {
                break;
            }
            if tag == (hash >> 32) as u32 && self.strings.get(number - 1) == text {
                return (slot, Some(number - 1));
            }
            slot = (slot + 1) & mask;
        }
        (slot, None)
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(64);
        self.slots = vec![(0, 0); size];
        for number in 0..self.strings.len() as u32 {
            let hash = hash(self.strings.get(number));
            let mut slot = hash as usize & (size - 1);
            while self.slots.get(slot).is_some_and(|slot| slot.1 != 0) {
                slot = (slot + 1) & (size - 1);
            }
            if let Some(slot) = self.slots.get_mut(slot) {
                *slot = ((hash >> 32) as u32, number + 1);
            }
        }
    }
}

/// Hashes a text with the standard library's hasher and fixed keys. Texts come from the person's own file, so that nobody
/// gains by making them collide.
fn hash(text: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for (path, expected) in [
            ("a", "a"),
            ("./a", "a"),
            ("a/../b", "b"),
            ("a//b/", "a/b"),
            ("/r/d/a", "a"),
            ("/r/d", "."),
            ("/r/dd/a", "/r/dd/a"),
            ("/x/./y/", "/x/y"),
            ("../x", "../x"),
            ("a/../../x", "../x"),
            ("../../../x", "../../x"),
            (".", "."),
            ("..", ".."),
            (".a/..b", ".a/..b"),
            ("data:x/y", ".csync/data/x/y"),
            ("data:x/../y", ".csync/data/y"),
            ("data:x", ".csync/data/x"),
            ("data:", "data:"),
            ("host:/a//b", "host:/a//b"),
            ("a:b", "a:b"),
            ("-x", "-x"),
        ] {
            assert_eq!(normal(path, "/r/d"), expected, "{path}");
        }
        assert_eq!(normal("/a/b", "/"), "a/b");
        assert_eq!(normal("../a", "/"), "a");
    }

    #[test]
    fn parts_of_paths() {
        let parts = [PathPart::Name, PathPart::Stem, PathPart::Dir, PathPart::Ext];
        for (path, expected) in [
            ("reads/A_R1.fastq.gz", ["A_R1.fastq.gz", "A_R1", "reads", "gz"]),
            ("A", ["A", "A", ".", ""]),
            ("/A.b", ["A.b", "A", "/", "b"]),
            ("d/.hidden", [".hidden", ".hidden", "d", ""]),
            ("d/.hidden.txt", [".hidden.txt", ".hidden", "d", "txt"]),
            ("a.b/c/", ["c", "c", "a.b", ""]),
            ("", ["", "", ".", ""]),
        ] {
            assert_eq!(parts.map(|of| part(path, of)), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn spelling_twice_changes_nothing(path in "[./a-c]{0,12}", root in "/[a-c]/[a-c]") {
            let once = normal(&path, &root).into_owned();
            prop_assert_eq!(normal(&once, &root), once.as_str());
        }

        #[test]
        fn every_spelling_names_the_same_place(path in "[./ab]{1,12}") {
            let resolve = |path: &str| {
                let mut parts = Vec::new();
                let whole = if path.starts_with('/') { path.to_owned() } else { format!("/r/d/{path}") };
                for part in whole.split('/') {
                    match part {
                        "" | "." => {}
                        ".." => drop(parts.pop()),
                        part => parts.push(part.to_owned()),
                    }
                }
                parts
            };
            prop_assert_eq!(resolve(&normal(&path, "/r/d")), resolve(&path));
        }

        #[test]
        fn texts_keep_their_numbers(texts in prop::collection::vec("[a-c]{0,3}", 0..200)) {
            let mut interner = Interner::default();
            let numbers: Vec<u32> = texts.iter().map(|text| interner.intern(text)).collect();
            for (text, number) in texts.iter().zip(numbers) {
                prop_assert_eq!(interner.strings.get(number), text.as_str());
                prop_assert_eq!(interner.find(text), Some(number));
            }
            prop_assert_eq!(interner.find("x"), None);
        }
    }
}
