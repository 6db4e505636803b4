//! The SQL texts, the migrations, the connections and the transactions.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use cameo::run_tx;
use cameo::store::log::{self, Entry, Head};
use cameo::store::{self, Db, Engine, Error, Options, meta};
use rstest::rstest;

use super::fixture::{Fixture, append, entry};

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn every_statement_is_understood(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let foreign = if engine == Engine::Sqlite { "_POSTGRES" } else { "_SQLITE" };
    let mut prepared = 0;
    for (file, name, sql) in store::statements().filter(|(_, name, _)| !name.ends_with(foreign)) {
        f.db.prepare(sql).await.unwrap_or_else(|e| panic!("{file}::{name}: {e}"));
        prepared += 1;
    }
    assert!(prepared > 60, "{prepared}");
}

/// Every statement finds its rows by an index, but for the list of the few signing keys.
#[tokio::test]
async fn no_statement_walks_a_table() {
    use sqlx::{AssertSqlSafe, Connection, Row};
    let f = Fixture::new(Engine::Sqlite).await.unwrap();
    let mut c = sqlx::SqliteConnection::connect(&f.url).await.unwrap();
    for (file, name, sql) in store::statements().filter(|(_, name, _)| !name.ends_with("_POSTGRES"))
    {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        for row in sqlx::raw_sql(explain).fetch_all(&mut c).await.unwrap() {
            let step: String = row.get("detail");
            // The rows of an INSERT are no table.
            let given = step.contains("CONSTANT ROW") || step.contains("VALUES");
            let walks = step.starts_with("SCAN") && !step.contains("INDEX") && !given;
            assert!(!walks || (file, name) == ("signing_keys", "LIST"), "{file}::{name}: {step}");
        }
    }
}

