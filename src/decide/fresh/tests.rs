use std::collections::BTreeMap;

use proptest::prelude::*;

use super::judge::{Judge, Judgement, Recheck, recheck};
use super::memos::{Hashes, Memos, definition, key, memo, workflow_key};
use super::reason::Reason;
use super::select::Selection;
use crate::decide::engine::protocol::Verdict;
use crate::language::manifest::{self, Facts, Limits};
use crate::model::api::Rerun;
use crate::model::id::{InstanceId, JobKey, PathId, RunId};
use crate::model::job::{Ended, Outcome};
use crate::model::plan::{Fingerprint, Memo, Plan};
use crate::model::resources::Usage;
use crate::model::units::Timestamp;

/// Two samples are aligned, sorted and merged; a note is kept of the whole.
const WORKFLOW: &str = r#"
name = "w"
[tasks.align]
foreach = ["x", "y"]
inputs = ["reads/{item}"]
outputs = ["bam/{item}"]
run = "align"
[tasks.sort]
foreach = ["x", "y"]
inputs = ["bam/{item}"]
outputs = ["sorted/{item}"]
run = "sort"
[tasks.merge]
inputs = ["sorted/x", "sorted/y"]
outputs = ["merged"]
run = "merge"
[tasks.note]
needs = ["merge"]
outputs = ["note"]
run = "note"
"#;

/// A directory that only pretends: per path its size, time and content.
struct Disk {
    plan: Plan,
    left: Vec<InstanceId>,
    files: BTreeMap<String, Fingerprint>,
    memos: Memos,
}

impl Disk {
    /// Everything in `text` has run, at time 1.
    fn after(text: &str) -> Self {
        let (plan, left) = plan(text);
        let files = plan.paths.iter().map(|path| (path.to_owned(), print(1, path)));
        let mut disk = Self { files: files.collect(), plan, left, memos: Memos::default() };
        for instance in disk.plan.instance_ids() {
            disk.remember(instance);
        }
        disk
    }

    fn remember(&mut self, instance: InstanceId) {
        let prints = |paths: &[PathId]| paths.iter().map(|&path| self.files[self.plan.path(path)]).collect();
        self.memos.insert(&Memo {
            key: key(&self.plan, instance),
            definition: definition(&self.plan, instance),
            inputs: prints(self.plan.inputs(instance)),
            outputs: prints(self.plan.outputs(instance)),
        });
    }

    /// The workflow is edited.
    fn edit(&mut self, from: &str, to: &str) {
        (self.plan, self.left) = plan(&WORKFLOW.replace(from, to));
    }

    fn write(&mut self, path: &str, time: i64, content: &str) {
        self.files.insert(path.to_owned(), print(time, content));
    }

    fn seen(&self, wanted: &[bool], hashed: &[PathId]) -> Vec<Option<Fingerprint>> {
        let paths = self.plan.paths.iter().zip(wanted).enumerate();
        let look = |(index, (path, wanted)): (usize, (&str, &bool))| {
            let print = self.files.get(path).filter(|_| *wanted)?;
            let hash = print.hash.filter(|_| hashed.contains(&PathId(index as u32)));
            Some(Fingerprint { hash, ..*print })
        };
        paths.map(look).collect()
    }

    fn judge_with(&self, only: &[&str], rerun: &Rerun) -> (Judgement, Vec<PathId>) {
        let only: Vec<_> = only.iter().map(|&name| name.to_owned()).collect();
        let selection = Selection::new(&self.plan, &self.left, &only, rerun).unwrap();
        let judge = Judge::new(&self.plan, &self.memos, &selection);
        let wanted = judge.paths();
        let doubtful = judge.doubtful(&self.seen(&wanted, &[]));
        (judge.judge(&self.seen(&wanted, &doubtful)), doubtful)
    }

    /// Returns what is not simply up to date: `label: verdict, reason`.
    fn stale(&self) -> Vec<String> {
        self.stale_with(&[], &Rerun::Stale)
    }

    fn stale_with(&self, only: &[&str], rerun: &Rerun) -> Vec<String> {
        let (judgement, _) = self.judge_with(only, rerun);
        let all = self.plan.instance_ids().zip(judgement.verdicts).zip(judgement.reasons);
        let stale = all.filter(|((_, verdict), _)| *verdict != Verdict::Fresh);
        stale
            .map(|((instance, verdict), reason)| {
                format!("{}: {verdict:?}, {}", self.plan.label(instance), reason.sentence(&self.plan))
            })
            .collect()
    }
}

