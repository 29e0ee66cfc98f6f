//! From a submission to a plan with a verdict for every instance, and from an instance to a job.
//!
//! The engine does this for a submission; `csync submit --dry-run` and `csync check` do it in their own process. Reads the
//! disk and takes its time: an engine calls it where it may block.

mod choosing;
pub mod job;
pub mod lore;
pub mod places;
pub mod recheck;
pub mod sets;

mod refuse;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::decide::engine::protocol::Verdict;
use crate::decide::fresh::judge::{Judge, Judgement};
use crate::decide::fresh::memos::{Hashes, Memos};
use crate::decide::fresh::reason::Reason;
use crate::decide::fresh::select::{Selection, UnknownNames};
use crate::decide::graph::datasets::Catalog;
use crate::language::hosts::Hosts;
use crate::language::manifest::{self, Expanded, Facts, Limits, Workflow};
use crate::model::api::{ApiError, ErrorKind, Rerun, Submission};
use crate::model::choice::Policy;
use crate::model::data::{DATA, Elsewhere, counts};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::plan::{Fingerprint, Memo, Plan};
use crate::reach::files::FilesError;
use crate::reach::files::gather::gather;
use crate::reach::files::look::Root;
use crate::serve::prepare::places::Places;

pub use choosing::mark;
pub use refuse::wishes;

/// Mistakes of one kind that are shown; a message says how many more there are.
const MOST_SHOWN: usize = 20;

/// What is asked for: the parts of a [`Submission`] that decide what runs.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The text of the workflow.
    pub text: &'a str,
    /// Its directory, absolute.
    pub root: &'a str,
    /// `-p k=v`.
    pub params: &'a BTreeMap<String, String>,
    /// `--only`.
    pub only: &'a [String],
    /// `--rerun`.
    pub rerun: &'a Rerun,
    /// The hosts that there are.
    pub hosts: &'a Hosts,
    /// Files that go along with every task.
    pub tree: Option<&'a [String]>,
    /// Files of the directory that lie on hosts.
    pub elsewhere: &'a Elsewhere,
    /// The datasets that there are.
    pub catalog: &'a Catalog,
    /// `--policy`.
    pub policy: Option<Policy>,
}

impl<'a> Asked<'a> {
    /// Takes the parts of a submission.
    pub fn of(submission: &'a Submission, hosts: &'a Hosts, elsewhere: &'a Elsewhere, catalog: &'a Catalog) -> Self {
        Self {
            hosts,
            elsewhere,
            catalog,
            text: &submission.text,
            root: &submission.root,
            params: &submission.params,
            only: &submission.only,
            rerun: &submission.rerun,
            tree: submission.tree.as_deref(),
            policy: submission.policy,
        }
    }
}

/// A workflow read and expanded, before anything is judged.
#[derive(Debug)]
pub struct Planned {
    /// As it was read.
    pub workflow: Workflow,
    /// As it was expanded.
    pub expanded: Expanded,
    /// Warnings of both.
    pub warnings: Vec<Diagnostic>,
}

/// A submission, ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// What to do.
    pub plan: Arc<Plan>,
    /// Per instance, whether it needs to run.
    pub verdicts: Vec<Verdict>,
    /// Per instance, why.
    pub reasons: Vec<Reason>,
    /// What the person probably meant otherwise.
    pub warnings: Vec<Diagnostic>,
    /// Contents that are known already.
    pub hashes: Hashes,
    /// The memos that were judged by, for [`recheck`].
    pub memos: Memos,
    /// Memos to write anew: their files were touched and are the same.
    pub refreshed: Vec<Memo>,
    /// Where its tasks may run.
    pub places: Places,
}

/// Reads, checks and expands a workflow.
///
/// # Errors
/// [`ErrorKind::Invalid`] with every mistake, as far as they show without looking for inputs; [`ErrorKind::Storage`] when the
/// disk cannot be read.
pub fn plan(text: &str, root: &str, params: &BTreeMap<String, String>, catalog: &Catalog) -> Result<Planned, ApiError> {
    // Before anything is looked for in it: a directory that is not there has no file that matches.
    open(root)?;
    let (workflow, diagnostics) = manifest::read_knowing(text, sets::places_of(catalog));
    let mut warnings = refuse_errors(diagnostics)?;
    let mut facts = Facts::default();
    loop {
        // A pattern can hold values of rows that stand in a file: two rounds at most.
        let mut wants = manifest::wants(&workflow, root, params, &facts).map_err(invalid)?;
        if wants.is_empty() {
            break;
        }
        let of_datasets: Vec<String> = wants.globs.extract_if(.., |pattern| pattern.starts_with(DATA)).collect();
        let gone: Vec<Diagnostic> = of_datasets.iter().filter_map(|pattern| refuse::gone(pattern, catalog)).collect();
        if !gone.is_empty() {
            return Err(invalid(gone));
        }
        let of_datasets = of_datasets.into_iter();
        facts.globs.extend(of_datasets.map(|pattern| (pattern.clone(), catalog.glob(&pattern))));
        facts.add(gather(Path::new(root), &wants).map_err(|error| unreadable(&error))?);
    }
    let mut expanded = manifest::expand(&workflow, root, params, &facts, Limits::default()).map_err(invalid)?;
    warnings.append(&mut expanded.warnings);
    Ok(Planned { workflow, expanded, warnings })
}

