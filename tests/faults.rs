//! What goes wrong around csync: a clear message or a bounded, recorded outcome, and nothing else is harmed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use csync::model::job::Outcome;

use crate::arena::{World, finish, finish_child, kill, until};

/// A task that runs until the file `go` is there.
const WAITS: &str = r#"
[tasks.waits]
outputs = ["waited"]
run = "until [ -e go ]; do sleep 0.02; done; touch waited"
"#;

fn outcome(world: &World, task: &str) -> Outcome {
    world.instances("last", task)[0].outcome.clone().expect("it ended")
}

#[test]
fn two_runs_do_not_write_one_directory() {
    let mut world = World::new();
    world.workflow(WAITS);
    let run = world.submit_detached();
    world.csync(&["submit", "workflow.toml"]).code(4).says(&[&format!("run {run}")]);

    // Another state directory has another engine, but the directory is the same.
    let first = world.state();
    let second = world.work().join("second-state");
    world.set("CSYNC_STATE", &second.display().to_string());
    world.csync(&["submit", "workflow.toml"]).code(4).says(&[&first.display().to_string()]);
    world.stop();

    world.set("CSYNC_STATE", &first.display().to_string());
    world.write("go", "");
    world.csync(&["wait", "last"]).code(0);
    world.csync(&["submit", "workflow.toml"]).code(0);
    assert_eq!(world.counts(), "1 cached");
}

#[test]
fn a_submission_brings_its_own_environment() {
    let mut world = World::new();
    let task = r#"
    [tasks.shows]
    cache = false
    run = 'printf "%s %s %s" "$WHO" "${ONLY_FIRST-unset}" "$(umask)" > shown'
    "#;
    world.workflow(task);
    world.set("WHO", "first");
    world.set("ONLY_FIRST", "set");
    finish(
        &mut world.program("sh", &["-c", "umask 022; exec \"$0\" submit workflow.toml", env!("CARGO_BIN_EXE_csync")]),
    )
    .code(0);
    assert_eq!(world.read("shown"), "first set 0022");

    let engine = world.engine().expect("the engine stays for a while");
    let mut other =
        world.program("sh", &["-c", "umask 027; exec \"$0\" submit workflow.toml", env!("CARGO_BIN_EXE_csync")]);
    other.env("WHO", "second").env_remove("ONLY_FIRST");
    finish(&mut other).code(0);
    assert_eq!(world.engine(), Some(engine), "the same engine ran both");
    assert_eq!(world.read("shown"), "second unset 0027");
}

#[test]
fn a_socket_left_over_is_replaced() {
    let world = World::new();
    world.workflow("[tasks.a]\nrun = \"true\"\n");
    world.submit().code(0);
    for victim in [world.engine(), world.worker()].into_iter().flatten() {
        kill(victim);
    }
    until("they are gone", || world.processes().is_empty());
    assert!(world.state().join("engine.sock").exists(), "a killed engine leaves its socket");
    world.csync(&["submit", "--rerun", "workflow.toml"]).code(0);
    world.stop();

    fs::write(world.state().join("engine.sock"), "not a socket").expect("a file in its place");
    world.csync(&["submit", "workflow.toml"]).code(0);
}

#[test]
fn one_engine_lives_however_many_start() {
    let world = World::new();
    let clients: Vec<_> = (0..8).map(|_| world.start(&["runs", "--json"])).collect();
    for client in clients {
        finish_child(client).code(0);
    }
    let arguments = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let engines =
        || world.processes().iter().filter(|pid| arguments(pid).windows(5).any(|window| window == b"serve")).count();
    until("the losers leave", || engines() == 1);
}

#[test]
fn a_database_of_a_later_version_is_left_alone() {
    let world = World::new();
    world.workflow("[tasks.a]\nrun = \"true\"\n");
    world.submit().code(0);
    world.stop();
    // SQLite's user_version: four bytes, big-endian, at offset 60.
    let path = world.state().join("csync.db");
    let mut bytes = fs::read(&path).expect("the database is there");
    bytes[60..64].copy_from_slice(&9999_u32.to_be_bytes());
    fs::write(&path, &bytes).expect("written");
    world.csync(&["submit", "workflow.toml"]).code(6).says(&["9999", "install csync"]);
    assert_eq!(fs::read(&path).expect("still there"), bytes, "nothing was written");
}

