//! `/v1/cameos/{id}/requests` and `/v1/requests`: asking a person, and what they answer; and the
//! grants that come of it.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::scope::{ScopeBody, time};
use crate::domain::access::Role;
use crate::domain::consent::Grant;
use crate::domain::ids::{CameoId, GrantId, RequestId, SubjectId};
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Body, Path, Query};
use crate::http::once::{self, IdempotencyKey, once};
use crate::http::problem::{Problem, ProblemBody, Type};
use crate::service::grants::GrantView;
use crate::service::requests::{Asked, Verdict, Wish};
use crate::service::texts::Shown;

/// A request to use somebody's cameo.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    /// The app's id of the person who asks.
    #[schema(value_type = String, example = "user-7")]
    requester: SubjectId,
    /// What they say to the person: at most 500 bytes.
    #[serde(default)]
    message: Option<String>,
    #[serde(flatten)]
    scope: ScopeBody,
}

/// A request as it stands.
#[derive(Serialize, ToSchema)]
pub struct RequestView {
    id: String,
    cameo_id: String,
    /// The app's id of the person who asks.
    requester: String,
    message: Option<String>,
    /// What they would like to be granted.
    wish: ScopeBody,
    /// `pending`, `approved`, `declined` or `expired`.
    state: &'static str,
    /// When it was made (RFC 3339).
    created_at: String,
    /// When it lapses if nobody decides (RFC 3339).
    expires_at: String,
}

/// A page of requests.
#[derive(Serialize, ToSchema)]
pub struct Requests {
    items: Vec<RequestView>,
}

/// Which requests.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct RequestsPage {
    /// `pending`: only those that wait for a decision.
    state: Option<OnlyPending>,
    /// The last one of the page before.
    after: Option<String>,
    /// At most so many, up to 200.
    #[serde(default = "fifty")]
    limit: u32,
}

/// The one state that can be asked for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnlyPending {
    /// Waiting for a decision.
    Pending,
}

fn fifty() -> u32 {
    50
}

/// What the person says to a request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// `once` (one use within 30 days), `until` (for a time), `decline`, or `never` (no, and nothing
    /// they ask reaches the person any more).
    decision: Answered,
    /// For `until`: until when (RFC 3339).
    #[serde(default)]
    until: Option<String>,
    /// What is granted instead of what was wished.
    #[serde(default)]
    scope: Option<ScopeBody>,
    /// The version of the text that the person was shown; absent: that of their consent.
    #[serde(default)]
    text_version: Option<String>,
    /// The language that it was shown in (BCP 47).
    #[serde(default)]
    locale: Option<String>,
}

/// See `AnswerRequest`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// One use.
    Once,
    /// For a time.
    Until,
    /// No.
    Decline,
    /// No, and silence from now on.
    Never,
}

/// What came of an answer.
#[derive(Serialize, ToSchema)]
pub struct AnswerView {
    request: RequestView,
    /// The grant that was given.
    grant: Option<GrantBody>,
}

/// A grant to one person.
#[derive(Serialize, ToSchema)]
pub struct GrantBody {
    id: String,
    /// Whom it is for.
    to: String,
    /// What it covers.
    scope: ScopeBody,
}

/// A grant in a list.
#[derive(Serialize, ToSchema)]
pub struct GrantItem {
    #[serde(flatten)]
    grant: GrantBody,
    /// The request that it answers.
    request_id: Option<String>,
    /// When it was given (RFC 3339).
    granted_at: String,
    /// When it was taken back (RFC 3339).
    revoked_at: Option<String>,
    /// The log's entry about it.
    log_index: u64,
}

/// A page of grants.
#[derive(Serialize, ToSchema)]
pub struct Grants {
    items: Vec<GrantItem>,
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct GrantsPage {
    /// The last one of the page before.
    after: Option<String>,
    /// At most so many, up to 500.
    #[serde(default = "fifty")]
    limit: u32,
}

/// Whose requests are kept from the person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MuteRequest {
    /// The person who is muted; absent: everybody.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    requester: Option<SubjectId>,
    /// `false` ends it.
    muted: bool,
    /// Until when (RFC 3339); absent: for ever.
    #[serde(default)]
    until: Option<String>,
}

