//! Images and environments of jobs where the jobs themselves cannot get them: made ready by the login node where it has internet,
//! taken from where they are where the site has none.

use std::path::{Path, PathBuf};

use crate::language::conda;
use crate::language::container::{Image, list_command, make_command, pulled_name, read_list};
use crate::language::manifest::{ready_script, render_at};
use crate::language::quote::sh;
use crate::model::data::{DataFact, IMAGES, has_image};
use crate::model::host::{ContainerRuntime, HostName};
use crate::model::job::Outcome;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::docker::{Daemon, DockerError};
use crate::reach::stage::relay;
use crate::reach::transport::{Exec, Meter, Put, Remote, Transport, TransportError};
use crate::serve::site::boxes::is_boxed;
use crate::serve::site::inputs::chain;
use crate::serve::site::send::{Ground, NotSent, ground_of, refused};
use crate::serve::site::{Means, SiteJob};

/// How long an image may take to come, or an environment to be made.
const PATIENCE: std::time::Duration = std::time::Duration::from_hours(2);
/// Most that one image is.
const MOST: u64 = 1 << 40;

/// What a job needs is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The host cannot be asked.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A daemon does not give an image.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// What the host said.
    #[error("{0}")]
    Said(String),
    /// Nobody has it.
    #[error(
        "{host} has no internet, and nobody who is known to have {image} can give it; `csync images push` takes it there"
    )]
    Nowhere {
        /// The host.
        host: String,
        /// The image.
        image: String,
    },
}

/// Returns what has to be made ready for a job before it goes out: what jobs there cannot get themselves.
pub(super) fn wish(means: &Means, job: &SiteJob) -> Option<String> {
    let internet = means.host.internet;
    let online = if means.dialect.is_some() { internet.compute } else { internet.login };
    if online != Some(false) || is_boxed(means, job) {
        return None;
    }
    let task = job.plan.task_of(job.key.instance);
    match (&task.container, &task.conda) {
        (Some(container), _) => pulled_name(container),
        (None, Some(file)) if conda::is_file(file) && internet.login != Some(false) => Some(file.clone()),
        (None, _) => None,
    }
}

/// Has that made ready for jobs that all need the same, once however many submissions need it.
pub(super) async fn ready(means: &Means, ground: &Ground, jobs: &[SiteJob]) -> Result<(), NotSent> {
    let Some((job, wish)) = jobs.first().and_then(|job| Some((job, wish(means, job)?))) else { return Ok(()) };
    let host = &means.host.name;
    loop {
        if means.stock.copies(IMAGES, &wish).iter().any(|copy| copy.host == *host) {
            return Ok(());
        }
        let (claim, mine, others) = means.stock.claim(host, IMAGES, vec![wish.clone()]);
        if mine.is_empty() {
            means.stock.wait(host, IMAGES, &others).await;
            continue;
        }
        let made = make(means, ground, job).await;
        drop(claim);
        return match made {
            Ok(facts) => {
                means.learn(facts).await;
                Ok(())
            }
            Err(NotReady::Transport(error)) => Err(NotSent::Unreached(error)),
            Err(error) => Err(refused(jobs, &Outcome::Stage { message: chain(&error) })),
        };
    }
}

async fn make(means: &Means, ground: &Ground, job: &SiteJob) -> Result<Vec<DataFact>, NotReady> {
    let (plan, instance) = (&job.plan, job.key.instance);
    let way = means.way().await?;
    let root = means.root(ground, &plan.root);
    let rendered = render_at(plan, &root, instance, &job.grant, job.key.attempt);
    let image: Option<Image> = plan.task_of(instance).container.as_ref().and_then(|image| image.parse().ok());
    let archive = match &image {
        Some(image) if means.host.internet.login == Some(false) => match ship(means, ground, &way, image).await? {
            Shipped::Ready => None,
            Shipped::Archive(path) => Some(path),
        },
        _ => None,
    };
    let images = ground.images();
    let with = (images.as_str(), archive.as_deref(), means.host.containers.as_slice());
    let Some(script) = ready_script(plan, &root, instance, &rendered, with) else { return Ok(Vec::new()) };
    let done = said(&way, &format!("exec bash -eo pipefail -c {}", sh(&script))).await;
    if let Some(path) = archive {
        drop(way.exec(Exec::new(format!("rm -f -- {}", sh(&path)))).await);
    }
    done?;
    let Some(image) = image else { return Ok(Vec::new()) };
    let held = listed(&way, &images, &image).await?;
    Ok(held.map(|held| has_image(&means.host.name, &held.0, (held.1, held.2), clock::now())).into_iter().collect())
}

/// Runs a command that may take long, and returns what it printed.
async fn said(way: &Remote, command: &str) -> Result<String, NotReady> {
    let reply = way.exec(Exec::new(command).within(PATIENCE)).await?;
    if reply.status.is_success() {
        return Ok(String::from_utf8_lossy(&reply.stdout).trim().to_owned());
    }
    let words = String::from_utf8_lossy(&reply.stderr).trim().to_owned();
    Err(NotReady::Said(words.strip_prefix("csync: ").unwrap_or(&words).to_owned()))
}

