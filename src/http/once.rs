//! The Idempotency-Key header (IETF draft) on creating calls.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::State;
use super::problem::{MEDIA_TYPE, Problem, Type};
use crate::crypto::hash::sha256_parts;
use crate::service::Error;
use crate::service::once::{Answer, Begun, Call, Given};

/// The header's value, unchecked.
pub(super) struct IdempotencyKey(String);

const HEADER: &str = "idempotency-key";

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.headers.get(HEADER).map(HeaderValue::to_str) {
            Some(Ok(key)) => Ok(Self(key.to_owned())),
            _ => Err(Problem::new(
                Type::IdempotencyKeyMissing,
                "send a fresh `Idempotency-Key` of 1 to 255 printable ASCII characters",
            )),
        }
    }
}

/// Carries `run` out once for this key within `scope`, which says whose key it is. `request` is what makes the request what it is; the same
/// key with another request is refused. An error leaves nothing behind, so that the call can be
/// made again.
pub(super) async fn once<T: Serialize>(
    state: &State,
    scope: &str,
    route: &'static str,
    key: &IdempotencyKey,
    request: &T,
    run: impl AsyncFnOnce(&Call) -> Result<Answer, Problem>,
) -> Result<Response, Problem> {
    let hash = hash(route, request)?;
    match state.services.begin_once(scope, route, &key.0, hash).await? {
        Begun::Done(answer) => Ok(replayed(answer)),
        Begun::Run(call) => match run(&call).await {
            Ok(answer) => Ok(respond(answer)),
            Err(e) => {
                state.services.abandon_once(&call).await;
                Err(e)
            }
        },
    }
}

/// The same for a use case that looks for the kept answer itself, in the transaction that has the
/// effect.
pub(super) async fn once_within<T: Serialize>(
    state: &State,
    scope: &str,
    route: &'static str,
    key: &IdempotencyKey,
    request: &T,
    run: impl AsyncFnOnce(&Call) -> Result<Given, Problem>,
) -> Result<Response, Problem> {
    let call = state.services.call(scope, route, &key.0, hash(route, request)?)?;
    let given = run(&call).await?;
    Ok(if given.replayed { replayed(given.answer) } else { respond(given.answer) })
}

/// The answer that [`once`] kept for this key within `scope`, if there is one; nothing is begun.
pub(super) async fn kept<T: Serialize>(
    state: &State,
    scope: &str,
    route: &'static str,
    key: &IdempotencyKey,
    request: &T,
) -> Result<Option<Response>, Problem> {
    let hash = hash(route, request)?;
    Ok(state.services.kept_answer(scope, route, &key.0, hash).await?.map(replayed))
}

fn hash<T: Serialize>(route: &str, request: &T) -> Result<[u8; 32], Problem> {
    let body = serde_json::to_vec(request)
        .map_err(|e| Error::Internal(format!("a request that was parsed: {e}")))?;
    Ok(sha256_parts(&[route.as_bytes(), b"\0", &body]))
}

fn replayed(answer: Answer) -> Response {
    let mut response = respond(answer);
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}

/// An answer in JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Answer {
    Answer {
        status: status.as_u16(),
        content_type: "application/json",
        // Our own types: they always encode.
        body: serde_json::to_vec(body).unwrap_or_default(),
    }
}

/// An answer that is a problem.
pub(super) fn problem(problem: &Problem) -> Answer {
    Answer {
        status: problem.kind().status().as_u16(),
        content_type: MEDIA_TYPE,
        body: problem.to_json().to_string().into_bytes(),
    }
}

fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static(answer.content_type);
    (status, [(header::CONTENT_TYPE, kind)], answer.body).into_response()
}
