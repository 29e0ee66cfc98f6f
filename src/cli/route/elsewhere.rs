//! What a command names that no program opens as it is written there: files of datasets and of other hosts. csync brings such files
//! to a task that has them as inputs, and only there.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::command::{literal, task_name};
use crate::cli::route::digest::RouteHosts;
use crate::cli::route::gather::{Line, Seen, is_pattern, place, value};
use crate::cli::view::words::shell_word;
use crate::decide::route::need::Need;
use crate::language::manifest::localized;

/// The inputs of a task that stand for what a command names.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// `data:NAME/FILE`, by how it is named.
    inputs: BTreeMap<String, String>,
    /// What names the datasets that there are not yet.
    pub(super) first: Vec<String>,
}

impl Elsewhere {
    /// Looks for it among what is named.
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str>, known: &RouteHosts, seen: &Seen) -> Self {
        let mut found = Self::default();
        let mut new: BTreeMap<String, String> = BTreeMap::new();
        for name in names {
            let input = seen.input(name).or_else(|| {
                let host = place(name, known).filter(|host| !host.is_local())?;
                let (directory, file) = split(name.split_once(':')?.1)?;
                let at = format!("{host}:{directory}");
                let taken: BTreeSet<&str> = new.values().map(String::as_str).collect();
                let is_free = |set: &String| !taken.contains(set.as_str()) && !seen.has_dataset(set);
                let set = if let Some(set) = new.get(&at) {
                    set.clone()
                } else {
                    let set = free(directory, host.as_str(), is_free)?;
                    found.first.push(format!("csync data add {set} {}", shell_word(&at)));
                    new.insert(at, set.clone());
                    set
                };
                Some(if file.is_empty() { format!("data:{set}") } else { format!("data:{set}/{file}") })
            });
            if let Some(input) = input {
                found.inputs.insert(name.to_owned(), input);
            }
        }
        found
    }

    /// Returns whether there is nothing of the kind.
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Returns what is named.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.inputs.keys().map(String::as_str)
    }

    /// Returns the input that stands for what is named.
    pub(super) fn input(&self, name: &str) -> Option<&str> {
        self.inputs.get(name).map(String::as_str)
    }

    /// Returns the inputs of a task that runs a command, and its text there. `here` says which other files it needs as inputs.
    pub(super) fn task(
        &self,
        line: &Line,
        (asked, need): (&[String], &Need),
        here: impl Fn(&str) -> bool,
    ) -> (Vec<String>, String) {
        let spots = if self.is_empty() { Vec::new() } else { line.spots() };
        let named = spots.iter().filter_map(|(_, word)| self.input(value(word)));
        // Those that stand for one file come first, so that each has a number that is known.
        let (many, single): (Vec<&str>, Vec<&str>) = named.partition(|input| is_pattern(input));
        let others = asked.iter().map(|input| self.input(input).unwrap_or(input));
        let others = others.chain(need.inputs.iter().map(|input| input.name.as_str()).filter(|name| here(name)));
        let others = others.filter(|input| input.starts_with("data:") || here(input));
        let mut inputs: Vec<String> = Vec::new();
        for input in single.into_iter().chain(many).chain(others) {
            if !inputs.iter().any(|known| known == input) {
                inputs.push(input.to_owned());
            }
        }
        let hole = |input: &str| {
            let number = inputs.iter().position(|known| known == input)?;
            if inputs.len() == 1 {
                Some("{inputs}".to_owned())
            } else if is_pattern(input) {
                // The shell goes over what was brought.
                Some(literal(&localized(input)))
            } else {
                Some(format!("{{inputs[{number}]}}"))
            }
        };
        let (command, mut text, mut at) = (line.command(), String::new(), 0);
        for (span, word) in spots {
            let name = value(&word);
            let Some(hole) = self.input(name).and_then(hole).filter(|_| span.start >= at) else { continue };
            text += &literal(command.get(at..span.start).unwrap_or_default());
            let option = word.strip_suffix(name).filter(|option| !option.is_empty());
            text += &option.map_or_else(String::new, |option| literal(&shell_word(option)));
            text += &hole;
            at = span.end;
        }
        text += &literal(command.get(at..).unwrap_or_default());
        (inputs, text)
    }
}

/// Splits a path of another host into the directory that becomes a dataset and the rest. Nobody makes one of all that a host has.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/')? {
        ("", _) => Some((path, "")),
        (directory, file) => path.starts_with('/').then_some((directory, file)),
    }
}

/// Returns a name for the dataset of a directory that there is none of yet.
fn free(directory: &str, host: &str, is_free: impl Fn(&String) -> bool) -> Option<String> {
    let name = task_name(directory.rsplit('/').next()?);
    let names = [name.clone(), format!("{name}-{}", task_name(host))].into_iter();
    names.chain((2..1000).map(|n| format!("{name}-{n}"))).find(is_free)
}
