//! Journeys of containers by a real Podman, through its socket that speaks as Docker's: one that may set limits, and a rootless
//! one, which takes limits and does not hold them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::needs_ssh::Line;
use crate::needs_ssh::sshd::{Bed, Unusual};
use crate::world::{Done, World, signal, until};

/// Whom the rootless one belongs to: nobody, where there is no other account.
const NOBODY: u32 = 65534;

/// A Podman's service, which a test has for itself.
struct Podman {
    dir: TempDir,
    child: Child,
}

impl Podman {
    /// Starts it as a user.
    fn start(user: u32) -> Self {
        let dir = tempfile::Builder::new().prefix("csync-pm").tempdir_in("/tmp").unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: String| fs::write(path(name), text).unwrap();
        let at = dir.path().display();
        write(
            "containers.conf",
            format!(
                "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nvolume_path = \"{at}/volumes\"\n\
                 [containers]\nnetns = \"none\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n"
            ),
        );
        write(
            "storage.conf",
            format!(
                "[storage]\ndriver = \"vfs\"\nrunroot = \"{at}/run\"\ngraphroot = \"{at}/graph\"\nrootless_storage_path = \"{at}/graph\"\n"
            ),
        );
        write("sub", format!("{user}:100000:65537\n"));
        for name in ["run", "graph", "home"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["", "run", "graph", "home", "containers.conf", "storage.conf"] {
            chown(path(name), Some(user), Some(user)).unwrap();
        }
        let log = fs::File::create(path("log")).unwrap();
        let service = format!("podman system service --time=0 unix://{}", path("sock").display());
        // An ordinary user's containers need ids of its own, which the machine need not have given out.
        let line = if user == 0 {
            format!("exec {service}")
        } else {
            // Nor is every machine's way to networks of its own open to all.
            format!(
                "mknod -m 666 {at}/tun c 10 200 && mount --bind {at}/tun /dev/net/tun && \
                 mount --bind {at}/sub /etc/subuid && mount --bind {at}/sub /etc/subgid && \
                 exec setpriv --reuid={user} --regid={user} --clear-groups {service}"
            )
        };
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", &line])
            .env("CONTAINERS_CONF", path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", path("storage.conf"))
            .env("XDG_RUNTIME_DIR", path("run"))
            .env("HOME", path("home"))
            .env("TMPDIR", dir.path())
            // conmon leaves a file `oom` where it stands, of a container that ran out of memory.
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let podman = Self { dir, child };
        until("the service listens", || podman.socket().exists());
        podman
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn csync(&self, world: &World, args: &[&str]) -> Done {
        let mut command = world.command(args);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display())).output().unwrap().into()
    }

    fn image(&self, world: &World) {
        archive(world);
        let pushed = self.csync(world, &["images", "push", "box.tar"]).exits(0).out;
        assert!(pushed.contains("box:1"), "{pushed}");
    }
}

/// Writes an image as `podman save` does.
fn archive(world: &World) {
    let busybox = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join("busybox"))
        .find(|program| program.exists())
        .expect("tests/run looked for it");
    let made = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/archive.py"))
        .arg(busybox)
        .args([world.path("box.tar").as_os_str(), "box:1".as_ref()])
        .args(["id", "sleep"])
        .status()
        .unwrap();
    assert!(made.success());
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Its parts: what was started, and what that started in a user namespace.
        Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status().ok();
        self.child.wait().ok();
        // A rootless one keeps a process that holds its user namespace.
        let pause = fs::read_to_string(self.dir.path().join("run/libpod/tmp/pause.pid"));
        if let Some(pid) = pause.ok().and_then(|text| text.trim().parse::<u32>().ok()) {
            signal(pid, "KILL");
        }
    }
}

