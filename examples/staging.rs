//! Measures how files reach a host and come back: csync beside `rsync`, `scp` and pipes through `ssh`, in turn, all over
//! connections that stand already.
//!
//! ```text
//! cargo run --release --example staging -- DIRECTORY ROUNDS MIB FILES ALIAS...
//! ```
//!
//! `benches/stage/run` brings up the test bed and runs this on its laptop, against hosts behind one and two jump hosts.

#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use csync::language::quote::sh;
use csync::model::host::HostName;
use csync::reach::stage::{Ledger, Take, Tidy, bring, fetch};
use csync::reach::transport::{ConnectionSettings, Connections, Exec, Limits, Member, Meter, Remote, Transport};
use tokio::process::Command;

type Failure = Box<dyn Error + Send + Sync>;

/// Files in a directory.
const IN_A_DIRECTORY: usize = 100;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: staging DIRECTORY ROUNDS MIB FILES ALIAS...";
    let dir = PathBuf::from(arguments.next().ok_or(usage)?);
    let rounds: usize = arguments.next().ok_or(usage)?.parse()?;
    let mib: usize = arguments.next().ok_or(usage)?.parse()?;
    let files: usize = arguments.next().ok_or(usage)?.parse()?;
    make(&dir, mib, files)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("s, median of {rounds}, in turn; ratio: csync to the best of the others");
    println!("a file is made in {:.0} us", made_in(&dir.join("made"))? * 1e6);
    for alias in arguments {
        runtime.block_on(measure(&dir, &alias, rounds, mib, files))?;
    }
    Ok(())
}

/// Makes a large file of bytes that do not compress, and many small ones.
fn make(dir: &Path, mib: usize, files: usize) -> Result<(), Failure> {
    fs::create_dir_all(dir)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = || {
        let mut bytes = Vec::with_capacity(1 << 20);
        while bytes.len() < 1 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes
    };
    let mut large = Vec::with_capacity(mib << 20);
    (0..mib).for_each(|_| large.extend(block()));
    fs::write(dir.join("large"), large)?;
    let content = block();
    // Long ago: what was written just now is looked at more closely.
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for number in 0..files {
        let path = dir.join("small").join((number / IN_A_DIRECTORY).to_string()).join(number.to_string());
        fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        let start = number * 64 % 900_000;
        fs::write(&path, content.get(start..start + 1000 + number % 3000).ok_or("too short")?)?;
        fs::File::options().append(true).open(&path)?.set_modified(old)?;
    }
    Ok(())
}

/// Returns what an empty file costs, in seconds. ext4 looks at every inode that was freed within five minutes before it takes
/// one: some seconds after many files were removed a file may cost twenty times as much, and all that write small files are
/// measured by that alone.
fn made_in(dir: &Path) -> Result<f64, Failure> {
    let start = Instant::now();
    for number in 0..10 * IN_A_DIRECTORY {
        let path = dir.join((number / IN_A_DIRECTORY).to_string());
        fs::create_dir_all(&path)?;
        fs::write(path.join(number.to_string()), [])?;
    }
    Ok(start.elapsed().as_secs_f64() / (10 * IN_A_DIRECTORY) as f64)
}

struct Bench {
    dir: PathBuf,
    alias: String,
    ssh: String,
    host: Remote,
    far: String,
    rounds: usize,
}

impl Bench {
    /// Runs a shell command here, in the directory.
    async fn shell(&self, script: &str) -> Result<(), Failure> {
        let status = Command::new("sh").args(["-c", script]).current_dir(&self.dir).status().await?;
        if status.success() { Ok(()) } else { Err(format!("{script}: {status}").into()) }
    }

    /// Runs one there.
    async fn far(&self, script: &str) -> Result<(), Failure> {
        // Gigabytes and ten thousands of files are removed.
        let reply = self.host.exec(Exec::new(script).within(Duration::from_mins(10))).await?;
        if reply.status.is_success() { Ok(()) } else { Err(String::from_utf8_lossy(&reply.stderr).into()) }
    }

    async fn bring(&self, what: &str, to: &str) -> Result<u64, Failure> {
        let to = format!("{}/{to}", self.far);
        Ok(bring(&self.host, &self.dir, &to, &[what.to_owned()], Tidy::all(&Ledger::default()), &Meter::default())
            .await?
            .moved)
    }

    async fn fetch(&self, what: &str, to: &str) -> Result<u64, Failure> {
        let (from, to) = (format!("{}/source", self.far), self.dir.join(to));
        let fetched = fetch(&self.host, &from, &to, &[what.to_owned()], Take::all(), &Meter::default()).await?;
        if fetched.missing.is_empty() { Ok(fetched.moved.moved) } else { Err("it is gone".into()) }
    }

