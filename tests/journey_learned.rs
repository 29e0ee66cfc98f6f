//! What was learned among machines: brought from one to another, under a key that is another's or behind a passphrase, and looked
//! after by an engine that does nothing else.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use csync::language::command::signature;
use csync::model::observation::Observation;
use csync::model::units::Timestamp;
use csync::reach::clock;
use csync::reach::config::StateDir;
use csync::reach::learned::{Learned, Lesson, Place};
use serde_json::{Value, json};

use crate::world::{World, until};

const HEADER: &str = "JobID|JobName|State|ElapsedRaw|MaxRSS|ReqMem|End";

/// A report of jobs of a name, which took some minutes and hundreds of megabytes.
fn jobs(name: &str, ids: std::ops::Range<u32>) -> String {
    let row = |id: u32| {
        let (wall, memory) = (300 + id * 7 % 60, 700 + id * 13 % 200);
        format!("{id}|{name}|COMPLETED|{wall}|{memory}M|4G|2026-11-20T{:02}:{:02}:00\n", id % 24, id % 60)
    };
    ids.map(row).collect()
}

/// Gives a world the key of another.
fn share_key(from: &World, to: &World) {
    fs::create_dir_all(to.state()).unwrap();
    fs::copy(from.state().join("learned.key"), to.state().join("learned.key")).unwrap();
}

#[test]
fn machines_with_one_key_exchange_what_they_learned_in_any_order_and_any_number_of_times() {
    let (a, b) = (World::new(), World::new());
    a.write("at-a.txt", &format!("{HEADER}\n{}{}", jobs("sort", 0..90), jobs("onlyhere", 500..504)));
    a.json(&["profile", "import", "at-a.txt"]);
    share_key(&a, &b);
    b.write("at-b.txt", &format!("{HEADER}\n{}{}", jobs("sort", 90..150), jobs("samtools_sort", 700..710)));
    b.json(&["profile", "import", "at-b.txt"]);
    // Jobs that both know of, out of one report, count once.
    b.write("at-a.txt", &format!("{HEADER}\n{}", jobs("onlyhere", 500..502)));
    b.json(&["profile", "import", "at-a.txt"]);
    let before = [&a, &b].map(|world| {
        world.csync(&["profile", "export", "--sealed", "before.sealed"]).exits(0);
        world.path("before.sealed")
    });

    let bring = |from: &World, to: &World| -> Value {
        let file = from.path("out.sealed");
        from.csync(&["profile", "export", "--sealed", file.to_str().unwrap()]).exits(0);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        to.json(&["profile", "import", file.to_str().unwrap()])
    };
    let first = bring(&a, &b);
    assert_eq!(first["commands"], 2, "{first}");
    assert!(first["jobs"].as_u64().unwrap() >= 90, "{first}");
    let after = b.json(&["profile"]);
    assert_eq!(bring(&a, &b)["jobs"], 0, "it is known");
    assert_eq!(b.json(&["profile"]), after, "twice is as good as once");
    bring(&b, &a);
    assert_eq!(a.json(&["profile"]), after, "both know the same");
    assert_eq!(bring(&a, &b)["jobs"], 0);
    assert_eq!(b.json(&["profile"]), after);
    let mut runs: Vec<_> = after["profiles"].as_array().unwrap().iter().map(|it| it["runs"].as_u64()).collect();
    runs.sort_unstable();
    assert_eq!(runs, [Some(4), Some(10), Some(150)], "{after}");

    // Others hear of what each of them knew first, in either order.
    let (c, d) = (World::new(), World::new());
    for (world, order) in [(&c, [0, 1]), (&d, [1, 0])] {
        share_key(&a, world);
        for from in order {
            world.json(&["profile", "import", before[from].to_str().unwrap()]);
        }
        assert_eq!(world.json(&["profile"]), after);
    }

    let bytes = fs::read(a.path("out.sealed")).unwrap();
    assert!(bytes.starts_with(b"csync-learned 1\n"));
    for word in ["sort", "onlyhere", "samtools"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word} is readable");
    }
}

