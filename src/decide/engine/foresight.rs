//! What an attempt needs on a host by what was learned, and by how long its queues make it wait.

use std::sync::Arc;

use crate::decide::engine::machine::Shared;
use crate::decide::engine::run::Run;
use crate::decide::learn::steps::Steps;
use crate::decide::outlook::foresee::Foresight;
use crate::decide::outlook::limits::{Conditions, Fit};
use crate::decide::outlook::parts::QueueId;
use crate::model::id::{HostId, InstanceId};
use crate::model::resources::Request;
use crate::model::units::Timestamp;

impl Run {
    /// Foresees what an instance needs on a host; nothing where nothing is known of its task.
    pub(super) fn foresee(&self, instance: InstanceId, host: HostId, shared: &mut Shared, now: Timestamp) -> Foresight {
        let task = self.plan.instance(instance).task;
        if !shared.outlooks.get(&self.id).is_some_and(|outlook| outlook.knows(task)) {
            return Foresight::default();
        }
        let conditions = Conditions {
            waits: self.waits_by_limit(instance, host, shared, now),
            grain: shared.hosts.grain(host, self.plan.task_of(instance)),
            flavour: shared.hosts.flavour(host),
        };
        let outlook = shared.outlooks.get_mut(&self.id);
        outlook.map(|outlook| outlook.foresee(&self.plan, instance, host, &conditions)).unwrap_or_default()
    }

    /// Returns how long an instance waits on a host by the time limit that it asks for.
    fn waits_by_limit(&self, instance: InstanceId, host: HostId, shared: &mut Shared, now: Timestamp) -> Arc<Steps> {
        let settings = self.plan.task_of(instance);
        let Shared { hosts, board, .. } = shared;
        // Most hosts are machines, and of most clusters nothing is known at first.
        if hosts.flavour(host).is_none() || !board.has_waits(host) {
            return Arc::default();
        }
        let fits = hosts.by_time(host, settings);
        let fits: Vec<Fit<QueueId>> = fits.into_iter().map(|(name, most)| (board.queue(host, name), most)).collect();
        let request = settings.resources.first();
        let (cpus, gpus) = (request.map_or(1, Request::cores), request.map_or(0, |request| request.gpus));
        if fits.is_empty() { Arc::default() } else { board.steps(host, fits, (cpus, gpus), now) }
    }
}