fn plan(text: &str) -> (Plan, Vec<InstanceId>) {
    let (workflow, diagnostics) = manifest::read(text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let expanded = manifest::expand(&workflow, "/lab", &BTreeMap::new(), &Facts::default(), Limits::default()).unwrap();
    (expanded.plan, expanded.left)
}

fn print(mtime: i64, content: &str) -> Fingerprint {
    let hash = blake3::hash(content.as_bytes()).as_bytes().first_chunk::<16>().copied();
    Fingerprint { size: content.len() as u64, mtime, hash }
}

#[test]
fn what_nothing_happened_to_is_up_to_date() {
    let disk = Disk::after(WORKFLOW);
    assert_eq!(disk.stale(), [""; 0]);
    assert!(disk.judge_with(&[], &Rerun::Stale).1.is_empty(), "no content was read");
}

#[test]
fn without_memos_everything_runs() {
    let mut disk = Disk::after(WORKFLOW);
    disk.memos = Memos::default();
    let stale = disk.stale();
    assert_eq!(stale.len(), 6);
    assert_eq!(stale[0], "align[x]: Stale, it has not run here yet");
}

#[test]
fn a_changed_input_redoes_its_branch_as_far_as_it_changes() {
    let mut disk = Disk::after(WORKFLOW);
    disk.write("reads/x", 2, "longer than before");
    assert_eq!(
        disk.stale(),
        [
            "align[x]: Stale, input `reads/x` changed",
            "sort[x]: Check, `align[x]` runs first",
            "merge: Check, `sort[x]` runs first",
            "note: Check, `merge`, which it needs, runs first",
        ]
    );
}

#[test]
fn a_touched_input_is_read_and_changes_nothing() {
    let mut disk = Disk::after(WORKFLOW);
    disk.write("reads/x", 2, "reads/x");
    let (judgement, doubtful) = disk.judge_with(&[], &Rerun::Stale);
    assert!(judgement.verdicts.iter().all(|verdict| *verdict == Verdict::Fresh));
    assert_eq!(doubtful.len(), 1);
    // With what is remembered now, it is not read again.
    let [refreshed] = &judgement.refreshed[..] else { panic!("one memo is written anew") };
    assert_eq!(refreshed.inputs[0].mtime, 2);
    disk.memos.insert(refreshed);
    assert_eq!(disk.judge_with(&[], &Rerun::Stale), (Judgement { refreshed: vec![], ..judgement }, vec![]));
}

#[test]
fn same_size_other_content_is_a_change() {
    let mut disk = Disk::after(WORKFLOW);
    disk.write("reads/x", 2, "READS/X");
    assert_eq!(disk.stale()[0], "align[x]: Stale, input `reads/x` changed");
}

#[test]
fn a_file_that_was_never_hashed_is_told_by_its_time() {
    let mut disk = Disk::after(WORKFLOW);
    disk.files.get_mut("reads/x").unwrap().hash = None;
    disk.remember(InstanceId(0));
    assert_eq!(disk.stale(), [""; 0]);
    disk.write("reads/x", 2, "reads/x");
    assert_eq!(disk.stale()[0], "align[x]: Stale, input `reads/x` changed");
}

#[test]
fn missing_and_changed_outputs_are_made_again() {
    let mut disk = Disk::after(WORKFLOW);
    disk.files.remove("bam/x");
    disk.write("sorted/y", 2, "by hand");
    assert_eq!(
        disk.stale(),
        [
            "align[x]: Stale, output `bam/x` is missing",
            "sort[x]: Check, `align[x]` runs first",
            "sort[y]: Stale, output `sorted/y` was changed by something else",
            "merge: Check, `sort[x]` runs first",
            "note: Check, `merge`, which it needs, runs first",
        ]
    );
}

#[test]
fn what_must_run_anyway_says_so_although_its_upstream_runs_too() {
    let mut disk = Disk::after(WORKFLOW);
    disk.write("reads/x", 2, "longer than before");
    disk.files.remove("sorted/x");
    assert_eq!(disk.stale()[1], "sort[x]: Stale, output `sorted/x` is missing");
}

#[test]
fn a_changed_definition_runs_again() {
    for (from, to, first) in [
        ("run = \"sort\"", "run = \"sort -u\"", "sort[x]: Stale, its definition changed"),
        ("run = \"sort\"", "run = \"sort\"\nenv = { A = \"1\" }", "sort[x]: Stale, its definition changed"),
        ("outputs = [\"merged\"]", "outputs = [\"merged\", \"more\"]", "merge: Stale, its definition changed"),
        ("inputs = [\"sorted/x\", ", "inputs = [", "merge: Stale, its definition changed"),
        ("[tasks.note]", "[tasks.remark]", "remark: Stale, it has not run here yet"),
    ] {
        let mut disk = Disk::after(WORKFLOW);
        disk.edit(from, to);
        assert_eq!(disk.stale()[0], first, "{to}");
    }
}

#[test]
fn what_an_attempt_is_granted_is_no_part_of_the_definition() {
    for more in [
        "resources = { cpus = 2, mem = \"1G\" }",
        "retries = 3",
        "priority = 7",
        "max_parallel = 1",
        "on_error = \"ignore\"",
    ] {
        let mut disk = Disk::after(WORKFLOW);
        disk.edit("run = \"sort\"", &format!("run = \"sort\"\n{more}"));
        assert_eq!(disk.stale(), [""; 0], "{more}");
    }
}

#[test]
fn a_new_row_runs_and_the_old_ones_do_not() {
    let mut disk = Disk::after(WORKFLOW);
    disk.edit("[\"x\", \"y\"]", "[\"w\", \"x\", \"y\"]");
    assert_eq!(disk.stale(), ["align[w]: Stale, it has not run here yet", "sort[w]: Stale, it has not run here yet"]);
}

#[test]
fn cache_false_always_runs() {
    let mut disk = Disk::after(&WORKFLOW.replace("run = \"merge\"", "run = \"merge\"\ncache = false"));
    disk.edit("run = \"merge\"", "run = \"merge\"\ncache = false");
    assert_eq!(
        disk.stale(),
        ["merge: Stale, `cache = false`: it always runs", "note: Check, `merge`, which it needs, runs first"]
    );
}

#[test]
fn rerun_forces() {
    let disk = Disk::after(WORKFLOW);
    assert_eq!(disk.stale_with(&[], &Rerun::All).len(), 6);
    let stale = disk.stale_with(&[], &Rerun::Tasks(vec!["sort[y]".to_owned()]));
    assert_eq!(stale[..2], ["sort[y]: Stale, asked for by --rerun", "merge: Check, `sort[y]` runs first"]);
}

#[test]
fn only_takes_what_is_needed_and_leaves_the_rest() {
    let mut disk = Disk::after(WORKFLOW);
    disk.memos = Memos::default();
    let verdicts = |only: &[&str]| {
        let (judgement, _) = disk.judge_with(only, &Rerun::Stale);
        let taken = disk.plan.instance_ids().zip(judgement.verdicts).filter(|(_, verdict)| *verdict != Verdict::Left);
        taken.map(|(instance, _)| disk.plan.label(instance)).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&["sort[y]"]), ["align[y]", "sort[y]"]);
    assert_eq!(verdicts(&["align"]), ["align[x]", "align[y]"]);
    assert_eq!(verdicts(&["note"]).len(), 6, "`needs` counts");
    let error = Selection::new(&disk.plan, &[], &["sort[z]".to_owned(), "x".to_owned()], &Rerun::Stale).unwrap_err();
    assert_eq!(error.to_string(), "no task or instance is called `sort[z]`, `x`");
}

