//! The command line as people and programs meet it.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use crate::world::{Done, World, open, signal, until};

/// Two readings, and a summary that reads what they made.
const GOOD: &str = r#"
name = "good"
[tasks.read]
foreach = ["a", "b"]
outputs = ["{item}.txt"]
run = "echo {item} > {outputs[0]}"
[tasks.sum]
inputs = ["a.txt", "b.txt"]
outputs = ["sum.txt"]
run = "cat {inputs} > {outputs[0]}"
"#;

/// One that fails as long as there is no file `fixed`, one that does not, and one that waits for both.
const BAD: &str = r#"
name = "bad"
[tasks.fine]
outputs = ["fine.txt"]
run = "echo fine > fine.txt"
[tasks.broken]
outputs = ["broken.txt"]
run = """
echo trying
if [ ! -e fixed ]; then echo 'no luck today' >&2; exit 3; fi
echo done > broken.txt
"""
[tasks.after]
needs = ["fine", "broken"]
run = "echo last"
"#;

/// One that waits until the gate opens.
const GATED: &str = r#"
name = "gated"
[tasks.wait]
run = "echo waiting; read line < gate; echo opened"
"#;

#[test]
fn a_workflow_runs_and_what_is_up_to_date_does_not_run_again() {
    let world = World::new();
    world.write("workflow.toml", GOOD);
    let first = world.csync(&["submit"]).exits(0);
    assert!(first.out.contains("Run 1 of good succeeded") && first.out.contains("3 done"), "{first:?}");
    assert_eq!(world.read("sum.txt"), "a\nb\n");
    let second = world.csync(&["submit"]).exits(0);
    assert!(second.out.contains("everything is up to date"), "{second:?}");
    assert!(!world.csync(&["submit", "--dry-run"]).exits(0).out.contains(" on local"), "nothing goes anywhere");
    world.write("a.txt", "changed by hand\n");
    let dry = world.csync(&["submit", "--dry-run"]).exits(0).out;
    assert!(dry.contains("run    read[a]: output `a.txt` was changed by something else"), "{dry}");
    assert!(dry.contains("maybe  sum: `read[a]` runs first"), "{dry}");
    // Where nobody says `on`, too: where each goes, what that rests on, and what no plan can beat.
    assert!(dry.contains("read on local: run ") && dry.contains("sum on local: run "), "{dry}");
    assert!(dry.contains("At a minute each, over in about 2m 00s; no plan can take less than 2m 00s."), "{dry}");
    let timed = "name = \"timed\"\n[tasks.a]\nrun = \"true\"\nresources = { time = \"10m\" }\n[tasks.b]\nneeds = [\"a\"]\nrun = \"true\"\n";
    world.write("timed.toml", timed);
    let dry = world.csync(&["submit", "--dry-run", "timed.toml"]).exits(0).out;
    let told = "a on local: run 3m 00s (a guess); over in 3m 00s\nb on local: run not known\nOver in about 4m 00s, if all goes as \
                expected and what is not known takes a minute; no plan can take less than 4m 00s.\n";
    assert!(dry.ends_with(told), "{dry}");
    // Where the order of hosts counts, it goes to the first, whatever would be sooner; a range of time tells how long.
    std::fs::create_dir_all(world.path("config")).unwrap();
    world.write("config/hosts.toml", "[hosts.hpc]\nsimulated = {}\n");
    world.write(
        "ordered.toml",
        "name = \"ordered\"\n[tasks.a]\nrun = \"true\"\non = [\"hpc\", \"local\"]\nresources = { time = { min = \"5m\", max = \"10m\" } }\n",
    );
    let mut dry = world.command(&["submit", "--dry-run", "ordered.toml"]);
    let dry: Done = dry.env("CSYNC_CONFIG", world.path("config")).output().unwrap().into();
    let dry = dry.exits(0).out;
    assert!(dry.contains("a on hpc: ") && dry.contains("run 3m 00s (a guess); over in "), "{dry}");
    let third = world.json(&["submit"]);
    assert_eq!((&third["counts"]["done"], &third["counts"]["cached"]), (&Value::from(1), &Value::from(2)), "{third}");
    let all = world.json(&["submit", "--rerun"]);
    assert_eq!(all["counts"]["done"], 3, "{all}");
    let only = world.json(&["submit", "--rerun=read", "--only", "read[b]"]);
    assert_eq!((&only["counts"]["done"], &only["state"]), (&Value::from(1), &Value::from("succeeded")), "{only}");
    assert_eq!(world.json(&["runs"])["runs"].as_array().unwrap().len(), 5);
}

