//! What jobs read, before they go out: from here, from where an earlier task left it, or nothing where the host sees it anyway.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::interval;

use crate::language::quote::sh;
use crate::model::data::{Brought, DATA, DataFact, Replica, above, joined, within};
use crate::model::host::HostName;
use crate::model::id::JobKey;
use crate::model::job::Outcome;
use crate::model::plan::Plan;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::files::look::Root;
use crate::reach::stage::{StageError, Tidy, bring, look, look_into, relay};
use crate::reach::transport::{Exec, Remote, Transport};
use crate::serve::site::send::{By, Ground, NotSent, inputs_of, refused};
use crate::serve::site::sieve::Sieve;
use crate::serve::site::stock::{Moving, absent, is};
use crate::serve::site::{Means, SiteJob, SiteNews};

/// How often it is told how far files are.
const TELL: Duration = Duration::from_millis(500);

/// How long many links may take.
const LINKING: Duration = Duration::from_mins(10);

/// How often a file is tried to be written whose directory others remove.
const TRIES: u32 = 50;

/// From how many bytes on it is noted that a host has what is here: less moves in no time.
const COUNTS: u64 = 1 << 20;

/// Most that is passed on from host to host at a time.
const MOST: u64 = 1 << 50;

/// Brings the inputs of jobs, workflow by workflow. Where some cannot be brought, those who read them are refused, and they alone.
pub(super) async fn bring_inputs(means: &Means, ground: &Ground, jobs: &[SiteJob], by: By) -> Result<(), NotSent> {
    let way = &means.way().await.map_err(NotSent::Unreached)?;
    let keys: Vec<JobKey> = jobs.iter().map(|job| job.key).collect();
    let mut failed = BTreeMap::new();
    for (root, mut names) in inputs_of(jobs, by) {
        names.sort_unstable();
        names.dedup();
        let made = LazyLock::new(|| made(jobs, root));
        // What a job made there, or left there, stays, though it is not here.
        let spares = |name: &str| {
            let is_made = |path| made.contains(path) || !means.stock.copies(root, path).is_empty();
            is_made(name) || above(name).any(is_made)
        };
        let bringing = Bringing { means, way, ground, root, keys: &keys, spares: &spares };
        let mut sieve = if jobs.len() > 1 { Sieve::of_many(root, names) } else { Sieve::of_one(root, names) };
        while let Some(names) = sieve.next() {
            match bringing.bring(names.clone()).await {
                Ok(()) => {}
                Err(StageError::Transport(error)) => return Err(NotSent::Unreached(error)),
                // It has to do with none of them.
                Err(error) if names.is_empty() => {
                    return Err(refused(jobs, &Outcome::Stage { message: chain(&error) }));
                }
                Err(error) => sieve.fail(names, &error),
            }
        }
        if !sieve.failed.is_empty() {
            failed.insert(root, sieve.failed);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(without(jobs, by, &failed)) }
}

/// Refuses those of some jobs that read what cannot be brought, by directory and name with the reason.
fn without(jobs: &[SiteJob], by: By, failed: &BTreeMap<&str, BTreeMap<String, String>>) -> NotSent {
    let why = |job: &SiteJob| {
        let inputs = inputs_of(std::slice::from_ref(job), by);
        let why = |(root, names): (&str, Vec<String>)| {
            let of = failed.get(root)?;
            names.iter().find_map(|name| of.get(name).cloned())
        };
        inputs.into_iter().find_map(why)
    };
    let members = jobs.iter().filter_map(|job| Some((job.key, Outcome::Stage { message: why(job)? }, None)));
    NotSent::Refused(members.collect())
}

/// Brings inputs of jobs that are relative to one directory.
struct Bringing<'a> {
    means: &'a Means,
    way: &'a Remote,
    ground: &'a Ground,
    root: &'a str,
    keys: &'a [JobKey],
    /// Says what stays there although it is gone here.
    spares: &'a (dyn Fn(&str) -> bool + Send + Sync),
}

