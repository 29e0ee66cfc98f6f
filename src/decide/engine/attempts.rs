//! The life of an attempt: handed over, started, ended, followed by another or not; found again after a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::decide::engine::grant::{self, Needs};
use crate::decide::engine::machine::Turn;
use crate::decide::engine::phase::Phase;
use crate::decide::engine::placing::unbind;
use crate::decide::engine::protocol::{Action, Adopted, Follow, Halt, Record, Stage, TimerId};
use crate::decide::engine::retry::{self, Fault};
use crate::decide::engine::run::{Live, Run, Trouble};
use crate::decide::outlook::files::Hosts;
use crate::decide::outlook::foresee::Foresight;
use crate::decide::outlook::known::foreseen;
use crate::model::choice::{Choice, Placement};
use crate::model::id::{HostId, InstanceId, JobKey};
use crate::model::job::{Ended, Outcome};
use crate::model::resources::{Amount, Grant, Hold, Io, Usage};
use crate::model::task::Settings;
use crate::model::units::{Bytes, Timestamp};

#[expect(
    clippy::indexing_slicing,
    reason = "one element per task or instance of the plan; ids were checked at the door"
)]
impl Run {
    /// Hands an instance over to the executor, if it is still ready: to a partition of the host, where csync chose one among several;
    /// `placement` says why there.
    pub(super) fn hand_over(
        &mut self,
        instance: InstanceId,
        (host, chosen): (HostId, Option<Box<str>>),
        placement: Option<Placement>,
        turn: &mut Turn<'_>,
    ) {
        let task = self.plan.task_of(instance);
        if self.phases[instance.index()] != Phase::Ready {
            return;
        }
        let last = self.troubles.get(&instance).map(|last| (&last.grant, &last.outcome, &task.retry));
        let (needs, foresight) = self.needs(instance, host, last.map(|(grant, ..)| grant), turn);
        let Some(mut rooms) = turn.shared.hosts.rooms(host, task) else { return };
        if let Some(name) = &chosen {
            rooms = rooms.only(name);
        }
        let granted = grant::granted(&task.resources, &rooms, &needs, last);
        let Ok(grant) = granted else {
            // The machine became smaller, or its size was not known when the instance became ready.
            self.rejects.push(instance);
            return;
        };
        let partition = chosen.clone().or_else(|| turn.shared.hosts.partition(host, task, &grant));
        let choice = choice(&foresight, task, placement);
        let key = self.next_attempt(instance);
        let live = Live {
            host,
            stage: Stage::Given,
            grant,
            submitted: turn.now,
            started: None,
            stop: false,
            ahead: true,
            placed: None,
            called_back: false,
            partition: chosen.clone(),
        };
        turn.shared.hosts.given(host);
        self.live.insert(instance, live);
        self.set(instance, Phase::Queued);
        turn.actions.push(Action::Record(Record::Submitted { key, host, grant, at: turn.now, choice, partition }));
        turn.actions.push(Action::Start { key, host, grant, partition: chosen });
    }

    /// Notes where the outputs of an attempt lie now, and how large they are.
    fn note_outputs(&self, ended: &Ended, host: HostId, turn: &mut Turn<'_>) {
        let Some(outlook) = turn.shared.outlooks.get_mut(&self.id) else { return };
        for (&path, made) in self.plan.outputs(ended.key.instance).iter().zip(&ended.outputs) {
            outlook.files.made(path, made.map_or(0, |made| made.size), Hosts::one(host));
        }
    }

