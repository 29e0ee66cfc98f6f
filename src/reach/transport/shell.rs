//! One `/bin/sh` at the far end of a channel: it says hello, then runs scripts one after the other.

use std::any::Any;
use std::fmt::Write as _;
use std::io;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::language::locale::PLAIN;
use crate::language::quote::sh;
use crate::reach::transport::frame::{Mark, Unmarked, read_to};
use crate::reach::transport::{Reply, Status};

/// Most that a login shell may print before the first command.
const NOISE: usize = 1 << 20;

/// The ends of a channel to a `/bin/sh` that was just started, through whatever login shell.
pub struct Pipes {
    /// What it reads. It is shut down for its end.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it prints.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// What it complains.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// What must live as long as the channel; dropped, it closes it.
    pub keep: Box<dyn Any + Send>,
}

/// A shell did not say hello.
#[derive(Debug)]
pub(super) struct NoHello {
    /// What it said instead.
    pub(super) stderr: Vec<u8>,
    /// What was seen.
    pub(super) what: String,
}

/// What can happen to a script in a shell.
#[derive(Debug)]
pub(super) enum Broken {
    /// The channel ended; the words on standard error.
    Ended(String),
    /// The channel had ended before all of the script was written: it did not run.
    Unwritten(String),
    /// It printed too much.
    Flood,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Ended(error.to_string())
    }
}

impl From<Unmarked> for Broken {
    fn from(unmarked: Unmarked) -> Self {
        match unmarked {
            Unmarked::Ended(what) => Self::Ended(what),
            Unmarked::Flood => Self::Flood,
        }
    }
}

/// A shell that said hello.
pub(super) struct Shell {
    pub(super) pipes: Pipes,
    /// Its process id, which is its process group's too: sshd starts every command as the leader of a session.
    pub(super) pid: u32,
}

impl Shell {
    /// Waits for the hello of a shell; everything before it is noise of a login shell.
    pub(super) async fn start(mut pipes: Pipes) -> Result<Self, NoHello> {
        let mut stderr = Vec::new();
        let outcome = async {
            let mark = Mark::draw().map_err(Broken::from)?;
            let hello = mark.print("$$");
            pipes.stdin.write_all(format!("{PLAIN}; {hello}; {hello} >&2\n").as_bytes()).await?;
            pipes.stdin.flush().await?;
            let mut noise = Vec::new();
            let out = read_to(&mut pipes.stdout, &mark, &mut noise, NOISE);
            let err = read_to(&mut pipes.stderr, &mark, &mut stderr, NOISE);
            let ((pid, _), _) = tokio::try_join!(out, err)?;
            Ok::<u32, Broken>(pid)
        }
        .await;
        match outcome {
            Ok(pid) => Ok(Self { pipes, pid }),
            Err(broken) => {
                // What it says about its end comes on the other stream, which may not have been read yet.
                let mut rest = Vec::new();
                let drain = pipes.stderr.read_to_end(&mut rest);
                drop(tokio::time::timeout(std::time::Duration::from_secs(2), drain).await);
                stderr.extend(rest);
                let what = match broken {
                    Broken::Ended(what) | Broken::Unwritten(what) => what,
                    Broken::Flood => format!("it printed more than {NOISE} bytes"),
                };
                Err(NoHello { stderr, what })
            }
        }
    }

    /// Returns whether it still waits for a command: neither closed nor spoiled by what an earlier command left running.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        self.pipes.stdout.read(&mut byte).now_or_never().is_none()
            && self.pipes.stderr.read(&mut byte).now_or_never().is_none()
    }

    /// Writes a command in braces: a shell runs none of it before it has read the last one.
    async fn write(&mut self, text: &str) -> Result<(), Broken> {
        let written = async {
            self.pipes.stdin.write_all(text.as_bytes()).await?;
            self.pipes.stdin.flush().await
        };
        written.await.map_err(|error: io::Error| Broken::Unwritten(error.to_string()))
    }

    /// Runs a script that reads nothing.
    ///
    /// It runs in a subshell, so that it can neither change nor end this one, and through `eval`, so that a mistake in its
    /// grammar is its own.
    pub(super) async fn run(&mut self, script: &str, limit: usize) -> Result<Reply, Broken> {
        let mark = Mark::draw()?;
        let mut text = format!("{{ (eval {}) </dev/null; csync_status=$?; ", sh(script));
        let print = mark.print("$csync_status");
        let _ = writeln!(text, "{print}; {print} >&2; }}");
        self.write(&text).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let out = read_to(&mut self.pipes.stdout, &mark, &mut stdout, limit);
        let err = read_to(&mut self.pipes.stderr, &mark, &mut stderr, limit);
        let ((code, _), _) = tokio::try_join!(out, err)?;
        Ok(Reply { status: Status::from_shell(u8::try_from(code).unwrap_or(u8::MAX)), stdout, stderr })
    }

    /// Starts a script that has the streams for itself; returns what it printed already, and the mark that ends its standard
    /// error.
    ///
    /// Some shells read ahead on their input: nothing may be written to it before the shell has read all of this text, which it
    /// says.
    pub(super) async fn hand_over(&mut self, script: &str) -> Result<(Vec<u8>, Mark), Broken> {
        let (go, end) = (Mark::draw()?, Mark::draw()?);
        let text = format!(
            "{{ {}; (eval {}); csync_status=$?; {} >&2; exit; }}\n",
            go.print("0"),
            sh(script),
            end.print("$csync_status")
        );
        self.write(&text).await?;
        let mut noise = Vec::new();
        let (_, rest) = read_to(&mut self.pipes.stdout, &go, &mut noise, NOISE).await?;
        Ok((rest, end))
    }
}
