//! Who we are on a host, what machine it is, and which programs are there.

use std::collections::BTreeMap;

use crate::language::probe::pairs;
use crate::model::facts::{ContainerProgram, Login, Machine, Modules, Program};
use crate::model::host::{ContainerRuntime, Internet};
use crate::model::units::Bytes;

/// Longest text that is kept of what a host says about itself.
const LONGEST: usize = 200;

/// Takes a host's word as text that can be shown: no control characters, not endless.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect()
}

pub(super) fn login(section: &str) -> Login {
    let mut login = Login::default();
    for (key, value) in pairs(section) {
        match key {
            "user" => login.user = clean(value),
            "home" => login.home = clean(value),
            "shell" => login.shell = clean(value),
            "umask" => login.umask = u32::from_str_radix(value, 8).ok(),
            _ => {}
        }
    }
    login
}

pub(super) fn machine(section: &str) -> Machine {
    let mut machine = Machine::default();
    for (key, value) in pairs(section) {
        match key {
            "hostname" => machine.hostname = clean(value),
            "kernel" => machine.kernel = clean(value),
            "arch" => machine.arch = clean(value),
            "distribution" => machine.distribution = Some(clean(value.trim_matches('"'))),
            "cores" => machine.cores = value.parse().ok(),
            "memory" => machine.memory = value.parse().ok().map(|kib: u64| Bytes(kib.saturating_mul(1024))),
            _ => {}
        }
    }
    machine
}

/// Returns how many processes ran or wanted to, in the mean of five minutes.
pub(super) fn load(section: &str) -> Option<f64> {
    let said = pairs(section).find(|(key, _)| *key == "load")?.1;
    said.parse().ok().filter(|load: &f64| load.is_finite() && *load >= 0.0)
}

/// Takes the version out of what a program prints about itself: the first word that begins with a digit, with or without `v`.
fn version(line: &str) -> Option<String> {
    let words = line.split([' ', ',', '(', ')', '\t']).map(|word| word.strip_prefix('v').unwrap_or(word));
    let version = words.into_iter().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    Some(clean(version))
}

pub(super) fn containers(section: &str) -> Vec<ContainerProgram> {
    let said: Vec<(&str, &str)> = pairs(section).collect();
    let is = |name: &str, what: &str| {
        let name = format!("{name}-{what}");
        said.iter().find(|(key, _)| *key == name).map(|(_, value)| *value == "yes")
    };
    let of = |(runtime, name): (ContainerRuntime, &str)| {
        let (_, line) = said.iter().find(|(key, _)| *key == name)?;
        let version = version(line)?;
        let (usable, limits, gpus) = (is(name, "usable"), is(name, "limits"), is(name, "gpus"));
        Some(ContainerProgram { runtime, version, usable, limits, tried: None, gpus })
    };
    let mut programs: Vec<ContainerProgram> = ContainerRuntime::ALL.into_iter().filter_map(of).collect();
    // The command `singularity` of Apptainer is Apptainer.
    let apptainer = said.iter().any(|(key, value)| *key == "singularity" && value.contains("apptainer"));
    programs.retain(|program| !(apptainer && program.runtime == ContainerRuntime::Singularity));
    programs
}

pub(super) fn modules(environment: &str, section: &str) -> Option<Modules> {
    let said: BTreeMap<&str, &str> = pairs(environment).collect();
    let init = pairs(section).find(|(key, _)| *key == "init").map(|(_, file)| clean(file));
    let lmod = said.get("LMOD_VERSION");
    let kind = match (lmod, init.as_deref()) {
        (Some(_), _) => "lmod",
        (None, _) if said.contains_key("LMOD_CMD") => "lmod",
        (None, _) if said.contains_key("MODULES_CMD") || said.contains_key("MODULESHOME") => "tcl",
        (None, Some(init)) if init.contains("lmod") => "lmod",
        (None, Some(_)) => "tcl",
        (None, None) => return None,
    };
    Some(Modules { kind: kind.to_owned(), version: lmod.map(|version| clean(version)), init })
}

pub(super) fn conda(section: &str) -> Option<Program> {
    // The path may hold `=`, the version does not.
    let (path, line) = section.lines().find_map(|line| line.rsplit_once('='))?;
    Some(Program { path: clean(path), version: version(line) })
}

pub(super) fn tools(section: &str) -> BTreeMap<String, String> {
    pairs(section).map(|(name, line)| (clean(name), version(line).unwrap_or_else(|| clean(line)))).collect()
}

/// Judges the exit status of what tried: only those that say that nobody can be reached are a no.
pub(super) fn internet(section: &str) -> Internet {
    let login = pairs(section).find_map(|(program, status)| match (program, status) {
        (_, "0") => Some(true),
        // No name, no connection, no answer in time; 124 is timeout(1)'s.
        ("curl", "5" | "6" | "7" | "28" | "124" | "143") | ("wget", "4" | "124" | "143") => Some(false),
        _ => None,
    });
    Internet { login, compute: None }
}
