//! Failed attempts and the lock-out that follows too many of them.

use super::Result;
use super::tx::{Tx, on, sql};
use crate::domain::ids::{SubjectId, VerificationId};
use crate::env::Millis;

sql! {
    const RECORD: &str = "INSERT INTO failures (verification_id, attempt, subject, at_ms)
        VALUES ($1, $2, $3, $4) ON CONFLICT (verification_id, attempt) DO NOTHING";
    const COUNT_SINCE: &str = "SELECT COUNT(*) FROM failures WHERE subject = $1 AND at_ms >= $2";
    const LOCK: &str = "INSERT INTO lockouts (subject, until_ms) VALUES ($1, $2)
        ON CONFLICT (subject) DO UPDATE SET until_ms = excluded.until_ms
        WHERE lockouts.until_ms < excluded.until_ms";
    const LOCKED_UNTIL: &str = "SELECT until_ms FROM lockouts WHERE subject = $1 AND until_ms > $2";
    const CLEAR: &str = "DELETE FROM failures WHERE subject = $1";
    const UNLOCK: &str = "DELETE FROM lockouts WHERE subject = $1";
    const PRUNE: &str = "DELETE FROM failures WHERE at_ms < $1";
    const PRUNE_LOCKS: &str = "DELETE FROM lockouts WHERE until_ms <= $1";
}

/// Counts an attempt as failed, once however often it is said.
pub async fn record(
    tx: &mut Tx,
    subject: &SubjectId,
    verification: &VerificationId,
    attempt: u32,
    at: Millis,
) -> Result<()> {
    on!(tx, |c| sqlx::query(RECORD)
        .bind(verification.as_str())
        .bind(i64::from(attempt))
        .bind(subject.as_str())
        .bind(at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// How many of a person's attempts failed at or after `since`.
pub async fn count_since(tx: &mut Tx, subject: &SubjectId, since: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query_scalar::<_, i64>(COUNT_SINCE)
        .bind(subject.as_str())
        .bind(since.0)
        .fetch_one(c)
        .await)
    .map(|n| u64::try_from(n).unwrap_or(0))
}

/// Locks a person out until `until`; a longer lock-out stays as it is.
pub async fn lock(tx: &mut Tx, subject: &SubjectId, until: Millis) -> Result<()> {
    on!(tx, |c| sqlx::query(LOCK).bind(subject.as_str()).bind(until.0).execute(c).await.map(|_| ()))
}

/// Until when a person is locked out, if they are at `now`.
pub async fn locked_until(tx: &mut Tx, subject: &SubjectId, now: Millis) -> Result<Option<Millis>> {
    on!(tx, |c| sqlx::query_scalar::<_, i64>(LOCKED_UNTIL)
        .bind(subject.as_str())
        .bind(now.0)
        .fetch_optional(c)
        .await)
    .map(|t| t.map(Millis))
}

/// Forgets a person's failures and lock-out: they passed, or an operator said so.
pub async fn clear(tx: &mut Tx, subject: &SubjectId) -> Result<()> {
    on!(tx, |c| sqlx::query(CLEAR).bind(subject.as_str()).execute(c).await.map(|_| ()))?;
    on!(tx, |c| sqlx::query(UNLOCK).bind(subject.as_str()).execute(c).await.map(|_| ()))
}

/// Forgets failures before `failed_before`, and lock-outs that are over at `now`.
pub async fn prune(tx: &mut Tx, failed_before: Millis, now: Millis) -> Result<()> {
    on!(tx, |c| sqlx::query(PRUNE).bind(failed_before.0).execute(c).await.map(|_| ()))?;
    on!(tx, |c| sqlx::query(PRUNE_LOCKS).bind(now.0).execute(c).await.map(|_| ()))
}
