//! What a command needs, read off its words and the files that they name; what is known of hosts and links.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::ManuallyDrop;
use std::path::Path;

use walkdir::WalkDir;

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::planned;
use crate::cli::route::digest::RouteHosts;
use crate::cli::route::elsewhere::Elsewhere;
use crate::cli::route::{Args, line};
use crate::cli::submission::directory;
use crate::cli::view::words::shell_word;
use crate::decide::graph::datasets::Catalog;
use crate::decide::graph::estimate::Estimate;
use crate::decide::graph::known::share;
use crate::decide::graph::net::Net;
use crate::decide::graph::queues::Queues;
use crate::decide::learn::threads::threads;
use crate::decide::route::need::{Asker, Cores, DAEMONS, Found, Input, Launcher, Need, Place, light_login};
use crate::language::command::is_small;
use crate::language::container::{BadImage, Image, RUNTIMES, pulled_name};
use crate::language::manifest::localized;
use crate::language::shell::{Span, Word, read, words};
use crate::model::api::ErrorKind;
use crate::model::data::{Holding, IMAGES, Replica, Trouble};
use crate::model::facts::{ContainerProgram, Facts, Gpu};
use crate::model::host::HostName;
use crate::reach::clock;
use crate::reach::docker::runtimes;
use crate::reach::files::look::fingerprint;
use crate::reach::machine::host_name;
use crate::reach::store::{Place as StorePlace, Reader, Routing, StoreError};

/// Entries of a directory that are counted at most: what is larger is larger than any of this.
const MOST_ENTRIES: usize = 100_000;

/// Programs that take HOST:PATH as it is written.
const COPIERS: [&str; 5] = ["scp", "rsync", "sftp", "ssh", "rclone"];

/// Programs of Slurm that start others.
const LAUNCHERS: [&str; 3] = ["srun", "sbatch", "salloc"];

/// What earlier runs showed.
#[derive(Default)]
pub(super) struct Seen {
    /// This directory.
    root: String,
    /// Where files of it lie that the command may name, and what holds for all commands.
    known: Routing,
    /// The image that it runs in.
    image: Option<Image>,
    /// Hosts that have it.
    images: Vec<Replica>,
    /// Datasets, where the command may name any.
    catalog: Catalog,
    /// What changes with what probes found, and with how fast files moved; none where there is no store.
    pub(super) version: Option<(i64, i64)>,
    /// Why the store cannot be read, where it is there: what is advised then rests on the files of hosts alone.
    pub(super) trouble: Option<String>,
}

impl Seen {
    /// Reads it; nothing where nothing ran yet.
    pub(super) async fn load(context: &Context, args: &Args, given: &Line) -> Result<Self, Failure> {
        let image = args.image.as_deref().map(image).transpose()?;
        let speaks = given.names.iter().any(|name| name.contains("data:") || name.contains(":/"));
        let root = directory(Path::new("."))?;
        let names: Vec<&str> = given.names.iter().map(|name| within(name, &root)).collect();
        let place = StorePlace::of(&context.state_dir()?);
        let blind = Self { root: root.clone(), image: image.clone(), ..Self::default() };
        let read = async {
            let Some((reader, known)) = Reader::open_routing(&place, &root, &names).await? else {
                return Ok(Self { root, image, ..Self::default() });
            };
            // The process ends with the answer, and its thread with it: to close what is only read and wait for that takes a third of
            // a millisecond.
            let reader = ManuallyDrop::new(reader);
            Ok(Self {
                images: match image.as_ref().and_then(|image| pulled_name(&image.to_string())) {
                    Some(name) => reader.replicas_of(IMAGES, &[&name]).await?,
                    None => Vec::new(),
                },
                image,
                version: Some((known.probed, known.rated)),
                known,
                catalog: if speaks { Catalog::new(reader.datasets(None).await?) } else { Catalog::default() },
                root,
                trouble: None,
            })
        };
        let read: Result<Self, StoreError> = read.await;
        Ok(read.unwrap_or_else(|error| Self { trouble: Some(error.to_string()), ..blind }))
    }

    /// Returns this directory.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Returns what lies between the hosts, and what they share.
    pub(super) fn net(&self, known: &mut RouteHosts) -> Net {
        let mut net = known.links();
        share(&mut net, &self.known.shared);
        net
    }

