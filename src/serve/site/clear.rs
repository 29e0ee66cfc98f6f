//! What is over, cleared away: on its own, since the files of ten thousand jobs take longer than a look may.

use std::fmt::Write as _;
use std::time::Duration;

use crate::language::quote::sh;
use crate::model::batch::{Flavour, JobName};
use crate::reach::transport::{Exec, Transport, TransportError};
use crate::serve::site::Means;
use crate::serve::site::boxes::Boxes;
use crate::serve::site::halves::daily;
use crate::serve::site::send::{Ground, trees};

/// How long it may take. What was cut off is gone on with.
const CLEARING: Duration = Duration::from_mins(30);

/// Most submissions that are cleared away by one command.
pub(super) const MOST: usize = 100;

/// Removes submissions from a host, with the containers that they are named with; returns those that are gone, or whose results
/// nobody has yet.
pub(super) async fn clear(
    means: &Means,
    ground: &Ground,
    boxes: &Boxes,
    with_containers: Vec<(JobName, Vec<String>)>,
) -> Result<Vec<JobName>, TransportError> {
    let mut closing = Vec::with_capacity(with_containers.len());
    for (name, containers) in with_containers {
        // What still runs in one may write: it goes first.
        let discarded = if containers.is_empty() { Ok(()) } else { boxes.remove_left(means, &containers).await };
        match discarded {
            Ok(()) => closing.push(name),
            Err(error) => {
                tracing::info!(host = %means.host.name, %name, %error, "its containers cannot be removed now");
            }
        }
    }
    if closing.is_empty() {
        return Ok(closing);
    }
    let flavour = means.dialect.as_ref().map(|dialect| dialect.flavour);
    let exec = Exec::new(script(flavour, ground, &closing, &trees(&means.state))).within(CLEARING);
    let reply = means.way().await?.exec(exec).await?;
    let text = String::from_utf8_lossy(&reply.stdout);
    let left: Vec<&str> = text.lines().collect();
    let ran = reply.status.is_success();
    Ok(closing.into_iter().filter(|name| ran && !left.contains(&name.as_str())).collect())
}

/// Says whether PBS has yet to bring what a member printed, which it does once the member has ended: where it finds no directory it
/// keeps the job for a minute or more, and what was printed for good. What it did not bring within some 20 s it does not: its node is
/// lost. A find without fractions of minutes says nothing, and nothing is awaited.
const AWAITED: &str = r#"awaited() {
for s in "jobs/$1"/[0-9]*/status; do
i=${s%/status}; i=${i##*/}
[ ! -e "$s" ] || [ -e "jobs/$1/batch.log" ] || [ -e "jobs/$1/batch.log.$i" ] || ! grep -q '^state=ended' "$s" ||
[ -z "$(find "$s" -mmin -0.3 2>/dev/null)" ] || return 0
done
return 1
}
"#;

/// Returns the script, which prints what it could not remove. Without a batch system nobody else ends what still runs of it, wherever
/// that went.
fn script(flavour: Option<Flavour>, ground: &Ground, closing: &[JobName], trees: &str) -> String {
    let mut script = format!("cd -- {} || exit 1\n", sh(&ground.scratch));
    script.push_str(if flavour == Some(Flavour::Pbs) { AWAITED } else { "awaited() { return 1; }\n" });
    if flavour.is_none() {
        let marks: Vec<String> = closing
            .iter()
            .map(|name| format!("-e {}", sh(&format!("CSYNC_MEMBER={}/", ground.submission(name)))))
            .collect();
        let _infallible = writeln!(
            script,
            "for f in $(grep -slF {} /proc/[0-9]*/environ); do p=${{f#/proc/}}; kill -9 \"${{p%/environ}}\" 2>/dev/null; done",
            marks.join(" ")
        );
    }
    // What holds results that nobody has yet stays.
    let names: Vec<&str> = closing.iter().map(JobName::as_str).collect();
    let _infallible = write!(
        script,
        "for n in {}; do [ -e \"jobs/$n/keep\" ] || if awaited \"$n\"; then echo \"$n\"; else rm -rf -- \"jobs/$n\" || echo \"$n\"; fi; done\n{}exit 0",
        names.join(" "),
        daily(trees)
    );
    script
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_over_goes_and_what_holds_results_stays() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().to_str().unwrap().to_owned();
        let name = |n: u32| format!("csync-00000000-{n}-0-1").parse::<JobName>().unwrap();
        for n in 0..4 {
            fs::create_dir_all(dir.path().join(format!("jobs/{}/1", name(n)))).unwrap();
        }
        fs::write(dir.path().join(format!("jobs/{}/keep", name(1))), "").unwrap();
        // Marked as a job is, and in a session of its own.
        let mark = format!("CSYNC_MEMBER={scratch}/jobs/{}/1:5:6", name(0));
        let mut left = Command::new("setsid").args(["env", &mark, "sleep", "1000"]).spawn().unwrap();
        let comm = format!("/proc/{}/comm", left.id());
        while fs::read_to_string(&comm).unwrap() != "sleep\n" {
            std::thread::yield_now();
        }
        let text = script(None, &Ground { scratch }, &[name(0), name(1), name(2), name(9)], "ab-");
        let done = Command::new("/bin/sh").args(["-c", &text]).output().unwrap();
        assert_eq!((done.status.code(), done.stdout.as_slice()), (Some(0), &b""[..]), "{done:?}");
        assert!(!left.wait().unwrap().success(), "it was ended");
        let mut there: Vec<_> =
            fs::read_dir(dir.path().join("jobs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        there.sort();
        assert_eq!(there, [name(1).as_str(), name(3).as_str()]);
    }

    #[test]
    fn what_pbs_still_writes_to_stays_until_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().to_str().unwrap().to_owned();
        let name = |n: u32| format!("csync-00000000-{n}-0-1").parse::<JobName>().unwrap();
        let member = |n: u32, index: u32, state: &str| {
            let path = dir.path().join(format!("jobs/{}/{index}", name(n)));
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("status"), format!("csync=1\nstate={state}\n")).unwrap();
            path
        };
        // Nothing was brought; that of one of two; all; one that was lost with its node; one of long ago; none that began.
        member(0, 1, "ended");
        member(1, 1, "ended");
        member(1, 2, "ended");
        fs::write(dir.path().join(format!("jobs/{}/batch.log.2", name(1))), "").unwrap();
        let one = member(2, 1, "ended");
        fs::write(one.with_file_name("batch.log"), "").unwrap();
        member(3, 1, "started");
        let old = fs::File::options().write(true).open(member(4, 1, "ended").join("status")).unwrap();
        let now = old.metadata().unwrap().modified().unwrap();
        old.set_modified(now - Duration::from_mins(2)).unwrap();
        fs::create_dir_all(dir.path().join(format!("jobs/{}/1", name(5)))).unwrap();
        let all: Vec<JobName> = (0..6).map(name).collect();
        for (flavour, stays) in [(Flavour::Pbs, &all[..2]), (Flavour::Slurm, &[])] {
            let text = script(Some(flavour), &Ground { scratch: scratch.clone() }, &all, "ab-");
            let done = Command::new("/bin/sh").args(["-c", &text]).output().unwrap();
            let told = String::from_utf8_lossy(&done.stdout).into_owned();
            let stays: Vec<&str> = stays.iter().map(JobName::as_str).collect();
            assert_eq!((done.status.code(), told.lines().collect::<Vec<_>>()), (Some(0), stays.clone()), "{done:?}");
            assert_eq!(fs::read_dir(dir.path().join("jobs")).unwrap().count(), stays.len());
        }
    }
}
