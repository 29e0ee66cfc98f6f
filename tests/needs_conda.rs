//! A journey of conda environments by a real conda, which gets its one package from a channel in a directory.

use std::process::Command;

use crate::world::World;

/// A channel with one package: a program that says where it lies.
const CHANNEL: &str = r#"
mkdir -p package/bin package/info channel/noarch channel/linux-64
cd package
printf '#!/bin/sh\necho "tool of $CONDA_PREFIX"\n' >bin/tool && chmod +x bin/tool
echo bin/tool >info/files
record='"name": "tool", "version": "1.0", "build": "0", "build_number": 0, "depends": [], "subdir": "linux-64"'
echo "{$record}" >info/index.json
sum=$(sha256sum <bin/tool) size=$(wc -c <bin/tool)
echo "{\"paths\": [{\"_path\": \"bin/tool\", \"path_type\": \"hardlink\", \"sha256\": \"${sum%% *}\", \"size_in_bytes\": $size}], \"paths_version\": 1}" >info/paths.json
tar -cjf ../channel/linux-64/tool-1.0-0.tar.bz2 bin info
cd ../channel
sum=$(sha256sum <linux-64/*.bz2) md5=$(md5sum <linux-64/*.bz2) size=$(wc -c <linux-64/tool-1.0-0.tar.bz2)
echo "{\"info\": {\"subdir\": \"linux-64\"}, \"packages\": {\"tool-1.0-0.tar.bz2\": {$record, \"sha256\": \"${sum%% *}\", \"md5\": \"${md5%% *}\", \"size\": $size}}, \"packages.conda\": {}, \"repodata_version\": 1}" >linux-64/repodata.json
echo '{"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": {}, "repodata_version": 1}' >noarch/repodata.json
"#;

#[test]
fn an_environment_is_made_once_of_a_file_and_found_by_its_directory() {
    let world = World::new();
    let conda = std::env::var("CSYNC_CONDA").expect("CSYNC_CONDA names the program; tests/run sets it");
    let made = Command::new("bash").args(["-eo", "pipefail", "-c", CHANNEL]).current_dir(world.path("")).status();
    assert!(made.unwrap().success());
    let channel = format!("file://{}", world.path("channel").canonicalize().unwrap().display());
    let file = |needs: &str| format!("channels: [\"{channel}\"]\ndependencies: [{needs}]\n");
    world.write("env.yml", &file("tool"));
    world.write("broken.yml", &file("nosuch"));
    world.write("exact.lock", &format!("@EXPLICIT\n{channel}/linux-64/tool-1.0-0.tar.bz2\n"));
    world.write("../.condarc", &format!("channels: [\"{channel}\"]\ndefault_channels: []\nsolver: classic\n"));
    let text = format!(
        r#"
name = "environments"
[defaults]
cache = false
env = {{ CONDA_EXE = "{conda}" }}
[tasks.of_file]
conda = "env.yml"
matrix = {{ n = [1, 2, 3] }}
run = "tool"
[tasks.exact]
conda = "exact.lock"
run = "tool; echo $CONDA_PREFIX >made"
[tasks.broken]
conda = "broken.yml"
run = "echo went on"
"#
    );
    world.write("workflow.toml", &text);
    world.csync(&["submit"]).exits(1);
    let prefix = world.read("made").trim_end().to_owned();
    for n in 1..=3 {
        let of_file = world.csync(&["logs", "1", &format!("of_file[n={n}]")]).exits(0);
        assert!(
            of_file.out.starts_with("tool of /") && !of_file.out.contains(&prefix),
            "{} {}",
            of_file.out,
            of_file.err
        );
        let made = of_file.out.trim_start_matches("tool of ").trim_end();
        let history = std::fs::read_to_string(format!("{made}/conda-meta/history")).unwrap();
        assert_eq!(history.matches("==> ").count(), 1, "three tasks made it once: {history}");
    }
    assert_eq!(world.csync(&["logs", "1", "exact"]).exits(0).out, format!("tool of {prefix}\n"));
    let broken = world.csync(&["logs", "1", "broken"]).exits(0);
    assert!(!broken.out.contains("went on"), "{}", broken.out);
    assert!(broken.err.contains("cannot be made on") && broken.err.contains("nosuch"), "{}", broken.err);
    world.write(
        "named.toml",
        &format!(
            "name = \"named\"\n[tasks.t]\nenv = {{ CONDA_EXE = \"{conda}\" }}\nconda = \"{prefix}\"\nrun = \"tool\"\n"
        ),
    );
    world.csync(&["submit", "named.toml"]).exits(0);
    assert_eq!(world.csync(&["logs", "2", "t"]).exits(0).out, format!("tool of {prefix}\n"));
}
