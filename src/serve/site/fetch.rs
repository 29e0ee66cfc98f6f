//! Back from a host: outputs of what succeeded, and what every member printed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::language::container::pulled_name;
use crate::language::manifest::{absolute, shown, within};
use crate::language::quote::sh;
use crate::model::api::Stream;
use crate::model::data::{DataFact, Elsewhere, IMAGES, Replica};
use crate::model::host::HostName;
use crate::model::id::{JobKey, PathId};
use crate::model::job::{Ended, Outcome};
use crate::model::plan::Fingerprint;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::files::look::fingerprint;
use crate::reach::stage::{self, Seen, StageError, Take};
use crate::reach::store::Sent;
use crate::reach::transport::{Exec, Meter, Remote, Transport, TransportError};
use crate::serve::site::boxes::is_marked;
use crate::serve::site::home::alone;
use crate::serve::site::inputs::{chain, note_brought, told};
use crate::serve::site::prints::Prints;
use crate::serve::site::send::{Ground, with_tree};
use crate::serve::site::tree::{RESULTS, collect};
use crate::serve::site::{Means, SiteJob};

/// Most that is fetched of the outputs of one submission at a time.
const OUTPUTS: u64 = 1 << 40;
/// Most that is fetched of what a submission's members printed.
const LOGS: u64 = 256 << 20;

/// How long cutting logs may take.
const PRUNING: Duration = Duration::from_mins(5);
/// Least that is fetched of each log, however many there are.
const LOG: u64 = 64 << 10;

/// How long it is waited before logs are fetched again that could not be written here, in milliseconds.
const AGAIN: [u64; 2] = [200, 2000];

/// What came of fetching what a member made.
#[derive(Debug)]
pub(super) enum Fetched {
    /// It is over.
    Ended(Box<Ended>),
    /// The host was lost: to be tried again.
    Later(TransportError),
}

/// What is fetched.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The submission.
    pub(super) sent: Sent,
    /// Members that are over.
    pub(super) members: Vec<(u32, SiteJob, Ended)>,
    /// Whether no other member is left that could still write.
    pub(super) last: bool,
}

/// Fetches what members made and printed.
pub(super) async fn fetch(means: &Means, ground: &Ground, wanted: Wanted) -> Vec<(u32, Fetched)> {
    let Wanted { sent, mut members, last } = wanted;
    means.learn(lost_images(means, &members)).await;
    let name = &sent.name;
    let way = match means.way().await {
        Ok(way) => way,
        Err(error) => return later(&members, error),
    };
    let lost = match logs(means, &way, ground, &sent, &members).await {
        Ok(lost) => lost,
        Err(error) => return later(&members, error),
    };
    for (index, _, ended) in &mut members {
        ended.notes.extend(lost.get(index).map(|why| format!("not all that it printed came back: {why}")));
    }
    match escaped(means, &way, ground, &members).await {
        Err(error) => return later(&members, error),
        Ok(escaped) => {
            for (_, job, ended) in &mut members {
                if let Some(message) = escaped.get(&job.key) {
                    ended.outcome = Outcome::Stage { message: message.clone() };
                }
            }
        }
    }
    let Made { mut failed, left } = match outputs(means, &way, ground, &members).await {
        Ok(made) => made,
        Err(error) => return later(&members, error),
    };
    if last
        && let Some((_, job, ended)) =
            members.iter_mut().find(|(_, job, _)| with_tree(std::slice::from_ref(job)).is_some())
    {
        match collect(&way, ground, name, &job.plan.root, sent.at, RESULTS).await {
            Ok(collected) => ended.notes.extend(collected.notes),
            Err(StageError::Transport(error)) => return later(&members, error),
            Err(error) => failed.extend(members.iter().map(|(_, job, _)| (job.key, chain(&error)))),
        }
    }
    let roots: BTreeSet<&String> = members.iter().map(|(_, job, _)| &job.plan.root).collect();
    let elsewhere = roots.into_iter().map(|root| (root.clone(), means.stock.elsewhere(root))).collect();
    let (host, state) = (means.host.name.clone(), means.state.clone());
    let done = spawn_blocking(move || {
        let back = Back { host, failed, left, elsewhere, prints: Prints::of(&state, &sent) };
        members.into_iter().map(|member| settle(member, &back)).collect()
    });
    // A panic there is reported; the members are seen again by the next look.
    done.await.unwrap_or_default()
}

