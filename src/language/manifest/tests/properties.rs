//! Properties that hold for every text: nothing panics, nothing is quoted wrongly, every plan is sound.

use std::collections::HashMap;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::model::id::PathId;

/// Reads a text, and expands and renders it as far as it goes.
fn try_all(text: &str) {
    let (workflow, mistakes) = read(text);
    for mistake in &mistakes {
        for span in mistake.span.iter().chain(mistake.related.iter().map(|(span, _)| span)) {
            assert!(text.get(span.range()).is_some(), "{span:?} of {mistake:?}");
        }
        assert!(!mistake.message.ends_with('.') && !mistake.message.is_empty(), "{mistake:?}");
    }
    for name in workflow.task_names() {
        assert!(explain(&workflow, name).is_some());
    }
    let world = World::with(&["a", "b.txt", "d/a.fq", "d/-x", "it's"]).file("s.csv", "a,b\n1,x y\n2,'\n");
    let limits = Limits { instances: 10_000 };
    let Ok(facts) = world.facts(&workflow) else { return };
    let Ok(expanded) = expand(&workflow, ROOT, &BTreeMap::new(), &facts, limits) else { return };
    sound(&expanded);
    for instance in expanded.plan.instance_ids().take(100) {
        render(&expanded.plan, instance, &grant(), 1);
    }
    elsewhere(&workflow, &expanded.plan, &|_| Known::Nowhere, &[]);
}

/// Checks that a plan is what its documentation says.
fn sound(expanded: &Expanded) {
    let plan = &expanded.plan;
    let mut makers: HashMap<PathId, InstanceId> = HashMap::new();
    assert_eq!(plan.task_instances.iter().map(|slice| slice.len as usize).sum::<usize>(), plan.instances.len());
    for instance in plan.instance_ids() {
        let task = plan.instance(instance).task;
        assert!(plan.instances_of(task).any(|other| other == instance));
        assert!(
            plan.task_of(instance)
                .columns
                .iter()
                .enumerate()
                .all(|(at, _)| !plan.cell(instance, at as u32).contains('\0'))
        );
        if expanded.left.contains(&instance) {
            assert_eq!(plan.dependents(instance), []);
            continue;
        }
        for path in plan.outputs(instance) {
            assert_eq!(makers.insert(*path, instance), None, "{} is made twice", plan.path(*path));
            assert_eq!(plan.producer(*path), Some(instance));
        }
    }
    let texts: Vec<&str> = plan.paths.iter().collect();
    let unique: std::collections::HashSet<&&str> = texts.iter().collect();
    assert_eq!(unique.len(), texts.len(), "a path is there twice");
    assert_eq!(plan.producers.len(), texts.len());
    for instance in plan.instance_ids() {
        let dependents = plan.dependents(instance);
        assert!(dependents.is_sorted() && dependents.windows(2).all(|two| two[0] != two[1]));
        for path in plan.inputs(instance) {
            let maker = makers.get(path).filter(|_| !expanded.left.contains(&instance));
            if let Some(maker) = maker {
                assert!(plan.dependents(*maker).contains(&instance));
                assert!(!expanded.external.contains(path));
            }
        }
    }
    acyclic(plan);
}

