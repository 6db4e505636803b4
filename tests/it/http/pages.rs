//! The pages: how they are served, and how people get in. What they do in a browser is tested in
//! `tests/browser`.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{Answer, Setup, TestApp};

/// A request as a page sends it: with its header, and the session's cookie where there is one.
async fn as_page(
    app: &TestApp,
    method: Method,
    path: &str,
    cookie: &str,
    body: Option<Value>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("x-cameo-page", "1");
    if !cookie.is_empty() {
        request = request.header("cookie", format!("theme=dark; {cookie}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map_or_else(Body::empty, |b| Body::from(b.to_string()));
    app.call(request.body(body).unwrap()).await
}

/// Asks for a link and follows it: the cookie.
async fn follow(app: &TestApp, what: Value) -> String {
    let link = app.post("/v1/links", &app.app, &what).await;
    assert_eq!(link.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&link.body));
    let url = link.json()["url"].as_str().unwrap().to_owned();
    let (page, code) = url.split_once('#').unwrap();
    assert!(page.ends_with(what["page"].as_str().unwrap()) && code.starts_with("cameo_link_"));
    let opened = as_page(app, Method::POST, "/v1/session", "", Some(json!({ "code": code }))).await;
    let again = as_page(app, Method::POST, "/v1/session", "", Some(json!({ "code": code }))).await;
    assert_eq!(again.problem(), "unauthenticated", "a link worked twice");
    cookie(&opened)
}

fn cookie(opened: &Answer) -> String {
    let set = opened.headers["set-cookie"].to_str().unwrap();
    for attribute in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_answers_its_own_verification_alone() {
    let app = TestApp::start(Setup::default()).await;
    let (id, _, _) = app.open("person-1").await;
    let (other, _, _) = app.open("person-2").await;
    let cookie = follow(&app, json!({ "page": "enroll", "verification": id })).await;
    let path = format!("/v1/verifications/{id}");
    let seen = as_page(&app, Method::GET, &path, &cookie, None).await.json();
    assert_eq!(
        (seen["id"].as_str(), &seen["consent_text_version"]),
        (Some(&*id), &json!("test-1"))
    );
    assert_eq!(
        seen["keeps"],
        json!({ "capture_s": 0, "evidence_s": 2_592_000, "sample_s": 900, "key_frames_s": 604_800 })
    );
    let foreign = format!("/v1/verifications/{other}");
    assert_eq!(as_page(&app, Method::GET, &foreign, &cookie, None).await.problem(), "not-found");
    // Without the page's header the cookie counts for nothing.
    let bare = Request::get(&path).header("cookie", &cookie).body(Body::empty()).unwrap();
    assert_eq!(app.call(bare).await.problem(), "unauthenticated");
    // It is no key of any role.
    for path in [
        "/v1/reviews",
        "/v1/audit/entries",
        "/v1/keys",
        "/v1/cameos/cam_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5",
    ] {
        assert_eq!(
            as_page(&app, Method::GET, path, &cookie, None).await.problem(),
            "unauthenticated"
        );
    }
    app.clock.advance(Duration::from_secs(1801));
    assert_eq!(as_page(&app, Method::GET, &path, &cookie, None).await.problem(), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_for_apps_and_end() {
    let app = TestApp::start(Setup::default()).await;
    let me = json!({ "page": "me", "subject": "person-1" });
    assert_eq!(app.post("/v1/links", &app.generator, &me).await.problem(), "forbidden");
    let nothing = json!({ "page": "enroll", "verification": "ver_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5" });
    assert_eq!(app.post("/v1/links", &app.app, &nothing).await.problem(), "not-found");
    let bad = json!({ "page": "review" });
    assert_eq!(app.post("/v1/links", &app.app, &bad).await.problem(), "invalid-request");
    let link = app.post("/v1/links", &app.app, &me).await.json();
    let code = link["url"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
    // A form of another site can't sign a browser in: it can't send the header.
    let forged = Request::post("/v1/session")
        .header("content-type", "application/json")
        .body(Body::from(json!({ "code": code }).to_string()))
        .unwrap();
    assert_eq!(app.call(forged).await.problem(), "unauthenticated");
    app.clock.advance(Duration::from_secs(601));
    let late = as_page(&app, Method::POST, "/v1/session", "", Some(json!({ "code": code }))).await;
    assert_eq!(late.problem(), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_signs_in_until_it_is_revoked_or_signed_out() {
    let app = TestApp::start(Setup::default()).await;
    for key in [&app.app, &app.generator] {
        let body = Some(json!({ "api_key": key }));
        let refused = as_page(&app, Method::POST, "/v1/session", "", body).await;
        assert_eq!(refused.problem(), "forbidden");
    }
    let body = Some(json!({ "api_key": app.reviewer }));
    let opened = as_page(&app, Method::POST, "/v1/session", "", body.clone()).await;
    assert_eq!(opened.json()["role"], "reviewer");
    let first = cookie(&opened);
    assert_eq!(
        as_page(&app, Method::GET, "/v1/reviews", &first, None).await.status,
        StatusCode::OK
    );
    let wrong = as_page(&app, Method::GET, "/v1/audit/entries", &first, None).await;
    assert_eq!(wrong.problem(), "forbidden");
    let out = as_page(&app, Method::DELETE, "/v1/session", &first, None).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(
        as_page(&app, Method::GET, "/v1/reviews", &first, None).await.problem(),
        "unauthenticated"
    );
    let second = cookie(&as_page(&app, Method::POST, "/v1/session", "", body).await);
    let keys = app.services.list_keys().await.unwrap();
    let id = &keys.iter().find(|k| k.name.starts_with("reviewer")).unwrap().id;
    app.services.revoke_key(id).await.unwrap();
    assert_eq!(
        as_page(&app, Method::GET, "/v1/reviews", &second, None).await.problem(),
        "unauthenticated"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_strict_and_their_parts_are_kept() {
    let config = "[server]\nembed_origins = [\"https://app.example\"]\n".to_owned();
    let app = TestApp::start(Setup { config, ..Setup::default() }).await;
    for path in ["/", "/enroll", "/me", "/review", "/audit", "/docs", "/docs/api"] {
        let page = app.get(path, "").await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let csp = page.headers["content-security-policy"].to_str().unwrap();
        assert!(csp.contains("default-src 'none'") && !csp.contains("unsafe"), "{path}: {csp}");
        let framed = csp.contains("frame-ancestors https://app.example;");
        assert_eq!(framed, path == "/enroll", "{path}: {csp}");
        let permissions = page.headers["permissions-policy"].to_str().unwrap();
        assert_eq!(permissions.contains("camera=(self)"), path == "/enroll");
        let tag = page.headers["etag"].to_str().unwrap();
        let again = Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap();
        assert_eq!(app.call(again).await.status, StatusCode::NOT_MODIFIED);
        let text = String::from_utf8(page.body).unwrap();
        let sheet = text.split('"').find(|t| t.ends_with("base.css")).unwrap();
        let part = app.get(sheet, "").await;
        let kept = part.headers["cache-control"].to_str().unwrap();
        assert!(kept.contains("immutable"), "{kept}");
        assert_eq!(part.headers["content-type"], "text/css; charset=utf-8");
    }
    let old = app.get("/assets/0000000000000000/base.css", "").await;
    assert_eq!(
        (old.status.as_u16(), &old.headers["cache-control"]),
        (200, &"no-store".parse().unwrap())
    );
    assert_eq!(app.get("/assets/0000000000000000/../Cargo.toml", "").await.problem(), "not-found");
    let module = app.get("/cameo.js", "").await;
    assert_eq!(module.headers["access-control-allow-origin"], "*");
}
