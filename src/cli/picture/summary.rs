//! Large pictures made small: tasks that look alike become one box.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::cli::picture::{Dag, Node};
use crate::language::import::stem;
use crate::model::api::Counts;

/// Joins the nodes of a layer whose names differ in their numbers only: `align_ID0001` to `align_ID0220`.
pub(in crate::cli) fn by_name(dag: &Dag) -> Dag {
    let layers = dag.layers();
    join(dag, |node| {
        format!("{} {}", layers.get(node).copied().unwrap_or(0), dag.nodes.get(node).map_or("", |n| stem(&n.name)))
    })
}

/// Joins the nodes that wait for the same and are waited for by the same.
pub(in crate::cli) fn by_neighbors(dag: &Dag) -> Dag {
    let (before, after) = (dag.before(), dag.after());
    let sorted = |lists: &[Vec<usize>], node: usize| {
        let mut list = lists.get(node).cloned().unwrap_or_default();
        list.sort_unstable();
        list
    };
    join(dag, |node| format!("{:?} {:?}", sorted(&before, node), sorted(&after, node)))
}

/// Joins all nodes of a layer.
pub(in crate::cli) fn by_layer(dag: &Dag) -> Dag {
    let layers = dag.layers();
    join(dag, |node| layers.get(node).copied().unwrap_or(0).to_string())
}

/// Leaves out the arrows that follow from others: with a -> b -> c, the arrow a -> c says nothing new.
pub(in crate::cli) fn reduce(dag: &Dag) -> Dag {
    let layers = dag.layers();
    let after = dag.after();
    let layer = |node: usize| layers.get(node).copied().unwrap_or(0);
    let reaches = |from: usize, to: usize| {
        let mut seen = vec![false; dag.nodes.len()];
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            for &next in after.get(node).map_or(&[][..], Vec::as_slice) {
                if next == to {
                    return true;
                }
                if let Some(seen) = seen.get_mut(next)
                    && !*seen
                    && layer(next) < layer(to)
                {
                    *seen = true;
                    open.push(next);
                }
            }
        }
        false
    };
    let says_something = |&(from, to): &(u32, u32)| {
        let siblings = after.get(from as usize).map_or(&[][..], Vec::as_slice);
        !siblings.iter().any(|&sibling| sibling != to as usize && reaches(sibling, to as usize))
    };
    let edges = dag.edges.iter().copied().filter(says_something).collect();
    Dag { name: dag.name.clone(), nodes: dag.nodes.clone(), edges }
}

/// Lists the nodes layer by layer, for pictures that no terminal holds.
pub(in crate::cli) fn list(dag: &Dag, columns: usize) -> String {
    let layers = dag.layers();
    let mut text = String::new();
    let mut order: Vec<usize> = (0..dag.nodes.len()).collect();
    order.sort_by_key(|&node| layers.get(node).copied().unwrap_or(0));
    for node in order {
        let (Some(layer), Some(node)) = (layers.get(node), dag.nodes.get(node)) else { continue };
        let size = if node.instances == 1 { String::new() } else { format!("  {} instances", node.instances) };
        let name = console::truncate_str(&node.name, columns.saturating_sub(size.len() + 6), "...").into_owned();
        let _ = writeln!(text, "{:>4}  {name}{size}", layer + 1);
    }
    text
}

fn join(dag: &Dag, key: impl Fn(usize) -> String) -> Dag {
    let mut group_of = Vec::with_capacity(dag.nodes.len());
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<String, u32> = HashMap::new();
    for node in 0..dag.nodes.len() {
        let group = *known.entry(key(node)).or_insert_with(|| {
            groups.push(Vec::new());
            (groups.len() - 1) as u32
        });
        group_of.push(group);
        if let Some(members) = groups.get_mut(group as usize) {
            members.push(node);
        }
    }
    let nodes = groups.iter().map(|members| joined(dag, members)).collect();
    let end = |node: u32| group_of.get(node as usize).copied().unwrap_or(0);
    let mut edges: Vec<(u32, u32)> = dag.edges.iter().map(|&(from, to)| (end(from), end(to))).collect();
    edges.sort_unstable();
    edges.dedup();
    edges.retain(|(from, to)| from != to);
    Dag { name: dag.name.clone(), nodes, edges }
}

fn joined(dag: &Dag, members: &[usize]) -> Node {
    let nodes: Vec<&Node> = members.iter().filter_map(|&member| dag.nodes.get(member)).collect();
    let [first, rest @ ..] = nodes.as_slice() else { return Node::default() };
    if rest.is_empty() {
        return (*first).clone();
    }
    let same = rest.iter().all(|node| stem(&node.name) == stem(&first.name));
    let last = rest.last().unwrap_or(first);
    Node {
        name: if same { stem(&first.name).to_owned() } else { format!("{}, ..., {}", first.name, last.name) },
        instances: nodes.iter().map(|node| node.instances).sum(),
        tasks: nodes.iter().map(|node| node.tasks).sum(),
        counts: nodes.iter().filter_map(|node| node.counts).reduce(|a, b| add(&a, &b)),
    }
}

fn add(a: &Counts, b: &Counts) -> Counts {
    Counts {
        pending: a.pending + b.pending,
        ready: a.ready + b.ready,
        queued: a.queued + b.queued,
        running: a.running + b.running,
        done: a.done + b.done,
        cached: a.cached + b.cached,
        failed: a.failed + b.failed,
        cancelled: a.cancelled + b.cancelled,
        skipped: a.skipped + b.skipped,
        lost: a.lost + b.lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn dag(nodes: &[&str], edges: &[(u32, u32)]) -> Dag {
        let node = |name: &&str| Node { name: (*name).to_owned(), instances: 1, tasks: 1, counts: None };
        Dag { name: "test".to_owned(), nodes: nodes.iter().map(node).collect(), edges: edges.to_vec() }
    }

    fn names(dag: &Dag) -> Vec<String> {
        dag.nodes.iter().map(|node| format!("{} {}", node.name, node.tasks)).collect()
    }

    #[test]
    fn names_that_differ_in_numbers_are_joined_within_a_layer() {
        let fan = dag(
            &["split", "run_1", "run_2", "run_3", "join", "run_4"],
            &[(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (4, 5)],
        );
        let joined = by_name(&fan);
        assert_eq!(names(&joined), ["split 1", "run 3", "join 1", "run_4 1"]);
        assert_eq!(joined.edges, [(0, 1), (1, 2), (2, 3)]);
        assert_eq!(joined.nodes[1].instances, 3);
    }

    #[test]
    fn twins_are_joined_whatever_their_names() {
        let fan = dag(&["a", "x", "y", "z", "b"], &[(0, 1), (0, 2), (0, 3), (1, 4), (2, 4)]);
        assert_eq!(names(&by_neighbors(&fan)), ["a 1", "x, ..., y 2", "z 1", "b 1"]);
        assert_eq!(names(&by_layer(&fan)), ["a 1", "x, ..., z 3", "b 1"]);
    }

    #[test]
    fn arrows_that_follow_from_others_are_left_out() {
        let dag = dag(&["a", "b", "c", "d"], &[(0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 3)]);
        assert_eq!(reduce(&dag).edges, [(0, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn lists_go_layer_by_layer() {
        let dag = dag(&["c", "a"], &[(1, 0)]);
        assert_eq!(list(&dag, 80), "   1  a\n   2  c\n");
    }
}
