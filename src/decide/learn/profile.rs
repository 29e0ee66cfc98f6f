//! What is known of one signature on one class of hosts, and what it predicts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decide::learn::grain::Grain;
use crate::decide::learn::points::{MODELS, Model, Near, Point, Points, Target};
use crate::decide::learn::slim::{Column, Columns};
use crate::decide::learn::stakes::{Caution, Outcome, Spread, Stakes};
use crate::decide::learn::steps::Steps;
use crate::decide::learn::summary::Summary;
use crate::model::observation::{Cut, Observation};

/// How many attempts that ran to their end make a prediction.
const ENOUGH: usize = 3;
/// How many make one for a larger input than all of them, where failures are dear.
const UNSAFE: usize = 5;
/// How many attempts must have been seen before models are judged by what came true.
const JUDGED: usize = 3;
/// How many of the latest attempts models are judged by where that is done anew; what was before those weighs next to nothing.
pub const JUDGED_ANEW: usize = 40;
/// What a judgement weighs after the next one: what was long ago says less.
const MEMORY_OF_SCORES: f64 = 0.95;
/// How strongly a model is preferred that wasted less: weights fall with this power of the waste.
const PREFERENCE: i32 = 8;
/// Models of less weight than this (beside the best) are left out.
const NEGLIGIBLE: f64 = 0.01;

/// Attempts without which it is not said how often an interval held.
const TELLING: u32 = 5;
/// Fewer attempts than this are a thin history.
const THIN: usize = 10;
/// Seconds from which on an attempt that is killed at its limit is dear.
const LONG: f64 = 3600.0;
/// How many times the longest attempt so far is asked for where a history is thin and the attempt may be long.
const PROTECTION: f64 = 3.0;
/// From which correlation on a line through a thin history is followed beyond the sizes seen.
const STRAIGHT: f64 = 0.75;

/// What each model would have wasted so far.
type Scores = [f32; MODELS.len()];

/// What is known of a signature on a class of hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    summary: Summary,
    /// Follow from the summary (a merge computes them anew); kept, since that takes milliseconds.
    memory: Scores,
    wall: Scores,
    /// By how much each model's run time was off, whatever it would have wasted.
    misses: Scores,
    held: Held,
    /// The same of the run time. Kept in the appendix.
    #[serde(skip)]
    held_time: Held,
}

/// A profile in few bytes: it predicts the same, and nothing can be added to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlimProfile {
    kept: Columns,
    count: u32,
    memory: Scores,
    wall: Scores,
    misses: Scores,
    held: Held,
}

impl SlimProfile {
    /// Returns the profile; none where it is not whole.
    pub fn profile(&self) -> Option<Profile> {
        let Self { memory, wall, misses, held, .. } = *self;
        let summary = Summary::of_slim(&self.kept, self.count)?;
        Some(Profile { summary, memory, wall, misses, held, held_time: Held::default() })
    }
}

/// What is kept of a profile behind what the first programs wrote of it, which read up to there and leave the rest; of what they wrote
/// nothing is made up here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Appendix {
    /// Seconds that were asked for, of each observation in their order.
    asked_time: Column<f32>,
    /// How many each origin has seen that were killed at their time limit.
    killed: BTreeMap<u64, u32>,
    /// How often the 80 % interval of run time held what came next.
    held: Held,
}

/// How often an 80 % interval held what came next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Attempts that were predicted before they were known.
    pub of: u32,
    /// How many of them came to lie in the interval.
    pub within: u32,
}

impl Held {
    /// Adds what others counted.
    pub(super) fn add(&mut self, other: Self) {
        self.of = self.of.saturating_add(other.of);
        self.within = self.within.saturating_add(other.within);
    }

    fn count_some(&mut self, within: Option<bool>) {
        if let Some(within) = within {
            self.count(within);
        }
    }

    pub(super) fn count(&mut self, within: bool) {
        self.of = self.of.saturating_add(1);
        self.within = self.within.saturating_add(u32::from(within));
    }

    /// Returns the part that came to lie in the interval; none where nothing was predicted.
    pub fn all(self) -> Option<f64> {
        (self.of > 0).then(|| f64::from(self.within) / f64::from(self.of))
    }

    /// Returns the same, none where too few were predicted to tell.
    pub fn share(self) -> Option<f64> {
        self.all().filter(|_| self.of >= TELLING)
    }
}

