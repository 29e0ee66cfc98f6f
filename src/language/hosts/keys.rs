//! Every key of `hosts.toml` and of site files, once.

use crate::language::document::{keys, nearest};

keys! {
    /// The file itself.
    RootKey {
        Hosts = "hosts": "The hosts, by name: `[hosts.NAME]`. `local` is this machine and always there.",
        Links = "links": "What is known of ways between hosts that `ssh_config` does not say: `\"a-b\" = { direct = true }`.",
    }
}

keys! {
    /// `[hosts.NAME]`, and with less of it, a site file.
    HostKey {
        Ssh = "ssh": "Its name in `ssh_config`, where address, user, port, keys and jumps come from; its own name when nothing is said.",
        Site = "site": "The site file with defaults and limits that hold for it.",
        Batch = "batch": "Its batch system: `slurm`, `pbs`, `sge`, or `none` for detached processes; probed.",
        Scratch = "scratch": "Where job directories live: `/scratch/$USER/csync`; probed.",
        Tags = "tags": "Words to choose it by: `on = \"tag:gpu\"` in a workflow.",
        Account = "account": "What its jobs are charged to.",
        MaxJobs = "max_jobs": "Most jobs of ours that are queued or running there at once.",
        Rate = "rate": "What a core costs per hour, in whatever you count in: the policy `cheapest` goes by it; a host without one costs nothing then.",
        KeepAbove = "keep_above": "Outputs larger than this stay there until somebody needs them: `\"20G\"`; `\"1G\"` unless set.",
        Containers = "containers": "What runs containers there, the preferred one first: `apptainer`, `singularity`, `docker`, `podman`; probed.",
        Internet = "internet": "Whether the internet can be reached from there; probed.",
        Filesystems = "filesystems": "Directories that it shares with its compute nodes; probed.",
        TransferOnly = "transfer_only": "Whether it only holds data: no job is started there.",
        Simulated = "simulated": "Makes it a cluster that is made up on this machine: for trying workflows out, and for their tests.",
        Policy = "policy": "What csync may do to it.",
        Partitions = "partitions": "Limits of its partitions (queues), by name, over what the batch system says.",
    }
}

keys! {
    /// What a site file says besides.
    SiteKey {
        Description = "description": "Whose site it is, and where its rules are written.",
        Hosts = "hosts": "Patterns of its hosts' addresses: `csync hosts import` suggests the site for those.",
    }
}

keys! {
    /// `internet`.
    InternetKey {
        Login = "login": "From the login node.",
        Compute = "compute": "From compute nodes: seen by the jobs of `csync hosts probe --nodes`.",
    }
}

keys! {
    /// `simulated`.
    SimulatedKey {
        Nodes = "nodes": "Its nodes; 3 unless set.",
        Cores = "cores": "Cores of a node; 4 unless set.",
        Memory = "memory": "Memory of a node; `\"8G\"` unless set.",
        Wait = "wait": "How long a job waits in the queue, even where there is room: `\"2s\"`; not at all unless set.",
        Minute = "minute": "How long a minute of walltime lasts: `\"1s\"`; a minute unless set.",
    }
}

keys! {
    /// `policy`.
    PolicyKey {
        LoginNode = "login_node": "`light`: nothing heavy runs on the login node; or `free`.",
        PollMin = "poll_min": "Shortest time between two queries of the batch system: `\"15s\"`.",
        Agents = "agents": "What coding agents may start there: `ask`, `allow` or `deny`.",
        ConnectionsPerMinute = "connections_per_minute": "Most connections that are opened to it in a minute, by the engine and all commands together.",
        AskInternet = "ask_internet": "Whether csync may ask `https://github.com` from there, to see whether the internet can be reached: with `false` nothing asks, on login and on compute nodes; `true` unless set.",
    }
}

keys! {
    /// `partitions.NAME`.
    PartitionKey {
        Walltime = "walltime": "Longest walltime: `\"2-00:00:00\"`.",
        DefaultWalltime = "default_walltime": "Walltime of a job that asks for none.",
        Nodes = "nodes": "Nodes.",
        Cores = "cores": "Cores of a node.",
        Memory = "memory": "Memory of a node: `\"256G\"`.",
        Gpus = "gpus": "GPUs of a node.",
    }
}

