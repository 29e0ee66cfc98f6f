//! Batch systems: what is submitted, what their queues and histories say, what a site offers.
//!
//! Words are those of the glossary; what only one batch system knows is kept as text beside the neutral word.

mod offers;

pub use offers::{Account, BatchFacts, Partition, PartitionState, Qos};

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::units::{Bytes, Timestamp, Walltime};

/// A batch system, by the dialect that it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// Slurm.
    Slurm,
    /// OpenPBS and PBS Professional.
    Pbs,
    /// Grid Engine.
    Sge,
}

impl Flavour {
    /// Every flavour.
    pub const ALL: [Self; 3] = [Self::Slurm, Self::Pbs, Self::Sge];

    /// Returns its name in files and messages: `slurm`, `pbs`, `sge`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slurm => "slurm",
            Self::Pbs => "pbs",
            Self::Sge => "sge",
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no batch system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a batch system; write slurm, pbs or sge")]
pub struct BadFlavour(pub String);

impl FromStr for Flavour {
    type Err = BadFlavour;

    fn from_str(text: &str) -> Result<Self, BadFlavour> {
        Self::ALL.into_iter().find(|flavour| flavour.name() == text).ok_or_else(|| BadFlavour(text.to_owned()))
    }
}

/// The text cannot be the name of a submission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a submission's name: a letter, then up to 62 letters, digits and `-`")]
pub struct BadJobName(pub String);

/// A submission's id: the job name by which it is found again on the cluster. Valid in every dialect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);

impl JobName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobName {
    type Error = BadJobName;

    fn try_from(text: String) -> Result<Self, BadJobName> {
        let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if letters && first && text.len() < 64 { Ok(Self(text)) } else { Err(BadJobName(text)) }
    }
}

impl FromStr for JobName {
    type Err = BadJobName;

    fn from_str(text: &str) -> Result<Self, BadJobName> {
        text.to_owned().try_into()
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The batch system's own id of a submission, an array as a whole: `1234`, `12.server`, `12[].server`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub String);

impl BatchId {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// GPUs asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpus {
    /// How many, of the whole member.
    pub count: u32,
    /// The model, as the site names it.
    pub model: Option<String>,
}

/// What one member of a submission asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRequest {
    /// Cores per process; at least 1.
    pub cpus: u32,
    /// Processes (ranks); at least 1.
    pub processes: u32,
    /// Nodes; none leaves it to the batch system.
    pub nodes: Option<u32>,
    /// Memory of the whole member.
    pub mem: Option<Bytes>,
    /// Walltime.
    pub time: Option<Walltime>,
    /// GPUs.
    pub gpus: Option<Gpus>,
    /// Whether nobody else may use its nodes.
    pub sharing: Sharing,
}

impl Default for MemberRequest {
    fn default() -> Self {
        Self { cpus: 1, processes: 1, nodes: None, mem: None, time: None, gpus: None, sharing: Sharing::Shared }
    }
}

/// Whether nodes are shared with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// With whoever fits.
    #[default]
    Shared,
    /// With nobody.
    Exclusive,
}

/// An array of members numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// How many members.
    pub size: u32,
    /// Most members that run at once.
    pub cap: Option<u32>,
}

/// What is submitted, in no dialect. Nothing of the submitting shell's environment goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Its id, which is its name on the cluster.
    pub name: JobName,
    /// The submission's directory on the host, absolute: where the batch script lies and starts.
    pub directory: String,
    /// The batch script's name in the directory.
    pub script: String,
    /// What the batch script itself prints goes to this file of the directory; members of an array append `.INDEX`.
    pub log: String,
    /// The array; none, or of size 1, is a plain job (whose only member is 1).
    pub array: Option<Array>,
    /// What each member asks for.
    pub request: MemberRequest,
    /// Who pays.
    pub account: Option<String>,
    /// Partition (queue).
    pub partition: Option<String>,
    /// Quality of service.
    pub qos: Option<String>,
    /// Reservation.
    pub reservation: Option<String>,
    /// Features that its nodes must have.
    pub constraint: Option<String>,
    /// Flags passed through as they are: `slurm.NAME`, `pbs.NAME`, `sge.NAME`; those of other dialects are ignored.
    pub raw: BTreeMap<String, String>,
    /// Signal, without `SIG`, and seconds before the end of the walltime at which the batch system sends it.
    pub signal: Option<(String, u64)>,
    /// Submissions that must have succeeded first, where the batch system's own dependencies can be trusted.
    pub after: Vec<BatchId>,
}

