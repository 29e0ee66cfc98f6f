//! WfFormat 1.5 (WfCommons): a recorded workflow becomes one that replays it: every task waits as long as it ran, reads its
//! inputs and makes its outputs, at the scale that was chosen.

use serde::Deserialize;

use crate::language::import::Options;
use crate::language::import::draft::Draft;
use crate::language::import::replay::Replay;
use crate::model::diagnostic::{Diagnostic, Span};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recording {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    schema_version: Option<String>,
    workflow: Workflow,
}

#[derive(Deserialize)]
struct Workflow {
    #[serde(default)]
    specification: Option<Specification>,
    #[serde(default)]
    execution: Execution,
}

/// What the workflow is.
#[derive(Deserialize)]
pub(super) struct Specification {
    #[serde(default)]
    pub(super) tasks: Vec<Task>,
    #[serde(default)]
    pub(super) files: Vec<File>,
}

/// A task of the recorded workflow.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Task {
    #[serde(default)]
    pub(super) name: String,
    pub(super) id: String,
    #[serde(default)]
    pub(super) parents: Vec<String>,
    #[serde(default)]
    pub(super) children: Vec<String>,
    #[serde(default)]
    pub(super) input_files: Vec<String>,
    #[serde(default)]
    pub(super) output_files: Vec<String>,
}

/// A file and its size.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    pub(super) id: String,
    #[serde(default)]
    pub(super) size_in_bytes: f64,
}

/// How it ran.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Execution {
    pub(super) tasks: Vec<Measured>,
}

/// What one task used.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Measured {
    pub(super) id: String,
    pub(super) runtime_in_seconds: f64,
    pub(super) core_count: Option<f64>,
    #[serde(rename = "avgCPU")]
    pub(super) average_cpu: Option<f64>,
    pub(super) memory_in_bytes: Option<f64>,
    pub(super) command: Option<Command>,
}

/// What was run.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Command {
    pub(super) program: String,
}

/// Reads a recording. Returns the workflow that replays it, and what could not be replayed.
///
/// # Errors
/// Why the text is not a WfFormat 1.5 instance.
pub(super) fn read(text: &str, file: &str, options: &Options) -> Result<(Draft, Vec<Diagnostic>), Vec<Diagnostic>> {
    let recording: Recording = serde_json::from_str(text).map_err(|error| vec![syntax(text, &error)])?;
    let version = recording.schema_version.as_deref().unwrap_or("of no version");
    let Some(specification) = recording.workflow.specification else {
        let message = format!("this is WfFormat {version}: `workflow.specification` is missing");
        let help = "csync reads WfFormat 1.5; WfCommons converts older files";
        return Err(vec![Diagnostic::error(None, message).help(help)]);
    };
    if specification.tasks.is_empty() {
        return Err(vec![Diagnostic::error(None, "there is no task in `workflow.specification.tasks`")]);
    }
    let mut replay = Replay::new(&specification, &recording.workflow.execution, options)?;
    replay.order()?;
    let name = recording.name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| file.to_owned());
    let scale = format!(
        "Replays the WfFormat {version} recording `{name}` at {} of its run times and {} of its file sizes.",
        options.time_scale, options.size_scale,
    );
    let draft = Draft {
        name,
        head: vec![scale],
        description: recording.description.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")),
        tasks: replay.tasks(),
    };
    Ok((draft, replay.notes()))
}

