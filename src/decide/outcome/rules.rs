//! The table of rules.

use crate::decide::outcome::{Cancel, Evidence, Hearing, Log, Own, Patience, Routing, Verdict};
use crate::language::batch::wrapper::{Ended, How};
use crate::model::batch::{Answer, Ending, EndingClass, Prospect, QueueState, Queued};
use crate::model::job::Outcome;
use crate::model::resources::Meter;
use crate::model::units::{Bytes, Walltime};

/// Signals that batch systems send before they kill; a checkpoint's own (`USR1`, `USR2`) are none of them.
const WARNINGS: [&str; 5] = ["TERM", "XCPU", "INT", "HUP", "QUIT"];

/// `128 + 9`: killed, by the kernel for memory or by anybody.
const KILLED: i32 = 137;

/// A member, as the rules look at it.
#[derive(Debug)]
pub(super) struct Case<'a> {
    own: Own<'a>,
    queue: &'a Answer<&'a Queued>,
    asked_mem: Option<Bytes>,
    asked_time: Option<Walltime>,
    cancelled: bool,
    patient: bool,
    /// The history's ending; else what the queue tells of what is over; else what the log says.
    class: Option<EndingClass>,
    ending: Option<&'a Ending>,
    /// A witness was not heard yet.
    more_may_be_known: bool,
    /// How it would have come to its queue, of which neither that nor a history that is kept knows.
    untraced: Option<Routing>,
    hearing: Hearing,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its name.
    pub(super) name: &'static str,
    /// Its verdict, where it applies.
    pub(super) verdict: fn(&Case<'_>) -> Option<Verdict>,
}

const fn rule(name: &'static str, verdict: fn(&Case<'_>) -> Option<Verdict>) -> Rule {
    Rule { name, verdict }
}

/// The rules; the first that applies decides.
pub(super) const RULES: &[Rule] = &[
    // What the wrapper knows for certain.
    rule("the wrapper was told to cancel", told_to_cancel),
    rule("the wrapper ended it at its walltime", wrapper_walltime),
    rule("an input was missing", missing_input),
    rule("it could not be started", not_spawned),
    rule("processes were killed for memory", killed_for_memory),
    rule("an output was missing", missing_output),
    rule("it ended well by itself", ended_well),
    // It ended, and somebody else may know why.
    rule("the batch system has it still", still_there),
    rule("the batch system knows why it was ended", batch_knows),
    rule("it was ended after csync cancelled it", ended_after_cancel),
    rule("it was ended at its walltime", ended_at_walltime),
    rule("why it was ended is not known yet", ask_why),
    rule("it was killed with its memory full", killed_full),
    rule("it ended by itself", ended_by_itself),
    rule("it was ended and nobody says why", ended_unexplained),
    // It has not ended, as far as the wrapper knows.
    rule("it can never run", never_runs),
    rule("it is stuck", stuck),
    rule("it is in the queue", in_queue),
    rule("nobody could be asked", unreached),
    rule("the history knows how it ended", history_knows),
    rule("it was sent back to the queue", sent_back),
    rule("it is not known yet", not_yet),
    rule("it is gone after csync cancelled it", gone_after_cancel),
    rule("it ended well and left no record", left_no_record),
    rule("no queue took it that it was handed on to", taken_by_none),
    rule("it was taken out of the queue before it began", taken_out),
];

impl<'a> Case<'a> {
    pub(super) fn of(evidence: &'a Evidence<'a>) -> Self {
        let ending = match &evidence.history {
            Answer::Is(ending) => Some(*ending),
            Answer::Gone | Answer::Unknown(_) => None,
        };
        let told = match &evidence.queue {
            Answer::Is(queued) => queued.over,
            Answer::Gone | Answer::Unknown(_) => None,
        };
        let wrote = match evidence.log {
            Log::Read(class) => class,
            Log::None | Log::Unread => None,
        };
        // The history may be behind: it says that a job runs which the queue knows to be over. And who only knows that it
        // failed knows less than the log.
        let knows = |class: &EndingClass| {
            let little = [EndingClass::Live, EndingClass::Failed, EndingClass::Completed, EndingClass::Untold];
            !little.contains(class)
        };
        let past = ending.map(|ending| ending.class);
        let class = past.filter(knows).or(told.filter(knows)).or(wrote);
        let class = class.or(past.filter(|class| *class != EndingClass::Live)).or(told);
        Self {
            own: evidence.own,
            queue: &evidence.queue,
            asked_mem: evidence.asked.mem,
            asked_time: evidence.asked.time,
            cancelled: evidence.cancel == Cancel::Asked,
            patient: evidence.patience == Patience::Left,
            class: class.or(past),
            ending,
            untraced: matches!((&evidence.queue, &evidence.history), (Answer::Gone, Answer::Gone))
                .then_some(evidence.routing),
            hearing: evidence.hearing,
            more_may_be_known: !matches!(evidence.history, Answer::Unknown(_)) || evidence.log == Log::Unread,
        }
    }

