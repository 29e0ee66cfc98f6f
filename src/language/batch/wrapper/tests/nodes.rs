//! On which nodes a member ran, as the variables and files of batch systems have it.

use super::*;
use crate::model::resources::Allocation;

/// Runs a member with these variables in every shell, `@` being a file with this text; what its record says it was allocated.
fn allocated(variables: &[(&str, &str)], file: &str) -> Option<Allocation> {
    let mut told = shells().map(|shell| {
        let submission = Submission::new(&[member("a", "true")]);
        let list = submission.path("list");
        fs::write(&list, file).unwrap();
        let mut command = submission.command(&shell, "1");
        command.envs(variables.iter().map(|(name, value)| (name, value.replace('@', &list.display().to_string()))));
        let done = command.output().unwrap();
        assert!(done.status.success(), "{shell:?}: {done:?}");
        submission.record("a").unwrap().allocation()
    });
    let first = told.next().unwrap();
    assert!(told.all(|other| other == first), "{first:?}");
    first
}

fn on(node: &str, nodes: u32, cpus: Option<u32>) -> Allocation {
    Allocation { node: node.to_owned(), nodes, cpus, ..Allocation::default() }
}

fn here() -> String {
    String::from_utf8_lossy(&sh("uname -n").stdout).trim().to_owned()
}

#[test]
fn without_a_batch_system_there_is_no_node_but_the_host() {
    assert_eq!(allocated(&[], ""), None);
}

#[test]
fn slurm_names_the_node_and_says_what_is_had_there() {
    let job = [("SLURM_JOB_ID", "7"), ("SLURM_CPUS_ON_NODE", "4"), ("SLURM_MEM_PER_NODE", "100")];
    let more = [
        ("SLURMD_NODENAME", "n7"),
        ("SLURM_JOB_NUM_NODES", "3"),
        ("SLURM_GPUS_ON_NODE", "2"),
        ("CUDA_VISIBLE_DEVICES", "0,3"),
    ];
    let (mem, gpu_ids) = (Some(Bytes::mib(100)), Some("0,3".to_owned()));
    let all = Allocation { mem, gpus: Some(2), gpu_ids, ..on("n7", 3, Some(4)) };
    assert_eq!(allocated(&[&job[..], &more].concat(), ""), Some(all));
    let least = Allocation { mem, ..on(&here(), 1, Some(4)) };
    assert_eq!(allocated(&job, ""), Some(least), "an older Slurm, or a task that changed its variables");
}

#[test]
fn pbs_names_a_node_once_for_every_process() {
    let job = [("PBS_JOBID", "7.server"), ("NCPUS", "2"), ("PBS_NODEFILE", "@")];
    assert_eq!(allocated(&job, "p2.site\np2.site\np1.site\np2.site\np10.site\n"), Some(on("p2.site", 3, Some(2))));
    assert_eq!(allocated(&job, "p2\n"), Some(on("p2", 1, Some(2))));
    let lost = [("PBS_JOBID", "7.server"), ("PBS_NODEFILE", "/nonexistent/list")];
    assert_eq!(allocated(&lost, ""), Some(on(&here(), 1, None)));
}

#[test]
fn grid_engine_names_nodes_with_their_slots() {
    let job = [("JOB_ID", "7"), ("SGE_TASK_ID", "undefined"), ("NSLOTS", "6"), ("PE_HOSTFILE", "@")];
    let file = "g1.site 4 all.q@g1.site UNDEFINED\ng2.site 2 all.q@g2.site UNDEFINED\n";
    assert_eq!(allocated(&job, file), Some(on("g1.site", 2, Some(4))), "of six slots four are there");
    assert_eq!(allocated(&job[..3], ""), Some(on(&here(), 1, Some(6))), "no parallel environment, no list");
}

#[test]
fn what_a_node_calls_itself_can_be_shown() {
    let name = format!("n\u{1b}[31m\n{}", "x".repeat(1000));
    let told = allocated(&[("SLURM_JOB_ID", "7"), ("SLURMD_NODENAME", &name)], "").unwrap().node;
    assert!(told.starts_with("n[31mxx") && told.len() < 300, "{told}");
    // Records of before have all nodes where their number stands now, and none alone.
    let record = "csync=1\nsubmission=s\nmember=1\nhost=n1\nstarted=1\npid=1\nbirth=1\nboot=b\nbatch=7\n\
                  nodes=n[1-3]\nstate=started\nend=1\n";
    assert_eq!(Record::parse(record).unwrap().allocation(), Some(on("n1", 1, None)));
}

#[test]
fn what_looks_at_the_node_is_not_taken_for_the_task() {
    // The task is over after what looks.
    let task = "until [ -e ../looked/done ]; do sleep 0.05; done";
    let submission = Submission::new(&[member("a", task)]);
    let group = submission.path("group");
    fs::create_dir(&group).unwrap();
    fs::write(group.join("memory.peak"), "104857600\n").unwrap();
    let spec = format!("{}cgroup={}\n", submission.read("a/spec"), group.display());
    fs::write(submission.path("a/spec"), spec).unwrap();
    let look = "cd \"$(dirname \"$0\")\" && mkdir looked && echo \"$1 $(uname -n)\" >looked/by\n\
                i=0; while [ $i -lt 2000000 ]; do i=$((i + 1)); done\n\
                cut -d' ' -f14 /proc/$$/stat >looked/ticks; : >looked/done\n";
    fs::write(submission.path("look.sh"), look).unwrap();
    fs::write(submission.path("batch.sh"), looking_script(&submission.root())).unwrap();
    let done = Command::new("/bin/sh").arg(submission.path("batch.sh")).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let (usage, ticks) = (submission.ended("a").unwrap().usage, submission.read("looked/ticks"));
    let looked: f64 = ticks.trim().parse::<f64>().unwrap() / 100.0;
    assert!(usage.user + usage.system < looked, "{usage:?} of {looked}");
    // Of the next member of the same submission the group counts nothing else.
    assert!(usage.peak_memory < Bytes::mib(100) && usage.meter == Meter::Proc, "{usage:?}");
    fs::write(submission.path("looked/by"), "1 elsewhere\n").unwrap();
    fs::remove_file(submission.path("a/status")).unwrap();
    let (_, ended) = submission.run(&["sh"]);
    assert_eq!((ended.usage.peak_memory, ended.usage.meter), (Bytes::mib(100), Meter::Cgroup));
    // What looks takes no more than some tens of megabytes: a large peak is the job's, and so is one where memory ran out.
    let beside = |peak: &str, kills: &str| {
        fs::write(group.join("memory.peak"), format!("{peak}\n")).unwrap();
        fs::write(group.join("memory.events"), format!("oom_kill {kills}\n")).unwrap();
        let submission = Submission::new(&[member("a", "sleep 1.2")]);
        let spec = format!("{}cgroup={}\n", submission.read("a/spec"), group.display());
        fs::write(submission.path("a/spec"), spec).unwrap();
        let look = "cd \"$(dirname \"$0\")\" && mkdir looked && echo \"$1 $(uname -n)\" >looked/by\n";
        fs::write(submission.path("look.sh"), look).unwrap();
        fs::write(submission.path("batch.sh"), looking_script(&submission.root())).unwrap();
        Command::new("/bin/sh").arg(submission.path("batch.sh")).output().unwrap();
        submission.ended("a").unwrap().usage.meter
    };
    assert_eq!(beside("104857600", "0"), Meter::Proc);
    assert_eq!(beside("123456789000", "0"), Meter::Cgroup);
    assert_eq!(beside("104857600", "1"), Meter::Cgroup);
}
