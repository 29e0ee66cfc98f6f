//! The job directories on a host: what lies there, what may go, and results that were left there.

use std::path::Path;

use crate::language::batch::wrapper::{Whereabouts, parse_whereabouts, whereabouts_script};
use crate::language::quote::sh;
use crate::model::batch::JobName;
use crate::model::host::Host;
use crate::model::id::RunId;
use crate::model::units::{Bytes, Timestamp};
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::stage::StageError;
use crate::reach::transport::{Exec, Remote, Transport, TransportError};
use crate::serve::site::send::{Ground, ground_of};
use crate::serve::site::tree::{Collected, collect};

/// A job directory on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDirectory {
    /// The submission's name, which is the directory's.
    pub name: String,
    /// What it holds.
    pub bytes: Bytes,
    /// When it was last written to.
    pub at: Timestamp,
    /// Whether results lie there that were not brought back.
    pub keeps_results: bool,
}

/// What lies on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct There {
    /// Where everything of ours lies.
    pub scratch: String,
    /// The job directories, by name.
    pub jobs: Vec<JobDirectory>,
    /// What was brought there for jobs to read.
    pub inputs: Bytes,
}

/// Lists what lies on a host.
///
/// # Errors
/// When the host cannot be asked.
pub async fn there(way: &Remote, host: &Host) -> Result<There, TransportError> {
    let ground = ground_of(host, way).await?;
    // A directory that goes meanwhile is told by one of the three and not by the others.
    let script = format!(
        "cd -- {} || exit 1; du -sk trees 2>/dev/null; cd jobs || exit 1; set -- csync-*; [ -e \"$1\" ] || exit 0\n\
         du -sk -- \"$@\" 2>/dev/null; printf '%s\\n' --; stat -c '%Y %n' -- \"$@\" 2>/dev/null; printf '%s\\n' --\n\
         for d in */keep; do [ -e \"$d\" ] && printf '%s\\n' \"${{d%/keep}}\"; done; exit 0",
        sh(&ground.scratch)
    );
    let reply = way.exec(Exec::new(script).within(std::time::Duration::from_mins(5)).printing(64 << 20)).await?;
    let text = String::from_utf8_lossy(&reply.stdout);
    Ok(There { scratch: ground.scratch, ..read(&text) })
}

fn read(text: &str) -> There {
    let mut there = There::default();
    let mut parts = text.split("--\n");
    let (sizes, times, kept) = (parts.next(), parts.next(), parts.next());
    for line in sizes.unwrap_or_default().lines() {
        let Some((size, name)) = line.split_once('\t') else { continue };
        let bytes = Bytes(size.trim().parse::<u64>().unwrap_or(0) << 10);
        if name == "trees" {
            there.inputs = bytes;
        } else if name.parse::<JobName>().is_ok() {
            let name = name.to_owned();
            there.jobs.push(JobDirectory { name, bytes, at: Timestamp(0), keeps_results: false });
        }
    }
    there.jobs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut with = |name: &str, change: &dyn Fn(&mut JobDirectory)| {
        if let Ok(at) = there.jobs.binary_search_by(|job| job.name.as_str().cmp(name))
            && let Some(job) = there.jobs.get_mut(at)
        {
            change(job);
        }
    };
    for line in times.unwrap_or_default().lines() {
        let Some((seconds, name)) = line.split_once(' ') else { continue };
        let at = Timestamp(seconds.parse::<i64>().unwrap_or(0).saturating_mul(1_000_000));
        with(name, &|job| job.at = at);
    }
    for line in kept.unwrap_or_default().lines() {
        with(line, &|job| job.keeps_results = true);
    }
    there
}

/// Asks where a member of a submission runs; none where it has not started.
///
/// # Errors
/// When the host cannot be asked.
pub async fn whereabouts(
    way: &Remote,
    host: &Host,
    submission: &str,
    index: u32,
) -> Result<Option<Whereabouts>, TransportError> {
    let ground = ground_of(host, way).await?;
    let directory = format!("{}/jobs/{submission}/{index}", ground.scratch);
    let reply = way.exec(Exec::new(whereabouts_script(&directory))).await?;
    Ok(parse_whereabouts(&String::from_utf8_lossy(&reply.stdout)))
}

