//! An upload in pieces: it can be gone on with, and its limits hold.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use futures::stream;
use serde_json::json;

use crate::support::app::{Answer, Setup, TestApp};
use crate::support::captures;

struct Upload<'a> {
    app: &'a TestApp,
    id: &'a str,
    token: &'a str,
}

impl Upload<'_> {
    async fn call(&self, method: Method, headers: &[(&str, &str)], body: Body) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1/verifications/{}/capture", self.id))
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.app.call(request.body(body).unwrap()).await
    }

    async fn begin(&self, complete: &str, body: Body) -> Answer {
        let headers = [("content-type", "video/webm"), ("upload-complete", complete)];
        self.call(Method::PUT, &headers, body).await
    }

    async fn append(&self, offset: usize, complete: &str, body: impl Into<Body>) -> Answer {
        let offset = offset.to_string();
        let headers = [
            ("content-type", "application/partial-upload"),
            ("upload-complete", complete),
            ("upload-offset", &offset),
        ];
        self.call(Method::PATCH, &headers, body.into()).await
    }

    async fn head(&self) -> (String, String) {
        let answer = self.call(Method::HEAD, &[], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert!(answer.headers["upload-limit"].to_str().unwrap().starts_with("max-size="));
        (text(&answer.headers, "upload-offset"), text(&answer.headers, "upload-complete"))
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers[name].to_str().unwrap().to_owned()
}

/// A body that breaks off after these bytes.
fn cut(bytes: &[u8]) -> Body {
    let pieces = [Ok(Bytes::copy_from_slice(bytes)), Err(io::Error::other("the line is dead"))];
    Body::from_stream(stream::iter(pieces))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_broke_off_goes_on_where_it_was() {
    let app = TestApp::start(Setup::default()).await;
    let (id, token, _) = app.open("person-1").await;
    let up = Upload { app: &app, id: &id, token: &token };
    let file = captures::test_picture(2);
    assert_eq!(up.head().await, ("0".into(), "?0".into()));

    let broken = up.begin("?1", cut(&file[..5000])).await;
    assert_eq!(broken.problem(), "capture-broken-off");
    assert_eq!(up.head().await, ("5000".into(), "?0".into()));
    // A piece in the wrong place changes nothing and is told the right one.
    let wrong = up.append(4000, "?1", file[4000..].to_vec()).await;
    assert_eq!(
        (wrong.status, wrong.problem()),
        (StatusCode::CONFLICT, "upload-offset-mismatch".into())
    );
    assert_eq!(wrong.json()["expected_offset"], 5000);

    let piece = up.append(5000, "?0", file[5000..9000].to_vec()).await;
    assert_eq!(piece.status, StatusCode::NO_CONTENT);
    assert_eq!(text(&piece.headers, "upload-offset"), "9000");
    assert_eq!(up.append(9000, "?1", cut(&file[9000..9500])).await.problem(), "capture-broken-off");
    let done = up.append(9500, "?1", file[9500..].to_vec()).await;
    assert_eq!(done.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&done.body));
    assert_eq!(up.head().await, (file.len().to_string(), "?1".into()));
    assert_eq!(app.captures_on_disk().len(), 1, "one file, whole: {:?}", app.captures_on_disk());
    // It is the same upload as the whole file at once, and known when it comes again.
    assert_eq!(app.upload(&id, &token, file.clone()).await.status, StatusCode::ACCEPTED);
    let (other, token, _) = app.open("person-2").await;
    let up = Upload { app: &app, id: &other, token: &token };
    assert_eq!(up.begin("?0", Body::from(file[..7].to_vec())).await.status, StatusCode::NO_CONTENT);
    let again = up.append(7, "?1", file[7..].to_vec()).await;
    assert_eq!(again.problem(), "capture-replayed");
    assert_eq!(up.head().await, ("0".into(), "?0".into()), "of no use, so nothing of it stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_keep_the_limits_and_end_with_the_attempt() {
    let config = "[capture]\nmax_bytes = 20000".to_owned();
    let app = TestApp::start(Setup { config, ..Setup::default() }).await;
    let (id, token, _) = app.open("person-1").await;
    let up = Upload { app: &app, id: &id, token: &token };
    let stranger = Upload { token: "cameo_client_0", ..up };
    assert_eq!(stranger.append(0, "?1", vec![0; 9]).await.problem(), "unauthenticated");

    assert_eq!(up.begin("?0", Body::from(vec![0; 15_000])).await.status, StatusCode::NO_CONTENT);
    let one = Ok::<_, Infallible>(Bytes::from(vec![0; 5_001]));
    let streamed = up.append(15_000, "?0", Body::from_stream(stream::iter([one]))).await;
    assert_eq!(streamed.problem(), "capture-too-large");
    assert!(app.captures_on_disk().is_empty(), "{:?}", app.captures_on_disk());

    // Not a capture: refused when it is whole, and gone.
    assert_eq!(up.begin("?0", Body::from(vec![0; 100])).await.status, StatusCode::NO_CONTENT);
    let refused = up.append(100, "?1", vec![0; 100]).await;
    assert!(refused.problem().starts_with("capture-"));
    assert!(app.captures_on_disk().is_empty());

    for (headers, problem) in [
        (vec![("content-type", "application/partial-upload")], "invalid-request"),
        (vec![("content-type", "video/webm"), ("upload-complete", "?1")], "unsupported-media-type"),
        (
            vec![("content-type", "application/partial-upload"), ("upload-complete", "yes")],
            "invalid-request",
        ),
        (
            vec![
                ("content-type", "application/partial-upload"),
                ("upload-complete", "?1"),
                ("upload-offset", "-1"),
            ],
            "invalid-request",
        ),
    ] {
        let answer = up.call(Method::PATCH, &headers, Body::empty()).await;
        assert_eq!(answer.problem(), problem, "{headers:?}");
    }

    // The time runs out: the piece goes with the attempt.
    assert_eq!(up.begin("?0", Body::from(vec![0; 100])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.captures_on_disk().len(), 1);
    app.clock.advance(Duration::from_secs(181));
    app.services.sweep().await.unwrap();
    assert!(app.captures_on_disk().is_empty());
    assert_eq!(up.append(100, "?1", vec![0; 9]).await.problem(), "challenge-expired");
    let retried = app.post(&format!("/v1/verifications/{id}/retry"), &token, &json!({})).await;
    let token = retried.json()["client_token"].as_str().unwrap().to_owned();
    let up = Upload { app: &app, id: &id, token: &token };
    assert_eq!(up.head().await, ("0".into(), "?0".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_request_ends_one_that_hangs() {
    let app = TestApp::start(Setup::default()).await;
    let (id, token, _) = app.open("person-1").await;
    let up = Upload { app: &app, id: &id, token: &token };
    let file = captures::test_picture(1);
    // It sends something, and then nothing more.
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Bytes, Infallible>>(1);
    send.send(Ok(Bytes::copy_from_slice(&file[..1000]))).await.unwrap();
    let waiting = stream::unfold(receive, |mut r| async move { r.recv().await.map(|p| (p, r)) });
    let hanging = up.begin("?1", Body::from_stream(waiting));
    let going_on = async {
        while up.app.captures_on_disk().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(up.head().await, ("1000".into(), "?0".into()));
        up.append(1000, "?1", file[1000..].to_vec()).await
    };
    let (hung, done) = tokio::join!(hanging, going_on);
    assert_eq!(hung.problem(), "capture-broken-off");
    assert_eq!(done.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&done.body));
    drop(send);
}
