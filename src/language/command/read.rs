//! From words to a signature.

use std::collections::BTreeMap;

use crate::language::command::known::{self, Program};
use crate::language::command::{Kind, Name, Part, Signature, TokenKey};

/// Most programs of one signature: a long script is known by its first ones.
const PARTS: usize = 6;
/// Words that only pass a command on.
const WRAPPERS: [&str; 10] = ["env", "time", "nice", "nohup", "exec", "command", "stdbuf", "ionice", "srun", "sudo"];
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
    let all: Vec<Part> = commands.iter().filter_map(|words| part(words, key)).collect();
    let of_note: Vec<Part> = all.iter().filter(|part| matches!(part.program, Name::Known(_))).cloned().collect();
    let mut parts = if of_note.is_empty() { all.into_iter().take(1).collect() } else { of_note };
    parts.truncate(PARTS);
    (!parts.is_empty()).then(|| Signature { parts, inputs: kinds(inputs) })
}

/// Reads one simple command; none when it is a small one.
fn part<W: AsRef<str>>(words: &[W], key: &TokenKey) -> Option<Part> {
    let mut words = words.iter().map(AsRef::as_ref).peekable();
    while words.next_if(|word| is_assignment(word) || WRAPPERS.contains(&base(word)) || word.starts_with('-')).is_some()
    {
    }
    let program = base(words.next()?);
    if program.is_empty() || SMALL.contains(&program) {
        return None;
    }
    let known = known::program(program);
    let mut subcommand = None;
    let mut options = Vec::new();
    for word in words {
        if let Some(option) = option(word) {
            options.push(key.token("option", option));
        } else if subcommand.is_none() {
            subcommand = match known {
                Some(Program::Plain) | None => None,
                Some(Program::Subcommands(list)) => Some(named(list, word, key)),
                Some(Program::Runs) => Some(named(known::SCRIPTS, base(word), key)),
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
