//! `squeue`.

use crate::language::batch::call::{Ask, could_not_ask, ended_from_outside, limited, parse_ranges, preamble};
use crate::language::batch::slurm::history::class;
use crate::language::batch::table::{Header, iso_time};
use crate::language::batch::text::given;
use crate::model::batch::{BatchId, CouldNotAsk, JobName, Members, Prospect, Queue, QueueState, Queued, Reply};

/// The columns asked for; the name last, for it is free text. Members of an array that wait are one line.
const FORMAT: &str = "%i|%F|%T|%P|%S|%N|%r|%j";

/// Returns the command that asks the queue; for some minutes it tells of what is over, too, which is all there is to know where
/// no history is kept.
pub fn queue(ask: Ask<'_>) -> String {
    let mut words = vec!["squeue".to_owned(), "-a".to_owned(), "-tall".to_owned(), "-o".to_owned(), FORMAT.to_owned()];
    match ask {
        Ask::Mine => {}
        Ask::Ids(ids) => {
            let ids: Vec<&str> = ids.iter().map(BatchId::as_str).collect();
            words.push(format!("--jobs={}", ids.join(",")));
        }
        Ask::Names(names) => {
            let names: Vec<&str> = names.iter().map(JobName::as_str).collect();
            words.push(format!("--name={}", names.join(",")));
        }
    }
    format!("{}{} -u \"$(id -un)\"\n", preamble(30), limited(&words))
}

/// Reads what `squeue -o` said; its first line names the columns.
pub fn parse_queue(reply: &Reply<'_>) -> Result<Queue, CouldNotAsk> {
    if ended_from_outside(reply.status) {
        return Err(could_not_ask(reply));
    }
    let mut lines = reply.stdout.lines().skip_while(|line| !line.starts_with("JOBID|"));
    let Some(header) = lines.next() else {
        // Asked for one id alone, it calls a job that left the queue an error.
        let gone = reply.status != 0 && reply.stderr.contains("Invalid job id specified");
        return if gone { Ok(Queue::default()) } else { Err(could_not_ask(reply)) };
    };
    if reply.status != 0 {
        return Err(could_not_ask(reply));
    }
    let columns = Columns::of(&Header::read(header, "NAME"));
    let table = Header::read(header, "NAME");
    let mut cells = Vec::new();
    let rows = lines.filter_map(|line| {
        table.row(line, &mut cells)?;
        columns.read(&cells)
    });
    Ok(Queue::new(rows.collect()))
}

/// Where the columns of interest stand.
#[derive(Clone, Copy, Debug)]
struct Columns {
    id: Option<usize>,
    array: Option<usize>,
    state: Option<usize>,
    partition: Option<usize>,
    start: Option<usize>,
    node: Option<usize>,
    reason: Option<usize>,
    name: Option<usize>,
}

impl Columns {
    fn of(header: &Header<'_>) -> Self {
        Self {
            id: header.find("JOBID"),
            array: header.find("ARRAY_JOB_ID"),
            state: header.find("STATE"),
            partition: header.find("PARTITION"),
            start: header.find("START_TIME"),
            node: header.find("NODELIST"),
            reason: header.find("REASON"),
            name: header.find("NAME"),
        }
    }

    fn read(self, cells: &[&str]) -> Option<Queued> {
        let cell = |at: Option<usize>| cells.get(at?).copied();
        let (id, members) = identify(cell(self.id)?)?;
        let word = cell(self.state).unwrap_or("PENDING");
        let reason = cell(self.reason).and_then(given);
        let state = state(word, reason.unwrap_or_default());
        let waits = matches!(state, QueueState::Waiting | QueueState::Held);
        Some(Queued {
            id: BatchId(cell(self.array).and_then(given).unwrap_or(id).to_owned()),
            members,
            name: cell(self.name).map(str::to_owned),
            state,
            word: word.to_owned(),
            over: (state == QueueState::Over).then(|| class(word, reason.unwrap_or_default())),
            reason: reason.map(str::to_owned),
            prospect: if waits { prospect(reason.unwrap_or_default()) } else { Prospect::Normal },
            partition: cell(self.partition).and_then(given).map(str::to_owned),
            node: cell(self.node).and_then(given).map(str::to_owned),
            start: cell(self.start).and_then(iso_time),
        })
    }
}

