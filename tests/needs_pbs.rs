//! Work on a PBS: the stand-in of the bed, which behaves as a real one was measured to. The journeys that break nothing of the
//! stand-in's own are made with a real one as well (`needs_openpbs`).

use crate::bed::Bed;
use crate::far::{HOSTS, Held, configure, engine_pid, nothing_left, why_says};
use crate::world::{Done, signal, until};

/// Whose PBS it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// The bed's own.
    StandIn,
    /// OpenPBS itself.
    Real,
}

impl Site {
    /// Brings up a bed with such a PBS, whose commands a probe has found.
    pub(crate) fn bed(self, history: bool) -> Bed {
        let bed = Bed::own(&[if self == Self::Real { "openpbs" } else { "pbs" }]);
        configure(&bed, &format!("{HOSTS}[hosts.center]\nssh = \"pbs\"\npolicy = {{ connections_per_minute = 60 }}\n"));
        match self {
            _ if history => {}
            Self::StandIn => {
                bed.on("pbs", "touch /run/bed/pbs/spool/history-off").exits(0);
            }
            Self::Real => bed.now("manage set server job_history_enable = False"),
        }
        let probed = bed.csync(&["hosts", "probe", "center"]).exits(0);
        assert!(probed.out.starts_with("center: pbs 23.06.06"), "{}", probed.out);
        bed
    }

    /// Takes the node away from under what runs, and gives it back.
    fn lose_node(self, bed: &Bed) {
        match self {
            Self::StandIn => {
                pbs(bed, "touch /run/bed/pbs/spool/node-lost").exits(0);
            }
            Self::Real => {
                bed.now("stop-part mom");
                until("no job runs", || pbs(bed, "qselect -s R").out.is_empty());
                bed.now("start-part mom");
            }
        }
    }
}

/// Runs a script on the host with PBS's commands.
pub(crate) fn pbs(bed: &Bed, text: &str) -> Done {
    bed.on("pbs", &format!("export PATH=/opt/pbs/bin:$PATH; cd; {text}"))
}

/// A workflow that goes to the center and comes back: an array, one member of which fails, and what depends on it.
const MIXED: &str = r#"
name = "mixed"
[tasks.t]
foreach = { range = [1, 5] }
inputs = ["in"]
outputs = ["out/{item}"]
run = "echo member {item}; echo $CSYNC_JOB >> ~/started; cat in > {outputs}; [ {item} != 3 ] || { echo broken >&2; exit 7; }"
on = "center"
[tasks.one]
inputs = ["out/1"]
outputs = ["one"]
run = "cat out/1 > one; hostname >> one"
on = "center"
[tasks.all]
inputs = ["out/*"]
outputs = ["all"]
run = "cat {inputs} > all"
on = "center"
"#;

/// Submits it, whatever PBS remembers: one member fails, the others come back, what needs it is not run.
pub(crate) fn mixed(site: Site, history: bool) {
    let bed = site.bed(history);
    bed.write("in", "brought\n");
    bed.write("workflow.toml", MIXED);
    let done = bed.csync(&["submit"]).exits(1);
    assert!(done.out.contains("t[3]  exit code 7"), "{}", done.out);
    let show = bed.csync(&["show", "last"]).exits(0).out;
    assert!(show.contains("5 done") && show.contains("1 failed") && show.contains("1 skipped"), "{show}");
    assert_eq!((bed.read("out/5").as_str(), bed.read("one").as_str()), ("brought\n", "brought\npbs\n"));
    assert_eq!(bed.csync(&["logs", "last", "t[3]", "--stderr"]).exits(0).err, "broken\n");
    assert_eq!(bed.csync(&["logs", "last", "t[2]"]).exits(0).out, "member 2\n");
    why_says(&bed, "all", &["it depends on `t[3]`, which failed"]);
    assert_eq!(pbs(&bed, "cat started").out.lines().count(), 5, "each ran once");
    // The members went out as one array.
    if site == Site::StandIn {
        let jobs = pbs(&bed, "ls /run/bed/pbs/spool/*.SC").out;
        assert!(jobs.contains("0[5].SC"), "{jobs}");
    } else if history {
        assert!(pbs(&bed, "qstat -x -f '0[5]'").exits(0).out.contains("array_index = 5"));
    }
    nothing_left(&bed, "pbs");
    // What is repaired runs alone.
    bed.write("workflow.toml", MIXED.replace("exit 7", "true"));
    bed.csync(&["submit"]);
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.read("all"), "brought\n".repeat(5));
}

