//! Faces that nobody may enrol, sealed: each under a key of its own, which the master key wraps.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::ProtectedId;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO protected_faces (id, wrapped_key, sealed, created_ms)
        VALUES ($1, $2, $3, $4)";
    const AFTER: &str = "SELECT id, wrapped_key, sealed, created_ms FROM protected_faces
        WHERE id > $1 ORDER BY id LIMIT $2";
    const GET: &str = "SELECT id, wrapped_key, sealed, created_ms FROM protected_faces
        WHERE id = $1";
    const REWRAP: &str = "UPDATE protected_faces SET wrapped_key = $3
        WHERE id = $1 AND wrapped_key = $2";
    const DELETE: &str = "DELETE FROM protected_faces WHERE id = $1";
}

/// One face.
#[derive(Clone, PartialEq, Eq)]
pub struct ProtectedFace {
    /// Its id.
    pub id: ProtectedId,
    /// Its key, wrapped by the master key.
    pub wrapped_key: Vec<u8>,
    /// Label and embedding, sealed with that key.
    pub sealed: Vec<u8>,
    /// When it was added.
    pub created: Millis,
}

impl std::fmt::Debug for ProtectedFace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProtectedFace({})", self.id)
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    wrapped_key: Vec<u8>,
    sealed: Vec<u8>,
    created_ms: i64,
}

impl Row {
    fn parse(self) -> Result<ProtectedFace> {
        Ok(ProtectedFace {
            id: rows::parse("protected_faces.id", &self.id)?,
            wrapped_key: self.wrapped_key,
            sealed: self.sealed,
            created: Millis(self.created_ms),
        })
    }
}

/// Adds a face.
pub async fn insert(tx: &mut Tx, face: &ProtectedFace) -> Result<()> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(face.id.as_str())
        .bind(&face.wrapped_key)
        .bind(&face.sealed)
        .bind(face.created.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// The face of this id.
pub async fn get(tx: &mut Tx, id: &ProtectedId) -> Result<Option<ProtectedFace>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// Faces in the order of their ids, after one of them, at most `limit`.
pub async fn after(tx: &mut Tx, id: &str, limit: u32) -> Result<Vec<ProtectedFace>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(AFTER).bind(id).bind(i64::from(limit)).fetch_all(c).await)?
        .into_iter()
        .map(Row::parse)
        .collect()
}

/// Replaces the wrapped key; `false` where it is no longer `old`.
pub async fn rewrap(tx: &mut Tx, id: &ProtectedId, old: &[u8], new: &[u8]) -> Result<bool> {
    on!(tx, |c| sqlx::query(REWRAP)
        .bind(id.as_str())
        .bind(old)
        .bind(new)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Forgets a face and its key; `false` where there is none.
pub async fn delete(tx: &mut Tx, id: &ProtectedId) -> Result<bool> {
    on!(tx, |c| sqlx::query(DELETE)
        .bind(id.as_str())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}
