//! `csync route`: where a command should run. Asks no engine and starts none.

mod advice;
mod digest;
mod elsewhere;
mod gather;
mod given;
mod learned;
mod view;

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::Path;

use serde_json::json;
use tokio::task::yield_now;

use crate::cli::by::By;
use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::route::advice::Advice;
use crate::cli::route::digest::{KeptHosts, RouteHosts};
use crate::cli::route::gather::{Line, Seen, Wanted, here, machine, places, wanted};
use crate::cli::route::learned::{Ahead, Lore, foretell};
use crate::cli::view::table::Page;
use crate::cli::view::words::shell_word;
use crate::decide::graph::net::Net;
use crate::decide::route::need::Asker;
use crate::decide::route::sheet::route;
use crate::model::facts::Facts;
use crate::model::units::{BadUnit, Bytes, Walltime};

/// Say where a command should run
///
/// Ranks the hosts that can run it by how long it would take there: until it starts, until its inputs are there, and while it
/// runs. Files that it names count as inputs; so do `HOST:PATH` and
/// `data:NAME/FILE`. Hosts that cannot run it are listed with the reason. Nothing is
/// started, and no host is asked. The last line is what runs it in the best place, with all that was asked for here; it names no
/// partition of a cluster, since which one is best is seen when it is handed over. Where a file of a dataset or of another host is
/// read, that is a task to write into a workflow: csync brings such files to tasks alone.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(override_usage = "csync route [OPTIONS] COMMAND\n       csync route [OPTIONS] -- COMMAND [ARGUMENT]...")]
pub struct Args {
    /// Cores; as many as its options for threads say when not given
    ///
    /// Each known program is read by its own options (`bwa mem -t`, `STAR --runThreadN`, `samtools -@`, which counts those beside the
    /// first), others by the usual ones (`--threads`), and what starts them by its own (`srun -n`, `mpirun -np`). Cores that are asked for
    /// have to be there. Of threads a machine may have fewer cores, which they share: it takes longer; a cluster refuses them.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cpus: Option<u32>,
    /// Memory: 512M, 8G
    #[arg(short, long, value_name = "MEMORY")]
    mem: Option<Bytes>,
    /// How long it runs here, at most: 90s, 1h30m, 01:30:00
    #[arg(short, long, value_name = "TIME", value_parser = run_time)]
    time: Option<Walltime>,
    /// GPUs
    #[arg(long, value_name = "N", default_value_t = 0)]
    gpus: u32,
    /// It reaches for the internet
    #[arg(long)]
    internet: bool,
    /// It runs in a container
    #[arg(long)]
    container: bool,
    /// It runs in a container of this image
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// It runs in a sandbox, as `csync run --image` makes them: where Docker or Podman holds its limits
    #[arg(long, requires = "image", conflicts_with = "gpus")]
    sandbox: bool,
    /// A file or directory that it reads and does not name, here, as HOST:PATH, or as data:NAME/FILE
    #[arg(short, long = "input", value_name = "PATH")]
    inputs: Vec<String>,
    /// What counts
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = By::Fastest)]
    policy: By,
    /// Print every term of every place, and what it rests on
    #[arg(long)]
    explain: bool,
    /// Print all places and not only the best 20
    #[arg(long)]
    all: bool,
    /// Say it in few words, for a coding agent, under the hosts' policies for agents
    #[arg(long, conflicts_with = "explain")]
    for_agent: bool,
    /// The command: one text, or its words
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Longest run that is asked about: no site allows more.
const LONGEST: Walltime = Walltime(1000 * 86_400);

/// Reads how long something runs.
fn run_time(text: &str) -> Result<Walltime, String> {
    let time: Walltime = text.parse().map_err(|error: BadUnit| error.to_string())?;
    if (1..=LONGEST.0).contains(&time.0) { Ok(time) } else { Err(format!("from 1s to {LONGEST}")) }
}

/// Places that are shown unless all are asked for.
const SHOWN: usize = 20;

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let given = Line::read(args)?;
    std::thread::scope(|scope| {
        let lore = Lore::open(context, scope)?;
        let (seen, kept, mut ahead, machine) = context.block_on_store(read(context, args, &given, &lore))?;
        // The process ends with the answer, and what was read with it: taking a thousand hosts apart takes a millisecond.
        let seen = ManuallyDrop::new(seen);
        let mut known = ManuallyDrop::new(hosts(context, &seen, kept)?);
        lore.now_of(&mut ahead, known.names());
        let net = ManuallyDrop::new(seen.net(&mut known));
        answer(context, (args, &given), (&seen, &known, &net, machine), (&lore, ahead))
    })
}

/// Returns the hosts; by their files alone where what was seen of them cannot be read, which is said.
fn hosts(context: &Context, seen: &Seen, kept: Option<KeptHosts>) -> Result<RouteHosts, Failure> {
    let Some(why) = &seen.trouble else { return RouteHosts::load(context, seen.version, kept) };
    context.say(&format!(
        "What was seen of hosts and files cannot be read and counts for nothing: {why}. `csync doctor` says what helps."
    ));
    RouteHosts::configured(context)
}