#[test]
fn podman_runs_sandboxes_and_tasks() {
    let world = World::new();
    let podman = Podman::start(0);
    podman.image(&world);
    world.write("data.csv", "1,2\n");
    world.write("script.sh", "cat data.csv; echo told >&2; id -u; exit 7\n");
    let done = podman.csync(&world, &["run", "--image", "box:1", "script.sh", "--files", "data.csv"]).exits(7);
    assert_eq!((done.out.as_str(), done.err.as_str()), ("1,2\n65534\n", "told\n"));
    world.write("bomb.sh", "a=xxxxxxxx; while :; do a=$a$a; done\n");
    let bomb = podman.csync(&world, &["run", "--image", "box:1", "--mem", "64M", "bomb.sh"]);
    assert!(bomb.code != 0, "{} {}", bomb.out, bomb.err);
    world.write(
        "workflow.toml",
        "name = \"boxed\"\n[tasks.t]\ncontainer = \"box:1\"\noutputs = [\"out\"]\n\
         run = \"echo told; echo made > {outputs}; test ! -e /etc/debian_version\"\n\
         [tasks.fails]\ncontainer = \"box:1\"\nrun = \"exit 5\"\n",
    );
    let done = podman.csync(&world, &["submit"]).exits(1);
    assert!(done.out.contains("1 done") && done.out.contains("exit code 5"), "{} {}", done.out, done.err);
    assert_eq!(world.read("out"), "made\n");
}

#[test]
fn another_machines_podman_is_reached_through_its_connection() {
    let world = World::new();
    let podman = Podman::start(0);
    let mut bed = Bed::new();
    let variable = format!("unix://{}", podman.socket().display());
    let sshd = bed.unusual_sshd(&Unusual::lines(format!("SetEnv CONTAINER_HOST={variable} DOCKER_HOST={variable}")));
    let key = bed.read(&format!("host-{}.pub", sshd.address));
    bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
    let config = world.path("../.config/csync");
    fs::create_dir_all(&config).unwrap();
    let scratch = world.path("..").canonicalize().unwrap().join("scratch");
    let hosts = format!(
        "[hosts.lab]\nssh = \"host0\"\nbatch = \"none\"\ncontainers = [\"podman\"]\nscratch = \"{}\"\n",
        scratch.display()
    );
    fs::write(config.join("hosts.toml"), hosts).unwrap();
    let line = Line { bed, hosts: vec![sshd] };
    line.write_config("");
    let csync = |args: &[&str]| {
        let mut command = world.command(args);
        command.env("CSYNC_SSH_CONFIG", line.bed.path("config")).env("DOCKER_HOST", "unix:///nonexistent");
        Done::from(command.output().unwrap())
    };
    archive(&world);
    let pushed = csync(&["images", "push", "box.tar", "--on", "lab"]).exits(0).out;
    assert!(pushed.contains("lab has") && pushed.contains("box:1"), "{pushed}");
    let listed = csync(&["images", "list", "--on", "lab"]).exits(0).out;
    assert!(listed.contains("box:1"), "{listed}");
    world.write("data.csv", "far\n");
    world.write("script.sh", "cat data.csv; exit 7\n");
    let done = csync(&["run", "--on", "lab", "--image", "box:1", "script.sh", "--files", "data.csv"]).exits(7);
    assert_eq!(done.out, "far\n", "{}", done.err);
    world.write(
        "workflow.toml",
        "name = \"far\"\n[defaults]\ncontainer = \"box:1\"\non = \"lab\"\n\
         [tasks.t]\ninputs = [\"data.csv\"]\nstdin = \"data.csv\"\noutputs = [\"out\"]\n\
         run = \"echo told; cat > {outputs}; test ! -e /etc/debian_version\"\n[tasks.fails]\nrun = \"exit 5\"\n",
    );
    let done = csync(&["submit"]).exits(1);
    assert!(done.out.contains("1 done") && done.out.contains("exit code 5"), "{} {}", done.out, done.err);
    assert_eq!((world.read("out").as_str(), csync(&["logs", "2", "t"]).exits(0).out.as_str()), ("far\n", "told\n"));
}

