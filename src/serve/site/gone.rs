//! Submissions that nobody on the host can run or tell of any more: a clean-up of scratch took their files.

use std::fmt::Write as _;

use crate::language::quote::sh;
use crate::model::batch::JobName;
use crate::serve::site::send::Ground;

/// The directory of a job is not there any more, or has nothing in it that runs it.
pub(super) const REMOVED: &str = "its job directory on the host is gone, or files in it are: somebody, or a clean-up of scratch, removed \
                                  them while it ran; `csync retry` runs it again, and `scratch` of the host in hosts.toml names another place";

/// Says that the directory of an output is not there any more.
pub(super) fn without(dir: &str) -> String {
    format!(
        "the directory of its output, {}, was removed while it ran: by itself, somebody, or a clean-up of scratch; `csync retry` runs \
         it again, and `scratch` of the host in hosts.toml names another place",
        dir.escape_debug()
    )
}

/// Says whether anything of a submission lives whose wrapper cannot be asked: what starts members where there is no batch system, or
/// a member. Where processes cannot be looked at, something may.
const LIVES: &str = r#"csync_lives() {
[ -d "jobs/$1/crew" ] || return 1
[ -r /proc/self/cmdline ] && [ -r /proc/self/environ ] || return 0
{ read -r csync_pid csync_rest <"jobs/$1/crew/process"; } 2>/dev/null &&
tr '\0' ' ' 2>/dev/null <"/proc/$csync_pid/cmdline" | grep -qsF "jobs/$1/wrapper.sh crew " && return 0
grep -qsF "CSYNC_MEMBER=$2/jobs/$1/" /proc/[0-9]*/environ
}
"#;

/// Returns the script that prints the names of those of which nothing is there that runs them; to be run where `jobs` is.
pub(super) fn script<'a>(ground: &Ground, names: impl Iterator<Item = &'a JobName>) -> String {
    let names: Vec<&str> = names.map(JobName::as_str).collect();
    let mut script = LIVES.to_owned();
    let _infallible = writeln!(
        script,
        "for n in {}; do [ -e \"jobs/$n/wrapper.sh\" ] || csync_lives \"$n\" {} || echo \"$n\"; done",
        names.join(" "),
        sh(&ground.scratch)
    );
    script
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Child, Command};

    use super::*;

    /// Starts something that is called so, with this variable.
    fn process(args: &[&str], mark: &str) -> Child {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read -r _; exit 0 # $*"])
            .args(args)
            .env("CSYNC_MEMBER", mark)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let environ = format!("/proc/{}/environ", child.id());
        while !String::from_utf8_lossy(&fs::read(&environ).unwrap()).contains("CSYNC_MEMBER=") {
            std::thread::yield_now();
        }
        assert!(child.try_wait().unwrap().is_none());
        child
    }

    #[test]
    fn what_nothing_runs_any_more_is_gone_and_what_lives_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let ground = Ground { scratch: dir.path().to_str().unwrap().to_owned() };
        let names: Vec<JobName> = (0..6).map(|n| format!("csync-00000000-{n}-0-1").parse().unwrap()).collect();
        let path = |n: usize, file: &str| dir.path().join(format!("jobs/{}/{file}", names[n]));
        for n in 0..5 {
            fs::create_dir_all(path(n, "1")).unwrap();
        }
        for n in 1..5 {
            fs::create_dir(path(n, "crew")).unwrap();
        }
        // All is there; nothing but what started it, which has left; that lives; a member lives; another process has its number; nothing.
        fs::write(path(0, "wrapper.sh"), "").unwrap();
        fs::write(path(1, "crew/process"), "999999999 1 x\n").unwrap();
        let wrapper = path(2, "wrapper.sh").to_str().unwrap().to_owned();
        let mut crew = process(&[&wrapper, "crew", &ground.submission(&names[2]), "1"], "");
        fs::write(path(2, "crew/process"), format!("{} 1 x\n", crew.id())).unwrap();
        fs::write(path(4, "crew/process"), format!("{} 1 x\n", crew.id())).unwrap();
        let mut member = process(&[], &format!("{}/1:5:6", ground.submission(&names[3])));
        let gone = || {
            let told = Command::new("/bin/sh").current_dir(&dir).args(["-c", &script(&ground, names.iter())]).output();
            let told = told.unwrap();
            assert!(told.status.success() && told.stderr.is_empty(), "{told:?}");
            String::from_utf8(told.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let of = |those: &[usize]| those.iter().map(|&n| names[n].as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(gone(), of(&[1, 4, 5]));
        for child in [&mut crew, &mut member] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(gone(), of(&[1, 2, 3, 4, 5]));
    }
}
