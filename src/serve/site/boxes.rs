//! Tasks in containers where a host's way of running is its Docker or Podman: its daemon is spoken to through the connection, and
//! neither a client program nor a process of ours is on the host.
//!
//! A container is called as its submission; by that name, and by the label of the state directory, the next engine finds it. It
//! stays until its end is known here.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use tokio::sync::{Mutex as Turn, Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use crate::language::container::{Archive, Image, pulled_name, words};
use crate::language::manifest::{absolute, contained, is_remote, own_file, render_at};
use crate::language::quote::sh;
use crate::model::batch::{BatchId, JobName};
use crate::model::data::{DataFact, IMAGES, has_image};
use crate::model::host::ContainerRuntime;
use crate::model::id::JobKey;
use crate::model::job::Outcome;
use crate::model::resources::{Grant, Meter, Usage};
use crate::model::task::Checkpoint;
use crate::model::units::{Bytes, Timestamp, Walltime};
use crate::reach::clock;
use crate::reach::docker::{Attached, Daemon, DockerError, Over, Spec, Standing, image_id};
use crate::reach::store::Sent;
use crate::reach::transport::{Exec, Transport};
use crate::serve::site::images::holder;
use crate::serve::site::inputs::chain;
use crate::serve::site::printed::Logs;
use crate::serve::site::send::{By, Ground, NotSent, SentOut, answering, begin, refused};
use crate::serve::site::tick::MemberNews;
use crate::serve::site::used::Used;
use crate::serve::site::{Means, SiteJob};

/// What stands in the place of a batch system's id.
const MARK: &str = "docker";
/// Time between the request to end and the end.
const GRACE: Duration = Duration::from_secs(10);
/// How long after its time a container ends by itself, which nobody ended: the engine and the connection may be gone.
const LAST: Duration = Duration::from_secs(30);
/// First and longest pause before a daemon that went away is looked for again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// For how long a daemon that answered is taken to be there.
const JUST_NOW: Duration = Duration::from_secs(1);
/// Containers that are removed at a time: as those of a run end, and not all when it is over.
const REMOVED_AT_ONCE: usize = 2;
/// What a container returns that was stopped together with its daemon.
const STOPPED: [i64; 3] = [137, 143, 255];

/// The daemon of a host, and what is under way there.
#[derive(Debug)]
pub(super) struct Boxes {
    daemon: Turn<Option<Daemon>>,
    /// Held by who has an image come.
    images: Turn<()>,
    /// How many run at a time.
    room: Arc<Semaphore>,
    /// Whether there is no contact with the host.
    away: watch::Sender<bool>,
    /// When its daemon answered last.
    heard: Mutex<Option<Instant>>,
    /// How many are removed at a time.
    removing: Semaphore,
    /// Containers that somebody here follows, or whose end is not settled yet.
    known: Mutex<HashSet<String>>,
    /// Archives that were read, and the ids of their images.
    archives: Mutex<HashMap<(PathBuf, u64, SystemTime), String>>,
}

/// What is needed to run a member, or to find it again.
#[derive(Clone, Debug)]
pub(super) struct Boxed {
    pub(super) key: JobKey,
    pub(super) spec: Spec,
    /// The archive here of its image, where that is a file.
    pub(super) archive: Option<PathBuf>,
    pub(super) grant: Grant,
    /// Whether it was asked for, by this engine or the one before.
    pub(super) may_be_there: bool,
    /// Whether the daemon went away while it was followed.
    pub(super) broken: bool,
    /// When, before the end of its walltime, it is to save its state, and by what signal.
    pub(super) checkpoint: Option<Checkpoint>,
    /// What the daemon warned of when it was made, and what else there is to say.
    pub(super) notes: Vec<String>,
    /// Told when it is to end.
    pub(super) stop: Arc<Notify>,
}

/// Returns the id of a submission that is a daemon's.
pub(super) fn mark() -> BatchId {
    BatchId(MARK.to_owned())
}

/// Returns whether a submission is a daemon's.
pub(super) fn is_marked(sent: &Sent) -> bool {
    sent.batch.as_ref().is_some_and(|batch| batch.as_str() == MARK)
}

