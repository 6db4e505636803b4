//! Who is signed in to the pages, and the links that sign people in. Only hashes of the secrets are
//! kept.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::access::Holder;
use crate::domain::ids::ApiKeyId;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO page_sessions
        (secret_hash, stage, holder_kind, holder, api_key, expires_ms)
        VALUES ($1, $2, $3, $4, $5, $6)";
    const GET: &str = "SELECT s.holder_kind, s.holder, s.api_key, s.expires_ms
        FROM page_sessions s JOIN api_keys k ON k.id = s.api_key
        WHERE s.secret_hash = $1 AND s.stage = $2 AND s.expires_ms > $3 AND k.revoked_ms IS NULL";
    const TAKE: &str = "DELETE FROM page_sessions
        WHERE secret_hash = $1 AND stage = $2 AND expires_ms > $3
        RETURNING holder_kind, holder, api_key, expires_ms";
    const PRUNE: &str = "DELETE FROM page_sessions WHERE expires_ms <= $1";
}

/// What a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It can be traded for a session, once.
    Link,
    /// It is the session.
    Session,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Session => "session",
        }
    }
}

/// A link or a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSession {
    /// Who is signed in.
    pub holder: Holder,
    /// The key that stands behind it: the app's that made the link, or the one that signed in. Once
    /// it is revoked the session is over.
    pub key: ApiKeyId,
    /// From when on it is good no more.
    pub expires: Millis,
}

#[derive(FromRow)]
struct Row {
    holder_kind: String,
    holder: String,
    api_key: String,
    expires_ms: i64,
}

impl Row {
    fn parse(self) -> Result<PageSession> {
        const COLUMN: &str = "page_sessions.holder";
        let holder = match self.holder_kind.as_str() {
            "subject" => Holder::Subject(rows::parse(COLUMN, &self.holder)?),
            "verification" => Holder::Verification(rows::parse(COLUMN, &self.holder)?),
            _ => Holder::Key(rows::parse(COLUMN, &self.holder)?),
        };
        let key = rows::parse("page_sessions.api_key", &self.api_key)?;
        Ok(PageSession { holder, key, expires: Millis(self.expires_ms) })
    }
}

/// Adds a link or a session.
pub async fn insert(
    tx: &mut Tx,
    secret_hash: &[u8; 32],
    stage: Stage,
    session: &PageSession,
) -> Result<()> {
    let (kind, holder) = columns(&session.holder);
    on!(tx, |c| sqlx::query(INSERT)
        .bind(&secret_hash[..])
        .bind(stage.name())
        .bind(kind)
        .bind(holder)
        .bind(session.key.as_str())
        .bind(session.expires.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// What this secret is good for now.
pub async fn get(
    tx: &mut Tx,
    secret_hash: &[u8; 32],
    stage: Stage,
    now: Millis,
) -> Result<Option<PageSession>> {
    one(tx, GET, secret_hash, stage, now).await
}

/// The same, and it is good no more.
pub async fn take(
    tx: &mut Tx,
    secret_hash: &[u8; 32],
    stage: Stage,
    now: Millis,
) -> Result<Option<PageSession>> {
    one(tx, TAKE, secret_hash, stage, now).await
}

async fn one(
    tx: &mut Tx,
    sql: &'static str,
    secret_hash: &[u8; 32],
    stage: Stage,
    now: Millis,
) -> Result<Option<PageSession>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(sql)
        .bind(&secret_hash[..])
        .bind(stage.name())
        .bind(now.0)
        .fetch_optional(c)
        .await)?
    .map(Row::parse)
    .transpose()
}

/// Forgets what has expired.
pub async fn prune(tx: &mut Tx, now: Millis) -> Result<()> {
    on!(tx, |c| sqlx::query(PRUNE).bind(now.0).execute(c).await.map(|_| ()))
}

fn columns(holder: &Holder) -> (&'static str, &str) {
    match holder {
        Holder::Subject(id) => ("subject", id.as_str()),
        Holder::Verification(id) => ("verification", id.as_str()),
        Holder::Key(id) => ("key", id.as_str()),
    }
}
