//! Every mistake is named, with its place and what to do.

use super::*;

/// Checks a task's body, or a whole file, against the mistakes that it has.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let text = if text.starts_with("name") { text.to_owned() } else { format!("name = \"t\"\n{text}") };
    assert_eq!(lines(&World::default(), &text), expected, "{text}");
}

/// Checks a task that runs `true` and has these further keys.
#[track_caller]
fn check_task(keys: &str, expected: &str) {
    let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
    check(&format!("[tasks.a]\nrun = \"true\"\n{keys}\n"), expected);
}

#[test]
fn words_of_other_tools_are_understood() {
    for (key, help) in [
        ("cmd = \"x\"", "csync calls it `run`"),
        ("command = \"x\"", "csync calls it `run`"),
        ("shell = \"x\"", "csync calls it `run`"),
        ("script = \"x\"", "csync calls it `run`"),
        ("depends = []", "csync calls it `needs`"),
        ("deps = []", "csync calls it `needs`"),
        ("after = []", "csync calls it `needs`"),
        ("memory = \"1G\"", "csync calls it `mem`, in `resources = { mem = ... }`"),
        ("mem = \"1G\"", "it belongs into `resources = { mem = ... }`"),
        ("runtime = \"1h\"", "csync calls it `time`, in `resources = { time = ... }`"),
        ("walltime = \"1h\"", "csync calls it `time`, in `resources = { time = ... }`"),
        ("threads = 1", "csync calls it `cpus`, in `resources = { cpus = ... }`"),
        ("cpu = 1", "csync calls it `cpus`, in `resources = { cpus = ... }`"),
        ("procs = 1", "csync calls it `cpus`, in `resources = { cpus = ... }`"),
        ("image = \"x\"", "csync calls it `container`"),
        ("cwd = \"x\"", "csync calls it `workdir`"),
        ("dir = \"x\"", "csync calls it `workdir`"),
        ("wdir = \"x\"", "csync calls it `workdir`"),
        ("scatter = []", "csync calls it `foreach`"),
        ("iterate_over = []", "csync calls it `foreach`"),
        ("entries = []", "csync calls it `foreach`"),
        ("queue = \"x\"", "csync calls it `partition`"),
        ("host = \"x\"", "csync calls it `on`"),
        ("target = \"x\"", "csync calls it `on`"),
        ("platform = \"x\"", "csync calls it `on`"),
        ("Input = []", "csync calls it `inputs`"),
        ("runs-on = \"x\"", "csync calls it `on`"),
        ("ouputs = []", "did you mean `outputs`?"),
        ("retrys = 1", "did you mean `retry`?"),
    ] {
        let word = key.split(' ').next().unwrap();
        check_task(key, &format!("unknown key `{word}` in task `a` @ {word} ? {help}"));
    }
    check_task("resources = { threads = 1 }", "unknown key `threads` in `resources` @ threads ? csync calls it `cpus`");
    check_task("resources = { memory = 1 }", "unknown key `memory` in `resources` @ memory ? csync calls it `mem`");
    check("[task.a]\nrun = \"x\"", &["unknown key `task` in a workflow @ task ? csync calls it `tasks`"]);
    check(
        "[tasks.a]\nrun = \"true\"\nzzzzzz = 1",
        &[
            "unknown key `zzzzzz` in task `a` @ zzzzzz ? task `a` takes `run`, `description`, `inputs`, `outputs`, `needs`, `foreach`, `matrix`, `include`, `exclude`, `when`, `resources`, `retries`, `retry`, `on_error`, `cache`, `env`, `workdir`, `container`, `binds`, `modules`, `conda`, `setup`, `stdin`, `secrets`, `on`, `priority`, `tags`, `max_parallel`, `checkpoint`, `account`, `partition`, `qos`, `constraint`, `slurm`, `pbs`, `sge`",
        ],
    );
}