/// Returns what a member's container is called.
pub(super) fn name_of(submission: &JobName, index: u32) -> String {
    format!("{submission}-{index}")
}

/// Said of a task whose modules nobody loads.
const NO_MODULES: &str = "its `modules` were not loaded: nothing of them is seen in a container that a daemon runs";

/// Returns whether an attempt is one for the daemon of its host: a copy of the directory is made by the wrapper alone.
pub(super) fn is_boxed(means: &Means, job: &SiteJob) -> bool {
    let task = job.plan.task_of(job.key.instance);
    let Some(Ok(image)) = task.container.as_ref().map(|image| image.parse::<Image>()) else { return false };
    let runtime = means.host.containers.first();
    let is_daemon = matches!(runtime, Some(ContainerRuntime::Docker | ContainerRuntime::Podman));
    let here = means.dialect.is_none() && means.host.simulated.is_none();
    let known = match &image {
        Image::Registry(_) => true,
        Image::File(Archive::Docker, _) => archive_of(job).is_some(),
        Image::File(..) | Image::Apptainer(_) => false,
    };
    here && !task.tree && is_daemon && known
}

/// Returns the file here of an attempt's image, where its image is one of the workflow's directory that a daemon takes as it is.
pub(super) fn archive_of(job: &SiteJob) -> Option<PathBuf> {
    let plan = &job.plan;
    let path = own_file(plan, job.key.instance)?;
    let path = PathBuf::from(absolute(&plan.root, &path));
    let name = path.file_name()?.to_str()?;
    ([".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end)) && path.is_file()).then_some(path)
}

impl Boxes {
    pub(super) fn new(means: &Means) -> Self {
        let most = means.host.max_jobs.unwrap_or(means.cores).max(1);
        Self {
            daemon: Turn::default(),
            images: Turn::default(),
            room: Arc::new(Semaphore::new(most as usize)),
            away: watch::Sender::new(false),
            heard: Mutex::default(),
            removing: Semaphore::new(REMOVED_AT_ONCE),
            known: Mutex::default(),
            archives: Mutex::default(),
        }
    }

    /// Says that a container is followed from here.
    pub(super) fn know(&self, name: String) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    /// Says whether there is contact with the host: without, what waits for room goes elsewhere.
    pub(super) fn set_away(&self, away: bool) {
        self.away.send_replace(away);
    }

    /// Returns the daemon; none where nothing listens that this account may use. The first time it is looked what of ours is
    /// there that nobody follows: an engine that died left it.
    pub(super) async fn daemon(&self, means: &Means) -> Result<Option<Daemon>, DockerError> {
        let mut kept = self.daemon.lock().await;
        if kept.is_none() {
            let host = means.host.name.as_str();
            let gone = |error| DockerError::NoDaemon { host: host.to_owned(), detail: chain(&error) };
            let way = means.way().await.map_err(gone)?;
            let Some(daemon) = Daemon::found(host, &way).await? else { return Ok(None) };
            self.clear(&daemon, &means.state.id()).await;
            *kept = Some(daemon);
        }
        Ok(kept.clone())
    }

    async fn clear(&self, daemon: &Daemon, state: &str) {
        let Ok(all) = daemon.of_state(state).await else { return };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for name in all.into_iter().filter(|name| !known.contains(name)) {
            tracing::warn!(host = daemon.host(), container = name, "removes a container that an engine before left");
            if let Err(error) = daemon.discard(&name).await {
                tracing::warn!(host = daemon.host(), container = name, %error, "it cannot be removed");
            }
        }
    }

    /// Brings what members read, and makes room for what they make: then each can be run with what is returned.
    pub(super) async fn send(
        &self,
        means: &Means,
        ground: &Ground,
        sent: &Sent,
        jobs: &[SiteJob],
    ) -> Result<(SentOut, Vec<Boxed>), NotSent> {
        begin(means, ground, sent, jobs, By::Daemon).await?;
        let way = means.way().await.map_err(NotSent::Unreached)?;
        let specs: Vec<(Spec, String)> =
            (1..).zip(jobs).filter_map(|(index, job)| spec(means, ground, job, name_of(&sent.name, index))).collect();
        // Whose GPUs are there decides how they are shown.
        let mut script = "printf '%s:%s' \"$(id -u)\" \"$(id -g)\"\n\
            if [ -e /dev/kfd ] && [ ! -e /dev/nvidiactl ]; then echo ' amd'; else echo; fi\n"
            .to_owned();
        script.extend(specs.iter().map(|(_, lines)| lines.as_str()));
        let reply = way.exec(Exec::new(script)).await.map_err(NotSent::Unreached)?;
        let text = String::from_utf8_lossy(&reply.stdout).into_owned();
        let Some(user) = text.lines().next().filter(|_| reply.status.is_success()) else {
            let message = String::from_utf8_lossy(&reply.stderr).trim().to_owned();
            return Err(refused(jobs, &Outcome::Stage { message }));
        };
        let (user, amd) = user.strip_suffix(" amd").map_or((user, false), |user| (user, true));
        let boxed = specs.into_iter().zip(jobs).map(|((spec, _), job)| Boxed {
            key: job.key,
            archive: archive_of(job),
            spec: Spec { user: user.to_owned(), amd, ..spec },
            grant: job.grant,
            may_be_there: false,
            broken: false,
            checkpoint: job.plan.task_of(job.key.instance).checkpoint.clone(),
            notes: notes_of(job),
            stop: Arc::default(),
        });
        Ok((SentOut { batch: Some(mark()), notes: Vec::new() }, boxed.collect()))
    }

    /// Runs a member, or goes on with it, to its end.
    pub(super) async fn follow(
        &self,
        means: &Means,
        boxed: Boxed,
        told: impl Fn(MemberNews) + Send + Sync,
    ) -> MemberNews {
        let mut boxed = boxed;
        let mut asked = None;
        // One that runs already is let in, whatever there is room for.
        let _place = if boxed.may_be_there {
            None
        } else {
            match self.place(&boxed.stop).await {
                Ok(place) => place,
                Err(over) => return over,
            }
        };
        let mut pause = AGAIN.0;
        loop {
            // A connection that died without a word would leave everybody in doubt of what was never there.
            if !boxed.may_be_there
                && !self.was_heard()
                && let Err(error) = answering(means).await
            {
                return never(Outcome::NodeFail, Some(&format!("its container was not begun: {}", chain(&error))));
            }
            let done = self.try_once(means, &mut boxed, &mut asked, &told).await;
            match done {
                Ok(Some(news)) => return news,
                Ok(None) => return never(Outcome::NodeFail, Some("nothing of it was on the host any more")),
                Err(DockerError::Gone { .. } | DockerError::NoDaemon { .. }) => {
                    // Whatever became of it, it is asked for by its name.
                    *self.daemon.lock().await = None;
                    boxed.broken = true;
                    sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
                Err(error) => {
                    if let Ok(Some(daemon)) = self.daemon(means).await {
                        drop(daemon.discard(&boxed.spec.name).await);
                    }
                    return never(Outcome::Spawn { message: error.to_string() }, None);
                }
            }
        }
    }

    /// Returns whether the daemon answered just now. Of many short containers each would cost another command on the host.
    fn was_heard(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|at| at.elapsed() < JUST_NOW)
    }

    fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Waits until there is room for one more; else returns how it is over, of which nothing is there.
    async fn place(&self, stop: &Notify) -> Result<Option<OwnedSemaphorePermit>, MemberNews> {
        let mut away = self.away.subscribe();
        tokio::select! {
            biased;
            () = stop.notified() => Err(never(Outcome::Cancelled, None)),
            _ = away.wait_for(|away| *away) => {
                Err(never(Outcome::NodeFail, Some("there was no contact with its host before it began")))
            }
            place = Arc::clone(&self.room).acquire_owned() => Ok(place.ok()),
        }
    }

    /// Runs a member until it is over or the daemon is gone; nothing where there is none of that name.
    async fn try_once(
        &self,
        means: &Means,
        boxed: &mut Boxed,
        asked: &mut Option<Outcome>,
        told: &(impl Fn(MemberNews) + Send + Sync),
    ) -> Result<Option<MemberNews>, DockerError> {
        let none = || DockerError::NoDaemon { host: means.host.name.to_string(), detail: "nothing listens".to_owned() };
        let daemon = self.daemon(means).await?.ok_or_else(none)?;
        let standing = if boxed.may_be_there {
            let Some(standing) = daemon.standing(&boxed.spec.name).await? else { return Ok(None) };
            standing
        } else {
            let stop = Arc::clone(&boxed.stop);
            // An image may be on its way for long: what is wanted no more is not begun after it.
            let warning = tokio::select! {
                biased;
                () = stop.notified() => None,
                made = self.make(means, &daemon, boxed) => Some(made?),
            };
            match warning {
                None => *asked = Some(Outcome::Cancelled),
                Some(warning) => boxed.notes.extend(warning.or_else(|| daemon.unheld(&boxed.spec))),
            }
            Standing::Made
        };
        if let (Standing::Made, Some(asked)) = (standing, &*asked) {
            if boxed.may_be_there {
                daemon.discard(&boxed.spec.name).await?;
            }
            return Ok(Some(never(asked.clone(), Some("its container was not begun"))));
        }
        let spec = boxed.spec.clone();
        let (attached, since) = match standing {
            Standing::Made => (begun(&daemon, boxed).await?, clock::now()),
            Standing::Runs(at) => (daemon.take_up(&spec.name), at),
            Standing::Over => (daemon.take_up(&spec.name), clock::now()),
        };
        if standing != Standing::Over {
            told(MemberNews::Running(since));
        }
        let mut logs = Logs::open(&means.state, boxed.key);
        let (sender, mut signals) = mpsc::channel(4);
        let nothing = None::<tokio::io::Empty>;
        let attending =
            daemon.attend(&spec, attached, nothing, |is_error, bytes| logs.write(is_error, bytes), &mut signals);
        let over = tokio::select! {
            over = attending => over?,
            () = warden(boxed, since, asked, sender) => return Ok(None),
        };
        self.hear();
        let mut notes = std::mem::take(&mut boxed.notes);
        if logs.lost > 0 {
            notes.push(format!("{} of output dropped", Bytes(logs.lost)));
        }
        // Its end was seen after the daemon had been away: then it may have been stopped together with it.
        let stopped = boxed.broken && standing == Standing::Over && asked.is_none() && STOPPED.contains(&over.code);
        if over.unheld {
            notes.push(format!("{} does not hold it to its memory", runtime_of(&daemon)));
        }
        if asked.is_none() && ended_itself(&over, boxed.grant.time) {
            *asked = Some(Outcome::Timeout);
        }
        Ok(Some(ended(&over, asked.clone(), stopped, notes)))
    }

    /// Makes a member's container. Its image is had from its registry, or from where it is: by the first who needs it.
    async fn make(&self, means: &Means, daemon: &Daemon, boxed: &mut Boxed) -> Result<Option<String>, DockerError> {
        if let Some(archive) = &boxed.archive {
            // Known by what is in it, so that it comes once, whatever it is called.
            boxed.spec.image = self.id_of(archive).await.map_err(|error| DockerError::Refused {
                host: daemon.host().to_owned(),
                action: "take an image",
                detail: format!("{}: {error}", archive.display()),
            })?;
        }
        boxed.may_be_there = true;
        let spec = &boxed.spec;
        let done = match daemon.make(spec).await {
            Err(DockerError::NoImage { .. }) => {
                // An image takes its time, and nothing is there before it.
                boxed.may_be_there = false;
                let _turn = self.images.lock().await;
                let there = daemon.has(&spec.image).await?;
                match &boxed.archive {
                    _ if there => {}
                    None => have(means, daemon, &spec.image).await?,
                    Some(archive) => {
                        let loaded = daemon.load_file(archive).await?;
                        // Some daemons keep another id than the archive says.
                        if !daemon.has(&spec.image).await? {
                            boxed.spec.image = loaded.unwrap_or_default();
                        }
                    }
                }
                boxed.may_be_there = true;
                daemon.make(&boxed.spec).await
            }
            done => done,
        };
        if done.is_ok() && boxed.archive.is_none() {
            learn(means, daemon, &boxed.spec.image).await;
        }
        done
    }

    /// Returns what the image in an archive is known by: read once for every state of the file, all of which may have to be unpacked.
    async fn id_of(&self, archive: &Path) -> io::Result<String> {
        let meta = fs::metadata(archive)?;
        let state = (archive.to_owned(), meta.len(), meta.modified()?);
        let known = || self.archives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = known().get(&state) {
            return Ok(id.clone());
        }
        let path = state.0.clone();
        let id = spawn_blocking(move || image_id(&path)).await.map_err(io::Error::other)??;
        let id = id.ok_or_else(|| io::Error::other("it holds no image"))?;
        known().insert(state, id.clone());
        Ok(id)
    }

    /// Removes containers whose end is settled, those that nobody removes yet.
    pub(super) async fn discard(&self, means: &Means, mut names: Vec<String>) {
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            names.retain(|name| known.remove(name));
        }
        if names.is_empty() {
            return;
        }
        // What is left is looked for again when its submission is cleared away.
        let Ok(Some(daemon)) = self.daemon(means).await else { return };
        for name in &names {
            let _turn = self.removing.acquire().await;
            if let Err(error) = daemon.discard(name).await {
                tracing::warn!(host = daemon.host(), container = name, %error, "cannot be removed");
            }
        }
    }

    /// Removes what is left of these containers, which nobody waits for.
    ///
    /// # Errors
    /// When one may be there still. Where there is no daemon, none is.
    pub(super) async fn remove_left(&self, means: &Means, names: &[String]) -> Result<(), DockerError> {
        let Some(daemon) = self.daemon(means).await? else { return Ok(()) };
        let removed = async {
            let left = daemon.of_state(&means.state.id()).await?;
            for name in left.iter().filter(|name| names.contains(name)) {
                daemon.discard(name).await?;
            }
            Ok(())
        };
        let removed = removed.await;
        if removed.is_err() {
            // It may be one of a connection that is gone.
            *self.daemon.lock().await = None;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|name| !names.contains(name));
        removed
    }
}

/// Starts a member's container. Where its image has no shell, nothing ends it when nobody is there to end it.
async fn begun(daemon: &Daemon, boxed: &mut Boxed) -> Result<Attached, DockerError> {
    match daemon.begin(&boxed.spec.name, false).await {
        Err(DockerError::Refused { detail, .. }) if boxed.spec.most.is_some() && detail.contains("/bin/sh") => {
            boxed.spec.most = None;
            daemon.discard(&boxed.spec.name).await?;
            daemon.make(&boxed.spec).await?;
            daemon.begin(&boxed.spec.name, false).await
        }
        done => done,
    }
}

/// Returns whether a container ended for its time, while nobody was there to end it.
fn ended_itself(over: &Over, time: Option<Walltime>) -> bool {
    let ran = over.started.zip(over.ended).map(|(started, ended)| ended.since(started));
    over.code == 137 && !over.oom && ran.zip(time).is_some_and(|(ran, time)| ran >= Duration::from_secs(time.0))
}

fn runtime_of(daemon: &Daemon) -> &'static str {
    match daemon.runtime() {
        ContainerRuntime::Podman => "Podman",
        _ => "Docker",
    }
}

