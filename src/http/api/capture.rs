//! `/v1/verifications/{id}/capture`: the recording on its way in, at once or in pieces.
//!
//! The pieces follow "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload), its simplest part: the upload's
//! address is known beforehand, so nothing has to be created and no interim response tells it.
//! `PUT` with `Upload-Complete: ?1` sends the file so that what came stays when the connection is
//! lost; `HEAD` says in `Upload-Offset` how much that is; `PATCH` with `Upload-Offset` and
//! `Upload-Complete` appends. One upload at a time: a newer request ends an older one.

use std::time::Duration;

use axum::body::Body as Content;
use axum::extract::{Request, State as Ax};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};

use super::verifications::{VerificationView, view};
use crate::domain::ids::VerificationId;
use crate::http::State;
use crate::http::auth::Bearer;
use crate::http::body::Path;
use crate::http::problem::{Problem, ProblemBody, Type};
use crate::service::Error;
use crate::service::onboard::{Part, Received};

/// How many bytes are here.
const OFFSET: &str = "upload-offset";
/// Whether the upload ends with the request (or, in an answer, has ended): `?1` or `?0`.
const COMPLETE: &str = "upload-complete";
/// The limits of an upload.
const LIMIT: &str = "upload-limit";
/// The media type of a piece.
const PARTIAL: &str = "application/partial-upload";

