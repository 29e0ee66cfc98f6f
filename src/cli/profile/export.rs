//! `csync profile export`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::classes::Classes;
use crate::cli::profile::{open, place};
use crate::cli::view::words::many;
use crate::model::api::ErrorKind;
use crate::model::observation::Cut;
use crate::reach::frames::{self, FramesError};
use crate::reach::learned::{Entry, Place};

/// Write the observations that are kept, as CSV or Parquet, or sealed for another machine
///
/// Commands by their readable names or tokens, hosts by tokens: nothing else is known. A number that was not measured, or not told, is 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As comma-separated values, which it does by itself
    #[arg(long)]
    csv: bool,
    /// To a Parquet file, for data frames; takes `csync-frames`
    #[arg(long, value_name = "FILE", conflicts_with = "csv")]
    parquet: Option<PathBuf>,
    /// All that was learned, to a sealed file, which `csync profile import` takes in on machines with the same key
    #[arg(long, value_name = "FILE", conflicts_with_all = ["csv", "parquet"])]
    sealed: Option<PathBuf>,
}

/// The columns, with their types for data frames.
const COLUMNS: &str = "command=str,hosts=str,ended_minutes=u64,input_bytes=f64,memory_bytes=f64,wall_s=f64,cpu_s=f64,\
                       io_bytes=f64,cut=str,asked_memory_bytes=f64,asked_time_s=f64";

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let place = place(context)?;
    if let Some(path) = &args.sealed {
        return exchange(context, &place, path);
    }
    let (mut entries, key) = context.block_on(async {
        let mut learned = open(&place).await?;
        let (entries, key) = (learned.all().await?, learned.tokens().clone());
        learned.close().await;
        Ok((entries, key))
    })?;
    let classes = Classes::of(context, &key);
    entries.sort_by_cached_key(|entry| (entry.signature.to_string(), entry.class));
    if let Some(path) = &args.parquet {
        frames::write(path, COLUMNS, |out| rows(&entries, &classes, out)).map_err(|error| failure(&error))?;
        context.say(&format!("Written to {}.", path.display()));
        return Ok(Exit::Success);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = rows(&entries, &classes, &mut out).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))?;
    Ok(Exit::Success)
}

/// Writes what other machines with the same key take in.
fn exchange(context: &Context, place: &Place, path: &Path) -> Result<Exit, Failure> {
    let commands = context.block_on(async {
        let mut learned = open(place).await?;
        let commands = learned.export(path).await?;
        learned.close().await;
        Ok(commands)
    })?;
    if context.json() {
        context.print_json(&json!({ "commands": commands }))?;
    } else {
        let kinds = many(u32::try_from(commands).unwrap_or(u32::MAX), "record");
        context.say(&format!("Written to {}: {kinds}, sealed.", path.display()));
    }
    Ok(Exit::Success)
}

/// Says what keeps a table from being read or written.
pub(super) fn failure(error: &FramesError) -> Failure {
    let failure = Failure::new(ErrorKind::Invalid, error.to_string()).because_of_source(error);
    match error {
        FramesError::Absent => failure.hint("`cargo install --path frames`, where csync was built, installs it"),
        _ => failure,
    }
}

/// Writes a row for each observation.
fn rows(entries: &[Entry], classes: &Classes, out: &mut dyn Write) -> io::Result<()> {
    let names: Vec<&str> = COLUMNS.split(',').filter_map(|column| column.split('=').next()).collect();
    writeln!(out, "{}", names.join(","))?;
    for entry in entries {
        let class = classes.name(entry.class);
        for (seen, _) in entry.profile.summary().kept() {
            let cut = match seen.cut {
                Cut::Nothing => "",
                Cut::Memory => "memory",
                Cut::Time => "time",
            };
            let command = &entry.signature;
            let numbers = (seen.at, seen.input, seen.memory, seen.wall, seen.cpu, seen.io);
            let (at, input, memory, wall, cpu, io) = numbers;
            write!(out, "{command},{class},{at},{input},{memory},{wall},{cpu},{io},{cut}")?;
            writeln!(out, ",{},{}", seen.asked, seen.asked_time)?;
        }
    }
    Ok(())
}
