//! What the engine is told, what it asks for, and what it wants remembered.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decide::engine::limits::Limits;
use crate::decide::graph::net::Link;
use crate::decide::graph::queues::Queues;
use crate::decide::outlook::board::SiteFacts;
use crate::decide::outlook::foresee::Outlook;
use crate::decide::outlook::known::Known;
use crate::language::command::Token;
use crate::model::api::RunState;
use crate::model::choice::{Choice, Policy};
use crate::model::id::{HostId, InstanceId, JobKey, RunId, TaskId};
use crate::model::job::{Ended, Outcome};
use crate::model::plan::Plan;
use crate::model::resources::{Grant, Usage};
use crate::model::units::{Bytes, Timestamp};

/// What is known, before a run starts, of whether an instance needs to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Up to date, and so is all that it depends on: never runs.
    Fresh,
    /// Its memo holds so far, but something that it depends on runs first: ask again when it is ready ([`Action::Check`]).
    Check,
    /// Must run.
    Stale,
    /// Not part of this run: `--only` leaves it out, or its `when` is false.
    Left,
}

/// Whether a run still starts attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// It does.
    #[default]
    Going,
    /// Something failed under `on_error = "stop"`, or `max_failures` was reached: what runs may end, nothing else starts.
    Stopped,
    /// `csync cancel` of the whole run: what runs is ended.
    Cancelled,
}

/// The room that a host has for one job, and for how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Most cores of a job; of a cluster, over all its nodes.
    pub cpus: u32,
    /// Most memory of a job.
    pub mem: Bytes,
    /// Most GPUs of a job.
    pub gpus: u32,
    /// Most nodes of a job.
    pub nodes: u32,
    /// Most jobs that may be queued or running there. None where the executor lets jobs in by itself, in the order in which they
    /// are handed over: then only so many are handed over ahead of room.
    pub jobs: Option<u32>,
}

/// Where the tasks of a run may run, first preference first; on this machine where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// The hosts; and what counts, where csync chooses among them.
    lists: Vec<(Vec<HostId>, Option<Policy>)>,
    of_task: Vec<u16>,
    /// `--ahead`.
    ahead: bool,
}

impl Routes {
    /// Takes the hosts of each task, in the order of the plan. Few lists differ: each is kept once.
    pub fn new(routes: impl IntoIterator<Item = Vec<HostId>>) -> Self {
        Self::placed(routes.into_iter().map(|route| (route, None)))
    }

    /// Takes the hosts of each task, with what counts where csync is to choose among them; else the first that can be used is taken.
    pub fn placed(routes: impl IntoIterator<Item = (Vec<HostId>, Option<Policy>)>) -> Self {
        let mut all = Self::default();
        for route in routes {
            let known = all.lists.iter().position(|list| *list == route);
            let index = known.unwrap_or_else(|| {
                all.lists.push(route);
                all.lists.len() - 1
            });
            all.of_task.push(u16::try_from(index).unwrap_or(u16::MAX));
        }
        all
    }

    /// Lets what waits only for what a host has in hand be handed over to it before that is over, where the host keeps the order.
    #[must_use]
    pub const fn ahead(self, ahead: bool) -> Self
    where
        Self: Sized,
    {
        let mut routes = self;
        routes.ahead = ahead;
        routes
    }

    /// Returns whether things are handed over ahead.
    pub const fn is_ahead(&self) -> bool {
        self.ahead
    }

    /// Returns where a task may run.
    pub fn of(&self, task: TaskId) -> &[HostId] {
        self.list(task).map_or(&[HostId::LOCAL], |(hosts, _)| hosts.as_slice())
    }

    /// Returns what counts where csync chooses the host of a task; none where a person said it.
    pub fn policy(&self, task: TaskId) -> Option<Policy> {
        self.list(task).and_then(|(_, policy)| *policy)
    }

    fn list(&self, task: TaskId) -> Option<&(Vec<HostId>, Option<Policy>)> {
        self.of_task.get(task.index()).and_then(|&list| self.lists.get(usize::from(list)))
    }
}

/// How far an attempt is that an executor has, finer than started or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Handed over.
    #[default]
    Given,
    /// Its inputs are being brought.
    StagingIn,
    /// The batch system has it and has not started it.
    Waiting,
    /// It runs.
    Running,
    /// It has ended, and its outputs are being fetched.
    StagingOut,
    /// No contact with its host: its fate is unknown.
    Lost,
}

