//! Key frames of attempts in review: small pictures, sealed with the person's key. Whoever ends a
//! review deletes them ([`super::verifications::review`], [`super::verifications::lapse_review`]).

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::{SubjectId, VerificationId};
use crate::domain::key_frame::View;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO key_frames
        (verification_id, attempt, n, view, t_ms, sealed, kept_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    const LIST: &str = "SELECT n, view, t_ms FROM key_frames
        WHERE verification_id = $1 AND attempt = $2 ORDER BY n";
    const SEALED: &str = "SELECT sealed FROM key_frames
        WHERE verification_id = $1 AND attempt = $2 AND n = $3";
    const DELETE: &str = "DELETE FROM key_frames WHERE verification_id = $1";
    const DELETE_OF: &str = "DELETE FROM key_frames WHERE verification_id IN
        (SELECT id FROM verifications WHERE subject = $1)";
    const FORGET: &str = "DELETE FROM key_frames WHERE kept_ms <= $1";
}

/// What a key frame shows, without the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFrame {
    /// Its number, from 1, in order of time.
    pub n: u32,
    /// Why it was kept.
    pub view: View,
    /// When it was taken, in milliseconds from the start of the capture.
    pub t_ms: i64,
}

#[derive(FromRow)]
struct Row {
    n: i64,
    view: String,
    t_ms: i64,
}

/// Keeps a key frame of an attempt from `at` on.
pub async fn insert(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    frame: &KeyFrame,
    sealed: &[u8],
    at: Millis,
) -> Result<()> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(i64::from(frame.n))
        .bind(frame.view.name())
        .bind(frame.t_ms)
        .bind(sealed)
        .bind(at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// The key frames of an attempt, in order.
pub async fn list(tx: &mut Tx, id: &VerificationId, attempt: u32) -> Result<Vec<KeyFrame>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(LIST)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(|r| {
        Ok(KeyFrame {
            n: rows::count("key_frames.n", r.n)?,
            view: rows::parse("key_frames.view", &r.view)?,
            t_ms: r.t_ms,
        })
    })
    .collect()
}

/// One picture, sealed.
pub async fn sealed(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    n: u32,
) -> Result<Option<Vec<u8>>> {
    on!(tx, |c| sqlx::query_scalar::<_, Vec<u8>>(SEALED)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(i64::from(n))
        .fetch_optional(c)
        .await)
}

/// Deletes those of a verification; returns how many.
pub async fn delete(tx: &mut Tx, id: &VerificationId) -> Result<u64> {
    on!(tx, |c| sqlx::query(DELETE).bind(id.as_str()).execute(c).await.map(|r| r.rows_affected()))
}

/// Deletes those of a person; returns how many.
pub async fn delete_of(tx: &mut Tx, subject: &SubjectId) -> Result<u64> {
    on!(tx, |c| sqlx::query(DELETE_OF)
        .bind(subject.as_str())
        .execute(c)
        .await
        .map(|r| r.rows_affected()))
}

/// Deletes those that have been kept since `before` or longer; returns how many. Whoever ends a review has
/// deleted them long before: this is for what should not be there.
pub async fn forget(tx: &mut Tx, before: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query(FORGET).bind(before.0).execute(c).await.map(|r| r.rows_affected()))
}
