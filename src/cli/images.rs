//! `csync images`: which images are where, and more of them.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::boxes::{Place, failed};
use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::{Known, unreached};
use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::language::container::{Image, list_command, make_command, pulled_name, read_list};
use crate::language::quote::sh;
use crate::model::api::ErrorKind;
use crate::model::data::ImagesSeen;
use crate::model::host::HostName;
use crate::model::units::Bytes;
use crate::reach::client::Client;
use crate::reach::docker::Daemon;
use crate::reach::transport::{Exec, Meter, Put, Transport};
use crate::serve::site::{NotReady, convert, ground_of};

/// Columns of the list.
const COLUMNS: &[Column] =
    &[Column::Text("IMAGE"), Column::Number("SIZE"), Column::Word("KEPT BY"), Column::Extra("DIGEST")];

/// How long an image may take to come.
const PATIENCE: std::time::Duration = std::time::Duration::from_hours(2);

/// See which container images are on a host, and take more there
///
/// A host with Docker or Podman keeps images itself; for Apptainer and Singularity csync keeps them as files below `~/.csync/images`
/// (or the host's `scratch`), where the jobs of all workflows find them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the images on a host
    List(List),
    /// Have a host take an image from its registry, so that jobs find it there
    Pull(One),
    /// Take an image from this machine to a host: of this machine's Docker or Podman, or a file
    Push(One),
}

#[derive(Debug, clap::Args)]
struct List {
    /// The host; this machine when not given
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The image: `docker://python:3.12-slim`, or a file
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The host; this machine when not given
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::List(args) => list(context, args),
        Command::Pull(args) => pull(context, args),
        Command::Push(args) => push(context, args),
    }
}

/// An image somewhere.
struct Kept {
    name: String,
    digest: String,
    size: Bytes,
    by: &'static str,
}

fn list(context: &Context, args: &List) -> Result<Exit, Failure> {
    let known = Known::load(context)?;
    let kept = context.block_on(async {
        let place = Place::find(context, &known, args.on.as_deref()).await?;
        let host = place.host.name.clone();
        let mut kept = Vec::new();
        if let Some(daemon) = place.daemon().await? {
            let held = daemon.images().await.map_err(|error| failed(&error))?;
            kept.extend(held.into_iter().map(|image| Kept {
                name: image.name,
                digest: image.digest,
                size: image.size,
                by: "daemon",
            }));
        }
        let reply = place.way.exec(Exec::new(list_command(&images(&place).await?))).await;
        let reply = reply.map_err(|error| unreached(&error, &place.host))?;
        let files = read_list(&String::from_utf8_lossy(&reply.stdout));
        kept.extend(files.into_iter().map(|(name, digest, size)| Kept { name, digest, size, by: "csync" }));
        // Whoever chooses hosts goes by it; where nobody does now, the next list is as good.
        if let Some(client) = context.find().await? {
            tell(&client, host, &kept, Seen::All).await?;
        }
        Ok(kept)
    })?;
    if context.json() {
        let all: Vec<_> = kept
            .iter()
            .map(|image| json!({"image": image.name, "digest": image.digest, "bytes": image.size.0, "kept_by": image.by}))
            .collect();
        context.print_json(&json!({ "images": all }))?;
        return Ok(Exit::Success);
    }
    if kept.is_empty() {
        context.say("No images there; `csync images pull IMAGE --on HOST` takes one there.");
        return Ok(Exit::Success);
    }
    let mut table = Table::new(Page::stdout(context.paint()), COLUMNS);
    for image in kept {
        table.row(vec![Cell::new(image.name), Cell::new(image.size), Cell::new(image.by), Cell::new(image.digest)]);
    }
    context.print(table.print().trim_end())?;
    Ok(Exit::Success)
}

/// How much of a host's images was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Everything.
    All,
    /// Some.
    Some,
}

/// Tells the engine which images are on a host.
async fn tell(client: &Client, host: HostName, kept: &[Kept], seen: Seen) -> Result<(), Failure> {
    if host.is_local() {
        return Ok(());
    }
    let known = |image: &Kept| Some((pulled_name(&image.name)?, image.digest.clone(), image.size));
    let images = kept.iter().filter_map(known).collect();
    Ok(client.keep_images(&ImagesSeen { host, images, all: seen == Seen::All }).await?)
}

/// Tells the engine that a host has an image now: as its daemon holds it, or as the file that was made of it.
async fn told_of(context: &Context, place: &Place, name: &str) -> Result<(), Failure> {
    if place.host.name.is_local() {
        return Ok(());
    }
    let mut kept = Vec::new();
    if let Some(daemon) = place.daemon().await?
        && let Some((digest, size)) = daemon.look(name).await.map_err(|error| failed(&error))?
    {
        kept.push(Kept { name: name.to_owned(), digest, size, by: "daemon" });
    } else {
        let reply = place.way.exec(Exec::new(list_command(&images(place).await?))).await;
        let reply = reply.map_err(|error| unreached(&error, &place.host))?;
        let files = read_list(&String::from_utf8_lossy(&reply.stdout)).into_iter();
        let same = files.filter(|(kept, ..)| pulled_name(kept) == pulled_name(name));
        kept.extend(same.map(|(name, digest, size)| Kept { name, digest, size, by: "csync" }));
    }
    tell(&context.reach().await?, place.host.name.clone(), &kept, Seen::Some).await
}

/// Returns where images are kept as files on a host.
async fn images(place: &Place) -> Result<String, Failure> {
    let ground = ground_of(&place.host, &place.way).await.map_err(|error| unreached(&error, &place.host))?;
    Ok(ground.images())
}

