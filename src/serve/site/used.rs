//! How long an attempt on a host ran, and what it used, by the witnesses that measured it.
//!
//! The wrapper's own record is the best one; where it holds no end (the node was lost, or all of it was killed at once), the history
//! of the batch system may have measured. Times of two clocks are not subtracted from each other, nor is the time at which an end
//! was heard of taken for that of the end: nobody may have looked for hours. What nobody measured is 0.

use crate::decide::outcome::Own;
use crate::language::batch::wrapper::{Record, shown};
use crate::model::batch::{Ending, Reading};
use crate::model::resources::{Allocation, Meter, Usage};
use crate::model::units::{Timestamp, Walltime};

/// What an attempt used, and when it began and ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Used {
    /// What it used.
    pub(super) usage: Usage,
    /// When it began; none when it did not.
    pub(super) started: Option<Timestamp>,
    /// When it ended, never before it began.
    pub(super) ended: Timestamp,
    /// Where a batch system ran it, and what it granted it there.
    pub(super) allocation: Option<Box<Allocation>>,
}

impl Used {
    /// Makes that of an attempt that used nothing, and is known to be over since then.
    pub(super) fn nothing(ended: Timestamp) -> Self {
        Self { usage: Usage::default(), started: None, ended, allocation: None }
    }
}

/// Finds out where an attempt ran: by its own record, else by the history, which knows no more than the
/// node (of several, Slurm's list).
pub(super) fn allocation(record: Option<&Record>, history: Option<&Ending>) -> Option<Box<Allocation>> {
    let known = record.and_then(Record::allocation);
    let node = || history.and_then(|ending| ending.node.as_deref()).filter(|node| !node.is_empty());
    known
        .or_else(|| node().map(|node| Allocation { node: shown(node), nodes: 1, ..Allocation::default() }))
        .map(Box::new)
}

/// Puts together what is known of an attempt that is over: it began then, as far as its record says, and its end is heard of `now`.
pub(super) fn used(own: Own<'_>, started: Option<Timestamp>, history: Option<&Ending>, now: Timestamp) -> Used {
    let recorded = match own {
        Own::Ended(ended) => Some(ended),
        Own::Missing | Own::Started | Own::Unknown => None,
    };
    let mut usage = recorded.map(|ended| ended.usage).unwrap_or_default();
    // A clock that was set back while it ran leaves no time between its start and its end.
    if usage.wall <= 0.0 {
        usage.wall = history.and_then(wall).unwrap_or(0.0);
    }
    if recorded.is_none() {
        usage.user = history.and_then(|ending| ending.cpu_ms).map_or(0.0, |ms| ms as f64 / 1000.0);
    }
    // The wrapper sees its own node, and where it cannot read a control group not what `srun` started there either.
    if let Some(Reading::Measured(peak)) = history.and_then(|ending| ending.peak_memory)
        && peak > usage.peak_memory
    {
        (usage.peak_memory, usage.meter) = (peak, Meter::Rusage);
    }
    let started = started.or_else(|| history.and_then(|ending| ending.start));
    let ended = recorded.map(|ended| ended.at).or_else(|| history.and_then(|ending| ending.end)).unwrap_or(now);
    Used { usage, started, ended: started.map_or(ended, |started| ended.max(started)), allocation: None }
}

