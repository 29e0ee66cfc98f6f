//! What a wrong request costs, and the request that is expected to cost least.

use serde::{Deserialize, Serialize};

use crate::decide::learn::grain::Grain;
use crate::decide::learn::steps::Steps;

/// A value that may come true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What would be needed.
    pub value: f64,
    /// How likely, in proportion to the others.
    pub weight: f64,
    /// How long it would be held, in hours.
    pub hours: f64,
}

impl Outcome {
    /// Returns whether it may come true, and is a number that can be asked for.
    fn counts(&self) -> bool {
        self.weight > 0.0 && self.value > 0.0 && self.value < f64::INFINITY
    }
}

/// How much a person minds that an attempt fails for a request that was too small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caution {
    /// Only what it wastes.
    Lean,
    /// What it wastes, and ten minutes of the larger request: it is queued again. No more than one of three is to fail.
    #[default]
    Balanced,
    /// What it wastes, and hours of the larger request: failures are rare and dear.
    Safe,
}

/// The two mistakes and their prices, per unit of the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stakes {
    /// For each unit too much, per hour.
    pub over: f64,
    /// For each unit of an attempt that failed, per hour.
    pub under: f64,
    /// For each unit of the request that follows a failure, whatever it runs.
    pub again: f64,
    /// How heavy the tail beyond all that was seen is taken to be.
    pub tail: f64,
    /// What is added to every request: what no history tells.
    pub margin: f64,
    /// How likely a failure may be at most, whatever it wastes. Where needs are spread evenly, asking for little and failing wastes no
    /// more than asking for much, and who waits for it minds.
    pub risk: f64,
}

impl Stakes {
    /// Returns the stakes of memory: gigabyte-hours on both sides.
    pub const fn memory(caution: Caution) -> Self {
        let (again, risk, margin) = match caution {
            Caution::Lean => (0.0, 1.0, 0.0),
            Caution::Balanced => (1.0 / 6.0, 1.0 / 3.0, 0.0),
            Caution::Safe => (2.0, 1.0, 64e6),
        };
        Self { over: 1.0, under: 1.0, again, tail: 1.0, margin, risk }
    }

    /// Returns the stakes of a time limit: hours asked for and not used cost little (a later start), an attempt killed at its
    /// limit costs all of it.
    pub const fn time(caution: Caution) -> Self {
        let (again, tail) = match caution {
            Caution::Lean => (0.2, 2.0),
            Caution::Balanced => (2.0, 4.0),
            Caution::Safe => (6.0, 8.0),
        };
        Self { over: 0.1, under: 1.0, again, tail, margin: 300.0, risk: 1.0 }
    }

    /// Returns what a request costs when this comes true and a failure is followed by `then`.
    pub fn cost(&self, request: f64, came: Outcome, then: f64) -> f64 {
        if request >= came.value {
            self.over * (request - came.value) * came.hours
        } else {
            let then = then.max(came.value);
            self.under * request * came.hours + self.again * then + self.over * (then - came.value) * came.hours
        }
    }
}

/// How often an attempt may be killed that would not be by the usual limit, where it is chosen by what jobs wait: who waits less for
/// that minds.
const GAMBLED: f64 = 0.1;

/// How far beyond the largest outcome the tail reaches, in parts of the upper half's width, and with what share of its weight.
const TAIL: [(f64, f64); 5] = [(0.1, 0.3), (0.3, 0.25), (0.6, 0.2), (1.0, 0.15), (2.0, 0.1)];

/// How many outcomes the tail is.
pub(super) const BEYOND: usize = TAIL.len();

/// Outcomes in ascending order, with a tail beyond where that counts, ready to be asked for the best request.
#[derive(Clone, Debug)]
pub struct Spread {
    outcomes: Vec<Outcome>,
    /// What they are together.
    all: Sums,
}

impl Spread {
    /// Sorts outcomes and adds the tail beyond them that `n` observations leave open; none without outcomes.
    pub fn new(outcomes: Vec<Outcome>, n: f64, stakes: Stakes) -> Option<Self> {
        Self::seen(outcomes)?.with_tail(n, stakes.tail)
    }

    /// Sorts outcomes, with nothing beyond them; none without any.
    pub fn seen(mut outcomes: Vec<Outcome>) -> Option<Self> {
        outcomes.retain(Outcome::counts);
        // Positive numbers stand in the order of their bits, which compare faster. Most models' outcomes come in order: a sort that
        // merges what is in order already has less to do.
        outcomes.sort_by_key(|outcome| outcome.value.to_bits());
        Self::of(outcomes)
    }

    /// Adds the tail that `n` observations leave open, so heavy: as far beyond the largest as that is above the middle.
    pub fn with_tail(mut self, n: f64, tail: f64) -> Option<Self> {
        let middle = self.quantile(0.5);
        let outcomes = &mut self.outcomes;
        let top = outcomes.last()?.value;
        let hours = self.all.hours / self.all.weight;
        let width = (top - middle).max(0.02 * top);
        let open = tail * self.all.weight / (n + 1.0);
        for (reach, share) in TAIL {
            let outcome = Outcome { value: top + reach * width, weight: open * share, hours };
            self.all = self.all.with(&outcome);
            outcomes.push(outcome);
        }
        Some(self)
    }

