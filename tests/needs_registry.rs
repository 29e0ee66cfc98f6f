//! Journeys of images that a registry has: a real one, with a login and without, started for these tests.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::needs_docker::Docker;
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
    let said = docker.csync(&world, &["logs", "1", "t"]);
    assert!(failed.code != 0 && said.err.contains("docker login"), "{} {}", said.out, said.err);
    // As `docker login` writes it.
    let config = world.path("../.docker");
    fs::create_dir_all(&config).unwrap();
    let login = format!("{{\"auths\": {{\"127.0.0.1:{}\": {{\"auth\": \"YW5uOmh1c2g=\"}}}}}}", closed.port);
    fs::write(config.join("config.json"), login).unwrap();
    docker.csync(&world, &["submit"]).exits(0);
    let said = docker.csync(&world, &["logs", "2", "t"]);
    assert_eq!(said.out, "from it\n", "{}", said.err);
}
