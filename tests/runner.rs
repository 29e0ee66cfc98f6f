//! `tests/run` itself, on a machine that has nothing but a shell: what it counts, and what it does not let pass.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// What the script cannot do without. None of them is a program that tests need.
const TOOLS: [&str; 11] = ["bash", "env", "dirname", "awk", "sed", "sort", "grep", "mktemp", "tee", "rm", "id"];

/// What `cargo test` prints of two binaries, and `cargo nextest run` of all.
const PLAIN: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.10s\n\
                     test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 40 filtered out; finished in 0.20s\n";
const NEXTEST: &str = "     Summary [   0.300s] 5 tests run: 5 passed, 48 skipped\n";

/// Runs it where the runner prints this.
fn run(printed: &str, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    for tool in TOOLS {
        let found = path.split(':').map(|dir| Path::new(dir).join(tool)).find(|file| file.exists());
        symlink(found.unwrap_or_else(|| panic!("{tool} is there")), dir.path().join(tool)).unwrap();
    }
    fs::write(dir.path().join("printed"), printed).unwrap();
    // `cargo nextest --version` says whether there is one.
    let is_nextest = if printed == NEXTEST { "true" } else { "[ \"$1\" != nextest ]" };
    let cargo = dir.path().join("cargo");
    let script = format!(
        "#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <'{}/printed'\n{is_nextest}\n",
        dir.path().display()
    );
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(dir.path().join("bash"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run")).args(args);
    let command = command.env_clear().env("PATH", dir.path()).env("HOME", dir.path()).env("TMPDIR", dir.path());
    command.envs(variables.iter().copied()).output().unwrap()
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn what_is_filtered_out_counts_as_skipped() {
    for printed in [PLAIN, NEXTEST] {
        let done = run(printed, &[], &[]);
        assert_eq!(last_line(&done), "5 passed, 0 failed, 48 skipped", "{done:?}");
        assert_eq!(done.status.code(), Some(0), "{done:?}");
    }
}

#[test]
fn in_ci_nothing_is_left_out_that_packages_bring() {
    let done = run(PLAIN, &[("CI", "true")], &[]);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let lost: Vec<&str> = said
        .lines()
        .find_map(|line| line.strip_prefix("tests/run: left out, and in CI they may not be: "))
        .unwrap()
        .split(' ')
        .collect();
    for module in ["needs_batch", "needs_hosts", "needs_sites", "needs_ssh"] {
        assert!(lost.contains(&module), "{lost:?}");
    }
    // No package brings root, control groups, OpenPBS or the agents; `bwa` is no part of the bed.
    for module in [
        "needs_limits",
        "needs_quota",
        "needs_openpbs",
        "needs_agents",
        "needs_clients",
        "needs_apptainer",
        "needs_bio",
    ] {
        assert!(!lost.contains(&module), "{lost:?}");
    }
    // Some tests are some tests, and elsewhere than in CI everybody has what they have.
    assert_eq!(run(PLAIN, &[("CI", "true")], &["house"]).status.code(), Some(0));
    assert_eq!(run(PLAIN, &[("CI", "false")], &[]).status.code(), Some(0));
}
