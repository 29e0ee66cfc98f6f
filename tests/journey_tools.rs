//! The commands around a run: import, check, new, dag, report, schema, completions, manual pages.

use serde_json::Value;

use crate::world::World;

const FAN: &str = r#"
name = "fan"
[tasks.split]
outputs = ["parts.txt"]
run = "printf '1\n2\n3\n' > {outputs[0]}"
[tasks.work]
foreach = { range = [1, 3] }
inputs = ["parts.txt"]
outputs = ["w{item}.txt"]
run = "sed -n {item}p {inputs[0]} > {outputs[0]}"
[tasks.join]
inputs = ["w*.txt"]
outputs = ["all.txt"]
run = "cat {inputs} > {outputs[0]}"
"#;

/// Asserts that words stand in a text.
#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is missing:\n{text}");
    }
}

#[test]
fn a_batch_script_runs_as_an_array() {
    let world = World::new();
    let script = "#!/bin/bash\n#SBATCH --job-name=squares\n#SBATCH --array=2-6:2%2 -c 1 --mem=64M -t 5\n#SBATCH -o x.log\n\n\
                  undefined=$NOT_SET_ANYWHERE\nfalse\necho \"$SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT {cpus}\" > \
                  \"out.$SLURM_ARRAY_TASK_ID\"\n";
    world.write("job.sh", script);
    let imported = world.csync(&["import", "job.sh", "-o", "workflow.toml"]).exits(0);
    says(&imported.err, &["`csync logs` prints it", "Made 1 task with 3 instances from a Slurm script"]);
    world.csync(&["submit"]).exits(0);
    for n in [2, 4, 6] {
        assert_eq!(world.read(&format!("out.{n}")), format!("{n} of 3 {{cpus}}\n"));
    }
}

#[test]
fn a_list_of_commands_runs_only_what_is_new() {
    let world = World::new();
    world.write("list.txt", "# two\necho 'a  {x}' > a\necho \"b\" >> b\n");
    world.csync(&["import", "list.txt", "-o", "workflow.toml"]).exits(0);
    world.csync(&["submit"]).exits(0);
    assert_eq!((world.read("a"), world.read("b")), ("a  {x}\n".to_owned(), "b\n".to_owned()));
    world.write("list.txt", "echo c > c\necho 'a  {x}' > a\necho \"b\" >> b\n");
    let refused = world.csync(&["import", "list.txt", "-o", "workflow.toml"]).exits(4);
    says(&refused.err, &["there is a file `workflow.toml` already", "--force"]);
    world.csync(&["import", "list.txt", "-o", "workflow.toml", "--force"]).exits(0);
    world.csync(&["submit"]).exits(0);
    assert_eq!((world.read("b"), world.read("c")), ("b\n".to_owned(), "c\n".to_owned()), "b ran once");
}

#[test]
fn a_recording_is_replayed() {
    let world = World::new();
    let recording = r#"{"name": "tiny", "schemaVersion": "1.5", "workflow": {
        "specification": {
            "tasks": [
                {"name": "map_ID1", "id": "map_ID1", "parents": [], "children": ["sum_ID3"], "inputFiles": ["in"], "outputFiles": ["a"]},
                {"name": "map_ID2", "id": "map_ID2", "parents": [], "inputFiles": ["in"], "outputFiles": ["b"]},
                {"name": "sum_ID3", "id": "sum_ID3", "parents": ["map_ID2"], "inputFiles": ["a", "b"], "outputFiles": ["c"]}],
            "files": [{"id": "in", "sizeInBytes": 4000}, {"id": "a", "sizeInBytes": 1000}, {"id": "c", "sizeInBytes": 10}]},
        "execution": {"tasks": [{"id": "map_ID1", "runtimeInSeconds": 3, "coreCount": 64}, {"id": "map_ID2", "runtimeInSeconds": 2, "coreCount": 64}]}}}"#;
    world.write("tiny.json", recording);
    let options = ["--time-scale", "0.001", "--size-scale", "0.1", "--cpus-cap", "1"];
    let told = world.json(&[&["import", "tiny.json", "-o", "workflow.toml"], &options[..]].concat());
    assert_eq!((&told["tasks"], &told["output"]), (&Value::from(3), &Value::from("workflow.toml")));
    assert_eq!(told["files"][0]["notes"][0]["message"], "tasks without a run time end at once: 1 of 3");
    let run = world.json(&["submit"]);
    assert_eq!(run["counts"]["done"], 4, "{run}");
    for (file, size) in [("in", 400), ("a", 100), ("b", 0), ("c", 1)] {
        assert_eq!(world.read(&format!("files/{file}")).len(), size, "{file}");
    }
}

