//! Journeys of scripts in sandboxes, by a real Docker daemon: on this machine, and over SSH. It is started for these tests, with
//! everything of it in a directory of theirs, and ended with them.

mod lost;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use csync::reach::docker::{Daemon, Spec, Standing};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::needs_ssh::Line;
use crate::needs_ssh::sshd::{Bed, Unusual};
use crate::world::{Done, World, signal, until};

/// A daemon, which a test has for itself.
pub(crate) struct Docker {
    dir: TempDir,
    child: Child,
}

impl Docker {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts it after another command in a mount namespace of its own, in which its directory is `$1`.
    fn start_with(before: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("csync-dk").tempdir_in("/tmp").unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let child = Self::launch(dir.path(), before);
        let docker = Self { dir, child };
        until("the daemon answers", || docker.ask("/_ping").ends_with("OK"));
        docker
    }

    /// Stops it, with all that runs in it, and starts it again.
    fn restart(&mut self) {
        signal(self.child.id(), "TERM");
        self.child.wait().unwrap();
        self.child = Self::launch(self.dir.path(), "");
        until("the daemon answers", || self.ask("/_ping").ends_with("OK"));
    }

    fn launch(dir: &Path, before: &str) -> Child {
        let path = |name: &str| dir.join(name);
        let log = fs::File::options().create(true).append(true).open(path("log")).unwrap();
        Command::new("unshare")
            .args(["--mount", "sh", "-ec", &format!("{before}\nshift; exec /usr/sbin/dockerd \"$@\""), "sh"])
            .arg(dir)
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(["--iptables=false", "--ip-masq=false", "--bridge=none", "-H"])
            .arg(format!("unix://{}", path("sock").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    pub(crate) fn variable(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Asks it something; nothing where it does not answer.
    pub(crate) fn ask(&self, what: &str) -> String {
        self.say("GET", what, "")
    }

    /// Tells it something, with further lines of the head.
    pub(crate) fn say(&self, method: &str, what: &str, head: &str) -> String {
        let Ok(mut stream) = UnixStream::connect(self.socket()) else { return String::new() };
        let asked = format!("{method} {what} HTTP/1.0\r\nHost: docker\r\n{head}\r\n");
        let mut answer = String::new();
        let done = stream.write_all(asked.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        if done.is_ok() { answer } else { String::new() }
    }

    /// Returns how many containers and volumes there are.
    pub(crate) fn left(&self) -> (usize, usize) {
        let containers = self.ask("/containers/json?all=1").matches("\"Id\"").count();
        let volumes = self.ask("/volumes").matches("\"Mountpoint\"").count();
        (containers, volumes)
    }

    /// Returns how many containers run.
    fn running(&self) -> usize {
        self.ask("/containers/json").matches("\"Id\"").count()
    }

    /// Runs csync with this daemon as the machine's.
    pub(crate) fn csync(&self, world: &World, args: &[&str]) -> Done {
        self.command(world, args).output().unwrap().into()
    }

    pub(crate) fn command(&self, world: &World, args: &[&str]) -> Command {
        let mut command = world.command(args);
        command.env("DOCKER_HOST", self.variable());
        command
    }

    /// Gives it an image with these commands besides `sh`, `cat` and `echo`.
    pub(crate) fn image(&self, world: &World, commands: &str) {
        archive(world, "amd64", commands);
        let pushed = self.csync(world, &["images", "push", "box.tar"]).exits(0).out;
        assert!(pushed.contains("local has box:1"), "{pushed}");
    }
}

/// Writes an image as `docker save` does, for a kind of machine.
pub(crate) fn archive(world: &World, arch: &str, commands: &str) {
    archive_of(world, "box:1", arch, commands);
}

fn archive_of(world: &World, name: &str, arch: &str, commands: &str) {
    let busybox = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join("busybox"))
        .find(|program| program.exists())
        .expect("tests/run looked for it");
    let made = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/archive.py"))
        .env("ARCH", arch)
        .arg(busybox)
        .args([world.path("box.tar").as_os_str(), name.as_ref()])
        .args(commands.split_whitespace())
        .status()
        .unwrap();
    assert!(made.success());
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It ends its own containerd when it is asked to leave, and nobody else would.
        signal(self.child.id(), "TERM");
        self.child.wait().ok();
    }
}

#[test]
fn a_script_runs_in_a_sandbox_that_holds_it() {
    let (world, docker) = (World::new(), Docker::start());
    docker.image(&world, "id ls sleep dd wget mount touch grep kill");
    world.write("data.csv", "1,2\n");
    world.write("script.sh", "cat data.csv; echo told >&2; id -u; exit 7\n");
    let done = docker.csync(&world, &["run", "--image", "box:1", "script.sh", "--files", "data.csv"]).exits(7);
    assert_eq!((done.out.as_str(), done.err.as_str()), ("1,2\n65534\n", "told\n"));
    // Bytes that are no text go in and come out as they are.
    fs::write(world.path("odd.sh"), b"echo '\xff\xfe'\n").unwrap();
    let odd = docker.command(&world, &["run", "--image", "box:1", "odd.sh"]).output().unwrap();
    assert_eq!(odd.stdout, b"\xff\xfe\n");

    let escape = |script: &str, more: &[&str]| {
        world.write("escape.sh", script);
        let mut args = vec!["run", "--image", "box:1", "--mem", "128M", "--cpus", "1"];
        args.extend(more);
        args.push("escape.sh");
        docker.csync(&world, &args)
    };
    let marker = world.path("marker");
    fs::write(&marker, "host").unwrap();
    let tried = escape(
        &format!(
            "for f in {marker} /var/run/docker.sock {socket} /proc/1/root{marker} /etc/shadow; do cat \"$f\" && echo OUT; done\n\
             wget -T 2 -O - http://127.0.0.1:2375/ && echo OUT; wget -T 2 -O - http://10.255.255.254/ && echo OUT\n\
             touch /etc/x /bin/x /x && echo OUT; mount -t tmpfs none /tmp && echo OUT; echo 1 >/proc/sys/kernel/panic && echo OUT\n\
             mount -t proc none /proc && echo OUT; kill -0 -1 && echo many\n\
             grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; grep -c : /proc/net/dev",
            marker = marker.display(),
            socket = docker.socket().display(),
        ),
        &[],
    );
    assert!(!tried.out.contains("OUT") && !tried.out.contains("host"), "{} {}", tried.out, tried.err);
    for held in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(tried.out.contains(held), "{held}: {}", tried.out);
    }
    // The loopback alone is there.
    assert!(tried.out.ends_with("1\n"), "{}", tried.out);

    let forks = escape("i=0; while [ $i -lt 2000 ]; do sleep 60 & i=$((i + 1)); done; echo OUT", &[]);
    assert!(forks.out.is_empty() && forks.err.contains("can't fork"), "{} {}", forks.out, forks.err);
    let memory = escape("a=xxxxxxxx; while :; do a=$a$a; done", &[]);
    assert!(memory.code != 0 && memory.err.contains("over its memory of 128"), "{} {}", memory.code, memory.err);
    let disk =
        escape("dd if=/dev/zero of=big bs=1M count=4000; echo $?; dd if=/dev/zero of=/tmp/big bs=1M count=4000", &[]);
    assert!(disk.code != 0 && !disk.err.contains("4000+0 records out"), "{} {}", disk.code, disk.err);
    let time = escape("trap '' TERM; while :; do sleep 1; done", &["--time", "2s"]);
    assert!(time.err.contains("over its time of 2s"), "{}", time.err);
    assert_eq!(docker.left(), (0, 0), "nothing of it stays");

    for (args, says) in [
        (&["run", "--image", "box:1", "--files", "../x", "true"][..], "leads out of this directory"),
        (&["run", "--image", "BOX", "true"], "names no image"),
        (&["run", "--image", "none.invalid/x:1", "true"], "there is no image none.invalid/x:1 on local"),
        (&["run", "--image", "box:1", "nosuch"], "nosuch"),
    ] {
        let refused = docker.csync(&world, args);
        assert!(refused.code != 0 && refused.err.contains(says), "{args:?}: {} {}", refused.code, refused.err);
    }
    assert_eq!(docker.left(), (0, 0));
}

#[test]
fn tasks_run_in_its_containers() {
    let (world, docker) = (World::new(), Docker::start());
    docker.image(&world, "id pwd test sleep env grep");
    world.write(
        "workflow.toml",
        r#"
name = "boxed"
[defaults]
container = "docker://box:1"
env = { WORD = "it's" }
[tasks.makes]
outputs = ["out/made"]
run = "echo $WORD > {outputs}; test ! -e /etc/debian_version; test -z \"${CSYNC_CPUS-}\"; pwd"
[tasks.reads]
inputs = ["out/made"]
container = "docker-archive:box.tar"
run = ["sh", "-c", "cat \"$1\"; exit 5", "sh", "{inputs}"]
[tasks.slow]
run = "trap '' TERM; echo up; sleep 100; sleep 100"
resources = { time = "3s" }
[tasks.none]
container = "docker://none.invalid/x:1"
run = "true"
"#,
    );
    let done = docker.csync(&world, &["submit"]).exits(1);
    assert!(done.out.contains("1 done"), "{} {}", done.out, done.err);
    assert_eq!(world.read("out/made"), "it's\n");
    // What it makes is of who submitted, wherever it was made.
    let who = |path: &PathBuf| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap());
    assert_eq!(who(&world.path("out/made")), who(&world.path("workflow.toml")));
    let log = |task: &str| docker.csync(&world, &["logs", "1", task]).exits(0);
    assert!(log("makes").out.trim_end().ends_with("/work"), "{}", log("makes").out);
    assert!(log("reads").out.contains("it's"), "{}", log("reads").out);
    assert!(log("none").err.contains("csync: "), "{}", log("none").err);
    for (task, says) in [("reads", "exit code 5"), ("slow", "walltime"), ("none", "exit code 125")] {
        assert!(done.out.lines().any(|line| line.contains(task) && line.contains(says)), "{task}: {}", done.out);
    }
    until("no container is left", || docker.left().0 == 0);
    // A cancelled task leaves none either.
    world.write("workflow.toml", "name = \"long\"\n[tasks.t]\ncontainer = \"box:1\"\nrun = \"echo up; sleep 300\"\n");
    docker.csync(&world, &["submit", "--detach"]).exits(0);
    until("it runs", || docker.left().0 == 1);
    docker.csync(&world, &["cancel", "2"]).exits(0);
    until("it is gone", || docker.left().0 == 0);
}

#[test]
fn a_sandbox_ends_with_who_asked_for_it() {
    let (world, docker) = (World::new(), Docker::start());
    docker.image(&world, "sleep");
    world.write("long.sh", "echo begun; sleep 300\n");
    let start = || {
        let mut command = docker.command(&world, &["run", "--image", "box:1", "long.sh"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let begun = |child: &mut Child| {
        let mut line = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"begun\n");
    };
    let mut told = start();
    begun(&mut told);
    let status = world.csync(&["status"]).exits(0).out;
    assert!(status.contains("In a sandbox on local since") && status.contains("run --image box:1 long.sh"), "{status}");
    signal(told.id(), "INT");
    let done: Done = told.wait_with_output().unwrap().into();
    assert_eq!((done.code, docker.left()), (130, (0, 0)), "{}", done.err);
    // One that was killed cannot clean up. What it ran ends all the same, and the next removes it.
    let mut killed = start();
    begun(&mut killed);
    assert_eq!(docker.running(), 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    until("nothing runs any more", || docker.running() == 0);
    assert_eq!(docker.left().0, 1);
    let next = docker.csync(&world, &["run", "--image", "box:1", "--", "echo", "next"]).exits(0);
    assert!(next.err.contains("removed 1 that a csync which died had left"), "{}", next.err);
    assert_eq!((next.out.as_str(), docker.left()), ("next\n", (0, 0)));
    // All three are runs: the one that was killed was handed in by the next.
    let runs = world.json(&["runs"]);
    let ended: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!(ended, ["failed", "succeeded", "cancelled"], "{runs}");
    assert_eq!(world.csync(&["logs", "3"]).exits(0).out, "begun\n");
    assert!(world.csync(&["why", "3"]).exits(0).out.contains("csync was killed while it ran"));
}

#[test]
fn a_sandbox_is_kept_as_a_run() {
    let (world, docker) = (World::new(), Docker::start());
    docker.image(&world, "sleep");
    world.write("data.csv", "1,2\n");
    world.write("big.sh", "cat data.csv; echo told >&2; a=xxxxxxxx; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do a=$a$a; done; sleep 3\n");
    let args = ["--json", "run", "--image", "box:1", "--name", "big", "big.sh", "--files", "data.csv"];
    let done = docker.csync(&world, &args).exits(0).json();
    assert_eq!((&done["run"], &done["exit_code"]), (&1.into(), &0.into()), "{done}");
    world.write("bad.sh", "echo wrong >&2; exit 7\n");
    docker.csync(&world, &["run", "--image", "box:1", "bad.sh"]).exits(7);

    let runs = world.json(&["runs"]);
    let named: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| (&run["name"], &run["state"])).collect();
    assert_eq!(named, [(&"bad-sh".into(), &"failed".into()), (&"big".into(), &"succeeded".into())], "{runs}");
    let log = world.csync(&["logs", "1"]).exits(0);
    assert_eq!((log.out.as_str(), log.err.as_str()), ("1,2\n", "told\n"));
    let shown = world.json(&["show", "1"]);
    let usage = &shown["tasks"][0]["usage"];
    assert!(usage["peak_memory"].as_u64().unwrap() > 32 << 20 && usage["wall"].as_f64().unwrap() >= 3.0, "{shown}");
    assert!(world.csync(&["why", "2"]).exits(0).out.contains("exit code 7"));
    assert!(world.csync(&["show", "2"]).exits(0).out.contains("run --image box:1 bad.sh"));
    // Outside of a sandbox it is never run.
    let retried = world.csync(&["retry", "2"]);
    assert!(retried.code != 0 && retried.err.contains("run 2 was a sandbox"), "{}", retried.err);
    // What it used is learned, once and of what went well.
    world.csync(&["engine", "stop"]).exits(0);
    let learned = world.json(&["profile", "list"]);
    assert_eq!(
        (&learned["profiles"][0]["runs"], &learned["profiles"][1]),
        (&1.into(), &serde_json::Value::Null),
        "{learned}"
    );
    assert_eq!(fs::read_dir(world.state().join("sandboxes")).unwrap().count(), 0);
}

/// Runs csync of a world where this machine has no Docker: all of it goes through the connection.
pub(crate) fn without_docker(world: &World, line: &Line, args: &[&str]) -> Done {
    let mut command = world.command(args);
    command.env("CSYNC_SSH_CONFIG", line.bed.path("config")).env("DOCKER_HOST", "unix:///nonexistent");
    command.output().unwrap().into()
}

/// Makes `lab` a host of a world, at the other end of a connection, whose daemon this is.
pub(crate) fn lab(world: &World, docker: &Docker) -> Line {
    let mut bed = Bed::new();
    let sshd = bed.unusual_sshd(&Unusual::lines(format!("SetEnv DOCKER_HOST={}", docker.variable())));
    let key = bed.read(&format!("host-{}.pub", sshd.address));
    bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
    let config = world.path("../.config/csync");
    fs::create_dir_all(&config).unwrap();
    let hosts = format!(
        "[hosts.lab]\nssh = \"host0\"\nbatch = \"none\"\ncontainers = [\"docker\"]\nmax_jobs = 4\nscratch = \"{}\"\n",
        world.path("..").canonicalize().unwrap().join("scratch").display()
    );
    fs::write(config.join("hosts.toml"), hosts).unwrap();
    Line { bed, hosts: vec![sshd] }
}

#[test]
fn limits_are_tried_and_time_is_held_without_who_asked() {
    let (world, docker) = (World::new(), Docker::start());
    let shows = || docker.csync(&world, &["hosts", "show", "local"]).exits(0).out;
    let tries = || docker.csync(&world, &["hosts", "probe", "local", "--limits"]).exits(0).out;
    // Nothing is pulled for it.
    assert!(tries().contains("was not tried: there is no image with a shell"), "{}", shows());
    assert!(shows().contains("not tried"), "{}", shows());
    docker.image(&world, "sleep true timeout");
    assert!(tries().contains("its docker holds limits of memory and processes"), "{}", shows());
    docker.csync(&world, &["hosts", "probe", "local"]).exits(0);
    assert!(shows().contains("holds limits: tried"), "what was tried is kept: {}", shows());
    assert_eq!(docker.left(), (0, 0));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let daemon = runtime.block_on(Daemon::at(&docker.socket().display().to_string())).unwrap();
    let run = |name: &str, most: u64, command: &[&str]| {
        let spec = Spec {
            name: name.to_owned(),
            image: "box:1".to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            most: Some(Duration::from_secs(most)),
            ..Spec::default()
        };
        runtime.block_on(async {
            daemon.make(&spec).await.unwrap();
            drop(daemon.begin(name, false).await.unwrap());
        });
        let over = || runtime.block_on(daemon.standing(name)).unwrap() == Some(Standing::Over);
        until("it is over", over);
        let seen = docker.ask(&format!("/containers/{name}/json"));
        let (_, code) = seen.split_once("\"ExitCode\":").unwrap();
        let code = code.split(',').next().unwrap().to_owned();
        runtime.block_on(daemon.discard(name)).unwrap();
        code
    };
    assert_eq!(run("csync-last-1", 1, &["sleep", "1000"]), "137");
    assert_eq!(run("csync-last-2", 1000, &["sh", "-c", "exit 3"]), "3");
}

#[test]
fn tasks_run_by_the_daemon_at_the_other_end_of_a_connection() {
    let (world, mut docker) = (World::new(), Docker::start());
    let line = lab(&world, &docker);
    line.write_config("");
    docker.image(&world, "id sleep test rm touch");
    let csync = |args: &[&str]| without_docker(&world, &line, args);
    world.write(
        "workflow.toml",
        r#"
name = "far"
[defaults]
container = "docker://box:1"
env = { WORD = "it's" }
on = "lab"
[tasks.makes]
outputs = ["out/made"]
run = "echo told; echo $WORD > {outputs}; test ! -e /etc/debian_version; test -z \"${CSYNC_CPUS-}\""
[tasks.reads]
inputs = ["out/made"]
run = ["sh", "-c", "cat \"$1\"; echo wrong >&2; exit 5", "sh", "{inputs}"]
[tasks.slow]
run = "echo up; sleep 100"
resources = { time = "2s" }
[tasks.fat]
run = "a=xxxxxxxx; while :; do a=$a$a; done"
resources = { mem = "64M" }
[tasks.none]
container = "docker://none.invalid/x:1"
run = "true"
[tasks.unmade]
outputs = ["out/unmade"]
run = "true"
[tasks.packed]
container = "packed.tar.gz"
outputs = ["out/packed"]
run = "echo packed | sort > {outputs}"
[tasks.fed]
inputs = ["fed.txt"]
stdin = "fed.txt"
modules = ["gcc/12"]
outputs = ["out/fed"]
run = "cat > {outputs}"
[tasks.saves]
outputs = ["out/saved"]
run = "trap 'echo saved > {outputs}; exit 0' USR1; echo up; while :; do sleep 0.1; done"
checkpoint = { signal = "USR1", before = "60s" }
resources = { time = "62s" }
"#,
    );
    world.write("fed.txt", "fed\n");
    // Another image, in a file that is compressed.
    archive_of(&world, "packed:1", "amd64", "sort");
    let mut packed = GzEncoder::new(fs::File::create(world.path("packed.tar.gz")).unwrap(), Compression::fast());
    packed.write_all(&fs::read(world.path("box.tar")).unwrap()).unwrap();
    packed.finish().unwrap();
    let logins = line.hosts[0].logins();
    let done = csync(&["submit"]).exits(1);
    assert!(done.out.contains("4 done"), "{} {}", done.out, done.err);
    assert_eq!(world.read("out/packed"), "packed\n");
    // What reads a file, is told to save its state, or loads modules runs there as anywhere.
    assert_eq!((world.read("out/fed").as_str(), world.read("out/saved").as_str()), ("fed\n", "saved\n"));
    assert!(csync(&["why", "1", "fed"]).out.contains("its `modules` were not loaded"));
    assert!(line.hosts[0].logins() <= logins + 1, "one connection");
    assert_eq!(world.read("out/made"), "it's\n");
    let log = |run: &str, task: &str| csync(&["logs", run, task]).exits(0);
    assert_eq!(log("1", "makes").out, "told\n");
    assert!(log("1", "reads").out.contains("it's") && log("1", "reads").err.contains("wrong"));
    for (task, says) in [
        ("reads", "exit code 5"),
        ("slow", "walltime"),
        ("fat", "memory"),
        ("none", "there is no image none.invalid/x:1"),
        ("unmade", "out/unmade"),
    ] {
        let said = csync(&["why", "1", task]);
        assert!(said.out.contains(says) || done.out.contains(says), "{task}: {} {}", said.out, done.out);
    }
    until("no container is left", || docker.left() == (0, 0));

    // Neither an engine nor a daemon that dies takes a task along without a word: the next engine goes on with what runs.
    world.write(
        "workflow.toml",
        "name = \"long\"\n[tasks.t]\ncontainer = \"box:1\"\non = \"lab\"\noutputs = [\"out/long\"]\nretries = 1\ncache = false\n\
         run = \"echo begun; while ! test -e go; do sleep 0.1; done; echo more; echo {attempt} > {outputs}\"\n",
    );
    csync(&["submit", "--detach"]).exits(0);
    let begun = |run: &str, text: &str| until("it runs", || csync(&["logs", run, "t"]).out.contains(text));
    begun("2", "begun");
    let pid = world.json(&["engine", "status"])["engine"]["pid"].as_u64().unwrap();
    signal(u32::try_from(pid).unwrap(), "KILL");
    assert_eq!(docker.left().0, 1);
    let adopted = || csync(&["show", "2", "--json"]).out.contains("\"running\"");
    until("the next engine knows of it", adopted);
    world.write("go", "");
    csync(&["wait", "2"]).exits(0);
    assert_eq!((log("2", "t").out.as_str(), world.read("out/long").as_str()), ("begun\nmore\n", "1\n"));
    until("no container is left", || docker.left() == (0, 0));

    fs::remove_file(world.path("go")).unwrap();
    csync(&["submit", "--detach"]).exits(0);
    begun("3", "begun");
    docker.restart();
    world.write("go", "");
    let again = csync(&["wait", "3"]).exits(0);
    assert_eq!(world.read("out/long"), "2\n", "{} {}", again.out, csync(&["why", "3", "t"]).out);
    until("no container is left", || docker.left() == (0, 0));

    // One that is cancelled is ended.
    fs::remove_file(world.path("go")).unwrap();
    csync(&["submit", "--detach"]).exits(0);
    begun("4", "begun");
    csync(&["cancel", "4"]).exits(0);
    until("it is gone", || docker.left().0 == 0);
}

#[test]
fn a_container_goes_with_its_task_while_others_of_its_submission_run() {
    let (world, docker) = (World::new(), Docker::start());
    let line = lab(&world, &docker);
    line.write_config("");
    docker.image(&world, "sleep test");
    let csync = |args: &[&str]| without_docker(&world, &line, args);
    world.write(
        "workflow.toml",
        "name = \"two\"\n[tasks.t]\nforeach = [1, 2]\ncontainer = \"box:1\"\non = \"lab\"\ncache = false\n\
         run = \"echo begun; test {item} = 1 || while ! test -e go; do sleep 0.1; done\"\n",
    );
    csync(&["submit", "--detach"]).exits(0);
    let printed = |task: &str| csync(&["logs", "1", task]).out.contains("begun");
    until("both began", || printed("t[1]") && printed("t[2]"));
    until("the one that runs is the only one", || (docker.left().0, docker.running()) == (1, 1));
    world.write("go", "");
    csync(&["wait", "1"]).exits(0);
    until("no container is left", || docker.left() == (0, 0));
}

#[test]
fn a_container_ends_at_its_walltime_though_nobody_is_there_to_end_it() {
    let (world, docker) = (World::new(), Docker::start());
    let line = lab(&world, &docker);
    line.write_config("");
    docker.image(&world, "sleep timeout true");
    let csync = |args: &[&str]| without_docker(&world, &line, args);
    // One of them is told to save its state, and is not ended by `timeout`, which would not pass that on.
    world.write(
        "workflow.toml",
        "name = \"left\"\n[defaults]\ncontainer = \"box:1\"\non = \"lab\"\nresources = { time = \"10s\" }\n\
         [tasks.a]\nrun = \"echo begun; sleep 1000\"\n\
         [tasks.b]\nrun = \"trap : USR1; echo begun; while :; do sleep 1; done\"\n\
         checkpoint = { signal = \"USR1\", before = \"1s\" }\n",
    );
    csync(&["submit", "--detach"]).exits(0);
    let pid = world.json(&["engine", "status"])["engine"]["pid"].as_u64().unwrap();
    until("both run", || docker.running() == 2);
    signal(u32::try_from(pid).unwrap(), "KILL");
    until("both are over by themselves", || docker.running() == 0);
    // The next engine knows what became of them.
    let done = csync(&["wait", "1"]).exits(1);
    for task in ["a", "b"] {
        let why = csync(&["why", "1", task]).out;
        assert!(why.contains("walltime"), "{task}: {why} {}", done.out);
    }
    until("no container is left", || docker.left() == (0, 0));
}

/// Has everything of a world belong to nobody, who is given a csync that nobody may run.
fn as_nobody(world: &World, docker: &Docker, args: &[&str]) -> Done {
    let program = world.path("../csync");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_csync"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(world.path("..")).status().unwrap();
        assert!(owned.success());
    }
    let usual = docker.command(world, args);
    let mut command = Command::new(program);
    command.args(args).current_dir(world.path("")).env_clear().stdin(Stdio::null()).uid(65534).gid(65534);
    command.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.output().unwrap().into()
}

#[test]
fn what_an_ordinary_person_may_not_do_is_said() {
    let (world, docker) = (World::new(), Docker::start());
    docker.image(&world, "id touch mkdir");
    fs::set_permissions(docker.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let config = world.path("../.config/csync");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("hosts.toml"), "[hosts.local]\ncontainers = [\"docker\"]\n").unwrap();
    let nobody = |args: &[&str]| as_nobody(&world, &docker, args);
    world.write(
        "workflow.toml",
        "name = \"whose\"\n[tasks.t]\ncontainer = \"box:1\"\ncache = false\noutputs = [\"out/deep/a\"]\nrun = \"id -u > {outputs}\"\n",
    );
    // A socket that does not let this account in.
    fs::set_permissions(docker.socket(), fs::Permissions::from_mode(0o600)).unwrap();
    let socket = docker.socket().display().to_string();
    let denied = nobody(&["run", "--image", "box:1", "true"]);
    let says = format!("this account may not use the Docker of local ({socket})");
    assert!(denied.code != 0 && denied.err.contains(&says), "{} {}", denied.out, denied.err);
    // Where nothing else runs containers, a task says so too.
    let programs = world.path("programs");
    fs::create_dir(&programs).unwrap();
    for entry in ["/usr/bin", "/bin"].iter().flat_map(|dir| fs::read_dir(dir).unwrap()) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !["podman", "apptainer", "singularity"].contains(&name) {
            // The second of the two may be the first by another name.
            std::os::unix::fs::symlink(&path, programs.join(name)).ok();
        }
    }
    let elsewhere = format!("env = {{ PATH = \"{}\" }}\n", programs.canonicalize().unwrap().display());
    world.write("denied.toml", &(world.read("workflow.toml") + &elsewhere));
    let denied = nobody(&["submit", "denied.toml"]);
    let said = nobody(&["logs", "1", "t"]).err;
    assert!(denied.code != 0 && said.contains("refuses this account"), "{} {said}", denied.out);

    // Whatever the image says, who asked is who a task is, and to whom its outputs belong.
    fs::set_permissions(docker.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    nobody(&["submit"]).exits(0);
    let whose = |name: &str| std::os::unix::fs::MetadataExt::uid(&fs::symlink_metadata(world.path(name)).unwrap());
    assert_eq!((world.read("out/deep/a").as_str(), whose("out/deep/a"), whose("out/deep")), ("65534\n", 65534, 65534));
    // A container that ran as root, which somebody else started, leaves what csync may not replace: that is said, with what helps.
    fs::remove_dir_all(world.path("out")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let daemon = runtime.block_on(Daemon::at(&docker.socket().display().to_string())).unwrap();
    let work = world.path("").canonicalize().unwrap().display().to_string();
    let spec = Spec {
        name: "csync-root".to_owned(),
        image: "box:1".to_owned(),
        command: ["sh", "-c", "mkdir -p out/deep && touch out/deep/a"].map(str::to_owned).to_vec(),
        user: "0:0".to_owned(),
        binds: vec![format!("{work}:{work}")],
        workdir: work,
        ..Spec::default()
    };
    runtime.block_on(async {
        daemon.make(&spec).await.unwrap();
        drop(daemon.begin(&spec.name, false).await.unwrap());
    });
    until("it is over", || runtime.block_on(daemon.standing(&spec.name)).unwrap() == Some(Standing::Over));
    runtime.block_on(daemon.discard(&spec.name)).unwrap();
    assert_eq!(whose("out/deep/a"), 0);
    let refused = nobody(&["submit"]);
    let why = nobody(&["why", "3", "t"]).out;
    assert!(refused.code != 0 && why.contains("belongs to root") && why.contains("sudo chown -R 65534"), "{why}");
    assert_eq!(whose("out/deep/a"), 0, "it is as it was");
    // What csync keeps of it is the person's own, and goes.
    nobody(&["clean", "--all"]).exits(0);
    assert_eq!(docker.left(), (0, 0));
}

#[test]
fn another_machines_daemon_is_reached_through_its_connection() {
    let (world, docker) = (World::new(), Docker::start());
    let line = lab(&world, &docker);
    docker.image(&world, "");
    world.write("script.sh", "cat data.csv\n");
    world.write("data.csv", "far\n");
    // The second is what only the system's `ssh` does.
    for (member, lines) in [("russh", ""), ("openssh", "Compression yes")] {
        line.write_config(lines);
        // No client program, and no daemon of this machine: all of it goes through the connection.
        let csync = |args: &[&str]| without_docker(&world, &line, args);
        let logins = line.hosts[0].logins();
        let done = csync(&["run", "--on", "lab", "--image", "box:1", "script.sh", "--files", "data.csv"]).exits(0);
        assert_eq!(done.out, "far\n", "{member}: {}", done.err);
        assert!(line.hosts[0].logins() <= logins + 1, "{member}: one connection");
        let listed = csync(&["images", "list", "--on", "lab"]).exits(0).out;
        assert!(listed.contains("box:1"), "{member}: {listed}");
        let none = csync(&["images", "pull", "none.invalid/x:1", "--on", "lab"]);
        assert!(none.err.contains("there is no image none.invalid/x:1 on lab"), "{member}: {}", none.err);
    }
    assert_eq!(docker.left(), (0, 0));
}

#[test]
fn what_goes_wrong_with_images_and_daemons_is_said() {
    let (world, mut docker) = (World::new(), Docker::start());
    // It is for another kind of machine: it is run, and that is said.
    archive(&world, "arm64", "sleep test");
    docker.csync(&world, &["images", "push", "box.tar"]).exits(0);
    world.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.t]\ncontainer = \"box:1\"\ncache = false\n\
         run = \"echo begun; while ! test -e go; do sleep 0.1; done\"\n",
    );
    docker.csync(&world, &["submit", "--detach"]).exits(0);
    until("it runs", || docker.csync(&world, &["logs", "1", "t"]).out.contains("begun"));
    let said = docker.csync(&world, &["logs", "1", "t"]).err;
    assert!(said.contains("platform (linux/arm64)"), "{said}");
    // Its image's name is taken away under it: it goes on, and the next has none.
    docker.say("DELETE", "/images/box:1?force=1", "");
    world.write("go", "");
    docker.csync(&world, &["wait", "1"]).exits(0);
    docker.say("DELETE", "/images/box:1?force=1", "");
    let gone = docker.csync(&world, &["submit"]);
    let said = docker.csync(&world, &["logs", "2", "t"]).err;
    assert!(gone.code != 0 && said.contains("there is no image box:1"), "{} {said}", gone.out);

    // The daemon goes away under a sandbox, and under a task.
    docker.image(&world, "sleep test");
    fs::remove_file(world.path("go")).unwrap();
    world.write("long.sh", "echo begun; sleep 300\n");
    let mut held = docker.command(&world, &["run", "--image", "box:1", "long.sh"]);
    let mut held = held.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 6];
    held.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    docker.csync(&world, &["submit", "--detach"]).exits(0);
    until("it runs", || docker.csync(&world, &["logs", "3", "t"]).out.contains("begun"));
    docker.restart();
    let held: Done = held.wait_with_output().unwrap().into();
    assert!(held.code != 0, "{} {}", held.out, held.err);
    let ended = docker.csync(&world, &["wait", "3"]);
    assert!(ended.code != 0, "{} {}", ended.out, ended.err);
    // Nothing of either is left once somebody else has run.
    docker.csync(&world, &["run", "--image", "box:1", "--", "echo", "next"]).exits(0);
    until("nothing is left", || docker.left() == (0, 0));