    const fn ended(&self) -> Option<&'a Ended> {
        match self.own {
            Own::Ended(ended) => Some(ended),
            Own::Missing | Own::Started | Own::Unknown => None,
        }
    }

    const fn queued(&self) -> Option<&'a Queued> {
        match self.queue {
            Answer::Is(queued) => Some(queued),
            Answer::Gone | Answer::Unknown(_) => None,
        }
    }

    /// Whether a signal reached the wrapper before the end: somebody outside wanted it to end.
    fn was_warned(&self) -> bool {
        let is_warning = |name: &str| WARNINGS.contains(&name);
        self.ended().is_some_and(|ended| ended.signals.iter().any(|(name, _)| is_warning(name)))
    }

    /// The code it ended with; killed together with its wrapper counts as killed.
    fn code(&self) -> Option<i32> {
        match &self.ended()?.how {
            How::Exit(code) => Some(*code),
            How::WrapperKilled => Some(KILLED),
            How::MissingOutputs(_) => Some(0),
            How::Walltime(_) | How::Cancelled(_) | How::MissingInputs(_) | How::Spawn(_) => None,
        }
    }

    /// Whether a signal ended it, which may have reached the command before its wrapper could write down a warning.
    fn was_signalled(&self) -> bool {
        self.code().is_some_and(|code| (129..=192).contains(&code))
    }

    /// Whether something outside may have ended it.
    fn may_have_been_ended(&self) -> bool {
        self.was_warned() || self.code() == Some(KILLED)
    }

    /// What the batch system says for its part: killed for memory, at the walltime, preempted, ...
    fn why(&self) -> Option<String> {
        self.ending.and_then(|ending| ending.why.clone())
    }
}

const fn over(outcome: Outcome) -> Verdict {
    Verdict::Over { outcome, note: None }
}

fn noted(outcome: Outcome, note: impl Into<String>) -> Verdict {
    Verdict::Over { outcome, note: Some(note.into()) }
}

fn exit(code: i32) -> Outcome {
    Outcome::Exit { code, signal: (129..=192).contains(&code).then_some(code - 128) }
}

fn told_to_cancel(case: &Case<'_>) -> Option<Verdict> {
    matches!(case.ended()?.how, How::Cancelled(_)).then_some(over(Outcome::Cancelled))
}

fn wrapper_walltime(case: &Case<'_>) -> Option<Verdict> {
    matches!(case.ended()?.how, How::Walltime(_)).then_some(over(Outcome::Timeout))
}

fn missing_input(case: &Case<'_>) -> Option<Verdict> {
    let How::MissingInputs(files) = &case.ended()?.how else { return None };
    Some(over(Outcome::Stage { message: format!("missing where it ran: {}", files.join(", ")) }))
}

fn not_spawned(case: &Case<'_>) -> Option<Verdict> {
    let How::Spawn(why) = &case.ended()?.how else { return None };
    Some(over(Outcome::Spawn { message: why.clone() }))
}

/// Whatever the exit code: a script that goes on after a part of it was killed exits with 0, and its output is not whole. A
/// batch system that was itself told to end the job, or that says nothing of memory, does not speak against it.
fn killed_for_memory(case: &Case<'_>) -> Option<Verdict> {
    let ended = case.ended()?;
    let counted = ended.oom_kills.is_some_and(|kills| kills > 0);
    if !counted && case.class != Some(EndingClass::Oom) {
        return None;
    }
    match ended.how {
        How::Exit(0) | How::MissingOutputs(_) => Some(noted(
            Outcome::Oom,
            "its command went on after a process of it was killed for memory, and exited with 0",
        )),
        _ => Some(over(Outcome::Oom)),
    }
}

/// A command that was warned and then exits with 0 has saved its state, not made its outputs.
fn missing_output(case: &Case<'_>) -> Option<Verdict> {
    let How::MissingOutputs(files) = &case.ended()?.how else { return None };
    let message = format!("the command did not make {}", files.join(", "));
    (!case.was_warned()).then(|| over(Outcome::Stage { message }))
}

/// Nothing that happens to it later, to its node or to its batch job, changes that.
fn ended_well(case: &Case<'_>) -> Option<Verdict> {
    let well = case.ended()?.how == How::Exit(0);
    (well && !case.was_warned()).then_some(over(Outcome::Success))
}

/// Ended from outside, and in the queue all the same: an administrator, or the batch system itself, sent it back, and it runs
/// again; then a new record takes the place of this one. Or the queue is behind.
fn still_there(case: &Case<'_>) -> Option<Verdict> {
    case.ended()?;
    if !(case.may_have_been_ended() || case.was_signalled()) || case.cancelled {
        return None;
    }
    match case.queued()?.state {
        state @ (QueueState::Waiting | QueueState::Held | QueueState::Suspended) => Some(Verdict::Live(state)),
        QueueState::Running | QueueState::Ending => Some(Verdict::AskAgain),
        QueueState::Stuck | QueueState::Over => None,
    }
}