fn parse(text: &str) -> Result<Image, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("`{text}` names no image: {error}"))
            .hint("an image in a registry is written as `docker://python:3.12-slim`, one in a file as `tools.sif`")
    })
}

fn pull(context: &Context, args: &One) -> Result<Exit, Failure> {
    let image = parse(&args.image)?;
    if image.file().is_some() {
        return Err(Failure::usage(format!("`{}` is a file, and files are not pulled", args.image))
            .hint(format!("`csync images push {} --on HOST` takes it there", args.image)));
    }
    let known = Known::load(context)?;
    let said = context.block_on(async {
        let place = Place::find(context, &known, args.on.as_deref()).await?;
        let by_name = match &image {
            Image::Registry(name) => Some(name),
            _ => None,
        };
        if let (Some(name), Some(daemon)) = (by_name, place.daemon().await?) {
            daemon.pull(name, |_| {}).await.map_err(|error| failed(&error))?;
            told_of(context, &place, name).await?;
            return Ok(format!("{} has {name}.", place.host.name));
        }
        let made = make(&place, &image).await?;
        if let Image::Registry(name) | Image::Apptainer(name) = &image {
            told_of(context, &place, name).await?;
        }
        Ok(made)
    })?;
    told(context, &said)
}

/// Has an image made ready as a file, by Apptainer or Singularity.
async fn make(place: &Place, image: &Image) -> Result<String, Failure> {
    let command = make_command(image, &images(place).await?, None, &[]);
    let reply = place.way.exec(Exec::new(command).within(PATIENCE)).await;
    let reply = reply.map_err(|error| unreached(&error, &place.host))?;
    if reply.status.is_success() {
        let text = String::from_utf8_lossy(&reply.stdout).trim().to_owned();
        return Ok(format!(
            "{} has it: {}.",
            place.host.name,
            text.split_once(' ').map_or(text.as_str(), |(_, at)| at)
        ));
    }
    let words = String::from_utf8_lossy(&reply.stderr).trim().trim_start_matches("csync: ").to_owned();
    Err(Failure::new(ErrorKind::Conflict, words).exiting(Exit::RunFailed))
}

fn push(context: &Context, args: &One) -> Result<Exit, Failure> {
    let image = parse(&args.image)?;
    let known = Known::load(context)?;
    let said = context.block_on(async {
        let place = Place::find(context, &known, args.on.as_deref()).await?;
        match &image {
            Image::Registry(name) => {
                let here = Place::find(context, &known, None).await?.needed_daemon().await?;
                let said = push_named(context, &place, &here, (&image, name)).await?;
                told_of(context, &place, name).await?;
                Ok(said)
            }
            Image::File(_, path) => push_file(&place, &image, path).await,
            Image::Apptainer(url) => Err(Failure::usage(format!("`{url}` is not on this machine"))
                .hint(format!("`csync images pull {url} --on HOST` has the host take it"))),
        }
    })?;
    told(context, &said)
}

/// Takes an image of this machine's daemon to a host: to its daemon, or made into a file where Apptainer or Singularity runs it.
async fn push_named(
    context: &Context,
    place: &Place,
    here: &Daemon,
    (image, name): (&Image, &str),
) -> Result<String, Failure> {
    let host = &place.host;
    if let Some(there) = place.daemon().await? {
        let loaded = there.take(here, name).await.map_err(|error| failed(&error))?;
        return Ok(format!("{} has {}.", host.name, loaded.unwrap_or_else(|| name.to_owned())));
    }
    let archive = context.state_dir()?.live_dir().join(format!("image-{}.tar", std::process::id()));
    std::fs::create_dir_all(archive.parent().unwrap_or(&archive))
        .map_err(|error| Failure::usage(format!("{} cannot be written", archive.display())).because(&error))?;
    let to = images(place).await?;
    let made = convert(here, image, &place.way, (&to, &host.containers), archive).await;
    let made = made.map_err(|error| match error {
        NotReady::Transport(error) => unreached(&error, host),
        NotReady::Docker(error) => failed(&error),
        error => Failure::new(ErrorKind::Conflict, error.to_string()).exiting(Exit::RunFailed),
    })?;
    Ok(format!("{} has it: {made}.", host.name))
}

async fn push_file(place: &Place, image: &Image, path: &str) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| Failure::usage(format!("`{path}` cannot be read")).because(&error);
    if image.is_for_daemons()
        && let Some(daemon) = place.daemon().await?
    {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let loaded = daemon.load(file).await.map_err(|error| failed(&error))?;
        return Ok(format!("{} has {}.", place.host.name, loaded.unwrap_or_else(|| "it".to_owned())));
    }
    let images = images(place).await?;
    let name =
        std::path::Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let target = format!("{images}/{name}");
    let made = place.way.exec(Exec::new(format!("umask 077; mkdir -p -- {}", sh(&images)))).await;
    made.map_err(|error| unreached(&error, &place.host))?;
    std::fs::metadata(path).map_err(unreadable)?;
    let put = Put { from: PathBuf::from(path), to: target.clone(), mode: 0o600, mtime: None, meter: Meter::default() };
    place.way.put(&put).await.map_err(|error| unreached(&error, &place.host))?;
    Ok(format!("{} has it: {target}.", place.host.name))
}

fn told(context: &Context, words: &str) -> Result<Exit, Failure> {
    if context.json() {
        context.print_json(&json!({ "said": words }))?;
    } else {
        context.print(words)?;
    }
    Ok(Exit::Success)
}
