//! What attempts taught, written beside the engine's work: batched, and never in its way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::decide::engine::protocol::Event;
use crate::decide::outlook::known::Known;
use crate::language::command::{Signature, Token, TokenKey};
use crate::model::id::{HostId, JobKey, RunId, TaskId};
use crate::model::job::{Ended, Outcome};
use crate::model::observation::{Cut, Observation, Trust};
use crate::model::plan::Plan;
use crate::model::resources::{Grant, Meter, Usage};
use crate::model::units::{Bytes, Timestamp};
use crate::reach::advice;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::learned::{Learned, LearnedError, Lesson, Place, Stamp, take_in};
use crate::serve::engine::adviser::{change, is_asked};
use crate::serve::engine::runner::{Given, Report, Runner};
use crate::serve::prepare::lore::{class_of, known_of, passphrase, signature_of};

/// Attempts that wait to be learned from. When more end at once, the rest goes unlearned: they are many of a kind.
const MOST_WAITING: usize = 4096;
/// How long attempts are gathered before they are written together.
const GATHERED: Duration = Duration::from_secs(2);
/// How long the engine waits, when it leaves, for what is still to be written.
const FAREWELL: Duration = Duration::from_secs(5);
/// Seconds below which an attempt tells nothing that is worth asking a site for.
const SHORTEST: f64 = 1.0;

/// An attempt that ended.
struct Told {
    plan: Arc<Plan>,
    key: JobKey,
    host: String,
    cut: Cut,
    asked: Bytes,
    usage: Usage,
    input: u64,
    at: Timestamp,
}

/// The way to the task that learns; it starts with the first attempt that tells something.
#[derive(Default)]
pub(super) struct Learner {
    task: Option<(mpsc::Sender<Told>, JoinHandle<()>)>,
    /// Memory that is asked for attempts in flight, where some is.
    asked: HashMap<JobKey, Bytes>,
}

impl Learner {
    /// Notes what an attempt is granted.
    pub(super) fn asks(&mut self, key: JobKey, grant: &Grant) {
        if grant.kept() > Bytes(0) {
            self.asked.insert(key, grant.kept());
        }
    }

    fn tell(&mut self, state: &StateDir, reports: &mpsc::Sender<Report>, told: Told) {
        let (to, _) = self.task.get_or_insert_with(|| {
            let (to, from) = mpsc::channel(MOST_WAITING);
            (to, tokio::spawn(learn(state.clone(), from, reports.downgrade())))
        });
        if let Err(TrySendError::Closed(_)) = to.try_send(told) {
            tracing::debug!("nothing is learned from an attempt: what was learned cannot be used");
        }
    }

    /// Waits until everything is written that was told.
    pub(super) async fn leave(&mut self) {
        if let Some((to, task)) = self.task.take() {
            drop(to);
            if timeout(FAREWELL, task).await.is_err() {
                tracing::warn!("what the last attempts taught is not written");
            }
        }
    }
}

impl Runner {
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
        if cut(ended).is_none() {
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

    /// Notes what an attempt of a plan needed on a host, when it tells that: `asked` of memory, with so many bytes of inputs.
    pub(super) fn learn_of(&mut self, ended: &Ended, plan: Arc<Plan>, host: String, (asked, input): (Bytes, u64)) {
        let Some(cut) = cut(ended) else { return };
        let (key, usage, at) = (ended.key, ended.usage, ended.ended);
        self.learner.tell(&self.state, &self.reports, Told { plan, key, host, cut, asked, usage, input, at });
    }
}

/// Returns what ended an attempt before its time; none where it tells nothing of what it needs.
fn cut(ended: &Ended) -> Option<Cut> {
    match ended.outcome {
        Outcome::Success => (ended.usage.wall >= SHORTEST).then_some(Cut::Nothing),
        Outcome::Oom => Some(Cut::Memory),
        Outcome::Timeout => Some(Cut::Time),
        _ => None,
    }
}

/// Takes in what is told, until nobody is left to tell.
async fn learn(state: StateDir, mut from: mpsc::Receiver<Told>, reports: mpsc::WeakSender<Report>) {
    let mut learned = match open(&state).await {
        Ok(learned) => learned,
        Err(error) => {
            tracing::warn!(%error, "nothing is learned from what runs");
            return;
        }
    };
    let place = Place::of(&state);
    while let Some(first) = from.recv().await {
        let mut batch = vec![first];
        let until = Instant::now() + GATHERED;
        while let Ok(Some(told)) = timeout_at(until, from.recv()).await {
            batch.push(told);
        }
        let key = learned.tokens().clone();
        let (mut lessons, mut of) = (Vec::new(), Vec::new());
        for told in &batch {
            let Some(lesson) = lesson(told, &state, &key) else { continue };
            of.push((told.key.run, told.plan.instance(told.key.instance).task, lesson.signature.clone()));
            lessons.push(lesson);
        }
        drop(batch);
        let about = about(&lessons);
        let before = Stamp::of(&place);
        if let Err(error) = learned.learn(lessons, clock::now()).await {
            tracing::warn!(%error, "what some attempts taught is not written");
        } else if is_asked(&state) {
            tell_hooks(&mut learned, about, &state, before).await;
        }
        of.sort();
        of.dedup();
        for (run, known) in renewed(&mut learned, of).await {
            // Who leaves waits for this task, and takes no more reports.
            if let Some(reports) = reports.upgrade() {
                reports.try_send(Report::Learned(run, known, key.clone())).ok();
            }
        }
    }
    close(learned, &state).await;
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
    learned.care(now, place.retention()).await?;
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
        asked: told.asked.0 as f32,
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