/// Reads what is known of the hosts and of the command. SQLite has a thread of its own, and opens the store and answers in it
/// while everything is done here that does not rest on that; between the steps it gets its next question. A third thread that did
/// nothing but ask took longer, since two cores are all that some machines have.
async fn read(
    context: &Context,
    args: &Args,
    given: &Line,
    lore: &Lore<'_>,
) -> Result<(Seen, Option<KeptHosts>, Ahead, Facts), Failure> {
    let meanwhile = async {
        let mut kept = KeptHosts::read(context).await;
        yield_now().await;
        let ahead = lore.ahead(given.command(), kept.as_ref().map(KeptHosts::names).unwrap_or_default());
        yield_now().await;
        if let Some(kept) = &mut kept {
            kept.work_out();
        }
        yield_now().await;
        (kept, ahead, machine())
    };
    let (seen, (kept, ahead, machine)) = tokio::join!(biased; Seen::load(context, args, given), meanwhile);
    Ok((seen?, kept, ahead, machine))
}

fn answer(
    context: &Context,
    (args, line): (&Args, &Line),
    (seen, known, net, machine): (&Seen, &RouteHosts, &Net, Facts),
    (lore, ahead): (&Lore<'_>, Ahead),
) -> Result<Exit, Failure> {
    let asker = if args.for_agent { Asker::Agent } else { Asker::Person };
    let here = here(machine, known);
    let Wanted { mut need, unknown, elsewhere } = wanted((args, line), (asker, here.machine.cores), known, seen, net)?;
    let command = line.command();
    let foretold = foretell(context, lore, &mut need, ahead);
    let mut places = ManuallyDrop::new(places(known, seen, net, &here));
    for place in places.iter_mut() {
        if let Some(speed) = foretold.speeds.of(&place.host.name) {
            place.speed = speed;
        }
    }
    // What was learned says more than what people commonly ask for.
    let given = if foretold.words.is_none() { given::commonly(command) } else { None };
    if let Some(given) = given {
        given::presume(given, &mut need);
    }
    let shown = if args.all { usize::MAX } else { SHOWN };
    let policy = args.policy.into();
    let routes = route(net, &need, &places, policy, shown);
    let root = Path::new(seen.root());
    let advice = routes.places.first().map(|best| Advice::new(best, (args, &need), (line, &elsewhere), root));
    if context.json() {
        let inputs: Vec<_> =
            need.inputs.iter().map(|it| json!({"name": it.name, "bytes": it.bytes, "at": it.at})).collect();
        context.print_json(&json!({
            "command": command,
            "cpus": need.cpus,
            "gpus": need.gpus,
            "memory": need.memory,
            "time": need.time,
            "inputs": inputs,
            "not_counted": unknown,
            "commonly_given": given.map(given::value),
            "places": routes.places,
            "others": routes.others,
            "vetoed": routes.vetoed,
            "advice": advice.as_ref().map(Advice::value),
            "unread": seen.trouble,
        }))?;
    } else if args.for_agent {
        context.print(&view::for_agent(&routes, &need, advice.as_ref()))?;
    } else {
        let page = Page::stdout(context.paint());
        let vetoed = view::vetoed(&routes, shown);
        context.print(&if args.explain {
            view::explained(&routes, &need, page) + &vetoed
        } else {
            view::table(&routes, (&need, policy), page) + &vetoed
        })?;
        if routes.others > 0 {
            context.say(&format!("{} more can run it; `--all` lists them.", view::hosts(routes.others)));
        }
        for name in unknown {
            context.say(&not_counted(seen, &name));
        }
        if let Some(words) = &foretold.words {
            context.say(&format!("Its {words} is what was learned of it: `csync profile` shows that."));
        }
        if let Some(said) = given.and_then(|given| given::sentence(given, args.mem.is_some(), args.time.is_some())) {
            context.say(&said);
        }
        if need.time.is_none() && !routes.places.is_empty() {
            context.say("How long it runs is not known, so the run is left out: `--time` says it.");
        }
        let shared = || view::shared(&routes, &need).or_else(|| view::fewer(&routes)).filter(|_| args.cpus.is_none());
        if let Some(shared) = shared() {
            context.say(&shared);
        }
        if let Some(advice) = advice {
            context.say(&advice.sentence());
        }
    }
    Ok(if routes.places.is_empty() { Exit::NotFound } else { Exit::Success })
}

/// Says that nobody knows how much something is that a command names.
fn not_counted(seen: &Seen, name: &str) -> String {
    match seen.absent(name) {
        Some((why, helps)) => format!("It names {name}, but {why}: {helps}."),
        None => format!("How much {name} is was not looked up: it counts as nothing."),
    }
}

/// Returns words as a command line.
fn line(words: &[String]) -> String {
    words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
}