#[test]
fn what_reads_what_is_left_out_is_left_out_where_it_is_missing() {
    let when = WORKFLOW.replace("run = \"align\"", "run = \"align\"\nwhen = \"item != 'x'\"");
    let mut disk = Disk::after(&when);
    // The file is there from an earlier time: it is an input like any other.
    assert_eq!(disk.stale(), ["align[x]: Left, its `when` is false"]);
    disk.files.remove("bam/x");
    let absent = "is missing, and what would make it is left out by `when`";
    assert_eq!(disk.stale()[1], format!("sort[x]: Left, input `bam/x` {absent}"));
    disk.files.remove("sorted/x");
    assert_eq!(disk.stale()[2], format!("merge: Left, input `sorted/x` {absent}"));
}

#[test]
fn asked_again_it_is_up_to_date_where_the_inputs_came_out_the_same() {
    let mut disk = Disk::after(WORKFLOW);
    let sort = disk.plan.find("sort[x]")[0];
    let seen = |disk: &Disk, hashed: bool| {
        ["sorted/x", "bam/x"].map(|path| {
            let print = disk.files.get(path)?;
            Some(Fingerprint { hash: print.hash.filter(|_| hashed), ..*print })
        })
    };
    assert_eq!(recheck(&disk.plan, &disk.memos, sort, &seen(&disk, false)), Recheck::Fresh(None));
    disk.write("bam/x", 2, "bam/x");
    let bam = disk.plan.inputs(sort)[0];
    assert_eq!(recheck(&disk.plan, &disk.memos, sort, &seen(&disk, false)), Recheck::Doubtful(vec![bam]));
    let Recheck::Fresh(Some(renewed)) = recheck(&disk.plan, &disk.memos, sort, &seen(&disk, true)) else {
        panic!("same content");
    };
    assert_eq!((renewed.inputs[0].mtime, renewed.outputs[0].mtime), (2, 1));
    disk.write("bam/x", 3, "BAM/X");
    assert_eq!(recheck(&disk.plan, &disk.memos, sort, &seen(&disk, true)), Recheck::Stale(Reason::Input(bam)));
    disk.files.remove("sorted/x");
    let out = disk.plan.outputs(sort)[0];
    assert_eq!(recheck(&disk.plan, &disk.memos, sort, &seen(&disk, true)), Recheck::Stale(Reason::OutputMissing(out)));
}

