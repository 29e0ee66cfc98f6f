//! What a call of `csync hook` costs beside `bash -c true`: whole processes, in turn.
//!
//! ```text
//! hook_figures index STATE           writes an index of 1,000 hosts, 100,000 datasets and 10,000 profiles
//! hook_figures measure STATE CSYNC [CALLS]    calls csync with it and prints a table
//! ```
//!
//! `benches/hook/run` builds and runs both.

#![expect(clippy::print_stdout, reason = "a figure is printed")]
#![expect(clippy::expect_used, reason = "a measurement that cannot go on says so and ends")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use csync::decide::advise::{Facts, Found, HostFacts, Mode, NameFacts, PartitionFacts, Replica, Way, advise};
use csync::decide::learn::profile::Profile;
use csync::language::command::signature;
use csync::model::batch::Flavour;
use csync::model::data::{self, DataFact};
use csync::model::host::Agents;
use csync::model::observation::{Cut, Observation, Trust};
use csync::model::units::{Bytes, Timestamp, Walltime};
use csync::reach::advice::{self, META_KEY, data_key, rate_key};
use csync::reach::index::{IndexWriter, MOST};
use csync::reach::learned::{Entry, Extract, Learned, Place, Stamp};
use wait4::Wait4;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [_, "index", state] => index(Path::new(state)),
        [_, "measure", state, csync] => measure(state, csync, 400),
        [_, "measure", state, csync, calls] => measure(state, csync, calls.parse().expect("a number of calls")),
        _ => println!("hook_figures index STATE | measure STATE CSYNC [CALLS]"),
    }
}