/// What a prediction rests on, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Attempts of this signature on hosts of this class.
    Learned,
    /// Attempts of this signature on other classes of hosts, scaled by how those compare.
    OtherHosts,
    /// Attempts of similar signatures: the same program.
    Similar,
    /// What csync ships for this program.
    Shipped,
}

/// How much of something will be needed: an interval, and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// What to ask for: the least expected waste.
    pub request: f64,
    /// Nine of ten need more than this.
    pub low: f64,
    /// As many need more as need less.
    pub middle: f64,
    /// Nine of ten need less than this.
    pub high: f64,
    /// How many attempts it rests on.
    pub n: u32,
    /// What it rests on.
    pub source: Source,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// Bytes of input.
    pub input: f64,
    /// What is granted is a multiple of this; 0 means any amount.
    pub grain: f64,
    /// How much failures are minded.
    pub caution: Caution,
}

impl Question {
    /// Asks for an input of this size, any amount, with failures minded as usual.
    pub fn plain(input: f64) -> Self {
        Self { input, grain: 0.0, caution: Caution::Balanced }
    }
}

impl Profile {
    /// Makes a profile of a summary that came from elsewhere, judging the models anew.
    pub fn of(summary: Summary) -> Self {
        let mut profile = Self { summary: Summary::default(), ..Self::default() };
        let from = summary.kept().count().saturating_sub(JUDGED_ANEW);
        let mut known: Vec<(Observation, f64)> = Vec::new();
        for (i, (seen, weight)) in summary.kept().enumerate() {
            if i >= from {
                profile.judge(&known, seen);
            }
            known.push((*seen, weight));
        }
        profile.summary = summary;
        profile
    }

    /// Makes a profile of a summary without judging the models, which then count alike until something is added: for the
    /// many commands of a long history that are hardly asked about.
    pub fn unjudged(summary: Summary) -> Self {
        Self { summary, ..Self::default() }
    }

    /// Learns from an attempt that a machine's store saw; returns false when it is known already or senseless.
    pub fn observe(&mut self, origin: u64, seen: Observation) -> bool {
        let known: Vec<(Observation, f64)> = self.summary.kept().map(|(seen, weight)| (*seen, weight)).collect();
        if !self.summary.add(origin, seen) {
            return false;
        }
        self.judge(&known, &seen);
        true
    }

    /// Takes in what another store learned of the same signature.
    pub fn merge(&mut self, other: &Self) {
        let mut summary = std::mem::take(&mut self.summary);
        summary.merge(&other.summary);
        *self = Self::of(summary);
    }

    /// Takes in what a report told, whose jobs were counted under other origins once: those count once. `before` says these origins, each
    /// with the one that what is left of it counts under.
    pub fn merge_anew(&mut self, other: &Self, before: &[(u64, u64)]) {
        for (origin, rest) in before {
            self.summary.supersede(*origin, *rest, &other.summary);
        }
        self.merge(other);
    }

    /// Returns it in few bytes, for who only asks it.
    pub fn slim(&self) -> SlimProfile {
        let Self { memory, wall, misses, held, .. } = *self;
        let (kept, count) = self.summary.slim();
        SlimProfile { kept, count, memory, wall, misses, held }
    }

    /// Returns what is kept of it behind what the first programs wrote; none where that says nothing.
    pub fn appendix(&self) -> Option<Appendix> {
        let is_asked = self.summary.kept().any(|(seen, _)| seen.asked_time > 0.0);
        let (asked_time, killed) = self.summary.times();
        let says = is_asked || !killed.is_empty() || self.held_time.of > 0;
        says.then_some(Appendix { asked_time, killed, held: self.held_time })
    }

    /// Takes that in again.
    pub fn append(&mut self, Appendix { asked_time, killed, held }: Appendix) {
        self.summary.take_times(&asked_time, killed);
        self.held_time = held;
    }

    /// Returns what is kept of the attempts.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Returns how often what came next lay in the 80 % interval of memory.
    pub fn held(&self) -> Held {
        self.held
    }

    /// Returns how often what came next lay in the 80 % interval of run time.
    pub fn held_time(&self) -> Held {
        self.held_time
    }

