//! Grants to single people, and how often a grant was used.

use sqlx::FromRow;

use super::tx::{Tx, look, on, sql};
use super::{Result, rows};
use crate::domain::consent::{GrantRef, Used};
use crate::domain::ids::{CameoId, GrantId, RequestId};
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO grants
        (id, cameo_id, grantee_tag, grant_sealed, request_id, granted_ms, revoked_ms, log_index)
        VALUES ($1, $2, $3, $4, $5, $6, NULL, $7)";
    const GET: &str = "SELECT id, cameo_id, grantee_tag, grant_sealed, request_id, granted_ms,
            revoked_ms, log_index, revoked_log_index
        FROM grants WHERE id = $1";
    const STANDING_TO: &str = "SELECT id, cameo_id, grantee_tag, grant_sealed, request_id,
            granted_ms, revoked_ms, log_index, revoked_log_index
        FROM grants WHERE cameo_id = $1 AND grantee_tag = $2 AND revoked_ms IS NULL
        ORDER BY id DESC LIMIT 64";
    const OF_CAMEO: &str = "SELECT id, cameo_id, grantee_tag, grant_sealed, request_id,
            granted_ms, revoked_ms, log_index, revoked_log_index
        FROM grants WHERE cameo_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    const REVOKE: &str = "UPDATE grants SET revoked_ms = $2, revoked_log_index = $3
        WHERE id = $1 AND revoked_ms IS NULL";
    const REVOKE_ALL: &str = "UPDATE grants SET revoked_ms = $2
        WHERE cameo_id = $1 AND revoked_ms IS NULL";
    const USED: &str = "SELECT total, day, today FROM grant_uses
        WHERE cameo_id = $1 AND grant_id = $2";
    const COUNT: &str = "INSERT INTO grant_uses (cameo_id, grant_id, total, day, today)
        VALUES ($1, $2, 1, $3, 1)
        ON CONFLICT (cameo_id, grant_id) DO UPDATE SET
            total = grant_uses.total + 1,
            today = CASE WHEN grant_uses.day = excluded.day THEN grant_uses.today + 1 ELSE 1 END,
            day = excluded.day";
    const FORGET_USED: &str = "DELETE FROM grant_uses WHERE cameo_id = $1 AND grant_id = $2";
}

/// A grant to one person.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredGrant {
    /// Its id.
    pub id: GrantId,
    /// Whose cameo it is about.
    pub cameo: CameoId,
    /// Finds the grants to one person: a hash under a key of the cameo's person.
    pub grantee_tag: [u8; 32],
    /// Whom it is for and what it covers, sealed with the person's key.
    pub grant_sealed: Vec<u8>,
    /// The request that it answers.
    pub request: Option<RequestId>,
    /// When it was given.
    pub granted: Millis,
    /// When it was taken back, where it was.
    pub revoked: Option<Millis>,
    /// The log's entry about it.
    pub log_index: u64,
    /// The log's entry about its being taken back by itself; where consent was withdrawn, the entry
    /// about that says it.
    pub revoked_log_index: Option<u64>,
}

impl std::fmt::Debug for StoredGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredGrant({} of {})", self.id, self.cameo)
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    cameo_id: String,
    grantee_tag: Vec<u8>,
    grant_sealed: Vec<u8>,
    request_id: Option<String>,
    granted_ms: i64,
    revoked_ms: Option<i64>,
    log_index: i64,
    revoked_log_index: Option<i64>,
}

impl Row {
    fn parse(self) -> Result<StoredGrant> {
        Ok(StoredGrant {
            id: rows::parse("grants.id", &self.id)?,
            cameo: rows::parse("grants.cameo_id", &self.cameo_id)?,
            grantee_tag: rows::array("grants.grantee_tag", &self.grantee_tag)?,
            grant_sealed: self.grant_sealed,
            request: rows::parse_opt("grants.request_id", self.request_id.as_deref())?,
            granted: Millis(self.granted_ms),
            revoked: self.revoked_ms.map(Millis),
            log_index: rows::count("grants.log_index", self.log_index)?,
            revoked_log_index: self
                .revoked_log_index
                .map(|i| rows::count("grants.revoked_log_index", i))
                .transpose()?,
        })
    }
}

