//! What a command is about: `[RUN] [TASK]`.

use crate::cli::errors::Failure;
use crate::cli::view::words::shell_word;
use crate::reach::client::RunRef;

/// A run, and a task or instance of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// The run; the last one when none was named.
    pub(super) run: RunRef,
    /// Whether the run was named.
    pub(super) named: bool,
    /// A task, or an instance by its label.
    pub(super) label: Option<String>,
}

impl Target {
    /// Reads at most two words: a number or `last` names a run, anything else a task or instance. To name a task that is
    /// called like a run, both are written.
    pub(super) fn parse(words: &[String]) -> Result<Self, Failure> {
        match words {
            [] => Ok(Self::default()),
            [one] => Ok(match one.parse() {
                Ok(run) => Self { run, named: true, label: None },
                Err(_) => Self { label: Some(one.clone()), ..Self::default() },
            }),
            [run, label, ..] => match run.parse() {
                Ok(run) => Ok(Self { run, named: true, label: Some(label.clone()) }),
                Err(bad) => Err(Failure::usage(format!("`{run}` is not a run: {bad}")).hint(format!(
                    "the run comes first; for a task of the last run: `csync ... last {}`",
                    shell_word(run)
                ))),
            },
        }
    }

    /// Reads a run and any number of tasks or instances.
    pub(super) fn parse_many(words: &[String]) -> (Option<RunRef>, Vec<String>) {
        match words.split_first() {
            Some((first, rest)) => match first.parse() {
                Ok(run) => (Some(run), rest.to_vec()),
                Err(_) => (None, words.to_vec()),
            },
            None => (None, Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::RunId;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_number_is_a_run_and_a_word_is_a_task() {
        let parse = |all: &[&str]| Target::parse(&words(all)).map(|target| (target.run, target.label));
        assert_eq!(parse(&[]).unwrap(), (RunRef::Last, None));
        assert_eq!(parse(&["12"]).unwrap(), (RunRef::Id(RunId(12)), None));
        assert_eq!(parse(&["align[A]"]).unwrap(), (RunRef::Last, Some("align[A]".to_owned())));
        assert_eq!(parse(&["last", "12"]).unwrap(), (RunRef::Last, Some("12".to_owned())));
        let failure = parse(&["align", "12"]).unwrap_err();
        assert_eq!(failure.exit().number(), 2);
        assert_eq!(Target::parse_many(&words(&["3", "a", "b"])), (Some(RunRef::Id(RunId(3))), words(&["a", "b"])));
        assert_eq!(Target::parse_many(&words(&["a", "3"])), (None, words(&["a", "3"])));
    }
}
