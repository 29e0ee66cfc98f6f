//! What a host is, asked in one go: the text of a script for `/bin/sh`, and the reading of what it prints.
//!
//! The script changes nothing on the host. Its answer is in sections, each behind a line with a mark that the caller made up
//! (so that nothing that a host prints is taken for one); what is missing or odd is left out, or said in a note.

mod devices;
mod parts;
mod places;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::language::batch::{parse_probe, probe_script};
use crate::language::quote::sh;
use crate::model::batch::Flavour;
use crate::model::facts::{BatchSystem, Facts, NodeSight, Skew};
use crate::model::host::Policy;
use crate::model::units::Timestamp;

/// What stands before the rest.
const HEAD: &str = include_str!("head.sh");
/// What looks, less what only dialects know.
const SCRIPT: &str = include_str!("probe.sh");
/// What asks of GPUs.
const DEVICES: &str = include_str!("devices.sh");
/// What asks of the internet, by one question to a machine that is not the site's.
const INTERNET: &str = include_str!("internet.sh");
/// What asks of filesystems.
const PLACES: &str = include_str!("places.sh");

/// Returns what asks of the internet, where that may be asked.
const fn internet(policy: Policy) -> &'static str {
    if policy.ask_internet { INTERNET } else { "" }
}

/// Returns the script. `mark` is of letters, digits and `-`, and nobody can guess it.
pub fn script(mark: &str, policy: Policy) -> String {
    let mut text = format!("(\nm={mark}\n");
    for flavour in Flavour::ALL {
        text.extend(["csync_probe_", flavour.name(), "() {\n", probe_script(flavour), "}\n"]);
    }
    // In a subshell: what it redirects is not the caller's.
    text + HEAD + SCRIPT + DEVICES + internet(policy) + PLACES + ")\n"
}

/// Returns the script that a job on a compute node runs, which tells what a look from the login node does not see.
pub fn node_script(mark: &str, policy: Policy) -> String {
    let internet = internet(policy);
    let who = "section machine\nprintf 'hostname=%s\\n' \"$(uname -n)\"\n";
    format!("(\nm={mark}\n{HEAD}{who}{DEVICES}{internet}section end\n)\n")
}

/// The mark in what jobs note: nothing that they run for it prints that.
const NOTED: &str = "csync-noted-by-a-job";

/// Returns the script that a batch job runs beside its task, where it is the first of its submission, whose directory this is: what
/// it sees lies among the records then, whole or not at all. Beside whom it looks is said there before: the process and the node.
///
/// What it takes is not the task's. It is no child of what waits for the task, so that its time and what it reads are in nobody's
/// sums; and the wrapper beside it does not take a small peak of the job's control group for the task's. Where the job's memory runs out,
/// the kernel ends what is a candidate by its own word before it ends the task. A batch system's own accounting has these few
/// seconds, which are one job's of each partition in thirty days, and is asked where the wrapper's record is missing alone.
pub fn note_script(directory: &str, policy: Policy) -> String {
    let look = node_script(NOTED, policy);
    format!(
        "umask 077\n{{ echo 1000 >/proc/$$/oom_score_adj; }} 2>/dev/null\n\
         cd -- {} && mkdir looked 2>/dev/null && echo \"$1 $(uname -n)\" >looked/by || exit 0\n{{\n\
         printf 'csync=look\\npartition=%s\\ngpus=%s\\nat=%s\\n' \"${{SLURM_JOB_PARTITION:-${{PBS_QUEUE:-${{QUEUE:-}}}}}}\" \
         \"${{SLURM_GPUS_ON_NODE:-${{CUDA_VISIBLE_DEVICES:-}}}}\" \"$(date +%s)\"\n\
         {look}echo end=look\n}} >news/.look && mv -f news/.look news/look\n",
        sh(directory)
    )
}

/// What a job noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteRead {
    /// The partition that it ran in.
    pub partition: String,
    /// What it saw; when, by that node's clock.
    pub sight: NodeSight,
}

impl NoteRead {
    /// Reads it; nothing where it is not whole.
    pub fn of(note: &str) -> Option<Self> {
        let head: BTreeMap<&str, &str> = pairs(note.split(NOTED).next()?).collect();
        let partition = head.get("partition").map(|name| parts::clean(name))?;
        let at = head.get("at")?.parse::<i64>().ok()?.checked_mul(1_000_000)?;
        let has_gpus = head.get("gpus").is_some_and(|gpus| *gpus != "0");
        Some(Self { partition, sight: parse_node(NOTED, note, Timestamp(at), has_gpus)? })
    }
}

