//! `/v1/keys`: an operator makes and revokes API keys.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::Role;
use crate::domain::ids::ApiKeyId;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Body, Path};
use crate::http::once::{self, IdempotencyKey, once};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::access::KeyInfo;

/// A key to make.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// `app`, `generator`, `auditor`, `reviewer` or `admin`.
    #[schema(value_type = String, example = "generator")]
    role: Role,
    /// What you call it: 1 to 64 characters, and no other key's name.
    #[schema(example = "studio-7")]
    name: String,
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    /// Its public id; a generator's is the `aud` of its tokens.
    id: String,
    /// What it may.
    role: &'static str,
    /// What its owner calls it.
    name: String,
    /// When it was made (RFC 3339).
    created_at: String,
    /// When it was revoked (RFC 3339).
    revoked_at: Option<String>,
}

/// A key with its secret.
#[derive(Serialize, ToSchema)]
pub struct CreatedKey {
    /// The key.
    #[serde(flatten)]
    info: KeyView,
    /// The secret. It is shown once and not kept.
    key: String,
}

/// Makes a key.
#[utoipa::path(post, path = "/v1/keys", tag = "operation",
    params(("Idempotency-Key" = String, Header)), request_body = CreateKey,
    security(("api_key" = [])),
    responses((status = 201, body = CreatedKey),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn create(
    Ax(state): Ax<State>,
    key: Key,
    idempotency: IdempotencyKey,
    Body(request): Body<CreateKey>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Admin)?;
    let services = &state.services;
    once(&state, caller.key.as_str(), "POST /v1/keys", &idempotency, &request, async |call| {
        let render = |info: &KeyInfo, secret: &str| {
            let created = CreatedKey { info: view(info), key: secret.to_owned() };
            once::json(StatusCode::CREATED, &created)
        };
        Ok(services.create_key_once(request.role, &request.name, call, render).await?)
    })
    .await
}

/// Lists the keys, without their secrets.
#[utoipa::path(get, path = "/v1/keys", tag = "operation", security(("api_key" = [])),
    responses((status = 200, body = Vec<KeyView>),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(Ax(state): Ax<State>, key: Key) -> Result<Json<Vec<KeyView>>, Problem> {
    key.of(Role::Admin)?;
    Ok(Json(state.services.list_keys().await?.iter().map(view).collect()))
}

/// Revokes a key, at once.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "operation", params(("id" = String, Path)),
    security(("api_key" = [])),
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn revoke(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<ApiKeyId>,
) -> Result<StatusCode, Problem> {
    key.of(Role::Admin)?;
    state.services.revoke_key(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn view(k: &KeyInfo) -> KeyView {
    KeyView {
        id: k.id.to_string(),
        role: k.role.name(),
        name: k.name.clone(),
        created_at: k.created_at.rfc3339(),
        revoked_at: k.revoked_at.map(crate::env::Millis::rfc3339),
    }
}
