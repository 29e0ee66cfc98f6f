//! The observations of one quantity as points over input size, and the lines through them.

use std::cell::OnceCell;

use crate::decide::learn::stakes::Outcome;
use crate::model::observation::{Cut, Observation};

/// Which quantity is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Peak memory, in bytes, held for the run time.
    Memory,
    /// Run time, in seconds.
    Wall,
    /// CPU time, in seconds.
    Cpu,
    /// Bytes read and written.
    Io,
}

/// One attempt, seen for one quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Bytes of input.
    pub x: f64,
    /// How much it needed; at least this much when it was cut.
    pub y: f64,
    /// How long it was held, in hours; 1 for a time.
    pub hours: f64,
    /// What it weighs.
    pub weight: f64,
    /// Whether it was ended before it had all that it needed.
    pub cut: bool,
}

impl Point {
    /// Reads a quantity off an observation; none when it says nothing of it.
    pub fn of(target: Target, seen: &Observation, weight: f64) -> Option<Self> {
        let (y, hours) = match target {
            Target::Memory => (f64::from(seen.memory), f64::from(seen.wall) / 3600.0),
            // One that ran out of memory says nothing of how long it would have run, nor of how much it would have done.
            Target::Wall | Target::Cpu | Target::Io if seen.cut == Cut::Memory => return None,
            Target::Wall => (f64::from(seen.wall), 1.0),
            Target::Cpu => (f64::from(seen.cpu), 1.0),
            Target::Io => (f64::from(seen.io), 1.0),
        };
        let weight = weight * seen.trust.weight();
        (y > 0.0).then_some(Self { x: f64::from(seen.input), y, hours, weight, cut: seen.cut != Cut::Nothing })
    }

    fn outcome(&self, value: f64, weight: f64) -> Outcome {
        Outcome { value, weight: weight * self.weight, hours: self.hours }
    }
}

/// A straight line through the points, with the residual that each would have had if it had not been fitted.
#[derive(Clone, Debug, Default)]
struct Line {
    intercept: f64,
    slope: f64,
    /// How well a line describes the points, -1 to 1.
    correlation: f64,
    residuals: Vec<f64>,
}

impl Line {
    /// Lays a line through points of an x, a y and a weight.
    fn through(points: &[(f64, f64, f64)]) -> Self {
        let (mut total, mut mean_x, mut mean_y) = (0.0, 0.0, 0.0);
        for &(x, y, w) in points {
            total += w;
            mean_x += w * x;
            mean_y += w * y;
        }
        mean_x /= total;
        mean_y /= total;
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for &(x, y, w) in points {
            let (dx, dy) = (x - mean_x, y - mean_y);
            xx += w * dx * dx;
            xy += w * dx * dy;
            yy += w * dy * dy;
        }
        // Inputs of one size, but for rounding, say nothing of a slope.
        let flat = xx <= 1e-9 * total * mean_x * mean_x;
        let slope = if flat { 0.0 } else { xy / xx };
        let intercept = mean_y - slope * mean_x;
        let residual = |&(x, y, w): &(f64, f64, f64)| {
            let leverage = w * (1.0 / total + if flat { 0.0 } else { (x - mean_x).powi(2) / xx });
            (y - intercept - slope * x) / (1.0 - leverage).max(0.1)
        };
        let residuals = points.iter().map(residual).collect();
        let correlation = if flat || yy <= 0.0 { 0.0 } else { xy / (xx * yy).sqrt() };
        Self { intercept, slope, correlation, residuals }
    }

    /// Returns whether it tells of a size, and not only of chance, where it goes through so many points: Student's t above 2.
    fn is_sure(&self, points: usize) -> bool {
        let r = self.correlation;
        r.abs() * (points as f64 - 2.0).max(0.0).sqrt() > SURE * (1.0 - r * r).max(0.0).sqrt()
    }

    /// Returns the places of the points by their residuals, the lowest first.
    fn order(&self) -> Vec<u32> {
        let mut order: Vec<(f64, u32)> = self.residuals.iter().copied().zip(0..).collect();
        order.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        order.into_iter().map(|(_, place)| place).collect()
    }

    fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

/// The ways to think that a new attempt will be like the ones seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Like any of them.
    Any,
    /// Like any of the last ones.
    Late,
    /// Like those of similar size.
    Near,
    /// Like the few nearest in size.
    Nearest,
    /// A line in input size, off by as much as others were.
    Line,
    /// The same, off by as much as others of similar size were.
    NearLine,
    /// A line in input size, off by the same factor as others were.
    Factor,
    /// A power of input size.
    Power,
    /// A line that is not followed beyond the sizes seen.
    Held,
    /// A line that is not followed beyond the most that was ever needed.
    Full,
}

/// All models, in the order of their scores.
pub const MODELS: [Model; 10] = [
    Model::Any,
    Model::Late,
    Model::Near,
    Model::Nearest,
    Model::Line,
    Model::NearLine,
    Model::Factor,
    Model::Power,
    Model::Held,
    Model::Full,
];

/// From which t value on a line tells more than chance.
const SURE: f64 = 2.0;

