//! Out to a host: which jobs go together, what they need there, and the submission itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::decide::engine::protocol::Stage;
use crate::language::batch;
use crate::language::batch::call::Call;
use crate::language::batch::room::{is_full, make_room, one_line};
use crate::language::batch::wrapper::{
    BadMember, File, Member, batch_script, detach_command, looking_script, submission_files,
};
use crate::language::locale::OWN;
use crate::language::manifest::{Rendered, absolute, contain, render_at};
use crate::language::probe::note_script;
use crate::language::quote::sh;
use crate::model::batch::{BatchId, JobName, Refusal, RefusalKind, Reply, Submitted};
use crate::model::host::{Host, HostPath};
use crate::model::id::{JobKey, PathId};
use crate::model::job::Outcome;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::store::Sent;
use crate::reach::transport::{Exec, Remote, Transport, TransportError};
use crate::serve::site::boxes::{archive_of, is_boxed};
use crate::serve::site::doubt::started;
use crate::serve::site::images::{ready, wish};
use crate::serve::site::inputs::bring_inputs;
use crate::serve::site::prints;
use crate::serve::site::said::{request, submission};
use crate::serve::site::tree::{copy_script, list};
use crate::serve::site::{Means, SiteJob, SiteNews};

/// Where job directories live on a host where nobody said.
const SCRATCH: &str = "~/.csync";
/// Seconds between the request to end and the end.
const GRACE: u64 = 10;
/// Most that is kept of what a job prints, on each stream.
pub(super) const PRINTED: Bytes = Bytes(1 << 30);
/// How long a host may take to answer before anything is submitted.
const ANSWERING: Duration = Duration::from_secs(30);
/// How long a submission may take.
const SUBMITTING: Duration = Duration::from_mins(5);

/// What is known of a host once it was entered.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Where everything of ours lies, absolute.
    pub(super) scratch: String,
}

impl Ground {
    /// Returns the directory of a submission.
    pub(super) fn submission(&self, name: &JobName) -> String {
        format!("{}/jobs/{name}", self.scratch)
    }

    /// Returns the copy of a workflow's directory that a submission works in.
    pub(super) fn work(&self, name: &JobName) -> String {
        format!("{}/work", self.submission(name))
    }

    /// Returns where images are kept that were made ready for jobs.
    pub fn images(&self) -> String {
        format!("{}/images", self.scratch)
    }

    /// Returns the directory that stands for a workflow's directory. Every state directory has its own: on another machine of the same
    /// person something else lies under the same path, and the jobs of the one would read what the other brought.
    pub fn root(&self, state: &StateDir, root: &str) -> String {
        let hash = blake3::hash(format!("{}\n{root}", state.id()).as_bytes()).to_hex();
        format!("{}/trees/{}{}", self.scratch, trees(state), hash.get(..16).unwrap_or_default())
    }
}

/// Returns the beginning of the names of what stands for the directories of a state directory's workflows.
pub(super) fn trees(state: &StateDir) -> String {
    let id = state.id();
    format!("{}-", id.get(..8).unwrap_or(&id))
}

/// Enters a host: makes our directory there and returns where it is.
pub(super) async fn ground(means: &Means) -> Result<Ground, TransportError> {
    ground_of(&means.host, &means.way().await?).await
}

/// Makes our directory on a host and returns where it is.
///
/// # Errors
/// When the host cannot be asked, or cannot make it.
pub async fn ground_of(host: &Host, way: &Remote) -> Result<Ground, TransportError> {
    let scratch = host.scratch.clone().or_else(|| SCRATCH.parse::<HostPath>().ok());
    let scratch = scratch.map(|path| path.to_shell()).unwrap_or_default();
    let script = format!(
        "umask 077; d={scratch} && mkdir -p -- \"$d/jobs\" \"$d/trees\" && cd -- \"$d\" && chmod 700 . jobs trees && pwd -P"
    );
    let reply = way.exec(Exec::new(script)).await?;
    let place = String::from_utf8_lossy(&reply.stdout).trim_end_matches('\n').to_owned();
    if !reply.status.is_success() || !place.starts_with('/') {
        let detail = one_line(&String::from_utf8_lossy(&reply.stderr));
        let helps = if is_full(&detail) {
            make_room(host.name.as_str())
        } else {
            "`scratch` of the host in hosts.toml names another place".to_owned()
        };
        return Err(TransportError::FarFile {
            host: host.name.to_string(),
            path: host.scratch.as_ref().map_or_else(|| SCRATCH.to_owned(), ToString::to_string),
            detail: format!("{}; {helps}", if detail.is_empty() { reply.status.to_string() } else { detail }),
        });
    }
    Ok(Ground { scratch: place })
}

