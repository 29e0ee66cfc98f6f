//! The tour, and the made-up cluster as a host of somebody's tests.

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::process::Stdio;

use crate::bed::read_until;
use crate::world::{World, until};

/// Returns the processes that hang on a directory.
fn processes_of(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let all = [read("environ"), read("cmdline")].concat();
        if memchr::memmem::find(&all, dir.to_string_lossy().as_bytes()).is_some() {
            found.push(String::from_utf8_lossy(&read("cmdline")).into_owned());
        }
    }
    found
}

#[test]
fn the_tour_goes_wrong_where_it_should_and_comes_to_its_end() {
    let world = World::new();
    let dir = world.path("tour");
    let tour = world.csync(&["demo", "tour"]).exits(0);
    let said = tour.err.clone() + &tour.out;
    for words in [
        "again  align  its worker or host failed",
        "again  assemble  out of memory",
        "failed  report  over its walltime",
        "Run 2 of tour succeeded",
        "1 done, 6 cached",
        "export CSYNC_STATE=",
    ] {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
    assert_eq!(fs::read_to_string(dir.join("work/report.txt")).unwrap().lines().count(), 4);
    until("nothing runs any more", || processes_of(&dir).is_empty());
}

#[test]
fn who_leaves_the_tour_leaves_nothing() {
    let world = World::new();
    let places = world.path("places");
    fs::create_dir(&places).unwrap();
    let mut command = world.command(&["demo"]);
    command.env("TMPDIR", &places).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    // Its tasks are on the cluster by then.
    read_until(&mut said, "done  sample[");
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(&places).unwrap().count(), 0, "its directory is gone");
    until("nothing runs any more", || processes_of(&places).is_empty());
}

#[test]
fn a_made_up_cluster_is_a_host_like_others() {
    let world = World::new();
    fs::create_dir(world.path("config")).unwrap();
    world.write("config/hosts.toml", "[hosts.hpc]\nsimulated = { nodes = 1, cores = 2 }\n");
    let config = world.path("config");
    let csync = |args: &[&str]| -> crate::world::Done {
        world.command(args).env("CSYNC_CONFIG", &config).output().unwrap().into()
    };
    world.write("in.txt", "3\n");
    world.write(
        "workflow.toml",
        r#"
name = "theirs"
[defaults]
on = "hpc"
[tasks.first]
inputs = ["in.txt"]
outputs = ["first.txt"]
run = "cat {inputs} > {outputs}; hostname > /dev/null; echo $SLURMD_NODENAME >> {outputs}"
[tasks.second]
inputs = ["first.txt"]
outputs = ["second.txt"]
run = "test ! -e undeclared.txt; cp {inputs} {outputs}"
"#,
    );
    world.write("undeclared.txt", "");
    csync(&["submit", "--ahead", "workflow.toml"]).exits(0);
    assert_eq!(world.read("second.txt"), "3\nsim1\n");
    // What reads a directory waits for all that is made in it, also for what nobody named.
    world.write(
        "within.toml",
        r#"
name = "within"
[defaults]
on = "hpc"
[tasks.a]
outputs = ["a.txt"]
run = "echo a > {outputs}"
[tasks.x]
outputs = ["dir/x"]
run = "sleep 1; echo x > {outputs}"
[tasks.y]
inputs = ["a.txt", "dir"]
outputs = ["y.txt"]
run = "cat a.txt dir/* > {outputs}"
[tasks.z]
inputs = ["dir"]
needs = ["a"]
outputs = ["z.txt"]
run = "cat dir/* > {outputs}"
"#,
    );
    csync(&["submit", "--ahead", "within.toml"]).exits(0);
    assert_eq!((world.read("y.txt"), world.read("z.txt")), ("a\nx\n".to_owned(), "x\n".to_owned()));
    // Of more than it has nothing is taken; what runs is cancelled.
    world.write("large.toml", "name = \"large\"\n[tasks.t]\nrun = \"true\"\non = \"hpc\"\nresources = { cpus = 3 }\n");
    let refused = csync(&["submit", "large.toml"]).exits(1);
    assert!((refused.out + &refused.err).contains("node configuration is not available"));
    world.write("long.toml", "name = \"long\"\n[tasks.t]\nrun = \"sleep 6000\"\non = \"hpc\"\n");
    csync(&["submit", "--detach", "long.toml"]).exits(0);
    until("it runs", || csync(&["show", "last"]).out.contains("1: 1 running"));
    // What runs is seen by who looks how busy it is: one of two cores is free.
    csync(&["hosts", "probe", "hpc"]).exits(0);
    let shown = csync(&["hosts", "show", "hpc", "--json"]).exits(0).out;
    assert!(shown.contains("\"idle\": 1"), "{shown}");
    csync(&["cancel", "last"]).exits(0);
    csync(&["wait", "last"]).exits(130);
    let sleeps = || processes_of(&world.state()).iter().filter(|line| line.contains("6000")).count();
    until("nothing of it runs", || sleeps() == 0);
    let listed = csync(&["hosts", "list"]).exits(0);
    assert!(listed.out.contains("simulated"), "{}", listed.out);
}

