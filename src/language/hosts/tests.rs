use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::batch::{BatchFacts, Dialect, Flavour, Partition};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::facts::{BatchSystem, ContainerProgram, Facts, Filesystem, ScratchCandidate};
use crate::model::host::{Batch, ContainerRuntime, HostName, Internet, Origin};
use crate::model::units::{Bytes, Price, Walltime};

/// The example of the format's description.
const EXAMPLE: &str = r#"
[hosts.local]                     # always there
tags = ["laptop"]

[hosts.hpc]
ssh      = "hpc-login"            # alias in ssh_config; jumps come from there
batch    = "slurm"                # slurm | pbs | sge | none (detached processes); probed
site     = "lab"                  # shipped or own site file with defaults and limits
scratch  = "/scratch/$USER/csync" # where job directories live
tags     = ["gpu", "bigmem"]
account  = "lab42"
max_jobs = 500
rate     = 0.02
containers = ["apptainer"]        # probed
internet = { login = true, compute = false }
filesystems = ["/home", "/scratch"]

[hosts.hpc.policy]
login_node = "light"              # light: nothing heavy runs there | free
poll_min   = "15s"
agents     = "ask"                # what coding agents may start here: ask | allow | deny
connections_per_minute = 6

[hosts.hpc.partitions.gpu]        # probed: limits, defaults, nodes, cores, memory, gpus
walltime = "2-00:00:00"

[hosts.nas]
ssh = "nas"
transfer_only = true

[links]                           # measured; only what cannot be derived from ssh is written
"hpc-nas" = { direct = true }     # hpc can reach nas itself (key or agent opted in on purpose)
"#;

fn sites() -> Vec<SiteFile> {
    let own = "description = \"The lab's cluster\"\nmax_jobs = 200\ntags = [\"lab\"]\n[policy]\npoll_min = \"2m\"\nagents = \"deny\"\n";
    let (own, mistakes) = read_site("lab", own);
    assert_eq!(mistakes, []);
    shipped().into_iter().chain([own]).collect()
}

fn read_all(text: &str) -> (HostsFile, Vec<Diagnostic>) {
    let sites = sites();
    read(text, &sites.iter().map(|site| site.name.as_str()).collect::<Vec<_>>())
}

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

fn offers(flavour: Flavour) -> BatchFacts {
    BatchFacts {
        dialect: Dialect::of(flavour),
        version: None,
        partitions: Vec::new(),
        accounts: Vec::new(),
        qos: Vec::new(),
        array_max: None,
        jobs_max: None,
        cgroups: None,
        notes: Vec::new(),
    }
}

/// What a person is told: each mistake with the text that it underlines.
fn told(text: &str) -> String {
    let (_, mistakes) = read_all(text);
    let line = |mistake: &Diagnostic| {
        let place = mistake.span.and_then(|span| text.get(span.range())).unwrap_or("-");
        let help = mistake.help.as_deref().unwrap_or("-");
        format!("{place:?}: {}\n    {help}\n", mistake.message)
    };
    mistakes.iter().map(line).collect()
}

#[test]
fn the_example_says_what_it_seems_to_say() {
    let (file, mistakes) = read_all(EXAMPLE);
    assert_eq!(mistakes, []);
    let hosts = merge(&file, &sites(), &BTreeMap::new());
    assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["local", "hpc", "nas"]);
    let hpc = hosts.get("hpc").unwrap();
    assert_eq!(hpc.ssh.as_ref().unwrap().as_str(), "hpc-login");
    assert_eq!((hpc.batch, hpc.max_jobs, hpc.account.as_deref()), (Some(Batch::Slurm), Some(500), Some("lab42")));
    assert_eq!((hpc.rate.map(Price::value), hosts.get("nas").unwrap().rate), (Some(0.02), None));
    assert_eq!(hpc.containers, [ContainerRuntime::Apptainer]);
    assert_eq!(hpc.internet, Internet { login: Some(true), compute: Some(false) });
    assert_eq!((hpc.policy.poll_min.as_secs(), hpc.policy.connections_per_minute), (15, 6));
    assert_eq!(hpc.partitions["gpu"].walltime.unwrap().0, 172_800);
    assert!(hosts.get("nas").unwrap().transfer_only);
    assert!(hosts.links()[&(name("hpc"), name("nas"))].direct);
    assert_eq!(hosts.tagged("gpu").count(), 1);
}