/// Only what was ended from outside: a command that failed by itself did so, whatever came of the batch job after it.
fn batch_knows(case: &Case<'_>) -> Option<Verdict> {
    case.ended()?;
    if !case.may_have_been_ended() {
        return None;
    }
    let outcome = match case.class? {
        EndingClass::Timeout => Outcome::Timeout,
        EndingClass::Preempted | EndingClass::Requeued => Outcome::Preempted,
        EndingClass::NodeFail => Outcome::NodeFail,
        EndingClass::Cancelled => Outcome::Cancelled,
        _ => return None,
    };
    let by_hand = outcome == Outcome::Cancelled && !case.cancelled;
    Some(if by_hand { noted(outcome, "cancelled on the cluster, not by csync") } else { over(outcome) })
}

fn ended_after_cancel(case: &Case<'_>) -> Option<Verdict> {
    case.ended()?;
    (case.cancelled && case.may_have_been_ended()).then_some(over(Outcome::Cancelled))
}

fn ended_at_walltime(case: &Case<'_>) -> Option<Verdict> {
    let ended = case.ended()?;
    let limit = case.asked_time?.0 as f64;
    // The batch system's clock began before the wrapper's.
    let slack = (limit / 10.0).min(30.0);
    (case.may_have_been_ended() && ended.usage.wall + slack >= limit).then_some(over(Outcome::Timeout))
}

/// Where no control group tells: killed, not warned, and as large as it was allowed to be. Samples miss the last of a peak.
fn killed_full(case: &Case<'_>) -> Option<Verdict> {
    let ended = case.ended()?;
    let allowed = case.asked_mem?.0 as f64;
    let measured = ended.usage.meter != Meter::Rusage && ended.usage.peak_memory.0 as f64 >= 0.95 * allowed;
    let killed = case.code() == Some(KILLED) && !case.was_warned() && ended.oom_kills.is_none();
    (measured && killed).then(|| noted(Outcome::Oom, "killed when its memory was full; no control group tells more"))
}

/// Histories come late; only where it may have been ended from outside is the delay worth it.
fn ask_why(case: &Case<'_>) -> Option<Verdict> {
    case.ended()?;
    let unsaid = case.class.is_none_or(|class| matches!(class, EndingClass::Live | EndingClass::Untold));
    (case.may_have_been_ended() && unsaid && case.more_may_be_known && case.patient).then_some(Verdict::AskAgain)
}

fn ended_by_itself(case: &Case<'_>) -> Option<Verdict> {
    let How::Exit(code) = case.ended()?.how else { return None };
    // Warned, and 0 all the same: nobody says that it was ended, so it was not.
    Some(match code {
        0 => over(Outcome::Success),
        _ if case.was_warned() => noted(
            exit(code),
            "it was told to end from outside: by somebody there, or by the batch system, which does not say why",
        ),
        _ => over(exit(code)),
    })
}

fn ended_unexplained(case: &Case<'_>) -> Option<Verdict> {
    match &case.ended()?.how {
        How::MissingOutputs(files) => {
            Some(over(Outcome::Stage { message: format!("the command did not make {}", files.join(", ")) }))
        }
        How::WrapperKilled => Some(noted(exit(KILLED), "it was killed together with its wrapper; nobody says why")),
        _ => None,
    }
}

fn never_runs(case: &Case<'_>) -> Option<Verdict> {
    let queued = case.queued().filter(|queued| queued.prospect == Prospect::Never)?;
    let reason = queued.reason.as_deref().unwrap_or(&queued.word);
    Some(Verdict::Remove { outcome: Outcome::Rejected { message: format!("it can never run: {reason}") } })
}

fn stuck(case: &Case<'_>) -> Option<Verdict> {
    let queued = case.queued().filter(|queued| queued.state == QueueState::Stuck)?;
    let reason = queued.reason.as_deref().unwrap_or("the batch system could not start it");
    Some(Verdict::Remove { outcome: Outcome::Spawn { message: format!("{reason} (state {})", queued.word) } })
}

fn in_queue(case: &Case<'_>) -> Option<Verdict> {
    let queued = case.queued().filter(|queued| queued.state != QueueState::Over)?;
    Some(Verdict::Live(queued.state))
}

fn unreached(case: &Case<'_>) -> Option<Verdict> {
    match (case.queue, case.own) {
        (Answer::Unknown(why), _) if case.class.is_none_or(|class| class == EndingClass::Live) => {
            Some(Verdict::Unreached(why.why.clone()))
        }
        (_, Own::Unknown) => Some(Verdict::Unreached("the wrapper's record could not be read".to_owned())),
        _ => None,
    }
}

