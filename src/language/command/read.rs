//! From words to a signature.

use std::collections::BTreeMap;

use crate::language::command::known::{self, Program};
use crate::language::command::{Kind, Name, Part, Signature, TokenKey, commands};
use crate::language::shell::{Means, Word, call, inner_script, unwrap};

/// Most programs of one signature: a long script is known by its first ones.
const PARTS: usize = 6;
/// Deepest nesting of programs that start others.
const DEEPEST: u32 = 6;
/// Words that only pass a command on: where their options are not understood, the first word that is none is the command.
const WRAPPERS: [&str; 14] = [
    "command", "env", "exec", "ionice", "mpiexec", "mpirun", "nice", "nohup", "orterun", "srun", "stdbuf", "sudo",
    "time", "timeout",
];
/// Options of MPI's starters that take a value.
const OF_MPI: [&str; 17] = [
    "H",
    "N",
    "bind-to",
    "c",
    "f",
    "host",
    "hostfile",
    "hosts",
    "machinefile",
    "map-by",
    "n",
    "np",
    "perhost",
    "ppn",
    "rank-by",
    "wdir",
    "x",
];
/// The same, of two values.
const PAIRS_OF_MPI: [&str; 4] = ["env", "genv", "gmca", "mca"];
/// Words of the shell that start no program worth knowing.
const SMALL: [&str; 24] = [
    "cd", "mkdir", "echo", "set", "export", "source", ".", "true", "false", "rm", "mv", "ln", "test", "[", "[[",
    "printf", "sleep", "unset", "ulimit", "umask", "trap", "wait", "local", "module",
];

/// Reads the words of simple commands (each a list of words, quotes removed) and the names of the inputs; none when there is
/// nothing but small commands of the shell.
///
/// Known programs alone make the signature where there are any; otherwise the first program does.
pub fn signature<W: AsRef<str>>(commands: &[Vec<W>], inputs: &[&str], key: &TokenKey) -> Option<Signature> {
    let mut all: Vec<Part> = Vec::new();
    for words in commands {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        add_parts(&words, key, 0, &mut all);
    }
    let of_note: Vec<Part> = all.iter().filter(|part| matches!(part.program, Name::Known(_))).cloned().collect();
    let mut parts = if of_note.is_empty() { all.into_iter().take(1).collect() } else { of_note };
    parts.truncate(PARTS);
    (!parts.is_empty()).then(|| Signature { parts, inputs: kinds(inputs) })
}

/// Says whether the words begin with a small command of the shell, which starts no program worth knowing.
pub fn is_small(words: &[&str]) -> bool {
    words.first().is_none_or(|word| SMALL.contains(&base(word)))
}

/// A program that a simple command starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// How many processes of it, where what starts it says so.
    pub processes: Option<u32>,
    /// How many cores each of them has, likewise.
    pub cores_each: Option<u32>,
    /// Its words.
    pub words: Vec<String>,
}

/// Returns what a simple command starts: itself, what stands behind `env`, `srun` or `mpirun`, or what a text for a shell does.
pub fn launches(words: &[&str]) -> Vec<Launch> {
    let mut all = Vec::new();
    add_launches(words, (None, None), 0, &mut all);
    all
}

fn add_launches(
    mut words: &[&str],
    (mut processes, mut cores_each): (Option<u32>, Option<u32>),
    depth: u32,
    all: &mut Vec<Launch>,
) {
    for _ in 0..DEEPEST {
        let program = words.iter().position(|word| !is_assignment(word)).unwrap_or(words.len());
        words = words.get(program..).unwrap_or_default();
        let Some(next) = started(words).filter(|next| (1..words.len()).contains(next)) else { break };
        let starter = words.get(..next).unwrap_or_default();
        let many = if starts_with(starter, &["mpiexec", "mpirun", "orterun"]) {
            number(starter, &["-n", "-np", "--np", "-c"])
        } else if starts_with(starter, &["srun"]) {
            cores_each = number(starter, &["-c", "--cpus-per-task"]).or(cores_each);
            number(starter, &["-n", "--ntasks"])
        } else {
            None
        };
        processes = many.map(|many| many.saturating_mul(processes.unwrap_or(1))).or(processes);
        words = words.get(next..).unwrap_or_default();
    }
    let is_shell = depth < DEEPEST && starts_with(words, &["bash", "sh"]);
    let script = if is_shell { inner_script(&meant(words)).and_then(Word::fixed).map(str::to_owned) } else { None };
    match script {
        Some(script) => {
            for inner in commands(&script) {
                let inner: Vec<&str> = inner.iter().map(String::as_str).collect();
                add_launches(&inner, (processes, cores_each), depth + 1, all);
            }
        }
        None if words.is_empty() => {}
        None => {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            all.push(Launch { processes, cores_each, words });
        }
    }
}

