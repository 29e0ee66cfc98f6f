//! What is kept of all attempts: a bounded set of observations that merges in any order, any number of times.
//!
//! A set is kept by four rules, each "the first so many by a total order": the latest, a sample by hash, the ones that needed
//! the most memory, the ones that ran longest. The first so many of a union are found among the first so many of its parts,
//! so that merging is commutative, associative and idempotent whatever was dropped on the way.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::decide::learn::slim::{Column, Columns};
use crate::model::observation::{Cut, Observation};

/// How many of the latest are kept.
const LATEST: usize = 72;
/// How many are kept as a sample of all times.
const SAMPLED: usize = 12;
/// How many are kept because they needed the most memory, and as many because they ran longest.
const LARGEST: usize = 5;
/// What an observation weighs that is kept only for being large.
const LARGE_WEIGHT: f64 = 0.5;

/// Which of two observations a rule keeps rather.
type Order = fn(&Observation, &Observation) -> Ordering;

/// The observations kept of one signature on one class of hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// In the order in which they ended.
    kept: Vec<Observation>,
    /// How many each origin (a machine's store) has seen.
    counts: BTreeMap<u64, u32>,
    /// How many of them were killed at their time limit. Kept in the appendix.
    #[serde(skip)]
    killed: BTreeMap<u64, u32>,
}

impl Summary {
    /// Adds what an attempt of this origin told; returns false when it is known already or senseless.
    pub fn add(&mut self, origin: u64, seen: Observation) -> bool {
        if !seen.is_sound() || self.kept.iter().any(|known| known.id == seen.id) {
            return false;
        }
        self.count_new(origin, (1, u32::from(seen.cut == Cut::Time)));
        let place = self.kept.partition_point(|known| by_time(known, &seen) == Ordering::Less);
        self.kept.insert(place, seen);
        self.trim();
        true
    }

    /// Adds what many attempts of this origin told, as [`Summary::add`] would one by one; returns how many were new.
    pub fn add_all(&mut self, origin: u64, seen: &[Observation]) -> u32 {
        let before = self.kept.len();
        let known: HashSet<u64> = self.kept.iter().map(|known| known.id).collect();
        let mut met = HashSet::with_capacity(seen.len());
        self.kept.extend(seen.iter().filter(|one| one.is_sound() && !known.contains(&one.id) && met.insert(one.id)));
        let new = u32::try_from(self.kept.len() - before).unwrap_or(u32::MAX);
        if new > 0 {
            let killed = self.kept.iter().skip(before).filter(|one| one.cut == Cut::Time).count();
            self.count_new(origin, (new, u32::try_from(killed).unwrap_or(u32::MAX)));
            self.kept.sort_by(by_time);
            self.trim();
        }
        new
    }

    /// Takes in what another store keeps of the same signature.
    pub fn merge(&mut self, other: &Self) {
        for seen in other.kept.iter().filter(|seen| seen.is_sound()) {
            match self.kept.iter_mut().find(|known| known.id == seen.id) {
                // One of them may come from a program that did not keep what time was asked for, or that took the memory of one task of
                // a job for that of all.
                Some(known) => {
                    known.asked_time = known.asked_time.max(seen.asked_time);
                    known.memory = known.memory.max(seen.memory);
                }
                None => self.kept.push(*seen),
            }
        }
        self.kept.sort_by(by_time);
        for (mine, theirs) in [(&mut self.counts, &other.counts), (&mut self.killed, &other.killed)] {
            for (origin, count) in theirs {
                let known = mine.entry(*origin).or_default();
                *known = (*known).max(*count);
            }
        }
        self.trim();
    }

    /// Returns what is kept, in the order in which they ended, each with what it weighs for being a sample.
    pub fn kept(&self) -> impl Iterator<Item = (&Observation, f64)> {
        let sampled = self.threshold(by_id, SAMPLED);
        let from = self.kept.len().saturating_sub(LATEST);
        self.kept.iter().enumerate().map(move |(i, seen)| {
            let typical = i >= from || sampled.is_none_or(|last| by_id(seen, &last) != Ordering::Greater);
            (seen, if typical { 1.0 } else { LARGE_WEIGHT })
        })
    }

    /// Returns how many attempts were seen in all.
    pub fn count(&self) -> u32 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns how many of them were killed at their time limit, at least: programs before this one counted none, and of what they saw
    /// those count that are kept.
    pub fn killed(&self) -> u32 {
        let kept = self.kept.iter().filter(|seen| seen.cut == Cut::Time).count();
        let counted = self.killed.values().fold(0, |sum: u32, count| sum.saturating_add(*count));
        counted.max(u32::try_from(kept).unwrap_or(u32::MAX))
    }