/// How much less each older observation weighs to [`Model::Late`].
const FADING: f64 = 0.97;

/// Points with the lines through them.
#[derive(Clone, Debug)]
pub struct Points {
    /// Those that ran to their end, by what they needed: most models' outcomes then come sorted.
    whole: Vec<Point>,
    /// How many of them are younger than each.
    younger: Vec<i32>,
    /// How long the oldest of them was held, in hours.
    first_hours: f64,
    /// Those that were cut.
    cut: Vec<Point>,
    line: Line,
    /// Made when it is asked for: logarithms take longer than all else here, and most questions need none.
    power: OnceCell<Line>,
    /// Their places by how far they lie above the line, and above the power: what models make of that comes sorted then.
    by_line: OnceCell<Vec<u32>>,
    by_power: OnceCell<Vec<u32>>,
    least: f64,
    most: f64,
    smallest: f64,
    largest: f64,
}

impl Points {
    /// Makes points of observations in the order of time; none when none of them ran to its end.
    pub fn new(points: impl Iterator<Item = Point>) -> Option<Self> {
        let (mut cut, mut whole) = (Vec::new(), Vec::with_capacity(points.size_hint().1.unwrap_or(0)));
        for point in points {
            if point.cut { cut.push(point) } else { whole.push(point) }
        }
        if whole.is_empty() {
            return None;
        }
        // Where nobody measured how long memory was held, all held it equally long.
        let timed = whole.iter().filter(|point| point.hours > 0.0);
        let (sum, n) = timed.fold((0.0, 0.0), |(sum, n), point| (sum + point.hours, n + 1.0));
        let typical = if n > 0.0 { sum / n } else { 1.0 };
        for point in whole.iter_mut().filter(|point| point.hours <= 0.0) {
            point.hours = typical;
        }
        let first_hours = whole.first().map_or(1.0, |point| point.hours);
        let n = i32::try_from(whole.len()).unwrap_or(i32::MAX);
        let mut aged: Vec<(i32, Point)> = (0..n).rev().zip(whole).collect();
        // Positive numbers stand in the order of their bits, which compare faster.
        aged.sort_by_key(|(_, point)| point.y.to_bits());
        let (younger, whole): (Vec<i32>, Vec<Point>) = aged.into_iter().unzip();
        let by = |f: fn(f64, f64) -> f64, of: fn(&Point) -> f64| whole.iter().map(of).reduce(f).unwrap_or(0.0);
        let straight: Vec<_> = whole.iter().map(|p| (p.x, p.y, p.weight)).collect();
        Some(Self {
            by_line: OnceCell::new(),
            by_power: OnceCell::new(),
            line: Line::through(&straight),
            power: OnceCell::new(),
            least: by(f64::min, |p| p.y),
            most: by(f64::max, |p| p.y),
            smallest: by(f64::min, |p| p.x),
            largest: by(f64::max, |p| p.x),
            whole,
            younger,
            first_hours,
            cut,
        })
    }

    /// Returns the model that says the same of these points and is asked in this one's place: where all inputs are of one
    /// size, nothing is nearer than anything else, and a line is level.
    pub fn same(&self, model: Model) -> Model {
        match model {
            Model::Near | Model::Nearest if self.is_level() => Model::Any,
            Model::NearLine | Model::Held if self.is_level() => Model::Line,
            model => model,
        }
    }

    fn power(&self) -> &Line {
        self.power.get_or_init(|| {
            let of = |point: &Point| (point.x.max(1.0).ln(), point.y.ln(), point.weight);
            Line::through(&self.whole.iter().map(of).collect::<Vec<_>>())
        })
    }

    fn by_line(&self) -> &[u32] {
        self.by_line.get_or_init(|| self.line.order())
    }

    fn by_power(&self) -> &[u32] {
        self.by_power.get_or_init(|| self.power().order())
    }

    fn is_level(&self) -> bool {
        self.smallest >= self.largest
    }

    /// Returns how many ran to their end.
    pub fn len(&self) -> usize {
        self.whole.len()
    }

    /// Returns whether none ran to its end, which [`Points::new`] rules out.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    /// Returns the most that was needed.
    pub fn most(&self) -> f64 {
        self.most
    }

    /// Returns what would have been enough for all that was seen, with a little room.
    pub fn enough(&self) -> f64 {
        self.cut.iter().fold(self.most * 1.1, |enough, cut| enough.max(cut.y * 1.3))
    }

    /// Returns whether this is larger than all inputs seen.
    pub fn is_beyond(&self, x: f64) -> bool {
        x > self.largest
    }

    /// Returns the size to ask about for an input of this size: no larger than those seen, unless what was needed follows size.
    pub fn told(&self, x: f64) -> f64 {
        let n = self.whole.len();
        if self.line.is_sure(n) || self.power().is_sure(n) { x } else { x.min(self.largest) }
    }

    /// Returns how well a straight line in input size describes the points, -1 to 1.
    pub fn correlation(&self) -> f64 {
        self.line.correlation
    }