    /// Returns the part of the time asked for that was not used, over the attempts of which both are known; none when there are none.
    /// One that ran out of memory says nothing of the time that it would have taken.
    pub fn unused_time(&self) -> Option<f64> {
        let both = self.summary.kept().filter(|(seen, _)| seen.asked_time > 0.0 && seen.wall > 0.0);
        let told = both.filter(|(seen, _)| seen.cut != Cut::Memory);
        let (asked, unused) = told.fold((0.0, 0.0), |(asked, unused), (seen, weight)| {
            let more = f64::from(seen.asked_time - seen.wall).max(0.0);
            (asked + f64::from(seen.asked_time) * weight, unused + more * weight)
        });
        (asked > 0.0).then(|| unused / asked)
    }

    /// Returns the part of the memory asked for that was not used, over the attempts of which both are known; none when there
    /// are none.
    pub fn unused(&self) -> Option<f64> {
        let both = self.summary.kept().filter(|(seen, _)| seen.asked > 0.0 && seen.memory > 0.0 && seen.wall > 0.0);
        let (asked, unused) = both.fold((0.0, 0.0), |(asked, unused), (seen, weight)| {
            let hours = f64::from(seen.wall) * weight;
            let more = f64::from(seen.asked - seen.memory).max(0.0);
            (asked + f64::from(seen.asked) * hours, unused + more * hours)
        });
        (asked > 0.0).then(|| unused / asked)
    }

    /// Predicts peak memory in bytes; none when too little was seen.
    pub fn memory(&self, question: Question) -> Option<Prediction> {
        self.memory_in(question, &Grain::multiples(question.grain))
    }

    /// Predicts the same where a site grants in such amounts.
    pub fn memory_in(&self, question: Question, grain: &Grain) -> Option<Prediction> {
        let (points, spread) = self.spread(Target::Memory, &self.memory, question)?;
        if question.caution == Caution::Safe && points.len() < UNSAFE && points.is_beyond(question.input) {
            return None;
        }
        let how = (grain, &Steps::default());
        Some(self.prediction(&points, &spread, Stakes::memory(question.caution), how))
    }

    /// Predicts the time limit in seconds to ask for; none when too little was seen.
    pub fn time_limit(&self, question: Question) -> Option<Prediction> {
        self.time_limit_waiting(question, &Steps::default())
    }

    /// Predicts the same where jobs wait by the limit that they ask for.
    pub fn time_limit_waiting(&self, question: Question, waits: &Steps) -> Option<Prediction> {
        let (points, spread) = self.spread(Target::Wall, &self.wall, question)?;
        let mut limit = self.prediction(
            &points,
            &spread,
            Stakes::time(question.caution),
            (&Grain::multiples(question.grain), waits),
        );
        let doubts = [points.len() < THIN, points.is_beyond(question.input), limit.high > LONG];
        if doubts.iter().filter(|doubt| **doubt).count() >= 2 {
            limit.request = limit.request.max(points.most() * PROTECTION);
        }
        Some(limit)
    }

    /// Predicts run time in seconds: what it will be, not what to ask for; none when too little was seen.
    pub fn run_time(&self, input: f64) -> Option<Prediction> {
        self.expected(Target::Wall, &self.misses, input)
    }

    /// Predicts CPU time in seconds, of all cores together; none when too little was seen. Takes milliseconds.
    pub fn cpu_time(&self, input: f64) -> Option<Prediction> {
        self.expected(Target::Cpu, &self.misses_of(Target::Cpu), input)
    }

    /// Predicts the bytes that are read and written; none when too little was seen. Takes milliseconds.
    pub fn io(&self, input: f64) -> Option<Prediction> {
        self.io_over([input]).pop().flatten()
    }

    /// Does so for several sizes of input, in little more time than for one.
    pub fn io_over(&self, inputs: impl IntoIterator<Item = f64>) -> Vec<Option<Prediction>> {
        let misses = self.misses_of(Target::Io);
        inputs.into_iter().map(|input| self.expected(Target::Io, &misses, input)).collect()
    }

    /// Returns by how much each model was off so far, of what is asked for too seldom to keep that.
    fn misses_of(&self, target: Target) -> Scores {
        let (mut scores, mut misses) = (Scores::default(), Scores::default());
        let points: Vec<Point> =
            self.summary.kept().filter_map(|(seen, weight)| Point::of(target, seen, weight)).collect();
        let from = points.len().saturating_sub(JUDGED_ANEW).max(JUDGED);
        for (at, came) in points.iter().enumerate().skip(from) {
            let Some(known) = points.get(..at).and_then(|before| Points::new(before.iter().copied())) else { continue };
            if known.len() >= JUDGED {
                let near = known.near(came.x);
                score((&mut scores, Some(&mut misses)), (&known, &near), *came, stakes(target, Caution::Balanced));
            }
        }
        misses
    }