#[test]
fn several_mistakes_are_told_at_once() {
    check(
        r#"
[tasks.a]
cmd = "x"
run = "echo {imput} {cpus}"
resources = { cpus = 0, mem = 8, time = "1x" }
retries = -1
needs = ["c"]
[tasks.b]
run = 1
inputs = "x"
"#,
        &[
            "unknown key `cmd` in task `a` @ cmd ? csync calls it `run`",
            "unknown placeholder `{imput}` @ {imput} ? did you mean `{inputs}`? Braces that stay are doubled: `{{imput}}`",
            "`cpus` is at least 1 @ 0",
            "`mem` is a text with a unit, not an integer @ 8 ? say the unit: `\"8M\"` or `\"8G\"`",
            "`1x` is not a length of time @ \"1x\" ? write \"90s\", \"1h30m\", \"01:30:00\" or \"1-12:00:00\"",
            "`retries` is at least 0 @ -1",
            "there is no task `c` @ \"c\" ? the tasks are `a`, `b`",
            "`run` is a string (bash) or an array of strings (no shell), not an integer @ 1",
            "`inputs` is an array of strings, not a string @ \"x\" ? write `inputs = [\"x\"]`",
        ],
    );
}

#[test]
fn the_file_as_a_whole() {
    for (text, expected) in [
        (
            "name = \"\"\n[tasks.a]\nrun = \"x\"",
            "this is not a name for a workflow @ \"\" ? letters, digits, `_`, `-`, `.` and blanks, at most 200",
        ),
        ("name = 1\n[tasks.a]\nrun = \"x\"", "`name` is a string, not an integer @ 1"),
        (
            "name = \"t\"\nschema = 2\n[tasks.a]\nrun = \"x\"",
            "the file is of version 2 of the format, this csync reads version 1 @ 2 ? install a newer csync",
        ),
        ("name = \"t\"", "the workflow has no tasks ? add one: `[tasks.hello]` and under it `run = \"echo hello\"`"),
        (
            "name = \"t\"\n[tasks]",
            "the workflow has no tasks @ [tasks] ? add a task: `[tasks.hello]` and under it `run = \"echo hello\"`",
        ),
        (
            "name = \"t\"\ntasks = []",
            "`tasks` is a table of tasks, not an array @ [] ? write each task as `[tasks.NAME]`",
        ),
        (
            "name = \"t\"\n[tasks]\na = \"x\"",
            "`tasks.a` is a table, not a string @ \"x\" ? write `[tasks.a]` and its keys below",
        ),
        (
            "name = \"t\"\n[tasks.a]",
            "task `a` has no `run` @ a ? add `run = \"...\"`; for a task that only gathers others, `run = \"true\"`",
        ),
        (
            "name = \"t\"\n[params]\nx = []\n[tasks.a]\nrun = \"x\"",
            "`x` is a string, a number or a boolean, not an array @ []",
        ),
        (
            "name = \"t\"\n[params]\nx = 2020-01-01\n[tasks.a]\nrun = \"x\"",
            "`x` is a string, a number or a boolean, not a date @ 2020-01-01 ? a date is a text here: put it in quotes",
        ),
        (
            "name = \"t\"\n[params]\n\"a b\" = 1\n[tasks.a]\nrun = \"x\"",
            "`a b` is no name for a param: it has ` ` @ \"a b\" ? a letter or `_`, then letters, digits, `_` and `-` (A-Z, a-z, 0-9)",
        ),
        (
            "name = \"t\"\n[params]\nx = \"{params.y}\"\n[tasks.a]\nrun = \"x\"",
            "placeholders are not filled in inside `[params]` @ \"{params.y}\"",
        ),
        (
            "name = \"t\"\n[data.x]\n[tasks.a]\nrun = \"x\"",
            "`data.x` does not say where it is @ x ? add `at = [\"host:/path\"]`",
        ),
        (
            "name = \"t\"\n[data.x]\nat = [\"y\"]\n[tasks.a]\nrun = \"x\"",
            "`y` is not a place on a host @ \"y\" ? write `host:/absolute/path`",
        ),
        ("name = \"t\"\n[workflow]\nmax_failures = 0\n[tasks.a]\nrun = \"x\"", "`max_failures` is at least 1 @ 0"),
        (
            "name = \"t\"\n[defaults]\nrun = \"x\"\n[tasks.a]\nrun = \"x\"",
            "`run` differs from task to task @ run ? write it in the tasks",
        ),
        (
            "name = \"t\"\n[tasks.\"a b\"]\nrun = \"x\"",
            "`a b` is no name for a task: it has ` ` @ \"a b\" ? a letter or `_`, then letters, digits, `_` and `-` (A-Z, a-z, 0-9)",
        ),
        (
            "name = \"t\"\n[tasks.1a]\nrun = \"x\"",
            "`1a` is no name for a task: it begins with a digit or `-` @ 1a ? a letter or `_`, then letters, digits, `_` and `-` (A-Z, a-z, 0-9)",
        ),
        ("name = \"t\"\n[tasks.é]\nrun = \"x\"", "invalid unquoted key @ é"),
        ("name = \"t\"\n[tasks.a]\nrun = \"x\"\n[tasks.a]\nrun = \"y\"", "`a` is written twice @ a + first here: a"),
        (
            "name = \"t\"\n[tasks.a]\nrun = true\n",
            "`run` is a string (bash) or an array of strings (no shell), not a boolean @ true",
        ),
    ] {
        check(text, &[expected]);
    }
    let (_, mistakes) = read("[tasks.a]\nrun = \"x\"");
    assert_eq!(mistakes[0].message, "the workflow has no name");
}

