//! The public keys that payloads are sealed to: of each generator, with an overlap when it rotates.

use std::sync::Arc;

use sqlx::FromRow;

use super::tx::{Tx, look, on, sql};
use super::{Result, rows};
use crate::domain::ids::ApiKeyId;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO generator_keys
        (generator_key, kid, public_key, not_before_ms, retire_at_ms, created_ms)
        VALUES ($1, $2, $3, $4, $5, $6)";
    const LIST: &str = "SELECT generator_key, kid, public_key, not_before_ms, retire_at_ms, created_ms
        FROM generator_keys WHERE generator_key = $1 ORDER BY not_before_ms DESC, kid LIMIT $2";
    const RETIRE: &str = "UPDATE generator_keys SET retire_at_ms = $3
        WHERE generator_key = $1 AND kid = $2 AND (retire_at_ms IS NULL OR retire_at_ms > $3)";
}

/// One public key of a generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratorKey {
    /// Whose it is.
    pub generator: ApiKeyId,
    /// The key's name: 16 hex digits of its thumbprint.
    pub kid: String,
    /// The X25519 public key.
    pub public: [u8; 32],
    /// From when on payloads are sealed to it.
    pub not_before: Millis,
    /// From when on they no longer are.
    pub retire_at: Option<Millis>,
    /// When it was registered.
    pub created: Millis,
}

/// The most keys that are listed.
pub const MAX_LISTED: u32 = 64;

#[derive(FromRow)]
struct Row {
    generator_key: String,
    kid: String,
    public_key: Vec<u8>,
    not_before_ms: i64,
    retire_at_ms: Option<i64>,
    created_ms: i64,
}

impl Row {
    fn parse(self) -> Result<GeneratorKey> {
        Ok(GeneratorKey {
            generator: rows::parse("generator_keys.generator_key", &self.generator_key)?,
            kid: self.kid,
            public: rows::array("generator_keys.public_key", &self.public_key)?,
            not_before: Millis(self.not_before_ms),
            retire_at: self.retire_at_ms.map(Millis),
            created: Millis(self.created_ms),
        })
    }
}

/// Adds a key.
///
/// # Errors
/// [`super::Error::Conflict`] where the generator has it already.
pub async fn insert(tx: &mut Tx, key: &GeneratorKey) -> Result<()> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(key.generator.as_str())
        .bind(&key.kid)
        .bind(&key.public[..])
        .bind(key.not_before.0)
        .bind(key.retire_at.map(|t| t.0))
        .bind(key.created.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// A generator's keys, the newest first, retired ones too.
pub async fn list(tx: &mut Tx, generator: &ApiKeyId) -> Result<Vec<GeneratorKey>> {
    look!(tx, |c| sqlx::query_as::<_, Row>(LIST)
        .bind(generator.as_str())
        .bind(i64::from(MAX_LISTED))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// The key that payloads for a generator are sealed to at `now`.
pub async fn current(
    tx: &mut Tx,
    generator: &ApiKeyId,
    now: Millis,
) -> Result<Option<GeneratorKey>> {
    let known = tx.group.as_mut().and_then(|g| g.memo().keys.get(generator).cloned());
    let all = if let Some(all) = known {
        all
    } else {
        let all: Arc<[GeneratorKey]> = list(tx, generator).await?.into();
        if let Some(group) = &mut tx.group {
            group.memo().keys.insert(generator.clone(), all.clone());
        }
        all
    };
    let holds = |k: &&GeneratorKey| k.not_before <= now && k.retire_at.is_none_or(|t| t > now);
    Ok(all.iter().find(holds).cloned())
}

/// Sets when a key is no longer sealed to; `false` where there is none, or it is retired before.
pub async fn retire(tx: &mut Tx, generator: &ApiKeyId, kid: &str, at: Millis) -> Result<bool> {
    on!(tx, |c| sqlx::query(RETIRE)
        .bind(generator.as_str())
        .bind(kid)
        .bind(at.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}
