//! Whether tokens that were issued still hold: their places in status lists.

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::{ApiKeyId, CameoId};
use crate::env::Millis;

sql! {
    const RESERVE: &str = "UPDATE status_places SET next = next + $1 WHERE id = 1 RETURNING next";
    const PLACES: &str = "SELECT next FROM status_places WHERE id = 1";
    const NOT_VALID: &str = "SELECT status_index, token_status FROM uses
        WHERE status_list = $1 AND token_status <> 0 ORDER BY status_index";
    const SUSPEND: &str = "UPDATE uses SET token_status = 2
        WHERE cameo_id = $1 AND token_status = 0 AND expires_ms > $2";
    const RESUME: &str = "UPDATE uses SET token_status = 0
        WHERE cameo_id = $1 AND token_status = 2 AND expires_ms > $2";
    const REVOKE: &str = "UPDATE uses SET token_status = 1
        WHERE cameo_id = $1 AND token_status <> 1 AND expires_ms > $2";
    const REVOKE_GRANT: &str = "UPDATE uses SET token_status = 1
        WHERE cameo_id = $1 AND grant_id = $3 AND token_status <> 1 AND expires_ms > $2";
    const REVOKE_GENERATOR: &str = "UPDATE uses SET token_status = 1
        WHERE generator_key = $1 AND token_status <> 1 AND expires_ms > $2";
}

/// Places in one status list.
pub const LIST_LEN: u32 = 1 << 16;

/// A token's place: the list, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The list, from 0.
    pub list: u32,
    /// The place, below [`LIST_LEN`].
    pub index: u32,
}

/// Sets `count` places aside for one process. No place is given twice, ever.
pub async fn reserve(tx: &mut Tx, count: u32) -> Result<Vec<Place>> {
    let next = on!(tx, |c| sqlx::query_scalar::<_, i64>(RESERVE)
        .bind(i64::from(count))
        .fetch_one(c)
        .await)?;
    let first = next - i64::from(count);
    (first..next).map(place).collect()
}

/// How many lists have been begun.
pub async fn lists(tx: &mut Tx) -> Result<u32> {
    let next = on!(tx, |c| sqlx::query_scalar::<_, i64>(PLACES).fetch_one(c).await)?;
    rows::count("status_places.next", (next + i64::from(LIST_LEN) - 1) / i64::from(LIST_LEN))
}

fn place(number: i64) -> Result<Place> {
    Ok(Place {
        list: rows::count("status_places.next", number / i64::from(LIST_LEN))?,
        index: rows::count("status_places.next", number % i64::from(LIST_LEN))?,
    })
}

/// The places of a list whose tokens are revoked (1) or suspended (2).
pub async fn not_valid(tx: &mut Tx, list: u32) -> Result<Vec<(u32, u8)>> {
    on!(tx, |c| sqlx::query_as::<_, (i64, i64)>(NOT_VALID)
        .bind(i64::from(list))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(|(index, status)| {
        Ok((rows::count("uses.status_index", index)?, rows::count("uses.token_status", status)?))
    })
    .collect()
}

/// Suspends a cameo's tokens that have not expired, and returns how many.
pub async fn suspend(tx: &mut Tx, cameo: &CameoId, now: Millis) -> Result<u64> {
    change(tx, SUSPEND, cameo.as_str(), now).await
}

/// Makes suspended tokens good again, where they have not expired.
pub async fn resume(tx: &mut Tx, cameo: &CameoId, now: Millis) -> Result<u64> {
    change(tx, RESUME, cameo.as_str(), now).await
}

/// Revokes a cameo's tokens that have not expired, suspended ones too.
pub async fn revoke(tx: &mut Tx, cameo: &CameoId, now: Millis) -> Result<u64> {
    change(tx, REVOKE, cameo.as_str(), now).await
}

/// Revokes a generator's tokens that have not expired.
pub async fn revoke_generator(tx: &mut Tx, generator: &ApiKeyId, now: Millis) -> Result<u64> {
    change(tx, REVOKE_GENERATOR, generator.as_str(), now).await
}

/// Revokes a cameo's tokens that were issued under one grant and have not expired.
pub async fn revoke_grant(tx: &mut Tx, cameo: &CameoId, grant: &str, now: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query(REVOKE_GRANT)
        .bind(cameo.as_str())
        .bind(now.0)
        .bind(grant)
        .execute(c)
        .await
        .map(|r| r.rows_affected()))
}

async fn change(tx: &mut Tx, sql: &'static str, whose: &str, now: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query(sql)
        .bind(whose)
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected()))
}
