//! A workflow read and expanded in this process, for commands that need no engine.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::errors::Failure;
use crate::cli::submission::WorkflowFile;
use crate::model::plan::Plan;
use crate::serve::prepare;

/// Reads a workflow file and expands it.
pub(super) fn planned(path: &Path, params: &[(String, String)]) -> Result<(WorkflowFile, prepare::Planned), Failure> {
    let file = WorkflowFile::read(path)?;
    let params: BTreeMap<String, String> = params.iter().cloned().collect();
    let planned = prepare::plan(&file.source.text, &file.root, &params)
        .map_err(|error| Failure::from(error).with_source(|| file.source.clone()))?;
    Ok((file, planned))
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
