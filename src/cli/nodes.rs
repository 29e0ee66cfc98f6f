//! `csync hosts probe --nodes`: what the compute nodes of a cluster are, seen by a short job in each of its partitions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::command::{literal, task_name, toml_string};
use crate::cli::context::Context;
use crate::cli::errors::{Failure, Source};
use crate::cli::follow::interrupts;
use crate::cli::hosts::{Known, node_words};
use crate::cli::submission::{Wishes, WorkflowFile, directory, hand_in, submission};
use crate::cli::view::words::{command_on, many, outcome};
use crate::language::hosts::{partitions, takes_jobs};
use crate::language::probe::{node_script, parse_node};
use crate::model::api::{InstanceView, Selection, Stream};
use crate::model::batch::Partition;
use crate::model::facts::{Facts, NodeReport, NodeSight};
use crate::model::host::{Host, HostName, Policy};
use crate::model::id::RunId;
use crate::model::job::Outcome;
use crate::model::units::Walltime;
use crate::reach::client::{Client, InstanceQuery, LogQuery};
use crate::reach::clock;
use crate::reach::probe::mark;

/// Most jobs that one command sends to a host: what is over comes first the next time.
const MOST: usize = 20;

/// Engines that may go away one after the other while we wait, before we give up.
const LOST_MAX: u32 = 5;

/// Bytes of a job's output that are read.
const LONGEST: usize = 1 << 20;

/// A job that looks at a node.
struct Look {
    host: HostName,
    policy: Policy,
    partition: String,
    task: String,
    has_gpus: bool,
}

/// What came of it: a sight, or why there is none and the command that tells more.
type Seen = Result<NodeSight, (String, String)>;

/// Sends the jobs, waits for them no longer than that, and keeps what they saw. Returns for each host that has a batch system what
/// is known of each partition now, and whether a job came to nothing.
pub(super) fn look(
    context: &Context,
    hosts: &[HostName],
    limit: Walltime,
) -> Result<(BTreeMap<HostName, Value>, bool), Failure> {
    // As they are known now: the probe came just before.
    let known = Known::load(context)?;
    let looks: Vec<Look> = hosts.iter().flat_map(|name| looks_at(context, &known, name)).collect();
    if looks.is_empty() {
        return Ok((BTreeMap::new(), false));
    }
    let mark = mark();
    let (run, seen) = context.block_on(async {
        let client = context.reach().await?;
        let source = Source { name: "<the jobs that look>".to_owned(), text: workflow(&looks, &mark) };
        let file = WorkflowFile { source, path: None, root: root(context)? };
        let run = hand_in(context, &client, &submission(&file, Wishes::default())?, &file.source).await?.run;
        context.say(&format!("They are run {run}: `csync status {run}` shows how they stand."));
        let late = wait(context, run, limit, &looks).await?;
        let client = context.reach().await?;
        let seen = gather(&client, run, &looks, &mark, &late).await?;
        keep(&client, &looks, &seen).await?;
        Ok((run, seen))
    })?;
    let mut told: BTreeMap<HostName, Value> = BTreeMap::new();
    for (look, seen) in looks.iter().zip(&seen) {
        let entry = match seen {
            Ok(sight) => json!(sight),
            Err((why, hint)) => json!({ "failure": why, "hint": hint }),
        };
        let of_host = told.entry(look.host.clone()).or_insert_with(|| json!({ "run": run.0, "partitions": {} }));
        if let Some(partitions) = of_host.get_mut("partitions").and_then(Value::as_object_mut) {
            partitions.insert(look.partition.clone(), entry);
        }
        if !context.json() {
            tell(context, look, seen)?;
        }
    }
    Ok((told, seen.iter().any(Result::is_err)))
}

fn tell(context: &Context, look: &Look, seen: &Seen) -> Result<(), Failure> {
    let paint = context.paint();
    let head = paint.bold(format!("{} {}", look.host, look.partition));
    match seen {
        Ok(sight) => context.print(&format!("{head}: {} ({})", node_words(sight), sight.node)),
        Err((why, hint)) => {
            context.print(&format!("{head}: {}", paint.red(why)))?;
            context.say(&format!("  help: {hint}"));
            Ok(())
        }
    }
}

