//! What a submission would do: planned in this process, against the memos of the store, with nothing started or written.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use crate::cli::catalog::catalog;
use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure, Source};
use crate::cli::foreseen::{Known, Places, foresee};
use crate::cli::planned::here;
use crate::cli::submission::Wishes;
use crate::cli::view;
use crate::cli::view::Paint;
use crate::cli::view::words::{many, number};
use crate::decide::engine::protocol::Verdict;
use crate::decide::fresh::memos::Memos;
use crate::decide::route::need::Asker;
use crate::language::hook::agent_of;
use crate::model::api::{ApiError, ErrorKind};
use crate::model::data::{DATA, Elsewhere};
use crate::model::diagnostic::Diagnostic;
use crate::model::id::InstanceId;
use crate::model::plan::Memo;
use crate::reach::store::{Place, Reader, WorkflowKey};
use crate::serve::engine::{refuse, storage};
use crate::serve::prepare::{Asked, Prepared, places, prepare, sets};

/// Says what would run, where and why.
pub(super) fn dry_run(context: &Context, source: &Source, root: &str, wishes: &Wishes) -> Result<Exit, Failure> {
    let mut known = Known::load(context, root)?;
    let hosts = places::hosts(|name| std::env::var_os(name), &known.facts)?;
    let Wishes { params, only, rerun, policy, .. } = wishes;
    let catalog = catalog(context, &source.text, params)?;
    known.replicas.retain(|replica| sets::holds_still(replica, &catalog));
    let elsewhere: Elsewhere = known.replicas.iter().collect();
    let asked = Asked {
        text: &source.text,
        root,
        params,
        only,
        rerun,
        hosts: &hosts,
        tree: None,
        elsewhere: &elsewhere,
        catalog: &catalog,
        policy: *policy,
    };
    let prepared = prepare(asked, |name| memos(context, root, name));
    let mut prepared = prepared.map_err(|error| Failure::from(error).with_source(|| source.clone()))?;
    let troubles = sets::troubles(&catalog).into_iter();
    prepared.warnings.extend(troubles.map(|told| Diagnostic::warning(None, told)));
    let plan = &prepared.plan;
    let of_datasets = plan.paths.iter().filter(|path| path.starts_with(DATA));
    known.replicas.extend(of_datasets.flat_map(|path| catalog.replicas(&plan.root, path)));
    let here = here();
    prepared.warnings.extend(places::misfits(&prepared.plan, &hosts, &known.facts, here));
    // As when it is submitted: by whoever asks.
    let agent = agent_of(|name| std::env::var(name).ok());
    let by = if agent.is_some() { Asker::Agent } else { Asker::Person };
    prepared.places.failures = std::mem::take(&mut known.failures);
    prepared.places.exclude((&prepared.plan, &prepared.verdicts), &hosts, &known.facts, (by, here))?;
    if let Some(agent) = agent
        && let Some((host, _)) = places::kept_from_agents(&prepared.places, &hosts)
    {
        let message = format!("{agent} may not start anything on `{host}` by itself");
        prepared.warnings.push(Diagnostic::warning(None, message).help("ask the person to submit it in a terminal"));
    }
    let is_told = context.json() || !context.quiet();
    let mut foreseen = if is_told { foresee(context, &prepared, &known, (&hosts, here))? } else { Places::default() };
    prepared.warnings.extend(foreseen.trouble.take());
    if context.json() {
        context.print_json(&Foreseen::new(&prepared, &foreseen))?;
        return Ok(Exit::Success);
    }
    if !prepared.warnings.is_empty() && !context.quiet() {
        context.warn(&view::failure::diagnostics(&prepared.warnings, source, context.paint_err()));
    }
    let mut text = text(&prepared, context.verbose() > 0, context.quiet(), context.paint());
    if !foreseen.is_empty() {
        text.push_str(&foreseen.text());
    }
    // One large write: a hundred thousand lines through a line buffer cost more than planning them.
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| Failure::output(&error))?;
    Ok(Exit::Success)
}