/// What runs jobs on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Our wrapper, as a process or in a batch job.
    Wrapper,
    /// Its Docker or Podman, spoken to from here.
    Daemon,
}

/// A submission that went out.
#[derive(Debug)]
pub(super) struct SentOut {
    /// The batch system's id, or what stands for one where there is none.
    pub(super) batch: Option<BatchId>,
    /// What the dialect could not say, each in one sentence.
    pub(super) notes: Vec<String>,
}

/// A submission that did not go out, or perhaps.
#[derive(Debug)]
pub(super) enum NotSent {
    /// These members end so, the others may go without them; nothing of it is there.
    Refused(Vec<(JobKey, Outcome, Option<String>)>),
    /// The batch system takes no more jobs now, in its words; nothing of it was submitted.
    Full(String),
    /// The batch system took no more jobs, in its words, as far as it said: the last try may have been taken.
    FullPerhaps(String),
    /// The batch system takes no array of so many members; nothing of it was submitted.
    TooLarge,
    /// The host was lost before anything was submitted.
    Unreached(TransportError),
    /// The host was lost, and with it the answer.
    Doubtful(TransportError),
    /// The batch system did not say whether it took it.
    Unsaid(String),
    /// The batch system takes nothing now; nothing of it is there.
    Postponed(String),
    /// Somebody wants it no more, or some of it: nothing of it was submitted.
    CalledOff,
}

/// Puts together what asks for the same: one submission each, of at most so many members.
pub(super) fn group(jobs: Vec<SiteJob>, means: &Means, members: u32) -> Vec<Vec<SiteJob>> {
    let mut groups: BTreeMap<String, Vec<SiteJob>> = BTreeMap::new();
    for job in jobs {
        let task = job.plan.task_of(job.key.instance);
        let request = request(task, &job.grant);
        // A copy of the directory is one run's alone.
        let run = task.tree.then_some(job.key.run);
        let boxed = is_boxed(means, &job);
        let same = format!(
            "{}|{:?}|{:?}|{:?}|{run:?}|{:?}|{:?}|{boxed}|{:?}",
            job.plan.root,
            request,
            task.batch,
            task.checkpoint,
            job.behind,
            job.partition,
            wish(means, &job)
        );
        groups.entry(same).or_default().push(job);
    }
    let most = means.limits.members.min(members).min(means.room.jobs.unwrap_or(u32::MAX)).max(1) as usize;
    let chunks = groups.into_values().flat_map(|group| {
        let mut chunks = Vec::new();
        let mut rest = group;
        while rest.len() > most {
            let tail = rest.split_off(most);
            chunks.push(std::mem::replace(&mut rest, tail));
        }
        chunks.push(rest);
        chunks
    });
    chunks.collect()
}

/// Does what comes before a submission, unless that is called off meanwhile: what moves ends where it stands, and can be gone on with.
pub(super) async fn unless_off<T>(
    off: &CancellationToken,
    work: impl Future<Output = Result<T, NotSent>>,
) -> Result<T, NotSent> {
    off.run_until_cancelled(work).await.unwrap_or(Err(NotSent::CalledOff))
}

