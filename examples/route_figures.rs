//! What a call of `csync route` costs, as a process, with much known: 1,000 hosts, 100,000 datasets, 10,000 profiles.
//!
//! ```text
//! route_figures make DIR CSYNC              writes the configuration, the store, what was learned and the index of that
//! route_figures measure DIR CSYNC [CALLS]   calls csync with it and prints a table
//! ```
//!
//! `benches/route/run` builds and runs both.

#![expect(clippy::print_stdout, reason = "a figure is printed")]
#![expect(clippy::expect_used, reason = "a measurement that cannot go on says so and ends")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use csync::decide::learn::profile::Profile;
use csync::language::command::{commands, signature};
use csync::model::batch::{BatchFacts, Dialect, Flavour, Partition};
use csync::model::data::{DataFact, Rate, Replica};
use csync::model::facts::{BatchSystem, Facts, Filesystem, HostReport, Machine, Probed};
use csync::model::host::HostName;
use csync::model::observation::Observation;
use csync::model::units::{Bytes, Timestamp, Walltime};
use csync::reach::config::StateDir;
use csync::reach::index::MOST;
use csync::reach::learned::{Entry, Learned, Place, class_of};
use csync::reach::store::{Place as StorePlace, Store};

const HOSTS: u32 = 1_000;
const DATASETS: u32 = 100_000;
const PROFILES: u32 = 10_000;
/// What is asked.
const COMMAND: &str = "samtools sort -@ 8 -o out.bam set/777.bam";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [_, "make", dir, csync] => make(Path::new(dir), csync),
        [_, "measure", dir, csync] => measure(Path::new(dir), csync, 200),
        [_, "measure", dir, csync, calls] => measure(Path::new(dir), csync, calls.parse().expect("a number of calls")),
        _ => println!("route_figures make DIR CSYNC | measure DIR CSYNC [CALLS]"),
    }
}

fn name(number: u32) -> HostName {
    format!("host{number}").parse().expect("a name")
}

fn make(dir: &Path, csync: &str) {
    let (state, data) = (dir.join("state"), dir.join("data"));
    for made in [&state, &data] {
        std::fs::create_dir_all(made).expect("the directory is made");
    }
    let data = data.canonicalize().expect("it is there");
    let mut hosts = String::new();
    for number in 0..HOSTS {
        let batch = if number.is_multiple_of(3) { "none" } else { "slurm" };
        let _ = writeln!(hosts, "[hosts.host{number}]\nssh = \"host{number}\"\nbatch = \"{batch}\"\ntags = [\"t\"]\n");
    }
    std::fs::write(state.join("hosts.toml"), hosts).expect("the hosts are written");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        store(&state, &data.to_string_lossy()).await;
        learned(&state).await;
    });
    // As every command does that changes the hosts; from then on the engine keeps it.
    let mut refresh = Command::new(csync);
    refresh.args(["hook", "refresh"]).env("CSYNC_STATE", &state).env("CSYNC_CONFIG", &state);
    assert!(refresh.status().expect("it runs").success(), "the index is made");
    for file in ["csync.db", "learned.db", "advice.idx", "hosts.toml"] {
        let size = std::fs::metadata(state.join(file)).expect("it is there").len();
        let goal =
            if file == "advice.idx" { format!(" (goal: under {:.0} MB)", MOST as f64 / 1e6) } else { String::new() };
        println!("{file}: {:.1} MB{goal}", size as f64 / 1e6);
    }
}

fn state_dir(state: &Path) -> StateDir {
    let found = StateDir::locate(|name| (name == "CSYNC_STATE").then(|| state.as_os_str().to_owned()));
    found.expect("a directory")
}

async fn store(state: &Path, root: &str) {
    let place = StorePlace::of(&state_dir(state));
    let mut store = Store::open(&place).await.expect("the store opens");
    for number in 0..HOSTS {
        let probed = Probed { at: Some(Timestamp(1)), facts: Some(facts(number)), failure: None };
        store.keep_probed(&HostReport { host: name(number), probed }).await.expect("a host is kept");
    }
    let rate = |number| {
        let (source, target) = (HostName::local(), name(number));
        DataFact::Rate(Rate {
            source,
            target,
            rate: 1e6 * f64::from(1 + number % 110),
            bytes: Bytes::gib(1),
            at: Timestamp(1),
        })
    };
    store.keep_data(&(0..HOSTS).map(rate).collect::<Vec<_>>()).await.expect("rates are kept");
    let lies = |number: u32| {
        DataFact::Lies(Replica {
            root: root.to_owned(),
            path: format!("set/{number}.bam"),
            host: name(number % HOSTS),
            place: "/scratch/me/work".to_owned(),
            size: Bytes::gib(5),
            mtime: 1,
            at: Timestamp(1),
        })
    };
    store.keep_data(&(0..DATASETS).map(lies).collect::<Vec<_>>()).await.expect("copies are kept");
}

