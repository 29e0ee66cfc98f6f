//! `csync logs`.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::target::Target;
use crate::cli::view::harmless::Harmless;
use crate::cli::view::words::{command_on, cut, many, shell_word, state};
use crate::model::api::{ErrorKind, InstancePage, InstanceView, Stream};
use crate::model::id::{InstanceId, RunId};
use crate::model::job::State;
use crate::reach::client::{Client, ClientError, InstanceQuery, LogQuery};

/// Engines that may go away while a log is copied, before we give up.
const LOST_MAX: u32 = 5;

/// Logs printed at once.
const SHOWN: u32 = 100;

/// Print what a task wrote
///
/// Without a task: what the failed ones wrote, or the only one. Of one instance, its standard output goes to standard output and its
/// standard error to standard error; of several, each part has a heading.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[command(override_usage = "csync logs [OPTIONS] [RUN] [TASK]")]
pub struct Args {
    /// The run (a number or `last`), and a task or instance of it
    #[arg(value_name = "RUN] [TASK", num_args = 0..=2)]
    target: Vec<String>,
    /// Go on as it writes, until it ends
    #[arg(short, long, conflicts_with = "failed")]
    follow: bool,
    /// Of all instances that failed
    #[arg(long)]
    failed: bool,
    /// Only its standard output
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,
    /// Only its standard error
    #[arg(long)]
    stderr: bool,
    /// Of this attempt instead of the last
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Only so many lines from the end
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<u32>,
}

impl Args {
    fn streams(&self) -> &'static [Stream] {
        match (self.stdout, self.stderr) {
            (true, _) => &[Stream::Stdout],
            (_, true) => &[Stream::Stderr],
            _ => &[Stream::Stdout, Stream::Stderr],
        }
    }

    fn query(&self, instance: InstanceId, stream: Stream) -> LogQuery {
        LogQuery { instance, attempt: self.attempt, stream, follow: self.follow, tail: self.tail }
    }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let target = Target::parse(&args.target)?;
    context.block_on(async {
        let client = context.reach().await?;
        let run = client.run(target.run).await?.summary.run;
        let page = chosen(&client, run, args, target.label.as_deref()).await?;
        if context.json() {
            return collected(context, &client, run, args, &page).await;
        }
        match page.instances.as_slice() {
            [one] => single(context, run, args, one).await,
            _ if args.follow => Err(several(run, &page)),
            _ => each(context, &client, run, args, &page).await,
        }
    })
}

/// Finds the instances whose logs are meant.
async fn chosen(client: &Client, run: RunId, args: &Args, label: Option<&str>) -> Result<InstancePage, Failure> {
    let all = InstanceQuery { label: label.map(str::to_owned), limit: Some(SHOWN), ..InstanceQuery::default() };
    let failed = InstanceQuery { state: Some(State::Failed), ..all.clone() };
    if args.failed {
        let page = client.instances(run.into(), &failed).await?;
        let none = page.instances.is_empty();
        let failure = || Failure::new(ErrorKind::NotFound, format!("nothing failed in run {run}"));
        return if none { Err(failure().hint(format!("`csync show {run}` says how it stands"))) } else { Ok(page) };
    }
    let page = client.instances(run.into(), &all).await?;
    if label.is_some() || page.total == 1 {
        return Ok(page);
    }
    let failed = client.instances(run.into(), &failed).await?;
    if failed.instances.is_empty() { Err(several(run, &page)) } else { Ok(failed) }
}

fn several(run: RunId, page: &InstancePage) -> Failure {
    let example = page.instances.iter().find(|one| one.state == State::Running).or(page.instances.first());
    let example = example.map_or("TASK".to_owned(), |one| shell_word(&one.label));
    Failure::usage(format!("{} are meant; name one", many(page.total, "instance")))
        .hint(format!("`csync logs {run} {example}`; `csync show {run} TASK` lists a task's instances"))
}

/// Prints both streams of one instance to where they belong.
async fn single(context: &Context, run: RunId, args: &Args, one: &InstanceView) -> Result<Exit, Failure> {
    let mut copies = Vec::new();
    for &stream in args.streams() {
        copies.push(copy(context, run, args.query(one.instance, stream), false));
    }
    let written: u64 = if args.follow {
        futures_util::future::try_join_all(copies).await?.into_iter().sum()
    } else {
        let mut written = 0;
        for copy in copies {
            written += copy.await?;
        }
        written
    };
    if written == 0 {
        context.say(&silence(run, one));
    }
    Ok(Exit::Success)
}

fn silence(run: RunId, one: &InstanceView) -> String {
    let label = cut(&one.label, 80);
    match one.state {
        State::Pending | State::Ready | State::Queued => {
            let why = command_on("why", run, &one.label);
            format!("{label} has not started: it is {}. `{why}` says what it waits for.", state(one.state))
        }
        State::Cached => format!("{label} was up to date and did not run."),
        State::Skipped | State::Cancelled if one.attempts.iter().all(|attempt| attempt.started.is_none()) => {
            format!("{label} was {} and did not run.", state(one.state))
        }
        _ => format!("{label} wrote nothing there."),
    }
}