fn index(state: &Path) {
    let mut writer = IndexWriter::default();
    for number in 0..1_000 {
        let name = format!("host{number}");
        let partition = |name: &str| PartitionFacts {
            name: name.to_owned(),
            is_default: name == "p0",
            is_up: true,
            walltime_max: Some(Walltime(86_400)),
            memory: Some(Bytes::gib(256)),
            cores: Some(64),
            gpus: false,
        };
        let facts = HostFacts {
            name: name.clone(),
            batch: Some(Flavour::Slurm),
            light: true,
            agents: Agents::Ask,
            shared: vec!["/home".to_owned(), "/scratch".to_owned()],
            partitions: ["p0", "p1", "p2", "p3"].map(partition).to_vec(),
            ..HostFacts::default()
        };
        writer.add(&format!("host {name}"), &facts);
        let way = Some(Way { jump: format!("gate{number}"), ..Way::default() });
        writer.add(&format!("name {name}"), &NameFacts { host: name.clone(), way: None, is_node: false });
        for node in 0..20 {
            let facts = NameFacts { host: name.clone(), way: way.clone(), is_node: true };
            writer.add(&format!("name n{number}-{node}"), &facts);
        }
    }
    for number in 0..100_000 {
        let path = format!("/data/project{}/set{number}", number % 100);
        let replica =
            Replica { host: "host7".to_owned(), path: path.clone(), bytes: Some(Bytes::gib(9)), seconds: Some(60) };
        let replicas: Vec<Replica> = vec![replica];
        writer.add(&data_key(&path), &replicas);
    }
    writer.add(&rate_key("host7", "host0"), &50e6_f64);
    std::fs::create_dir_all(state).expect("the directory is made");
    let place = Place { path: state.join("learned.db"), key: state.join("learned.key"), network: false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // What is learned makes the key.
    runtime.block_on(async { drop(Learned::open(&place, None, Timestamp(0)).await.expect("what is learned opens")) });
    let extract = Extract::open(&place).expect("the key is there");
    let profile = full_profile();
    let entries: Vec<Entry> = (0..10_000)
        .map(|number| {
            let script = if number == 0 { "train.py".to_owned() } else { format!("train{number}.py") };
            let key = extract.tokens();
            let signature = signature(&[vec!["python", &script]], &[], key).expect("a command");
            Entry { signature, class: key.token("class", "host0"), profile: profile.clone() }
        })
        .collect();
    extract.add_all(&entries, &mut writer);
    let stamp: (i64, i64, u64) = (0, 0, 0);
    writer.add(META_KEY, &(Some("host0".to_owned()), stamp));
    let path = advice::path(state);
    writer.write(&path).expect("the index is written");
    println!("the index has {:.1} MB (goal: under {:.0} MB)", size(&path), MOST as f64 / 1e6);
    changes(state, &place, &entries);
    println!("with what changes left behind in it {:.1} MB (goal: under {:.0} MB)", size(&path), MOST as f64 / 1e6);
}

/// Returns how large a file is.
fn size(path: &Path) -> f64 {
    std::fs::metadata(path).expect("it is there").len() as f64 / 1e6
}

/// Returns a profile with as many attempts as one keeps.
fn full_profile() -> Profile {
    let mut profile = Profile::default();
    for number in 0_u32..400 {
        let share = f32::from(number.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        let seen = Observation {
            id: u64::from(number) + 1,
            at: number,
            input: 1e6 + share * 1e6,
            memory: 1e9 + share * 2e7,
            wall: 600.0 + share,
            cpu: 2400.0 + share,
            io: 0.0,
            asked: 0.0,
            asked_time: 0.0,
            cut: Cut::Nothing,
            trust: Trust::Full,
        };
        profile.observe(1, seen);
    }
    profile
}

/// Measures how long one change of data and one of a profile take.
fn changes(state: &Path, place: &Place, entries: &[Entry]) {
    let mut walls: [Vec<Duration>; 2] = Default::default();
    for entry in entries.iter().take(200) {
        let lies = data::Replica {
            root: "/data/new".to_owned(),
            path: format!("{}", walls[0].len()),
            host: "host7".parse().expect("a name"),
            place: "/scratch/new".to_owned(),
            size: Bytes::gib(1),
            mtime: 0,
            at: Timestamp(0),
        };
        let start = Instant::now();
        advice::put_data(state, &[DataFact::Lies(lies)]).expect("data is put in");
        walls[0].push(start.elapsed());
        let start = Instant::now();
        // As the engine says it that wrote it down.
        let stamp = Stamp::of(place);
        let stamps = stamp.clone().zip(stamp);
        advice::put_learned(state, place, std::slice::from_ref(entry), stamps).expect("what is learned is put in");
        walls[1].push(start.elapsed());
    }
    for (name, walls) in ["a copy of data", "a profile"].iter().zip(&mut walls) {
        walls.sort_unstable();
        let at = |share: usize| walls[walls.len() * share / 100].as_secs_f64() * 1e3;
        println!("{name} put in: p50 {:.3} ms, p99 {:.3} ms", at(50), at(99));
    }
}

/// A thing that is called again and again.
struct Case {
    name: &'static str,
    /// Most of the wall of `bash -c true` that it should take.
    goal: f64,
    program: String,
    args: Vec<&'static str>,
    input: String,
    walls: Vec<Duration>,
    peak: u64,
    said: usize,
}

fn measure(state: &str, csync: &str, calls: usize) {
    let event = |command: &str| {
        format!(
            "{{\"session_id\":\"s\",\"cwd\":\"/nowhere\",\"hook_event_name\":\"PreToolUse\",\"tool_name\":\"Bash\",\
             \"tool_use_id\":\"t\",\"tool_input\":{{\"command\":{command:?},\"description\":\"x\"}}}}\n"
        )
    };
    let case = |name, goal, program: &str, args: &[&'static str], input: String| Case {
        name,
        goal,
        program: program.to_owned(),
        args: args.to_vec(),
        input,
        walls: Vec::new(),
        peak: 0,
        said: 0,
    };
    let hook = &["hook", "claude", "--rewrite"];
    let mut cases = [
        case("bash -c true", 1.0, "bash", &["-c", "true"], String::new()),
        case("nothing to say", 2.0, csync, hook, event("cd src && git diff --stat 2>&1 | head -50")),
        case("a jump host", 2.5, csync, hook, event("ssh n17-3 'nvidia-smi | head'")),
        case(
            "a login node",
            2.5,
            csync,
            hook,
            event("ssh host99 'cd run && python train.py --data /data/project7/set7'"),
        ),
        case("data elsewhere", 2.5, csync, hook, event("wc -l /data/project7/set107/reads.fq")),
        case("a learned one", 2.5, csync, hook, event("srun python train.py --data x")),
    ];
    for round in 0..calls + 20 {
        for case in &mut cases {
            let (wall, peak, said) = call(case, state);
            // The first rounds bring files into memory.
            if round >= 20 {
                case.walls.push(wall);
                case.peak = case.peak.max(peak);
                case.said = said;
            }
        }
    }
    let mut base = 0.0;
    println!("{:<16} {:>9} {:>9} {:>7} {:>7} {:>9}  answer", "", "p50 ms", "p99 ms", "ratio", "goal", "peak MB");
    for case in &mut cases {
        case.walls.sort_unstable();
        let at =
            |share: usize| case.walls.get(case.walls.len() * share / 100).map_or(0.0, |wall| wall.as_secs_f64() * 1e3);
        let (p50, p99) = (at(50), at(99));
        if base == 0.0 {
            base = p50;
        }
        let peak = case.peak as f64 / 1e6;
        let (ratio, goal) = (p50 / base, case.goal);
        println!("{:<16} {p50:>9.2} {p99:>9.2} {ratio:>7.2} {goal:>7.1} {peak:>9.1}  {} bytes", case.name, case.said);
    }
    println!("goals besides: p99 at most 15 ms, peak under 20 MB");
    within(state, csync);
}

/// Prints what reading and judging a command takes in the process, and what whole answers took there: with the index opened,
/// and the person's rules read.
fn within(state: &str, csync: &str) {
    for line in ["cd src && git diff --stat 2>&1 | head -50", "ssh n17-3 'nvidia-smi | head'", LONG] {
        let mut walls: Vec<Duration> = (0..2_000)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(advise(std::hint::black_box(line), "/work", Mode::Rewrite, &Cluster));
                start.elapsed()
            })
            .collect();
        walls.sort_unstable();
        let at = |share: usize| walls[walls.len() * share / 100].as_secs_f64() * 1e6;
        let short: String = line.chars().take(48).collect();
        println!("read and judged in the process: p50 {:.0} us, p99 {:.0} us (goal 200 us)  {short}", at(50), at(99));
    }
    let mut command = Command::new(csync);
    command.args(["hook", "stats"]).env("CSYNC_STATE", state).env("CSYNC_CONFIG", state);
    let said = String::from_utf8(command.output().expect("it starts").stdout).expect("it is text");
    println!("{}", said.lines().last().unwrap_or_default());
}

