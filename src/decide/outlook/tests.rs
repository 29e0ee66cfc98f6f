use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::decide::graph::estimate::Estimate;
use crate::decide::graph::net::{Link, Net};
use crate::decide::graph::queues::{Queues, Wait};
use crate::decide::learn::profile::{Profile, Question};
use crate::decide::learn::waits::Waited;
use crate::decide::outlook::board::{Board, SiteFacts, Want};
use crate::decide::outlook::draft::{Draft, Wanted, draft};
use crate::decide::outlook::files::{Files, Hosts};
use crate::decide::outlook::foresee::{Outlook, coarse};
use crate::decide::outlook::known::{Known, Seen, foreseen};
use crate::decide::outlook::survey::survey;
use crate::decide::place::problem::Room;
use crate::language::command::Token;
use crate::language::hosts::{merge, read, shipped};
use crate::model::choice::{Basis, Policy};
use crate::model::host::HostName;
use crate::model::id::{HostId, InstanceId, JobKey, PathId, RunId, TaskId};
use crate::model::observation::Observation;
use crate::model::plan::{Instance, Plan, Slice};
use crate::model::resources::{Amount, Request};
use crate::model::task::{Command, Settings, Task, Template};
use crate::model::units::{Bytes, Timestamp, Walltime};

const HERE: Token = Token(1);
const THERE: Token = Token(2);
/// This machine, in plans.
const ROOM: Room = Room { cores: 4, memory: 16 << 30, gpus: 1 };

fn profile(n: u64, memory: f32) -> Profile {
    let mut profile = Profile::default();
    for id in 0..n {
        let seen = Observation { id, at: id as u32, input: 1e9, memory, wall: 100.0, ..Observation::default() };
        profile.observe(7, seen);
    }
    profile
}

#[test]
fn what_is_asked_for_comes_in_few_steps() {
    for (value, grain, wanted) in [
        (1000.0, 1.0, 1024.0),
        (1025.0, 1.0, 1152.0),
        (61.0, 60.0, 120.0),
        (3.0, 1.0, 3.0),
        (100.0 * 1_048_576.0, 1_048_576.0, 104.0 * 1_048_576.0),
    ] {
        assert!((coarse(value, grain) - wanted).abs() < 1e-6, "{value} by {grain}: {}", coarse(value, grain));
    }
}

#[test]
fn what_was_seen_on_the_class_itself_comes_first() {
    let mut known = Known { similar: vec![profile(9, 5e9)], ..Known::default() };
    let question = Question::plain(1e9);
    let basis = |known: &Known| known.memory(HERE, question).map(|found| foreseen(&found).basis);
    assert_eq!(basis(&known), Some(Basis::Similar));
    known.seen.push(Seen { class: THERE, profile: profile(5, 2e9), scale: Vec::new() });
    assert_eq!(basis(&known), Some(Basis::OtherHosts));
    known.seen.push(Seen { class: HERE, profile: profile(4, 1e9), scale: Vec::new() });
    assert_eq!(basis(&known), Some(Basis::Learned));
    let found = known.memory(HERE, question).unwrap();
    assert!(found.request >= 1e9 && found.request < 1.9e9, "{found:?}");
    let after = known.memory_after(HERE, found.request).unwrap();
    assert!(after > found.request, "{after}");
    assert_eq!(Known::default().memory_after(HERE, 1e9), None);
}

#[test]
fn files_are_wherever_their_directory_is_seen() {
    let (local, lab, hpc) = (HostId(0), HostId(1), HostId(2));
    let alike = Hosts::one(local).and(&Hosts::one(lab));
    let mut files = Files::new(2, alike.clone());
    files.lies(PathId(0), 5, Hosts::one(local));
    assert_eq!((files.bytes(PathId(0)), files.at(PathId(0))), (5, &alike));
    files.comes(PathId(0), hpc);
    assert!(files.at(PathId(0)).has(hpc) && files.at(PathId(0)).has(lab));
    files.made(PathId(0), 7, Hosts::one(hpc));
    assert_eq!(files.at(PathId(0)).iter().collect::<Vec<_>>(), [hpc]);
    assert!(files.at(PathId(1)).is_empty() && files.at(PathId(2)).is_empty());
}

