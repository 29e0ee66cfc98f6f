//! What a submission asks for, beside what its command needs and what its partition allows.

use crate::decide::advise::directives::directives;
use crate::decide::advise::facts::{Facts, HostFacts, Learned, PartitionFacts};
use crate::decide::advise::walk::{At, Line, Step};
use crate::decide::advise::{Advice, Kind, Mode};
use crate::language::batch::amounts;
use crate::language::command::{commands, is_small};
use crate::language::shell::{Call, Input, Means, Opt, Output, Splice, Word, call, inner_script, read, unwrap, words};
use crate::model::batch::{Flavour, PerWhat};
use crate::model::units::{Bytes, Walltime};

/// What a submission says.
#[derive(Debug, Default)]
struct Asked {
    memory: Option<String>,
    walltime: Option<String>,
    cores: bool,
    partition: Option<String>,
    gpus: bool,
    /// PBS: whether it says what chunks it wants, beside which nothing else may say that.
    chunks: bool,
}

impl Asked {
    /// Returns the memory that it says, where that is understood.
    fn memory_in(&self, flavour: Flavour) -> Option<Bytes> {
        amounts::memory(flavour, self.memory.as_deref()?)
    }

    /// Returns the walltime that it says, where that is understood.
    fn walltime_in(&self, flavour: Flavour) -> Option<Walltime> {
        amounts::time(flavour, self.walltime.as_deref()?)
    }
}

/// Looks for submissions.
pub(super) fn look(line: &Line<'_>, facts: &impl Facts, advice: &mut Vec<Advice>) {
    for step in line.steps.iter().filter(|step| !(step.in_job || step.many || step.again)) {
        let host = match &step.at {
            At::Here => facts.here(),
            At::There(host, _) => host.clone(),
            At::Node(..) | At::Inside => None,
        };
        let stands = line.command(step).map(|command| command.stands).unwrap_or_default();
        if stands.in_heredoc || stands.substituted || stands.in_function || line.forwards(step) {
            continue;
        }
        let Some(call) = call(&step.words, step.head).filter(|call| !call.has(&["help", "usage", "version"])) else {
            continue;
        };
        if let Some(text) = terminal(line, &call, step).or_else(|| shell(&call, step, stands.input)) {
            advice.push(Advice { kind: Kind::Request, text, command: step.command, change: None });
        } else if let Some(host) = host.filter(|host| host.batch.is_some()) {
            advice.extend(judge(line, step, &call, &host, facts));
        }
    }
}

/// Says that what asks for a terminal will not get one.
fn terminal(line: &Line<'_>, call: &Call<'_>, step: &Step) -> Option<String> {
    let shell = call.command.is_none();
    let (what, instead) = match call.program {
        "srun" if call.has(&["pty"]) => ("--pty", "Without it, `srun COMMAND` prints what it prints."),
        "qlogin" | "qsh" => (call.program, "`qrsh -now n COMMAND` prints what it prints."),
        "qrsh" if shell => ("qrsh", "`qrsh -now n COMMAND` prints what it prints."),
        "qsub" if call.has(&["I"]) => ("qsub -I", "`qsub -W block=true -- COMMAND` stays until it has run."),
        "bsub" if call.has(&["Is", "Ip", "ISs", "ISp"]) => ("bsub -Is", "`bsub -K COMMAND` stays until it has run."),
        _ => return None,
    };
    // `ssh -tt` makes one.
    let made = line.command(step)?.words.iter().any(|word| word.text.starts_with("-t") || word.text.starts_with("-qt"));
    let lacks = !step.has_terminal && (step.at == At::Here || (step.at != At::Inside && !made));
    lacks.then(|| format!("`{what}` waits for a terminal, and there is none here: the command would hang. {instead}"))
}

/// `salloc` alone starts a shell, which has nothing to read.
fn shell(call: &Call<'_>, step: &Step, input: Input) -> Option<String> {
    let ends = call.program == "salloc" && call.command.is_none() && !call.has(&["no-shell"]);
    (ends && step.own && !step.has_terminal && input == Input::Inherited).then(|| {
        "`salloc` starts a shell in the allocation; without a terminal that ends at once, and the allocation with it. \
         `salloc ... COMMAND` runs the command in it, and so does `srun ... COMMAND`."
            .to_owned()
    })
}

