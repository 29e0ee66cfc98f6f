//! Identifiers, one type each, so that a run is never taken for an instance.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// Returns the position in the vector that this id indexes.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

index! {
    /// One execution of a workflow, numbered from 1 within a state directory.
    RunId
}
index! {
    /// A task of a plan, as written in the workflow: its position in [`Plan::tasks`](crate::model::plan::Plan).
    TaskId
}
index! {
    /// A task instance of a plan: its position in [`Plan::instances`](crate::model::plan::Plan).
    InstanceId
}
index! {
    /// A path of a plan: its position in [`Plan::paths`](crate::model::plan::Plan).
    PathId
}

/// A host as the engine numbers them while it lives; what is stored is its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u16);

impl HostId {
    /// This machine.
    pub const LOCAL: Self = Self(0);

    /// Returns the position in the vector that this id indexes.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The n-th try of one task instance of one run; the name by which a job is known everywhere.
///
/// Printed and parsed as `run.instance.attempt`, for example `12.345.1`. Attempts count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct JobKey {
    /// The run.
    pub run: RunId,
    /// The task instance.
    pub instance: InstanceId,
    /// The attempt, from 1.
    pub attempt: u32,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.run, self.instance, self.attempt)
    }
}

impl From<JobKey> for String {
    fn from(key: JobKey) -> Self {
        key.to_string()
    }
}

/// The text is not `run.instance.attempt`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a job key of the form run.instance.attempt")]
pub struct BadJobKey(pub String);

impl TryFrom<String> for JobKey {
    type Error = BadJobKey;

    fn try_from(text: String) -> Result<Self, BadJobKey> {
        text.parse()
    }
}

impl FromStr for JobKey {
    type Err = BadJobKey;

    fn from_str(text: &str) -> Result<Self, BadJobKey> {
        let bad = || BadJobKey(text.to_owned());
        let mut parts = text.split('.').map(|part| part.parse::<u32>().map_err(|_| bad()));
        let mut next = || parts.next().unwrap_or_else(|| Err(bad()));
        let key = Self { run: RunId(next()?), instance: InstanceId(next()?), attempt: next()? };
        if parts.next().is_some() { Err(bad()) } else { Ok(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_key_prints_and_parses() {
        let key = JobKey { run: RunId(12), instance: InstanceId(345), attempt: 1 };
        assert_eq!(key.to_string(), "12.345.1");
        assert_eq!("12.345.1".parse(), Ok(key));
        for bad in ["", "1", "1.2", "1.2.3.4", "a.b.c", "1..2", "-1.2.3"] {
            assert!(bad.parse::<JobKey>().is_err(), "{bad}");
        }
    }
}