fn history_knows(case: &Case<'_>) -> Option<Verdict> {
    let started = matches!(case.own, Own::Started);
    let why = || case.why().unwrap_or_else(|| "no reason is given".to_owned());
    Some(match case.class? {
        EndingClass::Oom => over(Outcome::Oom),
        EndingClass::Timeout => over(Outcome::Timeout),
        EndingClass::NodeFail => over(Outcome::NodeFail),
        EndingClass::Preempted => over(Outcome::Preempted),
        // `Failed`: killed by the cancel itself; Grid Engine says no more than that.
        EndingClass::Cancelled | EndingClass::NeverRan | EndingClass::Failed | EndingClass::Untold
            if case.cancelled =>
        {
            over(Outcome::Cancelled)
        }
        EndingClass::NeverRan => over(Outcome::Rejected { message: format!("removed before it ran: {}", why()) }),
        EndingClass::LaunchFailed => over(Outcome::Spawn { message: why() }),
        // Its record may be late: network filesystems show files when they please.
        EndingClass::Failed | EndingClass::Untold if case.patient => Verdict::AskAgain,
        EndingClass::Untold if started => noted(
            exit(KILLED),
            "it was killed together with its wrapper; the batch system kept nothing of how it ended",
        ),
        // What nothing is kept of would have left a record, had it begun.
        EndingClass::Cancelled | EndingClass::Untold => {
            noted(Outcome::Cancelled, "cancelled on the cluster, not by csync")
        }
        EndingClass::Failed if started => {
            let (code, signal) = case.ending.map(|ending| (ending.exit_code, ending.signal)).unwrap_or_default();
            let code = signal.map_or(code.unwrap_or(1), |signal| 128 + signal);
            noted(exit(code), "its own record is not whole; this is the batch system's")
        }
        // It failed before the wrapper could write anything.
        EndingClass::Failed => {
            let code = case.ending.and_then(|ending| ending.exit_code).unwrap_or(1);
            over(Outcome::Spawn { message: format!("the batch script ended with code {code} before it began") })
        }
        EndingClass::Completed | EndingClass::Live | EndingClass::Requeued => return None,
    })
}

/// The queue does not know it (any more, or again), the history says that it lives.
fn sent_back(case: &Case<'_>) -> Option<Verdict> {
    let class = case.class?;
    let lives = matches!(class, EndingClass::Requeued | EndingClass::Live);
    (lives && case.patient).then_some(Verdict::AskAgain)
}

fn not_yet(case: &Case<'_>) -> Option<Verdict> {
    case.patient.then_some(Verdict::AskAgain)
}

fn gone_after_cancel(case: &Case<'_>) -> Option<Verdict> {
    (case.cancelled && case.class != Some(EndingClass::Completed)).then_some(over(Outcome::Cancelled))
}

/// The batch system saw exit code 0, yet the record of the end is not there: its directory was removed, or written over.
fn left_no_record(case: &Case<'_>) -> Option<Verdict> {
    let message = "the batch system says that it ended well, but its record is not there: was its directory removed, or \
                   the disk full?";
    (case.class? == EndingClass::Completed).then(|| over(Outcome::Stage { message: message.to_owned() }))
}

/// A history keeps what ran, and what ran left a record: it never did. One that nobody asked says nothing.
fn taken_by_none(case: &Case<'_>) -> Option<Verdict> {
    let message = "the batch system took it and does not know it any more: no queue behind its routing queue takes a job of \
                   that size and length, or somebody deleted it with its history";
    let vanished =
        case.untraced == Some(Routing::HandedOn) && matches!(case.own, Own::Missing) && case.hearing != Hearing::Silent;
    vanished.then(|| over(Outcome::Rejected { message: message.to_owned() }))
}

/// Likewise, where jobs are submitted to the queue that they run from: somebody deleted it. Grid Engine keeps nothing of that. A
/// history that could not be asked says nothing.
fn taken_out(case: &Case<'_>) -> Option<Verdict> {
    if case.untraced != Some(Routing::Direct) || !matches!(case.own, Own::Missing) {
        return None;
    }
    match case.hearing {
        Hearing::Silent => None,
        Hearing::Told => Some(Verdict::AskAgain),
        Hearing::ToldLong => {
            Some(noted(Outcome::Cancelled, "taken out of the queue before it began, on the cluster, not by csync"))
        }
    }
}

/// What follows where no rule applies: nobody knows.
pub(super) fn nobody_knows(case: &Case<'_>) -> Verdict {
    Verdict::Lost(match case.own {
        Own::Started => "it started; its end was not recorded, and the batch system does not know it".to_owned(),
        _ => "it left no record, and the batch system does not know it".to_owned(),
    })
}
