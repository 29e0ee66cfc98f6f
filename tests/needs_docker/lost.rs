//! What becomes of tasks of a daemon whose host falls silent: what was not begun goes elsewhere, what runs is lost until the host is
//! back or a person says so, and nothing is left.

use std::fs;

use super::{Docker, lab};
use crate::needs_ssh::Line;
use crate::world::{Done, World, signal, until};

/// A world with a daemon at the other end of a connection, and one of this machine.
struct Far {
    line: Line,
    docker: Docker,
    here: Docker,
    world: World,
}

impl Far {
    /// Makes one that notices a silent host within some seconds. One task runs there at a time.
    fn new() -> Self {
        let (world, docker, here) = (World::new(), Docker::start(), Docker::start());
        let line = lab(&world, &docker);
        line.write_config("ServerAliveInterval 1\nServerAliveCountMax 2\nConnectTimeout 1");
        let hosts = world.path("../.config/csync/hosts.toml");
        let known = fs::read_to_string(&hosts).unwrap();
        fs::write(&hosts, known.replace("max_jobs = 4", "policy = { connections_per_minute = 60 }")).unwrap();
        docker.image(&world, "sleep test");
        here.image(&world, "sleep test");
        Self { line, docker, here, world }
    }

    fn csync(&self, args: &[&str]) -> Done {
        let mut command = self.here.command(&self.world, args);
        command.env("CSYNC_SSH_CONFIG", self.line.bed.path("config")).output().unwrap().into()
    }

    /// Submits so many tasks that may run on these hosts; they say when they begin, and wait to be let go.
    fn submit(&self, count: u32, on: &str) {
        for file in ["go", "started"] {
            fs::remove_file(self.world.path(file)).ok();
        }
        self.world.write(
            "workflow.toml",
            &format!(
                "name = \"far\"\n[tasks.t]\nforeach = {{ range = [1, {count}] }}\ncontainer = \"box:1\"\ncache = false\non = {on}\n\
                 outputs = [\"out/{{item}}\"]\n\
                 run = \"echo $CSYNC_JOB >> started; while ! test -e go; do sleep 0.1; done; echo {{attempt}} > {{outputs}}\"\n"
            ),
        );
        self.csync(&["submit", "--detach"]).exits(0);
    }

    /// Returns the attempts that began, `RUN.INSTANCE.ATTEMPT`, in their order.
    fn started(&self) -> Vec<String> {
        let text = fs::read_to_string(self.world.path("started")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Lets them go, and waits until nothing is left of any.
    fn end(&self, run: &str) {
        self.world.write("go", "");
        let over = self.csync(&["wait", run]);
        assert_eq!(over.code, 0, "{}", self.csync(&["why", run, "t"]).out);
        until("no container is left", || (self.docker.left(), self.here.left()) == ((0, 0), (0, 0)));
    }

    fn why_says(&self, run: &str, words: &str) {
        until(words, || self.csync(&["why", run, "t"]).out.contains(words));
    }
}

#[test]
fn what_was_not_begun_when_its_host_fell_silent_goes_elsewhere() {
    let far = Far::new();
    far.submit(3, "[\"lab\", \"local\"]");
    until("one runs", || far.started().len() == 1);
    let first = far.started().remove(0);
    assert!(first.ends_with(".1"), "{first}");
    // The others wait for room there: nothing of them is there, so there is nothing to wait for.
    far.line.hosts[0].freeze();
    until("the others run", || far.started().len() == 3);
    let others = far.started().split_off(1);
    assert!(others.iter().all(|key| key.ends_with(".2")), "{others:?}");
    far.why_says("1", "it was not started on `lab`");
    far.world.write("go", "");
    far.line.hosts[0].thaw();
    far.end("1");
    let mut instances: Vec<String> =
        far.started().iter().map(|key| key.split('.').nth(1).unwrap().to_owned()).collect();
    instances.sort();
    assert_eq!(instances, ["0", "1", "2"], "each ran once");
    let made: Vec<String> = (1..=3).map(|item| far.world.read(&format!("out/{item}"))).collect();
    assert_eq!(made.iter().filter(|attempt| *attempt == "1\n").count(), 1, "{made:?}");
}

#[test]
fn what_is_lost_in_a_container_runs_again_when_a_person_says_so() {
    let far = Far::new();
    far.submit(1, "[\"lab\", \"local\"]");
    until("it runs", || far.started() == ["1.0.1"]);
    assert!(far.csync(&["retry", "--lost"]).exits(0).err.contains("nothing of it is lost"));
    far.line.hosts[0].freeze();
    far.why_says("1", "csync retry --lost 1");
    let said = far.csync(&["retry", "--lost", "--detach"]).exits(0);
    assert!(said.err.contains("1 instance "), "{said:?}");
    until("it runs elsewhere", || far.started() == ["1.0.1", "1.0.2"]);
    // What was given up is known to the next engine too, which cannot reach the host at first.
    let pid = far.world.json(&["engine", "status"])["engine"]["pid"].as_u64().unwrap();
    signal(u32::try_from(pid).unwrap(), "KILL");
    let misses = || {
        let log = fs::read_to_string(far.world.state().join("engine.log")).unwrap();
        log.lines().filter(|line| line.contains("cannot be used")).count()
    };
    let before = misses();
    assert!(far.csync(&["retry", "--lost"]).exits(0).err.contains("nothing of it is lost"));
    until("it misses the host as well", || misses() > before);
    far.line.hosts[0].thaw();
    until("the first is gone", || far.docker.left().0 == 0);
    assert!(!far.world.path("out/1").exists(), "nothing of the first is taken");
    far.end("1");
    assert_eq!((far.world.read("out/1").as_str(), far.started().len()), ("2\n", 2));

    // Where there is no other host it runs there again, and not before the first has ended.
    far.submit(1, "\"lab\"");
    until("it runs", || far.started() == ["2.0.1"]);
    far.line.hosts[0].freeze();
    far.why_says("2", "csync retry --lost 2");
    far.csync(&["retry", "--lost", "--detach"]).exits(0);
    far.line.hosts[0].thaw();
    until("it runs again", || far.started() == ["2.0.1", "2.0.2"]);
    assert!(!far.docker.ask("/containers/json").contains("-2-0-1-1\""), "the first has ended");
    far.end("2");
    assert_eq!(far.world.read("out/1"), "2\n");
}
