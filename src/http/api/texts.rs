//! `/v1/consent-texts`: the texts that people are shown, word for word.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State as Ax;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::Role;
use crate::domain::consent::Purpose;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Body, Path};
use crate::http::problem::{Problem, ProblemBody};
use crate::store::texts::Text;

/// A text that people are shown when they consent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutText {
    /// The words, at most 65536 bytes.
    body: String,
    /// The purposes that it names to the person. On this text, `advertising`, `political` and `adult`
    /// can be granted only where it names them.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    purposes: BTreeSet<Purpose>,
}

/// A text that is kept.
#[derive(Serialize, ToSchema)]
pub struct TextView {
    version: String,
    /// The language (BCP 47).
    locale: String,
    body: String,
    /// The purposes that it names to the person.
    purposes: Vec<&'static str>,
    /// SHA-256 of the body's bytes (UTF-8), hexadecimal: what consents and receipts name.
    sha256: String,
    /// When it was kept (RFC 3339).
    kept_at: String,
}

/// Keeps a text in one language. A text never changes: a changed one is a new version.
#[utoipa::path(put, operation_id = "put_consent_text", path = "/v1/consent-texts/{version}/{locale}", tag = "consent",
    params(("version" = String, Path), ("locale" = String, Path)),
    request_body = PutText, security(("api_key" = [])),
    responses((status = 200, body = TextView),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn put(
    Ax(state): Ax<State>,
    key: Key,
    Path((version, locale)): Path<(String, String)>,
    Body(request): Body<PutText>,
) -> Result<Json<TextView>, Problem> {
    key.of(Role::App)?;
    let services = &state.services;
    let text = services.put_text(&version, &locale, &request.body, &request.purposes).await?;
    Ok(Json(view(text)))
}

/// A text, for anyone: a receipt names its hash.
#[utoipa::path(get, operation_id = "read_consent_text", path = "/v1/consent-texts/{version}/{locale}", tag = "consent",
    params(("version" = String, Path), ("locale" = String, Path)),
    responses((status = 200, body = TextView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    Ax(state): Ax<State>,
    Path((version, locale)): Path<(String, String)>,
) -> Result<Json<TextView>, Problem> {
    Ok(Json(view(state.services.text(&version, &locale).await?)))
}

fn view(text: Text) -> TextView {
    TextView {
        version: text.version,
        locale: text.locale,
        body: text.body,
        purposes: text.purposes.into_iter().map(Purpose::name).collect(),
        sha256: hex::encode(text.sha256),
        kept_at: text.at.rfc3339(),
    }
}
