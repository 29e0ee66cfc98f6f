//! Named datasets: which files they have, which of their copies are the same, and which copies a workflow can use.
//!
//! What a dataset is, the first of its places says that could be looked at: the order is that in which they were named. A file of
//! another place is a copy where it has the same size and the same time of its last change.

use std::collections::BTreeMap;

use crate::language::manifest::matcher;
use crate::model::data::{DATA, Holding, Listed, Replica, Trouble, within};
use crate::model::plan::Fingerprint;

/// Datasets by name, with what is known of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    sets: BTreeMap<String, Vec<Holding>>,
}

/// What a place of a dataset is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// Nobody has looked.
    Unseen,
    /// It says what the dataset is.
    Origin,
    /// It has all of it.
    Whole,
    /// It lacks so many of its files, or has them otherwise.
    Lacks(usize),
    /// It is not there any more.
    Gone,
}

impl Catalog {
    /// Gathers places, in their order.
    pub fn new(holdings: impl IntoIterator<Item = Holding>) -> Self {
        let mut catalog = Self::default();
        for holding in holdings {
            catalog.sets.entry(holding.dataset.clone()).or_default().push(holding);
        }
        catalog
    }

    /// Puts the places of a dataset in the place of what was known.
    pub fn set(&mut self, name: &str, holdings: Vec<Holding>) {
        self.sets.insert(name.to_owned(), holdings);
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Returns the datasets with their places.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Holding])> {
        self.sets.iter().map(|(name, places)| (name.as_str(), places.as_slice()))
    }

    /// Returns the places of a dataset.
    pub fn places(&self, name: &str) -> &[Holding] {
        self.sets.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the place that says what a dataset is; none where no place was seen.
    pub fn origin(&self, name: &str) -> Option<&Holding> {
        let places = self.places(name);
        let reached = places.iter().find(|place| place.is_there() && place.trouble.is_none());
        reached.or_else(|| places.iter().find(|place| place.is_there()))
    }

    /// Says what a place is worth.
    pub fn worth(&self, place: &Holding) -> Worth {
        if place.trouble == Some(Trouble::Gone) {
            return Worth::Gone;
        }
        let Some(origin) = self.origin(&place.dataset).filter(|_| place.looked.is_some()) else { return Worth::Unseen };
        if (&origin.host, &origin.path) == (&place.host, &place.path) {
            return Worth::Origin;
        }
        match origin.files.iter().filter(|file| find(place, &file.path) != Some(file)).count() {
            0 => Worth::Whole,
            lacking => Worth::Lacks(lacking),
        }
    }

    /// Returns the paths of files that match a pattern below [`DATA`]; hidden ones only where it says so.
    pub fn glob(&self, pattern: &str) -> Vec<String> {
        let (Some((name, inner)), Ok(matcher)) = (split(pattern), matcher(pattern)) else { return Vec::new() };
        let Some(origin) = self.origin(name) else { return Vec::new() };
        let hidden = inner.starts_with('.') || inner.contains("/.");
        let is_hidden = |path: &str| path.split('/').any(|part| part.starts_with('.'));
        let seen = origin.files.iter().filter(|file| hidden || !is_hidden(&file.path));
        let paths = seen.map(|file| format!("{DATA}{name}/{}", file.path));
        paths.filter(|path| matcher.is_match(path)).collect()
    }

    /// Returns the fingerprint of a file below [`DATA`], or of a directory with all that is in it.
    pub fn print(&self, path: &str) -> Option<Fingerprint> {
        let files = self.files(path)?;
        let size = files.iter().map(|file| file.size.0).fold(0, u64::saturating_add);
        let latest = files.iter().map(|file| file.mtime).max()?;
        Some(Fingerprint { size, mtime: latest.saturating_mul(1_000_000), hash: None })
    }

    /// Returns where the files lie that a path below [`DATA`] names: one line for each and each place that has it.
    pub fn replicas(&self, root: &str, path: &str) -> Vec<Replica> {
        let Some((name, _)) = split(path) else { return Vec::new() };
        let Some(files) = self.files(path) else { return Vec::new() };
        let places = self.places(name).iter().filter(|place| place.is_there());
        let replica = |place: &Holding, file: &Listed| Replica {
            root: root.to_owned(),
            path: format!("{DATA}{name}/{}", file.path),
            host: place.host.clone(),
            place: place.path.clone(),
            size: file.size,
            mtime: file.mtime,
            at: place.looked.unwrap_or_default(),
        };
        let of = |place| {
            files.iter().filter(move |file| find(place, &file.path) == Some(file)).map(move |file| (place, file))
        };
        places.flat_map(of).map(|(place, file)| replica(place, file)).collect()
    }

    /// Returns the files that a path names: one, or all below a directory.
    fn files(&self, path: &str) -> Option<&[Listed]> {
        let (name, inner) = split(path)?;
        let origin = self.origin(name)?;
        let files = &origin.files;
        if inner.is_empty() {
            return Some(files);
        }
        let from = files.partition_point(|file| file.path.as_str() < inner);
        if files.get(from).is_some_and(|file| file.path == inner) {
            return files.get(from..=from);
        }
        let dir = format!("{inner}/");
        let from = files.partition_point(|file| file.path.as_str() < dir.as_str());
        let rest = files.get(from..)?;
        let len = rest.partition_point(|file| file.path.starts_with(&dir));
        rest.get(..len).filter(|below| !below.is_empty())
    }
}

