//! The hosts of a what-if: `hosts.toml` with what a simulation must know besides, or a file of its own.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::model::host::Internet;
use crate::model::units::{Bytes, Walltime};

/// The longest time that is taken, a hundred years: what is longer is a slip, and clocks end.
const LONGEST: Walltime = Walltime(100 * 365 * 86_400);

/// Keys of `hosts.toml` that say nothing to a simulation.
const OTHERS: [&str; 14] = [
    "account",
    "batch",
    "containers",
    "filesystems",
    "keep_above",
    "max_jobs",
    "partitions",
    "policy",
    "scratch",
    "simulated",
    "site",
    "ssh",
    "direct",
    "description",
];

/// What is described.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The hosts, by name.
    #[serde(default)]
    pub hosts: BTreeMap<String, ScenarioHost>,
    /// Links, `"a-b"` by the names of their hosts.
    #[serde(default)]
    pub links: BTreeMap<String, ScenarioLink>,
    /// Tasks, by name.
    #[serde(default)]
    pub tasks: BTreeMap<String, ScenarioTask>,
    /// How much chance there is.
    #[serde(default)]
    pub chance: ScenarioChance,
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ScenarioHost {
    /// Its cores.
    pub cores: Option<u32>,
    /// Its memory; as much as is asked for where nothing is said.
    #[serde(default, deserialize_with = "spelled")]
    pub memory: Option<Bytes>,
    /// Its GPUs.
    #[serde(default)]
    pub gpus: u32,
    /// How many times faster than the host that times are told for.
    pub speed: Option<f64>,
    /// How long its batch system makes one wait.
    #[serde(default, deserialize_with = "spelled")]
    pub wait: Option<Walltime>,
    /// What waits: each `task`, or an `allocation` once.
    pub waits: Option<WaitFor>,
    /// What a core costs per hour.
    #[serde(default)]
    pub rate: f64,
    /// Whether the workflow's files lie there at first.
    #[serde(default)]
    pub data: bool,
    /// Words to choose it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether it only holds data: no task runs there.
    #[serde(default)]
    pub transfer_only: bool,
    /// Whether the internet can be reached.
    #[serde(default)]
    pub internet: Internet,
    /// When it is away.
    #[serde(default)]
    pub down: Vec<ScenarioOutage>,
    #[serde(flatten)]
    rest: BTreeMap<String, toml::Value>,
}

impl ScenarioHost {
    /// Returns whether jobs are known to have no internet there: those of a machine have what it has itself.
    pub fn is_offline(&self) -> bool {
        let online = match self.rest.get("batch").and_then(toml::Value::as_str) {
            Some("none") => self.internet.login,
            Some(_) => self.internet.compute,
            None => self.internet.compute.or(self.internet.login),
        };
        online == Some(false)
    }
}

/// What waits in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// A job for each task.
    #[default]
    Task,
    /// An allocation, once.
    Allocation,
}

/// When a host is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioOutage {
    /// From when on.
    #[serde(deserialize_with = "needed")]
    pub from: Walltime,
    /// For how long.
    #[serde(rename = "for", deserialize_with = "needed")]
    pub lasts: Walltime,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ScenarioLink {
    /// Bytes a second.
    #[serde(default, deserialize_with = "rate")]
    pub rate: Option<Bytes>,
    /// Seconds before the first byte comes.
    #[serde(default)]
    pub latency: f64,
    #[serde(flatten)]
    rest: BTreeMap<String, toml::Value>,
}

/// A task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioTask {
    /// How long it runs on a host of speed one.
    #[serde(default, deserialize_with = "spelled")]
    pub time: Option<Walltime>,
    /// The memory that it needs.
    #[serde(default, deserialize_with = "spelled")]
    pub memory: Option<Bytes>,
    /// The size of each file that it makes.
    #[serde(default, deserialize_with = "spelled")]
    pub output: Option<Bytes>,
}

/// How much chance there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScenarioChance {
    /// How far run times are off: 0.3 for about a third, either way.
    pub runs: f64,
    /// How far waits are off.
    pub waits: f64,
    /// What part of attempts fails.
    pub fails: f64,
}

fn spelled<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(from: D) -> Result<Option<T>, D::Error> {
    needed(from).map(Some)
}

fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
    let text = String::deserialize(from)?;
    let rate = text.parse().ok().filter(|rate: &Bytes| rate.0 > 0);
    rate.map(Some).ok_or_else(|| D::Error::custom(format!("`{text}` is no rate: bytes a second, like 10M")))
}

