//! What was learned of the command that is asked about, and of the hosts by what ran on them.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::learn::profile::{Prediction, Question, Source as Basis};
use crate::decide::route::need::Need;
use crate::language::command::{Token, commands};
use crate::model::host::HostName;
use crate::reach::clock;
use crate::serve::prepare::lore::{Command, command};

/// What is foretold of a command.
#[derive(Default)]
pub(super) struct Foretold {
    /// How many times faster hosts are than this machine, those that are known.
    pub(super) speeds: BTreeMap<HostName, Estimate>,
    /// What it rests on, in words; none where nothing is known.
    pub(super) words: Option<String>,
}

/// Fills in what a command needs by what was learned, as far as nobody said it.
pub(super) fn foretell(
    context: &Context,
    text: &str,
    need: &mut Need,
    hosts: &[HostName],
) -> Result<Foretold, Failure> {
    let state = context.state_dir()?;
    let inputs: Vec<&str> = need.inputs.iter().map(|input| input.name.as_str()).collect();
    let lines = commands(text);
    let known = context.block_on(async { Ok(command(&state, &lines, &inputs, hosts, clock::now()).await) })?;
    let known = match known {
        Ok(Some(known)) => known,
        Ok(None) => return Ok(Foretold::default()),
        Err(error) => {
            context.say(&format!("What was learned is of no use here: {error}."));
            return Ok(Foretold::default());
        }
    };
    let Command { known, classes } = known;
    let Some(&here) = classes.get(&HostName::local()) else { return Ok(Foretold::default()) };
    let bytes: f64 = need.inputs.iter().map(|input| input.bytes).sum();
    let mut words = Vec::new();
    if need.memory.is_none()
        && let Some(found) = known.memory(here, Question::plain(bytes)).filter(is_seen)
    {
        // What would be asked for is what has to be there.
        need.memory = Some(Estimate { middle: found.request, high: found.high.max(found.request), ..estimate(&found) });
        words.push("memory");
    }
    let on = |class| known.run_time(class, bytes).filter(is_seen);
    let Some(time) = on(here) else { return Ok(Foretold { words: said(&words), ..Foretold::default() }) };
    let mut speeds = BTreeMap::new();
    // Hosts that nothing was learned of are alike: a thousand need one prediction.
    let told = known.seen.iter().flat_map(|seen| seen.scale.iter().map(|(class, _)| *class).chain([seen.class]));
    let told: BTreeSet<Token> = told.collect();
    let mut plain = None;
    for (host, &class) in classes.iter().filter(|(host, _)| !host.is_local()) {
        let there = if told.contains(&class) { on(class) } else { *plain.get_or_insert_with(|| on(class)) };
        let Some(there) = there.filter(|there| there.middle > 0.0) else { continue };
        let speed = time.middle / there.middle;
        // Its spread is that of the run time, which is counted already.
        let source = Source::Learned(there.n);
        speeds.insert(host.clone(), Estimate { low: speed, middle: speed, high: speed, source });
    }
    if need.time.is_none() {
        need.time = Some(estimate(&time));
        words.push("run time");
    }
    Ok(Foretold { speeds, words: said(&words) })
}

/// Returns whether somebody saw that: what people commonly ask for says neither where a command fits nor how long this one runs.
fn is_seen(found: &Prediction) -> bool {
    found.source != Basis::Shipped
}

fn said(words: &[&str]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(" and "))
}

fn estimate(found: &Prediction) -> Estimate {
    Estimate { low: found.low, middle: found.middle, high: found.high, source: Source::Learned(found.n) }
}