#[test]
fn commands_and_placeholders() {
    let run = |run: &str, expected: &str| {
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        check(&format!("[params]\nref = \"a\"\n[tasks.a]\nrun = '''{run}'''\noutputs = [\"o\"]\n"), expected);
    };
    for text in [
        "awk '{print $1}'",
        "echo ${HOME}",
        "echo {a,b} {1..5} {a..z}",
        "find . -exec ls {} +",
        "{ echo; }",
        "f() { true; }",
        "echo {{print}} '{{x}}'",
        "echo \\{x\\}",
        "# {nothing}",
        "echo {cpus} {mem_mb} {mem_gb} {mem_bytes} {gpus} {time_s} {attempt} {name}",
        "awk '{if (x) {print $1}}'",
        "echo ${x:-${y}}",
        "sed 's/a\\{3\\}/b/'",
        "echo {outputs[0]} {outputs[0].stem} {params.ref.ext}",
    ] {
        run(text, "");
    }
    for (text, expected) in [
        ("awk '{print}'", "unknown placeholder `{print}` @ {print} ? braces that stay are doubled: `{{print}}`"),
        ("echo {threads}", "unknown placeholder `{threads}` @ {threads} ? csync calls it `{cpus}`"),
        ("echo {input}", "unknown placeholder `{input}` @ {input} ? csync calls it `{inputs}`"),
        ("echo {wildcards.s}", "unknown placeholder `{wildcards.s}` @ {wildcards.s} ? csync writes `{item.s}`"),
        ("echo {ref}", "unknown placeholder `{ref}` @ {ref} ? did you mean `{params.ref}`?"),
        ("echo {params.rfe}", "unknown placeholder `{params.rfe}` @ {params.rfe} ? did you mean `{params.ref}`?"),
        ("echo {params.zzz}", "unknown placeholder `{params.zzz}` @ {params.zzz} ? add `zzz = \"...\"` to `[params]`"),
        ("echo {params}", "unknown placeholder `{params}` @ {params} ? name the param: `{params.NAME}`"),
        ("echo {item}", "unknown placeholder `{item}` @ {item} ? this task has no `foreach`"),
        ("echo {matrix.a}", "unknown placeholder `{matrix.a}` @ {matrix.a} ? this task has no `matrix`"),
        (
            "echo {outputs.base}",
            "unknown placeholder `{outputs.base}` @ {outputs.base} ? `.base` is no part of a path: there are `.name`, `.stem`, `.dir`, `.ext`",
        ),
        ("echo {outputs[1]}", "there is no output number 1: the task has 1 @ {outputs[1]} ? the first one is number 0"),
        ("echo {inputs[0]}", "there is no input number 0: the task has 0 @ {inputs[0]} ? the first one is number 0"),
        ("echo {outputs.stm}", "unknown placeholder `{outputs.stm}` @ {outputs.stm} ? did you mean `.stem`?"),
        ("echo 'x", "a `'` is not closed in this command @ '''echo 'x'''"),
        ("", "`run` is empty @ '''''' ? for a task that only gathers others, write `run = \"true\"`"),
    ] {
        run(text, expected);
    }
    check(
        "[tasks.a]\nrun = []",
        &["`run` is empty @ [] ? write the program and its arguments: `run = [\"echo\", \"hello\"]`"],
    );
    check("[tasks.a]\nrun = [\"a\", 1]", &["`an element of run` is a string, not an integer @ 1"]);
    check("[tasks.a]\nrun = \"a\\u0000b\"", &["a text with a zero byte @ \"a\\u0000b\""]);
}

