//! Journeys of scripts in sandboxes, by a real Docker daemon: on this machine, and over SSH. It is started for these tests, with
//! everything of it in a directory of theirs, and ended with them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::needs_ssh::Line;
use crate::needs_ssh::sshd::{Bed, Unusual};
use crate::world::{Done, World, signal, until};

/// A daemon, which a test has for itself.
struct Docker {
    dir: TempDir,
    child: Child,
}

impl Docker {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("csync-dk").tempdir_in("/tmp").unwrap();
        let path = |name: &str| dir.path().join(name);
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new("/usr/sbin/dockerd")
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
            .unwrap();
        let docker = Self { dir, child };
        until("the daemon answers", || docker.ask("/_ping").ends_with("OK"));
        docker
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn variable(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Asks it something; nothing where it does not answer.
    fn ask(&self, what: &str) -> String {
        let Ok(mut stream) = UnixStream::connect(self.socket()) else { return String::new() };
        let asked = format!("GET {what} HTTP/1.0\r\nHost: docker\r\n\r\n");
        let mut answer = String::new();
        let done = stream.write_all(asked.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        if done.is_ok() { answer } else { String::new() }
    }

    /// Returns how many containers and volumes there are.
    fn left(&self) -> (usize, usize) {
        let containers = self.ask("/containers/json?all=1").matches("\"Id\"").count();
        let volumes = self.ask("/volumes").matches("\"Mountpoint\"").count();
        (containers, volumes)
    }

    /// Runs csync with this daemon as the machine's.
    fn csync(&self, world: &World, args: &[&str]) -> Done {
        self.command(world, args).output().unwrap().into()
    }

    fn command(&self, world: &World, args: &[&str]) -> Command {
        let mut command = world.command(args);
        command.env("DOCKER_HOST", self.variable());
        command
    }

    /// Gives it an image with these commands besides `sh`, `cat` and `echo`.
    fn image(&self, world: &World, commands: &str) {
        let busybox = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|dir| dir.join("busybox"))
            .find(|program| program.exists())
            .expect("tests/run looked for it");
        let made = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/archive.py"))
            .arg(busybox)
            .args([world.path("box.tar").as_os_str(), "box:1".as_ref()])
            .args(commands.split_whitespace())
            .status()
            .unwrap();
        assert!(made.success());
        let pushed = self.csync(world, &["images", "push", "box.tar"]).exits(0).out;
        assert!(pushed.contains("local has box:1"), "{pushed}");
    }
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
    signal(told.id(), "INT");
    let done: Done = told.wait_with_output().unwrap().into();
    assert_eq!((done.code, docker.left()), (130, (0, 0)), "{}", done.err);
    // One that was killed cannot clean up: the next does.
    let mut killed = start();
    begun(&mut killed);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(docker.left().0, 1);
    let next = docker.csync(&world, &["run", "--image", "box:1", "--", "echo", "next"]).exits(0);
    assert!(next.err.contains("ended 1 that a csync which died had left"), "{}", next.err);
    assert_eq!((next.out.as_str(), docker.left()), ("next\n", (0, 0)));
}

#[test]
fn another_machines_daemon_is_reached_through_its_connection() {
    let (world, docker) = (World::new(), Docker::start());
    let mut bed = Bed::new();
    let sshd = bed.unusual_sshd(&Unusual::lines(format!("SetEnv DOCKER_HOST={}", docker.variable())));
    let key = bed.read(&format!("host-{}.pub", sshd.address));
    bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
    let line = Line { bed, hosts: vec![sshd] };
    let config = world.path("../.config/csync");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("hosts.toml"), "[hosts.lab]\nssh = \"host0\"\nbatch = \"none\"\n").unwrap();
    docker.image(&world, "");
    world.write("script.sh", "cat data.csv\n");
    world.write("data.csv", "far\n");
    // The second is what only the system's `ssh` does.
    for (member, lines) in [("russh", ""), ("openssh", "Compression yes")] {
        line.write_config(lines);
        // No client program, and no daemon of this machine: all of it goes through the connection.
        let csync = |args: &[&str]| {
            let mut command = world.command(args);
            command.env("CSYNC_SSH_CONFIG", line.bed.path("config"));
            command.env("DOCKER_HOST", "unix:///nonexistent");
            Done::from(command.output().unwrap())
        };
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
