//! Take-downs: a person objects to a use, and its generator has to act.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::{ApiKeyId, CameoId, TakedownId, UseId};
use crate::domain::uses::{TakedownReason, TakedownState};
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO takedowns
        (id, use_id, cameo_id, generator_key, state, reason, created_ms, deadline_ms)
        VALUES ($1, $2, $3, $4, 'open', $5, $6, $7) ON CONFLICT (use_id) DO NOTHING";
    const GET: &str = "SELECT id, use_id, cameo_id, generator_key, state, reason, created_ms,
            deadline_ms, acknowledged_ms, done_ms, escalated_ms
        FROM takedowns WHERE id = $1";
    const BY_USE: &str = "SELECT id, use_id, cameo_id, generator_key, state, reason, created_ms,
            deadline_ms, acknowledged_ms, done_ms, escalated_ms
        FROM takedowns WHERE use_id = $1";
    const BY_CAMEO: &str = "SELECT id, use_id, cameo_id, generator_key, state, reason, created_ms,
            deadline_ms, acknowledged_ms, done_ms, escalated_ms
        FROM takedowns WHERE cameo_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
    const BY_GENERATOR: &str = "SELECT id, use_id, cameo_id, generator_key, state, reason,
            created_ms, deadline_ms, acknowledged_ms, done_ms, escalated_ms
        FROM takedowns WHERE generator_key = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
    const ESCALATED: &str = "SELECT id, use_id, cameo_id, generator_key, state, reason,
            created_ms, deadline_ms, acknowledged_ms, done_ms, escalated_ms
        FROM takedowns WHERE state = 'escalated' AND id < $1 ORDER BY id DESC LIMIT $2";
    const OVERDUE: &str = "SELECT id, use_id, cameo_id, generator_key, state, reason,
            created_ms, deadline_ms, acknowledged_ms, done_ms, escalated_ms
        FROM takedowns WHERE state = 'open' AND deadline_ms <= $1 ORDER BY deadline_ms LIMIT $2";
    const ACKNOWLEDGE: &str = "UPDATE takedowns
        SET state = 'acknowledged', acknowledged_ms = COALESCE(acknowledged_ms, $2)
        WHERE id = $1 AND state IN ('open', 'escalated')";
    const DONE: &str = "UPDATE takedowns
        SET state = 'done', done_ms = $2, acknowledged_ms = COALESCE(acknowledged_ms, $2)
        WHERE id = $1 AND state <> 'done'";
    const ESCALATE: &str = "UPDATE takedowns SET state = 'escalated', escalated_ms = $2
        WHERE id = $1 AND state = 'open'";
}

/// One take-down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takedown {
    /// Its id.
    pub id: TakedownId,
    /// The use.
    pub use_id: UseId,
    /// Whose face it is.
    pub cameo: CameoId,
    /// Who has to act.
    pub generator: ApiKeyId,
    /// Where it stands.
    pub state: TakedownState,
    /// Why.
    pub reason: TakedownReason,
    /// When it was asked for.
    pub created: Millis,
    /// Until when the generator has to acknowledge it.
    pub deadline: Millis,
    /// When it did.
    pub acknowledged: Option<Millis>,
    /// When the video was gone.
    pub done: Option<Millis>,
    /// When it went to the operator, because the deadline was over.
    pub escalated: Option<Millis>,
}

#[derive(FromRow)]
struct Row {
    id: String,
    use_id: String,
    cameo_id: String,
    generator_key: String,
    state: String,
    reason: String,
    created_ms: i64,
    deadline_ms: i64,
    acknowledged_ms: Option<i64>,
    done_ms: Option<i64>,
    escalated_ms: Option<i64>,
}

impl Row {
    fn parse(self) -> Result<Takedown> {
        Ok(Takedown {
            id: rows::parse("takedowns.id", &self.id)?,
            use_id: rows::parse("takedowns.use_id", &self.use_id)?,
            cameo: rows::parse("takedowns.cameo_id", &self.cameo_id)?,
            generator: rows::parse("takedowns.generator_key", &self.generator_key)?,
            state: rows::parse("takedowns.state", &self.state)?,
            reason: rows::parse("takedowns.reason", &self.reason)?,
            created: Millis(self.created_ms),
            deadline: Millis(self.deadline_ms),
            acknowledged: self.acknowledged_ms.map(Millis),
            done: self.done_ms.map(Millis),
            escalated: self.escalated_ms.map(Millis),
        })
    }
}

/// Opens a take-down; `false` where there is one for this use already.
pub async fn insert(tx: &mut Tx, t: &Takedown) -> Result<bool> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(t.id.as_str())
        .bind(t.use_id.as_str())
        .bind(t.cameo.as_str())
        .bind(t.generator.as_str())
        .bind(t.reason.name())
        .bind(t.created.0)
        .bind(t.deadline.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// The take-down of this id.
pub async fn get(tx: &mut Tx, id: &TakedownId) -> Result<Option<Takedown>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// The take-down of a use.
pub async fn by_use(tx: &mut Tx, use_id: &UseId) -> Result<Option<Takedown>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(BY_USE).bind(use_id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// Those of a cameo, the newest first; `before` is the last one of the page before.
pub async fn by_cameo(
    tx: &mut Tx,
    cameo: &CameoId,
    before: Option<&TakedownId>,
    limit: u32,
) -> Result<Vec<Takedown>> {
    page(tx, BY_CAMEO, cameo.as_str(), before, limit).await
}

/// Those that a generator has to act on, the newest first.
pub async fn by_generator(
    tx: &mut Tx,
    generator: &ApiKeyId,
    before: Option<&TakedownId>,
    limit: u32,
) -> Result<Vec<Takedown>> {
    page(tx, BY_GENERATOR, generator.as_str(), before, limit).await
}

async fn page(
    tx: &mut Tx,
    sql: &'static str,
    whose: &str,
    before: Option<&TakedownId>,
    limit: u32,
) -> Result<Vec<Takedown>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(sql)
        .bind(whose)
        .bind(before.map_or(LAST, TakedownId::as_str))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// Those that nobody acknowledged in time, the newest first.
pub async fn escalated(
    tx: &mut Tx,
    before: Option<&TakedownId>,
    limit: u32,
) -> Result<Vec<Takedown>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(ESCALATED)
        .bind(before.map_or(LAST, TakedownId::as_str))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// Open ones whose deadline is over.
pub async fn overdue(tx: &mut Tx, now: Millis, limit: u32) -> Result<Vec<Takedown>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(OVERDUE)
        .bind(now.0)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// The generator has seen it; `false` where that was known.
pub async fn acknowledge(tx: &mut Tx, id: &TakedownId, at: Millis) -> Result<bool> {
    change(tx, ACKNOWLEDGE, id, at).await
}

/// The video is gone; `false` where that was known.
pub async fn done(tx: &mut Tx, id: &TakedownId, at: Millis) -> Result<bool> {
    change(tx, DONE, id, at).await
}

/// The deadline is over; `false` where it is not open any more.
pub async fn escalate(tx: &mut Tx, id: &TakedownId, at: Millis) -> Result<bool> {
    change(tx, ESCALATE, id, at).await
}

async fn change(tx: &mut Tx, sql: &'static str, id: &TakedownId, at: Millis) -> Result<bool> {
    on!(tx, |c| sqlx::query(sql)
        .bind(id.as_str())
        .bind(at.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Sorts behind every id.
const LAST: &str = "~";