/// Begins with a submission: its intent is written down, inputs are brought, and what else jobs cannot get themselves.
pub(super) async fn begin(
    means: &Means,
    ground: &Ground,
    sent: &Sent,
    jobs: &[SiteJob],
    by: By,
) -> Result<(), NotSent> {
    let (written, answer) = oneshot::channel();
    means.reporter.say(SiteNews::Intend(sent.clone(), written)).await;
    if answer.await.is_err() {
        // The runner has left: the next one begins with what is written.
        return Err(NotSent::Refused(Vec::new()));
    }
    for job in jobs {
        means.reporter.say(SiteNews::Staged(job.key, Stage::StagingIn)).await;
    }
    // What comes to lie here from now on is not what they read.
    prints::keep(means, &sent.name, jobs).await;
    bring_inputs(means, ground, jobs, by).await?;
    ready(means, ground, jobs).await
}

/// Sends a submission: it is begun, its directory is made, the batch system is told.
pub(super) async fn send(
    means: &Means,
    ground: &Ground,
    sent: &Sent,
    jobs: Vec<SiteJob>,
    off: &CancellationToken,
) -> Result<SentOut, NotSent> {
    unless_off(off, Box::pin(begin(means, ground, sent, &jobs, By::Wrapper))).await?;
    let directory = ground.submission(&sent.name);
    let mut starts = starts(&directory);
    let Call { script: call, notes } = if let (Some(dialect), Some(first)) = (&means.dialect, jobs.first()) {
        let task = first.plan.task_of(first.key.instance);
        let request = request(task, &first.grant);
        let mut submission = submission(&means.host, task, request, sent.name.clone(), directory.clone(), jobs.len());
        let chosen = first.partition.as_deref().map(str::to_owned);
        submission.partition = submission.partition.or(chosen).or_else(|| partition(means, &jobs));
        submission.after.clone_from(&first.behind);
        if means.nodes.wants(submission.partition.as_deref(), &means.limits, clock::now()) {
            starts = starts_and_looks(means, &directory);
        }
        let call = batch::submit(dialect, &submission);
        call.map_err(|error| refused(&jobs, &Outcome::Rejected { message: error.to_string() }))?
    } else {
        let script = format!("{OWN}{}\n", detach_command(&directory, at_once(means, jobs.len())));
        Call { script, notes: Vec::new() }
    };
    let archive =
        pack(means, ground, sent, &jobs, starts).map_err(|error| refused(&jobs, &spawn(error.to_string())))?;
    // One command: a directory that is there was submitted from, or nothing was submitted.
    let script = format!(
        "umask 077; d={}; mkdir -- \"$d\" && tar -xf - -C \"$d\" || exit 111\n\
         {}true >\"$d/submitting\" || exit 111\n{}{call}",
        sh(&directory),
        copy(means, ground, &jobs),
        means.prelude
    );
    let way = unless_off(off, async { answering(means).await.map_err(NotSent::Unreached) }).await?;
    let reply = run(&way, &script, &archive).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&reply.0), text(&reply.1));
    if reply.2 == 111 {
        return Err(refused(&jobs, &spawn(format!("its directory cannot be made on the host: {}", one_line(&stderr)))));
    }
    let Some(dialect) = &means.dialect else {
        return if reply.2 == 0 {
            Ok(SentOut { batch: Some(started()), notes })
        } else {
            Err(refused(&jobs, &spawn(format!("it was not started on the host: {}", stderr.trim()))))
        };
    };
    let reply = Reply { status: i32::from(reply.2), stdout: &stdout, stderr: &stderr };
    if reply.status == 127 {
        let words = stderr.trim();
        return Err(NotSent::Postponed(format!("{words}; `csync hosts probe {}` finds its commands", means.host.name)));
    }
    match batch::parse_submit(dialect.flavour, &reply) {
        Submitted::Accepted(id) => Ok(SentOut { batch: Some(id), notes }),
        Submitted::Refused(Refusal { kind: RefusalKind::ArrayTooLarge, .. }) if jobs.len() > 1 => {
            Err(NotSent::TooLarge)
        }
        Submitted::Refused(refusal) => Err(refused(&jobs, &Outcome::Rejected { message: refusal.message })),
        Submitted::Full(message) => Err(NotSent::Full(message)),
        Submitted::FullPerhaps(message) => Err(NotSent::FullPerhaps(message)),
        Submitted::Later(message) => Err(NotSent::Postponed(message)),
        Submitted::Unknown(message) => Err(NotSent::Unsaid(message)),
    }
}

