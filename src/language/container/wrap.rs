//! The prelude around a command.

use std::sync::LazyLock;

use crate::language::container::image::Image;
use crate::language::quote::sh;
use crate::model::host::ContainerRuntime;
use crate::model::job::Invocation;
use crate::model::units::Bytes;

/// See the head of the file.
const PRELUDE: &str = include_str!("prelude.sh");

/// The prelude without its comments: it goes along with every job.
static SHORT: LazyLock<String> = LazyLock::new(|| {
    let lines = PRELUDE.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
});

/// Runs a script inside as `run = "..."` is run outside: bash in strict mode, or a shell that knows as much.
const INSIDE: &str = "\
command -v bash >/dev/null 2>&1 && exec bash -euo pipefail -c \"$1\" \"$2\"
(set -o pipefail) 2>/dev/null && exec /bin/sh -euo pipefail -c \"$1\" \"$2\"
echo 'csync: the image has neither bash nor another shell that knows `pipefail`; write `run` as a list' >&2
exit 125";

/// What a command in a container is shown and given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrapping {
    /// The working directory, absolute.
    pub workdir: String,
    /// Directories that it sees and may write to, absolute.
    pub directories: Vec<String>,
    /// Further binds, as [`bind`] returns them.
    pub binds: Vec<String>,
    /// What it reads, absolute: where links lead elsewhere, that is shown too.
    pub inputs: Vec<String>,
    /// Names of variables that go in.
    pub env: Vec<String>,
    /// Cores.
    pub cpus: u32,
    /// Memory; none where nobody asked for some.
    pub memory: Option<Bytes>,
    /// GPUs.
    pub gpus: u32,
    /// What may run it, the preferred one first; empty: whatever there is.
    pub runtimes: Vec<ContainerRuntime>,
    /// What people call it; a script's `$0`.
    pub label: String,
}

/// An entry of `binds` that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBind {
    /// Not `HOST[:INSIDE[:ro|rw]]`.
    #[error("`{0}` is no bind; write `/host/path`, `/host/path:/inside` or `/host/path:/inside:ro`")]
    Shape(String),
    /// A place inside that is not absolute.
    #[error("`{0}` has to name its place inside by an absolute path")]
    Inside(String),
}

/// Reads an entry of `binds`; a path that is not absolute is one of `root`.
///
/// # Errors
/// When it is none.
pub fn bind(entry: &str, root: &str) -> Result<String, BadBind> {
    let shape = || BadBind::Shape(entry.to_owned());
    if entry.contains(['\n', ',', '"']) {
        return Err(shape());
    }
    let mut parts = entry.split(':');
    let host = parts.next().filter(|host| !host.is_empty()).ok_or_else(shape)?;
    let root = root.trim_end_matches('/');
    let host = match host.strip_prefix("./").unwrap_or(host) {
        _ if host.starts_with('/') => host.to_owned(),
        _ if host.starts_with('~') => return Err(shape()),
        "." => root.to_owned(),
        relative => format!("{root}/{relative}"),
    };
    let Some(inside) = parts.next() else { return Ok(host) };
    let mode = parts.next();
    if parts.next().is_some() || !matches!(mode, None | Some("ro" | "rw")) {
        return Err(shape());
    }
    // `/path:ro` is what some write.
    if matches!(inside, "ro" | "rw") && mode.is_none() {
        return Ok(format!("{host}:{host}:{inside}"));
    }
    if !inside.starts_with('/') {
        return Err(BadBind::Inside(entry.to_owned()));
    }
    Ok(format!("{host}:{inside}:{}", mode.unwrap_or("rw")))
}

/// Returns the words that run a command in a container. The image's file, if it is one, is named by an absolute path.
pub fn wrap(invocation: &Invocation, image: &Image, wrapping: &Wrapping) -> Vec<String> {
    let begin = ["/bin/sh", "-c", &SHORT, "csync", "run"].map(str::to_owned);
    let mut all = Vec::from(begin);
    all.push(image.to_string());
    let mut word = |key: &str, value: &str| all.push(format!("{key}={value}"));
    for directory in &wrapping.directories {
        word("bind", directory);
    }
    word("workdir", &wrapping.workdir);
    wrapping.binds.iter().for_each(|bind| word("bind", bind));
    wrapping.inputs.iter().for_each(|input| word("input", input));
    wrapping.env.iter().for_each(|name| word("env", name));
    word("cpus", &wrapping.cpus.max(1).to_string());
    if let Some(memory) = wrapping.memory {
        word("mem", &memory.0.to_string());
    }
    if wrapping.gpus > 0 {
        word("gpus", &wrapping.gpus.to_string());
    }
    if !wrapping.runtimes.is_empty() {
        word("runtimes", &names(&wrapping.runtimes));
    }
    all.push("--".to_owned());
    all.extend(words(invocation, &wrapping.label));
    all
}

/// Returns the words that a container's program is started with.
pub fn words(invocation: &Invocation, label: &str) -> Vec<String> {
    match invocation {
        Invocation::Script(text) => {
            ["/bin/sh", "-c", INSIDE, "sh", text, label].into_iter().map(str::to_owned).collect()
        }
        Invocation::Argv(words) => words.clone(),
    }
}

/// Returns the command, in POSIX sh, that has an image ready on a host: pulled, converted, loaded. It prints `KIND WHERE`.
pub fn make_command(image: &Image, images: &str, of: Option<&str>, runtimes: &[ContainerRuntime]) -> String {
    let mut script =
        format!("CSYNC_IMAGES={} /bin/sh -c {} csync make {}", sh(images), sh(&SHORT), sh(&image.to_string()));
    if let Some(archive) = of {
        script.push(' ');
        script.push_str(&sh(&format!("of={archive}")));
    }
    if !runtimes.is_empty() {
        script.push(' ');
        script.push_str(&sh(&format!("runtimes={}", names(runtimes))));
    }
    script
}

/// Returns the command, in POSIX sh, that tells of the images that are kept as files on a host.
pub fn list_command(images: &str) -> String {
    format!(
        "cd {} 2>/dev/null || exit 0; for f in *.sif; do [ -e \"$f\" ] || continue; n=$f; \
         [ ! -r \"${{f%.sif}}.name\" ] || read -r n <\"${{f%.sif}}.name\"; printf '%s %s %s\\n' \"$(wc -c <\"$f\")\" \"${{f%.sif}}\" \"$n\"; done",
        sh(images)
    )
}

/// Reads what [`list_command`] prints: what an image was made of, what its file is called, and its size.
pub fn read_list(text: &str) -> Vec<(String, String, Bytes)> {
    let read = |line: &str| {
        let mut words = line.trim_start().splitn(3, ' ');
        let size = words.next()?.parse().ok()?;
        let (digest, name) = (words.next()?, words.next()?);
        Some((name.to_owned(), digest.to_owned(), Bytes(size)))
    };
    text.lines().filter_map(read).collect()
}

fn names(runtimes: &[ContainerRuntime]) -> String {
    runtimes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
