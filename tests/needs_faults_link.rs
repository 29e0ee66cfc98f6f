//! What is wrong with the way to a host: cut, slow, lossy, its sshd or a jump host ended. Each on a bed of its own.

use std::fs;
use std::time::{Duration, Instant};

use csync::model::units::Timestamp;

use crate::bed::Bed;
use crate::far::{HOSTS, Held, configure, configure_ssh, engine_pid, nothing_left, submit_says, why_says};
use crate::needs_clock as faketime;
use crate::world::{Done, signal, until};

/// Brings up a bed whose laptop notices a silent host within some ten seconds.
fn bed(parts: &[&str]) -> Bed {
    let bed = Bed::own(parts);
    configure(&bed, HOSTS);
    configure_ssh(&bed, "  ServerAliveInterval 3\n  ServerAliveCountMax 3\n  ConnectTimeout 3");
    bed
}

#[test]
fn a_short_cut_is_not_noticed_a_long_one_is_told_and_mended() {
    let bed = bed(&["slurm"]);
    let held = Held::submit(&bed, "login", "\"hpc\"", 3, "");
    held.run();
    let (logins, start) = (bed.logins("login"), Instant::now());
    bed.now("cut gate");
    until("the cut has lasted five seconds", || start.elapsed() >= Duration::from_secs(5));
    bed.now("heal gate");
    held.release();
    held.done_once();
    assert_eq!(bed.logins("login"), logins, "the connection outlived it");

    // Longer than anybody waits for an answer: told, with what is known of the jobs; nothing is given up.
    let held = Held::submit(&bed, "login", "\"hpc\"", 3, "");
    held.run();
    bed.now("cut gate");
    let why = why_says(&bed, "t[1]", &["there is no contact with `hpc`"]);
    assert!(why.contains("lost") || why.contains("answer") || why.contains("reached"), "{why}");
    // What is over there meanwhile comes back.
    held.release();
    until("they are over", || bed.on("login", "cat ~/.csync/jobs/*/*/status | grep -c state=ended").out.trim() == "3");
    bed.now("heal gate");
    held.done_once();
}

#[test]
fn work_leaves_a_host_that_is_gone_for_good_and_what_was_there_is_ended_when_it_is_back() {
    let bed = bed(&["slurm"]);
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    bed.now("cut gate");
    why_says(&bed, "t[1]", &["there is no contact with `hpc`"]);
    // Work that was not started goes to the next host of the list, and the person hears why.
    bed.write(
        "away/away.toml",
        "name = \"away\"\n[tasks.a]\noutputs = [\"a\"]\nrun = \"hostname > {outputs}\"\non = [\"hpc\", \"local\"]\n",
    );
    let done = bed.csync(&["submit", "away/away.toml"]).exits(0);
    assert!(done.err.contains("`hpc` cannot be used"), "{done:?}");
    assert_eq!(bed.read("away/a"), "laptop\n");
    // What has nowhere else to go waits, says so, and can be given up.
    bed.write("stay/stay.toml", "name = \"stay\"\n[tasks.s]\nrun = \"true\"\non = \"hpc\"\n");
    let said = submit_says(&bed, "stay/stay.toml", "next try");
    assert!(said.contains("`hpc` cannot be used"), "{said}");
    bed.csync(&["cancel", "3"]).exits(0);
    bed.csync(&["wait", "3"]).exits(130);
    // A cancel that cannot reach the host says that, and is done as soon as it can be.
    bed.csync(&["cancel", "1"]).exits(0);
    assert!(bed.csync(&["why", "1", "t[1]"]).out.contains("there is no contact with `hpc`"));
    bed.now("heal gate");
    bed.csync(&["wait", "1"]).exits(130);
    assert_eq!(held.started().len(), 2);
    nothing_left(&bed, "login");
}