    /// Returns what is kept behind it: what time was asked for, and how many were killed.
    pub(super) fn times(&self) -> (Column<f32>, BTreeMap<u64, u32>) {
        (Column::of(&self.kept, |seen| seen.asked_time), self.killed.clone())
    }

    /// Takes that in again; nothing of what is not whole.
    pub(super) fn take_times(&mut self, asked: &Column<f32>, killed: BTreeMap<u64, u32>) {
        for (at, seen) in self.kept.iter_mut().enumerate() {
            seen.asked_time = asked.get(at).unwrap_or_default();
        }
        self.killed = killed;
    }

    /// Has what was counted under one origin count under another, of which the larger count holds.
    pub fn recount(&mut self, from: u64, to: u64) {
        for counts in [&mut self.counts, &mut self.killed] {
            if let Some(count) = counts.remove(&from) {
                let known = counts.entry(to).or_default();
                *known = (*known).max(count);
            }
        }
    }

    /// Takes what was counted anew off what another origin counted of the same, once: what is left of that counts under `rest` from then
    /// on, of which nothing is taken.
    pub fn supersede(&mut self, origin: u64, rest: u64, anew: &Self) {
        let killed = anew.killed.values().fold(0, |sum: u32, count| sum.saturating_add(*count));
        for (counts, anew) in [(&mut self.counts, anew.count()), (&mut self.killed, killed)] {
            let left = counts.remove(&origin).map(|count| count.saturating_sub(anew));
            if let Some(left) = left.filter(|left| *left > 0) {
                // A machine that did not tell it anew yet may have brought it back.
                let known = counts.entry(rest).or_default();
                *known = (*known).max(left);
            }
        }
    }

    fn count_new(&mut self, origin: u64, (new, killed): (u32, u32)) {
        let count = self.counts.entry(origin).or_default();
        *count = count.saturating_add(new);
        if killed > 0 {
            let count = self.killed.entry(origin).or_default();
            *count = count.saturating_add(killed);
        }
    }

    /// Returns what is kept in few bytes, and how many were seen: enough to predict by, too little to merge.
    pub fn slim(&self) -> (Columns, u32) {
        (Columns::of(&self.kept), self.count())
    }

    /// Makes a summary again of what [`Summary::slim`] said; none where that is not whole.
    pub fn of_slim(columns: &Columns, count: u32) -> Option<Self> {
        let counts = BTreeMap::from([(0, count)]);
        Some(Self { kept: columns.observations()?, counts, killed: BTreeMap::new() })
    }

    /// Returns when the last one ended, in minutes since 1970; none where nobody told.
    pub fn latest(&self) -> Option<u32> {
        self.kept.last().map(|seen| seen.at).filter(|at| *at > 0)
    }

    /// Returns whether of one of them nobody told when it ended: it may have been the last.
    pub fn is_undated(&self) -> bool {
        self.kept.first().is_some_and(|seen| seen.at == 0)
    }

    /// Returns whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Returns the last that an order keeps, none when it keeps all.
    fn threshold(&self, order: Order, most: usize) -> Option<Observation> {
        if self.kept.len() <= most {
            return None;
        }
        let mut sorted: Vec<&Observation> = self.kept.iter().collect();
        let (_, last, _) = sorted.select_nth_unstable_by(most - 1, |a, b| order(a, b));
        Some(**last)
    }

    /// Drops what no order keeps.
    fn trim(&mut self) {
        if self.kept.len() <= LATEST {
            return;
        }
        let rules = [(by_id as Order, SAMPLED), (by_memory, LARGEST), (by_wall, LARGEST)];
        let last = rules.map(|(order, most)| (order, self.threshold(order, most)));
        let from = self.kept.len() - LATEST;
        let mut place = 0;
        self.kept.retain(|seen| {
            place += 1;
            let keeps = |(order, last): &(Order, Option<Observation>)| {
                last.as_ref().is_none_or(|last| order(seen, last) != Ordering::Greater)
            };
            place > from || last.iter().any(keeps)
        });
    }
}

fn by_time(a: &Observation, b: &Observation) -> Ordering {
    a.at.cmp(&b.at).then(a.id.cmp(&b.id))
}

fn by_id(a: &Observation, b: &Observation) -> Ordering {
    a.id.cmp(&b.id)
}

fn by_memory(a: &Observation, b: &Observation) -> Ordering {
    b.memory.total_cmp(&a.memory).then(a.id.cmp(&b.id))
}

fn by_wall(a: &Observation, b: &Observation) -> Ordering {
    b.wall.total_cmp(&a.wall).then(a.id.cmp(&b.id))
}
