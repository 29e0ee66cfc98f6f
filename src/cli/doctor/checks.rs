//! The checks that only look.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, getrlimit};

use crate::cli::doctor::Finding;
use crate::cli::errors::Failure;
use crate::cli::hook::crowded;
use crate::cli::profile::{Depth, Looked, look, mends};
use crate::cli::view::words::{clock as wall_clock, many, shell_word};
use crate::model::units::{Bytes, Timestamp};
use crate::reach::client::Client;
use crate::reach::config::StateDir;
use crate::reach::learned::Place;
use crate::reach::{advice, clock, machine};
use crate::serve::host::held_elsewhere;

/// Least room on the disk of the state directory: below it runs end badly, and with little above it soon.
const SPACE_LEAST: Bytes = Bytes::mib(100);
const SPACE_LOW: Bytes = Bytes::gib(1);

/// Open files that the engine and worker can need at once.
const OPEN_FILES: u64 = 1024;

/// Whether the state directory can be made and written.
pub(super) fn state_dir(state_dir: &StateDir) -> Finding {
    const CHECK: &str = "state directory";
    let root = state_dir.root();
    let shown = root.display();
    let fix = format!(
        "make it writable (`ls -ld {}`), or use another: `export CSYNC_STATE=/path`",
        shell_word(&shown.to_string())
    );
    if let Err(error) = state_dir.create() {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        return Finding::problem(CHECK, format!("{error}{source}"), fix);
    }
    let probe = root.join(".doctor");
    let wrote = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&probe)
        .and_then(|mut file| file.write_all(b"probe"));
    drop(std::fs::remove_file(&probe));
    match wrote {
        Ok(()) => Finding::ok(CHECK, format!("{shown} can be written")),
        Err(error) => Finding::problem(CHECK, format!("{shown} cannot be written: {error}"), fix),
    }
}

/// Whether the state directory lies where databases and locks work.
pub(super) fn filesystem(state_dir: &StateDir) -> Finding {
    const CHECK: &str = "filesystem";
    if state_dir.is_on_network_filesystem() {
        Finding::warning(
            CHECK,
            "the state directory lies on a network filesystem: csync is slower there, and only one machine may use it at a time",
            "use a local disk: `export CSYNC_STATE=/var/tmp/$USER/csync`",
        )
    } else {
        Finding::ok(CHECK, "the state directory is on a local disk")
    }
}

/// Whether there is room for logs and the database.
pub(super) fn space(state_dir: &StateDir) -> Finding {
    const CHECK: &str = "disk space";
    let free = match rustix::fs::statvfs(state_dir.root()) {
        Ok(stat) => Bytes(stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => return Finding::warning(CHECK, format!("cannot be read: {error}"), "`df -h` shows it"),
    };
    let fix = "make room: `csync clean --older-than 30d` removes the logs of old runs";
    if free < SPACE_LEAST {
        Finding::problem(CHECK, format!("only {free} are left beside the state directory"), fix)
    } else if free < SPACE_LOW {
        Finding::warning(CHECK, format!("{free} are left beside the state directory"), fix)
    } else {
        Finding::ok(CHECK, format!("{free} are free beside the state directory"))
    }
}

/// Whether the hooks of coding agents look in an index that has all; nothing where it does, or there is none.
pub(super) fn index(state_dir: &StateDir) -> Option<Finding> {
    let (message, fix) = crowded(advice::cut(state_dir.root())?);
    Some(Finding::warning("hook", message, fix))
}

/// Where the sockets are, and whether one can be there.
pub(super) fn sockets(state_dir: &StateDir) -> Finding {
    const CHECK: &str = "sockets";
    let socket = state_dir.engine_socket();
    let dir = socket.parent().unwrap_or(Path::new("/"));
    let probe = dir.join(".doctor.sock");
    let bound = std::os::unix::net::UnixListener::bind(&probe);
    drop(std::fs::remove_file(&probe));
    match bound {
        Ok(_) => Finding::ok(CHECK, dir.display().to_string()),
        Err(error) => Finding::problem(
            CHECK,
            format!("no socket can be made in {}: {error}", dir.display()),
            "use a local disk: `export CSYNC_STATE=/var/tmp/$USER/csync`",
        ),
    }
}

/// Who answers, and its worker.
pub(super) fn engine(state_dir: &StateDir, found: Result<Option<Client>, Failure>) -> Vec<Finding> {
    const CHECK: &str = "engine";
    let client = match found {
        Ok(Some(client)) => client,
        Ok(None) => return vec![Finding::ok(CHECK, "not running; it starts when it is needed")],
        Err(failure) => {
            if let Some(held) = held_elsewhere(state_dir) {
                return vec![Finding::problem(CHECK, held.message, held.hint.unwrap_or_default())];
            }
            let log = state_dir.engine_log();
            let holder = std::fs::read_to_string(state_dir.engine_lock()).unwrap_or_default();
            let fix = match holder.split_whitespace().next() {
                Some(pid) => {
                    format!("read {}; `kill {pid}` ends it, and the next engine goes on with its runs", log.display())
                }
                None => format!("read {}", log.display()),
            };
            return vec![Finding::problem(CHECK, failure.to_string(), fix)];
        }
    };
    let info = client.info();
    let engine = if client.is_ours() {
        Finding::ok(CHECK, format!("csync {}, process {}", info.version, info.pid))
    } else {
        let ours = env!("CARGO_PKG_VERSION");
        Finding::warning(
            CHECK,
            format!("is csync {}, this is {ours}", info.version),
            "`csync engine restart`; live runs go on",
        )
    };
    let worker = match info.local.worker_pid {
        Some(pid) => Finding::ok("worker", format!("process {pid}, {}", many(info.local.running, "running job"))),
        None => Finding::ok("worker", "not running; the first job starts it"),
    };
    vec![engine, worker]
}

/// Whether `run = "..."` can run.
pub(super) fn bash() -> Finding {
    const CHECK: &str = "bash";
    let fix = "install it: `sudo apt-get install bash`";
    let asked = Command::new("bash").args(["--noprofile", "--norc", "-c", "echo \"$BASH_VERSION\""]).output();
    let version = match asked {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(output) => return Finding::problem(CHECK, format!("does not start: {}", output.status), fix),
        Err(error) => return Finding::problem(CHECK, format!("is not to be found on PATH: {error}"), fix),
    };
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= 4 => Finding::ok(CHECK, version),
        _ => Finding::warning(CHECK, format!("{version} is old; tasks run in strict mode, which needs 4.4"), fix),
    }
}

