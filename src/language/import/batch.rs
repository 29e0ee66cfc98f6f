//! Scripts for Slurm, PBS and Grid Engine: directives become keys, the rest becomes `run`.

use crate::language::import::Format;
use crate::language::import::directive::{Region, Script, split};
use crate::language::import::draft::{DraftTask, Foreach, Raw, Run, Text, task_name};
use crate::language::import::wish::{Array, Reader, Wish};
use crate::language::import::{pbs, sge, slurm};
use crate::language::quote::sh;
use crate::model::diagnostic::{Diagnostic, Span};

/// How a variable that the batch system sets is set here.
enum Source {
    /// A value with placeholders.
    Template(&'static str),
    /// A value known now.
    Value(String),
    /// Shell text, evaluated before the script.
    Shell(&'static str),
}

/// Reads a script. Returns its task, and what does not mean the same here.
///
/// # Errors
/// When no command is left beside the directives.
pub(super) fn read(text: &str, format: Format, file: &str) -> Result<(DraftTask, Vec<Diagnostic>), Vec<Diagnostic>> {
    read_for(text, format, file, None)
}

/// A script that runs as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct AsItIs<'a> {
    /// Its path, from where it runs.
    pub(super) path: &'a str,
    /// Whether the batch system there is of the script's flavour.
    pub(super) native: bool,
}

/// Reads a script, to be a task of a workflow or, as it is, to be run.
///
/// # Errors
/// As [`read`].
pub(super) fn read_for(
    text: &str,
    format: Format,
    file: &str,
    as_it_is: Option<AsItIs<'_>>,
) -> Result<(DraftTask, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (prefix, region) = match format {
        Format::Pbs => ("#PBS", Region::Head),
        Format::Sge => ("#$", Region::Anywhere),
        Format::Slurm | Format::Commands | Format::WfFormat => ("#SBATCH", Region::Head),
    };
    let script = split(text, prefix, region);
    if script.body.trim().is_empty() {
        return Err(vec![Diagnostic::error(None, "there is no command in it")]);
    }
    let reader = match as_it_is {
        None => Reader::File,
        Some(AsItIs { native: true, .. }) => Reader::Native,
        Some(AsItIs { native: false, .. }) => Reader::Foreign,
    };
    let mut wish = Wish { reader, ..Wish::default() };
    for words in &script.directives {
        match format {
            Format::Pbs => pbs::apply(&mut wish, words),
            Format::Sge => sge::apply(&mut wish, words),
            Format::Slurm | Format::Commands | Format::WfFormat => slurm::apply(&mut wish, words),
        }
    }
    if let [first, ..] = script.late.as_slice() {
        let message = format!("`{prefix}` lines after the first command are ignored, here as by the batch system");
        wish.notes.push(Diagnostic::warning(*first, message).help("move them above the first command"));
    }
    wish.array = wish.array.take().filter(|array| !array.ids.is_empty());
    look_at_body(&mut wish, text, &script, format);
    let task = task(&mut wish, &script, format, file, as_it_is);
    wish.notes.sort_by_key(|note| note.span);
    Ok((task, wish.notes))
}

fn task(wish: &mut Wish, script: &Script, format: Format, file: &str, as_it_is: Option<AsItIs<'_>>) -> DraftTask {
    let mut task = DraftTask {
        name: task_name(wish.name.as_deref().unwrap_or(file)),
        resources: wish.resources(),
        workdir: wish.workdir.take(),
        stdin: wish.stdin.take(),
        checkpoint: wish.checkpoint.take(),
        run: as_it_is.map_or_else(|| command(wish, script), |it| exec(wish, script, it.path)),
        ..DraftTask::default()
    };
    if wish.reader == Reader::Foreign {
        leave_out_names(wish);
    }
    if let Some(array) = &wish.array {
        task.foreach = Foreach::Numbers(array.ids.clone());
        task.max_parallel = array.limit;
    }
    let queue = [
        ("account", &mut wish.account),
        ("partition", &mut wish.partition),
        ("qos", &mut wish.qos),
        ("constraint", &mut wish.constraint),
    ];
    task.batch = queue.into_iter().filter_map(|(key, value)| Some((key, value.take()?))).collect();
    for (name, value) in wish.env.drain(..) {
        // Of a variable that is set twice the last value counts.
        task.env.retain(|(known, _)| *known != name);
        task.env.push((name, Text::Literal(value)));
    }
    set_variables(wish, &mut task, &script.body, format);
    let mut flags = std::mem::take(&mut wish.raw);
    if wish.reader == Reader::Foreign {
        flags.clear();
    }
    task.raw = Some(Raw { table: table(format), flags });
    task
}

/// Leaves out what is called otherwise, or means nothing, on another site.
fn leave_out_names(wish: &mut Wish) {
    let names = [
        ("partition", wish.partition.take()),
        ("account", wish.account.take()),
        ("qos", wish.qos.take()),
        ("constraint", wish.constraint.take()),
    ];
    for (key, name) in names {
        let Some(name) = name else { continue };
        let message = format!("the {key} `{name}` is that of another site and is left out");
        let help = if key == "constraint" {
            "say with an option of that batch system which nodes it needs".to_owned()
        } else {
            format!("`--{key}` names one there")
        };
        wish.notes.push(Diagnostic::warning(None, message).help(help));
    }
}

fn table(format: Format) -> &'static str {
    match format {
        Format::Pbs => "pbs",
        Format::Sge => "sge",
        Format::Slurm | Format::Commands | Format::WfFormat => "slurm",
    }
}

