//! `csync check`: the mistakes of a workflow, and what holds for its tasks.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure, Source};
use crate::cli::planned::{facts_of, here, planned};
use crate::cli::submission::{WorkflowFile, key_value};
use crate::cli::view;
use crate::cli::view::Paint;
use crate::cli::view::words::{many, number, shell_word};
use crate::language::hosts::Hosts;
use crate::language::manifest::{self, Effective, Origin};
use crate::model::api::ErrorKind;
use crate::model::data::DATA;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::id::TaskId;
use crate::serve::prepare::{Planned, places, wishes};

/// Check a workflow without running it
///
/// Reads the workflow, expands it, and names every mistake with its place in the file. What is no mistake in the file but
/// would keep it from running here, such as an input that does not exist, is a warning. The exit code is 2 when there is a
/// mistake.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow file; `-` reads standard input
    #[arg(value_name = "FILE", default_value = "workflow.toml")]
    file: PathBuf,
    /// Set a parameter of `[params]`; may be given several times
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
    /// Print every value that holds for the tasks, and who said it
    #[arg(short, long)]
    explain: bool,
    /// Explain this task alone; may be given several times
    #[arg(short, long = "task", value_name = "TASK", requires = "explain")]
    tasks: Vec<String>,
    /// Take warnings for mistakes
    #[arg(long)]
    strict: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let (file, planned) = planned(context, &args.file, &args.params)?;
    let mut warnings = planned.warnings.clone();
    let facts = facts_of(context, &planned.expanded.plan)?;
    let hosts = places::hosts(|name| std::env::var_os(name), &facts)?;
    warnings.extend(obstacles(&planned, &hosts));
    warnings.extend(places::misfits(&planned.expanded.plan, &hosts, &facts, here()));
    if args.strict && !warnings.is_empty() {
        for warning in &mut warnings {
            warning.severity = Severity::Error;
        }
        return Err(Failure::mistakes(warnings, file.source.clone()));
    }
    let explained = if args.explain { explain(&planned, args, &file)? } else { Vec::new() };
    if context.json() {
        context.print_json(&to_json(&file, &planned, &warnings, &explained))?;
        return Ok(Exit::Success);
    }
    if !warnings.is_empty() && !context.quiet() {
        context.warn(&view::failure::diagnostics(&warnings, &file.source, context.paint_err()));
    }
    if args.explain {
        context.print(&explanation(&explained, context.paint()))?;
    } else {
        context.print(&verdict(&file, &planned, warnings.len()))?;
        if let Some(path) = &file.path {
            context.say(&format!("`csync submit -n {}` says what would run, and why.", shell_word(path)));
        }
    }
    Ok(Exit::Success)
}

/// Returns what would keep a sound workflow from running here and now.
fn obstacles(planned: &Planned, hosts: &Hosts) -> Vec<Diagnostic> {
    let plan = &planned.expanded.plan;
    let mut found: Vec<Diagnostic> =
        wishes(&planned.workflow, plan, hosts).into_iter().map(|(_, diagnostic)| diagnostic).collect();
    let missing = planned.expanded.external.iter().filter(|&&path| {
        let path = plan.path(path);
        // Whether a dataset has it, is for the submission to see.
        !manifest::is_remote(path)
            && !path.starts_with(DATA)
            && !Path::new(&manifest::absolute(&plan.root, path)).exists()
    });
    found.extend(missing.map(|&path| manifest::missing_input(&planned.workflow, plan, path)));
    for diagnostic in &mut found {
        diagnostic.severity = Severity::Warning;
    }
    found
}

/// Returns how many dependencies there are: between instances by files, and between tasks by `needs`.
fn dependencies(planned: &Planned) -> u64 {
    let plan = &planned.expanded.plan;
    plan.dependents.len() as u64 + plan.tasks.iter().map(|task| task.needs.len() as u64).sum::<u64>()
}

fn verdict(file: &WorkflowFile, planned: &Planned, warnings: usize) -> String {
    let plan = &planned.expanded.plan;
    let verdict = match warnings {
        0 => "is fine".to_owned(),
        warnings => format!("has no mistakes, and {}", many(warnings as u32, "warning")),
    };
    let links = dependencies(planned);
    let word = if links == 1 { "dependency" } else { "dependencies" };
    format!(
        "{} {verdict}: {}, {}, {} {word}.",
        file.source.name,
        many(plan.tasks.len() as u32, "task"),
        many(plan.instances.len() as u32, "instance"),
        number(links)
    )
}