/// Returns the jobs that go to a host, and says so before they do.
fn looks_at(context: &Context, known: &Known, name: &HostName) -> Vec<Look> {
    let Some(host) = known.hosts.get(name.as_str()) else { return Vec::new() };
    let Some(facts) = known.facts(host).filter(|_| known.batch_system(host).is_some()) else {
        context.say(&format!("{name} has no batch system: a probe sees all of it."));
        return Vec::new();
    };
    let (chosen, left) = chosen(host, facts);
    let names: Vec<&str> = chosen.iter().map(|partition| partition.name.as_str()).collect();
    if names.is_empty() {
        context.say(&format!("No partition of {name} takes jobs: nothing is sent there."));
        return Vec::new();
    }
    let jobs = many(names.len() as u32, "job");
    let gpus = if chosen.iter().any(has_gpus) { ", and a GPU where there are any" } else { "" };
    let rest = if left == 0 {
        String::new()
    } else {
        format!(" {} come the next time.", many(left as u32, "further partition"))
    };
    context.say(&format!(
        "Sends {jobs} of at most one minute to {name}, each with one core{gpus}: to {}.{rest}",
        names.join(", ")
    ));
    let task = |partition: &Partition| Look {
        host: name.clone(),
        policy: host.policy,
        partition: partition.name.clone(),
        task: task_name(&format!("{name}-{}", partition.name)),
        has_gpus: has_gpus(partition),
    };
    chosen.iter().map(task).collect()
}

fn has_gpus(partition: &Partition) -> bool {
    partition.gpus.values().any(|&gpus| gpus > 0)
}

/// Returns the partitions that a job goes to, those that nobody looked at for longest first, and how many are left out.
fn chosen(host: &Host, facts: &Facts) -> (Vec<Partition>, usize) {
    let mut all: Vec<Partition> = partitions(host, Some(facts)).into_iter().filter(takes_jobs).collect();
    all.sort_by_key(|partition| facts.nodes.get(&partition.name).map(|sight| sight.at));
    let left = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    (all, left)
}

/// Writes the workflow of these jobs; tasks have a number, since two partitions may be called alike but for odd letters.
fn workflow(looks: &[Look], mark: &str) -> String {
    let mut text = "name = \"probe-nodes\"\n".to_owned();
    for (index, look) in looks.iter().enumerate() {
        let gpus = if look.has_gpus { ", gpus = 1" } else { "" };
        let script = toml_string(&literal(&node_script(mark, look.policy)));
        let _infallible = write!(
            text,
            "\n[tasks.{}]\nrun = [\"sh\", \"-c\", {script}]\ncache = false\nretries = 0\non = {}\npartition = {}\n\
             resources = {{ cpus = 1, mem = \"512M\", time = \"1m\"{gpus} }}\n",
            label(index, look),
            toml_string(&literal(look.host.as_str())),
            toml_string(&literal(&look.partition)),
        );
    }
    text
}

fn label(index: usize, look: &Look) -> String {
    format!("{}-{}", look.task, index + 1)
}

/// Returns the directory that they belong to: one of csync's own, since they have to do with none of the person's.
fn root(context: &Context) -> Result<String, Failure> {
    let dir = context.state_dir()?.looks();
    std::fs::create_dir_all(&dir).map_err(|error| {
        Failure::internal(format!("the directory `{}` cannot be made", dir.display())).because(&error)
    })?;
    directory(&dir)
}

/// Waits until they are over. What is not by then is cancelled; returns why it was not, by its label.
async fn wait(
    context: &Context,
    run: RunId,
    limit: Walltime,
    looks: &[Look],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut interrupts = interrupts()?;
    let mut late = BTreeMap::new();
    let over = tokio::select! {
        over = tokio::time::timeout(Duration::from_secs(limit.0), over(context, run)) => over.ok().transpose()?.is_some(),
        _ = interrupts.recv() => {
            context.reach().await?.cancel(run.into(), &Selection::default()).await?;
            return Err(Failure::interrupted(format!("interrupted: run {run} was cancelled, and nothing was kept")));
        }
    };
    if over {
        return Ok(late);
    }
    let client = context.reach().await?;
    for (index, look) in looks.iter().enumerate() {
        let label = label(index, look);
        let why = client.why(run.into(), &label).await?;
        if let Some(why) = why.first().filter(|why| !why.instance.state.is_over()) {
            let reason = why.reasons.first().map_or(String::new(), |reason| format!(": {reason}"));
            late.insert(label, format!("its job was not over after {limit} and was cancelled{reason}"));
        }
    }
    client.cancel(run.into(), &Selection::default()).await?;
    Ok(late)
}