/// What came of fetching outputs.
#[derive(Default)]
struct Made {
    /// Why those of a member did not come.
    failed: HashMap<JobKey, String>,
    /// What stays on the host, by workflows' directories.
    left: BTreeMap<String, BTreeMap<String, Seen>>,
}

/// Brings back what members made that succeeded. Where that fails, it is done with each half of them apart: what one made that cannot be
/// had does not keep what the others made from coming.
async fn outputs(
    means: &Means,
    way: &Remote,
    ground: &Ground,
    members: &[(u32, SiteJob, Ended)],
) -> Result<Made, TransportError> {
    let mut makers: BTreeMap<&str, Vec<&SiteJob>> = BTreeMap::new();
    for (_, job, _) in members.iter().filter(|(.., ended)| ended.outcome == Outcome::Success) {
        if !job.plan.outputs(job.key.instance).is_empty() {
            makers.entry(job.plan.root.as_str()).or_default().push(job);
        }
    }
    let mut made = Made::default();
    for (root, jobs) in makers {
        let place = ground.root(&means.state, root);
        let mut parts = vec![jobs.as_slice()];
        while let Some(part) = parts.pop() {
            let keys: Vec<JobKey> = part.iter().map(|job| job.key).collect();
            let names: Vec<String> = part.iter().flat_map(|job| outputs_of(job)).collect();
            match bring_back(means, way, (root, &place), &names, &keys).await {
                Ok(stays) => made.left.entry(root.to_owned()).or_default().extend(stays),
                Err(StageError::Transport(error)) => return Err(error),
                Err(error) if part.len() > 1 && !is_full(&error) => parts.extend(halves(part)),
                Err(error) => made.failed.extend(keys.into_iter().map(|key| (key, chain(&error)))),
            }
        }
    }
    Ok(made)
}

fn outputs_of(job: &SiteJob) -> impl Iterator<Item = String> {
    let plan = &job.plan;
    plan.outputs(job.key.instance).iter().map(|&path| plan.path(path).to_owned())
}

fn halves<T>(part: &[T]) -> [&[T]; 2] {
    let (first, second) = part.split_at(part.len() / 2);
    [first, second]
}

/// Returns whether nothing can be written here, whoever made it.
fn is_full(error: &StageError) -> bool {
    let StageError::Here { source, .. } = error else { return false };
    matches!(source.kind(), ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem | ErrorKind::StorageFull)
}

/// Returns what is wrong with what containers made: an output that is a link to what its container did not see is not fetched.
async fn escaped(
    means: &Means,
    way: &Remote,
    ground: &Ground,
    members: &[(u32, SiteJob, Ended)],
) -> Result<HashMap<JobKey, String>, TransportError> {
    let (mut asked, mut list) = (Vec::new(), Vec::new());
    for (_, job, _) in members.iter().filter(|(.., ended)| ended.outcome == Outcome::Success) {
        let (plan, instance) = (&job.plan, job.key.instance);
        let task = plan.task_of(instance);
        if task.container.is_none() || task.tree || plan.outputs(instance).is_empty() {
            continue;
        }
        let root = means.root(ground, &plan.root);
        let shown = shown(plan, &root, instance);
        let outputs: Vec<String> =
            plan.outputs(instance).iter().map(|&path| absolute(&root, plan.path(path))).collect();
        for path in shown.iter().chain(&outputs) {
            list.extend([path.as_bytes(), b"\0"].concat());
        }
        asked.push((job.key, shown.len(), outputs));
    }
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let script = "xargs -0 sh -c 'for p; do readlink -f -- \"$p\" || echo; printf \"\\0\"; done' sh";
    let reply = way.exec(Exec::new(script).reading(list)).await?;
    let text = String::from_utf8_lossy(&reply.stdout).into_owned();
    let mut real = text.split('\0').map(|path| path.strip_suffix('\n').unwrap_or(path));
    let mut escaped = HashMap::new();
    for (key, shown, outputs) in asked {
        let shown: Vec<&str> = real.by_ref().take(shown).filter(|path| !path.is_empty()).collect();
        for (output, target) in outputs.iter().zip(real.by_ref().take(outputs.len()).collect::<Vec<_>>()) {
            if !target.is_empty() && !shown.iter().any(|dir| within(target, dir)) {
                let message =
                    format!("its output {output} is a link that leads out of what its container sees, to {target}");
                escaped.insert(key, message);
            }
        }
    }
    Ok(escaped)
}

