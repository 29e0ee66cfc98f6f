//! Every key of the format, once: the checker matches on these, the JSON Schema lists them, and an unknown key is compared
//! with them and with the words of other tools.

use crate::language::document::{keys, nearest};

keys! {
    /// The file itself.
    RootKey {
        Name = "name": "The workflow's name: letters, digits, `_`, `-` and `.`.",
        Schema = "schema": "Version of this format: 1.",
        Description = "description": "What the workflow is for.",
        Params = "params": "Values that `csync submit -p key=value` overrides; `{params.key}` in the tasks.",
        Data = "data": "Named datasets and where their copies lie; `data:NAME/sub` in the tasks.",
        Defaults = "defaults": "Values for every task that does not say its own.",
        Workflow = "workflow": "Settings of the workflow as a whole.",
        Tasks = "tasks": "The tasks, by name.",
    }
}

keys! {
    /// `[workflow]`.
    WorkflowKey {
        MaxFailures = "max_failures": "Start nothing more once so many instances have failed.",
        Policy = "policy": "What counts where csync chooses among the hosts of `on`: `fastest`, `locality`, `cheapest` or `spread`.",
    }
}

keys! {
    /// `[data.NAME]`.
    DataKey {
        At = "at": "Every place that holds a copy: `host:/path`.",
    }
}

keys! {
    /// What a task alone can say.
    TaskKey {
        Run = "run": "The command. A string is a bash script in strict mode; an array is an argument list that no shell reads.",
        Description = "description": "What the task does.",
        Inputs = "inputs": "Files that the command reads, relative to the workflow's directory; globs are allowed.",
        Outputs = "outputs": "Files that the command makes. It has succeeded only when all of them exist.",
        Needs = "needs": "Tasks that must be over first. Also inferred where an input matches another task's output.",
        Foreach = "foreach": "One instance per element: a glob, a list, `{csv = \"file\"}`, `{tsv = \"file\"}`, `{lines = \"file\"}` or `{range = [first, last]}`; `{item}` in the task.",
        Matrix = "matrix": "One instance per combination of values; `{matrix.key}` in the task.",
        Include = "include": "Combinations to add to the matrix, or values to add to those that match.",
        Exclude = "exclude": "Combinations to leave out of the matrix.",
        When = "when": "Condition over `params`, `item` and `matrix`; instances for which it is false are skipped.",
    }
}

keys! {
    /// What a task says or `[defaults]` says for it.
    SettingKey {
        Resources = "resources": "What an instance needs; an array of tables gives alternatives, first preference first.",
        Retries = "retries": "How often a failed instance is tried again.",
        Retry = "retry": "When and how a failed instance is tried again.",
        OnError = "on_error": "What a failed instance does to the rest of the run.",
        Cache = "cache": "Whether an instance that is up to date is left alone.",
        Env = "env": "Environment variables on top of the submitter's.",
        Workdir = "workdir": "Directory in which the command runs, relative to the workflow's directory.",
        Container = "container": "Container image.",
        Binds = "binds": "Directories that the container sees: `/host/path` or `/host/path:/inside`.",
        Modules = "modules": "Environment modules to load.",
        Conda = "conda": "Conda environment to activate: a name, a directory, or a file such as `environment.yml`, of which one is made once.",
        Setup = "setup": "Shell lines before the command.",
        Stdin = "stdin": "File that the command reads as standard input.",
        Secrets = "secrets": "Names of secrets handed over as environment variables.",
        On = "on": "Where it may run: `any`, a host, a list of hosts and tags in order of preference, `near:inputs` or `near:data:NAME`.",
        Priority = "priority": "Higher runs first.",
        Tags = "tags": "Free words, to select tasks by.",
        MaxParallel = "max_parallel": "Most instances in flight at once.",
        Checkpoint = "checkpoint": "A signal that tells the command, some time before its walltime ends, to save its state.",
        Account = "account": "Account that the batch system charges.",
        Partition = "partition": "Partition (PBS, SGE: queue) of the batch system; `\"\"`: the site's default, wherever it would start sooner.",
        Qos = "qos": "Quality of service of the batch system.",
        Constraint = "constraint": "Node features that the batch system must give.",
        Slurm = "slurm": "Raw flags for Slurm.",
        Pbs = "pbs": "Raw flags for PBS.",
        Sge = "sge": "Raw flags for SGE.",
    }
}

keys! {
    /// `resources`.
    ResourceKey {
        Cpus = "cpus": "Cores per process.",
        Mem = "mem": "Memory of the whole instance: `\"8G\"` is 8 GiB.",
        Time = "time": "Walltime: `\"1h30m\"`, `\"01:30:00\"` or `\"1-12:00:00\"`.",
        Gpus = "gpus": "GPUs.",
        Disk = "disk": "Scratch space: `\"20G\"`.",
        Nodes = "nodes": "Nodes.",
        Processes = "processes": "Ranks; cores are per rank.",
        Internet = "internet": "Whether it reaches for the internet: hosts and partitions are left out that are known to have none.",
    }
}

keys! {
    /// `{min = , max = }`.
    RangeKey {
        Min = "min": "The least that will do.",
        Max = "max": "The most that is of use.",
    }
}

keys! {
    /// `retry`.
    RetryKey {
        Max = "max": "Attempts after the first.",
        On = "on": "Failures that are answered by another attempt: `oom`, `timeout`, `node_fail`, `preempted`, `stage`, `spawn`, `exit:CODE`, or `exit` for any code.",
        Mem = "mem": "Factor on memory after `oom`.",
        Time = "time": "Factor on walltime after `timeout`.",
        Delay = "delay": "Wait before the first retry: `\"30s\"`.",
        Factor = "factor": "Factor on the delay for each further retry.",
        MaxDelay = "max_delay": "Longest wait before a retry: `\"30m\"`.",
    }
}

