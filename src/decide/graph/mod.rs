//! Hosts, what lies between them, and what they hold: the graph that routing minimizes over.
//!
//! Nodes of the graph proper ([`net`]) are what bytes go over: hosts and filesystems, joined by links and mounts. The rest hangs on these by
//! name, since no path leads through it, and a search over nodes that lead nowhere only takes longer (a hundred thousand datasets beside a
//! thousand hosts):
//!
//! - partitions are of one host, share its links, and are told apart by their limits and waits ([`queues`], [`load`]);
//! - datasets and replicas are where searches begin: a set of hosts for each ([`datasets`]; by path in the store and in the hook's index);
//! - profiles are what a run costs on a class of hosts: looked up by signature and class (`decide::learn`), never searched.
//!
//! What is told is the same: `csync data where` lists the copies of a dataset, `csync route --explain` the way of every input, the partition
//! and what the run rests on, and every veto its reason.
//!
//! Quantities are intervals that say where they come from, so that a sum of guesses is never taken for a measurement.

pub mod datasets;

pub mod estimate;

pub mod load;

pub mod queues;

pub mod net;

pub mod search;

pub mod known;

#[cfg(test)]
mod tests;