/// Returns the words of the interpreter that a script asks for; none where it asks for none.
fn interpreter(wish: &Wish, script: &Script) -> Vec<String> {
    let mut words: Vec<String> = match (&wish.shell, &script.shebang) {
        // An interpreter that `-S` names stands for the first line's.
        (Some(shell), _) => vec![shell.clone()],
        (None, Some(shebang)) => shebang.split_whitespace().map(str::to_owned).collect(),
        (None, None) => Vec::new(),
    };
    if words.first().is_some_and(|word| word.ends_with("/env")) {
        words.retain(|word| !word.ends_with("/env") && word != "-S");
    }
    words
}

/// Runs a script as it is.
fn exec(wish: &Wish, script: &Script, path: &str) -> Run {
    let mut words = interpreter(wish, script);
    if words.is_empty() {
        words.push("/bin/sh".to_owned());
    }
    let words: Vec<_> = words.iter().map(|word| sh(word)).collect();
    // A name that begins with a dash is no option.
    let path = if path.starts_with('-') { format!("./{path}") } else { path.to_owned() };
    Run::Script(Text::Literal(format!("exec {} {}", words.join(" "), sh(&path))))
}

/// Chooses how the body is run: by bash as csync does, or by the interpreter that the script names.
fn command(wish: &Wish, script: &Script) -> Run {
    let mut words = interpreter(wish, script);
    let program = words.first().and_then(|word| word.rsplit('/').next());
    let program = program.filter(|program| !program.is_empty()).unwrap_or("bash").to_owned();
    let plain = words.len() < 2;
    if matches!(program.as_str(), "bash" | "sh" | "dash" | "ksh") && plain {
        return Run::Script(Text::Literal(script.body.clone()));
    }
    if let Some(first) = words.first_mut() {
        first.clone_from(&program);
    }
    let flag = if matches!(program.as_str(), "perl" | "ruby" | "Rscript" | "node" | "lua") { "-e" } else { "-c" };
    words.push(flag.to_owned());
    words.push(script.body.clone());
    Run::Argv(words.into_iter().map(Text::Literal).collect())
}

/// Sets what the batch system would set, as far as the script looks at it.
fn set_variables(wish: &mut Wish, task: &mut DraftTask, body: &str, format: Format) {
    let mut shell = Vec::new();
    for (name, source) in variables(wish, format) {
        let always = wish.array.as_ref().is_some_and(|array| array.variable == name) || name == "OMP_NUM_THREADS";
        if wish.reader == Reader::Native && !is_ours(wish, name) {
            continue;
        }
        if !always && !mentions(body, name) || task.env.iter().any(|(known, _)| known == name) {
            continue;
        }
        match source {
            Source::Template(template) => task.env.push((name.to_owned(), Text::Template(template.to_owned()))),
            Source::Value(value) => task.env.push((name.to_owned(), Text::Literal(value))),
            Source::Shell(text) => shell.push(format!("export {name}={text}")),
        }
    }
    if wish.reader != Reader::File {
        task.setup.append(&mut shell);
    } else if let Run::Script(_) = task.run {
        // Batch systems run scripts without bash's strict mode, under which many stop that used to work.
        task.setup.push("set +euo pipefail".to_owned());
        task.setup.append(&mut shell);
    } else if let [first, ..] = shell.as_slice() {
        let message = format!("the script is not for bash, so `{first}` and the like are left to you");
        wish.notes.push(Diagnostic::warning(None, message).help("set the variable under `env` in the workflow"));
    }
}