/// Sends the capture: one WebM (VP8 or VP9 with Opus) or MP4 (H.264 with AAC) file as the body. With
/// `Upload-Complete`, what came stays when the connection is lost, and the upload can be gone on with.
#[utoipa::path(put, path = "/v1/verifications/{id}/capture", tag = "onboarding",
    params(("id" = String, Path),
        ("Upload-Complete" = Option<String>, Header, description = "`?1`: this is all of it, and may be resumed; `?0`: more follows with PATCH. Left out: all of it, or nothing")),
    security(("client_token" = [])),
    request_body(content = Vec<u8>, content_type = "video/webm", description = "The recorded file (video/webm or video/mp4)"),
    responses(
        (status = 202, body = VerificationView),
        (status = 204, description = "With `Upload-Complete: ?0`: so far it is here; `Upload-Offset` says how far"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn send(
    Ax(state): Ax<State>,
    bearer: Bearer,
    Path(id): Path<VerificationId>,
    request: Request,
) -> Result<Response, Problem> {
    media_type(request.headers(), |bare| {
        ["video/webm", "video/mp4", "video/quicktime", "application/octet-stream"].contains(&bare)
    })?;
    let part = match complete(request.headers())? {
        None => Part::Whole,
        Some(last) => Part::From { offset: 0, last },
    };
    take(&state, &bearer, &id, part, request).await
}

/// Appends to the capture, from `Upload-Offset` on.
#[utoipa::path(patch, path = "/v1/verifications/{id}/capture", tag = "onboarding",
    params(("id" = String, Path),
        ("Upload-Offset" = u64, Header, description = "The bytes that are there already, as HEAD says"),
        ("Upload-Complete" = String, Header, description = "`?1`: the capture ends with this; `?0`: more follows")),
    security(("client_token" = [])),
    request_body(content = Vec<u8>, content_type = "application/partial-upload", description = "What follows"),
    responses(
        (status = 202, body = VerificationView),
        (status = 204, description = "So far it is here; `Upload-Offset` says how far"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn append(
    Ax(state): Ax<State>,
    bearer: Bearer,
    Path(id): Path<VerificationId>,
    request: Request,
) -> Result<Response, Problem> {
    media_type(request.headers(), |bare| bare == PARTIAL)?;
    let last = complete(request.headers())?.ok_or_else(|| bad(COMPLETE, "`?1` or `?0`"))?;
    let offset = request.headers().get(OFFSET).and_then(|v| v.to_str().ok()?.parse().ok());
    let offset = offset.ok_or_else(|| bad(OFFSET, "the number of bytes that are there already"))?;
    take(&state, &bearer, &id, Part::From { offset, last }, request).await
}

/// Says how much of the capture is there: `Upload-Offset`, and in `Upload-Complete` whether that is all.
#[utoipa::path(head, path = "/v1/verifications/{id}/capture", tag = "onboarding",
    params(("id" = String, Path)), security(("client_token" = [])),
    responses((status = 204, headers(
        ("Upload-Offset" = u64, description = "Bytes that are there"),
        ("Upload-Complete" = String, description = "`?1`: that is all; `?0`: more has to come"),
        ("Upload-Limit" = String, description = "`max-size`: the most bytes")))))]
pub(super) async fn progress(
    Ax(state): Ax<State>,
    bearer: Bearer,
    Path(id): Path<VerificationId>,
) -> Result<Response, Problem> {
    let verification = bearer.own_verification(&state, &id).await?;
    let (offset, whole) = state.services.received(&verification).await?;
    let max = state.services.settings().max_capture_bytes;
    let mut response = so_far(offset, whole);
    if let Ok(limit) = HeaderValue::from_str(&format!("max-size={max}")) {
        response.headers_mut().insert(LIMIT, limit);
    }
    Ok(response)
}

async fn take(
    state: &State,
    bearer: &Bearer,
    id: &VerificationId,
    part: Part,
    request: Request,
) -> Result<Response, Problem> {
    let verification = bearer.own_verification(state, id).await?;
    let max = state.services.settings().max_capture_bytes;
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|v| v.to_str().ok()?.parse().ok());
    let before = if let Part::From { offset, .. } = part { offset } else { 0 };
    if declared.is_some_and(|n: u64| n.saturating_add(before) > max) {
        return Err(Error::CaptureTooLarge { max }.into());
    }
    let pause = state.limits.upload_pause;
    let pieces = patient(request.into_body().into_data_stream(), pause);
    Ok(match state.services.receive_capture(&verification, part, pieces).await? {
        Received::Whole(queued) => {
            (StatusCode::ACCEPTED, axum::Json(view(state, &queued))).into_response()
        }
        Received::Part { offset } => so_far(offset, false),
    })
}

fn so_far(offset: u64, whole: bool) -> Response {
    let mut response = Response::new(Content::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(OFFSET, HeaderValue::from(offset));
    let complete = HeaderValue::from_static(if whole { "?1" } else { "?0" });
    response.headers_mut().insert(COMPLETE, complete);
    response
}

/// A Boolean (RFC 9651 §3.3.6).
fn complete(headers: &HeaderMap) -> Result<Option<bool>, Problem> {
    match headers.get(COMPLETE).map(HeaderValue::as_bytes) {
        None => Ok(None),
        Some(b"?1") => Ok(Some(true)),
        Some(b"?0") => Ok(Some(false)),
        Some(_) => Err(bad(COMPLETE, "`?1` or `?0`")),
    }
}

fn bad(name: &str, want: &str) -> Problem {
    Problem::new(Type::InvalidRequest, format!("send the header `{name}`: {want}"))
}

/// A browser says `video/webm;codecs=…`; what the file really is, is found out in the sandbox.
fn media_type(headers: &HeaderMap, is_good: impl Fn(&str) -> bool) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let bare = given.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if is_good(&bare) {
        return Ok(());
    }
    Err(Problem::new(
        Type::UnsupportedMediaType,
        "send the capture as `Content-Type: video/webm` or `video/mp4`, a later piece as \
         `application/partial-upload`",
    ))
}

/// The pieces of a body, as long as they keep coming.
fn patient<S, E>(pieces: S, pause: Duration) -> impl Stream<Item = Result<bytes::Bytes, ()>> + Send
where
    S: Stream<Item = Result<bytes::Bytes, E>> + Send,
    E: Send,
{
    stream::unfold(Some(Box::pin(pieces)), move |pieces| async move {
        let mut pieces = pieces?;
        match tokio::time::timeout(pause, pieces.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
            Ok(Some(Err(_))) | Err(_) => Some((Err(()), None)),
        }
    })
}