fn judge(line: &Line<'_>, step: &Step, call: &Call<'_>, host: &HostFacts, facts: &impl Facts) -> Option<Advice> {
    let flavour = flavour(call.program, host)?;
    // A step of a job that runs already takes what that has.
    if call.has(&["jobid", "overlap", "het-group", "test-only"]) {
        return None;
    }
    // Behind a colon stands another component, with options of its own.
    let parts = step.words.iter().any(|word| word.fixed() == Some(":"));
    if parts || is_set_otherwise(line, call.program, facts) {
        return None;
    }
    let (asked, command) = asked(call, step, flavour, facts)?;
    let learned = known(&command, step, host, facts);
    let partition = partition(host, asked.partition.as_deref());
    if let Some(text) = too_much(&asked, host, partition, flavour) {
        return Some(Advice { kind: Kind::Request, text, command: step.command, change: None });
    }
    let mut learned = learned.unwrap_or_default();
    let chosen = choose(&asked, host, partition, &learned, flavour);
    // More than a node has is refused: as many threads share what it has.
    let most = chosen.or(partition).and_then(|partition| partition.cores).unwrap_or(u32::MAX);
    learned.cores = learned.cores.map(|cores| cores.min(most));
    let with = lacking(&asked, &learned, chosen, flavour, host);
    if with.is_empty() {
        return None;
    }
    let source = if learned.source.is_empty() { "the limits of the partitions".to_owned() } else { learned.source };
    let program = call.program;
    let text = format!(
        "`{program}` says nothing of this here: `{program} {} ...` asks for what is needed, from {source}.",
        with.join(" ")
    );
    let change = (step.own && !step.as_other && may_change(line, step)).then(|| {
        let at = step.head + 1;
        (Mode::Rewrite, Splice { command: step.command, words: at..at, with })
    });
    Some(Advice { kind: Kind::Request, text, command: step.command, change })
}

/// Returns what is known of a command; of one that is a text for a shell, what is known of the one command in it that is known.
fn known(command: &[Word], step: &Step, host: &HostFacts, facts: &impl Facts) -> Option<Learned> {
    let of = |words: &[Word]| {
        let words: Vec<&str> = words.iter().map(Word::fixed).collect::<Option<_>>()?;
        if words.is_empty() { None } else { facts.request(&words, &host.name, step.cwd.as_deref()) }
    };
    let Some(script) = inner_script(command).and_then(Word::fixed).and_then(read) else { return of(command) };
    let mut found = script.commands.iter().filter_map(|inner| of(&inner.words));
    found.next().filter(|_| found.next().is_none())
}

/// Says whether variables may hold what options lack: options would go before them. In a job, `srun` starts a step of that.
fn is_set_otherwise(line: &Line<'_>, program: &str, facts: &impl Facts) -> bool {
    let prefixes: &[&str] = match program {
        "srun" => &["SRUN_", "SLURM_"],
        "sbatch" => &["SBATCH_"],
        "salloc" => &["SALLOC_"],
        _ => &["PBS_", "SGE_"],
    };
    prefixes.iter().any(|prefix| line.script.text.contains(prefix) || facts.has_variable(prefix))
}

/// Options may be put in where nothing depends on how the line is read by others.
fn may_change(line: &Line<'_>, step: &Step) -> bool {
    line.command(step).is_some_and(|command| {
        let stands = command.stands;
        stands.in_loop.is_none() && stands.input != Input::Here && stands.output != Output::Captured
    })
}

/// Returns whose language a program speaks on a host.
fn flavour(program: &str, host: &HostFacts) -> Option<Flavour> {
    let flavour = match program {
        "srun" | "sbatch" | "salloc" => Flavour::Slurm,
        "qsub" | "qrsh" => host.batch.filter(|batch| *batch != Flavour::Slurm)?,
        _ => return None,
    };
    (host.batch == Some(flavour)).then_some(flavour)
}

