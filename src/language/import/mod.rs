//! Others' formats to `workflow.toml`: batch scripts, lists of commands, recordings in WfFormat.
//!
//! Every function is pure. An importer reads a text into a draft; the draft is printed. What cannot be said in a workflow is
//! told with its place in the text.

mod batch;
mod commands;
mod directive;
mod draft;
mod escape;
mod names;
mod pbs;
mod replay;
mod script;
mod sge;
mod slurm;
mod wfformat;
mod wish;

#[cfg(test)]
mod roundtrip;

pub use names::stem;
pub use script::{Asked, Place, Script, script};

use std::collections::HashSet;

use crate::language::import::directive::directive;
use crate::language::import::draft::Draft;
use crate::language::import::names::unique;
use crate::model::diagnostic::Diagnostic;

/// A format that csync reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A script with `#SBATCH` lines.
    Slurm,
    /// A script with `#PBS` lines.
    Pbs,
    /// A script with `#$` lines.
    Sge,
    /// A command per line.
    Commands,
    /// A recording of `WfCommons`, WfFormat 1.5.
    WfFormat,
}

impl Format {
    /// Returns what people call it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Slurm => "Slurm script",
            Self::Pbs => "PBS script",
            Self::Sge => "Grid Engine script",
            Self::Commands => "command list",
            Self::WfFormat => "WfFormat recording",
        }
    }
}

/// How a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Factor on run times.
    pub time_scale: f64,
    /// Factor on file sizes; 0 makes empty files.
    pub size_scale: f64,
    /// Most cores of one task.
    pub cpus_cap: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { time_scale: 1.0, size_scale: 0.0, cpus_cap: None }
    }
}

/// A text to import.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    /// Its text.
    pub text: &'a str,
    /// What it is called when it says no name of its own: the file's stem.
    pub name: &'a str,
    /// Its format; found out when none.
    pub format: Option<Format>,
}

/// A workflow made of others' texts.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The workflow's file.
    pub workflow: String,
    /// Its name.
    pub name: String,
    /// Its tasks.
    pub tasks: usize,
    /// Their instances.
    pub instances: usize,
    /// Per text, in order: its format, and what does not mean the same here.
    pub parts: Vec<(Format, Vec<Diagnostic>)>,
}

/// What kept a text from being imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which text, from 0.
    pub part: usize,
    /// The mistakes.
    pub diagnostics: Vec<Diagnostic>,
}

/// Finds out the format of a text.
///
/// # Errors
/// Why it is none that csync reads.
pub fn detect(text: &str) -> Result<Format, Diagnostic> {
    let trimmed = text.trim_start_matches('\u{feff}').trim_start();
    if trimmed.starts_with('{') {
        return Ok(Format::WfFormat);
    }
    let head = text.lines().take(1000);
    for line in head {
        let format = [("#SBATCH", Format::Slurm), ("#PBS", Format::Pbs), ("#$", Format::Sge)]
            .into_iter()
            .find(|(prefix, _)| directive(line, prefix).is_some());
        if let Some((_, format)) = format {
            return Ok(format);
        }
        if line.starts_with("[tasks.") {
            let message = "this is a workflow of csync already";
            return Err(Diagnostic::error(None, message).help("`csync check FILE` checks it"));
        }
    }
    Ok(Format::Commands)
}

/// Makes one workflow of one or several texts.
///
/// # Errors
/// The mistakes of the first text that cannot be imported.
pub fn import(parts: &[Import<'_>], options: &Options) -> Result<Imported, Refused> {
    let mut whole: Option<Draft> = None;
    let mut told = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let refused = |diagnostics| Refused { part: index, diagnostics };
        let (format, draft, notes) = one(part, options).map_err(refused)?;
        told.push((format, notes));
        match &mut whole {
            None => whole = Some(draft),
            Some(whole) if draft.tasks.len() == 1 && whole.tasks.len() == index => {
                whole.head = vec![format!("Made by `csync import` of {} files.", index + 1)];
                whole.tasks.extend(draft.tasks);
            }
            Some(_) => {
                let message = "several recordings do not make one workflow";
                return Err(refused(vec![Diagnostic::error(None, message).help("import them one by one")]));
            }
        }
    }
    let mut draft = whole.unwrap_or_default();
    name_apart(&mut draft);
    let instances = draft.tasks.iter().map(|task| task.foreach.len()).sum();
    Ok(Imported { workflow: draft.print(), name: draft.name, tasks: draft.tasks.len(), instances, parts: told })
}