/// Reads what is remembered of the workflow. Nothing is, where there is no database or an older one.
fn memos(context: &Context, root: &str, name: &str) -> Result<Memos, ApiError> {
    let mut memos = Memos::default();
    let Ok(state_dir) = context.state_dir() else { return Ok(memos) };
    let place = Place::of(&state_dir);
    if !place.path.exists() {
        return Ok(memos);
    }
    let read = context.block_on(async { Ok(read(&place, WorkflowKey::of(root, name)).await) });
    // The outer error is that of a system without event queues.
    let read = read.map_err(|failure| refuse(ErrorKind::Internal, failure.to_string()))??;
    memos.reserve(read.len());
    for memo in &read {
        memos.insert(memo);
    }
    Ok(memos)
}

async fn read(place: &Place, workflow: WorkflowKey) -> Result<Vec<Memo>, ApiError> {
    match Reader::open(place).await.map_err(|error| storage(&error))? {
        Some(reader) => reader.memos(workflow).await.map_err(|error| storage(&error)),
        None => Ok(Vec::new()),
    }
}

/// How many instances would do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Tally {
    run: u32,
    maybe: u32,
    up_to_date: u32,
    left_out: u32,
}

impl Tally {
    fn of(verdicts: &[Verdict]) -> Self {
        let mut tally = Self::default();
        for verdict in verdicts {
            *match verdict {
                Verdict::Stale => &mut tally.run,
                Verdict::Check => &mut tally.maybe,
                Verdict::Fresh => &mut tally.up_to_date,
                Verdict::Left => &mut tally.left_out,
            } += 1;
        }
        tally
    }

    fn sentence(self) -> String {
        let total = self.run + self.maybe + self.up_to_date + self.left_out;
        if self.run + self.maybe == 0 {
            return match self.left_out {
                0 => format!("Nothing to run: {} up to date.", are(self.up_to_date)),
                left => format!("Nothing to run: {} up to date, {} left out.", are(self.up_to_date), number(left)),
            };
        }
        let mut text = format!("Would run {} of {}", number(self.run), many(total, "instance"));
        if self.maybe > 0 {
            let _ = write!(text, ", and {} more if what they read changes", number(self.maybe));
        }
        if self.up_to_date > 0 {
            let _ = write!(text, "; {} up to date", are(self.up_to_date));
        }
        if self.left_out > 0 {
            let _ = write!(text, "; {} left out", are(self.left_out));
        }
        text.push('.');
        text
    }
}

fn are(count: u32) -> String {
    format!("{} {}", many(count, "instance"), if count == 1 { "is" } else { "are" })
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Stale => "run",
        Verdict::Check => "maybe",
        Verdict::Fresh => "fresh",
        Verdict::Left => "left",
    }
}

/// Returns a line for each instance that would run (all of them when `verbose`), and the counts.
fn text(prepared: &Prepared, verbose: bool, quiet: bool, paint: Paint) -> String {
    let plan = &prepared.plan;
    let mut out = String::with_capacity(plan.instances.len().min(1 << 20) * 64);
    for (index, (verdict, reason)) in prepared.verdicts.iter().zip(&prepared.reasons).enumerate() {
        if quiet || !verbose && matches!(verdict, Verdict::Fresh | Verdict::Left) {
            continue;
        }
        let word = format_args!("{:<5}", word(*verdict));
        let _ = match verdict {
            Verdict::Stale => write!(out, "{}", paint.green(word)),
            Verdict::Check => write!(out, "{}", paint.cyan(word)),
            Verdict::Fresh | Verdict::Left => write!(out, "{}", paint.dim(word)),
        };
        let label = plan.label(InstanceId(index as u32));
        // Names with control characters would break the line, and worse.
        let label = if label.contains(char::is_control) { label.escape_debug().to_string() } else { label };
        let _ = writeln!(out, "  {label}: {}", reason.sentence(plan));
    }
    let _ = writeln!(out, "{}", Tally::of(&prepared.verdicts).sentence());
    out
}