    /// Predicts how much it will be, and not what to ask for.
    fn expected(&self, target: Target, misses: &Scores, input: f64) -> Option<Prediction> {
        let points = self.points(target)?;
        let (outcomes, line) = expected(&points, misses, &points.near(input));
        let n = points.len() as f64;
        let seen = Spread::seen(outcomes)?;
        let middle = line.unwrap_or_else(|| seen.quantile(0.5));
        let spread = seen.with_tail(n, 1.0)?;
        let (low, high) = (spread.quantile(0.1), spread.quantile(0.9));
        let middle = middle.clamp(low, high);
        Some(Prediction { request: middle, low, middle, high, n: self.seen(target), source: Source::Learned })
    }

    /// Returns how many attempts a prediction of it rests on.
    fn seen(&self, target: Target) -> u32 {
        match target {
            Target::Memory | Target::Wall => self.summary.count(),
            // Not all of them were counted so.
            Target::Cpu | Target::Io => {
                let told = self.summary.kept().filter(|(seen, _)| Point::of(target, seen, 1.0).is_some());
                u32::try_from(told.count()).unwrap_or(u32::MAX)
            }
        }
    }

    /// Returns the memory to ask for after an attempt failed with this much.
    pub fn memory_after(&self, failed: f64) -> f64 {
        self.after(Target::Memory, failed)
    }

    /// Returns the time limit to ask for after an attempt was killed at this one.
    pub fn time_after(&self, failed: f64) -> f64 {
        self.after(Target::Wall, failed)
    }

    fn after(&self, target: Target, failed: f64) -> f64 {
        let enough = self.points(target).map_or(0.0, |points| points.enough());
        // What was seen to be enough comes first; beyond it there is nothing to go by but doubling.
        if failed * 1.1 < enough { enough.max(failed * 1.2) } else { failed * 2.0 }
    }

    fn prediction(&self, points: &Points, spread: &Spread, stakes: Stakes, how: (&Grain, &Steps)) -> Prediction {
        let (grain, waits) = how;
        Prediction {
            request: spread.least_in(stakes, grain, points.enough(), waits),
            low: spread.quantile(0.1),
            middle: spread.quantile(0.5),
            high: spread.quantile(0.9),
            n: self.summary.count(),
            source: Source::Learned,
        }
    }

    fn points(&self, target: Target) -> Option<Points> {
        Points::new(self.summary.kept().filter_map(|(seen, weight)| Point::of(target, seen, weight)))
            .filter(|points| points.len() >= ENOUGH)
    }

    /// Returns what all models think together, each weighing by what it would have wasted.
    fn spread(&self, target: Target, scores: &Scores, question: Question) -> Option<(Points, Spread)> {
        let points = self.points(target)?;
        let n = points.len() as f64;
        let mut outcomes = mixture(&points, scores, &points.near(question.input));
        points.redistribute(&mut outcomes);
        Some((points, Spread::new(outcomes, n, stakes(target, question.caution))?))
    }

    /// Judges every model by what it would have said of this attempt before it was known.
    fn judge(&mut self, known: &[(Observation, f64)], seen: &Observation) {
        let of = |target| {
            let came = Point::of(target, seen, 1.0)?;
            let points = Points::new(known.iter().filter_map(|(seen, weight)| Point::of(target, seen, *weight)))?;
            (points.len() >= JUDGED).then_some((points, came))
        };
        if let Some((points, came)) = of(Target::Memory) {
            let near = points.near(came.x);
            let stakes = Stakes::memory(Caution::Balanced);
            if !came.cut {
                let outcomes = mixture(&points, &self.memory, &near);
                self.held.count_some(holds(outcomes, &points, stakes.tail, came));
            }
            score((&mut self.memory, None), (&points, &near), came, stakes);
        }
        if let Some((points, came)) = of(Target::Wall) {
            let near = points.near(came.x);
            if !came.cut {
                let (outcomes, _) = expected(&points, &self.misses, &near);
                self.held_time.count_some(holds(outcomes, &points, 1.0, came));
            }
            let stakes = Stakes::time(Caution::Balanced);
            score((&mut self.wall, Some(&mut self.misses)), (&points, &near), came, stakes);
        }
    }
}

