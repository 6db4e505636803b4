//! `/v1/audit/disclosures`: opening one person's entries to an auditor, with two persons' say-so.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::access::Role;
use crate::domain::ids::{DisclosureId, SubjectId};
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Body, Path, Query};
use crate::http::problem::{Problem, ProblemBody};

/// What an auditor asks for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskDisclosure {
    /// The case, 1 to 64 of `A-Z a-z 0-9 . _ : / + -`.
    #[schema(example = "2026/114")]
    case_number: String,
    /// The app's id of the person.
    #[schema(value_type = String, example = "user-7")]
    subject: SubjectId,
}

/// A disclosure that waits for approval.
#[derive(Serialize, ToSchema)]
pub struct AskedDisclosure {
    /// Its id.
    id: String,
}

/// An approved disclosure.
#[derive(Serialize, ToSchema)]
pub struct ApprovedDisclosure {
    /// Until when it can be read (RFC 3339).
    until: String,
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct DisclosurePage {
    /// The first index.
    #[serde(default)]
    from: u64,
}

/// A person's entries, opened.
#[derive(Serialize, ToSchema)]
pub struct DisclosureView {
    /// The body of the commitment `subject`, hexadecimal.
    subject_ref: String,
    /// What opens the entries.
    openings: Vec<OpeningView>,
    /// The `from` of the next page, where there may be one.
    next: Option<u64>,
}

/// What opens an entry.
#[derive(Serialize, ToSchema)]
pub struct OpeningView {
    /// The entry.
    index: u64,
    /// The salt of its commitments, hexadecimal; docs/log.md says how it is used.
    salt: String,
}

/// Asks for a person's entries to be opened. Somebody else has to approve. It is an entry itself.
#[utoipa::path(post, path = "/v1/audit/disclosures", tag = "audit", security(("api_key" = [])),
    request_body = AskDisclosure,
    responses((status = 201, body = AskedDisclosure),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn ask(
    Ax(state): Ax<State>,
    key: Key,
    Body(request): Body<AskDisclosure>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Auditor)?;
    let services = &state.services;
    let id = services.ask_disclosure(&caller, &request.case_number, &request.subject).await?;
    Ok((StatusCode::CREATED, Json(AskedDisclosure { id: id.to_string() })).into_response())
}

/// Approves a disclosure for a day. It is an entry itself.
#[utoipa::path(post, path = "/v1/audit/disclosures/{id}/approval", tag = "audit",
    params(("id" = String, Path)), security(("api_key" = [])),
    responses((status = 200, body = ApprovedDisclosure),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn approve(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<DisclosureId>,
) -> Result<Json<ApprovedDisclosure>, Problem> {
    let caller = key.of(Role::Admin)?;
    let until = state.services.approve_disclosure(&caller, &id).await?;
    Ok(Json(ApprovedDisclosure { until: until.rfc3339() }))
}

/// Reads an approved disclosure: for who asked, alone. It is an entry itself.
#[utoipa::path(get, path = "/v1/audit/disclosures/{id}", tag = "audit",
    params(("id" = String, Path), DisclosurePage), security(("api_key" = [])),
    responses((status = 200, body = DisclosureView),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<DisclosureId>,
    Query(page): Query<DisclosurePage>,
) -> Result<Json<DisclosureView>, Problem> {
    let caller = key.of(Role::Auditor)?;
    let opened = state.services.read_disclosure(&caller, &id, page.from).await?;
    let view = |o: &crate::service::disclosure::Opening| OpeningView {
        index: o.index,
        salt: hex::encode(o.salt),
    };
    Ok(Json(DisclosureView {
        subject_ref: hex::encode(opened.subject_ref),
        openings: opened.openings.iter().map(view).collect(),
        next: opened.next,
    }))
}
