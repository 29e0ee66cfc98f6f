//! `csync box`: what a task's prelude starts to run a command by this machine's Docker or Podman; hidden.
//!
//! It stands in the place of the command: what the container prints it prints, signals it passes on, and it ends as the
//! container does. What a container used it leaves in a file for the worker, which sees no process of it.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::model::units::Bytes;
use crate::reach::docker::{Daemon, DockerError, Left, Over, Spec};
use crate::reach::executor::wire::{VAR_DETACHED, VAR_JOB, VAR_RECORD, VAR_STATE};

/// Signals that are passed on.
const SIGNALS: [(SignalKind, &str); 6] = [
    (SignalKind::terminate(), "TERM"),
    (SignalKind::interrupt(), "INT"),
    (SignalKind::hangup(), "HUP"),
    (SignalKind::user_defined1(), "USR1"),
    (SignalKind::user_defined2(), "USR2"),
    (SignalKind::from_raw(24), "XCPU"),
];

/// How often, and after which pause, a daemon that went away is looked for.
const AGAIN: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Variables that go in besides those that were declared: csync's own, and what the batch system granted. As the prelude has them.
const VARIABLES: [&str; 19] = [
    "CSYNC_RUN",
    "CSYNC_TASK",
    "CSYNC_JOB",
    "CSYNC_STATE_ID",
    "CSYNC_MEMBER",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "SLURM_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_CPUS_PER_TASK",
    "PBS_JOBID",
    "PBS_ARRAY_INDEX",
    "JOB_ID",
    "SGE_TASK_ID",
    "NSLOTS",
    "LANG",
    "TZ",
];

/// Exit code where the container could not be started.
const NOT_STARTED: u8 = 125;

/// Run a command in a container of this machine's daemon
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is to be done: run, load, has, remove
    pub action: String,
    /// The daemon's socket
    pub socket: String,
    /// The image, the file, or the container, and what belongs to it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

impl Args {
    /// Reads the arguments without making the whole command line: it is started for every task.
    pub(super) fn alone(args: &[OsString]) -> Option<Self> {
        let mut args = args.iter().skip(1);
        (args.next()? == "box").then_some(())?;
        let mut text = || args.next()?.to_str().map(str::to_owned).filter(|word| !word.starts_with('-'));
        let (action, socket) = (text()?, text()?);
        Some(Self { action, socket, words: args.cloned().collect() })
    }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let words: Vec<String> = args.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let first = words.first().cloned().ok_or_else(|| Failure::usage("nothing is named"))?;
    let done = context.block_on(async {
        Ok(match args.action.as_str() {
            "run" => task(&args.socket, first, words.get(1..).unwrap_or_default()).await,
            "load" => load(&args.socket, &first).await.map(|name| println_of(&name)),
            "has" => has(&args.socket, &first).await,
            "remove" => remove(&args.socket, &first).await,
            other => return Err(Failure::usage(format!("there is no action `{other}`"))),
        })
    })?;
    done.or_else(|error| {
        context.say(&format!("csync: {}", words_of(&error)));
        Ok(Exit::Command(NOT_STARTED))
    })
}

/// Says what did not go, and what would help.
fn words_of(error: &DockerError) -> String {
    let failure = crate::cli::boxes::failed(error);
    let json = failure.to_json();
    let hint = json.get("hint").and_then(|hint| hint.as_str()).map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{error}{hint}")
}

fn println_of(name: &str) -> Exit {
    // Whoever does not read it does not want it.
    drop(writeln!(std::io::stdout(), "Loaded image: {name}"));
    Exit::Success
}

async fn load(socket: &str, file: &str) -> Result<String, DockerError> {
    let daemon = Daemon::at(socket).await?;
    let refused =
        |detail: String| DockerError::Refused { host: daemon.host().to_owned(), action: "load an image", detail };
    let opened = std::fs::File::open(file).map_err(|error| refused(format!("{file}: {error}")))?;
    daemon.load(opened).await?.ok_or_else(|| refused(format!("{file} holds none")))
}

async fn has(socket: &str, image: &str) -> Result<Exit, DockerError> {
    let has = Daemon::at(socket).await?.has(image).await?;
    Ok(if has { Exit::Success } else { Exit::Command(1) })
}

