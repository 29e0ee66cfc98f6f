//! Tests of the room as a whole: from text to plan to command, and every mistake with its place and hint.

mod expansion;
mod mistakes;
mod properties;
mod rendering;
mod starters;

use std::collections::BTreeMap;

use super::*;
use crate::model::diagnostic::Severity;
use crate::model::resources::{Grant, Hold};
use crate::model::units::{Bytes, Walltime};

/// A workflow's directory in a test.
const ROOT: &str = "/lab/flow";

/// What lies in it: paths that exist, and the texts of some.
#[derive(Default)]
struct World {
    paths: Vec<&'static str>,
    files: BTreeMap<&'static str, String>,
    params: BTreeMap<String, String>,
}

impl World {
    fn with(paths: &[&'static str]) -> Self {
        Self { paths: paths.to_vec(), ..Self::default() }
    }

    fn file(mut self, path: &'static str, text: &str) -> Self {
        self.files.insert(path, text.to_owned());
        self
    }

    fn param(mut self, name: &str, value: &str) -> Self {
        self.params.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Looks at the disk as the caller does, until nothing is wanted.
    fn facts(&self, workflow: &Workflow) -> Result<Facts, Vec<Diagnostic>> {
        let mut facts = Facts::default();
        for _ in 0..4 {
            let wants = wants(workflow, ROOT, &self.params, &facts)?;
            if wants == Wants::default() {
                return Ok(facts);
            }
            for pattern in wants.globs {
                let matcher = matcher(&pattern).unwrap();
                let found = self.paths.iter().filter(|path| matcher.is_match(path)).map(|path| (*path).to_owned());
                let found: Vec<String> = found.collect();
                facts.globs.insert(pattern, found);
            }
            for file in wants.files {
                let text = self.files.get(file.as_str()).cloned().ok_or_else(|| "no such file".to_owned());
                facts.files.insert(file, text);
            }
        }
        panic!("it wants the same again");
    }

    fn expand(&self, text: &str) -> Result<Expanded, Vec<Diagnostic>> {
        let (workflow, mistakes) = read(text);
        if mistakes.iter().any(|mistake| mistake.severity == Severity::Error) {
            return Err(mistakes);
        }
        let facts = self.facts(&workflow)?;
        expand(&workflow, ROOT, &self.params, &facts, Limits::default())
    }
}

/// Expands a workflow of which only the tasks are given.
fn expanded(tasks: &str) -> Expanded {
    World::default().expand(&format!("name = \"t\"\n{tasks}")).unwrap()
}

fn grant() -> Grant {
    Grant { cpus: 4, mem: Bytes::gib(8), hold: Hold::Limit, time: Some(Walltime(90)), gpus: 1 }
}

fn labels(plan: &Plan) -> Vec<String> {
    plan.instance_ids().map(|instance| plan.label(instance)).collect()
}

/// Names the instances that depend on an instance.
fn dependents(plan: &Plan, label: &str) -> Vec<String> {
    let [instance] = plan.find(label)[..] else { panic!("no instance {label}") };
    plan.dependents(instance).iter().map(|&instance| plan.label(instance)).collect()
}

/// Renders the script (or the words, one a line) of an instance.
fn command(plan: &Plan, label: &str) -> String {
    let [instance] = plan.find(label)[..] else { panic!("no instance {label}") };
    match render(plan, instance, &grant(), 2).invocation {
        Invocation::Script(script) => script,
        Invocation::Argv(words) => words.join("\n"),
    }
}

/// Writes a mistake as `message @ underlined text ? help`.
fn line(text: &str, mistake: &Diagnostic) -> String {
    let mut line = mistake.message.clone();
    if let Some(span) = mistake.span {
        line = format!("{line} @ {}", &text[span.range()]);
    }
    for (span, words) in &mistake.related {
        line = format!("{line} + {words}: {}", &text[span.range()]);
    }
    match &mistake.help {
        Some(help) => format!("{line} ? {help}"),
        None => line,
    }
}

/// Reads, and expands when that is possible; returns every mistake as a line.
fn lines(world: &World, text: &str) -> Vec<String> {
    let (_, mut mistakes) = read(text);
    if mistakes.iter().all(|mistake| mistake.severity == Severity::Warning) {
        match world.expand(text) {
            Ok(expanded) => mistakes.extend(expanded.warnings),
            Err(more) => mistakes.extend(more),
        }
    }
    mistakes.iter().map(|mistake| line(text, mistake)).collect()
}
