//! What follows a permitted use: keys, status, reports, take-downs, freeze, deletion, retention.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use cameo::crypto::RecipientSecret;
use cameo::crypto::hash::hmac_sha256;
use cameo::domain::template::norm;
use cameo::env::SeededEntropy;
use cameo::receipt::usage::{Unproven, UseReceipt};
use cameo::store::token_status::Place;
use cameo::token::Error;
use cameo::token::status::{Status, StatusList, StatusRef};
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::{given, postgres};

pub(super) const DAY: Duration = Duration::from_hours(24);

pub(super) async fn started() -> TestApp {
    let config = "[takedown]\nallow_http = true\nallow_private = true\n".into();
    TestApp::start(Setup { config, ..Setup::default() }).await
}

pub(super) async fn status(app: &TestApp, at: &StatusRef) -> Status {
    let path = at.uri.strip_prefix(&app.services.settings().issuer).unwrap();
    let list = app.get(path, "").await;
    assert_eq!(list.headers["content-type"], "application/statuslist+cwt");
    StatusList::verify(&list.body, &app.keys().await, &at.uri, app.now())
        .unwrap()
        .get(at.index)
        .unwrap()
}

pub(super) async fn delete(app: &TestApp, path: &str) -> crate::support::app::Answer {
    app.call(app.request(Method::DELETE, path, &app.app, None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_one_generator_and_its_key() {
    let app = started().await;
    let cameo = app.given("ann", 1).await;
    let (answer, verified) = app.granted(&cameo).await;
    let claims = &verified.claims;
    assert_eq!(claims.use_id, answer["use_id"].as_str().unwrap());
    assert_eq!((claims.grant.as_str(), claims.consent_version), ("standing", 1));
    assert_eq!(claims.expires_at - claims.issued_at, 300);
    let opened = verified.open(&app.recipient).unwrap().identity;
    assert_eq!(opened.faces[0].vector, given::template(1).faces[0].vector, "raw");
    assert!((opened.faces[0].norm - norm(&opened.faces[0].vector)).abs() < 1e-3);
    assert_eq!(opened.faces[0].frame, Some([640, 480]));
    assert!(opened.voice.is_some());

    // The log knows it, and proves it offline.
    let path = format!("/v1/uses/{}/receipt", claims.use_id);
    let receipt: UseReceipt =
        serde_json::from_slice(&app.get(&path, &app.generator).await.body).unwrap();
    let log_key = app.services.signing().log_key().unwrap();
    receipt.verify(&verified, &log_key).unwrap();
    let (_, another) = app.granted(&cameo).await;
    assert_eq!(receipt.verify(&another, &log_key), Err(Unproven::OtherToken("use")));
    let moved = UseReceipt { index: receipt.index + 1, ..receipt.clone() };
    assert!(matches!(moved.verify(&verified, &log_key), Err(Unproven::Proof(_))));

    // A new key takes over; what was sealed before still opens with the old one.
    let fresh = RecipientSecret::generate(&SeededEntropy::new(99)).unwrap();
    let public = BASE64_URL_SAFE_NO_PAD.encode(fresh.public().as_bytes());
    let ahead = json!({ "public_key": public, "not_before": app.now().plus(DAY).rfc3339() });
    let made = app.post("/v1/generator/keys", &app.generator, &ahead).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&made.body));
    let twice = app.post("/v1/generator/keys", &app.generator, &ahead).await;
    assert_eq!(twice.problem(), "invalid-request");
    assert!(app.granted(&cameo).await.1.open(&app.recipient).is_ok(), "not yet");
    app.clock.advance(DAY);
    let (_, later) = app.granted(&cameo).await;
    assert_eq!(later.open(&app.recipient).unwrap_err().code(), "sealed_to_other_key");
    assert!(later.open(&fresh).is_ok() && verified.open(&app.recipient).is_ok());
    let keys = app.get("/v1/generator/keys", &app.generator).await.json();
    assert_eq!(
        (keys[0]["public_key"].as_str(), keys[0]["retire_at"].is_null()),
        (Some(&*public), true)
    );
    assert!(keys[1]["retire_at"].is_string());

    // Without a key nothing is issued, and the log has no entry about a use.
    let path = format!("/v1/generator/keys/{}", keys[0]["kid"].as_str().unwrap());
    let gone = app.call(app.request(Method::DELETE, &path, &app.generator, None)).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let refused = app.resolve(&cameo).await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (409, "generator-key-missing")
    );

    for (key, why) in [("AAAA", "short"), (&*"A".repeat(43), "small order")] {
        let body = json!({ "public_key": key });
        let refused = app.post("/v1/generator/keys", &app.generator, &body).await;
        assert_eq!(refused.problem(), "invalid-request", "{why}");
    }
    app.log_holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_generators_have_no_name_in_common() {
    let app = started().await;
    let cameo = app.given("ann", 1).await;
    let role = cameo::domain::access::Role::Generator;
    let (info, other) = app.services.create_key(role, "another").await.unwrap();
    let secret = RecipientSecret::generate(&SeededEntropy::new(5)).unwrap();
    let public = BASE64_URL_SAFE_NO_PAD.encode(secret.public().as_bytes());
    let body = json!({ "public_key": public });
    assert_eq!(app.post("/v1/generator/keys", other.expose(), &body).await.status, 201);
    let (_, ours) = app.granted(&cameo).await;
    let ask = json!({ "cameo_id": cameo, "requester": "user-7", "purpose": "social" });
    let theirs = app.post("/v1/resolve", other.expose(), &ask).await.json();
    let theirs = app.verified(theirs["token"].as_str().unwrap(), info.id.as_str()).await;
    assert_ne!(ours.claims.subject, theirs.claims.subject);
    assert_eq!(ours.claims.subject, app.granted(&cameo).await.1.claims.subject, "it stays");
    assert!(!ours.claims.subject.contains(&cameo[4..]));
    assert!(matches!(theirs.open(&app.recipient), Err(Error::Sealed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_takes_effect_at_once() {
    let app = started().await;
    let (cameo, other) = (app.given("ann", 1).await, app.given("bob", 2).await);
    let at = app.granted(&cameo).await.1.claims.status.clone();
    let of_other = app.granted(&other).await.1.claims.status.clone();
    assert_ne!(at, of_other);
    assert_eq!(status(&app, &at).await, Status::Valid);

    let freeze = format!("/v1/cameos/{cameo}/freeze");
    let frozen = app.put(&freeze, &app.app, &json!({})).await.json();
    assert_eq!((frozen["tokens"].as_u64(), frozen["frozen_since"].is_string()), (Some(1), true));
    assert_eq!(status(&app, &at).await, Status::Suspended);
    assert_eq!(app.resolve(&cameo).await.json()["rule"], "frozen");
    assert_eq!(app.put(&freeze, &app.app, &json!({})).await.json()["tokens"], 0);
    assert_eq!(delete(&app, &freeze).await.json()["tokens"], 1);
    assert_eq!(status(&app, &at).await, Status::Valid);
    let again = app.granted(&cameo).await.1.claims.status.clone();
    assert_ne!(again, at, "a place is never used twice");

    assert_eq!(delete(&app, &format!("/v1/cameos/{cameo}/consent")).await.status, 200);
    for place in [&at, &again] {
        assert_eq!(status(&app, place).await, Status::Invalid);
    }
    // Revoked is for good, also after a thaw.
    app.put(&freeze, &app.app, &json!({})).await;
    delete(&app, &freeze).await;
    assert_eq!(status(&app, &at).await, Status::Invalid);
    assert_eq!(status(&app, &of_other).await, Status::Valid, "another person's");
    assert_eq!(app.get("/v1/status-lists/7", "").await.problem(), "not-found");
    app.log_holds().await;
}

/// An endpoint that answers one request after the other with these statuses.
fn endpoint(statuses: Vec<u16>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let (mut sent, mut chunk) = (String::new(), [0; 4096]);
            while !sent.ends_with('}') {
                let n = stream.read(&mut chunk).unwrap();
                sent.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
            }
            let answer =
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            told.send(sent).unwrap();
        }
    });
    (url, heard)
}

fn header<'r>(request: &'r str, name: &str) -> &'r str {
    let line = request.lines().find(|l| l.to_ascii_lowercase().starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name}")).split_once(':').unwrap().1.trim()
}

