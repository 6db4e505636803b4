//! A database of its own for each test, and rows to put into it.

use std::time::Duration;

use cameo::domain::access::Role;
use cameo::domain::challenge::{Challenge, ChallengeRules};
use cameo::domain::ids::{ApiKeyId, CameoId, SubjectId, UseId, VerificationId};
use cameo::domain::verification::State;
use cameo::env::{ManualClock, Millis, SeededEntropy, random};
use cameo::run_tx;
use cameo::store::api_keys::ApiKey;
use cameo::store::log::{Entry, Head};
use cameo::store::verifications::{Job, NewCapture, NewVerification, Settlement, Verification};
use cameo::store::{Db, Engine, Error, Options, Tx, api_keys, log, verifications};

use crate::support::postgres;

pub(super) const T0: Millis = Millis(1_800_000_000_000);

pub(super) fn at(seconds: u64) -> Millis {
    T0.plus(Duration::from_secs(seconds))
}

pub(super) struct Fixture {
    pub(super) db: Db,
    pub(super) url: String,
    clock: ManualClock,
    entropy: SeededEntropy,
    _folder: tempfile::TempDir,
}

impl Fixture {
    /// A migrated database; `None` where the engine isn't installed.
    pub(super) async fn new(engine: Engine) -> Option<Self> {
        let f = Self::empty(engine).await?;
        f.db.migrate().await.unwrap();
        Some(f)
    }

    /// A database without a schema.
    pub(super) async fn empty(engine: Engine) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let url = match engine {
            Engine::Sqlite => format!("sqlite:{}/cameo.db", folder.path().display()),
            Engine::Postgres => tokio::task::spawn_blocking(postgres::database).await.unwrap()?,
        };
        let db = Db::connect(&url, &Options::default()).await.unwrap();
        let (clock, entropy) = (ManualClock::at(T0), SeededEntropy::new(7));
        Some(Self { db, url, clock, entropy, _folder: folder })
    }

    pub(super) async fn read(&self) -> Tx {
        self.db.read().await.unwrap()
    }

    /// Runs SQL behind the store's back.
    pub(super) async fn raw(&self, sql: &str) -> Result<(), sqlx::Error> {
        use sqlx::{AssertSqlSafe, Connection};
        let sql = AssertSqlSafe(sql.to_owned());
        if self.db.engine() == Engine::Sqlite {
            let mut c = sqlx::SqliteConnection::connect(&self.url).await?;
            sqlx::raw_sql(sql).execute(&mut c).await?;
            c.close().await
        } else {
            let mut c = sqlx::PgConnection::connect(&self.url).await?;
            sqlx::raw_sql(sql).execute(&mut c).await?;
            c.close().await
        }
    }

    pub(super) fn bytes<const N: usize>(&self) -> [u8; N] {
        random(&self.entropy)
    }

    pub(super) fn verification_id(&self) -> VerificationId {
        self.clock.advance(Duration::from_millis(1));
        VerificationId::new(&self.clock, &self.entropy)
    }

    pub(super) fn cameo_id(&self) -> CameoId {
        CameoId::new(&self.clock, &self.entropy)
    }

    pub(super) fn use_id(&self) -> UseId {
        UseId::new(&self.clock, &self.entropy)
    }

    pub(super) fn challenge(&self, issued: Millis) -> Challenge {
        Challenge::draw(&ChallengeRules::default(), issued, &self.entropy).unwrap()
    }

    pub(super) async fn api_key(&self, role: Role) -> ApiKeyId {
        let id = ApiKeyId::new(&self.clock, &self.entropy);
        let key = ApiKey {
            name: id.to_string(),
            id: id.clone(),
            role,
            secret_hash: self.bytes(),
            created: T0,
            revoked: None,
        };
        run_tx!(self.db, "key", |tx| api_keys::insert(tx, &key).await).unwrap();
        id
    }

    /// A pending verification, its challenge issued at `T0`.
    pub(super) async fn pending(&self, who: &str) -> NewVerification {
        let new = NewVerification {
            id: self.verification_id(),
            subject: subject(who),
            app_key: self.api_key(Role::App).await,
            locale: "en".into(),
            consent_text_version: "2026-01".into(),
            challenge: self.challenge(T0),
            client_token_hash: self.bytes(),
            client_token_expires: at(600),
            attested_age: None,
            created: T0,
        };
        run_tx!(self.db, "insert", |tx| verifications::insert(tx, &new).await).unwrap();
        new
    }

    /// A verification whose capture came at `received`.
    pub(super) async fn processing(&self, who: &str, received: Millis) -> VerificationId {
        let new = self.pending(who).await;
        let file = format!("{}.webm", new.id);
        let capture = NewCapture { file: &file, sha256: &self.bytes(), bytes: 1234 };
        let attach = async |tx: &mut Tx| {
            verifications::attach_capture(tx, &new.id, 1, &capture, received).await
        };
        assert!(run_tx!(self.db, "attach", |tx| attach(tx).await).unwrap());
        new.id
    }

    pub(super) async fn get(&self, id: &VerificationId) -> Verification {
        verifications::get(&mut self.read().await, id).await.unwrap().unwrap()
    }

    pub(super) async fn claim(&self, worker: &str, now: Millis) -> Option<Verification> {
        let until = now.plus(Duration::from_mins(1));
        let claim = async |tx: &mut Tx| verifications::claim(tx, worker, now, until).await;
        run_tx!(self.db, "claim", |tx| claim(tx).await).unwrap()
    }

    pub(super) async fn settle(&self, job: &Job<'_>, how: &Settlement<'_>) -> bool {
        let settle = async |tx: &mut Tx| verifications::settle(tx, job, how).await;
        run_tx!(self.db, "settle", |tx| settle(tx).await).unwrap()
    }

    /// Appends one entry as the service does, and returns its index.
    pub(super) async fn append(&self, kind: &str) -> u64 {
        run_tx!(self.db, "append", |tx| append(tx, kind).await).unwrap()
    }
}

pub(super) async fn append(tx: &mut Tx, kind: &str) -> Result<u64, Error> {
    let head = log::lock_head(tx).await?;
    let entry = entry(head.size, kind);
    let new = Head { size: head.size + 1, frontier: vec![1, 2, 3] };
    log::append(tx, &head, vec![entry], new).await?;
    Ok(head.size)
}

pub(super) fn entry(index: u64, kind: &str) -> Entry {
    let mut leaf_hash = [0; 32];
    leaf_hash[..8].copy_from_slice(&index.to_be_bytes());
    Entry { index, at: T0, kind: kind.to_owned(), entry: kind.as_bytes().to_vec(), leaf_hash }
}

pub(super) fn settlement(state: State, when: Millis) -> Settlement<'static> {
    Settlement {
        state,
        verdict: None,
        quality: None,
        timings: None,
        cameo: None,
        failure: None,
        evidence_sealed: None,
        candidate_sealed: None,
        keep_capture: false,
        at: when,
    }
}

pub(super) fn subject(name: &str) -> SubjectId {
    name.parse().unwrap()
}
