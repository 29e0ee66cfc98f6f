//! Loops that ask a batch system again and again.

use crate::decide::advise::walk::{Line, Step};
use crate::decide::advise::{Advice, Kind};
use crate::language::shell::{LoopKind, Word};

/// Programs that ask for the state of jobs.
const ASKS: &[&str] = &["squeue", "sacct", "qstat", "bjobs", "qacct", "sstat"];

/// Looks for loops and for `watch`.
pub(super) fn look(line: &Line<'_>, advice: &mut Vec<Advice>) {
    let mut all: Vec<(usize, LoopKind)> = line.steps.iter().flat_map(|step| step.loops.iter().copied()).collect();
    all.sort_unstable_by_key(|(number, _)| *number);
    all.dedup();
    for (number, kind) in all {
        let within = |step: &&Step| step.loops.iter().any(|(own, _)| *own == number);
        let inside: Vec<&Step> = line.steps.iter().filter(within).collect();
        let has = |name: &str| inside.iter().any(|step| step.program() == Some(name));
        // One that does not even sleep asks more often; one that reads goes through a list.
        let waits = has("sleep") || (kind == LoopKind::Condition && !has("read"));
        if let Some(asks) = inside.iter().find(|step| asks(step)).filter(|_| waits) {
            advice.push(say(asks, "This loop asks"));
            return;
        }
    }
    let watched = line.steps.iter().find(|step| {
        step.again && asks(step) && line.command(step).and_then(|command| command.head()) == Some("watch")
    });
    advice.extend(watched.map(|step| say(step, "`watch` without a terminal never ends, and asks")));
    let endless = line.steps.iter().find(|step| iterates(step));
    advice.extend(endless.map(|step| say(step, "It never ends, and asks")));
}

/// `squeue -i 5` prints again and again.
fn iterates(step: &Step) -> bool {
    let again = |word: &Word| {
        word.text.starts_with("--iterate") || (word.text.starts_with("-i") && !word.text.starts_with("--"))
    };
    matches!(step.program(), Some("squeue" | "sinfo" | "smap")) && step.arguments().iter().any(again)
}

fn asks(step: &Step) -> bool {
    let Some(program) = step.program() else { return false };
    let first = |wanted: &str| step.arguments().first().and_then(Word::fixed) == Some(wanted);
    ASKS.contains(&program)
        || (program == "scontrol" && first("show"))
        || (program == "csync" && (first("status") || first("show") || first("runs")))
}

fn say(step: &Step, what: &str) -> Advice {
    let program = step.program().unwrap_or_default();
    let text = format!(
        "{what} with `{program}` until jobs end. `csync wait RUN` stays until runs of csync end and asks the batch system \
         no more than its site allows; for a job of your own, `sbatch --wait` or `qsub -sync y` stays with it."
    );
    Advice { kind: Kind::Poll, text, command: step.command, change: None }
}