#[test]
fn a_failure_is_explained_and_retried() {
    let world = World::new();
    world.write("bad.toml", BAD);
    let failed = world.csync(&["submit", "bad.toml"]).exits(1);
    for words in
        ["Run 1 of bad failed", "broken  exit code 3", "no luck today", "csync why 1 broken", "`csync retry 1`"]
    {
        assert!(failed.out.contains(words), "`{words}` is missing: {failed:?}");
    }
    let why = world.csync(&["why", "broken"]).exits(0).out;
    for words in ["broken of run 1: failed", "exit code 3", "no luck today", "Command"] {
        assert!(why.contains(words), "`{words}` is missing: {why}");
    }
    let after = world.csync(&["why", "after"]).exits(0).out;
    assert!(after.contains("skipped") && after.contains("broken"), "{after}");
    let logs = world.csync(&["logs", "1", "broken"]).exits(0);
    assert_eq!((logs.out.as_str(), logs.err.as_str()), ("trying\n", "no luck today\n"));
    assert_eq!(world.csync(&["logs", "broken", "--stderr"]).exits(0).out, "");
    let failed = world.csync(&["logs", "--failed"]).exits(0);
    assert_eq!((failed.out.as_str(), failed.err.as_str()), ("trying\n", "no luck today\n"));
    assert_eq!(world.csync(&["wait"]).exits(1).err, "");
    world.write("fixed", "");
    let retried = world.csync(&["retry"]).exits(0);
    assert!(retried.out.contains("Run 1 of bad succeeded"), "{retried:?}");
    assert_eq!(world.read("broken.txt"), "done\n");
    assert!(world.csync(&["retry"]).exits(0).err.contains("Nothing to retry"));
    let shown = world.json(&["show", "1", "broken"]);
    assert_eq!(shown["instances"][0]["attempts"].as_array().unwrap().len(), 2, "{shown}");
}

#[test]
fn a_run_goes_on_by_itself_and_is_cancelled() {
    let world = World::new();
    world.write("workflow.toml", GATED);
    world.gate("gate");
    assert_eq!(world.csync(&["submit", "--detach", "--quiet"]).exits(0).out, "1\n");
    until("the task runs", || world.json(&["show", "1", "wait"])["instances"][0]["state"] == "running");
    let status = world.csync(&["status"]).exits(0).out;
    assert!(status.contains("gated") && status.contains("1 running"), "{status}");
    let waited = world.csync(&["wait", "1", "--timeout", "1s"]).exits(124);
    assert!(waited.err.contains("timeout"), "{waited:?}");
    let early = world.csync(&["retry"]).exits(0).err;
    assert!(early.contains("Nothing to retry in run 1") && early.contains("`csync cancel 1` ends it"), "{early}");
    let waiting = world.start(&["wait", "1"]);
    let cancelled = world.csync(&["cancel"]).exits(0);
    assert!(cancelled.out.contains("Cancelled 1 instance of run 1."), "{cancelled:?}");
    assert!(waiting.done().exits(130).out.contains("cancelled"));
    let again = world.csync(&["cancel", "1"]).exits(0).err;
    assert!(again.contains("Nothing to cancel in run 1: it is over"), "{again}");
    assert_eq!(world.json(&["show"])["summary"]["state"], "cancelled");
    let nothing = world.csync(&["cancel"]).exits(4);
    assert!(nothing.err.contains("no run is live") && nothing.err.contains("csync runs"), "{nothing:?}");
}

#[test]
fn ctrl_c_leaves_a_run_to_itself() {
    let world = World::new();
    world.write("workflow.toml", GATED);
    let gate = world.gate("gate");
    let submit = world.start(&["submit"]);
    until("the task runs", || {
        let runs = world.json(&["runs"]);
        runs["runs"][0]["counts"]["running"] == 1
    });
    submit.interrupt();
    let left = submit.done().exits(130);
    assert!(left.err.contains("Detached: run 1 goes on. `csync watch 1`"), "{left:?}");
    let mut follow = world.start(&["logs", "-f", "wait"]);
    follow.until("waiting\n");
    let watch = world.start(&["watch"]);
    open(&gate);
    assert_eq!(follow.done().exits(0).out, "opened\n");
    assert!(watch.done().exits(0).out.contains("Run 1 of gated succeeded"));
    assert_eq!(world.csync(&["logs", "wait", "--tail", "1"]).exits(0).out, "opened\n");
}