#[test]
fn what_is_lost_runs_again_when_a_person_says_so_and_is_ended_when_its_host_is_back() {
    let bed = bed(&["slurm"]);
    let held = Held::submit(&bed, "login", "[\"hpc\", \"lab\"]", 1, "");
    held.run();
    assert!(bed.csync(&["retry", "--lost"]).exits(0).err.contains("nothing of it is lost"));
    bed.now("cut gate");
    why_says(&bed, "t[1]", &["csync retry --lost 1 't[1]'"]);
    assert!(bed.csync(&["retry"]).exits(0).err.contains("nothing of it failed"));
    assert!(bed.csync(&["retry", "1", "t[1]"]).exits(0).err.contains("nothing that you named failed"));
    let said = bed.csync(&["retry", "--lost", "--detach"]).exits(0);
    assert!(said.err.contains("1 instance "), "{said:?}");
    until("it runs elsewhere", || held.started_on("station") == ["1.0.2"]);
    // What was given up is known to the next engine too.
    signal(engine_pid(&bed), "KILL");
    bed.now("heal gate");
    assert!(bed.csync(&["retry", "--lost"]).exits(0).err.contains("nothing of it is lost"));
    nothing_left(&bed, "login");
    assert!(!bed.path("out/1").exists(), "nothing of the first is taken");
    held.release_on("station");
    bed.csync(&["wait", "1"]).exits(0);
    assert_eq!(bed.read("out/1"), "1\n");
    assert_eq!((held.started(), held.started_on("station").len()), (vec!["1.0.1".to_owned()], 1));
    nothing_left(&bed, "station");

    // Where there is no other host it runs there again, and not before the first has ended.
    let held = Held::submit(&bed, "login", "\"hpc\"", 1, "");
    held.run();
    bed.now("cut gate");
    why_says(&bed, "t", &["csync retry --lost 2"]);
    bed.csync(&["retry", "--lost", "--detach"]).exits(0);
    bed.now("heal gate");
    until("it runs again", || held.started() == ["2.0.1", "2.0.2"]);
    assert_eq!(bed.on("login", "squeue -h -o %j").out.lines().count(), 1, "the first has ended");
    held.release();
    bed.csync(&["wait", "2"]).exits(0);
    assert_eq!(bed.read("out/1"), "1\n");
    nothing_left(&bed, "login");
}

#[test]
fn latency_and_loss_slow_things_down_and_break_nothing() {
    // With the patience that everybody has who sets nothing.
    let bed = Bed::own(&["slurm"]);
    configure(&bed, HOSTS);
    bed.now("delay gate 300");
    bed.now("loss gate 5");
    bed.write("in", vec![b'x'; 500_000]);
    bed.write(
        "workflow.toml",
        "name = \"slow\"\n[tasks.t]\nforeach = { range = [1, 4] }\ninputs = [\"in\"]\noutputs = [\"o/{item}\"]\nrun = \"cp in {outputs}\"\non = \"hpc\"\n",
    );
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("4 done"), "{done:?}");
    for n in 1..=4 {
        assert_eq!(fs::read(bed.path(&format!("o/{n}"))).unwrap(), vec![b'x'; 500_000]);
    }
    assert_eq!(bed.logins("login"), 1, "one connection, whatever is lost on it");
    nothing_left(&bed, "login");
}

#[test]
fn a_cut_of_five_minutes_loses_nothing_and_runs_nothing_twice_with_the_patience_of_everybody() {
    // With the keep-alives and the pauses that everybody has who sets nothing.
    let bed = Bed::own(&["slurm"]);
    configure(&bed, HOSTS);
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    bed.now("cut gate");
    let cut = Instant::now();
    // Nobody has noticed yet: it is submitted into the cut.
    bed.write("wait/in", "waited\n");
    bed.write(
        "wait/wait.toml",
        "name = \"wait\"\n[tasks.w]\ninputs = [\"in\"]\noutputs = [\"w\"]\n\
         run = \"echo $CSYNC_JOB >> ~/waited; cp in {outputs}\"\non = \"hpc\"\n",
    );
    bed.csync(&["submit", "--detach", "wait/wait.toml"]).exits(0);
    // Half of what runs is over there before it is mended.
    held.release();
    until("they are over", || bed.on("login", "cat ~/.csync/jobs/*/*/status | grep -c state=ended").out.trim() == "2");
    for minute in 1..=5 {
        until(&format!("the cut has lasted {minute} minutes"), || {
            cut.elapsed() >= Duration::from_secs(60 * minute - 1)
        });
        let queued = bed.on("login", "squeue -h -o %j").exits(0).out;
        assert_eq!(queued, "", "nothing of the second can be there");
    }
    let shown = bed.csync(&["show", "1"]).exits(0).out;
    assert!(!shown.contains("failed") && bed.csync(&["show", "2"]).exits(0).out.contains("waiting"), "{shown}");
    why_says(&bed, "w", &["`hpc` cannot be used", "next try"]);
    bed.now("heal gate");
    bed.csync(&["wait", "2"]).exits(0);
    bed.csync(&["wait", "1"]).exits(0);
    assert_eq!(bed.read("wait/w"), "waited\n");
    assert_eq!(bed.on("login", "cat ~/waited").exits(0).out.lines().count(), 1, "it ran once");
    held.done_once();
}

