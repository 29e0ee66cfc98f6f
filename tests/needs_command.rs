//! Journeys of one command on another machine: what goes along, what it makes there, what comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::bed::Bed;
use crate::world::until;

const HOSTS: &str = r#"
[hosts.hpc]
ssh = "login"
batch = "slurm"

[hosts.grid]
batch = "sge"

[hosts.lab]
ssh = "station"
batch = "none"
"#;

/// Joins the shared bed, with these hosts known and a directory of a git repository's files.
fn repository() -> Bed {
    let bed = Bed::shared();
    let dir = bed.home().join(".config/csync");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("hosts.toml"), HOSTS).unwrap();
    bed.write(
        "train.sh",
        "#!/bin/sh\nhostname\nmkdir -p out\nwc -c <\"$1\" >out/size\necho more >>notes\necho told >&2\n",
    );
    Command::new("chmod").arg("+x").arg(bed.path("train.sh")).status().unwrap();
    bed.write("notes", "first\n");
    bed.write("data/in put.txt", "12345");
    bed.write("data/secret.key", "no\n");
    bed.write("big.bin", "never\n");
    bed.write(".gitignore", "out/\nbig.bin\n");
    bed.write(".csyncignore", "*.key\n");
    let git = Command::new("git").args(["init", "-q"]).current_dir(bed.path(".")).status().unwrap();
    assert!(git.success());
    bed
}

#[test]
fn a_command_takes_its_directory_along_and_brings_back_what_it_made() {
    let bed = repository();
    let refused = bed.csync(&["submit", "--on", "hpc", "--", "./train.sh", "data/in put.txt"]).exits(4);
    assert!(refused.err.contains("nobody has agreed") && refused.err.contains("--yes"), "{}", refused.err);
    let listed = bed.csync(&["submit", "-n", "--on", "hpc", "--", "./train.sh"]).exits(0).out;
    assert!(listed.contains("data/in put.txt") && listed.contains("train.sh"), "{listed}");
    assert!(!listed.contains("secret.key") && !listed.contains("big.bin") && !listed.contains(".git/"), "{listed}");
    let done = bed.csync(&["submit", "--yes", "--on", "hpc", "--", "./train.sh", "data/in put.txt"]).exits(0);
    assert!(["  | n1\n", "  | n2\n", "  | n3\n"].iter().any(|node| done.out.contains(node)), "{}", done.out);
    assert!(done.err.contains("brought back 2 files") && done.err.contains("out/size"), "{}", done.err);
    assert_eq!((bed.read("out/size").trim(), bed.read("notes").as_str()), ("5", "first\nmore\n"));
    // It is a run as any other, and was agreed to.
    assert_eq!(bed.csync(&["logs", "--stderr"]).exits(0).err, "told\n");
    let done = bed.csync(&["submit", "--on", "lab", "--", "./train.sh", "notes"]).exits(0);
    assert!(done.out.contains("  | station\n"), "{}", done.out);
    assert_eq!((bed.read("out/size").trim(), bed.read("notes").as_str()), ("11", "first\nmore\nmore\n"));
}

