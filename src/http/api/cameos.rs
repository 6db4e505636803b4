//! `/v1/cameos`: a person's cameo and what they allow.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State as Ax;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::scope::ScopeBody;
use crate::domain::access::Role;
use crate::domain::consent::{Audience, Permissions};
use crate::domain::ids::{CameoId, SubjectId};
use crate::env::Millis;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Body, Path, Query};
use crate::http::problem::{Problem, ProblemBody, Type};
use crate::service::consent::Version;
use crate::service::texts::Shown;

/// A cameo.
#[derive(Serialize, ToSchema)]
pub struct CameoView {
    /// Its id.
    pub id: String,
    /// The app's own id of the person.
    pub subject: String,
    /// The version of the enrolment, from 1.
    pub template_version: u32,
    /// When it was first enrolled (RFC 3339).
    pub created_at: String,
    /// Since when it is frozen (RFC 3339); absent: it is not.
    pub frozen_since: Option<String>,
}

/// What a person allows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutConsent {
    /// `only_me`, `approved`, `mutuals` or `everyone`.
    #[schema(value_type = String, example = "everyone")]
    audience: Audience,
    /// People who may, whatever the audience (but for `only_me`).
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    allow: BTreeSet<SubjectId>,
    /// People who may not, whatever else is said.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    block: BTreeSet<SubjectId>,
    #[serde(flatten)]
    scope: ScopeBody,
    /// The version of the text that the person agreed to.
    #[schema(example = "2026-11")]
    text_version: String,
    /// The language that it was shown in (BCP 47). Needed where the text is kept here.
    #[serde(default)]
    #[schema(example = "en")]
    locale: Option<String>,
}

/// A version of a person's consent.
#[derive(Serialize, ToSchema)]
pub struct ConsentView {
    /// From 1, without gaps; also the `ETag`.
    version: u32,
    /// `given`, `changed` or `withdrawn`.
    event: &'static str,
    /// What is allowed; absent where consent was withdrawn.
    permissions: Option<PermissionsView>,
    /// The version of the text that the person agreed to.
    text_version: String,
    /// The language that it was shown in.
    locale: Option<String>,
    /// SHA-256 of the text, hexadecimal, where it is kept.
    text_sha256: Option<String>,
    /// When (RFC 3339).
    at: String,
    /// The log's entry about it.
    log_index: u64,
}

/// See `PutConsent`.
#[derive(Serialize, ToSchema)]
pub struct PermissionsView {
    audience: &'static str,
    allow: Vec<String>,
    block: Vec<String>,
    #[serde(flatten)]
    scope: ScopeBody,
}

/// Which version.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct WhichVersion {
    /// A version; the newest where none is named.
    version: Option<u32>,
}

/// Reads a cameo.
#[utoipa::path(get, operation_id = "read_cameo", path = "/v1/cameos/{id}", tag = "consent", params(("id" = String, Path)),
    security(("api_key" = [])),
    responses((status = 200, body = CameoView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
) -> Result<Json<CameoView>, Problem> {
    key.of(Role::App)?;
    let cameo = state.services.cameo(&id).await?;
    Ok(Json(CameoView {
        id: cameo.id.to_string(),
        subject: cameo.subject.as_str().to_owned(),
        template_version: cameo.template_version,
        created_at: cameo.created.rfc3339(),
        frozen_since: cameo.frozen.map(Millis::rfc3339),
    }))
}

/// Reads a version of the consent.
#[utoipa::path(get, path = "/v1/cameos/{id}/consent", tag = "consent",
    params(("id" = String, Path), WhichVersion), security(("api_key" = [])),
    responses((status = 200, body = ConsentView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read_consent(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
    Query(which): Query<WhichVersion>,
) -> Result<Response, Problem> {
    key.of(Role::App)?;
    Ok(view(state.services.consent(&id, which.version).await?))
}

/// Gives or changes consent: a new version. `If-Match` with the `ETag` of the version that was
/// read, or `If-None-Match: *` for the first, keeps two devices from overwriting each other.
#[utoipa::path(put, path = "/v1/cameos/{id}/consent", tag = "consent",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = PutConsent, security(("api_key" = [])),
    responses((status = 200, body = ConsentView),
        (status = 412, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn put_consent(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
    headers: HeaderMap,
    Body(request): Body<PutConsent>,
) -> Result<Response, Problem> {
    key.of(Role::App)?;
    let expected = expected(&headers)?;
    let permissions = Permissions {
        audience: request.audience,
        allow: request.allow,
        block: request.block,
        scope: request.scope.parse()?,
    };
    let shown = Shown { version: request.text_version, locale: request.locale };
    Ok(view(state.services.put_consent(&id, &permissions, &shown, expected).await?))
}

/// Withdraws consent, as easily as it was given: from the answer on, no further token is issued.
#[utoipa::path(delete, path = "/v1/cameos/{id}/consent", tag = "consent",
    params(("id" = String, Path)), security(("api_key" = [])),
    responses((status = 200, body = ConsentView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn withdraw_consent(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
) -> Result<Response, Problem> {
    key.of(Role::App)?;
    Ok(view(state.services.withdraw_consent(&id).await?))
}

fn expected(headers: &HeaderMap) -> Result<Option<u32>, Problem> {
    let bad =
        || Problem::new(Type::InvalidRequest, "If-Match must be the ETag of a consent, like \"3\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == b"*") {
        return Ok(Some(0));
    }
    match headers.get(header::IF_MATCH) {
        None => Ok(None),
        Some(tag) => {
            let tag = tag.to_str().map_err(|_| bad())?.trim();
            tag.trim_matches('"').parse().map(Some).map_err(|_| bad())
        }
    }
}

fn view(v: Version) -> Response {
    let tag = format!("\"{}\"", v.version);
    let permissions = v.permissions.map(|p| PermissionsView {
        audience: p.audience.name(),
        allow: p.allow.into_iter().map(String::from).collect(),
        block: p.block.into_iter().map(String::from).collect(),
        scope: p.scope.into(),
    });
    let body = ConsentView {
        version: v.version,
        event: v.kind.name(),
        permissions,
        text_version: v.text_version,
        locale: v.locale,
        text_sha256: v.text_sha256.map(hex::encode),
        at: v.at.rfc3339(),
        log_index: v.log_index,
    };
    ([(header::ETAG, tag)], Json(body)).into_response()
}