/// Has an image come to a daemon: from its registry, and where that is not to be had from another daemon, through this process.
async fn have(means: &Means, daemon: &Daemon, image: &str) -> Result<(), DockerError> {
    let name = pulled_name(image).unwrap_or_default();
    means
        .learn(vec![DataFact::Gone { root: IMAGES.to_owned(), path: name, host: Some(means.host.name.clone()) }])
        .await;
    let pulled = if means.host.internet.login == Some(false) {
        let detail = "there is no internet".to_owned();
        Err(DockerError::NoImage { host: means.host.name.to_string(), image: image.to_owned(), detail })
    } else {
        tracing::info!(host = daemon.host(), image, "pulls");
        daemon.pull(image, |_| {}).await
    };
    match pulled {
        Err(error @ DockerError::NoImage { .. }) => {
            let Some(other) = holder(means, image).await else { return Err(error) };
            tracing::info!(from = other.host(), to = daemon.host(), image, "takes an image from another daemon");
            daemon.take(&other, image).await.map(drop)
        }
        done => done,
    }
}

/// Learns that a host has an image, where that was not known.
async fn learn(means: &Means, daemon: &Daemon, image: &str) {
    let Some(name) = pulled_name(image) else { return };
    let known = means.stock.copies(IMAGES, &name);
    if known.iter().any(|copy| copy.host == means.host.name) {
        return;
    }
    let Ok(Some(seen)) = daemon.look(image).await else { return };
    means.learn(vec![has_image(&means.host.name, &name, seen, clock::now())]).await;
}