/// Copies a log to the stream of the same name, or to standard error whatever its name, and returns its size. An engine that
/// goes away meanwhile is replaced, and what was copied is not copied again.
pub(super) async fn copy(context: &Context, run: RunId, query: LogQuery, to_stderr: bool) -> Result<u64, Failure> {
    let (mut written, mut lost) = (0, 0);
    let mut out = Out::new(if to_stderr { Stream::Stderr } else { query.stream });
    loop {
        let client = context.reach().await?;
        match copy_from(&client, run, query, &mut out, &mut written).await? {
            Ok(()) => return Ok(written),
            // What `--tail` starts at has moved by now.
            Err(error) if !error.is_lost() || lost == LOST_MAX || query.tail.is_some() => return Err(error.into()),
            Err(_) => lost += 1,
        }
    }
}

/// Copies what of a log was not written yet. The inner error is the engine's, the outer one ours.
async fn copy_from(
    client: &Client,
    run: RunId,
    query: LogQuery,
    out: &mut Out,
    written: &mut u64,
) -> Result<Result<(), ClientError>, Failure> {
    let mut chunks = match client.logs(run.into(), query).await {
        Ok(chunks) => chunks,
        Err(error) => return Ok(Err(error)),
    };
    let mut skip = *written;
    loop {
        let chunk = match chunks.next().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        };
        let known = skip.min(chunk.len() as u64);
        skip -= known;
        let fresh = chunk.slice(known as usize..);
        out.write(&fresh)?;
        *written += fresh.len() as u64;
    }
}

/// A stream of this program, as logs are written to it: to a terminal nothing but text and colours.
struct Out {
    stream: Stream,
    harmless: Option<Harmless>,
}

impl Out {
    fn new(stream: Stream) -> Self {
        let terminal = match stream {
            Stream::Stdout => io::stdout().is_terminal(),
            Stream::Stderr => io::stderr().is_terminal(),
        };
        Self { stream, harmless: terminal.then(Harmless::default) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let shown = self.harmless.as_mut().map(|harmless| harmless.take(bytes));
        let bytes = shown.as_deref().unwrap_or(bytes);
        match self.stream {
            Stream::Stdout => write(&mut io::stdout().lock(), bytes),
            Stream::Stderr => write(&mut io::stderr().lock(), bytes),
        }
    }
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Prints the logs of several instances, each non-empty stream under a heading.
async fn each(
    context: &Context,
    client: &Client,
    run: RunId,
    args: &Args,
    page: &InstancePage,
) -> Result<Exit, Failure> {
    let paint = context.paint();
    let mut first = true;
    for one in &page.instances {
        for &stream in args.streams() {
            let mut chunks = client.logs(run.into(), args.query(one.instance, stream)).await?;
            let (mut last, mut out) = (None, Out::new(Stream::Stdout));
            while let Some(chunk) = chunks.next().await? {
                if last.is_none() {
                    let blank = if first { "" } else { "\n" };
                    let heading = format!("==> {} ({}) <==", cut(&one.label, 200), name(stream));
                    context.print(&format!("{blank}{}", paint.bold(heading)))?;
                    first = false;
                }
                last = chunk.last().copied();
                out.write(&chunk)?;
            }
            if last.is_some_and(|byte| byte != b'\n') {
                context.print("\n")?;
            }
        }
    }
    if first {
        context.say("None of them wrote anything.");
    }
    let left = page.total.saturating_sub(page.instances.len() as u32);
    if left > 0 {
        context.say(&format!("... and {}; name one to see its log.", many(left, "more instance")));
    }
    Ok(Exit::Success)
}

const fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// A log as programs see it.
#[derive(Debug, Serialize)]
struct Log<'a> {
    instance: InstanceId,
    label: &'a str,
    attempt: Option<u32>,
    stream: Stream,
    /// What is not UTF-8 is replaced by U+FFFD.
    text: String,
}

async fn collected(
    context: &Context,
    client: &Client,
    run: RunId,
    args: &Args,
    page: &InstancePage,
) -> Result<Exit, Failure> {
    let mut logs = Vec::new();
    for one in &page.instances {
        let last = one.attempts.last().map(|attempt| attempt.attempt);
        for &stream in args.streams() {
            let mut bytes = Vec::new();
            let mut chunks = client.logs(run.into(), args.query(one.instance, stream)).await?;
            while let Some(chunk) = chunks.next().await? {
                bytes.extend_from_slice(&chunk);
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            logs.push(Log { instance: one.instance, label: &one.label, attempt: args.attempt.or(last), stream, text });
        }
    }
    context.print_json(&json!({"run": run, "total": page.total, "logs": logs}))?;
    Ok(Exit::Success)
}
