//! What is over, cleared away: on its own, since the files of ten thousand jobs take longer than a look may.

use std::fmt::Write as _;
use std::time::Duration;

use crate::language::quote::sh;
use crate::model::batch::JobName;
use crate::reach::transport::{Exec, Transport, TransportError};
use crate::serve::site::Means;
use crate::serve::site::send::Ground;

/// How long it may take. What was cut off is gone on with.
const CLEARING: Duration = Duration::from_mins(30);

/// Most submissions that are cleared away by one command.
pub(super) const MOST: usize = 100;

/// Removes submissions from a host; returns those that are gone, or whose results nobody has yet.
pub(super) async fn clear(
    means: &Means,
    ground: &Ground,
    closing: Vec<JobName>,
) -> Result<Vec<JobName>, TransportError> {
    let exec = Exec::new(script(means.dialect.is_none(), ground, &closing)).within(CLEARING);
    let reply = means.way().await?.exec(exec).await?;
    let text = String::from_utf8_lossy(&reply.stdout);
    let left: Vec<&str> = text.lines().collect();
    let ran = reply.status.is_success();
    Ok(closing.into_iter().filter(|name| ran && !left.contains(&name.as_str())).collect())
}

/// Returns the script, which prints what it could not remove. Without a batch system nobody else ends what still runs of it, wherever
/// that went.
fn script(alone: bool, ground: &Ground, closing: &[JobName]) -> String {
    let mut script = format!("cd -- {} || exit 1\n", sh(&ground.scratch));
    if alone {
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
        "for n in {}; do [ -e \"jobs/$n/keep\" ] || rm -rf -- \"jobs/$n\" || echo \"$n\"; done; exit 0",
        names.join(" ")
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
        let text = script(true, &Ground { scratch }, &[name(0), name(1), name(2), name(9)]);
        let done = Command::new("/bin/sh").args(["-c", &text]).output().unwrap();
        assert_eq!((done.status.code(), done.stdout.as_slice()), (Some(0), &b""[..]), "{done:?}");
        assert!(!left.wait().unwrap().success(), "it was ended");
        let mut there: Vec<_> =
            fs::read_dir(dir.path().join("jobs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        there.sort();
        assert_eq!(there, [name(1).as_str(), name(3).as_str()]);
    }
}
