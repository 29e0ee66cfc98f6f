//! Stays with a run until it is over: bars on a terminal, lines elsewhere, nothing for programs.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::login;
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::cli::view::words::cut;
use crate::model::api::{InstancePage, InstanceView, LoginWanted, Progress, RunState, RunSummary};
use crate::model::host::HostName;
use crate::model::id::RunId;
use crate::model::job::State;
use crate::model::units::Timestamp;
use crate::reach::client::{Client, ClientError, InstanceQuery, Lines};
use crate::reach::clock;

/// Transfers shown under the bar.
const MOVING_SHOWN: usize = 3;

/// Running instances shown under the bar.
const RUNNING_SHOWN: usize = 6;

/// A run of at most so many instances has a line for each in plain output; larger ones have counters.
const LINE_EACH: u32 = 60;

/// Seconds after which plain output says that a large run lives.
const SIGN_OF_LIFE: u64 = 30;

/// Engines that may go away one after the other, without any news in between, before we give up.
const LOST_MAX: u32 = 5;

/// Failed instances listed at the end; log lines are shown of the first few.
const FAILED_SHOWN: u32 = 10;
const TAILS_SHOWN: usize = 3;
const TAIL_LINES: usize = 5;

/// How following ended.
#[derive(Debug)]
pub(super) enum Followed {
    /// The run is over.
    Over(Box<RunSummary>),
    /// The person left; what was known by then.
    Left(Option<Box<RunSummary>>),
}

/// Ctrl-C as something to wait for. From the first call on it no longer ends this process.
pub(super) fn interrupts() -> Result<Signal, Failure> {
    signal(SignalKind::interrupt()).map_err(|error| Failure::internal("Ctrl-C cannot be listened to").because(&error))
}