#[test]
fn any_number_of_hosts_can_have_a_file() {
    let set = |numbers: &[u16]| numbers.iter().fold(Hosts::default(), |set, &host| set.and(&Hosts::one(HostId(host))));
    let numbers = |hosts: &Hosts| hosts.iter().map(|host| host.0).collect::<Vec<u16>>();
    let some = set(&[700, 3, 64, 63, 700, 0, u16::MAX]);
    assert_eq!(numbers(&some), [0, 3, 63, 64, 700, u16::MAX]);
    assert_eq!(some, set(&[0, 3, 63, 64, 700, u16::MAX]), "in whatever order they came");
    for host in [0, 3, 63, 64, 700, u16::MAX] {
        assert!(some.has(HostId(host)) && !some.is_empty(), "{host}");
    }
    for host in [1, 62, 65, 699, 701, 700 % 64] {
        assert!(!some.has(HostId(host)), "{host}");
    }
    assert_eq!(some.clone().and(&some), some);
    assert_eq!(numbers(&set(&[65]).and(&set(&[1, 64]))), [1, 64, 65]);
    assert!(set(&[700]).meets(&some) && set(&[1, 63]).meets(&some) && !set(&[1, 128, 701]).meets(&some));
    let mut files = Files::new(1, set(&[2, 100]));
    files.lies(PathId(0), 5, set(&[200]));
    files.comes(PathId(0), HostId(201));
    assert_eq!(numbers(files.at(PathId(0))), [200, 201]);
    // One of those that see the run's directory: all of them do.
    files.comes(PathId(0), HostId(100));
    assert_eq!((numbers(files.at(PathId(0))), files.bytes(PathId(0))), (vec![2, 100, 200, 201], 5));
    files.made(PathId(0), 7, set(&[300]));
    assert_eq!(numbers(files.at(PathId(0))), [300]);
    files.has_image("x.sif", 9, set(&[90]));
    files.has_image("x.sif", 8, set(&[1]));
    assert_eq!(files.image("x.sif"), Some((9.0, set(&[1, 90]))));
}

/// A machine of eight cores.
fn site(name: &str) -> SiteFacts {
    SiteFacts {
        name: name.parse().unwrap(),
        is_batch: false,
        slots: 8,
        wait: Estimate::ZERO,
        queues: Queues::default(),
        rate: 1.0,
        parts: Vec::new(),
        opens: None,
        jobs: None,
    }
}

/// Four hosts of eight cores, 10 MB a second between any two of them.
fn board() -> Board {
    let mut board = Board::default();
    let hosts = [0, 1, 2, 3].map(HostId);
    for host in hosts {
        board.set(host, site(&format!("h{}", host.0)));
        for other in hosts.into_iter().filter(|other| *other != host) {
            board.set_way(host, other, Link { rate: Estimate::known(1e7), latency: 0.0 });
        }
    }
    board
}

/// A task of one core that reads a gigabyte, which one host has.
fn reads_from(host: u16) -> Want {
    let inputs = vec![(1e9, Hosts::one(HostId(host)))];
    Want { cpus: 1, gpus: 0, asked: 600.0, inputs, image: None, policy: Policy::Fastest }
}

#[test]
fn the_jobs_that_a_host_takes_are_not_its_cores() {
    for (cpus, most) in [(1, 4), (4, 4), (8, 2)] {
        let mut board = board();
        let (host, run, now) = (HostId(1), Estimate::known(60.0), Timestamp(0));
        let facts = SiteFacts { slots: 16, jobs: Some(4), ..site("h1") };
        board.set(host, facts);
        let want = Want { cpus, gpus: 0, asked: 600.0, inputs: Vec::new(), image: None, policy: Policy::Fastest };
        let mut bound = 0;
        loop {
            let sheet = board.weigh(&want, (host, None), run, now).unwrap();
            assert_eq!(board.has_room(&want, &sheet), bound < most, "{bound} of {cpus} cores");
            assert_eq!(board.is_open(host), bound < most, "{bound} of {cpus} cores");
            if bound == most {
                break;
            }
            board.bind(&want, (&sheet, true), JobKey { run: RunId(1), instance: InstanceId(bound), attempt: 1 }, now);
            bound += 1;
        }
    }
}

#[test]
fn a_link_brings_one_thing_at_a_time() {
    let (mut board, run, now) = (board(), Estimate::known(60.0), Timestamp(0));
    let key = |instance| JobKey { run: RunId(1), instance: InstanceId(instance), attempt: 1 };
    let blocked = |board: &mut Board, from: u16, to: u16| {
        let sheet = board.weigh(&reads_from(from), (HostId(to), None), run, now).unwrap();
        assert!((sheet.transfer.middle - 100.0).abs() < 1e-9, "{sheet:?}");
        assert!((sheet.total - sheet.blocked - 160.0).abs() < 1e-9, "{sheet:?}");
        sheet.blocked
    };
    assert_eq!((blocked(&mut board, 1, 2), blocked(&mut board, 1, 3)), (0.0, 0.0));
    let bind = |board: &mut Board, from: u16, to: u16, instance: u32| {
        let sheet = board.weigh(&reads_from(from), (HostId(to), None), run, now).unwrap();
        board.bind(&reads_from(from), (&sheet, true), key(instance), now);
    };
    bind(&mut board, 1, 2, 0);
    // What goes to the one, and what comes from the other, waits for that; what takes no link of theirs does not.
    assert_eq!(
        (blocked(&mut board, 1, 2), blocked(&mut board, 0, 2), blocked(&mut board, 1, 3)),
        (100.0, 100.0, 100.0)
    );
    assert_eq!((blocked(&mut board, 0, 3), blocked(&mut board, 3, 0)), (0.0, 0.0));
    bind(&mut board, 1, 3, 1);
    assert_eq!(
        (blocked(&mut board, 1, 2), blocked(&mut board, 0, 2), blocked(&mut board, 0, 3)),
        (200.0, 100.0, 200.0)
    );
    // From this machine to several hosts goes over as many links.
    let mut board = self::board();
    bind(&mut board, 0, 1, 0);
    assert_eq!((blocked(&mut board, 0, 1), blocked(&mut board, 0, 2)), (100.0, 0.0));
}