fn syntax(text: &str, error: &serde_json::Error) -> Diagnostic {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (before + error.column().saturating_sub(1)).min(text.len());
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or(&words);
    Diagnostic::error(Span::new(at, at), format!("this is not a WfFormat file: {words}"))
        .help("csync reads WfFormat 1.5, as WfCommons writes it")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIAMOND: &str = r#"{
      "name": "diamond", "description": "A\n  fixture", "schemaVersion": "1.5", "extra": {"x": [1]},
      "workflow": {
        "specification": {
          "tasks": [
            {"name": "split", "id": "split_1", "parents": [], "children": ["left_1", "right_1"],
             "inputFiles": ["/in/all reads.txt"], "outputFiles": ["a*.txt", "b.txt"]},
            {"name": "left", "id": "left_1", "parents": ["split_1"], "children": [],
             "inputFiles": ["a*.txt"], "outputFiles": ["l.txt"]},
            {"name": "right", "id": "right_1", "parents": [], "children": [], "inputFiles": ["b.txt"], "outputFiles": []},
            {"name": "join", "id": "join_1", "parents": ["left_1", "right_1"], "inputFiles": ["l.txt"], "outputFiles": ["out"]}
          ],
          "files": [{"id": "a*.txt", "sizeInBytes": 1000}, {"id": "out", "sizeInBytes": 3.0}, {"id": "/in/all reads.txt", "sizeInBytes": 5}]
        },
        "execution": {"makespanInSeconds": 1, "tasks": [
          {"id": "split_1", "runtimeInSeconds": 12.5, "coreCount": 4, "avgCPU": 98.4, "memoryInBytes": 1048576, "machines": ["m"]},
          {"id": "left_1", "runtimeInSeconds": 0.01},
          {"id": "join_1", "runtimeInSeconds": 2}
        ]}
      }
    }"#;

    fn print(options: &Options) -> String {
        read(DIAMOND, "file", options).unwrap().0.print()
    }

    #[test]
    fn a_recording_becomes_a_replay() {
        insta::assert_snapshot!(print(&Options { time_scale: 0.1, cpus_cap: Some(2), ..Options::default() }), @r#"
# Replays the WfFormat 1.5 recording `diamond` at 0.1 of its run times and 0 of its file sizes.
name = "diamond"
schema = 1
description = "A fixture"

[tasks.workflow_inputs]
# Makes the files that the recorded workflow was given.
outputs = ["files/in_all_reads.txt"]
run = '''
for file in {outputs}; do : > "$file"; done
'''
resources = { cpus = 1 }

[tasks.split]
# `split_1` ran 12.50 s at 98 % CPU with 1M of memory.
inputs = ["files/in_all_reads.txt"]
outputs = ["files/a_.txt", "files/b.txt"]
run = '''
for file in {inputs}; do test -r "$file"; done
sleep 1.250
for file in {outputs}; do : > "$file"; done
'''
resources = { cpus = 2 }

[tasks.left]
# `left_1` ran 0.01 s.
inputs = ["files/a_.txt"]
outputs = ["files/l.txt"]
run = '''
for file in {inputs}; do test -r "$file"; done
sleep 0.001
for file in {outputs}; do : > "$file"; done
'''
resources = { cpus = 1 }

[tasks.right]
# `right_1` was not measured.
inputs = ["files/b.txt"]
run = '''
for file in {inputs}; do test -r "$file"; done
'''
resources = { cpus = 1 }

[tasks.join]
# `join_1` ran 2.00 s.
needs = ["right"]
inputs = ["files/l.txt"]
outputs = ["files/out"]
run = '''
for file in {inputs}; do test -r "$file"; done
sleep 0.200
for file in {outputs}; do : > "$file"; done
'''
resources = { cpus = 1 }
"#);
    }

    #[test]
    fn files_have_their_scaled_sizes() {
        let text = print(&Options { size_scale: 0.01, ..Options::default() });
        for line in [
            "cat {inputs} > /dev/null",
            "head -c 10 /dev/zero > {outputs[0]}",
            "head -c 0 /dev/zero > {outputs[1]}",
            "sleep 12.500",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn what_is_not_measured_is_told() {
        let (_, notes) = read(DIAMOND, "file", &Options::default()).unwrap();
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].message, "tasks without a run time end at once: 1 of 4");
    }

    #[test]
    fn refusals_say_why() {
        let refusal = |text: &str| read(text, "file", &Options::default()).unwrap_err().remove(0).message;
        assert!(refusal("{\"workflow\":\n 3}").starts_with("this is not a WfFormat file: invalid type"));
        assert!(refusal("{\"schemaVersion\":\"1.3\",\"workflow\":{}}").starts_with("this is WfFormat 1.3"));
        let unknown = DIAMOND.replace("[\"split_1\"]", "[\"gone\"]");
        assert_eq!(refusal(&unknown), "`gone`, which the task `left_1` names, is no task of the recording");
        let cycle = DIAMOND.replace(
            "\"parents\": [], \"children\": [\"left_1\"",
            "\"parents\": [\"join_1\"], \"children\": [\"left_1\"",
        );
        assert!(refusal(&cycle).contains("form a cycle"));
    }

    #[test]
    fn files_made_twice_or_too_late_are_left_out() {
        let text = DIAMOND
            .replace("\"outputFiles\": [\"l.txt\"]", "\"outputFiles\": [\"l.txt\", \"b.txt\"]")
            .replace("[\"/in/all reads.txt\"]", "[\"out\", \"b.txt\"]");
        let (draft, notes) = read(&text, "file", &Options::default()).unwrap();
        assert_eq!(draft.tasks[0].inputs, Vec::<String>::new());
        assert_eq!(draft.tasks[1].outputs, ["files/l.txt"]);
        let messages: Vec<_> = notes.iter().map(|note| note.message.as_str()).collect();
        assert_eq!(
            messages[1..],
            ["files that more than one task makes: 1", "inputs that are made after the task that reads them: 1"]
        );
    }
}