fn facts(number: u32) -> Facts {
    let partition = |at: u32| Partition {
        name: format!("p{at}"),
        is_default: at == 0,
        nodes: 100,
        walltime_max: Some(Walltime(3600 << at)),
        cores_per_node: Some(8 << at),
        memory_per_node: Some(Bytes::gib(32 << at)),
        ..Partition::default()
    };
    let offers = BatchFacts {
        dialect: Dialect::of(Flavour::Slurm),
        version: None,
        partitions: (0..4).map(partition).collect(),
        accounts: Vec::new(),
        qos: Vec::new(),
        array_max: None,
        jobs_max: None,
        cgroups: None,
        notes: Vec::new(),
    };
    let filesystem = |mount: &str| Filesystem {
        mount: mount.to_owned(),
        kind: "lustre".to_owned(),
        network: true,
        ..Filesystem::default()
    };
    Facts {
        machine: Machine {
            hostname: format!("login.host{number}"),
            cores: Some(64),
            memory: Some(Bytes::gib(256)),
            ..Machine::default()
        },
        batch: (!number.is_multiple_of(3)).then(|| BatchSystem {
            offers,
            bin: None,
            env: std::collections::BTreeMap::new(),
        }),
        filesystems: ["/home", "/scratch", "/project"].map(filesystem).to_vec(),
        ..Facts::default()
    }
}

async fn learned(state: &Path) {
    let mut learned = Learned::open(&Place::of(&state_dir(state)), None, Timestamp(1)).await.expect("it opens");
    let key = learned.tokens().clone();
    let mut profile = Profile::default();
    for id in 0..64_u32 {
        let seen = Observation {
            id: u64::from(id) + 1,
            at: id,
            input: 1e9 + f64::from(id) as f32 * 1e8,
            memory: 2e9 + id as f32 * 1e7,
            wall: 600.0 + id as f32,
            ..Observation::default()
        };
        profile.observe(1, seen);
    }
    let entry = |number: u32| {
        let (line, inputs) = match number {
            0 => (COMMAND.to_owned(), vec!["set/777.bam"]),
            _ => (format!("samtools sort --flag{number} in.bam"), Vec::new()),
        };
        let signature = signature(&commands(&line), &inputs, &key).expect("a command");
        Entry { signature, class: class_of("local", &key), profile: profile.clone() }
    };
    learned.merge((0..PROFILES).map(entry).collect(), &[], Timestamp(1)).await.expect("it is kept");
    learned.close().await;
}

fn measure(dir: &Path, csync: &str, calls: usize) {
    let (state, data) = (dir.join("state"), dir.join("data"));
    // As installed: what a linker wrote lies in memory in small pieces, and each call takes a millisecond longer to map them.
    let installed = dir.join("csync");
    std::fs::copy(csync, &installed).expect("the program is there");
    let csync = std::fs::canonicalize(installed).expect("it was just put there");
    let version: &[&str] = &["--version"];
    let cases: [(&str, &[&str]); 3] =
        [("--version", version), ("route", &["route", COMMAND]), ("route --json", &["route", "--json", COMMAND])];
    let mut walls = vec![Vec::new(); cases.len()];
    let mut said = vec![0; cases.len()];
    for round in 0..calls + 5 {
        for (at, (_, args)) in cases.iter().enumerate() {
            let start = Instant::now();
            let output = Command::new(&csync)
                .args(*args)
                .current_dir(&data)
                .env("CSYNC_STATE", &state)
                .env("CSYNC_CONFIG", &state)
                .stdin(Stdio::null())
                .output()
                .expect("it runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            // The first rounds bring files into memory.
            if round >= 5 {
                walls[at].push(start.elapsed());
                said[at] = output.stdout.len();
            }
        }
    }
    println!("{:<16} {:>9} {:>9}  answer", "", "p50 ms", "p99 ms");
    for ((walls, said), (name, _)) in walls.iter_mut().zip(said).zip(cases) {
        walls.sort_unstable();
        let at = |share: usize| {
            walls.get(walls.len() * share / 100).map_or(Duration::ZERO, |wall| *wall).as_secs_f64() * 1e3
        };
        println!("{name:<16} {:>9.2} {:>9.2}  {said} bytes", at(50), at(99));
    }
}
