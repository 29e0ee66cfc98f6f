//! `csync dag`: the picture of a workflow or of a run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::outfile;
use crate::cli::picture::{Dag, Node, Style, dot, summary, terminal};
use crate::cli::planned::{planned, task_edges};
use crate::cli::submission::key_value;
use crate::cli::view::Paint;
use crate::cli::view::table::Page;
use crate::cli::view::words::number;
use crate::model::api::{Counts, ErrorKind, RunDetail, RunPlan};
use crate::model::plan::Plan;
use crate::reach::client::RunRef;

/// Columns where there is no terminal to ask.
const COLUMNS: usize = 80;

/// More boxes than this are joined before a terminal picture is tried: nobody reads them.
const READABLE: usize = 60;

/// Draw a workflow
///
/// Draws which task waits for which: of a workflow file, or of a run, colored by how it stands. In a terminal the picture is
/// made of boxes; tasks whose names differ in their numbers only share a box where there are many. `--format dot` prints
/// Graphviz's language, and `--format svg` has Graphviz draw it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A workflow file, or a run (a number or `last`)
    #[arg(value_name = "FILE|RUN", default_value = "workflow.toml")]
    target: String,
    /// What to print: text, dot or svg; without it the name of the output decides
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<Format>,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw every task instance instead of every task
    #[arg(long)]
    instances: bool,
    /// Most instances drawn
    #[arg(long, value_name = "N", default_value_t = 500, requires = "instances")]
    limit: usize,
    /// Draw with `+`, `-` and `|`; without it the locale decides
    #[arg(long)]
    ascii: bool,
    /// Set a parameter of the workflow; may be given several times
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Boxes in a terminal
    Text,
    /// Graphviz's language
    Dot,
    /// A vector graphic, drawn by Graphviz
    Svg,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let (dag, run) = read(context, args)?;
    if context.json() {
        context.print_json(&to_json(&dag, run, args.instances))?;
        return Ok(Exit::Success);
    }
    let text = match format(args) {
        Format::Text => text(context, args, &dag),
        Format::Dot => dot::dot(&dag),
        Format::Svg => svg(&dot::dot(&dag))?,
    };
    match &args.output {
        Some(path) => {
            outfile::replace(path, &text)?;
            context.say(&format!("Wrote the picture to {}", path.display()));
        }
        None => context.print(&text)?,
    }
    Ok(Exit::Success)
}

fn format(args: &Args) -> Format {
    let extension = args.output.as_deref().and_then(Path::extension).and_then(|extension| extension.to_str());
    args.format.unwrap_or(match extension {
        Some("dot" | "gv") => Format::Dot,
        Some("svg") => Format::Svg,
        _ => Format::Text,
    })
}

/// Reads what is to be drawn: a run where the target names one and no file has that name.
fn read(context: &Context, args: &Args) -> Result<(Dag, Option<u32>), Failure> {
    if let Ok(run) = args.target.parse::<RunRef>()
        && !Path::new(&args.target).exists()
    {
        return context.block_on(async {
            let client = context.reach().await?;
            if args.instances {
                let plan = client.plan(run).await?;
                check_limit(plan.instances.len(), args.limit)?;
                return Ok((of_run_instances(&plan), Some(plan.summary.run.0)));
            }
            let detail = client.run(run).await?;
            Ok((of_run(&detail), Some(detail.summary.run.0)))
        });
    }
    let (_, planned) = planned(context, Path::new(&args.target), &args.params)?;
    let plan = &planned.expanded.plan;
    if args.instances {
        check_limit(plan.instances.len(), args.limit)?;
        return Ok((of_plan_instances(plan), None));
    }
    Ok((of_plan(plan), None))
}

fn check_limit(instances: usize, limit: usize) -> Result<(), Failure> {
    if instances <= limit {
        return Ok(());
    }
    let count = number(instances as u64);
    Err(Failure::new(ErrorKind::Invalid, format!("there are {count} instances, more than the {limit} that are drawn"))
        .hint(format!("without `--instances` tasks are drawn; `--limit {instances}` draws all the same")))
}

fn node(name: &str, instances: u32, counts: Option<Counts>) -> Node {
    Node { name: name.to_owned(), instances, tasks: 1, counts }
}

/// The tasks of a workflow.
fn of_plan(plan: &Plan) -> Dag {
    let tasks = plan.tasks.iter().zip(&plan.task_instances);
    Dag {
        name: plan.name.clone(),
        nodes: tasks.map(|(task, instances)| node(&task.name, instances.len, None)).collect(),
        edges: task_edges(plan),
    }
}