#[test]
fn what_another_key_sealed_and_what_was_cut_short_is_refused_whole() {
    let (a, other) = (World::new(), World::new());
    a.write("jobs.txt", &format!("{HEADER}\n{}", jobs("sort", 0..20)));
    a.json(&["profile", "import", "jobs.txt"]);
    a.csync(&["profile", "export", "--sealed", "out.sealed"]).exits(0);
    let bytes = fs::read(a.path("out.sealed")).unwrap();
    let path = other.path("in.sealed");
    fs::write(&path, &bytes).unwrap();
    let refused = other.csync(&["profile", "import", "in.sealed"]).exits(5);
    assert!(refused.err.contains("sealed with another key") && refused.err.contains("learned.key"), "{refused:?}");
    assert_eq!(other.json(&["profile"])["profiles"], json!([]));

    // With the key, of a file that was changed anywhere nothing is taken in.
    let third = World::new();
    share_key(&a, &third);
    let refuse = |bytes: &[u8], wanted: &str| {
        third.write("x", "");
        fs::write(third.path("in.sealed"), bytes).unwrap();
        let refused = third.csync(&["profile", "import", "in.sealed"]).exits(5);
        assert!(refused.err.contains(wanted), "{wanted}: {refused:?}");
    };
    for end in [17, 40, 50, 60, bytes.len() - 50, bytes.len() - 1] {
        refuse(&bytes[..end], "damaged or cut short");
    }
    for at in [35, 49, 80, bytes.len() - 3] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refuse(&changed, "damaged or cut short");
    }
    let mut newer = bytes.clone();
    newer[b"csync-learned ".len()] = b'2';
    refuse(&newer, "not a store that this csync reads");
    assert_eq!(third.json(&["profile"])["profiles"], json!([]));
    fs::write(third.path("in.sealed"), &bytes).unwrap();
    third.json(&["profile", "import", "in.sealed"]);
    assert_eq!(third.json(&["profile"])["profiles"][0]["runs"], 20);
}

