//! `csync profile export`.

use std::fmt::Write as _;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::{open, place};
use crate::model::observation::Cut;

/// Write the observations that are kept, as CSV
///
/// Commands by their readable names or tokens, hosts by tokens: nothing else is known.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As comma-separated values, which is the only form so far
    #[arg(long)]
    csv: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, _: &Args) -> Result<Exit, Failure> {
    let place = place(context)?;
    let mut entries = context.block_on(async {
        let mut learned = open(&place).await?;
        let entries = learned.all().await?;
        learned.close().await;
        Ok(entries)
    })?;
    entries.sort_by_cached_key(|entry| (entry.signature.to_string(), entry.class));
    let mut text = "command,hosts,ended_minutes,input_bytes,memory_bytes,wall_s,cpu_s,io_bytes,cut\n".to_owned();
    for entry in &entries {
        for (seen, _) in entry.profile.summary().kept() {
            let cut = match seen.cut {
                Cut::Nothing => "",
                Cut::Memory => "memory",
                Cut::Time => "time",
            };
            let (command, class) = (&entry.signature, entry.class);
            let numbers = (seen.at, seen.input, seen.memory, seen.wall, seen.cpu, seen.io);
            let (at, input, memory, wall, cpu, io) = numbers;
            let _ = writeln!(text, "{command},hosts-{class},{at},{input},{memory},{wall},{cpu},{io},{cut}");
        }
    }
    context.print(text.trim_end())?;
    Ok(Exit::Success)
}
