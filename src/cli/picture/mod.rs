//! The picture of a workflow: tasks or instances as nodes, what they wait for as arrows; for a terminal and for Graphviz.

mod draw;
mod layout;

pub(super) mod dot;
pub(super) mod summary;

use std::fmt::Write as _;

use crate::cli::view::words::number;
use crate::model::api::Counts;

pub(super) use draw::{Style, terminal};

/// What is drawn: nodes in the order of the file, and arrows between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dag {
    /// The workflow's name.
    pub(super) name: String,
    /// The nodes.
    pub(super) nodes: Vec<Node>,
    /// From what comes first to what waits for it, by position; each once.
    pub(super) edges: Vec<(u32, u32)>,
}

/// A box of the picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// Name of the task or label of the instance.
    pub(super) name: String,
    /// Instances that it stands for.
    pub(super) instances: u32,
    /// Tasks that it stands for; more than one after a summary.
    pub(super) tasks: u32,
    /// Its instances by state; none for a workflow that is not running.
    pub(super) counts: Option<Counts>,
}

/// How a node stands, as one word: what decides its color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// A workflow that is not running.
    Plain,
    /// Nothing started yet.
    Waiting,
    /// Something runs, or some are done and some wait.
    Running,
    /// All is well and over.
    Done,
    /// Something failed or was lost.
    Failed,
    /// Over without having run.
    Left,
}

impl Node {
    /// Returns how the node stands.
    pub(super) fn mood(&self) -> Mood {
        let Some(counts) = self.counts else { return Mood::Plain };
        let total = counts.total();
        if counts.failed + counts.lost > 0 {
            Mood::Failed
        } else if counts.done + counts.cached == total {
            Mood::Done
        } else if counts.over() == total {
            Mood::Left
        } else if counts.running + counts.queued + counts.done > 0 {
            Mood::Running
        } else {
            Mood::Waiting
        }
    }

    /// Returns how many instances are done, of how many, and what went otherwise, in words; none for a workflow that is not
    /// running.
    pub(super) fn progress(&self) -> Option<String> {
        let counts = self.counts?;
        let mut words = format!("{}/{}", number(counts.done + counts.cached), number(counts.total()));
        for (count, word) in [(counts.failed, "failed"), (counts.lost, "lost"), (counts.skipped, "skipped")] {
            if count > 0 {
                let _ = write!(words, ", {} {word}", number(count));
            }
        }
        Some(words)
    }
}

impl Dag {
    /// Returns the picture without the arrows that lead up or aside, which a circle of tasks has.
    fn downward(&self) -> Self {
        let layers = self.layers();
        let down = |&(from, to): &(u32, u32)| layers.get(from as usize) < layers.get(to as usize);
        let edges = self.edges.iter().copied().filter(down).collect();
        Self { name: self.name.clone(), nodes: self.nodes.clone(), edges }
    }

    /// Returns, per node, the nodes that wait for it.
    fn after(&self) -> Vec<Vec<usize>> {
        self.neighbors(|&(from, to)| (from, to))
    }

    /// Returns, per node, the nodes that it waits for.
    fn before(&self) -> Vec<Vec<usize>> {
        self.neighbors(|&(from, to)| (to, from))
    }

    fn neighbors(&self, ends: impl Fn(&(u32, u32)) -> (u32, u32)) -> Vec<Vec<usize>> {
        let mut lists = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            let (of, neighbor) = ends(edge);
            if let Some(list) = lists.get_mut(of as usize) {
                list.push(neighbor as usize);
            }
        }
        lists
    }

    /// Returns the layer of every node: one more than the deepest that it waits for. What waits for nothing stands next to
    /// the first that waits for it. Tasks may wait for each other in a circle, instance by instance: of these, the first in
    /// the file stands first.
    fn layers(&self) -> Vec<usize> {
        let (before, after) = (self.before(), self.after());
        let mut waits: Vec<usize> = before.iter().map(Vec::len).collect();
        let mut layers = vec![0usize; self.nodes.len()];
        let mut ready: Vec<usize> = (0..self.nodes.len()).filter(|&node| waits.get(node) == Some(&0)).collect();
        let mut placed = vec![false; self.nodes.len()];
        let mut rest = 0..self.nodes.len();
        let unplaced = |placed: &[bool], node: usize| placed.get(node) == Some(&false);
        while let Some(node) = ready.pop().or_else(|| rest.find(|&node| unplaced(&placed, node))) {
            if let Some(placed) = placed.get_mut(node) {
                *placed = true;
            }
            let next = layers.get(node).map_or(0, |layer| layer + 1);
            for &waiter in after.get(node).map_or(&[][..], Vec::as_slice) {
                let open = unplaced(&placed, waiter);
                if let (true, Some(wait), Some(layer)) = (open, waits.get_mut(waiter), layers.get_mut(waiter)) {
                    *layer = (*layer).max(next);
                    *wait -= 1;
                    if *wait == 0 {
                        ready.push(waiter);
                    }
                }
            }
        }
        for (node, waiters) in after.iter().enumerate() {
            let first = waiters.iter().filter_map(|&waiter| layers.get(waiter)).min().copied();
            let free = before.get(node).is_some_and(Vec::is_empty);
            if let (true, Some(first), Some(layer)) = (free, first, layers.get_mut(node)) {
                *layer = first.saturating_sub(1);
            }
        }
        layers
    }
}
