//! `csync demo`: the tour, on a cluster that is made up on this machine.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::follow::interrupts;
use crate::cli::view::words::shell_word;
use crate::model::api::ErrorKind;
use crate::reach::clock;
use crate::reach::config::StateDir;

/// Take the tour, on a cluster that is made up on this machine
///
/// Runs a workflow on a simulated Slurm cluster, where everything goes wrong once: a job waits, one is killed for its memory, a
/// node fails, a walltime is over. It takes 20 seconds, needs neither SSH nor Slurm, and works without a terminal. Everything
/// but the cluster is real, and the commands are those that you would type.
///
/// What it made is removed at the end and on Ctrl-C, unless DIR says where to keep it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory to be made and kept, with the workflow, the cluster and all that came of them
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

const HOSTS: &str = include_str!("hosts.toml");
const WORKFLOW: &str = include_str!("workflow.toml");
/// What the walltime of the report is, and what it must be.
const WALLTIME: (&str, &str) = (r#"time = "1m""#, r#"time = "5m""#);
/// How long a command may take to end once it was asked to.
const ENDING: Duration = Duration::from_secs(10);

/// One step of the tour.
struct Step {
    /// What is to be seen, for a person.
    about: &'static str,
    /// A file that is shown first.
    shows: Option<(&'static str, &'static str)>,
    /// What is done.
    does: Does,
    /// What it exits with.
    exits: Exit,
}

/// What a step does.
enum Does {
    /// Calls csync.
    Csync(&'static [&'static str]),
    /// Corrects the walltime in the workflow.
    Correct,
    /// Shows a result.
    Cat(&'static str),
}

const STEPS: [Step; 8] = [
    Step {
        about: "Hosts stand in hosts.toml. This one is made up; csync looks at it as it would at a real one.",
        shows: Some(("hosts.toml", HOSTS)),
        does: Does::Csync(&["hosts", "probe", "sim"]),
        exits: Exit::Success,
    },
    Step {
        about: "A workflow says what to run, what it reads and makes, and where. Three things will go wrong with this one.",
        shows: Some(("workflow.toml", WORKFLOW)),
        does: Does::Csync(&["submit", "workflow.toml"]),
        exits: Exit::RunFailed,
    },
    Step {
        about: "The lost node and the missing memory were mended by trying again. Why did the last one fail?",
        shows: None,
        does: Does::Csync(&["why", "last", "report"]),
        exits: Exit::Success,
    },
    Step { about: "More walltime, then.", shows: None, does: Does::Correct, exits: Exit::Success },
    Step {
        about: "What is up to date is not run again.",
        shows: None,
        does: Does::Csync(&["submit", "workflow.toml"]),
        exits: Exit::Success,
    },
    Step { about: "The results were brought back.", shows: None, does: Does::Cat("report.txt"), exits: Exit::Success },
    Step {
        about: "How often each was tried, what ended it, where it ran:",
        shows: None,
        does: Does::Csync(&["why", "1", "assemble"]),
        exits: Exit::Success,
    },
    Step { about: "What has run here:", shows: None, does: Does::Csync(&["runs"]), exits: Exit::Success },
];

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let place = Place::make(args.dir.as_deref())?;
    let toured = context.block_on(tour(context, &place));
    let left = place.leave(context, args.dir.is_some());
    let exit = toured?;
    left?;
    Ok(exit)
}