fn one(part: &Import<'_>, options: &Options) -> Result<(Format, Draft, Vec<Diagnostic>), Vec<Diagnostic>> {
    // A mark of the byte order would be part of the first command.
    let text = part.text.strip_prefix('\u{feff}').unwrap_or(part.text);
    let format = match part.format {
        Some(format) => format,
        None => detect(text).map_err(|mistake| vec![mistake])?,
    };
    if let Some(at) = text.find('\0') {
        let message = "there is a NUL byte in it: this is not a text";
        return Err(vec![Diagnostic::error(crate::model::diagnostic::Span::new(at, at), message)]);
    }
    let carriage = format != Format::WfFormat && text.contains('\r');
    let unix = carriage.then(|| text.replace("\r\n", "\n"));
    let text = unix.as_deref().unwrap_or(text);
    let (draft, mut notes) = match format {
        Format::WfFormat => wfformat::read(text, part.name, options)?,
        Format::Commands => single(commands::read(text, part.name)?, part.name, format),
        Format::Slurm | Format::Pbs | Format::Sge => single(batch::read(text, format, part.name)?, part.name, format),
    };
    if carriage {
        // Places in the text with other line ends would be off.
        for note in &mut notes {
            note.span = None;
        }
        let message = "the lines ended as on Windows; they end as on Unix in the workflow";
        notes.push(Diagnostic::warning(None, message));
    }
    Ok((format, draft, notes))
}

fn single((task, notes): (draft::DraftTask, Vec<Diagnostic>), name: &str, format: Format) -> (Draft, Vec<Diagnostic>) {
    let name = if format == Format::Commands { draft::task_name(name) } else { task.name.clone() };
    let head = vec![format!("Made by `csync import` of a {}.", format.words())];
    (Draft { name, head, description: None, tasks: vec![task] }, notes)
}

/// Gives tasks of the same name different ones.
fn name_apart(draft: &mut Draft) {
    let mut taken = HashSet::new();
    for task in &mut draft.tasks {
        task.name = unique(&task.name, &mut taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        for (text, format) in [
            ("#!/bin/sh\n#SBATCH -n 1\necho", Format::Slurm),
            ("#PBS -N x\n", Format::Pbs),
            ("#!/bin/bash\n#$ -cwd\n", Format::Sge),
            (" \n{\"workflow\": {}}", Format::WfFormat),
            ("echo 1\necho 2\n", Format::Commands),
            ("#$HOME\n#PBSPro\necho\n", Format::Commands),
            ("", Format::Commands),
        ] {
            assert_eq!(detect(text), Ok(format), "{text}");
        }
        assert!(detect("name = \"x\"\n[tasks.a]\nrun = \"true\"\n").is_err());
    }

    fn part<'a>(text: &'a str, name: &'a str) -> Import<'a> {
        Import { text, name, format: None }
    }

    #[test]
    fn several_files_make_one_workflow() {
        let parts = [part("#SBATCH -J a\necho 1\n", "x"), part("#SBATCH -J a\necho 2\n", "y"), part("echo 3", "z")];
        let imported = import(&parts, &Options::default()).unwrap();
        assert_eq!((imported.tasks, imported.parts.len()), (3, 3));
        for header in ["[tasks.a]", "[tasks.a_2]", "[tasks.z]"] {
            assert!(imported.workflow.contains(header), "{}", imported.workflow);
        }
    }

    #[test]
    fn the_part_that_is_refused_is_named() {
        let refused = import(&[part("true", "a"), part("", "b")], &Options::default()).unwrap_err();
        assert_eq!(refused.part, 1);
        assert!(import(&[part("a\0b", "a")], &Options::default()).is_err());
    }

    #[test]
    fn windows_line_ends_do_not_reach_the_commands() {
        let imported = import(&[part("\u{feff}echo 1\r\necho 2\r\n", "a")], &Options::default()).unwrap();
        assert!(!imported.workflow.contains(['\r', '\u{feff}']), "{}", imported.workflow);
        assert_eq!(imported.parts[0].1.len(), 1);
    }
}