#[test]
fn success_leaves_a_memo_and_nothing_else_does() {
    let disk = Disk::after(WORKFLOW);
    let sort = disk.plan.find("sort[x]")[0];
    let (bam, sorted) = (print(1, "bam"), print(2, "sorted"));
    let mut hashes = Hashes::default();
    let input = disk.plan.inputs(sort)[0];
    assert!(hashes.ask(input) && !hashes.ask(input), "one reader is enough");
    hashes.learn(input, bam);
    let ended = |outcome: Outcome, outputs: Vec<Option<Fingerprint>>| Ended {
        key: JobKey { run: RunId(1), instance: sort, attempt: 1 },
        outcome,
        started: None,
        ended: Timestamp(9),
        usage: Usage::default(),
        inputs: vec![Some(Fingerprint { hash: None, ..bam })],
        outputs,
        notes: Vec::new(),
        allocation: None,
    };
    let made = memo(&disk.plan, &ended(Outcome::Success, vec![Some(sorted)]), &hashes).unwrap();
    assert_eq!((made.inputs[0], made.outputs[0]), (bam, sorted), "the hash was known from elsewhere");
    assert_eq!(memo(&disk.plan, &ended(Outcome::Oom, vec![Some(sorted)]), &hashes), None);
    assert_eq!(memo(&disk.plan, &ended(Outcome::Success, vec![None]), &hashes), None);
    assert_eq!(memo(&disk.plan, &ended(Outcome::Success, Vec::new()), &hashes), None);
    // A file that changed since is another one.
    hashes.learn(input, Fingerprint { mtime: 7, ..bam });
    assert_eq!(memo(&disk.plan, &ended(Outcome::Success, vec![Some(sorted)]), &hashes).unwrap().inputs[0].hash, None);
}

#[test]
fn keys_tell_workflows_tasks_and_rows_apart() {
    assert_ne!(workflow_key("/a", "bc"), workflow_key("/ab", "c"));
    let (plan, _) = plan(WORKFLOW);
    let mut keys: Vec<_> = plan.instance_ids().flat_map(|it| [key(&plan, it), definition(&plan, it)]).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 12);
}

#[test]
fn definitions_of_any_length_are_told_apart() {
    let of = |paths: usize, last: &str| {
        let outputs: Vec<_> = (0..paths).map(|n| format!("\"some/longer/path/{n}\"")).collect();
        let text = format!("name = \"w\"\n[tasks.a]\noutputs = [{}, \"{last}\"]\nrun = \"x\"\n", outputs.join(","));
        definition(&plan(&text).0, InstanceId(0))
    };
    // Around the size up to which a definition is hashed in one go.
    let mut seen: Vec<_> = (1..60).flat_map(|paths| [of(paths, "x"), of(paths, "y")]).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 118);
}

/// What happens to a file behind csync's back.
#[derive(Clone, Debug)]
enum Meddling {
    Touch,
    Write(String),
    Remove,
}

fn meddling() -> impl Strategy<Value = (usize, Meddling)> {
    let what = prop_oneof![
        Just(Meddling::Touch),
        // Of one length, so that sizes alone do not tell.
        "[ab]".prop_map(Meddling::Write),
        Just(Meddling::Remove),
    ];
    (0usize..8, what)
}

/// What a command makes of its inputs; the same for some that differ, so that a change may end here.
fn make(label: &str, inputs: &[&str]) -> String {
    let sum: usize = inputs.concat().bytes().filter(|&byte| byte == b'a').count();
    format!("{label}:{}", sum % 2)
}

