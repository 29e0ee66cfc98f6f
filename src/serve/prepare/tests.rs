use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::job::{job, signal};
use super::recheck::recheck;
use super::{Asked, Prepared, places, prepare};
use crate::decide::engine::protocol::Verdict;
use crate::decide::fresh::memos::{Hashes, Memos, memo};
use crate::decide::fresh::reason::Reason;
use crate::decide::graph::datasets::Catalog;
use crate::language::hosts::{Hosts, merge, read, shipped};
use crate::model::api::{ApiError, ErrorKind, Rerun};
use crate::model::data::Elsewhere;
use crate::model::id::{InstanceId, JobKey, RunId};
use crate::model::job::{Ended, Invocation, Outcome};
use crate::model::plan::Plan;
use crate::model::resources::{Grant, Hold, Usage};
use crate::model::units::{Bytes, Timestamp};
use crate::reach::files::look::{Root, fingerprint};

const WORKFLOW: &str = r#"
name = "w"
[tasks.count]
foreach = "reads/*.fq"
inputs = ["{item}", "genome"]
outputs = ["counts/{item.stem}"]
run = "count {inputs} > {outputs}"
[tasks.sum]
inputs = ["counts/*"]
outputs = ["sum"]
run = "cat {inputs} > {outputs}"
"#;

/// A workflow's directory with two samples.
struct Lab {
    dir: TempDir,
    text: String,
    memos: Memos,
}