impl Submission {
    /// Returns the array where it really is one: a single member is a plain job in every dialect.
    pub fn members(&self) -> Option<Array> {
        self.array.filter(|array| array.size > 1)
    }
}

/// What is known of how a site's batch system is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// The flavour.
    pub flavour: Flavour,
    /// What tells of jobs that left the queue.
    pub history: History,
    /// Grid Engine: the parallel environment whose slots lie on one node.
    #[serde(default)]
    pub one_node_environment: Option<String>,
    /// Grid Engine: the parallel environment whose slots may lie on several nodes.
    #[serde(default)]
    pub many_nodes_environment: Option<String>,
    /// Grid Engine: the resource by which memory is asked for.
    #[serde(default)]
    pub memory_resource: Option<MemoryResource>,
    /// Grid Engine: the resource by which GPUs are asked for.
    #[serde(default)]
    pub gpu_resource: Option<String>,
    /// PBS: whether a queue takes jobs to hand them on to others, which may all refuse one; then nobody knows it any more.
    #[serde(default)]
    pub hands_on: bool,
}

impl Dialect {
    /// Makes what holds of a flavour before anything was probed.
    pub const fn of(flavour: Flavour) -> Self {
        Self {
            flavour,
            history: History::Kept,
            one_node_environment: None,
            many_nodes_environment: None,
            memory_resource: None,
            gpu_resource: None,
            hands_on: false,
        }
    }
}

/// How Grid Engine counts a memory resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryResource {
    /// Its name: `h_vmem`, `mem_free`, ...
    pub name: String,
    /// What one unit of the request is multiplied by.
    pub per: PerWhat,
}

/// What a resource is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PerWhat {
    /// Every slot gets that much.
    Slot,
    /// The whole job gets that much.
    Job,
    /// Nobody gets it: it only chooses a host that has as much to spare when the job starts.
    Load,
}

/// What tells of jobs that left the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// `sacct`, `qstat -x`, `qacct`.
    #[default]
    Kept,
    /// Nothing: accounting is disabled, or job history is off.
    Off,
}

/// What a command of a batch system answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Its exit status; 124 and above 128 mean that it was ended from outside.
    pub status: i32,
    /// Standard output.
    pub stdout: &'a str,
    /// Standard error.
    pub stderr: &'a str,
}

/// The batch system could not be asked; nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the batch system could not be asked: {why}")]
pub struct CouldNotAsk {
    /// Why, in its words.
    pub why: String,
}

/// What is known of a job after asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// This.
    Is(T),
    /// The batch system answered and does not know it. That says nothing about how it ended.
    Gone,
    /// No answer: it may be in any state.
    Unknown(CouldNotAsk),
}

impl<T> Answer<T> {
    /// Makes an answer of what was looked up in a reply: what is not in it is gone.
    pub fn found(looked_up: Result<Option<T>, CouldNotAsk>) -> Self {
        match looked_up {
            Ok(Some(known)) => Self::Is(known),
            Ok(None) => Self::Gone,
            Err(why) => Self::Unknown(why),
        }
    }

    /// Borrows what is known.
    pub fn as_ref(&self) -> Answer<&T> {
        match self {
            Self::Is(known) => Answer::Is(known),
            Self::Gone => Answer::Gone,
            Self::Unknown(why) => Answer::Unknown(why.clone()),
        }
    }
}

/// What came of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Submitted {
    /// Accepted under this id.
    Accepted(BatchId),
    /// Refused: the same again is refused again.
    Refused(Refusal),
    /// Not taken now, since there are too many jobs, of this user or of all. Nothing was submitted.
    Full(String),
    /// Not taken at first, since there are too many jobs; it was tried again and again until its time was up. The last try may have
    /// been taken: ask for its name before submitting again.
    FullPerhaps(String),
    /// Not taken now, perhaps later: a batch system that is down. Nothing was submitted.
    Later(String),
    /// Unknown: it may have been accepted. Ask for its name before submitting again.
    Unknown(String),
}

/// Why a submission was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong with it.
    pub kind: RefusalKind,
    /// The refusal, in the batch system's words.
    pub message: String,
}