#[test]
fn a_damaged_database_is_told_and_repaired() {
    let world = World::new();
    world.workflow("[tasks.a]\nrun = \"true\"\n");
    world.submit().code(0);
    world.stop();
    let path = world.state().join("csync.db");
    let length = fs::metadata(&path).expect("the database is there").len();
    fs::write(&path, vec![b'x'; usize::try_from(length).expect("small")]).expect("written");
    world.csync(&["submit", "workflow.toml"]).code(5).says(&["damaged", "csync doctor --repair"]);
    assert_eq!(world.worker(), None, "an engine that cannot begin leaves no worker");
    world.csync(&["doctor", "--repair"]);
    world.csync(&["submit", "workflow.toml"]).code(0);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let mut world = World::new();
    world.workflow("[tasks.a]\nrun = \"true\"\n");
    let state = world.work().join("sealed");
    fs::create_dir(&state).expect("a directory");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o555)).expect("sealed");
    world.set("CSYNC_STATE", &state.join("state").display().to_string());
    let ran = if rustix::process::getuid().is_root() {
        // Root may write everywhere; somebody else tries, with a copy of csync that everybody reaches.
        let home = world.work().parent().expect("the world").to_path_buf();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).expect("open");
        fs::copy(env!("CARGO_BIN_EXE_csync"), home.join("csync")).expect("a copy");
        let program = home.join("csync").display().to_string();
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", &program, "submit", "workflow.toml"];
        finish(&mut world.program("setpriv", &nobody))
    } else {
        world.submit()
    };
    ran.code(5).says(&["sealed", "CSYNC_STATE"]);
}

#[test]
fn what_forks_away_is_ended_with_its_task() {
    let world = World::new();
    world.workflow(
        r#"
        [tasks.forks]
        run = "setsid sleep 1000 & setsid sh -c 'sleep 1000 & sleep 1000' & true"
        "#,
    );
    world.submit().code(0);
    let sleeps = || {
        world
            .processes()
            .iter()
            .filter(|pid| fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"sleep\n"))
            .count()
    };
    until("nothing of the task is left", || sleeps() == 0);
}

#[test]
fn a_task_that_ignores_term_is_killed() {
    let mut world = World::new();
    world.set("CSYNC_GRACE", "1s");
    world.workflow(
        r#"
        [tasks.stays]
        run = "trap '' TERM; echo started; while :; do sleep 0.1; done"
        resources = { time = "1s" }
        "#,
    );
    world.submit().code(1);
    assert_eq!(outcome(&world, "stays"), Outcome::Timeout);
    world.csync(&["why", "stays"]).code(0).says(&["time"]);
    world.stop();
}

#[test]
fn endless_output_takes_a_bounded_part_of_the_disk() {
    let mut world = World::new();
    world.set("CSYNC_LOG_MAX", "1M");
    world.workflow("[tasks.talks]\nrun = \"echo first; head -c 300000000 /dev/zero | tr '\\\\0' x; echo last\"\n");
    world.submit().code(0);
    let kept: u64 = walkdir::WalkDir::new(world.state())
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    assert!(kept < 8 << 20, "{kept} bytes are kept");
    let instance = &world.instances("last", "talks")[0];
    assert!(!instance.attempts[0].notes.is_empty(), "that something was left out is recorded: {instance:?}");
    let log = world.csync(&["logs", "last", "talks"]).code(0).out;
    assert!(log.contains("first") && log.contains("last"), "head and tail are kept");
}

#[test]
fn output_that_is_no_text_is_kept_as_it_is() {
    let world = World::new();
    world.workflow("[tasks.raw]\nrun = \"printf 'a\\\\377\\\\376\\\\000b\\\\n'; printf '\\\\351\\\\n' >&2; exit 3\"\n");
    world.submit().code(1);
    let output = world.command(&["logs", "last", "raw"]).output().expect("csync");
    assert!(output.stdout.windows(6).any(|window| window == b"a\xff\xfe\0b\n"), "{output:?}");
    let why: serde_json::Value = world.csync(&["why", "raw", "--json"]).code(0).json();
    assert!(why.to_string().contains('\u{fffd}'), "{why}");
}

