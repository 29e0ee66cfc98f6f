//! Job directories on other machines: `csync clean --on HOST` removes them, `csync fetch` brings back what was left in them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::Path;

use serde_json::json;

use crate::cli::along::said_yes;
use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::{Answers, Known, connections, unreached, way};
use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::cli::view::words::{ago, many};
use crate::model::api::ErrorKind;
use crate::model::data::Replica;
use crate::model::host::Host;
use crate::model::id::{InstanceId, JobKey, RunId};
use crate::model::units::{Bytes, Timestamp, Walltime};
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::files::look::fingerprint;
use crate::reach::store::{Place, Reader, Sent, StoreError};
use crate::reach::transport::Remote;
use crate::serve::site::{Halves, JobDirectory, Then, There, look_for_halves, remove, run_of, there};

/// Columns of the list.
const COLUMNS: &[Column] = &[
    Column::Number("RUN"),
    Column::Number("HOLDS"),
    Column::Word("WRITTEN"),
    Column::Text("WHAT"),
    Column::Extra("JOB"),
];

/// Most runs that are named.
const NAMED: usize = 5;

/// What becomes of a job directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It may go.
    Goes,
    /// It may go, and with it results that nobody has.
    GoesWithResults,
    /// Its job lives.
    Lives,
    /// Another state directory's: nobody here knows whether its job lives.
    Others,
    /// It is not asked for.
    Stays,
}

impl Fate {
    const fn words(self) -> &'static str {
        match self {
            Self::Goes => "over",
            Self::GoesWithResults => "over; results not brought back",
            Self::Lives => "not over: stays",
            Self::Others => "another csync's: stays",
            Self::Stays => "stays",
        }
    }

    const fn goes(self) -> bool {
        matches!(self, Self::Goes | Self::GoesWithResults)
    }
}

/// Which directories are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which<'a> {
    /// Of these runs; of all when empty.
    pub(super) runs: &'a [u32],
    /// Not written to for so long.
    pub(super) older_than: Option<Walltime>,
    /// What was brought for jobs too.
    pub(super) inputs: bool,
    /// Only say what would go.
    pub(super) dry_run: bool,
    /// Do not ask.
    pub(super) yes: bool,
}

/// Removes job directories on hosts.
pub(super) fn clean(context: &Context, hosts: &[String], which: Which<'_>) -> Result<Exit, Failure> {
    let known = Known::load(context)?;
    let state = context.state_dir()?;
    let connections = connections(context, Answers::ForAll)?;
    let mut told = Vec::new();
    for name in hosts {
        let host = known.host(name)?;
        let cleaned = context.block_on(async {
            let way = way(&connections, host).await.map_err(|error| unreached(&error, host))?;
            // What is live is asked before what is there: what comes later is in neither list.
            let live = live(&state).await?;
            let names = live.iter().map(|sent| sent.name.to_string()).collect();
            let there = there(&way, host, &state).await.map_err(|error| unreached(&error, host))?;
            let fates: Vec<Fate> =
                there.jobs.iter().map(|job| fate(&state, job, &names, which, clock::now())).collect();
            // What jobs that are not over read stays. Those of another csync read what is its own.
            let stays = stays(&live, host, &there);
            let inputs = which.inputs && stays.is_none();
            // What is being brought may be gone on with; what goes with all that was brought is counted there.
            let halves = if stays.is_some() || inputs {
                Halves::default()
            } else {
                look_for_halves(&way, &state, &there, Then::Count).await.map_err(|error| unreached(&error, host))?
            };
            if let Some(stays) = stays.filter(|_| which.inputs && !context.json()) {
                context.say(&stays);
            }
            let cleaned = clean_one(context, host, &way, (&there, &fates, halves), which, inputs).await;
            if inputs && !which.dry_run {
                // Also of what went before something could not be removed: what is still there is seen when it is brought again.
                context.reach().await?.cleaned(&host.name).await?;
            }
            cleaned
        })?;
        told.push(cleaned);
    }
    if context.json() {
        context.print_json(&json!({ "hosts": told, "dry_run": which.dry_run }))?;
    }
    Ok(Exit::Success)
}

/// Returns the submissions that are not over.
async fn live(state: &StateDir) -> Result<Vec<Sent>, Failure> {
    match Reader::open(&Place::of(state)).await.map_err(|error| unreadable(&error))? {
        Some(reader) => {
            let sent = reader.submissions().await.map_err(|error| unreadable(&error))?;
            let mut live = Vec::new();
            for sent in sent {
                // The engine lets go of a submission some time after its last member is over.
                let over = members_are_over(&reader, &sent.members).await.map_err(|error| unreadable(&error))?;
                if !over {
                    live.push(sent);
                }
            }
            Ok(live)
        }
        None => Ok(Vec::new()),
    }
}

