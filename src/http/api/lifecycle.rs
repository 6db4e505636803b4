//! `/v1/cameos/{id}/freeze` and the deletion of a cameo: a person says no.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::access::Role;
use crate::domain::ids::CameoId;
use crate::domain::uses::DeletionReason;
use crate::env::Millis;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Path, Query};
use crate::http::problem::{Problem, ProblemBody};
use crate::receipt::deletion;
use crate::service::lifecycle::Frozen;
use crate::store::deletions::Deletion;

/// Whether a cameo is frozen.
#[derive(Serialize, ToSchema)]
pub struct FrozenView {
    /// Since when (RFC 3339); absent: it is not.
    frozen_since: Option<String>,
    /// Tokens under way that this call suspended, or made good again.
    tokens: u64,
}

/// How to delete.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct DeleteCameo {
    /// Whether the generators are asked to take down the videos that they reported.
    #[serde(default)]
    takedown: bool,
}

/// A deletion.
#[derive(Serialize, ToSchema)]
pub struct DeletionView {
    /// The cameo that was.
    cameo_id: String,
    /// `request`, `withdrawn`, `unused` or `inactive`.
    reason: &'static str,
    /// When (RFC 3339).
    deleted_at: String,
    /// The certificate, base64url without padding: a `COSE_Sign1` by the log's key
    /// (docs/uses.md). `GET /v1/deletions/{id}` gives its bytes.
    certificate: String,
    /// The log's entry about it.
    log_index: u64,
}

/// Freezes a cameo, at once: no token is issued, and those under way are suspended.
#[utoipa::path(put, path = "/v1/cameos/{id}/freeze", tag = "consent",
    params(("id" = String, Path)), security(("api_key" = [])),
    responses((status = 200, body = FrozenView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn freeze(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
) -> Result<Json<FrozenView>, Problem> {
    key.of(Role::App)?;
    Ok(Json(frozen(state.services.freeze(&id).await?)))
}

/// Ends a freeze: what was granted holds again.
#[utoipa::path(delete, path = "/v1/cameos/{id}/freeze", tag = "consent",
    params(("id" = String, Path)), security(("api_key" = [])),
    responses((status = 200, body = FrozenView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn thaw(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
) -> Result<Json<FrozenView>, Problem> {
    key.of(Role::App)?;
    Ok(Json(frozen(state.services.thaw(&id).await?)))
}

/// Deletes a cameo for good: the person's key and everything under it is destroyed, tokens under
/// way are revoked, and a certificate says so. The app's account is not touched.
#[utoipa::path(delete, path = "/v1/cameos/{id}", tag = "consent",
    params(("id" = String, Path), DeleteCameo), security(("api_key" = [])),
    responses((status = 200, body = DeletionView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn delete(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
    Query(how): Query<DeleteCameo>,
) -> Result<Json<DeletionView>, Problem> {
    key.of(Role::App)?;
    let why = DeletionReason::Request;
    Ok(Json(deletion(&state.services.delete_cameo(&id, why, how.takedown).await?)))
}

/// The certificate of deletion of a cameo that was: the `COSE_Sign1` itself.
#[utoipa::path(get, path = "/v1/deletions/{id}", tag = "consent", params(("id" = String, Path)),
    security(("api_key" = [])),
    responses((status = 200, content_type = "application/cameo-deletion+cbor", body = Vec<u8>),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn certificate(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
) -> Result<Response, Problem> {
    match key.0.role {
        Role::Auditor => {}
        _ => drop(key.of(Role::App)?),
    }
    let found = state.services.deletion(&id).await?;
    Ok(([(header::CONTENT_TYPE, deletion::TYPE)], found.certificate).into_response())
}

fn frozen(f: Frozen) -> FrozenView {
    FrozenView { frozen_since: f.since.map(Millis::rfc3339), tokens: f.tokens }
}

fn deletion(d: &Deletion) -> DeletionView {
    DeletionView {
        cameo_id: d.cameo.to_string(),
        reason: d.reason.name(),
        deleted_at: d.at.rfc3339(),
        certificate: BASE64_URL_SAFE_NO_PAD.encode(&d.certificate),
        log_index: d.log_index,
    }
}