/// Returns what is expected of an input of this size, and what a straight line says of it where that is gone by.
fn expected(points: &Points, misses: &Scores, near: &Near) -> (Vec<Outcome>, Option<f64>) {
    let input = near.input();
    let (mut outcomes, line) = if points.len() >= THIN || !points.is_beyond(input) {
        let told = points.told(input);
        let outcomes =
            if told < input { mixture(points, misses, &points.near(told)) } else { mixture(points, misses, near) };
        (outcomes, None)
    } else if points.correlation() >= STRAIGHT {
        (points.outcomes(Model::Line, near), Some(points.straight(input)))
    } else {
        // Few and all smaller: a line that does not fit them tells no more than their middle does.
        (points.outcomes(Model::Any, near), None)
    };
    points.redistribute(&mut outcomes);
    (outcomes, line)
}

/// Returns whether the 80 % interval of outcomes, as they were thought of before this attempt, holds it.
fn holds(outcomes: Vec<Outcome>, points: &Points, tail: f64, came: Point) -> Option<bool> {
    Spread::holds(outcomes, (points.len() as f64, tail), (0.1, 0.9), came.y)
}

fn stakes(target: Target, caution: Caution) -> Stakes {
    match target {
        Target::Memory => Stakes::memory(caution),
        Target::Wall | Target::Cpu | Target::Io => Stakes::time(caution),
    }
}

/// Returns what each model weighs that is asked; those that say the same are asked once.
fn weights(points: &Points, scores: &Scores) -> Vec<(Model, f64)> {
    let best = scores.iter().copied().fold(f32::INFINITY, f32::min).max(f32::MIN_POSITIVE);
    let mut asked: Vec<(Model, f64)> = Vec::with_capacity(MODELS.len());
    for (model, score) in MODELS.iter().zip(scores) {
        let weight = f64::from(best / score.max(best)).powi(PREFERENCE);
        if weight >= NEGLIGIBLE {
            let model = points.same(*model);
            match asked.iter_mut().find(|(other, _)| *other == model) {
                Some((_, sum)) => *sum += weight,
                None => asked.push((model, weight)),
            }
        }
    }
    asked
}

/// Returns the outcomes of all models together.
fn mixture(points: &Points, scores: &Scores, near: &Near) -> Vec<Outcome> {
    points.together(&weights(points, scores), near)
}

/// Adds to the scores what each model's request would have cost, and to the misses by what factor its middle was off.
fn score(
    (scores, mut misses): (&mut Scores, Option<&mut Scores>),
    (points, near): (&Points, &Near),
    came: Point,
    stakes: Stakes,
) {
    let (most, n) = (points.enough(), points.len() as f64);
    let then = if most >= came.y { most } else { came.y * 1.5 };
    let outcome = Outcome { value: came.y, weight: 1.0, hours: if came.hours > 0.0 { came.hours } else { 1.0 } };
    let later = |score: &mut f32, cost: f64| *score = (f64::from(*score) * MEMORY_OF_SCORES + cost) as f32;
    let counts = misses.is_some() && !came.cut;
    let judge = |model| {
        let spread = Spread::new(points.outcomes(model, near), n, stakes)?;
        let request = spread.least(stakes, 0.0, most);
        // What was cut showed only that less would not have done.
        let cost = if came.cut && request >= came.y { 0.0 } else { stakes.cost(request, outcome, then) };
        Some((cost, counts.then(|| (spread.quantile(0.5).max(1e-3) / came.y).ln().abs().min(5.0))))
    };
    // Its cost, and by what factor its middle was off, where that counts: models that say the same are judged once.
    let mut judged: [Option<(f64, Option<f64>)>; MODELS.len()] = Default::default();
    for (i, model) in MODELS.into_iter().enumerate() {
        let same = MODELS.iter().position(|other| *other == points.same(model)).filter(|same| *same < i);
        let found = match same.and_then(|same| judged.get(same)) {
            Some(found) => *found,
            None => judge(model),
        };
        let (Some(slot), Some(score)) = (judged.get_mut(i), scores.get_mut(i)) else { continue };
        *slot = found;
        let Some((cost, off)) = found else { continue };
        later(score, cost);
        if let (Some(off), Some(miss)) = (off, misses.as_deref_mut().and_then(|misses| misses.get_mut(i))) {
            later(miss, off);
        }
    }
}