keys! {
    /// `checkpoint`.
    CheckpointKey {
        Signal = "signal": "Name of the signal: `\"USR1\"`.",
        Before = "before": "How long before the walltime ends: `\"5m\"`.",
    }
}

keys! {
    /// `foreach = { ... }`.
    ForeachKey {
        Csv = "csv": "A file of comma-separated rows with a header; `{item.column}`, and `{item}` for the first column.",
        Tsv = "tsv": "The same, separated by tabs.",
        Lines = "lines": "A file with one element per line.",
        Range = "range": "Whole numbers from the first to the last, both included; a third number is the step.",
    }
}

/// Words of other tools (and near synonyms), and what csync calls them. Keys of `resources` are named by their path.
const SYNONYMS: &[(&str, &str)] = &[
    ("cmd", "run"),
    ("command", "run"),
    ("commands", "run"),
    ("shell", "run"),
    ("script", "run"),
    ("exec", "run"),
    ("args", "run"),
    ("depends", "needs"),
    ("depends_on", "needs"),
    ("deps", "needs"),
    ("dependencies", "needs"),
    ("after", "needs"),
    ("requires", "needs"),
    ("input", "inputs"),
    ("in", "inputs"),
    ("sources", "inputs"),
    ("output", "outputs"),
    ("outs", "outputs"),
    ("out", "outputs"),
    ("products", "outputs"),
    ("targets", "outputs"),
    ("memory", "resources.mem"),
    ("mem_mb", "resources.mem"),
    ("mem_gb", "resources.mem"),
    ("ram", "resources.mem"),
    ("runtime", "resources.time"),
    ("walltime", "resources.time"),
    ("timeout", "resources.time"),
    ("time_limit", "resources.time"),
    ("threads", "resources.cpus"),
    ("cpu", "resources.cpus"),
    ("cores", "resources.cpus"),
    ("procs", "resources.cpus"),
    ("ncpus", "resources.cpus"),
    ("cpus_per_task", "resources.cpus"),
    ("gpu", "resources.gpus"),
    ("gres", "resources.gpus"),
    ("ntasks", "resources.processes"),
    ("tasks", "resources.processes"),
    ("ranks", "resources.processes"),
    ("mpi", "resources.processes"),
    ("online", "resources.internet"),
    ("network", "resources.internet"),
    ("scratch", "resources.disk"),
    ("disk_mb", "resources.disk"),
    ("tmp", "resources.disk"),
    ("image", "container"),
    ("docker", "container"),
    ("singularity", "container"),
    ("apptainer", "container"),
    ("cwd", "workdir"),
    ("dir", "workdir"),
    ("wdir", "workdir"),
    ("directory", "workdir"),
    ("working_directory", "workdir"),
    ("scatter", "foreach"),
    ("iterate_over", "foreach"),
    ("entries", "foreach"),
    ("each", "foreach"),
    ("for_each", "foreach"),
    ("items", "foreach"),
    ("sweep", "matrix"),
    ("strategy", "matrix"),
    ("queue", "partition"),
    ("host", "on"),
    ("hosts", "on"),
    ("target", "on"),
    ("platform", "on"),
    ("runs_on", "on"),
    ("if", "when"),
    ("condition", "when"),
    ("environment", "env"),
    ("envs", "env"),
    ("variables", "env"),
    ("module", "modules"),
    ("envmodules", "modules"),
    ("volumes", "binds"),
    ("mounts", "binds"),
    ("before_script", "setup"),
    ("prologue", "setup"),
    ("max_retries", "retries"),
    ("error_strategy", "on_error"),
    ("continue_on_error", "on_error"),
    ("concurrency", "max_parallel"),
    ("max_forks", "max_parallel"),
    ("labels", "tags"),
    ("project", "account"),
    ("backoff", "factor"),
    ("attempts", "max"),
    ("parameters", "params"),
    ("config", "params"),
    ("vars", "params"),
    ("variables", "params"),
    ("inputs", "params"),
    ("task", "tasks"),
    ("rules", "tasks"),
    ("rule", "tasks"),
    ("jobs", "tasks"),
    ("job", "tasks"),
    ("steps", "tasks"),
    ("stages", "tasks"),
    ("processes", "tasks"),
    ("default", "defaults"),
    ("datasets", "data"),
    ("version", "schema"),
    ("title", "name"),
    ("about", "description"),
    ("desc", "description"),
    ("doc", "description"),
];

/// Returns what to write instead of an unknown key, as a sentence.
pub(super) fn meant(key: &str, known: &[&'static str]) -> Option<String> {
    let folded = key.to_ascii_lowercase().replace('-', "_");
    let by_synonym = SYNONYMS.iter().filter(|(word, _)| *word == folded).map(|(_, path)| *path);
    for path in by_synonym {
        if known.contains(&path) {
            return Some(format!("csync calls it `{path}`"));
        }
        let Some((table, leaf)) = path.split_once('.') else { continue };
        if known.contains(&leaf) {
            return Some(format!("csync calls it `{leaf}`"));
        }
        if known.contains(&table) {
            return Some(format!("csync calls it `{leaf}`, in `{table} = {{ {leaf} = ... }}`"));
        }
    }
    if known.contains(&"resources")
        && let Some(resource) = ResourceKey::find(&folded)
    {
        let text = resource.text();
        return Some(format!("it belongs into `resources = {{ {text} = ... }}`"));
    }
    nearest(key, known.iter().copied()).map(|near| format!("did you mean `{near}`?"))
}