    /// Times ways to do the same, in turn; who begins changes from round to round. Each writes to a directory of its own, `@` in a
    /// script, that was never used: a filesystem is slow where files were just removed. `fresh` is the directory where nothing is
    /// fresh.
    async fn race(
        &self,
        title: &str,
        what: Race<'_>,
        ways: &[(&str, &str)],
        fresh: Option<&str>,
    ) -> Result<(), Failure> {
        let mut walls = vec![Vec::new(); ways.len() + 1];
        for round in 0..self.rounds {
            let count = walls.len();
            for way in (0..count).map(|turn| (round + turn) % count) {
                let to = fresh.map_or_else(|| format!("{}-{way}-{round}", title.replace(' ', "-")), str::to_owned);
                match what {
                    Race::There(_) => self.far(&format!("mkdir -p {}/{to}", sh(&self.far))).await?,
                    Race::Back(_) => fs::create_dir_all(self.dir.join(&to))?,
                }
                self.shell("sync").await?;
                let start = Instant::now();
                match ways.get(way) {
                    Some((_, script)) => self.shell(&script.replace('@', &to)).await?,
                    None => drop(match what {
                        Race::There(what) => self.bring(what, &to).await?,
                        Race::Back(what) => self.fetch(what, &to).await?,
                    }),
                }
                walls.get_mut(way).ok_or("no such way")?.push(start.elapsed().as_secs_f64());
            }
        }
        let medians: Vec<f64> = walls.into_iter().map(median).collect();
        let (ours, others) = medians.split_last().ok_or("nothing was measured")?;
        let best = others.iter().copied().fold(f64::INFINITY, f64::min);
        let told: Vec<String> = ways.iter().zip(others).map(|((name, _), wall)| format!("{name} {wall:.2}")).collect();
        println!("{:<8} {title:<24} csync {ours:.2}  {}  ratio {:.2}", self.alias, told.join("  "), ours / best);
        Ok(())
    }
}

/// Which way, and what.
#[derive(Clone, Copy)]
enum Race<'a> {
    There(&'a str),
    Back(&'a str),
}

async fn measure(dir: &Path, alias: &str, rounds: usize, mib: usize, files: usize) -> Result<(), Failure> {
    let mut settings = ConnectionSettings::from_env(|name| std::env::var_os(name), dir.join("sockets"));
    settings.member = Some(Member::Russh);
    let connections = Connections::new(settings);
    let host: HostName = alias.parse()?;
    let way = connections.transport(&host, alias, Limits { per_minute: 60, ..Limits::default() }).await?;
    let reply = way.exec(Exec::new("mktemp -d /mnt/scratch/bench-XXXXXX")).await?;
    let far = String::from_utf8(reply.stdout)?.trim().to_owned();
    let socket = dir.join("master");
    let ssh =
        format!("ssh -o ControlPath={} -o ControlMaster=auto -o ControlPersist=60", sh(&socket.to_string_lossy()));
    let bench = Bench { dir: dir.to_owned(), alias: alias.to_owned(), ssh, host: way, far, rounds };
    bench.shell(&format!("{} {alias} true", bench.ssh)).await?;
    // What takes minutes comes last.
    small(&bench, files).await?;
    large(&bench, mib).await?;
    bench.far(&format!("rm -rf {}", sh(&bench.far))).await?;
    let end = format!("rm -rf *-*-[0-9]*-[0-9]; {} -O exit {alias} 2>/dev/null || true", bench.ssh);
    bench.shell(&end).await?;
    connections.close().await;
    Ok(())
}

async fn large(bench: &Bench, mib: usize) -> Result<(), Failure> {
    let Bench { alias, ssh, far, .. } = bench;
    let scp = ssh.replacen("ssh", "scp -q", 1);
    let (a, b, c) = (
        format!("{scp} large {alias}:{far}/@/"),
        format!("rsync -e '{ssh}' large {alias}:{far}/@/"),
        format!("{ssh} {alias} 'cat >{far}/@/large' <large"),
    );
    let there = [("scp", a.as_str()), ("rsync", &b), ("cat", &c)];
    bench.race(&format!("{mib} MiB there"), Race::There("large"), &there, None).await?;
    bench.bring("large", "source").await?;
    let (a, b, c) = (
        format!("{scp} {alias}:{far}/source/large @/"),
        format!("rsync -e '{ssh}' {alias}:{far}/source/large @/"),
        format!("{ssh} {alias} 'cat <{far}/source/large' >@/large"),
    );
    let back = [("scp", a.as_str()), ("rsync", &b), ("cat", &c)];
    bench.race(&format!("{mib} MiB back"), Race::Back("large"), &back, None).await
}

async fn small(bench: &Bench, files: usize) -> Result<(), Failure> {
    let Bench { alias, ssh, far, .. } = bench;
    let rsync = format!("rsync -a -e '{ssh}' small {alias}:{far}/@/");
    let tar = format!("tar -cf - small | {ssh} {alias} 'tar -xf - -C {far}/@'");
    let there = [("rsync", rsync.as_str()), ("tar", &tar)];
    bench.race(&format!("{files} files there"), Race::There("small"), &there, None).await?;
    bench.bring("small", "source").await?;
    bench.race(&format!("{files} unchanged"), Race::There("small"), &there[..1], Some("source")).await?;
    if bench.bring("small", "source").await? != 0 {
        return Err("what was unchanged moved".into());
    }
    let rsync = format!("rsync -a -e '{ssh}' {alias}:{far}/source/small @/");
    let tar = format!("{ssh} {alias} 'tar -cf - -C {far}/source small' | tar -xf - -C @");
    bench.race(&format!("{files} files back"), Race::Back("small"), &[("rsync", &rsync), ("tar", &tar)], None).await
}

fn median(mut walls: Vec<f64>) -> f64 {
    walls.sort_unstable_by(f64::total_cmp);
    walls.get(walls.len() / 2).copied().unwrap_or_default()
}