    /// Returns what an instance needs on a host by what was learned, and what that rests on.
    fn needs(
        &self,
        instance: InstanceId,
        host: HostId,
        last: Option<&Grant>,
        turn: &mut Turn<'_>,
    ) -> (Needs, Foresight) {
        // Where no batch system holds anybody to it, a guess ends nothing.
        let hold = if turn.shared.hosts.flavour(host).is_some() { Hold::Limit } else { Hold::Room };
        let foresight = self.foresee(instance, host, turn.shared, turn.now);
        let Some(outlook) = turn.shared.outlooks.get_mut(&self.id) else {
            return (Needs { hold, ..Needs::default() }, Foresight::default());
        };
        let task = self.plan.instance(instance).task;
        let needs = Needs {
            mem: foresight.bytes(),
            time: foresight.walltime(),
            mem_after: last.and_then(|last| outlook.memory_after(task, host, last.mem)),
            time_after: last.and_then(|last| outlook.time_after(task, host, last.time?)),
            hold,
        };
        (needs, foresight)
    }

    fn next_attempt(&mut self, instance: InstanceId) -> JobKey {
        let attempt = &mut self.attempts[instance.index()];
        *attempt += 1;
        JobKey { run: self.id, instance, attempt: *attempt }
    }

    /// Fails an instance whose request no host that it may run on can meet: an attempt that never starts.
    pub(super) fn reject(&mut self, instance: InstanceId, turn: &mut Turn<'_>) {
        if self.phases[instance.index()] != Phase::Ready {
            return;
        }
        let task = self.plan.instance(instance).task;
        let Err(message) = turn.shared.hosts.choose(self.routes.of(task), self.plan.task(task)) else {
            // The room has grown meanwhile.
            self.make_ready(instance, turn);
            return;
        };
        let host = self.routes.of(task).first().copied().unwrap_or(HostId::LOCAL);
        let key = self.next_attempt(instance);
        let grant = Grant { cpus: 0, mem: Bytes(0), hold: Hold::Nothing, time: None, gpus: 0 };
        let live = Live {
            host,
            stage: Stage::Given,
            grant,
            submitted: turn.now,
            started: None,
            stop: false,
            ahead: false,
            placed: None,
            called_back: false,
            partition: None,
        };
        self.live.insert(instance, live);
        turn.actions.push(Action::Record(Record::Submitted {
            key,
            host,
            grant,
            at: turn.now,
            choice: None,
            partition: None,
        }));
        self.ended(Box::new(never_ran(key, Outcome::Rejected { message }, turn.now)), turn);
    }

    /// Takes in that an attempt started.
    pub(super) fn started(&mut self, key: JobKey, at: Timestamp, turn: &mut Turn<'_>) {
        let Some(live) = self.live_mut(key) else { return };
        live.started = Some(at);
        live.stage = Stage::Running;
        if let Some(bound) = &mut live.placed {
            turn.shared.board.started(live.host, bound, key, at);
        }
        if live.ahead && turn.shared.hosts.lets_in_by_itself(live.host) {
            live.ahead = false;
            turn.shared.hosts.taken(live.host);
        }
        self.set(key.instance, Phase::Running);
    }

    /// Takes in when the batch system expects to start an attempt.
    pub(super) fn expected(&mut self, key: JobKey, at: Timestamp, turn: &mut Turn<'_>) {
        let Some(live) = self.live_mut(key) else { return };
        if let Some(bound) = live.placed.filter(|bound| bound.started.is_none()) {
            turn.shared.board.expected(live.host, bound, key, at);
        }
    }

    /// Takes in how far an attempt is.
    pub(super) fn staged(&mut self, key: JobKey, stage: Stage) {
        let Some(live) = self.live_mut(key) else { return };
        live.stage = stage;
        let phase = match stage {
            Stage::Lost => Phase::Lost,
            _ if live.started.is_some() => Phase::Running,
            _ => Phase::Queued,
        };
        if self.phases[key.instance.index()] != phase {
            self.set(key.instance, phase);
        }
    }

