//! Cheapest ways for files.
//!
//! What is sent over several links streams through the hosts between them, so it takes the sum of their latencies and the time of
//! the slowest link, not the sum of times. Such a cost is not additive: of two ways to a host, the one with less latency and the
//! one with the faster slowest link may both lead to the best way on. All that are not worse in both are kept (Pareto labels,
//! Martins 1984, EJOR 16:2); in the stars that people's hosts form that is one a host.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use petgraph::graph::{EdgeIndex, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::decide::graph::estimate::Estimate;
use crate::decide::graph::net::{Edge, Link, Net, Stop, other};
use crate::model::host::HostName;

/// A way for some bytes from one host to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// The hosts on it, from the one that has the bytes to the one that gets them.
    pub hosts: Vec<HostName>,
    /// Seconds that it takes.
    pub seconds: Estimate,
}

/// The cheapest ways for some bytes from any of some hosts to all others. The ends of branches, as most hosts are, have no labels
/// unless they are sources: theirs follow from those of the host before when they are asked for.
#[derive(Clone, Debug)]
pub struct Reach<'n> {
    net: &'n Net,
    bytes: f64,
    labels: Vec<Label>,
    /// Of each node, the label that was kept last; each names the one before.
    kept: Vec<u32>,
}

/// No label.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Label {
    node: NodeIndex,
    /// The label of the host before.
    before: u32,
    /// The label of this host that was kept before this one.
    before_it: u32,
    latency: f64,
    /// Bytes a second of the slowest link; infinite where nothing needs to be sent.
    rate: f64,
    /// The slowest link.
    slowest: EdgeIndex,
}

impl Label {
    fn cost(&self, bytes: f64) -> f64 {
        self.latency + bytes / self.rate
    }

    fn is_no_worse_than(&self, other: &Self) -> bool {
        self.latency <= other.latency && self.rate >= other.rate
    }

    /// Returns the label of a node at the other end of an edge, for what comes by this label, which is `at`; none where nothing can
    /// be sent along it.
    #[inline]
    fn along(&self, at: u32, node: NodeIndex, edge: EdgeIndex, weight: &Edge) -> Option<Self> {
        let Edge::Link(link) = weight else { return None };
        let carries = link.rate.middle > 0.0 && link.latency.is_finite();
        if !carries {
            return None;
        }
        // The first link counts whatever its rate: it has its latency.
        let (rate, slowest) = if self.slowest != EdgeIndex::end() && self.rate <= link.rate.middle {
            (self.rate, self.slowest)
        } else {
            (link.rate.middle, edge)
        };
        let latency = self.latency + link.latency;
        Some(Self { node, before: at, before_it: NONE, latency, rate, slowest })
    }
}

/// A label in the queue; the least cost first.
struct Next {
    cost: f64,
    label: u32,
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        other.cost.total_cmp(&self.cost).then(other.label.cmp(&self.label))
    }
}

impl Net {
    /// Finds the cheapest ways for `bytes` from any of `sources` to every host. Sources that are not in the graph count for
    /// nothing, as do links of no rate.
    pub fn reach<'h>(&self, sources: impl IntoIterator<Item = &'h HostName>, bytes: f64) -> Reach<'_> {
        let nodes = self.graph.node_count();
        let mut reach = Reach { net: self, bytes, labels: Vec::new(), kept: vec![NONE; nodes] };
        let mut queue = BinaryHeap::new();
        for Stop(node) in sources.into_iter().filter_map(|source| self.stop(source)) {
            let slowest = EdgeIndex::end();
            let label = Label { node, before: NONE, before_it: NONE, latency: 0.0, rate: f64::INFINITY, slowest };
            reach.push(&mut queue, label);
        }
        while let Some(Next { label: at, .. }) = queue.pop() {
            let Some(label) = reach.keep(at) else { continue };
            let from = reach.labels.get(label.before as usize).map(|before| before.node);
            for edge in self.graph.edges(label.node) {
                let node = other(&edge, label.node);
                if Some(node) == from || self.only_edge(node).is_some() {
                    continue;
                }
                if let Some(label) = label.along(at, node, edge.id(), edge.weight()) {
                    reach.push(&mut queue, label);
                }
            }
        }
        reach
    }
}

