//! `/v1/uses`, `/v1/takedowns`, `/v1/status-lists`: what becomes of a use, and of the token that
//! permitted it.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::access::Role;
use crate::domain::ids::{CameoId, TakedownId, UseId};
use crate::domain::uses::OutcomeState;
use crate::env::Millis;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Body, Path, Query};
use crate::http::once::{self, IdempotencyKey, once};
use crate::http::problem::{Problem, ProblemBody, Type};
use crate::receipt::usage::UseReceipt;
use crate::service::status::TTL;
use crate::service::takedown::Acknowledgement;
use crate::service::uses::{MAX_PAGE, Report, UseView as Seen};
use crate::store::outcomes::Outcome;
use crate::store::takedowns::Takedown;
use crate::store::uses::UseOutcome;
use crate::token::status;

/// What a generator reports.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportBody {
    /// `draft`, `published` or `deleted`.
    #[schema(value_type = String, example = "published")]
    state: OutcomeState,
    /// SHA-256 of the video's file, hexadecimal.
    #[serde(default)]
    content_sha256: Option<String>,
    /// Where the video's C2PA manifest is found: a URI.
    #[serde(default)]
    manifest: Option<String>,
}

/// A report.
#[derive(Serialize, ToSchema)]
pub struct OutcomeView {
    /// From 1, without gaps.
    seq: u32,
    /// `draft`, `published` or `deleted`.
    state: &'static str,
    /// SHA-256 of the video's file, hexadecimal.
    content_sha256: Option<String>,
    /// Where the video's C2PA manifest is found.
    manifest: Option<String>,
    /// When it was reported (RFC 3339).
    at: String,
    /// The log's entry about it.
    log_index: u64,
}

/// A use.
#[derive(Serialize, ToSchema)]
pub struct UseView {
    /// Its id.
    id: String,
    /// The cameo.
    cameo_id: String,
    /// The generator's key.
    generator: String,
    /// What for.
    purpose: &'static str,
    /// Who asked for it; absent for generators.
    requester: Option<String>,
    /// `allowed` or `denied`.
    decision: &'static str,
    /// The rule that refused.
    rule: Option<&'static str>,
    /// What allowed it: `standing`, or a grant's id.
    grant: Option<String>,
    /// The version of the consent.
    consent_version: Option<u32>,
    /// The use whose video this one derives from.
    parent: Option<String>,
    /// When (RFC 3339).
    at: String,
    /// The token's status: `valid`, `invalid` or `suspended`.
    token_status: Option<&'static str>,
    /// When the token expires (RFC 3339).
    expires_at: Option<String>,
    /// What the generator reported last.
    outcome: Option<OutcomeView>,
    /// The objection to it.
    takedown: Option<TakedownView>,
    /// The log's entry about it.
    log_index: u64,
}

/// A take-down.
#[derive(Serialize, ToSchema)]
pub struct TakedownView {
    /// Its id.
    id: String,
    /// The use.
    use_id: String,
    /// `open`, `acknowledged`, `done` or `escalated`.
    state: &'static str,
    /// `objection`, `withdrawn` or `deleted`.
    reason: &'static str,
    /// When it was asked for (RFC 3339).
    created_at: String,
    /// Until when it has to be acknowledged (RFC 3339).
    deadline: String,
    /// When it was (RFC 3339).
    acknowledged_at: Option<String>,
    /// When the video was gone (RFC 3339).
    done_at: Option<String>,
    /// When it went to the operator (RFC 3339).
    escalated_at: Option<String>,
}

/// What a generator answers to a take-down.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeBody {
    /// `acknowledged`, or `done` when the video is gone.
    #[schema(value_type = String, example = "acknowledged")]
    state: Acknowledgement,
}

/// Which page of uses.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct UsesPage {
    /// The `log_index` of the last use of the page before.
    before: Option<u64>,
    /// At most so many, up to 100.
    #[serde(default = "most")]
    limit: u32,
}

/// Which page of take-downs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct TakedownsPage {
    /// The last take-down of the page before.
    #[param(value_type = Option<String>)]
    before: Option<TakedownId>,
    /// At most so many, up to 100.
    #[serde(default = "most")]
    limit: u32,
}