/// Returns how many members run at once on a host without a batch system: as many as a person allows it, or as it has cores.
fn at_once(means: &Means, members: usize) -> u32 {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    members.clamp(1, means.host.max_jobs.unwrap_or(means.cores).max(1))
}

fn spawn(message: String) -> Outcome {
    Outcome::Spawn { message }
}

pub(super) fn refused(jobs: &[SiteJob], outcome: &Outcome) -> NotSent {
    NotSent::Refused(jobs.iter().map(|job| (job.key, outcome.clone(), None)).collect())
}

/// Returns the job whose submission works in a copy of its directory.
pub(super) fn with_tree(jobs: &[SiteJob]) -> Option<&SiteJob> {
    jobs.first().filter(|job| job.plan.task_of(job.key.instance).tree)
}

/// Returns the script that makes the copy of the directory, where the jobs work in one.
fn copy(means: &Means, ground: &Ground, jobs: &[SiteJob]) -> String {
    let Some(job) = with_tree(jobs) else { return String::new() };
    copy_script(&means.root(ground, &job.plan.root), job.plan.inputs(job.key.instance).len())
}

/// Returns the way to a host that was just heard of. A connection that died without a word would leave everybody in doubt of what
/// was never there: work stays until the host is back, instead of going elsewhere.
pub(super) async fn answering(means: &Means) -> Result<Remote, TransportError> {
    let way = means.way().await?;
    way.exec(Exec::new("true").within(ANSWERING)).await?;
    Ok(way)
}

/// Runs the script that submits, with the directory's content to read.
async fn run(way: &Remote, script: &str, archive: &[u8]) -> Result<(Vec<u8>, Vec<u8>, u8), NotSent> {
    // From here on it may go through although we never hear of it.
    let exec = Exec::new(script).reading(archive.to_vec()).within(SUBMITTING);
    let reply = way
        .exec(exec)
        .await
        .map_err(|error| if error.may_have_run() { NotSent::Doubtful(error) } else { NotSent::Unreached(error) })?;
    Ok((reply.stdout, reply.stderr, reply.status.code()))
}

/// Returns the inputs of jobs, by the directory that they are relative to.
pub(super) fn inputs_of(jobs: &[SiteJob], by: By) -> BTreeMap<&str, Vec<String>> {
    let mut inputs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut before = None;
    for job in jobs {
        let plan = &job.plan;
        // Instances that read the same share the list.
        let list = (Arc::as_ptr(plan), plan.instance(job.key.instance).inputs);
        if before.replace(list) == Some(list) {
            continue;
        }
        let of = inputs.entry(plan.root.as_str()).or_default();
        // What jobs there are still to make is there when this one starts; its wrapper looks.
        let is_made_there = |path: PathId| {
            let producer = plan.producer(path).filter(|_| !job.after.is_empty());
            producer.is_some_and(|producer| job.after.iter().any(|key| key.instance == producer))
        };
        // A daemon takes an image's archive itself, from here.
        let own = usize::from(by == By::Daemon && archive_of(job).is_some());
        let paths = plan.inputs(job.key.instance);
        let paths = paths.get(..paths.len() - own).unwrap_or_default();
        let paths = paths.iter().filter(|&&path| !is_made_there(path));
        of.extend(paths.map(|&path| plan.path(path).to_owned()));
    }
    inputs
}

/// Returns the partition to be named for jobs that name none themselves.
fn partition(means: &Means, jobs: &[SiteJob]) -> Option<String> {
    let first = jobs.first()?;
    let task = first.plan.task_of(first.key.instance);
    means.limits.partition_for(means.room, task, &request(task, &first.grant))
}

/// Returns the files that start its members.
fn starts(directory: &str) -> Vec<File> {
    vec![File { path: "batch.sh".to_owned(), mode: 0o700, content: batch_script(directory) }]
}

