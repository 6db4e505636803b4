//! Rows that this program did not write: each is an error that names its column, and no panic.

use cameo::domain::access::Role;
use cameo::domain::verification::State;
use cameo::run_tx;
use cameo::store::{Engine, Error, api_keys, attempts, cameos, log, verifications};
use rstest::rstest;

use super::fixture::{Fixture, T0, at, subject};

/// Turns off what guards the rows against this very test.
async fn unguarded(f: &Fixture, table: &str) {
    if f.db.engine() == Engine::Postgres {
        let drop_checks = format!(
            "DO $$ DECLARE c text; BEGIN FOR c IN SELECT conname FROM pg_constraint
                 WHERE conrelid = '{table}'::regclass AND contype IN ('c', 'f')
             LOOP EXECUTE 'ALTER TABLE {table} DROP CONSTRAINT ' || quote_ident(c); END LOOP; END $$;
             ALTER TABLE {table} DISABLE TRIGGER USER"
        );
        f.raw(&drop_checks).await.unwrap();
    }
}

async fn tamper(f: &Fixture, sql: &str) {
    let sql = match f.db.engine() {
        Engine::Sqlite => {
            format!("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF; {sql}")
        }
        Engine::Postgres => sql.replace("x'00'", "'\\x00'"),
    };
    f.raw(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn verifications_of_any_content(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let id = f.processing("ann", at(10)).await;
    unguarded(&f, "verifications").await;
    let good = f.get(&id).await;
    let challenge = serde_json::to_string(&good.challenge).unwrap();
    let cases = [
        ("subject", "''".to_owned()),
        ("subject", "'a b'".to_owned()),
        ("app_key", "'key_nonsense'".to_owned()),
        ("state", "'done'".to_owned()),
        ("attempt", "-1".to_owned()),
        ("attempt", "4294967296".to_owned()),
        ("challenge", "'{'".to_owned()),
        ("challenge", "'{}'".to_owned()),
        ("challenge", format!("'{}'", challenge.replacen("\"digits\":[", "\"digits\":[77,", 1))),
        ("client_token_hash", "x'00'".to_owned()),
        ("capture_file", "'../../etc/passwd'".to_owned()),
        ("capture_sha256", "x'00'".to_owned()),
        ("capture_bytes", "-5".to_owned()),
        ("tries", "-1".to_owned()),
        ("verdict", "'[]'".to_owned()),
        ("quality", "'not json'".to_owned()),
        ("timings", format!("'{}'", "[".repeat(100_000))),
        ("cameo_id", "'ver_01JZZZZZZZZZZZZZZZZZZZZZZZ'".to_owned()),
        ("reviewed_by", "'key_01JZZZZZZZZZZZZZZZZZZZZZZZ'".to_owned()),
    ];
    for (column, value) in cases {
        tamper(&f, &format!("CREATE TABLE kept AS SELECT {column} AS v FROM verifications")).await;
        tamper(&f, &format!("UPDATE verifications SET {column} = {value}")).await;
        let e = verifications::get(&mut f.read().await, &id).await.unwrap_err();
        assert!(
            matches!(e, Error::Corrupt { what } if what.starts_with("verifications.")),
            "{column}: {e:?}"
        );
        tamper(
            &f,
            &format!("UPDATE verifications SET {column} = (SELECT v FROM kept); DROP TABLE kept"),
        )
        .await;
        assert_eq!(f.get(&id).await, good, "{column}");
    }
    // A job that can't be read takes nothing else with it: the claim fails as a whole.
    tamper(&f, "UPDATE verifications SET challenge = 'x'").await;
    let claim =
        async { run_tx!(f.db, "claim", |tx| verifications::claim(tx, "w", at(20), at(80)).await) };
    assert!(matches!(claim.await, Err(Error::Corrupt { .. })));
    tamper(&f, "UPDATE attempts SET challenge = 'x'").await;
    let history = attempts::list(&mut f.read().await, &id).await;
    assert!(matches!(history, Err(Error::Corrupt { what: "attempts.challenge" })));
    let page = verifications::by_state(&mut f.read().await, State::Processing, None, 9).await;
    assert!(matches!(page, Err(Error::Corrupt { .. })));
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn other_rows_of_any_content(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let key = f.api_key(Role::Admin).await;
    let (ann, fresh) = (subject("ann"), f.cameo_id());
    let cameo = run_tx!(f.db, "open", |tx| cameos::open(tx, &ann, &fresh, T0).await).unwrap();
    for table in ["api_keys", "cameos", "log_head", "log_entries"] {
        unguarded(&f, table).await;
    }
    tamper(&f, "UPDATE api_keys SET role = 'root'").await;
    let e = api_keys::get(&mut f.read().await, &key).await.unwrap_err();
    assert!(matches!(e, Error::Corrupt { what: "api_keys.role" }));
    tamper(&f, "UPDATE cameos SET template_version = -3").await;
    let e = cameos::get(&mut f.read().await, &cameo.id).await.unwrap_err();
    assert!(matches!(e, Error::Corrupt { what: "cameos.template_version" }));

    // An operator with the database in hand can take the rules away, and is found out.
    for kind in ["a", "b", "c"] {
        f.append(kind).await;
    }
    if engine == Engine::Sqlite {
        tamper(&f, "DROP TRIGGER log_entries_no_delete; DROP TRIGGER log_head_grows; DROP TRIGGER log_head_stays").await;
    }
    tamper(&f, "DELETE FROM log_entries WHERE idx = 1").await;
    let mut r = f.read().await;
    assert!(matches!(log::entries(&mut r, 0, 9, 9).await, Err(Error::Corrupt { .. })));
    assert!(matches!(log::leaf_hashes(&mut r, 0, 3).await, Err(Error::Corrupt { .. })));
    assert_eq!(log::entries(&mut r, 2, 3, 9).await.unwrap().len(), 1);
    drop(r);
    tamper(&f, "UPDATE log_head SET size = -1").await;
    let e = log::head(&mut f.read().await).await.unwrap_err();
    assert!(matches!(e, Error::Corrupt { what: "log_head.size" }));
    tamper(&f, "DELETE FROM log_head").await;
    assert!(matches!(log::head(&mut f.read().await).await, Err(Error::Corrupt { .. })));
}
