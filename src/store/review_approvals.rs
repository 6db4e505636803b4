//! First approvals of cases that two reviewers have to approve.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::verifications::Review;
use super::{Result, rows};
use crate::domain::ids::VerificationId;
use crate::env::Millis;

sql! {
    const GET: &str = "SELECT by_key, reason, at_ms FROM review_approvals
        WHERE verification_id = $1 AND attempt = $2";
    const INSERT: &str = "INSERT INTO review_approvals
        (verification_id, attempt, by_key, reason, at_ms) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (verification_id, attempt) DO NOTHING";
}

#[derive(FromRow)]
struct Row {
    by_key: String,
    reason: String,
    at_ms: i64,
}

/// The first approval of an attempt, where there is one.
pub async fn get(tx: &mut Tx, id: &VerificationId, attempt: u32) -> Result<Option<Review>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .fetch_optional(c)
        .await)?
    .map(|r| {
        let by = rows::parse("review_approvals.by_key", &r.by_key)?;
        Ok(Review { by, at: Millis(r.at_ms), reason: r.reason })
    })
    .transpose()
}

/// Keeps the first approval of an attempt; `false` where there is one already.
pub async fn insert(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    approval: &Review,
) -> Result<bool> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(approval.by.as_str())
        .bind(&approval.reason)
        .bind(approval.at.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}
