//! Who follows each other, as the app said: pairs, each once, in the order of their ids.

use super::Result;
use super::tx::{Tx, look, on, sql};
use crate::domain::ids::SubjectId;
use crate::env::Millis;

sql! {
    const ADD: &str = "INSERT INTO mutuals (one, other, at_ms) VALUES ($1, $2, $3)
        ON CONFLICT (one, other) DO UPDATE SET at_ms = excluded.at_ms";
    const REMOVE: &str = "DELETE FROM mutuals WHERE one = $1 AND other = $2";
    const FIND: &str = "SELECT at_ms FROM mutuals WHERE one = $1 AND other = $2";
    const FORGET: &str = "DELETE FROM mutuals WHERE one = $1 OR other = $1";
    const OF: &str = "SELECT one, other FROM mutuals WHERE one = $1 OR other = $1
        ORDER BY one, other LIMIT $2";
}

/// Says whether two people follow each other. Somebody and themselves are no pair: nothing is kept.
pub async fn set(
    tx: &mut Tx,
    a: &SubjectId,
    b: &SubjectId,
    mutual: bool,
    now: Millis,
) -> Result<()> {
    let Some((one, other)) = pair(a, b) else { return Ok(()) };
    if mutual {
        on!(tx, |c| sqlx::query(ADD)
            .bind(one.as_str())
            .bind(other.as_str())
            .bind(now.0)
            .execute(c)
            .await
            .map(|_| ()))
    } else {
        on!(tx, |c| sqlx::query(REMOVE)
            .bind(one.as_str())
            .bind(other.as_str())
            .execute(c)
            .await
            .map(|_| ()))
    }
}

/// Whether the app said that two people follow each other.
pub async fn mutual(tx: &mut Tx, a: &SubjectId, b: &SubjectId) -> Result<bool> {
    let Some((one, other)) = pair(a, b) else { return Ok(false) };
    Ok(look!(tx, |c| sqlx::query_scalar::<_, i64>(FIND)
        .bind(one.as_str())
        .bind(other.as_str())
        .fetch_optional(c)
        .await)?
    .is_some())
}

/// The pairs that a person is in, at most `limit`.
pub async fn of(tx: &mut Tx, person: &SubjectId, limit: u32) -> Result<Vec<(String, String)>> {
    on!(tx, |c| sqlx::query_as::<_, (String, String)>(OF)
        .bind(person.as_str())
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)
}

/// Forgets every pair that a person is in.
pub async fn forget(tx: &mut Tx, person: &SubjectId) -> Result<u64> {
    on!(tx, |c| sqlx::query(FORGET)
        .bind(person.as_str())
        .execute(c)
        .await
        .map(|r| r.rows_affected()))
}

fn pair<'a>(a: &'a SubjectId, b: &'a SubjectId) -> Option<(&'a SubjectId, &'a SubjectId)> {
    match a.cmp(b) {
        std::cmp::Ordering::Less => Some((a, b)),
        std::cmp::Ordering::Greater => Some((b, a)),
        std::cmp::Ordering::Equal => None,
    }
}
