//! The pages that people use: `/enroll`, `/me`, `/review`, `/audit`, `/docs`, and the module with
//! which an app embeds the first. They are plain files of `web/`, built into the program; what they
//! show comes from the API, with the session that [`super::api::session`] opens.
//!
//! Scripts, styles and texts stand under one address that holds a hash of them all, so they can be
//! kept for ever and always fit each other. Nothing is loaded from anywhere else, and no page has a
//! script or a style in its text, which the policy forbids.

mod assets;
mod policy;

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::{Path, State as Ax};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::State;
use super::problem::{self, Type};
use crate::crypto::hash::sha256_parts;
use crate::tlog::Kind;

pub use policy::is_origin;

use assets::{ASSETS, Asset, PAGES};
use policy::Page;

/// The embedded files as they are served.
struct Site {
    /// A hash of every file: part of their address.
    version: String,
    assets: HashMap<&'static str, &'static Asset>,
    pages: HashMap<&'static str, String>,
}

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let parts: Vec<&[u8]> =
        ASSETS.iter().flat_map(|a| [a.name.as_bytes(), b"\0", a.text.as_bytes(), b"\0"]).collect();
    let version = hex::encode(&sha256_parts(&parts)[..8]);
    let base = format!("/assets/{version}");
    let pages = PAGES.iter().map(|(name, text)| {
        let text = text
            .replace("{{assets}}", &base)
            .replace("{{problems}}", &problems())
            .replace("{{kinds}}", &kinds());
        (*name, text)
    });
    Site { assets: ASSETS.iter().map(|a| (a.name, a)).collect(), pages: pages.collect(), version }
});

pub(super) fn router() -> Router<State> {
    Router::new()
        .route("/", get(front))
        .route("/enroll", get(enroll))
        .route("/me", get(me))
        .route("/review", get(review))
        .route("/audit", get(audit))
        .route("/docs", get(docs))
        .route("/docs/api", get(docs_api))
        .route("/docs/api/", get(docs_api))
        .route("/cameo.js", get(embed))
        .route("/cameo.d.ts", get(embed_types))
        .route("/assets/{version}/{*name}", get(asset))
}

async fn front(Ax(state): Ax<State>, headers: HeaderMap) -> Response {
    page(&state, &headers, Page::Plain, "front")
}

async fn enroll(Ax(state): Ax<State>, headers: HeaderMap) -> Response {
    page(&state, &headers, Page::Enroll, "enroll")
}

async fn me(Ax(state): Ax<State>, headers: HeaderMap) -> Response {
    page(&state, &headers, Page::Plain, "me")
}

async fn review(Ax(state): Ax<State>, headers: HeaderMap) -> Response {
    page(&state, &headers, Page::Plain, "review")
}

async fn audit(Ax(state): Ax<State>, headers: HeaderMap) -> Response {
    page(&state, &headers, Page::Plain, "audit")
}

async fn docs(Ax(state): Ax<State>, headers: HeaderMap) -> Response {
    page(&state, &headers, Page::Plain, "docs")
}

async fn docs_api(Ax(state): Ax<State>, headers: HeaderMap) -> Response {
    page(&state, &headers, Page::Plain, "docs/api")
}

/// A page: asked for anew each time, sent only where it changed.
fn page(state: &State, headers: &HeaderMap, kind: Page, name: &str) -> Response {
    let Some(text) = SITE.pages.get(name) else { return missing() };
    let mut response = tagged(headers, "text/html; charset=utf-8", text);
    policy::apply(response.headers_mut(), kind, &state.embedders);
    response
}

async fn asset(Path((version, name)): Path<(String, String)>) -> Response {
    let Some(asset) = SITE.assets.get(name.as_str()) else { return missing() };
    // A page of another version asks while the service is being replaced: what it gets must not
    // be kept under that address.
    let keep =
        if version == SITE.version { "public, max-age=31536000, immutable" } else { "no-store" };
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, keep),
        (policy::CORP, "same-origin"),
    ];
    (headers, asset.text).into_response()
}

async fn embed(headers: HeaderMap) -> Response {
    foreign(tagged(&headers, "text/javascript; charset=utf-8", assets::EMBED))
}

async fn embed_types(headers: HeaderMap) -> Response {
    foreign(tagged(&headers, "text/plain; charset=utf-8", assets::EMBED_TYPES))
}

/// Other sites load this.
fn foreign(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(policy::CORP, HeaderValue::from_static("cross-origin"));
    response
}

/// A text that is asked for anew each time and sent where it changed (RFC 9110 §13.1.2).
fn tagged(headers: &HeaderMap, kind: &'static str, text: &str) -> Response {
    let tag = format!("\"{}\"", hex::encode(&sha256_parts(&[text.as_bytes()])[..8]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let same =
        known.is_some_and(|v| v.split(',').any(|t| t.trim().trim_start_matches("W/") == tag));
    let about = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_TYPE, kind.to_owned()),
    ];
    if same {
        (StatusCode::NOT_MODIFIED, about).into_response()
    } else {
        (about, text.to_owned()).into_response()
    }
}

fn missing() -> Response {
    problem::Problem::new(Type::NotFound, "there is no such file").into_response()
}

/// The rows of the table of problem types. The texts are our own; they still pass the escape.
fn problems() -> String {
    let row = |t: &Type| {
        format!(
            "<tr id=\"{0}\"><th scope=\"row\"><code>{0}</code></th><td class=\"num\">{1}</td>\
             <td>{2}</td><td>{3}</td></tr>\n",
            t.slug(),
            t.status().as_u16(),
            escape(t.title()),
            escape(t.fix())
        )
    };
    Type::ALL.iter().map(row).collect()
}

/// The log's kinds of entries by number, for the browser that decodes them.
fn kinds() -> String {
    let pairs = Kind::ALL.iter().map(|k| format!("{}:{}", k.number(), k.name()));
    pairs.collect::<Vec<_>>().join(" ")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