#[test]
fn values_that_have_no_quoting_where_they_stand() {
    let with = |value: &str, run: &str| {
        let text = format!("name = \"t\"\n[tasks.a]\nforeach = [\"{value}\"]\nrun = '''{run}'''\n");
        lines(&World::default(), &text)
    };
    for run in ["echo $'{item}'", "echo `ls {item}`", "cat <<E\n{item}\nE\n", "echo ${x:-{item}}"] {
        assert_eq!(with("plain-1.txt", run), [""; 0], "{run}");
        let mistakes = with("a b", run);
        assert!(mistakes[0].starts_with("`a b` cannot be quoted in"), "{run}: {mistakes:?}");
        assert!(mistakes[0].contains("@ {item} ? let a variable hold it"), "{run}: {mistakes:?}");
    }
    assert_eq!(with("12", "echo $(({item} + 1))"), [""; 0]);
    assert_eq!(
        with("a", "echo $(({item} + 1))"),
        [
            "only a whole number can stand inside arithmetic, and here it is `a` @ {item} ? let a variable hold it: `env = { VALUE = \"{...}\" }`"
        ]
    );
    check(
        "[params]\nx = \"a b\"\n[tasks.a]\nrun = \"echo `{params.x}`\"",
        &[
            "`a b` cannot be quoted inside `...` @ {params.x} ? let a variable hold it, `env = { VALUE = \"{...}\" }`, and write `\"$VALUE\"`",
        ],
    );
}

