//! What one attempt told about the command that it ran: numbers only, no name of anything.

use serde::{Deserialize, Serialize};

/// What ended an attempt before it was through, when something did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Nothing: it ran to its end.
    #[default]
    Nothing,
    /// Its memory limit: it needed more than what was measured.
    Memory,
    /// Its time limit: it would have run longer than what was measured.
    Time,
}

/// How far a measurement can be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Sampled seldom, of one process only, or read off a report that rounds.
    Low,
    /// Sampled over the whole tree of processes.
    Fair,
    /// Counted by the kernel for the whole tree.
    #[default]
    Full,
}

impl Trust {
    /// Returns how much a measurement weighs beside an exact one.
    pub const fn weight(self) -> f64 {
        match self {
            Self::Low => 0.4,
            Self::Fair => 0.8,
            Self::Full => 1.0,
        }
    }
}

/// Longest time in seconds that is believed of anything: thirty years.
pub const LONGEST: f32 = 1e9;

/// One attempt's numbers. A number that was not measured is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Which attempt, on whatever machine: a hash, so that one is counted once however often it is told.
    pub id: u64,
    /// When it ended, in minutes since 1970.
    pub at: u32,
    /// Bytes of its inputs.
    pub input: f32,
    /// Peak memory in bytes.
    pub memory: f32,
    /// Run time in seconds.
    pub wall: f32,
    /// CPU time in seconds.
    pub cpu: f32,
    /// Bytes read and written.
    pub io: f32,
    /// Bytes of memory that were asked for it.
    pub asked: f32,
    /// Seconds that were asked for it. Not among what is written of it, which was there first: whoever keeps it keeps it beside that.
    #[serde(skip)]
    pub asked_time: f32,
    /// What cut it short.
    pub cut: Cut,
    /// How it was measured.
    pub trust: Trust,
}

impl Observation {
    /// Returns whether the numbers can be learned from: finite, not negative, and below what any machine has; and no more CPU time
    /// than a hundred thousand cores have in the run time, where that is known.
    pub fn is_sound(&self) -> bool {
        let within = |value: f32, most: f32| value.is_finite() && (0.0..=most).contains(&value);
        within(self.input, 1e18)
            && within(self.memory, 1e15)
            && within(self.wall, LONGEST)
            && within(self.cpu, if self.wall > 0.0 { self.wall * 1e5 } else { 1e13 })
            && within(self.io, 1e18)
            && within(self.asked, 1e16)
            && within(self.asked_time, LONGEST)
            && (self.memory > 0.0 || self.wall > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attempt_used_more_cpu_time_than_any_machine_has() {
        let day = 86_400.0;
        for (wall, cpu, sound) in [
            (3600.0, 3600.0 * 128.0, true),
            (3600.0, 3600.0 * 9e4, true),
            (3600.0, 99_999.0 * day, false),
            (0.5, 40.0, true),
            (0.0, 99_999.0 * day, true),
            (99_999.0 * day, 99_999.0 * day, false),
        ] {
            let seen = Observation { memory: 1e9, wall, cpu, ..Observation::default() };
            assert_eq!(seen.is_sound(), sound, "{wall} {cpu}");
        }
    }
}
