//! The routes.

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::model::api::{
    Affected, Clean, Cleaned, DataDone, EngineInfo, ErrorKind, InstancePage, RetryAsk, RunDetail, RunState, RunSummary,
    Selection, StopEngine, Stream, Submitted, TryHost, Why,
};
use crate::model::data::{Holding, Replica};
use crate::model::facts::HostReport;
use crate::model::id::InstanceId;
use crate::model::job::State as InstanceState;
use crate::reach::store::RunFilter;
use crate::serve::api::extract::{Refusal, Run, asked, parse, said, too_large};
use crate::serve::api::stream;
use crate::serve::engine::{Handle, InstanceQuery, LogQuery, refuse};

/// Largest request: workflows of 100 MB are taken, and JSON may write them in twice the bytes.
const MOST_BYTES: usize = 300 << 20;

/// Makes the router of an engine.
pub fn router(handle: Handle) -> Router {
    Router::new()
        .route("/v1/engine", get(engine))
        .route("/v1/engine/stop", post(stop))
        .route("/v1/runs", get(runs).post(submit))
        .route("/v1/runs/done", post(keep_done))
        .route("/v1/runs/{run}", get(run))
        .route("/v1/runs/{run}/instances", get(instances))
        .route("/v1/runs/{run}/progress", get(progress))
        .route("/v1/runs/{run}/wait", get(wait))
        .route("/v1/runs/{run}/plan", get(plan))
        .route("/v1/runs/{run}/why", get(why))
        .route("/v1/runs/{run}/logs", get(logs))
        .route("/v1/runs/{run}/cancel", post(cancel))
        .route("/v1/runs/{run}/retry", post(retry))
        .route("/v1/clean", post(clean))
        .route("/v1/hosts", get(hosts).post(keep_probed))
        .route("/v1/hosts/nodes", post(keep_nodes))
        .route("/v1/images", post(keep_images))
        .route("/v1/waits", post(keep_waits))
        .route("/v1/waits/forget", post(forget_waits))
        .route("/v1/data", get(data))
        .route("/v1/datasets", get(datasets))
        .route("/v1/datasets/add", post(add_dataset))
        .route("/v1/datasets/scan", post(scan_datasets))
        .route("/v1/datasets/forget", post(forget_datasets))
        .route("/v1/data/get", post(get_data))
        .route("/v1/data/move", post(move_data))
        .route("/v1/data/remove", post(remove_data))
        .route("/v1/data/cleaned", post(cleaned))
        .route("/v1/hosts/try", post(try_host))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(from_fn_with_state(handle.clone(), counted))
        .with_state(handle)
}

type Answer<T> = Result<Json<T>, Refusal>;

/// Counts what is being answered, so that the engine does not leave meanwhile.
async fn counted(State(handle): State<Handle>, request: Request, next: Next) -> Response {
    let _answering = handle.busy().begin();
    next.run(request).await
}