/// The same for programs.
#[derive(Serialize)]
struct Foreseen<'a> {
    workflow: &'a str,
    root: &'a str,
    counts: Tally,
    instances: Instances<'a>,
    /// Where tasks would go, and what they would ask for, as far as there is something to say.
    #[serde(skip_serializing_if = "Places::is_empty")]
    placement: &'a Places,
    warnings: &'a [Diagnostic],
}

impl<'a> Foreseen<'a> {
    fn new(prepared: &'a Prepared, placement: &'a Places) -> Self {
        Self {
            workflow: &prepared.plan.name,
            root: &prepared.plan.root,
            counts: Tally::of(&prepared.verdicts),
            instances: Instances(prepared),
            placement,
            warnings: &prepared.warnings,
        }
    }
}

/// Every instance, written one by one.
struct Instances<'a>(&'a Prepared);

#[derive(Serialize)]
struct InstanceForeseen {
    instance: InstanceId,
    label: String,
    verdict: &'static str,
    reason: String,
}

impl Serialize for Instances<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let prepared = self.0;
        let mut instances = serializer.serialize_seq(Some(prepared.verdicts.len()))?;
        for ((instance, verdict), reason) in prepared.plan.instance_ids().zip(&prepared.verdicts).zip(&prepared.reasons)
        {
            instances.serialize_element(&InstanceForeseen {
                instance,
                label: prepared.plan.label(instance),
                verdict: word(*verdict),
                reason: reason.sentence(&prepared.plan),
            })?;
        }
        instances.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::graph::datasets::Catalog;
    use crate::language::hosts::Hosts;
    use crate::model::api::Rerun;

    fn prepared(only: &[String]) -> (tempfile::TempDir, Prepared) {
        let dir = tempfile::tempdir().unwrap();
        let text = "name = \"w\"\n[tasks.a]\nforeach = [\"x\", \"y\\nz\"]\noutputs = [\"{item.stem}.txt\"]\nrun = \"true\"\n[tasks.b]\nneeds = [\"a\"]\nrun = \"true\"\n";
        let root = dir.path().to_str().unwrap().to_owned();
        let params = std::collections::BTreeMap::new();
        let asked = Asked {
            text,
            root: &root,
            params: &params,
            only,
            rerun: &Rerun::Stale,
            hosts: &Hosts::default(),
            tree: None,
            elsewhere: &Elsewhere::default(),
            catalog: &Catalog::default(),
            policy: None,
        };
        let prepared = prepare(asked, |_| Ok(Memos::default())).unwrap();
        (dir, prepared)
    }

    #[test]
    fn what_would_run_and_why() {
        let (_dir, all) = prepared(&[]);
        insta::assert_snapshot!(text(&all, false, false, Paint::new(false)));
        let (_dir, some) = prepared(&["a".to_owned()]);
        insta::assert_snapshot!(text(&some, true, false, Paint::new(false)));
    }

    #[test]
    fn programs_see_the_same() {
        let (_dir, all) = prepared(&[]);
        let value = serde_json::to_value(Foreseen::new(&all, &Places::default())).unwrap();
        assert_eq!(value["counts"], serde_json::json!({"run": 3, "maybe": 0, "up_to_date": 0, "left_out": 0}));
        assert_eq!(value["instances"][1]["label"], "a[y\nz]");
        assert_eq!(value["instances"][2]["reason"], "it has not run here yet");
    }

    #[test]
    fn tallies_in_words() {
        let say = |run, maybe, up_to_date, left_out| Tally { run, maybe, up_to_date, left_out }.sentence();
        assert_eq!(say(0, 0, 3, 0), "Nothing to run: 3 instances are up to date.");
        assert_eq!(say(0, 0, 1, 2), "Nothing to run: 1 instance is up to date, 2 left out.");
        assert_eq!(
            say(1000, 1, 3, 1),
            "Would run 1,000 of 1,005 instances, and 1 more if what they read changes; 3 instances are up to date; 1 instance is left out."
        );
    }
}
