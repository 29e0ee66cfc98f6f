//! What time limits would have done on a history: those that were asked for, or those that would have been learned by then.
//!
//! Attempts begin when they began. A limit is set at that moment, by what was over by then; one that is killed at its limit is tried
//! again with twice that.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::decide::learn::profile::{Held, Profile, Question};
use crate::decide::learn::stakes::Caution;
use crate::model::observation::{Cut, Observation};

/// Attempts before which a limit stays what was asked for.
const ENOUGH: u32 = 3;
/// Seconds that a limit is a multiple of, and the least of one.
const MINUTE: f64 = 60.0;
/// Seconds from which on an attempt is a long one.
const LONG: f64 = 3600.0;

/// An attempt of the past.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// When it began and when its end was known, in whatever unit.
    pub times: (f64, f64),
    /// Seconds that it took: all that it needed, unless its time limit cut it.
    pub took: f64,
    /// Seconds that were asked for, where that is known.
    pub asked: Option<f64>,
    /// What it teaches.
    pub seen: Observation,
}

/// How limits are set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// As they were asked for.
    Asked,
    /// So many times what the longest took.
    Longest(f64),
    /// As learned.
    Learned(Caution),
}

/// What came of it. Attempts that their limit had cut are not among them: nobody knows what they needed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Attempts.
    pub tasks: u32,
    /// How many of them had a limit other than the one that was asked for.
    pub predicted: u32,
    /// How often one was killed at its limit.
    pub kills: u32,
    /// How many were that took more than an hour.
    pub long_kills: u32,
    /// Hours of limits, of the attempts that went well.
    pub hours: f64,
    /// Hours of attempts that were killed.
    pub burnt: f64,
    /// Hours that they took.
    pub used: f64,
    /// How often the 80 % interval of run time held, where limits are learned.
    pub held: Held,
    /// Attempts of the past that their limit had cut.
    pub cut: u32,
}

impl Limits {
    /// Adds what came of other commands.
    pub fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.predicted += other.predicted;
        self.kills += other.kills;
        self.long_kills += other.long_kills;
        self.hours += other.hours;
        self.burnt += other.burnt;
        self.used += other.used;
        self.held.add(other.held);
        self.cut += other.cut;
    }

    /// Returns the hours that were asked for and used for nothing: what was left of limits, and what was killed.
    pub fn wasted(&self) -> f64 {
        self.hours - self.used + self.burnt
    }

    /// Sets limits for the attempts of one command, which come in the order of their beginnings.
    pub fn of(past: impl IntoIterator<Item = Past>, way: Way) -> Self {
        let mut limits = Self::default();
        let (mut student, mut under_way) = (Student::default(), BinaryHeap::new());
        for (nth, past) in (0..).zip(past) {
            while let Some(Reverse(UnderWay { past: over, .. })) = pop_over(&mut under_way, past.times.0) {
                student.learn(&over);
            }
            if past.seen.cut == Cut::Nothing {
                limits.set(&past, &student, way);
            } else {
                limits.cut += 1;
            }
            under_way.push(Reverse(UnderWay { past, nth }));
        }
        limits
    }

    fn set(&mut self, past: &Past, student: &Student, way: Way) {
        // Who asked for nothing is taken to have asked for what it took: nothing is held against him, and no limit is too long.
        let (asked, most) = (past.asked.unwrap_or(past.took), past.asked.unwrap_or(f64::INFINITY));
        let known = student.n >= ENOUGH;
        let input = f64::from(past.seen.input);
        let limit = match way {
            Way::Longest(times) if known => Some((times * student.longest).max(MINUTE)),
            Way::Learned(caution) if known => {
                let question = Question { input, grain: MINUTE, caution };
                student.profile.time_limit(question).map(|found| found.request)
            }
            _ => None,
        };
        if let (Some(_), Way::Learned(_)) = (limit, way)
            && let Some(found) = student.profile.run_time(input)
        {
            self.held.count((found.low..=found.high).contains(&past.took));
        }
        self.tasks += 1;
        self.predicted += u32::from(limit.is_some());
        self.used += past.took / 3600.0;
        let mut limit = limit.map_or(asked, |limit| limit.min(most));
        self.long_kills += u32::from(limit < past.took && past.took > LONG);
        while limit < past.took {
            self.kills += 1;
            self.burnt += limit / 3600.0;
            limit = (2.0 * limit).max(MINUTE).min(most.max(2.0 * limit));
        }
        self.hours += limit / 3600.0;
    }
}