#[test]
fn one_command_runs_attached() {
    let world = World::new();
    let done = world.csync(&["run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).exits(7);
    assert_eq!(done.out, "out\n");
    assert!(done.err.starts_with("err\n") && done.err.contains("exit code 7"), "{done:?}");
    let quiet = world.csync(&["-q", "run", "pwd"]).exits(0);
    assert_eq!(
        quiet.out.trim(),
        std::fs::canonicalize(world.path("")).unwrap().to_str().unwrap().trim_end_matches('/')
    );
    assert_eq!(quiet.err, "");
    let json = world.csync(&["run", "--json", "--", "echo", "{braces} $HOME \"q\" 'x'"]).exits(0);
    assert_eq!(json.err, "{braces} $HOME \"q\" 'x'\n");
    assert_eq!(json.json()["exit_code"], 0);
    let killed = world.csync(&["run", "--", "sh", "-c", "kill -9 $$"]).exits(137);
    assert!(killed.err.contains("SIGKILL"), "{killed:?}");
    let missing = world.csync(&["run", "--", "no-such-program-anywhere"]).exits(1);
    assert!(missing.err.contains("no-such-program-anywhere"), "{missing:?}");
    let long = world.start(&["run", "--", "sleep", "600"]);
    until("it runs", || world.json(&["runs", "-n", "1"])["runs"][0]["counts"]["running"] == 1);
    long.interrupt();
    long.done().exits(130);
    let cancelled = world.json(&["runs", "-n", "1"]);
    assert_eq!(cancelled["runs"][0]["state"], "cancelled", "{cancelled}");
    assert!(world.csync(&["run", "--detach", "--", "true"]).exits(0).out.contains("Submitted run"));
}

#[test]
fn an_engine_that_is_killed_is_not_noticed() {
    let world = World::new();
    world.write("workflow.toml", GATED);
    let gate = world.gate("gate");
    let submit = world.start(&["submit"]);
    until("the task runs", || world.json(&["runs"])["runs"][0]["counts"]["running"] == 1);
    let pid = world.json(&["status"])["engine"]["pid"].as_u64().unwrap();
    signal(pid as u32, "KILL");
    until("another engine goes on", || {
        let status = world.json(&["status"]);
        status["engine"]["pid"].as_u64().is_some_and(|other| other != pid)
            && status["runs"][0]["counts"]["running"] == 1
    });
    open(&gate);
    let done = submit.done().exits(0);
    assert!(done.err.contains("another one goes on with the run"), "{done:?}");
    assert_eq!(world.csync(&["logs", "wait"]).exits(0).out, "waiting\nopened\n");
}

#[test]
fn status_names_what_a_dead_engine_left() {
    let world = World::new();
    world.write("workflow.toml", GATED);
    let gate = world.gate("gate");
    world.csync(&["submit", "--detach"]).exits(0);
    until("the task runs", || world.json(&["status"])["runs"][0]["counts"]["running"] == 1);
    let pid = world.json(&["status"])["engine"]["pid"].as_u64().unwrap();
    signal(pid as u32, "KILL");
    until("the engine is gone", || world.json(&["status"])["engine"].is_null());
    assert_eq!(world.json(&["status"])["left"], serde_json::json!([1]));
    let said = world.csync(&["status"]).exits(0).out;
    assert!(said.contains("left run 1 (gated) unfinished") && said.contains("`csync watch 1`"), "{said}");
    open(&gate);
    world.csync(&["wait", "1"]).exits(0);
    world.csync(&["engine", "stop"]).exits(0);
    assert_eq!(world.json(&["status"])["left"], serde_json::json!([]));
}

#[test]
fn many_clients_start_one_engine() {
    let world = World::new();
    let clients: Vec<_> = (0..12).map(|_| world.start(&["engine", "restart", "--json"])).collect();
    // Restarts race with each other on purpose; what counts is that every one ends well or says why, and one engine is left.
    for client in clients {
        let done = client.done();
        assert!(done.code == 0 || done.json()["error"]["message"].is_string(), "{done:?}");
    }
    let lists: Vec<_> = (0..12).map(|_| world.start(&["runs", "--json"])).collect();
    for list in lists {
        assert_eq!(list.done().exits(0).json()["runs"], Value::Array(Vec::new()));
    }
    let first = world.json(&["engine", "status"])["engine"]["pid"].clone();
    assert_eq!(world.json(&["engine", "status"])["engine"]["pid"], first);
    let restarted = world.json(&["engine", "restart"]);
    assert_ne!(restarted["engine"]["pid"], first);
    assert_eq!(world.json(&["engine", "stop"])["stopped"], restarted["engine"]["pid"]);
    assert_eq!(world.json(&["engine", "stop"])["stopped"], Value::Null);
    assert!(world.csync(&["status"]).exits(0).out.contains("No engine is running"));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let world = World::new();
    let items: Vec<String> = (0..20_000).map(|n| format!("\"{n}\"")).collect();
    world.write("many.toml", &format!("name = \"many\"\n[tasks.a]\nforeach = [{}]\nrun = \"true\"\n", items.join(",")));
    let mut dry = world.command(&["submit", "--dry-run", "many.toml"]);
    let mut child = dry.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""));
    let all = world.csync(&["submit", "--dry-run", "many.toml"]).exits(0).out;
    // Each, how many, where they go, and how long that takes.
    assert_eq!(all.lines().count(), 20_004);
}