/// Removes a container when whoever holds the other end of standard input is gone.
async fn remove(socket: &str, name: &str) -> Result<Exit, DockerError> {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
    Daemon::at(socket).await?.discard(name).await?;
    Ok(Exit::Success)
}

async fn task(socket: &str, image: String, words: &[String]) -> Result<Exit, DockerError> {
    // When the worker dies, its jobs end.
    set_parent_process_death_signal(Some(Signal::TERM)).ok();
    let spec = spec(image, words);
    let record = std::env::var_os(VAR_RECORD).map(PathBuf::from);
    let (sender, mut signals) = mpsc::channel(8);
    let hearing = hear(sender, socket.to_owned(), spec.name.clone());
    let daemon = Daemon::at(socket).await?;
    let pulls = || drop(writeln!(std::io::stderr(), "csync: pulls {}", spec.image));
    if let Some(warning) = daemon.make_pulling(&spec, pulls).await? {
        drop(writeln!(std::io::stderr(), "csync: {warning}"));
    }
    let unheld = daemon.unheld(&spec);
    if let Some(warning) = &unheld {
        drop(writeln!(std::io::stderr(), "csync: {warning}"));
    }
    let mut left = Left { socket: socket.to_owned(), name: spec.name.clone(), used: None };
    if let Some(path) = &record {
        left.keep(path);
    }
    let done = attend(&daemon, &spec, &mut signals).await;
    let gone = match daemon.discard(&spec.name).await {
        Err(DockerError::Gone { .. }) => discard_later(socket, &spec.name).await,
        done => done,
    };
    hearing.abort();
    let over = match done {
        Ok(over) => over,
        Err(DockerError::Refused { detail, .. }) if not_found(&detail).is_some() => {
            drop(writeln!(std::io::stderr(), "csync: {detail}"));
            return Ok(Exit::Command(not_found(&detail).unwrap_or(NOT_STARTED)));
        }
        Err(error) => return Err(error),
    };
    gone?;
    let code = u8::try_from(over.code).unwrap_or(u8::MAX);
    left.used = Some(Over { unheld: over.unheld || unheld.is_some(), ..over });
    if let Some(path) = &record {
        left.keep(path);
    }
    Ok(if code == 0 { Exit::Success } else { Exit::Command(code) })
}

async fn attend(daemon: &Daemon, spec: &Spec, signals: &mut mpsc::Receiver<String>) -> Result<Over, DockerError> {
    let attached = daemon.begin(&spec.name, spec.stdin).await?;
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let print = move |is_error: bool, bytes: &[u8]| {
        let _told = if is_error {
            err.write_all(bytes).and_then(|()| err.flush())
        } else {
            out.write_all(bytes).and_then(|()| out.flush())
        };
    };
    let reading = rustix::io::dup(std::io::stdin()).ok().filter(|_| spec.stdin);
    let reading = reading.map(|fd| tokio::fs::File::from_std(fd.into()));
    daemon.attend(spec, attached, reading, print, signals).await
}

/// Removes a container once its daemon is back, if that is soon.
async fn discard_later(socket: &str, name: &str) -> Result<(), DockerError> {
    let mut left = AGAIN;
    loop {
        left -= 1;
        match Daemon::at(socket).await {
            Ok(daemon) => return daemon.discard(name).await,
            Err(error) if left == 0 => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Returns what a shell would return for a command that cannot be started.
fn not_found(detail: &str) -> Option<u8> {
    let is_exec = detail.contains("exec") || detail.contains("OCI");
    if is_exec && (detail.contains("not found") || detail.contains("no such file")) {
        return Some(127);
    }
    (is_exec && detail.contains("permission denied")).then_some(126)
}

/// Passes signals on. Who is asked to end may be killed after that: then somebody else removes the container.
fn hear(to: mpsc::Sender<String>, socket: String, name: String) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut guard: Option<Child> = None;
        let streams = SIGNALS.iter().filter_map(|(kind, name)| Some((signal(*kind).ok()?, *name)));
        let (heard, mut all) = mpsc::channel(8);
        for (mut stream, word) in streams {
            let heard = heard.clone();
            tokio::spawn(async move { while stream.recv().await.is_some() && heard.send(word).await.is_ok() {} });
        }
        while let Some(word) = all.recv().await {
            if guard.is_none() {
                guard = match watchman(&socket, &name) {
                    Ok(child) => Some(child),
                    // The next signal tries again; if there is none, the next worker finds what was left.
                    Err(error) => {
                        let said = format!("csync: container {name} may outlive this task if it is killed: {error}");
                        drop(writeln!(std::io::stderr(), "{said}"));
                        None
                    }
                };
            }
            if to.send(word.to_owned()).await.is_err() {
                return;
            }
        }
    })
}

