//! The service's Ed25519 signing keys: the seed sealed, the public half in the open.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO signing_keys
        (kid, sealed_seed, public_key, not_before_ms, retire_at_ms, created_ms)
        VALUES ($1, $2, $3, $4, $5, $6)";
    const LIST: &str = "SELECT kid, sealed_seed, public_key, not_before_ms, retire_at_ms, created_ms
        FROM signing_keys ORDER BY not_before_ms, kid";
    const RETIRE: &str = "UPDATE signing_keys SET retire_at_ms = $2 WHERE kid = $1";
    const RESEAL: &str = "UPDATE signing_keys SET sealed_seed = $3
        WHERE kid = $1 AND sealed_seed = $2";
}

/// One signing key.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The key id in COSE headers and the JWKS.
    pub kid: String,
    /// The private seed, sealed under the master key.
    pub sealed_seed: Vec<u8>,
    /// The public key (RFC 8032, 32 bytes).
    pub public: [u8; 32],
    /// From when on it signs.
    pub not_before: Millis,
    /// From when on it no longer signs; it is still published for what it signed before.
    pub retire_at: Option<Millis>,
    /// When it was made.
    pub created: Millis,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, from {:?})", self.kid, self.not_before)
    }
}

#[derive(FromRow)]
struct Row {
    kid: String,
    sealed_seed: Vec<u8>,
    public_key: Vec<u8>,
    not_before_ms: i64,
    retire_at_ms: Option<i64>,
    created_ms: i64,
}

impl Row {
    fn parse(self) -> Result<SigningKey> {
        Ok(SigningKey {
            kid: self.kid,
            sealed_seed: self.sealed_seed,
            public: rows::array("signing_keys.public_key", &self.public_key)?,
            not_before: Millis(self.not_before_ms),
            retire_at: self.retire_at_ms.map(Millis),
            created: Millis(self.created_ms),
        })
    }
}

/// Adds a key.
///
/// # Errors
/// [`super::Error::Conflict`] where the kid is taken.
pub async fn insert(tx: &mut Tx, key: &SigningKey) -> Result<()> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(&key.kid)
        .bind(&key.sealed_seed)
        .bind(&key.public[..])
        .bind(key.not_before.0)
        .bind(key.retire_at.map(|t| t.0))
        .bind(key.created.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Every key, by the time from which it signs.
pub async fn list(tx: &mut Tx) -> Result<Vec<SigningKey>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(LIST).fetch_all(c).await)?
        .into_iter()
        .map(Row::parse)
        .collect()
}

/// Sets when a key stops signing; `false` where there is no such key.
pub async fn retire(tx: &mut Tx, kid: &str, at: Millis) -> Result<bool> {
    on!(tx, |c| sqlx::query(RETIRE)
        .bind(kid)
        .bind(at.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Replaces a sealed seed under a new master key; `false` where it is no longer `old`.
pub async fn reseal(tx: &mut Tx, kid: &str, old: &[u8], new: &[u8]) -> Result<bool> {
    on!(tx, |c| sqlx::query(RESEAL)
        .bind(kid)
        .bind(old)
        .bind(new)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}
