//! The starters that need nothing but a shell compute what they say.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::language::manifest::templates;

/// Runs every instance of a starter in an order that its files allow, and returns the directory.
fn run(name: &str, files: &[(&'static str, &str)]) -> tempfile::TempDir {
    let starter = templates().iter().find(|starter| starter.name == name).unwrap();
    let (workflow, _) = read(starter.text);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let paths: Vec<&'static str> = files.iter().map(|(path, _)| *path).collect();
    let facts = World::with(&paths).facts(&workflow).unwrap();
    let plan = expand(&workflow, root, &BTreeMap::new(), &facts, Limits::default()).unwrap().plan;
    let mut done = vec![false; plan.instances.len()];
    while let Some(next) = plan.instance_ids().find(|&instance| {
        let ready =
            plan.inputs(instance).iter().filter_map(|&path| plan.producer(path)).all(|maker| done[maker.index()]);
        !done[instance.index()] && ready
    }) {
        for path in plan.outputs(next) {
            std::fs::create_dir_all(Path::new(root).join(plan.path(*path)).parent().unwrap()).unwrap();
        }
        let rendered = render(&plan, next, &grant(), 1);
        let Invocation::Script(script) = rendered.invocation else { panic!("{name} has a list") };
        let status =
            Command::new("bash").args(["-euo", "pipefail", "-c", &script]).current_dir(&rendered.workdir).status();
        assert!(status.unwrap().success(), "{}: {script}", plan.label(next));
        for path in plan.outputs(next) {
            assert!(Path::new(root).join(plan.path(*path)).exists(), "{} does not make it", plan.label(next));
        }
        done[next.index()] = true;
    }
    assert!(done.iter().all(|done| *done));
    dir
}

fn text(dir: &tempfile::TempDir, path: &str) -> String {
    std::fs::read_to_string(dir.path().join(path)).unwrap()
}

#[test]
fn minimal_adds_up() {
    assert_eq!(text(&run("minimal", &[]), "sum.txt"), "5050\n");
}

#[test]
fn fan_counts_words() {
    let dir = run("fan", &[("texts/a.txt", "The cat, the dog.\n"), ("texts/b.txt", "a Cat\n")]);
    assert_eq!(text(&dir, "words.tsv"), "2\tthe\n2\tcat\n1\tdog\n1\ta\n");
}

#[test]
fn sweep_has_a_line_per_combination() {
    assert_eq!(text(&run("sweep", &[]), "table.txt").lines().count(), 11);
}
