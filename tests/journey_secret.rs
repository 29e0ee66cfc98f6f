//! Secrets: kept, handed to the task that asks for them, and found nowhere else.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::world::{Done, World};

/// Something that nothing else prints.
const VALUE: &str = "s3cr3t-4f1d0c";

fn set(world: &World, name: &str, value: &str) -> Done {
    let mut child = world
        .command(&["secret", "set", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_secret_reaches_its_task_and_nothing_else() {
    let world = World::new();
    world.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.a]\nsecrets = [\"TOKEN\"]\noutputs = [\"length\"]\nrun = \"echo ${#TOKEN} > length\"\n",
    );
    let refused = world.csync(&["submit"]).exits(2);
    assert!(refused.err.contains("csync secret set TOKEN"), "{refused:?}");
    let kept = set(&world, "TOKEN", &format!("{VALUE}\n")).exits(0);
    assert!(!kept.out.contains(VALUE) && !kept.err.contains(VALUE), "{kept:?}");
    assert_eq!(world.csync(&["secret", "list"]).exits(0).out, "TOKEN\n");
    world.csync(&["submit"]).exits(0);
    assert_eq!(world.read("length").trim(), VALUE.len().to_string());
    let file = world.state().join("secrets.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let holds = |path: &std::path::Path| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes()))
    };
    assert!(holds(&file));
    let entries = walkdir::WalkDir::new(world.state()).into_iter().flatten();
    let others: Vec<_> =
        entries.map(walkdir::DirEntry::into_path).filter(|path| *path != file && holds(path)).collect();
    assert!(others.is_empty(), "{others:?}");
    world.csync(&["secret", "rm", "TOKEN"]).exits(0);
    world.csync(&["secret", "rm", "TOKEN"]).exits(3);
    assert_eq!(world.json(&["secret", "list"])["secrets"], serde_json::json!([]));
    set(&world, "1BAD", "x").exits(2);
    set(&world, "EMPTY", "").exits(2);
}
