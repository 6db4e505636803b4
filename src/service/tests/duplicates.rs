//! One person, one identity: the gallery follows the database, and nobody slips between two processes.

use rstest::rstest;

use super::fixture::{Fixture, template, who};
use crate::domain::ids::CameoId;
use crate::domain::template::Template;
use crate::domain::uses::DeletionReason;
use crate::domain::verdict::{Check, Decision, ReasonCode, Status, Verdict};
use crate::run_tx;
use crate::service::gallery::Proposed;
use crate::service::{Error, Result, Services, Settings};
use crate::store::Engine;
use crate::store::findings::Match;

/// A template of the fixture's model whose frontal vector is turned by `angle` degrees from
/// `direction`.
fn face(direction: usize, angle: f32) -> Template {
    let mut t = template();
    let (sin, cos) = angle.to_radians().sin_cos();
    t.faces[0].vector = vec![0.0; 4];
    t.faces[0].vector[direction] = cos;
    t.faces[0].vector[(direction + 1) % 4] = sin;
    t
}

async fn fixture(engine: Engine) -> Option<Fixture> {
    // A cosine distance of 0.1: 26 degrees.
    Fixture::with(engine, |s| s.identity.duplicate_distance = Some(0.1)).await
}

async fn enrol(f: &Fixture, services: &Services, name: &str, template: &Template) -> CameoId {
    services.enrol_given(&f.app.key, &who(name), template).await.unwrap()
}

async fn found(s: &Services, name: &str, template: &Template) -> Vec<Match> {
    let proposed = s.suspects(&who(name), template).await.unwrap();
    compare(s, name, template, &proposed).await
}

