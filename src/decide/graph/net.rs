//! The graph itself: hosts and filesystems as nodes, links and mounts as edges.

use std::collections::HashMap;

use petgraph::graph::{EdgeIndex, NodeIndex, UnGraph};

use crate::decide::graph::estimate::Estimate;
use crate::model::host::HostName;

/// A host or a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A host.
    Host(HostName),
    /// A filesystem that several hosts mount, by an id that is the same for all.
    Filesystem(String),
}

/// What joins two nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Edge {
    /// Files can be sent this way.
    Link(Link),
    /// The filesystem is mounted there, at this directory: its files are there without being sent.
    Mount(String),
}

/// A way that files can be sent between two hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Bytes a second.
    pub rate: Estimate,
    /// Seconds before the first byte comes.
    pub latency: f64,
}

/// How a node is joined to others.
#[derive(Clone, Copy, Debug)]
enum Joins {
    Nothing,
    One(EdgeIndex),
    Several,
}

/// A host in a graph: looked up once, asked for often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop(pub(super) NodeIndex);

/// The hosts, what lies between them, and what they share.
#[derive(Clone, Debug, Default)]
pub struct Net {
    pub(super) graph: UnGraph<Node, Edge>,
    /// Of each node, what joins it to others.
    joins: Vec<Joins>,
    hosts: HashMap<HostName, NodeIndex>,
    filesystems: HashMap<String, NodeIndex>,
}

impl Net {
    /// Returns nothing yet, with room for so many hosts.
    pub fn with_room(hosts: usize) -> Self {
        Self {
            graph: UnGraph::with_capacity(hosts, hosts),
            joins: Vec::with_capacity(hosts),
            hosts: HashMap::with_capacity(hosts),
            filesystems: HashMap::new(),
        }
    }

    /// Adds a host, unless it is there.
    pub fn host(&mut self, name: &HostName) {
        self.node_of(name);
    }

    /// Joins two hosts; of two links between the same hosts, files take the better.
    pub fn link(&mut self, one: &HostName, other: &HostName, link: Link) {
        let (one, other) = (self.node_of(one), self.node_of(other));
        if one != other {
            self.join(one, other, Edge::Link(link));
        }
    }

    /// Says that a host mounts a filesystem at a directory.
    pub fn mount(&mut self, host: &HostName, filesystem: &str, directory: &str) {
        let host = self.node_of(host);
        let known = self.filesystems.get(filesystem).copied();
        let filesystem = known.unwrap_or_else(|| {
            let node = self.add(Node::Filesystem(filesystem.to_owned()));
            self.filesystems.insert(filesystem.to_owned(), node);
            node
        });
        let directory = directory.trim_end_matches('/').to_owned();
        self.join(host, filesystem, Edge::Mount(directory));
    }

    /// Returns where else a path of a host is seen: every host and the path there, the host itself first. Of mounts within mounts
    /// the innermost holds the path.
    pub fn seen_at(&self, host: &HostName, path: &str) -> Vec<(HostName, String)> {
        let mut seen = vec![(host.clone(), path.to_owned())];
        let Some(&node) = self.hosts.get(host) else { return seen };
        let mounts = self.graph.edges(node).filter_map(|edge| {
            let Edge::Mount(directory) = edge.weight() else { return None };
            let below =
                path.strip_prefix(directory.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some((directory.len(), other(&edge, node), below))
        });
        let Some((_, filesystem, below)) = mounts.max_by_key(|&(length, ..)| length) else { return seen };
        for edge in self.graph.edges(filesystem) {
            let there = other(&edge, filesystem);
            if there == node {
                continue;
            }
            if let (Edge::Mount(directory), Some(Node::Host(name))) = (edge.weight(), self.graph.node_weight(there)) {
                seen.push((name.clone(), format!("{directory}{below}")));
            }
        }
        seen[1..].sort();
        seen
    }

    /// Returns where a host stands in the graph; none where it does not.
    pub fn stop(&self, host: &HostName) -> Option<Stop> {
        self.hosts.get(host).copied().map(Stop)
    }

    pub(super) fn name(&self, node: NodeIndex) -> Option<&HostName> {
        match self.graph.node_weight(node)? {
            Node::Host(name) => Some(name),
            Node::Filesystem(_) => None,
        }
    }

    fn node_of(&mut self, host: &HostName) -> NodeIndex {
        if let Some(node) = self.hosts.get(host) {
            return *node;
        }
        let node = self.add(Node::Host(host.clone()));
        self.hosts.insert(host.clone(), node);
        node
    }

    fn add(&mut self, node: Node) -> NodeIndex {
        self.joins.push(Joins::Nothing);
        self.graph.add_node(node)
    }

    fn join(&mut self, one: NodeIndex, other: NodeIndex, edge: Edge) {
        let edge = self.graph.add_edge(one, other, edge);
        for end in [one, other] {
            if let Some(joins) = self.joins.get_mut(end.index()) {
                *joins = if matches!(joins, Joins::Nothing) { Joins::One(edge) } else { Joins::Several };
            }
        }
    }

    /// Returns the edge to a node that nothing leads on from, the end of a branch.
    #[inline]
    pub(super) fn only_edge(&self, node: NodeIndex) -> Option<EdgeIndex> {
        match self.joins.get(node.index())? {
            Joins::One(edge) => Some(*edge),
            Joins::Nothing | Joins::Several => None,
        }
    }
}

/// Returns the end of an edge that is not this one.
pub(super) fn other(edge: &petgraph::graph::EdgeReference<'_, Edge>, node: NodeIndex) -> NodeIndex {
    use petgraph::visit::EdgeRef;
    if edge.source() == node { edge.target() } else { edge.source() }
}
