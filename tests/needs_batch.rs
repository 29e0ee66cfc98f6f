//! The dialects against a real Slurm and a real Grid Engine: what they build is run, what comes back is read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use csync::language::batch::call::{Ask, Target};
use csync::language::batch::{
    cancel, history, index_variable, load, parse_cancel, parse_history, parse_load, parse_probe, parse_queue,
    parse_submit, probe_script, queue, submit,
};
use csync::model::batch::{
    Array, BatchId, Cancelled, CouldNotAsk, Dialect, Ending, EndingClass, Flavour, History, MemberRequest, Members,
    Prospect, Queue, QueueState, RefusalKind, Reply, Submission, Submitted,
};
use csync::model::units::{Bytes, Walltime};

use crate::bed::Bed;
use crate::world::{Done, until};

/// A batch system of the bed.
struct Cluster<'a> {
    bed: &'a Bed,
    host: &'static str,
    dialect: Dialect,
    dir: String,
}

impl<'a> Cluster<'a> {
    fn slurm(bed: &'a Bed) -> Self {
        Self { bed, host: "login", dialect: Dialect::of(Flavour::Slurm), dir: bed.scratch("login") }
    }

    fn grid(bed: &'a Bed) -> Self {
        let output = bed.on("grid", probe_script(Flavour::Sge)).exits(0).out;
        let dialect = parse_probe(Flavour::Sge, &output).dialect;
        Self { bed, host: "grid", dialect, dir: bed.scratch("grid") }
    }

    fn flavour(&self) -> Flavour {
        self.dialect.flavour
    }

    fn run(&self, script: &str) -> Done {
        self.bed.on(self.host, script)
    }

    /// Makes a submission of these lines of sh, in which `$i` is the member's index.
    fn submission(&self, lines: &str, array: Option<Array>) -> Submission {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let script = format!("#!/bin/sh\ni=${}\n{lines}\n", index_variable(self.flavour()));
        let file = format!("batch-{number}.sh");
        self.run(&format!("cat > '{}/{file}' <<'END'\n{script}END", self.dir)).exits(0);
        Submission {
            name: format!("csync-{:08x}-{number}-1", std::process::id()).parse().unwrap(),
            directory: self.dir.clone(),
            script: file,
            log: format!("log-{number}"),
            array,
            request: MemberRequest { time: Some(Walltime(300)), mem: Some(Bytes::mib(20)), ..MemberRequest::default() },
            account: None,
            partition: None,
            qos: None,
            reservation: None,
            constraint: None,
            raw: BTreeMap::new(),
            signal: None,
            after: Vec::new(),
        }
    }

    fn submit(&self, submission: &Submission) -> Submitted {
        let done = self.run(&submit(&self.dialect, submission).unwrap().script);
        parse_submit(self.flavour(), &reply(&done))
    }