async fn try_host(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<TryHost> {
    let asked: TryHost = said(body)?;
    handle.try_host(asked.host.clone()).await?;
    Ok(Json(asked))
}

async fn unknown(method: Method, uri: Uri) -> Refusal {
    Refusal(refuse(ErrorKind::NotFound, format!("this engine knows no {method} {}", uri.path())))
}

async fn engine(State(handle): State<Handle>) -> Answer<EngineInfo> {
    Ok(Json(handle.info().await?))
}

async fn stop(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<EngineInfo> {
    let StopEngine { now } = said(body)?;
    Ok(Json(handle.stop(now).await?))
}

#[derive(Debug, Deserialize)]
struct RunsQuery {
    limit: Option<u32>,
    state: Option<RunState>,
}

async fn runs(
    State(handle): State<Handle>,
    query: Result<Query<RunsQuery>, QueryRejection>,
) -> Answer<Vec<RunSummary>> {
    let RunsQuery { limit, state } = asked(query)?;
    Ok(Json(handle.runs(RunFilter { state, limit }).await?))
}

async fn submit(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<Submitted> {
    let body = body.map_err(too_large)?;
    // Off the loop: a hundred megabytes take their time to be read.
    let submission = spawn_blocking(move || parse(&body)).await;
    let submission = submission.map_err(|error| refuse(ErrorKind::Internal, error.to_string()))??;
    Ok(Json(handle.submit(submission).await?))
}

async fn keep_done(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<Submitted> {
    let body = body.map_err(too_large)?;
    Ok(Json(handle.keep_done(parse(&body)?).await?))
}

async fn data(State(handle): State<Handle>) -> Answer<Vec<Replica>> {
    Ok(Json(handle.data().await?))
}

async fn datasets(State(handle): State<Handle>) -> Answer<Vec<Holding>> {
    Ok(Json(handle.datasets().await?))
}

async fn add_dataset(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<Vec<Holding>> {
    Ok(Json(handle.add_dataset(said(body)?).await?))
}

async fn scan_datasets(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<Vec<Holding>> {
    Ok(Json(handle.scan_datasets(said(body)?).await?))
}

async fn forget_datasets(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<Vec<Holding>> {
    Ok(Json(handle.forget_datasets(said(body)?).await?))
}

async fn get_data(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<DataDone> {
    Ok(Json(handle.get_data(said(body)?).await?))
}

async fn move_data(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<DataDone> {
    Ok(Json(handle.move_data(said(body)?).await?))
}

async fn remove_data(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<DataDone> {
    Ok(Json(handle.remove_data(said(body)?).await?))
}

async fn cleaned(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<()> {
    Ok(Json(handle.cleaned(said(body)?).await?))
}

async fn run(State(handle): State<Handle>, Run(run): Run) -> Answer<RunDetail> {
    Ok(Json(handle.detail(handle.resolve(run).await?).await?))
}

#[derive(Debug, Deserialize)]
struct InstancesQuery {
    state: Option<InstanceState>,
    task: Option<String>,
    label: Option<String>,
    #[serde(default)]
    offset: u32,
    limit: Option<u32>,
}

async fn instances(
    State(handle): State<Handle>,
    Run(run): Run,
    query: Result<Query<InstancesQuery>, QueryRejection>,
) -> Answer<InstancePage> {
    let InstancesQuery { state, task, label, offset, limit } = asked(query)?;
    let run = handle.resolve(run).await?;
    Ok(Json(handle.instances(run, InstanceQuery { state, task, label, offset, limit }).await?))
}

async fn progress(State(handle): State<Handle>, Run(run): Run) -> Result<Response, Refusal> {
    let run = handle.resolve(run).await?;
    let watch = handle.watch(run).await?;
    Ok(typed("application/x-ndjson", stream::progress(handle, run, watch)))
}

async fn wait(State(handle): State<Handle>, Run(run): Run) -> Answer<RunSummary> {
    Ok(Json(handle.wait(handle.resolve(run).await?).await?))
}

async fn plan(State(handle): State<Handle>, Run(run): Run) -> Result<Response, Refusal> {
    let plan = handle.plan(handle.resolve(run).await?).await?;
    let json = spawn_blocking(move || to_json(&plan)).await;
    json.map_err(|error| refuse(ErrorKind::Internal, error.to_string()))?
}

fn to_json(value: &impl Serialize) -> Result<Response, Refusal> {
    let json = serde_json::to_vec(value).map_err(|error| refuse(ErrorKind::Internal, error.to_string()))?;
    Ok(typed("application/json", Body::from(json)))
}

fn typed(kind: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}

#[derive(Debug, Deserialize)]
struct WhyQuery {
    label: String,
}

async fn why(
    State(handle): State<Handle>,
    Run(run): Run,
    query: Result<Query<WhyQuery>, QueryRejection>,
) -> Answer<Vec<Why>> {
    let WhyQuery { label } = asked(query)?;
    let run = handle.resolve(run).await?;
    Ok(Json(handle.why(run, label).await?))
}

#[derive(Debug, Deserialize)]
struct LogsQuery {
    instance: InstanceId,
    attempt: Option<u32>,
    #[serde(default)]
    stream: Stream,
    #[serde(default)]
    follow: bool,
    tail: Option<u32>,
}

async fn logs(
    State(handle): State<Handle>,
    Run(run): Run,
    query: Result<Query<LogsQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let LogsQuery { instance, attempt, stream, follow, tail } = asked(query)?;
    let run = handle.resolve(run).await?;
    let log = handle.log(run, LogQuery { instance, attempt, stream, follow, tail }).await?;
    Ok(typed("application/octet-stream", stream::log(&handle, log)))
}

async fn cancel(State(handle): State<Handle>, Run(run): Run, body: Result<Bytes, BytesRejection>) -> Answer<Affected> {
    let Selection { labels } = said(body)?;
    Ok(Json(handle.cancel(handle.resolve(run).await?, labels).await?))
}

async fn retry(State(handle): State<Handle>, Run(run): Run, body: Result<Bytes, BytesRejection>) -> Answer<Affected> {
    let ask: RetryAsk = said(body)?;
    Ok(Json(handle.retry(handle.resolve(run).await?, ask).await?))
}

async fn clean(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<Cleaned> {
    Ok(Json(handle.clean(said::<Clean>(body)?).await?))
}

async fn hosts(State(handle): State<Handle>) -> Answer<Vec<HostReport>> {
    Ok(Json(handle.hosts().await?))
}

async fn keep_images(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<()> {
    let body = body.map_err(too_large)?;
    Ok(Json(handle.keep_images(parse(&body)?).await?))
}

async fn keep_waits(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<()> {
    let body = body.map_err(too_large)?;
    Ok(Json(handle.keep_waits(parse(&body)?).await?))
}

async fn forget_waits(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<u64> {
    let body = body.map_err(too_large)?;
    Ok(Json(handle.forget_waits(parse(&body)?).await?))
}

async fn keep_nodes(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<()> {
    let body = body.map_err(too_large)?;
    Ok(Json(handle.keep_nodes(parse(&body)?).await?))
}

async fn keep_probed(State(handle): State<Handle>, body: Result<Bytes, BytesRejection>) -> Answer<HostReport> {
    let body = body.map_err(too_large)?;
    Ok(Json(handle.keep_probed(parse(&body)?).await?))
}
