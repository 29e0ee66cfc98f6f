//! A test file that nobody lists would never run.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_file_here_is_a_module_of_main() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files: BTreeSet<String> = std::fs::read_dir(&dir)
        .expect("tests/ is readable")
        .filter_map(|entry| entry.expect("an entry of tests/").file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| name != "main")
        .collect();
    let main = std::fs::read_to_string(dir.join("main.rs")).expect("tests/main.rs is readable");
    let listed: BTreeSet<String> =
        main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).map(str::to_owned).collect();
    assert_eq!(files, listed, "tests/main.rs has a `mod` line for every file of tests/");
}