/// A profile that is told one attempt after the other.
#[derive(Default)]
struct Student {
    profile: Profile,
    n: u32,
    longest: f64,
}

impl Student {
    fn learn(&mut self, past: &Past) {
        self.n += 1;
        self.longest = self.longest.max(past.took);
        let id = u64::from(self.n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let id = (id ^ (id >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        // In the order in which they were over, whatever clocks said.
        self.profile.observe(1, Observation { id, at: self.n, ..past.seen });
    }
}

/// An attempt whose end is not known yet, by when it will be.
struct UnderWay {
    past: Past,
    nth: u64,
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((_, end), (_, other_end)) = (self.past.times, other.past.times);
        end.total_cmp(&other_end).then(self.nth.cmp(&other.nth))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for UnderWay {}

/// Takes out the first one whose end is known by now.
fn pop_over(under_way: &mut BinaryHeap<Reverse<UnderWay>>, now: f64) -> Option<Reverse<UnderWay>> {
    let is_over = under_way.peek().is_some_and(|Reverse(first)| first.past.times.1 <= now);
    if is_over { under_way.pop() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts of ten minutes, one each quarter of an hour, that asked for a day; the seventh takes an hour.
    fn history(asked: Option<f64>) -> Vec<Past> {
        let past = |n: u32| {
            let took = if n == 6 { 3700.0 } else { 600.0 };
            let begun = f64::from(n) * 900.0;
            let seen = Observation { input: 1e9, wall: took as f32, ..Observation::default() };
            Past { times: (begun, begun + took), took, asked, seen }
        };
        (0..12).map(past).collect()
    }

    #[test]
    fn a_limit_is_what_was_asked_for_until_three_are_over_and_twice_that_after_one_that_was_too_short() {
        let day = 86_400.0;
        let asked = Limits::of(history(Some(day)), Way::Asked);
        assert_eq!((asked.tasks, asked.predicted, asked.kills, asked.hours as u32), (12, 0, 0, 12 * 24));
        let used = (11.0 * 600.0 + 3700.0) / 3600.0;
        assert!((asked.used - used).abs() < 1e-9 && (asked.wasted() - (288.0 - used)).abs() < 1e-9, "{asked:?}");
        // Half an hour each from the fourth on; the long one is killed at that, and at an hour.
        let longest = Limits::of(history(Some(day)), Way::Longest(3.0));
        assert_eq!((longest.tasks, longest.predicted, longest.kills, longest.long_kills), (12, 9, 2, 1));
        assert!((longest.burnt - 1.5).abs() < 1e-9, "{longest:?}");
        // It runs for over an hour: those that begin meanwhile know nothing of it.
        let after = (1..4).map(|_| 0.5).sum::<f64>() + 2.0 + 0.5 + 0.5 + 0.5 + 0.5;
        let last = longest.hours - 72.0 - after;
        assert!((last - 3.0 * 3700.0 / 3600.0).abs() < 1e-9, "{longest:?}");
        let learned = Limits::of(history(Some(day)), Way::Learned(Caution::Balanced));
        assert!(learned.predicted == 9 && learned.held.of == 9 && learned.held.within >= 8, "{learned:?}");
        assert!(learned.hours < longest.hours + 72.0 && learned.hours > 72.0, "{learned:?}");
        // No limit is longer than the one that was asked for.
        let short = Limits::of(history(Some(3700.0)), Way::Longest(30.0));
        assert_eq!((short.kills, (short.hours * 3600.0).round() as u32), (0, 12 * 3700));
    }

    #[test]
    fn who_asked_for_nothing_asked_for_what_it_took_and_what_was_cut_is_learned_and_not_judged() {
        let asked = Limits::of(history(None), Way::Asked);
        assert_eq!((asked.kills, asked.wasted()), (0, 0.0));
        let learned = Limits::of(history(None), Way::Learned(Caution::Balanced));
        assert!(learned.predicted == 9 && learned.hours > asked.hours, "{learned:?}");
        let mut cut = history(Some(3600.0));
        for past in cut.iter_mut().filter(|past| past.took > 3600.0) {
            (past.seen.cut, past.took) = (Cut::Time, 3600.0);
        }
        let found = Limits::of(cut, Way::Learned(Caution::Balanced));
        assert_eq!((found.tasks, found.cut, found.kills), (11, 1, 0));
        let mut sum = found;
        sum.add(&found);
        assert_eq!((sum.tasks, sum.cut, sum.held.of, sum.hours), (22, 2, 2 * found.held.of, 2.0 * found.hours));
    }
}