/// Ends every sshd of a host, those of its sessions too, and starts it anew.
fn restart_sshd(bed: &Bed, host: &str) {
    bed.now(&format!("stop-part sshd-{host}"));
    bed.now(&format!("start-part sshd-{host}"));
}

#[test]
fn an_sshd_that_dies_during_a_transfer_costs_no_byte_and_no_run() {
    let bed = bed(&["slurm"]);
    // So far away that it takes some seconds.
    bed.now("delay gate 60");
    large_file_survives(&bed);
}

/// Sends a file there and back while sshds on the way die.
fn large_file_survives(bed: &Bed) {
    let large: Vec<u8> = (0..100u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    bed.write("large", &large);
    bed.write(
        "workflow.toml",
        "name = \"large\"\n[tasks.t]\ninputs = [\"large\"]\noutputs = [\"back\"]\nrun = \"echo $CSYNC_JOB >> ~/started; cat {inputs} > {outputs}\"\non = \"hpc\"\n",
    );
    bed.csync(&["submit", "--detach"]).exits(0);
    let part = |dir: &str| format!("find {dir} -name '.csync-*.part' -size +4M 2>/dev/null");
    until("a part of it is there", || !bed.on("login", &part("~/.csync/trees")).out.is_empty());
    restart_sshd(bed, "login");
    until("it ran", || bed.on("login", "cat ~/started").out.lines().count() == 1);
    let here = bed.home().join("work").display().to_string();
    until("a part of it is back", || !bed.on("laptop", &part(&here)).out.is_empty());
    restart_sshd(bed, "inner");
    bed.csync(&["wait", "last"]).exits(0);
    assert!(fs::read(bed.path("back")).unwrap() == large);
    assert_eq!(bed.on("login", "cat ~/started").out.lines().count(), 1, "it ran once");
    until("no part is left", || {
        bed.on("laptop", &part(&here)).out.is_empty() && bed.on("login", &part("~/.csync")).out.is_empty()
    });
    nothing_left(bed, "login");
}

#[test]
fn an_sshd_that_dies_during_a_submission_makes_no_second_one() {
    let bed = bed(&["slurm"]);
    // `sbatch` waits for its controller when its session ends, and goes on without it.
    bed.now("freeze slurmctld");
    let held = Held::submit(&bed, "login", "\"hpc\"", 3, "");
    until("it is on its way", || bed.on("login", "pgrep -x sbatch").code == 0);
    restart_sshd(&bed, "login");
    why_says(&bed, "t[1]", &["`hpc`"]);
    bed.now("thaw slurmctld");
    held.run();
    held.release();
    held.done_once();
    // Nor where no batch system knows of the first. One at a time runs there: nobody has looked how many cores it has.
    bed.now("delay gate 60");
    let held = Held::submit(&bed, "station", "\"lab\"", 1, "");
    until("it is on its way", || bed.on("station", "ls ~/.csync/jobs | grep csync-").code == 0);
    restart_sshd(&bed, "station");
    held.run();
    held.release();
    held.done_once();
}

#[test]
fn a_jump_host_that_is_rebooted_interrupts_nothing_for_long() {
    let bed = bed(&["slurm"]);
    let held = Held::submit(&bed, "login", "\"hpc\"", 3, "");
    held.run();
    bed.now("crash inner");
    held.release();
    why_says(&bed, "t[1]", &["there is no contact with `hpc`"]);
    bed.now("boot inner");
    held.done_once();
    // The first one of the chain too.
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    bed.now("crash gate");
    bed.now("boot gate");
    held.release();
    held.done_once();
}

#[test]
fn a_workstation_that_is_rebooted_or_ends_its_processes_is_found_out() {
    let bed = bed(&[]);
    let held = Held::submit(&bed, "station", "\"lab\"", 1, "");
    held.run();
    bed.now("crash station");
    bed.now("boot station");
    // Its processes are gone: it runs again, which is no fault of the task.
    until("it runs again", || held.started().len() == 2);
    assert!(held.started()[1].ends_with(".2"), "{:?}", held.started());
    let why = why_says(&bed, "t[1]", &["its node on `lab` failed"]);
    assert!(why.contains("attempt 1"), "{why}");
    held.release();
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.read("out/1"), "1\n");
    nothing_left(&bed, "station");
}

