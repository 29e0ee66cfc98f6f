//! What came of it, for people and for programs.

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::simulate::Sources;
use crate::cli::simulate::never::Never;
use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::cli::view::words::{duration, many, number};
use crate::decide::place::problem::Problem;
use crate::decide::simulate::stage::Stage;
use crate::decide::simulate::world::{Course, Strategy};
use crate::model::plan::Plan;
use crate::model::units::Bytes;

/// Columns of the hosts.
const HOSTS: &[Column] = &[
    Column::Text("HOST"),
    Column::Number("TASKS"),
    Column::Number("CORE-HOURS"),
    Column::Number("BUSY"),
    Column::Number("WAITED"),
    Column::Detail("COST"),
];
/// Columns of the comparison.
const WAYS: &[Column] = &[
    Column::Text("PLACEMENT"),
    Column::Number("MIDDLE"),
    Column::Number("80 % FROM"),
    Column::Number("TO"),
    Column::Number("MOVES"),
];

/// What came of one way to place tasks, over all draws.
pub(super) struct Told {
    way: Strategy,
    low: f64,
    middle: f64,
    high: f64,
    moved: f64,
    /// The course in the middle.
    course: Course,
}

impl Told {
    pub(super) fn of(way: Strategy, mut courses: Vec<Course>) -> Self {
        courses.sort_by(|a, b| a.end.total_cmp(&b.end));
        let last = courses.len().saturating_sub(1);
        let at = |share: f64| courses.get((share * last as f64).round() as usize).map_or(0.0, |course| course.end);
        let (low, middle, high) = (at(0.1), at(0.5), at(0.9));
        let moved = courses.iter().map(|course| course.moved).sum::<f64>() / courses.len().max(1) as f64;
        let place = (0.5 * last as f64).round() as usize;
        let course = if place < courses.len() {
            courses.swap_remove(place)
        } else {
            Course { end: 0.0, moved: 0.0, ran: Vec::new() }
        };
        Self { way, low, middle, high, moved, course }
    }
}

/// Tells it. Where csync's own course does not end, that is a failure: what stands beside it is no answer.
pub(super) fn tell(
    context: &Context,
    plan: &Plan,
    stage: &Stage,
    problem: &Problem,
    told: &[Told],
    sources: Sources,
) -> Result<Exit, Failure> {
    let Some(ours) = told.last() else { return Ok(Exit::Success) };
    let hosts = hosts(stage, problem, &ours.course);
    let never = Never::of(plan, stage, problem, &ours.course);
    if context.json() {
        let ways = told.iter().map(|told| {
            json!({ "placement": told.way.name(), "low_s": told.low, "middle_s": told.middle, "high_s": told.high, "moved_bytes": told.moved })
        });
        let ways: Vec<_> = ways.collect();
        // What has no end is null.
        let mut value = json!({
            "tasks": plan.instances.len(), "bound_s": problem.lower_bound(), "middle_s": ours.middle, "low_s": ours.low,
            "high_s": ours.high, "moved_bytes": ours.moved, "hosts": hosts.iter().map(Busy::json).collect::<Vec<_>>(),
            "placements": ways,
        });
        let Some(never) = never else { return context.print_json(&value).map(|()| Exit::Success) };
        let failure = never.failure();
        if let Value::Object(value) = &mut value {
            value.insert("never".to_owned(), never.json());
            value.insert("error".to_owned(), failure.to_json());
        }
        context.print_json(&value)?;
        return Ok(failure.exit());
    }
    let tasks = many(plan.instances.len() as u32, "task");
    context.print(&format!(
        "{tasks} on {}: {} (80 %: {} to {}), {} moved. No placement can beat {}.",
        many(stage.names.len() as u32, "host"),
        duration(ours.middle),
        duration(ours.low),
        duration(ours.high),
        Bytes(ours.moved as u64),
        duration(problem.lower_bound()),
    ))?;
    let mut table = Table::new(Page::stdout(context.paint()), HOSTS);
    for busy in &hosts {
        table.row(vec![
            Cell::new(&busy.name),
            Cell::new(number(busy.tasks)),
            Cell::new(format!("{:.1}", busy.core_hours)),
            Cell::new(format!("{:.0} %", 100.0 * busy.share)),
            Cell::new(duration(busy.waited)),
            Cell::new(format!("{:.2}", busy.cost)),
        ]);
    }
    context.print(&table.print())?;
    if told.len() > 1 {
        let mut table = Table::new(Page::stdout(context.paint()), WAYS);
        for told in told {
            table.row(vec![
                Cell::new(told.way.name()),
                Cell::new(duration(told.middle)),
                Cell::new(duration(told.low)),
                Cell::new(duration(told.high)),
                Cell::new(Bytes(told.moved as u64)),
            ]);
        }
        context.print(&format!("\n{}", table.print()))?;
    }
    context.say(&sources.words());
    never.map_or(Ok(Exit::Success), |never| Err(never.failure()))
}

/// What a host did.
struct Busy {
    name: String,
    tasks: u32,
    core_hours: f64,
    share: f64,
    waited: f64,
    cost: f64,
}

impl Busy {
    fn json(&self) -> Value {
        json!({
            "name": self.name, "tasks": self.tasks, "core_hours": self.core_hours, "busy": self.share,
            "waited_s": self.waited, "cost": self.cost,
        })
    }
}

fn hosts(stage: &Stage, problem: &Problem, course: &Course) -> Vec<Busy> {
    let mut all: Vec<Busy> = Vec::new();
    for (site, name) in (0_u16..).zip(&stage.names) {
        let of = course.ran.iter().enumerate().filter(|(_, ran)| ran.site == site && ran.is_over());
        let (mut tasks, mut core_seconds, mut waited) = (0_u32, 0.0, 0.0);
        for (task, ran) in of {
            tasks += 1;
            core_seconds += (ran.end - ran.start) * f64::from(problem.task(task).room.cores);
            waited += ran.start - ran.staged;
        }
        let described = stage.network.sites.get(usize::from(site));
        let cores = described.map_or(1.0, |site| f64::from(site.room.cores));
        all.push(Busy {
            name: name.clone(),
            tasks,
            core_hours: core_seconds / 3600.0,
            share: core_seconds / (cores * course.end).max(f64::MIN_POSITIVE),
            waited: waited / f64::from(tasks.max(1)),
            cost: core_seconds / 3600.0 * described.map_or(0.0, |site| site.rate),
        });
    }
    all
}
