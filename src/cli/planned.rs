//! A workflow read and expanded in this process, for commands that need no engine.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::catalog::catalog;
use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::submission::WorkflowFile;
use crate::decide::engine::protocol::Capacity;
use crate::model::facts::Facts;
use crate::model::host::HostName;
use crate::model::plan::Plan;
use crate::model::units::Bytes;
use crate::reach::store::{Place, Reader};
use crate::serve::engine::{Settings, storage};
use crate::serve::prepare;

/// Reads a workflow file and expands it.
pub(super) fn planned(
    context: &Context,
    path: &Path,
    params: &[(String, String)],
) -> Result<(WorkflowFile, prepare::Planned), Failure> {
    let file = WorkflowFile::read(path)?;
    let params: BTreeMap<String, String> = params.iter().cloned().collect();
    let catalog = catalog(context, &file.source.text, &params)?;
    let planned = prepare::plan(&file.source.text, &file.root, &params, &catalog)
        .map_err(|error| Failure::from(error).with_source(|| file.source.clone()))?;
    Ok((file, planned))
}

/// Returns what one job may have of this machine, by what is set and what is found, as an engine sees it. What is set and makes no sense
/// is for the engine to refuse.
pub(super) fn here() -> Capacity {
    let set = |name: &str| std::env::var_os(name);
    let settings = Settings::read(set).or_else(|_| Settings::read(|_| None));
    settings.map_or(Capacity { cpus: 1, mem: Bytes(u64::MAX), gpus: 0, nodes: 1, jobs: None }, |it| it.capacity)
}

/// Returns what probes found of hosts, where a task of the plan goes to any.
pub(super) fn facts_of(context: &Context, plan: &Plan) -> Result<BTreeMap<HostName, Facts>, Failure> {
    let Ok(state_dir) = context.state_dir() else { return Ok(BTreeMap::new()) };
    let place = Place::of(&state_dir);
    if plan.tasks.iter().all(|task| task.on.is_empty()) || !place.path.exists() {
        return Ok(BTreeMap::new());
    }
    let probed = context.block_on(async {
        match Reader::open(&place).await.map_err(|error| storage(&error))? {
            Some(reader) => Ok(reader.probed().await.map_err(|error| storage(&error))?),
            None => Ok(BTreeMap::new()),
        }
    })?;
    Ok(probed.into_iter().filter_map(|(host, probed)| Some((host, probed.facts?))).collect())
}

/// Returns which task waits for which, each pair once: what `needs` says, and what files say.
pub(super) fn task_edges(plan: &Plan) -> Vec<(u32, u32)> {
    let mut edges: Vec<(u32, u32)> = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        edges.extend(task.needs.iter().map(|need| (need.0, index as u32)));
    }
    let mut last = (u32::MAX, u32::MAX);
    for instance in plan.instance_ids() {
        let from = plan.instance(instance).task.0;
        for &dependent in plan.dependents(instance) {
            let edge = (from, plan.instance(dependent).task.0);
            // Neighbors mostly say the same: a million of them are not kept only to be thrown away.
            if edge != last && edge.0 != edge.1 {
                edges.push(edge);
                last = edge;
            }
        }
        if edges.len() > 1 << 20 {
            edges.sort_unstable();
            edges.dedup();
        }
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}