#[test]
fn the_systems_ssh_bears_the_same() {
    let bed = bed(&["slurm"]);
    // What this program's own SSH does not do.
    configure_ssh(&bed, "  AddressFamily inet");
    let tested = bed.csync(&["hosts", "test", "hpc"]).exits(0).out;
    assert!(tested.contains("openssh") && tested.contains("AddressFamily is set"), "{tested}");
    // Cut while jobs run and end.
    let held = Held::submit(&bed, "login", "\"hpc\"", 3, "");
    held.run();
    bed.now("cut gate");
    why_says(&bed, "t[1]", &["there is no contact with `hpc`"]);
    held.release();
    until("they are over", || bed.on("login", "cat ~/.csync/jobs/*/*/status | grep -c state=ended").out.trim() == "3");
    bed.now("heal gate");
    held.done_once();
    // In a submission: `sbatch` goes on without its session.
    bed.now("freeze slurmctld");
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    until("it is on its way", || bed.on("login", "pgrep -x sbatch").code == 0);
    restart_sshd(&bed, "login");
    why_says(&bed, "t[1]", &["`hpc`"]);
    bed.now("thaw slurmctld");
    held.run();
    // A jump host of the chain is rebooted.
    bed.now("crash inner");
    held.release();
    why_says(&bed, "t[1]", &["there is no contact with `hpc`"]);
    bed.now("boot inner");
    held.done_once();
    // In a transfer, there and back.
    bed.now("delay gate 60");
    large_file_survives(&bed);
}

/// Starts the engine on a clock that runs so many times as fast as the machine's: its own, and that of what it starts.
fn start_fast(bed: &Bed, times: u32) {
    let library = faketime::library().with_file_name("libfaketimeMT.so.1");
    let state = format!("CSYNC_STATE={}", bed.home().join("state").display());
    let preload = format!("LD_PRELOAD={}", library.display());
    let clock = format!("FAKETIME=+0 x{times}");
    let env = ["env", &state, &preload, &clock, "CSYNC_CPUS=2", "CSYNC_GRACE=1s", "CSYNC_IDLE=1000000"];
    let done: Done =
        bed.laptop(&[&env[..], &[env!("CARGO_BIN_EXE_csync"), "run", "true"]].concat()).output().unwrap().into();
    done.exits(0);
}

/// Returns when the engine wrote this down of the cluster, in microseconds of its clock.
fn written(bed: &Bed, words: &str) -> Vec<i64> {
    let log = fs::read_to_string(bed.home().join("state/engine.log")).unwrap();
    let lines = log.lines().filter(|line| line.contains(words) && line.contains("host=hpc"));
    let time = |line: &str| serde_json::from_value(line.split(' ').next().unwrap().into()).map(|Timestamp(time)| time);
    lines.map(|line| time(line).unwrap()).collect()
}