/// Whether enough files can be open at once.
pub(super) fn open_files() -> Finding {
    const CHECK: &str = "open files";
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current else { return Finding::ok(CHECK, "unlimited") };
    if soft >= OPEN_FILES {
        return Finding::ok(CHECK, format!("{soft} at once"));
    }
    let hard = limit.maximum.unwrap_or(OPEN_FILES).min(4096);
    Finding::warning(
        CHECK,
        format!("this shell allows {soft} at once; a machine with many cores needs more"),
        format!("`ulimit -n {hard}`, then `csync engine restart`"),
    )
}

/// What tasks may use.
pub(super) fn machine() -> Finding {
    const CHECK: &str = "machine";
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (cpus, mem) = (set("CSYNC_CPUS"), set("CSYNC_MEM"));
    if let Some(bad) = cpus.as_ref().filter(|cpus| cpus.parse::<u32>().is_err()) {
        return Finding::problem(CHECK, format!("CSYNC_CPUS is `{bad}`, which is no number"), "`unset CSYNC_CPUS`");
    }
    if let Some(bad) = mem.as_ref().filter(|mem| mem.parse::<Bytes>().is_err()) {
        return Finding::problem(
            CHECK,
            format!("CSYNC_MEM is `{bad}`, which is no amount of memory"),
            "`unset CSYNC_MEM`",
        );
    }
    let room = machine::room(cpus.and_then(|cpus| cpus.parse().ok()), mem.and_then(|mem| mem.parse().ok()));
    Finding::ok(CHECK, format!("tasks may use {} and {} of memory", many(room.cpus, "core"), room.mem))
}

/// What was learned; none where nothing was. Work goes on without it.
pub(super) async fn learned(state_dir: &StateDir) -> Option<Finding> {
    const CHECK: &str = "what was learned";
    Some(match look(&Place::of(state_dir), Depth::Records).await {
        Ok(looked) => match looked? {
            Looked { records, damaged: 0 } => Finding::ok(CHECK, format!("{} can be read", many(records, "record"))),
            Looked { damaged, .. } => {
                let are = if damaged == 1 { "is" } else { "are" };
                let fix = "runs teach it anew, or `csync profile import`; the next change of keys drops them";
                Finding::warning(CHECK, format!("{} {are} damaged and left out", many(damaged, "record")), fix)
            }
        },
        Err(error) => {
            let message = format!("it is of no use: {error}");
            Finding::warning(CHECK, message, mends(&error))
        }
    })
}

/// How memory of tasks is measured.
pub(super) fn control_groups() -> Finding {
    const CHECK: &str = "control groups";
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let procs = Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/')).join("cgroup.procs");
    let ours = rustix::fs::access(&procs, rustix::fs::Access::WRITE_OK).is_ok();
    let how = match (unified, ours) {
        (true, true) => "version 2, ours to write",
        (true, false) => "version 2, not ours to write",
        (false, _) => "none of version 2",
    };
    Finding::ok(CHECK, format!("{how}; usage is measured from /proc"))
}

/// Whether the clock stands where it stood.
pub(super) fn clock(state_dir: &StateDir) -> Finding {
    const CHECK: &str = "clock";
    let now = clock::now();
    let written = std::fs::metadata(state_dir.database()).and_then(|meta| meta.modified()).ok();
    let written = written.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let written = written.and_then(|since| i64::try_from(since.as_micros()).ok()).map(Timestamp);
    match written {
        Some(written) if written.since(now).as_secs() > 60 => Finding::warning(
            CHECK,
            format!("the database was written at {}, which is yet to come: the clock went back", wall_clock(written)),
            "`date` shows the clock; times of runs around the jump are wrong, results are not",
        ),
        _ => Finding::ok(CHECK, wall_clock(now)),
    }
}
