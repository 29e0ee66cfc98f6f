//! What was learned of the command that is asked about, and of the hosts by what ran on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::learn::profile::{Prediction, Question as Of, Source as Basis};
use crate::decide::route::need::Need;
use crate::language::command::{Token, commands};
use crate::model::host::HostName;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::index::IndexError;
use crate::reach::learned::{LearnedError, Mention};
use crate::serve::prepare::lore::{Command, Digested, Lookup};

/// What is foretold of a command.
#[derive(Default)]
pub(super) struct Foretold {
    /// How many times faster hosts are than this machine, where anything tells.
    pub(super) speeds: Speeds,
    /// What it rests on, in words; none where nothing is known.
    pub(super) words: Option<String>,
}

/// How many times faster hosts are than this machine.
#[derive(Default)]
pub(super) struct Speeds {
    /// Those that something was learned on.
    of: BTreeMap<HostName, Estimate>,
    /// All others, which are alike: most of a thousand.
    others: Option<Estimate>,
}

impl Speeds {
    /// Returns that of a host; none where nothing tells.
    pub(super) fn of(&self, host: &HostName) -> Option<Estimate> {
        self.of.get(host).copied().or(self.others).filter(|_| !host.is_local())
    }
}

/// What is asked of what was learned.
pub(super) struct Question {
    lines: Vec<Vec<String>>,
    inputs: Vec<String>,
    hosts: Vec<HostName>,
}

/// The classes of hosts.
type Classes = BTreeMap<HostName, Token>;

/// What is known of a command; none where nothing is.
pub(super) type Answer = Result<Option<Command>, LearnedError>;

/// What was learned: out of the index where that has all of it, else in a thread of its own, where it is opened while other things
/// are read, and closed while the answer is made.
pub(super) enum Lore<'s> {
    Digested { digested: Digested, context: &'s Context, state: StateDir },
    Store { ask: Sender<Question>, told: Receiver<Answer> },
}

/// What is read before anybody knows what a command's inputs are, and whether the hosts are those that were kept.
pub(super) struct Ahead {
    lines: Vec<Vec<String>>,
    hosts: Vec<HostName>,
    /// Where the index tells what was learned: the classes of these hosts, and which commands of the same programs are known.
    index: Option<(Classes, Result<Vec<Mention>, IndexError>)>,
}

impl<'s> Lore<'s> {
    /// Begins to open it.
    pub(super) fn open(context: &'s Context, scope: &'s Scope<'s, '_>) -> Result<Self, Failure> {
        let state = context.state_dir()?;
        if let Some(digested) = Digested::open(&state) {
            return Ok(Self::Digested { digested, context, state });
        }
        let ((ask, asked), (tell, told)) = (channel::<Question>(), channel());
        scope.spawn(move || {
            context.block_on(async {
                let opened = Lookup::open(&state, clock::now()).await;
                // Nobody asks any more, or waits for the answer, where the command could not be read.
                let Ok(question) = asked.recv() else { return Ok(()) };
                look_up(opened, &question, |answer| drop(tell.send(answer))).await;
                Ok(())
            })
        });
        Ok(Self::Store { ask, told })
    }

    /// Reads ahead what there is to read of a command on these hosts. The store is asked once, for all.
    pub(super) fn ahead(&self, command: &str, hosts: Vec<HostName>) -> Ahead {
        let lines = commands(command);
        let index = match self {
            Self::Digested { digested, .. } => Some((digested.classes(&hosts), digested.kindred(&lines))),
            Self::Store { .. } => None,
        };
        Ahead { lines, hosts, index }
    }

    /// Makes what was read ahead be of these hosts, where it is of others.
    pub(super) fn now_of(&self, ahead: &mut Ahead, hosts: Vec<HostName>) {
        if ahead.hosts != hosts {
            if let (Self::Digested { digested, .. }, Some((classes, _))) = (self, &mut ahead.index) {
                *classes = digested.classes(&hosts);
            }
            ahead.hosts = hosts;
        }
    }

