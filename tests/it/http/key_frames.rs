//! Key frames from a real capture to the reviewer, and what is left of them: nothing.

use std::io::Read;

use axum::http::StatusCode;
use cameo::domain::challenge::Motion;
use cameo::domain::ids::VerificationId;
use cameo::drawn::Trick;
use cameo::service::Script;
use cameo::store::key_frames;
use cameo::tlog::Kind;
use serde_json::json;

use crate::support::app::{Setup, TestApp};
use crate::support::captures::drawn;

const DIGITS: [u8; 6] = [4, 7, 1, 9, 0, 3];
const OTHERS: [u8; 6] = [2, 5, 8, 2, 6, 5];
const MOTIONS: [Motion; 2] = [Motion::Left, Motion::Up];

async fn judged(app: &TestApp, subject: &str, digits: &[u8]) -> (String, String) {
    let (id, token, _) = app.open(subject).await;
    let sent = app.upload(&id, &token, drawn(digits, &MOTIONS, Trick::None)).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&sent.body));
    let state = app.settled(&id).await["state"].as_str().unwrap().to_owned();
    (id, state)
}

/// Sealed pictures of a verification's first attempt.
async fn sealed(app: &TestApp, id: &str) -> Vec<Vec<u8>> {
    let id: VerificationId = id.parse().unwrap();
    let mut tx = app.services.db().read().await.unwrap();
    let mut all = Vec::new();
    for n in 1..=4 {
        all.extend(key_frames::sealed(&mut tx, &id, 1, n).await.unwrap());
    }
    all
}

/// How many looks at pictures the log has.
async fn looks(app: &TestApp) -> usize {
    let entries = app.services.entries(0, 1000).await.unwrap();
    let entries = entries.iter().map(|e| cameo::tlog::Entry::decode(&e.bytes).unwrap());
    entries.filter(|e| e.kind == Kind::Review && e.attributes["action"] == "frame".into()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reviewer_sees_a_few_small_pictures_and_nobody_keeps_them() {
    let script = Script { digits: DIGITS.to_vec(), motions: MOTIONS.to_vec() };
    let setup = Setup { models: true, script: Some(script), ..Setup::default() };
    let app = TestApp::start(setup).await;

    // What ends in a rejection keeps no picture at all.
    let (id, state) = judged(&app, "person-1", &OTHERS).await;
    assert_eq!((state.as_str(), sealed(&app, &id).await.len()), ("rejected", 0));

    // No anti-spoof model takes a drawing for live, so a reviewer has the last word.
    let (id, state) = judged(&app, "person-2", &DIGITS).await;
    assert_eq!(state, "review");
    let path = format!("/v1/reviews/{id}");
    let case = app.get(&path, &app.reviewer).await.json();
    let frames = case["key_frames"].as_array().unwrap();
    println!("{frames:?}");
    assert!((2..=4).contains(&frames.len()), "{frames:?}");
    let views: Vec<_> = frames.iter().map(|f| f["view"].as_str().unwrap()).collect();
    assert!(views.contains(&"frontal") && views.contains(&"left"), "{views:?}");
    let times: Vec<_> = frames.iter().map(|f| f["t_ms"].as_i64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let kept = sealed(&app, &id).await;
    assert_eq!(kept.len(), frames.len());
    for bytes in &kept {
        // JPEG begins with FF D8 FF and says JFIF.
        assert!(!bytes.windows(4).any(|w| w == b"JFIF"), "not sealed");
        assert!(bytes.len() < 60_000, "{} bytes", bytes.len());
    }
    assert_eq!(looks(&app).await, 0, "to know that they exist is no look at one");

    for (i, frame) in frames.iter().enumerate() {
        let seen = app.get(&format!("{path}/frames/{}", frame["n"]), &app.reviewer).await;
        assert_eq!(seen.status, StatusCode::OK);
        assert_eq!(seen.headers["content-type"], "image/jpeg");
        assert_eq!(seen.headers["cache-control"], "no-store");
        assert_eq!(seen.headers["x-content-type-options"], "nosniff");
        let picture = image::load_from_memory(&seen.body).unwrap();
        assert_eq!(picture.width().max(picture.height()), 320);
        assert_eq!(looks(&app).await, i + 1);
    }
    let looked = frames.len();
    for credential in [&app.app, &app.auditor, &app.admin, &app.generator] {
        let refused = app.get(&format!("{path}/frames/1"), credential).await;
        assert_eq!(refused.problem(), "forbidden");
    }
    assert_eq!(app.get(&format!("{path}/frames/1"), "").await.problem(), "unauthenticated");
    assert_eq!(app.get(&format!("{path}/frames/9"), &app.reviewer).await.problem(), "not-found");
    for bad in ["x", "-1", "4294967296"] {
        let refused = app.get(&format!("{path}/frames/{bad}"), &app.reviewer).await;
        assert_eq!(refused.problem(), "not-found", "{bad}");
    }
    assert_eq!(looks(&app).await, looked);

    // The person's own archive has them, for as long as they are here.
    let in_archive = async || {
        let archive = app.get("/v1/subjects/person-2/export", &app.app).await;
        assert_eq!(archive.status, StatusCode::OK);
        let mut files = Vec::new();
        for entry in tar::Archive::new(archive.body.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            if name.starts_with("key-frames/") {
                image::load_from_memory(&bytes).unwrap();
                files.push(name);
            }
        }
        files.len()
    };
    assert_eq!(in_archive().await, looked);

    let decision = json!({ "decision": "reject", "reason": "drawn, not filmed" });
    let decided = app.post(&format!("{path}/decision"), &app.reviewer, &decision).await.json();
    assert_eq!(decided["state"], "rejected", "{decided:#}");
    assert!(sealed(&app, &id).await.is_empty());
    let gone = app.get(&format!("{path}/frames/1"), &app.reviewer).await;
    assert_eq!(gone.problem(), "not-found");
    assert_eq!((looks(&app).await, in_archive().await), (looked, 0));
    app.log_holds().await;
}
