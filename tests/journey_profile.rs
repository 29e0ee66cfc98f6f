//! What runs teach, and what becomes of it: listed, imported, exported, forgotten, and nowhere readable.

use crate::world::World;

/// A secret that the command line of a task holds.
const VALUE: &str = "plantedvalue4f1d0c";

#[test]
fn what_runs_teach_is_listed_and_sealed() {
    let world = World::new();
    // Long enough to tell something.
    world.write(
        "workflow.toml",
        &format!(
            "name = \"w\"\n[tasks.a]\ninputs = [\"in.txt\"]\noutputs = [\"{VALUE}.out\"]\n\
             run = \"sleep 1.1; sort --temporary-directory=/tmp in.txt > {VALUE}.out\"\n"
        ),
    );
    world.write("in.txt", "b\na\n");
    assert_eq!(world.json(&["profile"])["profiles"], serde_json::json!([]));
    world.csync(&["submit"]).exits(0);
    // An engine that leaves has written what it was told.
    world.csync(&["engine", "stop"]).exits(0);
    let listed = world.json(&["profile", "list"]);
    let profile = &listed["profiles"][0];
    assert_eq!((&profile["command"], &profile["runs"]), (&"sort".into(), &1.into()), "{listed}");
    let exported = world.csync(&["profile", "export"]).exits(0).out;
    assert_eq!(exported.lines().count(), 2, "{exported}");
    for name in ["learned.db", "learned.db-wal"] {
        let bytes = std::fs::read(world.state().join(name)).unwrap_or_default();
        for word in [VALUE, "sort", "in.txt"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word} is in {name}");
        }
    }
    assert!(!exported.contains(VALUE), "{exported}");
    world.csync(&["profile", "forget", "sort"]).exits(0);
    assert_eq!(world.json(&["profile"])["profiles"], serde_json::json!([]));
}

#[test]
fn histories_are_learned_from_once() {
    let world = World::new();
    let mut lines = vec!["JobID|JobName|State|ElapsedRaw|MaxRSS|ReqMem|End".to_owned()];
    for n in 0..40 {
        lines.push(format!("{n}|align|COMPLETED|600||8G|2026-11-20T{:02}:00:00", n % 24));
        lines.push(format!("{n}.batch|batch|COMPLETED|600|{}M||", 900 + n));
    }
    let text = lines.join("\n");
    world.write("jobs.txt", &text);
    for _ in 0..2 {
        let told = world.json(&["profile", "import", "jobs.txt"]);
        assert_eq!((&told["jobs"], &told["commands"]), (&40.into(), &1.into()), "{told}");
    }
    let listed = world.json(&["profile"]);
    assert_eq!(listed["profiles"][0]["runs"], 40, "{listed}");
    let request = listed["profiles"][0]["memory_bytes"]["request"].as_f64().unwrap();
    assert!((900e6..1.2e9).contains(&request), "{listed}");
    let shown = world.csync(&["profile", "show", "align"]).exits(0).out;
    assert!(shown.contains("ask for") && !shown.contains("align"), "{shown}");
    let replayed = world.json(&["profile", "replay", "jobs.txt"]);
    assert!(replayed["learned_waste_gbh"].as_f64() < replayed["asked_waste_gbh"].as_f64(), "{replayed}");
    world.csync(&["profile", "show", "samtools"]).exits(3);
    world.write("odd.txt", "nothing of the kind\n");
    let refused = world.csync(&["profile", "import", "odd.txt"]).exits(2);
    assert!(refused.err.contains("no report that csync knows"), "{refused:?}");
}

#[test]
fn a_store_of_another_key_is_said_and_nothing_stops() {
    let world = World::new();
    world.write("workflow.toml", "name = \"w\"\n[tasks.a]\nrun = \"sleep 1.1\"\n");
    assert_eq!(world.json(&["profile"])["profiles"], serde_json::json!([]));
    std::fs::write(world.state().join("learned.db"), "no database at all, but long enough to be looked at").unwrap();
    let refused = world.csync(&["profile"]).exits(5);
    assert!(refused.err.contains("learned.db") && refused.err.contains("mv "), "{refused:?}");
    world.csync(&["submit"]).exits(0);
}
