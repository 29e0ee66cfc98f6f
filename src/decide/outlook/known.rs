//! What was learned of a task's command, by class of host.

use crate::decide::learn::evidence::{Evidence, Prior};
use crate::decide::learn::grain::Grain;
use crate::decide::learn::hosts::Factor;
use crate::decide::learn::profile::{Prediction, Profile, Question, Source};
use crate::decide::learn::steps::Steps;
use crate::language::command::Token;
use crate::model::choice::{Basis, Foreseen};

/// What was learned of a command on one class of hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The class.
    pub class: Token,
    /// What was learned there.
    pub profile: Profile,
    /// How many times longer other classes take than this one.
    pub scale: Vec<(Token, Factor)>,
}

/// All that is known of a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// By class of host.
    pub seen: Vec<Seen>,
    /// Commands like it, the most alike first.
    pub similar: Vec<Profile>,
    /// What is shipped for the program.
    pub prior: Option<Prior>,
}

impl Known {
    /// Returns whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.similar.is_empty() && self.prior.is_none()
    }

    /// Returns what counts on a class of hosts.
    pub fn evidence(&self, class: Token) -> Evidence<'_> {
        let own = self.seen.iter().find(|seen| seen.class == class).map(|seen| &seen.profile);
        let others = self.seen.iter().filter(|seen| seen.class != class).map(|seen| {
            let factor = seen.scale.iter().find(|(of, _)| *of == class).map_or(Factor::UNKNOWN, |(_, factor)| *factor);
            (&seen.profile, factor)
        });
        Evidence { own, others: others.collect(), similar: self.similar.iter().collect(), prior: self.prior }
    }

    /// Predicts peak memory in bytes.
    pub fn memory(&self, class: Token, question: Question) -> Option<Prediction> {
        self.evidence(class).memory(question)
    }

    /// Predicts the same where a site grants in such amounts.
    pub fn memory_in(&self, class: Token, question: Question, grain: &Grain) -> Option<Prediction> {
        self.evidence(class).memory_in(question, grain)
    }

    /// Predicts the time limit in seconds to ask for, where jobs wait so long by that.
    pub fn time_limit(&self, class: Token, question: Question, waits: &Steps) -> Option<Prediction> {
        self.evidence(class).time_limit_waiting(question, waits)
    }

    /// Predicts run time in seconds.
    pub fn run_time(&self, class: Token, input: f64) -> Option<Prediction> {
        self.evidence(class).run_time(input)
    }

    /// Returns the memory to ask for after an attempt failed with this much, by what was seen; none where nothing was.
    pub fn memory_after(&self, class: Token, failed: f64) -> Option<f64> {
        self.best(class).map(|profile| profile.memory_after(failed))
    }

    /// Returns the time limit to ask for after an attempt was killed at this one.
    pub fn time_after(&self, class: Token, failed: f64) -> Option<f64> {
        self.best(class).map(|profile| profile.time_after(failed))
    }

    /// Returns what most is known of: the class itself, else where most was seen.
    fn best(&self, class: Token) -> Option<&Profile> {
        let own = self.seen.iter().find(|seen| seen.class == class);
        let most = || self.seen.iter().max_by_key(|seen| seen.profile.summary().count());
        own.or_else(most).map(|seen| &seen.profile).or_else(|| self.similar.first())
    }
}

/// Returns a prediction as it is shown and kept.
pub fn foreseen(prediction: &Prediction) -> Foreseen {
    let Prediction { request, low, middle, high, n, source } = *prediction;
    let basis = match source {
        Source::Learned => Basis::Learned,
        Source::OtherHosts => Basis::OtherHosts,
        Source::Similar => Basis::Similar,
        Source::Shipped => Basis::Shipped,
    };
    Foreseen { request, low, middle, high, n, basis }
}
