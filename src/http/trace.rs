//! What is known of every request: its id, a log line, a metric. Never a credential, a body or a
//! query.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State as Ax};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::State;
use super::problem::{Problem, Type};
use crate::env::{SystemEntropy, random};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id.
#[derive(Clone)]
struct RequestId(HeaderValue);

/// Takes over the caller's request id where it is a plain word, makes one otherwise, and sends it
/// back.
pub(super) async fn request_id(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).filter(|v| {
        (1..=64).contains(&v.len())
            && v.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    });
    // An id is no secret and decides nothing, so it needs no injected source.
    let fresh = || HeaderValue::from_str(&hex::encode(random::<8>(&SystemEntropy)));
    let id = match given.cloned().map_or_else(fresh, Ok) {
        Ok(id) => id,
        Err(_) => HeaderValue::from_static("none"),
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Logs and counts a request by its route, not by its path: paths hold ids.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let method = known(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |p| p.as_str().to_owned());
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let id = id.as_ref().and_then(|v| v.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!("request", method, route, id);
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let took = started.elapsed();
    span.in_scope(|| tracing::info!(status, ms = took.as_millis() as u64, "answered"));
    let labels = [("method", method.to_owned()), ("route", route), ("status", status.to_string())];
    metrics::counter!("cameo_http_requests_total", &labels).increment(1);
    metrics::histogram!("cameo_http_request_seconds", &labels[..2]).record(took.as_secs_f64());
    response
}

/// Lets only so many requests in, and only for so long. Uploads are slow by nature, so they have
/// places and a clock of their own; event streams look after themselves.
pub(super) async fn admit(Ax(state): Ax<State>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let upload =
        path.ends_with("/capture") && [Method::PUT, Method::PATCH].contains(request.method());
    if path.ends_with("/events") {
        return next.run(request).await;
    }
    let (places, time) = if upload {
        (&state.uploads, state.limits.upload)
    } else {
        (&state.in_flight, state.limits.request)
    };
    let Ok(_place) = places.try_acquire() else {
        return Problem::from(crate::service::Error::Busy).into_response();
    };
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Type::Timeout, "the request took too long").into_response(),
    }
}

/// Clients may make up methods; a metric must not have a label for each.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