keys! {
    /// A link.
    LinkKey {
        Direct = "direct": "Whether the first host reaches the second itself, with a key that lies there: then files do not pass here.",
        Agent = "agent": "Whether it does so with a key of this machine: an agent that is made for one transfer is forwarded to it, and signs for the second host alone.",
    }
}

/// Words of other tools, and what csync calls them. Keys of a table are named by their path.
const SYNONYMS: &[(&str, &str)] = &[
    ("host", "hosts"),
    ("machines", "hosts"),
    ("clusters", "hosts"),
    ("link", "links"),
    ("alias", "ssh"),
    ("address", "ssh"),
    ("hostname", "ssh"),
    ("host", "ssh"),
    ("user", "ssh"),
    ("username", "ssh"),
    ("port", "ssh"),
    ("key", "ssh"),
    ("identity_file", "ssh"),
    ("proxy_jump", "ssh"),
    ("jump", "ssh"),
    ("scheduler", "batch"),
    ("batch_system", "batch"),
    ("executor", "batch"),
    ("resource_manager", "batch"),
    ("type", "batch"),
    ("profile", "site"),
    ("cluster", "site"),
    ("work_dir", "scratch"),
    ("workdir", "scratch"),
    ("tmp", "scratch"),
    ("remote_dir", "scratch"),
    ("labels", "tags"),
    ("tag", "tags"),
    ("project", "account"),
    ("allocation", "account"),
    ("max_running", "max_jobs"),
    ("job_limit", "max_jobs"),
    ("cost", "rate"),
    ("price", "rate"),
    ("container", "containers"),
    ("network", "internet"),
    ("check_internet", "policy.ask_internet"),
    ("probe_internet", "policy.ask_internet"),
    ("filesystem", "filesystems"),
    ("mounts", "filesystems"),
    ("shared", "filesystems"),
    ("queues", "partitions"),
    ("queue", "partitions"),
    ("partition", "partitions"),
    ("poll", "policy.poll_min"),
    ("poll_interval", "policy.poll_min"),
    ("time", "walltime"),
    ("max_time", "walltime"),
    ("max_walltime", "walltime"),
    ("time_limit", "walltime"),
    ("default_time", "default_walltime"),
    ("cpus", "cores"),
    ("threads", "cores"),
    ("mem", "memory"),
    ("ram", "memory"),
    ("gpu", "gpus"),
    ("gres", "gpus"),
    ("about", "description"),
];

/// Returns what to write instead of an unknown key, as a sentence.
pub(super) fn meant(key: &str, known: &[&'static str]) -> Option<String> {
    let folded = key.to_ascii_lowercase().replace('-', "_");
    for (_, path) in SYNONYMS.iter().filter(|(word, _)| *word == folded) {
        if *path == "ssh" && known.contains(path) && !matches!(folded.as_str(), "alias" | "host") {
            return Some(format!("`{key}` belongs into ~/.ssh/config; `ssh = \"...\"` names the host there"));
        }
        if known.contains(path) {
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
    if known.contains(&"policy")
        && let Some(policy) = PolicyKey::find(&folded)
    {
        let text = policy.text();
        return Some(format!("it belongs into `policy = {{ {text} = ... }}`"));
    }
    if known.contains(&"partitions")
        && let Some(limit) = PartitionKey::find(&folded)
    {
        return Some(format!("it belongs into a partition: `partitions.NAME = {{ {} = ... }}`", limit.text()));
    }
    nearest(key, known.iter().copied()).map(|near| format!("did you mean `{near}`?"))
}

/// Returns every table of the two files with its keys and what they mean, for the documentation.
pub fn reference() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    macro_rules! of {
        ($keys:ident) => {
            $keys::ALL.iter().map(|key| (key.text(), key.about())).collect()
        };
    }
    vec![
        ("hosts.toml", of!(RootKey)),
        ("[hosts.NAME]", of!(HostKey)),
        ("[hosts.NAME.internet]", of!(InternetKey)),
        ("[hosts.NAME.simulated]", of!(SimulatedKey)),
        ("[hosts.NAME.policy]", of!(PolicyKey)),
        ("[hosts.NAME.partitions.PARTITION]", of!(PartitionKey)),
        ("[links]", of!(LinkKey)),
        ("a site file, besides what [hosts.NAME] has", of!(SiteKey)),
    ]
}