    /// Asks it. A thread that could not begin has nothing to tell.
    fn ask(&self, inputs: Vec<String>, Ahead { lines, hosts, index }: Ahead) -> Answer {
        match self {
            Self::Digested { digested, context, state } => {
                let named: Vec<&str> = inputs.iter().map(String::as_str).collect();
                if let Some((classes, Ok(kindred))) = index
                    && let Ok(found) = digested.command(&lines, &named, classes, &kindred)
                {
                    return Ok(found);
                }
                // The index is damaged just there: the store has it.
                let mut answer = Ok(None);
                let asked = context.block_on(async {
                    let opened = Lookup::open(state, clock::now()).await;
                    look_up(opened, &Question { lines, inputs, hosts }, |told| answer = told).await;
                    Ok(())
                });
                asked.map_or(Ok(None), |()| answer)
            }
            Self::Store { ask, told } => {
                drop(ask.send(Question { lines, inputs, hosts }));
                told.recv().unwrap_or(Ok(None))
            }
        }
    }
}

/// Asks the store, tells the answer, and closes the store.
async fn look_up(opened: Result<Option<Lookup>, LearnedError>, question: &Question, tell: impl FnOnce(Answer)) {
    let Question { lines, inputs, hosts } = question;
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    match opened {
        Ok(Some(mut lookup)) => {
            tell(lookup.command(lines, &inputs, hosts).await);
            lookup.close().await;
        }
        Ok(None) => tell(Ok(None)),
        Err(error) => tell(Err(error)),
    }
}

/// Fills in what a command needs by what was learned, as far as nobody said it.
pub(super) fn foretell(context: &Context, lore: &Lore<'_>, need: &mut Need, ahead: Ahead) -> Foretold {
    let inputs = need.inputs.iter().map(|input| input.name.clone()).collect();
    let known = match lore.ask(inputs, ahead) {
        Ok(Some(known)) => known,
        Ok(None) => return Foretold::default(),
        Err(error) => {
            context.say(&format!("What was learned is of no use here: {error}."));
            return Foretold::default();
        }
    };
    let Command { known, classes } = known;
    let Some(&here) = classes.get(&HostName::local()) else { return Foretold::default() };
    let bytes: f64 = need.inputs.iter().map(|input| input.bytes).sum();
    let mut words = Vec::new();
    if need.memory.is_none()
        && let Some(found) = known.memory(here, Of::plain(bytes)).filter(is_seen)
    {
        // What would be asked for is what has to be there.
        need.memory = Some(Estimate { middle: found.request, high: found.high.max(found.request), ..estimate(&found) });
        words.push("memory");
    }
    let on = |class| known.run_time(class, bytes).filter(is_seen);
    let Some(time) = on(here) else { return Foretold { words: said(&words), ..Foretold::default() } };
    let told = known.seen.iter().flat_map(|seen| seen.scale.iter().map(|(class, _)| *class).chain([seen.class]));
    let told: BTreeSet<Token> = told.collect();
    // Its spread is that of the run time, which is counted already.
    let speed = |class| {
        let there = on(class).filter(|there| there.middle > 0.0)?;
        let (speed, source) = (time.middle / there.middle, Source::Learned(there.n));
        Some(Estimate { low: speed, middle: speed, high: speed, source })
    };
    let mut speeds = Speeds::default();
    let mut others = None;
    for (host, &class) in classes.iter().filter(|(host, _)| !host.is_local()) {
        if told.contains(&class) {
            // One of which nothing can be said is as fast as this machine, and not as the others.
            speeds.of.insert(host.clone(), speed(class).unwrap_or(Estimate::known(1.0)));
        } else {
            others.get_or_insert(class);
        }
    }
    // Of these nothing was seen: it is what others told.
    speeds.others = others.and_then(speed).map(|speed| Estimate { source: Source::Guessed, ..speed });
    if need.time.is_none() {
        need.time = Some(estimate(&time));
        words.push("run time");
    }
    Foretold { speeds, words: said(&words) }
}

/// Returns whether somebody saw that: what people commonly ask for says neither where a command fits nor how long this one runs.
fn is_seen(found: &Prediction) -> bool {
    found.source != Basis::Shipped
}

fn said(words: &[&str]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(" and "))
}

fn estimate(found: &Prediction) -> Estimate {
    Estimate { low: found.low, middle: found.middle, high: found.high, source: Source::Learned(found.n) }
}
