//! A batch script that runs as it is on a host: its directives become what the task asks for, its text is the command.

use crate::language::import::Format;
use crate::language::import::batch::{AsItIs, read_for};
use crate::language::import::draft::Draft;
use crate::model::batch::Flavour;
use crate::model::diagnostic::Diagnostic;
use crate::model::units::{Bytes, Walltime};

/// Where a script runs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The hosts, first preference first.
    pub on: &'a [String],
    /// The batch system of all of them; none where they have none, or different ones.
    pub flavour: Option<Flavour>,
    /// The script's path, from the directory that it runs in.
    pub path: &'a str,
}

/// What a person asks for beside the script; it counts more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// The run's name.
    pub name: Option<String>,
    /// Cores per process.
    pub cpus: Option<u32>,
    /// Memory.
    pub mem: Option<Bytes>,
    /// Walltime.
    pub time: Option<Walltime>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Nodes.
    pub nodes: Option<u32>,
    /// Processes.
    pub processes: Option<u32>,
    /// Partition.
    pub partition: Option<String>,
    /// Account.
    pub account: Option<String>,
    /// Quality of service.
    pub qos: Option<String>,
    /// Attempts after the first.
    pub retries: Option<u32>,
}

/// A script, ready to run.
#[derive(Clone, Debug)]
pub struct Script {
    /// The workflow of it.
    pub workflow: String,
    /// What does not mean there what it means to its own batch system.
    pub notes: Vec<Diagnostic>,
}

impl Format {
    /// Returns the batch system that scripts of this format are for.
    pub const fn flavour(self) -> Option<Flavour> {
        match self {
            Self::Slurm => Some(Flavour::Slurm),
            Self::Pbs => Some(Flavour::Pbs),
            Self::Sge => Some(Flavour::Sge),
            Self::Commands | Self::WfFormat => None,
        }
    }
}

