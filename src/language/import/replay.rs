//! A recording as tasks of ours: tasks of one kind become rows of one task where their files allow it, so that people see
//! `individuals` with 220 instances and not 220 tasks.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use crate::language::import::Options;
use crate::language::import::draft::{DraftTask, Foreach, Resources, Run, Text, task_name};
use crate::language::import::names::{stem, unique};
use crate::language::import::wfformat::{Execution, Measured, Specification, Task};
use crate::model::diagnostic::Diagnostic;
use crate::model::units::Bytes;

/// Directory of the replay's files.
const FILES: &str = "files";

/// Name of the task that makes what the recorded workflow was given.
const FIRST: &str = "workflow_inputs";

/// Most files of a row: beyond this a row is no easier to read than a task.
const ROW_FILES: usize = 24;

/// The recording, with everything looked up.
pub(super) struct Replay<'a> {
    tasks: &'a [Task],
    measured: HashMap<&'a str, &'a Measured>,
    sizes: HashMap<&'a str, f64>,
    options: &'a Options,
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

/// What one recorded task becomes.
struct Step<'a> {
    task: &'a Task,
    measured: Option<&'a Measured>,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    /// Tasks that come first although no file says so.
    needs: Vec<usize>,
    cores: u32,
}

impl<'a> Replay<'a> {
    pub(super) fn new(
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
            parents: parents(tasks, &ids)?,
            producers,
            paths: paths(tasks),
            cut: HashSet::new(),
            made_twice,
        })
    }

    /// Refuses a cycle of tasks, and cuts those that files alone would close.
    pub(super) fn order(&mut self) -> Result<(), Vec<Diagnostic>> {
        let by_files = |index: usize, task: &Task| -> Vec<usize> {
            let makers = task.input_files.iter().filter_map(|file| self.producers.get(file.as_str()).copied());
            makers.filter(|&maker| maker != index).collect()
        };
        let files = self.tasks.iter().enumerate().map(|(index, task)| by_files(index, task));
        let both: Vec<Vec<usize>> = self.parents.iter().zip(files).map(|(a, b)| [a.as_slice(), &b].concat()).collect();
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

    /// Returns the tasks of the replay.
    pub(super) fn tasks(&self) -> Vec<DraftTask> {
        let steps: Vec<Step<'_>> = self.tasks.iter().enumerate().map(|(index, task)| self.step(index, task)).collect();
        let groups = groups(&steps);
        let mut taken = HashSet::from([FIRST.to_owned()]);
        let mut names: Vec<String> = Vec::with_capacity(groups.len());
        let mut name_of = vec![0; steps.len()];
        for group in &groups {
            let kind = group.first().and_then(|&first| steps.get(first)).map_or("", Step::kind);
            for &member in group {
                if let Some(slot) = name_of.get_mut(member) {
                    *slot = names.len();
                }
            }
            names.push(unique(&task_name(kind), &mut taken));
        }
        let name_of = |step: usize| name_of.get(step).and_then(|&group| names.get(group)).cloned().unwrap_or_default();
        let mut tasks: Vec<DraftTask> = self.first_task(&steps).into_iter().collect();
        for (group, name) in groups.iter().zip(&names) {
            let members: Vec<&Step<'_>> = group.iter().filter_map(|&member| steps.get(member)).collect();
            tasks.extend(match members.as_slice() {
                [step] => Some(self.single(step, name, &name_of)),
                [first, ..] => Some(self.rows(first, &members, name)),
                [] => None,
            });
        }
        tasks
    }

    fn step(&self, index: usize, task: &'a Task) -> Step<'a> {
        let mut seen = HashSet::new();
        let made = |file: &&str| self.producers.get(file) == Some(&index);
        let outputs: Vec<&str> =
            task.output_files.iter().map(String::as_str).filter(made).filter(|file| seen.insert(*file)).collect();
        // A file that a task changes in place is its output; another task's stays its input.
        let inputs = task.input_files.iter().map(String::as_str);
        let inputs: Vec<&str> =
            inputs.filter(|file| !self.cut.contains(&(index, *file)) && seen.insert(*file)).collect();
        let linked: HashSet<usize> = inputs.iter().filter_map(|file| self.producers.get(file).copied()).collect();
        let parents = self.parents.get(index).map_or(&[][..], Vec::as_slice);
        let measured = self.measured.get(task.id.as_str()).copied();
        let cores = measured.and_then(|measured| measured.core_count).map_or(1, |cores| cores.ceil() as u32);
        Step {
            task,
            measured,
            inputs,
            outputs,
            needs: parents.iter().copied().filter(|parent| !linked.contains(parent)).collect(),
            cores: cores.min(self.options.cpus_cap.unwrap_or(u32::MAX)).max(1),
        }
    }

    /// The task that makes what no task of the recording makes.
    fn first_task(&self, steps: &[Step<'_>]) -> Option<DraftTask> {
        let mut seen = HashSet::new();
        let inputs = steps.iter().flat_map(|step| step.inputs.iter().copied());
        let given: Vec<&str> = inputs.filter(|file| !self.producers.contains_key(file) && seen.insert(*file)).collect();
        let sizes: Vec<u64> = given.iter().map(|file| self.size(file)).collect();
        (!given.is_empty()).then(|| DraftTask {
            name: FIRST.to_owned(),
            comments: vec!["Makes the files that the recorded workflow was given.".to_owned()],
            outputs: given.iter().map(|file| self.path(file)).collect(),
            run: script(&[make(&sizes)]),
            resources: Resources { cpus: Some(1), ..Resources::default() },
            ..DraftTask::default()
        })
    }

    /// A recorded task as a task of its own.
    fn single(&self, step: &Step<'_>, name: &str, name_of: &impl Fn(usize) -> String) -> DraftTask {
        let sizes: Vec<u64> = step.outputs.iter().map(|file| self.size(file)).collect();
        let sleep = match self.seconds(step) {
            seconds if seconds == "0" => String::new(),
            seconds => format!("sleep {seconds}\n"),
        };
        DraftTask {
            name: name.to_owned(),
            comments: vec![format!("`{}` {}.", step.task.id, step.words())],
            needs: step.needs.iter().map(|&need| name_of(need)).collect(),
            inputs: step.inputs.iter().map(|file| self.path(file)).collect(),
            outputs: step.outputs.iter().map(|file| self.path(file)).collect(),
            run: script(&[self.look(step), sleep, make(&sizes)]),
            resources: Resources { cpus: Some(step.cores), ..Resources::default() },
            ..DraftTask::default()
        }
    }

    /// Recorded tasks of one kind as one task with a row each.
    fn rows(&self, first: &Step<'_>, steps: &[&Step<'_>], name: &str) -> DraftTask {
        let inputs: Vec<String> = (1..=first.inputs.len()).map(|n| format!("in{n}")).collect();
        let outputs: Vec<String> = (1..=first.outputs.len()).map(|n| format!("out{n}")).collect();
        let real = self.options.size_scale > 0.0 && !outputs.is_empty();
        let sizes: Vec<String> = if real { (1..=outputs.len()).map(|n| format!("size{n}")).collect() } else { vec![] };
        let mut columns = vec!["id".to_owned(), "seconds".to_owned()];
        columns.extend(inputs.iter().chain(&outputs).chain(&sizes).cloned());
        let row = |step: &&Step<'_>| {
            let mut row = vec![step.number(), self.seconds(step)];
            row.extend(step.inputs.iter().chain(&step.outputs).map(|file| self.path(file)));
            row.extend(step.outputs.iter().take(sizes.len()).map(|file| self.size(file).to_string()));
            row
        };
        let rows: Vec<Vec<String>> = steps.iter().map(row).collect();
        let idle = rows.iter().all(|row| row.get(1).is_some_and(|seconds| seconds == "0"));
        let mut makes = String::new();
        for (index, size) in sizes.iter().enumerate() {
            let _ = writeln!(makes, "head -c {{item.{size}}} /dev/zero > {{outputs[{index}]}}");
        }
        if !real && !outputs.is_empty() {
            makes = make(&vec![0; outputs.len()]);
        }
        let placed = |columns: &[String]| columns.iter().map(|column| format!("{{item.{column}}}")).collect();
        DraftTask {
            name: name.to_owned(),
            comments: vec![format!("{} tasks; `{}` {}.", steps.len(), first.task.id, first.words())],
            foreach: Foreach::Rows { columns, rows },
            input_templates: placed(&inputs),
            output_templates: placed(&outputs),
            run: script(&[
                self.look(first),
                if idle { String::new() } else { "sleep {item.seconds}\n".to_owned() },
                makes,
            ]),
            resources: Resources { cpus: Some(first.cores), ..Resources::default() },
            ..DraftTask::default()
        }
    }

    /// Reads the inputs; of empty ones the shell itself sees that they are there.
    fn look(&self, step: &Step<'_>) -> String {
        let text = match (step.inputs.is_empty(), self.options.size_scale > 0.0) {
            (true, _) => "",
            (false, true) => "cat {inputs} > /dev/null\n",
            (false, false) => "for file in {inputs}; do test -r \"$file\"; done\n",
        };
        text.to_owned()
    }

    fn path(&self, file: &str) -> String {
        format!("{FILES}/{}", self.paths.get(file).map_or("file", String::as_str))
    }

    fn seconds(&self, step: &Step<'_>) -> String {
        let seconds = step.measured.map_or(0.0, |measured| measured.runtime_in_seconds) * self.options.time_scale;
        if seconds >= 0.0005 && seconds.is_finite() { format!("{seconds:.3}") } else { "0".to_owned() }
    }

    fn size(&self, file: &str) -> u64 {
        let size = self.sizes.get(file).copied().unwrap_or(0.0) * self.options.size_scale;
        if size.is_finite() && size > 0.0 { size.ceil() as u64 } else { 0 }
    }

    /// Returns what could not be replayed.
    pub(super) fn notes(&self) -> Vec<Diagnostic> {
        let mut notes = Vec::new();
        let unmeasured = self.tasks.iter().filter(|task| !self.measured.contains_key(task.id.as_str())).count();
        if unmeasured > 0 {
            let message = format!("tasks without a run time end at once: {unmeasured} of {}", self.tasks.len());
            notes.push(Diagnostic::warning(None, message).help("see `workflow.execution.tasks` of the recording"));
        }
        if let [first, ..] = self.made_twice.as_slice() {
            let message = format!("files that more than one task makes: {}", self.made_twice.len());
            let help = format!("the first task keeps such a file as its output; one of them is `{first}`");
            notes.push(Diagnostic::warning(None, message).help(help));
        }
        if !self.cut.is_empty() {
            let message = format!("inputs that are made after the task that reads them: {}", self.cut.len());
            notes.push(Diagnostic::warning(None, message).help("these inputs are left out"));
        }
        notes
    }
}