async fn compare(s: &Services, name: &str, t: &Template, proposed: &Proposed) -> Vec<Match> {
    let found: Result<_> = run_tx!(s.db(), "test.matches", |tx| {
        let _held = s.ledger(tx).await?;
        s.matches(tx, &who(name), t, proposed).await
    });
    found.unwrap()
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_face_is_found_under_another_subject_alone(#[case] engine: Engine) {
    let Some(f) = fixture(engine).await else { return };
    let s = &f.services;
    assert!(!s.search_is_ready());
    let ann = enrol(&f, s, "ann", &face(0, 0.0)).await;
    enrol(&f, s, "bob", &face(2, 0.0)).await;
    assert_eq!(found(s, "eve", &face(0, 15.0)).await, [Match::Duplicate(ann.clone())]);
    assert!(s.search_is_ready());
    assert_eq!(found(s, "eve", &face(0, 40.0)).await, []);
    // Her own earlier enrolment is no duplicate.
    assert_eq!(found(s, "ann", &face(0, 15.0)).await, []);
    // Another model's vectors can't be compared.
    let mut other = face(0, 0.0);
    other.model.sha256 = "cd".repeat(32);
    assert_eq!(found(s, "eve", &other).await, []);
    // Another enrolment takes the place of the first.
    assert_eq!(enrol(&f, s, "ann", &face(1, 0.0)).await, ann);
    assert_eq!(found(s, "eve", &face(0, 15.0)).await, []);
    assert_eq!(found(s, "eve", &face(1, 15.0)).await, [Match::Duplicate(ann)]);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn who_was_deleted_is_forgotten_in_every_process(#[case] engine: Engine) {
    let Some(f) = fixture(engine).await else { return };
    let second = f.replica(7).await;
    let ann = enrol(&f, &f.services, "ann", &face(0, 0.0)).await;
    let bob = enrol(&f, &second, "bob", &face(2, 0.0)).await;
    // Each learns of the other's.
    for s in [&f.services, &second] {
        let found = [found(s, "eve", &face(0, 5.0)).await, found(s, "eve", &face(2, 5.0)).await];
        assert_eq!(found, [[Match::Duplicate(ann.clone())], [Match::Duplicate(bob.clone())]]);
    }
    f.services.delete_cameo(&ann, DeletionReason::Request, false).await.unwrap();
    assert!(!f.services.has_face(&ann));
    assert!(second.has_face(&ann) && second.has_face(&bob));
    second.refresh_search().await.unwrap();
    assert!(!second.has_face(&ann) && second.has_face(&bob));
    for s in [&f.services, &second] {
        assert_eq!(found(s, "eve", &face(0, 5.0)).await, []);
    }
    // A new start reads the same.
    let third = f.replica(8).await;
    third.refresh_search().await.unwrap();
    assert!(!third.has_face(&ann) && third.has_face(&bob));
}

/// Whoever is enrolled between the search and the transaction that acts on it is compared there.
#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn of_two_at_once_the_second_sees_the_first(#[case] engine: Engine) {
    let Some(f) = fixture(engine).await else { return };
    let second = f.replica(9).await;
    let eve = face(0, 5.0);
    let proposed = f.services.suspects(&who("eve"), &eve).await.unwrap();
    let ann = enrol(&f, &second, "ann", &face(0, 0.0)).await;
    assert_eq!(compare(&f.services, "eve", &eve, &proposed).await, [Match::Duplicate(ann.clone())]);
    // And whoever was deleted in between is not.
    let proposed = f.services.suspects(&who("eve"), &eve).await.unwrap();
    second.delete_cameo(&ann, DeletionReason::Request, false).await.unwrap();
    assert_eq!(compare(&f.services, "eve", &eve, &proposed).await, []);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn protected_faces_are_sealed_found_and_removed(#[case] engine: Engine) {
    let Some(f) = fixture(engine).await else { return };
    let (s, second) = (&f.services, f.replica(10).await);
    let star = face(3, 0.0);
    let id = s.protect("A Star", &star.model, &star.faces[0].vector).await.unwrap();
    for s in [s, &second] {
        let near = found(s, "eve", &face(3, 10.0)).await;
        assert_eq!(near, [Match::Protected(id.clone())]);
        assert_eq!(found(s, "eve", &face(1, 10.0)).await, []);
    }
    let listed = second.protected_faces().await.unwrap();
    assert_eq!((listed.len(), listed[0].label.as_str()), (1, "A Star"));
    assert!(!format!("{listed:?}").contains("Star"));
    for (label, vector) in [("", vec![1.0; 4]), ("x", vec![0.0; 4]), ("x", vec![f32::NAN; 4])] {
        let refused = s.protect(label, &star.model, &vector).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{label}");
    }
    s.unprotect(&id).await.unwrap();
    assert!(matches!(s.unprotect(&id).await, Err(Error::NotFound(_))));
    for s in [s, &second] {
        assert_eq!(found(s, "eve", &star).await, []);
    }
}

#[tokio::test]
async fn a_verdict_gets_stricter_and_says_why() {
    let passed = || Verdict {
        decision: Decision::Verified,
        checks: vec![],
        policy: "p/1".into(),
        earlier: None,
    };
    let verdict = async |rejects: bool, identity: &[ReasonCode], age: Option<ReasonCode>| {
        let set = move |s: &mut Settings| s.identity.protected_rejects = rejects;
        let f = Fixture::with(Engine::Sqlite, set).await.unwrap();
        let mut v = passed();
        f.services.object(&mut v, identity.to_vec(), age);
        (v.decision, v.checks.iter().map(|c| (c.check, c.status)).collect::<Vec<_>>())
    };
    let open = Status::Inconclusive;
    assert_eq!(verdict(false, &[], None).await, (Decision::Verified, vec![]));
    assert_eq!(
        verdict(false, &[ReasonCode::DuplicateIdentity], Some(ReasonCode::AgeUnknown)).await,
        (Decision::Review, vec![(Check::Identity, open), (Check::Age, open)])
    );
    assert_eq!(
        verdict(false, &[ReasonCode::ProtectedIdentity], None).await,
        (Decision::Review, vec![(Check::Identity, open)])
    );
    assert_eq!(
        verdict(true, &[ReasonCode::ProtectedIdentity], None).await,
        (Decision::Rejected, vec![(Check::Identity, Status::Fail)])
    );
    assert_eq!(
        verdict(true, &[ReasonCode::DuplicateIdentity], None).await,
        (Decision::Review, vec![(Check::Identity, open)])
    );
}
