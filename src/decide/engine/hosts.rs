//! The hosts as far as the runs see them: what each has room for, what is ready for it, whether it can be used.

use std::sync::Arc;

use crate::decide::engine::grant;
use crate::decide::engine::limits::Limits;
use crate::decide::engine::protocol::Capacity;
use crate::decide::engine::queue::{Queue, Rank};
use crate::decide::engine::rooms::{Rooms, leaves_partition, named};
use crate::decide::learn::grain::{Grain, MEBIBYTE};
use crate::model::batch::Flavour;
use crate::model::id::HostId;
use crate::model::resources::{Amount, Grant, Hold, Request};
use crate::model::task::Settings;

/// Jobs handed over beyond what is known to run, at least: enough that a slot never idles while a batch of endings is taken in,
/// few enough that what becomes urgent later does not wait long.
const MIN_AHEAD: usize = 64;
/// The same, per core.
const AHEAD_PER_CORE: usize = 4;

/// A host.
#[derive(Clone, Debug, Default)]
struct Host {
    room: Option<Capacity>,
    limits: Arc<Limits>,
    shut: bool,
    ready: Queue,
    /// Attempts handed over that count: see [`Capacity::jobs`].
    given: usize,
    /// Whether they have been as many as may be since room for a batch was free.
    full: bool,
}

impl Host {
    fn rooms<'a>(&'a self, task: &Settings) -> Option<Rooms<'a>> {
        Some(self.limits.rooms(self.room?, task))
    }

    /// Returns how many attempts may count as handed over.
    fn most(&self) -> usize {
        let Some(room) = self.room else { return 0 };
        match room.jobs {
            Some(jobs) => jobs as usize,
            None => MIN_AHEAD.max(AHEAD_PER_CORE.saturating_mul(room.cpus as usize)),
        }
    }

    /// Returns how many attempts may count as handed over for a batch of others to be worth it: half of what may be ahead is free
    /// then, or an eighth of the jobs of a cluster.
    fn enough(&self) -> usize {
        let most = self.most();
        match self.room {
            Some(Capacity { jobs: Some(_), .. }) => most - most / 8,
            _ => most / 2,
        }
    }

    /// Returns whether so much room has become free that a batch is worth it.
    fn takes_more(&self) -> bool {
        !self.shut && self.most() > 0 && self.given <= self.enough()
    }
}

/// The hosts, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    all: Vec<Host>,
    /// What is ready and may go to several of them.
    pool: Queue,
    /// Counts changes of rooms.
    version: u32,
}

impl Hosts {
    fn of(&mut self, host: HostId) -> &mut Host {
        let index = host.index();
        if self.all.len() <= index {
            self.all.resize_with(index + 1, Host::default);
        }
        #[expect(clippy::indexing_slicing, reason = "made long enough just now")]
        &mut self.all[index]
    }

    /// Queues a ready instance that may go to several hosts.
    pub(super) fn pool(&mut self, rank: Rank) {
        self.pool.push(rank);
    }

    /// Returns whether anything waits for a choice of a host.
    pub(super) fn has_pooled(&self) -> bool {
        !self.pool.is_empty()
    }

    /// Takes the next instance that waits for a choice.
    pub(super) fn next_pooled(&mut self) -> Option<Rank> {
        self.pool.pop()
    }

    /// Returns a number that changes with the rooms.
    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    /// Returns whether a host is not to be used.
    pub(super) fn is_shut(&self, host: HostId) -> bool {
        self.all.get(host.index()).is_none_or(|host| host.shut)
    }

    /// Returns whether another attempt may be handed over to a host that is one of several: to a batch system that had as many as may
    /// be, only when a batch of them is worth it.
    pub(super) fn takes_one(&self, host: HostId) -> bool {
        let waits = |host: &Host| host.full && host.limits.flavour.is_some() && host.given > host.enough();
        self.all.get(host.index()).is_some_and(|host| !host.shut && host.given < host.most() && !waits(host))
    }

    /// Returns the room of a host, once it is known.
    pub(super) fn room(&self, host: HostId) -> Option<Capacity> {
        self.all.get(host.index())?.room
    }