/// Adds a grant. The log's entry must be there already (same transaction).
///
/// # Errors
/// [`Conflict`](super::Error::Conflict) where the id is taken.
pub async fn insert(tx: &mut Tx, grant: &StoredGrant) -> Result<()> {
    let log_index = rows::integer("grants.log_index", grant.log_index)?;
    on!(tx, |c| sqlx::query(INSERT)
        .bind(grant.id.as_str())
        .bind(grant.cameo.as_str())
        .bind(&grant.grantee_tag[..])
        .bind(&grant.grant_sealed)
        .bind(grant.request.as_ref().map(RequestId::as_str))
        .bind(grant.granted.0)
        .bind(log_index)
        .execute(c)
        .await
        .map(|_| ()))
}

/// The grant of this id, revoked or not.
pub async fn get(tx: &mut Tx, id: &GrantId) -> Result<Option<StoredGrant>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// The grants to one person that were not taken back; of more than 64, the newest.
pub async fn to(tx: &mut Tx, cameo: &CameoId, tag: &[u8; 32]) -> Result<Vec<StoredGrant>> {
    look!(tx, |c| sqlx::query_as::<_, Row>(STANDING_TO)
        .bind(cameo.as_str())
        .bind(&tag[..])
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// A cameo's grants, revoked or not, in the order in which they were given; `after` is the last one
/// of the page before.
pub async fn of_cameo(
    tx: &mut Tx,
    cameo: &CameoId,
    after: Option<&GrantId>,
    limit: u32,
) -> Result<Vec<StoredGrant>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(OF_CAMEO)
        .bind(cameo.as_str())
        .bind(after.map_or("", GrantId::as_str))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// Takes a grant back; `false` where it wasn't there or was taken back before. The log's entry must be
/// there already (same transaction).
pub async fn revoke(tx: &mut Tx, id: &GrantId, now: Millis, log_index: u64) -> Result<bool> {
    let log_index = rows::integer("grants.revoked_log_index", log_index)?;
    on!(tx, |c| sqlx::query(REVOKE)
        .bind(id.as_str())
        .bind(now.0)
        .bind(log_index)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Takes all grants of a cameo back, and says how many there were.
pub async fn revoke_all(tx: &mut Tx, cameo: &CameoId, now: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query(REVOKE_ALL)
        .bind(cameo.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected()))
}

/// How often a grant was used until now and on this day (days of UTC since 1970).
pub async fn used(tx: &mut Tx, cameo: &CameoId, grant: &GrantRef, day: i64) -> Result<Used> {
    let row = look!(tx, |c| sqlx::query_as::<_, (i64, i64, i64)>(USED)
        .bind(cameo.as_str())
        .bind(grant.name())
        .fetch_optional(c)
        .await)?;
    let Some((total, stored_day, today)) = row else { return Ok(Used::default()) };
    let total = rows::count("grant_uses.total", total)?;
    let today: u64 = rows::count("grant_uses.today", today)?;
    // A clock that went back must not give uses back: a later day counts as today.
    Ok(Used { total, today: if stored_day >= day { today } else { 0 } })
}

/// Counts a use. Only under the log's head, so that no two read the same number.
pub async fn count(tx: &mut Tx, cameo: &CameoId, grant: &GrantRef, day: i64) -> Result<()> {
    on!(tx, |c| sqlx::query(COUNT)
        .bind(cameo.as_str())
        .bind(grant.name())
        .bind(day)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Starts counting a grant's uses anew.
pub async fn forget_used(tx: &mut Tx, cameo: &CameoId, grant: &GrantRef) -> Result<()> {
    on!(tx, |c| sqlx::query(FORGET_USED)
        .bind(cameo.as_str())
        .bind(grant.name())
        .execute(c)
        .await
        .map(|_| ()))
}
