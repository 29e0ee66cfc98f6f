//! A host at work: brings inputs, submits, follows, fetches outputs. One task per host that jobs were handed over to.
//!
//! What is sent is a submission: a job, or an array of jobs that ask for the same. Before it goes out the runner has written it
//! down ([`SiteNews::Intend`]); its name is its job name there, and by that name the next engine finds it again. A job is a
//! directory on the host, in which the wrapper keeps what happened: what was not heard is read there later.
//!
//! A host is asked once per tick, for everything of ours at once. Not being able to ask changes nothing: an attempt that was
//! running may be running still.

mod boxes;
mod clear;
mod clocks;
mod desk;
mod doubt;
mod fetch;
mod gone;
mod halves;
pub mod home;
mod images;
mod inputs;
mod jobs;
mod marks;
mod nodes;
mod printed;
mod prints;
mod quota;
mod said;
mod send;
mod sieve;
pub mod stock;
mod tick;
mod tree;
mod used;
mod words;

pub use halves::{Halves, Then, look_for_halves};
pub use images::{NotReady, convert};
pub use inputs::is_one;
pub use jobs::{JobDirectory, Rest, There, bring_rest, prefix, remove, run_of, there, whereabouts};
pub use nodes::Seen;
pub use said::{dialect, unsaid};
pub use send::{Ground, ground_of};
pub use tree::Collected;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::decide::engine::limits::Limits as SiteLimits;
use crate::decide::engine::protocol::{Adopted, Capacity, Stage};
use crate::language::quote::sh;
use crate::model::api::Full;
use crate::model::batch::{BatchId, Dialect, JobName};
use crate::model::data::DataFact;
use crate::model::facts::{BatchSystem, NodeSight};
use crate::model::host::Host;
use crate::model::id::{HostId, JobKey, RunId};
use crate::model::job::Ended;
use crate::model::plan::Plan;
use crate::model::resources::Grant;
use crate::model::units::Timestamp;
use crate::reach::config::StateDir;
use crate::reach::store::Sent;
use crate::reach::transport::{Connections, Remote, TransportError};
use crate::serve::site::desk::Desk;
use crate::serve::site::stock::{Stock, way};

/// An attempt for a host.
#[derive(Clone, Debug)]
pub struct SiteJob {
    /// Which.
    pub key: JobKey,
    /// What it may use.
    pub grant: Grant,
    /// The plan that it is of.
    pub plan: Arc<Plan>,
    /// Secrets for its environment.
    pub secrets: Vec<(String, String)>,
    /// Attempts on the same host that must have succeeded before it starts; the batch system sees to that.
    pub after: Vec<JobKey>,
    /// The batch system's ids of those, as far as they are not over.
    pub behind: Vec<BatchId>,
    /// It was handed over before all that it waits for was over: its batch system may end it unrun for what others did.
    pub ahead: bool,
    /// The partition to name, where csync chose one among several.
    pub partition: Option<Box<str>>,
}

/// What a site is told.
#[derive(Debug)]
pub enum Order {
    /// Run these.
    Start(Vec<SiteJob>),
    /// End these, wherever they stand; each is answered by its end.
    Stop(Vec<JobKey>),
    /// End these if they have not started.
    Withdraw(Vec<JobKey>),
    /// Nobody waits for these any more: they are ended as soon as it answers, and nothing is said or brought of them.
    Forsake(Vec<JobKey>),
    /// Somebody logged in, or gave it a new chance: try it now if it could not be used.
    Try,
    /// What the engine before had there: submissions that are not over, attempts that were in flight, and those of them that wait for
    /// what did not succeed.
    Adopt(Vec<Sent>, Vec<SiteJob>, Vec<JobKey>),
    /// The host's configuration changed, or what is known of it.
    Configure(Box<Means>),
    /// Somebody wants to see what an attempt prints, for as long as the first is alive; who waits is told once something was
    /// brought.
    Watch(JobKey, Weak<()>, Option<oneshot::Sender<()>>),
}

/// What a site reports.
#[derive(Debug)]
pub enum SiteNews {
    /// It can be used, with this room.
    Opened(Capacity),
    /// It cannot be used, for this reason; it is tried again then.
    Shut(String, Timestamp),
    /// It can be used when a person has logged in, for this reason; it is shut too.
    NeedsLogin(String),
    /// It is being tried again.
    Trying,
    /// `hosts.toml` was written since it was read.
    Edited,
    /// How many jobs it takes was learned from what it refused, or it takes as many as was thought.
    Room(Capacity, Option<Full>),
    /// How far an attempt is.
    Staged(JobKey, Stage),
    /// Why attempts wait, in the batch system's words; no longer, where there are none.
    Reasons(Vec<(JobKey, Option<Arc<str>>)>),
    /// When the batch system expects to start attempts that wait.
    Expected(Vec<(JobKey, Timestamp)>),
    /// How many cores of its partitions nobody uses, by their names.
    Idle(Vec<(String, u32)>, Timestamp),
    /// An attempt started.
    Started(JobKey, Timestamp),
    /// An attempt ended.
    Ended(Box<Ended>),
    /// What became of an attempt that was in flight.
    Adopted(JobKey, Adopted),
    /// This is about to be sent: to be written down, and answered when it is.
    Intend(Sent, oneshot::Sender<()>),
    /// The batch system's id of a submission is known.
    Known(Sent),
    /// A submission is over and cleared away.
    Closed(JobName),
    /// Files are on their way for these runs.
    Moving(Vec<RunId>),
    /// What was learned of files on hosts.
    Data(Vec<DataFact>),
    /// What jobs saw on compute nodes, by partition.
    Nodes(BTreeMap<String, NodeSight>),
}

