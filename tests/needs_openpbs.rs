//! Work on a real OpenPBS: the stand-in's journeys, and what the stand-in does not know.

use std::os::unix::fs::PermissionsExt as _;

use crate::bed::Bed;
use crate::far::{HOSTS, configure, nothing_left, why_says};
use crate::needs_pbs::{Site, adopted, ahead, cancelled, mixed, node_lost, pbs, refused};
use crate::world::until;

#[test]
fn arrays_with_a_failing_member_go_to_openpbs_and_come_back() {
    mixed(Site::Real, true);
}

#[test]
fn an_openpbs_without_history_loses_no_end() {
    mixed(Site::Real, false);
}

#[test]
fn jobs_of_openpbs_are_cancelled_by_csync_and_by_hand() {
    cancelled(Site::Real);
}

#[test]
fn what_openpbs_refuses_or_never_starts_is_explained() {
    refused(Site::Real);
}

#[test]
fn jobs_of_openpbs_are_adopted_and_outlive_their_server() {
    adopted(Site::Real);
}

#[test]
fn a_node_that_openpbs_loses_costs_no_task() {
    node_lost(Site::Real);
}

#[test]
fn what_openpbs_keeps_in_order_goes_ahead() {
    ahead(Site::Real);
}

#[test]
fn what_openpbs_has_no_room_for_waits_and_odd_names_and_its_own_scripts_run() {
    let bed = Site::Real.bed(true);
    bed.write(
        "workflow.toml",
        r#"
name = "odd"
[defaults]
on = "center"
[tasks.odd]
foreach = ["a b", "it's", "say \"so\"", "$HOME;`id`", "ü*?"]
run = "printf '%s' {item} > {outputs}"
outputs = ["odd/{item}"]
"#,
    );
    bed.csync(&["submit"]).exits(0);
    for item in ["a b", "it's", "say \"so\"", "$HOME;`id`", "ü*?"] {
        assert_eq!(bed.read(&format!("odd/{item}")), item);
    }
    nothing_left(&bed, "pbs");
    // A script of PBS's own, by its directives.
    bed.write("job.pbs", "#!/bin/bash\n#PBS -N mine\n#PBS -l select=1:ncpus=2:mem=64mb\n#PBS -l walltime=00:05:00\necho $NCPUS on $PBS_O_HOST\n");
    bed.csync(&["submit", "--yes", "--on", "center", "job.pbs"]).exits(0);
    assert_eq!(bed.csync(&["logs", "last", "mine"]).exits(0).out, "2 on pbs\n");
    // For this user, for everybody, in the queue, in all of them: PBS says each in other words.
    let one = "name = \"one\"\n[tasks.t]\noutputs = [\"made\"]\nrun = \"echo made > made\"\non = \"center\"\n";
    for limit in ["queue workq max_queued = \"[u:alice=1]\"", "server max_queued = \"[o:PBS_ALL=1]\""] {
        // What is over counts until PBS has taken it down.
        until("no job is left", || pbs(&bed, "test -z \"$(qstat)\"").code == 0);
        bed.now(&format!("manage set {limit}"));
        let held = pbs(&bed, "echo true | qsub -f -h").exits(0).out;
        bed.write("full/workflow.toml", one);
        bed.csync(&["submit", "--detach", "full/workflow.toml"]).exits(0);
        why_says(&bed, "t", &["`center` takes no more jobs now", "Maximum number of jobs"]);
        pbs(&bed, &format!("qdel {held}")).exits(0);
        bed.csync(&["wait", "last"]).exits(0);
        assert_eq!(bed.read("full/made"), "made\n");
        bed.on("laptop", &format!("rm -r {}", bed.path("full").display())).exits(0);
        bed.now(&format!("manage unset {}", limit.split(" =").next().unwrap()));
    }
}

