//! `/v1/links` and `/v1/session`: how people get into the pages.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::{Holder, Role};
use crate::domain::ids::{SubjectId, VerificationId};
use crate::http::State;
use crate::http::auth::{Bearer, COOKIE, Key, from_page};
use crate::http::body::Body;
use crate::http::problem::{Problem, ProblemBody, Type};
use crate::service::session::{Issued, SESSION_TTL};
use crate::store::page_sessions::PageSession;

/// Which page a link leads to.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "page", rename_all = "snake_case", deny_unknown_fields)]
pub enum CreateLink {
    /// Onboarding: `/enroll`.
    Enroll {
        /// The verification to answer.
        #[schema(value_type = String, example = "ver_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5")]
        verification: VerificationId,
    },
    /// A person's own cameo: `/me`.
    Me {
        /// The app's own id of the person who is signed in to the app.
        #[schema(value_type = String, example = "user-42")]
        subject: SubjectId,
    },
}

/// A link that works once.
#[derive(Serialize, ToSchema)]
pub struct LinkView {
    /// Where to send the person's browser. The code is in the fragment, which no server sees.
    #[schema(example = "https://cameo.example/me#cameo_link_…")]
    url: String,
    /// Until when it can be followed (RFC 3339).
    expires_at: String,
}

/// Opens a session.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OpenSession {
    /// With the code of a link.
    Link {
        /// `cameo_link_…`
        code: String,
    },
    /// With a reviewer's or an auditor's key.
    Key {
        /// `cameo_reviewer_…` or `cameo_auditor_…`
        api_key: String,
    },
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
pub struct SessionView {
    /// The verification that this device may answer.
    verification: Option<String>,
    /// The person, by the app's own id.
    subject: Option<String>,
    /// The person's cameo, where they have one.
    cameo_id: Option<String>,
    /// `reviewer` or `auditor`.
    role: Option<&'static str>,
    /// Until when (RFC 3339).
    expires_at: String,
}

/// Makes a link that opens a page for one person, once. For the app's own server, when the person
/// is signed in there.
#[utoipa::path(post, path = "/v1/links", tag = "pages", request_body = CreateLink,
    security(("api_key" = [])),
    responses((status = 201, body = LinkView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn create_link(
    Ax(state): Ax<State>,
    key: Key,
    Body(request): Body<CreateLink>,
) -> Result<Response, Problem> {
    let app = key.of(Role::App)?.key;
    let (page, holder) = match request {
        CreateLink::Enroll { verification } => ("enroll", Holder::Verification(verification)),
        CreateLink::Me { subject } => ("me", Holder::Subject(subject)),
    };
    let link = state.services.create_link(&app, &holder).await?;
    let site = &state.services.settings().issuer;
    let view = LinkView {
        url: format!("{}/{page}#{}", site.trim_end_matches('/'), link.expose()),
        expires_at: link.session.expires.rfc3339(),
    };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// Signs in: the answer sets the session's cookie. For the pages, which send `X-Cameo-Page`.
#[utoipa::path(post, path = "/v1/session", tag = "pages", request_body = OpenSession,
    params(("X-Cameo-Page" = String, Header)),
    responses((status = 200, body = SessionView),
        (status = 401, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn open(
    Ax(state): Ax<State>,
    headers: HeaderMap,
    Body(request): Body<OpenSession>,
) -> Result<Response, Problem> {
    // Nobody else's form may sign a browser in.
    if !from_page(&headers) {
        return Err(Problem::new(Type::Unauthenticated, "send `X-Cameo-Page`"));
    }
    let issued = match request {
        OpenSession::Link { code } => state.services.follow_link(&code).await?,
        OpenSession::Key { api_key } => state.services.sign_in(&api_key).await?,
    };
    let role = match &issued.session.holder {
        Holder::Key(_) => Some(state.services.session_caller(issued.expose()).await?.role),
        _ => None,
    };
    let view = view(&state, &issued.session, role).await?;
    Ok(([set(&issued)], Json(view)).into_response())
}

/// Says who is signed in.
#[utoipa::path(get, path = "/v1/session", tag = "pages",
    params(("X-Cameo-Page" = String, Header)),
    responses((status = 200, body = SessionView),
        (status = 401, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    Ax(state): Ax<State>,
    bearer: Bearer,
) -> Result<Json<SessionView>, Problem> {
    let secret = bearer.session()?;
    let session = state.services.session(secret).await?;
    let role = match &session.holder {
        Holder::Key(_) => Some(state.services.session_caller(secret).await?.role),
        _ => None,
    };
    Ok(Json(view(&state, &session, role).await?))
}

/// Signs out.
#[utoipa::path(delete, path = "/v1/session", tag = "pages",
    params(("X-Cameo-Page" = String, Header)), responses((status = 204)))]
pub(super) async fn close(Ax(state): Ax<State>, bearer: Bearer) -> Result<Response, Problem> {
    state.services.sign_out(bearer.session()?).await?;
    Ok((StatusCode::NO_CONTENT, [cookie("", 0)]).into_response())
}

async fn view(
    state: &State,
    session: &PageSession,
    role: Option<Role>,
) -> Result<SessionView, Problem> {
    let mut view = SessionView {
        verification: None,
        subject: None,
        cameo_id: None,
        role: role.map(Role::name),
        expires_at: session.expires.rfc3339(),
    };
    match &session.holder {
        Holder::Verification(id) => view.verification = Some(id.to_string()),
        Holder::Subject(id) => {
            view.subject = Some(id.as_str().to_owned());
            view.cameo_id = state.services.cameo_of(id).await?.map(|c| c.to_string());
        }
        Holder::Key(_) => {}
    }
    Ok(view)
}

fn set(issued: &Issued) -> (HeaderName, String) {
    cookie(issued.expose(), SESSION_TTL.as_secs())
}

/// RFC 6265bis: over TLS (or on the machine itself), to this host alone, unreadable for scripts,
/// and never sent along from another site.
fn cookie(value: &str, seconds: u64) -> (HeaderName, String) {
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Strict";
    (header::SET_COOKIE, format!("{COOKIE}={value}; Max-Age={seconds}; {attributes}"))
}
