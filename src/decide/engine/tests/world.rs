//! A store that only remembers records, an executor that only pretends, and the engine between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::decide::engine::machine::Engine;
use crate::decide::engine::protocol::{
    Action, Adopted, AttemptRecord, Capacity, Event, Follow, Halt, Mark, Record, Routes, TimerId, Verdict,
};
use crate::model::api::{Counts, RunState};
use crate::model::choice::Placement;
use crate::model::id::{HostId, InstanceId, JobKey, RunId};
use crate::model::job::{Ended, Outcome, State};
use crate::model::plan::Plan;
use crate::model::resources::{Grant, Usage};
use crate::model::units::{Bytes, Timestamp};

/// What the store has of one run.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) plan: Arc<Plan>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) routes: Routes,
    pub(super) attempts: Vec<AttemptRecord>,
    pub(super) marks: Vec<(InstanceId, Mark, u32)>,
    pub(super) halt: Halt,
    pub(super) state: RunState,
}

impl Stored {
    /// Returns what an engine is told when it starts.
    pub(super) fn event(self, run: RunId) -> Event {
        let Self { plan, verdicts, routes, attempts, marks, halt, state } = self;
        Event::Restored { run, plan, verdicts, routes, attempts, marks, halt, state }
    }
}

/// Everything outside the engine, and the engine.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Timestamp,
    pub(super) room: Capacity,
    pub(super) store: BTreeMap<RunId, Stored>,
    /// Handed over, not started, in order.
    pub(super) queue: VecDeque<(JobKey, Grant)>,
    /// Started.
    pub(super) running: BTreeMap<JobKey, Grant>,
    /// Asked to end.
    pub(super) stopping: BTreeSet<JobKey>,
    /// Not waited for any more, of hosts that do not answer.
    pub(super) forsaken: BTreeSet<JobKey>,
    pub(super) checks: Vec<(RunId, InstanceId)>,
    pub(super) timers: Vec<(TimerId, Timestamp)>,
    /// Instances told to be over, or to be tried again.
    pub(super) told: Vec<(RunId, InstanceId)>,
    pub(super) over: Vec<RunId>,
    /// Instances that succeeded since they were last given another chance.
    succeeded: BTreeSet<(RunId, InstanceId)>,
    /// Every grant handed over, in order.
    pub(super) grants: Vec<(JobKey, Grant)>,
    /// The partition named with each attempt handed over, in order.
    pub(super) partitions: Vec<(JobKey, Option<Box<str>>)>,
    /// What was said of the places of attempts, in order.
    pub(super) placements: Vec<Placement>,
    /// Every end recorded, in order.
    pub(super) ends: Vec<(JobKey, &'static str, Follow)>,
}

pub(super) const RUN: RunId = RunId(1);

impl World {
    /// Makes a world with so many cores, 1 GiB for each.
    pub(super) fn with_cores(cpus: u32) -> Self {
        let room = Capacity { cpus, mem: Bytes::gib(u64::from(cpus)), gpus: 0, nodes: 1, jobs: None };
        let mut world = Self {
            engine: Engine::new(7),
            now: Timestamp(1_000_000),
            room,
            store: BTreeMap::new(),
            queue: VecDeque::new(),
            running: BTreeMap::new(),
            stopping: BTreeSet::new(),
            forsaken: BTreeSet::new(),
            checks: Vec::new(),
            timers: Vec::new(),
            told: Vec::new(),
            over: Vec::new(),
            succeeded: BTreeSet::new(),
            grants: Vec::new(),
            partitions: Vec::new(),
            placements: Vec::new(),
            ends: Vec::new(),
        };
        world.tell(Event::Room(HostId::LOCAL, room));
        world
    }

    /// Submits a plan as run 1, everything to be run.
    pub(super) fn submit(&mut self, plan: &Arc<Plan>) {
        self.submit_as(RUN, plan, vec![Verdict::Stale; plan.instances.len()]);
    }

    pub(super) fn submit_as(&mut self, run: RunId, plan: &Arc<Plan>, verdicts: Vec<Verdict>) {
        let stored = Stored {
            plan: Arc::clone(plan),
            verdicts: verdicts.clone(),
            routes: Routes::default(),
            attempts: Vec::new(),
            marks: Vec::new(),
            halt: Halt::Going,
            state: RunState::Active,
        };
        self.store.insert(run, stored);
        self.tell(Event::Submitted { run, plan: Arc::clone(plan), verdicts, routes: Routes::default() });
    }

    /// Tells the engine, remembers what it says, does what it asks, and checks that all is well.
    pub(super) fn tell(&mut self, event: Event) -> u32 {
        self.now = self.now.after(Duration::from_millis(1));
        let mut actions = Vec::new();
        let touched = self.engine.handle(event, self.now, &mut actions).unwrap();
        self.perform(actions);
        self.engine.sanity_check();
        touched
    }

