//! Which of many files cannot be brought: those who read others are not to suffer for it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::data::above;
use crate::reach::stage::StageError;
use crate::serve::site::inputs::chain;

/// How often it is tried again, without some of them.
const TRIES: u32 = 64;

/// Names in groups that are to be tried, and those that were found to fail.
#[derive(Debug)]
pub(super) struct Sieve<'a> {
    root: &'a str,
    pending: Vec<Vec<String>>,
    tries: u32,
    /// Why each of them failed.
    pub(super) failed: BTreeMap<String, String>,
}

impl<'a> Sieve<'a> {
    /// Takes names (sorted), of which all fail when one does.
    pub(super) fn of_one(root: &'a str, names: Vec<String>) -> Self {
        Self { root, pending: vec![names], tries: 0, failed: BTreeMap::new() }
    }

    /// Takes names (sorted) of several who read some of them each.
    pub(super) fn of_many(root: &'a str, names: Vec<String>) -> Self {
        Self { tries: TRIES, ..Self::of_one(root, names) }
    }

    /// Returns what is to be tried next: all of them first.
    pub(super) fn next(&mut self) -> Option<Vec<String>> {
        self.pending.pop()
    }

    /// Takes in that these failed: the one that the error speaks of, where it does; else they are tried again in halves.
    pub(super) fn fail(&mut self, mut names: Vec<String>, error: &StageError) {
        if names.len() < 2 || self.tries == 0 || error.is_of_host() {
            let why = chain(error);
            self.failed.extend(names.into_iter().map(|name| (name, why.clone())));
            return;
        }
        self.tries -= 1;
        if let Some(at) = culprit(self.root, &names, error) {
            self.failed.insert(names.remove(at), chain(error));
            self.pending.push(names);
        } else {
            let back = names.split_off(names.len() / 2);
            self.pending.extend([back, names]);
        }
    }
}

/// Returns which of these names an error speaks of: the file itself, or a directory that it is in.
fn culprit(root: &str, names: &[String], error: &StageError) -> Option<usize> {
    let (StageError::Here { path, .. } | StageError::Changed { path }) = error else { return None };
    let path = path.strip_prefix(Path::new(root)).ok()?.to_str()?;
    let mut all = above(path).chain([path]);
    all.find_map(|name| names.binary_search_by(|it| it.as_str().cmp(name)).ok())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Sifts names of which some fail, and says what was tried.
    fn sift(mut sieve: Sieve<'_>, error: impl Fn(&[String]) -> Option<StageError>) -> (Vec<String>, usize) {
        let (mut tried, mut brought) = (0, Vec::new());
        while let Some(names) = sieve.next() {
            tried += 1;
            match error(&names) {
                Some(error) => sieve.fail(names, &error),
                None => brought.extend(names),
            }
        }
        assert!(brought.iter().all(|name| !sieve.failed.contains_key(name)));
        (sieve.failed.into_keys().collect(), tried)
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("in/{n:05}")).collect()
    }

    fn there(words: &str) -> StageError {
        StageError::There { host: "hpc".to_owned(), action: "does not take files", words: words.to_owned() }
    }

    #[test]
    fn those_that_fail_are_found_and_no_others() {
        let bad = ["in/00003".to_owned(), "in/04000".to_owned()];
        let is_bad = |names: &[String]| names.iter().any(|name| bad.contains(name));
        let (failed, tried) = sift(Sieve::of_many("/w", names(5000)), |names| is_bad(names).then(|| there("no")));
        assert_eq!(failed, bad);
        assert!(tried < 60, "{tried}");
        let (failed, tried) = sift(Sieve::of_one("/w", names(10)), |names| is_bad(names).then(|| there("no")));
        assert_eq!((failed.len(), tried), (10, 1));
        assert_eq!(sift(Sieve::of_many("/w", names(10)), |_| None), (Vec::new(), 1));
    }

    #[test]
    fn the_one_that_an_error_speaks_of_is_the_one() {
        let bad: Vec<String> = names(5000).into_iter().step_by(100).collect();
        let here = |names: &[String]| {
            let name = names.iter().find(|name| bad.contains(name))?;
            // In a directory.
            let path = format!("/w/{name}/deep/x").into();
            Some(StageError::Here { path, source: io::ErrorKind::PermissionDenied.into() })
        };
        let (failed, tried) = sift(Sieve::of_many("/w", names(5000)), here);
        assert_eq!((failed, tried), (bad, 51));
    }

    #[test]
    fn where_all_fail_it_has_an_end() {
        let (failed, tried) = sift(Sieve::of_many("/w", names(5000)), |_| Some(there("Permission denied")));
        assert_eq!(failed.len(), 5000);
        assert!(tried <= 2 * TRIES as usize + 1, "{tried}");
        let (failed, tried) = sift(Sieve::of_many("/w", names(5000)), |_| Some(there("tar: No space left on device")));
        assert_eq!((failed.len(), tried), (5000, 1));
    }
}