    /// Takes in that an attempt ended.
    pub(super) fn ended(&mut self, mut ended: Box<Ended>, turn: &mut Turn<'_>) {
        let key = ended.key;
        let instance = key.instance;
        if self.live_mut(key).is_none() {
            return;
        }
        let Some(live) = self.live.remove(&instance) else { return };
        if live.ahead {
            turn.shared.hosts.taken(live.host);
        }
        unbind(&ended, live.host, live.placed, turn);
        if let Some(name) = live.partition.as_ref().filter(|_| is_refused(&ended.outcome)) {
            ended.notes.push(format!("csync had chosen `{name}`; it goes where jobs go that name no partition"));
            turn.shared.board.bar(live.host, live.placed.and_then(|bound| bound.queue));
        }
        if ended.started.is_some() {
            self.add_usage(instance, &ended.usage);
        }
        if ended.outcome == Outcome::Success {
            self.note_outputs(&ended, live.host, turn);
            self.troubles.remove(&instance);
            record_end(ended, Follow::Final, turn);
            self.set(instance, Phase::Done);
            self.release(instance, turn);
            return;
        }
        if live.called_back && !live.stop && ended.outcome == Outcome::Cancelled && self.halt == Halt::Going {
            return self.come_back(ended, turn);
        }
        let cancelled = live.stop || ended.outcome == Outcome::Cancelled;
        let delay = if cancelled || self.halt != Halt::Going { None } else { self.delay(&ended, &live, turn) };
        let fault = self.fault(&ended, &live, turn);
        self.note_trouble(&ended, &live, delay.is_some().then_some(fault));
        if let Some(delay) = delay {
            record_end(ended, Follow::Retry(turn.now.after(delay)), turn);
            self.wait_for_retry(instance, delay, turn);
        } else {
            record_end(ended, Follow::Final, turn);
            self.fail(instance, cancelled, turn);
        }
    }

    pub(super) fn add_usage(&mut self, instance: InstanceId, usage: &Usage) {
        let task = &mut self.tasks[self.plan.instance(instance).task.index()];
        task.ended += 1;
        task.usage.wall += usage.wall;
        task.usage.user += usage.user;
        task.usage.system += usage.system;
        task.usage.peak_memory = task.usage.peak_memory.max(usage.peak_memory);
        task.usage.io = task.usage.io.into_iter().chain(usage.io).reduce(Io::and);
    }

    /// Returns after how long a failed attempt is followed by another, if it is.
    fn delay(&self, ended: &Ended, live: &Live, turn: &mut Turn<'_>) -> Option<Duration> {
        let instance = ended.key.instance;
        let task = self.plan.task_of(instance);
        let tally = self.troubles.get(&instance).map(|trouble| trouble.tally).unwrap_or_default();
        let fault = self.fault(ended, live, turn);
        let delay = retry::delay(&task.retry, tally, ended, fault, turn.shared.seed)?;
        let (needs, _) = self.needs(instance, live.host, Some(&live.grant), turn);
        if let Some(rooms) = turn.shared.hosts.rooms(live.host, task) {
            let last = (&live.grant, &ended.outcome, &task.retry);
            let next = grant::granted(&task.resources, &rooms, &needs, Some(last)).ok()?;
            if !grant::can_help(&next, &live.grant, &ended.outcome) {
                return None;
            }
        }
        Some(delay)
    }

    /// Returns whose fault it is that an attempt failed.
    fn fault(&self, ended: &Ended, live: &Live, turn: &Turn<'_>) -> Fault {
        let task = self.plan.instance(ended.key.instance).task;
        let knows = turn.shared.outlooks.get(&self.id).is_some_and(|outlook| outlook.knows(task));
        let own = knows && grant::is_own_mistake(&self.plan.task(task).resources, &live.grant, &ended.outcome);
        let chosen = live.partition.is_some() && is_refused(&ended.outcome);
        if own || chosen { Fault::Ours } else { Fault::Theirs }
    }

    fn note_trouble(&mut self, ended: &Ended, live: &Live, again: Option<Fault>) {
        let before = self.troubles.remove(&ended.key.instance);
        let mut tally = before.map(|trouble| trouble.tally).unwrap_or_default();
        if let Some(fault) = again {
            tally.count(&ended.outcome, ended.started.is_some(), fault);
        }
        let trouble = Trouble {
            grant: live.grant,
            outcome: ended.outcome.clone(),
            started: ended.started,
            usage: ended.usage,
            tally,
            until: None,
        };
        self.troubles.insert(ended.key.instance, trouble);
    }