/// How an attempt that was in flight when the engine stopped is found by the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// The executor has it: queued, running, or its ending is on its way.
    Live,
    /// It was never started: hand over the same attempt again.
    NeverStarted,
    /// It died with its worker; no process of it is left.
    Died,
}

/// What the store knows of one attempt when an engine starts.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// Which.
    pub key: JobKey,
    /// Where it was handed over.
    pub host: HostId,
    /// What it was granted.
    pub grant: Grant,
    /// When it was handed over.
    pub submitted: Timestamp,
    /// How it ended; none when it was in flight.
    pub outcome: Option<Outcome>,
    /// What followed; none when it was in flight.
    pub follow: Option<Follow>,
    /// When it started; none when it never did, or when that is not known.
    pub started: Option<Timestamp>,
    /// What it used; zeros while it is in flight.
    pub usage: Usage,
    /// The partition that it was handed over to, where it is known.
    pub partition: Option<Box<str>>,
}

/// What follows the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Nothing: the instance is done, failed or cancelled.
    Final,
    /// Another attempt, not before this time.
    Retry(Timestamp),
}

/// An instance settled without an attempt, or by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Up to date.
    Cached,
    /// Not run: something it depends on failed or was cancelled.
    Skipped,
    /// Cancelled: it never starts; an attempt in flight is to be ended, and is recorded as ended when it has.
    Cancelled,
    /// Given another chance by `csync retry`: earlier attempts and marks no longer count. What had succeeded is asked about
    /// ([`Action::Check`]) before it runs.
    Reset,
    /// Its attempt in flight is to be dropped from the queue where it waits: another host is better by now. When it was, it waits
    /// for its turn again.
    CalledBack,
}

/// What the engine is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new run.
    Submitted {
        /// Its id, fresh.
        run: RunId,
        /// What to do.
        plan: Arc<Plan>,
        /// Per instance, whether it needs to run.
        verdicts: Vec<Verdict>,
        /// Where its tasks may run.
        routes: Routes,
    },
    /// A run from the store: one that is not over when an engine starts, or one that is over before [`Event::Retry`] or for
    /// views. Attempts without an outcome are adopted by [`Event::Adopted`].
    Restored {
        /// Its id.
        run: RunId,
        /// Its plan.
        plan: Arc<Plan>,
        /// The verdicts it was submitted with.
        verdicts: Vec<Verdict>,
        /// Where its tasks may run.
        routes: Routes,
        /// Its attempts, oldest first.
        attempts: Vec<AttemptRecord>,
        /// Its marks, oldest first, each with the number of attempts that the instance had by then.
        marks: Vec<(InstanceId, Mark, u32)>,
        /// The last [`Record::Halted`]; [`Halt::Going`] when there is none.
        halt: Halt,
        /// The last [`Record::Run`]; [`RunState::Active`] when there is none. A run that is over asks for nothing.
        state: RunState,
    },
    /// What is known of what the tasks of a run need, and of its files; told before the run is.
    Outlook(RunId, Box<Outlook>),
    /// What is known of hosts that csync chooses among, and how files come from one to another; told before runs that use them.
    Sites(Vec<(HostId, SiteFacts)>, Vec<(HostId, HostId, Link)>),
    /// What jobs waited on a host, where that was told anew since.
    Queues(HostId, Queues),
    /// How many cores of partitions of a host nobody used when somebody looked, by their names.
    Idle(HostId, Vec<(String, u32)>, Timestamp),
    /// How fast files came from one host to another: bytes a second.
    Rate(HostId, HostId, f64),
    /// Of which classes hosts are, for what is learned while a run goes.
    Classes(RunId, Vec<(HostId, Token)>),
    /// What was learned of tasks of a run since.
    Learned(RunId, Vec<(TaskId, Arc<Known>)>),
    /// What became of an attempt that was in flight.
    Adopted(JobKey, Adopted),
    /// A host's executor is there, with this room (again at each change).
    Room(HostId, Capacity),
    /// What a host's partitions let one job have; told before its room is.
    Limits(HostId, Arc<Limits>),
    /// A host cannot be reached, or is not to be used: nothing more is handed over to it, and what was ready for it goes where
    /// else it may. What it has stays there.
    Shut(HostId),
    /// It can be used again.
    Opened(HostId),
    /// An attempt is further, or its host was lost and came back.
    Staged(JobKey, Stage),
    /// When the batch system expects to start an attempt that waits.
    Expected(JobKey, Timestamp),
    /// An attempt started.
    Started(JobKey, Timestamp),
    /// An attempt ended.
    Ended(Box<Ended>),
    /// The local worker died and all that it ran is dead: every attempt in flight on this machine ended so.
    WorkerDied,
    /// The answer to [`Action::Check`]: whether the instance is up to date.
    Checked(RunId, InstanceId, bool),
    /// A timer fired.
    Timer(TimerId),
    /// `csync cancel`: these instances, or the whole run when none are named.
    Cancel(RunId, Vec<InstanceId>),
    /// `csync retry`: these instances, or all that failed, were cancelled or skipped when none are named.
    Retry(RunId, Vec<InstanceId>),
    /// `csync retry --lost`: a person says that the attempts of these instances, or of all, need not be waited for of whose hosts
    /// nothing is heard.
    RetryLost(RunId, Vec<InstanceId>),
}

