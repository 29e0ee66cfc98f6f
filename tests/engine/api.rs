//! What the API answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use csync::model::api::{Clean, Counts, ErrorKind, Rerun, RetryAsk, RunState, Selection, Stream};
use csync::model::id::{InstanceId, RunId};
use csync::model::job::{Outcome, State};
use csync::reach::client::{InstanceQuery, LogQuery, RunRef};

use super::{World, assert_ended, refusal};

/// Three instances, one that joins them, and one that fails.
const MIXED: &str = r#"
name = "mixed"
[tasks.make]
foreach = ["a", "b", "c"]
outputs = ["{item}.txt"]
run = "echo {item} > {outputs[0]}; echo said {item}"
[tasks.join]
inputs = ["a.txt", "b.txt", "c.txt"]
outputs = ["all.txt"]
run = "cat {inputs} > {outputs[0]}"
[tasks.bad]
needs = ["join"]
run = "echo oops >&2; nosuchprogram"
[tasks.after]
needs = ["bad"]
run = ["true"]
"#;

#[test]
fn a_run_is_seen_from_every_side() {
    let world = World::new();
    let submitted = world.try_submit(MIXED).unwrap();
    assert_eq!((submitted.run, submitted.counts.total()), (RunId(1), 6));
    let summary = world.wait(submitted.run);
    assert_ended(&summary, RunState::Failed, Counts { done: 4, failed: 1, skipped: 1, ..Counts::default() });
    assert_eq!(world.read("all.txt"), "a\nb\nc\n");

    let (client, runtime) = (world.client(), &world.runtime);
    assert_eq!((client.info().live_runs, client.info().trouble.as_ref()), (0, None));
    assert_eq!(runtime.block_on(client.runs(None, None)).unwrap(), [summary]);
    assert!(runtime.block_on(client.runs(None, Some(RunState::Active))).unwrap().is_empty());
    let detail = runtime.block_on(client.run(RunRef::Last)).unwrap();
    let tasks: Vec<_> = detail.tasks.iter().map(|task| (task.name.as_str(), task.after.join(" "))).collect();
    assert_eq!(tasks.map_each(), [("make", ""), ("join", "make"), ("bad", "join"), ("after", "bad")]);
    assert!(detail.tasks.iter().take(3).all(|task| task.usage.wall > 0.0));

    let page = |query: InstanceQuery| runtime.block_on(client.instances(RunRef::Last, &query)).unwrap();
    let second = page(InstanceQuery { task: Some("make".into()), offset: 1, limit: Some(1), ..Default::default() });
    assert_eq!((second.total, second.instances.len(), second.instances[0].label.as_str()), (3, 1, "make[b]"));
    let failed = page(InstanceQuery { state: Some(State::Failed), ..Default::default() });
    assert_eq!(failed.instances[0].outcome, Some(Outcome::Exit { code: 127, signal: None }));
    let attempt = &failed.instances[0].attempts[0];
    assert!(attempt.started.is_some() && attempt.ended >= attempt.started && attempt.usage.is_some());

    let why = runtime.block_on(client.why(RunRef::Last, "bad")).unwrap().remove(0);
    assert!(why.reasons[0].contains("exit code 127"), "{why:?}");
    assert!(why.advice[0].contains("nosuchprogram") && why.command.contains("oops"), "{why:?}");
    assert_eq!(why.log_tail[0], "oops");
    let why = runtime.block_on(client.why(RunRef::Last, "after")).unwrap().remove(0);
    assert!(why.reasons[0].contains("depends on `bad`, which failed"), "{why:?}");

    let plan = runtime.block_on(client.plan(RunRef::Last)).unwrap();
    assert_eq!(plan.instances[3].after, [InstanceId(0), InstanceId(1), InstanceId(2)]);
    assert_eq!(plan.tasks[2].needs.len(), 1);
    assert!(plan.instances.iter().take(5).all(|instance| instance.view.attempts.len() == 1));
}

/// Compares owned pairs with borrowed ones.
trait MapEach {
    fn map_each(&self) -> Vec<(&str, &str)>;
}