/// Returns how long it ran by the history.
fn wall(ending: &Ending) -> Option<f64> {
    let measured = ending.wall.map(|wall| match wall {
        Reading::Measured(Walltime(seconds)) | Reading::MoreThan(Walltime(seconds)) => seconds as f64,
    });
    let between = || Some(ending.end?.since(ending.start?).as_secs_f64());
    measured.filter(|seconds| *seconds > 0.0).or_else(between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::batch::wrapper::{Ended, How};
    use crate::model::batch::{BatchId, EndingClass};
    use crate::model::units::Bytes;

    const START: Timestamp = Timestamp(1_000_000_000);
    /// Hours later, and by another clock.
    const NOW: Timestamp = Timestamp(99_000_000_000);

    fn at(second: i64) -> Timestamp {
        Timestamp(START.0 + second * 1_000_000)
    }

    fn recorded(wall: f64, second: i64) -> Ended {
        Ended { at: at(second), ..recorded_with(Usage { wall, user: 2.0, ..Usage::default() }) }
    }

    fn recorded_with(usage: Usage) -> Ended {
        Ended {
            how: How::Exit(0),
            at: at(60),
            signals: Vec::new(),
            usage,
            oom_kills: None,
            left: 0,
            dropped: (0, 0),
            unwritten: false,
            gone: None,
        }
    }

    fn history(wall: Option<Reading<Walltime>>, from: Option<i64>, to: Option<i64>) -> Ending {
        Ending {
            id: BatchId("7".to_owned()),
            member: None,
            name: None,
            class: EndingClass::NodeFail,
            word: "F".to_owned(),
            exit_code: None,
            signal: None,
            peak_memory: None,
            cpu_ms: Some(5500),
            wall,
            start: from.map(at),
            end: to.map(at),
            node: None,
            why: None,
        }
    }

    /// Run time, CPU time, and the seconds from the start to the end.
    fn told(own: Own<'_>, started: Option<Timestamp>, history: Option<&Ending>) -> (f64, f64, Option<f64>) {
        let Used { usage, started, ended, .. } = used(own, started, history, NOW);
        (usage.wall, usage.cpu(), started.map(|started| ended.since(started).as_secs_f64()))
    }

    #[test]
    fn the_history_knows_the_node_of_what_left_no_record() {
        let ran = |batch: &str, rest: &str| {
            let head = "csync=1\nsubmission=s\nmember=1\nhost=h1\nstarted=1\npid=1\nbirth=1\nboot=b\n";
            Record::parse(&format!("{head}{batch}{rest}state=started\nend=1\n")).unwrap()
        };
        let node = |record: Option<&Record>, node: Option<&str>| {
            let ending = Ending { node: node.map(str::to_owned), ..history(None, None, None) };
            allocation(record, Some(&ending)).map(|it| (it.node, it.nodes))
        };
        let (slurm, alone) = (ran("batch=7\n", "node=n1\nnodes=3\n"), ran("", ""));
        assert_eq!(node(Some(&slurm), Some("other")), Some(("n1".to_owned(), 3)));
        assert_eq!(node(None, Some("n\u{1b}2")), Some(("n2".to_owned(), 1)));
        assert_eq!((node(None, None), node(None, Some(""))), (None, None));
        assert_eq!(allocation(Some(&alone), None), None, "without a batch system the host is all there is");
    }

    #[test]
    fn the_wrappers_own_record_comes_first() {
        let own = recorded(60.0, 60);
        let other = history(Some(Reading::Measured(Walltime(75))), Some(-10), Some(65));
        assert_eq!(told(Own::Ended(&own), Some(START), None), (60.0, 2.0, Some(60.0)));
        assert_eq!(told(Own::Ended(&own), Some(START), Some(&other)), (60.0, 2.0, Some(60.0)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_run_of_no_time() {
        let own = recorded(0.0, -3600);
        let other = history(Some(Reading::Measured(Walltime(75))), None, None);
        assert_eq!(told(Own::Ended(&own), Some(START), Some(&other)), (75.0, 2.0, Some(0.0)));
        // Nobody else measured: not known, and its end not before its start.
        assert_eq!(told(Own::Ended(&own), Some(START), None), (0.0, 2.0, Some(0.0)));
    }

    #[test]
    fn what_ran_where_the_wrapper_does_not_see_is_in_the_history() {
        let own = |mib: u64| {
            let usage = Usage { peak_memory: Bytes::mib(mib), meter: Meter::Proc, ..Usage::default() };
            recorded_with(usage)
        };
        let of_all = Ending { peak_memory: Some(Reading::Measured(Bytes::mib(500))), ..history(None, None, None) };
        let peak = |own: Own<'_>, history: Option<&Ending>| {
            let usage = used(own, Some(START), history, NOW).usage;
            (usage.peak_memory, usage.meter)
        };
        assert_eq!(peak(Own::Ended(&own(20)), Some(&of_all)), (Bytes::mib(500), Meter::Rusage));
        assert_eq!(peak(Own::Ended(&own(501)), Some(&of_all)), (Bytes::mib(501), Meter::Proc));
        assert_eq!(peak(Own::Ended(&own(20)), None), (Bytes::mib(20), Meter::Proc));
        assert_eq!(peak(Own::Started, Some(&of_all)), (Bytes::mib(500), Meter::Rusage));
        // What it was killed for is no measure.
        let killed = Ending { peak_memory: Some(Reading::MoreThan(Bytes::mib(500))), ..of_all };
        assert_eq!(peak(Own::Ended(&own(20)), Some(&killed)), (Bytes::mib(20), Meter::Proc));
    }

    #[test]
    fn what_left_no_end_ran_as_long_as_the_history_says() {
        for (ending, wall) in [
            (history(Some(Reading::Measured(Walltime(33))), Some(0), Some(40)), 33.0),
            (history(Some(Reading::MoreThan(Walltime(90))), Some(0), Some(95)), 90.0),
            (history(None, Some(0), Some(40)), 40.0),
            // PBS counts nothing where the node is gone.
            (history(Some(Reading::Measured(Walltime(0))), Some(0), Some(40)), 40.0),
        ] {
            let (ran, cpu, _) = told(Own::Started, Some(START), Some(&ending));
            assert_eq!((ran, cpu), (wall, 5.5), "{ending:?}");
        }
    }

    #[test]
    fn how_long_it_ran_is_not_guessed_from_when_its_end_was_heard_of() {
        assert_eq!(used(Own::Started, Some(START), None, NOW).usage, Usage::default());
        // By the batch server's clock, an hour behind the node's: neither a time, nor an end before the start.
        let ending = history(None, None, Some(-3500));
        assert_eq!(told(Own::Started, Some(START), Some(&ending)), (0.0, 5.5, Some(0.0)));
        assert_eq!(used(Own::Missing, None, None, NOW).started, None);
    }
}