#[test]
fn openpbs_says_when_who_comes_now_would_begin() {
    let bed = Site::Real.bed(true);
    configure(
        &bed,
        &format!("{HOSTS}[hosts.center]\nssh = \"pbs\"\nbatch = \"pbs\"\npolicy = {{ connections_per_minute = 60 }}\n"),
    );
    bed.csync(&["hosts", "probe", "center", "lab"]).exits(0);
    pbs(&bed, "for n in 4 2; do echo sleep 600 | qsub -f -l select=1:ncpus=$n,walltime=3:00:00; done").exits(0);
    until("the second is expected", || pbs(&bed, "qstat -f | grep estimated.start_time").code == 0);
    bed.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.t]\nrun = \"hostname > at\"\noutputs = [\"at\"]\nresources = { cpus = 2 }\non = [\"center\", \"lab\"]\n",
    );
    bed.csync(&["submit", "--policy", "fastest"]).exits(0);
    let chosen = bed.csync(&["why", "--placement", "t"]).exits(0).out;
    assert!(
        chosen.contains("on lab, by the policy") && chosen.contains("center/workq: queue from 1 measurement"),
        "{chosen}"
    );
    assert_eq!(bed.read("at"), "station\n", "{chosen}");
}

#[test]
fn openpbs_measures_and_limits_what_runs_in_a_session_of_its_own() {
    let bed = Site::Real.bed(true);
    bed.write(
        "grow.py",
        "x = bytearray(300 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time; time.sleep(600)\n",
    );
    bed.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.large]\ninputs = [\"grow.py\"]\nrun = \"python3 grow.py\"\non = \"center\"\n\
         resources = { mem = \"100MB\", time = \"10m\" }\n",
    );
    bed.csync(&["submit"]).exits(1);
    why_says(&bed, "large", &["out of memory"]);
    let used = pbs(&bed, "qstat -x -f | sed -n 's/.*resources_used.mem = //p'").exits(0).out;
    let used: u32 = used.trim().trim_end_matches("kb").parse().unwrap_or_else(|error| panic!("{error}: {used}"));
    assert!(used > 250 << 10, "{used} kB");
    nothing_left(&bed, "pbs");
}

/// Brings up an OpenPBS with three nodes, on which alice is a manager.
fn three_nodes() -> Bed {
    let bed = Bed::own(&["openpbs", "moms"]);
    configure(&bed, &format!("{HOSTS}[hosts.center]\nssh = \"pbs\"\npolicy = {{ connections_per_minute = 60 }}\n"));
    bed.now("manage set server managers = alice@*");
    bed.csync(&["hosts", "probe", "center"]).exits(0);
    bed
}

/// Writes tasks that say where they begin, wait to be let go, and say where they end.
fn told_where(bed: &Bed, count: u32) -> String {
    let trace = bed.scratch("pbs");
    bed.write(
        "where.toml",
        format!(
            r#"
name = "where"
[tasks.t]
foreach = {{ range = [1, {count}] }}
resources = {{ cpus = 1, time = "20m" }}
outputs = ["out/{{item}}"]
run = "echo {{item}} $(hostname) >> {trace}/begun; while [ ! -e {trace}/go ]; do sleep 0.1; done; hostname > {{outputs}}"
on = "center"
"#
        ),
    );
    trace
}

/// Returns the nodes on which a task began, in that order.
fn begun(bed: &Bed, trace: &str, item: u32) -> Vec<String> {
    let text = bed.on("pbs", &format!("cat {trace}/begun 2>/dev/null")).out;
    text.lines().filter_map(|line| line.strip_prefix(&format!("{item} "))).map(str::to_owned).collect()
}

