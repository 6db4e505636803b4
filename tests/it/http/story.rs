//! The whole story: enrol, consent, resolve, verify, audit.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use cameo::crypto::KeySet;
use cameo::domain::challenge::Motion;
use cameo::drawn::Trick;
use cameo::service::Script;
use cameo::tlog::{Entry, Kind};
use cameo::token::{self, Expectations};
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::{captures, postgres};

fn script() -> Script {
    Script { digits: vec![4, 7, 1, 9, 0, 3], motions: vec![Motion::Left, Motion::Up] }
}

/// A verified person: a drawn capture, approved by a reviewer where no model could tell.
async fn enrolled(app: &TestApp) -> (Value, String) {
    let (id, token, _) = app.open("person-1").await;
    let s = script();
    let capture = captures::drawn(&s.digits, &s.motions, Trick::None);
    let sent = app.upload(&id, &token, capture.clone()).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&sent.body));
    // The same file again is the same upload.
    assert_eq!(app.upload(&id, &token, capture).await.status, StatusCode::ACCEPTED);
    let judged = app.settled(&id).await;
    assert!(app.captures_on_disk().is_empty(), "the capture outlived its verdict");
    let mut done = judged.clone();
    if judged["state"] == "review" {
        let case = app.get(&format!("/v1/reviews/{id}"), &app.reviewer).await.json();
        assert!(case["evidence"]["frames"].as_array().unwrap().len() > 50);
        let queue = app.get("/v1/reviews", &app.reviewer).await.json();
        assert_eq!(queue["items"][0]["id"], id);
        let path = format!("/v1/reviews/{id}/decision");
        let silent = json!({ "decision": "approve", "reason": " " });
        let refused = app.post(&path, &app.reviewer, &silent).await;
        assert_eq!(refused.problem(), "invalid-request");
        let approval = json!({ "decision": "approve", "reason": "looked at it" });
        done = app.approve(&id, "looked at it").await;
        let twice = app.post(&path, &app.reviewer, &approval).await;
        assert_eq!((twice.status.as_u16(), twice.problem().as_str()), (409, "wrong-state"));
    }
    assert_eq!(done["state"], "verified", "{done:#}");
    let cameo = done["cameo_id"].as_str().unwrap().to_owned();
    (judged, cameo)
}

