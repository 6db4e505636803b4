//! API keys: who may call what. Only a hash of the secret is kept.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::access::Role;
use crate::domain::ids::ApiKeyId;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO api_keys (id, role, name, secret_hash, created_ms, revoked_ms)
        VALUES ($1, $2, $3, $4, $5, $6)";
    const GET: &str = "SELECT id, role, name, secret_hash, created_ms, revoked_ms
        FROM api_keys WHERE id = $1";
    const BY_HASH: &str = "SELECT id, role, name, secret_hash, created_ms, revoked_ms
        FROM api_keys WHERE secret_hash = $1";
    const LIST: &str = "SELECT id, role, name, secret_hash, created_ms, revoked_ms
        FROM api_keys ORDER BY id";
    const REVOKE: &str = "UPDATE api_keys SET revoked_ms = $2 WHERE id = $1 AND revoked_ms IS NULL";
    const COUNT: &str = "SELECT COUNT(*) FROM api_keys";
}

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part.
    pub id: ApiKeyId,
    /// What it may do.
    pub role: Role,
    /// The operator's name for it; a generator's is its `aud`.
    pub name: String,
    /// SHA-256 of the secret part.
    pub secret_hash: [u8; 32],
    /// When it was made.
    pub created: Millis,
    /// Since when it no longer works.
    pub revoked: Option<Millis>,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({}, {:?}, revoked: {:?})", self.id, self.role, self.revoked)
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    role: String,
    name: String,
    secret_hash: Vec<u8>,
    created_ms: i64,
    revoked_ms: Option<i64>,
}

impl Row {
    fn parse(self) -> Result<ApiKey> {
        Ok(ApiKey {
            id: rows::parse("api_keys.id", &self.id)?,
            role: rows::parse("api_keys.role", &self.role)?,
            name: self.name,
            secret_hash: rows::array("api_keys.secret_hash", &self.secret_hash)?,
            created: Millis(self.created_ms),
            revoked: self.revoked_ms.map(Millis),
        })
    }
}

/// Adds a key.
///
/// # Errors
/// [`super::Error::Conflict`] where the id or the name (of a key that is not revoked) is taken.
pub async fn insert(tx: &mut Tx, key: &ApiKey) -> Result<()> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(key.id.as_str())
        .bind(key.role.name())
        .bind(&key.name)
        .bind(&key.secret_hash[..])
        .bind(key.created.0)
        .bind(key.revoked.map(|t| t.0))
        .execute(c)
        .await
        .map(|_| ()))
}

/// The key of this id, revoked or not.
pub async fn get(tx: &mut Tx, id: &ApiKeyId) -> Result<Option<ApiKey>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// The key whose secret has this hash.
pub async fn by_hash(tx: &mut Tx, secret_hash: &[u8; 32]) -> Result<Option<ApiKey>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(BY_HASH)
        .bind(&secret_hash[..])
        .fetch_optional(c)
        .await)?
    .map(Row::parse)
    .transpose()
}

/// Every key, the oldest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<ApiKey>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(LIST).fetch_all(c).await)?
        .into_iter()
        .map(Row::parse)
        .collect()
}

/// Revokes a key; `false` where there is none or it was revoked already.
pub async fn revoke(tx: &mut Tx, id: &ApiKeyId, now: Millis) -> Result<bool> {
    on!(tx, |c| sqlx::query(REVOKE)
        .bind(id.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Whether any key was ever made: if not, this is the first run.
pub async fn any(tx: &mut Tx) -> Result<bool> {
    on!(tx, |c| sqlx::query_scalar::<_, i64>(COUNT).fetch_one(c).await).map(|n| n > 0)
}
