use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::decide::graph::net::Net;
use crate::decide::graph::queues::Wait;
use crate::decide::learn::profile::{Profile, Question};
use crate::decide::learn::waits::Waited;
use crate::decide::outlook::draft::{Draft, Wanted, draft};
use crate::decide::outlook::files::{Files, Hosts};
use crate::decide::outlook::foresee::{Outlook, coarse};
use crate::decide::outlook::known::{Known, Seen, foreseen};
use crate::decide::outlook::survey::survey;
use crate::language::command::Token;
use crate::language::hosts::{merge, read, shipped};
use crate::model::choice::{Basis, Policy};
use crate::model::host::HostName;
use crate::model::id::{HostId, InstanceId, PathId, TaskId};
use crate::model::observation::Observation;
use crate::model::plan::{Instance, Plan, Slice};
use crate::model::resources::{Amount, Request};
use crate::model::task::{Command, Settings, Task, Template};
use crate::model::units::{Timestamp, Walltime};

const HERE: Token = Token(1);
const THERE: Token = Token(2);

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
    let alike = Hosts::one(local).and(Hosts::one(lab));
    let mut files = Files::new(2, alike);
    files.lies(PathId(0), 5, Hosts::one(local));
    assert_eq!((files.bytes(PathId(0)), files.at(PathId(0))), (5, alike));
    files.comes(PathId(0), hpc);
    assert!(files.at(PathId(0)).has(hpc) && files.at(PathId(0)).has(lab));
    files.made(PathId(0), 7, Hosts::one(hpc));
    assert_eq!(files.at(PathId(0)).iter().collect::<Vec<_>>(), [hpc]);
    assert!(files.at(PathId(1)).is_empty() && Hosts::one(HostId(64)).is_empty());
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
        Wait { host: "old".parse().unwrap(), queue: None, waited }
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

/// Plans three instances of ten minutes on a cluster whose partitions made jobs wait so long.
fn drafted(waits: [f64; 2], queues: &[&str]) -> Draft {
    let (file, mistakes) = read(PARTS, &[]);
    assert_eq!(mistakes, []);
    let hosts = merge(&file, &shipped(), &BTreeMap::new());
    let names: [HostName; 1] = ["hpc".parse().unwrap()];
    let wait = |(queue, seconds): (&str, f64)| {
        let (host, queue) = (names[0].clone(), Some(queue.to_owned()));
        let waited = move |n: i32| Waited { submitted: f64::from(n), seconds, cores: 1, asked: 600.0 };
        (0..20).map(move |n| Wait { host: host.clone(), queue: queue.clone(), waited: waited(n) })
    };
    let seen: Vec<Wait> = ["long", "short"].into_iter().zip(waits).flat_map(wait).collect();
    let now = Timestamp(60_000_000);
    let survey = survey(&names, &hosts, &BTreeMap::new(), &Net::default(), &seen, (4, now));
    let time = Amount::Exact(Walltime(2000));
    let settings = Settings { resources: vec![Request { time, ..Request::default() }], ..Settings::default() };
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
    let mut outlook = Outlook::new(vec![None], HashMap::new(), Files::new(0, Hosts::one(HostId::LOCAL)));
    let fits = |_: &mut Outlook, _: InstanceId, _: HostId| queues.iter().map(|&name| name.to_owned()).collect();
    let wanted =
        Wanted { plan: &plan, runs: &|_| true, routes: &|_| &names, queues: &fits, policy: Policy::Fastest, now };
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
