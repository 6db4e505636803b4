//! What became of every attempt of a verification. Written by
//! [`verifications`] alone.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows, verifications};
use crate::domain::challenge::Challenge;
use crate::domain::ids::VerificationId;
use crate::domain::verdict::Verdict;
use crate::domain::verification::State;
use crate::env::Millis;

sql! {
    const OPEN: &str = "INSERT INTO attempts (verification_id, attempt, challenge, opened_ms)
        VALUES ($1, $2, $3, $4)";
    const CLOSE: &str = "UPDATE attempts SET outcome = $3, verdict = $4, failure = $5,
            evidence_sealed = $6, candidate_sealed = $7, closed_ms = $8
        WHERE verification_id = $1 AND attempt = $2";
    const REVIEW: &str = "UPDATE attempts SET outcome = $3, candidate_sealed = NULL
        WHERE verification_id = $1 AND attempt = $2";
    const LIST: &str = "SELECT attempt, challenge, outcome, verdict, failure, opened_ms, closed_ms
        FROM attempts WHERE verification_id = $1 ORDER BY attempt";
    const EVIDENCE: &str = "SELECT evidence_sealed FROM attempts
        WHERE verification_id = $1 AND attempt = $2";
    const CANDIDATE: &str = "SELECT candidate_sealed FROM attempts
        WHERE verification_id = $1 AND attempt = $2";
    const FORGET_EVIDENCE: &str = "UPDATE attempts SET evidence_sealed = NULL
        WHERE closed_ms < $1 AND outcome <> 'review' AND evidence_sealed IS NOT NULL";
    const SAMPLE: &str = "SELECT candidate_sealed FROM attempts
        WHERE verification_id = $1 AND attempt = $2 AND outcome = 'rejected' AND closed_ms > $3";
    const DROP_SAMPLES: &str = "UPDATE attempts SET candidate_sealed = NULL
        WHERE verification_id = $1 AND attempt <> $2 AND outcome = 'rejected'";
    const FORGET_SAMPLES: &str = "UPDATE attempts SET candidate_sealed = NULL
        WHERE closed_ms < $1 AND outcome = 'rejected' AND candidate_sealed IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM verifications v
                WHERE v.id = attempts.verification_id AND v.state IN ('pending', 'processing'))";
    const ONE: &str = "SELECT attempt, challenge, outcome, verdict, failure, opened_ms, closed_ms
        FROM attempts WHERE verification_id = $1 AND attempt = $2";
}

/// One attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// Its cues.
    pub challenge: Challenge,
    /// How it ended; `None` while it is under way.
    pub outcome: Option<State>,
    /// What was concluded.
    pub verdict: Option<Verdict>,
    /// The code of what went wrong on our side.
    pub failure: Option<String>,
    /// When its challenge was issued.
    pub opened: Millis,
    /// When it was judged, or its time was up.
    pub closed: Option<Millis>,
}

/// What an attempt ends with.
#[derive(Clone, Copy, Default)]
pub(super) struct Found<'a> {
    pub(super) verdict: Option<&'a str>,
    pub(super) failure: Option<&'a str>,
    pub(super) evidence_sealed: Option<&'a [u8]>,
    pub(super) candidate_sealed: Option<&'a [u8]>,
}

#[derive(FromRow)]
struct Row {
    attempt: i64,
    challenge: String,
    outcome: Option<String>,
    verdict: Option<String>,
    failure: Option<String>,
    opened_ms: i64,
    closed_ms: Option<i64>,
}

/// Every attempt of a verification, in order.
pub async fn list(tx: &mut Tx, id: &VerificationId) -> Result<Vec<Attempt>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(LIST).bind(id.as_str()).fetch_all(c).await)?
        .into_iter()
        .map(Row::parse)
        .collect()
}

/// One attempt of a verification.
pub async fn get(tx: &mut Tx, id: &VerificationId, attempt: u32) -> Result<Option<Attempt>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(ONE)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .fetch_optional(c)
        .await)?
    .map(Row::parse)
    .transpose()
}

impl Row {
    fn parse(self) -> Result<Attempt> {
        Ok(Attempt {
            attempt: rows::count("attempts.attempt", self.attempt)?,
            challenge: verifications::challenge("attempts.challenge", &self.challenge)?,
            outcome: rows::parse_opt("attempts.outcome", self.outcome.as_deref())?,
            verdict: rows::json_opt("attempts.verdict", self.verdict.as_deref())?,
            failure: self.failure,
            opened: Millis(self.opened_ms),
            closed: self.closed_ms.map(Millis),
        })
    }
}

/// An attempt's evidence, sealed with the person's key.
pub async fn evidence(tx: &mut Tx, id: &VerificationId, attempt: u32) -> Result<Option<Vec<u8>>> {
    blob(tx, EVIDENCE, id, attempt).await
}

/// The template that an approval of the attempt would enrol, sealed with the person's key.
pub async fn candidate(tx: &mut Tx, id: &VerificationId, attempt: u32) -> Result<Option<Vec<u8>>> {
    blob(tx, CANDIDATE, id, attempt).await
}

/// What is kept of a rejected attempt that closed after `after`, so that a single step can be done
/// again: a template, sealed with the person's key.
pub async fn sample(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    after: Millis,
) -> Result<Option<Vec<u8>>> {
    on!(tx, |c| sqlx::query_scalar::<_, Option<Vec<u8>>>(SAMPLE)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(after.0)
        .fetch_optional(c)
        .await)
    .map(Option::flatten)
}

/// Deletes those samples of a verification, but for the attempt `keep`; 0 keeps none.
pub async fn drop_samples(tx: &mut Tx, id: &VerificationId, keep: u32) -> Result<()> {
    on!(tx, |c| sqlx::query(DROP_SAMPLES)
        .bind(id.as_str())
        .bind(i64::from(keep))
        .execute(c)
        .await
        .map(|_| ()))
}

/// Deletes the samples of attempts that closed before `before`, but where another attempt is under
/// way; returns of how many.
pub async fn forget_samples(tx: &mut Tx, before: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query(FORGET_SAMPLES)
        .bind(before.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected()))
}

/// Deletes the evidence of attempts that closed before `before`, but for those in review; returns
/// of how many.
pub async fn forget_evidence(tx: &mut Tx, before: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query(FORGET_EVIDENCE)
        .bind(before.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected()))
}

pub(super) async fn open(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    challenge: &str,
    now: Millis,
) -> Result<()> {
    on!(tx, |c| sqlx::query(OPEN)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(challenge)
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))
}

pub(super) async fn close(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    outcome: State,
    found: &Found<'_>,
    now: Millis,
) -> Result<()> {
    on!(tx, |c| sqlx::query(CLOSE)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(outcome.name())
        .bind(found.verdict)
        .bind(found.failure)
        .bind(found.evidence_sealed)
        .bind(found.candidate_sealed)
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))
}

pub(super) async fn review(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    outcome: State,
) -> Result<()> {
    on!(tx, |c| sqlx::query(REVIEW)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(outcome.name())
        .execute(c)
        .await
        .map(|_| ()))
}

async fn blob(
    tx: &mut Tx,
    sql: &'static str,
    id: &VerificationId,
    attempt: u32,
) -> Result<Option<Vec<u8>>> {
    on!(tx, |c| sqlx::query_scalar::<_, Option<Vec<u8>>>(sql)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .fetch_optional(c)
        .await)
    .map(Option::flatten)
}
