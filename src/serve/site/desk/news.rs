//! What looks bring: members that are further, over, or lost, and what follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::decide::engine::protocol::Stage;
use crate::model::batch::{Flavour, JobName};
use crate::model::id::JobKey;
use crate::model::job::{Ended, Outcome};
use crate::reach::clock;
use crate::reach::transport::TransportError;
use crate::serve::site::desk::{Desk, Done, Live, Member, Way, is_over, never_ran};
use crate::serve::site::fetch::{Fetched, Wanted, fetch};
use crate::serve::site::tick::{Heard, MISSING, MemberNews, Scope};
use crate::serve::site::used::Used;
use crate::serve::site::{SiteJob, SiteNews, grown};

/// Why an attempt did not run that was handed over ahead.
pub(super) const BEHIND: &str = "what it was to come after did not succeed";

impl Member {
    fn miss(&mut self) {
        if self.missing == 0 {
            self.missed = Some(clock::now());
        }
        self.missing += 1;
    }
}

impl Desk {
    pub(super) async fn hear(&mut self, heard: Heard) {
        if let Some(since) = self.adopting.take() {
            let waited = since.elapsed().as_millis();
            tracing::info!(host = %self.means.host.name, jobs = self.ours(), milliseconds = waited, "adopted");
        }
        let mut changed = false;
        self.ahead = heard.ahead;
        if heard.cut_off {
            self.turn = 0;
        }
        for (name, batch) in heard.found {
            let Some(live) = self.live.get_mut(&name) else { continue };
            live.state = Way::There;
            if batch.is_some() && live.sent.batch != batch {
                live.sent.batch.clone_from(&batch);
                let sent = live.sent.clone();
                self.say(SiteNews::Known(sent)).await;
            }
        }
        for name in heard.never_sent {
            changed = true;
            let Some(live) = self.live.get(&name) else { continue };
            let keys: Vec<JobKey> = live.members.iter().filter(|member| !member.over).map(|it| it.key).collect();
            let to = if self.means.dialect.is_some() { "the batch system" } else { "the host" };
            for key in keys {
                self.end(never_ran(key, Outcome::NodeFail, vec![format!("it did not reach {to}")])).await;
            }
            self.close(&name);
        }
        let strays = self.strays.len();
        let mut over: BTreeMap<JobName, Vec<(u32, MemberNews)>> = BTreeMap::new();
        for (name, index, news) in heard.members {
            if heard.scope == Scope::Directories && !self.tells_enough(&name, index, &news) {
                continue;
            }
            changed |= self.member_news(&name, index, &news).await;
            if let MemberNews::Over { .. } = news {
                over.entry(name).or_default().push((index, news));
            }
        }
        if !self.reasons.is_empty() {
            let reasons = std::mem::take(&mut self.reasons);
            self.say(SiteNews::Reasons(reasons)).await;
        }
        if !self.expected.is_empty() {
            let expected = std::mem::take(&mut self.expected);
            self.say(SiteNews::Expected(expected)).await;
        }
        if !heard.idle.is_empty() {
            self.say(SiteNews::Idle(heard.idle, clock::now())).await;
        }
        let new = heard.sights.into_iter().filter(|(name, sight)| self.means.nodes.learn(name, sight.at));
        let new: BTreeMap<_, _> = new.collect();
        if !new.is_empty() {
            self.say(SiteNews::Nodes(new)).await;
        }
        for (name, members) in over {
            self.fetch(&name, members);
        }
        if self.strays.len() < strays {
            self.let_go();
        }
        // Each fails when nobody waits any more.
        for told in self.watched.values_mut().flat_map(|watched| watched.told.drain(..)) {
            told.send(()).ok();
        }
        self.quiet = grown(self.quiet, changed, self.is_in_doubt());
        self.next_tick = self.next_look(heard.behind);
    }

    /// Returns whether news of a look that did not ask the batch system hold.
    fn tells_enough(&self, name: &JobName, index: u32, news: &MemberNews) -> bool {
        let member = self.live.get(name).and_then(|live| live.members.get(index as usize - 1));
        member.is_some_and(|member| is_enough(member, news, self.stops.contains(&member.key)))
    }

    /// Returns whether some member left the queue without a word, and the looks that tell what became of it are not over.
    fn is_in_doubt(&self) -> bool {
        let members = self.live.values().flat_map(|live| &live.members);
        members.into_iter().any(|member| !member.over && (1..=MISSING).contains(&member.missing))
    }

