//! Submissions of which nobody heard whether they went out: the engine was killed, or the connection lost, while they were on their
//! way. A look finds out, and sees to it that what it did not find there never begins.

use std::collections::HashSet;

use crate::model::batch::{BatchId, JobName, Queue};
use crate::serve::site::Means;
use crate::serve::site::desk::Live;
use crate::serve::site::tick::Heard;

/// The id of what was started on a host without a batch system. Without an id, nobody knows yet whether it was.
const STARTED: &str = "started";

/// Prints the names of those that went out. A submission says so in its directory before anything of it begins. Where that is not said,
/// a file takes the directory's place: a command that is still on its way can make no directory there, nor say that it went out, and
/// begins nothing. Whoever said so in that very moment has its directory back.
const LOOK: &str = r#"[ -e "jobs/$n/submitting" ] || {
rm -rf "jobs/.void-$n"; mv "jobs/$n" "jobs/.void-$n"; true >"jobs/$n"
if [ -e "jobs/.void-$n/submitting" ]; then rm -f "jobs/$n" && mv "jobs/.void-$n" "jobs/$n"; else rm -rf "jobs/.void-$n"; fi
} 2>/dev/null
[ ! -e "jobs/$n/submitting" ] || echo "$n"
"#;

/// Returns the id of what was started on a host without a batch system.
pub(super) fn started() -> BatchId {
    BatchId(STARTED.to_owned())
}

/// Returns the script that prints the names of those that went out, of these; to be run where `jobs` is.
pub(super) fn script<'a>(names: impl Iterator<Item = &'a JobName>) -> String {
    let names: Vec<&str> = names.map(JobName::as_str).collect();
    if names.is_empty() { String::new() } else { format!("for n in {}; do\n{LOOK}done\n", names.join(" ")) }
}

/// Finds out whether a submission went out, by the names of those that say so and the batch system's queue.
pub(super) fn decide(means: &Means, live: &Live, queue: Option<&Queue>, out: &HashSet<&str>, heard: &mut Heard) {
    let name = &live.sent.name;
    let is_out = out.contains(name.as_str());
    if means.dialect.is_none() {
        // What starts members starts them once, however often it is told to.
        if is_out {
            heard.found.push((name.clone(), Some(started())));
        } else {
            heard.never_sent.push(name.clone());
        }
        return;
    }
    // Without an answer nothing is known.
    let Some(queue) = queue else { return };
    match queue.named(name).next() {
        Some(job) => heard.found.push((name.clone(), Some(job.id.clone()))),
        None if !is_out => heard.never_sent.push(name.clone()),
        // It may be over already: its records tell, once they are asked for.
        None => heard.found.push((name.clone(), None)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    fn name(n: u32) -> JobName {
        format!("csync-00000000-{n}-0-1").parse().unwrap()
    }

    fn sh(dir: &Path, script: &str) -> Output {
        Command::new("/bin/sh").current_dir(dir).args(["-c", script]).output().unwrap()
    }

    #[test]
    fn of_several_each_is_told_by_its_own_name_and_what_was_not_out_never_is() {
        let dir = tempfile::tempdir().unwrap();
        let job = |n: u32| dir.path().join(format!("jobs/{}", name(n)));
        // One that is out, one whose files are on their way, one of which nothing is there.
        for n in [1, 2] {
            fs::create_dir_all(job(n).join("1")).unwrap();
        }
        fs::write(job(1).join("submitting"), "").unwrap();
        let all = [name(1), name(2), name(3)];
        for _ in 0..2 {
            let told = sh(dir.path(), &script(all.iter()));
            assert_eq!(String::from_utf8_lossy(&told.stdout), format!("{}\n", name(1)), "{told:?}");
            assert!(told.stderr.is_empty(), "{told:?}");
        }
        assert!(job(1).join("1").is_dir(), "it was left alone");
        // What the commands that were on their way would do next.
        for (n, step) in [(2, "true >\"$d/submitting\""), (3, "mkdir -- \"$d\"")] {
            let went = sh(dir.path(), &format!("d={}; {step}", job(n).display()));
            assert!(!went.status.success(), "{n} goes on: {went:?}");
        }
        let mut left: Vec<String> = fs::read_dir(dir.path().join("jobs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
            .collect();
        left.sort();
        assert_eq!(left, all.map(|name| name.as_str().to_owned()), "nothing else is left");
        assert!(script([].iter()).is_empty());
    }
}
