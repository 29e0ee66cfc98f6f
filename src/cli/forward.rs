//! `csync forward`: a port of a job on this machine.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::follow::interrupts;
use crate::cli::hosts::Known;
use crate::cli::place::{There, find};
use crate::cli::target::Target;
use crate::language::quote::sh;
use crate::model::api::ErrorKind;
use crate::reach::transport::{Exec, Transport};

/// How long a node may take to say whether something listens.
const LOOKING: Duration = Duration::from_secs(15);

/// Forward a port of a job to this machine
///
/// For a notebook or a dashboard on a compute node: connections to the port on 127.0.0.1 go through the host, and its jump
/// hosts, to the port on the node that the job runs on; a server that listens on the node's own 127.0.0.1 alone is reached
/// through ssh to the node. It goes on until Ctrl-C, or until the run is over.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync forward [OPTIONS] [RUN] [TASK] PORT")]
pub struct Args {
    /// The run (a number or `last`), a task or instance of it, and the port; LOCAL:PORT for another one here (0 is any)
    #[arg(value_name = "RUN] [TASK] [LOCAL:]PORT", num_args = 1..=3, required = true)]
    target: Vec<String>,
}

/// Ports: here, and there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    here: u16,
    there: u16,
}

impl Ports {
    fn read(text: &str) -> Option<Self> {
        let (here, there) = text.split_once(':').unwrap_or((text, text));
        let (here, there) = (here.parse().ok()?, there.parse().ok()?);
        (there > 0).then_some(Self { here, there })
    }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let bad = |text: &str| {
        Failure::usage(format!("`{}` is no port", text.escape_debug()))
            .hint("the port comes last: `csync forward 8888`, `csync forward 12 train 8080:8888`")
    };
    let (last, target) = args.target.split_last().ok_or_else(|| bad(""))?;
    let ports = Ports::read(last).ok_or_else(|| bad(last))?;
    let target = Target::parse(target)?;
    let known = Known::load(context)?;
    context.block_on(async {
        let job = find(context, &known, &target).await?;
        let Some(there) = job.there else {
            return Err(Failure::new(ErrorKind::Conflict, format!("`{}` runs on this machine", job.label))
                .hint(format!("connect to 127.0.0.1:{} itself", ports.there)));
        };
        let listener = listen(ports).await?;
        let here =
            listener.local_addr().map_err(|error| Failure::internal("a port without a number").because(&error))?;
        let way = way(&there, ports.there).await;
        let node = &there.at.node;
        if context.json() {
            context.print_json(&json!({ "local": here.to_string(), "node": node, "port": ports.there }))?;
        } else {
            let what = format!("{here} is port {} of {node} ({} of run {})", ports.there, job.label, job.run);
            context.print(&format!("{what}. Ctrl-C ends it."))?;
            if way == Way::Unanswered {
                context.say(&format!(
                    "Nothing answers there yet; the job has to listen on {node}, not on its 127.0.0.1 alone."
                ));
            }
        }
        let client = context.reach().await?;
        let mut interrupts = interrupts()?;
        tokio::select! {
            () = serve(context, &listener, &there, way, ports.there) => {}
            _ = interrupts.recv() => {}
            over = client.wait(job.run.into()) => {
                over?;
                context.say(&format!("Run {} is over.", job.run));
            }
        }
        Ok(Exit::Success)
    })
}

async fn listen(ports: Ports) -> Result<TcpListener, Failure> {
    TcpListener::bind(("127.0.0.1", ports.here)).await.map_err(|error| {
        Failure::new(ErrorKind::Conflict, format!("port {} of this machine cannot be had", ports.here))
            .because(&error)
            .hint(format!(
                "take another one: `csync forward ... {}:{}`, or `0:{}` for any",
                next(ports.here),
                ports.there,
                ports.there
            ))
    })
}

const fn next(port: u16) -> u16 {
    if port < 1024 { 8000 + port } else { port.saturating_add(1) }
}

/// How the port is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From the host.
    FromHost,
    /// From the node itself.
    FromNode,
    /// From the host, where nothing answers yet.
    Unanswered,
}

/// Finds out how the port is reached.
async fn way(there: &There, port: u16) -> Way {
    if there.is_on_host() {
        return Way::FromHost;
    }
    let host = Arc::clone(&there.ssh).transport();
    let knock = format!("bash -c {}", sh(&format!("exec 3<>/dev/tcp/{}/{port}", there.at.node)));
    let knocked = host.exec(Exec::new(format!("timeout 5 {knock} 2>/dev/null")).within(LOOKING)).await;
    if knocked.is_ok_and(|reply| reply.status.is_success()) {
        return Way::FromHost;
    }
    let mut node = Command::from(there.ssh.beyond(&there.at.node, there.user.as_deref(), "exec true", false));
    node.args::<_, &str>([]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(LOOKING, node.status()).await {
        Ok(Ok(status)) if status.success() => Way::FromNode,
        _ => Way::Unanswered,
    }
}

async fn serve(context: &Context, listener: &TcpListener, there: &There, way: Way, port: u16) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let command = match way {
            Way::FromNode => there.ssh.port_beyond(&there.at.node, there.user.as_deref(), port),
            Way::FromHost if there.is_on_host() => there.ssh.port("127.0.0.1", port),
            Way::FromHost | Way::Unanswered => there.ssh.port(&there.at.node, port),
        };
        let context = context.clone();
        tokio::spawn(async move {
            if let Err(error) = join_up(stream, Command::from(command)).await {
                context.say(&format!("A connection broke: {error}"));
            }
        });
    }
}

/// Copies both ways until both ends are done.
async fn join_up(mut stream: TcpStream, mut command: Command) -> std::io::Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else { return Ok(()) };
    let (mut read, mut write) = stream.split();
    let there = async {
        let copied = copy(&mut read, &mut stdin).await;
        drop(stdin);
        copied
    };
    let here = async {
        let copied = copy(&mut stdout, &mut write).await;
        write.shutdown().await.ok();
        copied
    };
    // Whoever goes first ends its direction alone; ssh ends when the far end has.
    tokio::pin!(there);
    tokio::pin!(here);
    tokio::select! {
        _ = &mut here => {}
        _ = &mut there => {
            here.await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        for (text, ports) in [
            ("8888", Some((8888, 8888))),
            ("8080:8888", Some((8080, 8888))),
            ("0:80", Some((0, 80))),
            ("0", None),
            ("80:0", None),
            ("x", None),
            ("1:2:3", None),
            ("70000", None),
        ] {
            assert_eq!(Ports::read(text), ports.map(|(here, there)| Ports { here, there }), "{text}");
        }
    }
}