#[test]
fn resources_and_retries() {
    for (keys, expected) in [
        (
            "resources = 4",
            "`resources` is a table, or an array of tables, not an integer @ 4 ? write `resources = { cpus = 4, mem = \"8G\" }`",
        ),
        ("resources = []", "`resources` has no alternative @ [] ? write a table: `resources = { cpus = 1 }`"),
        (
            "resources = { cpus = \"4\" }",
            "`cpus` is a whole number, `\"auto\"` or `{ min = , max = }`, not a string @ \"4\"",
        ),
        (
            "resources = { cpus = 1.5 }",
            "`cpus` is a whole number, `\"auto\"` or `{ min = , max = }`, not a number with a fraction @ 1.5",
        ),
        (
            "resources = { mem = \"8 apples\" }",
            "`8 apples` is not an amount of memory or disk @ \"8 apples\" ? write a number with a unit, such as \"512M\" or \"8G\" (8 GiB)",
        ),
        (
            "resources = { mem = \"{params.x}\" }",
            "placeholders are not filled in in `mem` @ \"{params.x}\" ? write the value, or lay it over with `[defaults.resources]`",
        ),
        (
            "resources = { time = 3600 }",
            "`time` is a text with a unit, not an integer @ 3600 ? say the unit: `\"3600s\"` or `\"3600m\"`",
        ),
        ("resources = { cpus = { min = 4, max = 2 } }", "`cpus`: `min` is over `max` @ { min = 4, max = 2 }"),
        (
            "resources = { cpus = {} }",
            "`cpus` says neither `min` nor `max` @ {} ? write `\"auto\"` to let csync choose",
        ),
        ("resources = { cpus = { least = 1 } }", "unknown key `least` in `cpus` @ least ? `cpus` takes `min`, `max`"),
        ("resources = { gpus = -1 }", "`gpus` is at least 0 @ -1"),
        ("resources = { internet = \"yes\" }", "`internet` is `true` or `false`, not a string @ \"yes\""),
        ("retry = 3", "`retry` is a table, not an integer @ 3 ? write `retries = 3`"),
        (
            "retries = 1\nretry = { max = 2 }",
            "`retries` and `retry.max` say the same @ max + the other: retries ? keep one of them",
        ),
        (
            "retry = { on = [\"memory\"] }",
            "`memory` is no failure to retry on @ \"memory\" ? there are `oom`, `timeout`, `node_fail`, `preempted`, `stage`, `spawn`, `exit`, `exit:CODE`",
        ),
        (
            "retry = { on = [\"time-out\"] }",
            "`time-out` is no failure to retry on @ \"time-out\" ? did you mean `timeout`?",
        ),
        (
            "retry = { on = [\"exit:0\"] }",
            "`exit:0` is no failure to retry on @ \"exit:0\" ? write `exit:CODE` with a code from 1 to 255",
        ),
        (
            "retry = { on = [\"75\"] }",
            "`75` is no failure to retry on @ \"75\" ? write `exit:CODE` with a code from 1 to 255",
        ),
        ("retry = { mem = 0.5 }", "`mem` is a factor between 1 and 1000 @ 0.5"),
        (
            "retry = { delay = 30 }",
            "`delay` is a text with a unit, not an integer @ 30 ? say the unit: `\"30s\"` or `\"30m\"`",
        ),
        (
            "on_error = \"continue\"",
            "`continue` is no way to go on after a failure @ \"continue\" ? csync calls it `ignore` (go on as if it had succeeded) or `finish` (run what does not depend on it)",
        ),
        ("cache = \"no\"", "`cache` is `true` or `false`, not a string @ \"no\""),
        (
            "checkpoint = { signal = \"USR1\" }",
            "`checkpoint` needs `signal` and `before` @ checkpoint ? write `checkpoint = { signal = \"USR1\", before = \"5m\" }`",
        ),
        (
            "checkpoint = { signal = \"KILL\", before = \"5m\" }",
            "`KILL` is no signal that a command can answer @ \"KILL\" ? write `USR1`, `USR2`, `TERM` or `INT`",
        ),
        ("env = [\"A=1\"]", "`env` is a table, not an array @ [\"A=1\"] ? write `env = { NAME = \"value\" }`"),
        (
            "env = { \"A-B\" = 1 }",
            "`A-B` cannot name a variable @ \"A-B\" ? a letter or `_`, then letters, digits and `_`",
        ),
        (
            "secrets = [\"a b\"]",
            "`a b` cannot name a variable @ \"a b\" ? a letter or `_`, then letters, digits and `_`",
        ),
        (
            "slurm = { \"--mem per\" = 1 }",
            "`--mem per` is no flag @ \"--mem per\" ? write its name: `exclusive = true`",
        ),
        ("max_parallel = 0", "`max_parallel` is at least 1 @ 0"),
        ("container = \"{item}\"", "unknown placeholder `{item}` @ {item} ? this task has no `foreach`"),
        ("workdir = \"\"", "`workdir` is empty @ \"\""),
        ("on = \"near:x\"", "`near:x` is near nothing @ \"near:x\" ? write `near:inputs` or `near:data:NAME`"),
        (
            "on = [\"near:data:x\"]",
            "there is no dataset `x` @ \"near:data:x\" ? `csync data add x HOST:/PATH` names one, and so does `[data.x]` with `at = [\"host:/path\"]`",
        ),
        (
            "inputs = [\"data:x/y\"]",
            "there is no dataset `x` @ \"data:x/y\" ? `csync data add x HOST:/PATH` names one, and so does `[data.x]` with `at = [\"host:/path\"]`",
        ),
        ("needs = [\"a\"]", "task `a` needs itself @ \"a\" ? remove it"),
        (
            "inputs = { bam = \"x\" }",
            "`inputs` is an array of paths, not a table @ { bam = \"x\" } ? files have numbers here, not names: `inputs = [\"a\", \"b\"]`, `{inputs[0]}`",
        ),
        ("outputs = [\"\"]", "an empty path in `outputs` @ \"\""),
        (
            "outputs = [\"{cpus}\"]",
            "unknown placeholder `{cpus}` @ {cpus} ? `{cpus}` is known only when the command is started: name files by `{item}`, `{matrix.KEY}`, `{params.NAME}` or `{name}`",
        ),
        (
            "outputs = [\"out/*.txt\"]",
            "an output has no wildcards: csync must know its name before the task runs @ \"out/*.txt\" ? name each output, or name the directory: `outputs = [\"out\"]`",
        ),
    ] {
        check_task(keys, expected);
    }
    for keys in [
        "resources = { cpus = { min = 2 }, mem = \"auto\", time = \"1-12:00:00\", gpus = 0, disk = \"1T\", nodes = 2, processes = 4 }",
        "retry = { max = 2, on = [\"oom\", \"exit:75\", \"exit\"], mem = 2.0, time = 1.5, delay = \"30s\", factor = 2, max_delay = \"30m\" }",
        "checkpoint = { signal = \"SIGUSR1\", before = \"5m\" }\non = [\"cluster\", \"tag:gpu\", \"local\"]\naccount = \"x\"\nslurm = { exclusive = true, gres = \"gpu:1\" }",
        "env = { A = 1, B = true, C = \"{cpus}\" }\nworkdir = \"sub\"\nbinds = [\"/data\"]\nmodules = \"gcc/12\"\nconda = \"env\"\nsetup = [\"ulimit -n 4096\"]",
        "cache = false\nsecrets = [\"TOKEN\"]\npriority = -5\ntags = [\"x\"]\nmax_parallel = 3\nstdin = \"in.txt\"\ncontainer = \"docker://x\"\non_error = \"ignore\"",
    ] {
        check_task(keys, "");
    }
}

