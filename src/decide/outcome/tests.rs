//! A row, or more, for each rule.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::rules::RULES;
use super::{Asked, Cancel, Evidence, Hearing, Judgement, Log, Own, Patience, Routing, Verdict, judge};
use crate::language::batch::wrapper::{Ended, How};
use crate::model::batch::EndingClass::{
    Cancelled, Completed, Failed, LaunchFailed, Live, NeverRan, NodeFail, Oom, Preempted, Requeued, Timeout, Untold,
};
use crate::model::batch::{Answer, BatchId, CouldNotAsk, Ending, EndingClass, Members, Prospect, QueueState, Queued};
use crate::model::job::Outcome;
use crate::model::resources::{Meter, Usage};
use crate::model::units::{Bytes, Timestamp, Walltime};

/// What is known of a member, in few words.
#[derive(Clone, Debug)]
struct Row {
    own: Option<Result<Ended, ()>>,
    reached: bool,
    queue: Answer<Queued>,
    history: Answer<Ending>,
    log: Log,
    cancel: Cancel,
    patience: Patience,
    routing: Routing,
    hearing: Hearing,
}

fn ended(how: How) -> Ended {
    let usage = Usage { wall: 60.0, peak_memory: Bytes::mib(100), meter: Meter::Proc, ..Usage::default() };
    Ended {
        how,
        at: Timestamp(0),
        signals: Vec::new(),
        usage,
        oom_kills: None,
        left: 0,
        dropped: (0, 0),
        unwritten: false,
        gone: None,
    }
}

fn unknown<T>() -> Answer<T> {
    Answer::Unknown(CouldNotAsk { why: "down".to_owned() })
}

/// Gone from the queue, and the history may know more in a while.
fn row() -> Row {
    Row {
        own: None,
        reached: true,
        queue: Answer::Gone,
        history: Answer::Gone,
        log: Log::None,
        cancel: Cancel::No,
        patience: Patience::Left,
        routing: Routing::Direct,
        hearing: Hearing::Silent,
    }
}

impl Row {
    fn how(self, how: How) -> Self {
        Self { own: Some(Ok(ended(how))), ..self }
    }

    fn exit(self, code: i32) -> Self {
        self.how(How::Exit(code))
    }

    fn with(mut self, change: impl FnOnce(&mut Ended)) -> Self {
        if let Some(Ok(ended)) = &mut self.own {
            change(ended);
        }
        self
    }

    fn warned(self) -> Self {
        self.with(|ended| ended.signals = vec![("TERM".to_owned(), 50)])
    }

    fn started(self) -> Self {
        Self { own: Some(Err(())), ..self }
    }

    fn history(self, class: EndingClass) -> Self {
        self.said(class, Some(0), None)
    }

    fn said(self, class: EndingClass, exit_code: Option<i32>, signal: Option<i32>) -> Self {
        let ending = Ending {
            id: BatchId("7".to_owned()),
            member: None,
            name: None,
            class,
            word: "WORD".to_owned(),
            exit_code,
            signal,
            peak_memory: None,
            cpu_ms: None,
            wall: None,
            start: None,
            end: None,
            node: None,
            why: Some("why".to_owned()),
        };
        Self { history: Answer::Is(ending), ..self }
    }

    fn no_history(self) -> Self {
        Self { history: unknown(), ..self }
    }

    fn queued(self, state: QueueState, prospect: Prospect, over: Option<EndingClass>) -> Self {
        let queued = Queued {
            id: BatchId("7".to_owned()),
            members: Members::All,
            name: None,
            state,
            word: "Eqw".to_owned(),
            over,
            reason: Some("PartitionTimeLimit".to_owned()),
            prospect,
            partition: None,
            node: None,
            start: None,
        };
        Self { queue: Answer::Is(queued), ..self }
    }

    fn log(self, log: Log) -> Self {
        Self { log, ..self }
    }

    fn spent(self) -> Self {
        Self { patience: Patience::Spent, ..self }
    }

    fn handed_on(self) -> Self {
        Self { routing: Routing::HandedOn, ..self }
    }

    fn told(self, hearing: Hearing) -> Self {
        Self { hearing, ..self }
    }