/// Returns the number that an option of a starter has: `-n 4`, `-n4`, `--ntasks=4`.
fn number(words: &[&str], options: &[&str]) -> Option<u32> {
    let next = words.iter().skip(1).copied().map(Some).chain([None]);
    let value = |(word, next): (&&str, Option<&str>)| {
        options.iter().find_map(|option| {
            let rest = word.strip_prefix(option)?;
            let text = if rest.is_empty() { next? } else { rest.strip_prefix('=').unwrap_or(rest) };
            text.parse().ok().filter(|count| *count > 0)
        })
    };
    words.iter().zip(next).find_map(value)
}

/// Adds what a simple command does: itself, or what it starts.
fn add_parts(words: &[&str], key: &TokenKey, depth: u32, parts: &mut Vec<Part>) {
    let words = work(words);
    let script = if depth < DEEPEST && starts_with(words, &["bash", "sh"]) {
        inner_script(&meant(words)).and_then(Word::fixed).map(str::to_owned)
    } else {
        None
    };
    if let Some(script) = script {
        for words in commands(&script) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            add_parts(&words, key, depth + 1, parts);
        }
    } else {
        parts.extend(part(words, key));
    }
}

/// Returns the words from the program on that does the work: behind assignments, `env`, `timeout`, `srun`, `mpirun`, and inside
/// of a container.
fn work<'w, 't>(mut words: &'w [&'t str]) -> &'w [&'t str] {
    for _ in 0..DEEPEST {
        let program = words.iter().position(|word| !is_assignment(word)).unwrap_or(words.len());
        words = words.get(program..).unwrap_or_default();
        let Some(next) = started(words).filter(|next| (1..words.len()).contains(next)) else { break };
        words = words.get(next..).unwrap_or_default();
    }
    words
}

fn starts_with(words: &[&str], programs: &[&str]) -> bool {
    words.first().is_some_and(|word| programs.contains(&base(word)))
}

/// Returns the word on which the program stands that the first one starts.
fn started(words: &[&str]) -> Option<usize> {
    if starts_with(words, &["mpiexec", "mpirun", "orterun"]) {
        return Some(behind_mpi(words));
    }
    let read = meant(words);
    let head = unwrap(&read).map(|found| found.head).filter(|head| *head > 0);
    let inside = || {
        call(&read, 0).filter(|call| !matches!(call.program, "ssh" | "sbatch" | "qsub")).and_then(|call| call.command)
    };
    // Where the options are none that anybody knows, the first word that looks like none.
    let guessed = || {
        let is_option = |word: &&str| word.starts_with('-') || is_assignment(word);
        starts_with(words, &WRAPPERS).then(|| 1 + words.iter().skip(1).take_while(|word| is_option(word)).count())
    };
    head.or_else(inside).or_else(guessed)
}

/// Returns the first word behind the options of an MPI starter.
fn behind_mpi(words: &[&str]) -> usize {
    let mut at = 1;
    while let Some(option) = words.get(at).and_then(|word| word.strip_prefix('-')) {
        let name = option.trim_start_matches('-');
        at += if PAIRS_OF_MPI.contains(&name) { 3 } else { 1 + usize::from(OF_MPI.contains(&name)) };
    }
    at
}

/// Returns words as a reader of shells has them: nothing in them expands any more.
fn meant(words: &[&str]) -> Vec<Word> {
    words
        .iter()
        .map(|word| Word {
            span: 0..0,
            text: (*word).to_owned(),
            means: Means::Itself,
            shape: String::new(),
            quoted: true,
        })
        .collect()
}

