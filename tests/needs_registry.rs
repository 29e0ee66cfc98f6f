//! Journeys of images that a registry has: a real one, with a login and without, started for these tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use crate::needs_docker::{Docker, lab, without_docker};
use crate::world::{World, signal, until};

/// A registry, which a test has for itself.
pub(crate) struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    /// Starts one; `auth` is what its configuration says of logins.
    pub(crate) fn start(world: &World, auth: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = world.path("registry");
        fs::create_dir_all(&dir).unwrap();
        let text = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {0}/data }} }}\nhttp: {{ addr: \"127.0.0.1:{port}\" }}\n{auth}",
            dir.display()
        );
        fs::write(dir.join("config.yml"), text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, port };
        until("the registry listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        registry
    }

    /// Stops it without ending it: who asks it for something waits.
    fn freeze(&self) {
        signal(self.child.id(), "STOP");
    }

    /// Lets it go on.
    fn thaw(&self) {
        signal(self.child.id(), "CONT");
    }

    /// Returns how many connections there are to it.
    fn connections(&self) -> usize {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let ours = format!(":{:04X}", self.port);
        // The third column is whom a socket speaks to, the fourth its state: 01 is a connection.
        let speaks = |line: &&str| {
            let cells: Vec<&str> = line.split_whitespace().collect();
            cells.get(2).is_some_and(|to| to.ends_with(&ours)) && cells.get(3) == Some(&"01")
        };
        table.lines().filter(speaks).count()
    }

    fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        signal(self.child.id(), "KILL");
        self.child.wait().ok();
    }
}

/// Takes the test's image to a registry, and removes it here. `login` is what goes along, in base 64.
pub(crate) fn publish(docker: &Docker, registry: &Registry, login: &str) -> String {
    let place = registry.name("lab/box");
    docker.say("POST", &format!("/images/box:1/tag?repo={place}&tag=1"), "Content-Length: 0\r\n");
    let head = format!("X-Registry-Auth: {login}\r\nContent-Length: 0\r\n");
    let pushed = docker.say("POST", &format!("/images/{place}/push?tag=1"), &head);
    assert!(pushed.contains("digest: sha256:"), "{pushed}");
    for name in [&*format!("{place}:1"), "box:1"] {
        docker.say("DELETE", &format!("/images/{name}"), "");
    }
    format!("{place}:1")
}

#[test]
fn images_come_from_a_registry_which_may_ask_for_a_login() {
    let (world, docker) = (World::new(), Docker::start());
    docker.image(&world, "");
    let open = Registry::start(&world, "");
    let image = publish(&docker, &open, "e30=");
    world.write("script.sh", "echo here\n");
    let first = docker.csync(&world, &["run", "--image", &image, "script.sh"]).exits(0);
    assert!(first.out == "here\n" && first.err.contains("pulls"), "{} {}", first.out, first.err);
    let digest = docker.csync(&world, &["images", "list", "--json"]).exits(0).out;
    assert!(digest.contains("sha256:") && digest.contains(&image), "{digest}");
    drop(open);
    // What is there is not asked for again, and what is not there cannot be had.
    let second = docker.csync(&world, &["run", "--image", &image, "script.sh"]).exits(0);
    assert_eq!((second.out.as_str(), second.err.as_str()), ("here\n", ""));
    let gone = docker.csync(&world, &["run", "--image", &image.replace("box", "other"), "script.sh"]);
    assert!(gone.code != 0 && gone.err.contains("connection refused"), "{}", gone.err);

    docker.csync(&world, &["images", "push", "box.tar"]).exits(0);
    // `ann`, with the password `hush`.
    world.write("passwd", "ann:$2b$04$b0HE7JOSRjDTT78OJtQvQu1TvYIbfm1W/ezI.9ZHGwvhnkmcn.Wau\n");
    let auth = format!("auth: {{ htpasswd: {{ realm: lab, path: {} }} }}\n", world.path("passwd").display());
    let closed = Registry::start(&world, &auth);
    let image = publish(&docker, &closed, "eyJ1c2VybmFtZSI6ImFubiIsInBhc3N3b3JkIjoiaHVzaCJ9");
    let refused = docker.csync(&world, &["run", "--image", &image, "script.sh"]);
    assert!(refused.code != 0 && refused.err.contains("`docker login 127.0.0.1:"), "{}", refused.err);
    world.write(
        "workflow.toml",
        &format!("name = \"pulled\"\n[tasks.t]\ncontainer = \"docker://{image}\"\nrun = \"echo from it\"\n"),
    );
    let failed = docker.csync(&world, &["submit"]);
    let said = docker.csync(&world, &["logs", "3", "t"]);
    assert!(failed.code != 0 && said.err.contains("docker login"), "{} {}", said.out, said.err);
    // As `docker login` writes it.
    let config = world.path("../.docker");
    fs::create_dir_all(&config).unwrap();
    let login = format!("{{\"auths\": {{\"127.0.0.1:{}\": {{\"auth\": \"YW5uOmh1c2g=\"}}}}}}", closed.port);
    fs::write(config.join("config.json"), login).unwrap();
    docker.csync(&world, &["submit"]).exits(0);
    let said = docker.csync(&world, &["logs", "4", "t"]);
    assert_eq!(said.out, "from it\n", "{}", said.err);
}

/// What asks for tokens in front of a registry, as Docker Hub does.
struct Gate {
    child: Child,
    port: u16,
}