/// Runs a submission to its end as an engine does; returns what ran.
fn submit(disk: &mut Disk, contents: &mut BTreeMap<String, String>, time: i64) -> Vec<String> {
    let (judgement, _) = disk.judge_with(&[], &Rerun::Stale);
    disk.memos.extend(&judgement.refreshed);
    let mut ran = Vec::new();
    for (instance, verdict) in disk.plan.instance_ids().zip(judgement.verdicts) {
        let paths = |paths: &[PathId]| paths.iter().map(|&path| disk.plan.path(path).to_owned()).collect::<Vec<_>>();
        let (inputs, outputs) = (paths(disk.plan.inputs(instance)), paths(disk.plan.outputs(instance)));
        let seen: Vec<_> = outputs.iter().chain(&inputs).map(|path| disk.files.get(path).copied()).collect();
        let fresh = match verdict {
            Verdict::Fresh | Verdict::Left => true,
            Verdict::Stale => false,
            Verdict::Check => match recheck(&disk.plan, &disk.memos, instance, &seen) {
                Recheck::Fresh(renewed) => {
                    disk.memos.extend(&renewed);
                    true
                }
                _ => false,
            },
        };
        if !fresh {
            let label = disk.plan.label(instance);
            let read: Vec<_> = inputs.iter().map(|path| contents[path].as_str()).collect();
            let made = make(&label, &read);
            for path in outputs {
                disk.write(&path, time, &made);
                contents.insert(path, made.clone());
            }
            disk.remember(instance);
            ran.push(label);
        }
    }
    ran
}

proptest! {
    /// However the files are meddled with, a submission leaves what running everything anew would leave, and the next one has
    /// nothing to do.
    #[test]
    fn a_submission_leaves_what_running_everything_would(rounds in prop::collection::vec(prop::collection::vec(meddling(), 0..5), 1..5)) {
        let mut disk = Disk::after(WORKFLOW);
        disk.memos = Memos::default();
        let mut contents: BTreeMap<String, String> = ["reads/x", "reads/y"].map(|path| (path.to_owned(), "a".to_owned())).into();
        disk.files = contents.iter().map(|(path, text)| (path.clone(), print(1, text))).collect();
        submit(&mut disk, &mut contents, 2);
        let mut time = 3;
        for round in rounds {
            for (which, what) in round {
                time += 1;
                let path = disk.plan.path(PathId(which as u32 % disk.plan.paths.len() as u32)).to_owned();
                let source = path.starts_with("reads/");
                match what {
                    Meddling::Touch => disk.files.entry(path).and_modify(|print| print.mtime = time).or_insert(print(0, "")),
                    Meddling::Write(text) => {
                        contents.insert(path.clone(), text.clone());
                        disk.write(&path, time, &text);
                        continue;
                    }
                    // Without its sources, a submission is refused before it is judged.
                    Meddling::Remove if !source => {
                        contents.remove(&path);
                        disk.files.remove(&path);
                        continue;
                    }
                    Meddling::Remove => continue,
                };
            }
            disk.files.retain(|path, _| contents.contains_key(path));
            time += 1;
            submit(&mut disk, &mut contents, time);
            let mut anew = contents.clone();
            anew.retain(|path, _| path.starts_with("reads/"));
            for instance in disk.plan.instance_ids() {
                let read: Vec<_> = disk.plan.inputs(instance).iter().map(|&path| anew[disk.plan.path(path)].clone()).collect();
                let made = make(&disk.plan.label(instance), &read.iter().map(String::as_str).collect::<Vec<_>>());
                for &path in disk.plan.outputs(instance) {
                    anew.insert(disk.plan.path(path).to_owned(), made.clone());
                }
            }
            prop_assert_eq!(&contents, &anew);
            prop_assert_eq!(submit(&mut disk, &mut contents, time + 1), Vec::<String>::new());
            prop_assert_eq!(disk.stale(), Vec::<String>::new());
        }
    }
}

fn any_memo() -> impl Strategy<Value = Memo> {
    let prints = || {
        prop::collection::vec(
            (0u64..9, 0i64..9).prop_map(|(size, mtime)| Fingerprint { size, mtime, hash: None }),
            0..4,
        )
    };
    (0u8..20, any::<u8>(), prints(), prints()).prop_map(|(key, definition, inputs, outputs)| Memo {
        key: [key; 16],
        definition: [definition; 16],
        inputs,
        outputs,
    })
}

proptest! {
    #[test]
    fn the_table_is_a_map(memos in prop::collection::vec(any_memo(), 0..60)) {
        let table: Memos = memos.iter().collect();
        let model: BTreeMap<_, _> = memos.iter().map(|memo| (memo.key, memo)).collect();
        prop_assert_eq!(table.len(), model.len());
        for (key, memo) in model {
            let found = table.get(&key).unwrap();
            prop_assert_eq!(found.definition, memo.definition);
            prop_assert_eq!(found.inputs, &memo.inputs[..]);
            prop_assert_eq!(found.outputs, &memo.outputs[..]);
        }
    }
}
