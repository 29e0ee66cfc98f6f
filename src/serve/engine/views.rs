//! What the API shows of the engine and its runs, made from the core's state.

use std::collections::BTreeSet;

use crate::decide::engine::protocol::AttemptState;
use crate::decide::engine::run::Run;
use crate::model::api::{
    API_VERSION, AttemptView, Contact, EngineInfo, InstanceView, LocalInfo, LoginWanted, PlanInstance, PlanTask,
    RunDetail, RunState, TaskView,
};
use crate::model::id::{HostId, InstanceId, TaskId};
use crate::model::job::State;
use crate::model::plan::Plan;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::store::StoredAttempt;
use crate::serve::engine::care::Care;
use crate::serve::engine::handle::InstanceQuery;
use crate::serve::engine::runner::Runner;

impl Runner {
    /// Returns what the engine says of itself.
    pub(super) fn info(&self) -> EngineInfo {
        EngineInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: API_VERSION,
            pid: std::process::id(),
            started: self.started,
            state_dir: self.state.root().display().to_string(),
            idle_leave: self.settings.idle.map(|idle| idle.as_secs()),
            live_runs: self.live_runs(),
            local: self.local_info(),
            trouble: self.trouble.as_ref().or(self.link_trouble()).cloned(),
            hosts: self.contacts(),
        }
    }

    /// Returns how it stands with the hosts at work, and how many jobs each has.
    fn contacts(&self) -> Vec<Contact> {
        let mut contacts = self.sites.contacts();
        for (host, ..) in self.core.runs().flat_map(Run::in_flight_there) {
            if let Some(contact) = contacts.get_mut(&host) {
                contact.jobs += 1;
            }
        }
        contacts.into_values().collect()
    }

    /// Counts the runs that are not over.
    pub(super) fn live_runs(&self) -> u32 {
        self.core.runs().filter(|run| run.state() == RunState::Active).count() as u32
    }

    fn local_info(&self) -> LocalInfo {
        let capacity = self.settings.capacity;
        let mut info = LocalInfo { cpus: capacity.cpus, mem: capacity.mem, ..LocalInfo::default() };
        for run in self.core.runs() {
            for grant in run.grants() {
                info.running += 1;
                info.cpus_used += grant.cpus;
                info.mem_used = Bytes(info.mem_used.0.saturating_add(grant.kept().0));
            }
            info.queued += run.in_flight().count().saturating_sub(run.in_flight_there().count()) as u32;
        }
        info.queued = info.queued.saturating_sub(info.running);
        info.worker_pid = self.worker_pid();
        info
    }

    /// Returns a run with its tasks.
    pub(super) fn detail(&self, run: &Run, care: &Care) -> RunDetail {
        let plan = run.plan();
        let after = after(plan);
        let tasks = plan.tasks.iter().zip(after).zip(0u32..).map(|((task, after), id)| TaskView {
            name: task.name.clone(),
            counts: run.task_counts(TaskId(id)),
            after: after.into_iter().map(|id| plan.task(id).name.clone()).collect(),
            usage: run.task_usage(TaskId(id)),
        });
        RunDetail {
            summary: care.summary(run),
            tasks: tasks.collect(),
            eta: self.eta(run),
            logins: self.logins_of(run),
            moving: self.sites.stock.moving(run.id()),
            elsewhere: self.sites.stock.held(&plan.root),
        }
    }

    /// Returns the hosts that a run waits for, and that wait for a login.
    pub(super) fn logins_of(&self, run: &Run) -> Vec<LoginWanted> {
        self.sites.logins(&going_to(run))
    }

    /// Says which hosts that a run waits for cannot be used.
    pub(super) fn away_of(&self, run: &Run) -> Vec<String> {
        self.sites.away(&going_to(run))
    }

    /// Estimates the seconds to the end of a run.
    pub(super) fn eta(&self, run: &Run) -> Option<f64> {
        let live = run.state() == RunState::Active;
        live.then(|| run.eta(self.core.capacity(), clock::now())).flatten()
    }
}

/// Returns the tasks that each task waits for: those it needs, and those that make files that it reads.
fn after(plan: &Plan) -> Vec<BTreeSet<TaskId>> {
    let mut after: Vec<BTreeSet<TaskId>> = plan.tasks.iter().map(|task| task.needs.iter().copied().collect()).collect();
    for instance in plan.instance_ids() {
        let task = plan.instance(instance).task;
        let producers = plan.inputs(instance).iter().filter_map(|&path| plan.producer(path));
        if let Some(after) = after.get_mut(task.index()) {
            after.extend(producers.map(|producer| plan.instance(producer).task).filter(|&other| other != task));
        }
    }
    after
}