impl<'a> Step<'a> {
    /// Returns what the task has in common with others of its kind.
    fn kind(&self) -> &'a str {
        let (name, id) = (self.task.name.as_str(), self.task.id.as_str());
        // A name that the id only adds to is the kind itself, whatever it ends with (`bowtie2`).
        if !name.is_empty() && name != id && id.starts_with(name) {
            return name;
        }
        let program =
            self.measured.and_then(|measured| measured.command.as_ref()).map_or("", |command| &command.program);
        let word =
            !program.is_empty() && program.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.+".contains(&byte));
        if word && id.starts_with(program) { program } else { stem(id) }
    }

    /// Returns what tells the task from others of its kind.
    fn number(&self) -> String {
        let rest = self.task.id.strip_prefix(self.kind()).unwrap_or(&self.task.id);
        let rest = rest.trim_matches(['_', '-', '.', '#']);
        if rest.is_empty() { self.task.id.clone() } else { rest.to_owned() }
    }

    /// Describes the task as it was measured.
    fn words(&self) -> String {
        let Some(measured) = self.measured else { return "was not measured".to_owned() };
        let mut text = format!("ran {:.2} s", measured.runtime_in_seconds);
        if let Some(cpu) = measured.average_cpu {
            let _ = write!(text, " at {cpu:.0} % CPU");
        }
        if let Some(memory) = measured.memory_in_bytes.filter(|&memory| memory > 0.0) {
            let _ = write!(text, " with {} of memory", Bytes(memory as u64));
        }
        text
    }
}