/// What is wrong with a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// More than the partition or the site allows, or than there is.
    OverLimit,
    /// The partition does not exist, or is closed.
    Partition,
    /// The account, or the qos, does not exist or is not this user's.
    Account,
    /// The user may not do this.
    Permission,
    /// The array is larger than the site allows.
    ArrayTooLarge,
    /// A dependency that cannot be satisfied.
    Dependency,
    /// Options or values that are not understood.
    Request,
}

/// Which members of a submission are spoken of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Members {
    /// A plain job, or an array as a whole.
    All,
    /// One member.
    One(u32),
    /// Members that still wait together: first, last, step.
    Ranges(Vec<(u32, u32, u32)>),
}

impl Members {
    /// Returns whether a member is among them.
    pub fn contains(&self, member: u32) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => *one == member,
            Self::Ranges(ranges) => ranges.iter().any(|&(first, last, step)| {
                (first..=last).contains(&member) && (member - first).is_multiple_of(step.max(1))
            }),
        }
    }
}

/// Where a job stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueState {
    /// Waits for its turn.
    Waiting,
    /// Held: by a person, a dependency or a start time.
    Held,
    /// Runs, or is being started.
    Running,
    /// Stopped for a while by the batch system or a person.
    Suspended,
    /// Its processes are over; the batch system tidies up.
    Ending,
    /// Over; how is for the history to say.
    Over,
    /// In error: goes no further before somebody acts.
    Stuck,
}

/// What a waiting job may hope for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prospect {
    /// It runs when its turn comes.
    #[default]
    Normal,
    /// It waits for a person: held, partition down, node not available.
    Blocked,
    /// It can never run as it was submitted.
    Never,
}

/// One line of what the queue says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// The submission's id.
    pub id: BatchId,
    /// Which members.
    pub members: Members,
    /// Its name, whole or as far as the batch system tells it.
    pub name: Option<String>,
    /// Where it stands.
    pub state: QueueState,
    /// The batch system's own word for that.
    pub word: String,
    /// How it ended, where the queue still tells of what is over.
    pub over: Option<EndingClass>,
    /// Why it waits, in the batch system's words.
    pub reason: Option<String>,
    /// What it may hope for.
    pub prospect: Prospect,
    /// Partition.
    pub partition: Option<String>,
    /// Where it runs.
    pub node: Option<String>,
    /// When it started or, while it waits, is expected to.
    pub start: Option<Timestamp>,
}

/// A whole answer of the queue: what is not in it is not in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Its lines, in the batch system's order.
    pub jobs: Vec<Queued>,
    by_id: HashMap<BatchId, Lines>,
    by_name: HashMap<String, Vec<usize>>,
}

/// The lines of one submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lines {
    all: Vec<usize>,
    /// Those of one member each, by its number; the first of each.
    single: HashMap<u32, usize>,
    /// The others.
    wide: Vec<usize>,
}

impl Queue {
    /// Makes a queue that is looked up in constant time.
    pub fn new(jobs: Vec<Queued>) -> Self {
        let mut by_id: HashMap<BatchId, Lines> = HashMap::with_capacity(jobs.len());
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, job) in jobs.iter().enumerate() {
            let lines = match by_id.get_mut(&job.id) {
                Some(lines) => lines,
                None => by_id.entry(job.id.clone()).or_default(),
            };
            lines.all.push(at);
            match job.members {
                Members::One(member) => drop(lines.single.entry(member).or_insert(at)),
                Members::All | Members::Ranges(_) => lines.wide.push(at),
            }
            if let Some(name) = &job.name {
                match by_name.get_mut(name) {
                    Some(lines) => lines.push(at),
                    None => drop(by_name.insert(name.clone(), vec![at])),
                }
            }
        }
        Self { jobs, by_id, by_name }
    }

    /// Returns the lines of a submission.
    pub fn of(&self, id: &BatchId) -> impl Iterator<Item = &Queued> {
        self.at(self.by_id.get(id).map(|lines| &lines.all))
    }

    /// Returns the lines of the submissions with this name.
    pub fn named(&self, name: &JobName) -> impl Iterator<Item = &Queued> {
        self.at(self.by_name.get(name.as_str()))
    }

    /// Returns what it says of one member; a line of its own counts more than the array's.
    pub fn member(&self, id: &BatchId, member: u32) -> Option<&Queued> {
        let lines = self.by_id.get(id)?;
        if let Some(job) = lines.single.get(&member).and_then(|&at| self.jobs.get(at)) {
            return Some(job);
        }
        let wide = || self.at(Some(&lines.wide)).filter(|job| job.members.contains(member));
        wide().filter(|job| matches!(job.members, Members::Ranges(_))).last().or_else(|| wide().next())
    }

    fn at<'a>(&'a self, places: Option<&'a Vec<usize>>) -> impl Iterator<Item = &'a Queued> {
        places.into_iter().flatten().filter_map(|&at| self.jobs.get(at))
    }
}

