//! What attempts taught, written beside the engine's work: batched, and never in its way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::decide::engine::protocol::Event;
use crate::decide::outlook::known::Known;
use crate::language::command::{Signature, Token, TokenKey};
use crate::model::id::{HostId, JobKey, RunId, TaskId};
use crate::model::job::{Ended, Outcome};
use crate::model::observation::{Cut, LONGEST, Observation, Trust};
use crate::model::plan::Plan;
use crate::model::resources::{Grant, Meter, Usage};
use crate::model::units::{Bytes, Timestamp, Walltime};
use crate::reach::advice;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::learned::{Learned, LearnedError, Lesson, Place, Stamp, class_of, take_in};
use crate::reach::store::{Batch, Untaught};
use crate::serve::engine::adviser::{change, is_asked};
use crate::serve::engine::left::read_again;
use crate::serve::engine::runner::{Given, Report, Runner};
use crate::serve::prepare::lore::{known_of, passphrase, signature_of};

/// Attempts that wait in memory to be learned from: twenty megabytes. When more do, the rest is read from the store again.
const MOST_WAITING: usize = 65_536;
/// Attempts that are written together at most.
const MOST_TOGETHER: usize = 10_000;
/// How long attempts are gathered before they are written together.
const GATHERED: Duration = Duration::from_secs(2);
/// How long the engine waits, when it leaves, for what is still to be written.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long what was learned is left alone when it could not be used.
const UNUSABLE: Duration = Duration::from_mins(10);
/// Turns that wait in the store to be learned from, for as long as what was learned cannot be used.
const MOST_TURNS: u64 = 1_000_000;
/// Seconds below which an attempt tells nothing that is worth asking a site for.
const SHORTEST: f64 = 1.0;

/// An attempt that ended.
pub(super) struct Told {
    pub(super) plan: Arc<Plan>,
    pub(super) key: JobKey,
    pub(super) host: String,
    pub(super) cut: Cut,
    pub(super) asked: Asked,
    pub(super) usage: Usage,
    pub(super) input: u64,
    pub(super) at: Timestamp,
}

/// What an attempt was granted that may have been too much, or too little.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    memory: Bytes,
    /// None where it may run as long as it likes.
    time: Option<Walltime>,
}

impl Asked {
    pub(super) fn of(grant: &Grant) -> Self {
        Self { memory: grant.kept(), time: grant.time }
    }
}

/// What the task that learns hears.
pub(super) enum Heard {
    /// An attempt, and the turn in which its end is written; none where it was read from the store again.
    Attempt(Told, Option<u64>),
    /// All was read again that had to be.
    CaughtUp,
}

/// How far it is learned from what was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Learnt {
    /// All attempts that it was told of up to this turn are learned from, and that is on the disk.
    turn: Option<u64>,
    /// All that was read again too.
    caught_up: bool,
}

/// Which turns the store may forget that nothing was learned of yet, and which have to be read again: attempts are noted in
/// the transaction that writes their end, and struck off when what they taught is on the disk, so that none is lost when the
/// engine is killed between the two. One that is told twice counts once.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The turn that is being written next.
    turn: u64,
    /// All that the task was told of is learned up to this one.
    learnt: Option<u64>,
    /// From here on not all was told.
    missed: Option<u64>,
    /// What is being read again, from one turn to another.
    reading: Option<(u64, u64)>,
}

impl Ledger {
    /// Begins with what an earlier engine left.
    fn begin(&mut self, left: Option<(u64, u64)>) {
        if let Some((first, last)) = left {
            self.missed = Some(first);
            self.turn = last.saturating_add(1);
        }
    }

    /// Notes that an attempt of this turn was not told.
    fn miss(&mut self) {
        self.missed = Some(self.missed.map_or(self.turn, |missed| missed.min(self.turn)));
    }

    /// Notes that the task is gone, with whatever it had not learned yet.
    fn lose(&mut self) {
        let after = self.learnt.map_or(0, |learnt| learnt.saturating_add(1));
        let from = self.reading.take().map_or(after, |(from, _)| from.min(after));
        self.missed = Some(self.missed.map_or(from, |missed| missed.min(from)));
    }