#[test]
fn what_cannot_be_imported_is_refused_with_its_place() {
    let world = World::new();
    world.write("loop.txt", "for i in 1 2; do\n  echo $i\ndone\n");
    let refused = world.csync(&["import", "loop.txt"]).exits(2);
    says(&refused.err, &["loop.txt:3:1", "`done` belongs to a construct of several lines", "--format sbatch"]);
    says(&world.csync(&["import", "none.sh"]).exits(3).err, &["there is no file `none.sh`"]);
    world.write("broken.json", "{\"workflow\": {\n  \"specification\": 3}}");
    let refused = world.csync(&["import", "broken.json", "--json"]).exits(2).json();
    assert_eq!(refused["error"]["diagnostics"][0]["span"]["start"], 34, "{refused}");
}

#[test]
fn check_counts_explains_and_underlines() {
    let world = World::new();
    world.write("workflow.toml", FAN);
    let fine = world.csync(&["check"]).exits(0);
    assert_eq!(fine.out, "workflow.toml is fine: 3 tasks, 5 instances, 6 dependencies.\n");
    let explained = world.csync(&["check", "--explain", "--task", "work"]).exits(0).out;
    says(&explained, &["work  3 instances", "on_error", "built-in"]);
    assert!(!explained.contains("split"), "{explained}");
    let json = world.json(&["check", "-e"]);
    assert_eq!((&json["instances"], json["explain"].as_array().map(Vec::len)), (&Value::from(5), Some(3)));
    says(&world.csync(&["check", "-e", "-t", "wrok"]).exits(3).err, &["no task `wrok`"]);

    world.write("bad.toml", "name = \"bad\"\n[tasks.a]\ncmd = \"true\"\n[tasks.b]\nrun = \"true\"\nneeds = [\"c\"]\n");
    let refused = world.csync(&["check", "bad.toml"]).exits(2);
    says(&refused.err, &["bad.toml:3:1", "csync calls it `run`", "bad.toml:6:10", "there is no task `c`"]);

    world.write("missing.toml", "name = \"m\"\n[tasks.a]\ninputs = [\"gone.txt\"]\nrun = \"cat {inputs}\"\n");
    let warned = world.csync(&["check", "missing.toml"]).exits(0);
    says(&warned.err, &["missing.toml:3:11", "`gone.txt`"]);
    says(&warned.out, &["has no mistakes, and 1 warning"]);
    world.csync(&["check", "missing.toml", "--strict"]).exits(2);
}

#[test]
fn every_template_is_written_once_and_is_fine() {
    let world = World::new();
    let listed = world.json(&["new", "--list"]);
    let templates = listed["templates"].as_array().unwrap();
    assert!(templates.len() >= 5, "{listed}");
    for template in templates {
        let name = template["template"].as_str().unwrap();
        let file = format!("{name}.toml");
        world.csync(&["new", name, "-o", &file]).exits(0);
        says(&world.csync(&["new", name, "-o", &file]).exits(4).err, &["already"]);
    }
    says(&world.csync(&["new", "novel"]).exits(3).err, &["no template `novel`", "`minimal`"]);
    world.csync(&["new"]).exits(0);
    world.csync(&["submit"]).exits(0);
}

