//! Members that the host's daemon runs: each is followed by a task of its own.

use std::sync::Arc;

use crate::decide::engine::protocol::Stage;
use crate::model::batch::JobName;
use crate::model::id::JobKey;
use crate::reach::docker::Spec;
use crate::serve::site::boxes::{Boxed, is_marked, name_of};
use crate::serve::site::desk::{Desk, Done, Live};
use crate::serve::site::tick::MemberNews;

impl Desk {
    /// Runs members, or goes on with them.
    pub(super) fn follow(&mut self, name: &JobName, members: Vec<Boxed>) {
        let Some(live) = self.live.get(name) else { return };
        for boxed in members {
            let Some(at) = live.sent.members.iter().position(|key| *key == boxed.key) else { continue };
            let index = u32::try_from(at + 1).unwrap_or(u32::MAX);
            self.boxes.know(boxed.spec.name.clone());
            if self.stops.contains(&boxed.key) {
                boxed.stop.notify_one();
            }
            self.boxed.insert(boxed.key, Arc::clone(&boxed.stop));
            let (boxes, means, to) = (Arc::clone(&self.boxes), Arc::clone(&self.means), self.done.0.clone());
            let name = name.clone();
            tokio::spawn(async move {
                // Each fails when the desk is gone.
                let tell = |news| drop(to.send(Done::Boxed(name.clone(), index, news)));
                let over = boxes.follow(&means, boxed, tell).await;
                to.send(Done::Boxed(name.clone(), index, over)).ok();
            });
        }
    }

    /// Goes on with all that the engine before had there.
    pub(super) fn adopt_boxed(&mut self) {
        let marked = self.live.values().filter(|live| is_marked(&live.sent));
        let found: Vec<(JobName, Vec<u32>)> = marked
            .map(|live| {
                let members = (1..).zip(&live.members).filter(|(_, member)| !member.over);
                (live.sent.name.clone(), members.map(|(index, _)| index).collect())
            })
            .collect();
        for (name, members) in found {
            self.follow_again(&name, &members);
        }
    }

    /// Asks for members by their names, and goes on with them.
    pub(super) fn follow_again(&mut self, name: &JobName, members: &[u32]) {
        let Some(live) = self.live.get(name).filter(|live| is_marked(&live.sent)) else { return };
        let boxed = members.iter().filter_map(|&index| {
            let key = *live.sent.members.get(index as usize - 1)?;
            let job = self.jobs.get(&key)?;
            let grant = job.grant;
            let spec =
                Spec { name: name_of(name, index), memory: grant.is_limited().then_some(grant.mem), ..Spec::default() };
            Some(Boxed {
                key,
                spec,
                archive: None,
                grant,
                may_be_there: true,
                broken: false,
                checkpoint: job.plan.task_of(key.instance).checkpoint.clone(),
                notes: Vec::new(),
                stop: Arc::default(),
            })
        });
        let boxed = boxed.collect();
        self.follow(name, boxed);
    }

    /// Takes in what is heard of a container.
    pub(super) async fn hear_boxed(&mut self, name: JobName, index: u32, news: MemberNews) {
        self.member_news(&name, index, &news).await;
        if let MemberNews::Over { .. } = news {
            let key = self.live.get(&name).and_then(|live| live.sent.members.get(index as usize - 1));
            key.map(|key| self.boxed.remove(key));
            if self.ground.is_some() {
                self.fetch(&name, vec![(index, news)]);
            } else {
                self.later.push((name, vec![(index, news)]));
            }
            self.let_go();
        }
    }

    /// Fetches what could not be fetched before.
    pub(super) fn fetch_later(&mut self) {
        for (name, members) in std::mem::take(&mut self.later) {
            self.fetch(&name, members);
        }
    }

    /// Tells who follows a container to end it.
    pub(super) fn stop_boxed(&self, key: JobKey) {
        if let Some(stop) = self.boxed.get(&key) {
            stop.notify_one();
        }
    }

    /// The host answers again: who follows containers knows of them.
    pub(super) async fn find_boxed(&mut self) {
        let members = self.live.values().filter(|live| is_marked(&live.sent)).flat_map(|live| &live.members);
        let lost = members.filter(|member| !member.over && member.stage == Stage::Lost);
        let lost: Vec<_> = lost.map(|member| (member.key, member.started.is_some())).collect();
        for (key, runs) in lost {
            self.stage(key, if runs { Stage::Running } else { Stage::Waiting }).await;
        }
    }

    /// Has the container of a member removed, whose end was told: while others run, and not all of them when a run is over.
    pub(super) fn forget_box(&self, key: JobKey) {
        let Some((name, index)) = self.of.get(&key) else { return };
        if self.live.get(name).is_some_and(|live| is_marked(&live.sent)) {
            let (boxes, means) = (Arc::clone(&self.boxes), Arc::clone(&self.means));
            let names = vec![name_of(name, *index)];
            tokio::spawn(async move { boxes.discard(&means, names).await });
        }
    }

    /// Has those containers of a submission that are left cleared away with it.
    pub(super) fn forget_boxed(&mut self, live: &Live) {
        if is_marked(&live.sent) {
            let names = (1..).zip(&live.members).map(|(index, _)| name_of(&live.sent.name, index)).collect();
            self.containers.insert(live.sent.name.clone(), names);
        }
    }
}