impl MapEach for Vec<(&str, String)> {
    fn map_each(&self) -> Vec<(&str, &str)> {
        self.iter().map(|(name, after)| (*name, after.as_str())).collect()
    }
}

#[test]
fn what_is_up_to_date_is_left_and_what_changed_cuts_off_early() {
    let world = World::new();
    let text = r#"
name = "cut"
[tasks.sum]
inputs = ["in.txt"]
outputs = ["sum.txt"]
run = "wc -l < {inputs[0]} > {outputs[0]}; echo sum >> ran"
[tasks.report]
inputs = ["sum.txt"]
outputs = ["report.txt"]
run = "cp {inputs[0]} {outputs[0]}; echo report >> ran"
"#;
    std::fs::write(world.file("in.txt"), "1\n2\n").unwrap();
    let done = Counts { done: 2, ..Counts::default() };
    assert_ended(&world.run(text), RunState::Succeeded, done);
    assert_ended(&world.run(text), RunState::Succeeded, Counts { cached: 2, ..Counts::default() });
    // Another input with the same sum: what reads the sum does not run again.
    std::fs::write(world.file("in.txt"), "3\n4\n").unwrap();
    assert_ended(&world.run(text), RunState::Succeeded, Counts { done: 1, cached: 1, ..Counts::default() });
    assert_eq!(world.read("ran"), "sum\nreport\nsum\n");
    assert_ended(&world.run(text), RunState::Succeeded, Counts { cached: 2, ..Counts::default() });
    let again = world.send(&csync::model::api::Submission { rerun: Rerun::All, ..world.submission(text) }).unwrap();
    assert_ended(&world.wait(again.run), RunState::Succeeded, done);
}

#[test]
fn progress_is_told_line_by_line_to_its_end() {
    let world = World::new();
    let text = r#"
name = "slow"
[tasks.t]
foreach = ["1", "2", "3", "4", "5", "6"]
run = "until [ -e go ]; do sleep 0.01; done"
[tasks.bad]
needs = ["t"]
retries = 1
retry = { on = ["exit"] }
run = "exit 3"
"#;
    let text = text.replace("retries = 1\nretry = { on = [\"exit\"] }\n", "retry = { max = 1, on = [\"exit\"] }\n");
    let run = world.submit(&text);
    let client = world.client();
    let lines = world.runtime.block_on(async {
        let mut lines = client.progress(RunRef::Id(run)).await.unwrap();
        let mut told = vec![lines.next().await.unwrap().unwrap()];
        assert_eq!(told[0].tasks.len(), 2);
        while told.last().unwrap().running.len() < 2 {
            told.push(lines.next().await.unwrap().unwrap());
        }
        std::fs::write(world.file("go"), "").unwrap();
        while let Some(line) = lines.next().await.unwrap() {
            told.push(line);
        }
        told
    });
    let (last, before) = lines.split_last().unwrap();
    assert!(last.over && before.iter().all(|line| !line.over));
    let ended: Vec<_> = lines.iter().flat_map(|line| &line.ended).collect();
    assert_eq!(ended.len(), 8, "six successes and two attempts that failed, each once: {ended:?}");
    let failures: Vec<_> = ended.iter().filter(|ended| ended.label == "bad").map(|ended| ended.attempt).collect();
    assert_eq!(failures, [1, 2]);
    // Who comes after the end gets one line.
    let lines = world.runtime.block_on(async {
        let mut lines = client.progress(RunRef::Last).await.unwrap();
        let mut told = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            told.push(line);
        }
        told
    });
    assert_eq!((lines.len(), lines[0].over, lines[0].summary.counts.failed), (1, true, 1));
}

