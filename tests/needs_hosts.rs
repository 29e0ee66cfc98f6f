//! Hosts as people meet them: a configuration of `ssh`, `hosts.toml`, a shell's answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::World;

/// A configuration as people have it.
const SSH_CONFIG: &str = "\
Host hpc hpc-data
  HostName login.hpc.example.org
  User ada
  ProxyJump gate
Host *.lab !secret.lab
  User bob
Host forge
  HostName forge.example.org
  User git
Host \"bad name\"
";

/// A world with that configuration.
fn world() -> World {
    let world = World::new();
    fs::create_dir_all(world.path("ssh/more")).unwrap();
    let include = format!("Include {}\n", world.path("ssh/more/*.conf").display());
    world.write("ssh/config", &(include + SSH_CONFIG));
    world.write("ssh/more/a.conf", "Host archer\n  HostName login1.archer2.ac.uk\n  User ada\n  Port 2222\n");
    world
}

/// Runs a command there.
fn csync(world: &World, args: &[&str]) -> crate::world::Done {
    let mut command = world.command(args);
    command.env("CSYNC_SSH_CONFIG", world.path("ssh/config")).env("CSYNC_CONFIG", world.path("config"));
    command.output().unwrap().into()
}

#[test]
fn hosts_come_from_ssh_config_and_what_people_wrote_stays() {
    let world = world();
    let listed = csync(&world, &["hosts", "import"]).exits(0);
    for words in ["archer", "ada@login1.archer2.ac.uk:2222", "site archer2", "through gate", "serves git"] {
        assert!(listed.out.contains(words), "`{words}` is missing: {listed:?}");
    }
    assert!(!listed.out.contains("*.lab") && listed.err.contains("`bad name` is left out"), "{listed:?}");
    assert!(!world.path("config").exists(), "listing writes nothing");
    let dry = csync(&world, &["hosts", "import", "--all", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(dry["added"], serde_json::json!(["hpc", "hpc-data", "archer"]), "git is left out: {dry}");
    assert!(!world.path("config").exists());
    let told = csync(&world, &["hosts", "import", "hpc"]).exits(0);
    assert!(!told.err.contains("no entry of its own"), "{told:?}");
    let known = csync(&world, &["hosts", "import", "hpc"]).exits(0);
    assert!(known.out.contains("Nothing was added: known already"), "{known:?}");
    let file = "config/hosts.toml";
    let edited = world.read(file).replace("ssh = \"hpc\"", "ssh = \"hpc\" # mine\ntags = [\"gpu\"]") + "# the end\n";
    world.write(file, &edited);
    csync(&world, &["hosts", "import", "--all"]).exits(0);
    let text = world.read(file);
    for kept in
        ["ssh = \"hpc\" # mine\ntags = [\"gpu\"]", "# the end", "[hosts.archer]\nssh = \"archer\"\nsite = \"archer2\""]
    {
        assert!(text.contains(kept), "`{kept}` is missing: {text}");
    }
    assert!(!text.contains("forge"), "{text}");
    let again = csync(&world, &["hosts", "import", "--all"]).exits(0);
    assert!(again.out.contains("Nothing was added"), "{again:?}");
    assert_eq!(world.read(file), text);
    let listed = csync(&world, &["hosts", "--json"]).exits(0).json();
    let names: Vec<_> = listed["hosts"].as_array().unwrap().iter().map(|host| host["name"].clone()).collect();
    assert_eq!(names, ["local", "hpc", "hpc-data", "archer"]);
    let shown = csync(&world, &["hosts", "show", "archer"]).exits(0).out;
    assert!(shown.contains("slurm") && shown.contains("site archer2"), "{shown}");
    let shown = csync(&world, &["hosts", "show", "archer", "--json"]).exits(0).json();
    assert_eq!(shown["host"]["origins"]["batch"], "site archer2", "{shown}");
}

#[test]
fn names_that_are_no_names_are_refused() {
    let world = world();
    for name in ["-oProxyCommand=touch evil", "a b", "$(touch evil)"] {
        let refused = csync(&world, &["hosts", "import", "--", name]).exits(2);
        assert!(refused.err.contains("no name for a host"), "{refused:?}");
    }
    assert!(!world.path("evil").exists() && !world.path("config").exists());
    let unknown = csync(&world, &["hosts", "show", "hcp"]).exits(3);
    assert!(unknown.err.contains("csync hosts import hcp"), "{unknown:?}");
}

#[test]
fn mistakes_in_hosts_toml_are_shown_where_they_are() {
    let world = world();
    fs::create_dir(world.path("config")).unwrap();
    world.write("config/hosts.toml", "[hosts.hpc]\nbatch = \"slrum\"\nscrach = \"/x\"\n");
    for command in ["list", "probe", "import"] {
        let refused = csync(&world, &["hosts", command]).exits(2);
        for words in ["hosts.toml has 2 mistakes", "did you mean `slurm`?", "did you mean `scratch`?", "scrach"] {
            assert!(refused.err.contains(words), "`{words}` is missing: {refused:?}");
        }
    }
    let json = csync(&world, &["hosts", "list", "--json"]).exits(2).json();
    assert_eq!(json["error"]["diagnostics"].as_array().unwrap().len(), 2, "{json}");
}

#[test]
fn what_a_probe_finds_is_kept_and_shown() {
    let world = world();
    // A stand-in for a site's commands: found by a login shell alone.
    fs::create_dir_all(world.path("site")).unwrap();
    for (name, text) in [
        ("sbatch", "echo slurm 99.8.7"),
        ("squeue", ":"),
        ("scontrol", "echo 'PartitionName=wide Default=YES MaxTime=1-00:00:00 State=UP TotalNodes=3'"),
        ("nvidia-smi", "case $1 in --query*) echo 'NVIDIA T9, 1024, 9.8';; *) echo 'CUDA Version: 99.1 ';; esac"),
    ] {
        world.write(&format!("site/{name}"), &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(world.path(&format!("site/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let probe = |args: &[&str]| {
        let mut command = world.command(args);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", world.path("site").display()));
        command.env("CSYNC_CONFIG", world.path("config"));
        crate::world::Done::from(command.output().unwrap())
    };
    let dry = probe(&["hosts", "probe", "local", "--dry-run", "--json"]).exits(0).json();
    let facts = &dry["hosts"][0]["facts"];
    assert_eq!(facts["batch"]["offers"]["version"], "99.8.7", "{dry}");
    assert!(!world.state().join("csync.db").exists(), "a dry run keeps nothing");
    let told = probe(&["hosts", "probe"]).exits(0);
    assert!(told.out.starts_with("local: slurm 99.8.7, 1 partition, "), "{told:?}");
    assert!(told.out.contains("1 x NVIDIA T9"), "{told:?}");
    let shown = probe(&["hosts", "show", "local"]).exits(0).out;
    for words in ["CUDA 99.1", "wide*", "1d", "batch  "] {
        assert!(shown.contains(words), "`{words}` is missing: {shown}");
    }
    let listed = probe(&["hosts", "list", "--json"]).exits(0).json();
    assert_eq!(
        (&listed["hosts"][0]["state"], &listed["hosts"][0]["batch"]),
        (&"ok".into(), &"none".into()),
        "{listed}"
    );
    assert!(!world.path("config").exists(), "nothing is written of this machine");
}

#[test]
fn a_host_that_cannot_be_reached_says_what_helps() {
    let world = world();
    // Nobody listens on port 1.
    world.write("ssh/config", "Host dead\n  HostName 127.0.0.1\n  Port 1\n");
    let named = csync(&world, &["hosts", "import", "dead", "daed"]).exits(0);
    assert!(named.err.contains("daed: ~/.ssh/config has no entry of its own"), "{named:?}");
    assert!(!named.err.contains("dead: "), "{named:?}");
    world.write("config/hosts.toml", "[hosts.dead]\nssh = \"dead\"\n");
    let tested = csync(&world, &["hosts", "test", "dead"]).exits(1);
    assert!(tested.err.contains("refused") && tested.err.contains("ssh -v dead"), "{tested:?}");
    let probed = csync(&world, &["hosts", "probe", "dead"]).exits(1);
    assert!(probed.out.contains("dead cannot be reached"), "{probed:?}");
    let listed = csync(&world, &["hosts", "list"]).exits(0);
    assert!(listed.out.contains("failed") && listed.err.contains("csync hosts test dead"), "{listed:?}");
    assert!(csync(&world, &["hosts", "show", "dead"]).exits(0).out.contains("Last probe failed"));
    let doctor = csync(&world, &["doctor"]).exits(0).out;
    assert!(doctor.contains("host dead") && doctor.contains("fix: `csync hosts test dead`"), "{doctor}");
    let doctor = csync(&world, &["doctor", "dead"]).exits(1).out;
    assert!(doctor.contains("problem  host dead") && doctor.contains("ssh -v dead"), "{doctor}");
    csync(&world, &["doctor", "deed"]).exits(3);
    let local = csync(&world, &["hosts", "test", "local"]).exits(0);
    assert!(local.out.contains("local answers") && local.out.contains("it is this machine"), "{local:?}");
}