    /// Returns where on a host an instance of a task may run, once its room is known.
    pub(super) fn rooms<'a>(&'a self, host: HostId, task: &Settings) -> Option<Rooms<'a>> {
        self.all.get(host.index())?.rooms(task)
    }

    /// Returns the partitions of a host that a task fits whatever time it asks for, each with its longest walltime.
    pub(super) fn by_time(&self, host: HostId, task: &Settings) -> Vec<(Option<&str>, f64)> {
        let of = self.all.get(host.index()).and_then(|host| Some(host.limits.by_time(host.room?, task)));
        of.unwrap_or_default()
    }

    /// Returns in which amounts a host grants memory to a task.
    pub(super) fn grain(&self, host: HostId, task: &Settings) -> Grain {
        let of = self.all.get(host.index()).and_then(|host| Some(host.limits.grain(host.room?, task)));
        of.unwrap_or(Grain::multiples(MEBIBYTE))
    }

    pub(super) fn set_limits(&mut self, host: HostId, limits: Arc<Limits>) {
        self.of(host).limits = limits;
        self.version = self.version.wrapping_add(1);
    }

    pub(super) fn set_room(&mut self, host: HostId, room: Capacity) {
        self.of(host).room = Some(room);
        self.version = self.version.wrapping_add(1);
    }

    /// Uses a host no more; returns what was ready for it.
    pub(super) fn shut(&mut self, host: HostId) -> Vec<Rank> {
        let host = self.of(host);
        host.shut = true;
        host.ready.drain()
    }

    /// Uses a host again; returns what is ready anywhere: some of it may prefer this one.
    pub(super) fn open(&mut self, host: HostId) -> Vec<Rank> {
        if !std::mem::replace(&mut self.of(host).shut, false) {
            return Vec::new();
        }
        self.all.iter_mut().flat_map(|host| host.ready.drain()).collect()
    }

    /// Returns the first host of a route that can be used and has what one of the alternatives asks for; where all of those are
    /// shut, the first of them, to wait for. A host whose room is not known yet may have it.
    ///
    /// # Errors
    /// Why the first host cannot meet the request, when none can.
    pub(super) fn choose(&self, route: &[HostId], task: &Settings) -> Result<HostId, String> {
        let mut waits = None;
        let mut refusal = None;
        for &id in route {
            let known = self.all.get(id.index()).and_then(|host| Some((host.rooms(task)?, host.shut)));
            let Some((rooms, shut)) = known else {
                waits = waits.or(Some(id));
                continue;
            };
            match grant::first(&task.resources, &rooms) {
                Ok(_) if !shut => return Ok(id),
                Ok(_) => waits = waits.or(Some(id)),
                Err(message) => refusal = refusal.or(Some(message)),
            }
        }
        waits.ok_or_else(|| refusal.unwrap_or_else(|| "may run nowhere".to_owned()))
    }

    /// Returns the partition that an attempt with this grant goes to; none where there is no batch system, or nobody knows.
    pub(super) fn partition(&self, host: HostId, task: &Settings, grant: &Grant) -> Option<Box<str>> {
        let host = self.all.get(host.index())?;
        let flavour = host.limits.flavour?;
        if let Some(named) = named(task) {
            return Some(named.into());
        }
        // Grid Engine chooses by itself.
        if flavour == Flavour::Sge {
            return None;
        }
        let wish = task.resources.first();
        let processes = wish.and_then(|wish| wish.processes).unwrap_or(1).max(1);
        let exact = Request {
            cpus: Amount::Exact((grant.cpus / processes).max(1)),
            processes: Some(processes),
            mem: if grant.hold == Hold::Nothing { Amount::Auto } else { Amount::Exact(grant.mem) },
            time: grant.time.map_or(Amount::Auto, Amount::Exact),
            gpus: grant.gpus,
            nodes: wish.and_then(|wish| wish.nodes),
            ..Request::default()
        };
        let rooms = host.rooms(task)?;
        let (_, room, _) = grant::place(std::slice::from_ref(&exact), &rooms).ok()?;
        room.partition.map(Box::from)
    }

    /// Returns whether there are several partitions on a host among which a job of a task may be sent to any that it fits.
    pub(super) fn has_queues(&self, host: HostId, task: &Settings) -> bool {
        self.has_several(host) && leaves_partition(task)
    }

    /// Returns whether there are several partitions on a host among which its batch system does not choose by itself.
    pub(super) fn has_several(&self, host: HostId) -> bool {
        self.all.get(host.index()).is_some_and(|host| host.limits.has_several())
    }

    /// Returns the batch system of a host; none where there is none, or nobody knows.
    pub(super) fn flavour(&self, host: HostId) -> Option<Flavour> {
        self.all.get(host.index())?.limits.flavour
    }

    /// Queues a ready instance.
    pub(super) fn queue(&mut self, host: HostId, rank: Rank) {
        self.of(host).ready.push(rank);
    }

    /// Returns the hosts that a batch of jobs may be handed over to.
    pub(super) fn with_room(&self) -> Vec<HostId> {
        let hosts = self.all.iter().zip(0..).filter(|(host, _)| !host.ready.is_empty() && host.takes_more());
        hosts.map(|(_, id)| HostId(id)).collect()
    }

    /// Takes the next ready instance of a host, while there is room.
    pub(super) fn next(&mut self, host: HostId) -> Option<Rank> {
        let host = self.all.get_mut(host.index())?;
        if host.given < host.most() { host.ready.pop() } else { None }
    }

    /// Returns whether a host takes another attempt ahead of its turn, and keeps the order by itself.
    pub(super) fn takes_ahead(&self, host: HostId) -> bool {
        let host = self.all.get(host.index());
        host.is_some_and(|host| !host.shut && host.limits.keeps_order && host.given < host.most())
    }

    /// Returns whether a host keeps the order by itself.
    pub(super) fn keeps_order(&self, host: HostId) -> bool {
        self.all.get(host.index()).is_some_and(|host| host.limits.keeps_order)
    }

    /// Returns whether so much room has become free on a host that keeps the order that what was held back may go ahead.
    pub(super) fn has_room_ahead(&self) -> bool {
        self.all.iter().any(|host| host.limits.keeps_order && host.takes_more() && host.given < host.most())
    }

    /// Counts an attempt as handed over.
    pub(super) fn given(&mut self, host: HostId) {
        let host = self.of(host);
        host.given += 1;
        host.full |= host.given >= host.most();
    }

    /// Counts one no more.
    pub(super) fn taken(&mut self, host: HostId) {
        let host = self.of(host);
        host.given -= 1;
        host.full &= host.given > host.enough();
    }

    /// Returns whether a host's executor lets jobs in by itself, so that one that started no longer counts as handed over.
    pub(super) fn lets_in_by_itself(&self, host: HostId) -> bool {
        self.room(host).is_none_or(|room| room.jobs.is_none())
    }

    #[cfg(test)]
    pub(super) fn all_given(&self) -> usize {
        self.all.iter().map(|host| host.given).sum()
    }

    #[cfg(test)]
    pub(super) fn all_ready(&self) -> impl Iterator<Item = Rank> {
        self.all.iter().flat_map(|host| host.ready.iter()).chain(self.pool.iter())
    }
}
