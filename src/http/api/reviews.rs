//! `/v1/reviews`: what a reviewer sees and decides.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::verifications::{VerificationView, view};
use crate::domain::access::Role;
use crate::domain::ids::VerificationId;
use crate::domain::key_frame::View;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Body, Path, Query};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::duplicates::Alike;
use crate::service::review::Decision;

/// Which page of the queue.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct QueuePage {
    /// The last id of the page before.
    #[param(value_type = Option<String>)]
    after: Option<VerificationId>,
    /// At most so many, up to 100.
    #[serde(default = "twenty")]
    limit: u32,
}

fn twenty() -> u32 {
    20
}

/// A page of the queue, the oldest first.
#[derive(Serialize, ToSchema)]
pub struct Queue {
    /// The verifications.
    pub items: Vec<VerificationView>,
    /// The `after` of the next page, where there may be one.
    pub next: Option<String>,
}

/// A case.
#[derive(Serialize, ToSchema)]
pub struct CaseView {
    /// The verification, with the verdict that left it open.
    pub verification: VerificationView,
    /// What was measured, as `cameo verify --evidence` takes it. Personal data.
    pub evidence: Option<Value>,
    /// Whose face it seems to be besides.
    pub matches: Vec<MatchView>,
    /// Pictures that can be asked for, at most four, in order of time. None where the service keeps none.
    pub key_frames: Vec<KeyFrameView>,
    /// Another reviewer's approval, where a check failed and two have to approve.
    pub first_approval: Option<FirstApproval>,
}

/// A picture that can be asked for.
#[derive(Serialize, ToSchema)]
pub struct KeyFrameView {
    /// Its number, for `GET /v1/reviews/{id}/frames/{n}`.
    pub n: u32,
    /// Why it was kept: `frontal`, `left`, `right`, `up`, `down`, `least_alike` or `least_live`.
    #[schema(value_type = String)]
    pub view: View,
    /// When it was taken, in milliseconds from the start of the recording.
    pub t_ms: i64,
}

/// Somebody with a face like this.
#[derive(Serialize, ToSchema)]
pub struct MatchView {
    /// `enrolled`: under another subject. `protected`: nobody may enrol it. `gone`: not there any
    /// more.
    pub kind: &'static str,
    /// The pseudonym of who is enrolled, as in the log.
    pub subject_ref: Option<String>,
    /// Since when they have been enrolled (RFC 3339).
    pub since: Option<String>,
    /// What the operator calls the protected face.
    pub label: Option<String>,
}

impl From<Alike> for MatchView {
    fn from(alike: Alike) -> Self {
        let none = Self { kind: "gone", subject_ref: None, since: None, label: None };
        match alike {
            Alike::Enrolled { subject_ref, since } => Self {
                kind: "enrolled",
                subject_ref: Some(subject_ref),
                since: Some(since.rfc3339()),
                ..none
            },
            Alike::Protected { label } => Self { kind: "protected", label: Some(label), ..none },
            Alike::Gone => none,
        }
    }
}

/// The first of two approvals.
#[derive(Serialize, ToSchema)]
pub struct FirstApproval {
    /// When (RFC 3339).
    pub at: String,
    /// Why.
    pub reason: String,
    /// Whether it is the caller's own.
    pub own: bool,
}

/// Which attempt.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The attempt; the last one where it is left out.
    attempt: Option<u32>,
}

/// A reviewer's decision.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideCase {
    /// `approve` or `reject`.
    #[schema(value_type = String, example = "approve")]
    decision: Decision,
    /// Why: 1 to 500 characters. The person can ask for it.
    reason: String,
}