fn ask(cameo: &str, requester: &str, purpose: &str) -> Value {
    json!({ "cameo_id": cameo, "requester": requester, "purpose": purpose })
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_selfie_to_a_token_that_the_log_knows() {
    Box::pin(story(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_postgresql() {
    let Some(url) = tokio::task::spawn_blocking(postgres::database).await.unwrap() else { return };
    Box::pin(story(Some(url))).await;
}

#[allow(clippy::too_many_lines)] // a story has one thread
async fn story(postgres: Option<String>) {
    let setup = Setup { models: true, script: Some(script()), postgres, ..Setup::default() };
    let app = TestApp::start(setup).await;
    let (judged, cameo) = enrolled(&app).await;
    for check in ["quality", "motion", "continuity"] {
        let checks = judged["verdict"]["checks"].as_array().unwrap();
        let found = checks.iter().find(|c| c["check"] == check).unwrap();
        assert_eq!(found["status"], "pass", "{found:#}");
    }
    assert!(judged["quality"]["components"]["UnifiedQualityScore"].as_u64().unwrap() > 30);

    // Nobody may before there is consent.
    let early = app.post("/v1/resolve", &app.generator, &ask(&cameo, "user-7", "social")).await;
    assert_eq!((early.status.as_u16(), early.problem().as_str()), (403, "consent-denied"));
    assert_eq!(early.json()["rule"], "no_consent");

    // Consent in versions; nobody overwrites what they haven't read.
    let consent = format!("/v1/cameos/{cameo}/consent");
    assert_eq!(app.get(&consent, &app.app).await.problem(), "not-found");
    let wish = json!({
        "audience": "everyone", "block": ["rude"], "purposes": ["social"], "text_version": "t1"
    });
    let given = app.put(&consent, &app.app, &wish).await;
    assert_eq!(
        (given.json()["version"].as_u64(), &given.headers["etag"]),
        (Some(1), &"\"1\"".parse().unwrap())
    );
    let mut stale = app.request(Method::PUT, &consent, &app.app, Some(&wish));
    stale.headers_mut().insert("if-match", "\"7\"".parse().unwrap());
    let stale = app.call(stale).await;
    assert_eq!((stale.status.as_u16(), stale.problem().as_str()), (412, "consent-changed"));

    for (requester, purpose, rule) in
        [("rude", "social", "audience"), ("user-7", "advertising", "purpose")]
    {
        let refused =
            app.post("/v1/resolve", &app.generator, &ask(&cameo, requester, purpose)).await;
        assert_eq!(refused.json()["rule"], rule);
    }

    // A token, twice the same under one key.
    let request = |accept: &str, key: &str| {
        let body = ask(&cameo, "user-7", "social");
        let mut r = app.request(Method::POST, "/v1/resolve", &app.generator, Some(&body));
        r.headers_mut().insert("accept", accept.parse().unwrap());
        r.headers_mut().insert("idempotency-key", key.parse().unwrap());
        r
    };
    let first = app.call(request("application/json", "k1")).await;
    assert_eq!(first.status, StatusCode::OK, "{}", String::from_utf8_lossy(&first.body));
    assert_eq!(app.call(request("application/json", "k1")).await.body, first.body);
    let grant = first.json();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(grant["token"].as_str().unwrap()).unwrap();
    let binary = app.call(request("application/cwt", "k2")).await;
    assert_eq!(binary.headers["content-type"], "application/cwt");

    let keys = KeySet::from_cose(&app.get("/.well-known/cose-keys", "").await.body).unwrap();
    let issuer = app.services.settings().issuer.clone();
    let expect = Expectations::new(&issuer, &app.generator_id, app.now());
    for token in [&bytes, &binary.body] {
        let verified = token::verify(token, &keys, &expect).unwrap();
        let claims = &verified.claims;
        assert!(claims.subject.starts_with("ps_") && claims.purpose == "social", "{claims:?}");
        assert_eq!((claims.consent_version, claims.requester.as_str()), (1, "user-7"));
        let identity = verified.open(&app.recipient).unwrap().identity;
        assert!(identity.faces.iter().all(|f| f.frame.is_some()), "the canvas is known");
        assert_eq!(identity.model.dim, 128);
        assert!(identity.faces.iter().all(|f| f.vector.len() == 128 && f.norm > 0.0));
        assert!(identity.voice.is_none(), "the voice was not allowed");
    }
    let other = Expectations::new(&issuer, "key_somebody_else", app.now());
    assert_eq!(token::verify(&bytes, &keys, &other).unwrap_err(), token::Error::WrongAudience);

    // The log has it, and gives nobody away.
    let index = grant["log_index"].as_u64().unwrap();
    let page = app.get("/v1/audit/entries?limit=1000", &app.auditor).await.json();
    let entries: Vec<(Vec<u8>, Entry)> = page["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            let bytes = BASE64_STANDARD.decode(e["entry"].as_str().unwrap()).unwrap();
            let entry = Entry::decode(&bytes).unwrap();
            (bytes, entry)
        })
        .collect();
    assert_eq!(entries[index as usize].1.kind, Kind::ResolveAllowed);
    let denied = entries.iter().filter(|e| e.1.kind == Kind::ResolveDenied).count();
    assert_eq!(denied, 3);
    for (bytes, _) in &entries {
        for secret in ["person-1", "user-7", "rude", cameo.as_str()] {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "an entry names {secret}");
        }
    }
    let proof = app.get(&format!("/v1/audit/proofs/inclusion/{index}"), &app.auditor).await;
    assert_eq!(proof.status, StatusCode::OK);
    app.log_holds().await;

    permissions(&app, &cameo, &grant).await;

    // Withdrawn is withdrawn.
    let gone = app.call(app.request(Method::DELETE, &consent, &app.app, None)).await.json();
    assert_eq!((gone["version"].as_u64(), gone["event"].as_str()), (Some(3), Some("withdrawn")));
    let refused = app.post("/v1/resolve", &app.generator, &ask(&cameo, "user-7", "social")).await;
    assert_eq!(refused.json()["rule"], "withdrawn");
    let first = app.get(&format!("{consent}?version=1"), &app.app).await.json();
    assert_eq!(first["permissions"]["block"], json!(["rude"]));
    app.log_holds().await;

    // Nothing on disk says who the person is but the app's own id and ciphertext.
    let vector_word = {
        let opened = token::verify(&bytes, &keys, &expect).unwrap().open(&app.recipient).unwrap();
        opened.identity.faces[0].vector[..8]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<_>>()
    };
    for file in ["cameo.db", "cameo.db-wal"] {
        let Ok(raw) = std::fs::read(app.dir.path().join(file)) else { continue };
        assert!(!raw.windows(vector_word.len()).any(|w| w == vector_word), "a vector in {file}");
        assert!(!raw.windows(6).any(|w| w == b"\"rude\""), "a block list in {file}");
    }
}

/// Texts, dry run, requests, grants, scenes, remix, receipts and the archive, over HTTP.
#[allow(clippy::too_many_lines)] // a story has one thread
async fn permissions(app: &TestApp, cameo: &str, first: &Value) {
    let text = "/v1/consent-texts/2026-11/en";
    let words = json!({ "body": "Others may make videos of you.", "purposes": ["social"] });
    let kept = app.put(text, &app.app, &words).await.json();
    assert_eq!(app.get(text, "").await.json(), kept);
    let other = app.put(text, &app.app, &json!({ "body": "Other words." })).await;
    assert_eq!((other.status.as_u16(), other.problem().as_str()), (409, "consent-text-kept"));

    let consent = format!("/v1/cameos/{cameo}/consent");
    let wish = json!({
        "audience": "approved", "block": ["rude"], "purposes": ["social", "remix"],
        "styles": ["stylised"], "company": "anyone", "max_per_day": 50,
        "restrictions": ["no horror"], "text_version": "2026-11", "locale": "en",
    });
    for (member, value) in [
        ("max_uses", json!(0)),
        ("until", json!("2020-01-01T00:00:00Z")),
        ("purposes", json!(["political"])),
        ("locale", json!("fr")),
        ("unknown", json!(1)),
        ("company_people", json!(["x"])),
    ] {
        let mut wrong = wish.clone();
        wrong[member] = value;
        assert_eq!(
            app.put(&consent, &app.app, &wrong).await.problem(),
            "invalid-request",
            "{member}"
        );
    }
    let given = app.put(&consent, &app.app, &wish).await.json();
    assert_eq!(given["text_sha256"], kept["sha256"]);
    assert_eq!(given["permissions"]["restrictions"], json!(["no horror"]));

    // The dry run: the app and the generator see the same, and blocked looks like a stranger.
    let would = json!({
        "cameo_ids": [cameo], "requester": "rude", "purpose": "social", "style": "stylised"
    });
    let mut strange = would.clone();
    strange["requester"] = json!("stranger");
    let answer = app.post("/v1/decisions", &app.generator, &would).await.json();
    assert_eq!(
        (&answer["decision"], &answer["cameos"][0]["rule"]),
        (&json!("deny"), &json!("audience"))
    );
    assert_eq!(answer, app.post("/v1/decisions", &app.generator, &strange).await.json());
    assert_eq!(app.post("/v1/decisions", &app.app, &would).await.problem(), "invalid-request");
    strange["generator"] = json!(app.generator_id);
    assert_eq!(answer, app.post("/v1/decisions", &app.app, &strange).await.json());
    assert_eq!(app.post("/v1/decisions", &app.auditor, &strange).await.problem(), "forbidden");

    // A request, approved once; the blocked one's looks the same.
    let asking =
        |who: &str| json!({ "requester": who, "purposes": ["social"], "message": "please" });
    let requests = format!("/v1/cameos/{cameo}/requests");
    let asked = app.post(&requests, &app.app, &asking("bob")).await;
    assert_eq!(asked.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&asked.body));
    let rude = app.post(&requests, &app.app, &asking("rude")).await.json();
    assert_eq!(rude["state"], asked.json()["state"]);
    let open = app.get(&format!("{requests}?state=pending"), &app.app).await.json();
    assert_eq!(open["items"].as_array().unwrap().len(), 1);
    let decision = format!("/v1/requests/{}/decision", asked.json()["id"].as_str().unwrap());
    let wrong = json!({ "decision": "once", "until": "2030-01-01T00:00:00Z" });
    assert_eq!(app.post(&decision, &app.app, &wrong).await.problem(), "invalid-request");
    let approved = app.post(&decision, &app.app, &json!({ "decision": "once" })).await.json();
    assert_eq!(approved["request"]["state"], "approved");
    let twice = app.post(&decision, &app.app, &json!({ "decision": "never" })).await;
    assert_eq!((twice.status.as_u16(), twice.problem().as_str()), (409, "request-settled"));

    // Used once, as part of a scene of one that derives from the first video.
    let scene = json!({
        "cameo_ids": [cameo], "requester": "bob", "purpose": "social",
        "parent": first["use_id"],
    });
    let one = app.post("/v1/scenes", &app.generator, &scene).await;
    assert_eq!(one.json()["rule"], "remix", "a stranger to the standing permissions may not remix");
    let mut plain = scene.clone();
    plain.as_object_mut().unwrap().remove("parent");
    let one = app.post("/v1/scenes", &app.generator, &plain).await;
    assert_eq!(one.status, StatusCode::OK, "{}", String::from_utf8_lossy(&one.body));
    assert_eq!(one.json()["uses"][0]["grant"], approved["grant"]["id"]);
    let again = app.post("/v1/scenes", &app.generator, &plain).await.json();
    assert_eq!(
        (&again["rule"], &again["refusals"][0]["cameo_id"]),
        (&json!("max_uses"), &json!(cameo))
    );

    // What was said can be shown, offline.
    let keys = KeySet::from_cose(&app.get("/.well-known/receipt-keys", "").await.body).unwrap();
    let grant = format!("/v1/cameos/{cameo}/grants/{}", approved["grant"]["id"].as_str().unwrap());
    for path in [format!("{consent}/receipt"), format!("{grant}/receipt")] {
        let json = app.get(&path, &app.app).await.body;
        let mut cose = app.request(Method::GET, &path, &app.app, None);
        cose.headers_mut().insert("accept", "application/cose".parse().unwrap());
        for form in [json, app.call(cose).await.body] {
            let verified = cameo::receipt::consent::verify(&form, &keys).unwrap();
            assert_eq!(verified.receipt.pii_principal_id, "person-1");
        }
    }
    let revoked = app.call(app.request(Method::DELETE, &grant, &app.app, None)).await.json();
    assert!(revoked["revoked_at"].is_string());
    let listed = app.get(&format!("/v1/cameos/{cameo}/grants"), &app.app).await.json();
    assert_eq!(listed["items"], json!([revoked]));
    let muted = json!({ "requester": "bob", "muted": true });
    let muted = app.put(&format!("/v1/cameos/{cameo}/mute"), &app.app, &muted).await;
    assert_eq!(muted.status, StatusCode::NO_CONTENT);
    let pairs = json!({ "pairs": [{ "person": "bob", "other": "person-1", "mutual": true }] });
    let pushed = app.put("/v1/graph/mutuals", &app.app, &pairs).await;
    assert_eq!(pushed.status, StatusCode::NO_CONTENT);
    let forgotten = app.request(Method::DELETE, "/v1/graph/mutuals/bob", &app.app, None);
    assert_eq!(app.call(forgotten).await.status, StatusCode::NO_CONTENT);
    let archive = app.get("/v1/subjects/person-1/export", &app.app).await;
    assert_eq!(archive.headers["content-type"], "application/x-tar");
    assert!(archive.body.len() > 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_came_too_soon_was_not_recorded() {
    let app = TestApp::start(Setup { models: true, ..Setup::default() }).await;
    let capture = captures::drawn(&[1, 2, 3, 4, 5, 6], &[Motion::Left], Trick::None);
    let mut judged = Vec::new();
    for (subject, after) in [("person-1", 1), ("person-2", 20)] {
        let (id, token, _) = app.open(subject).await;
        app.clock.advance(Duration::from_secs(after));
        // Each its own file: the same one would be a replay. A Void element at the end is legal.
        let bytes = [&capture[..], &[0xec, 0x81, after as u8]].concat();
        assert_eq!(app.upload(&id, &token, bytes).await.status, StatusCode::ACCEPTED);
        judged.push(app.settled(&id).await);
    }
    let early = |v: &Value| v["verdict"].to_string().contains("\"spoken_early\"");
    assert!(early(&judged[0]), "{:#}", judged[0]);
    assert!(!early(&judged[1]), "{:#}", judged[1]);
    assert!(judged[0]["retry"] != "speech", "nothing of it stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_in_a_drawn_capture_are_named() {
    let setup = Setup {
        models: true,
        script: Some(script()),
        config: "[verification]\nlockout_failures = 100\n".into(),
        ..Setup::default()
    };
    let app = TestApp::start(setup).await;
    let s = script();
    let cases = [
        ("nobody", s.motions.clone(), Trick::NoFace, "no_face"),
        ("a still picture", s.motions.clone(), Trick::Still, "frozen_video"),
        ("silence", s.motions.clone(), Trick::Silent, "no_speech"),
        ("no motion", vec![], Trick::None, "motion_missing"),
        ("another order", vec![Motion::Up, Motion::Left], Trick::None, "motion_order"),
    ];
    for (name, motions, trick, reason) in cases {
        let (id, token, _) = app.open("person-1").await;
        let capture = captures::drawn(&s.digits, &motions, trick);
        assert_eq!(app.upload(&id, &token, capture).await.status, StatusCode::ACCEPTED, "{name}");
        let judged = app.settled(&id).await;
        assert_eq!(judged["state"], "rejected", "{name}: {judged:#}");
        let reasons: Vec<&str> = judged["verdict"]["checks"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|c| c["reasons"].as_array().unwrap())
            .map(|r| r["code"].as_str().unwrap())
            .collect();
        assert!(reasons.contains(&reason), "{name}: {reasons:?}");
    }
    app.log_holds().await;
}