/// Asks a person to let somebody use their cameo. Who asks again while a request is open gets that
/// one. Whoever the person blocked or muted gets the same answer as anyone.
#[utoipa::path(post, operation_id = "ask_person", path = "/v1/cameos/{id}/requests", tag = "consent",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    request_body = AskRequest, security(("api_key" = [])),
    responses((status = 201, body = RequestView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn ask(
    Ax(state): Ax<State>,
    key: Key,
    idempotency: IdempotencyKey,
    Path(id): Path<CameoId>,
    Body(request): Body<AskRequest>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::App)?;
    let whole = (&id, &request);
    let wish = Wish {
        requester: request.requester.clone(),
        scope: request.scope.clone().parse()?,
        message: request.message.clone(),
    };
    let services = &state.services;
    let scope = caller.key.as_str();
    once(&state, scope, "POST /v1/cameos/requests", &idempotency, &whole, async |call| {
        let answer = |asked: &Asked| once::json(StatusCode::CREATED, &view(asked.clone()));
        Ok(services.ask_person(&id, &wish, Some(call), answer).await?)
    })
    .await
}

/// The requests for a cameo, for its person.
#[utoipa::path(get, operation_id = "list_requests", path = "/v1/cameos/{id}/requests", tag = "consent",
    params(("id" = String, Path), RequestsPage), security(("api_key" = [])),
    responses((status = 200, body = Requests),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
    Query(page): Query<RequestsPage>,
) -> Result<Json<Requests>, Problem> {
    key.of(Role::App)?;
    let after: Option<RequestId> = page.after.as_deref().map(cursor).transpose()?;
    let open = page.state.is_some();
    let found = state.services.requests(&id, open, after.as_ref(), page.limit).await?;
    Ok(Json(Requests { items: found.into_iter().map(view).collect() }))
}

/// A request, for whoever made it.
#[utoipa::path(get, operation_id = "read_request", path = "/v1/requests/{id}", tag = "consent",
    params(("id" = String, Path)), security(("api_key" = [])),
    responses((status = 200, body = RequestView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<RequestId>,
) -> Result<Json<RequestView>, Problem> {
    key.of(Role::App)?;
    Ok(Json(view(state.services.request(&id).await?)))
}

/// Answers a request: once, for a time, no, or never.
#[utoipa::path(post, operation_id = "answer_request", path = "/v1/requests/{id}/decision", tag = "consent",
    params(("id" = String, Path)), request_body = AnswerRequest, security(("api_key" = [])),
    responses((status = 200, body = AnswerView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn answer(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<RequestId>,
    Body(request): Body<AnswerRequest>,
) -> Result<Json<AnswerView>, Problem> {
    key.of(Role::App)?;
    let until = request.until.as_deref().map(|t| time("until", t)).transpose()?;
    let scope = request.scope.map(ScopeBody::parse).transpose()?;
    let verdict = match (request.decision, until) {
        (Answered::Once, None) => Verdict::Once(scope),
        (Answered::Until, Some(until)) => Verdict::Until(until, scope),
        (Answered::Decline, None) => Verdict::Decline,
        (Answered::Never, None) => Verdict::Never,
        (_, _) => {
            let detail = "`until` goes with the decision `until`, and only with it";
            return Err(Problem::new(Type::InvalidRequest, detail));
        }
    };
    let shown = request.text_version.map(|version| Shown { version, locale: request.locale });
    let services = &state.services;
    let (asked, grant) = services.answer_request(&id, &verdict, shown.as_ref()).await?;
    Ok(Json(AnswerView { request: view(asked), grant: grant.map(GrantBody::from) }))
}

/// Keeps one person's requests, or everybody's, from reaching the person, or ends that.
#[utoipa::path(put, operation_id = "mute_requests", path = "/v1/cameos/{id}/mute", tag = "consent",
    params(("id" = String, Path)), request_body = MuteRequest, security(("api_key" = [])),
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn mute(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
    Body(request): Body<MuteRequest>,
) -> Result<StatusCode, Problem> {
    key.of(Role::App)?;
    let until = request.until.as_deref().map(|t| time("until", t)).transpose()?;
    state.services.mute(&id, request.requester.as_ref(), request.muted, until).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The grants of a cameo to single people, revoked ones too.
#[utoipa::path(get, operation_id = "list_grants", path = "/v1/cameos/{id}/grants", tag = "consent",
    params(("id" = String, Path), GrantsPage), security(("api_key" = [])),
    responses((status = 200, body = Grants),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn grants(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
    Query(page): Query<GrantsPage>,
) -> Result<Json<Grants>, Problem> {
    key.of(Role::App)?;
    let after: Option<GrantId> = page.after.as_deref().map(cursor).transpose()?;
    let found = state.services.grants(&id, after.as_ref(), page.limit).await?;
    Ok(Json(Grants { items: found.into_iter().map(item).collect() }))
}

/// Takes a grant back: from the answer on it allows nothing any more.
#[utoipa::path(delete, operation_id = "revoke_grant", path = "/v1/cameos/{id}/grants/{grant}", tag = "consent",
    params(("id" = String, Path), ("grant" = String, Path)), security(("api_key" = [])),
    responses((status = 200, body = GrantItem),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn revoke(
    Ax(state): Ax<State>,
    key: Key,
    Path((id, grant)): Path<(CameoId, GrantId)>,
) -> Result<Json<GrantItem>, Problem> {
    key.of(Role::App)?;
    Ok(Json(item(state.services.revoke_grant(&id, &grant).await?)))
}

fn cursor<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    let bad = |_| Problem::new(Type::InvalidRequest, "after must be the id of an item");
    text.parse().map_err(bad)
}

fn view(asked: Asked) -> RequestView {
    RequestView {
        id: asked.id.to_string(),
        cameo_id: asked.cameo.to_string(),
        requester: asked.wish.requester.into(),
        message: asked.wish.message,
        wish: asked.wish.scope.into(),
        state: asked.standing.name(),
        created_at: asked.created.rfc3339(),
        expires_at: asked.expires.rfc3339(),
    }
}

impl From<Grant> for GrantBody {
    fn from(grant: Grant) -> Self {
        Self { id: grant.id.to_string(), to: grant.to.into(), scope: grant.scope.into() }
    }
}

fn item(grant: GrantView) -> GrantItem {
    GrantItem {
        grant: grant.grant.into(),
        request_id: grant.request.map(|r| r.to_string()),
        granted_at: grant.granted.rfc3339(),
        revoked_at: grant.revoked.map(crate::env::Millis::rfc3339),
        log_index: grant.log_index,
    }
}
