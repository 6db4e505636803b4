//! Pictures for a reviewer: kept in review alone, looked at one entry at a time, and gone with the case.

use std::collections::BTreeMap;
use std::time::Duration;

use rstest::rstest;
use zeroize::Zeroizing;

use super::fixture::{Fixture, everyone, template, who};
use super::reviews::{reviewer, verdict};
use crate::crypto::hash::sha256;
use crate::domain::evidence::Evidence;
use crate::domain::ids::{CameoId, VerificationId};
use crate::domain::key_frame::View;
use crate::domain::uses::DeletionReason;
use crate::domain::verdict::{Decision as Verdicts, Status};
use crate::domain::verification::State;
use crate::run_tx;
use crate::service::Error;
use crate::service::capture::Timings;
use crate::service::measure::{KeyFrame, Measured};
use crate::service::review::Decision;
use crate::service::verify::Judged;
use crate::store::verifications::{self, NewCapture, Verification};
use crate::store::{Engine, key_frames};
use crate::tlog::entry::{Attribute, Entry};

const PICTURES: [&[u8]; 2] = [b"the first picture", b"the second picture"];

/// A capture on its way to a verdict.
async fn under_way(f: &Fixture, subject: &str) -> Verification {
    let s = &f.services;
    let (new, now) = (f.opened(who(subject)), f.now());
    let id = new.id.clone();
    let hash = sha256(id.as_str().as_bytes());
    let capture = NewCapture { file: id.as_str(), sha256: &hash, bytes: 1 };
    run_tx!(s.db(), "test.under_way", |tx| {
        verifications::insert(tx, &new).await?;
        assert!(verifications::attach_capture(tx, &id, 1, &capture, now).await?);
        let until = now.plus(Duration::from_secs(9));
        Ok::<_, Error>(verifications::claim(tx, &s.settings().instance, now, until).await?)
    })
    .unwrap()
    .unwrap()
}

/// Settles a capture with this verdict, of which pictures were picked.
async fn judged(f: &Fixture, subject: &str, decision: Verdicts) -> VerificationId {
    let v = under_way(f, subject).await;
    let pad = match decision {
        Verdicts::Verified => Status::Pass,
        Verdicts::Review => Status::Inconclusive,
        Verdicts::Rejected => Status::Fail,
    };
    let verdict = verdict(decision, Status::Pass, pad);
    let evidence = Evidence::nothing(v.challenge.clone());
    let frame =
        |(view, t_ms), bytes: &[u8]| KeyFrame { view, t_ms, jpeg: Zeroizing::new(bytes.to_vec()) };
    let key_frames = vec![
        frame((View::Frontal, 900), PICTURES[0]),
        frame((View::LeastLive, 2_100), PICTURES[1]),
    ];
    let measured = Measured { evidence, template: Some(template()), key_frames };
    let judged = Judged::Verdict(Box::new(measured), Timings::default(), verdict);
    f.services.settle(&v, judged).await.unwrap();
    v.id
}

async fn kept(f: &Fixture, id: &VerificationId) -> Vec<(u32, View, i64)> {
    let mut tx = f.services.db().read().await.unwrap();
    let frames = key_frames::list(&mut tx, id, 1).await.unwrap();
    frames.into_iter().map(|k| (k.n, k.view, k.t_ms)).collect()
}

