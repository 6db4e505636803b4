//! Facts about the whole deployment, by name: the master key's check value, the log's origin.

use super::tx::{Tx, on, sql};
use super::{Error, Result};

sql! {
    const GET: &str = "SELECT value FROM meta WHERE key = $1";
    const SET: &str = "INSERT INTO meta (key, value) VALUES ($1, $2)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    const SET_IF_ABSENT: &str = "INSERT INTO meta (key, value) VALUES ($1, $2)
        ON CONFLICT (key) DO NOTHING";
}

/// The value of `key`.
pub async fn get(tx: &mut Tx, key: &str) -> Result<Option<Vec<u8>>> {
    on!(tx, |c| sqlx::query_scalar(GET).bind(key).fetch_optional(c).await)
}

/// Sets `key`, whatever it was.
pub async fn set(tx: &mut Tx, key: &str, value: &[u8]) -> Result<()> {
    on!(tx, |c| sqlx::query(SET).bind(key).bind(value).execute(c).await.map(|_| ()))
}

/// Sets `key` unless it is set, and returns what it is then: of several processes that start at
/// once, all get the same value.
pub async fn get_or_set(tx: &mut Tx, key: &str, value: &[u8]) -> Result<Vec<u8>> {
    on!(tx, |c| sqlx::query(SET_IF_ABSENT).bind(key).bind(value).execute(c).await.map(|_| ()))?;
    get(tx, key).await?.ok_or_else(|| Error::internal("meta: the row went away"))
}
