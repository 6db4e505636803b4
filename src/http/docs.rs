//! `/openapi.json` and a page to browse it.

use axum::Router;
use axum::http::{HeaderValue, header};
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
    Router::new().merge(browse).layer(SetResponseHeaderLayer::if_not_present(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(policy),
    ))
}
