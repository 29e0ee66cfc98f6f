//! Which programs are heavy work, by their names and first arguments.

use crate::language::shell::Word;

/// Programs that are never started for a moment.
const HEAVY: &[&str] = &[
    "STAR",
    "STARsolo",
    "abyss-pe",
    "bbmap.sh",
    "bcl2fastq",
    "beast",
    "blastn",
    "blastp",
    "blastx",
    "blat",
    "bowtie",
    "bowtie2",
    "bwa",
    "bwa-mem2",
    "canu",
    "cellranger",
    "clustalo",
    "cp2k.psmp",
    "cp2k.popt",
    "diamond",
    "dorado",
    "dvc",
    "fastp",
    "fastqc",
    "featureCounts",
    "flye",
    "fmriprep",
    "freebayes",
    "g09",
    "g16",
    "gatk",
    "gmx",
    "gmx_mpi",
    "guppy_basecaller",
    "hisat2",
    "hmmscan",
    "hmmsearch",
    "iqtree",
    "iqtree2",
    "kallisto",
    "kraken2",
    "lammps",
    "lmp",
    "lmp_mpi",
    "mafft",
    "makeblastdb",
    "masurca",
    "matlab",
    "medaka",
    "megahit",
    "minimap2",
    "mpiexec",
    "mpirun",
    "mrbayes",
    "namd2",
    "namd3",
    "nextflow",
    "octave",
    "orca",
    "orterun",
    "ph.x",
    "picard",
    "pmemd",
    "pmemd.cuda",
    "prokka",
    "pw.x",
    "quast",
    "racon",
    "raxml",
    "raxml-ng",
    "recon-all",
    "relion_refine",
    "salmon",
    "sander",
    "simpleFoam",
    "snakemake",
    "spades.py",
    "stata",
    "stata-mp",
    "subread-align",
    "tblastn",
    "tophat2",
    "torchrun",
    "trimmomatic",
    "trinity",
    "unicycler",
    "vasp_gam",
    "vasp_ncl",
    "vasp_std",
    "vcftools",
    "velveth",
];

/// Programs of many verbs, with those that are heavy.
const VERBS: &[(&str, &[&str])] = &[
    ("samtools", &["sort", "markdup", "mpileup", "merge", "fixmate", "collate", "depth", "view", "index"]),
    ("bcftools", &["mpileup", "call", "merge", "norm", "consensus", "concat"]),
    ("accelerate", &["launch"]),
    ("cargo", &["build", "test", "bench", "install"]),
    ("cmake", &["--build"]),
    ("dotnet", &["build"]),
    ("go", &["build", "test"]),
    ("bazel", &["build", "test"]),
    ("R", &["CMD"]),
    ("wolframscript", &["-file", "-f"]),
    ("deepspeed", &[]),
    ("ninja", &[]),
    ("scons", &[]),
];

/// Languages, with what their scripts end in.
const LANGUAGES: &[(&str, &[&str])] = &[
    ("python", &[".py", ".pyz"]),
    ("pypy", &[".py"]),
    ("Rscript", &[".R", ".r"]),
    ("julia", &[".jl"]),
    ("perl", &[".pl"]),
    ("ruby", &[".rb"]),
    ("node", &[".js", ".mjs"]),
    ("java", &[".jar"]),
    ("spark-submit", &[".py", ".jar"]),
];

/// Modules of Python that are done in a moment.
const LIGHT_MODULES: &[&str] = &[
    "pip",
    "venv",
    "json.tool",
    "site",
    "sysconfig",
    "py_compile",
    "compileall",
    "virtualenv",
    "this",
    "platform",
    "ensurepip",
    "black",
    "ruff",
    "flake8",
    "pydoc",
    "zipfile",
    "tarfile",
    "base64",
    "calendar",
    "timeit",
];

/// Says whether a call is heavy work: it would keep a machine busy.
pub(super) fn is_heavy(program: &str, arguments: &[Word]) -> bool {
    let fixed: Vec<&str> = arguments.iter().map(|word| word.text.as_str()).collect();
    if asks_only(&fixed) {
        return false;
    }
    if HEAVY.contains(&program) {
        return true;
    }
    if let Some((_, verbs)) = VERBS.iter().find(|(name, _)| *name == program) {
        return verbs.is_empty() || fixed.iter().find(|word| verbs.contains(word)).is_some();
    }
    if matches!(program, "make" | "gmake") {
        return fixed.iter().any(|word| word.starts_with("-j") || word.starts_with("--jobs"));
    }
    let language = LANGUAGES.iter().find(|(name, _)| is_version_of(program, name));
    language.is_some_and(|(name, ends)| runs_script(name, ends, &fixed))
}

/// Says whether a program is only asked what it is.
fn asks_only(arguments: &[&str]) -> bool {
    matches!(arguments, [only] if matches!(*only, "--help" | "--version" | "-h" | "-V" | "-v" | "-version" | "-help" | "version" | "help"))
        || matches!(arguments, [_, only] if matches!(*only, "--help" | "-h" | "--version"))
}

/// `python3.11` is `python`.
fn is_version_of(program: &str, name: &str) -> bool {
    program.strip_prefix(name).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// Says whether the first operand is a script, or a module that does more than look.
fn runs_script(language: &str, ends: &[&str], arguments: &[&str]) -> bool {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "-m" if language == "python" => return words.next().is_some_and(|module| !LIGHT_MODULES.contains(module)),
            "-c" | "-e" | "-E" | "-" | "-V" => return false,
            "-W" | "-X" => drop(words.next()),
            option if option.starts_with('-') => {}
            script => return ends.iter().any(|end| script.ends_with(end)),
        }
    }
    false
}