    #[track_caller]
    fn accepted(&self, submission: &Submission) -> BatchId {
        match self.submit(submission) {
            Submitted::Accepted(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn queue(&self, ask: Ask<'_>) -> Result<Queue, CouldNotAsk> {
        parse_queue(self.flavour(), &reply(&self.run(&queue(self.flavour(), ask))))
    }

    fn history(&self, id: &BatchId) -> Result<Vec<Ending>, CouldNotAsk> {
        let script = history(self.flavour(), Ask::Ids(std::slice::from_ref(id)));
        parse_history(self.flavour(), &reply(&self.run(&script)))
    }

    fn cancel(&self, id: &BatchId, members: Members) -> Cancelled {
        let script = cancel(self.flavour(), &[Target { id: id.clone(), members }]);
        parse_cancel(self.flavour(), &reply(&self.run(&script))).unwrap()
    }

    /// Waits until no member of a submission is in the queue, but as over.
    fn until_over(&self, id: &BatchId) {
        until("it is over", || {
            let queue = self.queue(Ask::Mine).unwrap();
            queue.of(id).all(|job| job.state == QueueState::Over)
        });
    }
}

fn reply(done: &Done) -> Reply<'_> {
    Reply { status: done.code, stdout: &done.out, stderr: &done.err }
}

/// Submits an array, sees it by its name, cancels a part of it and then the rest.
fn array(cluster: &Cluster<'_>) -> BatchId {
    let lines = "echo \"member $i\"; case $i in 1) exit 0 ;; 2) exit 3 ;; esac; exec sleep 300";
    let submission = cluster.submission(lines, Some(Array { size: 12, cap: Some(2) }));
    let id = cluster.accepted(&submission);
    let names = [submission.name.clone()];
    let queue_now = || cluster.queue(Ask::Names(&names)).unwrap();
    until("members run", || {
        let queue = queue_now();
        let runs = |member| queue.member(&id, member).is_some_and(|job| job.state == QueueState::Running);
        runs(3) && runs(4)
    });
    let queue = queue_now();
    assert_eq!(queue.member(&id, 3).unwrap().state, QueueState::Running);
    assert!(queue.member(&id, 3).unwrap().node.is_some() && queue.member(&id, 3).unwrap().start.is_some());
    assert_eq!(queue.member(&id, 12).unwrap().state, QueueState::Waiting);
    assert!(queue.of(&id).count() < 8, "members that wait together are one line: {queue:?}");

    cluster.cancel(&id, Members::One(3));
    cluster.cancel(&id, Members::Ranges(vec![(6, 10, 2)]));
    let over = |queue: &Queue, member| queue.member(&id, member).is_none_or(|job| job.state == QueueState::Over);
    until("some are cancelled", || [3, 6, 8, 10].into_iter().all(|member| over(&queue_now(), member)));
    let queue = queue_now();
    assert!(!over(&queue, 7) && !over(&queue, 12), "{queue:?}");
    assert_eq!(cluster.cancel(&id, Members::All), Cancelled::default());
    cluster.until_over(&id);
    assert_eq!(cluster.run(&format!("cat {}/{}.2", cluster.dir, submission.log)).exits(0).out, "member 2\n");
    id
}

#[test]
fn an_array_of_slurm() {
    let bed = Bed::shared();
    let cluster = Cluster::slurm(&bed);
    let id = array(&cluster);
    let queue = cluster.queue(Ask::Ids(std::slice::from_ref(&id))).unwrap();
    let over = |member| queue.member(&id, member).and_then(|job| job.over);
    for (member, class) in [
        (1, EndingClass::Completed),
        (2, EndingClass::Failed),
        (3, EndingClass::Cancelled),
        (12, EndingClass::Cancelled),
    ] {
        assert_eq!(over(member), Some(class), "{member}: {queue:?}");
    }
    // The shared bed keeps no history, which is not the same as one that knows nothing.
    assert!(cluster.history(&id).is_err());
}

#[test]
fn an_array_of_grid_engine() {
    let bed = Bed::shared();
    let cluster = Cluster::grid(&bed);
    let id = array(&cluster);
    let find = |member| cluster.history(&id).unwrap().into_iter().find(|ending| ending.member == Some(member));
    until("the history knows", || (1..=3).all(|member| find(member).is_some()));
    for (member, class, code) in
        [(1, EndingClass::Completed, 0), (2, EndingClass::Failed, 3), (3, EndingClass::Failed, 137)]
    {
        let ending = find(member).unwrap();
        assert_eq!((ending.class, ending.exit_code), (class, Some(code)), "{ending:?}");
    }
}

#[test]
fn a_job_gets_a_login_and_nothing_of_the_session() {
    let bed = Bed::shared();
    for cluster in [Cluster::slurm(&bed), Cluster::grid(&bed)] {
        let step = if cluster.flavour() == Flavour::Slurm { "srun " } else { "" };
        let lines = format!("{step}sh -c 'echo \"$HOME ${{SECRET-none}} ${{SSH_CONNECTION-none}}\"'; command -v env");
        let submission = cluster.submission(&lines, None);
        let script = submit(&cluster.dialect, &submission).unwrap().script;
        let session = format!(
            "SECRET=1 SSH_CONNECTION=2 SBATCH_PARTITION=none; export SECRET SSH_CONNECTION SBATCH_PARTITION\n{script}"
        );
        let Submitted::Accepted(id) = parse_submit(cluster.flavour(), &reply(&cluster.run(&session))) else {
            panic!("refused")
        };
        cluster.until_over(&id);
        let log = format!("{}/{}", cluster.dir, submission.log);
        until("its log is there", || cluster.run(&format!("grep -q /env {log}")).code == 0);
        let log = cluster.run(&format!("cat {log}")).out;
        assert!(log.starts_with('/') && log.contains("/alice none none\n"), "{log}");
    }
}

#[test]
fn what_cannot_run_is_told() {
    let bed = Bed::shared();
    let (slurm, grid) = (Cluster::slurm(&bed), Cluster::grid(&bed));
    for cluster in [&slurm, &grid] {
        let mut submission = cluster.submission("true", None);
        submission.partition = Some("no such; queue".to_owned());
        let refused = cluster.submit(&submission);
        assert!(
            matches!(&refused, Submitted::Refused(refusal) if refusal.kind == RefusalKind::Partition),
            "{refused:?}"
        );
        let unknown = BatchId("999999".to_owned());
        assert!(cluster.queue(Ask::Ids(std::slice::from_ref(&unknown))).unwrap().of(&unknown).next().is_none());
        cluster.cancel(&unknown, Members::All);
    }

    // Grid Engine refuses it when it is asked to look.
    let mut large = grid.submission("true", None);
    large.request = MemberRequest { cpus: 500, ..MemberRequest::default() };
    let refused = grid.submit(&large);
    assert!(matches!(&refused, Submitted::Refused(refusal) if refusal.kind == RefusalKind::OverLimit), "{refused:?}");

    // Slurm takes it, and it would wait for ever.
    let mut long = slurm.submission("true", None);
    long.request.time = Some(Walltime(30 * 86_400));
    let id = slurm.accepted(&long);
    until("it is known to wait for ever", || {
        slurm.queue(Ask::Mine).unwrap().of(&id).any(|job| job.prospect == Prospect::Never)
    });
    slurm.cancel(&id, Members::All);
    slurm.until_over(&id);
}

#[test]
fn jobs_that_grid_engine_cannot_start_are_explained() {
    let bed = Bed::shared();
    let cluster = Cluster::grid(&bed);
    let submission = cluster.submission("true", None);
    let script = submit(&cluster.dialect, &submission).unwrap().script;
    // Its directory goes away between submission and start.
    let held = script.replace("-terse", "-terse -h");
    let Submitted::Accepted(id) = parse_submit(Flavour::Sge, &reply(&cluster.run(&held))) else { panic!("refused") };
    cluster.run(&format!("rm -r {0} && qrls {id}", cluster.dir)).exits(0);
    until("it is stuck", || cluster.queue(Ask::Mine).unwrap().of(&id).any(|job| job.state == QueueState::Stuck));
    let ids = [id.clone()];
    let said = cluster.run(&csync::language::batch::sge::explain(&ids));
    let reasons = csync::language::batch::sge::parse_explain(&reply(&said));
    assert!(reasons.len() == 1 && reasons[0].1.contains("No such file or directory"), "{reasons:?}");
    cluster.cancel(&id, Members::All);
    cluster.until_over(&id);
}

#[test]
fn both_are_probed() {
    let bed = Bed::shared();
    for (host, flavour) in [("login", Flavour::Slurm), ("grid", Flavour::Sge)] {
        let output = bed.on(host, probe_script(flavour)).exits(0).out;
        let facts = parse_probe(flavour, &output);
        assert!(facts.version.is_some() && !facts.partitions.is_empty(), "{facts:?}");
        let cores = facts.partitions.iter().filter_map(|partition| partition.cores_per_node).max();
        assert!(cores > Some(0) && facts.array_max > Some(100), "{facts:?}");
        assert_eq!(facts.notes, Vec::<String>::new());
        let idle = parse_load(flavour, &bed.on(host, &load(flavour)).exits(0).out, &[]);
        for it in &facts.partitions {
            let all = it.nodes * it.cores_per_node.unwrap();
            let found =
                idle.iter().find(|(name, _)| *name == it.name).unwrap_or_else(|| panic!("{}: {idle:?}", it.name));
            assert!(found.1 <= all && it.idle.is_some_and(|idle| idle <= all), "{it:?} {idle:?}");
        }
        let expected = if flavour == Flavour::Slurm { History::Off } else { History::Kept };
        assert_eq!(facts.dialect.history, expected);
    }
}

#[test]
fn a_history_of_slurm_and_a_controller_that_is_down() {
    let bed = Bed::own(&["slurm", "db"]);
    let cluster = Cluster::slurm(&bed);
    let output = cluster.run(probe_script(Flavour::Slurm)).exits(0).out;
    assert_eq!(parse_probe(Flavour::Slurm, &output).dialect.history, History::Kept);
    let array = Some(Array { size: 2, cap: None });
    let id = cluster.accepted(&cluster.submission("exit $((i * 3))", array));
    until("the history knows both", || {
        let endings = cluster.history(&id).unwrap();
        endings.iter().filter(|ending| ending.class == EndingClass::Failed).count() == 2
    });
    let mut codes: Vec<_> =
        cluster.history(&id).unwrap().iter().map(|ending| (ending.member, ending.exit_code)).collect();
    codes.sort_unstable();
    assert_eq!(codes, [(Some(1), Some(3)), (Some(2), Some(6))]);

    let submission = cluster.submission("true", None);
    bed.now("stop-part slurmctld");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| cluster.queue(Ask::Mine));
        let sent = scope.spawn(|| cluster.submit(&submission));
        assert!(asked.join().unwrap().is_err());
        let sent = sent.join().unwrap();
        assert!(matches!(sent, Submitted::Later(_)), "{sent:?}");
    });
    // What is not in the queue now is in the history still.
    assert_eq!(cluster.history(&id).unwrap().len(), 2);
}

#[test]
fn many_jobs_are_one_question() {
    let bed = Bed::shared();
    let cluster = Cluster::slurm(&bed);
    let submission = cluster.submission("true", Some(Array { size: 900, cap: Some(1) }));
    let id = cluster.accepted(&submission);
    let said = cluster.run(&queue(Flavour::Slurm, Ask::Mine)).out;
    assert!(said.len() < 20_000, "an array that waits is one line: {} bytes", said.len());
    let told = cluster.queue(Ask::Mine).unwrap();
    assert!((1..=900).all(|member| told.member(&id, member).is_some()), "every member is in it");
    cluster.cancel(&id, Members::All);
    cluster.until_over(&id);
}
