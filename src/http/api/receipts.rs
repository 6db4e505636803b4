//! Consent receipts, and everything that is kept of a person.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::crypto::keyset::{COSE_KEY_SET, JWK_SET};
use crate::domain::access::Role;
use crate::domain::ids::{CameoId, GrantId, SubjectId};
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Path, Query};
use crate::http::problem::{Problem, ProblemBody};
use crate::receipt::consent::Receipt;
use crate::service::receipts::Form;

/// Which version.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ReceiptVersion {
    /// A version; the newest where none is named.
    version: Option<u32>,
}

/// The receipt of a version of the consent (docs/receipts.md): signed JSON, or with
/// `Accept: application/cose` a `COSE_Sign1`. `cameo receipt verify` checks either offline.
#[utoipa::path(get, operation_id = "consent_receipt", path = "/v1/cameos/{id}/consent/receipt", tag = "consent",
    params(("id" = String, Path), ReceiptVersion), security(("api_key" = [])),
    responses((status = 200, content_type = "application/json", body = serde_json::Value),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn consent(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
    Query(which): Query<ReceiptVersion>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    key.of(Role::App)?;
    let receipt = state.services.consent_receipt(&id, which.version).await?;
    signed(&state, &receipt, &headers)
}

/// The receipt of a grant to one person, in the same forms.
#[utoipa::path(get, operation_id = "grant_receipt", path = "/v1/cameos/{id}/grants/{grant}/receipt", tag = "consent",
    params(("id" = String, Path), ("grant" = String, Path)), security(("api_key" = [])),
    responses((status = 200, content_type = "application/json", body = serde_json::Value),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn grant(
    Ax(state): Ax<State>,
    key: Key,
    Path((id, grant)): Path<(CameoId, GrantId)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    key.of(Role::App)?;
    let receipt = state.services.grant_receipt(&id, &grant).await?;
    signed(&state, &receipt, &headers)
}

/// Everything that is kept of a person, as a tar archive: it holds biometric data in the clear. That
/// it was asked for stands in the log.
#[utoipa::path(get, operation_id = "export_subject", path = "/v1/subjects/{subject}/export", tag = "consent",
    params(("subject" = String, Path)), security(("api_key" = [])),
    responses((status = 200, content_type = "application/x-tar", body = Vec<u8>),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn export(
    Ax(state): Ax<State>,
    key: Key,
    Path(subject): Path<SubjectId>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::App)?;
    let archive = state.services.export_person(&caller, &subject).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"cameo-export.tar\""),
    ];
    Ok((headers, archive.to_vec()).into_response())
}

/// The keys that sign consent receipts, as a `COSE_KeySet` (RFC 9052 §7).
#[utoipa::path(get, operation_id = "receipt_cose_keys", path = "/.well-known/receipt-keys", tag = "consent",
    responses((status = 200, content_type = "application/cose-key-set", body = Vec<u8>)))]
pub(super) async fn cose_keys(Ax(state): Ax<State>) -> Response {
    let keys = state.services.signing().receipt_keys();
    ([(header::CONTENT_TYPE, COSE_KEY_SET)], keys.to_cose()).into_response()
}

/// The same keys as a JWK Set (RFC 7517, RFC 8037).
#[utoipa::path(get, operation_id = "receipt_jwks", path = "/.well-known/receipt-jwks.json", tag = "consent",
    responses((status = 200, content_type = "application/jwk-set+json", body = serde_json::Value)))]
pub(super) async fn jwks(Ax(state): Ax<State>) -> Response {
    let keys = state.services.signing().receipt_keys();
    ([(header::CONTENT_TYPE, JWK_SET)], Json(keys.to_jwks())).into_response()
}

const COSE: &str = "application/cose";

fn signed(state: &State, receipt: &Receipt, headers: &HeaderMap) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let cose = accept.split(',').any(|t| t.trim().starts_with(COSE));
    let (form, kind) = if cose { (Form::Cose, COSE) } else { (Form::Json, "application/json") };
    let bytes = state.services.sign_receipt(receipt, form)?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}
