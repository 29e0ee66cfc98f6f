//! Which programs are heavy work, by their names and first arguments.

use crate::language::shell::{Word, call, inner_script, read, unwrap};

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
    ("dvc", &["repro", "exp"]),
    ("jupyter", &["lab", "notebook", "nbconvert", "execute", "server"]),
    ("deepspeed", &[]),
    ("papermill", &[]),
    ("pytest", &[]),
    ("ninja", &[]),
    ("scons", &[]),
];

/// Programs that start another one in an environment, by this verb.
const RUNNERS: &[(&str, &str)] = &[
    ("conda", "run"),
    ("mamba", "run"),
    ("micromamba", "run"),
    ("uv", "run"),
    ("poetry", "run"),
    ("pipenv", "run"),
    ("pixi", "run"),
    ("pdm", "run"),
    ("hatch", "run"),
    ("rye", "run"),
    ("mprof", "run"),
    ("perf", "stat"),
    ("perf", "record"),
    ("valgrind", ""),
    ("strace", ""),
    ("ltrace", ""),
    ("xvfb-run", ""),
    ("catchsegv", ""),
    ("proxychains", ""),
];

/// Managers of workflows: here they are heavy only where they run the work themselves.
const SUBMITTERS: &[&str] = &[
    "-n",
    "--dry-run",
    "--dryrun",
    "--lint",
    "--dag",
    "--rulegraph",
    "--summary",
    "-S",
    "-l",
    "--list",
    "--unlock",
    "--cluster",
    "--cluster-generic-submit-cmd",
    "--slurm",
    "--drmaa",
    "--executor",
    "-e",
    "--profile",
    "--workflow-profile",
    "-profile",
    "-preview",
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
    "http.server",
    "isort",
    "mypy",
    "pylint",
    "build",
    "twine",
    "pdb",
    "tarfile",
    "base64",
    "calendar",
    "timeit",
];

/// Says whether a call is heavy work: it would keep a machine busy. The program stands on the word `head`.
pub(super) fn is_heavy(words: &[Word], head: usize) -> bool {
    let Some(program) = words.get(head).and_then(Word::fixed).map(base) else { return false };
    let arguments = words.get(head + 1..).unwrap_or_default();
    if let Some((_, verb)) = RUNNERS.iter().find(|(name, _)| *name == program) {
        let behind = if verb.is_empty() {
            0
        } else {
            arguments.iter().position(|word| word.text == *verb).map_or(arguments.len(), |at| at + 1)
        };
        let script =
            |at: usize| program == "uv" && words.get(at).is_some_and(|word| word.shown().strip_suffix(".py").is_some());
        return (head + 1 + behind..words.len()).any(|at| starts(words, at) || script(at));
    }
    // What is heavy stays that in a container.
    if matches!(program, "docker" | "podman" | "apptainer" | "singularity") {
        let inside = call(words, head).and_then(|call| call.command);
        let Some(inner) = inside.and_then(|at| words.get(at..)) else { return false };
        let script = inner_script(inner).and_then(|text| read(text.shown()));
        let is_work = |words: &[Word]| unwrap(words).is_some_and(|found| starts(words, found.head));
        return is_work(inner) || script.is_some_and(|script| script.commands.iter().any(|own| is_work(&own.words)));
    }
    starts(words, head)
}

fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Says whether the program on a word is heavy by itself.
fn starts(words: &[Word], head: usize) -> bool {
    let Some(program) = words.get(head).and_then(Word::fixed).map(base) else { return false };
    let arguments = words.get(head + 1..).unwrap_or_default();
    let fixed: Vec<&str> = arguments.iter().map(Word::shown).collect();
    if asks_only(&fixed) {
        return false;
    }
    if HEAVY.contains(&program) {
        // Without arguments, most print how they are called.
        return !fixed.is_empty();
    }
    if let Some((_, verbs)) = VERBS.iter().find(|(name, _)| *name == program) {
        // `samtools view` looks into a file, unless it writes another one.
        let writes = |word: &&str| {
            matches!(*word, "-b" | "-C" | "-c" | "-o" | "--threads") || word.starts_with("-@") || word.starts_with("-b")
        };
        let looks =
            program == "samtools" && fixed.contains(&"view") && (fixed.contains(&"-H") || !fixed.iter().any(writes));
        return !looks && (verbs.is_empty() || fixed.iter().any(|word| verbs.contains(word)));
    }
    let submits = || fixed.iter().any(|word| SUBMITTERS.contains(&word.split('=').next().unwrap_or(word)));
    match program {
        "make" | "gmake" => {
            let jobs = |word: &&str| word.starts_with("-j") || word.starts_with("--jobs");
            fixed.iter().any(jobs)
                && !fixed.iter().any(|word| matches!(*word, "-n" | "--dry-run" | "clean" | "distclean"))
        }
        "snakemake" => !submits(),
        "nextflow" => fixed.contains(&"run") && !submits(),
        _ => LANGUAGES
            .iter()
            .find(|(name, _)| is_version_of(program, name))
            .is_some_and(|(name, ends)| runs_script(name, ends, &fixed)),
    }
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