    /// Returns whether there is a dataset of that name.
    pub(super) fn has_dataset(&self, name: &str) -> bool {
        !self.catalog.places(name).is_empty()
    }

    /// Returns what names a dataset's file or directory as an input of a task: `data:NAME/FILE`, also of one that is named by a
    /// place; none where there is no such dataset.
    pub(super) fn input(&self, word: &str) -> Option<String> {
        if let Some(rest) = word.strip_prefix("data:") {
            let name = rest.split('/').next().unwrap_or_default();
            return self.has_dataset(name).then(|| word.trim_end_matches('/').to_owned());
        }
        let (host, path) = word.split_once(':')?;
        let mut places = self.catalog.iter().flat_map(|(_, places)| places);
        places.find_map(|place| {
            let rest = path.strip_prefix(place.path.as_str()).filter(|_| place.host.as_str() == host)?;
            let inside = rest.is_empty() || rest.starts_with('/');
            inside.then(|| format!("data:{}{}", place.dataset, rest.trim_end_matches('/')))
        })
    }

    /// Says why a file of a dataset is not there, and what helps; none of what names no dataset that there is.
    pub(super) fn absent(&self, word: &str) -> Option<(String, String)> {
        let input = self.input(word)?;
        let rest = input.strip_prefix("data:")?;
        let (name, file) = rest.split_once('/').unwrap_or((rest, ""));
        let places = self.catalog.places(name);
        if places.is_empty() || self.dataset(word).is_some() {
            return None;
        }
        Some(if places.iter().all(|place| place.trouble == Some(Trouble::Gone)) {
            let helps =
                format!("`csync data where {name}` says where it was, `csync data add {name} PLACE` where it is now");
            (format!("no copy of the dataset `{name}` is left"), helps)
        } else if !places.iter().any(Holding::is_there) {
            (
                format!("no place of the dataset `{name}` was seen yet"),
                format!("`csync data scan {name}` looks at them"),
            )
        } else {
            let helps = format!("`csync data scan {name}` looks again at what is there");
            (format!("the dataset `{name}` has no `{file}`"), helps)
        })
    }

    /// Returns the size of a dataset's file or directory, or of all its files that a pattern stands for, and the hosts that have it
    /// whole: named as `data:NAME/FILE`, or by a place.
    fn dataset(&self, word: &str) -> Option<(f64, Vec<HostName>)> {
        let path = localized(&self.input(word)?).into_owned();
        let paths = match self.catalog.print(&path) {
            None if is_pattern(&path) => self.catalog.glob(&path),
            _ => vec![path],
        };
        let sizes: Option<Vec<u64>> = paths.iter().map(|path| Some(self.catalog.print(path)?.size)).collect();
        let bytes = sizes.filter(|sizes| !sizes.is_empty())?.into_iter().fold(0, u64::saturating_add);
        let copies: Vec<Replica> = paths.iter().flat_map(|path| self.catalog.replicas("", path)).collect();
        let files = copies.iter().map(|copy| copy.path.as_str()).collect::<BTreeSet<_>>().len();
        let mut has: BTreeMap<&HostName, usize> = BTreeMap::new();
        for copy in &copies {
            *has.entry(&copy.host).or_default() += 1;
        }
        let whole = has.into_iter().filter(|(_, count)| *count >= files).map(|(host, _)| host.clone());
        Some((bytes as f64, whole.collect()))
    }

    /// Returns an image with the hosts that were seen to have it; none of a file, which goes along as files do.
    fn copies_of(&self, image: &Image) -> Option<Input> {
        let name = pulled_name(&image.to_string())?;
        let copies = self.images.iter();
        let (at, sizes): (Vec<_>, Vec<_>) = copies.map(|copy| (copy.host.clone(), copy.size.0 as f64)).unzip();
        Some(Input { name, bytes: sizes.into_iter().fold(0.0, f64::max), at })
    }

    /// Returns the hosts that have copies of a file of this directory, and its size there.
    fn copies(&self, path: &str) -> (Vec<HostName>, Option<f64>) {
        let copies = self.known.replicas.iter().filter(|replica| replica.path == path || replica.here() == path);
        let (mut hosts, sizes): (Vec<_>, Vec<_>) = copies.map(|copy| (copy.host.clone(), copy.size.0 as f64)).unzip();
        let path = within(path, &self.root);
        let brought: Vec<_> = self.known.brought.iter().filter(|one| one.path == path).collect();
        if !brought.is_empty() {
            let here = fingerprint(&Path::new(&self.root).join(path), false).ok().flatten();
            let same = brought.into_iter().filter(|one| here.is_some_and(|print| one.is(&print)));
            hosts.extend(same.map(|one| one.host.clone()));
        }
        (hosts, sizes.into_iter().reduce(f64::max))
    }
}