    /// Takes in what is known of a member; returns whether it is new.
    pub(super) async fn member_news(&mut self, name: &JobName, index: u32, news: &MemberNews) -> bool {
        let Some(member) = self.live.get_mut(name).and_then(|live| live.members.get_mut(index as usize - 1)) else {
            return false;
        };
        let (key, before) = (member.key, member.stage);
        if self.strays.contains(&key) {
            return self.stray_news(name, index, news);
        }
        match news {
            MemberNews::Waiting(told) => {
                member.missing = 0;
                if member.reason != told.reason {
                    member.reason.clone_from(&told.reason);
                    self.reasons.push((key, told.reason.clone()));
                }
                if let Some(until) = told.until.filter(|_| member.expects(told)) {
                    member.until = Some(until);
                    self.expected.push((key, until));
                }
            }
            MemberNews::Missing => {
                member.miss();
                return false;
            }
            MemberNews::Running(at) => {
                member.missing = 0;
                let new = member.started.replace(*at).is_none();
                if new {
                    self.say(SiteNews::Started(key, *at)).await;
                }
            }
            MemberNews::Over { .. } => member.over = true,
            MemberNews::Remove(_) | MemberNews::Lost(_) => {}
        }
        if let MemberNews::Remove(outcome) = news {
            // It stays in the queue until it is cancelled; its end is ours to say.
            self.removed.insert(key, outcome.clone());
            self.stops.insert(key);
            self.next_tick = Instant::now();
            return true;
        }
        if let MemberNews::Lost(why) = news {
            tracing::warn!(host = %self.means.host.name, %key, why, "nobody knows what became of it");
            self.reasons.push((key, Some(Arc::from(why.as_str()))));
            self.stage(key, Stage::Lost).await;
            return false;
        }
        let stage = match news {
            MemberNews::Waiting(_) | MemberNews::Missing | MemberNews::Remove(_) | MemberNews::Lost(_) => {
                Stage::Waiting
            }
            MemberNews::Running(_) => Stage::Running,
            MemberNews::Over { .. } => Stage::StagingOut,
        };
        self.stage(key, stage).await;
        before != stage
    }

    /// Waits no more for an attempt. It is ended when the host answers, and those that wait for it are told that it did not succeed.
    pub(super) async fn forsake(&mut self, key: JobKey) {
        if !self.of.contains_key(&key) {
            return;
        }
        self.removed.remove(&key);
        self.orphans.remove(&key);
        self.tell_behind(&never_ran(key, Outcome::Cancelled, Vec::new())).await;
        self.jobs.remove(&key);
        self.strays.insert(key);
        self.stops.insert(key);
        self.stop_boxed(key);
        self.call_off(key);
    }

    /// Takes in what is known of a member that nobody waits for: it is ended where it waits or runs. Returns whether it is new.
    fn stray_news(&mut self, name: &JobName, index: u32, news: &MemberNews) -> bool {
        let member = self.live.get_mut(name).and_then(|live| live.members.get_mut(index as usize - 1));
        let Some(member) = member else { return false };
        let key = member.key;
        match news {
            MemberNews::Missing => {
                member.miss();
                false
            }
            MemberNews::Waiting(_) | MemberNews::Running(_) | MemberNews::Remove(_) => {
                member.missing = 0;
                if self.stops.insert(key) {
                    self.next_tick = Instant::now();
                }
                self.stop_boxed(key);
                false
            }
            MemberNews::Over { .. } | MemberNews::Lost(_) => {
                tracing::info!(host = %self.means.host.name, %key, "what was given up is over");
                member.over = true;
                self.stops.remove(&key);
                self.strays.remove(&key);
                true
            }
        }
    }

    /// Lets go of submissions of which nothing is there any more, and nothing is waited for.
    pub(super) fn let_go(&mut self) {
        let done: Vec<JobName> =
            self.live.values().filter(|live| self.is_done(live)).map(|live| live.sent.name.clone()).collect();
        for name in done {
            self.close(&name);
        }
    }

    fn is_done(&self, live: &Live) -> bool {
        live.members.iter().all(|member| member.over && !self.jobs.contains_key(&member.key))
    }

