//! `/.well-known`: the public keys, for anyone.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};

use crate::crypto::keyset::{COSE_KEY_SET, JWK_SET};
use crate::http::State;
use crate::http::problem::Problem;
use crate::service::signing::KEYS_MAX_AGE;

/// The keys that sign tokens, as a `COSE_KeySet` (RFC 9052 §7).
#[utoipa::path(get, path = "/.well-known/cose-keys", tag = "resolve",
    responses((status = 200, content_type = "application/cose-key-set", body = Vec<u8>)))]
pub(super) async fn cose_keys(Ax(state): Ax<State>) -> Response {
    let keys = state.services.signing().published(state.services.clock().now());
    ([content(COSE_KEY_SET), cached()], keys.to_cose()).into_response()
}

/// The same keys as a JWK Set (RFC 7517, RFC 8037).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "resolve",
    responses((status = 200, content_type = "application/jwk-set+json", body = serde_json::Value)))]
pub(super) async fn jwks(Ax(state): Ax<State>) -> Response {
    let keys = state.services.signing().published(state.services.clock().now());
    ([content(JWK_SET), cached()], Json(keys.to_jwks())).into_response()
}

/// The log's verifier key (C2SP signed-note).
#[utoipa::path(get, path = "/.well-known/log-key", tag = "audit",
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn log_key(Ax(state): Ax<State>) -> Result<Response, Problem> {
    let key = state.services.signing().log_key()?;
    Ok(([content("text/plain; charset=utf-8"), cached()], format!("{key}\n")).into_response())
}

fn content(kind: &'static str) -> (HeaderName, String) {
    (header::CONTENT_TYPE, kind.to_owned())
}

fn cached() -> (HeaderName, String) {
    (header::CACHE_CONTROL, format!("public, max-age={}", KEYS_MAX_AGE.as_secs()))
}