impl Gate {
    fn start(registry: &Registry) -> Self {
        let mut child = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/token.py"))
            .arg(registry.port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { port: line.trim().parse().unwrap(), child }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        signal(self.child.id(), "KILL");
        self.child.wait().ok();
    }
}

#[test]
fn a_registry_may_ask_for_tokens_as_docker_hub_does() {
    let (world, docker) = (World::new(), Docker::start());
    docker.image(&world, "");
    let registry = Registry::start(&world, "");
    for name in ["lab/box", "shut/box"] {
        let place = registry.name(name);
        docker.say("POST", &format!("/images/box:1/tag?repo={place}&tag=1"), "Content-Length: 0\r\n");
        let pushed = docker.say(
            "POST",
            &format!("/images/{place}/push?tag=1"),
            "X-Registry-Auth: e30=\r\nContent-Length: 0\r\n",
        );
        assert!(pushed.contains("digest: sha256:"), "{pushed}");
        docker.say("DELETE", &format!("/images/{place}:1"), "");
    }
    let gate = Gate::start(&registry);
    let image = |name: &str| format!("127.0.0.1:{}/{name}/box:1", gate.port);
    // What is public is for everybody, and is not to be had without the token that everybody gets.
    world.write("script.sh", "echo here\n");
    assert_eq!(docker.csync(&world, &["run", "--image", &image("lab"), "script.sh"]).exits(0).out, "here\n");
    let refused = docker.csync(&world, &["run", "--image", &image("shut"), "script.sh"]);
    assert!(refused.code != 0 && refused.err.contains("docker login"), "{}", refused.err);
    let config = world.path("../.docker");
    fs::create_dir_all(&config).unwrap();
    let login = format!("{{\"auths\": {{\"127.0.0.1:{}\": {{\"auth\": \"YW5uOmh1c2g=\"}}}}}}", gate.port);
    fs::write(config.join("config.json"), login).unwrap();
    assert_eq!(docker.csync(&world, &["run", "--image", &image("shut"), "script.sh"]).exits(0).out, "here\n");

    // For Apptainer the digest is asked for with such a token: the image is taken by it, and a tag that moved is noticed.
    let programs = world.path("programs");
    fs::create_dir(&programs).unwrap();
    let text = format!(
        "#!/bin/sh\nif [ $1 = pull ]; then echo \"$3\" >>{}; echo image >\"$2\"; fi\n",
        world.path("pulled").display()
    );
    world.write("programs/apptainer", &text);
    fs::set_permissions(programs.join("apptainer"), fs::Permissions::from_mode(0o755)).unwrap();
    world.write(
        "workflow.toml",
        &format!(
            "name = \"tokens\"\n[tasks.t]\ncontainer = \"docker://{}\"\ncache = false\nrun = [\"true\"]\n\
             env = {{ PATH = \"{}:/usr/sbin:/usr/bin:/sbin:/bin\", APPTAINER_NOHTTPS = \"1\", CSYNC_IMAGES_ASK = \"0\" }}\n",
            image("lab"),
            programs.display()
        ),
    );
    let pulled = || {
        let done = docker.csync(&world, &["submit"]);
        assert!(done.out.contains("1 done"), "{} {}", done.out, done.err);
        world.read("pulled").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = pulled();
    let by_digest = format!("docker://127.0.0.1:{}/lab/box@sha256:", gate.port);
    assert!(first.len() == 1 && first[0].starts_with(&by_digest), "{first:?}");
    assert_eq!(pulled(), first, "it is what it was");
    docker.image(&world, "tr");
    publish(&docker, &registry, "e30=");
    let moved = pulled();
    assert!(moved.len() == 2 && moved[1].starts_with(&by_digest) && moved[1] != moved[0], "{moved:?}");
}

#[test]
fn what_is_cancelled_while_a_daemon_pulls_its_image_ends_that_and_begins_nothing() {
    let (world, docker) = (World::new(), Docker::start());
    let line = lab(&world, &docker);
    line.write_config("");
    docker.image(&world, "");
    let registry = Registry::start(&world, "");
    let image = publish(&docker, &registry, "e30=");
    let csync = |args: &[&str]| without_docker(&world, &line, args);
    world.write(
        "workflow.toml",
        &format!(
            "name = \"pulled\"\n[tasks.t]\nforeach = [1, 2]\ncontainer = \"docker://{image}\"\non = \"lab\"\noutputs = [\"out/{{item}}\"]\n\
             run = \"echo {{item}} > {{outputs}}\"\n"
        ),
    );
    registry.freeze();
    csync(&["submit", "--detach"]).exits(0);
    until("its image is on its way", || registry.connections() > 0);
    csync(&["cancel", "last"]).exits(0);
    csync(&["wait", "last"]).exits(130);
    let why = csync(&["why", "last", "t[1]"]).out;
    assert!(why.contains("it was cancelled") && why.contains("its container was not begun"), "{why}");
    until("the daemon asks for it no more", || registry.connections() == 0);
    registry.thaw();
    assert!(!docker.ask("/images/json").contains("lab/box"), "{}", docker.ask("/images/json"));
    assert_eq!(docker.left(), (0, 0));
    csync(&["submit"]).exits(0);
    assert_eq!((world.read("out/1").as_str(), world.read("out/2").as_str()), ("1\n", "2\n"));
    until("no container is left", || docker.left() == (0, 0));
}