impl Lab {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = Self { dir, text: text.to_owned(), memos: Memos::default() };
        for (path, text) in [("reads/a.fq", "A"), ("reads/b.fq", "B"), ("genome", "ACGT")] {
            lab.write(path, text);
        }
        lab
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Gives a file another time, whatever the clock's grain.
    fn touch(&self, path: &str, seconds: u64) {
        let file = fs::File::options().append(true).open(self.root().join(path)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }

    fn prepare(&self) -> Result<Prepared, ApiError> {
        self.prepare_with(&[], &Rerun::Stale)
    }

    fn prepare_with(&self, only: &[String], rerun: &Rerun) -> Result<Prepared, ApiError> {
        let params = BTreeMap::new();
        let root = self.root().to_str().unwrap();
        let asked = Asked {
            text: &self.text,
            root,
            params: &params,
            only,
            rerun,
            hosts: &hosts(),
            tree: None,
            elsewhere: &Elsewhere::default(),
            catalog: &Catalog::default(),
            policy: None,
        };
        prepare(asked, |name| {
            assert_eq!(name, "w");
            Ok(self.memos.clone())
        })
    }

    /// Does what the instances of a plan do, and remembers it.
    fn run(&mut self, plan: &Plan, hashes: &mut Hashes) {
        for instance in plan.instance_ids() {
            let key = JobKey { run: RunId(1), instance, attempt: 1 };
            let job = job(plan, key, GRANT, 1, hashes);
            for output in &job.outputs {
                fs::create_dir_all(Path::new(output).parent().unwrap()).unwrap();
                fs::write(output, "result").unwrap();
            }
            let ended = Ended {
                key,
                outcome: Outcome::Success,
                started: None,
                ended: Timestamp(0),
                usage: Usage::default(),
                inputs: job.inputs.iter().map(|(path, hash)| fingerprint(path.as_ref(), *hash).unwrap()).collect(),
                outputs: job.outputs.iter().map(|path| fingerprint(path.as_ref(), true).unwrap()).collect(),
                notes: Vec::new(),
                allocation: None,
            };
            hashes.learn_from(plan, &ended);
            self.memos.insert(&memo(plan, &ended, hashes).unwrap());
        }
    }
}

const GRANT: Grant = Grant { cpus: 2, mem: Bytes::gib(1), hold: Hold::Limit, time: None, gpus: 0 };

fn verdicts(prepared: &Prepared) -> Vec<Verdict> {
    prepared.verdicts.clone()
}

/// This machine, and `hpc`.
fn hosts() -> Hosts {
    merge(&read("[hosts.hpc]\n", &[]).0, &shipped(), &BTreeMap::new())
}

#[test]
fn a_workflow_runs_once_and_then_only_where_something_changed() {
    let mut lab = Lab::new(WORKFLOW);
    let first = lab.prepare().unwrap();
    assert_eq!(verdicts(&first), [Verdict::Stale; 3]);
    assert_eq!(first.reasons, [Reason::NeverRan; 3]);
    let mut hashes = first.hashes;
    lab.run(&first.plan, &mut hashes);
    assert_eq!(verdicts(&lab.prepare().unwrap()), [Verdict::Fresh; 3]);

    lab.write("reads/b.fq", "longer");
    let changed = lab.prepare().unwrap();
    assert_eq!(verdicts(&changed), [Verdict::Fresh, Verdict::Stale, Verdict::Check]);
    assert_eq!(changed.reasons[1].sentence(&changed.plan), "input `reads/b.fq` changed");
}

#[test]
fn a_touched_file_is_read_once() {
    let mut lab = Lab::new(WORKFLOW);
    let first = lab.prepare().unwrap();
    let mut hashes = first.hashes;
    lab.run(&first.plan, &mut hashes);
    lab.touch("genome", 1_000);
    let touched = lab.prepare().unwrap();
    assert_eq!(verdicts(&touched), [Verdict::Fresh; 3]);
    assert_eq!(touched.refreshed.len(), 2, "two samples read the genome");
    lab.memos.extend(&touched.refreshed);
    assert!(lab.prepare().unwrap().refreshed.is_empty());
}

#[test]
fn asking_again_reads_what_decides() {
    let mut lab = Lab::new(WORKFLOW);
    let first = lab.prepare().unwrap();
    let (plan, mut hashes) = (first.plan, first.hashes);
    lab.run(&plan, &mut hashes);
    let root = Root::open(lab.root()).unwrap();
    let sum = InstanceId(2);
    lab.touch("counts/a", 1_000);
    let again = recheck(&root, &plan, &lab.memos, &hashes, &Elsewhere::default(), sum).unwrap();
    assert!(again.is_fresh() && again.refreshed.is_some());
    lab.write("counts/a", "RESULT");
    let again = recheck(&root, &plan, &lab.memos, &hashes, &Elsewhere::default(), sum).unwrap();
    assert_eq!(again.reason.sentence(&plan), "input `counts/a` changed");
    fs::remove_file(lab.root().join("sum")).unwrap();
    assert!(!recheck(&root, &plan, &lab.memos, &hashes, &Elsewhere::default(), sum).unwrap().is_fresh());
}

#[test]
fn a_job_says_everything_in_absolute_paths() {
    let lab = Lab::new(WORKFLOW);
    let Prepared { plan, mut hashes, .. } = lab.prepare().unwrap();
    let root = lab.root().to_str().unwrap();
    let key = |n: u32| JobKey { run: RunId(1), instance: InstanceId(n), attempt: 2 };
    let first = job(&plan, key(0), GRANT, 7, &mut hashes);
    assert_eq!((first.label.as_str(), first.environment, first.key), ("count[reads/a.fq]", 7, key(0)));
    assert_eq!(first.workdir, root);
    assert_eq!(first.outputs, [format!("{root}/counts/a")]);
    assert_eq!(first.inputs, [(format!("{root}/reads/a.fq"), true), (format!("{root}/genome"), true)]);
    let Invocation::Script(script) = &first.invocation else { panic!("a shell command") };
    assert!(script.contains("count reads/a.fq genome > counts/a"), "{script}");
    // One reader of the genome is enough.
    let second = job(&plan, key(1), GRANT, 7, &mut hashes);
    assert_eq!(second.inputs[1], (format!("{root}/genome"), false));
}

fn refusal(lab: &Lab) -> (ErrorKind, Vec<String>) {
    let error = lab.prepare().unwrap_err();
    (error.kind, error.diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect())
}

#[test]
fn inputs_that_nobody_makes_are_all_named() {
    let lab = Lab::new(&WORKFLOW.replace("\"genome\"]", "\"genom\", \"index\"]"));
    let (kind, messages) = refusal(&lab);
    assert_eq!(kind, ErrorKind::Invalid);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("`genom`") && messages[1].starts_with("`index`"), "{messages:?}");
    // What does not take part needs nothing.
    let sum = lab.prepare_with(&["sum".to_owned()], &Rerun::Stale);
    assert!(sum.is_err(), "it needs what reads them");
    let many: Vec<_> = (0..50).map(|n| format!("\"none{n}\"")).collect();
    let lab = Lab::new(&WORKFLOW.replace("\"genome\"]", &format!("{}]", many.join(", "))));
    assert_eq!(refusal(&lab).1.last().unwrap(), "30 more inputs do not exist");
}