/// `sql!` registers what it declares; so no SQL may stand anywhere else.
#[test]
fn no_statement_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let text: String = text
            .lines()
            .filter(|l| !l.trim_start().starts_with("//"))
            .fold(String::new(), |all, l| all + l + "\n");
        let declared = text
            .split_once("\nsql! {")
            .map_or("", |(_, rest)| rest.split_once("\n}\n").map_or("", |(inside, _)| inside));
        let elsewhere = text.replace(declared, "");
        for word in ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE ", "\"WITH ", "raw_sql("] {
            assert!(!elsewhere.contains(word), "{name}: {word} outside sql!");
        }
        if !declared.is_empty() {
            let consts = declared.matches("const ").count();
            let listed = store::statements().filter(|(file, ..)| *file == name).count();
            assert_eq!(consts, listed, "{name}: not listed in store::statements()");
            files.push(name);
        }
    }
    assert!(files.len() >= 13, "{files:?}");
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn migrations_are_applied_once_and_known_by_their_text(#[case] engine: Engine) {
    let Some(f) = Fixture::empty(engine).await else { return };
    assert!(!f.db.migrations_current().await.unwrap());
    let (a, b) = tokio::join!(f.db.migrate(), f.db.migrate());
    a.unwrap();
    b.unwrap();
    assert!(f.db.migrations_current().await.unwrap());
    f.db.ping().await.unwrap();

    f.raw("UPDATE _sqlx_migrations SET version = 9000 WHERE version = 1").await.unwrap();
    for answer in [f.db.migrate().await, f.db.migrations_current().await.map(|_| ())] {
        assert!(matches!(answer, Err(Error::SchemaTooNew { found: 9000 })), "{answer:?}");
    }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_changed_migration_is_found(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let zero = if engine == Engine::Sqlite { "x'00'" } else { "'\\x00'" };
    f.raw(&format!("UPDATE _sqlx_migrations SET checksum = {zero}")).await.unwrap();
    assert!(matches!(f.db.migrations_current().await, Err(Error::Corrupt { .. })));
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn readers_cannot_write(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let refused = meta::set(&mut f.read().await, "a", b"1").await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    let refused = meta::set(&mut f.db.snapshot().await.unwrap(), "a", b"1").await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_snapshot_stands_still(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let mut snapshot = f.db.snapshot().await.unwrap();
    assert_eq!(meta::get(&mut snapshot, "a").await.unwrap(), None);
    run_tx!(f.db, "set", |tx| meta::set(tx, "a", b"1").await).unwrap();
    assert_eq!(meta::get(&mut snapshot, "a").await.unwrap(), None);
    assert_eq!(meta::get(&mut f.read().await, "a").await.unwrap().as_deref(), Some(&b"1"[..]));
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn what_fails_leaves_nothing(#[case] engine: Engine) {
    #[derive(Debug)]
    enum Failure {
        Mine,
        Store(Error),
    }
    impl From<Error> for Failure {
        fn from(e: Error) -> Self {
            Self::Store(e)
        }
    }
    let Some(f) = Fixture::new(engine).await else { return };

    let gave_up = async {
        run_tx!(f.db, "mine", |tx| {
            meta::set(tx, "a", b"1").await?;
            Err::<(), _>(Failure::Mine)
        })
    };
    assert!(matches!(gave_up.await, Err(Failure::Mine)));

    // A failed statement that is passed over: PostgreSQL would answer COMMIT with a rollback.
    let went_on = async {
        run_tx!(f.db, "careless", |tx| {
            meta::set(tx, "a", b"1").await?;
            append(tx, "x").await?;
            let [old, new] = [1, 2].map(|size| Head { size, frontier: vec![] });
            let long = Entry { entry: vec![0; 70_000], ..entry(1, "too long") };
            let refused = log::append(tx, &old, vec![long], new).await;
            assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
            Ok::<_, Failure>(())
        })
    };
    assert!(matches!(went_on.await, Err(Failure::Store(Error::Internal(_)))));

    // A future that is dropped half-way.
    let hangs = async {
        run_tx!(f.db, "hangs", |tx| {
            meta::set(tx, "a", b"1").await?;
            std::future::pending::<Result<(), Error>>().await
        })
    };
    assert!(tokio::time::timeout(Duration::from_millis(200), hangs).await.is_err());

    assert_eq!(meta::get(&mut f.read().await, "a").await.unwrap(), None);
    assert_eq!(f.append("x").await, 0, "the connection works on");
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn transactions_run_inside_spawned_handlers(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let db = f.db.clone();
    // `spawn` asks what an axum handler asks: the future is Send, borrows and all.
    let value = tokio::spawn(async move {
        let (key, value) = (String::from("k"), vec![1, 2, 3]);
        let borrowed = &value;
        run_tx!(db, "spawned", |tx| {
            meta::set(tx, &key, borrowed).await?;
            Ok::<_, Error>(borrowed.len())
        })
    });
    assert_eq!(value.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn urls_that_make_no_database() {
    for url in [
        "",
        "mysql://x",
        "sqlite::memory:",
        "sqlite:x?mode=memory",
        "postgres://u:secret@[",
        "nonsense",
    ] {
        let e = Db::connect(url, &Options::default()).await.unwrap_err();
        assert!(matches!(e, Error::Config(_)), "{url}: {e:?}");
        assert!(!format!("{e} {e:?}").contains("secret"));
    }
    let patience = Duration::from_millis(300);
    let nobody = "postgres:///x?host=/nowhere-at-all&user=u";
    let e = Db::connect(nobody, &Options { patience, ..Options::default() }).await.unwrap_err();
    assert!(matches!(e, Error::Unavailable(_) | Error::Busy(_)), "{e:?}");
}

#[tokio::test]
async fn the_sqlite_file_is_its_owners_alone() {
    let f = Fixture::new(Engine::Sqlite).await.unwrap();
    let file = f.url.strip_prefix("sqlite:").unwrap();
    for path in [file.to_owned(), format!("{file}-wal"), format!("{file}-shm")] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    // A database that was left open to others is closed to them.
    f.db.close().await;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    Db::connect(&f.url, &Options::default()).await.unwrap();
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_said_to_be_broken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.db");
    std::fs::write(&file, vec![b'x'; 4096]).unwrap();
    let url = format!("sqlite:{}", file.display());
    let e = Db::connect(&url, &Options::default()).await.unwrap_err();
    assert!(matches!(e, Error::Corrupt { .. }), "{e:?}");
}