/// Where a site reports to.
#[derive(Clone, Debug)]
pub struct Reporter {
    host: HostId,
    to: mpsc::Sender<(HostId, SiteNews)>,
}

impl Reporter {
    /// Makes a way to report as this host.
    pub const fn new(host: HostId, to: mpsc::Sender<(HostId, SiteNews)>) -> Self {
        Self { host, to }
    }

    /// Reports what may be left out when there is much to say.
    fn say_soon(&self, news: SiteNews) {
        self.to.try_send((self.host, news)).ok();
    }

    async fn say(&self, news: SiteNews) {
        // Fails when the runner has left: then the next one asks.
        self.to.send((self.host, news)).await.ok();
    }
}

/// What a site works with.
#[derive(Debug)]
pub struct Means {
    /// The host.
    pub host: Host,
    /// How its batch system is spoken to; none where jobs are started as detached processes.
    pub dialect: Option<Dialect>,
    /// Shell lines that make the batch system's commands known where only a login shell would: see [`prelude`].
    pub prelude: String,
    /// Cores of the host itself.
    pub cores: u32,
    /// Room of one job there.
    pub room: Capacity,
    /// What its partitions let one job have.
    pub limits: Arc<SiteLimits>,
    /// The file that says what holds for it.
    pub file: Option<PathBuf>,
    /// The ways to all hosts.
    pub connections: Arc<Connections>,
    /// What was seen of its compute nodes.
    pub nodes: Seen,
    /// What is known of files on all hosts.
    pub stock: Arc<Stock>,
    /// The engine's state directory.
    pub state: StateDir,
    /// Where to report.
    pub reporter: Reporter,
}

impl Means {
    /// Returns the way there; nothing is connected by that.
    async fn way(&self) -> Result<Remote, TransportError> {
        way(&self.connections, &self.host).await
    }
}

/// A host at work.
#[derive(Clone, Debug)]
pub struct Site {
    orders: mpsc::UnboundedSender<Order>,
}

impl Site {
    /// Begins to work; ends when this and its clones are dropped. What is on the host then stays there.
    pub fn start(means: Means) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        tokio::spawn(Desk::new(means, inbox).run());
        Self { orders }
    }

    /// Tells it something.
    pub fn tell(&self, order: Order) {
        // Fails when its task has panicked, which is reported there.
        self.orders.send(order).ok();
    }
}

/// Returns shell lines that make the commands of a batch system known: a probe found them where a login shell looks alone.
pub fn prelude(system: &BatchSystem) -> String {
    let mut lines = String::new();
    if let Some(bin) = &system.bin {
        let _infallible = writeln!(lines, "PATH={}:$PATH; export PATH", sh(bin));
    }
    for (name, value) in &system.env {
        let _infallible = writeln!(lines, "{name}={}; export {name}", sh(value));
    }
    lines
}

/// How quiet a host counts as, at most, while it is being found out what became of a member: that takes some looks, which would be a
/// minute apart else.
const IN_DOUBT: u32 = 2;

/// Returns how quiet a host counts as after a look.
fn grown(quiet: u32, changed: bool, in_doubt: bool) -> u32 {
    match quiet.saturating_add(1) {
        _ if changed => 0,
        more if in_doubt => more.min(IN_DOUBT),
        more => more,
    }
}

/// How long after a submission, or since something happened last, a host is asked again: 1, 2, 4, 8, 15 s, then slowly up to a
/// minute.
pub(crate) fn pause(quiet: u32, least: Duration) -> Duration {
    const STEPS: [u64; 8] = [1, 2, 4, 8, 15, 20, 40, 60];
    let seconds = STEPS.get(quiet as usize).copied().unwrap_or(60);
    Duration::from_secs(seconds).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_member_is_found_out_soon_and_quiet_hosts_are_left_alone() {
        let waits = |quiet: u32, in_doubt: &[bool]| {
            let mut quiet = quiet;
            let wait = |&in_doubt: &bool| {
                quiet = grown(quiet, false, in_doubt);
                pause(quiet, Duration::ZERO).as_secs()
            };
            in_doubt.iter().map(wait).collect::<Vec<_>>()
        };
        assert_eq!(waits(0, &[false; 8]), [2, 4, 8, 15, 20, 40, 60, 60]);
        assert_eq!(waits(20, &[true, true, true, false, false]), [4, 4, 4, 8, 15]);
        assert_eq!(waits(0, &[true, true, true]), [2, 4, 4]);
        assert_eq!(grown(7, true, true), 0);
        assert_eq!(pause(0, Duration::from_mins(2)), Duration::from_mins(2), "what a site demands holds");
    }
}