#[test]
fn the_circuit_opens_is_tried_at_growing_distances_up_to_a_minute_and_closes() {
    const SECOND: i64 = 1_000_000;
    let bed = Bed::own(&["slurm"]);
    configure(&bed, HOSTS);
    // In the engine's time, 20 seconds of which pass in one: the pauses are the real ones.
    configure_ssh(&bed, "  ServerAliveInterval 10\n  ServerAliveCountMax 3\n  ConnectTimeout 60");
    start_fast(&bed, 20);
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    let list = || bed.csync(&["hosts", "list"]).exits(0).out;
    let breaker = || {
        let hosts = bed.csync(&["hosts", "list", "--json"]).exits(0).json();
        let host = hosts["hosts"].as_array().unwrap().iter().find(|host| host["name"] == "hpc").unwrap().clone();
        host["contact"]["breaker"].clone()
    };
    until("it is closed", || breaker()["state"] == "closed");
    let before = written(&bed, "cannot be used").len();
    let failures = || written(&bed, "cannot be used").split_off(before);
    bed.now("cut gate");
    until("it is open", || list().contains("open") && list().contains("next try"));
    why_says(&bed, "t[1]", &["there is no contact with `hpc`", "next try"]);
    // It is tried again and again; while it is tried that is told too. Seven times the pauses grow, and then they stay; it is cut for
    // longer than five minutes.
    let mut announced: Vec<i64> = Vec::new();
    let mut half_open = (false, false);
    let mut look = || {
        let now = breaker();
        if now["state"] == "half-open" && half_open != (true, true) {
            let (list, why) = (list(), bed.csync(&["why", "last", "t[1]"]).out);
            half_open.0 |= list.contains("half-open") && list.contains("being tried now");
            half_open.1 |= why.contains("being tried now");
        }
        if let Ok(Timestamp(next)) = serde_json::from_value(now["next_try"].clone())
            && announced.last() != Some(&next)
        {
            announced.push(next);
        }
        half_open == (true, true)
    };
    let pauses = [2, 4, 8, 16, 32, 60, 60, 60];
    for number in 1..=pauses.len() {
        until(&format!("it could not be reached for the {number}. time"), || {
            look();
            failures().len() >= number
        });
    }
    until("it is told while it is tried", &mut look);
    until("the last pause is announced", || {
        look();
        failures().len() > pauses.len()
    });
    let failed = failures();
    assert!(failed[pauses.len() - 1] - failed[0] > 300 * SECOND, "{failed:?}");
    let mut seen = Vec::new();
    for (pair, pause) in failed.windows(2).zip(pauses) {
        assert!(pair[1] - pair[0] >= pause * SECOND, "it was tried before its time: {failed:?}");
        // Written down first, then announced.
        for next in announced.iter().filter(|next| (pair[0]..pair[1]).contains(*next)) {
            let told = (next - pair[0]) as f64 / SECOND as f64;
            assert!((pause as f64..pause as f64 + 2.0).contains(&told), "{told} s announced, not {pause}: {failed:?}");
            seen.push(pause);
        }
    }
    // The first ones pass in a tenth of a second.
    assert!(seen.iter().filter(|pause| **pause == 60).count() >= 2, "{seen:?}");
    bed.now("heal gate");
    until("it is closed", || breaker()["state"] == "closed");
    assert!(failures().len() <= failed.len() + 2, "it was found soon: {:?}", failures());
    let why = bed.csync(&["why", "last", "t[1]"]).out;
    assert!(!list().contains("next try") && !why.contains("there is no contact"), "{why}");
    held.release();
    held.done_once();
}

#[test]
fn an_engine_that_slept_longer_than_its_connection_lives_goes_on() {
    let bed = bed(&["slurm"]);
    configure_ssh(&bed, "  ServerAliveInterval 1\n  ServerAliveCountMax 2");
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    let engine = engine_pid(&bed);
    // The lid is closed: nothing of it runs, and the far side gives the connection up meanwhile.
    signal(engine, "STOP");
    let slept = Instant::now();
    restart_sshd(&bed, "login");
    held.release();
    until("the jobs are over", || {
        bed.on("login", "cat ~/.csync/jobs/*/*/status | grep -c state=ended").out.trim() == "2"
    });
    until("its keep-alives are overdue", || slept.elapsed() >= Duration::from_secs(5));
    signal(engine, "CONT");
    held.done_once();
    assert_eq!(engine_pid(&bed), engine, "it is the same one");
}