/// Returns whether a batch system of the script's own flavour would say something else than the script expects: where it was
/// submitted, what it is called, and which member of its array it is.
fn is_ours(wish: &Wish, name: &str) -> bool {
    let array = wish.array.as_ref().is_some_and(|array| array.variable == name);
    array
        || name.ends_with("_WORKDIR")
        || name.starts_with("SLURM_ARRAY_TASK_")
        || name.starts_with("SGE_TASK_")
        || matches!(name, "SLURM_SUBMIT_DIR" | "SLURM_JOB_NAME" | "PBS_JOBNAME" | "JOB_NAME")
}

fn variables(wish: &Wish, format: Format) -> Vec<(&'static str, Source)> {
    use Source::{Shell, Template, Value};
    let ranks = wish.ranks();
    let cores = || if ranks > 1 { Value(wish.cpus.unwrap_or(1).to_string()) } else { Template("{cpus}") };
    let number = |n: Option<u32>| Value(n.unwrap_or(1).to_string());
    let text = |text: &Option<String>| Value(text.clone().unwrap_or_default());
    let mut list = match format {
        Format::Pbs => vec![
            ("OMP_NUM_THREADS", cores()),
            ("NCPUS", cores()),
            ("PBS_NP", Template("{cpus}")),
            ("PBS_NUM_PPN", Template("{cpus}")),
            ("PBS_NUM_NODES", number(wish.nodes)),
            ("PBS_JOBNAME", text(&wish.name)),
            ("PBS_QUEUE", text(&wish.partition)),
            ("PBS_O_QUEUE", text(&wish.partition)),
            ("PBS_O_WORKDIR", Shell("\"$PWD\"")),
            ("PBS_O_HOME", Shell("\"$HOME\"")),
            ("PBS_JOBID", Shell("\"$CSYNC_JOB\"")),
            ("PBS_ARRAY_ID", Shell("\"$CSYNC_RUN\"")),
        ],
        Format::Sge => vec![
            ("NSLOTS", Template("{cpus}")),
            ("NHOSTS", number(wish.nodes)),
            ("JOB_NAME", text(&wish.name)),
            ("QUEUE", text(&wish.partition)),
            ("SGE_O_WORKDIR", Shell("\"$PWD\"")),
            ("JOB_ID", Shell("\"$CSYNC_JOB\"")),
        ],
        Format::Slurm | Format::Commands | Format::WfFormat => vec![
            ("SLURM_CPUS_PER_TASK", cores()),
            ("SLURM_CPUS_ON_NODE", Template("{cpus}")),
            ("SLURM_JOB_CPUS_PER_NODE", Template("{cpus}")),
            ("SLURM_NTASKS", Value(ranks.to_string())),
            ("SLURM_NPROCS", Value(ranks.to_string())),
            ("SLURM_NTASKS_PER_NODE", number(wish.processes_per_node.or(Some(ranks)))),
            ("SLURM_NNODES", number(wish.nodes)),
            ("SLURM_JOB_NUM_NODES", number(wish.nodes)),
            ("SLURM_MEM_PER_NODE", Template("{mem_mb}")),
            ("SLURM_GPUS", Template("{gpus}")),
            ("SLURM_GPUS_ON_NODE", Template("{gpus}")),
            ("SLURM_JOB_NAME", text(&wish.name)),
            ("SLURM_JOB_PARTITION", text(&wish.partition)),
            ("SLURM_JOB_ACCOUNT", text(&wish.account)),
            ("SLURM_JOB_QOS", text(&wish.qos)),
            ("SLURM_PROCID", Value("0".to_owned())),
            ("SLURM_LOCALID", Value("0".to_owned())),
            ("SLURM_NODEID", Value("0".to_owned())),
            ("SLURM_SUBMIT_DIR", Shell("\"$PWD\"")),
            ("SLURM_JOB_ID", Shell("\"$CSYNC_JOB\"")),
            ("SLURM_JOBID", Shell("\"$CSYNC_JOB\"")),
            ("SLURM_ARRAY_JOB_ID", Shell("\"$CSYNC_RUN\"")),
            ("SLURM_JOB_NODELIST", Shell("\"$HOSTNAME\"")),
            ("SLURM_NODELIST", Shell("\"$HOSTNAME\"")),
            ("SLURMD_NODENAME", Shell("\"$HOSTNAME\"")),
        ],
    };
    if let Some(array) = &wish.array {
        list.extend(array_variables(array, format));
    }
    list
}

