//! What jobs saw on compute nodes, in words.

use std::fmt::Write as _;

use crate::cli::view::table::Page;
use crate::cli::view::words::ago;
use crate::model::batch::Partition;
use crate::model::facts::{Facts, Gpu, NodeSight};
use crate::model::units::Timestamp;

/// Says what GPUs are.
pub(super) fn gpu_words(gpu: &Gpu) -> String {
    let memory = gpu.memory.map(|memory| format!("{memory} each"));
    let driver = gpu.driver.as_ref().map(|driver| format!("driver {driver}"));
    let level = gpu.level.as_ref().map(|level| format!("CUDA {level}"));
    let words = [Some(format!("{} x {}", gpu.count, gpu.model)), memory, driver, level];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Says what was seen on a node.
pub(in crate::cli) fn words(sight: &NodeSight) -> String {
    let gpus = match sight.gpus.as_deref() {
        None => None,
        Some([]) => Some("no GPU that it knows the command of".to_owned()),
        Some(gpus) => Some(gpus.iter().map(gpu_words).collect::<Vec<_>>().join("; ")),
    };
    let internet = match sight.internet {
        Some(true) => "internet",
        Some(false) => "no internet",
        None => "internet not known",
    };
    gpus.into_iter().chain([internet.to_owned()]).collect::<Vec<_>>().join("; ")
}

/// Shows what jobs saw on compute nodes, a line for each partition that is there.
pub(super) fn table(facts: &Facts, partitions: &[Partition], now: Timestamp, page: Page) -> String {
    let seen: Vec<(&str, &NodeSight)> = partitions
        .iter()
        .filter_map(|partition| Some((partition.name.as_str(), facts.nodes.get(&partition.name)?)))
        .collect();
    if seen.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}\n", page.paint.bold("Seen by jobs on compute nodes"));
    let wide = seen.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, sight) in seen {
        let _infallible = writeln!(out, "  {name:wide$}  {} ({}, {})", words(sight), sight.node, ago(sight.at, now));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::Paint;

    fn partition(name: &str) -> Partition {
        Partition { name: name.to_owned(), ..Partition::default() }
    }

    #[test]
    fn what_was_seen_is_told_with_its_time() {
        let partitions = vec![partition("gpu"), partition("debug"), partition("unseen")];
        let mut facts = Facts::default();
        let gpu = Gpu {
            count: 2,
            model: "T9".to_owned(),
            driver: Some("535.1".to_owned()),
            level: Some("12.2".to_owned()),
            ..Gpu::default()
        };
        let sight = |gpus, internet| NodeSight { at: Timestamp(0), node: "n1".to_owned(), internet, gpus };
        facts.nodes.insert("gpu".to_owned(), sight(Some(vec![gpu]), Some(false)));
        facts.nodes.insert("debug".to_owned(), sight(None, Some(true)));
        facts.nodes.insert("gone".to_owned(), sight(None, None));
        let view = Page { width: Some(80), paint: Paint::new(false) };
        insta::assert_snapshot!(table(&facts, &partitions, Timestamp(180_000_000), view), @r"

        Seen by jobs on compute nodes
          gpu    2 x T9, driver 535.1, CUDA 12.2; no internet (n1, 3m ago)
          debug  internet (n1, 3m ago)
        ");
        assert_eq!(table(&Facts::default(), &partitions, Timestamp(0), view), "");
    }
}