#[test]
fn jobs_of_openpbs_spread_over_its_nodes() {
    let bed = three_nodes();
    let trace = told_where(&bed, 6);
    bed.write(
        "workflow.toml",
        r#"
name = "spread"
[defaults]
on = "center"
resources = { time = "5m" }
[tasks.wide]
resources = { nodes = 2, processes = 2, cpus = 2, time = "5m" }
outputs = ["wide"]
run = "sort -u $PBS_NODEFILE | wc -l > wide; pbsdsh -- /bin/sh -c ': > TRACE/at-$(hostname)'; ls -d TRACE/at-* | wc -l >> wide"
[tasks.uneven]
pbs = { l = "select=1:ncpus=3+2:ncpus=1:mem=100mb" }
outputs = ["uneven"]
run = "wc -l < $PBS_NODEFILE > uneven"
[tasks.never]
resources = { nodes = 4, processes = 4, time = "5m" }
run = "true"
"#
        .replace("TRACE", &trace),
    );
    let done = bed.csync(&["submit"]).exits(1);
    assert!(done.out.contains("never  rejected: asks for 4 nodes, and the most is 3 in `workq`"), "{}", done.out);
    assert_eq!((bed.read("wide").as_str(), bed.read("uneven").trim()), ("2\n2\n", "3"));
    // An array over all of them; one node is taken out of service for new jobs.
    bed.csync(&["submit", "--detach", "where.toml"]).exits(0);
    let nodes = || (1..=6).flat_map(|item| begun(&bed, &trace, item)).collect::<std::collections::BTreeSet<_>>();
    until("all of them run", || (1..=6).all(|item| !begun(&bed, &trace, item).is_empty()));
    assert!(nodes().len() > 1, "{:?}", nodes());
    pbs(&bed, "pbsnodes -o px1").exits(0);
    bed.csync(&["hosts", "probe", "center"]).exits(0);
    let listed = bed.csync(&["hosts", "list"]).exits(0).out;
    assert!(listed.contains("center: out of service 1 of 3 nodes in workq"), "{listed}");
    bed.on("pbs", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    for item in 1..=6 {
        assert_eq!(
            vec![bed.read(&format!("out/{item}")).trim().to_owned()],
            begun(&bed, &trace, item),
            "once, where it was"
        );
    }
    nothing_left(&bed, "pbs");
}

#[test]
fn what_runs_on_a_node_that_openpbs_has_lost_ends_when_it_runs_elsewhere() {
    let bed = three_nodes();
    bed.now("manage set node pbs state = offline");
    // PBS starts an array again by itself; a job of its own is tried anew by csync.
    for count in [2, 1] {
        let trace = told_where(&bed, count);
        bed.csync(&["submit", "--rerun", "--detach", "where.toml"]).exits(0);
        until("they run", || (1..=count).all(|item| begun(&bed, &trace, item).len() == 1));
        let lost = begun(&bed, &trace, 1).remove(0);
        let hit: Vec<u32> = (1..=count).filter(|item| begun(&bed, &trace, *item)[0] == lost).collect();
        // Its daemon is gone, its jobs run on.
        bed.now(&format!("stop-part mom-{lost}"));
        until("they run elsewhere", || hit.iter().all(|item| begun(&bed, &trace, *item).len() == 2));
        until("nothing runs where they were", || bed.on(&lost, "pgrep -f CSYNC_SCRIPT").out.is_empty());
        bed.on("pbs", &format!("touch {trace}/go")).exits(0);
        bed.csync(&["wait", "last"]).exits(0);
        for item in &hit {
            let nodes = begun(&bed, &trace, *item);
            assert_ne!(nodes[1], lost, "{nodes:?}");
            assert_eq!(bed.read(&format!("out/{item}")).trim(), nodes[1], "{nodes:?}");
        }
        nothing_left(&bed, "pbs");
        bed.now(&format!("start-part mom-{lost}"));
        until("its node is back", || pbs(&bed, &format!("pbsnodes {lost}")).out.contains("state = free"));
    }
}

#[test]
fn what_a_routing_queue_of_openpbs_hands_on_runs_and_what_no_queue_takes_is_refused() {
    let bed = Site::Real.bed(true);
    for line in [
        "create queue tiny queue_type=execution,from_route_only=true,enabled=true,started=true",
        "set queue tiny resources_max.ncpus = 1",
        "set queue tiny resources_max.walltime = 00:05:00",
        "create queue large queue_type=execution,from_route_only=true,enabled=true,started=true",
        "set queue large resources_min.ncpus = 2",
        "set queue large resources_max.walltime = 01:00:00",
        "create queue route queue_type=route",
        "set queue route route_destinations = tiny",
        "set queue route route_destinations += large",
        "set queue route enabled = True",
        "set queue route started = True",
        "set server default_queue = route",
        "delete queue workq",
        "delete queue small",
        "delete queue closed",
    ] {
        bed.now(&format!("manage {line}"));
    }
    bed.csync(&["hosts", "probe", "center"]).exits(0);
    bed.write(
        "workflow.toml",
        r#"
name = "routed"
[defaults]
on = "center"
[tasks.short]
foreach = [1, 2]
resources = { cpus = 1, time = "4m" }
outputs = ["short{item}"]
run = "echo $PBS_QUEUE > {outputs}"
[tasks.large]
resources = { cpus = 2, time = "30m" }
outputs = ["large"]
run = "echo $PBS_QUEUE > {outputs}"
[tasks.long]
resources = { cpus = 2, time = "2h" }
run = "true"
[tasks.between]
resources = { cpus = 1, time = "30m" }
run = "true"
[tasks.past]
partition = "tiny"
resources = { cpus = 1, time = "4m" }
run = "true"
"#,
    );
    bed.csync(&["submit"]).exits(1);
    assert_eq!(["short1", "short2", "large"].map(|name| bed.read(name)), ["tiny\n", "tiny\n", "large\n"]);
    why_says(&bed, "long", &["asks for 2h of walltime, and the most is 1h in `route`"]);
    // PBS takes it, and forgets it when it has found no queue for it.
    why_says(&bed, "between", &["no queue behind its routing queue takes a job of that size and length"]);
    why_says(&bed, "past", &["Access to queue is denied"]);
    nothing_left(&bed, "pbs");
}

#[test]
fn what_people_do_to_jobs_of_openpbs_by_hand_is_told() {
    let bed = three_nodes();
    let trace = told_where(&bed, 1);
    let submit = || {
        bed.csync(&["submit", "--rerun", "--detach", "where.toml"]).exits(0);
        until("it is there", || !pbs(&bed, "qselect").out.is_empty());
        pbs(&bed, "qselect").out.trim().to_owned()
    };
    // It waits in a queue that is stopped; then somebody holds it.
    bed.now("manage set queue workq started = False");
    let job = submit();
    pbs(&bed, &format!("qhold {job}")).exits(0);
    why_says(&bed, "t", &["it waits in the queue of `center`", "held by alice"]);
    bed.now("manage set queue workq started = True");
    pbs(&bed, &format!("qrls {job}")).exits(0);
    until("it runs", || begun(&bed, &trace, 1).len() == 1);
    // Its queue takes no more jobs, it is held while it runs, and sent back by force although it is not to be run again.
    bed.now("manage set queue workq enabled = False");
    pbs(&bed, &format!("qhold {job}; qrls {job}")).exits(0);
    pbs(&bed, &format!("qrerun -W force {job}")).exits(0);
    until("it runs again", || begun(&bed, &trace, 1).len() == 2);
    bed.on("pbs", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.read("out/1").trim(), begun(&bed, &trace, 1)[1]);
    nothing_left(&bed, "pbs");
    bed.now("manage set queue workq enabled = True");
    bed.on("pbs", &format!("rm {trace}/go")).exits(0);
    // Deleted by force while it runs.
    let job = submit();
    until("it runs", || begun(&bed, &trace, 1).len() == 3);
    pbs(&bed, &format!("qdel -W force {job}")).exits(0);
    why_says(&bed, "t", &["cancelled on the cluster, not by csync"]);
    nothing_left(&bed, "pbs");
}

/// Lets everybody read the log of the server, or root alone.
fn log_is_for(bed: &Bed, mode: u32) {
    let logs = bed.dir().join("pbs/openpbs/home/server_logs");
    std::fs::set_permissions(logs, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Submits a task that waits to be let go, and deletes its job with all that is known of it once it `is_as_wanted`.
fn deleted_with_its_history(bed: &Bed, is_as_wanted: impl Fn() -> bool) {
    bed.csync(&["submit", "--rerun", "--detach", "where.toml"]).exits(0);
    until("it is there", || !pbs(bed, "qselect").out.is_empty() && is_as_wanted());
    pbs(bed, "qdel -x -W force $(qselect)").exits(0);
}

#[test]
fn what_is_deleted_with_its_history_while_it_waits_is_told_by_the_log_and_else_lost() {
    let bed = Site::Real.bed(true);
    let trace = told_where(&bed, 1);
    bed.now("manage set queue workq started = False");
    deleted_with_its_history(&bed, || true);
    why_says(&bed, "t", &["cancelled on the cluster, not by csync", "deleted at request of alice@pbs"]);
    nothing_left(&bed, "pbs");
    // Not the host of the server, as it were.
    log_is_for(&bed, 0o700);
    deleted_with_its_history(&bed, || true);
    let words = [
        "nobody knows what became of it on `center`: PBS knows nothing of it any more, neither in its queue nor in its history",
        "nothing in its job directory says that it began",
        "`csync retry --lost` runs it again",
    ];
    let said = why_says(&bed, "t", &words);
    assert!(!said.contains("nothing is heard"), "{said}");
    // A person knows: it runs again, once.
    bed.now("manage set queue workq started = True");
    bed.csync(&["retry", "--lost", "--detach"]).exits(0);
    bed.on("pbs", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!((bed.read("out/1").as_str(), begun(&bed, &trace, 1).len()), ("pbs\n", 1));
    nothing_left(&bed, "pbs");
}

#[test]
fn what_is_deleted_by_force_while_it_runs_is_told_by_the_log_where_no_history_is() {
    let bed = Site::Real.bed(false);
    let trace = told_where(&bed, 1);
    deleted_with_its_history(&bed, || begun(&bed, &trace, 1).len() == 1);
    why_says(&bed, "t", &["cancelled on the cluster, not by csync", "deleted at request of alice@pbs"]);
    nothing_left(&bed, "pbs");
    // Its guardian alone says anything.
    log_is_for(&bed, 0o700);
    deleted_with_its_history(&bed, || begun(&bed, &trace, 1).len() == 2);
    why_says(&bed, "t", &["it was killed together with its wrapper", "no signal told it to end before, on `pbs`"]);
    nothing_left(&bed, "pbs");
}

#[test]
fn what_hooks_of_openpbs_refuse_is_told_in_their_words_and_moved_jobs_are_followed() {
    let bed = Site::Real.bed(true);
    let hook = |event: &str, text: &str| {
        std::fs::write(bed.dir().join("pbs/hook.py"), format!("import pbs\ne = pbs.event()\n{text}\n")).unwrap();
        bed.now(&format!("manage create hook ours event={event}"));
        bed.now("manage import hook ours application/x-python default /run/bed/pbs/hook.py");
    };
    let trace = told_where(&bed, 1);
    hook("queuejob", "e.reject(\"not before noon: write to help@center\")");
    bed.csync(&["submit", "where.toml"]).exits(1);
    why_says(&bed, "t", &["not before noon: write to help@center"]);
    nothing_left(&bed, "pbs");
    // One that lets nothing start now: it waits, and is in another queue when it may.
    bed.now("manage delete hook ours");
    hook("runjob", "e.reject(\"no licence is free\")");
    bed.csync(&["submit", "--detach", "where.toml"]).exits(0);
    why_says(&bed, "t", &["it waits in the queue of `center`", "no licence is free"]);
    pbs(&bed, "qmove small $(qselect)").exits(0);
    bed.now("manage delete hook ours");
    until("it runs", || begun(&bed, &trace, 1).len() == 1);
    assert!(pbs(&bed, "qstat -f").out.contains("queue = small"));
    bed.on("pbs", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!((bed.read("out/1").as_str(), begun(&bed, &trace, 1).len()), ("pbs\n", 1));
    nothing_left(&bed, "pbs");
}