/// Where the tour takes place.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn make(dir: Option<&Path>) -> Result<Self, Failure> {
        let dir = dir.map_or_else(
            || std::env::temp_dir().join(format!("csync-demo-{}-{}", std::process::id(), clock::now().0 % 1_000_000)),
            Path::to_path_buf,
        );
        let unusable = |error: io::Error| {
            let failure = Failure::new(ErrorKind::Storage, format!("`{}` cannot be made", dir.display()));
            failure.because(&error).hint("`csync demo DIR` names a directory that is not there yet")
        };
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(unusable)?;
        let dir = fs::canonicalize(&dir).map_err(unusable)?;
        let place = Self { dir };
        let files = [("config/hosts.toml", HOSTS), ("work/workflow.toml", WORKFLOW)];
        let written = ["config", "work"].iter().try_for_each(|name| fs::create_dir(place.dir.join(name)));
        written
            .and_then(|()| files.iter().try_for_each(|(name, text)| fs::write(place.dir.join(name), text)))
            .map_err(|error| {
                Failure::new(ErrorKind::Storage, format!("`{}` cannot be written to", place.dir.display()))
                    .because(&error)
            })?;
        Ok(place)
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("CSYNC_STATE", self.state()), ("CSYNC_CONFIG", self.dir.join("config"))]
    }

    fn csync(&self, args: &[&str]) -> Command {
        let mut command = Command::new(Context::launch().program);
        command.args(args).envs(self.variables()).current_dir(self.work()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Ends what runs, and removes the directory unless it is kept.
    fn leave(&self, context: &Context, kept: bool) -> Result<(), Failure> {
        let quietly = |command: &mut std::process::Command| {
            // What did not start has nothing that could be ended.
            drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
        };
        let mut stop = std::process::Command::new(Context::launch().program);
        quietly(stop.args(["engine", "stop", "--now"]).envs(self.variables()));
        let cluster = StateDir::at(self.state(), None).clusters_dir().join("sim/cluster.sh");
        quietly(std::process::Command::new("/bin/sh").arg(&cluster).arg("stop"));
        if kept {
            let [state, config] =
                self.variables().map(|(name, path)| format!("{name}={}", shell_word(&path.display().to_string())));
            context.say(&format!(
                "\nIt stays in {}. To go on by yourself:\n\n    cd {}\n    export {state} {config}",
                self.dir.display(),
                shell_word(&self.work().display().to_string()),
            ));
            return Ok(());
        }
        self.remove().map_err(|error| {
            Failure::new(ErrorKind::Storage, format!("`{}` cannot be removed", self.dir.display())).because(&error)
        })
    }

    /// Removes the directory. What was just ended may still be writing its last words.
    fn remove(&self) -> io::Result<()> {
        let started = Instant::now();
        loop {
            match fs::remove_dir_all(&self.dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && started.elapsed() < ENDING => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => return Ok(()),
            }
        }
    }
}

async fn tour(context: &Context, place: &Place) -> Result<Exit, Failure> {
    let mut interrupts = interrupts()?;
    let mut ends = signal(SignalKind::terminate())
        .map_err(|error| Failure::internal("the end of this process cannot be listened to").because(&error))?;
    let started = Instant::now();
    let mut told = Vec::new();
    for (number, step) in (1..).zip(&STEPS) {
        announce(context, number, step);
        let began = Instant::now();
        let Some(code) = perform(context, place, step, &mut interrupts, &mut ends).await? else {
            context.say("\nThe tour was left; what it made is removed.");
            return Ok(Exit::Interrupted);
        };
        told.push(json!({ "command": words(&step.does), "exit": code, "seconds": began.elapsed().as_secs_f64() }));
        if code != i32::from(step.exits.number()) {
            let message = format!("`{}` exits with {code}, not with {}", words(&step.does), step.exits.number());
            return Err(
                Failure::internal(message).hint("`csync demo DIR` keeps what came of it in DIR, and logs in DIR/state")
            );
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    if context.json() {
        context.print_json(&json!({ "steps": Value::Array(told), "seconds": seconds }))?;
    }
    context.say(&format!(
        "\nThat was the tour, in {seconds:.0} s. A cluster of your own:\n\n    csync hosts import\n    csync hosts probe\n    csync new\n\n\
         `simulated = {{}}` below [hosts.NAME] of hosts.toml makes up one: for tests of your workflows (docs/hosts.md)."
    ));
    Ok(Exit::Success)
}

/// Says what comes, and the command for it.
fn announce(context: &Context, number: u32, step: &Step) {
    let paint = context.paint_err();
    context.say(&format!("\n{} {}", paint.bold(format!("[{number}/{}]", STEPS.len())), step.about));
    if let Some((name, text)) = step.shows {
        let indented: Vec<String> =
            text.trim_end().lines().map(|line| format!("    {line}").trim_end().to_owned()).collect();
        context.say(&format!("\n    {}\n{}", paint.dim(format!("--- {name}")), indented.join("\n")));
    }
    context.say(&format!("\n{}", paint.bold(format!("$ {}", words(&step.does)))));
}

/// Returns what a person would type.
fn words(does: &Does) -> String {
    match does {
        Does::Csync(args) => format!("csync {}", args.join(" ")),
        Does::Correct => format!("sed -i 's/{}/{}/' workflow.toml", WALLTIME.0, WALLTIME.1),
        Does::Cat(name) => format!("cat {name}"),
    }
}

/// Does what a step does, and returns what it exited with; nothing where the person left.
async fn perform(
    context: &Context,
    place: &Place,
    step: &Step,
    interrupts: &mut Signal,
    ends: &mut Signal,
) -> Result<Option<i32>, Failure> {
    let unreadable =
        |error: io::Error| Failure::new(ErrorKind::Storage, "the tour's directory is gone").because(&error);
    match step.does {
        Does::Correct => {
            let path = place.work().join("workflow.toml");
            fs::write(path, WORKFLOW.replace(WALLTIME.0, WALLTIME.1)).map_err(unreadable)?;
            Ok(Some(0))
        }
        Does::Cat(name) => {
            context.say(fs::read_to_string(place.work().join(name)).map_err(unreadable)?.trim_end());
            Ok(Some(0))
        }
        Does::Csync(args) => {
            let mut command = place.csync(args);
            if context.json() || context.quiet() {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
            let child = command.spawn();
            let mut child = child.map_err(|error| Failure::internal("csync does not start itself").because(&error))?;
            let status = tokio::select! {
                status = child.wait() => status.map(Some),
                _ = interrupts.recv() => end(&mut child).await.map(|()| None),
                _ = ends.recv() => end(&mut child).await.map(|()| None),
            };
            let status = status.map_err(|error| Failure::internal("a command was lost sight of").because(&error))?;
            Ok(status.map(|status: ExitStatus| status.code().unwrap_or(-1)))
        }
    }
}

/// Ends a command as Ctrl-C does, which at a terminal it got itself; or for good.
async fn end(child: &mut Child) -> io::Result<()> {
    let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).ok();
    }
    if tokio::time::timeout(ENDING, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mistake_that_is_corrected_is_there_once() {
        assert_eq!(WORKFLOW.matches(WALLTIME.0).count(), 1);
        assert!(!WORKFLOW.contains(WALLTIME.1));
    }
}