#[test]
fn sweeps() {
    for (keys, expected) in [
        (
            "foreach = 3",
            "`foreach` is a glob, a list, or a table such as `{ csv = \"samples.csv\" }`, not an integer @ 3",
        ),
        (
            "foreach = { xlsx = \"a\" }",
            "unknown key `xlsx` in `foreach` @ xlsx ? `foreach` takes `csv`, `tsv`, `lines`, `range`",
        ),
        (
            "foreach = { csv = \"a\", lines = \"b\" }",
            "`foreach` takes its elements from one place @ { csv = \"a\", lines = \"b\" } ? write one of `csv`, `tsv`, `lines`, `range`",
        ),
        (
            "foreach = { range = [1] }",
            "`range` is two or three whole numbers @ [1] ? write `range = [1, 100]`, or with a step `range = [0, 100, 10]`: both ends are included",
        ),
        (
            "foreach = { range = [5, 1] }",
            "the range is empty @ [5, 1] ? write `range = [1, 100]`, or with a step `range = [0, 100, 10]`: both ends are included",
        ),
        ("foreach = [{a = 1}, {a = 2, b = 1}]", "the first row has no column `b` @ b ? it has `a`"),
        ("foreach = [1, []]", "`an element of foreach` is a string, a number or a boolean, not an array @ []"),
        ("foreach = []", "task `a` has no instances: its `foreach` is empty @ []"),
        (
            "foreach = \"*.fq\"",
            "task `a` has no instances: `*.fq` matches nothing @ \"*.fq\" ? globs start in the workflow's directory; for a list of values write `foreach = [...]`",
        ),
        ("foreach = { csv = \"none.csv\" }", "`none.csv` cannot be read: no such file @ { csv = \"none.csv\" }"),
        (
            "matrix = [1]",
            "`matrix` is a table of lists, not an array @ [1] ? write `matrix = { a = [1, 2], b = [\"x\", \"y\"] }`",
        ),
        (
            "matrix = { a = 1 }",
            "`matrix.a` is a list of values or `{ range = [first, last] }`, not an integer @ 1 ? for one value, write `a = [1]`",
        ),
        ("matrix = { a = [] }", "`matrix.a` has no values @ [] ? without values there are no instances"),
        ("matrix = {}", "an empty matrix @ {} ? write `matrix = { a = [1, 2], b = [\"x\", \"y\"] }`"),
        (
            "matrix = { a = [1], include = [{a = 2}] }",
            "`include` stands beside `matrix`, not in it @ include ? write `include = [...]` in the task",
        ),
        ("include = [{a = 2}]", "`include` without a `matrix` @ include ? add `matrix = { key = [...] }`"),
        ("matrix = { a = [1] }\nexclude = [{b = 2}]", "the matrix has no `b` @ b ? it has `a`"),
        (
            "matrix = { a = [1] }\nexclude = [{a = 1}]",
            "task `a` has no instances: `exclude` leaves nothing of its matrix @ { a = [1] }",
        ),
        (
            "matrix = { a = { range = [1, 2000] }, b = { range = [1, 2000] } }",
            "task `a` would have 2000 x 2000 = 4000000 instances, the limit is 2000000 @ { a = { range = [1, 2000] }, b = { range = [1, 2000] } } ? leave out values, or split the workflow",
        ),
        (
            "foreach = { range = [1, 9000000000] }",
            "task `a` would have 9000000000 instances, the limit is 2000000 @ { range = [1, 9000000000] } ? split the workflow",
        ),
        (
            "foreach = [1, 2]\noutputs = [\"x\"]",
            "`a[1]` and `a[2]` both make `x` @ \"x\" ? let the name differ between instances: put `{item...}` or `{matrix...}` into it",
        ),
    ] {
        check_task(keys, expected);
    }
    let world = World::default().file("bad.csv", "a,b\n1,2\n3\n").file("twice.csv", "a,a\n1,2\n");
    let text =
        |file: &str| format!("name = \"t\"\n[tasks.a]\nrun = \"echo {{item.a}}\"\nforeach = {{ csv = \"{file}\" }}");
    assert_eq!(
        lines(&world, &text("bad.csv")),
        ["line 3 of the table has 1 fields, the header has 2 @ { csv = \"bad.csv\" }"]
    );
    assert_eq!(lines(&world, &text("twice.csv")), ["the column `a` is there twice @ { csv = \"twice.csv\" }"]);
    let world = World::default().file("s.csv", "sample\nA\n");
    assert_eq!(
        lines(&world, &text("s.csv")),
        ["the rows of `a` have no column `a` @ {item.a} ? the columns are `sample`"]
    );
}

