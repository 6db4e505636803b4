//! Answers kept under their Idempotency-Key (IETF draft), so that a repeated call gets the first
//! one's answer and has no second effect.
//!
//! [`begin`] runs in a transaction of its own; [`finish`] in the one that has the effect, so that
//! effect and answer hold together or not at all.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Error, Result, rows};
use crate::env::Millis;

sql! {
    const BEGIN: &str = "INSERT INTO idempotency
        (scope, key, request_hash, state, owner, lease_until_ms, created_ms)
        VALUES ($1, $2, $3, 'in_flight', $4, $5, $6) ON CONFLICT (scope, key) DO NOTHING";
    const GET: &str = "SELECT request_hash, state, status, content_type, body, lease_until_ms
        FROM idempotency WHERE scope = $1 AND key = $2";
    const TAKE_OVER: &str = "UPDATE idempotency SET owner = $3, lease_until_ms = $4
        WHERE scope = $1 AND key = $2 AND state = 'in_flight' AND lease_until_ms <= $5";
    const FINISH: &str = "UPDATE idempotency
        SET state = 'done', status = $4, content_type = $5, body = $6
        WHERE scope = $1 AND key = $2 AND owner = $3 AND state = 'in_flight'";
    const ABANDON: &str = "DELETE FROM idempotency
        WHERE scope = $1 AND key = $2 AND owner = $3 AND state = 'in_flight'";
    const EXPIRE: &str = "DELETE FROM idempotency WHERE created_ms < $1
        AND (state = 'done' OR lease_until_ms < $1)";
}

/// A call that carries an Idempotency-Key.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whose key it is, and for what: API key id and route.
    pub scope: &'a str,
    /// The key as the caller chose it.
    pub key: &'a str,
    /// SHA-256 of the request.
    pub request_hash: &'a [u8; 32],
    /// A name that this one execution of the call has for itself alone.
    pub owner: &'a str,
}

/// The kept answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body.
    pub content_type: String,
    /// The body, sealed or not as the caller of the store likes.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({}, {}, {} bytes)", self.status, self.content_type, self.body.len())
    }
}

/// What to do with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Carry it out: it is new, or whoever had it let its lease run out.
    Run,
    /// The first one is still under way.
    InFlight,
    /// The key was used for another request.
    Mismatch,
    /// Answer this.
    Done(Response),
}

#[derive(FromRow)]
struct Row {
    request_hash: Vec<u8>,
    state: String,
    status: Option<i64>,
    content_type: Option<String>,
    body: Option<Vec<u8>>,
    lease_until_ms: i64,
}

/// Claims a call until `lease_until`, or tells what became of it. Of several that come at once, one
/// gets [`Begun::Run`].
pub async fn begin(
    tx: &mut Tx,
    call: &Call<'_>,
    now: Millis,
    lease_until: Millis,
) -> Result<Begun> {
    let inserted = on!(tx, |c| sqlx::query(BEGIN)
        .bind(call.scope)
        .bind(call.key)
        .bind(&call.request_hash[..])
        .bind(call.owner)
        .bind(lease_until.0)
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if inserted {
        return Ok(Begun::Run);
    }
    let row = on!(tx, |c| sqlx::query_as::<_, Row>(GET)
        .bind(call.scope)
        .bind(call.key)
        .fetch_optional(c)
        .await)?;
    // Abandoned between the two statements: the caller comes again.
    let Some(row) = row else { return Ok(Begun::InFlight) };
    if rows::array::<32>("idempotency.request_hash", &row.request_hash)? != *call.request_hash {
        return Ok(Begun::Mismatch);
    }
    let held = row.lease_until_ms > now.0;
    if let Some(response) = done(row)? {
        return Ok(Begun::Done(response));
    }
    if held {
        return Ok(Begun::InFlight);
    }
    let ours = on!(tx, |c| sqlx::query(TAKE_OVER)
        .bind(call.scope)
        .bind(call.key)
        .bind(call.owner)
        .bind(lease_until.0)
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    Ok(if ours { Begun::Run } else { Begun::InFlight })
}

/// The answer of a call that was carried out; nothing is claimed or written.
pub async fn kept(
    tx: &mut Tx,
    scope: &str,
    key: &str,
    request_hash: &[u8; 32],
) -> Result<Option<Response>> {
    let row =
        on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(scope).bind(key).fetch_optional(c).await)?;
    let Some(row) = row else { return Ok(None) };
    if rows::array::<32>("idempotency.request_hash", &row.request_hash)? != *request_hash {
        return Ok(None);
    }
    done(row)
}

/// The answer in a row; `None` while the call is under way.
fn done(row: Row) -> Result<Option<Response>> {
    match (row.state.as_str(), row.status, row.content_type, row.body) {
        ("done", Some(status), Some(content_type), Some(body)) => Ok(Some(Response {
            status: rows::count("idempotency.status", status)?,
            content_type,
            body,
        })),
        ("in_flight", ..) => Ok(None),
        _ => Err(Error::Corrupt { what: "idempotency.state" }),
    }
}

/// Keeps the answer. `false` where somebody else took the call over: then the effect must not be
/// committed either.
pub async fn finish(tx: &mut Tx, call: &Call<'_>, response: &Response) -> Result<bool> {
    on!(tx, |c| sqlx::query(FINISH)
        .bind(call.scope)
        .bind(call.key)
        .bind(call.owner)
        .bind(i64::from(response.status))
        .bind(&response.content_type)
        .bind(&response.body)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Gives a call up, so that it can be made again: it failed without effect.
pub async fn abandon(tx: &mut Tx, call: &Call<'_>) -> Result<()> {
    on!(tx, |c| sqlx::query(ABANDON)
        .bind(call.scope)
        .bind(call.key)
        .bind(call.owner)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Forgets calls from before `before`; returns how many.
pub async fn expire(tx: &mut Tx, before: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query(EXPIRE).bind(before.0).execute(c).await.map(|r| r.rows_affected()))
}