/// Makes a workflow that runs a script as it is.
///
/// # Errors
/// When there is no command in it.
pub fn script(
    text: &str,
    format: Format,
    stem: &str,
    place: Place<'_>,
    asked: &Asked,
) -> Result<Script, Vec<Diagnostic>> {
    let native = place.flavour.is_some() && place.flavour == format.flavour();
    let (mut task, notes) = read_for(text, format, stem, Some(AsItIs { path: place.path, native }))?;
    task.on = place.on.to_vec();
    task.always = true;
    task.retries = asked.retries;
    let Asked { cpus, mem, time, gpus, nodes, processes, .. } = *asked;
    let resources = &mut task.resources;
    resources.cpus = cpus.or(resources.cpus);
    resources.mem = mem.or(resources.mem);
    resources.time = time.or(resources.time);
    resources.gpus = gpus.or(resources.gpus);
    resources.nodes = nodes.or(resources.nodes);
    resources.processes = processes.or(resources.processes);
    for (key, value) in [("partition", &asked.partition), ("account", &asked.account), ("qos", &asked.qos)] {
        if let Some(value) = value {
            task.batch.retain(|(known, _)| *known != key);
            task.batch.push((key, value.clone()));
        }
    }
    let names_partition = task.batch.iter().any(|(key, _)| *key == "partition");
    if native && format != Format::Sge && !names_partition {
        // Who wrote it for that batch system and named none expects the site's default.
        task.batch.push(("partition", String::new()));
    }
    let name = asked.name.clone().unwrap_or_else(|| task.name.clone());
    Ok(Script { workflow: Draft { name, tasks: vec![task], ..Draft::default() }.print(), notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLURM: &str = "#!/bin/bash -l\n#SBATCH -J fit -c 2 --mem=2G -t 10 --array=0-8:4%2\n#SBATCH --gres=gpu:a100:1\n\
        #SBATCH --exclude=n7 --mail-type=END -o log.%j -p short\ncd $SLURM_SUBMIT_DIR\n\
        srun fit {x} $SLURM_ARRAY_TASK_ID $SLURM_CPUS_PER_TASK $SLURM_JOB_ID\n";

    fn told(text: &str, format: Format, flavour: Option<Flavour>, asked: &Asked) -> String {
        let place = Place { on: &["hpc".to_owned()], flavour, path: "jobs/{fit}.sh" };
        let script = script(text, format, "fit", place, asked).unwrap();
        let notes: Vec<_> = script.notes.iter().map(|note| format!("note: {}\n", note.message)).collect();
        let (workflow, warnings) = crate::language::manifest::read(&script.workflow);
        assert!(warnings.is_empty(), "{warnings:?} {workflow:?}");
        format!("{}---\n{}", script.workflow, notes.concat())
    }

    #[test]
    fn at_home_it_says_what_it_says_and_only_what_csync_changes_is_set() {
        insta::assert_snapshot!(told(SLURM, Format::Slurm, Some(Flavour::Slurm), &Asked::default()), @r#"
        name = "fit"
        schema = 1

        [tasks.fit]
        foreach = { range = [0, 8, 4] }
        max_parallel = 2
        setup = ['export SLURM_SUBMIT_DIR="$PWD"']
        run = "exec /bin/bash -l 'jobs/{{fit}}.sh'"
        resources = { cpus = 2, mem = "2G", time = "10m" }
        on = ["hpc"]
        cache = false
        partition = "short"

        [tasks.fit.env]
        SLURM_ARRAY_TASK_ID = "{item}"

        [tasks.fit.slurm]
        gres = "gpu:a100:1"
        exclude = "n7"
        mail-type = "END"
        ---
        note: csync keeps the output of every attempt itself; files named for it are left out
        "#);
    }

    #[test]
    fn elsewhere_it_is_translated_and_what_cannot_be_said_is_told() {
        let asked = Asked { cpus: Some(4), partition: Some("long".to_owned()), ..Asked::default() };
        insta::assert_snapshot!(told(SLURM, Format::Slurm, Some(Flavour::Sge), &asked), @r#"
        name = "fit"
        schema = 1

        [tasks.fit]
        foreach = { range = [0, 8, 4] }
        max_parallel = 2
        setup = ['export SLURM_SUBMIT_DIR="$PWD"', 'export SLURM_JOB_ID="$CSYNC_JOB"']
        run = "exec /bin/bash -l 'jobs/{{fit}}.sh'"
        resources = { cpus = 4, mem = "2G", time = "10m", gpus = 1 }
        on = ["hpc"]
        cache = false
        partition = "long"

        [tasks.fit.env]
        SLURM_CPUS_PER_TASK = "{cpus}"
        SLURM_ARRAY_TASK_ID = "{item}"
        ---
        note: the partition `short` is that of another site and is left out
        note: csync counts GPUs only; `gpu:a100:1` is Slurm's alone and is left out
        note: `--exclude` is Slurm's alone and is left out
        note: csync keeps the output of every attempt itself; files named for it are left out
        note: the script calls `srun`
        "#);
    }

    #[test]
    fn a_script_at_home_that_names_no_partition_means_its_sites_default() {
        let text = "#!/bin/sh\n#SBATCH -c 2\ntrue\n";
        let long = Asked { partition: Some("long".to_owned()), ..Asked::default() };
        for (flavour, asked, wanted) in [
            (Some(Flavour::Slurm), &Asked::default(), Some("partition = \"\"\n")),
            (Some(Flavour::Slurm), &long, Some("partition = \"long\"\n")),
            (Some(Flavour::Pbs), &Asked::default(), None),
            (None, &Asked::default(), None),
        ] {
            let workflow = told(text, Format::Slurm, flavour, asked);
            let line = workflow.split_inclusive('\n').find(|line| line.starts_with("partition"));
            assert_eq!(line, wanted, "{flavour:?}");
        }
    }

    #[test]
    fn a_grid_engine_script_at_home_asks_for_memory_in_its_sites_way() {
        let text = "#!/usr/bin/env python3\n#$ -cwd -pe smp 4 -l h_vmem=2G,h_rt=3600 -m e\nimport os\n";
        insta::assert_snapshot!(told(text, Format::Sge, Some(Flavour::Sge), &Asked::default()), @r#"
        name = "fit"
        schema = 1

        [tasks.fit]
        run = "exec python3 'jobs/{{fit}}.sh'"
        resources = { cpus = 4, time = "1h" }
        on = ["hpc"]
        cache = false

        [tasks.fit.sge]
        pe = "smp 4"
        l = "h_vmem=2G"
        m = "e"
        ---
        "#);
        assert!(told(text, Format::Sge, None, &Asked::default()).contains("mem = \"8G\""));
    }
}