#[test]
fn logs_are_followed_while_they_are_written() {
    let world = World::new();
    let run = world.submit(
        r#"
name = "talk"
[tasks.talk]
run = "echo one; until [ -e go ]; do sleep 0.01; done; printf 'two\nthree'"
"#,
    );
    let client = world.client();
    let query =
        |follow, tail| LogQuery { instance: InstanceId(0), attempt: None, stream: Stream::Stdout, follow, tail };
    let text = world.runtime.block_on(async {
        let mut log = client.logs(RunRef::Id(run), query(true, None)).await.unwrap();
        let mut text = Vec::new();
        while let Some(piece) = log.next().await.unwrap() {
            text.extend_from_slice(&piece);
            if text == b"one\n" {
                std::fs::write(world.file("go"), "").unwrap();
            }
        }
        String::from_utf8(text).unwrap()
    });
    assert_eq!(text, "one\ntwo\nthree");
    let read = |query| {
        world.runtime.block_on(async {
            let mut log = client.logs(RunRef::Id(run), query).await?;
            let mut text = Vec::new();
            while let Some(piece) = log.next().await? {
                text.extend_from_slice(&piece);
            }
            Ok(String::from_utf8(text).unwrap())
        })
    };
    assert_eq!(read(query(false, Some(2))).unwrap(), "two\nthree");
    assert_eq!(read(LogQuery { stream: Stream::Stderr, ..query(true, None) }).unwrap(), "");
    let missing = refusal(read(LogQuery { attempt: Some(2), ..query(false, None) }).unwrap_err());
    assert_eq!(missing.kind, ErrorKind::NotFound);
}

#[test]
fn runs_are_cancelled_and_retried() {
    let world = World::new();
    let run = world.submit(
        r#"
name = "long"
[tasks.t]
foreach = ["1", "2", "3", "4"]
outputs = ["{item}.out"]
run = "echo half > {outputs[0]}; echo {item} >> begun; [ -e go ] || sleep 100"
"#,
    );
    world.until_lines("begun", 2);
    let client = world.client();
    let unknown = world.runtime.block_on(client.cancel(RunRef::Id(run), &Selection { labels: vec!["u".into()] }));
    assert_eq!(refusal(unknown.unwrap_err()).kind, ErrorKind::NotFound);
    let one = Selection { labels: vec!["t[4]".into()] };
    assert_eq!(world.runtime.block_on(client.cancel(RunRef::Id(run), &one)).unwrap().instances, 1);
    let all = Selection::default();
    let again = |which: &Selection| RetryAsk { labels: which.labels.clone(), lost: false };
    assert_eq!(world.runtime.block_on(client.cancel(RunRef::Id(run), &all)).unwrap().instances, 3);
    assert_ended(&world.wait(run), RunState::Cancelled, Counts { cancelled: 4, ..Counts::default() });
    assert!(!world.file("1.out").exists() && world.file(".1.out.failed").exists());

    std::fs::write(world.file("go"), "").unwrap();
    assert_eq!(world.runtime.block_on(client.retry(RunRef::Id(run), &again(&one))).unwrap().instances, 1);
    assert_ended(&world.wait(run), RunState::Cancelled, Counts { cancelled: 3, done: 1, ..Counts::default() });
    assert_eq!(world.runtime.block_on(client.retry(RunRef::Id(run), &again(&all))).unwrap().instances, 3);
    assert_ended(&world.wait(run), RunState::Succeeded, Counts { done: 4, ..Counts::default() });
    assert!(world.file("1.out").exists());
}

