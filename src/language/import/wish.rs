//! What a batch script asks for, whatever the dialect it was asked in.

use crate::language::batch::amounts;
use crate::language::import::draft::Resources;
use crate::model::batch::Flavour;
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::units::{Bytes, Walltime};

/// Most members of a job array; the largest that a batch system accepts is below.
const ARRAY_LIMIT: u64 = 4_000_001;

/// Memory, and what it is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// For the whole job.
    Total(Bytes),
    /// For each node.
    PerNode(Bytes),
    /// For each process.
    PerProcess(Bytes),
    /// For each core of each process (a slot of Grid Engine).
    PerCore(Bytes),
    /// For each GPU.
    PerGpu(Bytes),
}

/// GPUs, and what they are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gpus {
    /// For the whole job.
    Total(u32),
    /// For each node.
    PerNode(u32),
    /// For each process.
    PerProcess(u32),
}

/// A job array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Array {
    /// The values of the array variable, in order.
    pub(super) ids: Vec<u64>,
    /// Most members at once.
    pub(super) limit: Option<u32>,
    /// The variable that tells a member which it is.
    pub(super) variable: &'static str,
}

/// What a script asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) name: Option<String>,
    pub(super) account: Option<String>,
    pub(super) partition: Option<String>,
    pub(super) qos: Option<String>,
    pub(super) constraint: Option<String>,
    /// Cores per process.
    pub(super) cpus: Option<u32>,
    pub(super) processes: Option<u32>,
    pub(super) processes_per_node: Option<u32>,
    pub(super) nodes: Option<u32>,
    pub(super) mem: Option<Memory>,
    pub(super) time: Option<Walltime>,
    pub(super) gpus: Option<Gpus>,
    pub(super) disk: Option<Bytes>,
    pub(super) array: Option<Array>,
    pub(super) workdir: Option<String>,
    pub(super) stdin: Option<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) checkpoint: Option<(String, u64)>,
    /// The shell asked for (`-S`).
    pub(super) shell: Option<String>,
    /// Whether logs were sent to files of their own.
    pub(super) log_files: Option<Span>,
    /// Flags kept for the batch system alone.
    pub(super) raw: Vec<(String, Option<String>)>,
    /// What does not mean the same here.
    pub(super) notes: Vec<Diagnostic>,
    /// Who reads what it asks for.
    pub(super) reader: Reader,
}

/// Who reads what a script asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reader {
    /// A person, in a workflow's file.
    #[default]
    File,
    /// A batch system of the script's own flavour.
    Native,
    /// Another batch system, or none.
    Foreign,
}

/// An option as it stands in the script.
#[derive(Clone, Debug)]
pub(super) struct Arg<'a> {
    /// As written, with its dashes.
    pub(super) option: &'a str,
    /// Its value; empty when it has none.
    pub(super) value: &'a str,
    /// Its place.
    pub(super) span: Span,
}

impl Wish {
    /// Adds a warning at an option.
    pub(super) fn warn(&mut self, arg: &Arg<'_>, message: impl Into<String>, help: impl Into<String>) {
        self.notes.push(Diagnostic::warning(arg.span, message).help(help));
    }

    /// Keeps a flag that csync has no word for, and says what becomes of it.
    pub(super) fn keep_for(&mut self, system: &str, name: &str, value: &str, what: &str, arg: &Arg<'_>) {
        match self.reader {
            Reader::Native => self.keep(name, Some(value)),
            Reader::File => {
                self.keep(name, Some(value));
                self.warn(
                    arg,
                    format!("{what} has no counterpart in csync; it is kept for {system}"),
                    format!("see `{name}` in the workflow's table for {system}; on this machine it changes nothing"),
                );
            }
            Reader::Foreign => self.warn(
                arg,
                format!("{what} is {system}'s alone and is left out"),
                "leave it out of the script, or say with an option of `csync submit` what it is for",
            ),
        }
    }

    /// Hands over what csync itself has another way for, where the batch system is the script's own.
    pub(super) fn keep_native(&mut self, name: &str, arg: &Arg<'_>) {
        if self.reader == Reader::Native {
            self.keep(name, Some(arg.value));
        }
    }

    /// Keeps a flag that only the batch system understands.
    pub(super) fn keep(&mut self, name: &str, value: Option<&str>) {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(letters) {
            return;
        }
        let value = value.filter(|value| !value.is_empty()).map(str::to_owned);
        match self.raw.iter_mut().find(|(known, _)| known == name) {
            // Resource lists add up, as they do on the command line of `qsub`.
            Some((_, Some(old))) if name == "l" => {
                if let Some(value) = value {
                    old.push(',');
                    old.push_str(&value);
                }
            }
            Some((_, old)) => *old = value,
            None => self.raw.push((name.to_owned(), value)),
        }
    }

    /// Reads a value, or says that it could not be read.
    pub(super) fn read<T>(&mut self, arg: &Arg<'_>, what: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = read(arg.value);
        if value.is_none() {
            let message = format!("`{}` of `{}` is not {what}; it is left out", arg.value, arg.option);
            self.notes.push(Diagnostic::warning(arg.span, message).help("write the value into the workflow by hand"));
        }
        value
    }

    /// Reads a number that is at least 1.
    pub(super) fn count(&mut self, arg: &Arg<'_>) -> Option<u32> {
        self.read(arg, "a number of at least 1", |text| text.trim().parse().ok().filter(|&n| n > 0))
    }

