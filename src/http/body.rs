//! Bodies, paths and queries that are parsed or refused as problems.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Problem, Type};

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// The parameters in the path.
pub(super) struct Path<T>(pub(super) T);

/// The parameters in the query.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(e) => Err(refused(&e)),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parsed: Result<_, PathRejection> =
            axum::extract::Path::<T>::from_request_parts(parts, state).await;
        // An id that can't be one names nothing.
        parsed
            .map(|axum::extract::Path(v)| Self(v))
            .map_err(|_| Problem::new(Type::NotFound, "the path holds no such id"))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parsed: Result<_, QueryRejection> =
            axum::extract::Query::<T>::from_request_parts(parts, state).await;
        parsed
            .map(|axum::extract::Query(v)| Self(v))
            .map_err(|e| Problem::new(Type::InvalidRequest, e.body_text()))
    }
}

/// The parser's words name fields and types; where it would quote a value, the value is the
/// caller's own and goes back to nobody else.
fn refused(e: &JsonRejection) -> Problem {
    match (e, e.status()) {
        (JsonRejection::MissingJsonContentType(_), _) => {
            Problem::new(Type::UnsupportedMediaType, "send `Content-Type: application/json`")
        }
        (_, StatusCode::PAYLOAD_TOO_LARGE) => Problem::new(Type::BodyTooLarge, e.body_text()),
        _ => Problem::new(Type::InvalidRequest, e.body_text()),
    }
}
