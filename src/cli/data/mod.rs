//! `csync data`: named datasets, and files of workflows that lie on hosts.

mod datasets;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::catalog;
use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view::words::{clock, many};
use crate::decide::graph::datasets::Catalog;
use crate::model::api::{DataAsk, DataDone};
use crate::model::data::Replica;
use crate::model::host::HostName;
use crate::model::units::Timestamp;

/// Name datasets, and list, fetch, move and remove files of workflows that lie on hosts
///
/// A dataset is a directory with a name, and the places that hold a copy of it. Workflows read its files as
/// `data:NAME/FILE`: a task on a host that holds a copy reads that, others have what they need brought.
///
/// A task's outputs come back when it is over, but for those that are larger than its host's `keep_above` (1G unless `hosts.toml`
/// says otherwise), files and directories alike: they stay there, later tasks on that host use them where they are, and others fetch
/// them when they need them. A directory that is here already, with anything in it, comes back into that whatever its size.
/// Without a command, they are listed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Name a directory of a host as a dataset, or another copy of one
    ///
    /// The first place that was seen says what the dataset is: a file of another place is a copy of it where it has the same size
    /// and the same time (`cp -p` and `rsync -t` keep times). A directory that its host says is not there is refused; one whose host
    /// cannot be asked is kept, and looked at when it can.
    Add {
        /// The dataset's name: letters, digits, `_` and `-`
        name: String,
        /// Where it lies: `HOST:/DIRECTORY`, or a directory here
        place: String,
        /// Where else it lies; may be given several times
        #[arg(long, value_name = "PLACE")]
        at: Vec<String>,
    },
    /// List datasets, and files of workflows that lie on hosts
    List,
    /// Say where copies of a file or a dataset are
    Where {
        /// Files or directories here, datasets, or files of datasets (`data:NAME/FILE`)
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Look again what the places of datasets have
    ///
    /// Submissions do so by themselves for the datasets that they read, but for those with more than 100,000 files.
    Scan {
        /// Datasets; all when none is named
        names: Vec<String>,
    },
    /// Forget a dataset, or places of it; its files stay
    Forget {
        /// The dataset
        name: String,
        /// These places alone
        #[arg(long, value_name = "PLACE")]
        at: Vec<String>,
    },
    /// Fetch files and directories to where they belong here
    ///
    /// A directory that is not here yet appears when all that is in it has come. One that a task made lies on its host as a whole, and
    /// comes as a whole where a file in it is named: a part of it would pass for it.
    Get {
        /// Files, or directories with all that is in them; the present one when none is named
        paths: Vec<PathBuf>,
    },
    /// Move files and directories from the hosts that have them to another
    ///
    /// They go from host to host through this machine's memory; nothing is stored here.
    Move {
        /// Files, or directories with all that is in them
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// The host that is to have them
        #[arg(long, value_name = "HOST")]
        to: HostName,
    },
    /// Remove copies from hosts
    ///
    /// The last copy of an output stays, unless `--last` says otherwise. What made it runs again when it is needed.
    Rm {
        /// Files, or directories with all that is in them
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// From this host alone
        #[arg(long, value_name = "HOST")]
        on: Option<HostName>,
        /// Also the last copy
        #[arg(long)]
        last: bool,
    },
}

/// What says where hosts.toml is.
const VARIABLES: [&str; 3] = ["CSYNC_CONFIG", "XDG_CONFIG_HOME", "HOME"];

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        None | Some(Command::List) => list(context)?,
        Some(Command::Where { paths }) => whereabouts(context, paths)?,
        Some(Command::Add { name, place, at }) => {
            let places = std::iter::once(place).chain(at).map(|place| datasets::place(place));
            let ask = datasets::ask(vec![name.clone()], places.collect::<Result<_, _>>()?);
            let places = context.block_on(async { Ok(context.reach().await?.add_dataset(&ask).await?) })?;
            datasets::warn_of_unseen(context, name, &places);
            return datasets::tell(context, places);
        }
        Some(Command::Scan { names }) => {
            let ask = datasets::ask(names.clone(), Vec::new());
            let places = context.block_on(async { Ok(context.reach().await?.scan_datasets(&ask).await?) })?;
            return datasets::tell(context, places);
        }
        Some(Command::Forget { name, at }) => {
            let places = at.iter().map(|place| datasets::place(place)).collect::<Result<_, _>>()?;
            let ask = datasets::ask(vec![name.clone()], places);
            let gone = context.block_on(async { Ok(context.reach().await?.forget_datasets(&ask).await?) })?;
            datasets::forgotten(context, name, &gone)?;
        }
        Some(Command::Get { paths }) => {
            let here = [PathBuf::from(".")];
            let ask = ask(if paths.is_empty() { &here } else { paths })?;
            let done = context.block_on(async { Ok(context.reach().await?.get_data(&ask).await?) })?;
            tell(context, "Fetched", &done)?;
            for path in &ask.paths {
                if let Some(whole) = done.paths.iter().find(|whole| *whole != path && is_below(path, whole)) {
                    context.say(&format!("`{path}` came with all of `{whole}`, which is one output."));
                }
            }
        }
        Some(Command::Move { paths, to }) => {
            let ask = DataAsk { to: Some(to.clone()), ..ask(paths)? };
            let done = context.block_on(async { Ok(context.reach().await?.move_data(&ask).await?) })?;
            tell(context, "Moved", &done)?;
        }
        Some(Command::Rm { paths, on, last }) => {
            let ask = DataAsk { on: on.clone(), last: *last, ..ask(paths)? };
            let done = context.block_on(async { Ok(context.reach().await?.remove_data(&ask).await?) })?;
            tell(context, "Removed", &done)?;
        }
    }
    Ok(Exit::Success)
}