/// Waits for a run, through the end of engines.
async fn over(context: &Context, run: RunId) -> Result<(), Failure> {
    let mut lost = 0;
    loop {
        match context.reach().await?.wait(run.into()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_lost() && lost < LOST_MAX => lost += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads what the jobs printed.
async fn gather(
    client: &Client,
    run: RunId,
    looks: &[Look],
    mark: &str,
    late: &BTreeMap<String, String>,
) -> Result<Vec<Seen>, Failure> {
    let every = InstanceQuery { limit: Some(u32::MAX), ..InstanceQuery::default() };
    let page = client.instances(run.into(), &every).await?;
    let mut all = Vec::new();
    for (index, look) in looks.iter().enumerate() {
        let label = label(index, look);
        let instance = page.instances.iter().find(|instance| instance.label == label);
        let hint = format!("`{}` tells more", command_on("why", run, &label));
        all.push(match (instance, late.get(&label)) {
            (Some(instance), None) if instance.outcome == Some(Outcome::Success) => {
                let printed = printed(client, run, instance).await?;
                let at = instance.attempts.last().and_then(|attempt| attempt.ended).unwrap_or_else(clock::now);
                let sight = parse_node(mark, &printed, at, look.has_gpus);
                sight.ok_or_else(|| ("its job was ended before it had seen all".to_owned(), hint))
            }
            (_, Some(why)) => {
                Err((why.clone(), format!("give it longer: `csync hosts probe --nodes --within 1h {}`", look.host)))
            }
            (instance, None) => {
                let ending = instance.and_then(|instance| instance.outcome.as_ref()).map(outcome);
                Err((
                    format!("its job came to nothing: {}", ending.unwrap_or_else(|| "it did not run".to_owned())),
                    hint,
                ))
            }
        });
    }
    Ok(all)
}

async fn printed(client: &Client, run: RunId, instance: &InstanceView) -> Result<String, Failure> {
    let query =
        LogQuery { instance: instance.instance, attempt: None, stream: Stream::Stdout, follow: false, tail: None };
    let mut chunks = client.logs(run.into(), query).await?;
    let mut log = Vec::new();
    while let Some(chunk) = chunks.next().await? {
        log.extend_from_slice(&chunk);
        if log.len() > LONGEST {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&log).into_owned())
}

async fn keep(client: &Client, looks: &[Look], seen: &[Seen]) -> Result<(), Failure> {
    let mut reports: BTreeMap<&HostName, BTreeMap<String, NodeSight>> = BTreeMap::new();
    for (look, seen) in looks.iter().zip(seen) {
        if let Ok(sight) = seen {
            reports.entry(&look.host).or_default().insert(look.partition.clone(), sight.clone());
        }
    }
    for (host, nodes) in reports {
        client.keep_nodes(&NodeReport { host: host.clone(), nodes }).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::batch::parse_probe;
    use crate::language::manifest;
    use crate::model::batch::{BatchFacts, Flavour, PartitionState};
    use crate::model::facts::BatchSystem;
    use crate::model::units::Timestamp;

    fn facts(partitions: Vec<Partition>) -> Facts {
        let offers = BatchFacts { partitions, ..parse_probe(Flavour::Slurm, "") };
        Facts { batch: Some(BatchSystem { offers, bin: None, env: BTreeMap::new() }), ..Facts::default() }
    }

    fn partition(name: &str) -> Partition {
        Partition { name: name.to_owned(), ..Partition::default() }
    }

    #[test]
    fn jobs_go_where_jobs_can_go_and_first_where_nobody_looked() {
        let closed = Partition { state: PartitionState::Closed, ..partition("closed") };
        let behind = Partition { is_routed_only: true, ..partition("behind") };
        let door = Partition { routes_to: vec!["behind".to_owned()], ..partition("door") };
        let mut facts = facts(vec![partition("old"), partition("new"), closed, behind, door, partition("never")]);
        for (name, at) in [("new", 9), ("old", 3)] {
            facts.nodes.insert(name.to_owned(), NodeSight { at: Timestamp(at), ..NodeSight::default() });
        }
        let host = Host::new("hpc".parse().unwrap());
        let (found, left) = chosen(&host, &facts);
        assert_eq!(found.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["never", "old", "new"]);
        assert_eq!(left, 0);
        let many = self::facts((0..50).map(|n| partition(&format!("p{n}"))).collect());
        assert_eq!((chosen(&host, &many).0.len(), chosen(&host, &many).1), (MOST, 30));
    }

    #[test]
    fn the_workflow_can_be_read_whatever_partitions_are_called() {
        let look = |partition: &str, has_gpus| Look {
            host: "hpc".parse().unwrap(),
            policy: Policy::default(),
            partition: partition.to_owned(),
            task: task_name(&format!("hpc-{partition}")),
            has_gpus,
        };
        let looks = [look("all.q", false), look("all q", true), look("{x}\"", false)];
        let text = workflow(&looks, "csync-0123456789abcdef");
        // Two of one name would be a mistake.
        let (_, mistakes) = manifest::read(&text);
        assert!(mistakes.is_empty(), "{mistakes:?}\n{text}");
    }
}
