//! How fast one class of hosts is beside another, learned from whatever ran on both.

use serde::{Deserialize, Serialize};

use crate::decide::learn::profile::{Prediction, Profile, Source};
use crate::model::observation::{Cut, Observation};

/// How many comparisons make a factor one that can be relied on.
const FIRM: usize = 3;

/// How many times longer a class of hosts takes than another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// Nine of ten comparisons were above this.
    pub low: f64,
    /// The middle of the comparisons.
    pub middle: f64,
    /// Nine of ten comparisons were below this.
    pub high: f64,
    /// How many there were.
    pub n: u32,
}

impl Factor {
    /// What is assumed where nothing was compared: as fast, give or take half.
    pub const UNKNOWN: Self = Self { low: 0.67, middle: 1.0, high: 1.5, n: 0 };

    /// Makes a factor of comparisons; [`Factor::UNKNOWN`] when there are too few.
    pub fn of(mut ratios: Vec<f64>) -> Self {
        ratios.retain(|ratio| ratio.is_finite() && *ratio > 0.0);
        ratios.sort_unstable_by(f64::total_cmp);
        if ratios.len() < FIRM {
            return Self::UNKNOWN;
        }
        let at = |share: f64| {
            let place = share * (ratios.len() - 1) as f64;
            let value = |place: f64| ratios.get(place as usize).copied().unwrap_or(1.0);
            f64::midpoint(value(place.floor()), value(place.ceil()))
        };
        Self { low: at(0.1), middle: at(0.5), high: at(0.9), n: u32::try_from(ratios.len()).unwrap_or(u32::MAX) }
    }

    /// Scales a run time that was predicted for the other class.
    #[must_use]
    pub fn scale(self, time: Prediction) -> Prediction {
        Prediction {
            request: time.request * self.middle.max(self.high),
            low: time.low * self.low.min(self.middle),
            middle: time.middle * self.middle,
            high: time.high * self.high.max(self.middle),
            n: time.n,
            source: Source::OtherHosts,
        }
    }
}

/// Compares an attempt with what its signature's profile on another class of hosts says of an input of that size.
pub fn ratio(other: &Profile, seen: &Observation) -> Option<f64> {
    let wall = f64::from(seen.wall);
    let there = other.run_time(f64::from(seen.input))?.middle;
    (seen.cut == Cut::Nothing && wall > 0.0 && there > 0.0).then(|| wall / there)
}

/// Compares two classes of hosts by one signature: what was kept of it here, beside its profile there.
pub fn ratios(here: &Profile, there: &Profile) -> Vec<f64> {
    here.summary().kept().filter_map(|(seen, _)| ratio(there, seen)).collect()
}
