//! A workflow in a world of described hosts.

use crate::decide::place::plan::{Effort, Policy, plan};
use crate::decide::place::problem::{Network, Path, Problem, Wait};
use crate::decide::place::timetable::Timetable;
use crate::decide::simulate::live;
use crate::decide::simulate::luck::{Dice, Luck};

/// How work is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Each task anywhere.
    Random,
    /// One host after the other.
    RoundRobin,
    /// Where most of what it reads lies.
    Locality,
    /// Everything on the one host where it is done first.
    SingleHost,
    /// The classic list schedule: no queues, no copies of files, no links that are busy (HEFT, Topcuoglu et al. 2002).
    ClassicHeft,
    /// csync, planned once with all that is believed.
    Planned,
    /// csync as it runs: its engine, by what is known when each task's turn comes.
    Full,
}

impl Strategy {
    /// All of them, the plainest first.
    pub const ALL: [Self; 7] = [
        Self::Random,
        Self::RoundRobin,
        Self::Locality,
        Self::SingleHost,
        Self::ClassicHeft,
        Self::Planned,
        Self::Full,
    ];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round robin",
            Self::Locality => "locality only",
            Self::SingleHost => "single best host",
            Self::ClassicHeft => "classic HEFT",
            Self::Planned => "planned once",
            Self::Full => "csync",
        }
    }
}

/// A time in which a host starts nothing that would run into it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// The host.
    pub site: u16,
    /// From when on, in seconds.
    pub from: f64,
    /// For how long.
    pub seconds: f64,
}

/// What is believed before anything ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Belief {
    /// Seconds of each task on a host of speed one.
    pub seconds: Vec<f64>,
    /// How fast each host is.
    pub speeds: Vec<f64>,
    /// Of which kind each task is: what was learned of one tells of the others of its kind. Where this is empty, those are alike
    /// that are believed to run as long.
    pub kinds: Vec<u32>,
}

impl Belief {
    /// Believes what the problem says.
    pub fn of(problem: &Problem) -> Self {
        Self {
            seconds: problem.tasks.iter().map(|task| task.seconds).collect(),
            speeds: problem.network.sites.iter().map(|site| site.speed).collect(),
            kinds: Vec::new(),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Seconds until all was done; infinite where something never ran.
    pub end: f64,
    /// Bytes that moved between hosts.
    pub moved: f64,
    /// Of each task: where it ran, and when.
    pub ran: Vec<Ran>,
}

/// How a task ran.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ran {
    /// Where.
    pub site: u16,
    /// When it was handed over to its host: at the beginning where all is decided before.
    pub given: f64,
    /// When its inputs were there.
    pub staged: f64,
    /// When it started.
    pub start: f64,
    /// When it was over.
    pub end: f64,
}

impl Ran {
    /// What never ran.
    pub const NEVER: Self =
        Self { site: 0, given: f64::INFINITY, staged: f64::INFINITY, start: f64::INFINITY, end: f64::INFINITY };

    /// Returns whether it ran, and was over some time.
    pub const fn is_over(&self) -> bool {
        self.end.is_finite()
    }
}

/// Hosts, work and chance.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// Hosts and work.
    pub problem: &'a Problem,
    /// What comes of each task.
    pub luck: &'a Luck,
    /// When hosts are away.
    pub outages: &'a [Outage],
    /// Which host this machine is, if it is among them.
    pub here: Option<u16>,
    /// What counts where the host of each task is chosen; none where the order of those that it may run on does. Where this is
    /// empty, all are to be done as soon as can be.
    pub policies: &'a [Option<Policy>],
}

