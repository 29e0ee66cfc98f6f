//! What csync chose for an attempt, and what the choice rested on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::host::HostName;
use crate::model::units::{Bytes, Walltime};

/// What the choice of a host is to be good at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Done first.
    #[default]
    Fastest,
    /// Fewest bytes moved, then done first.
    Locality,
    /// Least cost by the hosts' rates, core-hours where none has one; then done first.
    Cheapest,
    /// Evenly over the hosts by their cores, then done first.
    Spread,
}

impl Policy {
    /// Every policy, as people spell it.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Fastest, "fastest"),
        (Self::Locality, "locality"),
        (Self::Cheapest, "cheapest"),
        (Self::Spread, "spread"),
    ];

    /// Returns the policy of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(policy, _)| *policy)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(policy, _)| *policy == self).map_or("", |(_, name)| name)
    }
}

/// What a prediction rests on, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Attempts of the same command on hosts of this class.
    Learned,
    /// Attempts of the same command on other classes of hosts.
    OtherHosts,
    /// Attempts of similar commands.
    Similar,
    /// What csync ships for the program.
    Shipped,
}

/// What was asked for because it was learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Foreseen {
    /// What the prediction says to ask for: bytes, or seconds.
    pub request: f64,
    /// Nine of ten need more.
    pub low: f64,
    /// Half need more.
    pub middle: f64,
    /// Nine of ten need less.
    pub high: f64,
    /// How many attempts it rests on.
    pub n: u32,
    /// What it rests on.
    pub basis: Basis,
}

impl Foreseen {
    /// Says what memory is expected, and why.
    pub fn memory(&self) -> String {
        let bytes = |value: f64| Bytes(value as u64);
        format!("{} to {} expected, {}", bytes(self.low), bytes(self.high), self.rests_on())
    }

    /// Says what run time is expected, and why.
    pub fn time(&self) -> String {
        let seconds = |value: f64| Walltime(value.ceil() as u64);
        format!("{} to {} expected, {}", seconds(self.low), seconds(self.high), self.rests_on())
    }

    /// Says what it rests on.
    pub fn rests_on(&self) -> String {
        let runs = if self.n == 1 { "1 run".to_owned() } else { format!("{} runs", self.n) };
        match self.basis {
            Basis::Learned => format!("learned from {runs}"),
            Basis::OtherHosts => format!("learned from {runs} on other hosts"),
            Basis::Similar => format!("learned from {runs} of similar commands"),
            Basis::Shipped => "a shipped figure".to_owned(),
        }
    }
}

/// A quantity of a cost sheet: seconds, eight of ten times between `low` and `high`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// One of ten is below.
    pub low: f64,
    /// Half are below.
    pub middle: f64,
    /// One of ten is above.
    pub high: f64,
    /// Where it comes from, in words.
    pub source: String,
}

/// What an attempt costs on a host, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The host.
    pub host: HostName,
    /// The partition that it fits there; none where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Until what was placed there before leaves room.
    pub behind: f64,
    /// Until its batch system starts it.
    pub wait: Span,
    /// Until its inputs are there.
    pub transfer: Span,
    /// Bytes of them that have to be moved.
    pub moved: Bytes,
    /// While it runs.
    pub run: Span,
    /// What counts against the host for what is not sure.
    pub penalty: f64,
    /// All of that: what was compared, under the policy `fastest`.
    pub total: f64,
}

/// A host that was no choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// The host.
    pub host: HostName,
    /// Why.
    pub why: String,
}

/// Where an attempt was placed, among which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// What counted.
    pub policy: Policy,
    /// Whether the host was said, and its partition alone was chosen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub said: bool,
    /// Where it went.
    pub chosen: Terms,
    /// The next best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Terms>,
    /// How many more hosts were compared.
    #[serde(default)]
    pub others: u32,
    /// Hosts that were no choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<Excluded>,
}

/// What csync chose for an attempt; empty where a person said everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem: Option<Foreseen>,
    /// Its walltime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Foreseen>,
    /// Its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