/// A task with every value that holds for it.
struct Explained {
    task: String,
    instances: u32,
    values: Vec<(Effective, Place)>,
}

/// Who said a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BuiltIn,
    /// `[defaults]`, in this line.
    Defaults(usize),
    /// The task, in this line.
    Task(usize),
}

fn explain(planned: &Planned, args: &Args, file: &WorkflowFile) -> Result<Vec<Explained>, Failure> {
    let plan = &planned.expanded.plan;
    if let Some(unknown) = args.tasks.iter().find(|name| !plan.tasks.iter().any(|task| task.name == **name)) {
        let message = format!("the workflow has no task `{unknown}`");
        return Err(
            Failure::new(ErrorKind::NotFound, message).hint("`csync check --explain` without `--task` lists all")
        );
    }
    let lines = Lines::new(&file.source);
    let place = |origin: Origin| match origin {
        Origin::BuiltIn => Place::BuiltIn,
        Origin::Defaults(span) => Place::Defaults(lines.of(span.start)),
        Origin::Task(span) => Place::Task(lines.of(span.start)),
    };
    let chosen = |name: &str| args.tasks.is_empty() || args.tasks.iter().any(|task| task == name);
    let tasks = plan.tasks.iter().zip(&plan.task_instances).enumerate().filter(|(_, (task, _))| chosen(&task.name));
    let explained = tasks.map(|(index, (task, instances))| {
        let values = manifest::explain_at(&planned.workflow, TaskId(index as u32)).unwrap_or_default();
        let values = values.into_iter().map(|value| {
            let place = place(value.origin);
            (value, place)
        });
        Explained { task: task.name.clone(), instances: instances.len, values: values.collect() }
    });
    Ok(explained.collect())
}

fn explanation(explained: &[Explained], paint: Paint) -> String {
    let mut text = String::new();
    let values = || explained.iter().flat_map(|task| &task.values);
    let keys = values().map(|(value, _)| value.key.len()).max().unwrap_or(0);
    let widths = values().map(|(value, _)| console::measure_text_width(&value.value)).max().unwrap_or(0).min(48);
    for (index, task) in explained.iter().enumerate() {
        let gap = if index > 0 { "\n" } else { "" };
        let _ = writeln!(text, "{gap}{}  {}", paint.bold(&task.task), paint.dim(many(task.instances, "instance")));
        for (value, place) in &task.values {
            let words = value.value.replace('\n', " ");
            let pad = " ".repeat(widths.saturating_sub(console::measure_text_width(&words)));
            let line = format!("  {:keys$}  {words}{pad}", value.key);
            let _ = match place {
                Place::BuiltIn => writeln!(text, "{}", paint.dim(format!("{line}  built-in"))),
                Place::Defaults(at) => writeln!(text, "{line}  [defaults], line {at}"),
                Place::Task(at) => writeln!(text, "{line}  line {at}"),
            };
        }
    }
    text
}

/// Where the lines of a text start.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(source: &Source) -> Self {
        let ends = source.text.match_indices('\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Returns the line of a byte, from 1.
    fn of(&self, byte: u32) -> usize {
        self.starts.partition_point(|&start| start <= byte as usize)
    }
}

fn to_json(
    file: &WorkflowFile,
    planned: &Planned,
    warnings: &[Diagnostic],
    explained: &[Explained],
) -> serde_json::Value {
    let plan = &planned.expanded.plan;
    let values = |task: &Explained| -> Vec<serde_json::Value> {
        let origin = |place: Place| match place {
            Place::BuiltIn => json!({ "origin": "built-in" }),
            Place::Defaults(line) => json!({ "origin": "defaults", "line": line }),
            Place::Task(line) => json!({ "origin": "task", "line": line }),
        };
        let value = |(value, place): &(Effective, Place)| json!({ "key": value.key, "value": value.value, "from": origin(*place) });
        task.values.iter().map(value).collect()
    };
    let tasks: Vec<_> = explained.iter().map(|task| json!({ "task": task.task, "values": values(task) })).collect();
    json!({
        "file": file.path,
        "name": plan.name,
        "tasks": plan.tasks.len(),
        "instances": plan.instances.len(),
        "dependencies": dependencies(planned),
        "warnings": warnings,
        "explain": (!tasks.is_empty()).then_some(tasks),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_lines() {
        let lines = Lines::new(&Source { name: "x".to_owned(), text: "a\nbc\n\nd".to_owned() });
        assert_eq!([0, 1, 2, 4, 5, 6].map(|byte| lines.of(byte)), [1, 1, 2, 2, 3, 4]);
    }
}
