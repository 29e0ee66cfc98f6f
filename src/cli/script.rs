//! `csync submit job.sh --on HOST`: a batch script, or any script, as it is.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cli::along::Elsewhere;
use crate::cli::command::{Asks, workflow};
use crate::cli::context::Context;
use crate::cli::errors::{Failure, Source};
use crate::cli::hosts::Known;
use crate::cli::submission::{WorkflowFile, directory};
use crate::cli::view;
use crate::cli::view::words::shell_word;
use crate::language::import::{self, Asked, Format, Place};
use crate::language::manifest::is_here;
use crate::model::batch::Flavour;

/// What a file is that is no workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A script for a batch system.
    Batch(Format),
    /// A script that asks for nothing.
    Plain,
}

/// Returns what kind of script a file is; none where it is a workflow.
pub(super) fn kind(file: &WorkflowFile) -> Option<Kind> {
    let name = file.path.as_deref().unwrap_or_default();
    if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
        return None;
    }
    match import::detect(&file.source.text) {
        Ok(format @ (Format::Slurm | Format::Pbs | Format::Sge)) => Some(Kind::Batch(format)),
        _ if file.source.text.starts_with("#!") => Some(Kind::Plain),
        _ => None,
    }
}

/// Refuses a script without a host.
pub(super) fn needs_host(file: &WorkflowFile, kind: Kind) -> Failure {
    let name = file.path.as_deref().unwrap_or("-");
    let word = shell_word(name);
    let (what, here) = match kind {
        Kind::Batch(format) => {
            (format.words(), format!("`csync import {word}` makes a workflow of it, which runs here too"))
        }
        Kind::Plain => ("script", format!("`csync submit -- {}` runs it here", run_here(&word))),
    };
    Failure::usage(format!("`{name}` is a {what}, and no host is named for it"))
        .hint(format!("`csync submit {word} --on HOST` runs it there; {here}"))
}

/// Refuses a script where a command is wanted that is none as it is called: it would not be found there, and nobody would read what
/// it asks for.
pub(super) fn is_command(command: &[OsString], on: &[String]) -> Result<(), Failure> {
    let [word] = command else { return Ok(()) };
    let path = Path::new(word);
    let Ok(meta) = fs::metadata(path) else { return Ok(()) };
    // Without a slash a command is looked for in the PATH.
    let runs = path.components().count() > 1 && meta.permissions().mode() & 0o111 != 0;
    if runs || !meta.is_file() || word == "-" {
        return Ok(());
    }
    // What cannot be read as text is no script.
    let kind = WorkflowFile::read(path).ok().as_ref().and_then(kind);
    let what = match kind {
        Some(Kind::Batch(format)) => format.words(),
        Some(Kind::Plain) if !on.is_empty() => "script",
        _ => return Ok(()),
    };
    let host = on.first().map_or("HOST", String::as_str);
    let word = shell_word(&word.to_string_lossy());
    Err(Failure::usage(format!("`{word}` is a {what}, and `csync run` runs commands"))
        .hint(format!("`csync submit {word} --on {host}` runs it there, with what it asks for")))
}

fn run_here(word: &str) -> String {
    if word.contains('/') { word.to_owned() } else { format!("./{word}") }
}

/// A script as a workflow, and where it runs.
pub(super) struct Ready {
    /// The workflow.
    pub(super) source: Source,
    /// The directory that goes along.
    pub(super) root: String,
    /// The script's name in it.
    pub(super) path: String,
}

/// Makes a workflow of a script, and says what does not mean the same there.
pub(super) fn ready(
    context: &Context,
    file: &WorkflowFile,
    kind: Kind,
    asks: &Asks,
    elsewhere: &Elsewhere,
) -> Result<Ready, Failure> {
    let root = directory(Path::new("."))?;
    let path = within(file, &root)?;
    has_unix_lines(&file.source.text, &path)?;
    let source = match kind {
        Kind::Plain => workflow(&interpreted(&file.source.text, &path), asks, &elsewhere.on)?,
        Kind::Batch(format) => {
            let place = Place { on: &elsewhere.on, flavour: flavour(context, &elsewhere.on)?, path: &path };
            let stem = Path::new(&path).file_stem().and_then(|stem| stem.to_str()).unwrap_or("job");
            let script = import::script(&file.source.text, format, stem, place, &asked(asks))
                .map_err(|mistakes| Failure::mistakes(mistakes, file.source.clone()))?;
            if !script.notes.is_empty() && !context.quiet() && !context.json() {
                context.warn(&view::failure::diagnostics(&script.notes, &file.source, context.paint_err()));
            }
            Source { name: "<the script>".to_owned(), text: script.workflow }
        }
    };
    Ok(Ready { source, root, path })
}

