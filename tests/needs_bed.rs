//! The test bed itself: what the journeys to far hosts rely on.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bed::{Bed, inner_pid, read_until};
use crate::world::{signal, until};

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn the_login_node_is_reached_through_both_jump_hosts_and_in_no_other_way() {
    let bed = Bed::shared();
    let through = bed.laptop(&["ssh", "-J", "gate,inner", "-F", "none", "alice@login", "hostname; id -un"]).output();
    assert_eq!(String::from_utf8_lossy(&through.unwrap().stdout), "login\nalice\n");
    assert_eq!(bed.ssh("login", "hostname").exits(0).out, "login\n");

    let direct = bed.laptop(&["bash", "-c", "exec 3<>/dev/tcp/10.93.0.10/22"]).output().unwrap();
    assert!(String::from_utf8_lossy(&direct.stderr).contains("Network is unreachable"), "{direct:?}");
}

#[test]
fn hosts_share_what_a_cluster_shares_and_nothing_else() {
    let bed = Bed::shared();
    let scratch = bed.scratch("login");
    bed.on("login", &format!("echo here > {scratch}/file; hostname > /tmp/own")).exits(0);
    assert_eq!(bed.on("n2", &format!("cat {scratch}/file; test ! -e /tmp/own")).exits(0).out, "here\n");
    bed.on("station", &format!("test ! -e {scratch}; test ! -e /tmp/own")).exits(0);
    // A workstation has no batch system, though this machine has the programs of two.
    assert_eq!(bed.ssh("station", "command -v sbatch qsub squeue qstat").exits(1).out, "");
    assert_eq!(bed.ssh("login2", "command -v sbatch").exits(1).out, "");
    assert_eq!(bed.ssh("login2", "bash -lc 'command -v sbatch'").exits(0).out, "/opt/slurm/bin/sbatch\n");
}

#[test]
fn slurm_and_grid_engine_run_jobs() {
    let bed = Bed::shared();
    let scratch = bed.scratch("login");
    bed.ssh("login", &format!("sbatch --wait -N1 -o {scratch}/out --wrap 'hostname; exit 3'")).exits(3);
    let node = bed.on("login", &format!("cat {scratch}/out")).exits(0).out;
    assert!(["n1\n", "n2\n", "n3\n"].contains(&node.as_str()), "{node}");

    let scratch = bed.scratch("grid");
    bed.ssh("grid", &format!("echo 'hostname; exit 4' | qsub -sync y -j y -o {scratch}/out")).exits(4);
    assert_eq!(bed.on("grid", &format!("cat {scratch}/out")).exits(0).out, "gridx\n");
}

#[test]
fn the_stand_in_for_pbs_answers_as_pbs_does() {
    let bed = Bed::own(&["pbs"]);
    let pbs = |text: &str| bed.on("pbs", &format!("export PATH=/opt/pbs/bin:$PATH; cd; {text}"));
    assert_eq!(bed.ssh("pbs", "command -v qsub").exits(1).out, "");
    assert_eq!(bed.ssh("pbs", "bash -lc 'command -v qsub'").exits(0).out, "/opt/pbs/bin/qsub\n");
    let member = "echo 'echo $PBS_ARRAY_INDEX $PWD; exit $PBS_ARRAY_INDEX' > job.sh";
    let id = pbs(&format!("{member}; qsub -N ours -J 0-1 -j oe -o 'out.^array_index^' job.sh")).exits(0).out;
    let id = id.trim();
    assert_eq!(id, "0[].pbs");
    let of = |name: &str| pbs(&format!("qstat -x -f -w '{name}'")).exits(0).out;
    until("the array is over", || of(id).contains("job_state = F"));
    let second = of("0[1]");
    assert!(second.contains("Exit_status = 1\n") && second.contains("run_count = 1\n"), "{second}");
    assert_eq!(pbs("cat out.1").exits(0).out, "1 $HOME\n".replace("$HOME", pbs("pwd").out.trim()));
    assert_eq!(pbs("qselect -x -N ours").exits(0).out, "0[].pbs\n");

    // Deleted, over its time, unknown, finished.
    let id = pbs("qsub -N gone -- /bin/sleep 600").exits(0).out;
    until("it runs", || of(id.trim()).contains("job_state = R"));
    pbs(&format!("qdel {id}")).exits(0);
    until("it is over", || of(id.trim()).contains("Exit_status = 271"));
    let id = pbs("qsub -l walltime=1 -- /bin/sleep 600").exits(0).out;
    until("it is over", || of(id.trim()).contains("Exit_status = -29"));
    assert!(pbs(&format!("qstat {id}")).exits(35).err.contains("Job has finished, use -x or -H"));
    assert!(pbs("qstat 99").exits(153).err.contains("qstat: Unknown Job Id 99.pbs"));
    assert!(pbs("qsub -J 3-3 job.sh").exits(2).err.contains("illegal -J value"));

    // Down: refused at once. Frozen: no answer. What ended meanwhile is known afterwards.
    let id = pbs("qsub -N ends -- /bin/sh -c 'until [ -e go ]; do sleep 0.05; done; exit 4'").exits(0).out;
    until("it runs", || of(id.trim()).contains("job_state = R"));
    bed.now("stop-part pbs");
    assert!(pbs("qstat").exits(255).err.contains("cannot connect to server"));
    pbs("touch go").exits(0);
    until("it ended", || pbs("pgrep -f '[u]ntil'").code == 1);
    bed.now("start-part pbs");
    until("it is known", || of(id.trim()).contains("Exit_status = 4"));
    bed.now("freeze pbs");
    pbs("timeout 1 qstat").exits(124);
    bed.now("thaw pbs");
    pbs("touch /run/bed/pbs/spool/history-off").exits(0);
    let silent = pbs("qstat -x").exits(0);
    assert_eq!((silent.out.as_str(), silent.err.trim()), ("", "PBS is not configured to maintain job history"));
}

