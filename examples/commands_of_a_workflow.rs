//! Prints the instances of a workflow and the commands that they would run: `commands_of_a_workflow FILE`.
//!
//! Shows the library's pure part (read, expand, render) with the one room that looks at the disk for it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use csync::decide::graph::datasets::Catalog;
use csync::language::manifest;
use csync::model::job::Invocation;
use csync::model::resources::{Grant, Hold};
use csync::model::units::Bytes;
use csync::serve::prepare;

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: commands_of_a_workflow FILE")?;
    let text = std::fs::read_to_string(&file)?;
    let root = Path::new(&file).canonicalize()?.parent().ok_or("a file has a directory")?.display().to_string();
    let plan = prepare::plan(&text, &root, &BTreeMap::new(), &Catalog::default())?.expanded.plan;
    let grant = Grant { cpus: 1, mem: Bytes::gib(1), hold: Hold::Nothing, time: None, gpus: 0 };
    for instance in plan.instance_ids() {
        let command = match manifest::render(&plan, instance, &grant, 1).invocation {
            Invocation::Script(script) => script,
            Invocation::Argv(arguments) => arguments.join(" "),
        };
        println!("{}\n    {}", plan.label(instance), command.trim().replace('\n', "\n    "));
    }
    Ok(())
}