    fn cancelled(self) -> Self {
        Self { cancel: Cancel::Asked, ..self }
    }

    fn judge(&self) -> Judgement {
        let own = match (&self.own, self.reached) {
            (_, false) => Own::Unknown,
            (None, true) => Own::Missing,
            (Some(Err(())), true) => Own::Started,
            (Some(Ok(ended)), true) => Own::Ended(ended),
        };
        judge(&Evidence {
            own,
            queue: self.queue.as_ref(),
            history: self.history.as_ref(),
            log: self.log,
            asked: Asked { mem: Some(Bytes::mib(500)), time: Some(Walltime(100)) },
            cancel: self.cancel,
            patience: self.patience,
            routing: self.routing,
            hearing: self.hearing,
        })
    }
}

/// The verdict in one word: an outcome's class with its code, or what is to be done.
fn word(verdict: &Verdict) -> String {
    let class = |outcome: &Outcome| match outcome {
        Outcome::Exit { code, .. } => format!("exit {code}"),
        other => other.class().to_owned(),
    };
    match verdict {
        Verdict::Live(state) => format!("live {state:?}"),
        Verdict::Over { outcome, note: None } => class(outcome),
        Verdict::Over { outcome, note: Some(_) } => format!("{}, noted", class(outcome)),
        Verdict::Remove { outcome } => format!("remove: {}", class(outcome)),
        Verdict::AskAgain => "ask again".to_owned(),
        Verdict::Unreached(_) => "unreached".to_owned(),
        Verdict::Lost(_) => "lost".to_owned(),
    }
}

const KILL_KNOWN: &str = "the batch system knows why it was ended";
const STILL: &str = "the batch system has it still";
const BY_ITSELF: &str = "it ended by itself";
const OUT: &str = "it was taken out of the queue before it began";
const HISTORY: &str = "the history knows how it ended";

