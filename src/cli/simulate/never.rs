//! Work that never ends: what cannot run where it may, and why.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::errors::Failure;
use crate::cli::view::words::{many, number};
use crate::decide::place::problem::Problem;
use crate::decide::simulate::stage::Stage;
use crate::decide::simulate::world::{Course, Ran};
use crate::model::api::ErrorKind;
use crate::model::id::InstanceId;
use crate::model::plan::Plan;

/// Most reasons that are told.
const TOLD: usize = 5;

/// Why a task cannot run although nothing that it waits for is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// What it reads lies on these, and there is no way to these, where it may run.
    NoWay(Vec<u16>, Vec<u16>),
    /// None of these, where it may run, is there for as long as it takes.
    NoHost(Vec<u16>),
}

/// What never runs.
pub(super) struct Never<'a> {
    plan: &'a Plan,
    names: &'a [String],
    /// How many tasks only wait for others that never run.
    waiting: u32,
    /// The others: how many for which reason, and the first of them.
    stuck: BTreeMap<Why, (u32, InstanceId)>,
}

impl<'a> Never<'a> {
    /// Finds what never ran in a course, and why; none where all did.
    pub(super) fn of(plan: &'a Plan, stage: &'a Stage, problem: &Problem, course: &Course) -> Option<Self> {
        let is_over = |task: usize| course.ran.get(task).is_none_or(Ran::is_over);
        if (0..problem.tasks.len()).all(is_over) {
            return None;
        }
        let mut never = Never { plan, names: &stage.names, waiting: 0, stuck: BTreeMap::new() };
        let mut at: Vec<Vec<u16>> = problem.files.iter().map(|file| file.at.clone()).collect();
        for (work, ran) in problem.tasks.iter().zip(&course.ran).filter(|(_, ran)| ran.is_over()) {
            for &file in &work.outputs {
                at.get_mut(file as usize).into_iter().for_each(|at| at.push(ran.site));
            }
        }
        for (task, work) in problem.tasks.iter().enumerate().filter(|(task, _)| !is_over(*task)) {
            if work.after.iter().any(|before| !is_over(*before as usize)) {
                never.waiting += 1;
                continue;
            }
            let why = why(problem, task, &at);
            never.stuck.entry(why).or_insert((0, InstanceId(task as u32))).0 += 1;
        }
        Some(never)
    }

    fn count(&self) -> u32 {
        self.waiting + self.stuck.values().map(|(count, _)| count).sum::<u32>()
    }

    fn hosts(&self, sites: &[u16]) -> String {
        let names = sites.iter().filter_map(|site| self.names.get(usize::from(*site)));
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    fn reasons(&self) -> Vec<String> {
        let reason = |(why, &(count, first)): (&Why, &(u32, InstanceId))| {
            let tasks = match count {
                1 => format!("`{}`", self.plan.label(first)),
                _ => format!("`{}` and {} more like it", self.plan.label(first), number(count - 1)),
            };
            match why {
                Why::NoWay(from, to) => format!(
                    "{tasks}: there is no way from {}, where what is read lies, to {}",
                    self.hosts(from),
                    self.hosts(to)
                ),
                Why::NoHost(sites) => format!("{tasks}: no host that is there can run that ({})", self.hosts(sites)),
            }
        };
        let mut reasons: Vec<String> = self.stuck.iter().map(reason).take(TOLD).collect();
        if self.waiting > 0 {
            reasons.push(format!("{} only after such tasks", many(self.waiting, "other")));
        }
        reasons
    }

    /// Returns it as programs see it.
    pub(super) fn json(&self) -> Value {
        json!({ "tasks": self.count(), "waiting": self.waiting, "why": self.reasons() })
    }

    /// Returns it as a failure, with what helps.
    pub(super) fn failure(&self) -> Failure {
        let all = many(self.plan.instances.len() as u32, "task");
        let message = format!("{} of {all} never run on these hosts", number(self.count()));
        let failure = self.reasons().into_iter().fold(Failure::new(ErrorKind::Invalid, message), Failure::why);
        let ends = self.stuck.keys().find_map(|why| match why {
            Why::NoWay(from, to) => from.first().zip(to.first()),
            Why::NoHost(_) => None,
        });
        let name = |site: u16| self.names.get(usize::from(site)).map_or("", String::as_str);
        failure.hint(match ends {
            Some((&from, &to)) => format!(
                "`\"{}-{}\" = {{ rate = \"10M\" }}` below `[links]` says that there is a way; `on` keeps tasks to hosts that can be reached",
                name(from),
                name(to)
            ),
            None => "describe a host that has the room and is there for as long as it takes (`cores`, `memory`, `gpus`, \
                     `down`), or name others in `on`"
                .to_owned(),
        })
    }
}

/// Returns why a task cannot run whose inputs lie there.
fn why(problem: &Problem, task: usize, at: &[Vec<u16>]) -> Why {
    let work = problem.task(task);
    let lying = || work.inputs.iter().filter_map(|file| at.get(*file as usize)).filter(|at| !at.is_empty());
    let leads = |from: u16, to: u16| from == to || problem.network.path(usize::from(from), usize::from(to)).is_some();
    let allowed = problem.allowed(task);
    if allowed.iter().any(|&to| lying().all(|at| at.iter().any(|&from| leads(from, to)))) {
        return Why::NoHost(allowed.to_vec());
    }
    let stays = lying().find(|at| !allowed.iter().all(|&to| at.iter().any(|&from| leads(from, to))));
    let mut from = stays.cloned().unwrap_or_default();
    from.sort_unstable();
    from.dedup();
    let to = allowed.iter().copied().filter(|&to| !from.iter().any(|&from| leads(from, to)));
    Why::NoWay(from.clone(), to.collect())
}