    /// Tells those that wait for an attempt that it is over: when it did not succeed, they are not sent, or are ended unrun by their
    /// batch system. They are not to blame: whether they run after all is decided anew.
    pub(super) async fn tell_behind(&mut self, ended: &Ended) {
        if ended.outcome == Outcome::Success {
            for job in self.waiting.iter_mut().filter(|job| !job.after.is_empty()) {
                job.after.retain(|key| *key != ended.key);
            }
            return;
        }
        let mut failed = vec![ended.key];
        // What came after other members of the same submission: the batch system knows it as one.
        let batch = self.of.get(&ended.key).and_then(|(name, _)| self.live.get(name)?.sent.batch.clone());
        let beside = self.jobs.values().filter(|job| batch.as_ref().is_some_and(|batch| job.behind.contains(batch)));
        let beside: Vec<JobKey> = beside.map(|job| job.key).collect();
        self.orphans.extend(&beside);
        for orphan in beside {
            self.call_off(orphan);
        }
        while let Some(key) = failed.pop() {
            let sent: Vec<JobKey> =
                self.jobs.values().filter(|job| job.after.contains(&key)).map(|job| job.key).collect();
            for orphan in sent {
                self.orphan(orphan);
            }
            let (doomed, kept) =
                std::mem::take(&mut self.waiting).into_iter().partition(|job| job.after.contains(&key));
            self.waiting = kept;
            let doomed: Vec<SiteJob> = doomed;
            for job in doomed {
                failed.push(job.key);
                let unrun = never_ran(job.key, Outcome::NodeFail, vec![BEHIND.to_owned()]);
                self.say(SiteNews::Ended(Box::new(unrun))).await;
            }
        }
    }

    /// Takes note that what an attempt comes after did not succeed: it is ended unrun. What is still on its way stays here.
    pub(super) fn orphan(&mut self, key: JobKey) {
        self.orphans.insert(key);
        self.call_off(key);
        if self.means.dialect.as_ref().is_some_and(|dialect| dialect.flavour == Flavour::Pbs) {
            // Of what was cancelled before it ran, it keeps what comes after for ever.
            self.removed.insert(key, Outcome::NodeFail);
            self.stops.insert(key);
        }
    }

    pub(super) fn fetch(&mut self, name: &JobName, members: Vec<(u32, MemberNews)>) {
        let (Some(ground), Some(live)) = (self.ground.clone(), self.live.get(name)) else { return };
        let (mut wanted, mut spoilt) = (Vec::new(), Vec::new());
        // What it read comes first, so that what it made is known by what it read.
        let is_behind = |index: u32| {
            let job = live.members.get(index as usize - 1).and_then(|member| self.jobs.get(&member.key));
            job.is_some_and(|job| job.after.iter().any(|key| self.jobs.contains_key(key)))
        };
        let (behind, members): (Vec<_>, Vec<_>) = members.into_iter().partition(|(index, _)| is_behind(*index));
        for (index, news) in members {
            let MemberNews::Over { outcome, used, mut notes } = news else { continue };
            let Used { usage, started, ended, allocation } = used;
            notes.extend(live.notes.iter().cloned());
            let Some(key) = live.members.get(index as usize - 1).map(|member| member.key) else { continue };
            let Some(job) = self.jobs.get(&key).cloned() else { continue };
            // Ended unrun, since something did not succeed that it came after, or another member of that.
            let is_orphan = match &outcome {
                Outcome::Success => false,
                Outcome::Rejected { .. } if job.ahead && !self.removed.contains_key(&key) => started.is_none(),
                _ => started.is_none() && self.orphans.contains(&key),
            };
            if is_orphan {
                spoilt.extend(job.after.iter().copied());
            }
            let outcome = match self.removed.get(&key) {
                _ if is_orphan && !self.stops_of_a_person(key) => {
                    notes.push(BEHIND.to_owned());
                    Outcome::NodeFail
                }
                Some(removed) if outcome != Outcome::Success => removed.clone(),
                _ if self.stops.contains(&key) && outcome != Outcome::Success => Outcome::Cancelled,
                _ => outcome,
            };
            let ended = Ended { started, ended, usage, allocation, ..never_ran(key, outcome, notes) };
            wanted.push((index, job, ended));
        }
        let name = name.clone();
        let is_whole = is_over(live);
        let sent = live.sent.clone();
        for before in spoilt {
            self.spoil(before);
        }
        if !behind.is_empty() {
            self.later.push((name.clone(), behind));
        }
        if wanted.is_empty() {
            return;
        }
        let wanted = Wanted { sent, members: wanted, last: is_whole };
        self.spawn(|means| async move {
            let fetched = fetch(&means, &ground, wanted).await;
            Done::Fetched(name, fetched)
        });
    }

