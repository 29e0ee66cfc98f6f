//! What a prediction may rest on, best first: the signature on this class of hosts, on others, its likes, what is shipped.

use serde::{Deserialize, Serialize};

use crate::decide::learn::grain::Grain;
use crate::decide::learn::hosts::Factor;
use crate::decide::learn::profile::{Prediction, Profile, Question, Source};
use crate::decide::learn::steps::Steps;

/// A quantity as a line in input size, as it is shipped for a program.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// For an empty input.
    pub base: f64,
    /// For each byte of input.
    pub per_byte: f64,
    /// By what factor it may be off, either way; at least 1.
    pub spread: f64,
}

impl Law {
    fn predict(self, question: Question) -> Prediction {
        let middle = self.base + self.per_byte * question.input;
        let spread = self.spread.max(1.0);
        let high = middle * spread;
        let request = if question.grain > 0.0 { (high / question.grain).ceil() * question.grain } else { high };
        Prediction { request, low: middle / spread, middle, high, n: 0, source: Source::Shipped }
    }
}

/// What is shipped for a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// Peak memory in bytes.
    pub memory: Option<Law>,
    /// Run time in seconds.
    pub wall: Option<Law>,
}

/// All that is known of a command for a class of hosts.
#[derive(Clone, Debug, Default)]
pub struct Evidence<'a> {
    /// The signature on this class of hosts.
    pub own: Option<&'a Profile>,
    /// The signature on other classes, each with how many times longer this class takes than that one.
    pub others: Vec<(&'a Profile, Factor)>,
    /// Signatures of the same program, the most alike first.
    pub similar: Vec<&'a Profile>,
    /// What is shipped for the program.
    pub prior: Option<Prior>,
}

impl Evidence<'_> {
    /// Predicts peak memory in bytes, which is the same on all hosts as far as is known.
    pub fn memory(&self, question: Question) -> Option<Prediction> {
        self.memory_in(question, &Grain::multiples(question.grain))
    }

    /// Predicts the same where a site grants in such amounts.
    pub fn memory_in(&self, question: Question, grain: &Grain) -> Option<Prediction> {
        let own = self.own.and_then(|profile| profile.memory_in(question, grain));
        own.or_else(|| {
            let best = self.others.iter().filter_map(|(profile, _)| profile.memory_in(question, grain));
            best.max_by_key(|prediction| prediction.n).map(|found| Prediction { source: Source::OtherHosts, ..found })
        })
        .or_else(|| similar(self.similar.iter().find_map(|profile| profile.memory(question))))
        .or_else(|| Some(self.prior?.memory?.predict(question)))
    }

    /// Predicts the time limit in seconds to ask for.
    pub fn time_limit(&self, question: Question) -> Option<Prediction> {
        self.time_limit_waiting(question, &Steps::default())
    }

    /// Predicts the same where jobs wait by the limit that they ask for. What is only like it, or shipped, is too wide for that to
    /// make a difference.
    pub fn time_limit_waiting(&self, question: Question, waits: &Steps) -> Option<Prediction> {
        let own = self.own.and_then(|profile| profile.time_limit_waiting(question, waits));
        // In the seconds of the class that it was learned on.
        let there = |factor: &Factor| waits.scaled(1.0 / factor.middle.max(factor.high));
        own.or_else(|| self.elsewhere(|profile, factor| profile.time_limit_waiting(question, &there(factor))))
            .or_else(|| similar(self.similar.iter().find_map(|profile| profile.time_limit(question))))
            .or_else(|| Some(self.prior?.wall?.predict(question)))
    }

    /// Predicts run time in seconds.
    pub fn run_time(&self, input: f64) -> Option<Prediction> {
        let own = self.own.and_then(|profile| profile.run_time(input));
        own.or_else(|| self.elsewhere(|profile, _| profile.run_time(input)))
            .or_else(|| similar(self.similar.iter().find_map(|profile| profile.run_time(input))))
            .or_else(|| Some(self.prior?.wall?.predict(Question::plain(input))))
    }

    fn elsewhere(&self, predict: impl Fn(&Profile, &Factor) -> Option<Prediction>) -> Option<Prediction> {
        let scaled = self.others.iter().filter_map(|(profile, factor)| {
            let found = predict(profile, factor)?;
            Some((factor.n.min(found.n), factor.scale(found)))
        });
        scaled.max_by_key(|(n, _)| *n).map(|(_, prediction)| prediction)
    }
}

/// What similar commands needed is believed half: the interval is twice as wide.
fn similar(found: Option<Prediction>) -> Option<Prediction> {
    let found = found?;
    Some(Prediction {
        request: found.request * 1.5,
        low: found.low / 2.0,
        high: found.high * 2.0,
        source: Source::Similar,
        ..found
    })
}
