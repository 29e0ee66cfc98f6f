//! `csync import`: others' formats to workflows.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure, Source};
use crate::cli::outfile;
use crate::cli::view;
use crate::cli::view::words::{many, shell_word};
use crate::language::import::{self, Import, Imported, Options};
use crate::model::api::ErrorKind;

/// Make a workflow from a batch script, a command list or a WfFormat file
///
/// Reads scripts with `#SBATCH`, `#PBS` or `#$` lines, files with a shell command per line, and workflows recorded in WfFormat
/// 1.5 (WfCommons), which are replayed. The format is found out from the content. Several scripts and lists become one
/// workflow with a task each. The workflow goes to standard output or, with `-o`, to a file; what does not mean the same under
/// csync is told on standard error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to import; `-` reads standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// The format: auto, sbatch, pbs, sge, commands or wfformat
    #[arg(short, long, value_name = "FORMAT", default_value = "auto", hide_possible_values = true)]
    format: Format,
    /// Write the workflow to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file when there is one
    #[arg(long, requires = "output")]
    force: bool,
    /// Replay: factor on run times; 0.001 makes an hour 3.6 seconds
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    time_scale: f64,
    /// Replay: factor on file sizes; 0 makes empty files
    #[arg(long, value_name = "FACTOR", default_value_t = 0.0, value_parser = factor)]
    size_scale: f64,
    /// Replay: most cores of a task, for machines smaller than the recorded one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cpus_cap: Option<u32>,
}

/// A format on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Found out from the content
    Auto,
    /// A script with `#SBATCH` lines
    #[value(alias = "slurm")]
    Sbatch,
    /// A script with `#PBS` lines
    #[value(alias = "torque")]
    Pbs,
    /// A script with `#$` lines
    Sge,
    /// A shell command per line
    Commands,
    /// A recording of WfCommons
    Wfformat,
}

impl Format {
    const fn chosen(self) -> Option<import::Format> {
        match self {
            Self::Auto => None,
            Self::Sbatch => Some(import::Format::Slurm),
            Self::Pbs => Some(import::Format::Pbs),
            Self::Sge => Some(import::Format::Sge),
            Self::Commands => Some(import::Format::Commands),
            Self::Wfformat => Some(import::Format::WfFormat),
        }
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "write a number, as in `0.001`".to_owned())?;
    if factor.is_finite() && factor >= 0.0 { Ok(factor) } else { Err("write a number of 0 or more".to_owned()) }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let files: Vec<Source> = args.files.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let parts: Vec<Import<'_>> = files
        .iter()
        .zip(&args.files)
        .map(|(file, path)| Import { text: &file.text, name: stem(path), format: args.format.chosen() })
        .collect();
    let options = Options { time_scale: args.time_scale, size_scale: args.size_scale, cpus_cap: args.cpus_cap };
    let imported = import::import(&parts, &options).map_err(|refused| match files.get(refused.part) {
        Some(file) => Failure::mistakes(refused.diagnostics, file.clone()),
        None => Failure::internal("a file was refused that is none of those given"),
    })?;
    if let Some(path) = &args.output {
        if args.force {
            outfile::replace(path, &imported.workflow)?;
        } else {
            outfile::create(path, &imported.workflow, Some("--force"))?;
        }
    }
    if context.json() {
        context.print_json(&to_json(&imported, args, &files))?;
        return Ok(Exit::Success);
    }
    if !context.quiet() {
        for (file, (_, notes)) in files.iter().zip(&imported.parts) {
            if !notes.is_empty() {
                context.warn(&view::failure::diagnostics(notes, file, context.paint_err()));
            }
        }
    }
    if let Some(path) = &args.output {
        let name = shell_word(&path.display().to_string());
        context.say(&format!("Wrote {}", path.display()));
        context.say(&format!("{}.", what(&imported)));
        context.say(&format!("`csync check {name}` checks it, `csync submit {name}` runs it."));
    } else {
        context.print(&imported.workflow)?;
        context.say(&format!("{}. Written with `-o workflow.toml`, `csync submit` runs it.", what(&imported)));
    }
    Ok(Exit::Success)
}

fn read(path: &Path) -> Result<Source, Failure> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if stdin {
        io::stdin().read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(ErrorKind::NotFound, format!("there is no file `{name}`"))
            .hint("name the script or list, or `-` for standard input"),
        _ => Failure::usage(format!("`{name}` cannot be read")).because(&error),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let hint = format!("`iconv -f LATIN1 -t UTF-8 {} > new` converts what older editors wrote", shell_word(&name));
        Failure::usage(format!("{name} is not text in UTF-8: byte {at} is not a part of a character")).hint(hint)
    })?;
    Ok(Source { name, text })
}

fn what(imported: &Imported) -> String {
    let from = match imported.parts.as_slice() {
        [(format, _)] => format!("a {}", format.words()),
        parts => many(parts.len() as u32, "file"),
    };
    {
        let (tasks, instances) = (many(imported.tasks as u32, "task"), many(imported.instances as u32, "instance"));
        format!("Made {tasks} with {instances} from {from}")
    }
}

/// Returns what a file is called when it says no name itself.
fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "-").unwrap_or("commands")
}

fn to_json(imported: &Imported, args: &Args, files: &[Source]) -> serde_json::Value {
    let parts = imported
        .parts
        .iter()
        .zip(files)
        .map(|((format, notes), file)| json!({ "file": file.name, "format": format.words(), "notes": notes }));
    json!({
        "name": imported.name,
        "tasks": imported.tasks,
        "output": args.output,
        // With a file the workflow is there already, and may be large.
        "workflow": args.output.is_none().then_some(&imported.workflow),
        "files": parts.collect::<Vec<_>>(),
    })
}