#[test]
fn a_task_may_delete_its_own_directory() {
    let world = World::new();
    world.workflow(
        r#"
        [tasks.deletes]
        workdir = "room"
        run = 'rm -r "$PWD"'
        [tasks.after]
        needs = ["deletes"]
        outputs = ["fine"]
        run = "touch fine"
        "#,
    );
    world.write("room/file", "");
    world.submit().code(0);
    assert!(world.has("fine"));
    assert!(!world.has("room"));
}

#[test]
fn half_written_output_is_no_result() {
    let world = World::new();
    world.workflow(
        r#"
        [tasks.half]
        outputs = ["half"]
        run = "echo partial > half; [ -e go ]"
        [tasks.next]
        inputs = ["half"]
        outputs = ["next"]
        run = "cp half next"
        "#,
    );
    world.submit().code(1);
    assert!(!world.has("half"), "what a failed attempt wrote does not stand under its name");
    assert_eq!(world.counts(), "1 failed, 1 skipped");
    world.write("go", "");
    world.csync(&["retry"]).code(0);
    world.csync(&["wait"]).code(0);
    assert_eq!(world.read("next"), "partial\n");
}

#[test]
fn every_mistake_of_a_file_is_shown() {
    let world = World::new();
    world.write(
        "workflow.toml",
        "name = \"x\"\nschema = 1\n[tasks.a]\ncmd = \"true\"\n[tasks.b]\nrun = \"echo {nosuch}\"\nneeds = [\"zzz\"]\nmemory = \"1G\"\n",
    );
    world.csync(&["check"]).code(2).says(&["cmd", "run", "nosuch", "zzz", "memory", "mem"]);
    world.write("workflow.toml", "name = \"x\n[[[tasks\nrun =");
    world.csync(&["submit"]).code(2).says(&["workflow.toml"]);
    assert!(
        world.engine().is_none()
            || world.csync(&["runs", "--json"]).json::<serde_json::Value>()["runs"] == serde_json::json!([])
    );
}

#[test]
fn a_matrix_that_explodes_is_refused_with_its_size() {
    let world = World::new();
    let axis = (0..400).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    world.workflow(&format!("[tasks.m]\nmatrix = {{ a = [{axis}], b = [{axis}], c = [{axis}] }}\nrun = \"true\"\n"));
    world.csync(&["check"]).code(2).says(&["64"]);
}

#[test]
fn a_hundred_thousand_tasks_are_checked() {
    let world = World::new();
    let tasks: Vec<String> = (0..100_000).map(|i| format!("[tasks.t{i}]\nrun = [\"true\"]\n")).collect();
    world.workflow(&tasks.concat());
    world.csync(&["check"]).code(0);
}

#[test]
fn strange_names_of_files_are_only_names() {
    let world = World::new();
    let names = [
        "a b",
        "it's",
        "\"quoted\"",
        "-rf",
        "naïve-日本",
        "new\nline",
        "dollar$HOME",
        "semi;colon",
        "star*",
        "back\\slash",
    ];
    for name in names {
        world.write(format!("in/{name}.txt"), name);
    }
    world.workflow(
        r#"
        [tasks.copy]
        foreach = "in/*.txt"
        inputs = ["{item}"]
        outputs = ["out/{item.stem}.copy"]
        run = "cp -- {inputs[0]} {outputs[0]}"
        [tasks.argv]
        foreach = "in/*.txt"
        inputs = ["{item}"]
        outputs = ["argv/{item.stem}.copy"]
        run = ["cp", "--", "{inputs[0]}", "{outputs[0]}"]
        "#,
    );
    world.submit().code(0);
    for name in names {
        assert_eq!(world.read(format!("out/{name}.copy")), name);
        assert_eq!(world.read(format!("argv/{name}.copy")), name);
    }
}