    /// Takes in how far it came; returns up to which turn the store may forget.
    fn hear(&mut self, learnt: Learnt) -> Option<u64> {
        self.learnt = self.learnt.max(learnt.turn);
        if let (true, Some((_, to))) = (learnt.caught_up, self.reading) {
            self.reading = None;
            self.learnt = self.learnt.max(Some(to));
        }
        let open = [self.missed, self.reading.map(|(from, _)| from)].into_iter().flatten().min();
        match open {
            None => self.learnt,
            Some(open) => self.learnt.zip(open.checked_sub(1)).map(|(learnt, before)| learnt.min(before)),
        }
    }

    /// Returns what is to be read again now, if anything is: what is written already.
    fn read_again(&mut self) -> Option<(u64, u64)> {
        let (from, to) = self.missed.zip(self.turn.checked_sub(1))?;
        if self.reading.is_some() || from > to {
            return None;
        }
        self.missed = None;
        self.reading = Some((from, to));
        self.reading
    }
}

/// The way to the task that learns; it starts with the first attempt that tells something.
#[derive(Default)]
pub(super) struct Learner {
    task: Option<(mpsc::Sender<Heard>, JoinHandle<Learnt>)>,
    /// Reads again what the task was not told.
    reader: Option<JoinHandle<()>>,
    pub(super) ledger: Ledger,
    /// When what was learned is tried again, where it could not be used.
    again: Option<Instant>,
    /// What is asked for attempts in flight, where anything is.
    asked: HashMap<JobKey, Asked>,
}

impl Learner {
    /// Notes what an attempt is granted.
    pub(super) fn asks(&mut self, key: JobKey, grant: &Grant) {
        let asked = Asked::of(grant);
        if asked.memory > Bytes(0) || asked.time.is_some() {
            self.asked.insert(key, asked);
        }
    }

    /// Returns the way to the task, which begins unless what was learned could not be used a moment ago.
    fn way(&mut self, state: &StateDir, reports: &mpsc::Sender<Report>) -> Option<mpsc::Sender<Heard>> {
        if let Some((to, _)) = self.task.as_ref().filter(|(to, _)| !to.is_closed()) {
            return Some(to.clone());
        }
        if self.task.take().is_some() {
            self.ledger.lose();
            self.again = Some(Instant::now() + UNUSABLE);
        }
        if self.again.is_some_and(|again| Instant::now() < again) {
            return None;
        }
        let (to, from) = mpsc::channel(MOST_WAITING);
        self.task = Some((to.clone(), tokio::spawn(learn(state.clone(), from, reports.downgrade()))));
        Some(to)
    }

    fn tell(&mut self, state: &StateDir, reports: &mpsc::Sender<Report>, told: Told) {
        let turn = self.ledger.turn;
        let is_told = self.way(state, reports).is_some_and(|to| to.try_send(Heard::Attempt(told, Some(turn))).is_ok());
        if !is_told {
            self.ledger.miss();
        }
    }

    /// Waits until everything is written that was told; returns up to which turn the store may forget.
    pub(super) async fn leave(&mut self) -> Option<u64> {
        if let Some(reader) = self.reader.take() {
            reader.abort();
        }
        let (to, task) = self.task.take()?;
        drop(to);
        let Ok(learnt) = timeout(FAREWELL, task).await else {
            tracing::warn!("the next engine learns from what the last attempts taught");
            return None;
        };
        // One that failed has learned what it said before.
        self.ledger.hear(learnt.unwrap_or_default())
    }
}

impl Runner {
    /// Has what an engine before this one was not able to learn from be learned from.
    pub(super) fn learn_what_is_left(&mut self, left: Option<(u64, u64)>) {
        self.learner.ledger.begin(left);
        self.read_again();
    }

    /// Has be read again what the task that learns was not told, if anything.
    fn read_again(&mut self) {
        if self.learner.ledger.missed.is_none() {
            return;
        }
        let Some(to) = self.learner.way(&self.state, &self.reports) else { return };
        if let Some(turns) = self.learner.ledger.read_again() {
            self.learner.reader = Some(tokio::spawn(read_again(self.store.reader(), turns, to)));
        }
    }

    /// Takes in how far it is learned from what was told.
    pub(super) fn hear_learnt(&mut self, learnt: Learnt) {
        if let Some(turn) = self.learner.ledger.hear(learnt) {
            self.batch.taught(turn);
        }
        self.read_again();
    }

    /// Notes that the attempts of this turn are written that something is to be learned of.
    pub(super) fn next_lessons(&mut self) {
        let ledger = &mut self.learner.ledger;
        ledger.turn += 1;
        // Who never gives the key to what was learned need not fill the disk.
        if let Some(long_ago) = ledger.turn.checked_sub(MOST_TURNS).filter(|_| ledger.turn.is_multiple_of(10_000)) {
            self.batch.taught(long_ago);
        }
    }

