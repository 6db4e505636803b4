//! Hashes of every capture that ever came, so that the same file doesn't come twice.

use super::Result;
use super::tx::{Tx, on, sql};
use crate::domain::ids::VerificationId;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO captures_seen (sha256, verification_id, at_ms)
        VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING";
    const PRUNE: &str = "DELETE FROM captures_seen WHERE at_ms < $1";
}

/// Whether a capture came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Never: it is now remembered.
    First,
    /// It did.
    Before,
}

/// Remembers the capture of this SHA-256, or tells that it was seen before.
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
    Ok(if new { Seen::First } else { Seen::Before })
}

/// Forgets captures from before `before`.
pub async fn prune(tx: &mut Tx, before: Millis) -> Result<()> {
    on!(tx, |c| sqlx::query(PRUNE).bind(before.0).execute(c).await.map(|_| ()))
}