/// Returns what is known no more of the host's images: where a container could not be started, its image may be gone.
fn lost_images(means: &Means, members: &[(u32, SiteJob, Ended)]) -> Vec<DataFact> {
    let failed = members.iter().filter(|(.., ended)| matches!(ended.outcome, Outcome::Exit { code: 125, .. }));
    let names = failed.filter_map(|(_, job, _)| pulled_name(job.plan.task_of(job.key.instance).container.as_deref()?));
    let known = names.filter(|name| !means.stock.copies(IMAGES, name).is_empty());
    known.map(|path| DataFact::Gone { root: IMAGES.to_owned(), path, host: Some(means.host.name.clone()) }).collect()
}

/// What came back, and by what it is looked at.
struct Back {
    host: HostName,
    /// Why what a member made did not.
    failed: HashMap<JobKey, String>,
    /// What stays on the host, by workflows' directories.
    left: BTreeMap<String, BTreeMap<String, Seen>>,
    /// What lies on hosts, by workflows' directories.
    elsewhere: HashMap<String, Elsewhere>,
    /// What was read.
    prints: Prints,
}

/// Brings outputs back to `root` from `place`, but for those that are too large; returns these.
async fn bring_back(
    means: &Means,
    way: &Remote,
    (root, place): (&str, &str),
    names: &[String],
    keys: &[JobKey],
) -> Result<BTreeMap<String, Seen>, StageError> {
    if means.stock.shared(&means.host.name, root) {
        show_up(Path::new(root), names).await;
        return Ok(BTreeMap::new());
    }
    let take = Take { limit: OUTPUTS, leave: means.host.keep_above.0 };
    // A person may be fetching what an earlier run left.
    let _mine = alone(&means.stock, root, names).await;
    let moving = means.stock.begin(&means.host.name, &HostName::local(), keys.to_vec());
    let fetching = stage::fetch(way, place, Path::new(root), names, take, moving.meter());
    let fetched = told(means, &moving, fetching).await;
    let mut facts: Vec<DataFact> = moving.finish().into_iter().collect();
    let fetched = fetched?;
    tracing::debug!(host = %means.host.name, moved = ?fetched.moved, left = fetched.left.len(), "fetched");
    let left: BTreeMap<String, Seen> = fetched.left.into_iter().collect();
    if means.stock.has_any(root) {
        let back = names.iter().filter(|name| !left.contains_key(*name) && !means.stock.copies(root, name).is_empty());
        facts.extend(back.map(|name| DataFact::Gone { root: root.to_owned(), path: name.clone(), host: None }));
    }
    for (name, seen) in &left {
        // What an earlier run left here is not what this one made. A directory with anything in it would have come.
        let path = Path::new(root).join(name);
        drop(fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)));
        facts.push(DataFact::Gone { root: root.to_owned(), path: name.clone(), host: None });
        facts.push(DataFact::Lies(Replica {
            root: root.to_owned(),
            path: name.clone(),
            host: means.host.name.clone(),
            place: place.to_owned(),
            size: Bytes(seen.size),
            mtime: seen.mtime,
            at: clock::now(),
        }));
    }
    means.learn(facts).await;
    let back: Vec<String> = names.iter().filter(|name| !left.contains_key(*name)).cloned().collect();
    note_brought(means, root, &back, true).await;
    Ok(left)
}