fn needed<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Reads a description.
///
/// # Errors
/// What is wrong with it, in words for who wrote it.
pub fn read(text: &str) -> Result<Scenario, String> {
    let scenario: Scenario = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    if scenario.hosts.is_empty() {
        return Err("it describes no host: [hosts.NAME] with `cores`, `speed`, `wait` does".to_owned());
    }
    for (name, host) in &scenario.hosts {
        if let Some(key) = host.rest.keys().find(|key| !OTHERS.contains(&key.as_str())) {
            return Err(format!("[hosts.{name}] has the key `{key}`, which means nothing here"));
        }
        let speed = host.speed.unwrap_or(1.0);
        if !(speed.is_finite() && speed > 0.0 && host.rate.is_finite() && host.rate >= 0.0) {
            return Err(format!("[hosts.{name}]: `speed` is a number above zero, `rate` one from zero on"));
        }
        if host.cores == Some(0) {
            return Err(format!("[hosts.{name}] has no cores"));
        }
        in_time(&format!("[hosts.{name}]: `wait`"), host.wait)?;
        for away in &host.down {
            in_time(&format!("[hosts.{name}]: `from` in `down`"), Some(away.from))?;
            in_time(&format!("[hosts.{name}]: `for` in `down`"), Some(away.lasts))
                .map_err(|why| format!("{why}; a host that does not come back is left out"))?;
        }
    }
    for (name, task) in &scenario.tasks {
        in_time(&format!("[tasks.{name}]: `time`"), task.time)?;
    }
    for (name, link) in &scenario.links {
        let ends = scenario.ends(name).ok_or_else(|| {
            format!("[links] \"{name}\" names no two hosts: \"a-b\" is the link between [hosts.a] and [hosts.b]")
        })?;
        if ends.0 == ends.1 {
            return Err(format!("[links] \"{name}\" leads from a host to itself"));
        }
        if let Some(key) = link.rest.keys().find(|key| !OTHERS.contains(&key.as_str())) {
            return Err(format!("[links] \"{name}\" has the key `{key}`, which means nothing here"));
        }
        if link.rate == Some(Bytes(0)) || !(0.0..=LONGEST.0 as f64).contains(&link.latency) {
            return Err(format!(
                "[links] \"{name}\": `rate` is bytes a second above zero, `latency` seconds from zero to a hundred years"
            ));
        }
    }
    let chance = scenario.chance;
    let good = |number: f64| (0.0..=3.0).contains(&number);
    if !(good(chance.runs) && good(chance.waits) && (0.0..1.0).contains(&chance.fails)) {
        return Err("[chance]: `runs` and `waits` are from 0 to 3, `fails` is below 1".to_owned());
    }
    Ok(scenario)
}

/// Refuses a time that nobody lives to see.
fn in_time(what: &str, time: Option<Walltime>) -> Result<(), String> {
    match time {
        Some(time) if time > LONGEST => Err(format!("{what} is {time}, and a hundred years (36500d) are the most")),
        _ => Ok(()),
    }
}

impl Scenario {
    /// Returns the hosts that a link is between; names may hold `-` themselves.
    pub fn ends<'a>(&self, link: &'a str) -> Option<(&'a str, &'a str)> {
        let mut splits = link.match_indices('-').map(|(at, _)| (&link[..at], &link[at + 1..]));
        splits.find(|(a, b)| self.hosts.contains_key(*a) && self.hosts.contains_key(*b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[hosts.laptop]
cores = 4
data = true
[hosts.lab-hpc]
ssh = "hpc"
batch = "slurm"
cores = 64
memory = "256G"
speed = 1.6
wait = "2m"
down = [{ from = "1h", for = "30m" }]
[hosts.lab-hpc.policy]
poll_min = "15s"
[links]
"laptop-lab-hpc" = { rate = "8M", latency = 0.06, direct = true }
[tasks.align]
time = "20m"
output = "2G"
[chance]
runs = 0.3
"#;

    #[test]
    fn a_hosts_file_with_more_in_it_is_read() {
        let scenario = read(TEXT).expect("it is sound");
        let hpc = &scenario.hosts["lab-hpc"];
        assert_eq!((hpc.cores, hpc.memory, hpc.wait), (Some(64), Some(Bytes::gib(256)), Some(Walltime(120))));
        assert_eq!(hpc.down, [ScenarioOutage { from: Walltime(3600), lasts: Walltime(1800) }]);
        assert_eq!(scenario.ends("laptop-lab-hpc"), Some(("laptop", "lab-hpc")));
        assert_eq!(scenario.tasks["align"].output, Some(Bytes::gib(2)));
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_it_is() {
        let cases = [
            ("", "no host"),
            ("[hosts.a]\ncoers = 4\n", "`coers`"),
            ("[hosts.a]\nspeed = 0.0\n", "`speed`"),
            ("[hosts.a]\nspeed = inf\n", "`speed`"),
            ("[hosts.a]\ncores = 0\n", "no cores"),
            ("[hosts.a]\ncores = -1\n", "cores"),
            ("[hosts.a]\nmemory = \"lots\"\n", "amount of memory"),
            ("[hosts.a]\n[hosts.b]\n[links]\n\"a-b\" = { rate = \"0\" }\n", "`0` is no rate"),
            ("[hosts.a]\nwait = \"99999999d\"\n", "[hosts.a]: `wait` is 99999999d, and a hundred years"),
            ("[hosts.a]\ndown = [{ from = \"106751992d\", for = \"1h\" }]\n", "`from` in `down`"),
            ("[hosts.a]\ndown = [{ from = \"1h\", for = \"106751992d\" }]\n", "is left out"),
            ("[hosts.a]\n[tasks.x]\ntime = \"99999999999d\"\n", "[tasks.x]: `time`"),
            ("[hosts.a]\n[hosts.b]\n[links]\n\"a-b\" = { latency = 1e300 }\n", "a hundred years"),
            ("[hosts.a]\n[links]\n\"a-x\" = {}\n", "names no two hosts"),
            ("[hosts.a]\n[links]\n\"a-a\" = {}\n", "to itself"),
            ("[hosts.a]\n[chance]\nfails = 1.0\n", "below 1"),
            ("[hosts.a\n", "expected"),
        ];
        for (text, word) in cases {
            let error = read(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