#[test]
fn conditions() {
    let when = |when: &str| {
        let text = format!(
            "name = \"t\"\n[params]\nn = 3\nmode = \"full\"\nfast = true\n[tasks.a]\nmatrix = {{ k = [1, 2] }}\nrun = \"x\"\nwhen = '''{when}'''\n"
        );
        let lines = lines(&World::default(), &text);
        match World::default().expand(&text) {
            Ok(expanded) => Ok(expanded.plan.instances.len() - expanded.left.len()),
            Err(_) => Err(lines.join("; ")),
        }
    };
    for (text, count) in [
        ("true", 2),
        ("params.fast", 2),
        ("not params.fast", 0),
        ("matrix.k == 1", 1),
        ("matrix.k != 1 && params.n == 3.0", 1),
        ("params.mode in ['full', 'quick'] and matrix.k in [2, 3]", 1),
        ("'ul' in params.mode", 2),
        ("matrix.k not in [1]", 1),
        ("matrix.k < 2 or matrix.k >= 2", 2),
        ("!(matrix.k <= 1) || false", 1),
        ("params.mode > 'fulk'", 2),
        ("params.n > 10", 0),
        ("not not params.fast and (params.mode == \"full\")", 2),
        ("params.n in []", 0),
        ("-1 < matrix.k", 2),
    ] {
        assert_eq!(when(text), Ok(count), "{text}");
    }
    for (text, expected) in [
        (
            "{params.fast}",
            "a condition has no placeholders @ { ? names stand without braces here: `params.mode == 'full'`",
        ),
        ("params.mode = 'x'", "`=` compares nothing @ = ? write `==`"),
        ("mode == 'x'", "a condition does not know `mode` @ mode ? did you mean `params.mode`?"),
        (
            "params.mode == full",
            "a condition does not know `full` @ full ? a text stands in quotes: `'full'`; names are `params.x`, `item`, `item.column`, `matrix.x`",
        ),
        ("params.mod == 'x'", "unknown placeholder `{params.mod}` @ params.mod ? did you mean `{params.mode}`?"),
        (
            "params.n ==",
            "a value is missing here @  ? write a text in quotes, a number, or `params.x`, `item`, `matrix.x`",
        ),
        ("(params.fast", "this `(` is not closed @ ( ? add `)`"),
        (
            "params.fast params.fast",
            "this does not belong to the condition @ params.fast ? join conditions with `and` or `or`",
        ),
        ("'x", "this text is not closed @ 'x ? add the quote that ends it"),
        ("params.mode", "`full` is neither `true` nor `false` @ '''params.mode'''"),
        ("item == 1", "unknown placeholder `{item}` @ item ? this task has no `foreach`"),
        ("1x == 1", "this is no number @ 1x ? texts stand in quotes: `item == 'A'`"),
    ] {
        let expected = expected.to_owned();
        let found = when(text).unwrap_err();
        assert!(found == expected || found == format!("{expected}; {expected}"), "{text}: {found}");
    }
}

