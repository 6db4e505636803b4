//! `/openapi.json`; the page that browses it is one of [`super::pages`].

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::openapi::OpenApi;

use super::State;

/// The API's description as it is served and committed (`docs/openapi.json`).
pub fn openapi() -> OpenApi {
    super::api::router().into_openapi()
}

pub(super) fn router(openapi: &OpenApi) -> Router<State> {
    // Types of our own: that they can't be written as JSON is a bug that the committed file's check finds.
    let text: Arc<str> = openapi.to_json().unwrap_or_default().into();
    let answer = move || {
        let answer = ([(header::CONTENT_TYPE, "application/json")], text.to_string());
        std::future::ready(answer.into_response())
    };
    Router::new().route("/openapi.json", get(answer))
}
