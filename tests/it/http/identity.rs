//! One person, one identity: through the HTTP door, with the models, on drawn captures.

use std::path::Path;
use std::process::{Command, Stdio};

use axum::http::StatusCode;
use cameo::domain::challenge::Motion;
use cameo::drawn::{self, Look, Settings};
use cameo::service::Script;
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};

fn script() -> Script {
    Script { digits: vec![4, 7, 1, 9, 0, 3], motions: vec![Motion::Left, Motion::Up] }
}

/// A recording of a drawn person; another seed gives another recording.
fn record(look: &str, seed: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drawn.webm");
    let s = script();
    let settings = Settings { fps: 12.0, seed, ..Settings::of(Look::named(look).unwrap()) };
    drawn::record(&drawn::Script::new(s.digits, s.motions), &settings, &path).unwrap();
    std::fs::read(path).unwrap()
}

async fn open(app: &TestApp, subject: &str, age: Option<u8>) -> (String, String) {
    let mut body = json!({ "subject": subject, "consent_text_version": "test-1" });
    if let Some(age) = age {
        body["attested_age"] = age.into();
    }
    let answer = app.post("/v1/verifications", &app.app, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    (text("id"), text("client_token"))
}

async fn judge(app: &TestApp, (id, token): &(String, String), capture: Vec<u8>) -> Value {
    let sent = app.upload(id, token, capture).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&sent.body));
    app.settled(id).await
}

async fn decide(app: &TestApp, id: &str, decision: &str) -> Value {
    let body = json!({ "decision": decision, "reason": "looked at it" });
    app.post(&format!("/v1/reviews/{id}/decision"), &app.reviewer, &body).await.json()
}

/// The reasons of a check; `None` where the verdict has no such check.
fn reasons(judged: &Value, check: &str) -> Option<Vec<String>> {
    let checks = judged["verdict"]["checks"].as_array().unwrap();
    let found = checks.iter().find(|c| c["check"] == check)?;
    let codes = found["reasons"].as_array().unwrap().iter();
    Some(codes.map(|r| r["code"].as_str().unwrap().to_owned()).collect())
}

/// What an operator does on the same machine.
fn operate(app: &TestApp, args: &[&str]) -> (bool, String) {
    let runtime = std::env::var_os("CAMEO_ORT_LIB");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cameo"));
    command.arg("--config").arg(app.dir.path().join("cameo.toml")).args(args);
    if let Some(runtime) = runtime {
        command.env("CAMEO_MODELS__RUNTIME", runtime);
    }
    let done = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (done.status.success(), text(if done.status.success() { &done.stdout } else { &done.stderr }))
}