#[test]
fn a_store_of_another_key_is_said_and_advice_is_given_without_it() {
    let (world, other) = (World::new(), World::new());
    world.write("in", "b\na\n");
    world.write("workflow.toml", "name = \"w\"\n[tasks.a]\ninputs = [\"in\"]\nrun = \"sleep 1.1; sort in\"\n");
    world.write("jobs.txt", &format!("{HEADER}\n{}", jobs("sort", 0..20)));
    world.json(&["profile", "import", "--hosts", "local", "jobs.txt"]);
    let known = world.csync(&["route", "--json", "sort in"]).exits(0).json();
    assert!(known["places"][0]["run"]["source"]["learned"].is_u64(), "{known}");
    // A key that is one, and belongs to another store.
    other.json(&["profile"]);
    fs::rename(world.state().join("learned.key"), world.path("learned.key")).unwrap();
    share_key(&other, &world);

    for args in
        [&["profile"][..], &["profile", "show", "sort"], &["profile", "export"], &["profile", "import", "jobs.txt"]]
    {
        let refused = world.csync(args).exits(5);
        assert!(refused.err.contains("does not open") && refused.err.contains("learned.key"), "{args:?}: {refused:?}");
        assert!(refused.err.contains("bring the key that belongs to it"), "{args:?}: {refused:?}");
    }
    let routed = world.csync(&["route", "sort in"]).exits(0);
    assert!(routed.err.contains("What was learned is of no use here"), "{routed:?}");
    assert!(routed.err.contains("does not open") && routed.out.contains("local"), "{routed:?}");
    let routed = world.csync(&["route", "--json", "sort in"]).exits(0).json();
    assert!(routed["places"][0]["run"]["source"]["learned"].is_null(), "{routed}");
    // Once each, with what tells what helps; and the work goes on.
    for args in [&["submit", "--dry-run"][..], &["submit"], &["status"], &["why", "last", "a"]] {
        // Whatever lines it is broken into.
        let told = world.csync(args).exits(0).err;
        let told: Vec<&str> = told.split_whitespace().filter(|word| *word != "│").collect();
        let told = told.join(" ");
        assert_eq!(told.matches("does not open").count(), 1, "{args:?}: {told}");
        assert!(told.contains("hat was learned is of no use") && told.contains("`csync doctor`"), "{args:?}: {told}");
    }
    let told = world.json(&["submit", "--dry-run", "--rerun=a"])["warnings"][0]["message"].to_string();
    assert!(told.contains("does not open"), "{told}");
    let doctor = world.csync(&["doctor"]).exits(0).out;
    assert!(doctor.contains("it is of no use: the key") && doctor.contains("bring the key that belongs"), "{doctor}");
    world.csync(&["--quiet", "hook", "refresh"]).exits(0);
    let event = json!({
        "session_id": "s1", "cwd": world.path(""), "hook_event_name": "PreToolUse", "tool_name": "Bash",
        "tool_use_id": "t1", "tool_input": {"command": "sort in"},
    });
    let mut hook = world.command(&["hook", "claude"]);
    let mut hook = hook.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    hook.stdin.take().unwrap().write_all(event.to_string().as_bytes()).unwrap();
    let said = hook.wait_with_output().unwrap();
    assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");

    // Nothing was lost by that: with the key all is there, and what ended meanwhile is learned by the next engine.
    world.csync(&["engine", "stop"]).exits(0);
    fs::rename(world.path("learned.key"), world.state().join("learned.key")).unwrap();
    world.csync(&["engine", "restart"]).exits(0);
    let runs = || -> u64 {
        world.json(&["profile"])["profiles"].as_array().unwrap().iter().filter_map(|it| it["runs"].as_u64()).sum()
    };
    until("what was left is learned", || runs() == 21);
}

/// Runs a command in a terminal, and answers whatever it asks there until it is over.
fn in_terminal(world: &World, args: &str, answer: &str) {
    let line = format!("{} {args}", env!("CARGO_BIN_EXE_csync"));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(world.path("")).env_clear();
    let own = world.command(&[]);
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b": ") && from.read(&mut byte).unwrap() > 0 {
        seen.extend(byte);
    }
    // What it had not asked for yet when it came is thrown away, as it should be.
    until("it has its answer", || {
        drop(to.write_all(format!("{answer}\n").as_bytes()));
        child.try_wait().unwrap().is_some()
    });
    assert!(child.wait().unwrap().success(), "{}", String::from_utf8_lossy(&seen));
}

