//! A journey of one workflow over a host with Docker alone and one with Apptainer alone. Neither reaches a registry: its image comes
//! from this machine's daemon, to each once.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::needs_docker::{Docker, archive};
use crate::needs_registry::{Registry, publish};
use crate::needs_ssh::Line;
use crate::needs_ssh::sshd::{Bed, Unusual};
use crate::world::{Done, World, until};

/// Puts an Apptainer into a directory that runs as an ordinary user, which it wants to, and writes down what images it makes.
fn apptainer(world: &World) {
    let program = std::env::var("CSYNC_APPTAINER").expect("CSYNC_APPTAINER names the program; tests/run sets it");
    let text = format!(
        "#!/bin/sh\ncase $1 in build | pull) echo \"$*\" >>{} ;; esac\n\
         exec unshare --user --map-user=1000 --map-group=1000 {program} \"$@\"\n",
        world.path("made").display()
    );
    fs::create_dir(world.path("programs")).unwrap();
    world.write("programs/apptainer", &text);
    fs::set_permissions(world.path("programs/apptainer"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Two hosts at the ends of connections: `lab` has a daemon and no program of it, `hpc` has Apptainer.
fn hosts(world: &World, there: &Docker) -> Line {
    let mut bed = Bed::new();
    let programs = "/usr/sbin:/usr/bin:/sbin:/bin";
    let environments = [
        format!("SetEnv DOCKER_HOST={} PATH={programs} SHLVL=5", there.variable()),
        format!("SetEnv DOCKER_HOST=unix:///nonexistent PATH={}:{programs} SHLVL=5", world.path("programs").display()),
    ];
    let mut hosts = Vec::new();
    for lines in environments {
        let sshd = bed.unusual_sshd(&Unusual::lines(lines));
        let key = bed.read(&format!("host-{}.pub", sshd.address));
        bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
        hosts.push(sshd);
    }
    let config = world.path("../.config/csync");
    fs::create_dir_all(&config).unwrap();
    let scratch = world.path("..").canonicalize().unwrap().display().to_string();
    let host = |name: &str, ssh: &str, runtime: &str| {
        format!(
            "[hosts.{name}]\nssh = \"{ssh}\"\nbatch = \"none\"\ncontainers = [\"{runtime}\"]\nscratch = \"{scratch}/{name}\"\n\
             internet = {{ login = false, compute = false }}\n"
        )
    };
    fs::write(config.join("hosts.toml"), host("lab", "host0", "docker") + &host("hpc", "host1", "apptainer")).unwrap();
    Line { bed, hosts }
}

#[test]
fn one_workflow_runs_by_docker_alone_and_by_apptainer_alone() {
    let (world, here, there) = (World::new(), Docker::start(), Docker::start());
    here.image(&world, "tr grep test");
    // Another image, in a file.
    archive(&world, "amd64", "tr grep test sort");
    apptainer(&world);
    let line = hosts(&world, &there);
    line.write_config("");
    let csync = |args: &[&str]| {
        let mut command = here.command(&world, args);
        Done::from(command.env("CSYNC_SSH_CONFIG", line.bed.path("config")).output().unwrap())
    };
    // One that was taken there beforehand does not come again.
    let pushed = csync(&["images", "push", "box:1", "--on", "hpc"]).exits(0).out;
    assert!(pushed.contains("hpc has it") && pushed.contains(".sif"), "{pushed}");
    let listed = csync(&["images", "list", "--on", "hpc"]).exits(0).out;
    assert!(listed.contains("box:1"), "{listed}");
    assert_eq!(world.read("made").lines().count(), 1);
    world.write("in.txt", "hello\n");
    world.write(
        "workflow.toml",
        r#"
name = "both"
[defaults]
container = "docker://box:1"
[tasks.upper]
on = "lab"
inputs = ["in.txt"]
outputs = ["out/upper"]
run = "tr a-z A-Z < {inputs} > {outputs}; test ! -e /etc/debian_version"
[tasks.count]
foreach = { range = [1, 4] }
on = "hpc"
inputs = ["out/upper"]
outputs = ["out/count-{item}"]
run = "grep -c HELLO {inputs} > {outputs}; test ! -e /etc/debian_version"
[tasks.filed]
on = "lab"
container = "docker-archive:box.tar"
inputs = ["out/count-1"]
outputs = ["out/filed"]
run = "sort {inputs} > {outputs}; test ! -e /etc/debian_version"
[tasks.leaks]
on = "lab"
outputs = ["out/leak"]
run = ["/bin/busybox", "ln", "-s", "/etc/passwd", "{outputs}"]
"#,
    );
    let done = csync(&["submit"]).exits(1);
    assert!(done.out.contains("6 done"), "{} {}", done.out, done.err);
    assert_eq!((world.read("out/upper").as_str(), world.read("out/filed").as_str()), ("HELLO\n", "1\n"));
    // A link to what the container did not see is no output of it.
    let why = csync(&["why", "1", "leaks"]).out;
    assert!(why.contains("is a link that leads out of what its container sees, to /etc/passwd"), "{why}");
    assert!(there.ask("/images/json").contains("box:1"), "taken from this machine's daemon");
    let kept = |end: &str| {
        let names = fs::read_dir(world.path("../hpc/images")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(end)).count()
    };
    assert_eq!((kept(".sif"), kept(".tar"), world.read("made").lines().count()), (1, 0, 1), "converted once");

    // What is there is known, and does not come again: not even where this machine has it no more.
    let routed = csync(&["route", "--image", "box:1", "--json", "true"]).exits(0).out;
    assert!(!routed.contains("is not there"), "{routed}");
    let elsewhere = csync(&["route", "--image", "other:1", "true"]).out;
    assert!(elsewhere.contains("other:1 is not there, and there is no internet"), "{elsewhere}");
    let sif = csync(&["route", "--image", "tools.sif", "true"]).out;
    assert!(sif.contains("neither Apptainer nor Singularity is there"), "{sif}");
    here.say("DELETE", "/images/box:1?force=1", "");
    world.write("in.txt", "hello\nhello\n");
    let again = csync(&["submit"]);
    assert!(again.out.contains("6 done"), "{} {}", again.out, again.err);
    assert_eq!(world.read("made").lines().count(), 1);
    until("no container is left", || there.left() == (0, 0));
}

#[test]
fn a_digest_is_converted_once_and_a_tag_that_moved_is_noticed() {
    let (world, docker) = (World::new(), Docker::start());
    apptainer(&world);
    let registry = Registry::start(&world, "");
    docker.image(&world, "id");
    let image = publish(&docker, &registry, "e30=");
    world.write(
        "workflow.toml",
        &format!(
            "name = \"tags\"\n[tasks.t]\nforeach = {{ range = [1, 8] }}\ncontainer = \"docker://{image}\"\ncache = false\n\
             env = {{ PATH = \"{}:/usr/sbin:/usr/bin:/sbin:/bin\", APPTAINER_NOHTTPS = \"1\", CSYNC_IMAGES_ASK = \"0\" }}\n\
             outputs = [\"out/{{item}}\"]\nrun = \"if test -e /bin/tr; then echo moved; else echo first; fi > {{outputs}}\"\n",
            world.path("programs").display()
        ),
    );
    let submit = || {
        let mut command = world.command(&["submit"]);
        let done =
            Done::from(command.env("DOCKER_HOST", "unix:///nonexistent").env("CSYNC_CPUS", "8").output().unwrap());
        assert!(done.out.contains("8 done"), "{} {}", done.out, done.err);
        (world.read("out/1"), world.read("out/8"), world.read("made").lines().count())
    };
    let all = |word: &str, made| (format!("{word}\n"), format!("{word}\n"), made);
    assert_eq!(submit(), all("first", 1));
    assert_eq!(submit(), all("first", 1));
    docker.image(&world, "id tr");
    publish(&docker, &registry, "e30=");
    assert_eq!(submit(), all("moved", 2));
    // Who cannot be asked changes nothing.
    drop(registry);
    assert_eq!(submit(), all("moved", 2));
}