/// Follows a run to its end, or until Ctrl-C. An engine that goes away meanwhile is replaced: the run goes on with the next.
pub(super) async fn follow(context: &Context, mut client: Client, run: RunId) -> Result<Followed, Failure> {
    let mut interrupts = interrupts()?;
    let mut display = Display::new(context);
    let mut known = None;
    let mut lost = 0;
    let mut told = Told::default();
    loop {
        let lines = client.progress(run.into()).await;
        let error = match lines {
            Ok(lines) => {
                match one_stream(lines, &mut display, &mut interrupts, &mut known, &mut lost, &mut told).await {
                    Ok(One::Followed(followed)) => return Ok(followed),
                    Ok(One::Logins(hosts)) => {
                        ask_at_once(context, hosts);
                        continue;
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        lost += 1;
        if !error.is_lost() || lost > LOST_MAX {
            return Err(error.into());
        }
        display.say("The engine went away; another one goes on with the run.");
        client = context.reach().await?;
    }
}

/// How one stream ended.
enum One {
    Followed(Followed),
    /// These hosts wait for a login, and somebody is there who can give it.
    Logins(Vec<HostName>),
}

/// Lets the person at the terminal log in. What goes wrong is told, and the run waits on.
fn ask_at_once(context: &Context, hosts: Vec<HostName>) {
    let context = context.clone();
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    context.say(&format!("{} needs a login.", names.join(", ")));
    // A thread of its own, since each command has its own event queue; nothing else happens meanwhile but what `ssh` asks.
    let asked = std::thread::spawn(move || {
        let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        if let Err(failure) = login::to(&context, &names) {
            context.tell(&failure);
        }
    });
    // A panic there has been told.
    asked.join().ok();
}

/// Follows until the run is over, the person leaves, or the stream ends without either.
async fn one_stream(
    mut lines: Lines<Progress>,
    display: &mut Display,
    interrupts: &mut Signal,
    known: &mut Option<Box<RunSummary>>,
    lost: &mut u32,
    told: &mut Told,
) -> Result<One, ClientError> {
    let mut ticker = tokio::time::interval(Duration::from_millis(250));
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            news = lines.next() => {
                let Some(progress) = news? else { return Err(ClientError::NoEngine) };
                *lost = 0;
                let over = progress.over;
                told.take(&progress, |words| display.say(words));
                let new: Vec<HostName> =
                    progress.logins.iter().map(|login| login.host.clone()).filter(|host| told.logins.insert(host.clone())).collect();
                if !new.is_empty() && display.can_ask() {
                    display.clear();
                    return Ok(One::Logins(new));
                }
                for login in progress.logins.iter().filter(|login| new.contains(&login.host)) {
                    let LoginWanted { host, why } = login;
                    display.say(&format!("{host} needs a login ({why}): `csync login {host}`"));
                }
                *known = Some(Box::new(progress.summary.clone()));
                display.show(progress, clock::now());
                if over {
                    display.clear();
                    return known.take().map(Followed::Over).map(One::Followed).ok_or(ClientError::NoEngine);
                }
            }
            _ = interrupts.recv() => {
                display.clear();
                return Ok(One::Followed(Followed::Left(known.take())));
            }
            _ = ticker.tick() => display.tick(clock::now()),
        }
    }
}

/// What a person was told of what keeps the run.
#[derive(Debug, Default)]
struct Told {
    trouble: Option<String>,
    away: Vec<String>,
    logins: BTreeSet<HostName>,
}

impl Told {
    /// Tells what is new.
    fn take(&mut self, progress: &Progress, mut say: impl FnMut(&str)) {
        if self.trouble != progress.trouble {
            match &progress.trouble {
                Some(words) => say(&format!("The engine waits: {words}.")),
                None => say("The engine goes on."),
            }
            self.trouble.clone_from(&progress.trouble);
        }
        // The same host may say it in other words each time: once is enough.
        let host = |words: &String| words.split(' ').next().unwrap_or_default().to_owned();
        let before: Vec<String> = self.away.iter().map(host).collect();
        for words in progress.away.iter().filter(|words| !before.contains(&host(words))) {
            say(&format!("{words}."));
        }
        let now: Vec<String> = progress.away.iter().map(host).collect();
        for host in before.iter().filter(|host| !now.contains(host) && !progress.over) {
            say(&format!("{host} can be used again."));
        }
        self.away.clone_from(&progress.away);
    }
}

/// The end of an attached run as programs see it.
#[derive(Debug, Serialize)]
struct Ending<'a> {
    #[serde(flatten)]
    summary: &'a RunSummary,
    /// Whether we left before the end.
    detached: bool,
    /// Instances that failed, at most 1,000.
    failed: &'a [InstanceView],
}

/// Says how a run ended, and returns what to exit with.
pub(super) async fn conclude(context: &Context, run: RunId, followed: Followed) -> Result<Exit, Failure> {
    let summary = match followed {
        Followed::Over(summary) => summary,
        Followed::Left(known) => return left(context, run, known.as_deref()),
    };
    let failed = if summary.counts.failed == 0 { Vec::new() } else { failed_ones(context, &summary).await?.instances };
    if context.json() {
        context.print_json(&Ending { summary: &summary, detached: false, failed: &failed })?;
    } else if summary.state != RunState::Succeeded || !context.quiet() {
        let page = Page::stdout(context.paint());
        let mut text = view::run::ending(&summary, clock::now(), page);
        text.push('\n');
        if !failed.is_empty() {
            let words = last_words(context, &summary, &failed).await?;
            let listed = InstancePage { total: summary.counts.failed, instances: failed };
            text.push_str(&view::run::failed(&summary, &listed, &words, page));
        }
        context.print(&text)?;
    }
    Ok(exit(summary.state))
}

fn left(context: &Context, run: RunId, known: Option<&RunSummary>) -> Result<Exit, Failure> {
    if let (true, Some(summary)) = (context.json(), known) {
        context.print_json(&Ending { summary, detached: true, failed: &[] })?;
    }
    context.say(&format!(
        "\nDetached: run {run} goes on. `csync watch {run}` follows it again, `csync cancel {run}` ends it."
    ));
    Ok(Exit::Interrupted)
}

/// Returns what a run's state is as an exit code.
pub(super) const fn exit(state: RunState) -> Exit {
    match state {
        RunState::Active | RunState::Succeeded => Exit::Success,
        RunState::Failed => Exit::RunFailed,
        RunState::Cancelled => Exit::Interrupted,
    }
}

async fn failed_ones(context: &Context, run: &RunSummary) -> Result<InstancePage, Failure> {
    let limit = if context.json() { 1000 } else { FAILED_SHOWN };
    let query = InstanceQuery { state: Some(State::Failed), limit: Some(limit), ..InstanceQuery::default() };
    Ok(context.reach().await?.instances(run.run.into(), &query).await?)
}

/// Returns the last log lines of the first few that failed.
async fn last_words(context: &Context, run: &RunSummary, failed: &[InstanceView]) -> Result<Vec<Vec<String>>, Failure> {
    let client = context.reach().await?;
    let mut words = Vec::new();
    for instance in failed.iter().take(TAILS_SHOWN) {
        let whys = client.why(run.run.into(), &instance.label).await?;
        let why = whys.into_iter().find(|why| why.instance.instance == instance.instance);
        let lines = why.map(|why| why.log_tail).unwrap_or_default();
        let skip = lines.len().saturating_sub(TAIL_LINES);
        words.push(lines.into_iter().skip(skip).collect());
    }
    Ok(words)
}

/// Where progress is shown.
enum Display {
    /// A terminal.
    Bars(Box<Bars>),
    /// A file or pipe that a person reads later.
    Plain(Plain),
    /// Nobody reads it.
    Silent,
}

impl Display {
    fn new(context: &Context) -> Self {
        let page = Page::stderr(context.paint_err());
        if context.json() || context.quiet() {
            Self::Silent
        } else if context.is_watched() {
            Self::Bars(Box::new(Bars::new(page)))
        } else {
            Self::Plain(Plain {
                page,
                shown: None,
                told: clock::now(),
                verbose: context.verbose() > 0,
                context: context.clone(),
            })
        }
    }

    /// Returns whether somebody is there who can be asked.
    fn can_ask(&self) -> bool {
        matches!(self, Self::Bars(_)) && std::io::stdin().is_terminal()
    }

    fn show(&mut self, progress: Progress, now: Timestamp) {
        match self {
            Self::Bars(bars) => bars.show(progress, now),
            Self::Plain(plain) => plain.show(&progress, now),
            Self::Silent => {}
        }
    }

    fn tick(&self, now: Timestamp) {
        if let Self::Bars(bars) = self {
            bars.tick(now);
        }
    }

    fn say(&self, text: &str) {
        match self {
            Self::Bars(bars) => bars.line(text),
            Self::Plain(plain) => plain.context.say(text),
            Self::Silent => {}
        }
    }

    fn clear(&self) {
        if let Self::Bars(bars) = self {
            // What is left to do when a terminal does not take that: nothing.
            drop(bars.multi.clear());
        }
    }
}

/// The bar of a run, and a line for each of some running instances below it.
struct Bars {
    page: Page,
    multi: MultiProgress,
    whole: ProgressBar,
    running: Vec<ProgressBar>,
    known: Option<Progress>,
}

impl Bars {
    fn new(page: Page) -> Self {
        let multi = MultiProgress::new();
        let color = if page.paint.is_on() { ".cyan/dim" } else { "" };
        let bar = if page.width_or(80) < 100 { 16 } else { 32 };
        let style = ProgressStyle::with_template(&format!("{{spinner}} {{prefix}} {{bar:{bar}{color}}} {{wide_msg}}"))
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─")
            .tick_chars("⠋⠙⠸⠴⠦⠇ ");
        let whole = multi.add(ProgressBar::new(0).with_style(style));
        Self { page, multi, whole, running: Vec::new(), known: None }
    }

    fn show(&mut self, progress: Progress, now: Timestamp) {
        for one in progress.ended.iter().filter(|one| matches!(one.state, State::Failed | State::Ready)) {
            self.line(&view::progress::ended(one, self.page));
        }
        let run = &progress.summary;
        self.whole.set_length(u64::from(run.counts.total()));
        self.whole.set_position(u64::from(run.counts.over()));
        self.whole.set_prefix(format!("{} {}", cut(&run.name, 24), self.page.paint.dim(run.run)));
        let lines = progress.running.len().min(RUNNING_SHOWN) + progress.moving.len().min(MOVING_SHOWN);
        while self.running.len() > lines {
            if let Some(bar) = self.running.pop() {
                bar.finish_and_clear();
                self.multi.remove(&bar);
            }
        }
        while self.running.len() < lines {
            let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            self.running.push(self.multi.add(ProgressBar::new(0).with_style(style)));
        }
        self.known = Some(progress);
        self.tick(now);
    }

    fn tick(&self, now: Timestamp) {
        let Some(progress) = &self.known else { return };
        self.whole.tick();
        self.whole.set_message(view::progress::beside(progress, now, self.page));
        let shown = progress.running.iter().take(RUNNING_SHOWN);
        let widest = shown.clone().map(|one| console::measure_text_width(&one.label)).max().unwrap_or(0);
        let moving = progress.moving.iter().take(MOVING_SHOWN).map(|one| view::progress::moving(one, self.page));
        let running = shown.map(|one| view::progress::running(one, widest, now, self.page));
        for (bar, text) in self.running.iter().zip(moving.chain(running)) {
            bar.set_message(text);
        }
    }

    fn line(&self, text: &str) {
        // A terminal that has gone is noticed elsewhere.
        drop(self.multi.println(text));
    }
}

/// Lines for a reader of files.
struct Plain {
    page: Page,
    context: Context,
    verbose: bool,
    /// Instances over and the time, when counters were last shown.
    shown: Option<(u32, Timestamp)>,
    /// When it was last told what moves.
    told: Timestamp,
}

impl Plain {
    fn show(&mut self, progress: &Progress, now: Timestamp) {
        let counts = &progress.summary.counts;
        let each = self.verbose || counts.total() <= LINE_EACH;
        for one in &progress.ended {
            let matters = matches!(one.state, State::Failed | State::Ready);
            let quiet = matches!(one.state, State::Cached | State::Skipped) && !self.verbose;
            if matters || each && !quiet {
                self.context.say(&view::progress::ended(one, self.page));
            }
        }
        if let Some(one) = progress.moving.first()
            && now.since(self.told).as_secs() >= SIGN_OF_LIFE
        {
            self.context.say(&view::progress::moving(one, self.page));
            self.told = now;
        }
        let (over, at) = *self.shown.get_or_insert((counts.over(), now));
        let tenth = counts.over() - over.min(counts.over()) >= (counts.total() / 10).max(1);
        let long = now.since(at).as_secs() >= SIGN_OF_LIFE;
        if !each && !progress.over && (tenth || long) {
            self.context.say(&view::progress::counters(progress, now, self.page));
            self.shown = Some((counts.over(), now));
        }
    }
}