/// The instances of a workflow. Tasks that wait for whole tasks do so in every instance.
fn of_plan_instances(plan: &Plan) -> Dag {
    let mut edges = Vec::new();
    for instance in plan.instance_ids() {
        edges.extend(plan.dependents(instance).iter().map(|dependent| (instance.0, dependent.0)));
        for &need in &plan.task_of(instance).needs {
            edges.extend(plan.instances_of(need).map(|before| (before.0, instance.0)));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    let nodes = plan.instance_ids().map(|instance| node(&plan.label(instance), 1, None)).collect();
    Dag { name: plan.name.clone(), nodes, edges }
}

/// The tasks of a run.
fn of_run(detail: &RunDetail) -> Dag {
    let position = |name: &String| detail.tasks.iter().position(|task| task.name == *name).map(|at| at as u32);
    let mut edges: Vec<(u32, u32)> = Vec::new();
    for (index, task) in detail.tasks.iter().enumerate() {
        edges.extend(task.after.iter().filter_map(position).map(|before| (before, index as u32)));
    }
    edges.sort_unstable();
    edges.dedup();
    let nodes = detail.tasks.iter().map(|task| node(&task.name, task.counts.total(), Some(task.counts))).collect();
    Dag { name: detail.summary.name.clone(), nodes, edges }
}

/// The instances of a run.
fn of_run_instances(plan: &RunPlan) -> Dag {
    let mut edges = Vec::new();
    for (index, instance) in plan.instances.iter().enumerate() {
        edges.extend(instance.after.iter().map(|before| (before.0, index as u32)));
    }
    for task in &plan.tasks {
        for need in task.needs.iter().filter_map(|need| plan.tasks.get(need.index())) {
            for waiter in task.first..task.first + task.count {
                edges.extend((need.first..need.first + need.count).map(|before| (before, waiter)));
            }
        }
    }
    edges.sort_unstable();
    edges.dedup();
    let nodes = plan.instances.iter().map(|instance| {
        let mut counts = Counts::default();
        *counts.of(instance.view.state) = 1;
        node(&instance.view.label, 1, Some(counts))
    });
    Dag { name: plan.summary.name.clone(), nodes: nodes.collect(), edges }
}

/// Draws for a terminal, joining boxes until they fit.
fn text(context: &Context, args: &Args, dag: &Dag) -> String {
    let style = if args.ascii || !speaks_unicode() { Style::Ascii } else { Style::Unicode };
    let to_file = args.output.is_some();
    let paint = if to_file { Paint::new(false) } else { context.paint() };
    let columns = if to_file { COLUMNS } else { Page::stdout(paint).width_or(COLUMNS) };
    if dag.nodes.is_empty() {
        return "There is nothing to draw: the workflow has no tasks.".to_owned();
    }
    let steps: [fn(&Dag) -> Dag; 4] = [Dag::clone, summary::by_name, summary::by_neighbors, summary::by_layer];
    let mut shown = dag.clone();
    for step in steps {
        shown = step(&shown);
        if shown.nodes.len() > READABLE {
            continue;
        }
        if let Some(text) = terminal(&summary::reduce(&shown), columns, style, paint) {
            if shown.nodes.len() < dag.nodes.len() {
                let (boxes, all) = (shown.nodes.len(), number(dag.nodes.len() as u64));
                context.say(&format!("Drew {all} nodes in {boxes} boxes; `--format svg -o dag.svg` draws each."));
            }
            return text;
        }
    }
    summary::list(&shown, columns)
}

/// Returns whether the locale has letters for boxes.
fn speaks_unicode() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    // Containers often set no locale at all, and their terminals know UTF-8 all the same.
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8") || locale == "c" || locale == "posix"
    })
}

/// Has Graphviz draw.
fn svg(dot: &str) -> Result<String, Failure> {
    let mut graphviz = Command::new("dot");
    graphviz.arg("-Tsvg").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = graphviz.spawn().map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Failure::new(ErrorKind::NotFound, "Graphviz, which draws the picture, is not installed")
                .hint("`sudo apt-get install graphviz`, or `csync dag` for a picture in the terminal")
        } else {
            Failure::internal("Graphviz cannot be started").because(&error)
        }
    })?;
    let input = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.map(|mut input| input.write_all(dot.as_bytes())));
        child.wait_with_output()
    });
    let output = output.map_err(|error| Failure::internal("Graphviz was lost").because(&error))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(ErrorKind::Internal, format!("Graphviz failed: {}", words.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn to_json(dag: &Dag, run: Option<u32>, instances: bool) -> serde_json::Value {
    let mut after: Vec<Vec<&str>> = vec![Vec::new(); dag.nodes.len()];
    for (from, to) in &dag.edges {
        if let (Some(list), Some(node)) = (after.get_mut(*to as usize), dag.nodes.get(*from as usize)) {
            list.push(&node.name);
        }
    }
    let nodes = dag.nodes.iter().zip(&after).map(|(node, after)| {
        let mut value = json!({ "name": node.name, "instances": node.instances, "after": after });
        if let (Some(counts), Some(object)) = (node.counts, value.as_object_mut()) {
            object.insert("counts".to_owned(), json!(counts));
        }
        value
    });
    let kind = if instances { "instances" } else { "tasks" };
    json!({ "name": dag.name, "run": run, kind: nodes.collect::<Vec<_>>() })
}
