//! The job directories on a host: what lies there, what may go, and results that were left there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::language::batch::room::one_line;
use crate::language::batch::wrapper::{Whereabouts, parse_whereabouts, whereabouts_script};
use crate::language::quote::sh;
use crate::model::batch::JobName;
use crate::model::host::Host;
use crate::model::id::RunId;
use crate::model::units::{Bytes, Timestamp};
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::stage::StageError;
use crate::reach::transport::{Exec, Remote, Reply, Transport, TransportError};
use crate::serve::site::send::{Ground, ground_of, trees};
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
pub async fn there(way: &Remote, host: &Host, state: &StateDir) -> Result<There, TransportError> {
    let ground = ground_of(host, way).await?;
    let script = list_script(&ground.scratch, &trees(state));
    let reply = way.exec(Exec::new(script).within(Duration::from_mins(5)).printing(64 << 20)).await?;
    succeeded(host.name.as_str(), &ground.scratch, &reply)?;
    let text = String::from_utf8_lossy(&reply.stdout);
    Ok(There { scratch: ground.scratch, ..read(&text) })
}

/// Returns the script that lists what lies in our directory: sizes, times, and what is kept. A directory that goes meanwhile is told
/// by one of the three and not by the others. There may be more of them than an argument list takes.
fn list_script(scratch: &str, trees: &str) -> String {
    format!(
        "cd -- {} || exit 1; du -sk trees/{trees}* trees/???????????????? 2>/dev/null; cd jobs || exit 1\n\
         each() {{ find . -maxdepth 1 -type d -name 'csync-*' -exec \"$@\" {{}} + 2>/dev/null; }}\n\
         each du -sk; printf '%s\\n' --; each stat -c '%Y %n'; printf '%s\\n' --\n\
         for d in */keep; do [ -e \"$d\" ] && printf '%s\\n' \"${{d%/keep}}\"; done; exit 0",
        sh(scratch)
    )
}

/// Makes an error of a script of ours that could not do what it was to do.
pub(super) fn succeeded(host: &str, path: &str, reply: &Reply) -> Result<(), TransportError> {
    if reply.status.is_success() {
        return Ok(());
    }
    let words = one_line(&String::from_utf8_lossy(&reply.stderr));
    let detail = if words.is_empty() { reply.status.to_string() } else { words };
    Err(TransportError::FarFile { host: host.to_owned(), path: path.to_owned(), detail })
}

fn read(text: &str) -> There {
    let mut there = There::default();
    // A line of its own: names may end so.
    let mut lines = text.lines();
    let sizes: Vec<&str> = lines.by_ref().take_while(|line| *line != "--").collect();
    let times: Vec<&str> = lines.by_ref().take_while(|line| *line != "--").collect();
    for line in sizes {
        let Some((size, name)) = line.split_once('\t') else { continue };
        let name = name.strip_prefix("./").unwrap_or(name);
        let bytes = Bytes(size.trim().parse::<u64>().unwrap_or(0) << 10);
        if name.starts_with("trees/") {
            there.inputs.0 += bytes.0;
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
    for line in times {
        let Some((seconds, name)) = line.split_once(' ') else { continue };
        let name = name.strip_prefix("./").unwrap_or(name);
        let at = Timestamp(seconds.parse::<i64>().unwrap_or(0).saturating_mul(1_000_000));
        with(name, &|job| job.at = at);
    }
    for line in lines {
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

/// Removes job directories, and what was brought for jobs where that is wanted, but for these trees and those of other state
/// directories, of which nobody here knows what they keep there; those from before they
/// had whose they are in their names go where no job directory of another is there. Returns the names that are still there.
///
/// # Errors
/// When the host cannot be asked.
pub async fn remove(
    way: &Remote,
    state: &StateDir,
    there: &There,
    names: &[String],
    inputs: Option<&BTreeSet<String>>,
) -> Result<Vec<String>, TransportError> {
    let mut script = format!("cd -- {} || exit 1\n", sh(&there.scratch));
    if let Some(stay) = inputs {
        let stay: Vec<_> = stay.iter().map(|tree| sh(tree)).chain([sh("")]).collect();
        let _infallible = writeln!(
            script,
            "o=; for j in jobs/csync-*; do case $j in jobs/{}*|'jobs/csync-*') ;; *) o=1 ;; esac; done\n\
             for t in trees/*; do n=${{t#trees/}}; case $n in {}) continue ;; {}*) ;; ????????????????) [ -z \"$o\" ] || continue ;; \
             *) continue ;; esac; rm -rf -- \"$t\" \"trees/.$n.brought\" 2>/dev/null; done",
            prefix(state),
            stay.join("|"),
            trees(state)
        );
    }
    // Names go in as they are read, so that any number of them fits.
    script.push_str(
        "cd jobs && while IFS= read -r d; do case $d in csync-*/*|*..*) ;; csync-*) rm -rf -- \"$d\" 2>/dev/null; \
         [ ! -e \"$d\" ] || printf '%s\\n' \"$d\" ;; esac; done",
    );
    let list: String = names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
    let exec = Exec::new(script).within(Duration::from_mins(10));
    // Without names there is nothing to read, and the loop ends at once.
    let reply = way.exec(if list.is_empty() { exec } else { exec.reading(list) }).await?;
    succeeded(way.host(), &there.scratch, &reply)?;
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
    let since = if rest.overwrite { clock::now().after(Duration::from_hours(1)) } else { rest.since };
    collect(way, &ground, &name, &rest.root.to_string_lossy(), since, rest.most).await
}

/// Returns the beginning of the names of a state directory's submissions.
pub fn prefix(state: &StateDir) -> String {
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
        let text = "5\ttrees/0a\n3\ttrees/0b\n4\t./csync-ends--\n12\t./csync-ab-1-0-1\n2048\t./csync-ab-2-0-1\n4\t./csync-bad/name\n--\n\
                    1700000000 ./csync-ab-2-0-1\n5 ./csync-gone-1\n--\ncsync-ab-2-0-1\n";
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
                job("csync-ends--", Bytes(4 << 10), 0, false),
            ]
        );
        assert_eq!(read(""), There::default());
    }

    #[test]
    fn more_directories_than_an_argument_list_takes_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("trees")).unwrap();
        let name = |n: u32| format!("csync-00000000-{n:010}-0000000000-0000000000");
        for n in 0..4_000 {
            std::fs::create_dir_all(dir.path().join("jobs").join(name(n))).unwrap();
        }
        std::fs::write(dir.path().join("jobs").join(name(7)).join("keep"), "").unwrap();
        let script = list_script(dir.path().to_str().unwrap(), "00000000-");
        // The less stack, the shorter an argument list may be: a quarter of it.
        let limited = ["-c", "ulimit -s 640 && exec sh -c \"$0\"", &script];
        let done = std::process::Command::new("/bin/sh").args(limited).output().unwrap();
        let there = read(&String::from_utf8_lossy(&done.stdout));
        assert_eq!(there.jobs.len(), 4_000, "{}", String::from_utf8_lossy(&done.stderr));
        let kept: Vec<&str> = there.jobs.iter().filter(|job| job.keeps_results).map(|job| &*job.name).collect();
        assert_eq!(kept, [name(7)]);
        assert!(there.jobs.iter().all(|job| job.at > Timestamp(0)));
    }

    #[test]
    fn names_say_whose_they_are() {
        let state = StateDir::at("/tmp/x".into(), None);
        let name = format!("{}12-0-1", prefix(&state));
        assert_eq!(run_of(&state, &name), Some(RunId(12)));
        assert_eq!(run_of(&state, "csync-00000000-12-0-1"), None);
    }
}