#[test]
fn what_is_removed_under_a_job_and_what_it_floods_is_told() {
    let world = World::new();
    fs::create_dir(world.path("config")).unwrap();
    world.write("config/hosts.toml", "[hosts.hpc]\nsimulated = {}\n");
    let config = world.path("config");
    let csync = |args: &[&str]| -> crate::world::Done {
        world.command(args).env("CSYNC_CONFIG", &config).output().unwrap().into()
    };
    // The directory that its output goes to is removed while it runs; then all of its job's.
    world.write(
        "removed.toml",
        r#"
name = "removed"
[defaults]
on = "hpc"
[tasks.output]
outputs = ["made/here/out.txt"]
run = "rm -r made; echo x > {outputs}"
[tasks.kept]
outputs = ["other/out.txt"]
run = "rm -r other; mkdir other; echo x > {outputs}"
[tasks.all]
outputs = ["all.txt"]
run = "rm -rf ~/.csync/jobs/*; sleep 1; echo x > {outputs}"
needs = ["kept"]
"#,
    );
    csync(&["submit", "removed.toml"]).exits(1);
    assert_eq!(world.read("other/out.txt"), "x\n");
    let why = csync(&["why", "last", "output"]).out;
    assert!(why.contains("exit code 1") && why.contains("made/here/out.txt"), "{why}");
    let why = csync(&["why", "last", "all"]).out;
    assert!(why.contains("its job directory on the host is gone"), "{why}");
}

#[test]
fn many_submissions_that_end_together_all_come_back() {
    let world = World::new();
    fs::create_dir(world.path("config")).unwrap();
    world.write("config/hosts.toml", "[hosts.hpc]\nsimulated = { nodes = 4, cores = 8 }\n");
    let config = world.path("config");
    let csync = |args: &[&str]| -> crate::world::Done {
        world.command(args).env("CSYNC_CONFIG", &config).output().unwrap().into()
    };
    // What asks for different memory is a submission of its own.
    let gate = world.path("gate");
    let task = |n: u32| {
        let wait = format!("until [ -e {} ]; do sleep 0.2; done", gate.display());
        format!(
            "[tasks.t{n}]\noutputs = [\"out.{n}\"]\nrun = \"{wait}; echo {n} > out.{n}\"\non = \"hpc\"\nresources = {{ mem = \"{}M\" }}\n",
            100 + n
        )
    };
    let text: String = (0..20).map(task).collect();
    world.write("workflow.toml", &format!("name = \"many\"\n{text}"));
    csync(&["submit", "--detach"]).exits(0);
    until("all run", || csync(&["show", "last"]).out.contains("20 running"));
    world.write("gate", "");
    csync(&["wait", "last", "--timeout", "2m"]).exits(0);
    for n in 0..20 {
        assert_eq!(world.read(&format!("out.{n}")), format!("{n}\n"));
    }
}

#[test]
fn what_a_job_reads_stays_though_its_directory_is_gone() {
    let world = World::new();
    fs::create_dir(world.path("config")).unwrap();
    world.write("config/hosts.toml", "[hosts.hpc]\nsimulated = {}\n[hosts.lab]\nsimulated = {}\n");
    let config = world.path("config");
    let csync = |args: &[&str]| -> crate::world::Done {
        world.command(args).env("CSYNC_CONFIG", &config).output().unwrap().into()
    };
    world.write("in.txt", "3\n");
    let task = |name: &str, on: &str, run: &str| {
        format!("name = \"{name}\"\n[tasks.t]\ninputs = [\"in.txt\"]\nrun = \"{run}\"\non = \"{on}\"\n")
    };
    world.write("over.toml", &task("over", "lab", "cat in.txt"));
    world.write("long.toml", &task("long", "hpc", "sleep 6000"));
    csync(&["submit", "over.toml"]).exits(0);
    csync(&["submit", "--detach", "long.toml"]).exits(0);
    until("it runs", || csync(&["show", "last"]).out.contains("1 running"));
    let scratch = |host: &str| world.state().join("simulated").join(host).join("home/.csync");
    let brought = |host: &str| {
        let trees = fs::read_dir(scratch(host).join("trees")).unwrap().map(|tree| tree.unwrap().path().join("in.txt"));
        trees.filter(|file| file.exists()).count()
    };
    assert_eq!((brought("hpc"), brought("lab")), (1, 1));
    // As it is before a submission is there, and always where a container of the host runs it. Nobody looks meanwhile.
    csync(&["engine", "stop", "--now"]).exits(0);
    // What runs there writes meanwhile.
    until("its directory is gone", || {
        let jobs = fs::read_dir(scratch("hpc").join("jobs")).unwrap();
        jobs.map(|job| job.unwrap().path()).filter(|job| job.is_dir()).all(|job| fs::remove_dir_all(job).is_ok())
    });
    let said = csync(&["clean", "--on", "hpc", "--inputs", "--yes"]).exits(0).err;
    assert!(said.contains("What was brought for jobs stays"), "{said}");
    csync(&["clean", "--on", "lab", "--inputs", "--yes"]).exits(0);
    assert_eq!((brought("hpc"), brought("lab")), (1, 0));
}