#[test]
fn a_key_behind_a_passphrase_opens_for_those_who_have_it() {
    let world = World::new();
    world.write("jobs.txt", &format!("{HEADER}\n{}", jobs("sort", 0..20)));
    world.json(&["profile", "import", "jobs.txt"]);
    in_terminal(&world, "profile key", "correct horse");
    let key = fs::read_to_string(world.state().join("learned.key")).unwrap();
    assert!(key.contains("argon2id") && !key.contains("plain"), "{key}");
    let refused = world.csync(&["profile"]).exits(5);
    assert!(
        refused.err.contains("needs a passphrase") && refused.err.contains("CSYNC_LEARNED_PASSPHRASE"),
        "{refused:?}"
    );
    let with = |passphrase: &str, args: &[&str]| -> crate::world::Done {
        world.command(args).env("CSYNC_LEARNED_PASSPHRASE", passphrase).output().unwrap().into()
    };
    let refused = with("wrong horse", &["profile"]).exits(5);
    assert!(refused.err.contains("the passphrase is wrong"), "{refused:?}");
    assert_eq!(with("correct horse", &["profile", "--json"]).exits(0).json()["profiles"][0]["runs"], 20);
    // Nothing stops for want of it; what runs meanwhile is learned by the first engine that has it.
    world.write("in", "b\na\n");
    world.write("workflow.toml", "name = \"w\"\n[tasks.a]\ninputs = [\"in\"]\nrun = \"sleep 1.1; sort in\"\n");
    world.csync(&["submit"]).exits(0);
    let routed = world.csync(&["route", "sort in"]).exits(0);
    assert!(routed.err.contains("What was learned is of no use here"), "{routed:?}");
    world.csync(&["engine", "stop"]).exits(0);
    with("correct horse", &["engine", "restart"]).exits(0);
    // Whoever asks works the passphrase out, which is to take long: asked when something is written.
    let log = world.state().join("learned.db-wal");
    until("something is learned", || fs::metadata(&log).is_ok_and(|meta| meta.len() > 0));
    until("it is learned", || {
        let listed = with("correct horse", &["profile", "--json"]).exits(0).json();
        listed["profiles"].as_array().unwrap().iter().filter_map(|profile| profile["runs"].as_u64()).sum::<u64>() == 21
    });
    world.csync(&["profile", "key", "--open"]).exits(5);
    with("correct horse", &["profile", "key", "--open"]).exits(0);
    assert!(world.csync(&["profile"]).exits(0).out.contains("sort"));
}

#[test]
fn an_engine_looks_after_what_was_learned_with_nothing_else_to_do() {
    let world = World::new();
    world.json(&["profile"]);
    let place = Place::of(&StateDir::at(world.state(), None));
    let days_ago = |days: i64| Timestamp(clock::now().0 - days * 86_400_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut learned = Learned::open(&place, None, days_ago(200)).await.unwrap();
        let key = learned.tokens().clone();
        for (word, days) in [("sort", 200), ("cut", 10)] {
            let signature = signature(&[vec![word]], &[], &key).unwrap();
            let seen = Observation { id: 1, at: 1, wall: 60.0, ..Observation::default() };
            let lesson = Lesson { signature, class: key.token("class", "hpc"), seen };
            learned.learn(vec![lesson], days_ago(days)).await.unwrap();
        }
        learned.close().await;
    });
    let known = || world.json(&["profile"])["profiles"].as_array().unwrap().len();
    assert_eq!(known(), 2);
    world.csync(&["engine", "restart"]).exits(0);
    until("what is older than half a year is dropped", || known() == 1);
    assert_eq!(world.json(&["profile"])["profiles"][0]["command"], "cut");
}

#[test]
fn an_import_that_fails_leaves_no_key_in_the_way_of_the_one_that_is_shared() {
    let (a, b) = (World::new(), World::new());
    a.write("jobs.txt", &format!("{HEADER}\n{}", jobs("sort", 0..20)));
    a.json(&["profile", "import", "jobs.txt"]);
    let file = a.path("out.sealed");
    a.csync(&["profile", "export", "--sealed", file.to_str().unwrap()]).exits(0);
    let left = |world: &World| ["learned.db", "learned.key"].map(|name| world.state().join(name).exists());
    b.csync(&["profile", "import", file.to_str().unwrap()]).exits(5);
    assert_eq!(left(&b), [false, false]);
    // A key that is there stays, and what it would have sealed is not begun.
    fs::create_dir_all(b.state()).unwrap();
    let wrong = World::new();
    wrong.json(&["profile"]);
    share_key(&wrong, &b);
    b.csync(&["profile", "import", file.to_str().unwrap()]).exits(5);
    assert_eq!(left(&b), [false, true]);
    share_key(&a, &b);
    assert_eq!(b.json(&["profile", "import", file.to_str().unwrap()])["jobs"], 20);
    // What was there before is not touched.
    let other = World::new();
    other.json(&["profile"]);
    other.csync(&["profile", "import", file.to_str().unwrap()]).exits(5);
    assert_eq!(left(&other), [true, true]);
}