#[test]
fn what_was_changed_here_meanwhile_is_left_alone() {
    let bed = repository();
    let trace = bed.scratch("login");
    let script =
        format!("touch {trace}/runs; while [ ! -e {trace}/go ]; do sleep 0.1; done; echo far >notes; echo x >made");
    bed.csync(&["submit", "-y", "--detach", "--on", "hpc", "--", "sh", "-c", &script]).exits(0);
    until("it runs", || bed.on("login", &format!("test -e {trace}/runs && echo yes")).out == "yes\n");
    bed.write("notes", "mine\n");
    bed.on("login", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!((bed.read("notes").as_str(), bed.read("made").as_str()), ("mine\n", "x\n"));
    let why = bed.csync(&["why"]).exits(0).out;
    assert!(why.contains("something else is here by now: notes"), "{why}");
    let place = why.lines().find_map(|line| line.split_once("on hpc they are in ")).unwrap().1.trim();
    assert_eq!(bed.on("login", &format!("cat {place}/notes")).exits(0).out, "far\n");
}

#[test]
fn a_command_that_fails_or_is_cancelled_brings_back_what_it_made_by_then() {
    let bed = repository();
    let done =
        bed.csync(&["run", "-y", "--on", "grid", "--", "sh", "-c", "hostname; echo half >part; exit 7"]).exits(7);
    assert_eq!(done.out, "gridx\n");
    assert!(done.err.contains("csync: brought back 1 file"), "{}", done.err);
    assert_eq!(bed.read("part"), "half\n");
    let trace = bed.scratch("station");
    let script = format!("echo begun >begun; touch {trace}/runs; sleep 600");
    bed.csync(&["submit", "--detach", "--on", "lab", "--", "sh", "-c", &script]).exits(0);
    until("it runs", || bed.on("station", &format!("test -e {trace}/runs && echo yes")).out == "yes\n");
    bed.csync(&["cancel"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
    assert_eq!(bed.read("begun"), "begun\n");
}

#[test]
fn mistakes_are_told_with_what_helps() {
    let bed = repository();
    for (args, words) in [
        (&["submit", "--on", "hcp", "--", "true"][..], "did you mean `hpc`"),
        (&["submit", "--on", "hpc"], "write the command behind `--`"),
        (&["submit", "-y", "--on", "hpc", "--max-size", "10", "--", "true"], ".csyncignore"),
        (&["submit", "-y", "--on", "hpc", "--with", "nothing", "--", "true"], "nothing"),
        (&["submit", "x.toml", "--", "true"], "both a file"),
    ] {
        let output = bed.csync(args);
        assert!(output.err.contains(words), "{args:?}: {}", output.err);
    }
    let large = bed.csync(&["submit", "-y", "--on", "hpc", "--max-size", "10", "--", "true"]).exits(2).err;
    assert!(large.contains("train.sh has"), "{large}");
    // What git ignores goes along where a person says so; a command without a host runs here.
    let with = bed.csync(&["submit", "-y", "--on", "lab", "--with", "big.bin", "--", "cat", "big.bin"]).exits(0);
    assert!(with.out.contains("  | never\n"), "{}", with.out);
    let here = bed.csync(&["submit", "--", "sh", "-c", "echo here >made-here; pwd"]).exits(0);
    assert!(here.out.contains(bed.path("").to_str().unwrap().trim_end_matches('/')), "{}", here.out);
    assert_eq!(bed.read("made-here"), "here\n");
}

#[test]
fn a_batch_script_runs_as_it_is_where_it_is_at_home_and_elsewhere() {
    let bed = repository();
    let script = "#!/bin/bash\n#SBATCH --job-name=fit\n#SBATCH -c 2 --mem=200M -t 5\n#SBATCH --array=0-8:4\n#SBATCH \
                  --comment=hello --nice=7\n\nset -e\ncd \"$SLURM_SUBMIT_DIR\"\necho \
                  \"$SLURM_CPUS_PER_TASK $(basename \"$0\") ${1-none} $(cat notes)\" >out.$SLURM_ARRAY_TASK_ID\n";
    bed.write("fit job.sh", script);
    let refused = bed.csync(&["submit", "fit job.sh"]).exits(2).err;
    assert!(refused.contains("--on HOST") && refused.contains("csync import 'fit job.sh'"), "{refused}");
    let done = bed.csync(&["submit", "-y", "--on", "hpc", "fit job.sh"]).exits(0);
    assert!(!done.err.contains("comment") && done.err.contains("brought back 3 files"), "{}", done.err);
    for member in ["0", "4", "8"] {
        assert_eq!(bed.read(&format!("out.{member}")), "2 fit job.sh none first\n");
        fs::remove_file(bed.path(&format!("out.{member}"))).unwrap();
    }
    // What Slurm alone understands is named before it goes out to another.
    let done = bed.csync(&["submit", "-y", "--on", "grid", "--cpus", "1", "fit job.sh"]).exits(0);
    for option in ["--comment", "--nice"] {
        assert!(done.err.contains(&format!("`{option}` is Slurm's alone and is left out")), "{}", done.err);
    }
    assert_eq!(bed.read("out.4"), "1 fit job.sh none first\n");
    // A script that asks for nothing is a command.
    bed.write("tools/plain.py", "#!/usr/bin/env python3\nimport socket\nprint(socket.gethostname())\n");
    let done = bed.csync(&["submit", "-y", "--on", "lab", "tools/plain.py"]).exits(0);
    assert!(done.out.contains("  | station\n"), "{}", done.out);
}

#[test]
fn what_is_asked_wrongly_is_told_with_what_helps() {
    let bed = repository();
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    // No such partition: known before anything is sent, and said by Slurm.
    bed.write("workflow.toml", "name = \"w\"\n[tasks.t]\nrun = \"true\"\npartition = \"debgu\"\non = \"hpc\"\n");
    let checked = bed.csync(&["check"]).exits(0).err;
    assert!(
        checked.contains("names the partition `debgu`, which the last probe did not see, but debug, long"),
        "{checked}"
    );
    bed.csync(&["submit"]).exits(1);
    let why = bed.csync(&["why", "last", "t"]).exits(0).out;
    let helps = "name another `partition` in task `t`, or none; `csync hosts show hpc` lists what is there";
    assert!(why.contains("invalid partition specified: debgu") && why.contains(helps), "{why}");
    // It never began: nothing is said of how long.
    assert!(!why.contains(" after ") && !why.contains("CPU"), "{why}");
    // An input that nobody may read.
    bed.write("secret", "x");
    fs::set_permissions(bed.path("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    bed.write("workflow.toml", "name = \"w\"\n[tasks.t]\nrun = \"cat secret\"\ninputs = [\"secret\"]\non = \"hpc\"\n");
    let done = bed.csync(&["submit"]).exits(1).out;
    assert!(done.contains("secret cannot be staged: Permission denied"), "{done}");
    let why = bed.csync(&["why", "last", "t"]).exits(0).out;
    assert!(why.contains("look whether that file is there and can be read") && !why.contains("csync logs"), "{why}");
    fs::set_permissions(bed.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    // Line ends of Windows: refused as `sbatch` does; where nobody saw them, the shell's complaint is explained.
    bed.write("job.sh", "#!/bin/bash\r\n#SBATCH -t 5\r\necho hello\r\n");
    let refused = bed.csync(&["submit", "-y", "--on", "hpc", "job.sh"]).exits(2).err;
    assert!(
        refused.contains("`job.sh` has line ends of Windows") && refused.contains(r"`sed -i 's/\r$//' job.sh`"),
        "{refused}"
    );
    bed.write("job.sh", "#!/bin/bash\r\n\r\nhostname\r\n");
    bed.csync(&["submit", "-y", "--on", "hpc", "--", "bash", "job.sh"]).exits(1);
    let why = bed.csync(&["why"]).exits(0).out;
    assert!(why.contains("a file has line ends of Windows"), "{why}");
    // No such file, nor command.
    let missing = bed.csync(&["submit", "--on", "hpc", "job"]).exits(3).err;
    assert!(missing.contains("there is no file `job`") && missing.contains("behind `--`"), "{missing}");
}

#[test]
fn what_waits_in_a_queue_says_so_and_is_cancelled_once() {
    let bed = repository();
    bed.write("workflow.toml", "name = \"w\"\n[tasks.t]\nrun = \"true\"\nslurm = { hold = true }\non = \"hpc\"\n");
    bed.csync(&["submit", "--detach"]).exits(0);
    until("it waits there", || bed.csync(&["why", "last", "t"]).out.contains("JobHeldUser"));
    let logs = bed.csync(&["logs", "last", "t"]).exits(0).err;
    assert!(logs.contains("t has not started: it is queued. `csync why 1 t` says what it waits for"), "{logs}");
    let retry = bed.csync(&["retry", "last"]).exits(0).err;
    assert!(retry.contains("It still runs: `csync watch 1` follows it"), "{retry}");
    bed.csync(&["cancel", "last"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
    let again = bed.csync(&["cancel", "last"]).exits(0).err;
    assert!(again.contains("Nothing to cancel in run 1: it is over"), "{again}");
    let logs = bed.csync(&["logs", "last", "t"]).exits(0).err;
    assert!(logs.contains("t was cancelled and did not run"), "{logs}");
    let why = bed.csync(&["why", "last", "t"]).exits(0).out;
    assert!(why.contains("  on hpc: cancelled\n"), "{why}");
}