#[test]
fn the_stronger_layer_holds_and_every_value_knows_who_said_it() {
    let text = "[hosts.hpc]\nsite = \"lab\"\nmax_jobs = 10\n\n[hosts.b]\nbatch = \"pbs\"\n[hosts.c]\n";
    let (file, mistakes) = read_all(text);
    assert_eq!(mistakes, []);
    let program = ContainerProgram {
        runtime: ContainerRuntime::Podman,
        version: "4".to_owned(),
        usable: None,
        limits: None,
        tried: None,
        gpus: None,
    };
    let batch = BatchSystem { offers: offers(Flavour::Slurm), bin: None, env: BTreeMap::new() };
    let scratch = ScratchCandidate { path: "/scratch/ada".to_owned(), ..ScratchCandidate::default() };
    let home = Filesystem { mount: "/home".to_owned(), network: true, ..Filesystem::default() };
    let facts = Facts {
        batch: Some(batch),
        containers: vec![program],
        scratch: vec![scratch],
        filesystems: vec![home],
        internet: Internet { login: Some(true), compute: None },
        ..Facts::default()
    };
    let probed: BTreeMap<_, _> = ["hpc", "c", "local"].map(|host| (name(host), facts.clone())).into();
    let mut hosts = merge(&file, &sites(), &probed);
    let origins: Vec<String> =
        hosts.get("hpc").unwrap().origins.iter().map(|(key, origin)| format!("{key}: {origin}")).collect();
    assert_eq!(
        origins,
        [
            "batch: probed",
            "containers: probed",
            "filesystems: probed",
            "internet.login: probed",
            "max_jobs: hosts.toml:3",
            "policy.agents: site lab",
            "policy.poll_min: site lab",
            "scratch: probed",
            "site: hosts.toml:2",
            "tags: site lab",
        ]
    );
    let hpc = hosts.get("hpc").unwrap().clone();
    assert_eq!((hpc.policy.poll_min.as_secs(), hpc.max_jobs), (120, Some(10)));
    assert_eq!(hpc.scratch.unwrap().as_str(), "/scratch/ada/csync");
    assert_eq!(hpc.origins.get("policy.login_node"), None, "built-in");
    // Without a site, the generic one of the batch system that is written, or found, holds.
    assert_eq!(hosts.get("b").unwrap().origin("policy.poll_min"), Origin::Site("pbs".to_owned()));
    assert_eq!(hosts.get("c").unwrap().origin("policy.login_node"), Origin::Site("slurm".to_owned()));
    assert_eq!(hosts.get("c").unwrap().origin("batch"), Origin::Probed, "it is why that site file holds");
    assert_eq!(hosts.get("local").unwrap().batch, Some(Batch::None), "this machine is no cluster by itself");
    hosts = merge(&HostsFile::default(), &[], &BTreeMap::new());
    assert_eq!(hosts.iter().count(), 1, "this machine is always there");
}

