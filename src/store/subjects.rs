//! What the service keeps of a person: a pseudonym, and the wrapped key that everything of theirs
//! is sealed with. Deleting the row makes all of it unreadable.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Error, Result, rows};
use crate::domain::ids::SubjectId;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO subjects
        (subject, subject_ref, wrapped_key, key_version, created_ms)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (subject) DO NOTHING";
    const GET: &str = "SELECT subject, subject_ref, wrapped_key, key_version, created_ms
        FROM subjects WHERE subject = $1";
    const GET_BY_REF: &str = "SELECT subject, subject_ref, wrapped_key, key_version, created_ms
        FROM subjects WHERE subject_ref = $1";
    const AFTER: &str = "SELECT subject, subject_ref, wrapped_key, key_version, created_ms
        FROM subjects WHERE subject > $1 ORDER BY subject LIMIT $2";
    const REWRAP: &str = "UPDATE subjects SET wrapped_key = $3
        WHERE subject = $1 AND wrapped_key = $2";
    const DELETE: &str = "DELETE FROM subjects WHERE subject = $1";
}

/// One person.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    /// The app's name for them.
    pub subject: SubjectId,
    /// Our name for them, random: what other records may carry.
    pub subject_ref: [u8; 16],
    /// Their key, wrapped by the master key.
    pub wrapped_key: Vec<u8>,
    /// The version of their key; which master key wrapped it, the wrapping itself says.
    pub key_version: u32,
    /// When they first came.
    pub created: Millis,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subject(…, key version {})", self.key_version)
    }
}

#[derive(FromRow)]
struct Row {
    subject: String,
    subject_ref: Vec<u8>,
    wrapped_key: Vec<u8>,
    key_version: i64,
    created_ms: i64,
}

impl Row {
    fn parse(self) -> Result<Subject> {
        Ok(Subject {
            subject: rows::parse("subjects.subject", &self.subject)?,
            subject_ref: rows::array("subjects.subject_ref", &self.subject_ref)?,
            wrapped_key: self.wrapped_key,
            key_version: rows::count("subjects.key_version", self.key_version)?,
            created: Millis(self.created_ms),
        })
    }
}

/// The person of this name.
pub async fn get(tx: &mut Tx, subject: &SubjectId) -> Result<Option<Subject>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(subject.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// The person behind a pseudonym.
pub async fn get_by_ref(tx: &mut Tx, subject_ref: &[u8; 16]) -> Result<Option<Subject>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET_BY_REF)
        .bind(&subject_ref[..])
        .fetch_optional(c)
        .await)?
    .map(Row::parse)
    .transpose()
}

/// The person as they are stored: `fresh` if they are new. Of several that come at once, one wins
/// and all get the same.
pub async fn get_or_insert(tx: &mut Tx, fresh: &Subject) -> Result<Subject> {
    if let Some(known) = get(tx, &fresh.subject).await? {
        return Ok(known);
    }
    on!(tx, |c| sqlx::query(INSERT)
        .bind(fresh.subject.as_str())
        .bind(&fresh.subject_ref[..])
        .bind(&fresh.wrapped_key)
        .bind(i64::from(fresh.key_version))
        .bind(fresh.created.0)
        .execute(c)
        .await
        .map(|_| ()))?;
    get(tx, &fresh.subject).await?.ok_or_else(|| Error::conflict("subjects"))
}

/// People in the order of their names, after one of them, at most `limit`.
pub async fn after(tx: &mut Tx, subject: &str, limit: u32) -> Result<Vec<Subject>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(AFTER)
        .bind(subject)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// Replaces the wrapped key; `false` where it is no longer `old`.
pub async fn rewrap(tx: &mut Tx, subject: &SubjectId, old: &[u8], new: &[u8]) -> Result<bool> {
    on!(tx, |c| sqlx::query(REWRAP)
        .bind(subject.as_str())
        .bind(old)
        .bind(new)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Forgets a person and their key; `false` where nobody has this name.
pub async fn delete(tx: &mut Tx, subject: &SubjectId) -> Result<bool> {
    on!(tx, |c| sqlx::query(DELETE)
        .bind(subject.as_str())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}
