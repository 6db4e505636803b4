//! Key frames of attempts in review: small pictures, sealed with the person's key. Whoever ends a
//! review deletes them ([`super::verifications::review`], [`super::verifications::lapse_review`]).

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::{SubjectId, VerificationId};
use crate::domain::key_frame::View;

sql! {
    const INSERT: &str = "INSERT INTO key_frames (verification_id, attempt, n, view, t_ms, sealed)
        VALUES ($1, $2, $3, $4, $5, $6)";
    const LIST: &str = "SELECT n, view, t_ms FROM key_frames
        WHERE verification_id = $1 AND attempt = $2 ORDER BY n";
    const SEALED: &str = "SELECT sealed FROM key_frames
        WHERE verification_id = $1 AND attempt = $2 AND n = $3";
    const DELETE: &str = "DELETE FROM key_frames WHERE verification_id = $1";
    const DELETE_OF: &str = "DELETE FROM key_frames WHERE verification_id IN
        (SELECT id FROM verifications WHERE subject = $1)";
    const DELETE_SETTLED: &str = "DELETE FROM key_frames WHERE NOT EXISTS
        (SELECT 1 FROM verifications v WHERE v.id = key_frames.verification_id
            AND v.attempt = key_frames.attempt AND v.state = 'review')";
    const DELETE_ALL: &str = "DELETE FROM key_frames";
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

/// Keeps a key frame of an attempt.
pub async fn insert(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    frame: &KeyFrame,
    sealed: &[u8],
) -> Result<()> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(i64::from(frame.n))
        .bind(frame.view.name())
        .bind(frame.t_ms)
        .bind(sealed)
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

/// Deletes those of attempts that are not in review (any more), which nobody should have left;
/// returns how many.
pub async fn delete_settled(tx: &mut Tx) -> Result<u64> {
    on!(tx, |c| sqlx::query(DELETE_SETTLED).execute(c).await.map(|r| r.rows_affected()))
}

/// Deletes all; returns how many.
pub async fn delete_all(tx: &mut Tx) -> Result<u64> {
    on!(tx, |c| sqlx::query(DELETE_ALL).execute(c).await.map(|r| r.rows_affected()))
}
