//! Verifications, their jobs and attempts, lock-outs, captures seen, idempotency.

use std::time::Duration;

use cameo::domain::access::Role;
use cameo::domain::verdict::{Check, CheckResult, Decision, ReasonCode, Status, Verdict};
use cameo::domain::verification::State;
use cameo::run_tx;
use cameo::store::captures_seen::{self, Seen};
use cameo::store::idempotency::{self, Begun, Call, Response};
use cameo::store::verifications::{self, Job, NewCapture, Retry, Review, Settlement, Verification};
use cameo::store::{Engine, Error, Tx, attempts, failures};
use rstest::rstest;

use super::fixture::{Fixture, T0, at, settlement, subject};

fn verdict(decision: Decision) -> Verdict {
    Verdict {
        earlier: None,
        decision,
        checks: vec![CheckResult {
            check: Check::Motion,
            status: Status::Fail,
            score: Some(0.5),
            threshold: Some(0.75),
            reasons: vec![ReasonCode::MotionMissing],
            llr: None,
            reliability: None,
        }],
        policy: "default/1".into(),
    }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_verification_from_challenge_to_review(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let new = f.pending("ann").await;
    let v = f.get(&new.id).await;
    assert_eq!((v.state, v.attempt, v.capture, v.verdict), (State::Pending, 1, None, None));
    assert_eq!((&v.subject, &v.challenge), (&new.subject, &new.challenge));
    assert_eq!(v.client_token_hash, new.client_token_hash);
    assert_eq!(v.expires, new.challenge.expires_at);
    let twice = run_tx!(f.db, "twice", |tx| verifications::insert(tx, &new).await);
    assert!(matches!(twice, Err(Error::Conflict { what }) if what == "verifications"));

    // The capture comes: too late, then for another attempt, then right.
    let capture = NewCapture { file: "one.webm", sha256: &[5; 32], bytes: 99 };
    for (attempt, when, taken) in
        [(1, at(180), false), (2, at(60), false), (1, at(60), true), (1, at(61), false)]
    {
        let attach = async |tx: &mut Tx| {
            verifications::attach_capture(tx, &new.id, attempt, &capture, when).await
        };
        assert_eq!(
            run_tx!(f.db, "attach", |tx| attach(tx).await).unwrap(),
            taken,
            "{attempt} {when:?}"
        );
    }
    assert_eq!(f.get(&new.id).await.state, State::Processing);

    // A worker takes the job; nobody else gets it until the lease is over.
    let v = f.claim("w1", at(62)).await.unwrap();
    let c = v.capture.unwrap();
    assert_eq!((c.file.as_deref(), c.sha256, c.bytes, c.tries), (Some("one.webm"), [5; 32], 99, 1));
    assert_eq!(c.claim, Some(("w1".into(), at(122))));
    assert_eq!(f.claim("w2", at(100)).await, None);
    let job = Job { id: &new.id, attempt: 1, worker: "w1" };
    assert!(run_tx!(f.db, "renew", |tx| verifications::renew(tx, &job, at(200)).await).unwrap());
    assert_eq!(f.claim("w2", at(150)).await, None);

    // It went silent: another takes over, and the first can no longer settle.
    assert_eq!(f.claim("w2", at(200)).await.unwrap().capture.unwrap().tries, 2);
    let reviewable = verdict(Decision::Review);
    let how = Settlement {
        verdict: Some(&reviewable),
        quality: Some(&serde_json::json!({"Sharpness": 80})),
        timings: Some(&serde_json::json!({"decode_ms": 12})),
        evidence_sealed: Some(b"sealed evidence"),
        candidate_sealed: Some(b"sealed template"),
        ..settlement(State::Review, at(210))
    };
    assert!(!f.settle(&job, &how).await);
    let job = Job { worker: "w2", ..job };
    assert!(f.settle(&job, &how).await);
    assert!(!f.settle(&job, &how).await, "once only");

    let v = f.get(&new.id).await;
    assert_eq!((v.state, v.verdict), (State::Review, Some(reviewable)));
    assert_eq!(v.quality.unwrap()["Sharpness"], 80);
    let c = v.capture.unwrap();
    assert_eq!((c.file, c.claim, c.sha256), (None, None, [5; 32]));
    let mut r = f.read().await;
    assert_eq!(attempts::evidence(&mut r, &new.id, 1).await.unwrap().unwrap(), b"sealed evidence");
    assert_eq!(attempts::candidate(&mut r, &new.id, 1).await.unwrap().unwrap(), b"sealed template");
    assert_eq!(attempts::candidate(&mut r, &new.id, 2).await.unwrap(), None);
    drop(r);

    let review =
        Review { by: f.api_key(Role::Reviewer).await, at: at(300), reason: "blurred".into() };
    let reject = async |tx: &mut Tx| {
        verifications::review(tx, &new.id, 1, State::Rejected, &review, None).await
    };
    assert!(run_tx!(f.db, "review", |tx| reject(tx).await).unwrap());
    assert!(!run_tx!(f.db, "review", |tx| reject(tx).await).unwrap());
    let v = f.get(&new.id).await;
    assert_eq!((v.state, v.review), (State::Rejected, Some(review)));
    assert_eq!(attempts::candidate(&mut f.read().await, &new.id, 1).await.unwrap(), None);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_review_that_nobody_decides_ends(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let new = f.pending("ann").await;
    let capture = NewCapture { file: "one.webm", sha256: &[5; 32], bytes: 99 };
    run_tx!(f.db, "attach", |tx| verifications::attach_capture(tx, &new.id, 1, &capture, at(60))
        .await)
    .unwrap();
    f.claim("w1", at(62)).await.unwrap();
    let reviewable = verdict(Decision::Review);
    let how = Settlement {
        verdict: Some(&reviewable),
        candidate_sealed: Some(b"sealed template"),
        ..settlement(State::Review, at(70))
    };
    assert!(f.settle(&Job { id: &new.id, attempt: 1, worker: "w1" }, &how).await);

    let overdue = async |before| {
        verifications::overdue_reviews(&mut f.read().await, before, 9).await.unwrap().len()
    };
    assert_eq!((overdue(at(70)).await, overdue(at(71)).await), (0, 1));
    let lapse = async |tx: &mut Tx, attempt| {
        verifications::lapse_review(tx, &new.id, attempt, at(90)).await
    };
    assert!(!run_tx!(f.db, "lapse", |tx| lapse(tx, 2).await).unwrap(), "another attempt");
    assert!(run_tx!(f.db, "lapse", |tx| lapse(tx, 1).await).unwrap());
    assert!(!run_tx!(f.db, "lapse", |tx| lapse(tx, 1).await).unwrap(), "once");
    let v = f.get(&new.id).await;
    assert_eq!((v.state, v.review), (State::Expired, None));
    assert_eq!(attempts::candidate(&mut f.read().await, &new.id, 1).await.unwrap(), None);
    assert_eq!(overdue(at(99)).await, 0);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_retry_opens_a_new_attempt_and_keeps_the_old(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let id = f.processing("ann", at(10)).await;
    f.claim("w", at(11)).await.unwrap();
    let rejected = verdict(Decision::Rejected);
    let how = Settlement { verdict: Some(&rejected), ..settlement(State::Rejected, at(20)) };
    let retry = Retry {
        challenge: f.challenge(at(30)),
        client_token_hash: [9; 32],
        client_token_expires: at(500),
        at: at(30),
    };
    let again = async |tx: &mut Tx| verifications::retry(tx, &id, 1, &retry).await;
    assert!(!run_tx!(f.db, "early", |tx| again(tx).await).unwrap());
    assert!(f.settle(&Job { id: &id, attempt: 1, worker: "w" }, &how).await);
    assert!(run_tx!(f.db, "retry", |tx| again(tx).await).unwrap());
    assert!(!run_tx!(f.db, "retry", |tx| again(tx).await).unwrap());

    let v = f.get(&id).await;
    assert_eq!((v.state, v.attempt, v.capture, v.verdict), (State::Pending, 2, None, None));
    assert_eq!((v.challenge, v.client_token_hash), (retry.challenge.clone(), [9; 32]));
    let history = attempts::list(&mut f.read().await, &id).await.unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(
        (history[0].outcome, history[0].verdict.as_ref()),
        (Some(State::Rejected), Some(&rejected))
    );
    assert_eq!((history[1].outcome, history[1].opened, history[1].closed), (None, at(30), None));

    // Time's up.
    let expire = async |tx: &mut Tx| verifications::expire_overdue(tx, at(210), 10).await;
    assert_eq!(run_tx!(f.db, "expire", |tx| expire(tx).await).unwrap(), [(id.clone(), 2)]);
    assert_eq!(run_tx!(f.db, "expire", |tx| expire(tx).await).unwrap(), []);
    let history = attempts::list(&mut f.read().await, &id).await.unwrap();
    assert_eq!((history[1].outcome, history[1].closed), (Some(State::Expired), Some(at(210))));
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn jobs_are_given_back(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let (a, b) = (f.processing("ann", at(20)).await, f.processing("bob", at(10)).await);
    assert_eq!(verifications::waiting(&mut f.read().await).await.unwrap(), 2);
    assert_eq!(f.claim("w", at(30)).await.unwrap().id, b, "the one that waited longest");
    let job = Job { id: &b, attempt: 1, worker: "w" };
    assert!(run_tx!(f.db, "release", |tx| verifications::release(tx, &job).await).unwrap());
    let back = f.claim("w", at(31)).await.unwrap();
    assert_eq!((&back.id, back.capture.unwrap().tries), (&b, 1), "released: not tried");
    assert_eq!(f.claim("w", at(31)).await.unwrap().id, a);
    let all = async |tx: &mut Tx| verifications::release_all(tx, "w").await;
    assert_eq!(run_tx!(f.db, "release all", |tx| all(tx).await).unwrap(), 2);
    assert_eq!(f.claim("w", at(32)).await.unwrap().capture.unwrap().tries, 2, "crashed: tried");
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(f.pending("ann").await.id);
    }
    f.pending("bob").await;
    let ids_of = |page: &[Verification]| page.iter().map(|v| v.id.clone()).collect::<Vec<_>>();
    let mut r = f.read().await;
    let first = verifications::by_state(&mut r, State::Pending, None, 3).await.unwrap();
    assert_eq!(ids_of(&first), ids[..3]);
    let next = verifications::by_state(&mut r, State::Pending, Some(&ids[2]), 9).await.unwrap();
    assert_eq!((next.len(), &next[0].id), (5, &ids[3]));
    assert_eq!(verifications::by_state(&mut r, State::Review, None, 9).await.unwrap(), []);
    let mine = verifications::by_subject(&mut r, &subject("ann"), None, 3).await.unwrap();
    assert_eq!(ids_of(&mine), [ids[6].clone(), ids[5].clone(), ids[4].clone()]);
    let rest = verifications::by_subject(&mut r, &subject("ann"), Some(&ids[4]), 9).await.unwrap();
    assert_eq!((rest.len(), &rest[3].id), (4, &ids[0]));
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn kept_captures_are_known_until_they_are_forgotten(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let id = f.processing("ann", at(10)).await;
    let busy = f.processing("bob", at(11)).await;
    f.claim("w", at(12)).await.unwrap();
    let how = Settlement {
        keep_capture: true,
        evidence_sealed: Some(b"e"),
        ..settlement(State::Failed, at(20))
    };
    assert!(f.settle(&Job { id: &id, attempt: 1, worker: "w" }, &how).await);
    let (file, other) = (format!("{id}.webm"), format!("{busy}.webm"));
    let mut r = f.read().await;
    assert_eq!(
        verifications::capture_files(&mut r, "", 9).await.unwrap(),
        [file.clone(), other.clone()]
    );
    assert_eq!(verifications::capture_files(&mut r, &file, 9).await.unwrap(), [&*other]);
    assert_eq!(verifications::kept_captures(&mut r, at(10), 9).await.unwrap(), []);
    assert_eq!(
        verifications::kept_captures(&mut r, at(99), 9).await.unwrap(),
        [(id.clone(), file.clone())]
    );
    drop(r);
    for (id, file, gone) in [(&id, &file, true), (&id, &file, false), (&busy, &other, false)] {
        let forget = async |tx: &mut Tx| verifications::forget_capture(tx, id, file).await;
        assert_eq!(run_tx!(f.db, "forget", |tx| forget(tx).await).unwrap(), gone);
    }
    let forget = async |tx: &mut Tx| attempts::forget_evidence(tx, at(21)).await;
    assert_eq!(run_tx!(f.db, "forget", |tx| forget(tx).await).unwrap(), 1);
    assert_eq!(attempts::evidence(&mut f.read().await, &id, 1).await.unwrap(), None);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_file_name_cannot_leave_the_folder(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let id = f.pending("ann").await.id;
    for file in ["", ".", "..", "../x", "/etc/passwd", "a b", "x\0", &"x".repeat(256)] {
        let capture = NewCapture { file, sha256: &[5; 32], bytes: 1 };
        let attach =
            async |tx: &mut Tx| verifications::attach_capture(tx, &id, 1, &capture, T0).await;
        assert!(run_tx!(f.db, "attach", |tx| attach(tx).await).is_err(), "{file:?}");
    }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn failures_count_once_and_locks_only_grow(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let (ann, bob) = (subject("ann"), subject("bob"));
    let id = f.pending("ann").await.id;
    let record = async |tx: &mut Tx| {
        for (attempt, when) in [(1, at(1)), (1, at(2)), (2, at(3))] {
            failures::record(tx, &ann, &id, attempt, when).await?;
        }
        failures::lock(tx, &ann, at(100)).await?;
        failures::lock(tx, &ann, at(50)).await
    };
    run_tx!(f.db, "record", |tx| record(tx).await).unwrap();
    let mut r = f.read().await;
    for (since, n) in [(at(0), 2), (at(2), 1), (at(4), 0)] {
        assert_eq!(failures::count_since(&mut r, &ann, since).await.unwrap(), n);
    }
    assert_eq!(failures::count_since(&mut r, &bob, T0).await.unwrap(), 0);
    assert_eq!(failures::locked_until(&mut r, &ann, at(99)).await.unwrap(), Some(at(100)));
    assert_eq!(failures::locked_until(&mut r, &ann, at(100)).await.unwrap(), None);
    assert_eq!(failures::locked_until(&mut r, &bob, T0).await.unwrap(), None);
    drop(r);
    run_tx!(f.db, "prune", |tx| failures::prune(tx, at(2), at(10)).await).unwrap();
    let mut r = f.read().await;
    assert_eq!(failures::count_since(&mut r, &ann, T0).await.unwrap(), 1);
    assert!(failures::locked_until(&mut r, &ann, at(99)).await.unwrap().is_some());
    drop(r);
    run_tx!(f.db, "clear", |tx| failures::clear(tx, &ann).await).unwrap();
    let mut r = f.read().await;
    assert_eq!(failures::count_since(&mut r, &ann, T0).await.unwrap(), 0);
    assert_eq!(failures::locked_until(&mut r, &ann, T0).await.unwrap(), None);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_capture_that_came_before_is_known(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let (a, b) = (f.verification_id(), f.verification_id());
    let see = async |id, when| {
        run_tx!(f.db, "see", |tx| captures_seen::see(tx, &[1; 32], id, when).await).unwrap()
    };
    assert_eq!(see(&a, at(1)).await, Seen::First);
    assert_eq!(see(&a, at(2)).await, Seen::Before);
    assert_eq!(see(&b, at(3)).await, Seen::Before);
    run_tx!(f.db, "prune", |tx| captures_seen::prune(tx, at(5)).await).unwrap();
    assert_eq!(see(&a, at(6)).await, Seen::First);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_call_is_carried_out_once(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let hash = [1; 32];
    let first =
        Call { scope: "key_1 POST /v1/verifications", key: "k", request_hash: &hash, owner: "a" };
    let second = Call { owner: "b", ..first };
    let begin = async |call: &Call<'_>, now| {
        let lease = at(now).plus(Duration::from_secs(30));
        let begin = async |tx: &mut Tx| idempotency::begin(tx, call, at(now), lease).await;
        run_tx!(f.db, "begin", |tx| begin(tx).await).unwrap()
    };
    let response =
        Response { status: 201, content_type: "application/json".into(), body: b"{}".to_vec() };
    let finish = async |call: &Call<'_>| {
        run_tx!(f.db, "finish", |tx| idempotency::finish(tx, call, &response).await).unwrap()
    };
    assert_eq!(begin(&first, 0).await, Begun::Run);
    assert_eq!(begin(&second, 1).await, Begun::InFlight);
    assert_eq!(begin(&Call { request_hash: &[2; 32], ..second }, 1).await, Begun::Mismatch);
    assert_eq!(begin(&Call { scope: "key_2", ..second }, 1).await, Begun::Run);
    // The first one dies; its lease runs out; should it come back, it finds itself replaced.
    assert_eq!(begin(&second, 30).await, Begun::Run);
    assert!(!finish(&first).await);
    run_tx!(f.db, "abandon", |tx| idempotency::abandon(tx, &first).await).unwrap();
    assert_eq!(begin(&first, 31).await, Begun::InFlight);
    assert!(finish(&second).await);
    assert_eq!(begin(&first, 999).await, Begun::Done(response.clone()));
    assert_eq!(begin(&Call { request_hash: &[2; 32], ..first }, 999).await, Begun::Mismatch);
    // Given up: free again. Expired: forgotten.
    let third = Call { key: "other", ..first };
    assert_eq!(begin(&third, 2).await, Begun::Run);
    run_tx!(f.db, "abandon", |tx| idempotency::abandon(tx, &third).await).unwrap();
    assert_eq!(begin(&third, 3).await, Begun::Run);
    let expire = async |tx: &mut Tx| idempotency::expire(tx, at(20)).await;
    assert_eq!(
        run_tx!(f.db, "expire", |tx| expire(tx).await).unwrap(),
        1,
        "done, not those under way"
    );
    assert_eq!(begin(&first, 1000).await, Begun::Run);
}