    /// Returns what a straight line through the points says of an input of this size.
    pub fn straight(&self, x: f64) -> f64 {
        self.line.at(x)
    }

    /// Returns what a model thinks will be needed for an input of this size, as outcomes that weigh 1 together.
    pub fn outcomes(&self, model: Model, near: &Near, x: f64) -> Vec<Outcome> {
        let low = self.least * 0.5;
        let off = |i: usize| self.line.residuals.get(i).copied().unwrap_or(0.0);
        let held = self.line.at(x.clamp(self.smallest, self.largest));
        let straight = self.line.at(x);
        let younger = |i: usize| self.younger.get(i).copied().unwrap_or(0);
        let mut outcomes = match model {
            Model::Any => self.each(None, |_, point| (point.y, 1.0)),
            Model::Late => self.each(None, |i, point| (point.y, FADING.powi(younger(i)))),
            Model::Near => self.each(None, |_, point| (point.y, near.weight(point.x - x))),
            Model::Nearest => {
                self.each(None, |_, point| (point.y, if (point.x - x).abs() <= near.nearest { 1.0 } else { 0.0 }))
            }
            Model::Line => self.each(Some(self.by_line()), |i, _| ((straight + off(i)).max(low), 1.0)),
            Model::NearLine => {
                self.each(Some(self.by_line()), |i, point| ((straight + off(i)).max(low), near.weight(point.x - x)))
            }
            Model::Factor => {
                self.each(None, |i, point| (straight.max(low) * point.y / (point.y - off(i)).max(low), 1.0))
            }
            Model::Power => {
                let power = self.power();
                let fitted = power.at(x.max(1.0).ln());
                let off = |i: usize| power.residuals.get(i).copied().unwrap_or(0.0);
                // e^60 is beyond any memory and any time, and still a number.
                self.each(Some(self.by_power()), |i, _| ((fitted + off(i).clamp(-3.0, 3.0)).min(60.0).exp(), 1.0))
            }
            Model::Held => self.each(Some(self.by_line()), |i, _| ((held + off(i)).max(low), 1.0)),
            Model::Full => self.each(Some(self.by_line()), |i, point| {
                ((held + off(i)).max(low).min(self.most * 1.02), near.weight(point.x - x))
            }),
        };
        let total: f64 = outcomes.iter().map(|outcome| outcome.weight).sum();
        if total > 0.0 {
            for outcome in &mut outcomes {
                outcome.weight /= total;
            }
        }
        outcomes
    }

    /// Returns an outcome of each point that weighs anything, in this order of their places, or in that of what they needed.
    fn each(&self, order: Option<&[u32]>, value: impl Fn(usize, &Point) -> (f64, f64)) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(self.whole.len());
        let mut add = |i: usize, point: &Point| {
            let (y, weight) = value(i, point);
            let outcome = point.outcome(y, weight);
            if outcome.weight > 0.0 {
                outcomes.push(outcome);
            }
        };
        match order {
            None => self.whole.iter().enumerate().for_each(|(i, point)| add(i, point)),
            Some(order) => {
                let places = order.iter().map(|place| *place as usize);
                places.filter_map(|i| Some((i, self.whole.get(i)?))).for_each(|(i, point)| add(i, point));
            }
        }
        outcomes
    }

    /// Returns what weighs how much for an input of this size.
    pub fn near(&self, x: f64) -> Near {
        let mut distances: Vec<f64> = self.whole.iter().map(|point| (point.x - x).abs()).collect();
        let n = distances.len();
        // Two of them are wanted: to sort all takes longer.
        let mut at = |rank: usize| {
            let rank = Some(rank.min(n.saturating_sub(1))).filter(|_| n > 0);
            rank.map_or(0.0, |rank| *distances.select_nth_unstable_by(rank, f64::total_cmp).1)
        };
        let few = ((2.0 * (n as f64).sqrt()) as usize).max(5);
        Near { width: at((n / 3).max(3)).max(1e-9 * x.abs()).max(1.0), nearest: at(few - 1) }
    }

    /// Moves the weight of attempts that were cut onto the outcomes above what they were seen to need; each weighs as one
    /// of those that ran to their end.
    pub fn redistribute(&self, outcomes: &mut Vec<Outcome>) {
        let one = outcomes.iter().map(|outcome| outcome.weight).sum::<f64>() / self.whole.len() as f64;
        let hours = self.first_hours;
        for cut in &self.cut {
            let share = one * cut.weight;
            let above: f64 = outcomes.iter().filter(|o| o.value > cut.y).map(|o| o.weight).sum();
            if above > 0.0 {
                for outcome in outcomes.iter_mut().filter(|o| o.value > cut.y) {
                    outcome.weight *= 1.0 + share / above;
                }
            } else {
                outcomes.push(Outcome { value: cut.y * 1.3, weight: share, hours });
            }
        }
    }
}

/// How much observations of other input sizes count for one size.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    width: f64,
    nearest: f64,
}

impl Near {
    fn weight(&self, distance: f64) -> f64 {
        1.0 / (1.0 + 3.0 * (distance / self.width).powi(2)) + 1e-4
    }
}
