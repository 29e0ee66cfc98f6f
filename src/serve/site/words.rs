//! What people are told of attempts of which the batch system does not say how they ended.

use crate::decide::outcome::Own;
use crate::language::batch::wrapper::{Ended, How};
use crate::model::batch::{Dialect, Ending, Flavour, History};

/// Says what is known of an attempt that the batch system knows nothing of any more.
pub(super) fn lost(own: Own<'_>, dialect: &Dialect) -> String {
    let system = name(dialect.flavour);
    let knows = match dialect.history {
        History::Kept => format!("{system} knows nothing of it any more, neither in its queue nor in its history"),
        History::Off => format!("{system} has it in its queue no more, and keeps no history there"),
    };
    let history = if dialect.history == History::Kept { ", with its history" } else { "" };
    match own {
        Own::Started => format!("{knows}; it began, and its end was not written down in its job directory"),
        _ => format!(
            "{knows}; nothing in its job directory says that it began: somebody may have deleted it while it waited{history}"
        ),
    }
}

/// Says what the wrapper knows of an end that nobody explains; none where it was not killed.
pub(super) fn killed(ended: &Ended, node: &str) -> Option<String> {
    let How::WrapperKilled = ended.how else { return None };
    Some(match ended.signals.first() {
        Some((signal, after)) => format!("SIG{signal} had told it to end on `{node}`, {after} s after it began"),
        None => format!(
            "no signal told it to end before, on `{node}`: so go jobs that are deleted by force, or that a system kills which \
             is short of memory"
        ),
    })
}

/// Says who ended it, where the batch system's own log alone tells.
pub(super) fn deleted(ending: &Ending) -> Option<String> {
    let why = ending.why.as_deref()?;
    why.starts_with("Job to be deleted at request of ").then(|| format!("its log says: {why}"))
}

const fn name(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Slurm => "Slurm",
        Flavour::Pbs => "PBS",
        Flavour::Sge => "Grid Engine",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::resources::Usage;
    use crate::model::units::Timestamp;

    #[test]
    fn what_is_lost_says_who_knows_nothing_and_whether_it_began() {
        let pbs = |history| Dialect { history, ..Dialect::of(Flavour::Pbs) };
        assert_eq!(
            [
                lost(Own::Missing, &pbs(History::Kept)),
                lost(Own::Missing, &pbs(History::Off)),
                lost(Own::Started, &pbs(History::Kept)),
            ],
            [
                "PBS knows nothing of it any more, neither in its queue nor in its history; nothing in its job directory says \
                 that it began: somebody may have deleted it while it waited, with its history",
                "PBS has it in its queue no more, and keeps no history there; nothing in its job directory says that it began: \
                 somebody may have deleted it while it waited",
                "PBS knows nothing of it any more, neither in its queue nor in its history; it began, and its end was not \
                 written down in its job directory",
            ]
        );
    }

    #[test]
    fn what_was_killed_says_whether_it_was_told_before() {
        let ended = |how, signals: &[&str]| Ended {
            how,
            at: Timestamp(0),
            signals: signals.iter().map(|signal| ((*signal).to_owned(), 50)).collect(),
            usage: Usage::default(),
            oom_kills: None,
            left: 0,
            dropped: (0, 0),
            unwritten: false,
            gone: None,
        };
        let told = |signals| killed(&ended(How::WrapperKilled, signals), "px1").unwrap();
        assert!(told(&[]).starts_with("no signal told it to end before, on `px1`"));
        assert_eq!(told(&["TERM", "INT"]), "SIGTERM had told it to end on `px1`, 50 s after it began");
        assert_eq!(killed(&ended(How::Exit(137), &[]), "px1"), None);
    }
}