/// Lists the verifications that wait for a reviewer.
#[utoipa::path(get, path = "/v1/reviews", tag = "review", params(QueuePage),
    security(("api_key" = [])),
    responses((status = 200, body = Queue),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn queue(
    Ax(state): Ax<State>,
    key: Key,
    Query(page): Query<QueuePage>,
) -> Result<Json<Queue>, Problem> {
    key.of(Role::Reviewer)?;
    let found = state.services.review_queue(page.after.as_ref(), page.limit).await?;
    let full = found.len() >= page.limit.clamp(1, crate::service::review::MAX_PAGE) as usize;
    let next = found.last().filter(|_| full).map(|v| v.id.to_string());
    Ok(Json(Queue { items: found.iter().map(|v| view(&state, v)).collect(), next }))
}

/// Shows a case with its evidence. The look is logged.
#[utoipa::path(get, path = "/v1/reviews/{id}", tag = "review", params(("id" = String, Path)),
    security(("api_key" = [])),
    responses((status = 200, body = CaseView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn inspect(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<VerificationId>,
) -> Result<Json<CaseView>, Problem> {
    let caller = key.of(Role::Reviewer)?;
    let case = state.services.inspect_case(&caller, &id).await?;
    let evidence =
        case.evidence.map(serde_json::to_value).transpose().map_err(|e| {
            crate::service::Error::Internal(format!("evidence that was parsed: {e}"))
        })?;
    let matches = case.alike.into_iter().map(MatchView::from).collect();
    let first_approval = case.first.map(|first| FirstApproval {
        at: first.at.rfc3339(),
        own: first.by == caller.key,
        reason: first.reason,
    });
    let verification = view(&state, &case.verification);
    let key_frames = case.key_frames.iter();
    let key_frames =
        key_frames.map(|k| KeyFrameView { n: k.n, view: k.view, t_ms: k.t_ms }).collect();
    Ok(Json(CaseView { verification, evidence, matches, key_frames, first_approval }))
}

/// Gives one picture of a case in review, as JPEG. Every call is an entry in the log, made before the picture is
/// sent; a picture is gone with the decision, or when nobody decides in time.
#[utoipa::path(get, operation_id = "key_frame", path = "/v1/reviews/{id}/frames/{n}", tag = "review",
    params(("id" = String, Path), ("n" = u32, Path, description = "From 1")),
    security(("api_key" = [])),
    responses((status = 200, body = Vec<u8>, content_type = "image/jpeg"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn frame(
    Ax(state): Ax<State>,
    key: Key,
    Path((id, n)): Path<(VerificationId, u32)>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Reviewer)?;
    let picture = state.services.key_frame(&caller, &id, n).await?;
    let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, picture.to_vec()).into_response())
}

/// Gives a verdict with everything it rests on, as `cameo verify --bundle` replays it: challenge, hashes of the
/// models, evidence, scores, thresholds, policy. Personal data, but no picture, sound, embedding or name. In
/// any state of the verification, as long as the evidence is kept. The look is logged.
#[utoipa::path(get, path = "/v1/reviews/{id}/bundle", tag = "review",
    params(("id" = String, Path), Which), security(("api_key" = [])),
    responses((status = 200, body = Value, content_type = "application/json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn bundle(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<VerificationId>,
    Query(which): Query<Which>,
) -> Result<Json<crate::liveness::bundle::Bundle>, Problem> {
    let caller = key.of(Role::Reviewer)?;
    Ok(Json(state.services.bundle(&caller, &id, which.attempt).await?))
}

/// Settles a case. An approval enrols the identity that was measured. Where a check failed, two reviewers have
/// to approve: after the first one the case stays in `review`.
#[utoipa::path(post, path = "/v1/reviews/{id}/decision", tag = "review",
    params(("id" = String, Path)), request_body = DecideCase, security(("api_key" = [])),
    responses((status = 200, body = VerificationView),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn decide(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<VerificationId>,
    Body(request): Body<DecideCase>,
) -> Result<Json<VerificationView>, Problem> {
    let caller = key.of(Role::Reviewer)?;
    let decided =
        state.services.decide_case(&caller, &id, request.decision, &request.reason).await?;
    Ok(Json(view(&state, &decided)))
}
