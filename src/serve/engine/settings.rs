//! What people set for the engine, by environment variables.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::decide::engine::protocol::Capacity;
use crate::model::units::{Bytes, Walltime};
use crate::reach::executor::Launch;
use crate::reach::executor::wire::Limits;
use crate::reach::machine;

/// Seconds without work after which an engine leaves, unless `CSYNC_IDLE` says otherwise.
const IDLE: Duration = Duration::from_mins(5);

/// The least that it stays: who started it has yet to say what for.
const SHORTEST_IDLE: Duration = Duration::from_secs(1);

/// A variable that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name} is `{value}`: {problem}")]
pub struct BadSetting {
    name: &'static str,
    value: String,
    problem: String,
}

impl BadSetting {
    /// Returns what a person can do.
    pub fn hint(&self) -> String {
        format!("`unset {}` leaves the choice to csync", self.name)
    }
}

/// How the engine behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What jobs may use of this machine.
    pub capacity: Capacity,
    /// What the worker is told.
    pub limits: Limits,
    /// How long it stays without work; for ever when none.
    pub idle: Option<Duration>,
    /// How a worker is started.
    pub launch: Launch,
}

impl Settings {
    /// Reads the settings: `CSYNC_CPUS`, `CSYNC_MEM` (what jobs may use), `CSYNC_IDLE` (seconds, or `never`), `CSYNC_LOG_MAX`
    /// (bytes kept of one stream of one attempt), `CSYNC_GRACE` (time that a job has to end when it is told to),
    /// `CSYNC_CGROUP` (a directory to make memory control groups in). What is not set is looked up on this machine.
    ///
    /// # Errors
    /// When a variable makes no sense.
    pub fn read(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, BadSetting> {
        let cpus: Option<u32> = parse(&var, "CSYNC_CPUS")?;
        if cpus == Some(0) {
            return Err(refuse("CSYNC_CPUS", "0".to_owned(), "at least one core is needed"));
        }
        let mem: Option<Bytes> = parse(&var, "CSYNC_MEM")?;
        let room = machine::room(cpus, mem);
        let log = parse(&var, "CSYNC_LOG_MAX")?.unwrap_or(Limits::default().log);
        let grace: Option<Walltime> = parse(&var, "CSYNC_GRACE")?;
        let grace_ms = grace.map_or(Limits::default().grace_ms, |grace| grace.0.saturating_mul(1000));
        let cgroup = var("CSYNC_CGROUP").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let never = var("CSYNC_IDLE").is_some_and(|value| value == "never");
        let idle: Option<Walltime> = if never { None } else { parse(&var, "CSYNC_IDLE")? };
        Ok(Self {
            capacity: Capacity { cpus: room.cpus, mem: room.mem, gpus: room.gpus, nodes: 1, jobs: None },
            limits: Limits { cpus: room.cpus, mem: room.mem, gpus: room.gpus, log, grace_ms },
            idle: if never { None } else { Some(idle.map_or(IDLE, Walltime::duration).max(SHORTEST_IDLE)) },
            launch: Launch { program: None, cgroup },
        })
    }
}

fn parse<T>(var: &impl Fn(&str) -> Option<OsString>, name: &'static str) -> Result<Option<T>, BadSetting>
where
    T: FromStr<Err: Display>,
{
    let Some(value) = var(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value.to_string_lossy().into_owned();
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(error) => Err(refuse(name, value, error)),
    }
}

fn refuse(name: &'static str, value: String, problem: impl Display) -> BadSetting {
    BadSetting { name, value, problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Settings, BadSetting> {
        Settings::read(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn what_is_set_goes_before_what_is_found() {
        let settings =
            read(&[("CSYNC_CPUS", "3"), ("CSYNC_MEM", "2G"), ("CSYNC_IDLE", "7"), ("CSYNC_GRACE", "2s")]).unwrap();
        assert_eq!((settings.capacity.cpus, settings.capacity.mem), (3, Bytes::gib(2)));
        assert_eq!((settings.limits.cpus, settings.limits.mem, settings.limits.grace_ms), (3, Bytes::gib(2), 2000));
        assert_eq!(settings.idle, Some(Duration::from_secs(7)));
        let settings = read(&[("CSYNC_CPUS", ""), ("CSYNC_IDLE", "never")]).unwrap();
        assert!(settings.capacity.cpus >= 1 && settings.capacity.mem > Bytes(0));
        assert_eq!(settings.idle, None);
        assert_eq!(read(&[]).unwrap().idle, Some(IDLE));
        assert_eq!(read(&[("CSYNC_IDLE", "0")]).unwrap().idle, Some(SHORTEST_IDLE));
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_named() {
        for (name, value) in [("CSYNC_CPUS", "0"), ("CSYNC_CPUS", "two"), ("CSYNC_MEM", "much"), ("CSYNC_IDLE", "-1")] {
            let said = read(&[(name, value)]).unwrap_err().to_string();
            assert!(said.contains(name) && said.contains(value), "{said}");
        }
    }
}