    /// Writes up to where it is learned, when the engine leaves.
    pub(super) async fn close_lessons(&mut self) {
        let Some(turn) = self.learner.leave().await else { return };
        // Of its own: what could not be written before is not what an engine ends with.
        let mut batch = Batch::default();
        batch.taught(turn);
        if let Err(error) = self.store.write(&batch).await {
            tracing::debug!(%error, "the next engine learns once more what is learned");
        }
    }

    /// Tells the core what was learned of tasks of a run since, and of which class each host is: a run that began before anything
    /// was learned does not know that.
    pub(super) fn hear_learned(&mut self, run: RunId, known: Vec<(TaskId, Arc<Known>)>, key: &TokenKey) {
        let classes = self.sites.names().map(|(host, name)| (host, class_of(name, key))).collect();
        self.tell_or_log(Event::Classes(run, classes));
        self.tell_or_log(Event::Learned(run, known));
    }

    /// Notes what an attempt needed, when it tells that.
    pub(super) fn teach(&mut self, ended: &Ended, given: Option<Given>) {
        let asked = self.learner.asked.remove(&ended.key).unwrap_or_default();
        if cut(&ended.outcome, &ended.usage).is_none() {
            return;
        }
        let Some(run) = self.core.run(ended.key.run) else { return };
        let host = match given {
            Some(Given::Host(host)) => self.sites.name(host).to_owned(),
            _ => self.sites.name(HostId::LOCAL).to_owned(),
        };
        let (plan, input) = (Arc::clone(run.plan()), ended.inputs.iter().flatten().map(|input| input.size).sum());
        self.learn_of(ended, plan, host, (asked, input));
    }

    /// Notes what an attempt of a plan needed on a host, when it tells that: with what it was granted, and so many bytes of inputs.
    pub(super) fn learn_of(&mut self, ended: &Ended, plan: Arc<Plan>, host: String, (asked, input): (Asked, u64)) {
        let Some(cut) = cut(&ended.outcome, &ended.usage) else { return };
        let (key, usage, at) = (ended.key, ended.usage, ended.ended);
        self.batch.untaught(self.learner.ledger.turn, &Untaught { key, input });
        self.learner.tell(&self.state, &self.reports, Told { plan, key, host, cut, asked, usage, input, at });
    }
}

/// Returns what ended an attempt before its time; none where it tells nothing of what it needs.
pub(super) fn cut(outcome: &Outcome, usage: &Usage) -> Option<Cut> {
    match outcome {
        Outcome::Success => (usage.wall >= SHORTEST).then_some(Cut::Nothing),
        Outcome::Oom => Some(Cut::Memory),
        Outcome::Timeout => Some(Cut::Time),
        _ => None,
    }
}

/// Takes in what is told, until nobody is left to tell, or what was learned cannot be used. Returns how far it came.
async fn learn(state: StateDir, mut from: mpsc::Receiver<Heard>, reports: mpsc::WeakSender<Report>) -> Learnt {
    let mut learnt = Learnt::default();
    let mut learned = match open(&state).await {
        Ok(learned) => learned,
        Err(error) => {
            tracing::warn!(%error, "nothing is learned from what runs, until that can be used");
            return learnt;
        }
    };
    let place = Place::of(&state);
    while let Some(first) = from.recv().await {
        let mut batch = vec![first];
        let until = Instant::now() + GATHERED;
        while batch.len() < MOST_TOGETHER
            && let Ok(Some(heard)) = timeout_at(until, from.recv()).await
        {
            batch.push(heard);
        }
        let key = learned.tokens().clone();
        let (mut lessons, mut of) = (Vec::new(), Vec::new());
        for heard in batch {
            let Heard::Attempt(told, turn) = heard else {
                learnt.caught_up = true;
                continue;
            };
            learnt.turn = learnt.turn.max(turn);
            let Some(lesson) = lesson(&told, &state, &key) else { continue };
            of.push((told.key.run, told.plan.instance(told.key.instance).task, lesson.signature.clone()));
            lessons.push(lesson);
        }
        let about = about(&lessons);
        let before = Stamp::of(&place);
        if let Err(error) = learned.learn(lessons, clock::now()).await {
            tracing::warn!(%error, "what some attempts taught is not written; it is tried again");
            // The engine sees that nobody listens, and begins again with what is not struck off.
            return Learnt::default();
        }
        if is_asked(&state) {
            tell_hooks(&mut learned, about, &state, before).await;
        }
        of.sort();
        of.dedup();
        // Who leaves waits for this task, and takes no more reports.
        let Some(reports) = reports.upgrade() else { continue };
        // Where there is no room, the next report says it too.
        if reports.try_send(Report::Learnt(learnt)).is_ok() {
            learnt.caught_up = false;
        }
        for (run, known) in renewed(&mut learned, of).await {
            reports.try_send(Report::Learned(run, known, key.clone())).ok();
        }
    }
    close(learned, &state).await;
    learnt
}

