//! `/v1/resolve`: a generator turns a cameo id into a conditioning token.

use axum::extract::State as Ax;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::Role;
use crate::domain::consent::Purpose;
use crate::domain::ids::{CameoId, SubjectId};
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::Body;
use crate::http::once::{self, IdempotencyKey, once};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::Error;
use crate::service::once::Answer;
use crate::service::resolve::{Grant, Request, Resolved};

/// What a generator asks for.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// The cameo.
    #[schema(value_type = String, example = "cam_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5")]
    cameo_id: CameoId,
    /// The app's id of the person who asks the generator for the video.
    #[schema(value_type = String, example = "user-7")]
    requester: SubjectId,
    /// `personal`, `social`, `remix`, `commercial`, `advertising`, `political` or `adult`.
    #[schema(value_type = String, example = "social")]
    purpose: Purpose,
}

/// A permitted use.
#[derive(Serialize, ToSchema)]
pub struct ResolveResponse {
    /// The record of the use.
    use_id: String,
    /// The token, base64url without padding: a `COSE_Sign1` with a CWT in it (docs/token.md). With
    /// `Accept: application/cwt` the answer is its bytes alone.
    token: String,
    /// When it expires (RFC 3339).
    expires_at: String,
    /// The version of the consent that allowed it.
    consent_version: u32,
    /// The log's entry about it.
    log_index: u64,
}

/// Asks for a cameo. A refusal is 403 with the rule that refused; both answers stand in the log.
#[utoipa::path(post, path = "/v1/resolve", tag = "resolve",
    params(("Idempotency-Key" = String, Header)),
    request_body = ResolveRequest, security(("api_key" = [])),
    responses(
        (status = 200, body = ResolveResponse),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn resolve(
    Ax(state): Ax<State>,
    key: Key,
    idempotency: IdempotencyKey,
    headers: HeaderMap,
    Body(request): Body<ResolveRequest>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Generator)?;
    let binary = headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(',').any(|t| t.trim().starts_with(CWT)));
    let asked = Request {
        cameo: request.cameo_id.clone(),
        requester: request.requester.clone(),
        purpose: request.purpose,
    };
    let services = &state.services;
    // The form is part of what is asked for: the kept answer is in one of them.
    let whole = (&request, binary);
    once(&state, caller.key.as_str(), "POST /v1/resolve", &idempotency, &whole, async |call| {
        Ok(services.resolve(&caller, &asked, Some(call), |r| render(r, binary)).await?)
    })
    .await
}

const CWT: &str = "application/cwt";

fn render(resolved: &Resolved, binary: bool) -> Answer {
    match resolved {
        Resolved::Denied { rule, .. } => once::problem(&Error::Denied(*rule).into()),
        Resolved::Allowed(grant) if binary => {
            Answer { status: 200, content_type: CWT, body: grant.token.to_vec() }
        }
        Resolved::Allowed(grant) => once::json(StatusCode::OK, &view(grant)),
    }
}

fn view(grant: &Grant) -> ResolveResponse {
    ResolveResponse {
        use_id: grant.use_id.to_string(),
        token: BASE64_URL_SAFE_NO_PAD.encode(&*grant.token),
        expires_at: grant.expires.rfc3339(),
        consent_version: grant.consent_version,
        log_index: grant.log_index,
    }
}