#[test]
fn a_run_that_stops_takes_back_what_waits_at_the_worker() {
    let world = World::new();
    let summary = world.run(
        r#"
name = "stop"
[tasks.bad]
priority = 1
on_error = "stop"
run = "sleep 0.2; exit 1"
[tasks.t]
matrix = { n = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"] }
run = "echo >> begun; sleep 1"
"#,
    );
    assert_eq!(summary.state, RunState::Failed);
    let begun = u32::try_from(world.read("begun").lines().count()).unwrap();
    assert!(begun < 12, "what had not begun never does");
    assert_eq!(summary.counts, Counts { done: begun, cancelled: 12 - begun, failed: 1, ..Counts::default() });
}

#[test]
fn old_runs_are_forgotten_with_all_that_they_left() {
    let world = World::new();
    for _ in 0..3 {
        world.run(MIXED);
    }
    let client = world.client();
    let clean = |clean: &Clean| world.runtime.block_on(client.clean(clean));
    let dry = clean(&Clean { keep: Some(1), dry_run: true, ..Clean::default() }).unwrap();
    assert_eq!(dry.runs, [RunId(1), RunId(2)]);
    assert!(dry.bytes.0 > 0 && world.state.run_dir(RunId(1)).exists());
    assert_eq!(clean(&Clean { keep: Some(1), ..Clean::default() }).unwrap(), dry);
    assert!(!world.state.run_dir(RunId(1)).exists() && world.state.run_dir(RunId(3)).exists());
    let gone = world.runtime.block_on(client.run(RunRef::Id(RunId(1)))).unwrap_err();
    assert_eq!(refusal(gone).kind, ErrorKind::NotFound);
    let named = clean(&Clean { runs: vec![RunId(1)], ..Clean::default() }).unwrap_err();
    assert_eq!(refusal(named).kind, ErrorKind::NotFound);
    let live = world.submit("name = \"live\"\n[tasks.t]\nrun = [\"sleep\", \"100\"]\n");
    let named = clean(&Clean { runs: vec![live], ..Clean::default() }).unwrap_err();
    assert_eq!(refusal(named).kind, ErrorKind::Conflict);
}

#[test]
fn mistakes_are_refused_with_their_kind() {
    let world = World::new();
    let refused = world.try_submit("name = \"w\"\n[tasks.t]\ncmd = \"true\"\n").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.diagnostics[0].help.as_ref().is_some_and(|help| help.contains("run")), "{refused:?}");
    assert_eq!(
        world.try_submit("name = \"w\"\n[tasks.t]\ninputs = [\"no\"]\nrun = \"true\"\n").unwrap_err().kind,
        ErrorKind::Invalid
    );
    for (request, status) in [
        ("GET /v1/nothing", "404"),
        ("DELETE /v1/engine", "404"),
        ("GET /v1/runs/last", "404"),
        ("GET /v1/runs/seven", "404"),
        ("GET /v1/runs?limit=many", "422"),
        ("GET /v1/runs/1/logs", "422"),
        ("POST /v1/runs", "422"),
        ("POST /v1/clean?x=y", "200"),
    ] {
        let answer = raw(&world, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{request}: {answer}");
    }
}

/// Sends a request without a body and returns the answer as it is.
fn raw(world: &World, request: &str) -> String {
    let mut stream = UnixStream::connect(world.state.engine_socket()).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: csync\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn secrets_reach_their_task_alone_and_are_stored_nowhere() {
    let world = World::new();
    let text = r#"
name = "secret"
[tasks.knows]
secrets = ["TOKEN"]
run = "echo ${TOKEN} | tr a-z A-Z > knows.txt"
[tasks.other]
run = "echo ${TOKEN-nothing} > other.txt"
[tasks.wait]
needs = ["knows", "other"]
run = "until [ -e go ]; do sleep 0.01; done"
"#;
    let secret = ("TOKEN".to_owned(), "abracadabra".to_owned());
    let mut submission = world.submission(text);
    submission.env.push(secret.clone());
    submission.secrets.push(secret);
    let run = world.send(&submission).unwrap().run;
    world.until("both ran", || (world.counts(run).done == 2).then_some(()));
    assert_eq!((world.read("knows.txt").as_str(), world.read("other.txt").as_str()), ("ABRACADABRA\n", "nothing\n"));
    let kept = world.state.run_dir(run).join("secrets");
    assert!(kept.exists());
    std::fs::write(world.file("go"), "").unwrap();
    world.wait(run);
    assert!(!kept.exists());
    for entry in
        walkdir::WalkDir::new(world.state.root()).into_iter().flatten().filter(|entry| entry.file_type().is_file())
    {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        let found = bytes.windows(11).any(|window| window == b"abracadabra");
        assert!(!found, "in {}", entry.path().display());
    }
}