#[test]
fn files_and_order() {
    check(
        "[tasks.a]\nrun = \"x\"\noutputs = [\"d/x\"]\n[tasks.b]\nrun = \"x\"\noutputs = [\"./d//x\"]",
        &["`a` and `b` both make `d/x` @ \"./d//x\" + and here: \"d/x\" ? a file has one task that makes it"],
    );
    check(
        "[tasks.a]\nrun = \"x\"\noutputs = [\"d\"]\n[tasks.b]\nrun = \"x\"\noutputs = [\"d/e/x\"]",
        &[
            "`a` makes `d`, and `b` makes `d/e/x` inside it @ \"d/e/x\" + the directory: \"d\" ? a directory is what is in it, all of which its task answers for: give each its own place",
        ],
    );
    check(
        "[tasks.a]\nrun = \"x\"\ninputs = [\"x\"]\noutputs = [\"x\"]",
        &[
            "`a` reads `x`, which it makes itself @ a ? let it write to another name: what a task makes is removed before it runs",
        ],
    );
    check(
        "[tasks.a]\nrun = \"x\"\ninputs = [\"b\"]\noutputs = [\"a\"]\n[tasks.b]\nrun = \"x\"\ninputs = [\"a\"]\noutputs = [\"b\"]",
        &[
            "tasks wait for each other in a circle: `a` -> `b` -> `a` @ a + waits for `a`: b ? take out one `needs`, or one input that is another's output",
        ],
    );
    check(
        "[tasks.a]\nrun = \"x\"\ninputs = [\"*.bam\"]",
        &[
            "`*.bam` matches no file, and nothing that another task makes, for `a` @ \"*.bam\" ? globs start in the workflow's directory",
        ],
    );
    check(
        "[tasks.a]\nrun = \"x\"\nforeach = \"o/*\"\noutputs = [\"p/{item.name}\"]\n[tasks.b]\nrun = \"x\"\nforeach = \"q/*\"\noutputs = [\"o/{item.name}\"]\n[tasks.c]\nrun = \"x\"\noutputs = [\"q/x\"]",
        &[
            "task `a` has no instances: `o/*` matches nothing @ \"o/*\" ? globs start in the workflow's directory; for a list of values write `foreach = [...]`",
            "`a` goes over what `b` makes (`o/x`), which is written below it @ \"o/*\" + this task: b ? move `[tasks.b]` above `[tasks.a]`",
        ],
    );
    let (workflow, _) = read("name = \"t\"\n[tasks.a]\nrun = \"x\"\ninputs = [\"in\", \"{name}.txt\"]");
    let plan = expand(&workflow, ROOT, &BTreeMap::new(), &Facts::default(), Limits::default()).unwrap();
    assert_eq!(plan.external.len(), 2);
    let mistake = missing_input(&workflow, &plan.plan, plan.external[1]);
    assert_eq!(mistake.message, "`a.txt`, which `a` reads, does not exist, and no task makes it");
}

#[test]
fn params_of_a_submission() {
    let text = "name = \"t\"\n[params]\nref = \"a\"\nn = 1\nfast = false\n[tasks.a]\nrun = \"x\"";
    for (name, value, expected) in [
        ("rf", "x", "the workflow has no param `rf` ? did you mean `ref`?"),
        ("zzz", "x", "the workflow has no param `zzz` ? it has `ref`, `n`, `fast`"),
        ("n", "x", "param `n` is a number, not `x` + the default: n ? its default is `1`"),
        ("fast", "1", "param `fast` is `true` or `false`, not `1` + the default: fast ? its default is `false`"),
    ] {
        assert_eq!(lines(&World::default().param(name, value), text), [expected]);
    }
    assert_eq!(lines(&World::default().param("n", "0.5"), text), [""; 0]);
}