/// Returns the same where one of them also sees what its node is.
fn starts_and_looks(means: &Means, directory: &str) -> Vec<File> {
    let file = |path: &str, mode, content| File { path: path.to_owned(), mode, content };
    let look = note_script(directory, means.host.policy);
    vec![file("batch.sh", 0o700, looking_script(directory)), file("look.sh", 0o600, look)]
}

/// Packs the directory of a submission.
fn pack(
    means: &Means,
    ground: &Ground,
    sent: &Sent,
    jobs: &[SiteJob],
    starts: Vec<File>,
) -> Result<Vec<u8>, Unpackable> {
    let names: Vec<String> = (1..=jobs.len()).map(|index| index.to_string()).collect();
    let mut files = submission_files(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    files.extend(starts);
    // A directory has to be there for the records.
    files.push(File { path: "news/.keep".to_owned(), mode: 0o600, content: String::new() });
    if let Some(job) = with_tree(jobs) {
        let names = job.plan.inputs(job.key.instance).iter().map(|&path| job.plan.path(path));
        files.push(File { path: "tree".to_owned(), mode: 0o600, content: list(names) });
    }
    for (job, name) in jobs.iter().zip(names) {
        files.extend(member(means, ground, sent, job, name).files()?);
    }
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(file.mode);
        builder.append_data(&mut header, file.path, file.content.as_bytes())?;
    }
    Ok(builder.into_inner()?)
}

/// A submission's directory cannot be made.
#[derive(Debug, thiserror::Error)]
enum Unpackable {
    #[error(transparent)]
    Member(#[from] BadMember),
    #[error("its directory cannot be packed")]
    Archive(#[from] std::io::Error),
}

/// Says what one member does, on the host.
fn member(means: &Means, ground: &Ground, sent: &Sent, job: &SiteJob, name: String) -> Member {
    let plan = &job.plan;
    let tree = plan.task_of(job.key.instance).tree;
    let root = if tree { ground.work(&sent.name) } else { means.root(ground, &plan.root) };
    let rendered = render_at(plan, &root, job.key.instance, &job.grant, job.key.attempt);
    let Rendered { invocation, workdir, env, stdin } =
        contain(plan, &root, job.key.instance, &job.grant, rendered, &means.host.containers);
    let task = plan.task_of(job.key.instance);
    let paths = |paths: &[PathId]| paths.iter().map(|&path| absolute(&root, plan.path(path))).collect();
    let own = [
        ("CSYNC_RUN".to_owned(), job.key.run.to_string()),
        ("CSYNC_TASK".to_owned(), task.name.clone()),
        ("CSYNC_JOB".to_owned(), job.key.to_string()),
        ("CSYNC_IMAGES".to_owned(), ground.images()),
    ];
    // Batch systems keep the walltime themselves; without one the wrapper does.
    let alone = means.dialect.is_none();
    Member {
        name,
        label: plan.label(job.key.instance),
        invocation,
        workdir,
        env: env.into_iter().chain(job.secrets.iter().cloned()).chain(own).collect(),
        umask: 0o022,
        stdin,
        // A copy of the directory was counted when it was made.
        inputs: if tree { Vec::new() } else { paths(plan.inputs(job.key.instance)) },
        outputs: paths(plan.outputs(job.key.instance)),
        time: job.grant.time.filter(|_| alone),
        grace: GRACE,
        checkpoint: task.checkpoint.as_ref().filter(|_| alone).map(|it| (it.signal.clone(), it.before)),
        output_cap: Some(PRINTED),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_called_off_ends_where_it_stands() {
        let off = CancellationToken::new();
        assert!(unless_off(&off, ready(Ok(1))).await.is_ok_and(|done| done == 1));
        let bringing = unless_off(&off, pending::<Result<(), NotSent>>());
        tokio::pin!(bringing);
        assert!(bringing.as_mut().now_or_never().is_none());
        off.cancel();
        assert!(matches!(bringing.await, Err(NotSent::CalledOff)));
        // And what would come next does not begin.
        assert!(matches!(unless_off(&off, ready(Ok(()))).await, Err(NotSent::CalledOff)));
    }
}