/// Returns what is said where submissions that are not over read what was brought to a host; nothing where none do. Whether their job
/// directories are there says less: one whose inputs are still being brought has none yet, and one that waits until its own can be made,
/// or that a container of the host runs, never has.
fn stays(live: &[Sent], host: &Host, there: &There) -> Option<String> {
    // A host may have had another name.
    let lies_here = |sent: &Sent| there.jobs.iter().any(|job| job.name == sent.name.as_str());
    let here = live.iter().filter(|sent| sent.host == host.name.as_str() || lies_here(sent));
    let runs: BTreeSet<RunId> = here.flat_map(|sent| &sent.members).map(|key| key.run).collect();
    let first = runs.first()?;
    let mut names: Vec<String> = runs.iter().take(NAMED).map(ToString::to_string).collect();
    if runs.len() > NAMED {
        names.push(format!("{} more", runs.len() - NAMED));
    }
    let (runs, names) = (if runs.len() == 1 { "run" } else { "runs" }, names.join(", "));
    Some(format!(
        "What was brought for jobs stays: jobs of {runs} {names} are not over and may read it, also those that only wait to be sent; \
         `csync why {first}` says what they wait for, `csync cancel {first}` ends them."
    ))
}

async fn members_are_over(reader: &Reader, members: &[JobKey]) -> Result<bool, StoreError> {
    let Some(first) = members.first() else { return Ok(true) };
    // Members of one submission are nearly always of one run; another's is looked at as live.
    let instances: Vec<InstanceId> = members.iter().map(|key| key.instance).collect();
    let attempts = reader.attempts(first.run, Some(&instances)).await?;
    let over: BTreeSet<JobKey> = attempts.iter().filter(|attempt| attempt.ending.is_some()).map(|it| it.key).collect();
    Ok(members.iter().all(|key| over.contains(key)))
}

fn fate(state: &StateDir, job: &JobDirectory, live: &BTreeSet<String>, which: Which<'_>, now: Timestamp) -> Fate {
    let Some(RunId(run)) = run_of(state, &job.name) else { return Fate::Others };
    if live.contains(&job.name) {
        return Fate::Lives;
    }
    let wanted = which.runs.is_empty() || which.runs.contains(&run);
    let old = which.older_than.is_none_or(|age| now.since(job.at).as_secs() >= age.0);
    match (wanted && old, job.keeps_results) {
        (false, _) => Fate::Stays,
        (true, true) => Fate::GoesWithResults,
        (true, false) => Fate::Goes,
    }
}

async fn clean_one(
    context: &Context,
    host: &Host,
    way: &Remote,
    (there, fates, halves): (&There, &[Fate], Halves),
    which: Which<'_>,
    inputs: bool,
) -> Result<serde_json::Value, Failure> {
    let going: Vec<&JobDirectory> =
        there.jobs.iter().zip(fates).filter(|(_, fate)| fate.goes()).map(|(job, _)| job).collect();
    let state = context.state_dir()?;
    let kept = if inputs { results(&state, host, there).await? } else { Kept::default() };
    let bytes = Bytes(going.iter().map(|job| job.bytes.0).sum::<u64>() + if inputs { there.inputs.0 } else { 0 });
    let names: Vec<String> = going.iter().map(|job| job.name.clone()).collect();
    if !context.json() {
        context.print(&list(context, host, there, fates))?;
        if let Some(first) = &kept.first {
            let files = many(kept.files, "output");
            context.say(&format!(
                "The directories stay in which results lie that are not here: {files} with {}, such as {first}; \
                 `csync data get` brings them.",
                kept.bytes
            ));
        }
    }
    if names.is_empty() && !inputs && halves.files == 0 {
        context.say(&format!("Nothing to clean on {}.", host.name));
        return Ok(json!({ "host": host.name, "removed": [], "bytes": 0 }));
    }
    let what = format!("{}, {bytes}", many(names.len() as u32, "job directory").replace("directorys", "directories"));
    let what = match halves.files {
        0 => what,
        files => format!(
            "{what}; {} of files that nothing was written to for days, {}",
            if files == 1 { "1 half".to_owned() } else { format!("{files} halves") },
            halves.bytes
        ),
    };
    if which.dry_run {
        context.say(&format!("Would remove {what}."));
        return Ok(json!({ "host": host.name, "removed": names, "bytes": bytes.0 }));
    }
    if !which.yes && !agreed(context, &what, fates)? {
        return Err(Failure::interrupted(format!("nothing was removed on {}", host.name)));
    }
    // What was submitted while a person thought about it reads there too.
    let is_open = inputs || halves.files > 0;
    let read = if is_open { stays(&live(&state).await?, host, there) } else { None };
    if let Some(stays) = &read {
        context.say(stays);
    } else if halves.files > 0 {
        look_for_halves(way, &state, there, Then::Remove).await.map_err(|error| unreached(&error, host))?;
    }
    let inputs = inputs && read.is_none();
    let left = remove(way, &state, there, &names, inputs.then_some(&kept.trees))
        .await
        .map_err(|error| unreached(&error, host))?;
    context.say(&format!("Removed {what}."));
    if let [first, ..] = left.as_slice() {
        let some = many(left.len() as u32, "of them");
        return Err(Failure::new(
            ErrorKind::Conflict,
            format!("{some} could not be removed, such as {}/jobs/{first}", there.scratch),
        )
        .hint(format!(
            "`ssh {}` and look whose files are in it",
            host.ssh.as_ref().map_or("HOST", |alias| alias.as_str())
        )));
    }
    Ok(json!({ "host": host.name, "removed": names, "bytes": bytes.0 }))
}

