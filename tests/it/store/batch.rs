//! Group commit.

use std::time::Duration;

use cameo::store::batch::{Batcher, Wish};
use cameo::store::idempotency::{self, Call, Response};
use cameo::store::log::{self, Head};
use cameo::store::{Db, Engine, Error, Options, Tx, meta};
use cameo::{run_batched, run_tx};
use rstest::rstest;

use super::fixture::{Fixture, append};

fn batcher(db: &Db) -> Batcher {
    Batcher::new(db.clone(), Box::new(|head: &Head| Ok(head.size.to_string().into_bytes())))
}

/// Appends an entry and sets a row that says where.
async fn effect(batcher: &Batcher, name: &str) -> Result<u64, Error> {
    run_batched!(batcher, "effect", |tx| {
        let index = append(tx, "x").await?;
        meta::set(tx, name, &index.to_be_bytes()).await?;
        Ok::<_, Error>(index)
    })
}

async fn count(db: &Db) -> u64 {
    log::head(&mut db.read().await.unwrap()).await.unwrap().size
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_commit_together_and_who_fails_fails_alone(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let batcher = batcher(&f.db);
    let all = (0..300u32).map(|i| {
        let batcher = batcher.clone();
        tokio::spawn(async move {
            let name = format!("row {i}");
            match i % 10 {
                // Fails after it has written.
                7 => {
                    let failed: Result<(), Error> = run_batched!(batcher, "fails", |tx| {
                        append(tx, "x").await?;
                        meta::set(tx, &name, b"no").await?;
                        Err(Error::Config("mine".into()))
                    });
                    assert!(matches!(failed, Err(Error::Config(_))));
                    None
                }
                // Goes away after it has written.
                3 => {
                    let hangs = async {
                        run_batched!(batcher, "hangs", |tx| {
                            append(tx, "x").await?;
                            meta::set(tx, &name, b"no").await?;
                            std::future::pending::<Result<(), Error>>().await
                        })
                    };
                    let gone = tokio::time::timeout(Duration::from_millis(5), hangs).await;
                    assert!(gone.is_err());
                    None
                }
                // A statement that the database refuses.
                5 => {
                    let refused: Result<(), Error> = run_batched!(batcher, "refused", |tx| {
                        append(tx, "x").await?;
                        let old = log::lock_head(tx).await?;
                        let size = old.size;
                        meta::set(tx, &name, b"no").await?;
                        // No such column value: the trigger and the check see to it.
                        cameo::store::published::insert(tx, 0, b"", cameo::env::Millis(0)).await?;
                        unreachable!("{size}")
                    });
                    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
                    None
                }
                _ => Some((name.clone(), effect(&batcher, &name).await.unwrap())),
            }
        })
    });
    let mut indices = Vec::new();
    for done in futures::future::join_all(all).await {
        let Some((name, index)) = done.unwrap() else { continue };
        let row = meta::get(&mut f.read().await, &name).await.unwrap();
        assert_eq!(row.as_deref(), Some(&index.to_be_bytes()[..]), "{name}");
        indices.push(index);
    }
    // A batch that was left open by the last who went away is closed by nobody waiting.
    tokio::time::sleep(Duration::from_millis(100)).await;
    indices.sort_unstable();
    assert_eq!(indices, (0..210).collect::<Vec<_>>(), "no gap, none twice");
    let mut r = f.read().await;
    assert_eq!(log::entries(&mut r, 0, 999, 999).await.unwrap().len(), 210);
    assert_eq!(log::checkpoint(&mut r).await.unwrap(), Some((210, b"210".to_vec())));
    for i in (0..300).filter(|i| [3, 5, 7].contains(&(i % 10))) {
        assert_eq!(meta::get(&mut r, &format!("row {i}")).await.unwrap(), None);
    }
    drop(r);
    // It works on, and so does an ordinary transaction.
    assert_eq!(effect(&batcher, "after").await.unwrap(), 210);
    assert_eq!(f.append("x").await, 211);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_commit_hits_the_one_to_blame(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let batcher = batcher(&f.db);
    let all = (0..40u32).map(|i| {
        let batcher = batcher.clone();
        tokio::spawn(async move {
            if i % 8 != 0 {
                return effect(&batcher, &format!("row {i}")).await.map(|_| ());
            }
            // Refers to an entry that never comes: seen at the commit.
            let dangling = run_batched!(batcher, "dangling", |tx| {
                append(tx, "x").await?;
                log::add_salt(tx, 99_999, &[1; 16], b"sealed").await
            });
            assert!(matches!(dangling, Err(Error::Reference { .. })), "{dangling:?}");
            Ok(())
        })
    });
    for done in futures::future::join_all(all).await {
        done.unwrap().unwrap();
    }
    assert_eq!(count(&f.db).await, 35);
}

/// Answers are left for the end of a batch, and read ahead: still of many calls under one key one is
/// carried out, also where others in between write, fail or go away.
#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kept_answer_is_seen_by_those_who_come_after(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let batcher = batcher(&f.db);
    let all = (0..400u32).map(|i| {
        let batcher = batcher.clone();
        tokio::spawn(async move {
            let key = format!("key-{}", i % 20);
            let wish = Wish { answer: Some(("scope".into(), key.clone())), ..Wish::default() };
            let batcher = batcher.wishing(wish);
            let call =
                Call { scope: "scope", key: &key, request_hash: &[1; 32], owner: "somebody" };
            let body = i.to_be_bytes().to_vec();
            let answer =
                Response { status: 200, content_type: "text/plain".into(), body: body.clone() };
            let done: Result<(Vec<u8>, bool), Error> = run_batched!(batcher, "call", |tx| {
                if let Some(kept) = idempotency::kept(tx, call.scope, call.key).await? {
                    return Ok((kept.response.unwrap().body, true));
                }
                append(tx, "x").await?;
                if i % 3 == 0 {
                    // Writes at once, and so sees what others left.
                    meta::set(tx, call.key, &body).await?;
                }
                idempotency::keep(tx, &call, answer.clone(), cameo::env::Millis(1)).await?;
                match i % 7 {
                    1 => Err(Error::Config("mine".into())),
                    2 => tokio::time::timeout(Duration::from_millis(1), std::future::pending())
                        .await
                        .map_err(|_| Error::Config("gone".into())),
                    _ => Ok((body.clone(), false)),
                }
            });
            match done {
                Ok((body, replayed)) => Some((key, body, replayed)),
                Err(Error::Config(_)) => None,
                Err(e) => panic!("{e}"),
            }
        })
    });
    let mut first = std::collections::HashMap::new();
    let mut others = Vec::new();
    for done in futures::future::join_all(all).await {
        let Some((key, body, replayed)) = done.unwrap() else { continue };
        if replayed {
            others.push((key, body));
        } else {
            assert_eq!(first.insert(key.clone(), body), None, "{key} was carried out twice");
        }
    }
    assert_eq!(first.len(), 20);
    assert!(others.iter().all(|(key, body)| first[key] == *body));
    let mut tx = f.read().await;
    for (key, body) in &first {
        let kept = idempotency::kept(&mut tx, "scope", key).await.unwrap().unwrap();
        assert_eq!(&kept.response.unwrap().body, body);
    }
    assert_eq!(count(&f.db).await, 20, "one entry for each");
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_alternate_without_gaps(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let mut all = Vec::new();
    for process in 0..3 {
        let db = Db::connect(&f.url, &Options::default()).await.unwrap();
        let batcher = batcher(&db);
        for i in 0..60 {
            let (batcher, db) = (batcher.clone(), db.clone());
            all.push(tokio::spawn(async move {
                let name = format!("{process} {i}");
                if i % 20 == 0 {
                    // Somebody who does not take part in the group commit.
                    let plain = async |tx: &mut Tx| append(tx, "x").await;
                    return run_tx!(db, "plain", |tx| plain(tx).await);
                }
                effect(&batcher, &name).await
            }));
        }
    }
    let mut indices = Vec::new();
    for done in futures::future::join_all(all).await {
        indices.push(done.unwrap().unwrap());
    }
    indices.sort_unstable();
    assert_eq!(indices, (0..180).collect::<Vec<_>>());
}

/// Entries come last in a batch, so what refers to them has to wait with the check.
#[tokio::test]
async fn references_to_entries_can_be_checked_late() {
    use sqlx::{Connection, Row};
    let Some(f) = Fixture::new(Engine::Postgres).await else { return };
    let mut c = sqlx::PgConnection::connect(&f.url).await.unwrap();
    let rows = sqlx::query(
        "SELECT conrelid::regclass::text AS t, condeferrable AS d FROM pg_constraint
         WHERE contype = 'f' AND confrelid = 'log_entries'::regclass",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    assert!(rows.len() >= 3);
    for row in rows {
        let table: String = row.get("t");
        assert!(row.get::<bool, _>("d"), "{table}: its reference to log_entries is not DEFERRABLE");
    }
}