#[test]
fn arrays_with_a_failing_member_go_to_pbs_and_come_back() {
    mixed(Site::StandIn, true);
}

#[test]
fn a_pbs_without_history_loses_no_end() {
    mixed(Site::StandIn, false);
}

#[test]
fn jobs_of_pbs_are_cancelled_by_csync_and_by_hand() {
    cancelled(Site::StandIn);
}

/// Cancels what runs and what waits, a part of it by hand.
pub(crate) fn cancelled(site: Site) {
    for history in [true, false] {
        let bed = site.bed(history);
        let held = Held::submit(&bed, "pbs", "\"center\"", 6, "");
        until("some run", || held.started().len() >= 4);
        // A part of the array, by hand: what ran is over, and nobody takes it for a success. Without a history PBS keeps nothing of
        // how a member ended, but for the log of a real one.
        pbs(&bed, "qdel '0[1]'; qdel '0[6]'").exits(0);
        let is_told = history || site == Site::Real;
        let ran = if is_told { "cancelled on the cluster, not by csync" } else { "it was told to end from outside" };
        why_says(&bed, "t[1]", &[ran]);
        why_says(&bed, "t[6]", &["cancelled on the cluster, not by csync"]);
        bed.csync(&["cancel", "last"]).exits(0);
        bed.csync(&["wait", "last"]).exits(130);
        let show = bed.csync(&["show", "last"]).exits(0).out;
        let counts: &[&str] = if is_told { &["6 cancelled"] } else { &["5 cancelled", "1 failed"] };
        assert!(counts.iter().all(|count| show.contains(count)), "{show}");
        nothing_left(&bed, "pbs");
    }
}

#[test]
fn what_pbs_refuses_or_never_starts_is_explained() {
    refused(Site::StandIn);
}

/// Asks for what nobody gets.
pub(crate) fn refused(site: Site) {
    let bed = site.bed(true);
    for (more, words) in [
        ("partition = \"closed\"", "Queue is not enabled"),
        ("partition = \"nowhere\"", "Unknown queue"),
        (
            "partition = \"small\"\nresources = { time = \"10h\" }",
            "asks for 10h of walltime, and the most is 30m in `small`",
        ),
        ("resources = { cpus = 400 }", "asks for 400 cores, and the most is"),
    ] {
        bed.write("workflow.toml", format!("name = \"w\"\n[tasks.t]\nrun = \"true\"\n{more}\non = \"center\"\n"));
        if words.starts_with("asks for") {
            let checked = bed.csync(&["check"]).exits(0);
            assert!(checked.err.contains(words), "{}", checked.err);
            let dry = bed.csync(&["submit", "--dry-run"]).exits(0);
            assert!(dry.err.contains(words), "{}", dry.err);
        }
        bed.csync(&["submit"]).exits(1);
        why_says(&bed, "t", &[words]);
        nothing_left(&bed, "pbs");
    }
    bed.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.t]\nrun = \"echo begun; sleep 600\"\nresources = { time = \"2s\" }\non = \"center\"\n",
    );
    bed.csync(&["submit"]).exits(1);
    why_says(&bed, "t", &["it ran longer than its walltime", "give it longer"]);
    assert_eq!(bed.csync(&["logs", "last", "t"]).exits(0).out, "begun\n");
}

#[test]
fn jobs_of_pbs_are_adopted_and_outlive_their_server() {
    adopted(Site::StandIn);
}

/// Kills the engine while the server is away, and while it hangs.
pub(crate) fn adopted(site: Site) {
    let bed = site.bed(true);
    let held = Held::submit(&bed, "pbs", "\"center\"", 3, "");
    held.run();
    signal(engine_pid(&bed), "KILL");
    // Nobody follows; the server goes away as well, and both come back.
    bed.now("stop-part pbs");
    bed.csync(&["status"]).exits(0);
    held.release();
    bed.write("more/more.toml", "name = \"more\"\n[tasks.m]\noutputs = [\"m\"]\nrun = \"echo $CSYNC_JOB >> ~/more; hostname > m\"\non = \"center\"\n");
    bed.csync(&["submit", "--detach", "more/more.toml"]).exits(0);
    why_says(&bed, "m", &["`center` cannot be used: its batch system", "cannot connect to server"]);
    bed.now("start-part pbs");
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!((bed.read("more/m").as_str(), pbs(&bed, "cat more").out.lines().count()), ("pbs\n", 1));
    bed.csync(&["wait", "1"]).exits(0);
    held.done_once();

    // Frozen in a submission: found by its name when it thaws, and not submitted again.
    bed.now("freeze pbs");
    let held = Held::submit(&bed, "pbs", "\"center\"", 2, "");
    until("it is on its way", || pbs(&bed, "pgrep -f '[q]sub'").code == 0);
    signal(engine_pid(&bed), "KILL");
    bed.csync(&["status"]).exits(0);
    bed.now("thaw pbs");
    held.run();
    held.release();
    held.done_once();
}