#[test]
fn what_people_set_holds_for_a_partition() {
    let text = "[hosts.hpc.partitions.gpu]\nwalltime = \"1h\"\ngpus = 2\n[hosts.hpc.partitions.own]\nnodes = 3\n\
                [hosts.hpc.partitions.part]\nnodes = 4\n";
    let (file, _) = read_all(text);
    let hosts = merge(&file, &[], &BTreeMap::new());
    let found = Partition {
        name: "gpu".to_owned(),
        walltime_max: Some(Walltime(7)),
        nodes: 9,
        gpus: [("a100".to_owned(), 4)].into(),
        ..Partition::default()
    };
    let other = Partition { name: "cpu".to_owned(), ..Partition::default() };
    // What `sinfo` says of memory that nobody configured.
    let unsaid = Some(Bytes::mib(1));
    let part = Partition {
        name: "part".to_owned(),
        nodes: 6,
        in_service: Some(5),
        memory_per_node: unsaid,
        memory_least: unsaid,
        ..Partition::default()
    };
    let mut offers = offers(Flavour::Slurm);
    offers.partitions = vec![found, other.clone(), part];
    let facts = Facts { batch: Some(BatchSystem { offers, bin: None, env: BTreeMap::new() }), ..Facts::default() };
    let all = partitions(hosts.get("hpc").unwrap(), Some(&facts));
    let names: Vec<&str> = all.iter().map(|partition| partition.name.as_str()).collect();
    assert_eq!(names, ["gpu", "cpu", "part", "own"]);
    assert_eq!((all[0].walltime_max, all[0].nodes, all[0].gpus["a100"]), (Some(Walltime(3600)), 9, 2));
    assert_eq!((&all[1], all[3].nodes, all[3].in_service), (&other, 3, None));
    assert_eq!((all[2].nodes, all[2].in_service), (4, Some(3)), "one is down, of however many");
    assert_eq!((all[2].memory_per_node, all[2].memory_least), (None, None));
    assert_eq!(partitions(hosts.get("hpc").unwrap(), None).len(), 3);
}

#[test]
fn several_mistakes_are_named_at_once() {
    insta::assert_snapshot!(told(
        r#"
[host.a]
[hosts]
"-oProxyCommand=x" = {}
[hosts.hpc]
shh = "x"
user = "ada"
scheduler = "slurm"
poll_min = "15s"
walltime = "1h"
batch = "Torque"
site = "slurn"
scratch = "scratch"
tags = ["tag:gpu", "ok", 3]
account = "a b"
max_jobs = 0
containers = ["aptainer"]
internet = true
filesystems = "/home"
transfer_only = "yes"
colour = 1
[hosts.hpc.policy]
login_node = "heavy"
poll_min = 15
agents = "never"
connections_per_minute = 0
[hosts.hpc.partitions.gpu]
time = "1h"
walltime = "soon"
memory = 256
gpus = -1
[hosts.hpc.partitions]
cpu = 1
[hosts.local]
ssh = "x"
[hosts.x]
ssh = "a b"
[links]
"hpc-nsa" = { direct = true }
"hpc-hpc" = { direkt = true }
hpc = 1
"#
    ));
}

#[test]
fn whatever_is_no_table_is_named() {
    insta::assert_snapshot!(
        told("hosts = 1\nlinks = []\n") + &told("hosts.a = 1\nhosts.b.policy = 2\n") + &told("x = ")
    );
}

#[test]
fn a_site_file_says_nothing_of_one_host() {
    let (_, mistakes) = read_site("x", "ssh = \"a\"\nsite = \"b\"\nhosts = [\"*\"]\nbtach = \"slurm\"\n");
    let told: Vec<_> =
        mistakes.iter().map(|it| (it.message.as_str(), it.help.as_deref().unwrap_or_default())).collect();
    insta::assert_debug_snapshot!(told);
}

#[test]
fn links_are_cut_where_hosts_are() {
    let hosts = "[hosts.a]\n[hosts.a-b]\n[hosts.b-c]\n[hosts.c]\n[hosts.d]\n[links]\n";
    let link = |key: &str| {
        let (file, mistakes) = read_all(&format!("{hosts}\"{key}\" = {{ direct = true }}\n"));
        match file.links.keys().next() {
            Some((from, to)) => format!("{from} {to}"),
            None => mistakes[0].message.clone(),
        }
    };
    assert_eq!(link("a-b-d"), "a-b d");
    assert_eq!(link("d-a-b"), "d a-b");
    assert_eq!(link("local-d"), "local d");
    assert_eq!(link("a-b-c"), "`a-b-c` can be read as two pairs of hosts");
    assert_eq!(link("a-x"), "`a-x` names no two hosts");
}