/// Takes instances away that wait for nothing, until none is left.
fn acyclic(plan: &Plan) {
    let mut done = vec![false; plan.instances.len()];
    loop {
        let mut moved = false;
        for instance in plan.instance_ids() {
            let waits =
                plan.instance_ids().any(|other| !done[other.index()] && plan.dependents(other).contains(&instance));
            let needs = plan
                .task_of(instance)
                .needs
                .iter()
                .flat_map(|&need| plan.instances_of(need))
                .any(|other| !done[other.index()]);
            if !done[instance.index()] && !waits && !needs {
                done[instance.index()] = true;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    assert!(done.iter().all(|done| *done), "a circle was let through");
}

/// A workflow with everything in it, to be damaged.
const WHOLE: &str = r#"
name = "whole"
schema = 1
[params]
ref = "a b"
n = 3
[data.fastq]
at = ["x:/y"]
[defaults]
retries = 2
env = { A = "{cpus}" }
[defaults.resources]
time = "auto"
mem = "1G"
[tasks.align]
foreach = "d/*"
inputs = ["{item}", "{params.ref}"]
outputs = ["bam/{item.stem}.bam"]
run = """STAR {cpus} '{item}' "{item.name}" $(echo {inputs}) `x {params.n}` <<E
{attempt}
E
"""
resources = { cpus = { min = 1, max = 4 } }
[tasks.count]
needs = ["align"]
inputs = ["bam/*.bam"]
outputs = ["counts.tsv"]
run = ["count", "-o", "{outputs[0]}", "{inputs}"]
on = ["near:inputs", "local"]
[[tasks.count.resources]]
cpus = 16
[[tasks.count.resources]]
cpus = 4
[tasks.sweep]
matrix = { a = [1, 2.5, "x"], b = { range = [1, 3] } }
include = [{ a = 9, c = "z" }]
exclude = [{ b = 2 }]
when = "matrix.a != 'x' and params.n in [3, 4] or not true"
outputs = ["s/{matrix.a}-{matrix.b}"]
run = "x {{y}} ${HOME} {matrix.a} > {outputs}"
retry = { on = ["oom", "exit:75"], mem = 2.0, delay = "30s" }
checkpoint = { signal = "USR1", before = "5m" }
[tasks.rows]
foreach = { csv = "s.csv" }
outputs = ["r/{item.a}"]
run = "x {item.b} {item}"
slurm = { gres = "gpu:1" }
"#;

#[test]
fn the_whole_expands() {
    let world = World::with(&["d/a.fq", "d/-x"]).file("s.csv", "a,b\n1,x y\n2,'\n");
    let expanded = world.expand(WHOLE).unwrap();
    assert_eq!(expanded.plan.instances.len(), 2 + 1 + 7 + 2);
    try_all(WHOLE);
}

/// Words of TOML, of the format and of bash.
fn soup() -> impl Strategy<Value = String> {
    let words = vec![
        "name = \"t\"\n",
        "[tasks.a]\n",
        "[tasks.b]\n",
        "[[tasks.a.resources]]\n",
        "[params]\n",
        "[defaults]\n",
        "run = ",
        "run = \"x\"\n",
        "inputs = ",
        "outputs = ",
        "foreach = ",
        "matrix = ",
        "include = ",
        "exclude = ",
        "when = ",
        "needs = [\"a\"]\n",
        "env = ",
        "retry = ",
        "resources = ",
        "[\"{item}\"]\n",
        "[\"*\"]\n",
        "[1, 2]\n",
        "{ a = [1, 2], b = [3] }\n",
        "{ csv = \"s.csv\" }\n",
        "{ range = [1, 3] }\n",
        "{ cpus = 2 }\n",
        "\"{item.stem} {params.x} {inputs[0]} '{name}' \\\"{cpus}\\\"\"\n",
        "\"matrix.a == 1\"\n",
        "\"\"\"",
        "'''",
        "{",
        "}",
        "[",
        "]",
        "=",
        ",",
        "\n",
        "\"",
        "'",
        "#",
        "{{",
        "}}",
        "{item}",
        "{matrix.a}",
        "$(",
        ")",
        "`",
        "<<E\n",
        "x = 1\n",
        "é",
        "\\",
        "\u{0}",
        " ",
    ];
    prop::collection::vec(prop::sample::select(words), 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "\\PC{0,300}") {
        try_all(&text);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        try_all(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_soup_is_taken_or_refused(text in soup()) {
        try_all(&text);
    }

    #[test]
    fn a_soup_in_a_task_is_taken_or_refused(text in soup()) {
        try_all(&format!("name = \"t\"\n[tasks.a]\nrun = \"x\"\n{text}"));
    }

    #[test]
    fn a_damaged_workflow_is_taken_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, soup()), 1..4)
    ) {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for (at, cut, put) in edits {
            let at = at.index(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.chars().take(cut));
        }
        try_all(&text.into_iter().collect::<String>());
    }
}

/// Pieces of bash with holes (`@`) in every kind of place. Run together, they print what stands in the holes.
const PIECES: [&str; 14] = [
    "p @",
    "p '@'",
    "p \"@\"",
    "p \"$(printf %s @)\"",
    "p \"$(printf %s '@')\"",
    "p \"$(printf %s \"@\")\"",
    "p \"$(printf %s \"$(printf %s @)\")\"",
    "x=@; p \"$x\"",
    "p \"${x:-\"y\"}\" >/dev/null; p @",
    "(p @)",
    "if true; then p @; fi # it's \"@\"",
    "cat <<'E' >/dev/null\nit's \"\nE\np @",
    "p $((1 << 2)) >/dev/null; p '@'",
    "case a in a) p @;; esac",
];

/// Writes a text in TOML: as in JSON, but for the delete character.
fn toml_text(text: &str) -> String {
    serde_json::to_string(text).unwrap().replace('\u{7f}', "\\u007f")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_bash_sees_is_what_was_written(
        value in "[^\0\u{1}]{0,16}",
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 1..8),
    ) {
        let script = pieces.iter().map(|piece| piece.replace('@', "{item}")).collect::<Vec<_>>().join("\n");
        let text = format!(
            "name = \"t\"\n[tasks.a]\nforeach = {{ csv = \"v.csv\" }}\nrun = {}\n",
            toml_text(&format!("p() {{ printf '%s\\0' \"$1\"; }}\n{script}\n")),
        );
        let table = format!("v\n\"{}\"\n", value.replace('"', "\"\""));
        let world = World::default().file("v.csv", &table);
        let expanded = world.expand(&text).map_err(|mistakes| TestCaseError::fail(format!("{mistakes:?}")))?;
        let Invocation::Script(script) = render(&expanded.plan, InstanceId(0), &grant(), 1).invocation else { panic!() };
        let output = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().unwrap();
        prop_assert!(output.status.success(), "{}\n{}", script, String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        for (seen, piece) in printed.split_terminator('\0').zip(&pieces) {
            // A command substitution takes the line breaks at the end away.
            let expected = if piece.contains("$(printf") { value.trim_end_matches('\n') } else { &value };
            prop_assert_eq!(seen, expected, "{} in {}", piece, script);
        }
        prop_assert_eq!(printed.matches('\0').count(), pieces.len());
    }
}

/// Bash in pieces that turn quoting on and off in every way; `{item}` stands for a value that runs `owned` wherever it is
/// not quoted.
fn bash_soup() -> impl Strategy<Value = String> {
    let words = vec![
        "{item}",
        "{item}",
        "{item}",
        "'",
        "\"",
        "`",
        "\\",
        "$(",
        ")",
        "(",
        "((",
        "))",
        "$((",
        "$[",
        "]",
        "${x:-",
        "${x#",
        "}",
        "{",
        "\n",
        "\n",
        " ",
        " ",
        ";",
        "#",
        " # ",
        "<<E\n",
        "<<'E'\n",
        "<<-E\n",
        "<<\\E\n",
        "\nE\n",
        "E",
        "<<<",
        "$'",
        "$\"",
        "case a in ",
        "a) ",
        ";; ",
        " esac",
        ": ",
        "if :; then ",
        "; fi",
        "x=",
        "&& ",
        "| ",
        "&",
        "<(",
        "$",
        "$#",
        "1",
        "!",
        "~",
        "*",
        "\t",
        "for i in ",
        "; do : ; done",
        "f() { ",
        "; }",
        "[[ ",
        " ]]",
        "=~ ",
        "\r",
        "é",
        "coproc ",
        "time ",
        "<<E {item}\n",
        "\\\n",
    ];
    prop::collection::vec(prop::sample::select(words), 1..24).prop_map(|words| words.concat())
}

/// A value that runs `owned` from bare words, from inside either quotes, from a here-document and from a comment.
const HOSTILE: &str = "$(owned)`owned`;owned\n'$(owned);owned;'\"$(owned);owned;\"\nowned #\nE\nowned\n'owned'";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_value_never_runs(soup in bash_soup()) {
        let text = format!("name = \"t\"\n[tasks.a]\nforeach = {{ csv = \"v.csv\" }}\nrun = {}\n", toml_text(&soup));
        let world = World::default().file("v.csv", &format!("v\n\"{}\"\n", HOSTILE.replace('"', "\"\"")));
        let Ok(expanded) = world.expand(&text) else { return Ok(()) };
        let Invocation::Script(script) = render(&expanded.plan, InstanceId(0), &grant(), 1).invocation else { panic!() };
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("marker");
        // Without a PATH nothing runs but what is built into bash.
        let run = Command::new("/usr/bin/timeout")
            .args(["5", "/usr/bin/bash", "-c", &script])
            .env_clear()
            .env("PATH", "/nonexistent")
            .env("BASH_FUNC_owned%%", format!("() {{ builtin echo >> {}; }}", marker.display()))
            .current_dir(dir.path())
            .stdin(std::process::Stdio::null())
            .output();
        prop_assert!(run.is_ok(), "{:?}", run);
        prop_assert!(!marker.exists(), "{}", script);
    }
}