fn most() -> u32 {
    MAX_PAGE
}

/// Lists all uses of a cameo, drafts and refusals included, the newest first.
#[utoipa::path(get, path = "/v1/cameos/{id}/uses", tag = "uses",
    params(("id" = String, Path), UsesPage), security(("api_key" = [])),
    responses((status = 200, body = Vec<UseView>),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn of_cameo(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
    Query(page): Query<UsesPage>,
) -> Result<Json<Vec<UseView>>, Problem> {
    key.of(Role::App)?;
    let found = state.services.uses(&id, page.before, page.limit).await?;
    Ok(Json(found.iter().map(view).collect()))
}

/// Reads a use: an app any, a generator its own.
#[utoipa::path(get, path = "/v1/uses/{id}", tag = "uses", params(("id" = String, Path)),
    security(("api_key" = [])),
    responses((status = 200, body = UseView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<UseId>,
) -> Result<Json<UseView>, Problem> {
    Ok(Json(view(&state.services.one_use(&key.0, &id).await?)))
}

/// Proof that a use stands in the log, to be checked offline with the log's key.
#[utoipa::path(get, path = "/v1/uses/{id}/receipt", tag = "uses", params(("id" = String, Path)),
    security(("api_key" = [])),
    responses((status = 200, body = serde_json::Value),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn receipt(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<UseId>,
) -> Result<Json<UseReceipt>, Problem> {
    Ok(Json(state.services.use_receipt(&key.0, &id).await?))
}

/// Reports what became of a use. `deleted` settles a take-down.
#[utoipa::path(post, path = "/v1/uses/{id}/outcome", tag = "uses",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    request_body = ReportBody, security(("api_key" = [])),
    responses((status = 201, body = OutcomeView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn report(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<UseId>,
    idempotency: IdempotencyKey,
    Body(request): Body<ReportBody>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Generator)?;
    let content_sha256 = request.content_sha256.as_deref().map(sha256).transpose()?;
    let report =
        Report { state: request.state, content_sha256, manifest: request.manifest.clone() };
    let services = &state.services;
    let whole = (&id, &request);
    let route = "POST /v1/uses/{id}/outcome";
    once(&state, caller.key.as_str(), route, &idempotency, &whole, async |call| {
        let render = |o: &Outcome| once::json(StatusCode::CREATED, &outcome(o));
        Ok(services.report_outcome(&caller, &id, &report, Some(call), render).await?)
    })
    .await
}

/// Objects to a use: its generator is told to take the video down.
#[utoipa::path(post, path = "/v1/uses/{id}/takedown", tag = "uses",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    security(("api_key" = [])),
    responses((status = 202, body = TakedownView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn request_takedown(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<UseId>,
    idempotency: IdempotencyKey,
) -> Result<Response, Problem> {
    let caller = key.of(Role::App)?;
    let services = &state.services;
    let route = "POST /v1/uses/{id}/takedown";
    once(&state, caller.key.as_str(), route, &idempotency, &id, async |call| {
        let render = |t: &Takedown| once::json(StatusCode::ACCEPTED, &takedown(t));
        Ok(services.request_takedown(&id, Some(call), render).await?)
    })
    .await
}

/// Lists a cameo's take-downs, the newest first.
#[utoipa::path(get, path = "/v1/cameos/{id}/takedowns", tag = "uses",
    params(("id" = String, Path), TakedownsPage), security(("api_key" = [])),
    responses((status = 200, body = Vec<TakedownView>)))]
pub(super) async fn takedowns_of_cameo(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
    Query(page): Query<TakedownsPage>,
) -> Result<Json<Vec<TakedownView>>, Problem> {
    key.of(Role::App)?;
    let found = state.services.takedowns_of_cameo(&id, page.before.as_ref(), page.limit).await?;
    Ok(Json(found.iter().map(takedown).collect()))
}

/// Lists take-downs, the newest first: for a generator those it has to act on, for an operator
/// those that were not acknowledged in time.
#[utoipa::path(get, path = "/v1/takedowns", tag = "uses", params(TakedownsPage),
    security(("api_key" = [])),
    responses((status = 200, body = Vec<TakedownView>),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn takedowns(
    Ax(state): Ax<State>,
    key: Key,
    Query(page): Query<TakedownsPage>,
) -> Result<Json<Vec<TakedownView>>, Problem> {
    let services = &state.services;
    let found = if key.0.role == Role::Admin {
        services.escalated_takedowns(page.before.as_ref(), page.limit).await?
    } else {
        let caller = key.of(Role::Generator)?;
        services.takedowns_of_generator(&caller, page.before.as_ref(), page.limit).await?
    };
    Ok(Json(found.iter().map(takedown).collect()))
}

/// Answers a take-down.
#[utoipa::path(put, path = "/v1/takedowns/{id}", tag = "uses", params(("id" = String, Path)),
    request_body = AcknowledgeBody, security(("api_key" = [])),
    responses((status = 200, body = TakedownView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn acknowledge(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<TakedownId>,
    Body(request): Body<AcknowledgeBody>,
) -> Result<Json<TakedownView>, Problem> {
    let caller = key.of(Role::Generator)?;
    let found = state.services.acknowledge_takedown(&caller, &id, request.state).await?;
    Ok(Json(takedown(&found)))
}

/// A Token Status List (draft-ietf-oauth-status-list), signed, for anyone.
#[utoipa::path(get, path = "/v1/status-lists/{list}", tag = "resolve",
    params(("list" = u32, Path)),
    responses((status = 200, content_type = "application/statuslist+cwt", body = Vec<u8>),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn status_list(
    Ax(state): Ax<State>,
    Path(list): Path<u32>,
) -> Result<Response, Problem> {
    let signed = state.services.status_list(list).await?;
    let headers = [
        (header::CONTENT_TYPE, status::TYPE.to_owned()),
        (header::CACHE_CONTROL, format!("public, max-age={}", TTL.as_secs())),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
    ];
    Ok((headers, signed).into_response())
}

fn sha256(text: &str) -> Result<[u8; 32], Problem> {
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out).map(|()| out).map_err(|_| {
        Problem::new(Type::InvalidRequest, "content_sha256 must be 64 hexadecimal digits")
    })
}

fn view(seen: &Seen) -> UseView {
    let record = &seen.record;
    let (decision, rule) = match &record.outcome {
        UseOutcome::Allowed { .. } => ("allowed", None),
        UseOutcome::Denied(rule) => ("denied", Some(rule.name())),
    };
    UseView {
        id: record.id.to_string(),
        cameo_id: record.cameo.to_string(),
        generator: record.generator.to_string(),
        purpose: record.purpose.name(),
        requester: seen.requester.as_ref().map(|r| r.as_str().to_owned()),
        decision,
        rule,
        grant: record.grant.as_ref().map(|g| g.name().to_owned()),
        consent_version: record.consent_version,
        parent: record.parent.as_ref().map(UseId::to_string),
        at: record.issued.rfc3339(),
        token_status: seen.status.map(status::Status::name),
        expires_at: seen.expires().map(Millis::rfc3339),
        outcome: seen.outcome.as_ref().map(outcome),
        takedown: seen.takedown.as_ref().map(takedown),
        log_index: record.log_index,
    }
}

fn outcome(o: &Outcome) -> OutcomeView {
    OutcomeView {
        seq: o.seq,
        state: o.state.name(),
        content_sha256: o.content_sha256.map(hex::encode),
        manifest: o.manifest.clone(),
        at: o.at.rfc3339(),
        log_index: o.log_index,
    }
}

fn takedown(t: &Takedown) -> TakedownView {
    TakedownView {
        id: t.id.to_string(),
        use_id: t.use_id.to_string(),
        state: t.state.name(),
        reason: t.reason.name(),
        created_at: t.created.rfc3339(),
        deadline: t.deadline.rfc3339(),
        acknowledged_at: t.acknowledged.map(Millis::rfc3339),
        done_at: t.done.map(Millis::rfc3339),
        escalated_at: t.escalated.map(Millis::rfc3339),
    }
}