#[test]
fn what_is_added_leaves_comments_and_order_alone() {
    let text = |text: &str| Value::Text(text.to_owned());
    let (first, added) = add(
        EXAMPLE,
        &name("hpc"),
        &[("scratch", text("/x")), ("site", text("y")), ("policy.agents", text("deny")), ("batch", text("none"))],
    )
    .unwrap();
    assert_eq!((first.as_str(), added.as_slice()), (EXAMPLE, &[][..]), "what somebody wrote stays");
    let (second, added) = add(
        EXAMPLE,
        &name("nas"),
        &[("scratch", text("/x")), ("policy.agents", text("deny")), ("tags", Value::Words(vec!["t".to_owned()]))],
    )
    .unwrap();
    assert_eq!(added, ["scratch", "policy.agents", "tags"]);
    let (third, _) =
        add(&second, &name("new-1"), &[("ssh", text("new")), ("transfer_only", Value::Flag(true))]).unwrap();
    let (fresh, _) = add("", &name("hpc.example.org"), &[("max_jobs", Value::Number(3))]).unwrap();
    let (_, mistakes) = read_all(&third);
    assert_eq!(mistakes, []);
    insta::assert_snapshot!(format!("{third}----------\n{fresh}"));
    assert!(add("[hosts", &name("a"), &[]).is_err());
}

#[test]
fn every_style_of_file_can_be_added_to() {
    for text in [
        "hosts = { a = { ssh = \"x\" } }\n",
        "hosts.a.ssh = \"x\"\n",
        "[hosts]\na = { ssh = \"x\" }\n",
        "[hosts]\na.ssh = \"x\"\n",
        "[hosts.a]\nssh = \"x\"\n",
        "# only a comment",
        "[links]\n",
        "[hosts.a.policy]\nagents = \"ask\"\n# end",
    ] {
        let (added, _) = add(text, &name("b"), &[("batch", Value::Text("sge".to_owned()))]).unwrap();
        let (added, keys) = add(&added, &name("a"), &[("policy.poll_min", Value::Text("9s".to_owned()))]).unwrap();
        assert_eq!(keys, ["policy.poll_min"], "{text}");
        let (file, mistakes) = read_all(&added);
        assert_eq!(mistakes, [], "{text} became {added}");
        let hosts = merge(&file, &sites(), &BTreeMap::new());
        assert_eq!(hosts.get("b").unwrap().batch, Some(Batch::Sge), "{added}");
        assert_eq!(hosts.get("a").unwrap().policy.poll_min.as_secs(), 9, "{added}");
        let kept = text.split_whitespace().filter(|word| word.contains('#')).all(|word| added.contains(word));
        assert!(kept, "{text} became {added}");
    }
}

#[test]
fn a_bracket_too_many_is_a_mistake() {
    let (_, mistakes) = read_all("[[[hosts.a]\n[hosts.b]\n");
    assert_eq!(mistakes.first().unwrap().message, "a header within a header");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        read_all(&text);
        read_site("x", &text);
    }

    #[test]
    fn a_soup_of_hosts_is_read_and_added_to(parts in prop::collection::vec(prop::sample::select(vec![
        "[hosts.a]\n", "[hosts.b-c]\n", "[hosts.a.policy]\n", "[hosts.a.partitions.gpu]\n", "[links]\n", "ssh = 'x'\n",
        "batch = 'slurm'\n", "site = 'lab'\n", "poll_min = '5s'\n", "walltime = '1h'\n", "'a-b-c' = {direct = true}\n",
        "hosts.z.tags = ['q']\n", "[hosts]\n", "d = {}\n", "# comment\n", "policy = {agents = 'deny'}\n", "[", "= 1\n",
    ]), 0..12)) {
        let text = parts.concat();
        let (_, before) = read_all(&text);
        let sound = before.iter().all(|mistake| mistake.severity != Severity::Error);
        match add(&text, &name("new"), &[("batch", Value::Text("pbs".to_owned()))]) {
            Ok((added, _)) if sound => {
                let (file, mistakes) = read_all(&added);
                prop_assert!(mistakes.is_empty(), "{:?} in {}", mistakes, added);
                prop_assert_eq!(merge(&file, &[], &BTreeMap::new()).get("new").unwrap().batch, Some(Batch::Pbs));
                let again = add(&added, &name("new"), &[("batch", Value::Text("sge".to_owned()))]).unwrap();
                prop_assert_eq!(again, (added, Vec::new()));
            }
            Ok(_) => {}
            Err(_) => prop_assert!(!sound, "{}", text),
        }
    }
}