fn ask(paths: &[PathBuf]) -> Result<DataAsk, Failure> {
    Ok(DataAsk { paths: absolute(paths)?, env: variables(), ..DataAsk::default() })
}

fn variables() -> Vec<(String, String)> {
    VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

/// Returns paths from the root, as workflows' directories are known: links on the way to a file are followed.
fn absolute(paths: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let one = |path: &PathBuf| {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let plain = whole.components().collect::<PathBuf>();
        let dir = plain.parent().and_then(|dir| dir.canonicalize().ok());
        let found = match (dir, plain.file_name()) {
            _ if plain.is_dir() => plain.canonicalize().unwrap_or(plain),
            (Some(dir), Some(name)) => dir.join(name),
            _ => plain,
        };
        let text = found.into_os_string().into_string();
        text.map_err(|path| Failure::usage(format!("`{}` is not UTF-8", Path::new(&path).display())))
    };
    paths.iter().map(one).collect()
}

/// Lists datasets, and what else lies on hosts.
fn list(context: &Context) -> Result<(), Failure> {
    let (places, copies) = context.block_on(async {
        let client = context.reach().await?;
        Ok((client.datasets().await?, client.data().await?))
    })?;
    let catalog = Catalog::new(places);
    if context.json() {
        return context.print_json(&json!({ "datasets": datasets::views(&catalog), "files": copies }));
    }
    if catalog.is_empty() && copies.is_empty() {
        context.say("Nothing lies on hosts alone, and no dataset is named.");
        return Ok(());
    }
    let space = if catalog.is_empty() || copies.is_empty() { "" } else { "\n" };
    context.print(format!("{}{space}{}", datasets::table(&catalog), table(&copies, true)).trim_end())
}

/// Says where copies are: of datasets and their files, or of files here.
fn whereabouts(context: &Context, paths: &[PathBuf]) -> Result<(), Failure> {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let (of_datasets, files): (Vec<_>, Vec<_>) = {
        let known = if paths.iter().all(|path| path.exists()) { Vec::new() } else { catalog::datasets(context)? };
        let is_dataset = |path: &&PathBuf| {
            let name = text(path);
            name.starts_with("data:") || !path.exists() && known.iter().any(|place| place.dataset == name)
        };
        paths.iter().partition(is_dataset)
    };
    if !of_datasets.is_empty() {
        datasets::whereabouts(context, &of_datasets.into_iter().map(text).collect::<Vec<_>>())?;
    }
    if files.is_empty() { Ok(()) } else { copies_of(context, &files.into_iter().cloned().collect::<Vec<_>>()) }
}

/// Lists copies of these files.
fn copies_of(context: &Context, paths: &[PathBuf]) -> Result<(), Failure> {
    let wanted = absolute(paths)?;
    let mut copies = context.block_on(async { Ok(context.reach().await?.data().await?) })?;
    let is_in = |path: &str, copy: &Replica| path != copy.here() && is_below(path, &copy.here());
    copies.retain(|copy| wanted.iter().any(|path| is_below(&copy.here(), path) || is_in(path, copy)));
    if context.json() {
        return context.print_json(&copies);
    }
    if copies.is_empty() {
        let is_here = paths.iter().all(|path| path.symlink_metadata().is_ok());
        let here = if is_here {
            "It is here alone: no host is known to have a copy."
        } else {
            "No host is known to have that."
        };
        context.say(here);
        return Ok(());
    }
    context.print(table(&copies, false).trim_end())?;
    for path in &wanted {
        let around = copies.iter().find(|copy| is_in(path, copy)).map(Replica::here);
        if let Some(whole) = around.filter(|_| !copies.iter().any(|copy| is_below(&copy.here(), path))) {
            context.say(&format!("`{path}` is not known by itself: it lies, and comes, with all of `{whole}`."));
        }
    }
    Ok(())
}

/// Returns whether a path is this one, or below it.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns a line for each copy: short, or with its path on the host.
fn table(copies: &[Replica], short: bool) -> String {
    let width = |column: fn(&Replica) -> usize| copies.iter().map(column).max().unwrap_or(0);
    let (paths, hosts) = (width(|copy| copy.here().chars().count()), width(|copy| copy.host.as_str().len()));
    let mut text = String::new();
    for (nth, copy) in copies.iter().enumerate() {
        let written = clock(Timestamp(copy.mtime.saturating_mul(1_000_000)));
        let (size, here) = (copy.size.to_string(), copy.here());
        let _infallible = if short {
            writeln!(text, "{here:paths$}  {size:>8}  {:hosts$}  {written}", copy.host)
        } else {
            writeln!(text, "{here:paths$}  {size:>8}  {}:{}  {written}", copy.host, copy.there())
        };
        let is_last = copies.get(nth + 1).is_none_or(|next| next.here() != here);
        if !short && is_last && Path::new(&here).exists() {
            let _infallible = writeln!(text, "{here:paths$}  {size:>8}  here");
        }
    }
    text
}

fn tell(context: &Context, verb: &str, done: &DataDone) -> Result<(), Failure> {
    if context.json() {
        return context.print_json(done);
    }
    context.print(&format!("{verb} {} ({}).", many(done.paths.len() as u32, "output"), done.bytes))
}