impl Bringing<'_> {
    async fn bring(&self, names: Vec<String>) -> Result<(), StageError> {
        let Self { means, way, ground, root, keys, spares } = *self;
        let sees = sees(means, way, root).await?;
        let names = means.stock.spread(root, names);
        if !sees {
            let place = ground.root(&means.state, root);
            return bring_all(means, way, (root, &place), names, keys, spares).await;
        }
        // What lies on hosts alone is nobody's to see yet.
        let (far, near): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| lies_elsewhere(means, root, name));
        bring_all(means, way, (root, root), far, keys, spares).await?;
        wait_for(way, root, &near).await
    }
}

/// Returns what tasks make in a directory, by the plans of these jobs.
fn made<'a>(jobs: &'a [SiteJob], root: &str) -> HashSet<&'a str> {
    let mut plans: Vec<&Arc<Plan>> = jobs.iter().map(|job| &job.plan).filter(|plan| plan.root == root).collect();
    plans.dedup_by(|one, other| Arc::ptr_eq(one, other));
    let paths = plans.into_iter().flat_map(|plan| plan.paths.iter().zip(&plan.producers));
    paths.filter(|(_, producer)| producer.is_some()).map(|(path, _)| path).collect()
}

/// Finds out whether a host sees a directory of this machine under the same name, and may write there: by a file of which nobody
/// else knows what is in it.
async fn sees(means: &Means, way: &Remote, root: &str) -> Result<bool, StageError> {
    let stock = &means.stock;
    let host = &means.host.name;
    if means.host.simulated.is_some() {
        // It would see all of this machine, and what a workflow forgets to name would be missed elsewhere alone.
        return Ok(false);
    }
    if stock.has_looked(host, root) {
        return Ok(stock.shared(host, root));
    }
    let seen = match Probe::write(root) {
        Some(probe) => {
            let path = probe.path.display().to_string();
            let script = format!("[ ! -w {} ] || cat -- {} 2>/dev/null; exit 0", sh(root), sh(&path));
            let reply = way.exec(Exec::new(script)).await?;
            reply.stdout == probe.word.as_bytes()
        }
        // Where nobody can write, nothing is made either: what lies there is brought.
        None => false,
    };
    tracing::debug!(%host, root, seen, "looked whether the host sees the directory");
    let fact = DataFact::Shared { host: host.clone(), directory: root.to_owned(), seen, at: clock::now() };
    means.learn(vec![fact]).await;
    Ok(seen)
}

/// A file that is there for a moment.
struct Probe {
    path: PathBuf,
    word: String,
}

impl Probe {
    fn write(root: &str) -> Option<Self> {
        let word = word();
        let dir = Path::new(root).join(".csync");
        let path = dir.join(format!("seen-{}", word.get(..16)?));
        // Another host's probe, which is done, takes the directory away in this very moment.
        let written = (0..TRIES).any(|_| fs::create_dir_all(&dir).and_then(|()| fs::write(&path, &word)).is_ok());
        written.then_some(Self { path, word })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
        // Fails when something else is in it.
        drop(self.path.parent().map(fs::remove_dir));
    }
}

/// Draws a word that nobody can guess.
fn word() -> String {
    let mut bytes = [0; 16];
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let salted = [&bytes[..], &clock::now().0.to_le_bytes()].concat();
    blake3::hash(&salted).to_hex().to_string()
}

