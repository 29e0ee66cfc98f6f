//! Back from a host: outputs of what succeeded, and what every member printed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::language::container::pulled_name;
use crate::language::manifest::{absolute, shown, within};
use crate::language::quote::sh;
use crate::model::api::Stream;
use crate::model::data::{DATA, DataFact, Elsewhere, IMAGES, Replica, counts};
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
use crate::serve::site::send::{Ground, with_tree};
use crate::serve::site::stock::Stock;
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
    if let Err(StageError::Transport(error)) = logs(means, &way, ground, &sent, &members).await {
        return later(&members, error);
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
    let mut outputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, job, _) in members.iter().filter(|(.., ended)| ended.outcome == Outcome::Success) {
        let of = outputs.entry(job.plan.root.clone()).or_default();
        of.extend(job.plan.outputs(job.key.instance).iter().map(|&path| job.plan.path(path).to_owned()));
    }
    let mut failed: BTreeMap<String, String> = BTreeMap::new();
    let mut left: BTreeMap<String, BTreeMap<String, Seen>> = BTreeMap::new();
    let keys: Vec<JobKey> = members.iter().map(|(_, job, _)| job.key).collect();
    for (root, names) in outputs {
        match bring_back(means, &way, (&root, &ground.root(&means.state, &root)), &names, &keys).await {
            Ok(stays) => drop(left.insert(root, stays)),
            Err(StageError::Transport(error)) => return later(&members, error),
            Err(error) => drop(failed.insert(root, chain(&error))),
        }
    }
    if last
        && let Some((_, job, ended)) =
            members.iter_mut().find(|(_, job, _)| with_tree(std::slice::from_ref(job)).is_some())
    {
        match collect(&way, ground, name, &job.plan.root, sent.at, RESULTS).await {
            Ok(collected) => ended.notes.extend(collected.notes),
            Err(StageError::Transport(error)) => return later(&members, error),
            Err(error) => drop(failed.insert(job.plan.root.clone(), chain(&error))),
        }
    }
    let back = Back { host: means.host.name.clone(), failed, left, stock: Arc::clone(&means.stock) };
    let done = spawn_blocking(move || members.into_iter().map(|member| settle(member, &back)).collect()).await;
    // A panic there is reported; the members are seen again by the next look.
    done.unwrap_or_default()
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

/// What came back, by workflows' directories.
struct Back {
    host: HostName,
    /// Why nothing did.
    failed: BTreeMap<String, String>,
    /// What stays on the host.
    left: BTreeMap<String, BTreeMap<String, Seen>>,
    stock: Arc<Stock>,
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
    let elsewhere =
        if back.stock.has_any(&plan.root) { back.stock.elsewhere(&plan.root) } else { Elsewhere::default() };
    let left = |path: PathId| Some((plan.path(path), back.left.get(&plan.root)?.get(plan.path(path))?));
    if ended.outcome == Outcome::Success
        && let Some(message) = back.failed.get(&plan.root)
    {
        ended.outcome = Outcome::Stage { message: message.clone() };
    }
    if ended.outcome == Outcome::Success {
        let here = |path| PathBuf::from(absolute(&plan.root, plan.path(path)));
        // What nothing is remembered of need not be looked at.
        let inputs = plan.inputs(job.key.instance).iter().filter(|_| plan.task_of(job.key.instance).cache);
        let input = |path| {
            let (seen, there) = (fingerprint(&here(path), false).ok().flatten(), elsewhere.get(plan.path(path)));
            let is_here = |path: &str| Path::new(&plan.root).join(path).symlink_metadata().is_ok();
            match plan.producer(path) {
                _ if plan.path(path).starts_with(DATA) => counts(seen, there),
                Some(_) => seen.or(there),
                None => elsewhere.with(plan.path(path), seen, is_here),
            }
        };
        ended.inputs = inputs.map(|&path| input(path)).collect();
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

/// Fetches what members printed to where the logs of local ones are.
async fn logs(
    means: &Means,
    way: &Remote,
    ground: &Ground,
    sent: &Sent,
    members: &[(u32, SiteJob, Ended)],
) -> Result<(), StageError> {
    let (name, marked) = (&sent.name, is_marked(sent));
    let started = members.iter().filter(|(.., ended)| ended.started.is_some());
    // What a container prints was heard as it came.
    let started = started.filter(|_| !marked);
    let names: Vec<String> =
        started.flat_map(|(index, ..)| [format!("{index}/stdout"), format!("{index}/stderr")]).collect();
    if names.is_empty() {
        return Ok(());
    }
    let incoming = means.state.root().join("incoming").join(name.as_str());
    let unusable = |source| StageError::Here { path: incoming.clone(), source };
    fs::create_dir_all(&incoming).map_err(unusable)?;
    let directory = ground.submission(name);
    let most = (LOGS / names.len() as u64).max(LOG);
    prune(way, &directory, &names, most).await?;
    let all = (most + LOG) * names.len() as u64;
    let fetched = stage::fetch(way, &directory, &incoming, &names, Take::up_to(all), &Meter::default()).await;
    for (index, job, _) in members {
        for (file, stream) in [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)] {
            keep(&incoming.join(index.to_string()).join(file), &means.state, job, stream);
        }
    }
    // What is left is of no use to anybody.
    fs::remove_dir_all(&incoming).ok();
    match fetched {
        Err(error @ StageError::Transport(_)) => Err(error),
        Err(error) => {
            tracing::warn!(host = %means.host.name, error = chain(&error), "what jobs printed was not fetched");
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// Cuts the middle out of what is too large to be fetched, on the host; what is no file any more is nobody's log.
async fn prune(way: &Remote, directory: &str, names: &[String], most: u64) -> Result<(), StageError> {
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

/// Puts a log where it belongs; one without a word is not kept.
fn keep(from: &Path, state: &StateDir, job: &SiteJob, stream: Stream) {
    if fs::metadata(from).map_or(true, |meta| meta.len() == 0) {
        return;
    }
    let to = state.log(job.key, stream);
    let kept = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| complete(from, &to));
    if let Err(error) = kept {
        tracing::warn!(log = %to.display(), %error, "a log cannot be kept");
    }
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