/// Returns a path of a directory as it is known there.
fn within<'n>(name: &'n str, root: &str) -> &'n str {
    let below = name.strip_prefix(root.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    below.unwrap_or(name)
}

fn image(name: &str) -> Result<Image, Failure> {
    name.parse().map_err(|error: BadImage| Failure::usage(format!("`{name}` names no image: {error}")))
}

/// A command as it was given.
pub(super) struct Line {
    command: String,
    /// Whether a shell alone can run it: pipes, redirections, loops.
    is_script: bool,
    threads: Option<u32>,
    /// What its words may name.
    words: Vec<String>,
    /// The same, and what was named as its inputs.
    names: Vec<String>,
}

impl Line {
    /// Returns it as one text.
    pub(super) fn command(&self) -> &str {
        &self.command
    }

    /// Returns it as words that start it, wherever they are typed.
    pub(super) fn typed(&self) -> Cow<'_, str> {
        if self.is_script { format!("bash -c {}", shell_word(&self.command)).into() } else { (&self.command).into() }
    }

    /// Returns what stands where in its text, as far as that is known.
    pub(super) fn spots(&self) -> Vec<(Span, String)> {
        let mut all = if self.is_script {
            let script = read(&self.command).unwrap_or_default();
            let files = script.files.into_iter().map(|file| file.word);
            script.commands.into_iter().flat_map(|command| command.words).chain(files).collect()
        } else {
            words(&self.command).unwrap_or_default()
        };
        all.sort_by_key(|word| word.span.start);
        all.iter().map(|word| (word.span.clone(), meaning(&self.command, word))).collect()
    }

    pub(super) fn read(args: &Args) -> Result<Self, Failure> {
        let given: Vec<String> = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let (command, Split { commands, files, is_script }) = match given.as_slice() {
            [text] => (text.clone(), split(text)?),
            words => (line(words), Split { commands: vec![words.to_vec()], ..Split::default() }),
        };
        let threads =
            commands.iter().filter_map(|words| threads(&words.iter().map(String::as_str).collect::<Vec<_>>())).max();
        // What `cd` and the like are given is no input of what the others do.
        let is_said =
            |words: &&Vec<String>| !is_script || !is_small(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let said = commands.iter().filter(is_said).flat_map(|words| words.iter().skip(1));
        let said = said.map(|word| value(word).to_owned());
        let words: Vec<String> = said.chain(files).collect();
        let names = args.inputs.iter().chain(&words).cloned().collect();
        Ok(Self { command, is_script, threads, words, names })
    }

    /// Returns whether it begins with a program that takes HOST:PATH as it is written.
    fn reaches_hosts(&self) -> bool {
        COPIERS.contains(&self.program())
    }

    /// Returns the program that it begins with.
    fn program(&self) -> &str {
        let first = self.command.split_whitespace().next().unwrap_or_default();
        first.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the program of Slurm that it begins with.
    fn launcher(&self) -> Option<Launcher> {
        let name = LAUNCHERS.into_iter().find(|name| *name == self.program())?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_here = std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
        Some(Launcher { name, is_here })
    }
}

/// Returns what a word of a text means; of one that expands, nothing but a dataset's pattern, which csync looks up itself.
fn meaning(text: &str, word: &Word) -> String {
    let raw = text.get(word.span.clone()).unwrap_or_default();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:,+@%=*?[]!".contains(letter);
    let pattern = Some(raw).filter(|raw| value(raw).starts_with("data:") && raw.chars().all(is_plain));
    word.fixed().or(pattern).unwrap_or_default().to_owned()
}

/// Returns whether a path stands for any number of files.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Returns what a word names: `--in=reads.fq` names a file too.
pub(super) fn value(word: &str) -> &str {
    word.split_once('=').filter(|_| word.starts_with('-')).map_or(word, |(_, value)| value)
}

/// A command, and what it needs.
pub(super) struct Wanted {
    pub(super) need: Need,
    /// Inputs of which nobody knows how much they are.
    pub(super) unknown: Vec<String>,
    /// What it names that only a task can have.
    pub(super) elsewhere: Elsewhere,
}

/// Reads a command; `here` are the cores of this machine.
pub(super) fn wanted(
    (args, given): (&Args, &Line),
    (asker, here): (Asker, Option<u32>),
    known: &RouteHosts,
    seen: &Seen,
    net: &Net,
) -> Result<Wanted, Failure> {
    let mut wanted = Wanted {
        need: Need {
            cpus: args.cpus.or(given.threads).unwrap_or(1),
            cores: if args.cpus.is_none() && given.threads.is_some() { Cores::Threads { here } } else { Cores::Asked },
            memory: args.mem.map(|mem| Estimate::known(mem.0 as f64)),
            time: args.time.map(|time| Estimate::known(time.0 as f64)),
            gpus: args.gpus,
            internet: args.internet,
            sandboxed: args.sandbox,
            runtimes: match &seen.image {
                _ if args.sandbox => &DAEMONS,
                Some(image) => image.runtimes(),
                None if args.container => &RUNTIMES,
                None => &[],
            },
            image: seen.image.as_ref().and_then(|image| seen.copies_of(image)),
            inputs: Vec::new(),
            launcher: given.launcher(),
            asker,
            now: clock::now().0 as f64 / 1e6,
        },
        unknown: Vec::new(),
        elsewhere: Elsewhere::default(),
    };
    for input in &args.inputs {
        if !wanted.add(input, known, seen, net) {
            let failure = format!("there is no input `{}`", input.escape_debug());
            if let Some((why, helps)) = seen.absent(input) {
                return Err(Failure::new(ErrorKind::NotFound, format!("{failure}: {why}")).hint(helps));
            }
            let failure = Failure::new(ErrorKind::NotFound, failure);
            return Err(
                failure.hint("name a file or directory here, HOST:PATH of a host that `csync hosts list` names, or data:NAME/FILE of a dataset")
            );
        }
    }
    for word in &given.words {
        let is_known = wanted.add(word, known, seen, net);
        if !is_known
            && word.strip_prefix("data:").is_some_and(|rest| !rest.is_empty())
            && !wanted.unknown.contains(word)
        {
            wanted.unknown.push(word.clone());
        }
    }
    let is_taken = |word: &&String| word.starts_with("data:") || !given.reaches_hosts();
    let named = args.inputs.iter().chain(given.words.iter().filter(is_taken));
    wanted.elsewhere = Elsewhere::of(named.map(String::as_str), known, seen);
    if let Some(name) = wanted.elsewhere.names().next().filter(|_| args.sandbox) {
        let failure =
            Failure::usage(format!("a sandbox has files of this directory alone, and the command names `{name}`"));
        return Err(failure.hint("leave out --sandbox: a task can have it as an input; or copy the file here first"));
    }
    Ok(wanted)
}

impl Wanted {
    /// Takes what a word names as an input; returns whether it names something.
    fn add(&mut self, word: &str, known: &RouteHosts, seen: &Seen, net: &Net) -> bool {
        if word.is_empty() || self.need.inputs.iter().any(|input| input.name == word) {
            return true;
        }
        let (mut at, known_size) = seen.copies(word);
        let bytes = if let Some((bytes, hosts)) = seen.dataset(word) {
            at.extend(hosts);
            bytes
        } else if let Some(host) = place(word, known) {
            self.unknown.push(word.to_owned());
            at.push(host);
            0.0
        } else if let Some(bytes) = size(Path::new(word)) {
            let path = Path::new(&seen.root).join(word);
            at.extend(net.seen_at(&HostName::local(), &path.to_string_lossy()).into_iter().map(|(host, _)| host));
            bytes
        } else {
            let Some(bytes) = known_size else { return false };
            bytes
        };
        at.sort();
        at.dedup();
        self.need.inputs.push(Input { name: word.to_owned(), bytes, at });
        true
    }
}

/// Returns the host of `HOST:PATH`, where that is one.
pub(super) fn place(word: &str, known: &RouteHosts) -> Option<HostName> {
    let (host, path) = word.split_once(':')?;
    (!path.is_empty()).then(|| known.hosts.get(host)).flatten().map(|host| host.name.clone())
}

/// Returns how many bytes are in a file or below a directory; none where there is neither.
fn size(path: &Path) -> Option<f64> {
    let metadata = std::fs::metadata(path).ok()?;
    if metadata.is_file() {
        return Some(metadata.len() as f64);
    }
    if !metadata.is_dir() {
        return None;
    }
    let files = WalkDir::new(path).into_iter().take(MOST_ENTRIES).filter_map(Result::ok);
    let sizes = files.filter(|entry| entry.file_type().is_file()).filter_map(|entry| entry.metadata().ok());
    Some(sizes.map(|metadata| metadata.len() as f64).sum())
}

/// The simple commands of a text.
#[derive(Default)]
struct Split {
    commands: Vec<Vec<String>>,
    /// Files that redirections open to be read.
    files: Vec<String>,
    is_script: bool,
}

/// Splits one text into the words of a command, or of those that a shell runs by it.
fn split(text: &str) -> Result<Split, Failure> {
    let fault = |message: &str| {
        let failure = Failure::new(ErrorKind::Invalid, message.to_owned());
        failure.hint("`csync route -- COMMAND ARGUMENT...` takes the words as they are")
    };
    // What expands is some word; which, only the shell knows.
    let meant = |words: &[Word]| words.iter().map(|word| meaning(text, word)).collect::<Vec<_>>();
    let split = if let Some(words) = words(text) {
        Split { commands: vec![meant(&words)], ..Split::default() }
    } else {
        let script = read(text).ok_or_else(|| fault("the command cannot be read as words"))?;
        let files = script.files.iter().filter(|file| !file.is_written).map(|file| meaning(text, &file.word));
        Split {
            commands: script.commands.iter().map(|command| meant(&command.words)).collect(),
            files: files.collect(),
            is_script: true,
        }
    };
    if split.commands.iter().all(Vec::is_empty) {
        return Err(fault("the command is empty"));
    }
    Ok(split)
}

/// Returns the hosts as places.
pub(super) fn places<'a>(known: &'a RouteHosts, seen: &Seen, net: &Net, here: &'a Facts) -> Vec<Place<'a>> {
    let mut queues = Queues::of_hosts(&seen.known.waits);
    let login_of = light_login(&host_name(), known.iter().map(|(host, details)| (host, details.name())));
    let all = known.iter();
    all.map(|(host, details)| {
        let found = if host.name.is_local() { Some(Found::from(here)) } else { details.found() };
        let (partitions, trouble) = (known.partitions(details), details.trouble.clone());
        let queues = queues.remove(&host.name).unwrap_or_default();
        let login_of = login_of.filter(|_| host.name.is_local());
        let stop = net.stop(&host.name);
        Place { found, queues, stop, trouble, login_of, ..Place::of(host, None, partitions) }
    })
    .collect()
}

/// Returns what jobs may use of this machine, as a probe would say it.
pub(super) fn machine() -> Facts {
    let room = planned::here();
    let mut facts = Facts::default();
    facts.machine.cores = Some(room.cpus);
    facts.machine.memory = Some(room.mem);
    if room.gpus > 0 {
        facts.machine.gpus.push(Gpu { count: room.gpus, ..Gpu::default() });
    }
    let program = |runtime| ContainerProgram {
        runtime,
        version: String::new(),
        usable: None,
        limits: None,
        tried: None,
        gpus: None,
    };
    facts.containers = runtimes().into_iter().map(program).collect();
    facts
}

/// Returns what this machine has, with what a probe found of its limits.
pub(super) fn here(mut facts: Facts, known: &RouteHosts) -> Facts {
    for lax in known.of(&HostName::local()).into_iter().flat_map(|details| &details.lax) {
        facts.containers.iter_mut().filter(|it| it.runtime == lax.runtime).for_each(|it| it.limits = lax.limits);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_looked_up_as_their_directory_knows_them() {
        for (name, wanted) in [("/lab/a/b", "a/b"), ("a/b", "a/b"), ("/labs/a", "/labs/a"), ("/lab", "/lab")] {
            assert_eq!(within(name, "/lab"), wanted);
        }
        assert_eq!([value("--in=a"), value("a=b"), value("a")], ["a", "a=b", "a"]);
    }

    #[test]
    fn directories_count_what_is_below_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        std::fs::write(dir.path().join("below/a"), "12345").unwrap();
        std::fs::write(dir.path().join("b"), "123").unwrap();
        assert_eq!(size(dir.path()), Some(8.0));
        assert_eq!(size(&dir.path().join("b")), Some(3.0));
        assert_eq!(size(&dir.path().join("none")), None);
    }
}
