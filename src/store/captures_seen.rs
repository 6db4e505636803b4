//! Hashes of every capture that ever came, so that the same file doesn't come twice.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Error, Result, rows};
use crate::domain::ids::VerificationId;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO captures_seen (sha256, verification_id, at_ms)
        VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING";
    const GET: &str = "SELECT verification_id, at_ms FROM captures_seen WHERE sha256 = $1";
    const FORGET: &str = "DELETE FROM captures_seen WHERE sha256 = $1 AND verification_id = $2";
    const PRUNE: &str = "DELETE FROM captures_seen WHERE at_ms < $1";
}

/// Whether a capture came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Never: it is now remembered.
    First,
    /// It did.
    Before {
        /// With which verification.
        verification: VerificationId,
        /// When.
        at: Millis,
    },
}

#[derive(FromRow)]
struct Row {
    verification_id: String,
    at_ms: i64,
}

/// Remembers the capture of this SHA-256, or tells where it was seen first.
pub async fn see(
    tx: &mut Tx,
    sha256: &[u8; 32],
    verification: &VerificationId,
    now: Millis,
) -> Result<Seen> {
    let new = on!(tx, |c| sqlx::query(INSERT)
        .bind(&sha256[..])
        .bind(verification.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if new {
        return Ok(Seen::First);
    }
    let row = on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(&sha256[..]).fetch_optional(c).await)?;
    let row = row.ok_or_else(|| Error::conflict("captures_seen"))?;
    Ok(Seen::Before {
        verification: rows::parse("captures_seen.verification_id", &row.verification_id)?,
        at: Millis(row.at_ms),
    })
}

/// Forgets a capture that was refused before it was judged, so that it may come again.
pub async fn forget(tx: &mut Tx, sha256: &[u8; 32], verification: &VerificationId) -> Result<()> {
    on!(tx, |c| sqlx::query(FORGET)
        .bind(&sha256[..])
        .bind(verification.as_str())
        .execute(c)
        .await
        .map(|_| ()))
}

/// Forgets captures from before `before`.
pub async fn prune(tx: &mut Tx, before: Millis) -> Result<()> {
    on!(tx, |c| sqlx::query(PRUNE).bind(before.0).execute(c).await.map(|_| ()))
}
