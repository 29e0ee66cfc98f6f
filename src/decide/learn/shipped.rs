//! What csync ships of programs: what people commonly give them, for when nothing was learned of them yet.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::decide::learn::evidence::{Law, Prior};
use crate::decide::learn::options::{Options, options};
use crate::language::command::Signature;
use crate::model::units::{Bytes, Walltime};

/// The files, each with the programs of a field.
const FILES: [&str; 5] = [
    include_str!("../../../profiles/tools/chemistry.toml"),
    include_str!("../../../profiles/tools/climate.toml"),
    include_str!("../../../profiles/tools/genomics.toml"),
    include_str!("../../../profiles/tools/imaging.toml"),
    include_str!("../../../profiles/tools/ml.toml"),
];

/// What is asked for is this much above the middle of what is needed, and the least as far below it: people ask for two to five
/// times what is used.
const ASKED: f64 = 2.0;

/// What a program is commonly given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// The program.
    pub program: String,
    /// Its subcommand; none holds for all that are not named.
    pub subcommand: Option<String>,
    /// Memory that is asked for.
    #[serde(default, deserialize_with = "spelled")]
    pub memory: Option<Bytes>,
    /// Bytes of memory that are asked for each byte of input.
    #[serde(default)]
    pub memory_per_input: f64,
    /// Cores that are asked for.
    pub cores: Option<u32>,
    /// Time that is asked for.
    #[serde(default, deserialize_with = "spelled")]
    pub time: Option<Walltime>,
    /// Where the figures are from.
    pub source: String,
    #[serde(default, deserialize_with = "options")]
    threads: Vec<String>,
    #[serde(default, deserialize_with = "options")]
    added_threads: Vec<String>,
    #[serde(default, deserialize_with = "options")]
    processes: Vec<String>,
    #[serde(default, deserialize_with = "options")]
    process_threads: Vec<String>,
}

/// Reads an amount as people spell it: `36G`, `8h`.
fn spelled<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(from: D) -> Result<Option<T>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
}

impl Needs {
    /// Returns the options that say how many threads it uses.
    pub fn options(&self) -> Options<'_> {
        let Self { threads, added_threads, processes, process_threads, .. } = self;
        Options { threads, added_threads, processes, process_threads }
    }

    /// Returns it as a prior: lines in input size, with how far they may be off.
    pub fn prior(&self) -> Prior {
        let law = |asked: f64, per_byte: f64| {
            (asked > 0.0 || per_byte > 0.0).then_some(Law {
                base: asked / ASKED,
                per_byte: per_byte / ASKED,
                spread: ASKED,
            })
        };
        Prior {
            memory: law(self.memory.map_or(0.0, |memory| memory.0 as f64), self.memory_per_input),
            wall: law(self.time.map_or(0.0, |time| time.0 as f64), 0.0),
        }
    }
}

/// Returns what is shipped of the programs of a command: of those that are known, what the neediest is given.
pub fn prior(signature: &Signature) -> Option<Prior> {
    let mut found: Option<Prior> = None;
    for (program, subcommand) in signature.parts.iter().filter_map(|part| part.known()) {
        let Some(prior) = needs(program, subcommand).map(Needs::prior) else { continue };
        let known = found.unwrap_or_default();
        found = Some(Prior { memory: more(known.memory, prior.memory), wall: more(known.wall, prior.wall) });
    }
    found
}

/// Returns what is shipped of a program.
pub fn needs(program: &str, subcommand: Option<&str>) -> Option<&'static Needs> {
    subcommand.and_then(|name| entry(program, Some(name))).or_else(|| entry(program, None))
}