/// Removes job directories, and what was brought for jobs where that is wanted. Returns the names that are still there.
///
/// # Errors
/// When the host cannot be asked.
pub async fn remove(
    way: &Remote,
    there: &There,
    names: &[String],
    inputs: bool,
) -> Result<Vec<String>, TransportError> {
    let mut script = format!("cd -- {} || exit 1\n", sh(&there.scratch));
    if inputs {
        script.push_str("rm -rf -- trees/* 2>/dev/null\n");
    }
    // Names go in as they are read, so that any number of them fits.
    script.push_str(
        "cd jobs && while IFS= read -r d; do case $d in csync-*/*|*..*) ;; csync-*) rm -rf -- \"$d\" 2>/dev/null; \
         [ ! -e \"$d\" ] || printf '%s\\n' \"$d\" ;; esac; done",
    );
    let list: String = names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
    let exec = Exec::new(script).within(std::time::Duration::from_mins(10));
    // Without names there is nothing to read, and the loop ends at once.
    let reply = way.exec(if list.is_empty() { exec } else { exec.reading(list) }).await?;
    Ok(String::from_utf8_lossy(&reply.stdout).lines().map(str::to_owned).collect())
}

/// What is brought of what was left.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'a> {
    /// Where it goes.
    pub root: &'a Path,
    /// When the run was submitted.
    pub since: Timestamp,
    /// Whether files that were changed here since are replaced.
    pub overwrite: bool,
    /// Most that is brought.
    pub most: Bytes,
}

/// Brings back what was left in a job directory.
///
/// # Errors
/// When the host cannot be asked, or a file cannot be written here.
pub async fn bring_rest(way: &Remote, there: &There, name: &str, rest: Rest<'_>) -> Result<Collected, StageError> {
    let ground = Ground { scratch: there.scratch.clone() };
    let bad = |_| StageError::Name { name: name.to_owned(), why: "it is no job directory" };
    let name: JobName = name.parse().map_err(bad)?;
    // What is written in the next hour was not written since.
    let since = if rest.overwrite { clock::now().after(std::time::Duration::from_hours(1)) } else { rest.since };
    collect(way, &ground, &name, &rest.root.to_string_lossy(), since, rest.most).await
}

/// Returns the beginning of the names of a state directory's submissions.
pub(super) fn prefix(state: &StateDir) -> String {
    let id = state.id();
    format!("csync-{}-", id.get(..8).unwrap_or(&id))
}

/// Returns the run that a job directory is of; none where it is another state directory's.
pub fn run_of(state: &StateDir, name: &str) -> Option<RunId> {
    name.strip_prefix(&prefix(state))?.split('-').next()?.parse().ok().map(RunId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_there_is_read() {
        let text = "8\ttrees\n12\tcsync-ab-1-0-1\n2048\tcsync-ab-2-0-1\n4\tcsync-bad/name\n--\n\
                    1700000000 csync-ab-2-0-1\n5 csync-gone-1\n--\ncsync-ab-2-0-1\n";
        let there = read(text);
        assert_eq!(there.inputs, Bytes(8 << 10));
        let job = |name: &str, bytes, at, keeps_results| JobDirectory {
            name: name.to_owned(),
            bytes,
            at: Timestamp(at),
            keeps_results,
        };
        assert_eq!(
            there.jobs,
            [
                job("csync-ab-1-0-1", Bytes(12 << 10), 0, false),
                job("csync-ab-2-0-1", Bytes::mib(2), 1_700_000_000_000_000, true),
            ]
        );
        assert_eq!(read(""), There::default());
    }

    #[test]
    fn names_say_whose_they_are() {
        let state = StateDir::at("/tmp/x".into(), None);
        let name = format!("{}12-0-1", prefix(&state));
        assert_eq!(run_of(&state, &name), Some(RunId(12)));
        assert_eq!(run_of(&state, "csync-00000000-12-0-1"), None);
    }
}
