//! Cases that a reviewer decides, and those that take two; what is kept so that a step can be repeated.

use std::time::Duration;

use rstest::rstest;

use super::fixture::{Fixture, template, who};
use crate::crypto::hash::sha256;
use crate::domain::access::Role;
use crate::domain::ids::VerificationId;
use crate::domain::verdict::{Check, CheckResult, Decision as Verdicts, Status, Verdict};
use crate::domain::verification::State;
use crate::run_tx;
use crate::service::Error;
use crate::service::access::Caller;
use crate::service::review::Decision;
use crate::service::subject::Sealed;
use crate::service::verify::evidence_place;
use crate::store::verifications::{self, Job, NewCapture, Settlement};
use crate::store::{Engine, attempts};

pub(super) fn verdict(decision: Verdicts, speech: Status, pad: Status) -> Verdict {
    let check = |check, status| CheckResult {
        check,
        status,
        score: Some(0.5),
        threshold: Some(0.6),
        reasons: vec![],
        llr: None,
        reliability: None,
    };
    let checks = vec![
        check(Check::Quality, Status::Pass),
        check(Check::Speech, speech),
        check(Check::Motion, Status::Pass),
        check(Check::Continuity, Status::Pass),
        check(Check::Sync, Status::Pass),
        check(Check::Pad, pad),
        check(Check::Injection, Status::Pass),
    ];
    Verdict { decision, checks, policy: "balanced/2".into(), earlier: None }
}

/// A judged capture: the verification in the state that the verdict brings.
async fn judged(f: &Fixture, subject: &str, state: State, verdict: &Verdict) -> VerificationId {
    let s = &f.services;
    let (new, now) = (f.opened(who(subject)), f.now());
    let id = new.id.clone();
    let hash = sha256(id.as_str().as_bytes());
    let capture = NewCapture { file: id.as_str(), sha256: &hash, bytes: 1 };
    run_tx!(s.db(), "test.judged", |tx| {
        let person = s.person(tx, &new.subject).await?;
        verifications::insert(tx, &new).await?;
        assert!(verifications::attach_capture(tx, &id, 1, &capture, now).await?);
        verifications::claim(tx, "w", now, now.plus(Duration::from_secs(9))).await?;
        let sealed = s.seal(&person, Sealed::Template, &evidence_place(&id, 1), &template())?;
        let settlement = Settlement {
            state,
            verdict: Some(verdict),
            quality: None,
            timings: None,
            cameo: None,
            failure: None,
            evidence_sealed: None,
            candidate_sealed: Some(&sealed),
            keep_capture: false,
            at: now,
        };
        let job = Job { id: &id, attempt: 1, worker: "w" };
        assert!(verifications::settle(tx, &job, &settlement).await?);
        Ok::<_, Error>(())
    })
    .unwrap();
    id
}

pub(super) async fn reviewer(f: &Fixture, name: &str) -> Caller {
    let (key, _) = f.services.create_key(Role::Reviewer, name).await.unwrap();
    Caller { key: key.id, role: Role::Reviewer }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn an_override_takes_two_people(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let (one, other) = (reviewer(&f, "one").await, reviewer(&f, "other").await);
    let s = &f.services;
    let against = verdict(Verdicts::Review, Status::Pass, Status::Fail);
    let id = judged(&f, "ann", State::Review, &against).await;
    let approve = |by| s.decide_case(by, &id, Decision::Approve, "fits");
    assert_eq!(approve(&one).await.unwrap().state, State::Review);
    assert!(matches!(approve(&one).await, Err(Error::SecondReviewer)));
    let case = s.inspect_case(&other, &id).await.unwrap();
    assert_eq!(case.first.unwrap().by, one.key);
    let done = approve(&other).await.unwrap();
    assert_eq!((done.state, done.review.unwrap().by), (State::Verified, other.key.clone()));

    // One is enough to reject, and where nothing failed.
    let id = judged(&f, "bob", State::Review, &against).await;
    s.decide_case(&one, &id, Decision::Approve, "fits").await.unwrap();
    let rejected = s.decide_case(&one, &id, Decision::Reject, "on second thought").await.unwrap();
    assert_eq!(rejected.state, State::Rejected);
    let open = verdict(Verdicts::Review, Status::Pass, Status::Inconclusive);
    let id = judged(&f, "cid", State::Review, &open).await;
    let done = s.decide_case(&one, &id, Decision::Approve, "fits").await.unwrap();
    assert_eq!(done.state, State::Verified);
    assert!(f.log_size().await > 0, "the log holds");
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_sample_for_a_repeat_ends_in_its_time(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let s = &f.services;
    let failed = verdict(Verdicts::Rejected, Status::Fail, Status::Pass);
    let id = judged(&f, "ann", State::Rejected, &failed).await;
    let kept = async || {
        let mut tx = s.db().read().await.unwrap();
        attempts::sample(&mut tx, &id, 1, crate::env::Millis(0)).await.unwrap().is_some()
    };
    s.sweep().await.unwrap();
    assert!(kept().await, "evidence is not kept here, but the sample has its own time");
    f.clock.advance(Duration::from_secs(899));
    let v = s.verification(&id).await.unwrap();
    assert_eq!(s.repeatable(&v).map(|r| (r.step.name(), r.attempt)), Some(("speech", 1)));
    f.clock.advance(Duration::from_secs(2));
    assert_eq!(s.repeatable(&v), None);
    s.sweep().await.unwrap();
    assert!(!kept().await);
    // A reviewer's word is final: nothing of it is repeated.
    let v = verifications::Verification {
        updated: f.now(),
        review: Some(verifications::Review {
            by: f.app.key.clone(),
            at: f.now(),
            reason: "no".into(),
        }),
        ..v
    };
    assert_eq!(s.repeatable(&v), None);
}
