//! Whatever is sent, the answer is a documented problem and nothing is left behind.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::json;

use crate::support::app::{Setup, TestApp};
use crate::support::captures::{ffmpeg, test_picture, test_picture_of};

/// Uploads that are refused at the door, with the problem they get.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let sound = ["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "libopus"];
    let picture = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=1"];
    let with = |extra: &[&'static str]| [&picture[..], extra].concat();
    let huge = [
        "-f",
        "lavfi",
        "-i",
        "color=size=8192x4096:rate=1:duration=1",
        "-f",
        "lavfi",
        "-i",
        "sine=duration=1",
        "-c:v",
        "libvpx",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
        "-c:a",
        "libopus",
    ];
    vec![
        ("empty", vec![], "capture-invalid"),
        ("text", b"hello, I am a video".repeat(20), "capture-unsupported"),
        (
            "a page",
            b"<!doctype html><html><body>video</body></html>".to_vec(),
            "capture-unsupported",
        ),
        ("an archive", [b"PK\x03\x04".to_vec(), vec![0; 400]].concat(), "capture-unsupported"),
        ("zeros", vec![0; 100_000], "capture-unsupported"),
        ("a picture", ffmpeg(&with(&["-frames:v", "1"]), "a.png"), "capture-unsupported"),
        ("a moving picture", ffmpeg(&with(&[]), "a.gif"), "capture-unsupported"),
        ("sound alone", ffmpeg(&sound, "a.webm"), "capture-invalid"),
        ("no sound", ffmpeg(&with(&["-c:v", "libvpx"]), "a.webm"), "capture-invalid"),
        ("another container", ffmpeg(&with(&["-c:v", "libx264"]), "a.avi"), "capture-unsupported"),
        ("a transport stream", ffmpeg(&with(&["-c:v", "libx264"]), "a.ts"), "capture-unsupported"),
        (
            "another codec",
            ffmpeg(
                &[
                    &picture[..],
                    &["-f", "lavfi", "-i", "sine=duration=1", "-c:v", "mjpeg", "-c:a", "libopus"],
                ]
                .concat(),
                "a.mkv",
            ),
            "capture-unsupported",
        ),
        ("too many pixels", ffmpeg(&huge, "a.webm"), "capture-over-limit"),
        ("a head without a body", test_picture(1)[..200].to_vec(), "capture-invalid"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_captures_are_refused_and_forgotten() {
    let setup = Setup {
        config: "[capture]\nmax_bytes = 400000\n[verification]\nlockout_failures = 1000\n".into(),
        ..Setup::default()
    };
    let app = TestApp::start(setup).await;
    let mut cases = refused();
    cases.push(("too large", vec![0x1a; 400_001], "capture-too-large"));
    let (id, token, _) = app.open("person-1").await;
    let before = app.log_holds().await;
    for (name, bytes, problem) in cases {
        let answer = app.upload(&id, &token, bytes).await;
        let got = answer.problem();
        println!("{name:<24} {} {got}", answer.status.as_u16());
        assert_eq!(got, problem, "{name}: {}", answer.json()["detail"]);
        assert!(app.captures_on_disk().is_empty(), "{name} left a file");
    }
    // The challenge is still open, and nothing was logged of all that.
    let now = app.get(&format!("/v1/verifications/{id}"), &token).await.json();
    assert_eq!((now["state"].as_str(), now["attempt"].as_u64()), (Some("pending"), Some(1)));
    assert_eq!(app.log_holds().await, before);

    let wrong_type = Request::builder()
        .method(Method::PUT)
        .uri(format!("/v1/verifications/{id}/capture"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from("{}"))
        .unwrap();
    assert_eq!(app.call(wrong_type).await.problem(), "unsupported-media-type");

    // A length that was promised and not kept.
    let broken = futures::stream::iter([
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"\x1aE\xdf\xa3")),
        Err(std::io::Error::other("the connection broke")),
    ]);
    let cut = Request::builder()
        .method(Method::PUT)
        .uri(format!("/v1/verifications/{id}/capture"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "video/webm")
        .body(Body::from_stream(broken))
        .unwrap();
    assert_eq!(app.call(cut).await.problem(), "capture-broken-off");
    assert!(app.captures_on_disk().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_captures_fail_in_the_open_and_lock_out_those_who_insist() {
    let setup = Setup {
        models: true,
        config: "[capture]\nmax_duration_s = 2\n".into(),
        ..Setup::default()
    };
    let app = TestApp::start(setup).await;
    let whole = test_picture(2);
    let mut flipped = whole.clone();
    for i in (whole.len() / 4..whole.len()).step_by(37) {
        flipped[i] ^= 0x55;
    }
    let (id, mut token, _) = app.open("person-1").await;
    let path = format!("/v1/verifications/{id}");
    let cases: [(&str, Vec<u8>); 3] = [
        ("too long", test_picture(6)),
        ("flipped", flipped),
        ("cut", whole[..whole.len() / 2].to_vec()),
    ];
    for (name, bytes) in cases {
        let sent = app.upload(&id, &token, bytes).await;
        if sent.status == StatusCode::ACCEPTED {
            let now = app.settled(&id).await;
            let state = now["state"].as_str().unwrap();
            let code = now["failure"]["type"].as_str().unwrap_or("-");
            println!("{name:<12} {state} {code}");
            // What can be decoded after all has no face in it.
            assert!(matches!(state, "failed" | "rejected"), "{name}: {now:#}");
            if name == "too long" {
                assert_eq!(code, "urn:cameo:problem:capture-over-limit");
            }
            let again = app.post(&format!("{path}/retry"), &token, &json!({})).await;
            assert_eq!(again.status, StatusCode::CREATED);
            token = again.json()["client_token"].as_str().unwrap().to_owned();
        } else {
            println!("{name:<12} {} {}", sent.status.as_u16(), sent.problem());
        }
        assert!(app.captures_on_disk().is_empty(), "{name} left a file");
    }
    // Five failed attempts within three minutes lock the person out, for half an hour.
    for n in 0.. {
        assert!(n < 6, "nobody was locked out");
        let sent = app.upload(&id, &token, test_picture_of(1, n)).await;
        assert_eq!(sent.status, StatusCode::ACCEPTED);
        app.settled(&id).await;
        let again = app.post(&format!("{path}/retry"), &token, &json!({})).await;
        if again.status == StatusCode::CREATED {
            token = again.json()["client_token"].as_str().unwrap().to_owned();
            continue;
        }
        assert_eq!((again.status.as_u16(), again.problem().as_str()), (429, "locked-out"));
        assert_eq!(again.headers["retry-after"], "1800");
        break;
    }
    let elsewhere = json!({ "subject": "person-1", "consent_text_version": "t" });
    assert_eq!(app.post("/v1/verifications", &app.app, &elsewhere).await.problem(), "locked-out");
    app.clock.advance(Duration::from_secs(1801));
    assert_eq!(
        app.post("/v1/verifications", &app.app, &elsewhere).await.status,
        StatusCode::CREATED
    );
    app.log_holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_is_good_for_one_challenge() {
    let app = TestApp::start(Setup { models: true, ..Setup::default() }).await;
    let capture = test_picture(2);
    let (id, token, _) = app.open("person-1").await;
    assert_eq!(app.upload(&id, &token, capture.clone()).await.status, StatusCode::ACCEPTED);
    let other = app.upload(&id, &token, test_picture(3)).await;
    assert_eq!((other.status.as_u16(), other.problem().as_str()), (409, "wrong-state"));
    app.settled(&id).await;
    let (second, token, _) = app.open("person-2").await;
    let replayed = app.upload(&second, &token, capture).await;
    assert_eq!((replayed.status.as_u16(), replayed.problem().as_str()), (409, "capture-replayed"));
    assert!(app.captures_on_disk().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_told_what_is_wrong() {
    let app = TestApp::start(Setup::default()).await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let long = json!({ "subject": "x".repeat(200), "consent_text_version": "t" }).to_string();
    let big = format!("{{\"subject\": \"{}\"}}", "x".repeat(5 << 20));
    for (body, problem) in [
        ("", "invalid-request"),
        ("{", "invalid-request"),
        ("null", "invalid-request"),
        ("{}", "invalid-request"),
        (r#"{"subject": 7, "consent_text_version": "t"}"#, "invalid-request"),
        (r#"{"subject": "a", "consent_text_version": "t", "admin": true}"#, "invalid-request"),
        (r#"{"subject": "a b", "consent_text_version": "t"}"#, "invalid-request"),
        (r#"{"subject": "a", "consent_text_version": "<script>"}"#, "invalid-request"),
        ("\u{0}\u{ff}", "invalid-request"),
        (deep.as_str(), "invalid-request"),
        (long.as_str(), "invalid-request"),
        (big.as_str(), "body-too-large"),
    ] {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/verifications")
            .header("authorization", format!("Bearer {}", app.app))
            .header("idempotency-key", "k")
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        assert_eq!(app.call(request).await.problem(), problem, "{body:.60}");
    }
    for path in [
        "/v1/verifications/ver_1",
        "/v1/verifications/..%2f..%2fetc%2fpasswd",
        "/v1/verifications/%00",
        "/v1/cameos/cam_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5",
        "/v1/cameos/%F0%9F%98%80/consent",
    ] {
        assert_eq!(app.get(path, &app.app).await.problem(), "not-found", "{path}");
    }
    for path in ["/v1/audit/entries?from=-1", "/v1/audit/entries?limit=x", "/v1/audit/entries?x=1"]
    {
        assert_eq!(app.get(path, &app.auditor).await.problem(), "invalid-request", "{path}");
    }
    assert_eq!(
        app.get("/v1/audit/proofs/inclusion/999999", &app.auditor).await.problem(),
        "not-found"
    );
    let wrong_method = app.call(app.request(Method::PATCH, "/v1/resolve", &app.app, None)).await;
    assert_eq!(wrong_method.problem(), "method-not-allowed");
}