fn array_variables(array: &Array, format: Format) -> Vec<(&'static str, Source)> {
    let value = |n: Option<u64>| Source::Value(n.unwrap_or_default().to_string());
    let (first, last) = (array.ids.first().copied(), array.ids.last().copied());
    let step = array.ids.get(1).copied().zip(first).map_or(Some(1), |(second, first)| Some(second.abs_diff(first)));
    let mut variables = vec![(array.variable, Source::Template("{item}"))];
    match format {
        Format::Sge => {
            variables.extend([("SGE_TASK_FIRST", value(first)), ("SGE_TASK_LAST", value(last))]);
            variables.push(("SGE_TASK_STEPSIZE", value(step)));
        }
        Format::Pbs => {}
        Format::Slurm | Format::Commands | Format::WfFormat => {
            variables.push(("SLURM_ARRAY_TASK_COUNT", value(Some(array.ids.len() as u64))));
            variables.push(("SLURM_ARRAY_TASK_MIN", value(array.ids.iter().min().copied())));
            variables.push(("SLURM_ARRAY_TASK_MAX", value(array.ids.iter().max().copied())));
            variables.push(("SLURM_ARRAY_TASK_STEP", value(step)));
        }
    }
    variables
}

/// Warns of what the body asks of the batch system itself.
fn look_at_body(wish: &mut Wish, text: &str, script: &Script, format: Format) {
    let bodies = text.len() - script.body.len();
    let native = wish.reader == Reader::Native;
    let mut warn = |word: &str, message: String, help: &str| {
        if mentions(&script.body, word) {
            let at = find_word(text, word, bodies).map(|at| Span::new(at, at + word.len()));
            wish.notes.push(Diagnostic::warning(at, message).help(help));
        }
    };
    let local = "it works only where the batch system is; start the program itself, or with `mpirun -n`";
    match format {
        // The batch system that it is for has all of that.
        _ if native => {}
        Format::Pbs => {
            for word in ["PBS_NODEFILE", "pbsdsh"] {
                warn(word, format!("`{word}` does not exist here"), local);
            }
        }
        Format::Sge => warn("PE_HOSTFILE", "`PE_HOSTFILE` does not exist here".to_owned(), local),
        Format::Slurm | Format::Commands | Format::WfFormat => {
            for word in ["srun", "sbcast"] {
                warn(word, format!("the script calls `{word}`"), local);
            }
        }
    }
    for word in ["sbatch", "qsub"] {
        warn(word, format!("the script calls `{word}`"), "jobs that it submits are not seen by csync");
    }
    let home = match format {
        Format::Pbs => !mentions(&script.body, "PBS_O_WORKDIR"),
        Format::Sge => {
            let cwd = wish.raw.iter().position(|(flag, _)| flag == "cwd").map(|index| wish.raw.remove(index)).is_some();
            !cwd && !mentions(&script.body, "SGE_O_WORKDIR")
        }
        Format::Slurm | Format::Commands | Format::WfFormat => false,
    };
    if home && wish.workdir.is_none() {
        let (message, help) = match wish.reader {
            Reader::File => (
                "the batch system starts this script in the home directory, csync in the workflow's directory",
                "to keep it: add `cd ~` as the first line of `run`",
            ),
            Reader::Native | Reader::Foreign => (
                "the batch system starts this script in the home directory, csync in a copy of this directory",
                "to keep it: add `cd ~` as the first line of the script",
            ),
        };
        wish.notes.push(Diagnostic::warning(None, message).help(help));
    }
    if let Some(span) = wish.log_files {
        let message = "csync keeps the output of every attempt itself; files named for it are left out";
        wish.notes.push(Diagnostic::warning(span, message).help("`csync logs` prints it"));
    }
}

/// Returns whether a word stands in a text as a whole.
fn mentions(text: &str, word: &str) -> bool {
    find_word(text, word, 0).is_some()
}