    fn perform(&mut self, actions: Vec<Action>) {
        let starts = actions.iter().filter(|action| matches!(action, Action::Start { .. })).count();
        assert!(starts <= 64, "{starts} jobs handed over at once");
        for action in &actions {
            if let Action::Record(record) = action {
                self.remember(record.clone());
            }
        }
        let mut ahead = BTreeSet::new();
        for action in actions {
            match action {
                Action::Record(_) => {}
                Action::Behind(key, before) => {
                    assert!(before.iter().all(|other| self.has(*other)), "{key} comes after what is not there");
                    ahead.insert(key);
                }
                Action::Start { key, grant, partition, .. } => {
                    self.partitions.push((key, partition));
                    let twin = |other: &JobKey| (other.run, other.instance) == (key.run, key.instance);
                    assert!(!self.queue.iter().any(|(other, _)| twin(other)), "{key} is queued twice");
                    assert!(!self.running.keys().any(twin), "{key} has a live twin");
                    assert!(
                        grant.cpus <= self.room.cpus && grant.mem <= self.room.mem,
                        "{key} does not fit: {grant:?}"
                    );
                    if !ahead.remove(&key) {
                        self.assert_free(key);
                    }
                    self.grants.push((key, grant));
                    self.queue.push_back((key, grant));
                }
                Action::Stop(key) => {
                    self.stopping.insert(key);
                }
                Action::Withdraw(key) => {
                    if self.queue.iter().any(|(queued, _)| *queued == key) {
                        self.stopping.insert(key);
                    }
                }
                Action::Forsake(key) => {
                    assert!(self.has(key), "{key} is given up and is not there");
                    self.running.remove(&key);
                    self.queue.retain(|(queued, _)| *queued != key);
                    self.stopping.remove(&key);
                    self.forsaken.insert(key);
                }
                Action::Check(run, instance) => self.checks.push((run, instance)),
                Action::SetTimer(timer, after) => self.timers.push((timer, self.now.after(after))),
                Action::Tell(run, instance) => self.told.push((run, instance)),
                Action::Over(run) => self.over.push(run),
            }
        }
    }

    /// Returns whether an attempt was handed over and is not over.
    fn has(&self, key: JobKey) -> bool {
        self.running.contains_key(&key) || self.queue.iter().any(|(queued, _)| *queued == key)
    }

    /// Asserts that all that an attempt depends on is over and went well enough.
    fn assert_free(&self, key: JobKey) {
        let run = self.engine.run(key.run).unwrap();
        let plan = run.plan();
        let needs = plan.task_of(key.instance).needs.iter().flat_map(|&need| plan.instances_of(need));
        let reads = plan.inputs(key.instance).iter().filter_map(|&path| plan.producer(path));
        for upstream in reads.chain(needs) {
            let phase = run.phases[upstream.index()];
            assert!(phase.is_satisfied(), "{key} starts although {upstream} is {phase:?}");
        }
    }

    fn remember(&mut self, record: Record) {
        match record {
            Record::Submitted { key, host, grant, at, partition, choice } => {
                self.placements.extend(choice.and_then(|choice| choice.placement));
                let run = self.store.get_mut(&key.run).unwrap();
                run.attempts.push(AttemptRecord {
                    key,
                    host,
                    grant,
                    submitted: at,
                    outcome: None,
                    follow: None,
                    started: None,
                    usage: Usage::default(),
                    partition,
                });
            }
            Record::Ended { ended, follow } => {
                self.ends.push((ended.key, ended.outcome.class(), follow));
                if ended.outcome == Outcome::Success {
                    let first = self.succeeded.insert((ended.key.run, ended.key.instance));
                    assert!(first, "{} succeeded although an earlier attempt had", ended.key);
                }
                let run = self.store.get_mut(&ended.key.run).unwrap();
                let attempt = run.attempts.iter_mut().rfind(|attempt| attempt.key == ended.key).unwrap();
                assert_eq!(attempt.outcome, None, "{} ended twice", ended.key);
                attempt.outcome = Some(ended.outcome);
                attempt.follow = Some(follow);
                attempt.started = ended.started;
                attempt.usage = ended.usage;
            }
            Record::Marked { run, mark, instances } => {
                if mark == Mark::Reset {
                    self.succeeded
                        .retain(|(other, it)| *other != run || !instances.iter().any(|(reset, _)| reset == it));
                }
                let marks = instances.into_iter().map(|(instance, attempts)| (instance, mark, attempts));
                self.store.get_mut(&run).unwrap().marks.extend(marks);
            }
            Record::Run { run, state, .. } => self.store.get_mut(&run).unwrap().state = state,
            Record::Halted(run, halt) => self.store.get_mut(&run).unwrap().halt = halt,
        }
    }

