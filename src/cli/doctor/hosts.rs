//! The hosts: what their configuration and the last look at them say.

use std::path::Path;
use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::doctor::Finding;
use crate::cli::errors::Failure;
use crate::cli::hosts::{Known, hint, look_now};
use crate::cli::view::words::{ago, duration};
use crate::language::hosts::partitions;
use crate::model::facts::{Facts, Probed, ScratchCandidate};
use crate::model::host::{Batch, Host, HostPath};
use crate::model::units::{Bytes, Timestamp};
use crate::reach::clock;

/// Room in scratch below which jobs end badly soon.
const SPACE_LOW: Bytes = Bytes::gib(1);
/// Clocks that are further apart make files look older or newer than they are.
const SKEW_MOST: f64 = 5.0;
/// What was found longer ago may have changed.
const OLD: Duration = Duration::from_hours(30 * 24);
/// A quota that is used up to here is soon full.
const QUOTA_MOST: f64 = 0.95;

/// Checks the hosts: those that are named by looking now, the others by what was last found.
pub(super) fn check(context: &Context, named: &[String]) -> Result<Vec<Finding>, Failure> {
    let known = match Known::load(context) {
        Ok(known) => known,
        // Hosts that are named and cannot be known are the person's mistake.
        Err(failure) if !named.is_empty() => return Err(failure),
        Err(failure) => {
            let fix = "`csync hosts list` shows what is wrong with it";
            return Ok(vec![Finding::problem("hosts", failure.to_string(), fix)]);
        }
    };
    let mut findings = Vec::new();
    let now = clock::now();
    for name in named {
        let host = known.host(name)?;
        let seen = look_now(context, host)?;
        let probed = match seen {
            Ok(facts) => Probed { at: Some(now), facts: Some(facts), failure: None },
            Err(error) => {
                let fix = hint(&error, host).unwrap_or_else(|| format!("`csync hosts test {name}`"));
                findings.push(Finding::problem(label(host), error.to_string(), fix));
                continue;
            }
        };
        findings.extend(judge(host, &probed, now));
    }
    let others = known.hosts.iter().filter(|host| !host.name.is_local() && !named.contains(&host.name.to_string()));
    for host in others {
        findings.extend(judge(host, known.probed.get(&host.name).unwrap_or(&Probed::default()), now));
    }
    Ok(findings)
}

fn label(host: &Host) -> String {
    format!("host {}", host.name)
}

/// Judges a host by what was found on it; one finding where all is well.
fn judge(host: &Host, probed: &Probed, now: Timestamp) -> Vec<Finding> {
    let name = &host.name;
    let again = format!("`csync hosts probe {name}`");
    if let Some(failure) = &probed.failure {
        let message = format!("{} ({})", failure.message, ago(failure.at, now));
        return vec![Finding::warning(label(host), message, format!("`csync hosts test {name}`"))];
    }
    let (Some(facts), Some(at)) = (&probed.facts, probed.at) else {
        return vec![Finding::warning(label(host), "it was never looked at", again)];
    };
    let mut findings = Vec::new();
    if now.since(at) > OLD {
        findings.push(Finding::warning(label(host), format!("it was last looked at {}", ago(at, now)), again));
    }
    if !host.transfer_only {
        findings.extend(batch(host, facts));
        findings.extend(scratch(host, facts));
    }
    findings.extend(files(host, facts));
    if let Some(skew) = facts.skew.filter(|skew| skew.seconds.abs() - skew.error > SKEW_MOST) {
        let word = if skew.seconds > 0.0 { "ahead of" } else { "behind" };
        let message = format!("its clock is {} {word} this machine's", duration(skew.seconds.abs()));
        let fix = "set the clock that is wrong (`timedatectl`), or tell the administrators";
        findings.push(Finding::warning(label(host), message, fix));
    }
    if findings.is_empty() {
        let batch = host.batch.map_or_else(
            || "transfers alone".to_owned(),
            |batch| match batch {
                Batch::None => "no batch system".to_owned(),
                other => other.to_string(),
            },
        );
        findings.push(Finding::ok(label(host), format!("{batch}, looked at {}", ago(at, now))));
    }
    findings
}

fn batch(host: &Host, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let found = facts.batch.as_ref().map(crate::model::facts::BatchSystem::flavour);
    match (host.batch.and_then(Batch::flavour), found) {
        (Some(said), found) if found != Some(said) => {
            let there = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
            let message = format!("hosts.toml says {said}, and what was found is {there}");
            findings.push(Finding::problem(label(host), message, format!("correct `batch` of [hosts.{}]", host.name)));
        }
        (Some(_), _) if partitions(host, Some(facts)).is_empty() => {
            let message = "its batch system told of no partition";
            findings.push(Finding::warning(label(host), message, format!("`csync hosts probe {}`", host.name)));
        }
        _ => {}
    }
    let notes = facts.batch.iter().flat_map(|batch| &batch.offers.notes);
    findings.extend(notes.map(|note| {
        Finding::warning(label(host), note.clone(), format!("`csync hosts probe {}` asks again", host.name))
    }));
    findings
}