/// Waits until a host sees what is here: network filesystems show late what another machine wrote.
async fn wait_for(way: &Remote, root: &str, names: &[String]) -> Result<(), StageError> {
    const PAUSES: [u64; 6] = [100, 300, 1000, 3000, 10_000, 30_000];
    for pause in PAUSES.into_iter().map(Some).chain([None]) {
        let there = look(way, root, names.iter().map(String::as_str)).await?;
        let stale = |name: &&String| {
            let here = fs::metadata(Path::new(root).join(name));
            match (here, there.get(*name)) {
                (Ok(here), Some(seen)) => !here.is_dir() && here.len() != seen.size,
                // Not told in a line.
                _ if name.contains('\n') => false,
                _ => true,
            }
        };
        let Some(late) = names.iter().find(stale) else { return Ok(()) };
        let Some(pause) = pause else {
            let words = format!("`{late}` is not there as it is here, although the directory is shared");
            return Err(StageError::There { host: way.host().to_owned(), action: "cannot be used", words });
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Ok(())
}

/// Brings files of `root` to `place`. What somebody else is bringing there already is waited for.
async fn bring_all(
    means: &Means,
    way: &Remote,
    (root, place): (&str, &str),
    names: Vec<String>,
    keys: &[JobKey],
    spares: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<(), StageError> {
    let stock = &means.stock;
    let mut pending = names;
    while !pending.is_empty() {
        let (claim, mine, others) = stock.claim(&means.host.name, place, pending);
        let (far, near): (Vec<_>, Vec<_>) = mine.into_iter().partition(|name| lies_elsewhere(means, root, name));
        // Also where nothing comes from here: what is gone here is not to be read there.
        if !near.is_empty() || place != root {
            let moving = stock.begin(&HostName::local(), &means.host.name, keys.to_vec());
            let ledger = stock.ledger(&means.host.name, place);
            let tidy = Tidy { ledger: &ledger, spares };
            let bringing = bring(way, Path::new(root), place, &near, tidy, moving.meter());
            let moved = told(means, &moving, bringing).await;
            means.learn(moving.finish().into_iter().collect()).await;
            let moved = moved?;
            tracing::debug!(host = %means.host.name, ?moved, "brought");
            note_brought(means, root, &near, moved.bytes > 0).await;
        }
        if !far.is_empty() {
            bring_far(means, way, (root, place), far, keys).await?;
        }
        drop(claim);
        stock.wait(&means.host.name, place, &others).await;
        pending = others;
    }
    Ok(())
}

/// Notes that what is here lies on the host too, where it is large enough for that to count. What this process noted already is the
/// same while nothing of it moved.
pub(super) async fn note_brought(means: &Means, root: &str, names: &[String], moved: bool) {
    let host = &means.host.name;
    let is_new = |name: &&String| !name.starts_with(DATA) && (moved || !means.stock.has_brought(host, root, name));
    let names: Vec<String> = names.iter().filter(is_new).cloned().collect();
    if names.is_empty() || host.is_local() {
        return;
    }
    let (root, host) = (root.to_owned(), host.clone());
    let looking = spawn_blocking(move || {
        let Ok(dir) = Root::open(Path::new(&root)) else { return Vec::new() };
        let at = clock::now();
        let looked = names.into_iter().filter_map(|path| Some((dir.look(&path).ok()??, path)));
        let large = looked.filter(|(print, _)| print.size >= COUNTS);
        large
            .map(|(print, path)| {
                let (size, mtime) = (Bytes(print.size), print.mtime);
                DataFact::Brought(Brought { root: root.clone(), path, host: host.clone(), size, mtime, at })
            })
            .collect()
    });
    // A panic there is reported; nothing is noted then, and the next time it is.
    means.learn(looking.await.unwrap_or_default()).await;
}

fn lies_elsewhere(means: &Means, root: &str, name: &str) -> bool {
    if !means.stock.has_any(root) {
        return false;
    }
    let copies = means.stock.copies(root, name);
    // A dataset's file need not come from here where the host has it.
    let has_it = name.starts_with(DATA) && copies.iter().any(|copy| copy.host == means.host.name);
    !copies.is_empty() && (has_it || fs::symlink_metadata(Path::new(root).join(name)).is_err())
}

/// Brings what lies on hosts alone: from this host itself nothing, from others through here.
async fn bring_far(
    means: &Means,
    way: &Remote,
    (root, place): (&str, &str),
    names: Vec<String>,
    keys: &[JobKey],
) -> Result<(), StageError> {
    let there = look_into(way, place, names.iter().map(String::as_str)).await?;
    let mut pending: Vec<String> = names;
    pending.retain(|name| {
        let copies = means.stock.copies(root, name);
        !copies.first().is_some_and(|copy| there.get(name).is_some_and(|seen| is(seen, copy)))
    });
    while !pending.is_empty() {
        let missing = bring_from_copies(means, way, (root, place), pending, keys).await?;
        // The next copy, where there is one.
        pending = missing.iter().map(|gone| gone.path.clone()).collect();
        if let Some(gone) = missing.iter().find(|gone| means.stock.copies(root, &gone.path).is_empty()) {
            let name = &gone.path;
            let words = match name.strip_prefix(DATA) {
                Some(rest) => format!("`data:{rest}` is gone from {}, and no other copy is known", gone.place),
                None => {
                    format!(
                        "`{name}` is gone from where a task left it, {}, or changed there; submit again to make it anew",
                        gone.place
                    )
                }
            };
            return Err(StageError::There { host: gone.host.to_string(), action: "cannot give it", words });
        }
    }
    Ok(())
}

/// Brings files from one copy of each; returns those that were not where they had been seen, which is noted.
async fn bring_from_copies(
    means: &Means,
    way: &Remote,
    (root, place): (&str, &str),
    names: Vec<String>,
    keys: &[JobKey],
) -> Result<Vec<Replica>, StageError> {
    let mut sources: BTreeMap<(HostName, String, String), Vec<Replica>> = BTreeMap::new();
    for name in names {
        let mut copies = means.stock.copies(root, &name);
        let prefix = within(&name).0;
        let own = joined(place, prefix);
        // This host's own need not move. One that should lie where it is wanted is not there, as was just seen.
        copies.sort_by_key(|copy| (copy.host == means.host.name && copy.place == own, copy.host != means.host.name));
        let Some(copy) = copies.into_iter().next() else {
            let words = format!("nobody knows any more where `{name}` lies; submit again to make it anew");
            return Err(StageError::There { host: means.host.name.to_string(), action: "cannot be given it", words });
        };
        sources.entry((copy.host.clone(), copy.place.clone(), prefix.to_owned())).or_default().push(copy);
    }
    let mut lacking = Vec::new();
    for ((host, from, prefix), mut copies) in sources {
        let source = means.stock.way(&host).await?;
        let place = &joined(place, &prefix);
        let names: Vec<String> = copies.iter().map(|copy| within(&copy.path).1.to_owned()).collect();
        // Nothing is written into a dataset to find out who sees it.
        let may_be_seen =
            host == means.host.name || !prefix.is_empty() || alike(&source, way, &from).await?.unwrap_or(false);
        // A link to what is not there would pass for the file itself.
        let absent_here = if may_be_seen { absent(way, &from, &copies).await? } else { HashSet::new() };
        let is_seen = may_be_seen && (prefix.is_empty() || host == means.host.name || absent_here.is_empty());
        let missing = if is_seen {
            let there: Vec<String> = names.into_iter().filter(|name| !absent_here.contains(name)).collect();
            link(way, &from, place, &there).await?;
            absent_here
        } else {
            // What is left of a directory would pass for the whole.
            let mut absent = if prefix.is_empty() { absent(&source, &from, &copies).await? } else { HashSet::new() };
            let names: Vec<String> = names.into_iter().filter(|name| !absent.contains(name)).collect();
            let moving = means.stock.begin(&host, &means.host.name, keys.to_vec());
            let how = means.stock.direct(&host, &means.host.name).await;
            let passing = relay((&source, &from), (way, place), &names, MOST, how.as_ref(), moving.meter());
            let passed = told(means, &moving, passing).await;
            means.learn(moving.finish().into_iter().collect()).await;
            let (moved, missing) = passed?;
            tracing::debug!(%host, to = %means.host.name, ?moved, "passed on");
            absent.extend(missing);
            absent
        };
        if !missing.is_empty() {
            let gone = copies.extract_if(.., |copy| missing.contains(within(&copy.path).1));
            let gone: Vec<Replica> = gone.collect();
            // So that what makes it runs again with the next submission.
            let fact = |copy: &Replica| DataFact::Gone {
                root: root.to_owned(),
                path: copy.path.clone(),
                host: Some(host.clone()),
            };
            means.learn(gone.iter().map(fact).collect()).await;
            lacking.extend(gone);
        }
        // A dataset's own place goes before the copy for a workflow.
        copies.retain(|copy| prefix.is_empty() || copy.host != means.host.name);
        let lies = |copy: Replica| {
            DataFact::Lies(Replica { host: means.host.name.clone(), place: place.to_owned(), at: clock::now(), ..copy })
        };
        means.learn(copies.into_iter().map(lies).collect()).await;
    }
    Ok(lacking)
}

/// Finds out whether a host sees a directory of another under the same name; nothing where the other cannot write into it.
async fn alike(source: &Remote, target: &Remote, dir: &str) -> Result<Option<bool>, StageError> {
    let word = word();
    let name = format!("{}/.csync-seen-{}", dir.trim_end_matches('/'), word.get(..16).unwrap_or_default());
    let name = sh(&name);
    let wrote = source.exec(Exec::new(format!("umask 077; printf %s {word} >{name}"))).await?;
    if !wrote.status.is_success() {
        // Read-only or full: then there may be an empty one.
        source.exec(Exec::new(format!("rm -f {name}"))).await?;
        return Ok(None);
    }
    let read = target.exec(Exec::new(format!("cat {name} 2>/dev/null; exit 0"))).await;
    source.exec(Exec::new(format!("rm -f {name}"))).await?;
    Ok(Some(read?.stdout == word.as_bytes()))
}

/// Finds out whether one host sees the directory of another, which that one makes where it is not there, under this name or another;
/// nothing where it cannot write into it.
///
/// # Errors
/// When a host cannot be asked.
pub async fn is_one(one: (&Remote, &str), other: (&Remote, &str)) -> Result<Option<bool>, StageError> {
    let word = word();
    let file = |dir: &str| format!("{}/.csync-seen-{}", dir.trim_end_matches('/'), word.get(..16).unwrap_or_default());
    let (mine, theirs) = (sh(&file(one.1)).into_owned(), sh(&file(other.1)).into_owned());
    let script = format!("umask 077; mkdir -p {} && : >{mine}", sh(one.1));
    let is_written = one.0.exec(Exec::new(script)).await?.status.is_success();
    // That it is there is enough: what is in it may show later.
    let seen = if is_written {
        Some(other.0.exec(Exec::new(format!("[ -e {theirs} ] && echo seen; exit 0"))).await)
    } else {
        None
    };
    one.0.exec(Exec::new(format!("rm -f {mine}"))).await?;
    Ok(seen.transpose()?.map(|reply| !reply.stdout.is_empty()))
}

/// Makes files known under other names on a host, without moving anything.
async fn link(way: &Remote, from: &str, to: &str, names: &[String]) -> Result<(), StageError> {
    let mut script = "umask 077\n".to_owned();
    let mut made = HashSet::new();
    for name in names {
        let (source, target) = (format!("{from}/{name}"), format!("{to}/{name}"));
        let dir = target.rsplit_once('/').map_or(".", |(dir, _)| dir).to_owned();
        let (source, target) = (sh(&source), sh(&target));
        if !made.contains(&dir) {
            let _infallible = writeln!(script, "mkdir -p {} || exit 1", sh(&dir));
            made.insert(dir);
        }
        let _infallible = writeln!(
            script,
            "if [ ! -d {source} ]; then ln -f {source} {target} 2>/dev/null || ln -sf {source} {target} || exit 1\n\
             elif [ ! {source} -ef {target} ]; then\n\
             rm -rf {target} && {{ cp -pRLl {source} {target} 2>/dev/null || {{ rm -rf {target} && cp -pRL {source} {target}; }}; }} || exit 1\n\
             fi"
        );
    }
    let reply = way.exec(Exec::new(script).within(LINKING)).await?;
    if reply.status.is_success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&reply.stderr).trim().to_owned();
    Err(StageError::There { host: way.host().to_owned(), action: "makes no link", words })
}

/// Does something that takes time, and has it told how far it is.
pub(super) async fn told<T>(means: &Means, moving: &Moving, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let mut ticks = interval(TELL);
    ticks.tick().await;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = ticks.tick() => means.reporter.say(SiteNews::Moving(moving.runs())).await,
        }
    }
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

impl Means {
    /// Takes in what was learned of data, and has it written down.
    pub(super) async fn learn(&self, facts: Vec<DataFact>) {
        if !facts.is_empty() {
            self.stock.take_in(&facts);
            self.reporter.say(SiteNews::Data(facts)).await;
        }
    }

    /// Returns what stands for a workflow's directory on the host: itself, where the host sees it.
    pub(super) fn root(&self, ground: &Ground, root: &str) -> String {
        if self.stock.shared(&self.host.name, root) { root.to_owned() } else { ground.root(&self.state, root) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_look_at_the_same_time_take_nothing_from_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let probe = Probe::write(root).expect("a file that the others' ends do not keep from being");
                        assert_eq!(fs::read_to_string(&probe.path).unwrap(), probe.word);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(root).unwrap().count(), 0, "nothing is left");
    }
}