#[test]
fn a_run_in_the_foreground_has_its_engine_for_itself() {
    let world = World::new();
    world.write("workflow.toml", GOOD);
    world.csync(&["submit", "--foreground"]).exits(0);
    assert_eq!(world.read("sum.txt"), "a\nb\n");
    assert_eq!(world.json(&["status"])["engine"], Value::Null, "no engine is left");
    world.write("gated.toml", GATED);
    world.gate("gate");
    let gated = world.start(&["submit", "gated.toml", "--foreground"]);
    until("the task runs", || world.json(&["status"])["runs"][0]["counts"]["running"] == 1);
    let second = world.csync(&["submit", "--foreground"]).exits(4);
    assert!(second.err.contains("leave out --foreground"), "{second:?}");
    gated.interrupt();
    let cancelled = gated.done().exits(130);
    assert!(cancelled.out.contains("Run 2 of gated cancelled"), "{cancelled:?}");
    assert_eq!(world.json(&["status"])["engine"], Value::Null);
}

#[test]
fn secrets_reach_the_task_and_nothing_else() {
    let world = World::new();
    world.write(
        "workflow.toml",
        "name = \"s\"\n[tasks.a]\nsecrets = [\"TOKEN\"]\noutputs = [\"n.txt\"]\nrun = \"printf %s \\\"$TOKEN\\\" | wc -c > n.txt\"\n",
    );
    let missing = world.csync(&["submit"]).exits(2);
    assert!(missing.err.contains("`TOKEN`") && missing.err.contains("export TOKEN"), "{missing:?}");
    let secret = "planted-0123456789-secret";
    let done = world.command(&["submit"]).env("TOKEN", secret).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(world.read("n.txt").trim(), secret.len().to_string());
    world.csync(&["engine", "stop"]).exits(0);
    let found = std::process::Command::new("grep").args(["-rlF", secret]).arg(world.state()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the secret was kept");
}

#[test]
fn every_mistake_says_what_helps() {
    let world = World::new();
    world.write("workflow.toml", GOOD);
    world.write("latin.toml", "");
    std::fs::write(world.path("latin.toml"), b"name = \"\xe9\"").unwrap();
    world.write("wrong.toml", "name = \"w\"\n[tasks.a]\ncmd = \"true\"\nneed = [\"b\"]\n");
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["submit", "none.toml"], 3, &["there is no file `none.toml`", "csync new"]),
        (&["submit", "."], 2, &["cannot be read", "csync submit ./workflow.toml"]),
        (&["submit", "latin.toml"], 2, &["not text in UTF-8", "line 1"]),
        (&["submit", "wrong.toml"], 2, &["wrong.toml:3:1", "csync calls it `run`", "`needs`"]),
        (&["submit", "--only", "reed"], 3, &["`reed`", "read"]),
        (&["submit", "-p", "x"], 2, &["KEY=VALUE"]),
        (&["submit", "-p", "nothing=1"], 2, &["nothing"]),
        (&["submit", "--detach", "--dry-run"], 2, &["cannot be used with"]),
        (&["submt"], 2, &["'submit'"]),
        (&["show"], 3, &["there is no run yet", "csync submit"]),
        (&["show", "99"], 3, &["99", "csync runs"]),
        (&["logs", "a", "b"], 2, &["`a` is not a run", "last a"]),
        (&["wait", "x"], 2, &["csync runs"]),
        (&["cancel"], 4, &["no run is live"]),
        (&["clean"], 2, &["--older-than"]),
        (&["clean", "--older-than", "soon"], 2, &["length of time"]),
        (&["run"], 2, &["csync run"]),
    ];
    for (args, code, words) in cases {
        let done = world.csync(args).exits(*code);
        assert_eq!(done.out, "", "{args:?} printed on standard output");
        for word in *words {
            assert!(done.err.contains(word), "{args:?} does not say `{word}`:\n{}", done.err);
        }
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let error = world.csync(&args).exits(*code);
        assert_eq!(error.json()["error"]["exit_code"], *code, "{args:?}");
    }
    // A script is no command: it would not be found, and nobody would read what it asks for.
    world.write("job.pbs", "#!/bin/sh\n#PBS -l walltime=1:00:00\necho ran\n");
    let script = world.csync(&["run", "--on", "hpc", "job.pbs"]).exits(2).err;
    assert!(script.contains("is a PBS script") && script.contains("csync submit job.pbs --on hpc"), "{script}");
    std::fs::set_permissions(world.path("job.pbs"), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(world.csync(&["run", "./job.pbs"]).exits(0).out, "ran\n");
    world.csync(&["submit", "-q"]).exits(0);
    let unknown = world.csync(&["why", "sm"]).exits(3);
    assert!(unknown.err.contains("sm"), "{unknown:?}");
}