/// Takes `19_3`, `19_[2-6%2]`, `31+0`, `12` apart.
pub(super) fn identify(text: &str) -> Option<(&str, Members)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (id, rest) = text.split_at_checked(end).filter(|(id, _)| !id.is_empty())?;
    let members = match rest.strip_prefix('_') {
        None => Members::All,
        Some(list) => match list.strip_prefix('[') {
            // A list that was cut off says of no member where it stands: all that have no line of their own.
            Some(list) => parse_ranges(list.trim_end_matches(']')).unwrap_or(Members::All),
            None => Members::One(list.parse().ok()?),
        },
    };
    Some((id, members))
}

fn state(word: &str, reason: &str) -> QueueState {
    match word {
        "PENDING" => match reason {
            "JobHeldUser" | "JobHeldAdmin" | "BeginTime" | "Dependency" | "DependencyNeverSatisfied" => {
                QueueState::Held
            }
            _ => QueueState::Waiting,
        },
        "CONFIGURING" | "RUNNING" | "RESIZING" | "SIGNALING" => QueueState::Running,
        "SUSPENDED" | "STOPPED" => QueueState::Suspended,
        "COMPLETING" | "STAGE_OUT" => QueueState::Ending,
        "REQUEUED" | "REQUEUE_FED" | "EXPEDITING" | "POWER_UP_NODE" => QueueState::Waiting,
        "REQUEUE_HOLD" | "RESV_DEL_HOLD" => QueueState::Held,
        "SPECIAL_EXIT" => QueueState::Stuck,
        // COMPLETED, FAILED, CANCELLED, TIMEOUT, ... and words of versions to come: the history knows.
        _ => QueueState::Over,
    }
}

/// Reasons with which a job waits for ever as it is.
const NEVER: [&str; 19] = [
    "AccountNotAllowed",
    "AssocMaxNodePerJobLimit",
    "BadConstraints",
    "DeadLine",
    "DependencyNeverSatisfied",
    "InactiveLimit",
    "InvalidAccount",
    "InvalidQOS",
    "JobArrayTaskLimitExceeded",
    "MaxBBPerJob",
    "MaxCpuPerJob",
    "MaxMemPerLimit",
    "MaxNodePerJob",
    "MaxWallDurationPerJobLimit",
    "PartitionConfig",
    "PartitionTimeLimit",
    "QOSNotAllowed",
    "QOSTimeLimit",
    "TimeLimit",
];

/// Reasons with which a job waits for a person.
const BLOCKED: [&str; 11] = [
    "FedJobLock",
    "JobHeld",
    "NodeDown",
    "PartitionDown",
    "PartitionInactive",
    // More nodes than its partition allows, or such that are down or drained (squeue(1)): what is repaired goes on.
    "PartitionNodeLimit",
    "ReqNodeNotAvail",
    "ReservationDeleted",
    "launch failed requeued held",
    "launch_failed_requeued_held",
    "user env retrieval failed",
];

fn prospect(reason: &str) -> Prospect {
    // `AssocMaxCpuPerJobLimit`, `QOSMaxCpuPerJobLimit`: the limit's name without whose it is.
    let bare = reason.strip_prefix("Assoc").or_else(|| reason.strip_prefix("QOS")).unwrap_or(reason);
    let among = |list: &[&str]| list.iter().any(|name| reason.starts_with(name) || bare.starts_with(name));
    if among(&NEVER) {
        Prospect::Never
    } else if among(&BLOCKED) {
        Prospect::Blocked
    } else {
        Prospect::Normal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_start_some_day_is_not_given_up() {
        for (reason, wanted) in [
            ("Priority", Prospect::Normal),
            ("PartitionNodeLimit", Prospect::Blocked),
            ("ReqNodeNotAvail, UnavailableNodes:n1", Prospect::Blocked),
            ("PartitionTimeLimit", Prospect::Never),
            ("QOSMaxCpuPerJobLimit", Prospect::Never),
        ] {
            assert_eq!(prospect(reason), wanted, "{reason}");
        }
    }
}