/// Returns what a submission asks for, and the command that it is about.
fn asked(call: &Call<'_>, step: &Step, flavour: Flavour, facts: &impl Facts) -> Option<(Asked, Vec<Word>)> {
    let mut asked = Asked::default();
    let rest = call.command.and_then(|at| step.words.get(at..)).unwrap_or_default();
    let binary = matches!(call.program, "srun" | "salloc" | "qrsh")
        || call.option(&["b"]).is_some_and(|option| option.value.is_some_and(|value| value.starts_with('y')))
        || (flavour == Flavour::Pbs && step.words.iter().any(|word| word.fixed() == Some("--")));
    let command = if binary {
        rest.to_vec()
    } else if let Some(wrap) = call.option(&["wrap"]) {
        wrap.value.filter(|_| wrap.known).and_then(only_work).unwrap_or_default()
    } else {
        // Without a file the script comes on standard input, and with one that cannot be read nobody knows what it asks for.
        let named = rest.first()?.fixed().filter(|_| step.at == At::Here)?;
        // Whatever lies on the way up, the system finds it from there.
        let above = || Some(format!("{}/{named}", step.cwd.as_ref().filter(|_| named.starts_with("../"))?));
        let path = step.absolute(named).or_else(above)?;
        let script = facts.batch_script(&path)?;
        let (mark, program) = match flavour {
            Flavour::Slurm => ("#SBATCH", "sbatch"),
            Flavour::Pbs => ("#PBS", "qsub"),
            Flavour::Sge => ("#$", "qsub"),
        };
        let mut line = words(program)?;
        line.extend(directives(&script, mark)?);
        let head = self::call(&line, 0)?;
        take(&head, flavour, &mut asked);
        only_work(&script).unwrap_or_default()
    };
    take(call, flavour, &mut asked);
    let head = unwrap(&command).map_or(0, |found| found.head);
    let mut command = command.get(head..).unwrap_or_default().to_vec();
    // `srun` in a batch script starts the program.
    if let Some(inner) = self::call(&command, 0).filter(|inner| inner.program == "srun").and_then(|inner| inner.command)
    {
        command = command.split_off(inner);
    }
    Some((asked, command))
}

/// Programs beside the work of a batch script that need next to nothing.
const LIGHT: &[&str] = &[
    "cat",
    "conda",
    "cp",
    "date",
    "df",
    "du",
    "exit",
    "head",
    "hostname",
    "id",
    "ls",
    "ml",
    "nvidia-smi",
    "pwd",
    "spack",
    "tail",
    "wc",
    "which",
];

/// Returns the command that a script is about: the only one in it that is work. Of several, nobody learned what they need
/// together.
fn only_work(text: &str) -> Option<Vec<Word>> {
    // What stands in front sets variables.
    let bare = |mut words: Vec<String>| {
        let sets = |word: &&String| word.split_once('=').is_some_and(|(name, _)| !name.starts_with('-'));
        words.drain(..words.iter().take_while(sets).count());
        words
    };
    let is_work = |words: &Vec<String>| {
        let first = words.first().map(String::as_str).unwrap_or_default();
        !(is_small(&[first]) || first.is_empty() || LIGHT.contains(&first))
    };
    let mut work = commands(text).into_iter().map(bare).filter(is_work);
    let only = work.next().filter(|_| work.next().is_none())?;
    let means = |text: &str| if text.contains(['$', '`']) { Means::AnyWords } else { Means::Itself };
    Some(
        only.into_iter()
            .map(|text| Word { span: 0..0, means: means(&text), shape: text.clone(), text, quoted: true })
            .collect(),
    )
}