/// Results that tasks left on a host, and that are not here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    /// The directories among what was brought in which they lie.
    trees: BTreeSet<String>,
    files: u32,
    bytes: Bytes,
    first: Option<String>,
}

async fn results(state: &StateDir, host: &Host, there: &There) -> Result<Kept, Failure> {
    let reader = Reader::open(&Place::of(state)).await.map_err(|error| unreadable(&error))?;
    let Some(reader) = reader else { return Ok(Kept::default()) };
    let replicas = reader.replicas(None).await.map_err(|error| unreadable(&error))?;
    let is_here = |copy: &Replica| {
        let here = fingerprint(Path::new(&copy.here()), false).ok().flatten();
        here.is_some_and(|print| print.size == copy.size.0)
    };
    Ok(kept(&replicas, host, &there.scratch, is_here))
}

/// Finds results that are not here. Copies on other hosts do not count: they may be links to this one, or go by the next `clean`; and
/// a host of another name that has the same scratch may have the very same one.
fn kept(replicas: &[Replica], host: &Host, scratch: &str, is_here: impl Fn(&Replica) -> bool) -> Kept {
    let trees = format!("{scratch}/trees/");
    let mut kept = Kept::default();
    for copy in replicas.iter().filter(|copy| copy.host == host.name || copy.place.starts_with(&trees)) {
        let Some(tree) = copy.place.strip_prefix(&trees).and_then(|rest| rest.split('/').next()) else { continue };
        if is_here(copy) {
            continue;
        }
        kept.trees.insert(tree.to_owned());
        kept.files += 1;
        kept.bytes = Bytes(kept.bytes.0.saturating_add(copy.size.0));
        kept.first.get_or_insert_with(|| copy.path.clone());
    }
    kept
}

fn unreadable(error: &dyn std::error::Error) -> Failure {
    Failure::new(ErrorKind::Storage, error.to_string()).hint("`csync doctor` looks what is wrong")
}

fn agreed(context: &Context, what: &str, fates: &[Fate]) -> Result<bool, Failure> {
    if context.json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let failure = Failure::new(ErrorKind::Conflict, format!("{what} would go, and nobody is there to be asked"));
        return Err(failure.hint("`--yes` removes them, `-n` only says what would go"));
    }
    let results = fates.iter().filter(|fate| **fate == Fate::GoesWithResults).count();
    let warning = match results {
        0 => String::new(),
        some => format!(" ({some} with results that were not brought back)"),
    };
    said_yes(&format!("Remove {what}{warning}? [Y/n] "))
}

