//! How long the tasks of a what-if run, and what they need: said, learned, asked for, or guessed.

use std::collections::BTreeMap;

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::profile::learned_if_there;
use crate::cli::simulate::Sources;
use crate::decide::learn::profile::{Profile, Question};
use crate::decide::learn::shipped;
use crate::decide::place::problem::Room;
use crate::language::command::{Signature, TokenKey};
use crate::language::scenario::Scenario;
use crate::model::id::InstanceId;
use crate::model::plan::Plan;
use crate::model::resources::{Amount, Request};
use crate::reach::learned::Learned;
use crate::serve::prepare::lore::signature_of;

/// Seconds of a task of which nothing is known.
const GUESS: f64 = 600.0;

/// What an instance needs.
pub(super) struct Need {
    /// How long it runs on a host of speed one.
    pub(super) seconds: f64,
    /// Bytes of memory, where something else tells them than what it asks for.
    pub(super) memory: Option<u64>,
}

/// Returns what an instance asks for, in its first alternative.
pub(super) fn room(plan: &Plan, instance: InstanceId) -> Room {
    let Some(request) = plan.task_of(instance).settings.resources.first() else { return Room::cores(1) };
    let memory = match request.mem {
        Amount::Exact(memory) => memory.0,
        Amount::Range { min, max } => min.or(max).map_or(0, |memory| memory.0),
        Amount::Auto => 0,
    };
    Room { cores: request.cores(), memory, gpus: request.gpus }
}

/// Returns what each instance needs, by the bytes that it reads.
pub(super) fn needs(
    context: &Context,
    plan: &Plan,
    described: &Scenario,
    inputs: &[f64],
    sources: &mut Sources,
) -> Result<Vec<Need>, Failure> {
    context.block_on(async {
        // What is of no use to `csync route` is of none here: the tasks then take what they ask for.
        let of_no_use = |failure| context.say(&format!("What was learned is of no use here: {failure}."));
        let mut learned = learned_if_there(context).await.map_err(of_no_use).unwrap_or_default();
        let key = learned.as_ref().map_or_else(|| TokenKey::new([0; 32]), |learned| learned.tokens().clone());
        let mut known: BTreeMap<Signature, Vec<Profile>> = BTreeMap::new();
        let mut all = Vec::with_capacity(plan.instances.len());
        for (instance, input) in plan.instance_ids().zip(inputs) {
            let task = plan.task_of(instance);
            let said = described.tasks.get(&task.name).copied().unwrap_or_default();
            let request = task.settings.resources.first();
            let is_open = said.memory.is_none() && request.is_none_or(|request| request.mem == Amount::Auto);
            let signature = if said.time.is_some() && !is_open { None } else { signature_of(plan, instance, &key) };
            let found = match (&signature, learned.as_mut()) {
                (Some(signature), Some(learned)) => profiles(learned, signature, &mut known).await,
                _ => Ok(&[][..]),
            };
            let found = match found {
                Ok(found) => found,
                Err(failure) => {
                    of_no_use(failure);
                    learned = None;
                    &[]
                }
            };
            let memory = said.memory.map(|memory| memory.0);
            let memory = match memory {
                Some(_) => {
                    sources.memory_said += 1;
                    memory
                }
                // Not what is shipped: that is what people ask of batch systems, and no measure of what a machine must have free.
                None if is_open => {
                    let learned = found.iter().find_map(|profile| profile.memory(Question::plain(*input)));
                    sources.memory_learned += u32::from(learned.is_some());
                    learned.map(|found| found.request as u64)
                }
                None => None,
            };
            let learned_time = || found.iter().find_map(|profile| profile.run_time(*input)).map(|found| found.middle);
            let asked = || request.and_then(Request::walltime).map(|time| time.0 as f64);
            let shipped = || signature.as_ref().and_then(shipped::prior).and_then(|it| it.wall).map(|law| law.base);
            let (source, seconds) = if let Some(time) = said.time {
                (&mut sources.said, time.0 as f64)
            } else if let Some(seconds) = learned_time() {
                (&mut sources.learned, seconds)
            } else if let Some(seconds) = asked() {
                (&mut sources.asked, seconds)
            } else if let Some(seconds) = shipped() {
                (&mut sources.shipped, seconds)
            } else {
                (&mut sources.guessed, GUESS)
            };
            *source += 1;
            all.push(Need { seconds, memory });
        }
        if let Some(learned) = learned {
            learned.close().await;
        }
        Ok(all)
    })
}

/// Returns what was learned of a command: of itself before its like, first of the class of hosts where most was.
async fn profiles<'a>(
    learned: &mut Learned,
    signature: &Signature,
    known: &'a mut BTreeMap<Signature, Vec<Profile>>,
) -> Result<&'a [Profile], Failure> {
    if !known.contains_key(signature) {
        let mut entries = learned.likes(signature).await?;
        entries
            .sort_by_key(|entry| (entry.signature != *signature, std::cmp::Reverse(entry.profile.summary().count())));
        known.insert(signature.clone(), entries.into_iter().map(|entry| entry.profile).collect());
    }
    Ok(known.get(signature).map_or(&[], Vec::as_slice))
}