/// Prepares a submission. `memos` is asked for the memos of the workflow, by its name, once that is known.
///
/// # Errors
/// As [`plan`]; [`ErrorKind::Invalid`] also with inputs that do not exist and wishes that the local machine cannot meet;
/// [`ErrorKind::NotFound`] when `--only` or `--rerun` names nothing; and what `memos` says.
pub fn prepare(asked: Asked<'_>, memos: impl FnOnce(&str) -> Result<Memos, ApiError>) -> Result<Prepared, ApiError> {
    let Planned { workflow, expanded, warnings } = plan(asked.text, asked.root, asked.params, asked.catalog)?;
    let Expanded { mut plan, left, external, .. } = expanded;
    if let Some(files) = asked.tree {
        plan.carry(files);
    }
    let selection = Selection::new(&plan, &left, asked.only, asked.rerun).map_err(|error| unknown(&plan, &error))?;
    let refusals = refuse::unserved(&workflow, &plan, &selection, asked.hosts);
    if !refusals.is_empty() {
        return Err(invalid(refusals));
    }
    choosing::mark(&mut plan, &workflow, asked.policy);
    let memos = memos(&plan.name)?;
    let (judgement, hashes) = {
        let judge = Judge::new(&plan, &memos, &selection);
        let mut seen = look(&plan, &judge, asked.elsewhere, asked.catalog)?;
        let judgement = judge_with_contents(&plan, &judge, &mut seen)?;
        let missing = refuse::missing_inputs(&workflow, &plan, &external, &judgement, &seen);
        if !missing.is_empty() {
            return Err(invalid(missing));
        }
        // What runs needs them; a run with nothing to do does not.
        let runs = judgement.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Stale | Verdict::Check));
        let hashes = if runs { judge.hashes(&seen) } else { Hashes::default() };
        (judgement, hashes)
    };
    let Judgement { verdicts, reasons, refreshed } = judgement;
    let places = Places::of(&plan, asked.hosts);
    Ok(Prepared { plan: Arc::new(plan), verdicts, reasons, warnings, hashes, memos, refreshed, places })
}

/// Looks at every file that the judgement asks for.
fn look(
    plan: &Plan,
    judge: &Judge<'_>,
    elsewhere: &Elsewhere,
    catalog: &Catalog,
) -> Result<Vec<Option<Fingerprint>>, ApiError> {
    let root = open(&plan.root)?;
    let mut seen = root.look_at(plan.paths.iter().zip(judge.paths())).map_err(|error| unreadable(&error))?;
    if !elsewhere.is_empty() {
        for ((path, producer), seen) in plan.paths.iter().zip(&plan.producers).zip(&mut seen) {
            *seen = match producer {
                Some(_) => seen.or_else(|| elsewhere.get(path)),
                None => elsewhere.with(path, *seen, |path| is_here(&plan.root, path)),
            };
        }
    }
    if !catalog.is_empty() {
        let of_datasets = plan.paths.iter().zip(&mut seen).filter(|(path, _)| path.starts_with(DATA));
        for (path, seen) in of_datasets {
            *seen = counts(*seen, catalog.print(path));
        }
    }
    Ok(seen)
}

fn is_here(root: &str, path: &str) -> bool {
    Path::new(root).join(path).symlink_metadata().is_ok()
}

/// Reads the contents that decide, and judges.
fn judge_with_contents(
    plan: &Plan,
    judge: &Judge<'_>,
    seen: &mut [Option<Fingerprint>],
) -> Result<Judgement, ApiError> {
    let doubtful = judge.doubtful(seen);
    if !doubtful.is_empty() {
        let root = open(&plan.root)?;
        for path in doubtful {
            if let Some(Some(print)) = seen.get_mut(path.index()) {
                print.hash = root.hash(plan.path(path)).map_err(|error| unreadable(&error))?;
            }
        }
    }
    Ok(judge.judge(seen))
}

fn open(root: &str) -> Result<Root, ApiError> {
    Root::open(Path::new(root)).map_err(|error| unreadable(&error))
}

/// Separates warnings from errors, which refuse the workflow.
fn refuse_errors(diagnostics: Vec<Diagnostic>) -> Result<Vec<Diagnostic>, ApiError> {
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(invalid(diagnostics));
    }
    Ok(diagnostics)
}

fn invalid(diagnostics: Vec<Diagnostic>) -> ApiError {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let message = match errors {
        1 => "the workflow has a mistake".to_owned(),
        _ => format!("the workflow has {errors} mistakes"),
    };
    ApiError { kind: ErrorKind::Invalid, message, hint: None, diagnostics }
}

fn unknown(plan: &Plan, error: &UnknownNames) -> ApiError {
    let mut names: Vec<&str> = plan.tasks.iter().take(MOST_SHOWN).map(|task| task.name.as_str()).collect();
    if plan.tasks.len() > names.len() {
        names.push("...");
    }
    let hint = format!("tasks of this workflow: {}", names.join(", "));
    ApiError { kind: ErrorKind::NotFound, message: error.to_string(), hint: Some(hint), diagnostics: Vec::new() }
}

fn unreadable(error: &FilesError) -> ApiError {
    ApiError { kind: ErrorKind::Storage, message: error.whole(), hint: None, diagnostics: Vec::new() }
}
