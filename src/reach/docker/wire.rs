//! HTTP over a stream that somebody opened.

use std::io;

use bollard::BollardRequest;
use bollard::errors::Error;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::{Response, Uri, header};
use hyper_util::rt::TokioIo;

use crate::reach::transport::Stream;

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
