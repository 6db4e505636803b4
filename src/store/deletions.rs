//! Certificates of deletion: what was destroyed of a cameo, when and why. They name nobody.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::CameoId;
use crate::domain::uses::DeletionReason;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO deletions (cameo_id, reason, certificate, at_ms, log_index)
        VALUES ($1, $2, $3, $4, $5)";
    const GET: &str = "SELECT cameo_id, reason, certificate, at_ms, log_index FROM deletions
        WHERE cameo_id = $1";
    const WITHDRAWN: &str = "SELECT c.id FROM cameos c JOIN consents k ON k.cameo_id = c.id
        WHERE c.state = 'active' AND c.created_ms <= $1 AND k.kind = 'withdrawn' AND k.at_ms <= $1
            AND k.version = (SELECT MAX(l.version) FROM consents l WHERE l.cameo_id = c.id)
        ORDER BY c.created_ms LIMIT $2";
    const UNUSED: &str = "SELECT c.id FROM cameos c
        WHERE c.state = 'active' AND c.created_ms <= $1
            AND NOT EXISTS (SELECT 1 FROM consents k WHERE k.cameo_id = c.id)
        ORDER BY c.created_ms LIMIT $2";
    const INACTIVE: &str = "SELECT c.id FROM cameos c
        WHERE c.state = 'active' AND c.created_ms <= $1
            AND NOT EXISTS (SELECT 1 FROM consents k WHERE k.cameo_id = c.id AND k.at_ms > $1)
            AND NOT EXISTS (SELECT 1 FROM templates t WHERE t.cameo_id = c.id AND t.created_ms > $1)
        ORDER BY c.created_ms LIMIT $2";
}

/// One deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The cameo.
    pub cameo: CameoId,
    /// Why.
    pub reason: DeletionReason,
    /// The signed certificate.
    pub certificate: Vec<u8>,
    /// When.
    pub at: Millis,
    /// The log's entry about it.
    pub log_index: u64,
}

#[derive(FromRow)]
struct Row {
    cameo_id: String,
    reason: String,
    certificate: Vec<u8>,
    at_ms: i64,
    log_index: i64,
}

/// Keeps a certificate. The log's entry must be there already (same transaction).
///
/// # Errors
/// [`super::Error::Conflict`] where the cameo has one.
pub async fn insert(tx: &mut Tx, d: &Deletion) -> Result<()> {
    let log_index = rows::integer("deletions.log_index", d.log_index)?;
    on!(tx, |c| sqlx::query(INSERT)
        .bind(d.cameo.as_str())
        .bind(d.reason.name())
        .bind(&d.certificate)
        .bind(d.at.0)
        .bind(log_index)
        .execute(c)
        .await
        .map(|_| ()))
}

/// The certificate of a cameo.
pub async fn get(tx: &mut Tx, cameo: &CameoId) -> Result<Option<Deletion>> {
    let row =
        on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(cameo.as_str()).fetch_optional(c).await)?;
    row.map(|r| {
        Ok(Deletion {
            cameo: rows::parse("deletions.cameo_id", &r.cameo_id)?,
            reason: rows::parse("deletions.reason", &r.reason)?,
            certificate: r.certificate,
            at: Millis(r.at_ms),
            log_index: rows::count("deletions.log_index", r.log_index)?,
        })
    })
    .transpose()
}

/// Cameos whose consent was withdrawn before `before` and not given again.
pub async fn withdrawn(tx: &mut Tx, before: Millis, limit: u32) -> Result<Vec<CameoId>> {
    due(tx, WITHDRAWN, before, limit).await
}

/// Cameos that were enrolled before `before` and for which no consent was ever given.
pub async fn unused(tx: &mut Tx, before: Millis, limit: u32) -> Result<Vec<CameoId>> {
    due(tx, UNUSED, before, limit).await
}

/// Cameos whose person has neither enrolled nor said anything since `before`.
pub async fn inactive(tx: &mut Tx, before: Millis, limit: u32) -> Result<Vec<CameoId>> {
    due(tx, INACTIVE, before, limit).await
}

async fn due(tx: &mut Tx, sql: &'static str, before: Millis, limit: u32) -> Result<Vec<CameoId>> {
    let ids = on!(tx, |c| sqlx::query_scalar::<_, String>(sql)
        .bind(before.0)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?;
    ids.iter().map(|id| rows::parse("cameos.id", id)).collect()
}
