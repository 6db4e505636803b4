//! `/v1/graph`: who follows whom, as the app says.

use axum::extract::State as Ax;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::access::Role;
use crate::domain::ids::SubjectId;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Body, Path};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::graph::Said;

/// What the app says about pairs of people.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutMutuals {
    /// 1 to 1000 pairs; those that are not named stay as they are.
    pairs: Vec<Pair>,
}

/// Two people.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The app's id of a person.
    #[schema(value_type = String, example = "user-7")]
    person: SubjectId,
    /// The app's id of another.
    #[schema(value_type = String, example = "user-8")]
    other: SubjectId,
    /// Whether they follow each other.
    mutual: bool,
}

/// Takes over who follows each other, for the audience `mutuals`. From the answer on every decision
/// goes by it.
#[utoipa::path(put, operation_id = "put_mutuals", path = "/v1/graph/mutuals", tag = "consent",
    request_body = PutMutuals, security(("api_key" = [])),
    responses((status = 204),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn put(
    Ax(state): Ax<State>,
    key: Key,
    Body(request): Body<PutMutuals>,
) -> Result<StatusCode, Problem> {
    key.of(Role::App)?;
    let said = |p: Pair| Said { person: p.person, other: p.other, mutual: p.mutual };
    let said: Vec<_> = request.pairs.into_iter().map(said).collect();
    state.services.put_mutuals(&said).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets every pair that a person is in.
#[utoipa::path(delete, operation_id = "forget_mutuals", path = "/v1/graph/mutuals/{person}", tag = "consent",
    params(("person" = String, Path)), security(("api_key" = [])),
    responses((status = 204),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn forget(
    Ax(state): Ax<State>,
    key: Key,
    Path(person): Path<SubjectId>,
) -> Result<StatusCode, Problem> {
    key.of(Role::App)?;
    state.services.forget_mutuals(&person).await?;
    Ok(StatusCode::NO_CONTENT)
}
