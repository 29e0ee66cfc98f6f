//! One request on one connection.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::model::api::{ApiError, EngineInfo, ErrorKind};
use crate::reach::client::ClientError;

/// Seconds within which an ordinary request is answered, also by an engine that is busy with a large run.
const PATIENCE: u64 = 60;

/// Seconds within which an engine says who it is: also one that takes in a large run answers between two steps.
const GREETING: u64 = 20;

/// Asks an engine who it is.
pub(super) async fn greet(socket: &Path) -> Result<EngineInfo, ClientError> {
    let greeting = json(socket, Method::GET, "/v1/engine", Bytes::new());
    let answer = tokio::time::timeout(Duration::from_secs(GREETING), greeting).await;
    answer.unwrap_or(Err(ClientError::Silent(GREETING)))
}

/// Asks, and reads the answer as JSON.
pub(super) async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    in_time(json(socket, Method::GET, path, Bytes::new())).await
}

/// Tells, and reads the answer as JSON.
pub(super) async fn post<B: Serialize, T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    body: &B,
) -> Result<T, ClientError> {
    in_time(json(socket, Method::POST, path, encode(path, body)?)).await
}

/// Tells, and waits for the answer as long as it takes.
pub(super) async fn post_patiently<B: Serialize, T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    body: &B,
) -> Result<T, ClientError> {
    json(socket, Method::POST, path, encode(path, body)?).await
}

/// Asks, and waits for the answer as long as it takes.
pub(super) async fn get_patiently<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    json(socket, Method::GET, path, Bytes::new()).await
}

/// Asks for a stream. A refusal is an error already here.
pub(super) async fn stream(socket: &Path, path: &str) -> Result<Incoming, ClientError> {
    Ok(send(socket, Method::GET, path, Bytes::new()).await?.into_body())
}

async fn in_time<T>(request: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    tokio::time::timeout(Duration::from_secs(PATIENCE), request).await.unwrap_or(Err(ClientError::Silent(PATIENCE)))
}

fn encode<B: Serialize>(path: &str, body: &B) -> Result<Bytes, ClientError> {
    let encoded = serde_json::to_vec(body);
    encoded.map(Bytes::from).map_err(|source| ClientError::Garbled { request: path.to_owned(), source })
}

async fn json<T: DeserializeOwned>(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
    let answer = send(socket, method, path, body).await?;
    let bytes = answer.into_body().collect().await.map_err(ClientError::Broken)?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|source| ClientError::Garbled { request: path.to_owned(), source })
}

/// Sends a request and returns the answer when it is not a refusal.
async fn send(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
    let mut sender = open(socket).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "csync")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| ApiError {
            kind: ErrorKind::Internal,
            message: format!("the request {path} cannot be written: {error}"),
            hint: None,
            diagnostics: Vec::new(),
        })?;
    let answer = sender.send_request(request).await.map_err(ClientError::Broken)?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let bytes = answer.into_body().collect().await.map_err(ClientError::Broken)?.to_bytes();
    Err(ClientError::Refused(refusal(status, &bytes)))
}

/// Reads a refusal; one that is not ours (a route that this engine does not have) is put in words.
fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    serde_json::from_slice(body).unwrap_or_else(|_| ApiError {
        kind: ErrorKind::Internal,
        message: format!("the engine answered {status}: {}", String::from_utf8_lossy(body).trim()),
        hint: Some("`csync engine restart` starts one of this version".to_owned()),
        diagnostics: Vec::new(),
    })
}

/// Opens a connection. The task that drives it ends with it.
async fn open(socket: &Path) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    let unusable = |source| ClientError::Socket { path: socket.to_path_buf(), source };
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        // No file, one that a dead engine left behind, or no directory that could hold one: starting an engine says why.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused => {
            ClientError::NoEngine
        }
        _ => unusable(error),
    })?;
    let user = stream.peer_cred().map_err(unusable)?.uid();
    if user != rustix::process::getuid().as_raw() {
        return Err(ClientError::Foreign { path: socket.to_path_buf(), user });
    }
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::Broken)?;
    // Its error, if any, reaches us through the request.
    drop(tokio::spawn(connection));
    Ok(sender)
}
