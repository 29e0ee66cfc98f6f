//! Measures what a small remote command costs over a warm connection: `ssh` with a control socket, one process per command,
//! beside csync's two ways.
//!
//! ```text
//! cargo run --release --example remote_execs -- SSH_CONFIG ALIAS...
//! ```
//!
//! `benches/ssh/run` starts sshds on this machine, directly and behind one and two jump hosts, and runs this against them.

#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use csync::model::host::HostName;
use csync::reach::transport::{ConnectionSettings, Connections, Exec, Limits, Member, SshSettings, Transport};
use futures_util::{StreamExt, TryStreamExt, stream};

type Failure = Box<dyn Error + Send + Sync>;

/// Commands in one measurement.
const COMMANDS: usize = 100;

/// Measurements of each kind, in turn; the median counts.
const ROUNDS: usize = 5;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let config = PathBuf::from(arguments.next().ok_or("usage: remote_execs SSH_CONFIG ALIAS...")?);
    let dir = config.parent().ok_or("the configuration has no directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{COMMANDS} x `true`, s (median of {ROUNDS})   ssh    openssh  russh    openssh/ssh  russh/ssh");
    for alias in arguments {
        runtime.block_on(measure(&config, dir, &alias))?;
    }
    Ok(())
}

async fn measure(config: &Path, dir: &Path, alias: &str) -> Result<(), Failure> {
    let by = |member: Member, sockets: &str| {
        let mut settings = ConnectionSettings::from_env(|name| std::env::var_os(name), dir.join(sockets));
        settings.ssh.config = Some(config.to_path_buf());
        settings.member = Some(member);
        Connections::new(settings)
    };
    let host: HostName = alias.parse()?;
    // Masters of their own: the shells of the one would take the channels of the other.
    let (bare, openssh, russh) = (by(Member::OpenSsh, "b"), by(Member::OpenSsh, "s"), by(Member::Russh, "s"));
    let limits = Limits { per_minute: 60, ..Limits::default() };
    bare.transport(&host, alias, limits).await?.connect().await?;
    let way = openssh.transport(&host, alias, limits).await?;
    let own = russh.transport(&host, alias, limits).await?;
    way.exec(Exec::new("true")).await?;
    own.exec(Exec::new("true")).await?;
    let settings = SshSettings { config: Some(config.to_path_buf()), ..SshSettings::new(dir.join("b")) };
    let socket = settings.socket(&alias.parse()?);
    for at_once in [1, 8] {
        let mut walls = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            walls[0].push(timed(at_once, async || bare_ssh(config, &socket, alias).await).await?);
            walls[1].push(timed(at_once, async || succeed(&way).await).await?);
            walls[2].push(timed(at_once, async || succeed(&own).await).await?);
        }
        let [ssh, openssh, russh] = walls.map(median);
        println!(
            "{alias:<10} {at_once} at a time               {ssh:>6.3}  {openssh:>6.3}   {russh:>6.3}   {:>6.2}       {:>6.2}",
            openssh / ssh,
            russh / ssh
        );
    }
    bare.close().await;
    openssh.close().await;
    russh.close().await;
    Ok(())
}

async fn timed(at_once: usize, command: impl AsyncFn() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let start = Instant::now();
    stream::iter((0..COMMANDS).map(|_| command())).buffer_unordered(at_once).try_collect::<Vec<()>>().await?;
    Ok(start.elapsed())
}

async fn succeed(host: &impl Transport) -> Result<(), Failure> {
    let reply = host.exec(Exec::new("true")).await?;
    if reply.status.is_success() { Ok(()) } else { Err(reply.status.to_string().into()) }
}

/// What people do: one `ssh` per command over a control socket.
async fn bare_ssh(config: &Path, socket: &Path, alias: &str) -> Result<(), Failure> {
    let mut ssh = tokio::process::Command::new("ssh");
    ssh.arg("-F").arg(config).arg("-S").arg(socket).args([alias, "true"]).stdin(Stdio::null());
    let status = ssh.status().await?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

fn median(mut walls: Vec<Duration>) -> f64 {
    walls.sort_unstable();
    walls.get(walls.len() / 2).map_or(0.0, Duration::as_secs_f64)
}
