//! `csync profile show`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::outfile;
use crate::cli::profile::classes::Classes;
use crate::cli::profile::plot::{Plot, Quantity, html, png, svg};
use crate::cli::profile::{Meant, open, place, told_damaged};
use crate::cli::view::table::Page;
use crate::cli::view::words::{duration, many};
use crate::decide::learn::profile::{Prediction, Profile, Question};
use crate::decide::learn::shipped::{Needs, needs};
use crate::decide::learn::stakes::Caution;
use crate::language::command::Part;
use crate::model::api::ErrorKind;
use crate::model::units::{BadUnit, Bytes};
use crate::reach::learned::Entry;

/// Show what a command would need
///
/// All that was learned of the same programs counts, whatever their options. Memory and time are given as what to ask for, and
/// as an interval that holds eight of ten; CPU time and the bytes read and written, by calls and through pipes too, as such an
/// interval where they were counted. Where it is known what was asked for so far: which part of it was not used, how many were killed
/// at their time limit, and how often the intervals held what came next.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command, or its first words; of a program alone all that was learned of it; or what `csync profile` lists it as
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
    /// Size of its inputs; without it, what was seen most
    #[arg(long, value_name = "SIZE")]
    input: Option<Bytes>,
    /// Draw what was seen and what is predicted over input size, by class of hosts
    #[arg(long)]
    plot: bool,
    /// Write the drawings to a file instead, one below the other: `.svg`, `.png` or `.html`
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let place = place(context)?;
    let asked = Asked::of(args)?;
    let text = asked.words.join(" ");
    let (wanted, mut entries, damaged, key) = context.block_on(async {
        let mut learned = open(&place).await?;
        let meant = Meant::of(&text, learned.tokens());
        let mut entries = match meant.wanted() {
            Some(wanted) => learned.likes(wanted).await?,
            None => Vec::new(),
        };
        if entries.is_empty() && learned.unreadable() == 0 {
            entries = meant.among(&learned.all().await?).into_iter().cloned().collect();
        }
        let (damaged, key) = (learned.unreadable(), learned.tokens().clone());
        learned.close().await;
        let no_command = || Failure::usage(format!("`{text}` is no command that is learned from"));
        let wanted =
            meant.wanted().or(entries.first().map(|entry| &entry.signature)).cloned().ok_or_else(no_command)?;
        Ok((wanted, entries, damaged, key))
    })?;
    if damaged > 0 {
        context.warn(&told_damaged(damaged));
    }
    // What was found under another name is called by its own.
    let names: BTreeSet<String> = entries.iter().map(|entry| entry.signature.to_string()).collect();
    let shown = names.iter().next().filter(|_| names.len() == 1).map_or_else(|| wanted.to_string(), String::clone);
    if entries.is_empty() {
        let shipped = wanted.parts.iter().filter_map(Part::known).filter_map(|(name, sub)| needs(name, sub));
        let shipped: Vec<&Needs> = shipped.collect();
        if !shipped.is_empty() {
            return tell_shipped((context, asked.json || context.json()), &shown, &shipped);
        }
        let failure = Failure::new(ErrorKind::NotFound, format!("nothing was learned of `{shown}`"));
        return Err(failure.hint("`csync profile list` shows what was"));
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.profile.summary().count()));
    let classes = Classes::of(context, &key);
    if asked.plot || asked.output.is_some() {
        return draw(context, asked.output.as_deref(), &shown, (&entries, &classes));
    }
    let needed: Vec<Needed> = entries.iter().map(|entry| Needed::of(entry, asked.input)).collect();
    if asked.json || context.json() {
        let found: Vec<_> = entries.iter().zip(&needed).map(|(entry, needed)| needed.json(entry, &classes)).collect();
        context.print_json(&json!({ "command": shown, "found": found }))?;
        return Ok(Exit::Success);
    }
    let mut page = String::new();
    for (entry, needed) in entries.iter().zip(&needed) {
        needed.tell(entry, &classes, &mut page);
    }
    context.print(page.trim_end())?;
    Ok(Exit::Success)
}

/// What is asked: words of a command, and options of ours wherever they stand.
struct Asked<'a> {
    words: &'a [String],
    input: Option<Bytes>,
    plot: bool,
    json: bool,
    output: Option<PathBuf>,
}

