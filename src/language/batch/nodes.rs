//! Which nodes partitions have, and which of them several have.

use crate::model::batch::Partition;

/// Most compute nodes of a host whose names are kept, and most that are taken out of one list.
pub const MOST_NODES: usize = 20_000;

/// Reads a list of nodes as Slurm writes it: `gpu1,n[01-03,07]`.
pub fn node_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    for item in split_outside(list) {
        let Some((prefix, rest)) = item.split_once('[') else {
            names.push(item.to_owned());
            continue;
        };
        let Some((inside, suffix)) = rest.split_once(']').filter(|(_, suffix)| !suffix.contains('[')) else { continue };
        for range in inside.split(',') {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let (Ok(first), Ok(end)) = (from.parse::<u32>(), to.parse::<u32>()) else { continue };
            let width = from.len();
            let room = MOST_NODES.saturating_sub(names.len());
            names.extend((first..=end).take(room).map(|number| format!("{prefix}{number:0width$}{suffix}")));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn split_outside(list: &str) -> Vec<&str> {
    let (mut items, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, letter) in list.char_indices() {
        match letter {
            '[' => inside = true,
            ']' => inside = false,
            ',' if !inside => {
                items.extend(list.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    items.extend(list.get(start..));
    items
}

/// Notes how many of its nodes each partition shares with others; `nodes` says of each node which of them have it, by their places.
pub(super) fn share(partitions: &mut [Partition], nodes: impl Iterator<Item = Vec<usize>>) {
    let all = partitions.len();
    let mut counts = vec![0_u32; all * all];
    for of_node in nodes {
        let pairs = of_node.iter().flat_map(|one| of_node.iter().map(move |other| (one, other)));
        for (one, other) in pairs.filter(|(one, other)| one != other) {
            if let Some(count) = counts.get_mut(one * all + other) {
                *count += 1;
            }
        }
    }
    let names: Vec<String> = partitions.iter().map(|partition| partition.name.clone()).collect();
    for (partition, counts) in partitions.iter_mut().zip(counts.chunks(all.max(1))) {
        let shared = names.iter().zip(counts).filter(|(_, count)| **count > 0);
        partition.shares = shared.map(|(name, count)| (name.clone(), *count)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_nodes_are_taken_apart() {
        assert_eq!(node_names("gpu1,n[01-03,07],x[9-10]y"), ["gpu1", "n01", "n02", "n03", "n07", "x9y", "x10y"]);
        assert_eq!(node_names("a[1-2][3-4],b[x]"), Vec::<String>::new());
        assert_eq!(node_names("n[1-4000000000]").len(), MOST_NODES);
    }
}