fn more(a: Option<Law>, b: Option<Law>) -> Option<Law> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if (b.base, b.per_byte) > (a.base, a.per_byte) { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// What begins an entry.
const ENTRY: &str = "[[needs]]\n";

/// Returns the entry of a program, or of its subcommand. It is read when it is asked for the first time: reading all the files takes
/// longer than deciding where a command runs.
fn entry(program: &str, subcommand: Option<&str>) -> Option<&'static Needs> {
    static READ: Mutex<BTreeMap<String, &'static Needs>> = Mutex::new(BTreeMap::new());
    let of = subcommand.map_or_else(String::new, |name| format!("subcommand = \"{name}\"\n"));
    let head = format!("program = \"{program}\"\n{of}");
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = read.get(&head) {
        return Some(known);
    }
    let is_it = |entry: &&str| {
        let rest = entry.strip_prefix(head.as_str());
        rest.is_some_and(|rest| subcommand.is_some() || !rest.starts_with("subcommand = "))
    };
    let text = FILES.iter().flat_map(|text| text.split(ENTRY).skip(1)).find(is_it)?;
    // A test reads them all: none is in a shape that cannot be read. Names are many; those that are shipped are few, and stay.
    let needs: &'static Needs = Box::leak(Box::new(toml::from_str(text).ok()?));
    read.insert(head, needs);
    Some(needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::learn::evidence::Evidence;
    use crate::decide::learn::profile::{Question, Source};
    use crate::language::command::known::Program;
    use crate::language::command::{TokenKey, commands, known, signature};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        needs: Vec<Needs>,
    }

    fn read(text: &str) -> Signature {
        signature(&commands(text), &[], &TokenKey::new([1; 32])).expect("it is a command")
    }

    #[test]
    fn every_figure_says_where_it_is_from_and_is_of_a_program_that_stays_readable() {
        let mut programs = std::collections::BTreeSet::new();
        let mut told = 0;
        for text in FILES {
            let file: File = toml::from_str(text).expect("it is read");
            for needs in file.needs {
                assert!(needs.source.len() > 20, "{needs:?}");
                let alone = super::needs(&needs.program, needs.subcommand.as_deref()).expect("it is found by itself");
                assert_eq!((&alone.source, alone.prior()), (&needs.source, needs.prior()));
                assert_eq!(alone.options(), needs.options());
                let each = [needs.processes.is_empty(), needs.process_threads.is_empty()];
                assert_eq!(each[0], each[1], "half a product says nothing: {needs:?}");
                told += usize::from(needs.options() != Options::default());
                assert!(needs.prior().memory.is_some(), "{needs:?}");
                let known = known::program(&needs.program);
                match (known, &needs.subcommand) {
                    (Some(Program::Subcommands(list)), Some(name)) => {
                        assert!(list.contains(&name.as_str()), "{needs:?}");
                    }
                    (Some(_), None) => {}
                    _ => panic!("{needs:?} is of no program whose name is kept"),
                }
                programs.insert(needs.program);
            }
        }
        assert!(programs.len() >= 40 && told >= 100, "{} {told}", programs.len());
    }

    #[test]
    fn a_command_is_predicted_before_anything_was_learned() {
        let evidence = Evidence { prior: prior(&read("samtools sort -@ 8 -o out.bam in.bam")), ..Evidence::default() };
        let found = evidence.memory(Question::plain(1e9)).expect("it is shipped");
        assert_eq!((found.source, found.n, found.request), (Source::Shipped, 0, 36.0 * 1_073_741_824.0));
        assert!(found.low < found.middle && found.middle < found.high, "{found:?}");
        assert!(prior(&read("./mine.sh x")).is_none());
        let pipe =
            prior(&read("bwa mem ref.fa r1.fq | samtools view -b - | samtools sort -")).expect("all are shipped");
        let alone = prior(&read("samtools flagstat x.bam")).expect("it is shipped");
        assert!(pipe.memory.map(|law| law.base) > alone.memory.map(|law| law.base));
    }

    #[test]
    fn what_grows_with_its_input_is_asked_so() {
        let found = prior(&read("ncclimo -s 1 -e 2")).and_then(|prior| prior.memory).expect("it is shipped");
        let evidence = Evidence { prior: Some(Prior { memory: Some(found), wall: None }), ..Evidence::default() };
        assert_eq!(evidence.memory(Question::plain(2e9)).map(|found| found.request), Some(6e9));
    }
}