    /// Returns whether somebody asked for its end, not we because it cannot run.
    fn stops_of_a_person(&self, key: JobKey) -> bool {
        self.stops.contains(&key) && !self.removed.contains_key(&key)
    }

    pub(super) async fn fetched(&mut self, name: &JobName, members: Vec<(u32, Fetched)>) {
        let (ended, again, away) = sorted(members);
        for ended in ended {
            self.end(ended).await;
        }
        for index in &again {
            // Seen again by the next look.
            if let Some(member) = self.live.get_mut(name).and_then(|live| live.members.get_mut(*index as usize - 1)) {
                member.over = false;
            }
        }
        self.fetch_later();
        if let Some(error) = away {
            self.leave(&error).await;
        }
        self.follow_again(name, &again);
        if self.live.get(name).is_some_and(|live| self.is_done(live)) {
            self.close(name);
        }
    }
}

/// Returns whether news hold that a wrapper's record tells alone, the batch system not being asked: why something failed, and whether
/// it waits again, is the batch system's to say too.
fn is_enough(member: &Member, news: &MemberNews, stopping: bool) -> bool {
    match news {
        MemberNews::Running(at) => member.missing == 0 && member.started != Some(*at),
        MemberNews::Over { outcome, .. } => stopping || *outcome == Outcome::Success,
        MemberNews::Waiting(_) | MemberNews::Missing | MemberNews::Remove(_) | MemberNews::Lost(_) => false,
    }
}

/// Returns what is over, what is to be fetched again, and how the host was lost. The first error is the one that says that, whether
/// somebody must log in too; the others repeat its words.
fn sorted(members: Vec<(u32, Fetched)>) -> (Vec<Ended>, Vec<u32>, Option<TransportError>) {
    let (mut over, mut again, mut away) = (Vec::new(), Vec::new(), None);
    for (index, fetched) in members {
        match fetched {
            Fetched::Ended(ended) => over.push(*ended),
            Fetched::Later(error) => {
                again.push(index);
                away.get_or_insert(error);
            }
        }
    }
    (over, again, away)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{InstanceId, RunId};
    use crate::model::units::Timestamp;
    use crate::serve::site::tick::Queueing;

    #[test]
    fn a_login_that_is_needed_is_told_however_many_members_wait_for_it() {
        let host = || "far".to_owned();
        let members = vec![
            (2, Fetched::Later(TransportError::NeedsLogin { host: host(), detail: "a code".to_owned() })),
            (5, Fetched::Later(TransportError::Configuration { host: host(), detail: "its words".to_owned() })),
        ];
        let (over, again, away) = sorted(members);
        assert_eq!((over.len(), again), (0, vec![2, 5]));
        assert!(matches!(away, Some(TransportError::NeedsLogin { .. })), "{away:?}");
    }

    #[test]
    fn without_the_batch_system_only_what_a_record_tells_for_sure_is_taken() {
        let key = JobKey { run: RunId(1), instance: InstanceId(0), attempt: 1 };
        let plain = Member {
            key,
            stage: Stage::Waiting,
            started: None,
            over: false,
            missing: 0,
            missed: None,
            reason: None,
            until: None,
            grant: None,
            stopping: false,
        };
        let at = Timestamp(7);
        let over = |outcome| MemberNews::Over { outcome, used: Used::nothing(at), notes: Vec::new() };
        let failed = || over(Outcome::Exit { code: 137, signal: None });
        let enough = |member: &Member, news: &MemberNews| is_enough(member, news, false);
        assert!(enough(&plain, &MemberNews::Running(at)) && enough(&plain, &over(Outcome::Success)));
        assert!(!enough(&plain, &failed()), "it may have been for its memory");
        assert!(is_enough(&plain, &failed(), true));
        let again = Member { started: Some(at), ..plain.clone() };
        assert!(!enough(&again, &MemberNews::Running(at)), "it waits again, as the batch system said");
        let missing = Member { missing: 2, ..plain.clone() };
        assert!(!enough(&missing, &MemberNews::Running(at)), "or it would never be given up");
        assert!(!enough(&plain, &MemberNews::Missing) && !enough(&plain, &MemberNews::Lost(String::new())));
        assert!(!enough(&plain, &MemberNews::Waiting(Queueing::default())));
    }
}
