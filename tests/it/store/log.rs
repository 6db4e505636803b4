//! The log's rows.

use cameo::run_tx;
use cameo::store::log::{self, Entry, Head};
use cameo::store::{Engine, Error, Tx};
use rstest::rstest;

use super::fixture::{Fixture, append, entry};

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn entries_are_read_as_they_were_appended(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    assert_eq!(log::head(&mut f.read().await).await.unwrap(), Head::default());
    let all: Vec<Entry> = (0..5).map(|i| entry(i, "verdict")).collect();
    let head = Head { size: 5, frontier: vec![9; 96] };
    let batch = async |tx: &mut Tx| {
        let old = log::lock_head(tx).await?;
        log::append(tx, &old, all.clone(), head.clone()).await?;
        for i in [0, 3] {
            log::add_salt(tx, i, &[7; 16], &[i as u8; 40]).await?;
        }
        log::add_salt(tx, 3, &[8; 16], &[0; 40]).await
    };
    run_tx!(f.db, "batch", |tx| batch(tx).await).unwrap();

    let mut r = f.read().await;
    assert_eq!(log::head(&mut r).await.unwrap(), head);
    assert_eq!(log::entries(&mut r, 0, u64::MAX, 100).await.unwrap(), all);
    assert_eq!(log::entries(&mut r, 1, 4, 2).await.unwrap(), all[1..3]);
    assert_eq!(log::entries(&mut r, 5, 9, 10).await.unwrap(), []);
    let hashes: Vec<_> = all[1..3].iter().map(|e| e.leaf_hash).collect();
    assert_eq!(log::leaf_hashes(&mut r, 1, 3).await.unwrap(), hashes);
    let salts = log::salts(&mut r, &[7; 16], 0, 10).await.unwrap();
    assert_eq!(salts.iter().map(|s| s.index).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(log::salts(&mut r, &[7; 16], 1, 10).await.unwrap()[0].salt_sealed, [3; 40]);
    drop(r);

    let delete = async |tx: &mut Tx| log::delete_salts(tx, &[7; 16]).await;
    assert_eq!(run_tx!(f.db, "delete", |tx| delete(tx).await).unwrap(), 2);
    let mut r = f.read().await;
    assert_eq!(log::salts(&mut r, &[7; 16], 0, 10).await.unwrap(), []);
    assert_eq!(log::salts(&mut r, &[8; 16], 0, 10).await.unwrap().len(), 1);
    assert_eq!(log::entries(&mut r, 0, 5, 10).await.unwrap(), all);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_head_that_moved_is_a_conflict(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let stale = log::head(&mut f.read().await).await.unwrap();
    f.append("a").await;
    let new = Head { size: 1, frontier: vec![] };
    let again = async {
        run_tx!(f.db, "stale", |tx| log::append(tx, &stale, vec![entry(0, "b")], new.clone()).await)
    };
    assert!(matches!(again.await, Err(Error::Conflict { .. })));
    for (from, entries) in [(1, vec![]), (1, vec![entry(2, "b")]), (1, vec![entry(1, "b"); 2])] {
        let old = Head { size: from, frontier: vec![] };
        let new = Head { size: 2, frontier: vec![] };
        let wrong = async {
            run_tx!(f.db, "gap", |tx| log::append(tx, &old, entries.clone(), new.clone()).await)
        };
        assert!(matches!(wrong.await, Err(Error::Internal(_))));
    }
    assert_eq!(log::entries(&mut f.read().await, 0, 9, 9).await.unwrap(), [entry(0, "a")]);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn the_database_itself_refuses_to_change_the_past(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    for kind in ["a", "b", "c"] {
        f.append(kind).await;
    }
    let blob = |n: usize| match engine {
        Engine::Sqlite => format!("zeroblob({n})"),
        Engine::Postgres => format!("decode(repeat('00', {n}), 'hex')"),
    };
    let (entry, hash) = (blob(3), blob(32));
    let insert =
        |idx: i64| format!("INSERT INTO log_entries VALUES ({idx}, 0, 'x', {entry}, {hash})");
    let mut forbidden = vec![
        "UPDATE log_entries SET at_ms = 1 WHERE idx = 0".to_owned(),
        "UPDATE log_entries SET kind = 'z'".to_owned(),
        "DELETE FROM log_entries WHERE idx = 2".to_owned(),
        "DELETE FROM log_entries".to_owned(),
        "UPDATE log_head SET size = 2".to_owned(),
        "DELETE FROM log_head".to_owned(),
        insert(4),
        insert(2),
        insert(-1),
        format!("INSERT INTO log_head VALUES (2, 0, {entry})"),
    ];
    match engine {
        Engine::Sqlite => forbidden
            .push(insert(3).replacen("INSERT", "INSERT OR REPLACE", 1).replace("(3,", "(1,")),
        Engine::Postgres => forbidden.push("TRUNCATE log_entries CASCADE".to_owned()),
    }
    for sql in forbidden {
        assert!(f.raw(&sql).await.is_err(), "{sql}");
    }
    let mut r = f.read().await;
    assert_eq!(log::entries(&mut r, 0, 9, 9).await.unwrap().len(), 3);
    drop(r);
    // What is allowed is still allowed.
    assert_eq!(f.append("d").await, 3);
    let rolled_back = async {
        run_tx!(f.db, "rolled back", |tx| {
            append(tx, "e").await?;
            Err::<(), _>(Error::Config("stop".into()))
        })
    };
    assert!(rolled_back.await.is_err());
    assert_eq!(f.append("e").await, 4);
}