/// As long as what agents type gets.
const LONG: &str = "for f in a b c; do sbatch --wrap \"singularity exec --nv -B /data:/data img.sif python run.py $f\"; done; \
                    squeue -u me | grep R; ssh n17 <<'EOF'\nls\nEOF\n";

/// A cluster whose compute nodes are reached through its login node; everything is a name of it.
struct Cluster;

impl Facts for Cluster {
    fn host(&self, name: &str) -> Option<Found> {
        let host =
            HostFacts { name: "hpc".to_owned(), batch: Some(Flavour::Slurm), light: true, ..HostFacts::default() };
        let way = Some(Way { jump: "hpc".to_owned(), ..Way::default() }).filter(|_| name != "hpc");
        Some(Found { host: Arc::new(host), way, is_node: name != "hpc" })
    }

    fn here(&self) -> Option<Arc<HostFacts>> {
        None
    }

    fn request(&self, _words: &[&str], _host: &str, _cwd: Option<&str>) -> Option<csync::decide::advise::Learned> {
        None
    }

    fn replicas(&self, _path: &str, _host: &str) -> Vec<Replica> {
        Vec::new()
    }

    fn has_program(&self, _name: &str) -> bool {
        true
    }

    fn has_variable(&self, _prefix: &str) -> bool {
        false
    }

    fn batch_script(&self, _path: &str) -> Option<String> {
        None
    }
}

/// Calls it once: how long from its start to its end, its peak of memory, how much it said.
fn call(case: &Case, state: &str) -> (Duration, u64, usize) {
    let start = Instant::now();
    let mut child = Command::new(&case.program)
        .args(&case.args)
        .env("CSYNC_STATE", state)
        .env("CSYNC_CONFIG", state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    if let Some(mut stdin) = child.stdin.take() {
        // `bash -c true` may be gone already.
        drop(stdin.write_all(case.input.as_bytes()));
    }
    let mut said = Vec::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_end(&mut said).expect("it speaks");
    }
    let ended = child.wait4().expect("it ends");
    (start.elapsed(), ended.rusage.maxrss, said.len())
}