#[test]
fn what_is_no_speed_is_no_measurement() {
    let (run, now) = (Estimate::known(60.0), Timestamp(0));
    let brought = |board: &mut Board, to: u16| {
        let sheet = board.weigh(&reads_from(1), (HostId(to), None), run, now).unwrap();
        (sheet.transfer.middle, sheet.total)
    };
    for rate in [0.0, -0.0, -1e6, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        let mut board = board();
        let before = brought(&mut board, 2);
        board.measured(HostId(1), HostId(2), rate);
        assert_eq!(brought(&mut board, 2), before, "{rate}");
    }
    let mut board = board();
    board.measured(HostId(2), HostId(1), 1e8);
    assert_eq!((brought(&mut board, 2).0, brought(&mut board, 3).0), (10.0, 100.0), "both ways, between these two");
    // As slow as can be is a long time, and no nonsense: another host is the better one.
    board.measured(HostId(1), HostId(2), f64::MIN_POSITIVE);
    let sheets = [2, 3].map(|to| board.weigh(&reads_from(1), (HostId(to), None), run, now).unwrap());
    assert!(sheets[1].is_better_than(&sheets[0]) && !sheets[0].is_better_than(&sheets[1]), "{sheets:?}");
}

#[test]
fn hosts_are_surveyed_with_their_rates_and_what_their_queues_say() {
    let text =
        "[hosts.hpc]\nbatch = \"slurm\"\nrate = 0.5\n[hosts.lab]\nbatch = \"none\"\n[hosts.old]\nbatch = \"slurm\"\n";
    let (file, mistakes) = read(text, &[]);
    assert_eq!(mistakes, []);
    let hosts = merge(&file, &shipped(), &BTreeMap::new());
    let names = ["hpc", "lab", "old"].map(|name| name.parse().unwrap());
    let wait = |n: i32| {
        let waited = Waited { submitted: f64::from(n), seconds: 40.0, cores: 1, asked: 600.0 };
        Wait { host: "old".parse().unwrap(), queue: None, waited, ours: true }
    };
    let seen: Vec<Wait> = (0..9).map(wait).collect();
    let mut found = survey(&names, &hosts, &BTreeMap::new(), &Net::default(), &seen, (4, Timestamp(0)));
    assert_eq!(found.sites.iter().map(|site| site.rate).collect::<Vec<_>>(), [0.0, 0.5, 0.0, 0.0]);
    for name in ["hpc", "lab", "old"] {
        found.told(&name.parse().unwrap(), 3.0);
    }
    let waits: Vec<f64> = found.sites.iter().map(|site| site.wait.middle).collect();
    assert_eq!(waits, [0.0, 3.0, 0.0, 40.0], "a queue's own word counts where nothing better is known");
    let (file, _) = read("[hosts.lab]\nbatch = \"none\"\n", &[]);
    let hosts = merge(&file, &shipped(), &BTreeMap::new());
    let found = survey(&names[1..2], &hosts, &BTreeMap::new(), &Net::default(), &[], (4, Timestamp(0)));
    assert!(found.sites.iter().all(|site| (site.rate - 1.0).abs() < 1e-9), "core-hours");
}

const PARTS: &str = r#"
[hosts.hpc]
batch = "slurm"
[hosts.hpc.partitions.long]
cores = 16
nodes = 4
[hosts.hpc.partitions.short]
cores = 16
nodes = 1
walltime = "1h"
"#;

/// Returns three instances of a task that asks for that.
fn plan_of(request: Request) -> Plan {
    let settings = Settings { resources: vec![request], ..Settings::default() };
    let task = Task {
        name: "a".to_owned(),
        command: Arc::new(Command::Shell(Template::default())),
        settings: Arc::new(settings),
        needs: Vec::new(),
        columns: Vec::new(),
        definition: [0; 16],
    };
    let instance = Instance { task: TaskId(0), row: 0, inputs: Slice::default(), outputs: Slice::default() };
    let mut plan = Plan { tasks: vec![task], instances: vec![instance; 3], ..Plan::default() };
    plan.task_instances = vec![Slice { start: 0, len: 3 }];
    plan
}