/// Takes in what options ask for.
fn take(call: &Call<'_>, flavour: Flavour, asked: &mut Asked) {
    // What only the shell knows is said, and nobody knows what: `10$X` is no 10.
    let said = |option: &Opt<'_>| option.value.filter(|_| option.known).unwrap_or_default().to_owned();
    let value = |names: &[&str]| call.option(names).map(said);
    if flavour == Flavour::Slurm {
        asked.memory = value(&["mem", "mem-per-cpu", "mem-per-gpu"]).or(asked.memory.take());
        asked.walltime = value(&["time", "time-min"]).or(asked.walltime.take());
        asked.partition = value(&["partition"]).or(asked.partition.take());
        // What was learned is of one process: for many of them on a node it would be too little.
        let many = ["ntasks", "ntasks-per-node", "ntasks-per-core", "ntasks-per-gpu", "nodes", "exclusive"];
        let is_one = |option: &Opt<'_>| option.known && option.value == Some("1") && option.name != "exclusive";
        if call.options.iter().any(|option| many.contains(&option.name) && !is_one(option)) {
            asked.memory.get_or_insert_default();
        }
        asked.cores |=
            call.has(&["cpus-per-task", "ntasks", "nodes", "cpus-per-gpu", "exclusive", "ntasks-per-node", "mincpus"]);
        asked.gpus |= call.has(&["gpus", "gres", "gpus-per-node", "gpus-per-task"]);
        return;
    }
    asked.partition = value(&["q"]).or(asked.partition.take());
    asked.cores |= call.has(&["pe"]);
    for option in call.options.iter().filter(|option| option.name == "l") {
        let mut list = option.value.unwrap_or_default();
        if !option.known {
            // What comes from the first expansion on may ask for anything, and ends what stands before it.
            list = list.rsplit_once(',').map_or("", |(before, _)| before);
            asked.memory.get_or_insert_default();
            asked.walltime.get_or_insert_default();
            (asked.cores, asked.chunks) = (true, true);
        }
        for pair in list.split([',', ':']) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "mem" | "pmem" | "vmem" | "pvmem" | "h_vmem" | "mem_free" | "virtual_free" | "s_vmem" | "h_rss" => {
                    asked.memory = Some(value.to_owned());
                }
                "walltime" | "h_rt" | "s_rt" => {
                    asked.walltime = list
                        .split_once(&format!("{key}="))
                        .map(|(_, rest)| rest.split(',').next().unwrap_or_default().to_owned());
                }
                "ncpus" | "ppn" => asked.cores = true,
                "select" | "nodes" => (asked.cores, asked.chunks) = (true, true),
                "place" => asked.chunks = true,
                "ngpus" | "gpu" | "gpus" => asked.gpus = true,
                _ => {}
            }
        }
    }
}

/// Returns the partition that a submission goes to.
fn partition<'h>(host: &'h HostFacts, named: Option<&str>) -> Option<&'h PartitionFacts> {
    match named {
        Some(name) => host.partitions.iter().find(|partition| partition.name == name),
        None => host.partitions.iter().find(|partition| partition.is_default),
    }
}

/// Says what the batch system would refuse, or never start.
fn too_much(asked: &Asked, host: &HostFacts, partition: Option<&PartitionFacts>, flavour: Flavour) -> Option<String> {
    let name = &host.name;
    let Some(partition) = partition else {
        let wanted = asked.partition.as_ref().filter(|_| !host.partitions.is_empty())?;
        let simple = !wanted.contains([',', '@', '*']) && !wanted.is_empty();
        let all: Vec<&str> = host.partitions.iter().map(|partition| partition.name.as_str()).collect();
        return simple.then(|| format!("{name} has no partition `{wanted}`; it has {}.", all.join(", ")));
    };
    let time = asked.walltime_in(flavour).zip(partition.walltime_max);
    if let Some((asked, most)) = time.filter(|(asked, most)| asked > most) {
        return Some(format!("Partition {} of {name} allows {most}, and {asked} is asked for.", partition.name));
    }
    let memory = asked.memory_in(flavour).zip(partition.memory);
    if let Some((asked, most)) = memory.filter(|(asked, most)| asked > most) {
        return Some(format!(
            "The largest node of partition {} of {name} has {most} of memory, and {asked} is asked for.",
            partition.name
        ));
    }
    None
}

