//! What comes in and what goes out: every mistake is an [`ApiError`], whichever layer finds it.

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Bytes};
use serde::de::DeserializeOwned;

use crate::model::api::{ApiError, ErrorKind};
use crate::model::id::RunId;
use crate::serve::engine::refuse;

/// A refusal as a response.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Storage => StatusCode::INSUFFICIENT_STORAGE,
            ErrorKind::Version => StatusCode::UPGRADE_REQUIRED,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}

/// The run that a path names: a number, or `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run(pub(super) Option<RunId>);

impl<S: Send + Sync> FromRequestParts<S> for Run {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|error| refuse(ErrorKind::Invalid, error.body_text()))?;
        if text == "last" {
            return Ok(Self(None));
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(run) if digits => Ok(Self(Some(RunId(run)))),
            _ => {
                Err(refuse(ErrorKind::NotFound, format!("`{text}` names no run: a run is a number, or `last`")).into())
            }
        }
    }
}

/// Reads a query that axum has taken apart.
pub(super) fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    query.map(|Query(query)| query).map_err(|error| refuse(ErrorKind::Invalid, error.body_text()).into())
}

/// Reads a body of JSON; an empty one says nothing, which some shapes allow.
pub(super) fn said<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Refusal> {
    let body = body.map_err(too_large)?;
    parse(if body.is_empty() { b"{}" } else { &body }).map_err(Refusal)
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
pub(super) fn too_large(error: BytesRejection) -> Refusal {
    Refusal(refuse(ErrorKind::Invalid, format!("the request cannot be read: {}", error.body_text())))
}

/// Reads JSON.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| refuse(ErrorKind::Invalid, format!("the request cannot be understood: {error}")))
}
