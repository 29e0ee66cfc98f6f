//! The client against a real server on a real socket, which answers what the test wants.

use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;
use crate::model::api::{ApiError, ErrorKind, LocalInfo, Progress, RunState, Stream};
use crate::model::id::{InstanceId, RunId};
use crate::model::units::Timestamp;
use crate::reach::client::calls::{LogQuery, RunRef};

struct World {
    dir: TempDir,
    state: StateDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"), None);
        state.create().unwrap();
        Self { dir, state }
    }

    /// Serves on the engine's socket until the world ends.
    fn serve(&self, router: Router) {
        let listener = UnixListener::bind(self.state.engine_socket()).unwrap();
        drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    }

    /// A launch of a shell script instead of the engine.
    fn script(text: &str) -> Launch {
        Launch { program: "/bin/sh".into(), args: vec!["-c".into(), text.into()] }
    }
}

fn info(version: &str, pid: u32, live_runs: u32) -> EngineInfo {
    EngineInfo {
        version: version.to_owned(),
        api: API_VERSION,
        pid,
        started: Timestamp(0),
        state_dir: "/s".to_owned(),
        idle_leave: None,
        live_runs,
        local: LocalInfo::default(),
        trouble: None,
        hosts: Vec::new(),
    }
}

fn engine(info: EngineInfo) -> Router {
    Router::new().route("/v1/engine", get(move || async move { axum::Json(info) }))
}

fn ours() -> EngineInfo {
    info(env!("CARGO_PKG_VERSION"), std::process::id(), 0)
}

#[tokio::test]
async fn no_socket_and_a_socket_left_over_are_no_engine() {
    let world = World::new();
    assert!(Client::find(&world.state).await.unwrap().is_none());
    drop(UnixListener::bind(world.state.engine_socket()).unwrap());
    assert!(Client::find(&world.state).await.unwrap().is_none());
}

#[tokio::test]
async fn an_engine_that_ends_while_it_is_asked_is_none() {
    let world = World::new();
    let listener = UnixListener::bind(world.state.engine_socket()).unwrap();
    let dies = async move {
        drop(listener.accept().await.unwrap());
        drop(listener);
    };
    let (found, ()) = tokio::join!(Client::find(&world.state), dies);
    assert!(found.unwrap().is_none());
}

#[tokio::test]
async fn answers_refusals_and_nonsense_are_told_apart() {
    let refusal = ApiError {
        kind: ErrorKind::NotFound,
        message: "there is no run 7".to_owned(),
        hint: Some("`csync runs`".to_owned()),
        diagnostics: Vec::new(),
    };
    let said = refusal.clone();
    let world = World::new();
    world.serve(
        engine(ours())
            .route("/v1/runs/7", get(move || async move { (StatusCode::NOT_FOUND, axum::Json(said)) }))
            .route("/v1/runs/8", get(|| async { "{\"summary\": 3}" })),
    );
    let client = Client::find(&world.state).await.unwrap().unwrap();
    assert!(client.is_ours());
    let run = |id| RunRef::Id(RunId(id));
    assert!(matches!(client.run(run(7)).await, Err(ClientError::Refused(error)) if error == refusal));
    assert!(matches!(client.run(run(8)).await, Err(ClientError::Garbled { .. })));
    // A route that this engine does not have.
    let unknown = client.run(run(9)).await.unwrap_err();
    assert!(matches!(&unknown, ClientError::Refused(error) if error.message.contains("404")), "{unknown}");
}

fn progress(over: bool) -> Progress {
    let summary = json!({
        "run": 1, "name": "w", "path": null, "root": "/r", "state": "active", "counts": crate::model::api::Counts::default(),
        "submitted": "2026-01-01T00:00:00Z", "ended": null, "command": null, "news": "a field that we do not know",
    });
    let summary = serde_json::from_value(summary).unwrap();
    Progress {
        summary,
        tasks: Vec::new(),
        running: Vec::new(),
        ended: Vec::new(),
        eta: None,
        moving: Vec::new(),
        trouble: None,
        logins: Vec::new(),
        away: Vec::new(),
        over,
    }
}

/// Streams lines in pieces of so many bytes, and breaks off in the middle of one more when told to.
fn streamed(piece: usize, breaks: bool) -> impl IntoResponse {
    let mut text = String::new();
    for over in [false, true] {
        text.push_str(&serde_json::to_string(&progress(over)).unwrap());
        text.push('\n');
    }
    let mut pieces: Vec<Result<Bytes, std::io::Error>> =
        text.as_bytes().chunks(piece).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    if breaks {
        pieces.push(Err(std::io::Error::other("gone")));
    }
    // A server that has nothing at the moment sends what it has.
    Body::from_stream(stream::iter(pieces).then(|piece| async {
        tokio::task::yield_now().await;
        piece
    }))
}

