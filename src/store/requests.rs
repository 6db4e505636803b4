//! Requests to use a cameo, and who may not ask any more.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::{CameoId, RequestId};
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO requests
        (id, cameo_id, requester_tag, asker_tag, wish_sealed, state, created_ms, expires_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    const GET: &str = "SELECT id, cameo_id, requester_tag, asker_tag, wish_sealed, state, created_ms,
            expires_ms, decided_ms
        FROM requests WHERE id = $1";
    const OPEN_OF_PAIR: &str = "SELECT id, cameo_id, requester_tag, asker_tag, wish_sealed, state,
            created_ms, expires_ms, decided_ms
        FROM requests WHERE cameo_id = $1 AND requester_tag = $2 AND decided_ms IS NULL
            AND expires_ms > $3
        ORDER BY id DESC LIMIT 1";
    const SHOWN: &str = "SELECT id, cameo_id, requester_tag, asker_tag, wish_sealed, state,
            created_ms, expires_ms, decided_ms
        FROM requests WHERE cameo_id = $1 AND id > $2 AND state <> 'silent' ORDER BY id LIMIT $3";
    const OPEN: &str = "SELECT id, cameo_id, requester_tag, asker_tag, wish_sealed, state,
            created_ms, expires_ms, decided_ms
        FROM requests WHERE cameo_id = $1 AND id > $2 AND state = 'pending' AND expires_ms > $4
        ORDER BY id LIMIT $3";
    const COUNT_PAIR: &str = "SELECT COUNT(*), MIN(created_ms) FROM requests
        WHERE cameo_id = $1 AND requester_tag = $2 AND created_ms > $3";
    const COUNT_ASKER: &str = "SELECT COUNT(*), MIN(created_ms) FROM requests
        WHERE asker_tag = $1 AND created_ms > $2";
    const COUNT_OPEN: &str = "SELECT COUNT(*), MIN(expires_ms) FROM requests
        WHERE cameo_id = $1 AND decided_ms IS NULL AND expires_ms > $2";
    const DECIDE: &str = "UPDATE requests SET state = $2, decided_ms = $3
        WHERE id = $1 AND state = 'pending' AND expires_ms > $3";
    const DELETE_OLD: &str = "DELETE FROM requests WHERE expires_ms < $1 AND state <> 'approved'";
    const MUTE: &str = "INSERT INTO mutes (cameo_id, requester_tag, until_ms) VALUES ($1, $2, $3)
        ON CONFLICT (cameo_id, requester_tag) DO UPDATE SET until_ms = excluded.until_ms";
    const UNMUTE: &str = "DELETE FROM mutes WHERE cameo_id = $1 AND requester_tag = $2";
    const MUTED: &str = "SELECT COUNT(*) FROM mutes WHERE cameo_id = $1
        AND (requester_tag = $2 OR length(requester_tag) = 0)
        AND (until_ms IS NULL OR until_ms > $3)";
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// It waits for the person.
    Pending,
    /// It waits too, as far as the requester can tell, but the person never sees it.
    Silent,
    /// The person gave a grant.
    Approved,
    /// The person gave none.
    Declined,
}

impl RequestState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Silent, Self::Approved, Self::Declined];

    /// The name used in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Silent => "silent",
            Self::Approved => "approved",
            Self::Declined => "declined",
        }
    }
}

impl std::str::FromStr for RequestState {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|v| v.name() == s).ok_or(())
    }
}

/// A request to use a cameo.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// Its id.
    pub id: RequestId,
    /// The cameo.
    pub cameo: CameoId,
    /// Finds one person's requests to another: a hash under a key of the cameo's person.
    pub requester_tag: [u8; 32],
    /// Finds all requests of one person: a hash under a key of the service.
    pub asker_tag: [u8; 32],
    /// Who asks for what, sealed with the key of the cameo's person.
    pub wish_sealed: Vec<u8>,
    /// Where it stands.
    pub state: RequestState,
    /// When it was made.
    pub created: Millis,
    /// When it lapses if nobody decides.
    pub expires: Millis,
    /// When the person decided.
    pub decided: Option<Millis>,
}

impl std::fmt::Debug for StoredRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredRequest({} of {})", self.id, self.cameo)
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    cameo_id: String,
    requester_tag: Vec<u8>,
    asker_tag: Vec<u8>,
    wish_sealed: Vec<u8>,
    state: String,
    created_ms: i64,
    expires_ms: i64,
    decided_ms: Option<i64>,
}

impl Row {
    fn parse(self) -> Result<StoredRequest> {
        Ok(StoredRequest {
            id: rows::parse("requests.id", &self.id)?,
            cameo: rows::parse("requests.cameo_id", &self.cameo_id)?,
            requester_tag: rows::array("requests.requester_tag", &self.requester_tag)?,
            asker_tag: rows::array("requests.asker_tag", &self.asker_tag)?,
            wish_sealed: self.wish_sealed,
            state: rows::parse("requests.state", &self.state)?,
            created: Millis(self.created_ms),
            expires: Millis(self.expires_ms),
            decided: self.decided_ms.map(Millis),
        })
    }
}

