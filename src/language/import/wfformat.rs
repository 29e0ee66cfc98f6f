//! WfFormat 1.5 (WfCommons): a recorded workflow becomes one that replays it: every task waits as long as it ran, reads its
//! inputs and makes its outputs, at the scale that was chosen.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use serde::Deserialize;

use crate::language::import::Options;
use crate::language::import::draft::{Draft, DraftTask, Resources, Run, Text, task_name};
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::units::Bytes;

/// Directory of the replay's files.
const FILES: &str = "files";

/// Name of the task that makes what the recorded workflow was given.
const FIRST: &str = "workflow_inputs";

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

#[derive(Deserialize)]
struct Specification {
    #[serde(default)]
    tasks: Vec<Task>,
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    #[serde(default)]
    name: String,
    id: String,
    #[serde(default)]
    parents: Vec<String>,
    #[serde(default)]
    children: Vec<String>,
    #[serde(default)]
    input_files: Vec<String>,
    #[serde(default)]
    output_files: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    id: String,
    #[serde(default)]
    size_in_bytes: f64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Execution {
    tasks: Vec<Measured>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Measured {
    id: String,
    runtime_in_seconds: f64,
    core_count: Option<f64>,
    #[serde(rename = "avgCPU")]
    average_cpu: Option<f64>,
    memory_in_bytes: Option<f64>,
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

/// The recording, with everything looked up.
struct Replay<'a> {
    tasks: &'a [Task],
    measured: HashMap<&'a str, &'a Measured>,
    sizes: HashMap<&'a str, f64>,
    options: &'a Options,
    /// Names of the tasks, unique.
    names: Vec<String>,
    /// Tasks that come first, by position; from `parents` and `children`.
    parents: Vec<Vec<usize>>,
    /// Who makes a file.
    producers: HashMap<&'a str, usize>,
    /// Names of the files on disk, unique.
    paths: HashMap<&'a str, String>,
    /// Inputs that are left out, as their producer comes later.
    cut: HashSet<(usize, &'a str)>,
    /// Files that a second task makes too.
    made_twice: Vec<&'a str>,
}

impl<'a> Replay<'a> {
    fn new(
        specification: &'a Specification,
        execution: &'a Execution,
        options: &'a Options,
    ) -> Result<Self, Vec<Diagnostic>> {
        let tasks = specification.tasks.as_slice();
        let mut ids = HashMap::new();
        for (index, task) in tasks.iter().enumerate() {
            if ids.insert(task.id.as_str(), index).is_some() {
                return Err(vec![Diagnostic::error(None, format!("two tasks have the id `{}`", task.id))]);
            }
        }
        let mut producers = HashMap::new();
        let mut made_twice = Vec::new();
        for (index, task) in tasks.iter().enumerate() {
            for file in &task.output_files {
                if *producers.entry(file.as_str()).or_insert(index) != index {
                    made_twice.push(file.as_str());
                }
            }
        }
        Ok(Self {
            tasks,
            measured: execution.tasks.iter().map(|measured| (measured.id.as_str(), measured)).collect(),
            sizes: specification.files.iter().map(|file| (file.id.as_str(), file.size_in_bytes)).collect(),
            options,
            names: names(tasks),
            parents: parents(tasks, &ids)?,
            producers,
            paths: paths(tasks),
            cut: HashSet::new(),
            made_twice,
        })
    }

    /// Refuses a cycle of tasks, and cuts those that files alone would close.
    fn order(&mut self) -> Result<(), Vec<Diagnostic>> {
        let by_files = |replay: &Self, index: usize| -> Vec<usize> {
            let inputs = replay.tasks.get(index).map_or(&[][..], |task| &task.input_files);
            let makers = inputs.iter().filter_map(|file| replay.producers.get(file.as_str()).copied());
            makers.filter(|&maker| maker != index).collect()
        };
        let files: Vec<Vec<usize>> = (0..self.tasks.len()).map(|index| by_files(self, index)).collect();
        let both: Vec<Vec<usize>> = self.parents.iter().zip(&files).map(|(a, b)| [a.as_slice(), b].concat()).collect();
        if ranks(&both).is_ok() {
            return Ok(());
        }
        let ranks = ranks(&self.parents).map_err(|index| {
            let name = self.tasks.get(index).map_or("", |task| &task.id);
            let message = format!("the task `{name}` comes after itself: `parents` and `children` form a cycle");
            vec![Diagnostic::error(None, message)]
        })?;
        for (index, task) in self.tasks.iter().enumerate() {
            for file in &task.input_files {
                let maker = self.producers.get(file.as_str()).copied();
                if maker.is_some_and(|maker| maker != index && ranks.get(maker) >= ranks.get(index)) {
                    self.cut.insert((index, file));
                }
            }
        }
        Ok(())
    }

    fn path(&self, file: &str) -> String {
        format!("{FILES}/{}", self.paths.get(file).map_or("file", String::as_str))
    }

    fn tasks(&self) -> Vec<DraftTask> {
        let mut given = Vec::new();
        let mut seen = HashSet::new();
        for file in self.tasks.iter().flat_map(|task| &task.input_files) {
            if !self.producers.contains_key(file.as_str()) && seen.insert(file.as_str()) {
                given.push(file.as_str());
            }
        }
        let mut tasks = Vec::with_capacity(self.tasks.len() + 1);
        if !given.is_empty() {
            tasks.push(DraftTask {
                name: FIRST.to_owned(),
                comments: vec!["Makes the files that the recorded workflow was given.".to_owned()],
                outputs: given.iter().map(|file| self.path(file)).collect(),
                run: Run::Script(Text::Template(self.script(None, &[], &given))),
                resources: Resources { cpus: Some(1), ..Resources::default() },
                ..DraftTask::default()
            });
        }
        tasks.extend(self.tasks.iter().enumerate().map(|(index, task)| self.task(index, task)));
        tasks
    }

    fn task(&self, index: usize, task: &'a Task) -> DraftTask {
        let mut seen = HashSet::new();
        let outputs: Vec<&str> = task.output_files.iter().map(String::as_str).collect();
        let outputs: Vec<&str> =
            outputs.into_iter().filter(|file| self.producers.get(file) == Some(&index) && seen.insert(*file)).collect();
        // A file that a task changes in place is its output; another task's stays its input.
        let inputs = task.input_files.iter().map(String::as_str);
        let inputs: Vec<&str> =
            inputs.filter(|file| !self.cut.contains(&(index, *file)) && seen.insert(*file)).collect();
        let linked: HashSet<usize> = inputs.iter().filter_map(|file| self.producers.get(file).copied()).collect();
        let parents = self.parents.get(index).map_or(&[][..], Vec::as_slice);
        let needs = parents.iter().filter(|parent| !linked.contains(parent));
        let measured = self.measured.get(task.id.as_str()).copied();
        let cores = measured.and_then(|measured| measured.core_count).map_or(1, |cores| (cores.ceil() as u32).max(1));
        DraftTask {
            name: self.names.get(index).cloned().unwrap_or_default(),
            comments: vec![comment(task, measured)],
            needs: needs.filter_map(|&parent| self.names.get(parent).cloned()).collect(),
            inputs: inputs.iter().map(|file| self.path(file)).collect(),
            outputs: outputs.iter().map(|file| self.path(file)).collect(),
            run: Run::Script(Text::Template(self.script(measured, &inputs, &outputs))),
            resources: Resources {
                cpus: Some(cores.min(self.options.cpus_cap.unwrap_or(u32::MAX)).max(1)),
                ..Resources::default()
            },
            ..DraftTask::default()
        }
    }

    /// Writes what a task does. Empty files are made and looked at by the shell itself: no process but `sleep`.
    fn script(&self, measured: Option<&Measured>, inputs: &[&str], outputs: &[&str]) -> String {
        let mut script = String::new();
        if !inputs.is_empty() {
            script.push_str(if self.options.size_scale > 0.0 {
                "cat {inputs} > /dev/null\n"
            } else {
                "for file in {inputs}; do test -r \"$file\"; done\n"
            });
        }
        let seconds = measured.map_or(0.0, |measured| measured.runtime_in_seconds) * self.options.time_scale;
        if seconds >= 0.0005 && seconds.is_finite() {
            let _ = writeln!(script, "sleep {seconds:.3}");
        }
        let sizes: Vec<u64> = outputs.iter().map(|file| self.size(file)).collect();
        if !outputs.is_empty() && sizes.iter().all(|&size| size == 0) {
            script.push_str("for file in {outputs}; do : > \"$file\"; done\n");
        } else {
            for (index, size) in sizes.iter().enumerate() {
                let _ = writeln!(script, "head -c {size} /dev/zero > {{outputs[{index}]}}");
            }
        }
        if script.is_empty() { "true".to_owned() } else { script }
    }

    fn size(&self, file: &str) -> u64 {
        let size = self.sizes.get(file).copied().unwrap_or(0.0) * self.options.size_scale;
        if size.is_finite() && size > 0.0 { size.ceil() as u64 } else { 0 }
    }

    fn notes(&self) -> Vec<Diagnostic> {
        let mut notes = Vec::new();
        let unmeasured = self.tasks.iter().filter(|task| !self.measured.contains_key(task.id.as_str())).count();
        if unmeasured > 0 {
            let message = format!("{unmeasured} of {} tasks have no run time; they end at once", self.tasks.len());
            notes.push(Diagnostic::warning(None, message).help("see `workflow.execution.tasks` of the recording"));
        }
        if let [first, ..] = self.made_twice.as_slice() {
            let message = format!("{} are made by more than one task", count(self.made_twice.len(), "file"));
            let help = format!("the first task keeps the file as its output; the first such file is `{first}`");
            notes.push(Diagnostic::warning(None, message).help(help));
        }
        if !self.cut.is_empty() {
            let message = format!("{} are made after the task that reads them", count(self.cut.len(), "input"));
            notes.push(Diagnostic::warning(None, message).help("these inputs are left out"));
        }
        notes
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Describes a task as it was measured.
fn comment(task: &Task, measured: Option<&Measured>) -> String {
    let mut text =
        if task.name.is_empty() || task.name == task.id { String::new() } else { format!("{}: ", task.name) };
    let Some(measured) = measured else {
        text.push_str("not measured");
        return text;
    };
    let _ = write!(text, "ran {:.2} s", measured.runtime_in_seconds);
    if let Some(cpu) = measured.average_cpu {
        let _ = write!(text, " at {cpu:.0} % CPU");
    }
    if let Some(memory) = measured.memory_in_bytes.filter(|&memory| memory > 0.0) {
        let _ = write!(text, " with {} of memory", Bytes(memory as u64));
    }
    text
}

/// Gives every task a name of its own, near its id.
fn names(tasks: &[Task]) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::from([FIRST.to_owned()]);
    let name = |task: &Task| unique(&task_name(&task.id), &mut taken);
    tasks.iter().map(name).collect()
}

/// Gives every file a name of its own, without directories: one recording's `a` may be another task's directory.
fn paths(tasks: &[Task]) -> HashMap<&str, String> {
    let mut taken = HashSet::new();
    let mut paths = HashMap::new();
    for file in tasks.iter().flat_map(|task| task.input_files.iter().chain(&task.output_files)) {
        paths.entry(file.as_str()).or_insert_with(|| unique(&file_name(file), &mut taken));
    }
    paths
}

fn file_name(file: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._+-@=,%".contains(c) { c } else { '_' };
    let name: String = file.trim_matches('/').chars().map(plain).collect();
    // Longer names than a file system takes keep their end, where they differ.
    let name = name.get(name.len().saturating_sub(200)..).unwrap_or(&name);
    if matches!(name, "" | "." | "..") { "file".to_owned() } else { name.to_owned() }
}

fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.to_owned();
    let mut next = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{next}");
        next += 1;
    }
    candidate
}

fn parents(tasks: &[Task], ids: &HashMap<&str, usize>) -> Result<Vec<Vec<usize>>, Vec<Diagnostic>> {
    let find = |id: &str, of: &Task| {
        let unknown = || format!("`{id}`, which the task `{}` names, is no task of the recording", of.id);
        ids.get(id).copied().ok_or_else(|| vec![Diagnostic::error(None, unknown())])
    };
    let mut parents = vec![Vec::new(); tasks.len()];
    for (index, task) in tasks.iter().enumerate() {
        for parent in &task.parents {
            if let Some(list) = parents.get_mut(index) {
                list.push(find(parent, task)?);
            }
        }
        for child in &task.children {
            if let Some(list) = parents.get_mut(find(child, task)?) {
                list.push(index);
            }
        }
    }
    for list in &mut parents {
        list.sort_unstable();
        list.dedup();
    }
    Ok(parents)
}

/// Returns the position of every node in an order that respects `before`, or a node of a cycle.
fn ranks(before: &[Vec<usize>]) -> Result<Vec<usize>, usize> {
    let mut waits: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
    for (index, firsts) in before.iter().enumerate() {
        for &first in firsts {
            if let Some(list) = after.get_mut(first) {
                list.push(index);
            }
        }
    }
    let mut ready: Vec<usize> = (0..before.len()).filter(|&index| waits.get(index) == Some(&0)).collect();
    let mut ranks = vec![usize::MAX; before.len()];
    let mut rank = 0;
    while let Some(index) = ready.pop() {
        if let Some(slot) = ranks.get_mut(index) {
            *slot = rank;
        }
        rank += 1;
        for &next in after.get(index).map_or(&[][..], Vec::as_slice) {
            if let Some(wait) = waits.get_mut(next) {
                *wait -= 1;
                if *wait == 0 {
                    ready.push(next);
                }
            }
        }
    }
    ranks.iter().position(|&rank| rank == usize::MAX).map_or(Ok(ranks), Err)
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

[tasks.split_1]
# split: ran 12.50 s at 98 % CPU with 1M of memory
inputs = ["files/in_all_reads.txt"]
outputs = ["files/a_.txt", "files/b.txt"]
run = '''
for file in {inputs}; do test -r "$file"; done
sleep 1.250
for file in {outputs}; do : > "$file"; done
'''
resources = { cpus = 2 }

[tasks.left_1]
# left: ran 0.01 s
inputs = ["files/a_.txt"]
outputs = ["files/l.txt"]
run = '''
for file in {inputs}; do test -r "$file"; done
sleep 0.001
for file in {outputs}; do : > "$file"; done
'''
resources = { cpus = 1 }

[tasks.right_1]
# right: not measured
inputs = ["files/b.txt"]
run = '''
for file in {inputs}; do test -r "$file"; done
'''
resources = { cpus = 1 }

[tasks.join_1]
# join: ran 2.00 s
needs = ["right_1"]
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
        assert_eq!(notes[0].message, "1 of 4 tasks have no run time; they end at once");
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
            ["1 file are made by more than one task", "1 input are made after the task that reads them"]
        );
    }
}