/// A measured amount, or the bound that is all that is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// As measured.
    Measured(T),
    /// Censored: ended when it reached this, would have used more.
    MoreThan(T),
}

/// The history's class of an ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndingClass {
    /// Not over: waits or runs.
    Live,
    /// Ended with exit code 0, as far as the batch system knows.
    Completed,
    /// Ended with another exit code or by a signal.
    Failed,
    /// Killed for its memory.
    Oom,
    /// Killed at its walltime.
    Timeout,
    /// Its node failed.
    NodeFail,
    /// Preempted.
    Preempted,
    /// Cancelled by somebody.
    Cancelled,
    /// Over without having run: removed from the queue, or a dependency that could not be satisfied.
    NeverRan,
    /// The batch system could not start it: files, directories, the node's set-up.
    LaunchFailed,
    /// Sent back to the queue by the batch system.
    Requeued,
    /// Over, and the batch system kept nothing of how.
    Untold,
}

/// What the history says of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The submission's id.
    pub id: BatchId,
    /// Which member; none of a plain job.
    pub member: Option<u32>,
    /// Its name.
    pub name: Option<String>,
    /// The class.
    pub class: EndingClass,
    /// The batch system's own word for that.
    pub word: String,
    /// Exit code of the batch script.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Peak memory.
    pub peak_memory: Option<Reading<Bytes>>,
    /// CPU milliseconds, user and system.
    pub cpu_ms: Option<u64>,
    /// Run time; censored where it reached its limit.
    pub wall: Option<Reading<Walltime>>,
    /// When it started.
    pub start: Option<Timestamp>,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// Where it ran.
    pub node: Option<String>,
    /// What is known besides, in the batch system's words.
    pub why: Option<String>,
}

/// What came of a batched cancel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Jobs that the batch system does not know, or that were over already.
    pub unknown: Vec<String>,
    /// Jobs that it would not cancel, each with its words.
    pub refused: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_every_dialect() {
        for good in ["csync-0a1b2c3d-12-3", "a", &"x".repeat(63)] {
            assert_eq!(good.parse::<JobName>().map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", "1abc", "-a", "a b", "a_b", "a\n", "a;b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<JobName>().is_err(), "{bad}");
        }
        for flavour in Flavour::ALL {
            assert_eq!(flavour.to_string().parse(), Ok(flavour));
        }
        assert!("torque".parse::<Flavour>().is_err());
    }

    fn line(id: &str, members: Members, word: &str) -> Queued {
        Queued {
            id: BatchId(id.to_owned()),
            members,
            name: Some(format!("n{id}")),
            state: QueueState::Waiting,
            word: word.to_owned(),
            over: None,
            reason: None,
            prospect: Prospect::Normal,
            partition: None,
            node: None,
            start: None,
        }
    }

    #[test]
    fn members_are_found_by_their_own_line_first() {
        let queue = Queue::new(vec![
            line("7", Members::All, "whole"),
            line("7", Members::Ranges(vec![(2, 8, 2), (11, 11, 1)]), "waiting"),
            line("7", Members::One(4), "running"),
            line("8", Members::All, "other"),
        ]);
        let word = |id: &str, member| queue.member(&BatchId(id.to_owned()), member).map(|job| job.word.as_str());
        assert_eq!(word("7", 4), Some("running"));
        assert_eq!(word("7", 6), Some("waiting"));
        assert_eq!(word("7", 11), Some("waiting"));
        assert_eq!(word("7", 5), Some("whole"));
        assert_eq!(word("8", 1), Some("other"));
        assert_eq!(word("9", 1), None);
        assert_eq!(queue.named(&"n7".parse().unwrap()).count(), 3);
    }
}