fn list(context: &Context, host: &Host, there: &There, fates: &[Fate]) -> String {
    let mut table = Table::new(Page::stdout(context.paint()), COLUMNS);
    let now = clock::now();
    for (job, fate) in there.jobs.iter().zip(fates) {
        let run = job.name.split('-').nth(2).unwrap_or("-");
        table.row(vec![
            Cell::new(if *fate == Fate::Others { "-" } else { run }),
            Cell::new(job.bytes),
            Cell::new(ago(job.at, now)),
            Cell::new(fate.words()),
            Cell::new(&job.name),
        ]);
    }
    let mut text = format!("On {}, in {}/jobs:\n", host.name, there.scratch);
    if there.jobs.is_empty() {
        text.push_str("no job directories\n");
    } else {
        let _infallible = writeln!(text, "{}", table.print().trim_end());
    }
    let _infallible = writeln!(text, "Brought for jobs to read: {}; `--inputs` removes that too.", there.inputs);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_are_not_here_stay() {
        let host = Host::new("hpc".parse().unwrap());
        let copy = |path: &str, on: &str, place: &str| Replica {
            root: "/w".to_owned(),
            path: path.to_owned(),
            host: on.parse().unwrap(),
            place: place.to_owned(),
            size: Bytes(3),
            mtime: 1,
            at: Timestamp(0),
        };
        let replicas = [
            copy("alone", "hpc", "/s/trees/0a"),
            copy("fetched", "hpc", "/s/trees/0b"),
            copy("twice", "hpc", "/s/trees/0c"),
            copy("twice", "lab", "/t/trees/0c"),
            copy("elsewhere", "hpc", "/project/data"),
            // Of a host that has the same scratch, or one that is called alike.
            copy("other", "lab", "/s/trees/0d"),
        ];
        let kept = kept(&replicas, &host, "/s", |copy| copy.path == "fetched");
        assert_eq!(kept.trees, ["0a", "0c", "0d"].map(str::to_owned).into());
        assert_eq!((kept.files, kept.bytes, kept.first.as_deref()), (3, Bytes(9), Some("alone")));
    }

    #[test]
    fn inputs_are_read_by_what_is_not_over_wherever_it_has_a_directory() {
        let state = StateDir::at("/tmp/x".into(), None);
        let sent = |host: &str| Sent {
            name: format!("csync-{}-1-0-1", &state.id()[..8]).parse().unwrap(),
            host: host.to_owned(),
            at: Timestamp(0),
            batch: None,
            members: Vec::new(),
        };
        let sent_of = |host: &str, runs: &[u32]| {
            let key = |run: &u32| JobKey { run: RunId(*run), instance: InstanceId(0), attempt: 1 };
            Sent { members: runs.iter().map(key).collect(), ..sent(host) }
        };
        let (host, none) = (Host::new("hpc".parse().unwrap()), There::default());
        let said = stays(&[sent_of("lab", &[1]), sent_of("hpc", &[4, 2])], &host, &none).unwrap();
        assert!(said.contains("jobs of runs 2, 4 are not over") && said.contains("`csync cancel 2`"), "{said}");
        let said = stays(&[sent_of("hpc", &[1, 2, 3, 4, 5, 6, 7])], &host, &none).unwrap();
        assert!(said.contains("runs 1, 2, 3, 4, 5, 2 more"), "{said}");
        let others = [sent_of("lab", &[1]), sent_of("hpc2", &[2])];
        assert_eq!((stays(&others, &host, &none), stays(&[], &host, &none)), (None, None));
        // A host may be called otherwise than when it was sent there.
        let job = |sent: &Sent| JobDirectory {
            name: sent.name.to_string(),
            bytes: Bytes(1),
            at: Timestamp(0),
            keeps_results: false,
        };
        let there = There { jobs: vec![job(&others[0])], ..There::default() };
        assert!(stays(&others[..1], &host, &there).is_some());
    }

    #[test]
    fn what_lives_or_is_others_never_goes() {
        let state = StateDir::at("/tmp/x".into(), None);
        let id = state.id();
        let job = |run: u32, keeps_results| JobDirectory {
            name: format!("csync-{}-{run}-0-1", &id[..8]),
            bytes: Bytes(1),
            at: Timestamp(0),
            keeps_results,
        };
        let all = Which { runs: &[], older_than: None, inputs: false, dry_run: false, yes: true };
        let live = BTreeSet::from([job(2, false).name]);
        let now = Timestamp(3_600_000_000);
        let fate = |job: &JobDirectory, which| fate(&state, job, &live, which, now);
        assert_eq!(fate(&job(1, false), all), Fate::Goes);
        assert_eq!(fate(&job(1, true), all), Fate::GoesWithResults);
        assert_eq!(fate(&job(2, false), all), Fate::Lives);
        assert_eq!(fate(&JobDirectory { name: "csync-ffffffff-1-0-1".to_owned(), ..job(1, false) }, all), Fate::Others);
        assert_eq!(fate(&job(1, false), Which { runs: &[3], ..all }), Fate::Stays);
        let old = |age| Which { older_than: Some(Walltime(age)), ..all };
        assert_eq!(fate(&job(1, false), old(3600)), Fate::Goes);
        assert_eq!(fate(&job(1, false), old(3601)), Fate::Stays);
    }
}
