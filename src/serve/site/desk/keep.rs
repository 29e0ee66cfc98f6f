//! What is kept over restarts and changes: what the engine before had there, the configuration, who watches.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::decide::engine::protocol::Adopted;
use crate::model::batch::JobName;
use crate::model::id::{InstanceId, JobKey, RunId, TaskId};
use crate::reach::clock;
use crate::reach::config::KeptHost;
use crate::reach::store::Sent;
use crate::reach::transport::LinkState;
use crate::serve::site::boxes::is_marked;
use crate::serve::site::desk::{Desk, PULSE, Way, is_over};
use crate::serve::site::send::Ground;
use crate::serve::site::{Means, SiteJob, SiteNews};

impl Desk {
    /// Returns those whose output is watched, of what has started; forgets those whom nobody watches any more.
    pub(super) fn watched(&mut self) -> Vec<(JobName, u32, JobKey)> {
        self.watched.retain(|key, watched| {
            watched.by.retain(|by| by.strong_count() > 0);
            self.jobs.contains_key(key) && !(watched.by.is_empty() && watched.told.is_empty())
        });
        let started = |key: &JobKey| {
            let (name, index) = self.of.get(key)?;
            let live = self.live.get(name)?;
            let member = live.members.get(*index as usize - 1)?;
            let runs = live.state == Way::There && member.started.is_some() && !member.over;
            runs.then(|| (name.clone(), *index, *key))
        };
        self.watched.keys().filter_map(started).collect()
    }

    /// Notices that the configuration's file was written.
    pub(super) fn look_at_file(&mut self) {
        let now = stamp(&self.means);
        if now != self.edited {
            self.edited = now;
            self.means.reporter.say_soon(SiteNews::Edited);
        }
    }

    /// A connection that is gone is noticed at once, by its keep-alives: the next look says whether the host is.
    pub(super) fn feel_pulse(&mut self, now: Instant) {
        if now < self.next_pulse {
            return;
        }
        self.next_pulse = now + PULSE;
        let state = self.means.connections.states().remove(&self.means.host.name);
        let connected = matches!(state, Some(LinkState::Open { .. }));
        if std::mem::replace(&mut self.connected, connected) && !connected {
            self.next_tick = now;
        }
    }

    /// Goes on with another configuration. What is there stays where it is: another scratch holds from when nothing is left.
    pub(super) async fn configure(&mut self, means: Means) {
        tracing::info!(host = %means.host.name, "configured anew");
        if means.host.scratch != self.means.host.scratch && !self.has_work() {
            (self.ground, self.entered) = (None, false);
        }
        self.quota.set_most(means.room.jobs.unwrap_or(u32::MAX));
        self.edited = stamp(&means);
        self.means = Arc::new(means);
        self.keep();
        self.next_tick = self.next_tick.min(self.next_look(false));
        self.say_room().await;
    }

    /// Keeps what is known of the host for the next engine.
    pub(super) fn keep(&self) {
        let scratch = self.ground.as_ref().map(|ground| ground.scratch.clone());
        let kept = KeptHost { host: self.means.host.clone(), scratch };
        if let Err(error) = kept.keep(&self.means.state) {
            tracing::warn!(host = %self.means.host.name, %error, "what is known of it cannot be kept");
        }
    }

    /// Takes note that the batch system is asked, or has answered, for the next engine too.
    pub(super) fn note_asked(&mut self) {
        self.pace.asked(Instant::now());
        if let Err(error) = KeptHost::keep_asked(&self.means.state, &self.means.host.name, clock::now()) {
            tracing::debug!(host = %self.means.host.name, %error, "when it was asked cannot be kept");
        }
    }

    pub(super) async fn adopt(&mut self, sent: Vec<Sent>, jobs: Vec<SiteJob>, vain: Vec<JobKey>) {
        if self.ground.is_none() && !sent.is_empty() {
            // What lies there is asked for at once; the look itself tells whether the place is still there.
            let kept = KeptHost::load(&self.means.state, &self.means.host.name);
            let kept = kept.filter(|kept| kept.host.scratch == self.means.host.scratch);
            self.ground = kept.and_then(|kept| kept.scratch).map(|scratch| Arc::new(Ground { scratch }));
        }
        let known: HashMap<JobKey, SiteJob> = jobs.into_iter().map(|job| (job.key, job)).collect();
        let mut sent = sent;
        // What was sent again under another name counts under that.
        sent.sort_by_key(|sent| sent.at);
        for sent in sent {
            // Its intent was written down before its inputs were brought.
            let state = if sent.batch.is_some() { Way::There } else { Way::Doubtful };
            self.take_in(sent, state);
        }
        // What was sent ahead comes after what else is there.
        let here: HashMap<(RunId, InstanceId), JobKey> =
            known.keys().map(|key| ((key.run, key.instance), *key)).collect();
        let tasks: HashSet<(RunId, TaskId)> =
            known.values().map(|job| (job.key.run, job.plan.instance(job.key.instance).task)).collect();
        for (key, mut job) in known {
            let producers = job.plan.inputs(key.instance).iter().filter_map(|&path| job.plan.producer(path));
            let needs = job.plan.task_of(key.instance).needs.iter().filter(|&&need| tasks.contains(&(key.run, need)));
            let needed = needs.flat_map(|&need| job.plan.instances_of(need));
            let before = producers.chain(needed).filter_map(|other| here.get(&(key.run, other)).copied());
            job.after = before.collect();
            if self.of.contains_key(&key) {
                self.say(SiteNews::Adopted(key, Adopted::Live)).await;
                self.jobs.insert(key, job);
            } else {
                // No submission holds it: the engine ended before anything was decided on.
                self.say(SiteNews::Adopted(key, Adopted::NeverStarted)).await;
            }
        }
        // What they come after is known to have failed, and the engine before had no time to say so: they are ended unrun, by us where
        // their batch system keeps them for ever.
        for key in vain {
            if self.of.contains_key(&key) {
                self.orphan(key);
            }
        }
        // Members that the store knows to have ended, or that another submission holds. One that ended may have been given up
        // while nothing was heard of it: then it is still there, perhaps. Of containers all is removed that nobody waits for.
        for (name, live) in &mut self.live {
            let is_boxed = is_marked(&live.sent);
            for member in &mut live.members {
                let holds = self.of.get(&member.key).is_some_and(|(of, _)| of == name);
                let is_waited_for = self.jobs.contains_key(&member.key);
                member.over |= !holds || is_boxed && !is_waited_for;
                if !member.over && !is_waited_for {
                    self.strays.insert(member.key);
                }
                // Whether that succeeded is not known here any more.
                live.spoilt |= member.over;
            }
        }
        let done: Vec<JobName> =
            self.live.values().filter(|live| is_over(live)).map(|live| live.sent.name.clone()).collect();
        for name in done {
            self.close(&name);
        }
        self.adopt_boxed();
        self.next_tick = Instant::now();
        self.adopting = Some(self.next_tick);
    }
}

/// Returns when the configuration's file was written, and how large it is.
pub(super) fn stamp(means: &Means) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(means.file.as_ref()?).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