/// Returns what lessons are about, each once.
fn about(lessons: &[Lesson]) -> HashSet<(Signature, Token)> {
    lessons.iter().map(|lesson| (lesson.signature.clone(), lesson.class)).collect()
}

/// Puts what is known now into the index that hooks look things up in.
async fn tell_hooks(
    learned: &mut Learned,
    about: HashSet<(Signature, Token)>,
    state: &StateDir,
    before: Option<Stamp>,
) {
    let (state, mut entries) = (state.clone(), Vec::new());
    let mut stamps = before.zip(Stamp::of(&Place::of(&state)));
    for (signature, class) in about {
        match learned.get(&signature, class).await {
            Ok(Some(entry)) => entries.push(entry),
            // What is left out is found in the store, by those who see that the index has not all of it.
            _ => stamps = None,
        }
    }
    change(move || advice::put_learned(state.root(), &Place::of(&state), &entries, stamps)).await;
}

/// Closes what was learned, whose log goes into its file: the index has all of it still.
async fn close(learned: Learned, state: &StateDir) {
    let (state, place) = (state.clone(), Place::of(state));
    let before = Stamp::of(&place);
    learned.close().await;
    if is_asked(&state) {
        let stamps = before.zip(Stamp::of(&place));
        change(move || advice::put_learned(state.root(), &place, &[], stamps)).await;
    }
}

async fn open(state: &StateDir) -> Result<Learned, LearnedError> {
    let now = clock::now();
    let place = Place::of(state);
    let mut learned = Learned::open(&place, passphrase().as_deref(), now).await?;
    // What agents' hooks saw is not worth more than the rest.
    if let Err(error) = take_in(&mut learned, &place, now).await {
        tracing::debug!(%error, "what hooks saw is taken in another time");
    }
    Ok(learned)
}

/// Turns an attempt into what is learned of it: a signature, tokens and numbers.
fn lesson(told: &Told, state: &StateDir, key: &TokenKey) -> Option<Lesson> {
    let (usage, at) = (told.usage, told.at.0.max(0) / 60_000_000);
    let seen = Observation {
        id: key.token("attempt", &format!("{}\0{}\0{}", state.id(), told.key, told.at.0)).0 as u64,
        at: u32::try_from(at).unwrap_or(u32::MAX),
        input: told.input as f32,
        memory: usage.peak_memory.0 as f32,
        wall: usage.wall as f32,
        cpu: usage.cpu() as f32,
        // What depends on what was cached is no property of the command.
        io: usage.io.filter(|io| io.flow.is_repeatable()).map_or(0.0, |io| io.total() as f32),
        asked: told.asked.memory.0 as f32,
        asked_time: told.asked.time.map_or(0.0, |time| time.0 as f32).min(LONGEST),
        cut: told.cut,
        trust: match usage.meter {
            Meter::Cgroup => Trust::Full,
            Meter::Proc => Trust::Fair,
            Meter::Rusage => Trust::Low,
        },
    };
    Some(Lesson {
        signature: signature_of(&told.plan, told.key.instance, key)?,
        class: class_of(&told.host, key),
        seen,
    })
}