#[test]
fn a_directory_belongs_to_one_run_at_a_time() {
    let world = World::new();
    let text = "name = \"slow\"\n[tasks.a]\noutputs = [\"a.txt\"]\nrun = \"read line < gate; touch a.txt\"\n";
    world.write("workflow.toml", text);
    let gate = world.gate("gate");
    world.csync(&["submit", "-d"]).exits(0);
    let refused = world.csync(&["submit", "-d"]).exits(4);
    assert!(refused.err.contains("run 1"), "{refused:?}");
    let live = world.csync(&["clean", "1"]).exits(4);
    assert!(live.err.contains("csync cancel 1"), "{live:?}");
    open(&gate);
    world.csync(&["wait", "1"]).exits(0);
    assert!(world.csync(&["clean", "--all", "--dry-run"]).exits(0).out.contains("Would remove 1 run"));
    assert_eq!(world.json(&["clean", "--all"])["runs"], serde_json::json!([1]));
    assert_eq!(world.json(&["runs"])["runs"], serde_json::json!([]));
    assert!(world.csync(&["submit"]).exits(0).out.contains("up to date"), "what is up to date is not forgotten");
}

#[test]
fn every_command_prints_one_value_for_programs() {
    let world = World::new();
    world.write("workflow.toml", GOOD);
    let cases: &[(&[&str], &str)] = &[
        (&["status"], "/engine"),
        (&["engine", "status"], "/engine"),
        (&["submit", "--dry-run"], "/counts/run"),
        (&["submit"], "/counts/done"),
        (&["submit", "--detach"], "/run"),
        (&["wait"], "/runs/0/state"),
        (&["watch"], "/state"),
        (&["runs"], "/runs/0/run"),
        (&["show"], "/tasks/0/name"),
        (&["show", "1", "read"], "/instances/1/label"),
        (&["why", "1", "sum"], "/instances/0/reasons"),
        (&["logs", "1", "sum"], "/logs/0/text"),
        (&["retry"], "/instances"),
        (&["cancel", "1"], "/instances"),
        (&["doctor"], "/findings/0/check"),
        (&["clean", "--keep", "1"], "/runs"),
        (&["exit-codes"], "/exit_codes/0/code"),
        (&["engine", "restart"], "/engine/pid"),
        (&["engine", "stop"], "/stopped"),
    ];
    for (args, pointer) in cases {
        let value = world.json(args);
        assert!(value.pointer(pointer).is_some(), "{args:?} has no {pointer}: {value}");
    }
}

#[test]
fn why_counts_all_that_spoiled_it_and_speaks_of_files_that_are_there() {
    let world = World::new();
    world.write(
        "workflow.toml",
        "name = \"many\"\n[tasks.bad]\nforeach = { range = [1, 20] }\nrun = \"exit 3\"\n\
         [tasks.after]\nneeds = [\"bad\"]\nrun = \"true\"\n\
         [tasks.none]\noutputs = [\"a\"]\nrun = \"true\"\n\
         [tasks.half]\noutputs = [\"b\", \"c\"]\nrun = \"echo half > b\"\n",
    );
    world.csync(&["submit"]).exits(1);
    let why = world.csync(&["why", "after"]).exits(0).out;
    assert!(why.contains("`bad[1]`, which failed") && why.contains("and on 15 more"), "{why}");
    let why = world.csync(&["why", "none"]).exits(0).out;
    assert!(why.contains("compare `outputs` of task `none`") && !why.contains(".failed"), "{why}");
    let why = world.csync(&["why", "half"]).exits(0).out;
    assert!(why.contains("/.b.failed"), "{why}");
}
