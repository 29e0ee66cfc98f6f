//! What was imported runs as it was written: through import, reading, expansion and rendering.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::language::import::{Format, Import, Options, import};
use crate::language::manifest::{self, Facts, Limits};
use crate::model::diagnostic::Severity;
use crate::model::id::InstanceId;
use crate::model::job::Invocation;
use crate::model::plan::Plan;
use crate::model::resources::{Grant, Hold};
use crate::model::units::Bytes;

const GRANT: Grant = Grant { cpus: 3, mem: Bytes::gib(1), hold: Hold::Nothing, time: None, gpus: 0 };

/// What directives are made of.
const OPTIONS: [&str; 52] = [
    "\n",
    "\n",
    "\n",
    "\ntrue\n",
    " ",
    "=",
    "1",
    "4G",
    "1:00:00",
    "gpu:2",
    "1-3",
    "--mem",
    "--mem-per-cpu",
    "--time",
    "-t ",
    "-c ",
    "-n ",
    "-N ",
    "--gres=",
    "--array=",
    "-a ",
    "--signal=B:",
    "USR1@60",
    "--export=A=1,",
    "-J ",
    "-D ",
    "-i ",
    "--exclusive",
    "--ntasks-per-node=",
    "-l ",
    "select=2:ncpus=4",
    ":mem=",
    "nodes=2:ppn=4",
    "walltime=",
    "mem=",
    "vmem=",
    "pmem=",
    "-J ",
    "-v X=",
    "-W depend=afterok:1",
    "-q ",
    "-pe smp ",
    "-pe mpi ",
    "h_vmem=",
    "h_rt=",
    "-tc ",
    "-cwd",
    "-S /bin/",
    "-hold_jid ",
    "-V",
    "'",
    "\"",
];

fn plan(text: &str, format: Format) -> Plan {
    let part = Import { text, name: "imported", format: Some(format) };
    let imported = import(&[part], &Options::default()).unwrap();
    let (workflow, diagnostics) = manifest::read(&imported.workflow);
    let errors: Vec<_> = diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?} in\n{}", imported.workflow);
    let params = BTreeMap::new();
    let facts = Facts::default();
    assert!(manifest::wants(&workflow, "/root", &params, &facts).unwrap().is_empty());
    manifest::expand(&workflow, "/root", &params, &facts, Limits::default()).unwrap().plan
}

fn invocations(plan: &Plan) -> Vec<Invocation> {
    plan.instance_ids().map(|instance| manifest::render(plan, instance, &GRANT, 1).invocation).collect()
}

fn bash(line: &str) -> Invocation {
    Invocation::Argv(vec!["bash".to_owned(), "-c".to_owned(), line.to_owned()])
}

fn assert_commands(lines: &[&str]) {
    let text = lines.join("\n");
    let expected: Vec<Invocation> = lines.iter().map(|line| bash(line)).collect();
    assert_eq!(invocations(&plan(&text, Format::Commands)), expected);
}

#[test]
fn commands_that_look_like_placeholders() {
    assert_commands(&[
        "echo {cpus} {{cpus}} ${cpus} ${{ x }} {item} {item.stem} {params.x} {a,b} {1..3}",
        "awk '{print $1}' \"file name\" | sed 's/}}/{{/' > 'out put' 2>&1",
        "awk '{if (x) {print}}' {inputs[0]}",
        r"find . -name \*.txt -exec grep -l '{x}' {} \;",
        "echo \"a\\\"b\" 'c' $(date +%s) `id` \\{x} \\\\{x}",
        "printf '%s\\n' '''triple''' \"\"\"more\"\"\"",
        "echo tab\there \u{1b}[1m ünï 花 \u{7f}",
        "ls -d /tmp; case \"x\" in x) echo A;; esac",
    ]);
}

#[test]
fn scripts_run_as_they_stand() {
    let body = "# a {comment}\nx=${y:-{cpus}}\ncat <<'EOF'\n{item} {{x}} }}\nEOF\nawk '{if (x) {print}}'\n";
    let plan = plan(&format!("#!/bin/bash\n#SBATCH -c 2\n{body}"), Format::Slurm);
    assert_eq!(invocations(&plan), [Invocation::Script(format!("set +euo pipefail\n{body}"))]);
}

#[test]
fn array_members_know_which_they_are() {
    let plan = plan("#PBS -J 1-5:2%2\n#PBS -l select=1:ncpus=4\necho $PBS_ARRAY_INDEX\n", Format::Pbs);
    let rendered: Vec<_> =
        plan.instance_ids().map(|instance| manifest::render(&plan, instance, &GRANT, 1).env).collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let of = |index: &str| vec![pair("OMP_NUM_THREADS", "3"), pair("PBS_ARRAY_INDEX", index)];
    assert_eq!(rendered, [of("1"), of("3"), of("5")]);
    assert_eq!(plan.tasks[0].settings.max_parallel, Some(2));
}

