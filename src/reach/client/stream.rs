//! Answers that come piece by piece.

use std::marker::PhantomData;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::reach::client::ClientError;

/// Bytes as they come.
#[derive(Debug)]
pub struct Chunks {
    body: Incoming,
}

impl Chunks {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body }
    }

    /// Returns the next bytes; none at the end. Safe to drop half-way.
    ///
    /// # Errors
    /// When the connection breaks before the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(ClientError::Broken)?.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Newline-delimited JSON values as they come.
#[derive(Debug)]
pub struct Lines<T> {
    chunks: Chunks,
    /// Bytes that came; `seen` of them hold no newline.
    buffer: BytesMut,
    seen: usize,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(super) fn new(body: Incoming) -> Self {
        Self { chunks: Chunks::new(body), buffer: BytesMut::new(), seen: 0, of: PhantomData }
    }

    /// Returns the next value; none at the end. Safe to drop half-way: what came is kept.
    ///
    /// # Errors
    /// When the connection breaks before the end, or a line is not such a value.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            let fresh = self.buffer.get(self.seen..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(self.seen + at);
                self.buffer.advance(1);
                self.seen = 0;
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|source| ClientError::Garbled { request: "the progress of a run".to_owned(), source });
            }
            self.seen = self.buffer.len();
            match self.chunks.next().await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None => return Ok(None),
            }
        }
    }
}