    /// Starts what fits, in order; returns whether anything started.
    pub(super) fn start(&mut self) -> bool {
        let mut started = false;
        while let Some(&(key, grant)) = self.queue.front() {
            let cpus: u32 = self.running.values().map(|grant| grant.cpus).sum();
            let mem: u64 = self.running.values().map(|grant| grant.kept().0).sum();
            let needs = grant.kept().0;
            if cpus + grant.cpus > self.room.cpus || mem + needs > self.room.mem.0 {
                break;
            }
            self.queue.pop_front();
            self.running.insert(key, grant);
            started = true;
        }
        started
    }

    /// Ends a running attempt.
    pub(super) fn end(&mut self, key: JobKey, outcome: Outcome) {
        assert!(self.running.remove(&key).is_some(), "{key} does not run");
        self.stopping.remove(&key);
        let ended = ended(key, outcome, self.now);
        self.tell(Event::Ended(Box::new(ended)));
    }

    /// Ends what was asked to end.
    pub(super) fn obey(&mut self) {
        while let Some(key) = self.stopping.pop_first() {
            if self.running.contains_key(&key) {
                self.end(key, Outcome::Cancelled);
            } else if let Some(place) = self.queue.iter().position(|(queued, _)| *queued == key) {
                self.queue.remove(place);
                let ended = Ended { started: None, ..ended(key, Outcome::Cancelled, self.now) };
                self.tell(Event::Ended(Box::new(ended)));
            }
        }
    }

    /// Starts and ends attempts until nothing runs, as `outcome` says.
    pub(super) fn run_all(&mut self, mut outcome: impl FnMut(JobKey) -> Outcome) {
        loop {
            self.obey();
            self.start();
            let Some((&key, _)) = self.running.first_key_value() else { break };
            self.end(key, outcome(key));
        }
    }

    /// Starts and ends everything well.
    pub(super) fn run_well(&mut self) {
        self.run_all(|_| Outcome::Success);
    }

    /// Fires the timers, the earliest first, each when it is due.
    pub(super) fn fire_timers(&mut self) {
        self.timers.sort_by_key(|(_, at)| *at);
        for (timer, at) in std::mem::take(&mut self.timers) {
            self.now = self.now.max(at);
            self.tell(Event::Timer(timer));
        }
    }

    /// Kills the engine and starts another from what the store has; the executor went on meanwhile.
    pub(super) fn restart(&mut self, worker: Adopted) {
        self.restart_with(|_| worker);
    }

    pub(super) fn restart_with(&mut self, worker: impl Fn(JobKey) -> Adopted) {
        self.restore();
        let in_flight: Vec<_> = self.engine.runs().flat_map(|run| run.in_flight().collect::<Vec<_>>()).collect();
        for key in in_flight {
            let how = worker(key);
            if how != Adopted::Live {
                self.running.remove(&key);
                self.queue.retain(|(queued, _)| *queued != key);
            }
            self.tell(Event::Adopted(key, how));
        }
        self.tell(Event::Room(HostId::LOCAL, self.room));
    }

    /// Replaces the engine by one that was told the records and nothing else.
    pub(super) fn restore(&mut self) {
        self.engine = Engine::new(7);
        self.checks.clear();
        self.timers.clear();
        for (run, stored) in self.store.clone() {
            self.tell(stored.event(run));
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.engine.run(RUN).unwrap().counts()
    }

    pub(super) fn run_state(&self) -> RunState {
        self.engine.run(RUN).unwrap().state()
    }

    /// Returns the states of the instances that a label names.
    pub(super) fn states(&self, label: &str) -> Vec<State> {
        let run = self.engine.run(RUN).unwrap();
        run.plan().find(label).into_iter().map(|instance| run.instance_state(instance).unwrap()).collect()
    }

    pub(super) fn state(&self, label: &str) -> State {
        self.states(label)[0]
    }

    /// Returns the key of the attempt in flight of the one instance that a label names.
    pub(super) fn key(&self, label: &str) -> JobKey {
        let run = self.engine.run(RUN).unwrap();
        let instance = run.plan().find(label)[0];
        JobKey { run: RUN, instance, attempt: run.attempts(instance) }
    }

    pub(super) fn find(&self, label: &str) -> Vec<InstanceId> {
        self.engine.run(RUN).unwrap().plan().find(label)
    }
}

/// Returns the end of an attempt that ran a second.
pub(super) fn ended(key: JobKey, outcome: Outcome, now: Timestamp) -> Ended {
    Ended {
        key,
        outcome,
        started: Some(Timestamp(now.0 - 1_000_000)),
        ended: now,
        usage: Usage { wall: 1.0, user: 0.5, ..Usage::default() },
        inputs: Vec::new(),
        outputs: Vec::new(),
        notes: Vec::new(),
        allocation: None,
    }
}

/// Returns a failure with an exit code.
pub(super) fn exit(code: i32) -> Outcome {
    Outcome::Exit { code, signal: None }
}