    pub(super) fn wait_for_retry(&mut self, instance: InstanceId, delay: Duration, turn: &mut Turn<'_>) {
        if !self.is_free(instance) {
            // What it depends on was given another chance while its attempt ran, or was even cancelled since.
            self.set(instance, Phase::Pending);
            self.skip_if_hopeless(instance, turn);
            return;
        }
        if delay.is_zero() {
            self.make_ready(instance, turn);
            return;
        }
        let timer = turn.shared.set_timer(self.id, instance);
        if let Some(trouble) = self.troubles.get_mut(&instance) {
            trouble.until = Some((turn.now.after(delay), timer));
        }
        self.set(instance, Phase::Delayed);
        turn.actions.push(Action::SetTimer(timer, delay));
    }

    /// Takes in that a timer fired.
    pub(super) fn timer(&mut self, instance: InstanceId, timer: TimerId, turn: &mut Turn<'_>) {
        if self.revising == Some(timer) {
            self.revising = None;
            return self.revise(turn);
        }
        let Some(trouble) = self.troubles.get_mut(&instance) else { return };
        if trouble.until.is_some_and(|(_, awaited)| awaited == timer) {
            trouble.until = None;
            if self.phases[instance.index()] == Phase::Delayed {
                self.make_ready(instance, turn);
            }
        }
    }

    /// Takes in what became of an attempt that was in flight when the engine stopped.
    pub(super) fn adopted(&mut self, key: JobKey, how: Adopted, turn: &mut Turn<'_>) {
        let halted = self.halt != Halt::Going;
        let known = key.instance.index() < self.phases.len();
        let free = known && self.is_free(key.instance);
        let Some(live) = self.live_mut(key) else {
            if how == Adopted::Live {
                turn.actions.push(Action::Stop(key));
            }
            return;
        };
        let unwanted = live.stop || halted && live.started.is_none();
        match how {
            Adopted::Died => {
                let started = live.started;
                let ended = Ended { started, ..never_ran(key, Outcome::NodeFail, turn.now) };
                return self.ended(Box::new(ended), turn);
            }
            Adopted::NeverStarted if unwanted => {
                return self.ended(Box::new(never_ran(key, Outcome::Cancelled, turn.now)), turn);
            }
            // What it depends on was given another chance since: it waits like a new one.
            Adopted::NeverStarted if !free => {
                return self.ended(Box::new(never_ran(key, Outcome::NodeFail, turn.now)), turn);
            }
            Adopted::NeverStarted => {
                let (host, grant, partition) = (live.host, live.grant, live.partition.clone());
                turn.actions.push(Action::Start { key, host, grant, partition });
            }
            Adopted::Live if live.stop => turn.actions.push(Action::Stop(key)),
            Adopted::Live if unwanted || live.called_back && live.started.is_none() => {
                turn.actions.push(Action::Withdraw(key));
            }
            Adopted::Live => {}
        }
        if (live.started.is_none() || !turn.shared.hosts.lets_in_by_itself(live.host)) && !live.ahead {
            live.ahead = true;
            turn.shared.hosts.given(live.host);
        }
    }

    /// Gives up the attempts of these instances, or of all, of which nothing is heard: they count as cancelled, and others follow.
    /// Those that were to be ended anyway have ended. Returns how many there were.
    pub(super) fn retry_lost(&mut self, instances: &[InstanceId], turn: &mut Turn<'_>) -> u32 {
        let is_meant = |instance: &InstanceId| {
            self.phases[instance.index()] == Phase::Lost && (instances.is_empty() || instances.contains(instance))
        };
        let lost: Vec<InstanceId> = self.live.keys().copied().filter(is_meant).collect();
        for &instance in &lost {
            self.forsake(instance, turn);
        }
        lost.len() as u32
    }