fn ends_that_were_recorded() -> Vec<(Row, &'static str, &'static str)> {
    let files = || vec!["a".to_owned()];
    vec![
        (row().how(How::Cancelled(None)), "the wrapper was told to cancel", "cancelled"),
        (row().how(How::Walltime(143)).warned(), "the wrapper ended it at its walltime", "timeout"),
        (row().how(How::MissingInputs(files())), "an input was missing", "stage"),
        (row().how(How::Spawn("no bash".to_owned())), "it could not be started", "spawn"),
        // The control group counted it, whatever the exit code and whatever the batch system says.
        (row().exit(137).with(|e| e.oom_kills = Some(1)), "processes were killed for memory", "oom"),
        (row().exit(1).with(|e| e.oom_kills = Some(2)).history(Completed), "processes were killed for memory", "oom"),
        // Swallowed: PBS and Slurm would both call it well.
        (row().exit(0).with(|e| e.oom_kills = Some(1)), "processes were killed for memory", "oom, noted"),
        // Slurm's cgroup, not readable for the wrapper; PBS's `diag_messages` with exit code 0.
        (row().exit(137).history(Oom), "processes were killed for memory", "oom"),
        (row().exit(0).history(Oom), "processes were killed for memory", "oom, noted"),
        (row().how(How::WrapperKilled).history(Oom), "processes were killed for memory", "oom"),
        (row().how(How::MissingOutputs(files())), "an output was missing", "stage"),
        (row().exit(0), "it ended well by itself", "success"),
        // Nothing that happened to it afterwards counts.
        (row().exit(0).history(NodeFail), "it ended well by itself", "success"),
        (row().exit(0).history(Cancelled), "it ended well by itself", "success"),
        (row().exit(0).cancelled(), "it ended well by itself", "success"),
        (row().exit(0).no_history(), "it ended well by itself", "success"),
        (Row { queue: unknown(), history: unknown(), ..row() }.exit(0), "it ended well by itself", "success"),
        // Sent back to the queue while it ran: what it will be is not known before its second run.
        (row().exit(143).warned().queued(QueueState::Waiting, Prospect::Normal, None), STILL, "live Waiting"),
        (row().exit(143).queued(QueueState::Waiting, Prospect::Normal, None), STILL, "live Waiting"),
        (row().how(How::WrapperKilled).queued(QueueState::Held, Prospect::Blocked, None), STILL, "live Held"),
        (row().exit(137).queued(QueueState::Running, Prospect::Normal, None).spent(), STILL, "ask again"),
        (
            row().exit(143).warned().history(Cancelled).queued(QueueState::Ending, Prospect::Normal, None),
            STILL,
            "ask again",
        ),
        (row().exit(143).warned().history(Timeout), KILL_KNOWN, "timeout"),
        (row().exit(0).warned().history(Timeout), KILL_KNOWN, "timeout"),
        (row().how(How::MissingOutputs(files())).warned().history(Preempted), KILL_KNOWN, "preempted"),
        (row().exit(143).warned().history(Preempted), KILL_KNOWN, "preempted"),
        (row().exit(143).warned().history(Requeued), KILL_KNOWN, "preempted"),
        (row().exit(137).history(NodeFail), KILL_KNOWN, "node_fail"),
        (row().exit(143).warned().history(Cancelled), KILL_KNOWN, "cancelled, noted"),
        (row().exit(143).warned().history(Cancelled).cancelled(), KILL_KNOWN, "cancelled"),
        // No history is kept; Slurm's queue tells for some minutes.
        (
            row().exit(143).warned().no_history().queued(QueueState::Over, Prospect::Normal, Some(Timeout)),
            KILL_KNOWN,
            "timeout",
        ),
        (row().exit(143).warned().cancelled(), "it was ended after csync cancelled it", "cancelled"),
        // No history, and the queue has forgotten it: the log may tell, once it was read.
        (row().exit(143).warned().no_history().log(Log::Unread), "why it was ended is not known yet", "ask again"),
        (row().exit(143).warned().no_history().log(Log::Read(Some(Timeout))), KILL_KNOWN, "timeout"),
        (row().exit(143).warned().no_history().log(Log::Read(None)), BY_ITSELF, "exit 143, noted"),
        (row().exit(137).no_history().log(Log::Read(Some(Oom))), "processes were killed for memory", "oom"),
        // Grid Engine's `qdel` kills at once, and calls it a failure.
        (
            row().how(How::WrapperKilled).history(Failed).cancelled(),
            "it was ended after csync cancelled it",
            "cancelled",
        ),
        (row().exit(143).warned().with(|e| e.usage.wall = 101.0), "it was ended at its walltime", "timeout"),
        // The batch system counts from before the wrapper began.
        (row().exit(143).warned().with(|e| e.usage.wall = 91.0), "it was ended at its walltime", "timeout"),
        (row().exit(143).warned(), "why it was ended is not known yet", "ask again"),
        (row().exit(137), "why it was ended is not known yet", "ask again"),
        (row().exit(137).history(Live), "why it was ended is not known yet", "ask again"),
        (
            row().exit(137).with(|e| e.usage.peak_memory = Bytes::mib(490)).spent(),
            "it was killed with its memory full",
            "oom, noted",
        ),
        (
            row().exit(137).with(|e| e.usage.peak_memory = Bytes::mib(490)).history(Failed),
            "it was killed with its memory full",
            "oom, noted",
        ),
        (row().exit(3), BY_ITSELF, "exit 3"),
        (row().exit(3).history(Failed), BY_ITSELF, "exit 3"),
        // Failed by itself before its node did.
        (row().exit(3).history(NodeFail), BY_ITSELF, "exit 3"),
        (row().exit(139), BY_ITSELF, "exit 139"),
        // A control group that is readable and counted nothing: not memory.
        (
            row().exit(137).with(|e| (e.oom_kills, e.usage.peak_memory) = (Some(0), Bytes::mib(499))).spent(),
            BY_ITSELF,
            "exit 137",
        ),
        (row().exit(137).no_history(), BY_ITSELF, "exit 137"),
        (row().exit(143).warned().spent(), BY_ITSELF, "exit 143, noted"),
        (row().exit(0).warned().history(Completed), BY_ITSELF, "success"),
        (row().exit(0).warned().spent(), BY_ITSELF, "success"),
        (row().how(How::WrapperKilled).spent(), "it was ended and nobody says why", "exit 137, noted"),
        (row().how(How::MissingOutputs(files())).warned().spent(), "it was ended and nobody says why", "stage"),
    ]
}

