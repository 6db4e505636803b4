//! `/v1/decisions`: what would happen, without anything happening.

use axum::Json;
use axum::extract::State as Ax;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resolve::UseBody;
use super::scope::time;
use crate::domain::access::Role;
use crate::domain::ids::{ApiKeyId, CameoId};
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::Body;
use crate::http::problem::{Problem, ProblemBody, Type};
use crate::service::decisions::Foreseen;

/// A use somebody has in mind.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// The cameos of the scene, 1 to 8 different ones.
    #[schema(value_type = Vec<String>)]
    cameo_ids: Vec<CameoId>,
    /// The generator, by the id of its key. A generator asks for itself and leaves it out; an app
    /// names one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    generator: Option<ApiKeyId>,
    /// As of this moment instead of now (RFC 3339).
    #[serde(default)]
    at: Option<String>,
    #[serde(flatten)]
    use_: UseBody,
}

/// What would happen.
#[derive(Serialize, ToSchema)]
pub struct DecisionResponse {
    /// `allow`: every cameo would be given; `deny`: none would.
    decision: &'static str,
    /// Each cameo, in the order of the request.
    cameos: Vec<CameoDecision>,
}

/// What would happen with one cameo.
#[derive(Serialize, ToSchema)]
pub struct CameoDecision {
    cameo_id: String,
    /// `allow` or `deny`.
    decision: &'static str,
    /// The rule that refuses.
    rule: Option<&'static str>,
    /// The rule in a sentence.
    meaning: Option<&'static str>,
    /// What can be done about it.
    fix: Option<&'static str>,
    /// What the use would be bound to.
    obligations: Option<ObligationsView>,
    /// The rules that were looked at, in their order; the last one is that which refuses.
    checks: Vec<Check>,
}

/// A rule that was looked at.
#[derive(Serialize, ToSchema)]
pub struct Check {
    rule: &'static str,
    /// Whether it lets the use pass.
    passes: bool,
}

/// What a use would be bound to.
#[derive(Serialize, ToSchema)]
pub struct ObligationsView {
    /// Whether the token would carry the voice.
    voice: bool,
    /// Whether the token would carry images.
    images: bool,
    /// What the generator would have to heed.
    restrictions: Vec<String>,
    /// A token would not outlive this moment (RFC 3339).
    until: Option<String>,
}

/// Explains what a resolve would answer, without counting a use, keeping a record or writing to the
/// log. Whom a person blocked does not show: it looks like not being in the audience.
#[utoipa::path(post, operation_id = "foresee", path = "/v1/decisions", tag = "resolve",
    request_body = DecisionRequest, security(("api_key" = [])),
    responses((status = 200, body = DecisionResponse),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn decide(
    Ax(state): Ax<State>,
    key: Key,
    Body(request): Body<DecisionRequest>,
) -> Result<Json<DecisionResponse>, Problem> {
    let invalid = |detail: &str| Err(Problem::new(Type::InvalidRequest, detail));
    let generator = match (key.0.role, request.generator) {
        (Role::Generator, None) => key.0.key,
        (Role::Generator, Some(named)) if named == key.0.key => named,
        (Role::Generator, Some(_)) => {
            return invalid("generator: a generator asks for itself; leave it out");
        }
        (_, named) => {
            key.of(Role::App)?;
            match named {
                Some(named) => named,
                None => return invalid("generator: an app names the generator's key"),
            }
        }
    };
    let at = request.at.as_deref().map(|t| time("at", t)).transpose()?;
    let asked = request.use_.about(request.cameo_ids);
    let foreseen = state.services.foresee(&generator, &asked, at).await?;
    let allowed = foreseen.iter().all(|f| f.rule.is_none());
    let cameos = foreseen.into_iter().map(view).collect();
    Ok(Json(DecisionResponse { decision: word(allowed), cameos }))
}

fn word(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

fn view(f: Foreseen) -> CameoDecision {
    CameoDecision {
        cameo_id: f.cameo.to_string(),
        decision: word(f.rule.is_none()),
        rule: f.rule.map(|r| r.name()),
        meaning: f.rule.map(|r| r.meaning()),
        fix: f.rule.map(|r| r.fix()),
        checks: f
            .looked_at()
            .map(|rule| Check { rule: rule.name(), passes: f.rule != Some(rule) })
            .collect(),
        obligations: f.obligations.map(|o| ObligationsView {
            voice: o.voice,
            images: o.images,
            restrictions: o.restrictions,
            until: o.until.map(crate::env::Millis::rfc3339),
        }),
    }
}