/// Splits a path below [`DATA`] into the dataset's name and the rest.
fn split(path: &str) -> Option<(&str, &str)> {
    let (prefix, inner) = within(path);
    match prefix.strip_prefix(DATA) {
        Some(name) => Some((name, inner.trim_end_matches('/'))),
        None => Some((path.strip_prefix(DATA)?, "")),
    }
}

fn find<'a>(place: &'a Holding, path: &str) -> Option<&'a Listed> {
    let at = place.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
    place.files.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::{Bytes, Timestamp};

    fn place(host: &str, path: &str, files: &[(&str, u64, i64)]) -> Holding {
        let listed =
            |&(path, size, mtime): &(&str, u64, i64)| Listed { path: path.to_owned(), size: Bytes(size), mtime };
        Holding {
            looked: Some(Timestamp(7)),
            files: files.iter().map(listed).collect(),
            ..Holding::new("reads", host.parse().unwrap(), path)
        }
    }

    fn catalog() -> Catalog {
        let origin = [
            (".hidden", 1, 1),
            ("a.fq", 10, 5),
            ("b.fq", 20, 6),
            ("star/index", 3, 7),
            ("star/x/y", 4, 9),
            ("star2", 9, 9),
        ];
        let copy = [("a.fq", 10, 5), ("b.fq", 20, 7), ("more", 1, 1)];
        Catalog::new([place("nas", "/vol1/fastq/", &origin), place("hpc", "/scratch/fastq", &copy)])
    }

    #[test]
    fn the_first_place_that_was_seen_says_what_a_dataset_is() {
        let mut catalog = catalog();
        let worths =
            |catalog: &Catalog| catalog.places("reads").iter().map(|place| catalog.worth(place)).collect::<Vec<_>>();
        assert_eq!(worths(&catalog), [Worth::Origin, Worth::Lacks(5)]);
        let mut places = catalog.places("reads").to_vec();
        // Its host is not reached: it still says what the dataset is as long as no other was reached.
        places[0].trouble = Some(Trouble::Unreached("no route".to_owned()));
        catalog.set("reads", places.clone());
        assert_eq!(worths(&catalog), [Worth::Lacks(2), Worth::Origin]);
        places[1].trouble = Some(Trouble::Gone);
        catalog.set("reads", places.clone());
        assert_eq!(worths(&catalog), [Worth::Origin, Worth::Gone]);
        places[0].looked = None;
        catalog.set("reads", places);
        assert_eq!(worths(&catalog), [Worth::Unseen, Worth::Gone]);
        assert_eq!(catalog.print(".csync/data/reads/a.fq"), None);
    }

    #[test]
    fn patterns_find_files_and_no_hidden_ones() {
        let catalog = catalog();
        for (pattern, wanted) in [
            ("*.fq", "a.fq b.fq"),
            ("*", "a.fq b.fq star2"),
            (".*", ".hidden"),
            ("**/y", "star/x/y"),
            ("star/*", "star/index"),
            ("none*", ""),
        ] {
            let found = catalog.glob(&format!(".csync/data/reads/{pattern}"));
            let names: Vec<&str> = found.iter().map(|path| path.strip_prefix(".csync/data/reads/").unwrap()).collect();
            assert_eq!(names.join(" "), wanted, "{pattern}");
        }
        assert!(catalog.glob(".csync/data/other/*").is_empty() && catalog.glob("*.fq").is_empty());
    }

    #[test]
    fn files_and_directories_have_fingerprints_and_copies() {
        let catalog = catalog();
        let print =
            |path: &str| catalog.print(&format!(".csync/data/reads{path}")).map(|print| (print.size, print.mtime));
        assert_eq!(print("/a.fq"), Some((10, 5_000_000)));
        assert_eq!(print("/star"), Some((7, 9_000_000)));
        assert_eq!(print("/star/"), Some((7, 9_000_000)));
        assert_eq!(print(""), Some((47, 9_000_000)));
        assert_eq!((print("/sta"), print("/star/x/y/z"), print("/zz")), (None, None, None));
        let lies = |path: &str| {
            let all = catalog.replicas("/w", &format!(".csync/data/reads{path}"));
            all.iter().map(|copy| format!("{}:{} {}", copy.host, copy.there(), copy.path)).collect::<Vec<_>>()
        };
        let a = ".csync/data/reads/a.fq";
        assert_eq!(lies("/a.fq"), [format!("nas:/vol1/fastq/a.fq {a}"), format!("hpc:/scratch/fastq/a.fq {a}")]);
        assert_eq!(lies("/b.fq").len(), 1, "the other one has it otherwise");
        assert_eq!(lies("/star").len(), 2);
        assert_eq!(lies("").len(), 7);
    }
}
