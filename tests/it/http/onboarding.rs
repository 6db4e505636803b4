//! Credentials, idempotency, expiry and lock-out: everything that needs no model.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::captures;

fn start() -> Value {
    json!({ "subject": "person-1", "consent_text_version": "test-1" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_issued_once_for_each_key() {
    let app = TestApp::start(Setup::default()).await;
    let send = |key: Option<&str>, body: Value| {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/v1/verifications")
            .header("authorization", format!("Bearer {}", app.app))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        app.call(request.body(Body::from(body.to_string())).unwrap())
    };
    let missing = send(None, start()).await;
    assert_eq!(
        (missing.status.as_u16(), missing.problem().as_str()),
        (400, "idempotency-key-missing")
    );

    let first = send(Some("k1"), start()).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let body = first.json();
    assert_eq!(body["state"], "pending");
    let digits: String = body["challenge"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g.as_str().unwrap())
        .collect();
    assert_eq!(digits.len(), 6);
    assert_eq!(body["challenge"]["motions"].as_array().unwrap().len(), 2);
    assert!(body["client_token"].as_str().unwrap().starts_with("cameo_client_"));

    let again = send(Some("k1"), start()).await;
    assert_eq!(again.body, first.body);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = json!({ "subject": "person-2", "consent_text_version": "test-1" });
    let reused = send(Some("k1"), other).await;
    assert_eq!(
        (reused.status.as_u16(), reused.problem().as_str()),
        (422, "idempotency-key-reused")
    );
    assert_ne!(send(Some("k2"), start()).await.json()["id"], body["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_credential_opens_a_door() {
    let app = TestApp::start(Setup::default()).await;
    let (id, token, _) = app.open("person-1").await;
    let (_, foreign, _) = app.open("person-2").await;
    let path = format!("/v1/verifications/{id}");
    assert_eq!(app.get(&path, &token).await.status, StatusCode::OK);
    assert_eq!(app.get(&path, &app.app).await.status, StatusCode::OK);
    let mut mistyped = token.clone();
    mistyped.pop();
    for bad in ["", "x", &foreign, &mistyped] {
        let refused = app.get(&path, bad).await;
        assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (401, "unauthenticated"));
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
    }
    for (method, path, credential) in [
        (Method::GET, path.as_str(), &app.generator),
        (Method::POST, "/v1/verifications", &app.generator),
        (Method::POST, "/v1/resolve", &app.app),
        (Method::GET, "/v1/audit/entries", &app.app),
        (Method::GET, "/v1/reviews", &app.app),
    ] {
        let body = match path {
            "/v1/resolve" => json!({
                "cameo_id": "cam_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5", "requester": "x", "purpose": "social"
            }),
            _ => start(),
        };
        let body = (method == Method::POST).then_some(&body);
        let refused = app.call(app.request(method, path, credential, body)).await;
        assert_eq!(
            (refused.status.as_u16(), refused.problem().as_str()),
            (403, "forbidden"),
            "{path}"
        );
    }
    // A client token ends.
    app.clock.advance(Duration::from_secs(1801));
    assert_eq!(app.get(&path, &token).await.problem(), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_expires_and_a_retry_brings_another() {
    let app = TestApp::start(Setup::default()).await;
    let (id, token, first) = app.open("person-1").await;
    let path = format!("/v1/verifications/{id}/retry");
    let early = app.post(&path, &token, &json!({})).await;
    assert_eq!((early.status.as_u16(), early.problem().as_str()), (409, "wrong-state"));
    app.clock.advance(Duration::from_secs(181));
    let late = app.upload(&id, &token, captures::test_picture(1)).await;
    assert_eq!((late.status.as_u16(), late.problem().as_str()), (409, "challenge-expired"));
    assert_eq!(
        app.get(&format!("/v1/verifications/{id}"), &token).await.json()["state"],
        "expired"
    );
    let retried = app.post(&path, &token, &json!({})).await;
    assert_eq!(retried.status, StatusCode::CREATED);
    let retried = retried.json();
    assert_eq!(
        (retried["attempt"].as_u64(), retried["state"].as_str()),
        (Some(2), Some("pending"))
    );
    assert_ne!(retried["challenge"], first["challenge"]);
    // The first attempt's token is good no more.
    let old = app.get(&format!("/v1/verifications/{id}"), &token).await;
    assert_eq!(old.problem(), "unauthenticated");
    assert!(app.captures_on_disk().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_keys_and_description_are_public() {
    let app = TestApp::start(Setup::default()).await;
    assert_eq!(app.get("/healthz", "").await.status, StatusCode::OK);
    let ready = app.get("/readyz", "").await;
    // Without models nothing can be measured, and the service says so.
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    let ready = ready.json();
    assert_eq!(ready["database"]["migrations_current"], true);
    assert!(ready["models"]["missing"].as_array().unwrap().contains(&json!("face_mesh")));
    assert_eq!(ready["sandbox"]["seccomp"], true);
    let api = app.get("/openapi.json", "").await.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(api["paths"]["/v1/resolve"]["post"].is_object());
    for path in ["/docs/api", "/docs/api/"] {
        assert_eq!(app.get(path, "").await.status, StatusCode::OK);
    }
    let jwks = app.get("/.well-known/jwks.json", "").await.json();
    assert_eq!(jwks["keys"][0]["crv"], "Ed25519");
    let nowhere = app.get("/v1/nowhere", "").await;
    assert_eq!(nowhere.problem(), "not-found");
    assert!(nowhere.headers.contains_key("x-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_makes_and_revokes_keys() {
    let app = TestApp::start(Setup::default()).await;
    let admin =
        app.services.create_key(cameo::domain::access::Role::Admin, "root").await.unwrap().1;
    let admin = admin.expose();
    let wish = json!({ "role": "auditor", "name": "second auditor" });
    assert_eq!(app.post("/v1/keys", &app.app, &wish).await.problem(), "forbidden");
    let made = app.post("/v1/keys", admin, &wish).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(app.post("/v1/keys", admin, &wish).await.problem(), "invalid-request");
    let made = made.json();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(app.get("/v1/audit/entries", key).await.status, StatusCode::OK);
    let list = app.get("/v1/keys", admin).await;
    assert!(!String::from_utf8_lossy(&list.body).contains(key), "a list shows a secret");
    let path = format!("/v1/keys/{id}");
    let revoke = || app.call(app.request(Method::DELETE, &path, admin, None));
    assert_eq!(revoke().await.status, StatusCode::NO_CONTENT);
    assert_eq!(revoke().await.problem(), "not-found");
    assert_eq!(app.get("/v1/audit/entries", key).await.problem(), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_retry_can_be_had_again() {
    let app = TestApp::start(Setup::default()).await;
    let (id, token, _) = app.open("person-1").await;
    app.clock.advance(Duration::from_secs(181));
    let retry = || {
        let path = format!("/v1/verifications/{id}/retry");
        let mut request = app.request(Method::POST, &path, &token, None);
        request.headers_mut().insert("idempotency-key", "one".parse().unwrap());
        app.call(request)
    };
    let first = retry().await;
    assert_eq!(first.status, StatusCode::CREATED);
    // The token was replaced by the answer that got lost.
    assert_eq!(retry().await.body, first.body);
}
