//! What the search over faces found for a verification: somebody who is enrolled, or a protected
//! face. The reviewer reads it by verification, the person who is enrolled by their cameo.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::{CameoId, ProtectedId, VerificationId};
use crate::domain::verification::State;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO findings (verification_id, attempt, kind, matched, at_ms)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (verification_id, attempt, matched) DO NOTHING";
    const OF_ATTEMPT: &str = "SELECT kind, matched, at_ms, NULL AS state FROM findings
        WHERE verification_id = $1 AND attempt = $2 ORDER BY matched";
    const OF_CAMEO: &str = "SELECT f.kind, f.matched, f.at_ms, v.state
        FROM findings f LEFT JOIN verifications v ON v.id = f.verification_id
        WHERE f.matched = $1 ORDER BY f.at_ms DESC LIMIT $2";
}

/// Whose face it seems to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// That of somebody who is enrolled under another subject.
    Duplicate(CameoId),
    /// One that nobody may enrol.
    Protected(ProtectedId),
}

impl Match {
    fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Duplicate(cameo) => ("duplicate", cameo.as_str()),
            Self::Protected(face) => ("protected", face.as_str()),
        }
    }
}

/// Somebody tried to enrol with a face like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Like whose.
    pub matched: Match,
    /// When.
    pub at: Millis,
    /// What became of the verification since; `None` where that was not asked or it is gone.
    pub state: Option<State>,
}

#[derive(FromRow)]
struct Row {
    kind: String,
    matched: String,
    at_ms: i64,
    state: Option<String>,
}

impl Row {
    fn parse(self) -> Result<Finding> {
        const COLUMN: &str = "findings.matched";
        let matched = match self.kind.as_str() {
            "duplicate" => Match::Duplicate(rows::parse(COLUMN, &self.matched)?),
            _ => Match::Protected(rows::parse(COLUMN, &self.matched)?),
        };
        let state = rows::parse_opt("verifications.state", self.state.as_deref())?;
        Ok(Finding { matched, at: Millis(self.at_ms), state })
    }
}

/// Keeps what was found for an attempt. The same again changes nothing.
pub async fn insert(
    tx: &mut Tx,
    verification: &VerificationId,
    attempt: u32,
    matched: &Match,
    at: Millis,
) -> Result<()> {
    let (kind, matched) = matched.columns();
    on!(tx, |c| sqlx::query(INSERT)
        .bind(verification.as_str())
        .bind(i64::from(attempt))
        .bind(kind)
        .bind(matched)
        .bind(at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// What was found for an attempt.
pub async fn of_attempt(
    tx: &mut Tx,
    verification: &VerificationId,
    attempt: u32,
) -> Result<Vec<Finding>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(OF_ATTEMPT)
        .bind(verification.as_str())
        .bind(i64::from(attempt))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// Who tried to enrol with a face like that of this cameo's person, the newest first.
pub async fn of_cameo(tx: &mut Tx, cameo: &CameoId, limit: u32) -> Result<Vec<Finding>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(OF_CAMEO)
        .bind(cameo.as_str())
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}