fn signed_with(request: &str, secret: &str) -> bool {
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let content = format!(
        "{}.{}.{body}",
        header(request, "webhook-id"),
        header(request, "webhook-timestamp")
    );
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let ours = format!("v1,{}", BASE64_STANDARD.encode(hmac_sha256(&key, content.as_bytes())));
    header(request, "webhook-signature").split(' ').any(|s| s == ours)
}

async fn object(app: &TestApp, use_id: &str) -> Value {
    let path = format!("/v1/uses/{use_id}/takedown");
    let answer = app.call(app.request(Method::POST, &path, &app.app, None)).await;
    assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

async fn messages(app: &TestApp) -> Value {
    app.get("/v1/generator/messages", &app.generator).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_every_use_and_can_object() {
    let app = started().await;
    let cameo = app.given("ann", 1).await;
    let (answer, _) = app.granted(&cameo).await;
    let use_id = answer["use_id"].as_str().unwrap();
    let ask = json!({ "cameo_id": cameo, "requester": "user-9", "purpose": "adult" });
    assert_eq!(app.post("/v1/resolve", &app.generator, &ask).await.status, 403);

    let outcome = format!("/v1/uses/{use_id}/outcome");
    for (state, hash) in [("draft", None), ("published", Some("cd".repeat(32)))] {
        let report =
            json!({ "state": state, "content_sha256": hash, "manifest": "https://m.example/1" });
        let answer = app.post(&outcome, &app.generator, &report).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }
    let bad = json!({ "state": "draft", "content_sha256": "xyz" });
    assert_eq!(app.post(&outcome, &app.generator, &bad).await.problem(), "invalid-request");
    let role = cameo::domain::access::Role::Generator;
    let (_, stranger) = app.services.create_key(role, "stranger").await.unwrap();
    let report = json!({ "state": "draft" });
    assert_eq!(app.post(&outcome, stranger.expose(), &report).await.problem(), "not-found");
    let path = format!("/v1/uses/{use_id}");
    assert_eq!(app.get(&path, stranger.expose()).await.problem(), "not-found");

    let uses = app.get(&format!("/v1/cameos/{cameo}/uses"), &app.app).await.json();
    let (denied, allowed) = (&uses[0], &uses[1]);
    assert_eq!(
        (denied["rule"].as_str(), denied["requester"].as_str()),
        (Some("purpose"), Some("user-9"))
    );
    assert_eq!(
        (allowed["requester"].as_str(), allowed["token_status"].as_str()),
        (Some("user-7"), Some("valid"))
    );
    assert_eq!(
        (allowed["outcome"]["state"].as_str(), allowed["outcome"]["seq"].as_u64()),
        (Some("published"), Some(2))
    );
    assert!(app.get(&path, &app.generator).await.json()["requester"].is_null());

    // The objection goes to the generator's webhook, signed; a secret that rotates overlaps.
    let (url, heard) = endpoint(vec![500, 200, 200]);
    let set = app.put("/v1/generator/webhook", &app.generator, &json!({ "url": url })).await.json();
    let rotated = app
        .call(app.request(Method::POST, "/v1/generator/webhook/secret", &app.generator, None))
        .await
        .json();
    let takedown = object(&app, use_id).await;
    assert_eq!(object(&app, use_id).await["id"], takedown["id"], "twice is once");
    let hear = || heard.recv_timeout(Duration::from_mins(2)).unwrap();
    let first = hear();
    for secret in [&set["secret"], &rotated["secret"]] {
        assert!(signed_with(&first, secret.as_str().unwrap()), "{first}");
    }
    assert!(first.contains("takedown.requested") && first.contains(&"cd".repeat(32)));
    assert!(!first.contains("ann") && !first.contains("user-7"), "nothing personal");
    // It answered 500: it is tried again under the same id, later.
    failed(&app, 1, false).await;
    app.clock.advance(Duration::from_secs(10));
    app.services.deliver_one().await.unwrap();
    let second = hear();
    assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"));
    app.clock.advance(DAY + Duration::from_secs(1));

    let acknowledge = format!("/v1/takedowns/{}", takedown["id"].as_str().unwrap());
    app.services.sweep().await.unwrap();
    let overdue = app.get("/v1/takedowns", &app.admin).await.json();
    assert_eq!(
        (overdue[0]["id"].as_str(), overdue[0]["state"].as_str()),
        (takedown["id"].as_str(), Some("escalated"))
    );
    let third = hear();
    assert!(third.contains("takedown.escalated"));
    assert!(!signed_with(&third, set["secret"].as_str().unwrap()), "the old secret's day is over");
    let said =
        app.put(&acknowledge, &app.generator, &json!({ "state": "acknowledged" })).await.json();
    assert_eq!(said["state"], "acknowledged");
    assert_eq!(
        app.put(&acknowledge, stranger.expose(), &json!({ "state": "done" })).await.problem(),
        "not-found"
    );
    let gone = app.post(&outcome, &app.generator, &json!({ "state": "deleted" })).await;
    assert_eq!(gone.status, 201);
    let done = app.get(&format!("/v1/cameos/{cameo}/takedowns"), &app.app).await.json();
    assert_eq!(done[0]["state"], "done");
    app.log_holds().await;
}

/// Waits until the failure of the newest message's try of this number stands in the store.
async fn failed(app: &TestApp, tries: u64, dead: bool) {
    for _ in 0..1000 {
        let message = &messages(app).await[0];
        let settled = message["failure"].is_string() && message["tries"] == tries;
        if settled && (message["state"] == "dead") == dead {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("try {tries} was not settled: {:#}", messages(app).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_takes_dies_and_can_be_sent_again() {
    let app = started().await;
    let cameo = app.given("ann", 1).await;
    let (url, heard) = endpoint([vec![503; 10], vec![200, 410]].concat());
    app.put("/v1/generator/webhook", &app.generator, &json!({ "url": url })).await;
    let use_id = app.granted(&cameo).await.0["use_id"].as_str().unwrap().to_owned();
    object(&app, &use_id).await;
    for tries in 1..=10 {
        heard.recv_timeout(Duration::from_mins(2)).unwrap();
        let dead = tries == 10;
        failed(&app, tries, dead).await;
        app.clock.advance(Duration::from_hours(30));
        // The messenger looks by itself, but not so soon.
        app.services.deliver_one().await.unwrap();
    }
    let message = &messages(&app).await[0];
    assert_eq!((message["state"].as_str(), message["tries"].as_u64()), (Some("dead"), Some(10)));
    assert_eq!(message["failure"], "the endpoint answered 503");
    let replay = format!("/v1/generator/messages/{}/replay", message["id"].as_str().unwrap());
    let again = app.call(app.request(Method::POST, &replay, &app.generator, None)).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    heard.recv_timeout(Duration::from_mins(2)).unwrap();

    // 410 turns the endpoint off.
    let use_id = app.granted(&cameo).await.0["use_id"].as_str().unwrap().to_owned();
    object(&app, &use_id).await;
    heard.recv_timeout(Duration::from_mins(2)).unwrap();
    for _ in 0..100 {
        if app.get("/v1/generator/webhook", &app.generator).await.json()["disabled_at"].is_string()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let off = app.get("/v1/generator/webhook", &app.generator).await.json();
    assert!(off["disabled_at"].is_string() && off.get("secret").is_none(), "{off}");
    // What it was not told still stands in its list.
    assert_eq!(app.get("/v1/takedowns", &app.generator).await.json().as_array().unwrap().len(), 2);
    for url in ["ftp://x.example", "not a url", "https://u:p@x.example/"] {
        let refused =
            app.put("/v1/generator/webhook", &app.generator, &json!({ "url": url })).await;
        assert_eq!(refused.problem(), "invalid-request", "{url}");
    }
}

/// Everything in the folder that holds these bytes.
/// A new master key, while the service runs: both open, then only the new one is needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_master_key_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let key = |name: &str, digits: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(at(name), format!("{digits:0>64}")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(at(name), mode).unwrap();
    };
    key("old.key", "1234");
    key("new.key", "5678");
    let open = async |file: &str, previous: &[&str]| {
        let previous: Vec<_> = previous.iter().map(|p| at(p)).collect();
        let text = format!(
            "[database]\nurl = {:?}\n[secrets]\nmaster_key_file = {:?}\n\
             previous_master_key_files = {previous:?}\n[capture]\ndir = {:?}\n",
            format!("sqlite:{}", at("cameo.db")),
            at(file),
            at("captures"),
        );
        std::fs::write(at("cameo.toml"), text).unwrap();
        let config = cameo::config::Config::load(Some(at("cameo.toml").as_ref()), []).unwrap();
        cameo::app::services(config, cameo::app::Overrides::default()).await
    };
    let services = open("old.key", &[]).await.unwrap();
    let (info, _) = services.create_key(cameo::domain::access::Role::App, "app").await.unwrap();
    let who = "ann".parse().unwrap();
    services.enrol_given(&info.id, &who, &given::template(1)).await.unwrap();
    services.db().close().await;

    assert!(open("new.key", &[]).await.is_err(), "a wrong key is noticed at once");
    let services = open("new.key", &["old.key"]).await.unwrap();
    let done = services.rewrap().await.unwrap();
    assert_eq!((done.subjects, done.webhooks), (1, 0));
    assert!(done.signing_keys >= 2, "the token key and the log's");
    assert_eq!(services.rewrap().await.unwrap().subjects, 0, "it rests");
    services.db().close().await;

    let services = open("new.key", &[]).await.unwrap();
    services.enrol_given(&info.id, &who, &given::template(2)).await.unwrap();
    assert!(services.replay().await.unwrap().is_ok());
    services.db().close().await;
    assert!(open("old.key", &[]).await.is_err(), "the old one opens nothing any more");
}

/// The same from end to end on PostgreSQL, where the statements differ.
#[tokio::test(flavor = "multi_thread")]
async fn uses_freeze_and_deletion_on_postgresql() {
    let Some(url) = tokio::task::spawn_blocking(postgres::database).await.unwrap() else { return };
    let app = TestApp::start(Setup { postgres: Some(url), ..Setup::default() }).await;
    let cameo = app.given("ann", 1).await;
    let (answer, verified) = app.granted(&cameo).await;
    let at = verified.claims.status.clone();
    let report = json!({ "state": "published" });
    let path = format!("/v1/uses/{}/outcome", answer["use_id"].as_str().unwrap());
    assert_eq!(app.post(&path, &app.generator, &report).await.status, 201);
    app.put(&format!("/v1/cameos/{cameo}/freeze"), &app.app, &json!({})).await;
    assert_eq!(status(&app, &at).await, Status::Suspended);
    let gone = delete(&app, &format!("/v1/cameos/{cameo}?takedown=true")).await;
    assert_eq!(gone.status, 200, "{}", String::from_utf8_lossy(&gone.body));
    assert_eq!(status(&app, &at).await, Status::Invalid);
    let asked = app.get("/v1/takedowns", &app.generator).await.json();
    assert_eq!(asked[0]["reason"], "deleted");
    app.log_holds().await;
}

/// From the return of a "no" in one process on, none on the same database issues a token, whatever
/// it is busy with; and those issued before are suspended.
#[tokio::test(flavor = "multi_thread")]
async fn a_no_holds_in_every_process_under_load() {
    let Some(url) = tokio::task::spawn_blocking(postgres::database).await.unwrap() else { return };
    let setup = || Setup { postgres: Some(url.clone()), ..Setup::default() };
    let (one, two) = (TestApp::start(setup()).await, TestApp::start(setup()).await);
    let cameo = one.given("ann", 1).await;
    let (said, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (before, after) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ask = json!({ "cameo_id": cameo, "requester": "user-7", "purpose": "social" });
    let busy = async || {
        let mut issued = Vec::new();
        while !done.load(Ordering::SeqCst) {
            let late = said.load(Ordering::SeqCst);
            let answer = two.post("/v1/resolve", &one.generator, &ask).await;
            if late {
                assert_eq!(answer.status, 403, "a token after the no had returned");
                after.fetch_add(1, Ordering::SeqCst);
            } else if answer.status == 200 {
                issued.push(answer.json()["token"].as_str().unwrap().to_owned());
                before.fetch_add(1, Ordering::SeqCst);
            }
        }
        issued
    };
    let no = async {
        while before.load(Ordering::SeqCst) < 40 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        one.put(&format!("/v1/cameos/{cameo}/freeze"), &one.app, &json!({})).await;
        said.store(true, Ordering::SeqCst);
        while after.load(Ordering::SeqCst) < 40 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        done.store(true, Ordering::SeqCst);
    };
    let workers = futures::future::join_all((0..16).map(|_| busy()));
    let (issued, ()) =
        tokio::time::timeout(Duration::from_mins(2), futures::future::join(workers, no))
            .await
            .expect("both processes go on answering");
    for token in issued.concat() {
        let verified = one.verified(&token, &one.generator_id).await;
        assert_eq!(status(&two, &verified.claims.status).await, Status::Suspended);
    }
    assert_eq!(one.log_holds().await, two.log_holds().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_handed_out_once_by_two_processes() {
    let app = started().await;
    let reserve = async || {
        let mut tries = cameo::store::Tries::new(app.services.db(), "reserve");
        let mut tx = tries.begin().await.unwrap();
        let places = cameo::store::token_status::reserve(&mut tx, 3).await;
        tries.end(tx, places).await.unwrap().unwrap()
    };
    let (a, b): (Vec<Place>, Vec<Place>) = (reserve().await, reserve().await);
    assert!(a.iter().all(|p| !b.contains(p)) && a.len() == 3);
}