#[test]
fn accounts_have_the_shells_that_spoil_things() {
    let bed = Bed::shared();
    let noisy = bed.ssh("station-noisy", "echo works").exits(0);
    assert_eq!((noisy.out.as_str(), noisy.err.as_str()), ("Welcome to station!\nworks\n", "Your quota is fine.\n"));
    assert_eq!(bed.ssh("station-quitter", "echo works").exits(7).out, "");
    assert!(bed.ssh("station-tcsh", "echo $version").exits(0).out.contains("tcsh"));
    assert!(bed.ssh("login-fish", "set -S version; echo $FISH_VERSION").exits(0).out.contains('.'));
}

#[test]
fn keys_certificates_and_codes_are_asked_for() {
    let bed = Bed::shared();
    bed.ssh("station-cert", "true").exits(0);
    for refused in ["station-stranger", "station-locked", "station-code"] {
        assert!(bed.ssh(refused, "true").exits(255).err.contains("Permission denied"), "{refused}");
    }
    let answer = |host: &str, answer: &str| {
        bed.write("answer", format!("#!/bin/sh\necho \"$1\" >> asked\necho '{answer}'\n"));
        let ask = format!("SSH_ASKPASS={}", bed.path("answer").display());
        Command::new("chmod").arg("+x").arg(bed.path("answer")).status().unwrap();
        let args = ["env", &ask, "SSH_ASKPASS_REQUIRE=force", "ssh", "-o", "NumberOfPasswordPrompts=1", host, "true"];
        bed.laptop(&args).output().unwrap().status.code()
    };
    assert_eq!(answer("station-locked", "open sesame"), Some(0));
    assert_eq!(answer("station-code", "000000"), Some(255));
    let codes = fs::read_to_string(bed.dir().join("etc/ssh/codes")).unwrap();
    let code = codes.lines().next().expect("a code is left");
    assert_eq!(answer("station-code", code), Some(0), "the right code");
    assert_eq!(answer("station-code", code), Some(255), "a code counts once");
    assert!(bed.read("asked").contains("coder@station"), "{}", bed.read("asked"));
}

#[test]
fn cables_are_cut_and_healed_and_machines_crash_and_boot() {
    let bed = Bed::own(&["slurm"]);
    let fails = |host: &str| bed.laptop(&["ssh", "-o", "ConnectTimeout=1", host, "true"]).output().unwrap();
    for (hurt, heal) in
        [("cut inner", "heal inner"), ("crash gate", "boot gate"), ("freeze sshd-gate", "thaw sshd-gate")]
    {
        bed.now(hurt);
        assert_eq!(fails("login").status.code(), Some(255), "{hurt}");
        assert!(bed.on("login", "true").code == 0, "{hurt}: the host itself is well");
        bed.now(heal);
        bed.ssh("login", "true").exits(0);
    }
    bed.now("loss gate 100");
    assert_eq!(fails("gate").status.code(), Some(255), "everything is lost");
    bed.now("loss gate 0");
    bed.now("stop-part sshd-gate");
    let refused = fails("gate");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Connection refused"), "{refused:?}");
    bed.now("start-part sshd-gate");
    bed.ssh("gate", "true").exits(0);
}