#[test]
fn a_node_that_pbs_loses_costs_no_task() {
    node_lost(Site::StandIn);
}

/// Loses the node.
pub(crate) fn node_lost(site: Site) {
    let bed = site.bed(true);
    // An array is started again by PBS itself, a job of its own is not: csync tries that anew.
    for count in [2, 1] {
        let held = Held::submit(&bed, "pbs", "\"center\"", count, "");
        held.run();
        site.lose_node(&bed);
        until("they run again", || held.started().len() == 2 * count as usize);
        held.release();
        let over = bed.csync(&["wait", "last"]);
        assert_eq!(over.code, 0, "{}", bed.csync(&["why", "last", "t[1]"]).out);
        for n in 1..=count {
            assert_eq!(bed.read(&format!("out/{n}")), format!("{n}\n"));
        }
        nothing_left(&bed, "pbs");
        bed.on("laptop", &format!("rm -r {}", bed.path("out").display())).exits(0);
    }
}

#[test]
fn what_pbs_keeps_in_order_goes_ahead() {
    ahead(Site::StandIn);
}

/// Hands what comes after to PBS.
pub(crate) fn ahead(site: Site) {
    let bed = site.bed(true);
    let trace = bed.scratch("pbs");
    bed.write(
        "workflow.toml",
        format!(
            r#"
name = "layers"
[defaults]
on = "center"
[tasks.a]
outputs = ["a"]
run = "while [ ! -e {trace}/go ]; do sleep 0.1; done; echo a >> {trace}/ran; echo 1 > {{outputs}}"
[tasks.b]
inputs = ["a"]
outputs = ["b"]
run = "echo b >> {trace}/ran; cat {{inputs}} > {{outputs}}"
[tasks.c]
foreach = [1, 2]
inputs = ["b"]
outputs = ["c/{{item}}"]
run = "echo c >> {trace}/ran; cat {{inputs}} > {{outputs}}"
[tasks.d]
inputs = ["c/*"]
outputs = ["d"]
run = "echo d >> {trace}/ran; cat {{inputs}} > {{outputs}}"
"#
        ),
    );
    bed.csync(&["submit", "--detach", "--ahead"]).exits(0);
    // An array goes behind a job; nothing goes behind an array.
    until("three layers are there", || pbs(&bed, "qstat -f | grep -c 'Job_Name = csync'").out.trim() == "3");
    until("all are known", || bed.csync(&["status"]).exits(0).out.contains("center: 5 jobs"));
    signal(engine_pid(&bed), "KILL");
    bed.on("pbs", &format!("touch {trace}/go")).exits(0);
    until("they ran without an engine", || bed.on("pbs", &format!("cat {trace}/ran")).out == "a\nb\nc\nc\n");
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.read("d"), "1\n1\n");
    assert_eq!(bed.on("pbs", &format!("cat {trace}/ran")).out, "a\nb\nc\nc\nd\n", "each ran once");
    nothing_left(&bed, "pbs");

    // What fails takes what comes after it away; what is deleted before it ran would keep it for ever.
    let broken = |first: &str| {
        format!(
            "name = \"broken\"\n[defaults]\non = \"center\"\n[tasks.x]\noutputs = [\"x\"]\n{first}\n[tasks.y]\ninputs = [\"x\"]\n\
             run = \"true\"\n[tasks.z]\nneeds = [\"y\"]\nrun = \"true\"\n"
        )
    };
    bed.write("workflow.toml", broken("run = \"sleep 2; exit 3\""));
    let done = bed.csync(&["submit", "--ahead"]).exits(1);
    assert!(done.out.contains("1 failed, 2 skipped"), "{}", done.out);
    bed.write("workflow.toml", broken("run = \"true\"\npbs = { h = true }"));
    bed.csync(&["submit", "--detach", "--ahead"]).exits(0);
    until("all are there", || pbs(&bed, "qstat -f | grep -c 'job_state = H'").out.trim() == "3");
    why_says(&bed, "x", &["it waits in the queue"]);
    pbs(&bed, "qdel $(qselect -s H | head -n 1)").exits(0);
    why_says(&bed, "x", &["cancelled on the cluster, not by csync"]);
    bed.csync(&["wait", "last"]);
    nothing_left(&bed, "pbs");
}
