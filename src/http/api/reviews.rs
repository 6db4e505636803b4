//! `/v1/reviews`: what a reviewer sees and decides.

use axum::Json;
use axum::extract::State as Ax;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::verifications::{VerificationView, view};
use crate::domain::access::Role;
use crate::domain::ids::VerificationId;
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
    Ok(Json(CaseView { verification: view(&state, &case.verification), evidence, matches }))
}

/// Settles a case. An approval enrols the identity that was measured.
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
