//! What is deleted is gone: from files, from PostgreSQL's too, and by schedule.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cameo::domain::uses::DeletionReason;
use cameo::receipt::deletion::Certificate;
use cameo::token::status::Status;
use serde_json::json;
use sqlx::Connection;

use super::uses::{DAY, delete, started, status};
use crate::support::app::{Setup, TestApp};
use crate::support::{given, postgres};

/// The files in these folders that hold `what`.
fn found(folders: &[PathBuf], what: &[u8]) -> Vec<String> {
    let mut hits = Vec::new();
    let mut open = folders.to_vec();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if std::fs::read(&path).unwrap().windows(what.len()).any(|w| w == what) {
                hits.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    hits
}

/// What must not be found once a person is deleted, and whether it is there before.
async fn secrets(app: &TestApp, cameo: &str, name: &str) -> Vec<(&'static str, Vec<u8>, bool)> {
    let rude = json!({
        "audience": "everyone", "block": ["rude-neighbour"], "purposes": ["social"], "text_version": "t1"
    });
    app.put(&format!("/v1/cameos/{cameo}/consent"), &app.app, &rude).await;
    let subject = name.parse().unwrap();
    let mut tx = app.services.db().read().await.unwrap();
    let kept = cameo::store::subjects::get(&mut tx, &subject).await.unwrap().unwrap();
    let id = cameo.parse().unwrap();
    let template = cameo::store::cameos::template(&mut tx, &id).await.unwrap().unwrap();
    let picture = app.picture_in_review(name).await;
    let vector: Vec<u8> =
        given::template(42).faces[0].vector[..8].iter().flat_map(|v| v.to_le_bytes()).collect();
    vec![
        ("the wrapped key", kept.wrapped_key, true),
        ("the sealed template", template.sealed, true),
        ("a sealed key frame", picture, true),
        ("the person's name", name.as_bytes().to_vec(), true),
        ("an embedding", vector, false),
        ("a block list", b"rude-neighbour".to_vec(), false),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_nowhere() {
    let app = started().await;
    let name = "zaphod-the-deleted";
    let cameo = app.given(name, 42).await;
    app.given("somebody-else", 43).await;
    let at = app.granted(&cameo).await.1.claims.status.clone();
    let secrets = secrets(&app, &cameo, name).await;
    let disk = [app.dir.path().to_owned()];
    for (what, bytes, there) in &secrets {
        assert_eq!(!found(&disk, bytes).is_empty(), *there, "before: {what}");
    }

    let path = format!("/v1/cameos/{cameo}?takedown=true");
    let gone = delete(&app, &path).await;
    assert_eq!(gone.status, 200, "{}", String::from_utf8_lossy(&gone.body));
    for (what, bytes, _) in &secrets {
        assert_eq!(found(&disk, bytes), Vec::<String>::new(), "after: {what}");
    }
    // Nor in a backup made since.
    let copy = app.dir.path().join("backup.db");
    std::fs::copy(app.dir.path().join("cameo.db"), &copy).unwrap();
    for (what, bytes, _) in &secrets {
        assert_eq!(found(&disk, bytes), Vec::<String>::new(), "in a backup: {what}");
    }

    // The certificate holds, the log too, and the token is revoked.
    let certificate =
        BASE64_URL_SAFE_NO_PAD.decode(gone.json()["certificate"].as_str().unwrap()).unwrap();
    let log_key = app.services.signing().log_key().unwrap();
    let (_, certified) = Certificate::verify(&certificate, log_key.verifying_key()).unwrap();
    assert_eq!(
        (certified.cameo.as_str(), certified.reason),
        (cameo.as_str(), DeletionReason::Request)
    );
    let kinds: Vec<_> = certified.destroyed.iter().map(|d| (d.kind.as_str(), d.count)).collect();
    assert_eq!(kinds[..2], [("subject_key", 1), ("template", 1)]);
    assert!(kinds.contains(&("key_frame", 1)), "{kinds:?}");
    let served = app.get(&format!("/v1/deletions/{cameo}"), &app.auditor).await;
    assert_eq!(served.body, certificate);
    assert_eq!(delete(&app, &path).await.json()["certificate"], gone.json()["certificate"]);
    assert_eq!(status(&app, &at).await, Status::Invalid);
    app.log_holds().await;

    // It is as if it never was; the app's account goes on, and may enrol anew.
    assert_eq!(app.resolve(&cameo).await.problem(), "not-found");
    assert_eq!(app.get(&format!("/v1/cameos/{cameo}/uses"), &app.app).await.problem(), "not-found");
    let again = app.given(name, 44).await;
    assert_ne!(again, cameo);
    app.granted(&again).await;
}

/// The same in PostgreSQL's own files. Its write-ahead log is not looked at: docs/uses.md says what
/// stays there, and for how long.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_in_no_file_of_postgresql() {
    let Some(url) = tokio::task::spawn_blocking(postgres::database).await.unwrap() else { return };
    let app = TestApp::start(Setup { postgres: Some(url.clone()), ..Setup::default() }).await;
    let name = "zaphod-the-deleted";
    let cameo = app.given(name, 42).await;
    app.given("somebody-else", 43).await;
    app.granted(&cameo).await;
    let secrets = secrets(&app, &cameo, name).await;
    let mut raw = sqlx::PgConnection::connect(&url).await.unwrap();
    let oid: i64 = sqlx::query_scalar(
        "SELECT oid::bigint FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(&mut raw)
    .await
    .unwrap();
    let host = url.split("host=").nth(1).unwrap().split('&').next().unwrap();
    let disk = [app.dir.path().to_owned(), PathBuf::from(format!("{host}/data/base/{oid}"))];
    sqlx::query("CHECKPOINT").execute(&mut raw).await.unwrap();
    for (what, bytes, there) in &secrets {
        // A sealed template is large enough to lie in pieces.
        let there = *there && !what.contains("sealed");
        assert!(!there || !found(&disk, bytes).is_empty(), "before: {what}");
    }
    let gone = delete(&app, &format!("/v1/cameos/{cameo}?takedown=true")).await;
    assert_eq!(gone.status, 200, "{}", String::from_utf8_lossy(&gone.body));
    sqlx::query("CHECKPOINT").execute(&mut raw).await.unwrap();
    for (what, bytes, _) in &secrets {
        assert_eq!(found(&disk, bytes), Vec::<String>::new(), "after: {what}");
    }
    app.log_holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_purpose_is_destroyed_on_schedule() {
    let app = started().await;
    let (kept, withdrawn) = (app.given("ann", 1).await, app.given("bob", 2).await);
    let unused = {
        let (key, who) = (app.app_id.parse().unwrap(), "eve".parse().unwrap());
        app.services.enrol_given(&key, &who, &given::template(3)).await.unwrap().to_string()
    };
    delete(&app, &format!("/v1/cameos/{withdrawn}/consent")).await;
    assert_eq!(app.services.sweep_retention().await.unwrap().destroyed, []);
    app.clock.advance(DAY * 30);
    let swept = app.services.sweep_retention().await.unwrap().destroyed;
    assert_eq!(swept, [(withdrawn.parse().unwrap(), DeletionReason::Withdrawn)]);
    app.clock.advance(DAY * 60);
    let swept = app.services.sweep_retention().await.unwrap().destroyed;
    assert_eq!(swept, [(unused.parse().unwrap(), DeletionReason::Unused)]);
    app.clock.advance(DAY * (3 * 365 - 91));
    assert_eq!(app.services.sweep_retention().await.unwrap().destroyed, []);
    app.clock.advance(DAY);
    let swept = app.services.sweep_retention().await.unwrap().destroyed;
    assert_eq!(swept, [(kept.parse().unwrap(), DeletionReason::Inactive)]);
    let proof = app.services.deletion(&kept.parse().unwrap()).await.unwrap();
    assert_eq!(proof.reason, DeletionReason::Inactive);
    app.log_holds().await;
}