impl<'a> Asked<'a> {
    /// Takes our options off the end, where people write them: `csync profile show bwa mem --plot`.
    fn of(args: &'a Args) -> Result<Self, Failure> {
        let mut asked =
            Self { words: &args.words, input: args.input, plot: args.plot, json: false, output: args.output.clone() };
        loop {
            match asked.words {
                [rest @ .., last] if last == "--plot" && !rest.is_empty() => {
                    asked.plot = true;
                    asked.words = rest;
                }
                [rest @ .., last] if last == "--json" && !rest.is_empty() => {
                    asked.json = true;
                    asked.words = rest;
                }
                [rest @ .., key, value] if key == "--output" && !rest.is_empty() => {
                    asked.output = Some(PathBuf::from(value));
                    asked.words = rest;
                }
                [rest @ .., key, value] if key == "--input" && !rest.is_empty() => {
                    asked.input = Some(value.parse().map_err(|error: BadUnit| Failure::usage(error.to_string()))?);
                    asked.words = rest;
                }
                _ => return Ok(asked),
            }
        }
    }
}

/// Draws it, in the terminal or into a file.
fn draw(context: &Context, output: Option<&Path>, shown: &str, of: (&[Entry], &Classes)) -> Result<Exit, Failure> {
    let plots: Vec<Plot> = [Quantity::Memory, Quantity::Time, Quantity::Io]
        .into_iter()
        .filter_map(|quantity| Plot::of(shown, of, quantity))
        .collect();
    if plots.is_empty() {
        return Err(Failure::new(ErrorKind::NotFound, format!("nothing was measured of `{shown}`")));
    }
    let Some(path) = output else {
        let width = Page::stdout(context.paint()).width_or(80);
        let text: Vec<String> = plots.iter().map(|plot| plot.terminal(width)).collect();
        context.print(text.join("\n").trim_end())?;
        return Ok(Exit::Success);
    };
    let text = match path.extension().and_then(|end| end.to_str()) {
        Some("svg") => svg(&plots).into_bytes(),
        Some("html") => html(shown, &plots).into_bytes(),
        Some("png") => png(&plots),
        _ => return Err(Failure::usage(format!("`{}` ends in none of .svg, .png and .html", path.display()))),
    };
    outfile::replace(path, &text)?;
    context.say(&format!("Written to {}.", path.display()));
    Ok(Exit::Success)
}

/// Says what csync ships of programs of which nothing was learned.
fn tell_shipped((context, json): (&Context, bool), shown: &str, shipped: &[&Needs]) -> Result<Exit, Failure> {
    if json {
        let shipped: Vec<_> = shipped
            .iter()
            .map(|needs| {
                json!({
                    "program": needs.program, "subcommand": needs.subcommand, "memory_bytes": needs.memory,
                    "memory_per_input_byte": needs.memory_per_input, "cores": needs.cores, "time_s": needs.time,
                    "source": needs.source,
                })
            })
            .collect();
        context.print_json(&json!({ "command": shown, "found": [], "shipped": shipped }))?;
        return Ok(Exit::Success);
    }
    let mut page = format!("Nothing was learned of `{shown}` yet. People commonly give\n");
    for needs in shipped {
        let subcommand = needs.subcommand.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let memory = needs.memory.map(|memory| memory.to_string());
        let per_input =
            (needs.memory_per_input > 0.0).then(|| format!("{} times its input of memory", needs.memory_per_input));
        let cores = needs.cores.map(|cores| format!("{cores} cores"));
        let time = needs.time.map(|time| time.to_string());
        let all: Vec<String> = [memory, per_input, cores, time].into_iter().flatten().collect();
        let _ = writeln!(page, "  {}{subcommand}: {}\n    ({})", needs.program, all.join(", "), needs.source);
    }
    context.print(page.trim_end())?;
    Ok(Exit::Success)
}

/// What an input of some size needs.
struct Needed {
    input: f64,
    memory: Option<Prediction>,
    safe: Option<Prediction>,
    time: Option<Prediction>,
    limit: Option<Prediction>,
    cpu: Option<Prediction>,
    io: Option<Prediction>,
}

