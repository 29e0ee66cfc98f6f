//! The engine, or the worker, is killed at any moment: every instance is done in the end, its attempts never overlapped, its
//! output was committed once, and no process is left.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use csync::model::job::{Outcome, State};

use crate::arena::{World, kill, until};

const TASKS: usize = 200;
const KILLS: usize = 50;

/// Two hundred tasks; every attempt appends a line when it starts and one when it ends, and moves its output into place.
fn workflow() -> String {
    let items: Vec<String> = (0..TASKS).map(|i| i.to_string()).collect();
    format!(
        r#"
        [tasks.t]
        foreach = [{}]
        outputs = ["out/{{item}}"]
        run = '''
        echo "start {{item}} {{attempt}}" >> trace
        echo "{{item}} {{attempt}}" > {{outputs[0]}}
        sleep 0.04
        echo "end {{item}} {{attempt}}" >> trace
        '''
        "#,
        items.join(", ")
    )
}

/// Random numbers with a seed that can be given to see a failure again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("CSYNC_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761);
        eprintln!("CSYNC_TEST_SEED={seed} gives the same moments again");
        Self(seed | 1)
    }

    /// xorshift64*
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// Kills what `victim` finds, again and again, and has a client start the next engine each time.
///
/// Between two kills so many attempts have to end: an instance that dies with its worker five times in a row is given up.
fn kill_at_random(world: &World, progress: usize, victim: impl Fn(&World) -> Option<i32>) -> usize {
    let mut dice = Dice::new();
    let mut killed = 0;
    let began = Instant::now();
    let ends = || world.read("trace").lines().filter(|line| line.starts_with("end")).count();
    while killed < KILLS {
        assert!(began.elapsed() < Duration::from_mins(4), "only {killed} kills");
        // Starts an engine where none is, and is itself cut off now and then.
        let mut client =
            world.command(&["runs", "--json"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("csync");
        let wanted = (ends() + progress).min(TASKS);
        until("attempts end between two kills", || ends() >= wanted);
        let until_then = Duration::from_micros(dice.below(120_000));
        let since = Instant::now();
        while since.elapsed() < until_then {
            std::thread::sleep(Duration::from_micros(500));
        }
        if let Some(pid) = victim(world) {
            kill(pid);
            killed += 1;
        }
        client.wait().expect("the client ends");
        if ends() >= TASKS {
            break;
        }
    }
    killed
}

/// Checks the lines that attempts wrote: per instance, no attempt starts while an earlier one still writes.
fn no_overlap(trace: &str) -> BTreeMap<usize, Vec<String>> {
    let mut seen: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for line in trace.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, item, attempt] = words[..] else { panic!("a torn line: `{line}`") };
        seen.entry(item.parse().expect("a number")).or_default().push(format!("{what} {attempt}"));
    }
    for (item, lines) in &seen {
        let mut newest = 0;
        for line in lines {
            let (what, attempt) = line.split_once(' ').expect("two words");
            let attempt: u32 = attempt.parse().expect("a number");
            match what {
                "start" => assert!(attempt > newest, "instance {item}: {lines:?}"),
                _ => assert_eq!(attempt, newest, "instance {item}: an attempt goes on beside the next: {lines:?}"),
            }
            newest = attempt;
        }
    }
    seen
}

/// Everything that must hold after the run, whatever was killed; returns how many attempts each instance had.
fn check_the_end(world: &World) -> Vec<usize> {
    world.csync(&["wait", "1"]).code(0);
    let detail = world.detail("1");
    assert_eq!(detail.summary.counts.done as usize, TASKS, "{:?}", detail.summary.counts);
    let seen = no_overlap(&world.read("trace"));
    assert_eq!(seen.len(), TASKS);
    let instances = world.instances("1", "t");
    assert_eq!(instances.len(), TASKS);
    for instance in &instances {
        assert_eq!(instance.state, State::Done, "{instance:?}");
        let ways: Vec<_> = instance.attempts.iter().map(|attempt| attempt.outcome.clone()).collect();
        let successes = ways.iter().filter(|outcome| **outcome == Some(Outcome::Success)).count();
        assert_eq!(successes, 1, "{}: committed once: {ways:?}", instance.label);
        assert_eq!(ways.last(), Some(&Some(Outcome::Success)), "{}: {ways:?}", instance.label);
    }
    for (item, lines) in &seen {
        let output = world.read(format!("out/{item}"));
        let last = lines.last().expect("at least a start").replace("end ", "");
        assert_eq!(output, format!("{item} {last}\n"), "the output is the last attempt's");
    }
    world.stop();
    instances.iter().map(|instance| instance.attempts.len()).collect()
}

fn submitted() -> World {
    let world = World::new();
    world.workflow(&workflow());
    world.submit_detached();
    until("the first attempt starts", || world.has("trace"));
    world
}

#[test]
fn engine_killed_at_random_points() {
    let mut kills = 0;
    // Killing slows a run down, but it may be over before the last kill: then another one goes on.
    while kills < KILLS {
        let world = submitted();
        kills += kill_at_random(&world, 0, World::engine);
        let attempts = check_the_end(&world);
        assert!(attempts.iter().all(|n| *n == 1), "the worker went on: nothing had to run twice: {attempts:?}");
    }
}

#[test]
fn worker_killed_at_random_points() {
    let world = submitted();
    let kills = kill_at_random(&world, 2, World::worker);
    assert!(kills > 0);
    check_the_end(&world);
}