/// Reads one simple command; none when it is a small one.
fn part(words: &[&str], key: &TokenKey) -> Option<Part> {
    let program = base(words.first()?);
    // One that starts others, and starts nothing here: `exec > log`.
    if program.is_empty() || SMALL.contains(&program) || WRAPPERS.contains(&program) {
        return None;
    }
    let known = known::program(program);
    let mut subcommand = None;
    let mut options = Vec::new();
    for word in words.get(1..).unwrap_or_default() {
        if let Some(option) = option(word) {
            options.push(key.token("option", option));
        } else if subcommand.is_none() {
            subcommand = match known {
                Some(Program::Plain) | None => None,
                Some(Program::Subcommands(list)) => Some(named(list, word, key)),
                // A number belongs to the option in front of it.
                Some(Program::Runs) if word.bytes().all(|byte| byte.is_ascii_digit()) => None,
                Some(Program::Runs) => Some(named(&[], base(word), key)),
            };
        }
    }
    options.sort_unstable();
    options.dedup();
    let program =
        if known.is_some() { Name::Known(program.to_owned()) } else { Name::Token(key.token("program", program)) };
    Some(Part { program, subcommand, options })
}

fn named(list: &[&str], word: &str, key: &TokenKey) -> Name {
    if list.contains(&word) { Name::Known(word.to_owned()) } else { Name::Token(key.token("subcommand", word)) }
}

/// Returns the name of an option without its value: `--threads` of `--threads=8`, `-p` of `-pSECRET`.
fn option(word: &str) -> Option<&str> {
    if let Some(long) = word.strip_prefix("--") {
        if long.is_empty() {
            return None;
        }
        return Some(word.split_once('=').map_or(word, |(name, _)| name));
    }
    let short = word.strip_prefix('-')?;
    let first = short.chars().next()?;
    // A number is a value: `-1` alone says nothing.
    (!first.is_ascii_digit()).then(|| word.get(..1 + first.len_utf8()).unwrap_or(word))
}

fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.as_bytes()[0].is_ascii_digit()
}

/// Returns the last part of a path.
fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// Returns the kinds of files, each with how many there are in powers of two.
fn kinds(inputs: &[&str]) -> Vec<(Kind, u8)> {
    let mut counts: BTreeMap<Kind, u32> = BTreeMap::new();
    for name in inputs {
        *counts.entry(kind(name)).or_default() += 1;
    }
    counts.into_iter().map(|(kind, n)| (kind, n.ilog2() as u8)).collect()
}

/// Returns what a file is by its name's end; what it is packed with does not matter.
pub(super) fn kind(name: &str) -> Kind {
    let name = base(name).to_ascii_lowercase();
    let unpacked = ["gz", "bz2", "xz", "zst", "bgz"].iter().find_map(|end| name.strip_suffix(end)?.strip_suffix('.'));
    let name = unpacked.unwrap_or(&name);
    let Some((_, end)) = name.rsplit_once('.') else { return Kind::Other };
    match end {
        "fastq" | "fq" | "sra" | "fast5" | "pod5" => Kind::Reads,
        "bam" | "sam" | "cram" => Kind::Alignment,
        "fasta" | "fa" | "fna" | "faa" | "2bit" => Kind::Sequence,
        "vcf" | "bcf" | "gvcf" | "maf" => Kind::Variants,
        "csv" | "tsv" | "txt" | "parquet" | "json" | "gtf" | "gff" | "gff3" | "bed" | "xml" | "yaml" => Kind::Table,
        "h5" | "hdf5" | "nc" | "zarr" | "npy" | "npz" | "grib" | "grb2" | "h5ad" | "mtx" | "rds" => Kind::Array,
        "nii" | "dcm" | "tif" | "tiff" | "png" | "jpg" | "jpeg" | "mrc" | "mrcs" | "czi" | "nd2" | "svs" => Kind::Image,
        "pdb" | "cif" | "gro" | "xtc" | "trr" | "tpr" | "mol2" | "sdf" | "xyz" | "dcd" | "top" => Kind::Structure,
        "pt" | "pth" | "ckpt" | "safetensors" | "onnx" | "gguf" => Kind::Model,
        "tar" | "zip" | "tgz" | "7z" => Kind::Archive,
        "py" | "r" | "sh" | "pl" | "jl" | "m" | "smk" | "nf" => Kind::Script,
        _ => Kind::Other,
    }
}