/// Starts who removes the container when this process is no more: in a group of its own, and of no job.
fn watchman(socket: &str, name: &str) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["box", "remove", socket, name]).env_remove(VAR_JOB).env(VAR_DETACHED, "1").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Reads what the prelude says.
fn spec(image: String, words: &[String]) -> Spec {
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    let variable = |name: &str| std::env::var(name).ok().map(|value| format!("{name}={value}"));
    let job = of(VAR_JOB);
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let mut spec = Spec {
        name: format!("csync-{}-{}", job.replace(|c: char| !c.is_ascii_digit(), "-"), std::process::id()),
        image,
        state: of(VAR_STATE),
        job,
        stdin: !is_nothing(),
        user: format!("{}:{}", user.as_raw(), group.as_raw()),
        gpu_ids: gpu_ids(&of("CUDA_VISIBLE_DEVICES")),
        env: VARIABLES.iter().filter_map(|name| variable(name)).collect(),
        ..Spec::default()
    };
    let mut words = words.iter();
    for word in words.by_ref() {
        let Some((key, value)) = word.split_once('=').filter(|_| word != "--") else { break };
        match key {
            "env" => spec.env.extend(variable(value)),
            "bind" if value.contains(':') => spec.binds.push(value.to_owned()),
            "bind" => spec.binds.push(format!("{value}:{value}")),
            // Without NVIDIA's, those that are here are AMD's.
            "gpus_of" if value == "amd" => spec.amd = true,
            "gpus" => spec.gpus = value.parse().unwrap_or_default(),
            "cpus" => spec.cpus = value.parse().unwrap_or_default(),
            "mem" => spec.memory = value.parse().ok().map(Bytes),
            "workdir" => value.clone_into(&mut spec.workdir),
            _ => {}
        }
    }
    spec.command = words.cloned().collect();
    spec
}

/// Reads which GPUs were granted; none where all were.
fn gpu_ids(visible: &str) -> Vec<String> {
    visible.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

/// Returns whether there is nothing to be read on standard input.
fn is_nothing() -> bool {
    let null = rustix::fs::stat("/dev/null").map(|stat| stat.st_rdev);
    rustix::fs::fstat(std::io::stdin()).map(|stat| stat.st_rdev).ok() == null.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_prelude_says_is_read() {
        let words = ["bind=/w", "bind=/r:/r:ro", "mem=", "cpus=2", "gpus=0", "workdir=/w/a=b", "--", "x", "--", "a=b"];
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let spec = spec("box:1".to_owned(), &words);
        assert_eq!(spec.binds, ["/w:/w", "/r:/r:ro"]);
        let user = format!("{}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        assert_eq!((spec.cpus, spec.memory, spec.gpus, &*spec.workdir, spec.user), (2, None, 0, "/w/a=b", user));
        assert!(spec.env.iter().all(|pair| pair.contains('=')));
        let prelude = include_str!("../language/container/prelude.sh");
        assert!(VARIABLES.iter().all(|name| prelude.contains(name)), "both forms let in the same");
        assert_eq!(spec.command, ["x", "--", "a=b"]);
    }

    #[test]
    fn a_command_that_is_not_there_ends_as_a_shell_says_it() {
        for (detail, code) in [
            ("OCI runtime create failed: exec: \"nosuch\": executable file not found in $PATH", Some(127)),
            ("OCI runtime create failed: exec: \"/etc\": permission denied: unknown", Some(126)),
            ("no space left on device", None),
        ] {
            assert_eq!(not_found(detail), code, "{detail}");
        }
    }
}