/// Reads what that printed, at this time, in a job that was granted GPUs or none; nothing where it was ended in the middle.
pub fn parse_node(mark: &str, output: &str, at: Timestamp, has_gpus: bool) -> Option<NodeSight> {
    let sections = sections(mark, output);
    let section = |name: &str| sections.get(name).copied().unwrap_or_default();
    sections.get("end")?;
    let mut gpus = devices::nvidia(section("gpus"));
    gpus.extend(devices::amd(section("amd")));
    // A job without any may be kept from seeing those that its node has.
    let gpus = (has_gpus || !gpus.is_empty()).then_some(gpus);
    let internet = parts::internet(section("internet")).login;
    Some(NodeSight { at, node: parts::machine(section("machine")).hostname, internet, gpus })
}

/// The script that reads the host's clock: one line that [`skew`] understands.
pub const CLOCK: &str = "date +%s.%N\n";

/// Returns how far the host's clock is ahead, from what [`CLOCK`] printed and our times, in seconds, around asking it.
pub fn skew(printed: &str, before: f64, after: f64) -> Option<Skew> {
    let printed = printed.trim();
    let (whole, fraction) = printed.split_once('.').unwrap_or((printed, ""));
    let whole: f64 = whole.parse::<u64>().ok()? as f64;
    // Not every date(1) knows `%N`; then the second may be over nearly, or just begun.
    let fine = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let (theirs, resolution) = match format!("0.{fraction}").parse::<f64>() {
        Ok(fraction) if fine => (whole + fraction, 0.0),
        _ => (whole + 0.5, 0.5),
    };
    let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    let seconds = theirs - f64::midpoint(before, after);
    Some(Skew { seconds: round(seconds), error: round((after - before).max(0.0) / 2.0 + resolution) })
}

/// Reads what the script printed.
pub fn parse(mark: &str, output: &str) -> Facts {
    let sections = sections(mark, output);
    let section = |name: &str| sections.get(name).copied().unwrap_or_default();
    let mut facts = Facts {
        account: parts::login(section("login")),
        machine: parts::machine(section("machine")),
        load: parts::load(section("machine")),
        containers: parts::containers(section("containers")),
        modules: parts::modules(section("environment"), section("modules")),
        conda: parts::conda(section("conda")),
        internet: parts::internet(section("internet")),
        tools: parts::tools(section("tools")),
        filesystems: places::filesystems(section("mounts"), section("room")),
        quotas: places::quotas(section("quotas")),
        ..Facts::default()
    };
    facts.machine.gpus = devices::nvidia(section("gpus"));
    facts.machine.gpus.extend(devices::amd(section("amd")));
    facts.scratch = places::scratch(section("scratch"), &facts.filesystems);
    batch(section("batch"), section("offers"), &mut facts);
    if !sections.contains_key("end") {
        let last =
            sections.keys().copied().max_by_key(|name| output.find(&format!("{mark} {name}"))).unwrap_or("start");
        facts.notes.push(format!("the host stopped answering in the middle ({last}): a filesystem may hang"));
    }
    facts
}

/// Cuts the answer into sections, by name.
fn sections<'o>(mark: &str, output: &'o str) -> BTreeMap<&'o str, &'o str> {
    let mut found = BTreeMap::new();
    // What comes before the first mark is what somebody's `.bashrc` prints.
    let Some(first) = output.find(mark) else { return found };
    let Some(rest) = output.get(first..) else { return found };
    for piece in rest.split(mark).skip(1) {
        let (name, body) = piece.split_once('\n').unwrap_or((piece, ""));
        let name = name.trim();
        if !name.is_empty() {
            found.insert(name, body.trim_end_matches('\n'));
        }
    }
    found
}

/// Returns the lines `key=value` of a section, those without a value left out.
fn pairs(section: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = section.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim(), value.trim())).filter(|(_, value)| !value.is_empty())
}

fn batch(section: &str, offers: &str, facts: &mut Facts) {
    let said: BTreeMap<&str, &str> = pairs(section).collect();
    let bin = said.get("bin").map(|bin| (*bin).to_owned());
    let needs =
        said.iter().filter_map(|(key, value)| Some((key.strip_prefix("needs ")?.to_owned(), (*value).to_owned())));
    let env = needs.collect();
    match said.get("flavour").map(|flavour| flavour.parse::<Flavour>()) {
        Some(Ok(flavour)) => {
            facts.batch = Some(BatchSystem { offers: parse_probe(flavour, offers), bin, env });
        }
        Some(Err(_)) if said.get("flavour") == Some(&"unknown") => {
            let at = said.get("at").copied().unwrap_or("qsub");
            facts.notes.push(format!("{at} is of a batch system that csync does not know"));
        }
        _ => {}
    }
    for name in pairs(section).filter(|(key, _)| *key == "unconfigured").map(|(_, name)| name) {
        let words = match name {
            "slurm" => "the commands of Slurm are installed and belong to no cluster",
            _ => "the commands of a Grid Engine are installed and belong to no cluster",
        };
        facts.notes.push(words.to_owned());
    }
}
