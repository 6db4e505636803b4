//! One step done again alone. That another face does not join is judged in `liveness::repeat`: drawn
//! heads are too much alike to show it here.

use std::time::Duration;

use axum::http::StatusCode;
use cameo::domain::challenge::Motion;
use cameo::domain::ids::VerificationId;
use cameo::drawn::Trick;
use cameo::env::Millis;
use cameo::liveness::bundle::Bundle;
use cameo::service::Script;
use cameo::store::attempts;
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::captures::drawn;

const DIGITS: [u8; 6] = [4, 7, 1, 9, 0, 3];
const OTHERS: [u8; 6] = [2, 5, 8, 2, 6, 5];
const MOTIONS: [Motion; 2] = [Motion::Left, Motion::Up];

async fn app() -> TestApp {
    let script = Script { digits: DIGITS.to_vec(), motions: MOTIONS.to_vec() };
    TestApp::start(Setup { models: true, script: Some(script), ..Setup::default() }).await
}

/// Sends a capture and waits for the verdict.
async fn judged(app: &TestApp, id: &str, token: &str, capture: Vec<u8>) -> Value {
    let sent = app.upload(id, token, capture).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&sent.body));
    app.settled(id).await
}

async fn retry(app: &TestApp, id: &str, token: &str) -> (String, Value) {
    let answer = app.post(&format!("/v1/verifications/{id}/retry"), token, &json!({})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
    let body = answer.json();
    (body["client_token"].as_str().unwrap().to_owned(), body)
}

fn check<'v>(verification: &'v Value, name: &str) -> &'v Value {
    let checks = verification["verdict"]["checks"].as_array().unwrap();
    checks.iter().find(|c| c["check"] == name).unwrap()
}

async fn has_sample(app: &TestApp, id: &str, attempt: u32) -> bool {
    let id: VerificationId = id.parse().unwrap();
    let mut tx = app.services.db().read().await.unwrap();
    attempts::sample(&mut tx, &id, attempt, Millis(0)).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_digits_are_said_again_and_nothing_else() {
    let app = app().await;
    let (id, token, _) = app.open("person-1").await;
    let first = judged(&app, &id, &token, drawn(&OTHERS, &MOTIONS, Trick::None)).await;
    assert_eq!(first["state"], "rejected", "{first:#}");
    assert_eq!(first["retry"], "speech", "{first:#}");
    assert!(has_sample(&app, &id, 1).await);

    let (token, opened) = retry(&app, &id, &token).await;
    assert_eq!(opened["challenge"]["motions"], json!([]));
    assert_eq!(opened["challenge"]["groups"], json!(["471", "903"]));
    assert_eq!(opened["challenge"]["completes"], 1);
    let second = judged(&app, &id, &token, drawn(&DIGITS, &[], Trick::None)).await;
    assert_eq!(check(&second, "motion"), check(&first, "motion"), "it stands as it was");
    assert_eq!(check(&second, "speech")["status"], "pass", "{second:#}");
    assert_eq!(check(&second, "continuity")["status"], "pass", "{second:#}");
    let earlier = &second["verdict"]["earlier"];
    assert_eq!((&earlier["attempt"], &earlier["check"]), (&json!(1), &json!("motion")));
    assert!(earlier["face_distance"].as_f64() <= earlier["face_threshold"].as_f64());
    let path = format!("/v1/reviews/{id}/bundle");
    assert_eq!(app.get(&path, &app.auditor).await.problem(), "forbidden");
    let bundle = app.get(&path, &app.reviewer).await;
    assert!(!String::from_utf8_lossy(&bundle.body).contains("person-1"));
    let bundle: Bundle = serde_json::from_slice(&bundle.body).unwrap();
    let replay = bundle.replay().unwrap();
    assert_eq!((replay.same, replay.earlier_replayed), (true, Some(true)));
    let first_alone = app.get(&format!("{path}?attempt=1"), &app.reviewer).await;
    let first_alone: Bundle = serde_json::from_slice(&first_alone.body).unwrap();
    assert!(first_alone.replay().unwrap().same && first_alone.earlier.is_none());
    assert_eq!(app.get(&format!("{path}?attempt=3"), &app.reviewer).await.problem(), "not-found");
    // No anti-spoof model takes a drawing for live, so a reviewer has the last word.
    assert_eq!(second["state"], "review", "{second:#}");
    assert!(!has_sample(&app, &id, 1).await, "the sample outlived its purpose");
    let done = app.approve(&id, "both captures fit").await;
    assert_eq!(done["state"], "verified", "{done:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_turns_are_made_again_until_the_time_is_over() {
    let app = app().await;
    let (id, token, _) = app.open("person-1").await;
    let first = judged(&app, &id, &token, drawn(&DIGITS, &[], Trick::None)).await;
    assert_eq!(first["retry"], "motion", "{first:#}");
    let (_, opened) = retry(&app, &id, &token).await;
    assert_eq!(opened["challenge"]["groups"], json!([]));
    assert_eq!(opened["challenge"]["motions"], json!(["left", "up"]));
    // The challenge runs out unanswered: the step can still be repeated …
    app.clock.advance(Duration::from_secs(181));
    let path = format!("/v1/verifications/{id}");
    assert_eq!(app.get(&path, &app.app).await.json()["retry"], "motion");
    let (_, opened) = retry(&app, &id, &app.app).await;
    assert_eq!((&opened["challenge"]["groups"], &opened["attempt"]), (&json!([]), &json!(3)));
    // … but not for ever.
    app.clock.advance(Duration::from_secs(901));
    app.services.sweep().await.unwrap();
    assert!(!has_sample(&app, &id, 1).await);
    let (_, opened) = retry(&app, &id, &app.app).await;
    assert_eq!(opened["challenge"]["groups"], json!(["471", "903"]));
    assert_eq!(opened["challenge"]["motions"], json!(["left", "up"]));
}
