//! Commands as they are started, defaults with their origin, and what this machine cannot serve.

use super::*;
use crate::model::id::TaskId;
use crate::model::resources::Amount;
use crate::model::task::RetryOn;

/// Renders the one instance of a task that has these keys.
fn rendered(keys: &str) -> Rendered {
    let expanded = expanded(&format!("[params]\np = \"a b\"\n[tasks.a]\n{keys}"));
    render(&expanded.plan, InstanceId(0), &grant(), 3)
}

fn script(keys: &str) -> String {
    match rendered(keys).invocation {
        Invocation::Script(script) => script,
        Invocation::Argv(words) => panic!("{words:?}"),
    }
}

fn words(keys: &str) -> Vec<String> {
    match rendered(keys).invocation {
        Invocation::Argv(words) => words,
        Invocation::Script(script) => panic!("{script}"),
    }
}

#[test]
fn what_was_granted_is_filled_in() {
    let run = "run = \"x {cpus} {mem_mb} {mem_gb} {mem_bytes} {gpus} {time_s} {attempt} {name}\"";
    assert_eq!(script(run), "x 4 8192 8 8589934592 1 90 3 a");
}

#[test]
fn values_are_quoted_for_their_place() {
    let run = r#"run = '''echo {params.p} '{params.p}' "{params.p}" $(echo {params.p}) # {params.p}'''"#;
    assert_eq!(script(run), "echo 'a b' 'a b' \"a b\" $(echo 'a b') # {params.p}");
    let files =
        "inputs = [\"x y\", \"-n\", \"it's\"]\nrun = '''cat {inputs} '{inputs[2]}' \"{inputs}\" {inputs.name}'''";
    assert_eq!(script(files), r#"cat 'x y' ./-n 'it'\''s' 'it'\''s' "x y ./-n it's" 'x y' ./-n 'it'\''s'"#);
}

#[test]
fn braces_that_stay_are_doubled() {
    assert_eq!(
        script("run = '''echo {{name}} ${HOME} {a,b} {} ${{x}} \\{name}'''"),
        "echo {name} ${HOME} {a,b} {} ${x} \\{name}"
    );
    assert_eq!(script("run = \"docker ps --format '{{{{.Names}}}}'\""), "docker ps --format '{{.Names}}'");
}

#[test]
fn an_element_that_is_a_list_alone_is_as_many_arguments() {
    let keys = "inputs = [\"x y\", \"-n\"]\noutputs = [\"o\"]\nrun = [\"cat\", \"{inputs}\", \"--all={inputs}\", \"{params.p}\", \"{outputs}\"]";
    assert_eq!(words(keys), ["cat", "x y", "./-n", "--all=x y ./-n", "a b", "o"]);
}

#[test]
fn line_ends_of_windows_are_taken_as_line_ends() {
    assert_eq!(script("run = \"\"\"\r\necho {name}\r\ntrue\r\n\"\"\""), "echo a\ntrue\n");
}

#[test]
fn another_directory_makes_paths_absolute() {
    let keys = "workdir = \"sub\"\nstdin = \"in.txt\"\ninputs = [\"a\"]\noutputs = [\"/tmp/o\"]\nrun = \"x {inputs} {outputs} {inputs.dir}\"";
    let rendered = rendered(keys);
    assert_eq!(rendered.workdir, "/lab/flow/sub");
    assert_eq!(rendered.stdin.as_deref(), Some("/lab/flow/in.txt"));
    assert_eq!(rendered.invocation, Invocation::Script("x /lab/flow/a /tmp/o /lab/flow".to_owned()));
}

#[test]
fn what_comes_before_the_command() {
    let script = script(
        "modules = [\"gcc/12\", \"a b\"]\nconda = \"my env\"\nsetup = [\"export N={cpus}\"]\nenv = { T = \"{cpus} {params.p}\" }\nrun = [\"x\", \"y z\"]",
    );
    assert!(script.starts_with("set +u\nif ! type module"), "{script}");
    let (modules, rest) = script.split_once("csync_conda_die() {").unwrap();
    assert!(modules.ends_with("module load gcc/12 'a b'\n"), "{script}");
    assert!(rest.ends_with("\ncsync_conda name 'my env'\nset -u\nexport N=4\nexec x 'y z'\n"), "{script}");
    assert_eq!(
        rendered("env = { T = \"{cpus} {params.p}\" }\nrun = \"x\"").env,
        [("T".to_owned(), "4 a b".to_owned())]
    );
}

#[test]
fn an_environment_of_a_file_is_an_input_of_its_own() {
    let keys = "conda = \"envs/a.yml\"\ninputs = [\"b\"]\noutputs = [\"c\"]\nrun = \"x {inputs}\"";
    let plan = expanded(&format!("[tasks.a]\n{keys}")).plan;
    let paths: Vec<&str> = plan.inputs(InstanceId(0)).iter().map(|path| plan.path(*path)).collect();
    assert_eq!(paths, ["b", "envs/a.yml"]);
    let script = script(keys);
    assert!(script.ends_with("\ncsync_conda file /lab/flow/envs/a.yml\nset -u\nx b"), "{script}");
    let inside = self::script("conda = \"tools\"\ncontainer = \"docker://x\"\nrun = \"y\"");
    assert!(inside.contains("conda activate tools"), "{inside}");
}

const LAYERS: &str = r#"
name = "t"
[defaults]
retries = 2
env = { A = "1", B = "1" }
modules = ["gcc"]
[defaults.resources]
cpus = 2
time = "1h"
[defaults.slurm]
exclusive = true
[tasks.a]
run = "x"
resources = { cpus = 4 }
env = { B = "2" }
modules = []
[tasks.a.retry]
on = ["exit:75"]
[tasks.a.slurm]
"--gres" = "gpu:1"
[tasks.b]
run = "x"
[[tasks.b.resources]]
mem = "1G"
[[tasks.b.resources]]
mem = "2G"
[tasks.c]
run = "x"
resources = { cpus = 4 }
env = { B = "2" }
modules = []
"#;

#[test]
fn a_task_goes_before_defaults_go_before_what_is_built_in() {
    let plan = World::default().expand(LAYERS).unwrap().plan;
    let a = plan.task(TaskId(0));
    assert_eq!((a.retry.max, a.retry.on.as_slice()), (2, [RetryOn::Exit(Some(75))].as_slice()));
    assert_eq!((a.resources[0].cpus, a.resources[0].time), (Amount::Exact(4), Amount::Exact(Walltime(3600))));
    assert_eq!(a.env.keys().collect::<Vec<_>>(), ["A", "B"]);
    assert!(a.modules.is_empty());
    assert_eq!(a.batch.keys().collect::<Vec<_>>(), ["slurm.exclusive", "slurm.gres"]);
    let b = plan.task(TaskId(1));
    let mem: Vec<_> = b.resources.iter().map(|request| (request.cpus, request.mem)).collect();
    assert_eq!(mem, [1, 2].map(|gib| (Amount::Exact(2), Amount::Exact(Bytes::gib(gib)))));
    assert_eq!(b.modules, ["gcc"]);
}

#[test]
fn every_value_knows_who_said_it() {
    let (workflow, _) = read(LAYERS);
    let shown = |task: &str| -> Vec<String> {
        let all = explain(&workflow, task).unwrap();
        let said = all.iter().map(|effective| {
            let origin = match effective.origin {
                Origin::BuiltIn => "built-in".to_owned(),
                Origin::Defaults(span) => format!("defaults {}", &LAYERS[span.range()]),
                Origin::Task(span) => format!("task {}", &LAYERS[span.range()]),
            };
            format!("{} = {} ({origin})", effective.key, effective.value)
        });
        said.collect()
    };
    let a = shown("a");
    for line in [
        "resources.cpus = 4 (task cpus)",
        "resources.mem = \"auto\" (built-in)",
        "resources.time = \"1h\" (defaults time)",
        "retry.max = 2 (defaults retries)",
        "retry.on = [\"exit:75\"] (task on)",
        "retry.mem = 2 (built-in)",
        "env.A = \"1\" (defaults A)",
        "env.B = \"2\" (task B)",
        "slurm.exclusive = \"true\" (defaults exclusive)",
        "slurm.gres = \"gpu:1\" (task \"--gres\")",
        "cache = true (built-in)",
        "on = \"any\" (built-in)",
    ] {
        assert!(a.iter().any(|shown| shown == line), "{line} is not in {a:#?}");
    }
    assert!(shown("b").contains(&"resources.mem = \"1G\" or \"2G\" (task mem)".to_owned()));
    // Tasks that say the same share their settings, and each says it itself.
    let c = workflow.task_names().position(|name| name == "c").unwrap();
    let place =
        explain(&workflow, "c").unwrap().into_iter().find(|value| value.key == "resources.cpus").unwrap().origin;
    let Origin::Task(span) = place else { panic!("{place:?}") };
    assert!(span.start as usize >= LAYERS.find("[tasks.c]").unwrap(), "{c} {span:?}");
    assert_eq!(explain(&workflow, "d"), None);
}

#[test]
fn what_this_machine_cannot_serve_is_named_with_its_place() {
    let text = r#"
name = "t"
[data.fastq]
at = ["nas:/vol1/fastq"]
[defaults]
on = ["hpc", "local"]
[tasks.a]
run = "x"
container = "docker://STAR"
binds = ["/a:b"]
[tasks.b]
run = "x"
on = "cluster"
[tasks.c]
run = "x"
inputs = ["data:fastq/x", "nas:/vol1/y"]
[tasks.d]
run = "x"
on = "near:inputs"
account = "lab"
[tasks.e]
run = "x"
foreach = "nas:/vol1/*.gz"
[tasks.f]
run = "x"
on = ["hcp", "local"]
[tasks.g]
run = "x"
on = "hpc"
outputs = ["../x"]
[tasks.h]
run = "x"
container = "docker://x"
conda = "env.yml"
[tasks.i]
run = "x"
container = "docker://x"
outputs = ["y", "../z"]
"#;
    let (workflow, mistakes) = read(text);
    assert_eq!(mistakes, []);
    let expanded = expand(&workflow, ROOT, &BTreeMap::new(), &Facts::default(), Limits::default()).unwrap();
    let external: Vec<&str> = expanded.external.iter().map(|path| expanded.plan.path(*path)).collect();
    assert_eq!(external, [".csync/data/fastq/x"], "it has to be there");
    let known = |entry: &str| match entry {
        "hpc" => Known::There,
        _ if is_here(entry) => Known::Here,
        _ => Known::Nowhere,
    };
    let found: Vec<_> = elsewhere(&workflow, &expanded.plan, &known, &["hpc"]);
    let lines: Vec<String> = found.iter().map(|(task, mistake)| format!("{task} {}", line(text, mistake))).collect();
    assert_eq!(
        lines,
        [
            "0 task `a` runs in the container `docker://STAR`: `STAR` cannot be the name of an image: the parts of a name have small letters, digits, `_`, `.` and `-` @ container ? an image in a registry is written as `docker://python:3.12-slim`, one in a file as `tools.sif`",
            "0 task `a`: `/a:b` has to name its place inside by an absolute path @ binds ? what a task reads and writes is bound without a word",
            "1 task `b` runs on `cluster`, and there is no such host or tag @ on ? `csync hosts list` shows the hosts, `csync hosts import` takes them from ssh's configuration",
            "2 task `c` names `nas:/vol1/y`, and files of other machines are known as datasets alone @ \"nas:/vol1/y\" ? `csync data add NAME HOST:/DIRECTORY` names one; then write `data:NAME/FILE`",
            "4 task `e` goes over `nas:/vol1/*.gz`, and files of other machines are known as datasets alone @ \"nas:/vol1/*.gz\" ? `csync data add NAME HOST:/DIRECTORY` names one; then write `data:NAME/*`",
            "5 task `f` runs on `hcp`, and there is no such host or tag @ on ? did you mean `hpc`?",
            "6 task `g` names `../x`, which csync does not bring to other hosts: it is outside the workflow's directory @ \"../x\" ? copy it, or link to it, below the workflow's directory and write that name",
            "7 task `h` runs in a container, where no environment is made of `env.yml` @ conda ? leave out `container` or `conda`; an environment that the image has is named by its name",
            "8 task `i` makes `../z` in a container, to which all around the workflow's directory would be open for that @ \"../z\" ? write below the workflow's directory, or name the place by its absolute path",
            "8 task `i` names `../z`, which csync does not bring to other hosts: it is outside the workflow's directory @ \"../z\" ? copy it, or link to it, below the workflow's directory and write that name",
        ]
    );
}

#[test]
fn the_definition_follows_what_is_computed_and_nothing_else() {
    let definition =
        |keys: &str| expanded(&format!("[params]\nx = 1\n[tasks.a]\n{keys}")).plan.task(TaskId(0)).definition;
    let base = definition("run = \"a {params.x} {cpus}\"");
    for same in [
        "resources = { cpus = 4 }",
        "retries = 3",
        "priority = 2",
        "tags = [\"x\"]",
        "account = \"x\"",
        "max_parallel = 1",
    ] {
        assert_eq!(definition(&format!("run = \"a {{params.x}} {{cpus}}\"\n{same}")), base, "{same}");
    }
    assert_eq!(definition("run = \"a 1 {cpus}\""), base, "a param is the value that it has");
    for other in [
        "run = \"b {params.x} {cpus}\"",
        "run = [\"a\", \"{params.x}\", \"{cpus}\"]",
        "run = \"a {params.x} {cpus}\"\nenv = { A = 1 }",
        "run = \"a {params.x} {cpus}\"\nworkdir = \"x\"",
        "run = \"a {params.x} {cpus}\"\nconda = \"x\"",
        "run = \"a {params.x} {cpus}\"\nsecrets = [\"X\"]",
        "run = \"a {params.x} {cpus}\"\nsetup = [\"x\"]",
    ] {
        assert_ne!(definition(other), base, "{other}");
    }
}