/// Puts together what can be rows of one task: the same kind with as many files and cores.
fn groups(steps: &[Step<'_>]) -> Vec<Vec<usize>> {
    // What is needed by name must be a task of its own, and so must what needs.
    let needed: HashSet<usize> = steps.iter().flat_map(|step| step.needs.iter().copied()).collect();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<(&str, usize, usize, u32), usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        let files = step.inputs.len() + step.outputs.len();
        let alone = files > ROW_FILES || !step.needs.is_empty() || needed.contains(&index);
        let kind = (step.kind(), step.inputs.len(), step.outputs.len(), step.cores);
        if let Some(group) = known.get(&kind).and_then(|&group| groups.get_mut(group))
            && !alone
        {
            group.push(index);
            continue;
        }
        if !alone {
            known.insert(kind, groups.len());
        }
        groups.push(vec![index]);
    }
    groups
}

fn script(parts: &[String]) -> Run {
    let script = parts.concat();
    Run::Script(Text::Template(if script.is_empty() { "true".to_owned() } else { script }))
}

/// Makes the outputs; empty ones by the shell itself, without a process.
fn make(sizes: &[u64]) -> String {
    if sizes.iter().all(|&size| size == 0) {
        let loop_over = "for file in {outputs}; do : > \"$file\"; done\n";
        return if sizes.is_empty() { String::new() } else { loop_over.to_owned() };
    }
    let line = |(index, size): (usize, &u64)| format!("head -c {size} /dev/zero > {{outputs[{index}]}}\n");
    sizes.iter().enumerate().map(line).collect()
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