/// Names a timer; a firing with an id that is not awaited is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(pub u64);

/// What the engine asks for. Records are written to the store, in one transaction per batch, before any other action of the
/// batch is taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Remember this.
    Record(Record),
    /// Hand this attempt to the executor, which runs it when it has room, in the order of handing over.
    Start {
        /// Which.
        key: JobKey,
        /// Where.
        host: HostId,
        /// What it may use.
        grant: Grant,
        /// The partition to name there, where csync chose one of several; none where it goes where such jobs go.
        partition: Option<Box<str>>,
    },
    /// The attempt that is handed over next waits on its host for these.
    Behind(JobKey, Vec<JobKey>),
    /// End this attempt (or drop it from the executor's queue); answered by [`Event::Ended`] with `Cancelled`.
    Stop(JobKey),
    /// Drop this attempt from the executor's queue if it was not started: answered by [`Event::Ended`] with `Cancelled`. An
    /// attempt that runs goes on; an executor may ignore this.
    Withdraw(JobKey),
    /// Wait no more for this attempt, and end it as soon as its host answers. Nothing of it is taken any more.
    Forsake(JobKey),
    /// Find out whether this instance is up to date; answered by [`Event::Checked`].
    Check(RunId, InstanceId),
    /// Send [`Event::Timer`] after this long.
    SetTimer(TimerId, Duration),
    /// Tell the watchers of the run that an instance is over, or that an attempt is followed by another.
    Tell(RunId, InstanceId),
    /// The run is over: release its locks, tell its watchers.
    Over(RunId),
}

/// What the engine wants remembered.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An attempt is about to be handed over.
    Submitted {
        /// Which.
        key: JobKey,
        /// Where.
        host: HostId,
        /// What it is granted.
        grant: Grant,
        /// When.
        at: Timestamp,
        /// What was chosen, and why; none where a person said everything.
        choice: Option<Box<Choice>>,
        /// The partition that it goes to there, where it is known.
        partition: Option<Box<str>>,
    },
    /// An attempt ended. A success carries what to remember for up-to-date checks.
    Ended {
        /// How.
        ended: Box<Ended>,
        /// What follows.
        follow: Follow,
    },
    /// Instances were settled otherwise.
    Marked {
        /// The run.
        run: RunId,
        /// How.
        mark: Mark,
        /// The instances, each with the number of attempts that it had.
        instances: Vec<(InstanceId, u32)>,
    },
    /// The run's state changed: it is over, or active again by [`Event::Retry`].
    Run {
        /// The run.
        run: RunId,
        /// Its state.
        state: RunState,
        /// When.
        at: Timestamp,
    },
    /// The run starts nothing more, or again.
    Halted(RunId, Halt),
}

/// An attempt of an instance, as the engine knows it, for views.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptState {
    /// From 1.
    pub attempt: u32,
    /// Where, while it is in flight.
    pub host: Option<HostId>,
    /// How far it is.
    pub stage: Stage,
    /// What it is granted.
    pub grant: Grant,
    /// Since when it runs.
    pub started: Option<Timestamp>,
    /// How the last ended one ended.
    pub outcome: Option<Outcome>,
    /// What it used.
    pub usage: Option<Usage>,
}