    fn forsake(&mut self, instance: InstanceId, turn: &mut Turn<'_>) {
        let key = self.key(instance);
        let Some(live) = self.live.remove(&instance) else { return };
        if live.ahead {
            turn.shared.hosts.taken(live.host);
        }
        let notes = vec![FORSAKEN.to_owned()];
        let ended = Ended { started: live.started, notes, ..never_ran(key, Outcome::Cancelled, turn.now) };
        unbind(&ended, live.host, live.placed, turn);
        // Before its end is recorded: until then it is known where it is.
        turn.actions.push(Action::Forsake(key));
        if ended.started.is_some() {
            self.add_usage(instance, &ended.usage);
        }
        if live.stop || self.halt != Halt::Going {
            self.note_trouble(&ended, &live, None);
            record_end(Box::new(ended), Follow::Final, turn);
            return self.fail(instance, true, turn);
        }
        // A person asks for another: it is none of those that the task allows.
        self.note_trouble(&ended, &live, Some(Fault::Theirs));
        record_end(Box::new(ended), Follow::Retry(turn.now), turn);
        self.wait_for_retry(instance, Duration::ZERO, turn);
    }

    /// Returns the attempts that a host has and that are not known to have started, with when they were handed over.
    pub(super) fn queued(&self, host: HostId) -> impl Iterator<Item = (Timestamp, JobKey)> {
        let queued = self.live.iter().filter(move |(_, live)| live.host == host && live.started.is_none());
        queued.map(|(&instance, live)| (live.submitted, self.key(instance)))
    }

    /// Takes in that everything in flight here died with the worker; `presumed` had probably started, unreported.
    pub(super) fn worker_died(&mut self, presumed: &BTreeSet<JobKey>, turn: &mut Turn<'_>) {
        let here = self.live.iter().filter(|(_, live)| live.host == HostId::LOCAL);
        let dead: Vec<_> = here.map(|(&instance, live)| (self.key(instance), live.started)).collect();
        for (key, started) in dead {
            let started = started.or_else(|| presumed.contains(&key).then_some(turn.now));
            let wall = started.map_or(0.0, |started| turn.now.since(started).as_secs_f64());
            let ended = never_ran(key, Outcome::NodeFail, turn.now);
            let usage = Usage { wall, ..ended.usage };
            self.ended(Box::new(Ended { started, usage, ..ended }), turn);
        }
    }
}

/// What is noted of an attempt that a person gave up.
const FORSAKEN: &str =
    "given up by `csync retry --lost` while nothing was heard of its host; it is ended there as soon as that answers";

/// Returns whether a batch system refused what it was asked for.
const fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected { .. })
}

/// Returns what was chosen by what was learned, and why; none where the task says all of it.
fn choice(foresight: &Foresight, task: &Settings, placement: Option<Placement>) -> Option<Box<Choice>> {
    let mem = foresight.mem.filter(|_| task.resources.iter().any(|request| !matches!(request.mem, Amount::Exact(_))));
    let time =
        foresight.time.filter(|_| task.resources.iter().any(|request| !matches!(request.time, Amount::Exact(_))));
    if mem.is_none() && time.is_none() && placement.is_none() {
        return None;
    }
    let (mem, time) = (mem.as_ref().map(foreseen), time.as_ref().map(foreseen));
    Some(Box::new(Choice { mem, time, placement }))
}

pub(super) fn record_end(ended: Box<Ended>, follow: Follow, turn: &mut Turn<'_>) {
    let key = ended.key;
    turn.actions.push(Action::Record(Record::Ended { ended, follow }));
    turn.actions.push(Action::Tell(key.run, key.instance));
}

fn never_ran(key: JobKey, outcome: Outcome, now: Timestamp) -> Ended {
    Ended {
        key,
        outcome,
        started: None,
        ended: now,
        usage: Usage::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        notes: Vec::new(),
        allocation: None,
    }
}
