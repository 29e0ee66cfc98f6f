//! HTTP over a stream that somebody opened.

use std::io;

use bollard::errors::Error;
use bollard::{BollardRequest, ClientVersion};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Response, Uri, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::reach::transport::Stream;

/// What a daemon says of itself when it is greeted.
pub(super) struct Greeting {
    /// The version of the API that it speaks; none where it does not say.
    pub(super) version: Option<ClientVersion>,
    /// Whether it is a Podman.
    pub(super) podman: bool,
}

/// Greets a daemon. To ask for its versions instead has it start programs to ask
/// them for theirs, which is a tenth of what a short container costs.
pub(super) async fn ping(connecting: BoxFuture<'static, io::Result<Stream>>) -> Result<Greeting, Error> {
    let answer = ask("/_ping", connecting).await?;
    let said = answer.headers();
    let version = said.get("api-version").and_then(|said| version(said.to_str().ok()?));
    Ok(Greeting { version, podman: said.contains_key("libpod-api-version") })
}

/// What a Podman says of itself when it is asked.
#[derive(Default)]
pub(super) struct Nature {
    /// Whether its root is who started it.
    pub(super) rootless: bool,
    /// Whether it takes limits and holds none: a rootless one without the second version of control groups does, without a word,
    /// and says itself that it can.
    pub(super) lax: bool,
}

/// Asks a Podman what it is.
pub(super) async fn nature(connecting: BoxFuture<'static, io::Result<Stream>>) -> Result<Nature, Error> {
    let answer = ask("/info", connecting).await?.into_body().collect().await?.to_bytes();
    let info: Info = serde_json::from_slice(&answer).unwrap_or_default();
    let lax = info.rootless && info.cgroup_version == "1" || info.memory_limit == Some(false);
    Ok(Nature { rootless: info.rootless, lax })
}

/// What a Podman says of itself, of more than Docker knows of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Info {
    rootless: bool,
    cgroup_version: String,
    memory_limit: Option<bool>,
}

async fn ask(
    place: &'static str,
    connecting: BoxFuture<'static, io::Result<Stream>>,
) -> Result<Response<Incoming>, Error> {
    let (mut parts, body) = BollardRequest::new(bollard::body_full(Bytes::new())).into_parts();
    parts.uri = Uri::from_static(place);
    request(BollardRequest::from_parts(parts, body), connecting).await
}

fn version(said: &str) -> Option<ClientVersion> {
    let (major, minor) = said.trim().split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

/// Sends a request over a stream of its own: a daemon's answers last as long as what they tell of.
pub(super) fn request(
    request: BollardRequest,
    connecting: BoxFuture<'static, io::Result<Stream>>,
) -> BoxFuture<'static, Result<Response<Incoming>, Error>> {
    Box::pin(async move {
        let stream = connecting.await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a daemon ended");
            }
        });
        let (mut parts, body) = request.into_parts();
        // On a socket the place is all that is asked for.
        let place = parts.uri.path_and_query().map_or("/", |place| place.as_str());
        parts.uri = place.parse::<Uri>().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        parts.headers.insert(header::HOST, header::HeaderValue::from_static("docker"));
        Ok(sender.send_request(BollardRequest::from_parts(parts, body)).await?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        for (said, read) in [("1.41", Some((1, 41))), (" 1.9 ", Some((1, 9))), ("", None), ("1", None), ("1.x", None)] {
            assert_eq!(version(said).map(|v| (v.major_version, v.minor_version)), read, "{said}");
        }
        assert!(version("1.9") < version("1.41"), "by number");
    }
}