/// The public half of the log's last entry.
async fn last_entry(f: &Fixture) -> BTreeMap<String, String> {
    let size = f.log_size().await;
    let entry = f.services.entries(size - 1, 1).await.unwrap().remove(0);
    let entry = Entry::decode(&entry.bytes).unwrap();
    let text = |value: &Attribute| match value {
        Attribute::Text(text) => text.clone(),
        Attribute::Number(n) => n.to_string(),
    };
    let mut all: BTreeMap<String, String> =
        entry.attributes.iter().map(|(label, value)| (label.clone(), text(value))).collect();
    all.insert("kind".into(), entry.kind.name().into());
    all
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn each_look_is_an_entry(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let (s, one) = (&f.services, reviewer(&f, "one").await);
    let id = judged(&f, "ann", Verdicts::Review).await;
    assert_eq!(kept(&f, &id).await, [(1, View::Frontal, 900), (2, View::LeastLive, 2_100)]);
    let case = s.inspect_case(&one, &id).await.unwrap();
    assert_eq!(case.key_frames.len(), 2);

    for n in [1, 2, 2] {
        let size = f.log_size().await;
        let seen = s.key_frame(&one, &id, n).await.unwrap();
        assert_eq!(seen.as_slice(), PICTURES[n as usize - 1]);
        assert_eq!(f.log_size().await, size + 1, "one look, one entry");
        let entry = last_entry(&f).await;
        let (kind, action, by) = (&entry["kind"], &entry["action"], &entry["reviewer"]);
        assert_eq!(
            (kind.as_str(), action.as_str(), by.as_str()),
            ("review", "frame", one.key.as_str())
        );
    }
    // What is not there is no look.
    let size = f.log_size().await;
    let other = under_way(&f, "ben").await.id;
    let unknown = VerificationId::new(s.clock(), s.entropy());
    for (id, n) in [(&id, 0), (&id, 3), (&id, u32::MAX), (&other, 1), (&unknown, 1)] {
        assert!(matches!(s.key_frame(&one, id, n).await, Err(Error::NotFound(_))), "{id} {n}");
    }
    assert_eq!(f.log_size().await, size);

    // It is sealed to this place: another's picture, put here, does not open.
    let stranger = judged(&f, "cid", Verdicts::Review).await;
    let sealed = {
        let mut tx = s.db().read().await.unwrap();
        let of = async |tx: &mut _, id| key_frames::sealed(tx, id, 1, 1).await.unwrap().unwrap();
        (of(&mut tx, &id).await, of(&mut tx, &stranger).await)
    };
    assert!(sealed.0 != sealed.1 && !sealed.0.windows(5).any(|w| w == b"first"));
    let put = key_frames::KeyFrame { n: 3, view: View::Up, t_ms: 0 };
    for sealed in [&sealed.0, &sealed.1] {
        run_tx!(s.db(), "test.swap", |tx| {
            key_frames::delete(tx, &id).await?;
            key_frames::insert(tx, &id, 1, &put, sealed, f.now()).await
        })
        .unwrap();
        let size = f.log_size().await;
        let opened = s.key_frame(&one, &id, 3).await;
        assert!(matches!(opened, Err(Error::Internal(_))), "{opened:?}");
        assert_eq!(f.log_size().await, size, "nothing was seen");
    }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn only_what_is_in_review_has_pictures(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    for (subject, decision, state) in [
        ("ann", Verdicts::Verified, State::Verified),
        ("ben", Verdicts::Rejected, State::Rejected),
        ("cid", Verdicts::Review, State::Review),
    ] {
        let id = judged(&f, subject, decision).await;
        assert_eq!(f.services.verification(&id).await.unwrap().state, state);
        assert_eq!(kept(&f, &id).await.len(), if state == State::Review { 2 } else { 0 });
    }
}

/// What ends a picture's life.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Approved,
    Rejected,
    Lapsed,
    Frozen,
    Withdrawn,
    Deleted,
    LeftBehind,
}

async fn end(f: &Fixture, id: &VerificationId, cameo: &CameoId, how: End) {
    let s = &f.services;
    match how {
        End::Approved | End::Rejected => {
            let one = reviewer(f, "one").await;
            let what = if how == End::Approved { Decision::Approve } else { Decision::Reject };
            s.decide_case(&one, id, what, "seen").await.unwrap();
        }
        End::Lapsed => {
            f.clock.advance(Duration::from_hours(73));
            s.sweep().await.unwrap();
            assert_eq!(s.verification(id).await.unwrap().state, State::Expired);
        }
        End::Frozen => {
            s.freeze(cameo).await.unwrap();
        }
        End::Withdrawn => {
            s.withdraw_consent(cameo).await.unwrap();
        }
        End::Deleted => {
            let gone = s.delete_cameo(cameo, DeletionReason::Request, false).await.unwrap();
            let key = s.signing().log_key().unwrap();
            let (_, certified) = crate::receipt::deletion::Certificate::verify(
                &gone.certificate,
                key.verifying_key(),
            )
            .unwrap();
            let pictures = certified.destroyed.iter().find(|d| d.kind == "key_frame").unwrap();
            assert_eq!(pictures.count, 2);
        }
        // Nothing leaves a picture behind; if something did, the sweep would find it in time.
        End::LeftBehind => {
            let frame = key_frames::KeyFrame { n: 4, view: View::Down, t_ms: 1 };
            let long_ago = f.now().minus(s.settings().review_within);
            run_tx!(s.db(), "test.left", |tx| {
                key_frames::insert(tx, id, 2, &frame, b"of another attempt", long_ago).await
            })
            .unwrap();
            s.sweep().await.unwrap();
            let mut tx = s.db().read().await.unwrap();
            assert!(key_frames::list(&mut tx, id, 2).await.unwrap().is_empty());
        }
    }
}

#[rstest]
#[case(End::Approved)]
#[case(End::Rejected)]
#[case(End::Lapsed)]
#[case(End::Frozen)]
#[case(End::Withdrawn)]
#[case(End::Deleted)]
#[case(End::LeftBehind)]
#[tokio::test]
async fn pictures_go_with(
    #[case] how: End,
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
) {
    let Some(f) = Fixture::new(engine).await else { return };
    let cameo = f.consenting("ann", &everyone()).await;
    let id = judged(&f, "ann", Verdicts::Review).await;
    // Somebody else's stay.
    let other =
        if how == End::Lapsed { None } else { Some(judged(&f, "ben", Verdicts::Review).await) };
    end(&f, &id, &cameo, how).await;
    assert_eq!(kept(&f, &id).await.len(), if how == End::LeftBehind { 2 } else { 0 });
    if let Some(other) = other {
        assert_eq!(kept(&f, &other).await.len(), 2);
    }
    if how != End::LeftBehind {
        let again = reviewer(&f, "again").await;
        let size = f.log_size().await;
        let gone = f.services.key_frame(&again, &id, 1).await;
        assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
        assert_eq!(f.log_size().await, size);
    }
}

#[tokio::test]
async fn where_none_are_wanted_those_that_are_there_go() {
    let Some(f) = Fixture::new(Engine::Sqlite).await else { return };
    let id = judged(&f, "ann", Verdicts::Review).await;
    f.services.sweep().await.unwrap();
    assert_eq!(kept(&f, &id).await.len(), 2);
    let without = f.replica_with(9, |s| s.review_key_frames = false).await;
    assert!(without.settings().frames_within().is_zero());
    without.sweep().await.unwrap();
    assert!(kept(&f, &id).await.is_empty());
    let one = reviewer(&f, "one").await;
    assert!(f.services.inspect_case(&one, &id).await.unwrap().key_frames.is_empty());
}