#[test]
fn a_workflow_and_a_run_are_drawn() {
    let world = World::new();
    world.write("workflow.toml", FAN);
    let picture = world.csync(&["dag"]).exits(0).out;
    assert_eq!(
        picture,
        "\
┌───────┐
│ split │
└───┬───┘
    │
 ┌──▼───┐
 │ work │
 │  ×3  │
 └──┬───┘
    │
 ┌──▼───┐
 │ join │
 └──────┘
"
    );
    says(&world.csync(&["dag", "--ascii"]).exits(0).out, &["+--v---+", "|  x3  |"]);
    says(&world.csync(&["dag", "-f", "dot", "--instances"]).exits(0).out, &["n1 [label=\"work[1]\"];", "n3 -> n4;"]);
    let json = world.json(&["dag"]);
    assert_eq!(json["tasks"][2]["after"], Value::from(vec!["work"]));
    let refused = world.csync(&["dag", "--instances", "--limit", "4"]).exits(2);
    says(&refused.err, &["there are 5 instances", "--limit 5"]);

    world.csync(&["submit"]).exits(0);
    says(&world.csync(&["dag", "last"]).exits(0).out, &["3/3"]);
    let json = world.json(&["dag", "1", "--instances"]);
    assert_eq!(json["run"], 1);
    assert_eq!(json["instances"][4]["after"].as_array().map(Vec::len), Some(3), "{json}");
    assert_eq!(json["instances"][4]["counts"]["done"], 1, "{json}");
}

#[test]
fn without_graphviz_the_command_that_installs_it_is_named() {
    let world = World::new();
    world.write("workflow.toml", FAN);
    let refused = world.command(&["dag", "-o", "dag.svg"]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    says(&String::from_utf8_lossy(&refused.stderr), &["Graphviz", "sudo apt-get install graphviz"]);
    assert!(!world.path("dag.svg").exists());
}

#[test]
fn a_report_opens_offline_and_shows_what_failed() {
    let world = World::new();
    let broken =
        "[tasks.broken]\nforeach = [\"<script>alert(1)</script>\"]\nrun = \"echo '<b>no</b> luck' >&2; exit 7\"\n";
    world.write("workflow.toml", &format!("{FAN}{broken}"));
    world.csync(&["submit"]).exits(1);
    let told = world.csync(&["report"]).exits(0);
    says(&told.err, &["Wrote the report of run 1 to csync-run-1.html"]);
    let page = world.read("csync-run-1.html");
    says(
        &page,
        &["&lt;b&gt;no&lt;/b&gt; luck", "exit code 7", "<h2>Critical path</h2>", "broken[&lt;script&gt;", "</html>"],
    );
    for word in ["<script", "<b>no", "src=", "https:"] {
        assert!(!page.contains(word), "{word}");
    }
    let json = world.json(&["report", "1", "-o", "other.html"]);
    assert_eq!((&json["output"], json["tasks"].as_array().map(Vec::len)), (&Value::from("other.html"), Some(4)));
    let path: Vec<&str> =
        json["critical_path"].as_array().unwrap().iter().filter_map(|step| step["label"].as_str()).collect();
    assert!(!path.is_empty(), "{json}");
    says(&world.csync(&["report", "99"]).exits(3).err, &["99"]);
}

#[test]
fn schema_completions_and_manual_pages() {
    let world = World::new();
    let schema = world.csync(&["schema"]).exits(0).json();
    assert!(schema["properties"]["tasks"].is_object(), "{schema}");
    for (shell, word) in [("bash", "complete -F _csync"), ("zsh", "#compdef csync"), ("fish", "complete -c csync")] {
        says(&world.csync(&["completions", shell]).exits(0).out, &[word]);
    }
    says(&world.csync(&["man"]).exits(0).out, &[".TH csync 1", "csync\\-submit(1)"]);
    says(&world.csync(&["man", "import"]).exits(0).out, &[".TH csync-import 1", "\\-\\-time\\-scale"]);
    says(&world.csync(&["man", "sbumit"]).exits(3).err, &["no command `sbumit`"]);
    let written = world.json(&["man", "--dir", "man1"]);
    assert!(written["files"].as_array().unwrap().len() > 20, "{written}");
    says(&world.read("man1/csync-dag.1"), &[".SH NAME", "csync\\-dag"]);
}