#[test]
fn a_rootless_podman_runs_its_users_tasks_as_who_they_are() {
    let world = World::new();
    let podman = Podman::start(NOBODY);
    archive(&world);
    world.write(
        "workflow.toml",
        "name = \"boxed\"\n[tasks.t]\ncontainer = \"box:1\"\ninputs = [\"given\"]\noutputs = [\"out\"]\n\
         run = \"id -u; cat {inputs} > {outputs}\"\n",
    );
    world.write("given", "it reads and writes what is theirs\n");
    fs::set_permissions(world.path("given"), fs::Permissions::from_mode(0o600)).unwrap();
    // All of it is theirs, csync itself too: they see nothing of whoever runs the tests.
    let home = world.path("..");
    let program = home.join("csync");
    fs::copy(env!("CARGO_BIN_EXE_csync"), &program).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["..", ".", "box.tar", "given", "workflow.toml"] {
        chown(world.path(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let csync = |args: &[&str]| {
        let like = world.command(args);
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
        command.arg(&program).args(args).current_dir(like.get_current_dir().unwrap()).env_clear();
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
        command.env("DOCKER_HOST", format!("unix://{}", podman.socket().display()));
        Done::from(command.output().unwrap())
    };
    csync(&["images", "push", "box.tar"]).exits(0);
    let done = csync(&["submit"]);
    assert_eq!(done.code, 0, "{} {}", done.out, done.err);
    assert_eq!(csync(&["logs", "1", "t"]).exits(0).out, format!("{NOBODY}\n"));
    assert_eq!(world.read("out"), "it reads and writes what is theirs\n");
    let made = fs::metadata(world.path("out")).unwrap();
    assert_eq!((made.uid(), made.gid()), (NOBODY, NOBODY));
}

#[test]
fn a_podman_that_holds_no_limits_is_refused_for_sandboxes() {
    let world = World::new();
    let podman = Podman::start(NOBODY);
    podman.image(&world);
    world.write("script.sh", "echo ran\n");
    let refused = podman.csync(&world, &["run", "--image", "box:1", "script.sh"]);
    assert!(refused.code != 0 && !refused.out.contains("ran"), "{} {}", refused.out, refused.err);
    assert!(refused.err.contains("does not hold limits of memory and of processes"), "{}", refused.err);

    // It is found out by a container that says so, and tasks are told.
    let tried = podman.csync(&world, &["hosts", "probe", "local", "--limits"]).exits(0);
    assert!(tried.out.contains("does not hold them"), "{} {}", tried.out, tried.err);
    let shown = podman.csync(&world, &["hosts", "show", "local"]).exits(0);
    assert!(shown.out.contains("holds no limits: tried"), "{}", shown.out);
    // Then it is known beforehand, and nothing is routed or pulled there.
    let again = podman.csync(&world, &["run", "--image", "none.invalid/x:1", "script.sh"]);
    assert!(again.code != 0 && again.err.contains("does not hold limits: that was tried"), "{}", again.err);
    let config = world.path("../.config/csync");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("hosts.toml"), "[hosts.local]\ncontainers = [\"podman\"]\n").unwrap();
    let routed = podman.csync(&world, &["route", "--sandbox", "--image", "box:1", "--explain", "true"]);
    assert!(routed.out.contains("does not hold the limits of a sandbox"), "{} {}", routed.out, routed.err);
    world.write(
        "workflow.toml",
        "name = \"boxed\"\n[tasks.t]\ncontainer = \"box:1\"\nresources = { mem = \"64M\" }\nrun = [\"id\"]\n",
    );
    podman.csync(&world, &["submit"]);
    let told = podman.csync(&world, &["logs", "1", "t"]);
    assert!(told.err.contains("holds no limits") || told.out.contains("holds no limits"), "{} {}", told.out, told.err);
}
