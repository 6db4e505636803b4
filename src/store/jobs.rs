//! The job of judging a capture: claimed by one worker at a time, under a lease, and settled once.
//! Part of [`verifications`](super::verifications), which re-exports all of it.

use serde_json::Value;

use super::dialect::Engine;
use super::tx::{Tx, on, sql};
use super::verifications::{Row, Verification, columns};
use super::{Result, attempts, rows};
use crate::domain::ids::{CameoId, VerificationId};
use crate::domain::verdict::Verdict;
use crate::domain::verification::State;
use crate::env::Millis;

sql! {
    const NEXT_SQLITE: &str = "SELECT id FROM verifications
        WHERE state = 'processing' AND (claimed_until_ms IS NULL OR claimed_until_ms <= $1)
        ORDER BY capture_received_ms, id LIMIT 1";
    const NEXT_POSTGRES: &str = "SELECT id FROM verifications
        WHERE state = 'processing' AND (claimed_until_ms IS NULL OR claimed_until_ms <= $1)
        ORDER BY capture_received_ms, id LIMIT 1 FOR UPDATE SKIP LOCKED";
    const CLAIM: &str = concat!("UPDATE verifications
        SET claimed_by = $2, claimed_until_ms = $3, tries = tries + 1
        WHERE id = $1 AND state = 'processing' RETURNING ", columns!());
    const RENEW: &str = "UPDATE verifications SET claimed_until_ms = $4
        WHERE id = $1 AND attempt = $2 AND claimed_by = $3 AND state = 'processing'";
    const RELEASE: &str = "UPDATE verifications
        SET claimed_by = NULL, claimed_until_ms = NULL, tries = tries - 1
        WHERE id = $1 AND attempt = $2 AND claimed_by = $3 AND state = 'processing'";
    const RELEASE_ALL: &str = "UPDATE verifications SET claimed_by = NULL, claimed_until_ms = NULL
        WHERE claimed_by = $1 AND state = 'processing'";
    const WAITING: &str = "SELECT COUNT(*) FROM verifications WHERE state = 'processing'";
    const SETTLE: &str = "UPDATE verifications SET state = $4, verdict = $5, quality = $6,
            timings = $7, cameo_id = $8, failure = $9, updated_ms = $10, claimed_by = NULL,
            claimed_until_ms = NULL,
            capture_file = CASE WHEN $11 = 1 THEN capture_file ELSE NULL END
        WHERE id = $1 AND attempt = $2 AND claimed_by = $3 AND state = 'processing'";
}

/// A job: one attempt in the hands of one worker.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The verification.
    pub id: &'a VerificationId,
    /// The attempt that was claimed.
    pub attempt: u32,
    /// Who claimed it.
    pub worker: &'a str,
}

/// How judging came out.
#[derive(Clone, Copy)]
pub struct Settlement<'a> {
    /// Verified, rejected, review or failed.
    pub state: State,
    /// What was concluded; `None` where judging failed.
    pub verdict: Option<&'a Verdict>,
    /// See [`Verification::quality`].
    pub quality: Option<&'a Value>,
    /// See [`Verification::timings`].
    pub timings: Option<&'a Value>,
    /// See [`Verification::cameo`].
    pub cameo: Option<&'a CameoId>,
    /// See [`Verification::failure`].
    pub failure: Option<&'a str>,
    /// The evidence, sealed with the person's key.
    pub evidence_sealed: Option<&'a [u8]>,
    /// The template that an approval would enrol, or of a rejected capture what is needed so that one
    /// step can be done again, sealed with the person's key.
    pub candidate_sealed: Option<&'a [u8]>,
    /// Whether the capture's file is kept; otherwise the caller deletes it after the commit.
    pub keep_capture: bool,
    /// Now.
    pub at: Millis,
}

/// Claims the capture that has waited longest and is in nobody's hands (or in those of a worker
/// whose lease ran out), until `until`. Several workers, on several machines, never get the same.
pub async fn claim(
    tx: &mut Tx,
    worker: &str,
    now: Millis,
    until: Millis,
) -> Result<Option<Verification>> {
    let next = match tx.engine() {
        Engine::Sqlite => NEXT_SQLITE,
        Engine::Postgres => NEXT_POSTGRES,
    };
    let id =
        on!(tx, |c| sqlx::query_scalar::<_, String>(next).bind(now.0).fetch_optional(c).await)?;
    let Some(id) = id else { return Ok(None) };
    on!(tx, |c| sqlx::query_as::<_, Row>(CLAIM)
        .bind(&id)
        .bind(worker)
        .bind(until.0)
        .fetch_optional(c)
        .await)?
    .map(Row::parse)
    .transpose()
}

/// Keeps a job until `until`; `false` where it is no longer the worker's.
pub async fn renew(tx: &mut Tx, job: &Job<'_>, until: Millis) -> Result<bool> {
    on!(tx, |c| sqlx::query(RENEW)
        .bind(job.id.as_str())
        .bind(i64::from(job.attempt))
        .bind(job.worker)
        .bind(until.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Gives a job back untried, as when the service stops.
pub async fn release(tx: &mut Tx, job: &Job<'_>) -> Result<bool> {
    on!(tx, |c| sqlx::query(RELEASE)
        .bind(job.id.as_str())
        .bind(i64::from(job.attempt))
        .bind(job.worker)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Gives back every job of a worker that is known to be gone, as after a restart under the same
/// name. They count as tried. Returns how many.
pub async fn release_all(tx: &mut Tx, worker: &str) -> Result<u64> {
    on!(tx, |c| sqlx::query(RELEASE_ALL).bind(worker).execute(c).await.map(|r| r.rows_affected()))
}

/// How many captures wait or are being judged.
pub async fn waiting(tx: &mut Tx) -> Result<u64> {
    on!(tx, |c| sqlx::query_scalar::<_, i64>(WAITING).fetch_one(c).await)
        .map(|n| u64::try_from(n).unwrap_or(0))
}

/// Ends a job with what was found.
pub async fn settle(tx: &mut Tx, job: &Job<'_>, how: &Settlement<'_>) -> Result<bool> {
    let verdict = how.verdict.map(|v| rows::to_json("verdict", v)).transpose()?;
    let quality = how.quality.map(|v| rows::to_json("quality", v)).transpose()?;
    let timings = how.timings.map(|v| rows::to_json("timings", v)).transpose()?;
    let settled = on!(tx, |c| sqlx::query(SETTLE)
        .bind(job.id.as_str())
        .bind(i64::from(job.attempt))
        .bind(job.worker)
        .bind(how.state.name())
        .bind(verdict.as_deref())
        .bind(quality.as_deref())
        .bind(timings.as_deref())
        .bind(how.cameo.map(CameoId::as_str))
        .bind(how.failure)
        .bind(how.at.0)
        .bind(i64::from(how.keep_capture))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if settled {
        let found = attempts::Found {
            verdict: verdict.as_deref(),
            failure: how.failure,
            evidence_sealed: how.evidence_sealed,
            candidate_sealed: how.candidate_sealed,
        };
        attempts::close(tx, job.id, job.attempt, how.state, &found, how.at).await?;
    }
    Ok(settled)
}