/// An instance as the core sees it, before its attempts are read from the store.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) view: InstanceView,
    /// How many attempts it had then.
    attempts: u32,
    /// The attempt in flight.
    live: Option<AttemptState>,
}

impl Seen {
    pub(super) fn new(run: &Run, instance: InstanceId) -> Self {
        let state = run.instance_state(instance).unwrap_or(State::Pending);
        let last = run.attempt(instance);
        let live = matches!(state, State::Queued | State::Running | State::Lost);
        let view = InstanceView {
            instance,
            label: run.plan().label(instance),
            task: run.plan().task_of(instance).name.clone(),
            state,
            attempts: Vec::new(),
            outcome: None,
        };
        Self { view, attempts: run.attempts(instance), live: last.filter(|_| live) }
    }

    /// Adds its attempts. The store may know more by now: what it says of later moments is left out, so that a view never
    /// contradicts itself.
    pub(super) fn with(mut self, attempts: &[StoredAttempt]) -> InstanceView {
        let known = attempts.iter().filter(|stored| stored.key.attempt <= self.attempts);
        self.view.attempts = known.map(StoredAttempt::view).collect();
        if let (Some(live), Some(last)) = (self.live, self.view.attempts.last_mut())
            && last.attempt == self.attempts
        {
            *last = AttemptView {
                started: live.started,
                ended: None,
                outcome: None,
                usage: None,
                notes: Vec::new(),
                allocation: None,
                ..last.clone()
            };
        }
        self.view.outcome = self.view.attempts.iter().rev().find_map(|attempt| attempt.outcome.clone());
        self.view
    }
}

/// Joins instances with their attempts, both in the order of instances.
pub(super) fn join(seen: Vec<Seen>, attempts: &[StoredAttempt]) -> Vec<InstanceView> {
    let of = |instance: InstanceId| {
        let start = attempts.partition_point(|stored| stored.key.instance < instance);
        let end = attempts.partition_point(|stored| stored.key.instance <= instance);
        attempts.get(start..end).unwrap_or(&[])
    };
    seen.into_iter().map(|seen| (of(seen.view.instance), seen)).map(|(attempts, seen)| seen.with(attempts)).collect()
}

/// Picks the instances that a query means: how many there are, and those of the page.
pub(super) fn select(run: &Run, query: &InstanceQuery) -> (u32, Vec<InstanceId>) {
    let plan = run.plan();
    let in_task = |instance: &InstanceId| match &query.task {
        Some(name) => plan.task_of(*instance).name == *name,
        None => true,
    };
    let in_state = |instance: &InstanceId| query.state.is_none() || run.instance_state(*instance) == query.state;
    let (offset, limit) =
        (query.offset as usize, query.limit.unwrap_or(InstanceQuery::LIMIT).min(InstanceQuery::MOST) as usize);
    let mut total = 0u32;
    let mut page = Vec::new();
    let mut take = |instance: InstanceId| {
        if in_task(&instance) && in_state(&instance) {
            if total as usize >= offset && page.len() < limit {
                page.push(instance);
            }
            total += 1;
        }
    };
    match &query.label {
        Some(label) => plan.find(label).into_iter().for_each(&mut take),
        None => plan.instance_ids().for_each(&mut take),
    }
    (total, page)
}

/// Returns the tasks of a plan, for pictures.
pub(super) fn plan_tasks(plan: &Plan) -> Vec<PlanTask> {
    let tasks = plan.tasks.iter().zip(&plan.task_instances);
    let task = |(task, slice): (&crate::model::task::Task, &crate::model::plan::Slice)| PlanTask {
        name: task.name.clone(),
        needs: task.needs.clone(),
        first: slice.start,
        count: slice.len,
    };
    tasks.map(task).collect()
}

/// Adds to each instance those whose outputs it reads.
pub(super) fn plan_instances(plan: &Plan, views: Vec<InstanceView>) -> Vec<PlanInstance> {
    let after = |instance: InstanceId| {
        let producers: BTreeSet<_> = plan.inputs(instance).iter().filter_map(|&path| plan.producer(path)).collect();
        producers.into_iter().collect()
    };
    views.into_iter().map(|view| PlanInstance { after: after(view.instance), view }).collect()
}

/// Returns the hosts that what is left of a run may go to.
fn going_to(run: &Run) -> BTreeSet<HostId> {
    if run.state() != RunState::Active {
        return BTreeSet::new();
    }
    let plan = run.plan();
    let tasks = (0..plan.tasks.len() as u32).map(TaskId);
    let going = tasks.filter(|&task| run.task_counts(task).over() < run.task_counts(task).total());
    // Instances of one task may run in the same places.
    let routes = going.filter_map(|task| plan.instances_of(task).next()).flat_map(|first| run.route(first));
    routes.copied().collect()
}