#[tokio::test]
async fn lines_arrive_whole_however_they_are_cut() {
    for piece in [1, 7, 100, 100_000] {
        let world = World::new();
        world.serve(engine(ours()).route("/v1/runs/last/progress", get(move || async move { streamed(piece, false) })));
        let client = Client::find(&world.state).await.unwrap().unwrap();
        let mut lines = client.progress(RunRef::Last).await.unwrap();
        let first = lines.next().await.unwrap().unwrap();
        assert_eq!((first.over, first.summary.state), (false, RunState::Active));
        assert!(lines.next().await.unwrap().unwrap().over);
        assert!(lines.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_an_engine_lost() {
    let world = World::new();
    world.serve(engine(ours()).route("/v1/runs/last/progress", get(|| async { streamed(64, true) })));
    let client = Client::find(&world.state).await.unwrap().unwrap();
    let mut lines = client.progress(RunRef::Last).await.unwrap();
    let mut whole = 0;
    let error = loop {
        match lines.next().await {
            Ok(line) => whole += u32::from(line.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(whole, 2);
    assert!(error.is_lost(), "{error}");
}

#[tokio::test]
async fn logs_are_asked_for_as_bytes() {
    let world = World::new();
    let echo = |RawQuery(query): RawQuery| async move {
        let mut bytes = query.unwrap_or_default().into_bytes();
        bytes.extend([0xff, 0x00]);
        bytes
    };
    world.serve(engine(ours()).route("/v1/runs/3/logs", get(echo)));
    let client = Client::find(&world.state).await.unwrap().unwrap();
    let query =
        LogQuery { instance: InstanceId(5), attempt: Some(2), stream: Stream::Stderr, follow: true, tail: None };
    let mut chunks = client.logs(RunId(3).into(), query).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes, b"instance=5&attempt=2&stream=stderr&follow=true\xff\x00");
}

#[tokio::test]
async fn an_engine_that_does_not_start_says_why() {
    let world = World::new();
    let refuses = r#"echo '{"kind":"storage","message":"the disk is full","hint":"make room"}'"#;
    let error = Client::reach(&world.state, &World::script(refuses)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(error) if error.message == "the disk is full"), "{error}");
    let dies = "echo starting >&2; echo 'no such thing as luck' >&2; exit 3";
    let error = Client::reach(&world.state, &World::script(dies)).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Died { status, last_words } if status.contains('3') && last_words == "no such thing as luck"),
        "{error}"
    );
    let error = Client::reach(&world.state, &World::script("echo hello")).await.unwrap_err();
    assert!(matches!(error, ClientError::Garbled { .. }), "{error}");
    let nowhere = Launch { program: world.dir.path().join("nowhere"), args: Vec::new() };
    assert!(matches!(Client::reach(&world.state, &nowhere).await, Err(ClientError::Start(_))));
}

#[tokio::test]
async fn who_loses_the_race_finds_the_winner() {
    let world = World::new();
    let loses = r#"echo '{"kind":"conflict","message":"another engine holds the lock"}'"#;
    // Nobody listens yet when the loser asks: the winner comes a moment later.
    let launch = World::script(loses);
    let reached = Client::reach(&world.state, &launch);
    let winner = async {
        tokio::task::yield_now().await;
        world.serve(engine(ours()));
    };
    let (client, ()) = tokio::join!(reached, winner);
    assert!(client.unwrap().is_ours());
}

#[test]
fn a_job_that_starts_an_engine_does_not_lend_it_its_name() {
    let world = World::new();
    let command = launch::command(&world.state, &World::script(":"));
    let env: Vec<_> = command.get_envs().collect();
    for name in ["CSYNC_JOB", "CSYNC_RUN", "CSYNC_TASK", "CSYNC_STATE_ID"] {
        assert!(env.contains(&(name.as_ref(), None)), "{name}");
    }
    assert!(env.contains(&("CSYNC_STATE".as_ref(), Some(world.state.root().as_os_str()))));
    assert_eq!(command.get_current_dir(), Some("/".as_ref()));
}

/// An engine of another version: it leaves (a process that stands for it is killed) when it is told to.
fn old_engine(live_runs: u32, stands_for_it: Child) -> Router {
    let pid = stands_for_it.id();
    let child = Arc::new(Mutex::new(Some(stands_for_it)));
    let stop = move || {
        let child = Arc::clone(&child);
        async move {
            if let Some(mut child) = child.lock().unwrap().take() {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            "{}"
        }
    };
    engine(info("0.0.1", pid, live_runs)).route("/v1/engine/stop", post(stop))
}

#[tokio::test]
async fn an_engine_of_another_version_is_replaced_when_it_is_idle() {
    let stands = || Command::new("sleep").arg("600").spawn().unwrap();
    let world = World::new();
    world.serve(old_engine(0, stands()));
    // The new one is a script: that it was started is what we want to see.
    let error = Client::reach(&world.state, &World::script("echo started; exit 0")).await.unwrap_err();
    assert!(matches!(error, ClientError::Garbled { .. }), "{error}");

    let world = World::new();
    let busy = stands();
    let pid = rustix::process::Pid::from_raw(busy.id() as i32).unwrap();
    world.serve(old_engine(2, busy));
    let error = Client::reach(&world.state, &World::script("echo started; exit 0")).await.unwrap_err();
    assert!(matches!(error, ClientError::Skew { live_runs: 2, .. }), "{error}");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
