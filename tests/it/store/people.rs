//! Subjects, cameos, consents, uses, and the two kinds of keys.

use cameo::domain::access::Role;
use cameo::domain::consent::{GrantRef, Purpose, Rule};
use cameo::domain::ids::CameoId;
use cameo::domain::verification::State;
use cameo::run_tx;
use cameo::store::cameos::{self, CameoState, Enrolment};
use cameo::store::consents::{self, Consent, ConsentKind};
use cameo::store::signing_keys::{self, SigningKey};
use cameo::store::subjects::{self, Subject};
use cameo::store::token_status::Place;
use cameo::store::uses::{self, Use, UseOutcome};
use cameo::store::{Engine, Error, Tx, api_keys, erasure, meta, verifications};
use rstest::rstest;

use super::fixture::{Fixture, T0, append, at, subject};

async fn cameo(f: &Fixture, who: &str) -> CameoId {
    let (subject, fresh) = (subject(who), f.cameo_id());
    let open = async |tx: &mut Tx| cameos::open(tx, &subject, &fresh, T0).await;
    run_tx!(f.db, "open", |tx| open(tx).await).unwrap().id
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_person_keeps_their_first_key(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let first = Subject {
        subject: subject("ann"),
        subject_ref: [1; 16],
        wrapped_key: vec![1, 2],
        key_version: 1,
        created: T0,
    };
    let second = Subject { subject_ref: [2; 16], wrapped_key: vec![3], ..first.clone() };
    for fresh in [&first, &second] {
        let got = run_tx!(f.db, "get", |tx| subjects::get_or_insert(tx, fresh).await);
        assert_eq!(got.unwrap(), first);
    }
    let mut r = f.read().await;
    assert_eq!(subjects::get_by_ref(&mut r, &[1; 16]).await.unwrap(), Some(first.clone()));
    assert_eq!(subjects::get_by_ref(&mut r, &[2; 16]).await.unwrap(), None);
    assert_eq!(subjects::after(&mut r, "", 9).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(subjects::after(&mut r, "ann", 9).await.unwrap(), []);
    drop(r);
    for applied in [true, false] {
        let rewrap = async |tx: &mut Tx| subjects::rewrap(tx, &first.subject, &[1, 2], &[9]).await;
        assert_eq!(run_tx!(f.db, "rewrap", |tx| rewrap(tx).await).unwrap(), applied);
    }
    let now = subjects::get(&mut f.read().await, &first.subject).await.unwrap().unwrap();
    assert_eq!((now.wrapped_key, now.key_version, now.subject_ref), (vec![9], 1, [1; 16]));
    for gone in [true, false] {
        let delete = async |tx: &mut Tx| subjects::delete(tx, &first.subject).await;
        assert_eq!(run_tx!(f.db, "delete", |tx| delete(tx).await).unwrap(), gone);
    }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn each_enrolment_is_a_version_of_the_one_cameo(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let verification = f.pending("ann").await.id;
    let id = cameo(&f, "ann").await;
    assert_eq!(cameo(&f, "ann").await, id);
    assert_eq!(cameos::template(&mut f.read().await, &id).await.unwrap(), None);
    for version in 1..=3_u8 {
        let enrolment = Enrolment {
            verification: &verification,
            sealed: &[version; 64],
            model_id: "dlib-resnet",
            model_sha256: "ab",
            at: at(u64::from(version)),
        };
        let enrol = async |tx: &mut Tx| cameos::enrol(tx, &id, &enrolment).await;
        assert_eq!(run_tx!(f.db, "enrol", |tx| enrol(tx).await).unwrap(), u32::from(version));
    }
    let mut r = f.read().await;
    let t = cameos::template(&mut r, &id).await.unwrap().unwrap();
    assert_eq!(
        (t.version, t.sealed, t.created, &t.verification),
        (3, vec![3; 64], at(3), &verification)
    );
    let c = cameos::active(&mut r, &subject("ann")).await.unwrap().unwrap();
    assert_eq!((&c.id, c.template_version, c.state), (&id, 3, CameoState::Active));
    drop(r);
    let older = async |tx: &mut Tx| cameos::delete_older(tx, &id, 3).await;
    assert_eq!(run_tx!(f.db, "older", |tx| older(tx).await).unwrap(), 2);

    for gone in [true, false] {
        let delete = async |tx: &mut Tx| erasure::bury(tx, &id, &subject("ann"), at(9)).await;
        assert_eq!(run_tx!(f.db, "delete", |tx| delete(tx).await).unwrap(), gone);
    }
    let mut r = f.read().await;
    assert_eq!(cameos::template(&mut r, &id).await.unwrap(), None);
    assert_eq!(cameos::active(&mut r, &subject("ann")).await.unwrap(), None);
    let c = cameos::get(&mut r, &id).await.unwrap().unwrap();
    assert_eq!((c.state, c.deleted), (CameoState::Deleted, Some(at(9))));
    drop(r);
    let enrolment = Enrolment {
        verification: &verification,
        sealed: b"x",
        model_id: "m",
        model_sha256: "ab",
        at: T0,
    };
    let late = run_tx!(f.db, "late", |tx| cameos::enrol(tx, &id, &enrolment).await);
    assert!(matches!(late, Err(Error::Conflict { .. })));
    assert_ne!(cameo(&f, "ann").await, id, "they may come again, as another cameo");
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn consent_is_a_history(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let id = cameo(&f, "ann").await;
    let say = async |version, kind: ConsentKind| {
        run_tx!(f.db, "say", |tx| {
            let log_index = append(tx, "consent").await?;
            let sealed = (kind != ConsentKind::Withdrawn).then(|| vec![version as u8; 30]);
            consents::append(
                tx,
                &Consent {
                    cameo: id.clone(),
                    version,
                    kind,
                    permissions_sealed: sealed,
                    text_version: "2026-01".into(),
                    locale: Some("de-CH".into()),
                    text_sha256: Some([9; 32]),
                    at: at(u64::from(version)),
                    log_index,
                },
            )
            .await
        })
    };
    assert_eq!(consents::latest(&mut f.read().await, &id).await.unwrap(), None);
    let kinds = [ConsentKind::Given, ConsentKind::Changed, ConsentKind::Withdrawn];
    for (version, kind) in (1..).zip(kinds) {
        say(version, kind).await.unwrap();
        for stale in [0, version, version + 2] {
            let e = say(stale, kind).await.unwrap_err();
            assert!(matches!(e, Error::Conflict { .. }), "{stale}: {e:?}");
        }
    }
    let mut r = f.read().await;
    let latest = consents::latest(&mut r, &id).await.unwrap().unwrap();
    assert_eq!(
        (latest.version, latest.kind, latest.permissions_sealed),
        (3, ConsentKind::Withdrawn, None)
    );
    let second = consents::get(&mut r, &id, 2).await.unwrap().unwrap();
    assert_eq!((second.permissions_sealed, second.log_index), (Some(vec![2; 30]), 1));
    let all = consents::list(&mut r, &id, 0, 9).await.unwrap();
    assert_eq!(all.iter().map(|c| c.log_index).collect::<Vec<_>>(), [0, 1, 2], "refused: no entry");
    assert_eq!(consents::list(&mut r, &id, 1, 1).await.unwrap()[0].version, 2);
    drop(r);

    // No consent without its entry in the log, and none that changes afterwards.
    let unlogged = Consent { version: 4, log_index: 77, ..second_like(&id) };
    let e = run_tx!(f.db, "unlogged", |tx| consents::append(tx, &unlogged).await);
    assert!(matches!(e, Err(Error::Reference { .. })), "{e:?}");
    assert!(f.raw("UPDATE consents SET kind = 'given' WHERE version = 2").await.is_err());
}

fn second_like(id: &CameoId) -> Consent {
    Consent {
        cameo: id.clone(),
        version: 2,
        kind: ConsentKind::Changed,
        permissions_sealed: Some(vec![2]),
        text_version: "t".into(),
        locale: None,
        text_sha256: None,
        at: T0,
        log_index: 0,
    }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn uses_are_listed_from_the_newest(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let id = cameo(&f, "ann").await;
    let generator = f.api_key(Role::Generator).await;
    let key = SigningKey {
        kid: "k1".into(),
        sealed_seed: vec![1],
        public: [4; 32],
        not_before: T0,
        retire_at: None,
        created: T0,
    };
    run_tx!(f.db, "key", |tx| signing_keys::insert(tx, &key).await).unwrap();
    let mut all = Vec::new();
    for n in 0..5_u64 {
        let outcome = if n == 2 {
            UseOutcome::Denied(Rule::Audience)
        } else {
            UseOutcome::Allowed { expires: at(n + 300), kid: "k1".into() }
        };
        let mut u = Use {
            id: f.use_id(),
            cameo: id.clone(),
            generator: generator.clone(),
            purpose: Purpose::Social,
            requester_sealed: vec![n as u8; 20],
            outcome,
            consent_version: (n != 2).then_some(1),
            issued: at(n),
            log_index: 0,
            grant: (n != 2).then_some(GrantRef::Standing),
            parent: None,
            scene: None,
            place: (n != 2).then_some(Place { list: 0, index: n as u32 }),
            token_status: 0,
        };
        u.log_index = run_tx!(f.db, "use", |tx| {
            let log_index = append(tx, "use").await?;
            uses::insert(tx, Use { log_index, ..u.clone() }).await?;
            Ok::<_, Error>(log_index)
        })
        .unwrap();
        all.insert(0, u);
    }
    let mut r = f.read().await;
    assert_eq!(uses::by_cameo(&mut r, &id, None, 2).await.unwrap(), all[..2]);
    assert_eq!(uses::by_cameo(&mut r, &id, Some(all[1].log_index), 9).await.unwrap(), all[2..]);
    assert_eq!(uses::get(&mut r, &all[3].id).await.unwrap().as_ref(), Some(&all[3]));
    assert_eq!(uses::get(&mut r, &f.use_id()).await.unwrap(), None);
    drop(r);
    let again = async {
        run_tx!(f.db, "again", |tx| {
            let log_index = append(tx, "use").await?;
            uses::insert(tx, Use { log_index, ..all[0].clone() }).await
        })
    };
    assert!(matches!(again.await, Err(Error::Conflict { .. })));
    assert_eq!(f.append("next").await, 5, "and its entry went with it");
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn keys(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    assert!(!api_keys::any(&mut f.read().await).await.unwrap());
    let id = f.api_key(Role::Auditor).await;
    let mut r = f.read().await;
    assert!(api_keys::any(&mut r).await.unwrap());
    let key = api_keys::get(&mut r, &id).await.unwrap().unwrap();
    assert_eq!((key.role, key.revoked), (Role::Auditor, None));
    assert_eq!(api_keys::list(&mut r).await.unwrap(), std::slice::from_ref(&key));
    assert_eq!(api_keys::by_hash(&mut r, &key.secret_hash).await.unwrap(), Some(key.clone()));
    assert_eq!(api_keys::by_hash(&mut r, &[1; 32]).await.unwrap(), None);
    drop(r);
    // A name is taken until its key is revoked.
    let same_name = api_keys::ApiKey {
        id: "key_01JZZZZZZZZZZZZZZZZZZZZZZZ".parse().unwrap(),
        secret_hash: [1; 32],
        ..key
    };
    let insert = async |tx: &mut Tx| api_keys::insert(tx, &same_name).await;
    assert!(matches!(run_tx!(f.db, "same", |tx| insert(tx).await), Err(Error::Conflict { .. })));
    for revoked in [true, false] {
        let revoke = async |tx: &mut Tx| api_keys::revoke(tx, &id, at(5)).await;
        assert_eq!(run_tx!(f.db, "revoke", |tx| revoke(tx).await).unwrap(), revoked);
    }
    run_tx!(f.db, "same", |tx| insert(tx).await).unwrap();
    let key = api_keys::get(&mut f.read().await, &id).await.unwrap().unwrap();
    assert_eq!(key.revoked, Some(at(5)));

    let signing = |kid: &str, n: u8, from| SigningKey {
        kid: kid.into(),
        sealed_seed: vec![n; 60],
        public: [n; 32],
        not_before: at(from),
        retire_at: None,
        created: T0,
    };
    for key in [signing("b", 1, 100), signing("a", 2, 50)] {
        run_tx!(f.db, "key", |tx| signing_keys::insert(tx, &key).await).unwrap();
    }
    let twice =
        async { run_tx!(f.db, "twice", |tx| signing_keys::insert(tx, &signing("a", 3, 0)).await) };
    assert!(matches!(twice.await, Err(Error::Conflict { .. })));
    let retire = async |tx: &mut Tx| {
        assert!(signing_keys::retire(tx, "a", at(100)).await?);
        assert!(!signing_keys::retire(tx, "c", at(100)).await?);
        assert!(signing_keys::reseal(tx, "b", &[1; 60], &[7; 60]).await?);
        assert!(!signing_keys::reseal(tx, "b", &[1; 60], &[8; 60]).await?);
        Ok::<_, Error>(())
    };
    run_tx!(f.db, "retire", |tx| retire(tx).await).unwrap();
    let all = signing_keys::list(&mut f.read().await).await.unwrap();
    let expected = [
        SigningKey { retire_at: Some(at(100)), ..signing("a", 2, 50) },
        SigningKey { sealed_seed: vec![7; 60], ..signing("b", 1, 100) },
    ];
    assert!(all == expected);

    let first = run_tx!(f.db, "meta", |tx| meta::get_or_set(tx, "origin", b"a").await);
    let second = run_tx!(f.db, "meta", |tx| meta::get_or_set(tx, "origin", b"b").await);
    assert_eq!((first.unwrap(), second.unwrap()), (b"a".to_vec(), b"a".to_vec()));
}

/// Nothing that the store hands out shows a blob or a name when it is printed.
#[tokio::test]
async fn debug_output_shows_no_secrets() {
    let f = Fixture::new(Engine::Sqlite).await.unwrap();
    let new = f.pending("someone-private").await;
    let v = verifications::get(&mut f.read().await, &new.id).await.unwrap().unwrap();
    assert_eq!(v.state, State::Pending);
    let s = Subject {
        subject: subject("someone-private"),
        subject_ref: [0xab; 16],
        wrapped_key: vec![0xab; 40],
        key_version: 1,
        created: T0,
    };
    let key = api_keys::get(&mut f.read().await, &new.app_key).await.unwrap().unwrap();
    let printed = format!("{v:?} {s:?} {key:?} {:?}", second_like(&f.cameo_id()));
    for secret in ["private", "171", "ab, ", "[2"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