/// Plans three instances of ten minutes on a cluster whose partitions made jobs wait so long.
fn drafted(waits: [f64; 2], queues: &[&str]) -> Draft {
    let (file, mistakes) = read(PARTS, &[]);
    assert_eq!(mistakes, []);
    let hosts = merge(&file, &shipped(), &BTreeMap::new());
    let names: [HostName; 1] = ["hpc".parse().unwrap()];
    let wait = |(queue, seconds): (&str, f64)| {
        let (host, queue) = (names[0].clone(), Some(queue.to_owned()));
        let waited = move |n: i32| Waited { submitted: f64::from(n), seconds, cores: 1, asked: 600.0 };
        (0..20).map(move |n| Wait { host: host.clone(), queue: queue.clone(), waited: waited(n), ours: true })
    };
    let seen: Vec<Wait> = ["long", "short"].into_iter().zip(waits).flat_map(wait).collect();
    let now = Timestamp(60_000_000);
    let survey = survey(&names, &hosts, &BTreeMap::new(), &Net::default(), &seen, (4, now));
    let plan = plan_of(Request { time: Amount::Exact(Walltime(2000)), ..Request::default() });
    let mut outlook = Outlook::new(vec![None], HashMap::new(), Files::new(0, Hosts::one(HostId::LOCAL)));
    let fits = |_: &mut Outlook, _: InstanceId, _: HostId| queues.iter().map(|&name| name.to_owned()).collect();
    let wanted = Wanted {
        plan: &plan,
        runs: &|_| true,
        routes: &|_| &names,
        queues: &fits,
        here: ROOM,
        policies: &|_| Policy::Fastest,
        now,
    };
    draft(wanted, &survey, &mut outlook).unwrap()
}

#[test]
fn a_plan_reckons_with_the_partition_that_its_tasks_will_go_to() {
    for (waits, queues, partition, end) in [
        ([7200.0, 5.0], &["long", "short"][..], Some("short"), 605.0),
        ([7200.0, 5.0], &["long"], Some("long"), 7800.0),
        ([5.0, 7200.0], &["long", "short"], Some("long"), 605.0),
        ([40.0, 20.0], &["long", "short"], Some("long"), 640.0),
        // Where nobody knows which there are, all that waited on the host counts.
        ([5.0, 5.0], &[], None, 605.0),
    ] {
        let made = drafted(waits, queues);
        let [line] = made.lines.as_slice() else { panic!("{made:?}") };
        let terms = line.terms.as_ref().unwrap();
        assert_eq!((line.instances, terms.partition.as_deref()), (3, partition), "{waits:?} {queues:?}");
        assert!((made.end - end).abs() < 1.0 && (terms.wait.middle + 600.0 - end).abs() < 1.0, "{end}: {made:?}");
    }
}

/// Plans three instances of ten minutes here that ask for so much, and returns when all are over, in minutes.
fn drafted_here(request: &Request) -> f64 {
    let request = Request { time: Amount::Exact(Walltime(2000)), ..request.clone() };
    let now = Timestamp(60_000_000);
    let survey = survey(
        &[],
        &merge(&read("", &[]).0, &shipped(), &BTreeMap::new()),
        &BTreeMap::new(),
        &Net::default(),
        &[],
        (4, now),
    );
    let plan = plan_of(request);
    let mut outlook = Outlook::new(vec![None], HashMap::new(), Files::new(0, Hosts::one(HostId::LOCAL)));
    let fits = |_: &mut Outlook, _: InstanceId, _: HostId| Vec::new();
    let policies = |_| Policy::Fastest;
    let wanted =
        Wanted { plan: &plan, runs: &|_| true, routes: &|_| &[], queues: &fits, here: ROOM, policies: &policies, now };
    draft(wanted, &survey, &mut outlook).unwrap().end / 600.0
}

#[test]
fn a_plan_reckons_with_the_memory_and_gpus_of_this_machine() {
    let mem = |gib| Request { mem: Amount::Exact(Bytes::gib(gib)), ..Request::default() };
    for (request, ends) in [
        (Request::default(), 1.0),
        (mem(5), 1.0),
        (mem(6), 2.0),
        (mem(9), 3.0),
        // What this machine has not is planned alone, and told elsewhere.
        (mem(90), 3.0),
        (Request { gpus: 1, ..Request::default() }, 3.0),
        (Request { gpus: 9, ..Request::default() }, 3.0),
    ] {
        let end = drafted_here(&request);
        assert!((end - ends).abs() < 0.01, "{end}: {request:?}");
    }
}