/// Returns the partition to ask for, where none is named: the site has no default, or its default does not do.
fn choose<'h>(
    asked: &Asked,
    host: &'h HostFacts,
    partition: Option<&PartitionFacts>,
    learned: &Learned,
    flavour: Flavour,
) -> Option<&'h PartitionFacts> {
    if asked.partition.is_some() || host.partitions.is_empty() {
        return None;
    }
    let time = match &asked.walltime {
        // What is not understood may be too long for any.
        Some(_) => Some(asked.walltime_in(flavour)?),
        None => learned.walltime,
    };
    let memory = asked.memory_in(flavour).or(learned.memory);
    let does = |partition: &&PartitionFacts| {
        partition.is_up
            && time.zip(partition.walltime_max).is_none_or(|(time, most)| time <= most)
            && memory.zip(partition.memory).is_none_or(|(memory, most)| memory <= most)
            && (!asked.gpus || partition.gpus)
    };
    if partition.as_ref().is_some_and(does) {
        return None;
    }
    // The one with the shortest limit starts soonest, as a rule; nobody takes GPUs that he has no use for.
    let rank = |partition: &&PartitionFacts| {
        (partition.gpus && !asked.gpus, partition.walltime_max.map_or(u64::MAX, |time| time.0))
    };
    host.partitions.iter().filter(does).min_by_key(rank)
}

/// Returns the options that a submission lacks.
fn lacking(
    asked: &Asked,
    learned: &Learned,
    chosen: Option<&PartitionFacts>,
    flavour: Flavour,
    host: &HostFacts,
) -> Vec<String> {
    let memory = learned.memory.filter(|_| asked.memory.is_none()).map(|memory| memory.0.div_ceil(1 << 20));
    let time = learned.walltime.filter(|_| asked.walltime.is_none()).map(clock);
    let cores = learned.cores.filter(|cores| *cores > 1 && !asked.cores);
    let mut with = Vec::new();
    match flavour {
        Flavour::Slurm => {
            with.extend(chosen.map(|partition| format!("--partition={}", partition.name)));
            with.extend(cores.map(|cores| format!("--cpus-per-task={cores}")));
            with.extend(memory.map(|mib| format!("--mem={mib}M")));
            with.extend(time.map(|time| format!("--time={time}")));
        }
        Flavour::Pbs => {
            with.extend(chosen.into_iter().flat_map(|partition| ["-q".to_owned(), partition.name.clone()]));
            let mut add = |text: String| with.extend(["-l".to_owned(), text]);
            if let Some(time) = time {
                add(format!("walltime={time}"));
            }
            let cores = cores.filter(|_| !asked.chunks);
            if let Some(cores) = cores {
                add(format!("ncpus={cores}"));
            }
            let memory = memory.filter(|_| !asked.chunks && !asked.cores);
            if let Some(mib) = memory {
                add(format!("mem={mib}mb"));
            }
        }
        Flavour::Sge => {
            with.extend(chosen.into_iter().flat_map(|partition| ["-q".to_owned(), partition.name.clone()]));
            let environment = cores.zip(host.one_node_environment.as_ref());
            with.extend(
                environment.into_iter().flat_map(|(cores, name)| ["-pe".to_owned(), name.clone(), cores.to_string()]),
            );
            let slots = environment.map_or(1, |(cores, _)| u64::from(cores));
            let mut add = |text: String| with.extend(["-l".to_owned(), text]);
            if let Some(time) = time {
                add(format!("h_rt={time}"));
            }
            if let Some(mib) = memory.filter(|_| !asked.cores) {
                let (name, each) = match &host.memory_resource {
                    Some(known) if known.per != PerWhat::Slot => (known.name.as_str(), mib),
                    Some(known) => (known.name.as_str(), mib.div_ceil(slots)),
                    None => ("h_vmem", mib.div_ceil(slots)),
                };
                add(format!("{name}={each}M"));
            }
        }
    }
    with
}

/// Prints a walltime as batch systems read it.
fn clock(time: Walltime) -> String {
    format!("{:02}:{:02}:{:02}", time.0 / 3600, time.0 / 60 % 60, time.0 % 60)
}