impl Reach<'_> {
    /// Returns how long the cheapest way to a host takes; none where there is none.
    #[inline]
    pub fn seconds(&self, to: Stop) -> Option<Estimate> {
        Some(self.estimate(&self.cheapest(to)?))
    }

    /// Returns the cheapest way to a host; none where there is none.
    pub fn way(&self, to: Stop) -> Option<Way> {
        let last = self.cheapest(to)?;
        let mut hosts = Vec::new();
        let mut at = Some(&last);
        while let Some(label) = at {
            hosts.extend(self.net.name(label.node).cloned());
            at = self.labels.get(label.before as usize);
        }
        hosts.reverse();
        Some(Way { hosts, seconds: self.estimate(&last) })
    }

    /// Returns the cheapest way to a host as one link: the sum of the latencies, and the rate of the slowest; none where there is
    /// none, or nothing needs to be sent.
    pub fn link(&self, to: Stop) -> Option<Link> {
        let label = self.cheapest(to)?;
        let Some(Edge::Link(slowest)) = self.net.graph.edge_weight(label.slowest) else { return None };
        Some(Link { rate: slowest.rate, latency: label.latency })
    }

    /// Returns whether a host has the bytes already.
    #[inline]
    pub fn is_source(&self, host: Stop) -> bool {
        // What it has costs nothing: that was kept first, and nothing else after it.
        self.chain(self.kept_of(host.0)).next().is_some_and(|(_, label)| label.before == NONE)
    }

    #[inline]
    fn estimate(&self, label: &Label) -> Estimate {
        let Some(Edge::Link(link)) = self.net.graph.edge_weight(label.slowest) else { return Estimate::ZERO };
        // Nothing waits for no link's rate.
        if self.bytes <= 0.0 {
            return Estimate::known(label.latency);
        }
        link.rate.to_get_through(self.bytes).after(label.latency)
    }

    /// Returns the cheapest label of a host.
    #[inline]
    fn cheapest(&self, to: Stop) -> Option<Label> {
        let kept = self.kept_of(to.0);
        if kept != NONE {
            return self.least(self.chain(kept).map(|(_, label)| *label));
        }
        // Nothing is kept at the end of a branch.
        let edge = self.net.only_edge(to.0)?;
        let (one, other) = self.net.graph.edge_endpoints(edge)?;
        let before = if one == to.0 { other } else { one };
        let weight = self.net.graph.edge_weight(edge)?;
        self.least(self.chain(self.kept_of(before)).filter_map(|(at, label)| label.along(at, to.0, edge, weight)))
    }

    /// Returns the least of labels that stand in the order of a chain; of several the one that was kept first.
    #[inline]
    fn least(&self, labels: impl Iterator<Item = Label>) -> Option<Label> {
        labels.reduce(|best, label| if label.cost(self.bytes) <= best.cost(self.bytes) { label } else { best })
    }

    /// Returns the label of a node that was kept last.
    #[inline]
    fn kept_of(&self, node: NodeIndex) -> u32 {
        self.kept.get(node.index()).copied().unwrap_or(NONE)
    }

    /// Returns a label and those of its node that were kept before it.
    #[inline]
    fn chain(&self, at: u32) -> impl Iterator<Item = (u32, &Label)> {
        let mut at = at;
        std::iter::from_fn(move || {
            let label = self.labels.get(at as usize)?;
            Some((std::mem::replace(&mut at, label.before_it), label))
        })
    }

    /// Keeps a label that came off the queue, unless it is no better than one of its node that was kept.
    #[inline]
    fn keep(&mut self, at: u32) -> Option<Label> {
        let label = *self.labels.get(at as usize)?;
        if self.is_worse(&label) {
            return None;
        }
        let kept = self.kept.get_mut(label.node.index())?;
        let before_it = std::mem::replace(kept, at);
        self.labels.get_mut(at as usize)?.before_it = before_it;
        Some(label)
    }

    #[inline]
    fn push(&mut self, queue: &mut BinaryHeap<Next>, label: Label) {
        if self.is_worse(&label) {
            return;
        }
        let at = self.labels.len() as u32;
        self.labels.push(label);
        queue.push(Next { cost: label.cost(self.bytes), label: at });
    }

    #[inline]
    fn is_worse(&self, label: &Label) -> bool {
        self.chain(self.kept_of(label.node)).any(|(_, kept)| kept.is_no_worse_than(label))
    }
}
