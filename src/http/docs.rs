//! `/openapi.json`, a page to browse it, and the front page.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use super::State;

/// The API's description as it is served and committed (`docs/openapi.json`).
pub fn openapi() -> OpenApi {
    super::api::router().into_openapi()
}

pub(super) fn router(openapi: OpenApi) -> Router<State> {
    // The browser page comes from this program alone; its own style sheet needs inline styles.
    let policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                  img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
                  form-action 'none'";
    let browse = SwaggerUi::new("/docs/api").url("/openapi.json", openapi);
    Router::new().merge(browse).route("/", get(front)).layer(
        SetResponseHeaderLayer::if_not_present(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(policy),
        ),
    )
}

async fn front() -> Response {
    Html(include_str!("front.html")).into_response()
}