/// Returns a script's name in the directory that goes along.
fn within(file: &WorkflowFile, root: &str) -> Result<String, Failure> {
    let Some(path) = &file.path else {
        return Err(Failure::usage("a script on standard input has no file that could go along")
            .hint("write it to a file in this directory, and name that"));
    };
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let whole = Path::new(&file.root).join(name);
    match whole.strip_prefix(root).ok().and_then(Path::to_str) {
        Some(within) => Ok(within.to_owned()),
        None => Err(Failure::usage(format!("`{path}` is not in this directory, which is what goes along"))
            .hint(format!("`cd {}` first, or copy it here", shell_word(&file.root)))),
    }
}

/// Refuses a script for a shell with line ends of Windows, as `sbatch` and `qsub` do: it goes along as it is, and a shell takes the
/// letter before each line end for a part of the line. Other programs read such files.
fn has_unix_lines(text: &str, path: &str) -> Result<(), Failure> {
    let is_shell = |word: &OsString| {
        let name = Path::new(word).file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with("sh"))
    };
    let program = interpreted(text, "");
    if !text.contains("\r\n") || !program.iter().any(is_shell) {
        return Ok(());
    }
    let word = shell_word(path);
    Err(Failure::usage(format!(
        "`{path}` has line ends of Windows (CRLF), which a shell takes for a part of each line"
    ))
    .hint(format!(r"`sed -i 's/\r$//' {word}` changes them")))
}

/// Returns how a script is started that asks for no batch system: by the program that its first line names.
fn interpreted(text: &str, path: &str) -> Vec<OsString> {
    let line = text.lines().next().and_then(|line| line.strip_prefix("#!")).unwrap_or("/bin/sh");
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.is_empty() {
        words.push("/bin/sh");
    }
    let path = if path.starts_with('-') { format!("./{path}") } else { path.to_owned() };
    words.into_iter().map(OsString::from).chain([path.into()]).collect()
}

/// Returns the batch system of all hosts that are named; none where they differ, or have none.
fn flavour(context: &Context, on: &[String]) -> Result<Option<Flavour>, Failure> {
    let known = Known::load(context)?;
    let mut found: Vec<Option<Flavour>> = Vec::new();
    for place in on {
        if is_here(place) {
            found.push(None);
            continue;
        }
        let tag = place.strip_prefix("tag:").unwrap_or(place);
        let named = known.hosts.get(place);
        for host in named.into_iter().chain(known.hosts.tagged(tag)) {
            found.push(host.batch.and_then(crate::model::host::Batch::flavour));
        }
    }
    found.dedup();
    Ok(if let [one] = found.as_slice() { *one } else { None })
}

fn asked(asks: &Asks) -> Asked {
    Asked {
        name: asks.name.clone(),
        cpus: asks.cpus,
        mem: asks.mem,
        time: asks.time,
        gpus: asks.gpus,
        nodes: asks.nodes,
        processes: asks.processes,
        partition: asks.partition.clone(),
        account: asks.account.clone(),
        qos: asks.qos.clone(),
        retries: asks.retries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> WorkflowFile {
        let source = Source { name: path.to_owned(), text: text.to_owned() };
        WorkflowFile { source, path: Some(path.to_owned()), root: "/data/ada/net/jobs".to_owned() }
    }

    #[test]
    fn scripts_are_told_from_workflows() {
        for (path, text, expected) in [
            ("job.sh", "#!/bin/bash\n#SBATCH -c 4\ntrue\n", Some(Kind::Batch(Format::Slurm))),
            ("job", "#PBS -N x\ntrue\n", Some(Kind::Batch(Format::Pbs))),
            ("job.py", "#!/usr/bin/env python3\nprint()\n", Some(Kind::Plain)),
            ("workflow.toml", "#SBATCH -c 4\n", None),
            ("flow", "name = \"x\"\n[tasks.a]\nrun = \"true\"\n", None),
        ] {
            assert_eq!(kind(&file(path, text)), expected, "{path}");
        }
    }

    #[test]
    fn a_script_for_a_shell_has_lines_of_unix() {
        let refused = |text| has_unix_lines(text, "my job.sh").is_err();
        for text in ["#!/bin/bash\r\ntrue\r\n", "#!/usr/bin/env -S zsh -f\r\n", "#SBATCH -c 2\r\ntrue\r\n"] {
            assert!(refused(text), "{text:?}");
        }
        for text in ["#!/bin/bash\ntrue\n", "#!/usr/bin/env python3\r\nprint()\r\n", "#!/bin/sh\nprintf 'a\r'\n"] {
            assert!(!refused(text), "{text:?}");
        }
    }

    #[test]
    fn a_script_lies_in_the_directory_that_goes_along() {
        let job = file("jobs/job.sh", "#!/bin/sh\n");
        assert_eq!(within(&job, "/data/ada/net").unwrap(), "jobs/job.sh");
        assert!(within(&job, "/data/ada/other").is_err());
        let words = |text| interpreted(text, "-x");
        assert_eq!(words("#!/usr/bin/env -S python3 -u\n"), ["/usr/bin/env", "-S", "python3", "-u", "./-x"]);
        assert_eq!(words(""), ["/bin/sh", "./-x"]);
    }
}
