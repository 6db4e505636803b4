//! `/v1/cameos/{id}/notices`: what a person should know about their face.

use axum::Json;
use axum::extract::State as Ax;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::access::Role;
use crate::domain::ids::CameoId;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::Path;
use crate::http::problem::{Problem, ProblemBody};

/// The notices, the newest first.
#[derive(Serialize, ToSchema)]
pub struct Notices {
    /// At most 100.
    pub items: Vec<NoticeView>,
}

/// Somebody tried to enrol with this person's face under another account. Who, is not said.
#[derive(Serialize, ToSchema)]
pub struct NoticeView {
    /// `duplicate_identity`.
    pub kind: &'static str,
    /// When (RFC 3339).
    pub at: String,
    /// Where that verification stands: `review`, `verified`, `rejected` …; absent where it is gone.
    #[schema(value_type = Option<String>)]
    pub state: Option<crate::domain::verification::State>,
}

/// Lists who tried to enrol with a face like this cameo's: to be shown to its person.
#[utoipa::path(get, operation_id = "list_notices", path = "/v1/cameos/{id}/notices", tag = "consent",
    params(("id" = String, Path)), security(("api_key" = [])),
    responses((status = 200, body = Notices),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<CameoId>,
) -> Result<Json<Notices>, Problem> {
    key.of(Role::App)?;
    let view = |n: crate::service::duplicates::Notice| NoticeView {
        kind: "duplicate_identity",
        at: n.at.rfc3339(),
        state: n.state,
    };
    let items = state.services.notices(&id).await?.into_iter().map(view).collect();
    Ok(Json(Notices { items }))
}