fn ends_that_were_not() -> Vec<(Row, &'static str, &'static str)> {
    let waits = |prospect| row().queued(QueueState::Waiting, prospect, None);
    let runs = |row: Row| row.queued(QueueState::Running, Prospect::Normal, None);
    vec![
        (waits(Prospect::Never), "it can never run", "remove: rejected"),
        (row().queued(QueueState::Held, Prospect::Never, None), "it can never run", "remove: rejected"),
        (row().queued(QueueState::Stuck, Prospect::Blocked, None), "it is stuck", "remove: spawn"),
        (waits(Prospect::Normal), "it is in the queue", "live Waiting"),
        (waits(Prospect::Blocked), "it is in the queue", "live Waiting"),
        (runs(row()), "it is in the queue", "live Running"),
        (runs(row().started()), "it is in the queue", "live Running"),
        // Sent back by an administrator, or after its node failed: Slurm's history has both lines, PBS the old exit status.
        (waits(Prospect::Normal).started().history(NodeFail), "it is in the queue", "live Waiting"),
        // Could not ask is neither gone nor failed, however long it lasts.
        (Row { queue: unknown(), ..row() }.spent(), "nobody could be asked", "unreached"),
        (Row { queue: unknown(), history: unknown(), ..row() }.started().spent(), "nobody could be asked", "unreached"),
        (Row { reached: false, ..row() }.history(Completed), "nobody could be asked", "unreached"),
        (Row { queue: unknown(), ..row() }.started().history(Live), "nobody could be asked", "unreached"),
        (row().started().history(Oom), HISTORY, "oom"),
        (row().history(Oom), HISTORY, "oom"),
        (row().started().history(Timeout), HISTORY, "timeout"),
        (row().started().history(NodeFail), HISTORY, "node_fail"),
        (row().started().history(Preempted), HISTORY, "preempted"),
        (row().started().history(Cancelled), HISTORY, "cancelled, noted"),
        (row().history(Cancelled).cancelled(), HISTORY, "cancelled"),
        // Without a word of how it ended, and without a record: deleted before it began.
        (row().history(Untold), HISTORY, "ask again"),
        (row().history(Untold).spent(), HISTORY, "cancelled, noted"),
        (row().history(Untold).cancelled(), HISTORY, "cancelled"),
        (row().started().history(Untold).spent(), HISTORY, "exit 137, noted"),
        (row().history(NeverRan), HISTORY, "rejected"),
        (row().history(NeverRan).cancelled(), HISTORY, "cancelled"),
        (row().history(LaunchFailed), HISTORY, "spawn"),
        (row().started().said(Failed, Some(3), None), HISTORY, "ask again"),
        (row().started().said(Failed, Some(3), None).spent(), HISTORY, "exit 3, noted"),
        (row().started().said(Failed, Some(0), Some(11)).spent(), HISTORY, "exit 139, noted"),
        (row().started().said(Failed, Some(137), Some(9)).cancelled(), HISTORY, "cancelled"),
        // The submission's directory was removed under the waiting job.
        (row().said(Failed, Some(127), None).spent(), HISTORY, "spawn"),
        (Row { queue: unknown(), ..row() }.started().history(Timeout), HISTORY, "timeout"),
        (row().no_history().started().queued(QueueState::Over, Prospect::Normal, Some(Oom)), HISTORY, "oom"),
        // Slurm's own watch over memory: the job failed, says its queue; its log says why.
        (
            row()
                .no_history()
                .started()
                .queued(QueueState::Over, Prospect::Normal, Some(Failed))
                .log(Log::Read(Some(Oom))),
            HISTORY,
            "oom",
        ),
        // The history lags behind the queue.
        (row().started().history(Live).queued(QueueState::Over, Prospect::Normal, Some(Timeout)), HISTORY, "timeout"),
        (row().started().history(Live), "it was sent back to the queue", "ask again"),
        (row().started().history(Requeued), "it was sent back to the queue", "ask again"),
        (row(), "it is not known yet", "ask again"),
        (row().started(), "it is not known yet", "ask again"),
        (row().no_history().started(), "it is not known yet", "ask again"),
        (row().history(Completed), "it is not known yet", "ask again"),
        (row().started().history(Completed), "it is not known yet", "ask again"),
        (row().cancelled().spent(), "it is gone after csync cancelled it", "cancelled"),
        (row().started().no_history().cancelled().spent(), "it is gone after csync cancelled it", "cancelled"),
        (row().started().history(Completed).spent(), "it ended well and left no record", "stage"),
        (row().history(Completed).cancelled().spent(), "it ended well and left no record", "stage"),
        (row().spent(), "nobody knows", "lost"),
        (row().handed_on().spent().told(Hearing::Told), "no queue took it that it was handed on to", "rejected"),
        // A history that nobody asked is no answer.
        (row().handed_on().spent(), "nobody knows", "lost"),
        (row().handed_on(), "it is not known yet", "ask again"),
        (row().spent().told(Hearing::Told), OUT, "ask again"),
        (row().spent().told(Hearing::ToldLong), OUT, "cancelled, noted"),
        // What began is not what was deleted before it did; and a queue that could not be asked knows nothing.
        (row().started().spent().told(Hearing::ToldLong), "nobody knows", "lost"),
        (row().no_history().spent().told(Hearing::ToldLong), "nobody knows", "lost"),
        (Row { queue: unknown(), ..row() }.spent().told(Hearing::ToldLong), "nobody could be asked", "unreached"),
        (row().handed_on().started().spent(), "nobody knows", "lost"),
        (row().handed_on().no_history().spent(), "nobody knows", "lost"),
        (row().started().no_history().spent(), "nobody knows", "lost"),
        (row().started().history(Live).spent(), "nobody knows", "lost"),
    ]
}