/// Sees to it that a container saves its state and ends when it is to: asks first, and then does not.
async fn warden(boxed: &Boxed, since: Timestamp, asked: &mut Option<Outcome>, signals: mpsc::Sender<String>) {
    if asked.is_none() {
        let ran = clock::now().since(since);
        let left = boxed.grant.time.map(|time| Duration::from_secs(time.0).saturating_sub(ran));
        let after = |left: Duration| Instant::now().checked_add(left);
        let deadline = left.and_then(after);
        // Late, where nobody was there to tell it in time, is better than never.
        let early = |save: &Checkpoint| after(left?.saturating_sub(Duration::from_secs(save.before)));
        let mut save = boxed.checkpoint.as_ref().and_then(|save| Some((early(save)?, save)));
        *asked = Some(loop {
            let at = save.map(|(at, _)| at);
            tokio::select! {
                () = boxed.stop.notified() => break Outcome::Cancelled,
                () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {
                    if let Some((_, save)) = save.take() {
                        signals.send(save.signal.clone()).await.ok();
                    }
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break Outcome::Timeout,
            }
        });
    }
    // Fails when it is over.
    signals.send("TERM".to_owned()).await.ok();
    sleep(GRACE).await;
    signals.send("KILL".to_owned()).await.ok();
    std::future::pending::<()>().await;
}

/// Returns what is to be said of an attempt whatever becomes of it.
fn notes_of(job: &SiteJob) -> Vec<String> {
    let loads = !job.plan.task_of(job.key.instance).modules.is_empty();
    loads.then(|| NO_MODULES.to_owned()).into_iter().collect()
}

fn ended(over: &Over, asked: Option<Outcome>, stopped: bool, mut notes: Vec<String>) -> MemberNews {
    let code = i32::try_from(over.code).unwrap_or(-1);
    let outcome = match asked {
        Some(asked) => asked,
        None if over.oom => Outcome::Oom,
        None if code == 0 => Outcome::Success,
        None if stopped => {
            notes.push("its daemon was stopped under it".to_owned());
            Outcome::NodeFail
        }
        None => Outcome::Exit { code, signal: (129..=192).contains(&code).then_some(code - 128) },
    };
    let (started, end) = (over.started, over.ended.unwrap_or_else(clock::now));
    let wall = started.map_or(0.0, |started| end.since(started).as_secs_f64());
    let (user, system) = over.cpu;
    let usage = Usage { wall, user, system, peak_memory: over.peak, meter: Meter::Cgroup, io: over.io };
    MemberNews::Over { outcome, used: Used { usage, started, ended: end, allocation: None }, notes }
}

fn never(outcome: Outcome, note: Option<&str>) -> MemberNews {
    let notes = note.map(str::to_owned).into_iter().collect();
    MemberNews::Over { outcome, used: Used::nothing(clock::now()), notes }
}

/// Says what a member's container is made of, and how room is made for it on the host.
fn spec(means: &Means, ground: &Ground, job: &SiteJob, name: String) -> Option<(Spec, String)> {
    let (plan, instance) = (&job.plan, job.key.instance);
    let root = means.root(ground, &plan.root);
    let rendered = render_at(plan, &root, instance, &job.grant, job.key.attempt);
    let (image, wrapping) = contained(plan, &root, instance, &job.grant, &rendered)?;
    let image = match image {
        Image::Registry(name) => name,
        // Known once its archive was read.
        Image::File(..) => String::new(),
        Image::Apptainer(_) => return None,
    };
    let task = plan.task_of(instance);
    let own = [
        ("CSYNC_RUN".to_owned(), job.key.run.to_string()),
        ("CSYNC_TASK".to_owned(), task.name.clone()),
        ("CSYNC_JOB".to_owned(), job.key.to_string()),
    ];
    let declared = rendered.env.iter().filter(|(name, _)| wrapping.env.contains(name));
    let env = declared.chain(&job.secrets).chain(&own).map(|(name, value)| format!("{name}={value}"));
    let mut binds: Vec<String> = wrapping.directories.iter().map(|dir| format!("{dir}:{dir}")).collect();
    let seen = |path: &str| {
        wrapping.directories.iter().any(|dir| path.starts_with(&format!("{}/", dir.trim_end_matches('/'))))
    };
    binds.extend(wrapping.inputs.iter().filter(|path| !seen(path)).map(|path| format!("{path}:{path}:ro")));
    binds.extend(
        wrapping.binds.iter().map(|bind| if bind.contains(':') { bind.clone() } else { format!("{bind}:{bind}") }),
    );
    let mut script = format!("mkdir -p -- {} || exit 1\n", sh(&wrapping.workdir));
    for path in
        plan.outputs(instance).iter().map(|&path| absolute(&root, plan.path(path))).filter(|path| !is_remote(path))
    {
        let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
        // A file of an earlier attempt must not pass for this one's.
        let _infallible = writeln!(
            script,
            "p={}; if [ -f \"$p\" ] || [ -h \"$p\" ]; then rm -f -- \"$p\" || {{ ls -ld -- \"${{p%/*}}\" >&2; exit 1; }}; fi; mkdir -p -- {} || exit 1",
            sh(&path),
            sh(parent)
        );
    }
    if let Some(from) = &rendered.stdin {
        let _infallible = writeln!(
            script,
            "[ -r {0} ] || {{ printf '%s\\n' {1} >&2; exit 1; }}",
            sh(from),
            sh(&format!("{from}, which it is to read, is not there"))
        );
        if !seen(from) {
            binds.push(format!("{from}:{from}:ro"));
        }
    }
    let spec = Spec {
        name,
        image,
        from: rendered.stdin.clone(),
        answers: task.checkpoint.as_ref().map(|save| save.signal.clone()),
        command: words(&rendered.invocation, &wrapping.label),
        workdir: wrapping.workdir,
        env: env.collect(),
        binds,
        state: means.state.id(),
        job: job.key.to_string(),
        cpus: wrapping.cpus.min(means.cores.max(1)),
        memory: wrapping.memory,
        gpus: wrapping.gpus,
        most: job.grant.time.map(|time| Duration::from_secs(time.0).saturating_add(LAST)),
        ..Spec::default()
    };
    Some((spec, script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_container_ended_is_said() {
        let over = |code, oom| Over { code, oom, peak: Bytes(7), ..Over::default() };
        let said = |over: &Over, asked, stopped| match ended(over, asked, stopped, Vec::new()) {
            MemberNews::Over { outcome, .. } => outcome.class(),
            _ => "none",
        };
        for (code, oom, asked, stopped, class) in [
            (0, false, None, false, "success"),
            (3, false, None, false, "exit"),
            (137, true, None, false, "oom"),
            (137, false, None, false, "exit"),
            (137, false, None, true, "node_fail"),
            (0, false, None, true, "success"),
            (143, false, Some(Outcome::Timeout), false, "timeout"),
            (137, true, Some(Outcome::Cancelled), false, "cancelled"),
        ] {
            assert_eq!(said(&over(code, oom), asked, stopped), class, "{code}");
        }
    }

    #[test]
    fn what_ended_for_its_time_while_nobody_was_there_is_known() {
        let over = |code, oom, seconds: i64| Over {
            code,
            oom,
            started: Some(Timestamp(1_000_000)),
            ended: Some(Timestamp(1_000_000 + seconds * 1_000_000)),
            ..Over::default()
        };
        for (over, time, late) in [
            (over(137, false, 40), Some(Walltime(10)), true),
            (over(137, false, 9), Some(Walltime(10)), false),
            (over(137, true, 40), Some(Walltime(10)), false),
            (over(0, false, 40), Some(Walltime(10)), false),
            (over(137, false, 40), None, false),
            (Over { started: None, ..over(137, false, 40) }, Some(Walltime(10)), false),
        ] {
            assert_eq!(ended_itself(&over, time), late, "{over:?} {time:?}");
        }
    }
}