/// Waits until this machine sees what a host wrote: network filesystems show it late.
async fn show_up(root: &Path, names: &[String]) {
    for pause in [50, 100, 300, 1000, 3000, 10_000] {
        // Listing a directory has its names asked for again.
        let dirs: BTreeSet<&Path> = names.iter().filter_map(|name| Path::new(name).parent()).collect();
        for dir in dirs {
            drop(fs::read_dir(root.join(dir)));
        }
        if names.iter().all(|name| root.join(name).exists()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

fn later(members: &[(u32, SiteJob, Ended)], error: TransportError) -> Vec<(u32, Fetched)> {
    let words = error.to_string();
    let mut first = Some(error);
    let again = |_: &(u32, SiteJob, Ended)| {
        first.take().unwrap_or_else(|| TransportError::Configuration { host: String::new(), detail: words.clone() })
    };
    let mut again = again;
    members.iter().map(|member| (member.0, Fetched::Later(again(member)))).collect()
}

/// Looks at what came, as the up-to-date checks of later runs will.
fn settle((index, job, mut ended): (u32, SiteJob, Ended), back: &Back) -> (u32, Fetched) {
    let plan = &job.plan;
    let left = |path: PathId| Some((plan.path(path), back.left.get(&plan.root)?.get(plan.path(path))?));
    if ended.outcome == Outcome::Success
        && let Some(message) = back.failed.get(&job.key)
    {
        ended.outcome = Outcome::Stage { message: message.clone() };
    }
    if ended.outcome == Outcome::Success {
        let here = |path| PathBuf::from(absolute(&plan.root, plan.path(path)));
        // What nothing is remembered of need not be looked at.
        let inputs = plan.inputs(job.key.instance).iter().filter(|_| plan.task_of(job.key.instance).cache);
        let nowhere = Elsewhere::default();
        let elsewhere = back.elsewhere.get(&plan.root).unwrap_or(&nowhere);
        ended.inputs = inputs.map(|&path| back.prints.input(plan, path, elsewhere)).collect();
        let outputs = plan.outputs(job.key.instance);
        let stays = |(_, seen): (&str, &Seen)| Fingerprint {
            size: seen.size,
            mtime: seen.mtime.saturating_mul(1_000_000),
            hash: None,
        };
        let output = |path| left(path).map(stays).or_else(|| fingerprint(&here(path), true).ok().flatten());
        ended.outputs = outputs.iter().map(|&path| output(path)).collect();
        ended.notes.extend(outputs.iter().filter_map(|&path| left(path)).map(|(name, seen)| {
            let size = Bytes(seen.size);
            format!("output `{name}` ({size}) stays on {}; `csync data get {name}` brings it", back.host)
        }));
        let missing: Vec<&str> = outputs
            .iter()
            .zip(&ended.outputs)
            .filter(|(_, print)| print.is_none())
            .map(|(&path, _)| plan.path(path))
            .collect();
        if !missing.is_empty() {
            let message = format!("did not come back from the host: {}", missing.join(", "));
            ended.outcome = Outcome::Stage { message };
            ended.outputs.clear();
        }
    }
    (index, Fetched::Ended(Box::new(ended)))
}

/// Fetches what members printed to where the logs of local ones are; returns why not all of it came, of those of which it did not. What
/// is wrong with one log does not keep the others from coming.
async fn logs(
    means: &Means,
    way: &Remote,
    ground: &Ground,
    sent: &Sent,
    members: &[(u32, SiteJob, Ended)],
) -> Result<BTreeMap<u32, String>, TransportError> {
    let mut lost = BTreeMap::new();
    // What a container prints was heard as it came.
    let marked = is_marked(sent);
    let started: Vec<_> = members.iter().filter(|(.., ended)| ended.started.is_some() && !marked).collect();
    let Some((first, ..)) = started.first() else { return Ok(lost) };
    // Other members may be over while these are fetched: no two fetches share a directory.
    let incoming = means.state.incoming(&sent.name).join(first.to_string());
    let directory = ground.submission(&sent.name);
    let names_of = |part: &[&(u32, SiteJob, Ended)]| -> Vec<String> {
        part.iter().flat_map(|(index, ..)| [format!("{index}/stdout"), format!("{index}/stderr")]).collect()
    };
    let names = names_of(&started);
    let most = (LOGS / names.len() as u64).max(LOG);
    prune(way, &directory, &names, most).await?;
    let mut parts = vec![started.as_slice()];
    while let Some(part) = parts.pop() {
        let fetched = printed(way, (&directory, &incoming), &names_of(part), most).await;
        let everybodys = matches!(fetched, Err(StageError::Transport(_) | StageError::Here { .. }));
        if fetched.is_err() && part.len() > 1 && !everybodys {
            parts.extend(halves(part));
            continue;
        }
        let why = fetched.as_ref().err().map(|error| chain(error));
        for (index, job, _) in part {
            let kept = keep_both(&incoming.join(index.to_string()), &means.state, job);
            let why = why.clone().or_else(|| Some(format!("it cannot be kept: {}", kept.err()?)));
            lost.extend(why.map(|why| (*index, why)));
        }
        if let Err(StageError::Transport(error)) = fetched {
            return Err(error);
        }
    }
    // What is left is of no use to anybody.
    fs::remove_dir_all(&incoming).ok();
    if let Some((_, why)) = lost.first_key_value() {
        tracing::warn!(host = %means.host.name, members = lost.len(), why, "not all that jobs printed was fetched");
    }
    Ok(lost)
}

/// Fetches logs from one directory to another, again in a while where they cannot be written here.
async fn printed(way: &Remote, (from, to): (&str, &Path), names: &[String], most: u64) -> Result<(), StageError> {
    let all = (most + LOG) * names.len() as u64;
    let mut pauses = AGAIN.into_iter();
    loop {
        let made = fs::create_dir_all(to).map_err(|source| StageError::Here { path: to.to_owned(), source });
        let fetched = match made {
            Ok(()) => stage::fetch(way, from, to, names, Take::up_to(all), &Meter::default()).await,
            Err(error) => Err(error),
        };
        match (fetched, pauses.next()) {
            (Err(StageError::Here { .. }), Some(pause)) => tokio::time::sleep(Duration::from_millis(pause)).await,
            (fetched, _) => return fetched.map(drop),
        }
    }
}

/// Cuts the middle out of what is too large to be fetched, on the host; what is no file any more is nobody's log.
async fn prune(way: &Remote, directory: &str, names: &[String], most: u64) -> Result<(), TransportError> {
    let half = most / 2;
    // One `find` looks at them all; hardly ever there is more to do.
    let script = format!(
        "cd -- {directory} || exit 0\n\
         xargs -0 sh -c 'find \"$@\" -prune \\( ! -type f -o -size +{most}c \\) 2>/dev/null' sh | while IFS= read -r f; do\n\
         if [ -h \"$f\" ] || [ ! -f \"$f\" ]; then rm -rf -- \"$f\"; continue; fi\n\
         n=$(wc -c <\"$f\")\n\
         {{ head -c {half} \"$f\"; printf '\\n[csync: %s bytes were left out here]\\n' $((n - 2 * {half})); tail -c {half} \"$f\"; }} \
         >\"$f.cut\" && mv -f -- \"$f.cut\" \"$f\"\n\
         rm -f -- \"$f.cut\"\n\
         done",
        directory = sh(directory)
    );
    let list: Vec<u8> = names.iter().flat_map(|name| [b"./", name.as_bytes(), b"\0"].concat()).collect();
    // Where that fails, the fetch says why.
    way.exec(Exec::new(script).reading(list).within(PRUNING)).await?;
    Ok(())
}

/// Puts what a member printed where it belongs; a log without a word is not kept.
fn keep_both(from: &Path, state: &StateDir, job: &SiteJob) -> io::Result<()> {
    let keep = |(file, stream)| {
        let (from, to) = (from.join(file), state.log(job.key, stream));
        if fs::metadata(&from).map_or(true, |meta| meta.len() == 0) {
            return Ok(());
        }
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        complete(&from, &to)
    };
    // Both, whatever becomes of the first.
    let kept = [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)].map(keep);
    kept.into_iter().collect()
}

/// Puts a log where it belongs. Where somebody followed it, its beginning is there and may be open: then the rest is added.
fn complete(from: &Path, to: &Path) -> io::Result<()> {
    let there = fs::metadata(to).map_or(0, |meta| meta.len());
    let whole = fs::metadata(from)?.len();
    if there == 0 || there > whole {
        return fs::rename(from, to);
    }
    let mut rest = fs::File::open(from)?;
    rest.seek(SeekFrom::Start(there))?;
    io::copy(&mut rest, &mut fs::File::options().append(true).open(to)?)?;
    Ok(())
}