#[test]
fn every_row_of_the_table() {
    let rows: Vec<_> = ends_that_were_recorded().into_iter().chain(ends_that_were_not()).collect();
    for (row, rule, verdict) in &rows {
        let judgement = row.judge();
        assert_eq!((judgement.rule, word(&judgement.verdict).as_str()), (*rule, *verdict), "{row:?}");
    }
    let tested: BTreeSet<&str> = rows.iter().map(|(_, rule, _)| *rule).collect();
    let known: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).chain(["nobody knows"]).collect();
    assert_eq!(tested, known, "a row for every rule");
}

fn any_answer() -> impl Strategy<Value = (Option<EndingClass>, u8)> {
    let classes = vec![
        Live,
        Completed,
        Failed,
        Oom,
        Timeout,
        NodeFail,
        Preempted,
        Cancelled,
        NeverRan,
        LaunchFailed,
        Requeued,
        Untold,
    ];
    (prop::option::of(prop::sample::select(classes)), 0u8..3)
}

proptest! {
    #[test]
    fn what_could_not_be_asked_is_never_an_end((class, _) in any_answer(), spent in any::<bool>(), started in any::<bool>()) {
        // Neither the wrapper nor the queue answers: only what the history says of an end may be one.
        let mut row = Row { queue: unknown(), history: unknown(), ..row() };
        if started { row = row.started(); }
        if spent { row = row.spent(); }
        prop_assert!(matches!(row.judge().verdict, Verdict::Unreached(_)));
        row.reached = false;
        if let Some(class) = class { row = row.history(class); }
        prop_assert!(matches!(row.judge().verdict, Verdict::Unreached(_)));
    }

    #[test]
    fn success_is_exit_code_0_and_nothing_else(
        code in -1i32..200, (class, queue) in any_answer(), warned in any::<bool>(), spent in any::<bool>(), kills in prop::option::of(0u64..2),
    ) {
        let mut row = row().exit(code).with(|ended| ended.oom_kills = kills);
        if warned { row = row.warned(); }
        if spent { row = row.spent(); }
        if let Some(class) = class { row = row.history(class); }
        row.queue = if queue == 0 { unknown() } else { Answer::Gone };
        if let Verdict::Over { outcome: Outcome::Success, .. } = row.judge().verdict {
            prop_assert!(code == 0 && kills != Some(1) && class != Some(Oom));
        }
        // What was recorded is judged in the end, whoever else is silent.
        let over = matches!(row.judge().verdict, Verdict::Over { .. });
        prop_assert!(over || !spent);
    }
}