/// Returns whether an instance runs only after another: by files, by `needs`, or by both in turn.
fn comes_after(plan: &Plan, first: InstanceId, then: InstanceId) -> bool {
    let mut open = vec![first];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(instance) = open.pop() {
        if instance == then {
            return true;
        }
        if !seen.insert(instance) {
            continue;
        }
        open.extend(plan.dependents(instance));
        let task = plan.instance(instance).task;
        open.extend(plan.instance_ids().filter(|&other| plan.task_of(other).needs.contains(&task)));
    }
    false
}

/// Writes a recording: per task its kind, its parents and the tasks whose outputs it reads, all earlier ones.
fn recording(tasks: &[(usize, Vec<usize>, Vec<usize>)]) -> String {
    let names = |list: &[usize], prefix: &str| list.iter().map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let task = |(index, (kind, parents, reads)): (usize, &(usize, Vec<usize>, Vec<usize>))| {
        let id = |n: usize| format!("{}_ID{n:03}", ["map", "reduce", "sort"][tasks[n].0]);
        let mut inputs = names(reads, "out/");
        inputs.push(format!("given {kind}"));
        let parents: Vec<String> = parents.iter().map(|&parent| id(parent)).collect();
        serde_json::json!({
            "name": id(index), "id": id(index), "parents": parents,
            "inputFiles": inputs, "outputFiles": [format!("out/{index}")],
        })
    };
    let tasks: Vec<_> = tasks.iter().enumerate().map(task).collect();
    serde_json::json!({ "schemaVersion": "1.5", "workflow": { "specification": { "tasks": tasks } } }).to_string()
}

proptest! {
    #[test]
    fn replays_keep_the_order_of_the_recording(
        tasks in prop::collection::vec((0usize..3, prop::collection::vec(0usize..12, 0..3), prop::collection::vec(0usize..12, 0..3)), 1..12),
    ) {
        let mut tasks = tasks;
        for (index, (_, parents, reads)) in tasks.iter_mut().enumerate() {
            for list in [parents, reads] {
                list.retain(|&earlier| earlier < index);
                list.sort_unstable();
                list.dedup();
            }
        }
        let plan = plan(&recording(&tasks), Format::WfFormat);
        prop_assert_eq!(plan.instances.len(), tasks.len() + 1);
        let maker = |n: usize| plan.instance_ids().find(|&instance| {
            plan.outputs(instance).iter().any(|&path| plan.path(path) == format!("files/out_{n}"))
        });
        for (index, (_, parents, reads)) in tasks.iter().enumerate() {
            for &earlier in parents.iter().chain(reads) {
                let (first, then) = (maker(earlier).unwrap(), maker(index).unwrap());
                prop_assert!(comes_after(&plan, first, then), "{earlier} -> {index}");
            }
        }
    }

    #[test]
    fn any_command_line_runs_as_it_was_written(
        lines in prop::collection::vec(prop_oneof!["[a-z{}$\\\\'\"#. \\[\\]0-9_-]{1,40}", "[^\\r\\n\\x00\u{feff}]{1,30}"], 1..5),
    ) {
        let mut lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        // What is no command, and what belongs to the next line, is another test's matter.
        lines.retain(|line| !line.is_empty() && !line.starts_with('#') && !line.ends_with('\\'));
        lines.sort_unstable();
        lines.dedup();
        lines.retain(|line| !["}", "do", "fi"].iter().any(|word| line.split(|c: char| c.is_whitespace() || c == ';').next() == Some(word)));
        prop_assume!(!lines.is_empty());
        assert_commands(&lines);
    }

    #[test]
    fn any_script_runs_as_it_was_written(body in prop_oneof!["[a-z{}$\\\\'\"#. \n\\[\\]0-9_-]{0,80}", "[^\\r\\x00]{0,60}"]) {
        let plan = plan(&format!("#SBATCH -n 1\ntrue\n{body}"), Format::Slurm);
        prop_assert_eq!(invocations(&plan), [Invocation::Script(format!("set +euo pipefail\ntrue\n{body}"))]);
    }

    #[test]
    fn whatever_is_imported_is_a_workflow(
        words in prop::collection::vec(
            prop_oneof![
                prop::sample::select(OPTIONS.to_vec()).prop_map(str::to_owned),
                "[ =,:%@x+-]{0,3}[0-9a-zA-Z]{0,4}[ =,:%]?",
                "\\PC{0,4}",
            ],
            0..24,
        ),
        choice in 0usize..5,
    ) {
        let formats = [Format::Slurm, Format::Pbs, Format::Sge, Format::Commands, Format::WfFormat];
        let prefix = ["\n#SBATCH ", "\n#PBS ", "\n#$ ", "\n", "{\""][choice];
        let text = format!("{}\n", words.concat()).replace('\n', prefix);
        let part = Import { text: &text, name: "x", format: formats.get(choice).copied() };
        if let Ok(imported) = import(&[part], &Options::default()) {
            let (_, diagnostics) = manifest::read(&imported.workflow);
            let error = diagnostics.iter().find(|found| found.severity == Severity::Error);
            prop_assert!(error.is_none(), "{:?} in\n{}", error, imported.workflow);
        }
    }
}