/// Adds a request.
///
/// # Errors
/// [`Conflict`](super::Error::Conflict) where the id is taken.
pub async fn insert(tx: &mut Tx, request: &StoredRequest) -> Result<()> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(request.id.as_str())
        .bind(request.cameo.as_str())
        .bind(&request.requester_tag[..])
        .bind(&request.asker_tag[..])
        .bind(&request.wish_sealed)
        .bind(request.state.name())
        .bind(request.created.0)
        .bind(request.expires.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// The request of this id.
pub async fn get(tx: &mut Tx, id: &RequestId) -> Result<Option<StoredRequest>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// The newest request of one person for a cameo that is neither decided nor lapsed.
pub async fn open_of_pair(
    tx: &mut Tx,
    cameo: &CameoId,
    tag: &[u8; 32],
    now: Millis,
) -> Result<Option<StoredRequest>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(OPEN_OF_PAIR)
        .bind(cameo.as_str())
        .bind(&tag[..])
        .bind(now.0)
        .fetch_optional(c)
        .await)?
    .map(Row::parse)
    .transpose()
}

/// A cameo's requests as the person sees them, in the order in which they came: with `open_at`,
/// those that wait for a decision then; `after` is the last one of the page before.
pub async fn shown(
    tx: &mut Tx,
    cameo: &CameoId,
    open_at: Option<Millis>,
    after: Option<&RequestId>,
    limit: u32,
) -> Result<Vec<StoredRequest>> {
    let after = after.map_or("", RequestId::as_str);
    let rows = match open_at {
        None => on!(tx, |c| sqlx::query_as::<_, Row>(SHOWN)
            .bind(cameo.as_str())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await)?,
        Some(now) => on!(tx, |c| sqlx::query_as::<_, Row>(OPEN)
            .bind(cameo.as_str())
            .bind(after)
            .bind(i64::from(limit))
            .bind(now.0)
            .fetch_all(c)
            .await)?,
    };
    rows.into_iter().map(Row::parse).collect()
}

/// How many there are, and the earliest time of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub n: u64,
    /// When the first of them was made (of open ones: when the first lapses).
    pub first: Option<Millis>,
}

fn count((n, first): (i64, Option<i64>)) -> Result<Count> {
    Ok(Count { n: rows::count("requests.count", n)?, first: first.map(Millis) })
}

/// Requests of one person for a cameo since then.
pub async fn count_of_pair(
    tx: &mut Tx,
    cameo: &CameoId,
    tag: &[u8; 32],
    since: Millis,
) -> Result<Count> {
    count(on!(tx, |c| sqlx::query_as::<_, (i64, Option<i64>)>(COUNT_PAIR)
        .bind(cameo.as_str())
        .bind(&tag[..])
        .bind(since.0)
        .fetch_one(c)
        .await)?)
}

/// Requests of one person for any cameo since then.
pub async fn count_of_asker(tx: &mut Tx, tag: &[u8; 32], since: Millis) -> Result<Count> {
    count(on!(tx, |c| sqlx::query_as::<_, (i64, Option<i64>)>(COUNT_ASKER)
        .bind(&tag[..])
        .bind(since.0)
        .fetch_one(c)
        .await)?)
}

/// Requests for a cameo that are neither decided nor lapsed.
pub async fn count_open(tx: &mut Tx, cameo: &CameoId, now: Millis) -> Result<Count> {
    count(on!(tx, |c| sqlx::query_as::<_, (i64, Option<i64>)>(COUNT_OPEN)
        .bind(cameo.as_str())
        .bind(now.0)
        .fetch_one(c)
        .await)?)
}

/// Decides on a pending request; `false` where it is not pending any more, or has lapsed.
pub async fn decide(tx: &mut Tx, id: &RequestId, state: RequestState, now: Millis) -> Result<bool> {
    on!(tx, |c| sqlx::query(DECIDE)
        .bind(id.as_str())
        .bind(state.name())
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Deletes requests that lapsed before then and led to no grant.
pub async fn delete_old(tx: &mut Tx, before: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query(DELETE_OLD).bind(before.0).execute(c).await.map(|r| r.rows_affected()))
}

/// Lets one person, or with `None` everybody, ask in vain from now on, for ever or until then.
pub async fn mute(
    tx: &mut Tx,
    cameo: &CameoId,
    tag: Option<&[u8; 32]>,
    until: Option<Millis>,
) -> Result<()> {
    on!(tx, |c| sqlx::query(MUTE)
        .bind(cameo.as_str())
        .bind(tag.map_or(&[][..], |t| &t[..]))
        .bind(until.map(|u| u.0))
        .execute(c)
        .await
        .map(|_| ()))
}

/// Ends a mute.
pub async fn unmute(tx: &mut Tx, cameo: &CameoId, tag: Option<&[u8; 32]>) -> Result<()> {
    on!(tx, |c| sqlx::query(UNMUTE)
        .bind(cameo.as_str())
        .bind(tag.map_or(&[][..], |t| &t[..]))
        .execute(c)
        .await
        .map(|_| ()))
}

/// Whether one person asks in vain.
pub async fn is_muted(tx: &mut Tx, cameo: &CameoId, tag: &[u8; 32], now: Millis) -> Result<bool> {
    let n = on!(tx, |c| sqlx::query_scalar::<_, i64>(MUTED)
        .bind(cameo.as_str())
        .bind(&tag[..])
        .bind(now.0)
        .fetch_one(c)
        .await)?;
    Ok(n > 0)
}
