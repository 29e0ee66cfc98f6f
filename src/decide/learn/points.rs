//! The observations of one quantity as points over input size, and the lines through them.

use std::cell::OnceCell;

use crate::decide::learn::stakes::{BEYOND, Outcome};
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

/// Beyond how many standard deviations a point pulls a line no more than one that lies there (Huber, 1964: 95 % as good as least squares
/// where nothing is off).
const PULL: f64 = 1.345;

/// A standard deviation, in medians of what points are off.
const DEVIATION: f64 = 1.4826;

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
    /// Lays a line through points of an x, a y and a weight: one of least squares, then one that is pulled no further by those that lie far
    /// off the first.
    fn through(mut points: Vec<(f64, f64, f64)>) -> Self {
        let first = Fit::of(&points);
        let mut off: Vec<f64> = points.iter().map(|(x, y, _)| (y - first.at(*x)).abs()).collect();
        let half = off.len() / 2;
        let usual = if off.is_empty() { 0.0 } else { *off.select_nth_unstable_by(half, f64::total_cmp).1 };
        let far = PULL * DEVIATION * usual;
        let mut fit = first;
        if far > 0.0 {
            for (x, y, weight) in &mut points {
                *weight *= far / (*y - first.at(*x)).abs().max(far);
            }
            fit = Fit::of(&points);
        }
        let residuals = points.iter().map(|point| fit.residual(point)).collect();
        Self { intercept: fit.intercept, slope: fit.slope, correlation: fit.correlation, residuals }
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

/// A line of least squares.
#[derive(Clone, Copy, Debug)]
struct Fit {
    intercept: f64,
    slope: f64,
    correlation: f64,
    /// What the points weigh together, where their middle is, and how far they lie apart: none where that is not at all.
    total: f64,
    mean: f64,
    width: Option<f64>,
}

impl Fit {
    fn of(points: &[(f64, f64, f64)]) -> Self {
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
        let width = Some(xx).filter(|xx| *xx > 1e-9 * total * mean_x * mean_x);
        let slope = width.map_or(0.0, |xx| xy / xx);
        let correlation = width.filter(|_| yy > 0.0).map_or(0.0, |xx| xy / (xx * yy).sqrt());
        Self { intercept: mean_y - slope * mean_x, slope, correlation, total, mean: mean_x, width }
    }

    fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }

    /// Returns how far above the line a point would lie if it had not been fitted.
    fn residual(&self, &(x, y, w): &(f64, f64, f64)) -> f64 {
        let leverage = w * (1.0 / self.total + self.width.map_or(0.0, |xx| (x - self.mean).powi(2) / xx));
        (y - self.at(x)) / (1.0 - leverage).max(0.1)
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

impl Model {
    /// Returns what it takes attempts to say, and how it weighs them.
    fn parts(self) -> (Value, Way) {
        match self {
            Self::Any => (Value::Same, Way::Alike),
            Self::Late => (Value::Same, Way::Late),
            Self::Near => (Value::Same, Way::Near),
            Self::Nearest => (Value::Same, Way::Nearest),
            Self::Line => (Value::Line, Way::Alike),
            Self::NearLine => (Value::Line, Way::Near),
            Self::Factor => (Value::Factor, Way::Alike),
            Self::Power => (Value::Power, Way::Alike),
            Self::Held => (Value::Held, Way::Alike),
            Self::Full => (Value::Full, Way::Near),
        }
    }
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
    /// What each weighs for its age.
    late: Vec<f64>,
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
        let n = u32::try_from(whole.len()).unwrap_or(u32::MAX);
        // Positive numbers stand in the order of their bits, which compare faster; places move faster than points.
        let mut order: Vec<(u64, u32)> = whole.iter().map(|point| point.y.to_bits()).zip(0..n).collect();
        order.sort_unstable();
        let faded: Vec<f64> = std::iter::successors(Some(1.0), |last| Some(last * FADING)).take(whole.len()).collect();
        let late = order.iter().map(|(_, place)| faded.get((n - 1 - place) as usize).copied().unwrap_or(0.0)).collect();
        let whole: Vec<Point> = order.iter().filter_map(|(_, place)| whole.get(*place as usize).copied()).collect();
        let by = |f: fn(f64, f64) -> f64, of: fn(&Point) -> f64| whole.iter().map(of).reduce(f).unwrap_or(0.0);
        let straight = whole.iter().map(|p| (p.x, p.y, p.weight));
        Some(Self {
            by_line: OnceCell::new(),
            by_power: OnceCell::new(),
            line: Line::through(straight.collect()),
            power: OnceCell::new(),
            least: by(f64::min, |p| p.y),
            most: by(f64::max, |p| p.y),
            smallest: by(f64::min, |p| p.x),
            largest: by(f64::max, |p| p.x),
            whole,
            late,
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
            Line::through(self.whole.iter().map(of).collect())
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
    pub fn outcomes(&self, model: Model, near: &Near) -> Vec<Outcome> {
        self.together(&[(model, 1.0)], near)
    }

    /// Returns what models think together, each of which weighs so much. A value that several of them think of is one outcome.
    pub fn together(&self, asked: &[(Model, f64)], near: &Near) -> Vec<Outcome> {
        let x = near.x;
        let (straight, held) = (self.line.at(x), self.line.at(x.clamp(self.smallest, self.largest)));
        let mut shares = [Sway::default(); VALUES.len()];
        for (model, weight) in asked {
            let (value, sway) = model.parts();
            // Between the sizes seen a line that is held is the line.
            let value = if value == Value::Held && held.to_bits() == straight.to_bits() { Value::Line } else { value };
            if let Some(share) = VALUES.iter().position(|other| *other == value).and_then(|at| shares.get_mut(at)) {
                *share = share.plus(sway, *weight, &near.total);
            }
        }
        let wanted = || VALUES.into_iter().zip(shares).filter(|(_, share)| !share.is_nothing());
        // What is open above them comes behind.
        let room = wanted().count() * self.whole.len() + self.cut.len() + BEYOND;
        let mut all = Outcomes { of: self, near, all: Vec::with_capacity(room) };
        let low = self.least * 0.5;
        for (value, share) in wanted() {
            match value {
                Value::Same => all.add(None, share, |_, point| point.y),
                Value::Line => all.add(Some(self.by_line()), share, |i, _| (straight + self.off(i)).max(low)),
                Value::Held => all.add(Some(self.by_line()), share, |i, _| (held + self.off(i)).max(low)),
                Value::Full => {
                    let full = self.most * 1.02;
                    all.add(Some(self.by_line()), share, |i, _| (held + self.off(i)).max(low).min(full));
                }
                Value::Factor => {
                    let straight = straight.max(low);
                    all.add(None, share, |i, point| straight * point.y / (point.y - self.off(i)).max(low));
                }
                Value::Power => {
                    let power = self.power();
                    let fitted = power.at(x.max(1.0).ln());
                    let off = |i: usize| power.residuals.get(i).copied().unwrap_or(0.0);
                    // e^60 is beyond any memory and any time, and still a number.
                    let value = |i: usize, _: &Point| (fitted + off(i).clamp(-3.0, 3.0)).min(60.0).exp();
                    all.add(Some(self.by_power()), share, value);
                }
            }
        }
        all.all
    }

    /// Returns how far a point lies above the line.
    fn off(&self, i: usize) -> f64 {
        self.line.residuals.get(i).copied().unwrap_or(0.0)
    }

    /// Returns what weighs how much for an input of this size.
    pub fn near(&self, x: f64) -> Near {
        let mut distances: Vec<f64> = self.whole.iter().map(|point| (point.x - x).abs()).collect();
        let n = distances.len();
        let by_place = distances.clone();
        // Two of them are wanted: to sort all takes longer.
        let mut at = |rank: usize| {
            let rank = Some(rank.min(n.saturating_sub(1))).filter(|_| n > 0);
            rank.map_or(0.0, |rank| *distances.select_nth_unstable_by(rank, f64::total_cmp).1)
        };
        let few = ((2.0 * (n as f64).sqrt()) as usize).max(5);
        let (width, nearest) = (at((n / 3).max(3)).max(1e-9 * x.abs()).max(1.0), at(few - 1));
        let mut total = Sway::default();
        let sway = |((point, distance), late): ((&Point, &f64), &f64)| {
            let sway = Sway {
                alike: 1.0,
                late: *late,
                near: 1.0 / (1.0 + 3.0 * (distance / width).powi(2)) + 1e-4,
                nearest: if *distance <= nearest { 1.0 } else { 0.0 },
            };
            total = total.with(&sway, point.weight);
            sway
        };
        let each = self.whole.iter().zip(&by_place).zip(&self.late).map(sway).collect();
        Near { x, each, total }
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

/// What the attempts weigh for an input of one size, in their order.
#[derive(Clone, Debug)]
pub struct Near {
    /// Bytes of input.
    x: f64,
    each: Vec<Sway>,
    /// What they weigh together.
    total: Sway,
}

impl Near {
    /// Returns the size of the input, in bytes.
    pub fn input(&self) -> f64 {
        self.x
    }
}

/// What an attempt weighs, or what weight is given, by each way to weigh attempts.
#[derive(Clone, Copy, Debug, Default)]
struct Sway {
    /// All alike.
    alike: f64,
    /// The later ones more.
    late: f64,
    /// Those of similar size more.
    near: f64,
    /// The few nearest in size alone.
    nearest: f64,
}

impl Sway {
    /// Adds what one weighs of which there is so much.
    fn with(self, one: &Self, much: f64) -> Self {
        Self {
            alike: self.alike + one.alike * much,
            late: self.late + one.late * much,
            near: self.near + one.near * much,
            nearest: self.nearest + one.nearest * much,
        }
    }

    /// Adds a weight that is given by one way, in parts of what all attempts weigh by it; nothing where they weigh nothing.
    fn plus(mut self, way: Way, weight: f64, total: &Self) -> Self {
        let (share, total) = match way {
            Way::Alike => (&mut self.alike, total.alike),
            Way::Late => (&mut self.late, total.late),
            Way::Near => (&mut self.near, total.near),
            Way::Nearest => (&mut self.nearest, total.nearest),
        };
        if total > 0.0 {
            *share += weight / total;
        }
        self
    }

    /// Returns what an attempt weighs to whom the ways have these shares.
    fn of(&self, shares: &Self) -> f64 {
        self.alike * shares.alike + self.late * shares.late + self.near * shares.near + self.nearest * shares.nearest
    }

    fn is_nothing(&self) -> bool {
        self.alike + self.late + self.near + self.nearest <= 0.0
    }
}

/// A way to weigh attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Alike,
    Late,
    Near,
    Nearest,
}

/// What an attempt says will be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// What it needed.
    Same,
    /// What the line says, off by as much as it was.
    Line,
    /// The same, the line not followed beyond the sizes seen.
    Held,
    /// The same, and not beyond the most that was ever needed.
    Full,
    /// What the line says, off by the same factor.
    Factor,
    /// What a power of input size says, off by the same factor.
    Power,
}

const VALUES: [Value; 6] = [Value::Same, Value::Line, Value::Held, Value::Full, Value::Factor, Value::Power];

/// Outcomes that are being made.
struct Outcomes<'p> {
    of: &'p Points,
    near: &'p Near,
    all: Vec<Outcome>,
}

impl Outcomes<'_> {
    /// Adds one of each attempt that weighs anything, in this order of their places, or in that of what they needed.
    fn add(&mut self, order: Option<&[u32]>, shares: Sway, value: impl Fn(usize, &Point) -> f64) {
        let (points, near) = (&self.of.whole, &self.near.each);
        let mut add = |i: usize, point: &Point, sway: &Sway| {
            let weight = sway.of(&shares);
            if weight > 0.0 {
                self.all.push(point.outcome(value(i, point), weight));
            }
        };
        match order {
            None => points.iter().zip(near).enumerate().for_each(|(i, (point, sway))| add(i, point, sway)),
            Some(order) => {
                let places = order.iter().map(|place| *place as usize);
                let known = places.filter_map(|i| Some((i, points.get(i)?, near.get(i)?)));
                known.for_each(|(i, point, sway)| add(i, point, sway));
            }
        }
    }
}