impl<'a> World<'a> {
    /// Runs the workflow.
    pub fn run(&self, strategy: Strategy, belief: &Belief, seed: u64) -> Course {
        match strategy {
            Strategy::Full => live::run(self, belief),
            Strategy::SingleHost => {
                let all = (0..self.problem.network.sites.len() as u16).map(|site| self.single(site));
                let done = all.flatten().min_by(|a, b| a.end.total_cmp(&b.end));
                // Where no host can run everything, the rest goes to where there is room.
                done.unwrap_or_else(|| self.in_order(&self.problem.order, |_, task, _| first(self.problem, task)))
            }
            Strategy::Planned => self.planned(&believed(self.problem, belief)),
            Strategy::ClassicHeft => self.planned(&classic(&believed(self.problem, belief))),
            Strategy::Random => {
                let mut dice = Dice::new(seed);
                self.in_order(&self.problem.order, |_, task, _| {
                    let allowed = self.problem.allowed(task);
                    allowed.get(dice.below(allowed.len())).copied().unwrap_or_default()
                })
            }
            Strategy::RoundRobin => self.in_order(&self.problem.order, |_, task, nth| {
                let allowed = self.problem.allowed(task);
                allowed.get(nth % allowed.len().max(1)).copied().unwrap_or_default()
            }),
            Strategy::Locality => self.in_order(&self.problem.order, |now, task, _| {
                let all = self.problem.allowed(task).iter().map(|&site| {
                    let missing = now.missing(task, site);
                    (missing, now.trial(task, site).end, site)
                });
                let best = all.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
                best.map_or(0, |(_, _, site)| site)
            }),
        }
    }

    /// Returns the world before anything runs.
    pub(super) fn begin(&self) -> Timetable<'a> {
        let mut now = Timetable::new(self.problem, &self.luck.seconds).delayed(&self.luck.waits);
        for outage in self.outages {
            now.close(outage.site, outage.from, outage.seconds);
        }
        now
    }

    fn in_order(&self, order: &[u32], mut choose: impl FnMut(&mut Timetable<'a>, usize, usize) -> u16) -> Course {
        let mut now = self.begin();
        for (nth, &task) in order.iter().enumerate() {
            let site = choose(&mut now, task as usize, nth);
            now.commit(task as usize, site);
        }
        self.course(&now)
    }

    fn single(&self, site: u16) -> Option<Course> {
        let can = (0..self.problem.tasks.len()).all(|task| self.problem.allowed(task).contains(&site));
        can.then(|| self.in_order(&self.problem.order, |_, _, _| site))
    }

    /// Runs what was planned over another problem of the same tasks: its hosts, in its order.
    fn planned(&self, over: &Problem) -> Course {
        let policy = match self.policies {
            [Some(first), others @ ..] if others.iter().all(|other| *other == Some(*first)) => *first,
            _ => Policy::Fastest,
        };
        let made = plan(over, policy, Effort::fair(over.tasks.len(), over.network.sites.len()));
        let start = |task: u32| made.bookings.get(task as usize).map_or(0.0, |booking| booking.start);
        let mut order = self.problem.order.clone();
        // Stable: what waits for another stays behind it where both start at once.
        order.sort_by(|&a, &b| start(a).total_cmp(&start(b)));
        self.in_order(&order, |_, task, _| made.bookings.get(task).map_or(0, |booking| booking.site))
    }

    pub(super) fn course(&self, now: &Timetable<'_>) -> Course {
        let ran = (0..self.problem.tasks.len()).map(|task| {
            let Some(booking) = now.booking(task) else { return Ran::NEVER };
            Ran { site: booking.site, given: 0.0, staged: booking.staged, start: booking.start, end: booking.end }
        });
        let ran: Vec<Ran> = ran.collect();
        Course { end: ran.iter().map(|ran| ran.end).fold(0.0, f64::max), moved: now.moved(), ran }
    }
}

fn first(problem: &Problem, task: usize) -> u16 {
    problem.allowed(task).first().copied().unwrap_or_default()
}

/// Returns the problem as it is believed to be.
fn believed(problem: &Problem, belief: &Belief) -> Problem {
    let mut seen = problem.clone();
    for (task, seconds) in seen.tasks.iter_mut().zip(&belief.seconds) {
        task.seconds = *seconds;
    }
    for (site, speed) in seen.network.sites.iter_mut().zip(&belief.speeds) {
        site.speed = *speed;
    }
    seen
}

/// Returns the problem as the classic model has it: what goes from task to task is all that moves, and nothing is in the way.
fn classic(problem: &Problem) -> Problem {
    let mut seen = problem.clone();
    let sites = seen.network.sites.iter().cloned().map(|mut site| {
        site.wait = Wait::None;
        site
    });
    let paths = seen.network.paths.iter().map(|path| path.clone().map(|path| Path { links: Vec::new(), ..path }));
    seen.network = Network { sites: sites.collect(), paths: paths.collect(), links: 0 };
    for file in &mut seen.files {
        file.at.clear();
    }
    seen
}