/// Reads what is known by now of the tasks that something was learned of, run by run.
async fn renewed(
    learned: &mut Learned,
    of: Vec<(RunId, TaskId, Signature)>,
) -> BTreeMap<RunId, Vec<(TaskId, Arc<Known>)>> {
    let mut known: HashMap<Signature, Option<Arc<Known>>> = HashMap::new();
    let mut by_run: BTreeMap<RunId, Vec<(TaskId, Arc<Known>)>> = BTreeMap::new();
    for (run, task, signature) in of {
        let found = match known.get(&signature) {
            Some(found) => found.clone(),
            // What cannot be read now is read with the next lesson.
            None => known_of(learned, &signature).await.ok().flatten().map(Arc::new),
        };
        known.insert(signature, found.clone());
        by_run.entry(run).or_default().extend(found.map(|found| (task, found)));
    }
    by_run
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::graph::datasets::Catalog;
    use crate::model::id::InstanceId;
    use crate::model::resources::{Flow, Io};
    use crate::serve::prepare;

    fn through(turn: u64) -> Learnt {
        Learnt { turn: Some(turn), caught_up: false }
    }

    #[test]
    fn what_was_measured_better_is_believed_more() {
        let dir = tempfile::tempdir().unwrap();
        let text = "name = \"w\"\n[tasks.a]\nrun = \"samtools sort x.bam\"\n";
        let root = dir.path().to_str().unwrap();
        let plan = prepare::plan(text, root, &BTreeMap::new(), &Catalog::default()).unwrap().expanded.plan;
        let (state, key) = (StateDir::at(dir.path().to_owned(), None), TokenKey::new([7; 32]));
        let plan = Arc::new(plan);
        let seen = |meter, flow| {
            let io = Some(Io { read: Bytes(5), written: Bytes(6), flow });
            let usage = Usage { wall: 9.0, user: 3.0, system: 1.0, peak_memory: Bytes(7), meter, io };
            let (key_of, plan) = (JobKey { run: RunId(1), instance: InstanceId(0), attempt: 1 }, Arc::clone(&plan));
            let told = Told {
                plan,
                key: key_of,
                host: "local".to_owned(),
                cut: Cut::Nothing,
                asked: Asked { memory: Bytes(8), time: Some(Walltime(60)) },
                usage,
                input: 4,
                at: Timestamp(120_000_000),
            };
            lesson(&told, &state, &key).unwrap().seen
        };
        let all = [Meter::Cgroup, Meter::Proc, Meter::Rusage].map(|meter| seen(meter, Flow::Calls));
        assert_eq!(all.map(|seen| seen.trust), [Trust::Full, Trust::Fair, Trust::Low]);
        let numbers =
            |seen: Observation| (seen.at, seen.input, seen.memory, seen.wall, seen.cpu, seen.asked, seen.asked_time);
        assert_eq!(numbers(all[0]), (2, 4.0, 7.0, 9.0, 4.0, 8.0, 60.0));
        // What depends on what was cached is not learned.
        assert_eq!((all[0].io, seen(Meter::Proc, Flow::Devices).io), (11.0, 0.0));
    }

    #[test]
    fn the_store_forgets_what_is_learned_and_nothing_else() {
        let mut ledger = Ledger::default();
        ledger.begin(None);
        ledger.turn = 5;
        assert_eq!((ledger.hear(through(3)), ledger.read_again()), (Some(3), None));
        // One of the fifth turn found no room: what comes after is learned, and nothing from there on is forgotten.
        ledger.miss();
        assert_eq!(ledger.read_again(), None, "it is not written yet");
        ledger.turn = 9;
        assert_eq!(ledger.hear(through(8)), Some(4));
        assert_eq!(ledger.read_again(), Some((5, 8)));
        assert_eq!((ledger.hear(through(8)), ledger.read_again()), (Some(4), None), "it is being read");
        assert_eq!(ledger.hear(Learnt { turn: None, caught_up: true }), Some(8));
        // A task that is gone had learned what it said, and nothing else.
        ledger.turn = 12;
        ledger.lose();
        assert_eq!((ledger.hear(Learnt::default()), ledger.read_again()), (Some(8), Some((9, 11))));
        // While that is read, it is gone again.
        ledger.turn = 20;
        ledger.lose();
        assert_eq!(ledger.read_again(), Some((9, 19)));
        assert_eq!(ledger.hear(Learnt { turn: Some(15), caught_up: true }), Some(19));
    }

    #[test]
    fn an_engine_begins_with_what_the_last_one_left() {
        let mut ledger = Ledger::default();
        ledger.begin(Some((7, 9)));
        assert_eq!(ledger.read_again(), Some((7, 9)));
        assert_eq!(ledger.turn, 10, "no turn has the number of one that waits");
        assert_eq!(ledger.hear(through(10)), Some(6));
        assert_eq!(ledger.hear(Learnt { turn: Some(10), caught_up: true }), Some(10));
    }
}