#[test]
fn what_this_machine_cannot_do_is_refused_with_its_place() {
    for (wish, message) in [
        (
            "container = \"cdrom:///star\"",
            "runs in the container `cdrom:///star`: there are no images at `cdrom:`; known are docker://, docker-archive:, oci-archive:, library://, oras://",
        ),
        ("on = \"cluster\"", "runs on `cluster`, and there is no such host or tag"),
        ("on = [\"local\", \"tag:gpu\"]", "runs on `tag:gpu`, and there is no such host or tag"),
    ] {
        let lab = Lab::new(&WORKFLOW.replace("run = \"cat", &format!("{wish}\nrun = \"cat")));
        let error = lab.prepare().unwrap_err();
        let [diagnostic] = &error.diagnostics[..] else { panic!("{error:?}") };
        assert_eq!(diagnostic.message, format!("task `sum` {message}"));
        assert!(diagnostic.span.is_some() && diagnostic.help.is_some());
        // Left out, it is nobody's business.
        assert!(lab.prepare_with(&["count".to_owned()], &Rerun::Stale).is_ok());
    }
    for wish in ["on = \"local\"", "on = [\"hpc\", \"local\"]", "on = \"any\""] {
        assert!(
            Lab::new(&WORKFLOW.replace("run = \"cat", &format!("{wish}\nrun = \"cat"))).prepare().is_ok(),
            "{wish}"
        );
    }
}

#[test]
fn names_that_mean_nothing_are_not_found() {
    let lab = Lab::new(WORKFLOW);
    let error = lab.prepare_with(&["smu".to_owned()], &Rerun::Stale).unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::NotFound, "no task or instance is called `smu`"));
    assert_eq!(error.hint.unwrap(), "tasks of this workflow: count, sum");
    let error = lab.prepare_with(&[], &Rerun::Tasks(vec!["smu".to_owned()])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[test]
fn mistakes_and_missing_directories_are_refused() {
    let (kind, messages) = refusal(&Lab::new("name = \"w\"\n[tasks.a]\nrum = \"x\"\n"));
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(!messages.is_empty());
    let params = BTreeMap::new();
    let asked = Asked {
        text: WORKFLOW,
        root: "/nonexistent/dir",
        params: &params,
        only: &[],
        rerun: &Rerun::Stale,
        hosts: &hosts(),
        tree: None,
        elsewhere: &Elsewhere::default(),
        catalog: &Catalog::default(),
        policy: None,
    };
    let error = prepare(asked, |_| Ok(Memos::default())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Storage);
    assert!(error.message.starts_with("cannot enter /nonexistent/dir: "), "{error}");
}

#[test]
fn signals_have_their_numbers() {
    assert_eq!((signal("TERM"), signal("SIGUSR1"), signal("HUP"), signal("NONE")), (Some(15), Some(10), Some(1), None));
}

#[test]
fn agents_start_only_what_the_policy_of_a_host_lets_them() {
    let text =
        "[hosts.free]\n[hosts.free.policy]\nagents = \"allow\"\n[hosts.shut.policy]\nagents = \"deny\"\n[hosts.hpc]\n";
    let hosts = |more: &str| merge(&read(&format!("{text}{more}"), &[]).0, &shipped(), &BTreeMap::new());
    let kept = |hosts: &Hosts, names: &[&str]| {
        let lists =
            if names.is_empty() { vec![] } else { vec![names.iter().map(|name| name.parse().unwrap()).collect()] };
        let of_task = vec![0; lists.len()];
        places::kept_from_agents(&places::Places { lists, of_task, ..places::Places::default() }, hosts)
            .map(|(host, _)| host.to_string())
    };
    let plain = hosts("");
    for (names, expected) in [
        (&[][..], None),
        (&["local"], None),
        (&["free", "local"], None),
        (&["free", "hpc"], Some("hpc")),
        (&["shut"], Some("shut")),
    ] {
        assert_eq!(kept(&plain, names).as_deref(), expected, "{names:?}");
    }
    let closed = hosts("[hosts.local.policy]\nagents = \"deny\"\n");
    assert_eq!(kept(&closed, &[]).as_deref(), Some("local"));
    assert_eq!(kept(&closed, &["free"]), None);
}
