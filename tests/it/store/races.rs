//! Many at once, as several handlers and several replicas are.

use std::collections::BTreeSet;
use std::sync::Arc;

use cameo::run_tx;
use cameo::store::idempotency::{self, Begun, Call};
use cameo::store::subjects::{self, Subject};
use cameo::store::{Db, Engine, Error, Options, Tx, cameos, consents, log, meta, verifications};
use rstest::rstest;
use tokio::task::JoinSet;

use super::fixture::{Fixture, T0, append, at, subject};

/// Several connections' worth of the same database, as several processes have it.
async fn replicas(f: &Fixture, n: usize) -> Vec<Db> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(Db::connect(&f.url, &Options::default()).await.unwrap());
    }
    all
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_leave_no_gap(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let mut tasks = JoinSet::new();
    for db in replicas(&f, 2).await {
        for _ in 0..4 {
            let db = db.clone();
            tasks.spawn(async move {
                let mut mine = Vec::new();
                for n in 0..10 {
                    let appended = run_tx!(db, "append", |tx| {
                        let index = append(tx, "x").await?;
                        // Some change their mind.
                        if n % 4 == 3 { Err(Error::Config("no".into())) } else { Ok(index) }
                    });
                    match appended {
                        Ok(index) => mine.push(index),
                        Err(Error::Config(_)) => {}
                        Err(e) => panic!("{e}"),
                    }
                }
                mine
            });
        }
    }
    let all: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.len(), 2 * 4 * 8);
    assert_eq!(all.iter().copied().collect::<BTreeSet<_>>(), (0..64).collect());
    let mut r = f.read().await;
    assert_eq!(log::head(&mut r).await.unwrap().size, 64);
    assert_eq!(log::entries(&mut r, 0, 64, 100).await.unwrap().len(), 64);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_has_one_worker(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    for n in 0..12 {
        f.processing(&format!("p{n}"), at(n)).await;
    }
    let mut tasks = JoinSet::new();
    for (r, db) in replicas(&f, 2).await.into_iter().enumerate() {
        for w in 0..3 {
            let db = db.clone();
            tasks.spawn(async move {
                let (mut mine, worker) = (Vec::new(), format!("{r}-{w}"));
                loop {
                    match run_tx!(db, "claim", |tx| verifications::claim(
                        tx,
                        &worker,
                        at(50),
                        at(110)
                    )
                    .await)
                    .unwrap()
                    {
                        Some(v) => mine.push(v.id),
                        None => return mine,
                    }
                }
            });
        }
    }
    let all: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.len(), 12);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 12);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_calls_runs(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    for (now, expected) in [(0, 1), (100, 1)] {
        let mut tasks = JoinSet::new();
        for (r, db) in replicas(&f, 2).await.into_iter().enumerate() {
            for n in 0..6 {
                let db = db.clone();
                tasks.spawn(async move {
                    let owner = format!("{now}-{r}-{n}");
                    let call = Call { scope: "s", key: "k", request_hash: &[1; 32], owner: &owner };
                    run_tx!(db, "begin", |tx| idempotency::begin(tx, &call, at(now), at(now + 30))
                        .await)
                    .unwrap()
                });
            }
        }
        let begun = tasks.join_all().await;
        let running = begun.iter().filter(|b| **b == Begun::Run).count();
        assert_eq!(running, expected, "at {now}: {begun:?}");
        assert!(begun.iter().all(|b| matches!(b, Begun::Run | Begun::InFlight)));
    }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_first_names_the_person(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let f = Arc::new(f);
    let mut tasks = JoinSet::new();
    for n in 0..12_u8 {
        let f = Arc::clone(&f);
        tasks.spawn(async move {
            let fresh = Subject {
                subject: subject("ann"),
                subject_ref: [n; 16],
                wrapped_key: vec![n],
                key_version: 1,
                created: T0,
            };
            let cameo = f.cameo_id();
            run_tx!(f.db, "person", |tx| {
                let person = subjects::get_or_insert(tx, &fresh).await?;
                let cameo = cameos::open(tx, &person.subject, &cameo, T0).await?;
                Ok::<_, Error>((person.subject_ref, cameo.id))
            })
            .unwrap()
        });
    }
    let all: BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    assert_eq!(all.len(), 1, "{all:?}");
}

/// Once a withdrawal has returned, no decision that takes the head later can miss it.
#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_head_sees_what_was_decided_meanwhile(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let [first, second] = <[Db; 2]>::try_from(replicas(&f, 2).await).unwrap();
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let (go, may_go) = tokio::sync::oneshot::channel::<()>();
    let withdrawal = tokio::spawn(async move {
        let (mut locked, mut may_go) = (Some(locked), Some(may_go));
        run_tx!(first, "withdraw", |tx| {
            log::lock_head(tx).await?;
            if let (Some(locked), Some(may_go)) = (locked.take(), may_go.take()) {
                locked.send(()).unwrap();
                may_go.await.unwrap();
            }
            meta::set(tx, "consent", b"withdrawn").await
        })
        .unwrap();
    });
    is_locked.await.unwrap();
    let decision = tokio::spawn(async move {
        run_tx!(second, "decide", |tx| {
            log::lock_head(tx).await?;
            meta::get(tx, "consent").await
        })
        .unwrap()
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!decision.is_finished());
    go.send(()).unwrap();
    withdrawal.await.unwrap();
    assert_eq!(decision.await.unwrap().as_deref(), Some(&b"withdrawn"[..]));
}

/// Two transactions that lock in opposite order: PostgreSQL ends one, and it is run again. SQLite
/// lets only one start.
#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_run_again(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let set = async |tx: &mut Tx| {
        meta::set(tx, "a", b"0").await?;
        meta::set(tx, "b", b"0").await
    };
    run_tx!(f.db, "set", |tx| set(tx).await).unwrap();
    let mut tasks = JoinSet::new();
    for (db, [one, two]) in replicas(&f, 2).await.into_iter().zip([["a", "b"], ["b", "a"]]) {
        tasks.spawn(async move {
            let mut runs = 0;
            run_tx!(db, "cross", |tx| {
                runs += 1;
                meta::set(tx, one, b"1").await?;
                tokio::time::sleep(std::time::Duration::from_millis(150)).await;
                meta::set(tx, two, b"1").await
            })
            .unwrap();
            runs
        });
    }
    let runs: i32 = tasks.join_all().await.into_iter().sum();
    assert_eq!(runs, if engine == Engine::Postgres { 3 } else { 2 });
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_consents_with_one_number_holds(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let (ann, fresh) = (subject("ann"), f.cameo_id());
    let open = async |tx: &mut Tx| cameos::open(tx, &ann, &fresh, T0).await;
    let cameo = run_tx!(f.db, "open", |tx| open(tx).await).unwrap().id;
    let mut tasks = JoinSet::new();
    for db in replicas(&f, 4).await {
        let cameo = cameo.clone();
        tasks.spawn(async move {
            run_tx!(db, "consent", |tx| {
                let log_index = append(tx, "consent").await?;
                let consent = consents::Consent {
                    cameo: cameo.clone(),
                    version: 1,
                    kind: consents::ConsentKind::Given,
                    permissions_sealed: Some(vec![1]),
                    text_version: "t".into(),
                    locale: None,
                    text_sha256: None,
                    at: T0,
                    log_index,
                };
                consents::append(tx, &consent).await
            })
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|r| matches!(r, Ok(()) | Err(Error::Conflict { .. }))));
    assert_eq!(log::head(&mut f.read().await).await.unwrap().size, 1);
}