#[test]
fn latency_is_what_was_asked_for() {
    let bed = Bed::own(&[]);
    // The least of three handshakes: a busy machine makes them longer, nothing makes them shorter than the cable.
    let handshake = || {
        let script = "for k in 1 2 3; do s=$EPOCHREALTIME; exec 3<>/dev/tcp/10.91.0.2/22; e=$EPOCHREALTIME; \
                      echo $((${e/./} - ${s/./})); done | sort -n | head -1";
        let out = bed.laptop(&["bash", "-c", script]).output().unwrap().stdout;
        String::from_utf8(out).unwrap().trim().parse::<u64>().unwrap()
    };
    let plain = handshake();
    bed.now("delay gate 300");
    let late = handshake();
    assert!(late >= 300_000 && late >= plain + 250_000, "{plain} us without, {late} us with 300 ms");
    let bytes = bed.laptop(&["bash", "-c", "head -c 3000000 /dev/zero | ssh gate wc -c"]).output().unwrap().stdout;
    assert_eq!(String::from_utf8(bytes).unwrap().trim(), "3000000");
    bed.now("delay gate 0");
    bed.ssh("gate", "true").exits(0);
    assert_eq!(bed.logins("gate"), 3 + 3 + 2, "connections are counted");
}

#[test]
fn a_frozen_or_stopped_controller_is_there_again_with_its_jobs() {
    let bed = Bed::own(&["slurm"]);
    bed.now("freeze slurmctld");
    bed.on("login", "timeout 1 squeue").exits(124);
    bed.now("thaw slurmctld");
    bed.on("login", "squeue -h").exits(0);
    let id = bed.on("login", "sbatch --parsable --hold --wrap true").exits(0).out;
    bed.now("stop-part slurmctld");
    bed.on("login", "timeout 1 squeue").exits(124);
    bed.now("start-part slurmctld");
    until("the job is known again", || bed.on("login", "squeue -h -o %i").out == id);
}

#[test]
fn slurmdbd_keeps_the_history_and_may_be_down() {
    let bed = Bed::own(&["slurm", "db"]);
    let id = bed.on("login", "sbatch --parsable -o /dev/null --wait --wrap 'exit 3'").exits(3).out;
    let sacct = format!("sacct -n -P -X -o State,ExitCode -j {id}");
    until("the history knows it", || bed.on("login", &sacct).out == "FAILED|3:0\n");
    bed.now("stop-part slurmdbd");
    bed.on("login", &sacct).exits(1);
    bed.on("login", "squeue -h").exits(0);
    bed.now("start-part slurmdbd");
    until("it is asked again", || bed.on("login", &sacct).out == "FAILED|3:0\n");
}

#[test]
fn two_beds_stand_side_by_side() {
    let (one, other) = (Bed::own(&[]), Bed::own(&[]));
    one.on("station", "touch ~/here").exits(0);
    other.on("station", "test ! -e ~/here").exits(0);
    one.ssh("station", "test -e here").exits(0);
    other.ssh("station", "test ! -e here").exits(0);
    let (gone, stays) = (one.pid(), other.pid());
    drop(one);
    assert!(!is_alive(gone) && is_alive(stays));
    other.ssh("station", "true").exits(0);
}

#[test]
fn what_runs_on_a_host_ends_with_the_command_that_started_it_there() {
    let bed = Bed::shared();
    let mut command = bed.laptop(&["bash", "-c", "echo up; exec sleep 600"]).stdout(Stdio::piped()).spawn().unwrap();
    read_until(command.stdout.as_mut().unwrap(), "up\n");
    let inner = inner_pid(&command);
    until("it is that", || fs::read_to_string(format!("/proc/{inner}/comm")).unwrap() == "sleep\n");
    command.kill().unwrap();
    command.wait().unwrap();
    until("it is gone there", || !is_alive(inner));
}

#[test]
fn a_bed_ends_with_whoever_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let bed = dir.path().join("bed");
    // A process that brings up a bed, holds the pipe as a test does, and is killed.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/bed.sh");
    let hold = r#"exec 3> >(exec bash "$1" up --tied "$2"); exec sleep 600"#;
    let mut holder =
        Command::new("bash").args(["-c", hold, "holder", script]).arg(&bed).stdout(Stdio::null()).spawn().unwrap();
    until("the bed is up", || bed.join("ready").exists());
    let pid = fs::read_to_string(bed.join("pid")).unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    let daemon = Command::new("pgrep").args(["-f", &format!("unshare .* {}", bed.display())]).output().unwrap();
    assert!(is_alive(pid) && !daemon.stdout.is_empty());
    signal(holder.id(), "KILL");
    holder.wait().unwrap();
    until("the bed is gone", || !is_alive(pid));
    let of_bed = || Command::new("pgrep").args(["-f", &bed.display().to_string()]).output().unwrap().stdout;
    until("nothing of it is left", || of_bed().is_empty());
}