fn find_word(text: &str, word: &str, from: usize) -> Option<usize> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // The head of a script is shorter than what was taken out of it, so that `from` may fall inside a letter.
    let from = (from..text.len()).find(|&at| text.is_char_boundary(at))?;
    text.get(from..)?.match_indices(word).map(|(at, _)| from + at).find(|&at| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::import::draft::Draft;

    fn print(text: &str, format: Format) -> String {
        let (task, notes) = read(text, format, "script").unwrap();
        let draft = Draft { name: task.name.clone(), tasks: vec![task], ..Draft::default() };
        let places = notes.iter().map(|note| {
            let place = note.span.and_then(|span| text.get(span.range())).unwrap_or("-");
            format!("{}: {place}: {} ({})\n", "note", note.message, note.help.as_deref().unwrap_or_default())
        });
        format!("{}---\n{}", draft.print(), places.collect::<String>())
    }

    #[test]
    fn a_slurm_array() {
        let text = "#!/bin/bash\n#SBATCH --job-name=\"star align\"\n#SBATCH -c 8 --mem-per-cpu=4G\n#SBATCH -t 1-12:00:00 \
                    # long\n#SBATCH --array=1-30%4\n#SBATCH -o logs/%A_%a.out\n#SBATCH -p short --qos=high\n#SBATCH \
                    --gres=gpu:a100:2\n\nmodule load star\nFILE=$(sed -n \"${SLURM_ARRAY_TASK_ID}p\" list.txt)\ncd \
                    $SLURM_SUBMIT_DIR\nsrun STAR --runThreadN $SLURM_CPUS_PER_TASK \"${FILE}\" {x}\nawk '{print $1}'\n";
        insta::assert_snapshot!(print(text, Format::Slurm), @r#"
name = "star_align"
schema = 1

[tasks.star_align]
foreach = { range = [1, 30] }
max_parallel = 4
setup = ["set +euo pipefail", 'export SLURM_SUBMIT_DIR="$PWD"']
run = '''
module load star
FILE=$(sed -n "${SLURM_ARRAY_TASK_ID}p" list.txt)
cd $SLURM_SUBMIT_DIR
srun STAR --runThreadN $SLURM_CPUS_PER_TASK "${FILE}" {{x}}
awk '{print $1}'
'''
resources = { cpus = 8, mem = "32G", time = "1d12h", gpus = 2 }
partition = "short"
qos = "high"

[tasks.star_align.env]
SLURM_CPUS_PER_TASK = "{cpus}"
SLURM_ARRAY_TASK_ID = "{item}"

[tasks.star_align.slurm]
gres = "gpu:a100:2"
---
note: -o logs/%A_%a.out: csync keeps the output of every attempt itself; files named for it are left out (`csync logs` prints it)
note: --gres=gpu:a100:2: csync counts GPUs only; `gpu:a100:2` is kept for Slurm (see `gres` in the workflow's table for Slurm)
note: srun: the script calls `srun` (it works only where the batch system is; start the program itself, or with `mpirun -n`)
"#);
    }

    #[test]
    fn a_pbs_script() {
        let text = "#PBS -N relax\n#PBS -l select=2:ncpus=8:mpiprocs=8:mem=16gb,walltime=24:00:00\n#PBS -q workq\n#PBS \
                    -v 'MODE=\"fast,really\"'\n#PBS -l place=scatter\n\ncd $PBS_O_WORKDIR\nmpirun -machinefile \
                    $PBS_NODEFILE ./relax '''quoted'''\n";
        insta::assert_snapshot!(print(text, Format::Pbs), @r#"
name = "relax"
schema = 1

[tasks.relax]
setup = ["set +euo pipefail", 'export PBS_O_WORKDIR="$PWD"']
run = """
cd $PBS_O_WORKDIR
mpirun -machinefile $PBS_NODEFILE ./relax '''quoted'''
"""
resources = { cpus = 1, processes = 16, nodes = 2, mem = "32G", time = "1d" }
partition = "workq"

[tasks.relax.env]
MODE = "fast,really"
OMP_NUM_THREADS = "1"

[tasks.relax.pbs]
l = "place=scatter"
---
note: -l place=scatter: the resource `place` has no counterpart in csync; it is kept for PBS (see `l` in the workflow's table for PBS; on this machine it changes nothing)
note: PBS_NODEFILE: `PBS_NODEFILE` does not exist here (it works only where the batch system is; start the program itself, or with `mpirun -n`)
"#);
    }

    #[test]
    fn a_grid_engine_script_in_python() {
        let text = "#!/usr/bin/env python3\n#$ -cwd -pe smp 4\n#$ -l h_vmem=2G,h_rt=3600\nimport os\nprint({1: \
                    os.environ['NSLOTS']})\n";
        insta::assert_snapshot!(print(text, Format::Sge), @r#"
name = "script"
schema = 1

[tasks.script]
run = [
    "python3",
    "-c",
    '''
import os
print({1: os.environ['NSLOTS']})
''',
]
resources = { cpus = 4, mem = "8G", time = "1h" }

[tasks.script.env]
NSLOTS = "{cpus}"

[tasks.script.sge]
pe = "smp 4"
---
"#);
    }
}
