//! What was shown of the log and what was seen of others: published checkpoints, how far each
//! witness is, and as a witness the newest checkpoint of each log.

use super::tx::{Tx, on, sql};
use super::{Error, Result, rows};
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO log_published (size, note, at_ms) VALUES ($1, $2, $3)
        ON CONFLICT (size) DO UPDATE SET note = excluded.note";
    const FROM: &str = "SELECT size, note FROM log_published WHERE size > $1 ORDER BY size LIMIT $2";
    const BEFORE: &str = "SELECT size, note, at_ms FROM log_published WHERE size < $1
        ORDER BY size DESC LIMIT $2";
    const WITNESSES: &str = "SELECT name, size FROM log_witnesses ORDER BY name";
    const SET_WITNESS: &str = "INSERT INTO log_witnesses (name, size, at_ms) VALUES ($1, $2, $3)
        ON CONFLICT (name) DO UPDATE SET size = excluded.size, at_ms = excluded.at_ms";
    const WITNESSED: &str = "SELECT size, root FROM witnessed WHERE origin = $1";
    const FIRST_WITNESSED: &str = "INSERT INTO witnessed (origin, size, root, at_ms)
        VALUES ($1, $2, $3, $4) ON CONFLICT (origin) DO NOTHING";
    const MOVE_WITNESSED: &str = "UPDATE witnessed SET size = $4, root = $5, at_ms = $6
        WHERE origin = $1 AND size = $2 AND root = $3";
}

/// Keeps a checkpoint that is about to be published. Another replica may have; the newest note
/// stays.
pub async fn insert(tx: &mut Tx, size: u64, note: &[u8], now: Millis) -> Result<()> {
    let size = rows::integer("log_published.size", size)?;
    on!(tx, |c| sqlx::query(INSERT).bind(size).bind(note).bind(now.0).execute(c).await.map(|_| ()))
}

/// Published checkpoints of more than `above` entries, at most `limit`, smallest first.
pub async fn after(tx: &mut Tx, above: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>> {
    let above = i64::try_from(above).unwrap_or(i64::MAX);
    on!(tx, |c| sqlx::query_as::<_, (i64, Vec<u8>)>(FROM)
        .bind(above)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(|(size, note)| Ok((rows::count("log_published.size", size)?, note)))
    .collect()
}

/// A checkpoint as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// How many entries it covers.
    pub size: u64,
    /// The signed note, with the witnesses' cosignatures that had come by then.
    pub note: Vec<u8>,
    /// When it was first published.
    pub at: Millis,
}

/// Published checkpoints of fewer than `below` entries, at most `limit`, the largest first.
pub async fn before(tx: &mut Tx, below: u64, limit: u32) -> Result<Vec<Published>> {
    let below = i64::try_from(below).unwrap_or(i64::MAX);
    on!(tx, |c| sqlx::query_as::<_, (i64, Vec<u8>, i64)>(BEFORE)
        .bind(below)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(|(size, note, at)| {
        Ok(Published { size: rows::count("log_published.size", size)?, note, at: Millis(at) })
    })
    .collect()
}

/// How many entries each witness has cosigned.
pub async fn witnesses(tx: &mut Tx) -> Result<Vec<(String, u64)>> {
    on!(tx, |c| sqlx::query_as::<_, (String, i64)>(WITNESSES).fetch_all(c).await)?
        .into_iter()
        .map(|(name, size)| Ok((name, rows::count("log_witnesses.size", size)?)))
        .collect()
}

/// Remembers how far a witness is.
pub async fn set_witness(tx: &mut Tx, name: &str, size: u64, now: Millis) -> Result<()> {
    let size = rows::integer("log_witnesses.size", size)?;
    on!(tx, |c| sqlx::query(SET_WITNESS)
        .bind(name)
        .bind(size)
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Size and root of what was cosigned last of the log named `origin`.
pub async fn witnessed(tx: &mut Tx, origin: &str) -> Result<Option<(u64, [u8; 32])>> {
    let found = on!(tx, |c| sqlx::query_as::<_, (i64, Vec<u8>)>(WITNESSED)
        .bind(origin)
        .fetch_optional(c)
        .await)?;
    found
        .map(|(size, root)| {
            Ok((rows::count("witnessed.size", size)?, rows::array("witnessed.root", &root)?))
        })
        .transpose()
}

/// Moves what was cosigned last from `old` (where there was something) to `new`: whether it still
/// was `old`.
pub async fn witness(
    tx: &mut Tx,
    origin: &str,
    old: Option<(u64, [u8; 32])>,
    new: (u64, [u8; 32]),
    now: Millis,
) -> Result<bool> {
    let size = rows::integer("witnessed.size", new.0)?;
    let changed = match old {
        None => on!(tx, |c| sqlx::query(FIRST_WITNESSED)
            .bind(origin)
            .bind(size)
            .bind(&new.1[..])
            .bind(now.0)
            .execute(c)
            .await
            .map(|r| r.rows_affected()))?,
        Some(old) => {
            let before = rows::integer("witnessed.size", old.0)?;
            on!(tx, |c| sqlx::query(MOVE_WITNESSED)
                .bind(origin)
                .bind(before)
                .bind(&old.1[..])
                .bind(size)
                .bind(&new.1[..])
                .bind(now.0)
                .execute(c)
                .await
                .map(|r| r.rows_affected()))?
        }
    };
    match changed {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::internal("witnessed: more than one row")),
    }
}
