//! What could run now, in the order in which it is handed over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::id::{InstanceId, RunId};

/// The place of an instance in the order: priority (high first), run (older first), chain that hangs on it (long first),
/// place in the plan. Packed, so that comparing is one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u128);

impl Rank {
    /// Makes a rank; a lower one goes first.
    pub(super) fn new(priority: i32, run: RunId, height: u32, instance: InstanceId) -> Self {
        // Flipping the sign bit orders signed numbers as unsigned ones; inverting puts the high ones first.
        let priority = !((priority as u32) ^ (1 << 31));
        let word = |value: u32, shift: u32| u128::from(value) << shift;
        Self(word(priority, 96) | word(run.0, 64) | word(!height, 32) | word(instance.0, 0))
    }

    /// Returns the instance.
    pub(super) const fn instance(self) -> (RunId, InstanceId) {
        (RunId((self.0 >> 64) as u32), InstanceId(self.0 as u32))
    }
}

/// Instances by rank. One that stopped being ready stays until its turn: whoever pops it looks at its phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(BinaryHeap<Reverse<Rank>>);

impl Queue {
    /// Adds an instance.
    pub(super) fn push(&mut self, rank: Rank) {
        self.0.push(Reverse(rank));
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<Rank> {
        let rank = self.0.pop().map(|Reverse(rank)| rank);
        if self.0.is_empty() && self.0.capacity() > 1024 {
            self.0 = BinaryHeap::new();
        }
        rank
    }

    /// Takes everything, in no order.
    pub(super) fn drain(&mut self) -> Vec<Rank> {
        std::mem::take(&mut self.0).into_iter().map(|Reverse(rank)| rank).collect()
    }

    /// Returns whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over what is in it, in no order.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = Rank> {
        self.0.iter().map(|Reverse(rank)| *rank)
    }
}