    /// Sets the job array, or says why it cannot.
    pub(super) fn set_array(&mut self, arg: &Arg<'_>, variable: &'static str) {
        if let Some(mut array) = self.read(arg, "a list of array indices", |text| parse_array(text, variable)) {
            // Grid Engine's `-tc` may stand before its `-t`.
            array.limit = array.limit.or(self.array.take().and_then(|old| old.limit));
            self.array = Some(array);
        }
    }

    /// Returns the number of processes.
    pub(super) fn ranks(&self) -> u32 {
        let per_node = self.processes_per_node.map(|ranks| ranks.saturating_mul(self.nodes.unwrap_or(1)));
        self.processes.or(per_node).unwrap_or(1)
    }

    /// Returns what the whole instance asks for.
    pub(super) fn resources(&self) -> Resources {
        let (ranks, nodes) = (self.ranks(), self.nodes.unwrap_or(1));
        let cores = ranks.saturating_mul(self.cpus.unwrap_or(1));
        let gpus = self.gpus.map(|gpus| match gpus {
            Gpus::Total(gpus) => gpus,
            Gpus::PerNode(gpus) => gpus.saturating_mul(nodes),
            Gpus::PerProcess(gpus) => gpus.saturating_mul(ranks),
        });
        let times = |bytes: Bytes, n: u32| Bytes(bytes.0.saturating_mul(u64::from(n)));
        let mem = self.mem.map(|memory| match memory {
            Memory::Total(bytes) => bytes,
            Memory::PerNode(bytes) => times(bytes, nodes),
            Memory::PerProcess(bytes) => times(bytes, ranks),
            Memory::PerCore(bytes) => times(bytes, cores),
            Memory::PerGpu(bytes) => times(bytes, gpus.unwrap_or(1).max(1)),
        });
        Resources {
            cpus: self.cpus.or(Some(1)),
            processes: (ranks > 1).then_some(ranks),
            nodes: (nodes > 1).then_some(nodes),
            mem,
            time: self.time,
            gpus: gpus.filter(|&gpus| gpus > 0),
            disk: self.disk,
        }
    }
}

/// Reads `1-10`, `0-15:4`, `1,3,5-7`, each with `%limit`.
fn parse_array(text: &str, variable: &'static str) -> Option<Array> {
    let (ranges, limit) = match text.split_once('%') {
        Some((ranges, limit)) => (ranges, Some(limit.trim().parse().ok().filter(|&n: &u32| n > 0)?)),
        None => (text, None),
    };
    let mut ids = Vec::new();
    for part in ranges.split(',') {
        let (range, step) = match part.split_once(':') {
            Some((range, step)) => (range, step.trim().parse().ok().filter(|&n: &u64| n > 0)?),
            None => (part, 1),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || (last - first) / step >= ARRAY_LIMIT {
            return None;
        }
        ids.extend((first..=last).step_by(usize::try_from(step).ok()?));
        if ids.len() as u64 > ARRAY_LIMIT {
            return None;
        }
    }
    Some(Array { ids, limit, variable })
}

/// Reads `HH:MM:SS`, `MM:SS`, `HHH:00:00` and plain seconds, as PBS and Grid Engine do.
pub(super) fn clock(text: &str) -> Option<Walltime> {
    amounts::time(Flavour::Pbs, text)
}

fn is_variable(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(letters) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// Reads `VAR=value,OTHER=value`; commas inside quotes stay. A name alone is taken from the submitter, as all of them are.
pub(super) fn variables(text: &str) -> Vec<(String, String)> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == ',' => parts.push(String::new()),
            _ => {
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    let pairs = parts.iter().filter_map(|part| part.trim().split_once('='));
    pairs.filter(|(name, _)| is_variable(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_in_every_spelling() {
        for (text, ids, limit) in [
            ("1-4", vec![1, 2, 3, 4], None),
            ("1-10:4%2", vec![1, 5, 9], Some(2)),
            ("7", vec![7], None),
            ("1,3,5-7", vec![1, 3, 5, 6, 7], None),
            ("0-0", vec![0], None),
        ] {
            assert_eq!(parse_array(text, "X"), Some(Array { ids, limit, variable: "X" }), "{text}");
        }
        for bad in ["", "a", "4-1", "1-9:0", "1-99999999999", "1-2%0", "1-2%x", "$N"] {
            assert_eq!(parse_array(bad, "X"), None, "{bad}");
        }
    }

    #[test]
    fn clocks() {
        for (text, seconds) in [("90", 90), ("1:30", 90), ("48:00:00", 172_800), ("::30", 30), ("1:00:00:00", 86_400)] {
            assert_eq!(clock(text), Some(Walltime(seconds)), "{text}");
        }
        for bad in ["", "0", "1h", "1-00:00:00", "1:2:3:4:5"] {
            assert_eq!(clock(bad), None, "{bad}");
        }
    }

    #[test]
    fn variables_keep_quoted_commas() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(variables(r#"A=1,B="x,y",HOME,C=,1x=2,=3"#), [pair("A", "1"), pair("B", "x,y"), pair("C", "")]);
    }

    #[test]
    fn resources_of_the_whole_instance() {
        let wish = Wish {
            cpus: Some(4),
            processes_per_node: Some(8),
            nodes: Some(2),
            mem: Some(Memory::PerCore(Bytes::gib(2))),
            gpus: Some(Gpus::PerNode(2)),
            ..Wish::default()
        };
        let expected = Resources {
            cpus: Some(4),
            processes: Some(16),
            nodes: Some(2),
            mem: Some(Bytes::gib(128)),
            time: None,
            gpus: Some(4),
            disk: None,
        };
        assert_eq!(wish.resources(), expected);
    }
}