fn scratch(host: &Host, facts: &Facts) -> Vec<Finding> {
    let line = format!("`scratch = \"/path\"` under [hosts.{}]", host.name);
    let Some(scratch) = host.scratch.as_ref().map(HostPath::as_str) else {
        let message = "no directory was found that jobs could use";
        return vec![Finding::problem(label(host), message, format!("add {line}"))];
    };
    // A path with a variable in it is known to the host alone.
    let Some(candidate) = candidate(facts, scratch) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if candidate.free.is_some_and(|free| free < SPACE_LOW) {
        let free = candidate.free.unwrap_or_default();
        let message = format!("{scratch} has {free} left");
        findings.push(Finding::warning(label(host), message, format!("make room there, or set another {line}")));
    }
    if !candidate.shared && host.batch.and_then(Batch::flavour).is_some() {
        let message = format!("{scratch} is on a disk of the login node ({})", candidate.mount);
        let fix = format!("unless compute nodes see it, set another {line}");
        findings.push(Finding::warning(label(host), message, fix));
    }
    findings
}

/// Returns what was found of the directory that is nearest above a path: another disk may be mounted inside of a first one.
fn candidate<'a>(facts: &'a Facts, path: &str) -> Option<&'a ScratchCandidate> {
    let above = facts.scratch.iter().filter(|candidate| Path::new(path).starts_with(&candidate.path));
    above.max_by_key(|candidate| Path::new(&candidate.path).components().count())
}

fn files(host: &Host, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !facts.tools.is_empty() && !facts.tools.contains_key("tar") {
        let message = "it has no `tar`, by which many files travel as one stream";
        findings.push(Finding::problem(label(host), message, "install tar there, or ask the administrators"));
    }
    for quota in &facts.quotas {
        let Some(limit) = quota.limit.filter(|limit| quota.used.0 as f64 > limit.0 as f64 * QUOTA_MOST) else {
            continue;
        };
        let message = format!("{} of {limit} of the quota on {} are used", quota.used, quota.filesystem);
        let ours = "removes what jobs left and what was brought for them";
        let fix = format!("make room there: `csync clean --on {} --inputs` {ours}", host.name);
        findings.push(Finding::warning(label(host), message, fix));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::{Level, page};
    use crate::cli::view::Paint;
    use crate::model::facts::{ProbeFailure, Quota, Skew};

    const NOW: Timestamp = Timestamp(100 * 86_400_000_000);

    fn host(name: &str) -> Host {
        host_in(name, "/scratch/ada/csync")
    }

    fn host_in(name: &str, scratch: &str) -> Host {
        let scratch = Some(scratch.parse().unwrap());
        Host { batch: Some(Batch::None), scratch, ..Host::new(name.parse().unwrap()) }
    }

    fn facts() -> Facts {
        let scratch = ScratchCandidate {
            path: "/scratch/ada".to_owned(),
            mount: "/".to_owned(),
            free: Some(Bytes::gib(5)),
            ..ScratchCandidate::default()
        };
        Facts { scratch: vec![scratch], tools: [("tar".to_owned(), "1".to_owned())].into(), ..Facts::default() }
    }

    fn seen(facts: Facts) -> Probed {
        Probed { at: Some(NOW), facts: Some(facts), failure: None }
    }

    #[test]
    fn every_trouble_of_a_host_has_its_finding() {
        let failure = Some(ProbeFailure { at: NOW, message: "b cannot be reached".to_owned() });
        let full = ScratchCandidate { free: Some(Bytes::mib(5)), ..facts().scratch[0].clone() };
        let quota = Quota { filesystem: "/u".to_owned(), used: Bytes::gib(99), limit: Some(Bytes::gib(100)) };
        let outer = ScratchCandidate { path: "/scratch".to_owned(), ..full.clone() };
        let late = Skew { seconds: -3600.0, error: 0.1 };
        let findings = [
            judge(&host("a"), &Probed::default(), NOW),
            judge(&host("b"), &Probed { failure, ..Probed::default() }, NOW),
            judge(&host("c"), &Probed { at: Some(Timestamp(0)), ..seen(facts()) }, NOW),
            judge(&Host { batch: Some(Batch::Slurm), ..host("d") }, &seen(facts()), NOW),
            judge(&Host { scratch: None, ..host("e") }, &seen(facts()), NOW),
            judge(&host("f"), &seen(Facts { scratch: vec![full.clone()], quotas: vec![quota], ..facts() }), NOW),
            // Neither a directory whose name begins alike, nor the disk around the one that is used.
            judge(&host_in("f2", "/scratch/ada2"), &seen(Facts { scratch: vec![full.clone()], ..facts() }), NOW),
            judge(&host("f3"), &seen(Facts { scratch: [vec![outer], facts().scratch].concat(), ..facts() }), NOW),
            judge(&host("g"), &seen(Facts { skew: Some(late), ..facts() }), NOW),
            judge(&host("h"), &seen(Facts { tools: [("git".to_owned(), "2".to_owned())].into(), ..facts() }), NOW),
            judge(&host("i"), &seen(facts()), NOW),
        ]
        .concat();
        insta::assert_snapshot!(page(&findings, Paint::new(false)));
    }

    #[test]
    fn a_host_for_transfers_needs_no_scratch() {
        let host = Host { transfer_only: true, scratch: None, batch: None, ..host("nas") };
        let findings = judge(&host, &seen(facts()), NOW);
        assert!(matches!(findings.as_slice(), [only] if only.level == Level::Ok), "{findings:?}");
    }
}