/// Returns what is kept of an image as a file: what it is known as, the name of its file, its size.
async fn listed(way: &Remote, images: &str, image: &Image) -> Result<Option<(String, String, Bytes)>, TransportError> {
    let (Image::Registry(name) | Image::Apptainer(name)) = image else { return Ok(None) };
    let Some(name) = pulled_name(name) else { return Ok(None) };
    let reply = way.exec(Exec::new(list_command(images))).await?;
    let held = read_list(&String::from_utf8_lossy(&reply.stdout));
    let found = held.into_iter().find(|(kept, ..)| pulled_name(kept).as_ref() == Some(&name));
    Ok(found.map(|(_, file, size)| (name, file, size)))
}

/// An image that came to a host.
enum Shipped {
    /// As jobs find it.
    Ready,
    /// As an archive, of which it has to be made.
    Archive(String),
}

/// Takes an image to a host from whoever has it: as it is from a host that keeps it as a file, else from a daemon.
async fn ship(means: &Means, ground: &Ground, way: &Remote, image: &Image) -> Result<Shipped, NotReady> {
    let (host, images) = (&means.host.name, ground.images());
    let (Image::Registry(name) | Image::Apptainer(name)) = image else { return Ok(Shipped::Ready) };
    for (other, from) in holders(means, name).await {
        let Some(configured) = means.stock.host(&other) else { continue };
        let Ok(there) = ground_of(&configured, &from).await else { continue };
        let Ok(Some((_, file, _))) = listed(&from, &there.images(), image).await else { continue };
        let names = [format!("{file}.sif"), format!("{file}.name")];
        let moving = means.stock.begin(&other, host, Vec::new());
        let how = means.stock.direct(&other, host).await;
        let kept = there.images();
        match relay((&from, &kept), (way, &images), &names, MOST, how.as_ref(), moving.meter()).await {
            Ok((_, missing)) if missing.is_empty() => return Ok(Shipped::Ready),
            Ok(_) => {}
            Err(error) => tracing::warn!(from = %other, to = %host, image = name, %error, "an image did not come"),
        }
    }
    let nowhere = || NotReady::Nowhere { host: host.to_string(), image: name.clone() };
    let daemon = holder(means, name).await.ok_or_else(nowhere)?;
    let here = means.state.live_dir().join(format!("image-{}.tar", short(&format!("{host} {name}"))));
    let sent = send_archive(&daemon, name, way, &images, &here).await;
    drop(std::fs::remove_file(&here));
    Ok(Shipped::Archive(sent?))
}

/// Writes a daemon's image to a file here, and takes that to a host; returns where it is there.
async fn send_archive(
    daemon: &Daemon,
    image: &str,
    way: &Remote,
    images: &str,
    here: &Path,
) -> Result<String, NotReady> {
    daemon.save(image, here).await?;
    let made = way.exec(Exec::new(format!("umask 077; mkdir -p -- {}", sh(images)))).await?;
    if !made.status.is_success() {
        return Err(NotReady::Said(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
    }
    let to = format!("{images}/sent-{}.tar", short(image));
    let put = Put { from: here.to_owned(), to: to.clone(), mode: 0o600, mtime: None, meter: Meter::default() };
    way.put(&put).await?;
    Ok(to)
}

/// Has an image of a daemon made ready on a host where Apptainer or Singularity runs it; returns where it is.
///
/// # Errors
/// When one of the two does not do its part.
pub async fn convert(
    daemon: &Daemon,
    image: &Image,
    way: &Remote,
    (images, runtimes): (&str, &[ContainerRuntime]),
    here: PathBuf,
) -> Result<String, NotReady> {
    let (Image::Registry(name) | Image::Apptainer(name)) = image else { return Err(NotReady::Said(image.to_string())) };
    let sent = send_archive(daemon, name, way, images, &here).await;
    drop(std::fs::remove_file(&here));
    let sent = sent?;
    let made = said(way, &make_command(image, images, Some(&sent), runtimes)).await;
    drop(way.exec(Exec::new(format!("rm -f -- {}", sh(&sent)))).await);
    let made = made?;
    Ok(made.split_once(' ').map_or_else(|| made.clone(), |(_, at)| at.to_owned()))
}

/// Returns the hosts that are known to have an image, but for the host itself.
async fn holders(means: &Means, name: &str) -> Vec<(HostName, Remote)> {
    let mut all = Vec::new();
    for copy in pulled_name(name).iter().flat_map(|name| means.stock.copies(IMAGES, name)) {
        if copy.host != means.host.name
            && !copy.host.is_local()
            && let Ok(way) = means.stock.way(&copy.host).await
        {
            all.push((copy.host, way));
        }
    }
    all
}

/// Returns a daemon that has an image: this machine's, or that of a host that is known to have it.
pub(super) async fn holder(means: &Means, name: &str) -> Option<Daemon> {
    if let Some(here) = Daemon::here().await
        && here.has(name).await.unwrap_or_default()
    {
        return Some(here);
    }
    for (host, way) in holders(means, name).await {
        if let Ok(Some(daemon)) = Daemon::found(host.as_str(), &way).await
            && daemon.has(name).await.unwrap_or_default()
        {
            return Some(daemon);
        }
    }
    None
}

fn short(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect()
}
