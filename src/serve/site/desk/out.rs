//! Out to the host: what was gathered, as far as it is let in, and what came of it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::decide::engine::protocol::{Capacity, Stage};
use crate::language::batch;
use crate::model::api::Full;
use crate::model::batch::{BatchId, JobName};
use crate::model::id::JobKey;
use crate::model::job::Outcome;
use crate::reach::clock;
use crate::reach::store::Sent;
use crate::serve::site::boxes::{is_boxed, is_marked, mark};
use crate::serve::site::desk::news::BEHIND;
use crate::serve::site::desk::{Desk, Done, Live, Member, Way, never_ran, said};
use crate::serve::site::jobs::prefix;
use crate::serve::site::send::{Ground, NotSent, SentOut, group, send, unless_off};
use crate::serve::site::{Means, SiteJob, SiteNews};

/// Why an attempt did not run whose inputs were on their way.
const CALLED_OFF: &str = "its inputs were not brought to their end, and nothing of it was submitted";

impl Desk {
    /// How many jobs of ours are there, or on their way.
    pub(super) fn ours(&self) -> u32 {
        let count = |live: &Live| live.members.iter().filter(|member| !member.over).count();
        u32::try_from(self.live.values().map(count).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Sends what was gathered, as far as it is let in: what asks for the same in one submission.
    pub(super) fn send(&mut self, ground: &Arc<Ground>) {
        let allowed = self.quota.allows(self.ours(), Instant::now()) as usize;
        let (mut ready, held): (Vec<SiteJob>, Vec<SiteJob>) = match self.held() {
            held if held.is_empty() => (std::mem::take(&mut self.waiting), Vec::new()),
            held => std::mem::take(&mut self.waiting).into_iter().partition(|job| !held.contains(&job.key)),
        };
        self.waiting = ready.split_off(allowed.min(ready.len()));
        self.waiting.extend(held);
        for job in ready.iter_mut().filter(|job| !job.after.is_empty()) {
            job.behind = job.after.iter().filter_map(|key| self.batch_of(*key)).collect();
            job.behind.sort_unstable();
            job.behind.dedup();
        }
        for jobs in group(ready, &self.means, self.quota.array()) {
            let Some(first) = jobs.first() else { continue };
            let name = name_of(&self.means, first.key, self.refused.get(&first.key).copied().unwrap_or(0));
            let is_one = is_boxed(&self.means, first);
            let sent = Sent {
                name: name.clone(),
                host: self.means.host.name.to_string(),
                at: clock::now(),
                batch: is_one.then(mark),
                members: jobs.iter().map(|job| job.key).collect(),
            };
            self.take_in(sent.clone(), Way::Sending);
            for job in &jobs {
                self.jobs.insert(job.key, job.clone());
            }
            self.sending += 1;
            let off = CancellationToken::new();
            self.offs.insert(name.clone(), off.clone());
            let (ground, boxes) = (Arc::clone(ground), Arc::clone(&self.boxes));
            self.spawn(|means| async move {
                // Where no daemon can be spoken to, the host's command may do it.
                if is_one && let Ok(Some(_)) = boxes.daemon(&means).await {
                    return match unless_off(&off, Box::pin(boxes.send(&means, &ground, &sent, &jobs))).await {
                        Ok((out, members)) => Done::Sent(name, Ok(out), members),
                        Err(error) => Done::Sent(name, Err(error), Vec::new()),
                    };
                }
                let result = Box::pin(send(&means, &ground, &Sent { batch: None, ..sent }, jobs, &off)).await;
                Done::Sent(name, result, Vec::new())
            });
        }
    }

    /// Returns those that cannot be sent yet: what they wait for has no id there yet, or none that can be waited for; or another
    /// attempt of the same is still there, which nobody waits for.
    fn held(&self) -> HashSet<JobKey> {
        if self.strays.is_empty() && self.waiting.iter().all(|job| job.after.is_empty()) {
            return HashSet::new();
        }
        let here: HashSet<JobKey> = self.waiting.iter().map(|job| job.key).collect();
        // What is neither here nor there is over: whether it succeeded, the wrapper sees from its files.
        let is_held = |key: &JobKey| {
            let no_id_to_wait_for = || self.batch_of(*key).is_none_or(|id| !self.is_waited_for(&id));
            here.contains(key) || self.of.contains_key(key) && no_id_to_wait_for()
        };
        // Of no instance two attempts run here at a time.
        let of = |key: &JobKey| (key.run, key.instance);
        let has_twin = |key: &JobKey| self.strays.iter().any(|stray| of(stray) == of(key));
        let held = self.waiting.iter().filter(|job| job.after.iter().any(is_held) || has_twin(&job.key));
        held.map(|job| job.key).collect()
    }

    /// Returns whether the batch system itself keeps what comes after a submission until that succeeded.
    fn is_waited_for(&self, id: &BatchId) -> bool {
        self.means.dialect.as_ref().is_none_or(|dialect| batch::can_be_waited_for(dialect.flavour, id))
    }

    /// Returns whether something can be sent.
    pub(super) fn has_ready(&self) -> bool {
        self.strays.is_empty() && self.waiting.iter().any(|job| job.after.is_empty())
            || self.held().len() < self.waiting.len()
    }

    /// Returns the batch system's id of the submission that holds an attempt, once it is known, as long as all of it succeeds.
    fn batch_of(&self, key: JobKey) -> Option<BatchId> {
        let (name, _) = self.of.get(&key)?;
        let can_be_awaited = |live: &&Live| live.state == Way::There && !is_marked(&live.sent) && !live.spoilt;
        self.live.get(name).filter(can_be_awaited)?.sent.batch.clone()
    }

    /// Takes note that an attempt did not succeed: nothing more can come after the submission that holds it.
    pub(super) fn spoil(&mut self, key: JobKey) {
        if let Some((name, _)) = self.of.get(&key)
            && let Some(live) = self.live.get_mut(name)
        {
            live.spoilt = true;
        }
    }

    pub(super) fn take_in(&mut self, sent: Sent, state: Way) {
        for (key, index) in sent.members.iter().zip(1..) {
            self.of.insert(*key, (sent.name.clone(), index));
        }
        let member = |key: &JobKey| Member {
            key: *key,
            stage: Stage::Given,
            started: None,
            over: false,
            missing: 0,
            missed: None,
            reason: None,
            until: None,
            grant: None,
            stopping: false,
        };
        let members = sent.members.iter().map(member).collect();
        self.live.insert(sent.name.clone(), Live { sent, notes: Vec::new(), members, state, spoilt: false });
    }

    pub(super) async fn sent(&mut self, name: &JobName, result: Result<SentOut, NotSent>) {
        self.quiet = 0;
        self.next_tick = self.next_look(false);
        self.offs.remove(name);
        let keys = self.live.get(name).map(|live| live.sent.members.clone()).unwrap_or_default();
        let withdrawn: HashSet<JobKey> = keys.into_iter().filter(|key| self.withdrawn.remove(key)).collect();
        match result {
            Err(NotSent::CalledOff) => self.called_off(name, &withdrawn).await,
            Ok(out) => {
                let Some(live) = self.live.get_mut(name) else { return };
                live.state = Way::There;
                live.sent.batch = out.batch;
                live.notes = out.notes;
                let sent = live.sent.clone();
                let keys = sent.members.clone();
                self.quota.accepted(self.ours(), Instant::now());
                if self.full.take().is_some() || self.quota.learned().is_some() {
                    self.say_room().await;
                }
                if sent.batch.is_some() {
                    self.say(SiteNews::Known(sent)).await;
                }
                for key in keys {
                    self.stage(key, Stage::Waiting).await;
                }
            }
            Err(NotSent::Doubtful(error)) => {
                self.doubt(name);
                self.leave(&error).await;
            }
            Err(NotSent::Unsaid(words)) => {
                self.doubt(name);
                self.shut(format!("its batch system did not say whether it took the jobs: {words}")).await;
            }
            Err(NotSent::Postponed(words)) => {
                let keys = self.live.get(name).map(|live| live.sent.members.clone()).unwrap_or_default();
                let words = format!("its batch system takes no jobs now: {words}");
                self.shut(words.clone()).await;
                for key in keys {
                    self.end(never_ran(key, Outcome::NodeFail, vec![words.clone()])).await;
                }
                self.close(name);
            }
            Err(NotSent::Refused(members)) => {
                let is_any = !members.is_empty();
                for (key, outcome, note) in members {
                    self.end(never_ran(key, outcome, note.into_iter().collect())).await;
                }
                let is_left = |live: &Live| live.members.iter().any(|member| !member.over);
                if is_any && self.live.get(name).is_some_and(is_left) {
                    // The others go in another.
                    self.called_off(name, &withdrawn).await;
                } else {
                    self.close(name);
                }
            }
            Err(NotSent::Full(why)) => self.full(name, why).await,
            Err(NotSent::FullPerhaps(why)) => {
                self.doubt(name);
                self.next_tick = Instant::now();
                let tried = self.live.get(name).map_or(0, |live| live.sent.members.len());
                self.met_limit(u32::try_from(tried).unwrap_or(u32::MAX), why);
                self.say_room().await;
            }
            Err(NotSent::TooLarge) => self.too_large(name).await,
            Err(NotSent::Unreached(error)) => {
                let keys = self.live.get(name).map(|live| live.sent.members.clone()).unwrap_or_default();
                self.leave(&error).await;
                for key in keys {
                    self.end(never_ran(key, Outcome::NodeFail, vec![said(&error)])).await;
                }
                self.close(name);
            }
        }
    }

    /// The batch system takes no array of so many members, whatever was known of its limits: it goes in smaller ones.
    async fn too_large(&mut self, name: &JobName) {
        let keys = self.live.get(name).map(|live| live.sent.members.clone()).unwrap_or_default();
        tracing::info!(host = %self.means.host.name, jobs = keys.len(), "takes no array of so many");
        self.quota.too_large(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        self.hold_back(name).await;
        self.let_stopped_go(keys).await;
    }

    /// The batch system takes no more: what was to be sent waits here.
    async fn full(&mut self, name: &JobName, why: String) {
        let keys = self.live.get(name).map(|live| live.sent.members.clone()).unwrap_or_default();
        tracing::info!(host = %self.means.host.name, why, jobs = keys.len(), "takes no more jobs");
        self.met_limit(u32::try_from(keys.len()).unwrap_or(u32::MAX), why);
        self.hold_back(name).await;
        self.let_stopped_go(keys).await;
        self.say_room().await;
    }

    /// Takes note that so many jobs more were too many.
    fn met_limit(&mut self, tried: u32, why: String) {
        self.quota.refused(self.ours().saturating_sub(tried), tried, Instant::now());
        self.full = Some(why);
    }

    /// Ends those that were asked to end while they were on their way, and wait here again.
    async fn let_stopped_go(&mut self, keys: Vec<JobKey>) {
        let stopped: Vec<JobKey> = keys.into_iter().filter(|key| self.stops.contains(key)).collect();
        self.take_back(stopped).await;
    }

    /// Nothing of a submission went out, since somebody wants some of it no more, or some was refused: that is over, the rest goes in
    /// another.
    async fn called_off(&mut self, name: &JobName, withdrawn: &HashSet<JobKey>) {
        let keys = self.live.get(name).map(|live| live.sent.members.clone()).unwrap_or_default();
        tracing::info!(host = %self.means.host.name, %name, jobs = keys.len(), "called off before it was submitted");
        // Of those whom nobody waits for nothing is said.
        let is_stopped =
            |key: &JobKey| self.stops.contains(key) && !self.strays.contains(key) && !self.removed.contains_key(key);
        let is_off = |key: &JobKey| withdrawn.contains(key) || is_stopped(key);
        let over: Vec<JobKey> = keys.into_iter().filter(is_off).collect();
        for key in over {
            self.end(never_ran(key, Outcome::Cancelled, vec![CALLED_OFF.to_owned()])).await;
        }
        self.hold_back(name).await;
    }

    /// Lets go of a submission that did not go out: those of its members that are not over wait here again.
    async fn hold_back(&mut self, name: &JobName) {
        let keys = self.live.get(name).map(|live| live.sent.members.clone()).unwrap_or_default();
        if let Some(first) = keys.first() {
            *self.refused.entry(*first).or_default() += 1;
        }
        self.close(name);
        // Meanwhile something that they come after did not succeed: they would not wait for it any more.
        let (orphans, keys): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| self.orphans.contains(key));
        for key in orphans {
            if self.jobs.contains_key(&key) {
                self.end(never_ran(key, Outcome::NodeFail, vec![BEHIND.to_owned()])).await;
            }
        }
        let mut back: Vec<SiteJob> = keys.iter().filter_map(|key| self.jobs.remove(key)).collect();
        for job in &mut back {
            job.after.retain(|key| self.of.contains_key(key) || self.waiting.iter().any(|other| other.key == *key));
        }
        for job in &back {
            self.say(SiteNews::Staged(job.key, Stage::Given)).await;
        }
        self.waiting.splice(0..0, back);
    }

    /// Calls the submission off that an attempt is on its way with, as long as nothing of it went out; returns whether it is on its
    /// way.
    pub(super) fn call_off(&self, key: JobKey) -> bool {
        let off = self.of.get(&key).and_then(|(name, _)| self.offs.get(name));
        off.inspect(|off| off.cancel()).is_some()
    }

    /// Returns its room, with how many jobs it takes as was learned.
    pub(super) fn room(&self) -> Capacity {
        let known = self.means.room;
        let jobs = self.quota.learned().map_or(known.jobs, |(learned, _)| Some(learned.max(1)));
        Capacity { jobs, ..known }
    }

    pub(super) async fn say_room(&self) {
        let now = Instant::now();
        let full = self.full.clone().zip(self.quota.learned()).map(|(why, (jobs, until))| Full {
            why,
            jobs,
            next_try: clock::now().after(until.saturating_duration_since(now)),
        });
        self.say(SiteNews::Room(self.room(), full)).await;
    }
}

/// Returns the name of the submission whose first member this is: unique, since no attempt is ever sent twice, but for those that
/// were refused as too many.
fn name_of(means: &Means, first: JobKey, refused: u32) -> JobName {
    let mut text = format!("{}{}-{}-{}", prefix(&means.state), first.run, first.instance, first.attempt);
    if refused > 0 {
        // What was refused before under the plain name is cleared away by and by.
        let _infallible = write!(text, "-{refused}");
    }
    // Letters, digits and `-`, at most 14 + 4 * 11 of them.
    text.parse().unwrap_or_else(|_| unreachable_name())
}

fn unreachable_name() -> JobName {
    #[expect(clippy::expect_used, reason = "a constant that is a name")]
    "csync".parse().expect("a name")
}