    /// Returns whether a value lies between two quantiles of outcomes in any order, with the tail that `n` observations leave open; none
    /// without outcomes. It says what [`Spread::quantile`] does, and sorts nothing.
    pub fn holds(
        mut outcomes: Vec<Outcome>,
        (n, tail): (f64, f64),
        (low, high): (f64, f64),
        value: f64,
    ) -> Option<bool> {
        outcomes.retain(Outcome::counts);
        if outcomes.is_empty() {
            return None;
        }
        let top = outcomes.iter().fold(0.0, |top: f64, outcome| top.max(outcome.value));
        let told = |outcomes| {
            let spread = Self::seen(outcomes)?.with_tail(n, tail)?;
            Some((spread.quantile(low)..=spread.quantile(high)).contains(&value))
        };
        // How far the tail reaches matters to what lies in it alone.
        if value > top {
            return told(outcomes);
        }
        let (mut below, mut within, mut weight) = (0.0, 0.0, 0.0);
        for outcome in &outcomes {
            weight += outcome.weight;
            if outcome.value < value {
                below += outcome.weight;
            }
            if outcome.value <= value {
                within += outcome.weight;
            }
        }
        weight += tail * weight / (n + 1.0) * TAIL.iter().map(|(_, share)| share).sum::<f64>();
        // Just at a quantile this lies between two values: only their order tells which.
        let is_near = |sum: f64, share: f64| (sum - share * weight).abs() <= 2e-9 * weight;
        if is_near(within, low) || is_near(below, high) {
            return told(outcomes);
        }
        Some(within >= low * weight && below < high * weight)
    }

    fn of(outcomes: Vec<Outcome>) -> Option<Self> {
        let all = outcomes.iter().fold(Sums::default(), Sums::with);
        if outcomes.is_empty() { None } else { Some(Self { outcomes, all }) }
    }

    /// Returns the value below which this share of the weight lies.
    pub fn quantile(&self, share: f64) -> f64 {
        let total = self.all.weight;
        let mut below = 0.0;
        for (i, outcome) in self.outcomes.iter().enumerate() {
            below += outcome.weight;
            if below >= share * total * (1.0 + 1e-9) {
                return outcome.value;
            }
            // Just between two values: the middle of them.
            if let Some(next) = self.outcomes.get(i + 1).filter(|_| below >= share * total * (1.0 - 1e-9)) {
                return f64::midpoint(outcome.value, next.value);
            }
        }
        self.outcomes.last().map_or(0.0, |outcome| outcome.value)
    }

    /// Drops what lies at or below a value: an attempt with that much has failed.
    pub fn beyond(mut self, failed: f64) -> Option<Self> {
        self.outcomes.retain(|outcome| outcome.value > failed);
        Self::of(self.outcomes)
    }

    /// Returns the request with the least expected cost, of those that fail seldom enough. A site grants multiples of `grain`; a failure is followed by a
    /// request of at least `then`.
    pub fn least(&self, stakes: Stakes, grain: f64, then: f64) -> f64 {
        self.least_in(stakes, &Grain::multiples(grain), then, &Steps::default())
    }

    /// Returns the same where a site grants in such amounts, and where a job waits by what it asks for, a second of which costs as much as
    /// one of an attempt that fails: each request waits, and so does what follows a failure.
    pub fn least_in(&self, stakes: Stakes, grain: &Grain, then: f64, waits: &Steps) -> f64 {
        let (usual, killed) = self.best(stakes, (grain, then), &Steps::default(), stakes.risk);
        if waits.is_empty() {
            return usual;
        }
        self.best(stakes, (grain, then), waits, stakes.risk.min(killed.max(GAMBLED))).0
    }

    /// Returns the request that costs least, of those that fail no oftener than that, with how often it does.
    fn best(&self, stakes: Stakes, (grain, then): (&Grain, f64), waits: &Steps, risk: f64) -> (f64, f64) {
        let all = self.all;
        let often = risk * all.weight * (1.0 + 1e-9);
        let asked = |request: f64| waits.within(request, grain.with_margin(request, stakes.margin));
        let (mut below, mut next) = (Sums::default(), 0);
        let mut best = (f64::INFINITY, 0.0, 1.0);
        while let Some(outcome) = self.outcomes.get(next) {
            let request = grain.granted(outcome.value);
            while let Some(held) = self.outcomes.get(next).filter(|held| held.value <= request) {
                below = below.with(held);
                next += 1;
            }
            let above = all.without(&below);
            if above.weight > often {
                continue;
            }
            let then = then.max(request * 1.1);
            let over = stakes.over * (request * below.hours - below.held);
            let under = stakes.under * request * above.hours
                + stakes.again * then * above.weight
                + stakes.over * (then * above.hours - above.held).max(0.0);
            // To round takes longer than the rest.
            let waited = if waits.is_empty() {
                0.0
            } else {
                waits.wait(asked(request)) * all.weight + waits.wait(then) * above.weight
            };
            let cost = over + under + waited;
            if cost < best.0 {
                best = (cost, request, above.weight / all.weight);
            }
        }
        (asked(best.1), best.2)
    }
}

/// Sums over outcomes: weight, weighted hours, weighted value-hours.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    weight: f64,
    hours: f64,
    held: f64,
}

impl Sums {
    fn with(self, outcome: &Outcome) -> Self {
        let hours = outcome.weight * outcome.hours;
        Self {
            weight: self.weight + outcome.weight,
            hours: self.hours + hours,
            held: self.held + hours * outcome.value,
        }
    }

    fn without(self, other: &Self) -> Self {
        Self {
            weight: (self.weight - other.weight).max(0.0),
            hours: (self.hours - other.hours).max(0.0),
            held: (self.held - other.held).max(0.0),
        }
    }
}
