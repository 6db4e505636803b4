//! `/v1/resolve` and `/v1/scenes`: a generator turns cameo ids into conditioning tokens.

use axum::extract::State as Ax;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::Role;
use crate::domain::consent::{Purpose, Region, Style};
use crate::domain::ids::{CameoId, SubjectId, UseId};
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::Body;
use crate::http::once::{self, IdempotencyKey, once_within};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::Error;
use crate::service::decisions::Request;
use crate::service::issue::Issued;
use crate::service::once::{Answer, Call};
use crate::service::resolve::{Refusal, Resolved};

/// What a generator asks for.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// The cameo.
    #[schema(value_type = String, example = "cam_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5")]
    cameo_id: CameoId,
    #[serde(flatten)]
    use_: UseBody,
}

/// What a generator asks for: several cameos for one scene, all or none.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SceneRequest {
    /// The cameos, 1 to 8 different ones.
    #[schema(value_type = Vec<String>)]
    cameo_ids: Vec<CameoId>,
    #[serde(flatten)]
    use_: UseBody,
}

/// A use somebody has in mind.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct UseBody {
    /// The app's id of the person who asks the generator for the video.
    #[schema(value_type = String, example = "user-7")]
    pub(super) requester: SubjectId,
    /// `personal`, `social`, `remix`, `commercial`, `advertising`, `political` or `adult`.
    #[schema(value_type = String, example = "social")]
    pub(super) purpose: Purpose,
    /// `photoreal` or `stylised`.
    #[serde(default = "photoreal")]
    #[schema(value_type = String, example = "photoreal")]
    pub(super) style: Style,
    /// Where the video will be shown: a country's two capital letters.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "DE")]
    pub(super) region: Option<Region>,
    /// Whether it makes no sense without the voice: then a consent without it refuses.
    #[serde(default)]
    pub(super) needs_voice: bool,
    /// Whether it makes no sense without images: then a consent without them refuses.
    #[serde(default)]
    pub(super) needs_images: bool,
    /// The use that made the video which this one derives from: whoever is in that one must permit
    /// a remix, as things stand now.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(super) parent: Option<UseId>,
    /// SHA-256 of the generator's own request (a prompt, say), hexadecimal: then the token says
    /// that it is good for that one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) request_digest: Option<HexDigest>,
}

/// A SHA-256 in hexadecimal.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct HexDigest(pub(super) [u8; 32]);

impl TryFrom<String> for HexDigest {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)
            .map(|()| Self(digest))
            .map_err(|_| "a SHA-256 is 64 hexadecimal digits")
    }
}

impl From<HexDigest> for String {
    fn from(digest: HexDigest) -> Self {
        hex::encode(digest.0)
    }
}

fn photoreal() -> Style {
    Style::Photoreal
}

impl UseBody {
    /// The question about these cameos.
    pub(super) fn about(&self, cameos: Vec<CameoId>) -> Request {
        Request {
            cameos,
            requester: self.requester.clone(),
            purpose: self.purpose,
            style: self.style,
            region: self.region,
            needs_voice: self.needs_voice,
            needs_images: self.needs_images,
            parent: self.parent.clone(),
            request_digest: self.request_digest.map(|d| d.0),
        }
    }
}

/// A permitted use.
#[derive(Serialize, ToSchema)]
pub struct ResolveResponse {
    /// The record of the use.
    use_id: String,
    /// The cameo.
    cameo_id: String,
    /// The token, base64url without padding: a `COSE_Sign1` with a CWT in it (docs/token.md). With
    /// `Accept: application/cwt` the answer of `/v1/resolve` is its bytes alone.
    token: String,
    /// When it expires (RFC 3339).
    expires_at: String,
    /// The version of the consent that allowed it.
    consent_version: u32,
    /// What allowed it: `standing` for the person's permissions, or the id of a grant.
    grant: String,
    /// The log's entry about it.
    log_index: u64,
}

/// A scene whose uses are all permitted.
#[derive(Serialize, ToSchema)]
pub struct SceneResponse {
    /// What the tokens were given together for; absent for a single cameo.
    scene_id: Option<String>,
    /// One for each cameo, in the order of the request.
    uses: Vec<ResolveResponse>,
}

/// Asks for a cameo. A refusal is 403 with the rule that refused; both answers stand in the log.
#[utoipa::path(post, path = "/v1/resolve", tag = "resolve",
    params(("Idempotency-Key" = String, Header)),
    request_body = ResolveRequest, security(("api_key" = [])),
    responses(
        (status = 200, body = ResolveResponse),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
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
    let asked = request.use_.about(vec![request.cameo_id.clone()]);
    let services = &state.services;
    // The form is part of what is asked for: the kept answer is in one of them.
    let whole = (&request, binary);
    let run = async |call: &Call| {
        Ok(services.resolve(&caller, &asked, Some(call), |r| one(r, binary)).await?)
    };
    once_within(&state, caller.key.as_str(), "POST /v1/resolve", &idempotency, &whole, run).await
}

/// Asks for several cameos for one scene: a token for each, or none at all. A refusal is 403 and
/// says of every cameo which rule refused.
#[utoipa::path(post, operation_id = "resolve_scene", path = "/v1/scenes", tag = "resolve",
    params(("Idempotency-Key" = String, Header)),
    request_body = SceneRequest, security(("api_key" = [])),
    responses(
        (status = 200, body = SceneResponse),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn scene(
    Ax(state): Ax<State>,
    key: Key,
    idempotency: IdempotencyKey,
    Body(request): Body<SceneRequest>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Generator)?;
    let asked = request.use_.about(request.cameo_ids.clone());
    let services = &state.services;
    let run = async |call: &Call| Ok(services.resolve(&caller, &asked, Some(call), all).await?);
    once_within(&state, caller.key.as_str(), "POST /v1/scenes", &idempotency, &request, run).await
}

const CWT: &str = "application/cwt";

fn one(resolved: &Resolved, binary: bool) -> Answer {
    match resolved {
        Resolved::Denied { refusals } => refused(refusals),
        Resolved::Allowed { issued, .. } => match issued.first() {
            Some(issued) if binary => {
                Answer { status: 200, content_type: CWT, body: issued.token.to_vec() }
            }
            Some(issued) => once::json(StatusCode::OK, &view(issued)),
            None => once::problem(&Error::Internal("a permitted use has no token".into()).into()),
        },
    }
}

fn all(resolved: &Resolved) -> Answer {
    match resolved {
        Resolved::Denied { refusals } => refused(refusals),
        Resolved::Allowed { scene, issued } => {
            let scene_id = scene.as_ref().map(ToString::to_string);
            let uses = issued.iter().map(view).collect();
            once::json(StatusCode::OK, &SceneResponse { scene_id, uses })
        }
    }
}

fn refused(refusals: &[Refusal]) -> Answer {
    once::problem(&Problem::refused(refusals))
}

fn view(issued: &Issued) -> ResolveResponse {
    ResolveResponse {
        use_id: issued.use_id.to_string(),
        cameo_id: issued.cameo.to_string(),
        token: BASE64_URL_SAFE_NO_PAD.encode(&*issued.token),
        expires_at: issued.expires.rfc3339(),
        consent_version: issued.consent_version,
        grant: issued.grant.name().to_owned(),
        log_index: issued.log_index,
    }
}