/// A picture of a recording's first second.
fn picture(capture: &[u8], dir: &Path) -> String {
    let (video, image) = (dir.join("portrait.webm"), dir.join("portrait.png"));
    std::fs::write(&video, capture).unwrap();
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-ss", "0.3", "-i"])
        .arg(&video)
        .args(["-frames:v", "1"])
        .arg(&image)
        .status()
        .unwrap();
    assert!(status.success());
    image.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_account_with_one_face_is_reviewed_and_the_person_can_be_told() {
    // Drawn heads lie apart otherwise than people do, so the distance is the test's own.
    let config = "[verification]\nminimum_age = 18\nduplicate_distance = 0.53\n".to_owned();
    let setup = Setup { models: true, script: Some(script()), config, ..Setup::default() };
    let app = TestApp::start(setup).await;

    // The first is enrolled; where no model could tell that they are live, by a reviewer.
    let first = open(&app, "person-1", Some(30)).await;
    let judged = judge(&app, &first, record("amber", 1)).await;
    assert_eq!((reasons(&judged, "identity"), reasons(&judged, "age")), (None, None));
    let mut done = judged.clone();
    if judged["state"] == "review" {
        let case = app.get(&format!("/v1/reviews/{}", first.0), &app.reviewer).await.json();
        assert_eq!(case["matches"], json!([]));
        done = decide(&app, &first.0, "approve").await;
    }
    assert_eq!(done["state"], "verified", "{done:#}");
    let cameo = done["cameo_id"].as_str().unwrap().to_owned();
    let notices = format!("/v1/cameos/{cameo}/notices");
    assert_eq!(app.get(&notices, &app.app).await.json()["items"], json!([]));

    // The same face under another subject, of unknown age.
    let second = open(&app, "person-2", None).await;
    let judged = judge(&app, &second, record("amber", 2)).await;
    assert_eq!(judged["state"], "review", "{judged:#}");
    assert_eq!(reasons(&judged, "identity").unwrap(), ["duplicate_identity"]);
    assert_eq!(reasons(&judged, "age").unwrap(), ["age_unknown"]);
    assert!(judged["cameo_id"].is_null());
    let case = app.get(&format!("/v1/reviews/{}", second.0), &app.reviewer).await.json();
    let matches = case["matches"].as_array().unwrap();
    assert_eq!((matches.len(), matches[0]["kind"].as_str()), (1, Some("enrolled")));
    let pseudonym = matches[0]["subject_ref"].as_str().unwrap();
    assert_eq!(pseudonym.len(), 32);
    // Neither the app nor the device learns whom; the person learns that it happened, not who.
    assert!(!judged.to_string().contains(pseudonym) && !judged.to_string().contains(&cameo));
    let told = app.get(&notices, &app.app).await.json();
    assert_eq!(
        (told["items"].as_array().unwrap().len(), &told["items"][0]["state"]),
        (1, &json!("review"))
    );
    assert!(!told.to_string().contains("person-2") && !told.to_string().contains(&second.0));
    assert_eq!(decide(&app, &second.0, "reject").await["state"], "rejected");
    assert_eq!(app.get(&notices, &app.app).await.json()["items"][0]["state"], "rejected");
    assert_eq!(app.get(&notices, &app.generator).await.problem(), "forbidden");

    // A face that nobody may enrol, added by an operator from a picture.
    let star = record("cedar", 3);
    let portrait = picture(&star, app.dir.path());
    let add = ["protect", "add", "--image", &portrait, "--label", "A Star"];
    let (good, id) = operate(&app, &add);
    assert!(good, "{id}");
    let (_, listed) = operate(&app, &["protect", "list", "--json"]);
    assert!(listed.contains(&id) && listed.contains("A Star"), "{listed}");
    let third = open(&app, "person-3", Some(17)).await;
    let judged = judge(&app, &third, star).await;
    assert_eq!(judged["state"], "review", "{judged:#}");
    assert!(reasons(&judged, "identity").unwrap().contains(&"protected_identity".to_owned()));
    assert_eq!(reasons(&judged, "age").unwrap(), ["under_age"]);
    assert!(!judged.to_string().contains("A Star"));
    let case = app.get(&format!("/v1/reviews/{}", third.0), &app.reviewer).await.json();
    let matches = case["matches"].as_array().unwrap();
    assert!(matches.iter().any(|m| m["label"] == "A Star"), "{matches:?}");
    let (good, said) = operate(&app, &["protect", "remove", &id]);
    assert!(good, "{said}");
    assert_eq!(operate(&app, &["protect", "list"]), (true, String::new()));

    // Deleting the cameo deletes what its person was told.
    let gone = app
        .call(app.request(
            axum::http::Method::DELETE,
            &format!("/v1/cameos/{cameo}"),
            &app.app,
            None,
        ))
        .await;
    assert!(gone.status.is_success(), "{}", gone.status);
    assert_eq!(app.get(&notices, &app.app).await.problem(), "not-found");
}

#[tokio::test]
async fn an_age_must_be_one() {
    let app = TestApp::start(Setup::default()).await;
    for age in [json!(151), json!(-1), json!("old"), json!(17.5)] {
        let body = json!({ "subject": "p", "consent_text_version": "t", "attested_age": age });
        let refused = app.post("/v1/verifications", &app.app, &body).await;
        assert_eq!(refused.problem(), "invalid-request", "{age}");
    }
}
