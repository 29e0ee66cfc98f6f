//! Quantities that are not known exactly.

use serde::Serialize;

/// Where a quantity comes from, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It follows from what is configured or was looked at.
    Known,
    /// Measured, that often.
    Measured(u32),
    /// Learned from that many runs.
    Learned(u32),
    /// What a shipped figure says.
    Prior,
    /// Nobody knows: an assumption.
    Guessed,
}

impl Source {
    /// Returns whichever is less sure, of two of a kind that which rests on less.
    #[must_use]
    #[inline]
    pub fn weaker(self, other: Self) -> Self {
        match (self, other) {
            (Self::Measured(a), Self::Measured(b)) => Self::Measured(a.min(b)),
            (Self::Learned(a), Self::Learned(b)) => Self::Learned(a.min(b)),
            (a, b) => a.max(b),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let times = |f: &mut std::fmt::Formatter<'_>, n: u32, what: &str| {
            if n == 1 { write!(f, "from 1 {what}") } else { write!(f, "from {n} {what}s") }
        };
        match self {
            Self::Known => f.write_str("known"),
            Self::Measured(n) => times(f, *n, "measurement"),
            Self::Learned(n) => times(f, *n, "run"),
            Self::Prior => f.write_str("a shipped figure"),
            Self::Guessed => f.write_str("a guess"),
        }
    }
}

/// A quantity as an interval: eight of ten times it is between `low` and `high`, half of the time below `middle`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// One of ten is below.
    pub low: f64,
    /// Half are below.
    pub middle: f64,
    /// One of ten is above.
    pub high: f64,
    /// Where it comes from.
    pub source: Source,
}

impl Estimate {
    /// Nothing, for sure.
    pub const ZERO: Self = Self::known(0.0);

    /// Makes a quantity that is known.
    pub const fn known(value: f64) -> Self {
        Self { low: value, middle: value, high: value, source: Source::Known }
    }

    /// Makes a guess.
    pub const fn guess(low: f64, middle: f64, high: f64) -> Self {
        Self { low, middle, high, source: Source::Guessed }
    }

    /// Estimates how long a host takes to have an image that it has not: from its registry, by whatever way it has there.
    pub fn pulling(bytes: f64) -> Self {
        Self::guess(bytes / 100e6, bytes / 20e6, bytes / 2e6).plus(&Self::guess(0.5, 2.0, 10.0))
    }

    /// Takes the quantiles of what was seen, as they stand where there are few; none of nothing. Changes the order of `seen`.
    pub fn of_seen(seen: &mut [f64], source: fn(u32) -> Source) -> Option<Self> {
        seen.sort_by(f64::total_cmp);
        let last = seen.len().checked_sub(1)?;
        let quantile = |share: f64| {
            let at = share * last as f64;
            let (below, above) = (seen.get(at.floor() as usize)?, seen.get(at.ceil() as usize)?);
            Some((above - below).mul_add(at.fract(), *below))
        };
        let n = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        Some(Self { low: quantile(0.1)?, middle: quantile(0.5)?, high: quantile(0.9)?, source: source(n) })
    }

    /// Returns the sum of two quantities that vary independently: middles add up, spreads as the sides of a right triangle.
    #[must_use]
    #[inline]
    pub fn plus(&self, other: &Self) -> Self {
        // A decision over a thousand hosts adds six thousand times, most of it nothing.
        if other.is_nothing() {
            return *self;
        }
        if self.is_nothing() {
            return *other;
        }
        self.with(other)
    }

    /// Returns the sum of two quantities of which neither is nothing.
    fn with(&self, other: &Self) -> Self {
        let middle = self.middle + other.middle;
        // Not `hypot`, which guards against overflows of what is no length of time, nor `mul_add`, which is a call; and a root takes
        // longer than all the rest.
        let hypotenuse = |a: f64, b: f64| {
            if a == 0.0 {
                b
            } else if b == 0.0 {
                a
            } else {
                (a * a + b * b).sqrt()
            }
        };
        let below = hypotenuse(self.middle - self.low, other.middle - other.low);
        let above = hypotenuse(self.high - self.middle, other.high - other.middle);
        let source = match (self.is_zero(), other.is_zero()) {
            (true, false) => other.source,
            (false, true) => self.source,
            _ => self.source.weaker(other.source),
        };
        Self { low: (middle - below).max(0.0), middle, high: middle + above, source }
    }

    /// Returns it so many times.
    #[must_use]
    #[inline]
    pub fn times(&self, factor: f64) -> Self {
        Self { low: self.low * factor, middle: self.middle * factor, high: self.high * factor, source: self.source }
    }

    /// Returns it so much later, for sure.
    #[must_use]
    #[inline]
    pub fn after(&self, seconds: f64) -> Self {
        let (low, middle, high) = (self.low + seconds, self.middle + seconds, self.high + seconds);
        Self { low, middle, high, source: self.source }
    }

    /// Returns how often a rate has to be applied to get through `amount`: seconds of bytes at bytes a second.
    #[must_use]
    #[inline]
    pub fn to_get_through(&self, amount: f64) -> Self {
        let over = |rate: f64| if amount <= 0.0 { 0.0 } else { amount / rate };
        if self.high - self.low == 0.0 {
            let middle = over(self.middle);
            return Self { low: middle, middle, high: middle, source: self.source };
        }
        Self { low: over(self.high), middle: over(self.middle), high: over(self.low), source: self.source }
    }

    /// Returns how long that many seconds at speed one take at this speed.
    #[must_use]
    #[inline]
    pub fn to_run_at(&self, speed: &Self) -> Self {
        if speed.source == Source::Known { self.times(1.0 / speed.middle) } else { self.run_at_about(speed) }
    }

    /// Returns how long that many seconds at speed one take at a speed that is not known exactly.
    fn run_at_about(&self, speed: &Self) -> Self {
        // The spreads of both, as factors of the middle.
        let spread = |time: f64, speed: f64| (time.ln().powi(2) + speed.ln().powi(2)).sqrt().exp();
        let middle = self.middle / speed.middle;
        if self.middle <= 0.0 || speed.middle <= 0.0 || self.low <= 0.0 || speed.low <= 0.0 {
            return Self { low: 0.0, middle, high: self.high / speed.low.max(f64::MIN_POSITIVE), source: self.source };
        }
        let source = self.source.weaker(speed.source);
        Self {
            low: middle / spread(self.middle / self.low, speed.high / speed.middle),
            middle,
            high: middle * spread(self.high / self.middle, speed.middle / speed.low),
            source,
        }
    }

    /// Returns whether it is nothing, for sure: what it adds to anything.
    #[inline]
    fn is_nothing(&self) -> bool {
        self.low == 0.0 && self.high == 0.0 && self.middle == 0.0 && self.source == Source::Known
    }

    fn is_zero(&self) -> bool {
        self.low <= 0.0 && self.high <= 0.0
    }
}
