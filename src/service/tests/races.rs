//! Many at once: limits, revocation and retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rstest::rstest;
use tokio::task::JoinSet;

use super::fixture::{ANSWER, Fixture, ask, denied, everyone, resolve, social};
use crate::domain::consent::{Permissions, Rule, Scope};
use crate::service::Error;
use crate::store::uses::{self, UseOutcome};
use crate::store::{Db, Engine};

/// Uses at once, over two service processes.
const AT_ONCE: usize = 1000;
const LIMIT: u32 = 37;

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_never_overshot(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let scope = Scope { max_uses: Some(LIMIT), ..social() };
    let cameo = f.consenting("ann", &Permissions { scope, ..everyone() }).await;
    let second = f.replica(99).await;
    let (allowed, refused) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut tasks = JoinSet::new();
    for n in 0..AT_ONCE {
        let services = if n % 2 == 0 { f.services.clone() } else { second.clone() };
        let (generator, request) = (f.generator.clone(), ask(&[&cameo], "zoe"));
        let (allowed, refused) = (allowed.clone(), refused.clone());
        tasks.spawn(async move {
            loop {
                match resolve(&services, &generator, &request).await {
                    // Told to come again: as a client would.
                    Err(Error::Busy) => {
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                    done => {
                        match denied(done) {
                            "allowed" => allowed.fetch_add(1, Ordering::SeqCst),
                            "max_uses" => refused.fetch_add(1, Ordering::SeqCst),
                            other => panic!("{other}"),
                        };
                        return;
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    let counted = (allowed.load(Ordering::SeqCst), refused.load(Ordering::SeqCst));
    assert_eq!(counted, (LIMIT, AT_ONCE as u32 - LIMIT));
    // The records say the same.
    let mut tx = f.services.db().read().await.unwrap();
    let all = uses::by_cameo(&mut tx, &cameo, None, 2000).await.unwrap();
    let kept = all.iter().filter(|u| matches!(u.outcome, UseOutcome::Allowed { .. })).count();
    assert_eq!((all.len(), kept), (AT_ONCE, LIMIT as usize));
    f.log_size().await;
}

/// From the return of a withdrawal, a revoked grant or an ended mutuality in one process, the other
/// issues nothing.
#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_is_no_from_the_calls_return(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let cameo = f.consenting("ann", &everyone()).await;
    let second = f.replica(98).await;
    for round in 0..5 {
        f.consent(&cameo, &everyone()).await.unwrap();
        let (withdrawn, stop) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (late, before) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let (services, generator) = (second.clone(), f.generator.clone());
            let request = ask(&[&cameo], "zoe");
            let (withdrawn, stop) = (withdrawn.clone(), stop.clone());
            let (late, before) = (late.clone(), before.clone());
            tasks.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let was_withdrawn = withdrawn.load(Ordering::SeqCst);
                    let done = resolve(&services, &generator, &request).await;
                    if !matches!(done, Err(Error::Busy)) && denied(done) == "allowed" {
                        // It was begun after the withdrawal had returned, or before.
                        let count = if was_withdrawn { &late } else { &before };
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        while before.load(Ordering::SeqCst) < 5 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        f.services.withdraw_consent(&cameo).await.unwrap();
        withdrawn.store(true, Ordering::SeqCst);
        // No token may carry an entry behind the withdrawal's, begun when it may.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        stop.store(true, Ordering::SeqCst);
        tasks.join_all().await;
        assert_eq!(late.load(Ordering::SeqCst), 0, "round {round}");
        let withdrawal = f.services.consent(&cameo, None).await.unwrap().log_index;
        let all = newest(f.services.db(), &cameo).await;
        let behind = |u: &&uses::Use| {
            u.log_index > withdrawal && matches!(u.outcome, UseOutcome::Allowed { .. })
        };
        assert_eq!(all.iter().filter(behind).count(), 0, "round {round}");
    }
}

async fn newest(db: &Db, cameo: &crate::domain::ids::CameoId) -> Vec<uses::Use> {
    uses::by_cameo(&mut db.read().await.unwrap(), cameo, None, 2000).await.unwrap()
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_under_one_key_use_one_use(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let scope = Scope { max_uses: Some(1), ..social() };
    let cameo = f.consenting("ann", &Permissions { scope, ..everyone() }).await;
    let second = f.replica(97).await;
    let ran = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let services = if n % 2 == 0 { f.services.clone() } else { second.clone() };
        let (generator, request) = (f.generator.clone(), ask(&[&cameo], "zoe"));
        let ran = ran.clone();
        tasks.spawn(async move {
            loop {
                let call = services.call(generator.key.as_str(), "POST /v1/resolve", "k", [7; 32]);
                let answer = |r: &crate::service::resolve::Resolved| {
                    let word = r.rule().map_or("allowed", Rule::name);
                    crate::service::once::Answer { body: word.into(), ..ANSWER }
                };
                let call = call.unwrap();
                match services.resolve(&generator, &request, Some(&call), answer).await {
                    Ok(given) => {
                        ran.fetch_add(u32::from(!given.replayed), Ordering::SeqCst);
                        return given.answer;
                    }
                    Err(Error::Busy) => {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                    Err(e) => panic!("{e}"),
                }
            }
        });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|a| a.body == b"allowed"), "a retry used the use up");
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    let all = newest(f.services.db(), &cameo).await;
    assert_eq!(all.len(), 1);
    assert_eq!(f.outcome(&ask(&[&cameo], "zoe")).await, "max_uses");
}
