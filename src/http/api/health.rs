//! `/healthz`, `/readyz`, `/metrics`: for operators.

use std::time::{Duration, Instant};

use axum::extract::State as Ax;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::http::State;

/// The routes.
pub fn router() -> Router<State> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// Whether the process answers at all.
async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// What was found, and when: whoever asks again and again must not cost a database access each time.
pub(in crate::http) struct Found {
    at: Instant,
    status: StatusCode,
    body: Value,
}

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(2);

/// Whether the service can do its work: 503 where something is missing without which it can't.
async fn readyz(Ax(state): Ax<State>) -> Response {
    let mut last = state.health.lock().await;
    let found = match last.take() {
        Some(found) if found.at.elapsed() < FRESH => found,
        _ => look(&state).await,
    };
    let found = last.insert(found);
    (found.status, Json(found.body.clone())).into_response()
}

async fn look(state: &State) -> Found {
    let services = &state.services;
    let reachable = services.db().ping().await.is_ok();
    let current = reachable && services.db().migrations_current().await.unwrap_or(false);
    let missing: Vec<_> = services.models().missing().iter().map(|r| r.name()).collect();
    // Without these no capture can be measured; without the others it goes to review.
    let needed = ["face_detector", "face_mesh", "face_embedding", "voice_activity"];
    let measurable = !missing.iter().any(|m| needed.contains(m));
    let ready = reachable && current && measurable;
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "database": { "reachable": reachable, "migrations_current": current },
        "models": { "loaded": services.models().refs(), "missing": missing },
        "search": if services.search_is_ready() { "ready" } else { "building" },
        "verdicts": if missing.is_empty() { "full" } else { "review" },
        "sandbox": state.sandbox.as_ref().map(|p| p.layers),
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Found { at: Instant::now(), status, body }
}

/// Prometheus text format.
async fn metrics(Ax(state): Ax<State>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics.render()).into_response()
}