    // A socket that does not let this account in is told from none.
    let whom = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("DOCKER_HOST", docker.variable()).uid(65534).gid(65534);
        Done::from(command.output().unwrap())
    };
    fs::set_permissions(docker.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let found = whom(csync::language::container::FIND_SOCKETS).out;
    assert!(found.contains(&format!("denied {}", docker.socket().display())), "{found}");
    drop(docker);
    let nobody = Done::from(
        world.command(&["run", "--image", "box:1", "true"]).env("DOCKER_HOST", "unix:///nonexistent").output().unwrap(),
    );
    assert!(nobody.code != 0 && nobody.err.contains("no Docker and no Podman listens on local"), "{}", nobody.err);
}

#[test]
fn a_full_image_store_is_said() {
    let world = World::new();
    let docker = Docker::start_with("mount -t tmpfs -o size=3m none \"$1/data\"");
    archive(&world, "amd64", "");
    let full = docker.csync(&world, &["images", "push", "box.tar"]);
    assert!(full.code != 0 && full.err.contains("no space left on device"), "{}", full.err);
    assert!(full.err.contains("docker image prune"), "{}", full.err);
    // A task that needs the image says so too, and leaves nothing that runs.
    world.write("workflow.toml", "name = \"full\"\n[tasks.t]\ncontainer = \"box.tar\"\nrun = \"true\"\n");
    let task = docker.csync(&world, &["submit"]);
    let said = docker.csync(&world, &["logs", "1", "t"]).err;
    assert!(task.code != 0 && said.contains("no space left on device"), "{} {said}", task.out);
    assert_eq!(docker.left().0, 0);
}