impl Needed {
    fn of(entry: &Entry, input: Option<Bytes>) -> Self {
        let mut inputs: Vec<f64> = entry.profile.summary().kept().map(|(seen, _)| f64::from(seen.input)).collect();
        inputs.sort_unstable_by(f64::total_cmp);
        let usual = || inputs.get(inputs.len() / 2).copied().unwrap_or(0.0);
        let input = input.map_or_else(usual, |input| input.0 as f64);
        let question = Question::plain(input);
        Self {
            input,
            memory: entry.profile.memory(question),
            safe: entry.profile.memory(Question { caution: Caution::Safe, ..question }),
            time: entry.profile.run_time(input),
            limit: entry.profile.time_limit(Question { grain: 60.0, ..question }),
            cpu: entry.profile.cpu_time(input),
            io: entry.profile.io(input),
        }
    }

    fn json(&self, entry: &Entry, classes: &Classes) -> serde_json::Value {
        json!({
            "hosts": classes.name(entry.class),
            "runs": entry.profile.summary().count(),
            "input_bytes": self.input,
            "memory_bytes": self.memory,
            "memory_safe_bytes": self.safe.map(|found| found.request),
            "time_s": self.time,
            "time_limit_s": self.limit.map(|found| found.request),
            "cpu_s": self.cpu,
            "io_bytes": self.io,
            "unused": entry.profile.unused(),
            "time_unused": entry.profile.unused_time(),
            "held": entry.profile.held().share(),
            "time_held": entry.profile.held_time().share(),
            "killed": entry.profile.summary().killed(),
        })
    }

    fn tell(&self, entry: &Entry, classes: &Classes, page: &mut String) {
        let bytes = |value: f64| Bytes(value as u64).to_string();
        let runs = many(entry.profile.summary().count(), "run");
        let (class, input) = (classes.name(entry.class), bytes(self.input));
        let _ = writeln!(page, "{} on {class}: {runs}, inputs of {input}", entry.signature);
        if self.memory.is_none() && self.time.is_none() {
            let _ = writeln!(page, "  too little was seen to predict from\n");
            return;
        }
        if let Some(memory) = self.memory {
            let safe = self.safe.map_or_else(String::new, |safe| format!(", {} to be safe", bytes(safe.request)));
            let (low, high) = (bytes(memory.low), bytes(memory.high));
            let _ = writeln!(page, "  memory  {low} to {high}; ask for {}{safe}", bytes(memory.request));
        }
        if let Some(time) = self.time {
            let limit = self.limit.map_or_else(String::new, |limit| format!("; ask for {}", duration(limit.request)));
            let _ = writeln!(page, "  time    {} to {}{limit}", duration(time.low), duration(time.high));
        }
        if let Some(cpu) = self.cpu {
            let _ = writeln!(page, "  CPU     {} to {}, all cores together", duration(cpu.low), duration(cpu.high));
        }
        if let Some(io) = self.io {
            let _ = writeln!(page, "  I/O     {} to {} read and written", bytes(io.low), bytes(io.high));
        }
        for line in so_far(&entry.profile) {
            let _ = writeln!(page, "  {line}");
        }
        page.push('\n');
    }
}

/// Says what became of what was asked for so far, and how often the intervals held.
fn so_far(profile: &Profile) -> Vec<String> {
    let both = |parts: [Option<f64>; 2]| {
        let said = parts.into_iter().zip(["memory", "time"]);
        let said = said.filter_map(|(part, of)| Some(format!("{:.0} % of the {of}", 100.0 * part?)));
        Some(said.collect::<Vec<_>>().join(", ")).filter(|said| !said.is_empty())
    };
    let unused = both([profile.unused(), profile.unused_time()]).map(|said| format!("unused  {said} asked for so far"));
    let killed = Some(profile.summary().killed()).filter(|killed| *killed > 0);
    let killed = killed.map(|killed| format!("killed  {} at the time limit", many(killed, "attempt")));
    let held = both([profile.held().share(), profile.held_time().share()]);
    let held = held.map(|said| format!("held    {said} that came next lay in the interval"));
    [unused, killed, held].into_iter().flatten().collect()
}
