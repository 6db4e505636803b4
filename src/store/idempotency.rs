//! Answers kept under their Idempotency-Key (IETF draft), so that a repeated call gets the first
//! one's answer and has no second effect.
//!
//! [`begin`] runs in a transaction of its own; [`finish`] in the one that has the effect, so that
//! effect and answer hold together or not at all. Where nothing happens in between, the two are one:
//! [`kept`] before the effect and [`keep`] after it, in its transaction, under the log's head, so that
//! of several calls one has the effect and the others find its answer.

use std::collections::HashMap;

use sqlx::FromRow;

use super::dialect::Engine;
use super::tx::{Tx, in_chunks, look, many, on, sql};
use super::{Error, Result, rows};
use crate::env::Millis;

sql! {
    const BEGIN: &str = "INSERT INTO idempotency
        (scope, key, request_hash, state, owner, lease_until_ms, created_ms)
        VALUES ($1, $2, $3, 'in_flight', $4, $5, $6) ON CONFLICT (scope, key) DO NOTHING";
    const GET: &str = "SELECT request_hash, state, status, content_type, body, lease_until_ms
        FROM idempotency WHERE scope = $1 AND key = $2";
    const KEPT_SQLITE: &str = "SELECT i.scope, i.key, i.request_hash, i.state, i.status,
            i.content_type, i.body, i.lease_until_ms
        FROM json_each($1) w
        CROSS JOIN idempotency i ON i.scope = w.value ->> 0 AND i.key = w.value ->> 1";
    const KEPT_POSTGRES: &str = "SELECT i.scope, i.key, i.request_hash, i.state, i.status,
            i.content_type, i.body, i.lease_until_ms
        FROM json_array_elements($1::text::json) w (value)
        JOIN idempotency i ON i.scope = w.value ->> 0 AND i.key = w.value ->> 1";
    const KEEP: &str = "INSERT INTO idempotency
        (scope, key, request_hash, state, owner, lease_until_ms, created_ms, status, content_type,
         body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    const KEEP_16: &str = many!(KEEP, 16, 10);
    const KEEP_128: &str = many!(KEEP, 128, 10);
    const FORGET_LAPSED: &str = "DELETE FROM idempotency
        WHERE scope = $1 AND key = $2 AND state = 'in_flight' AND lease_until_ms <= $3";
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

/// What is kept under a scope and a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of the request that it answers.
    pub request_hash: [u8; 32],
    /// The answer; `None` while the call is under way.
    pub response: Option<Response>,
    /// Until when a call under way keeps others out.
    pub lease_until: Millis,
}

/// An answer on its way in.
#[derive(Debug)]
pub(super) struct NewAnswer {
    scope: String,
    key: String,
    request_hash: [u8; 32],
    owner: String,
    at: Millis,
    response: Response,
}

impl NewAnswer {
    pub(super) fn name(&self) -> (String, String) {
        (self.scope.clone(), self.key.clone())
    }

    pub(super) fn kept(&self) -> Kept {
        let response = Some(self.response.clone());
        Kept { request_hash: self.request_hash, response, lease_until: self.at }
    }
}

#[derive(FromRow)]
struct KeptRow {
    scope: String,
    key: String,
    #[sqlx(flatten)]
    row: Row,
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

impl Row {
    fn parse(self) -> Result<Kept> {
        let response = match (self.state.as_str(), self.status, self.content_type, self.body) {
            ("done", Some(status), Some(content_type), Some(body)) => Some(Response {
                status: rows::count("idempotency.status", status)?,
                content_type,
                body,
            }),
            ("in_flight", ..) => None,
            _ => return Err(Error::Corrupt { what: "idempotency.state" }),
        };
        Ok(Kept {
            request_hash: rows::array("idempotency.request_hash", &self.request_hash)?,
            response,
            lease_until: Millis(self.lease_until_ms),
        })
    }
}

/// What is kept under a scope and a key. In a group commit it is read together with what the callers
/// who wait ask for, under the log's head.
pub async fn kept(tx: &mut Tx, scope: &str, key: &str) -> Result<Option<Kept>> {
    let own = (scope.to_owned(), key.to_owned());
    let Some(group) = &mut tx.group else { return Ok(read(tx, &[own]).await?.pop().map(|k| k.1)) };
    if let Some(known) = group.memo().answers.get(&own) {
        return Ok(known.clone());
    }
    let wanted = group.unread_answers(own.clone());
    let mut found: HashMap<_, _> = read(tx, &wanted).await?.into_iter().collect();
    let answer = found.get(&own).cloned();
    if let Some(group) = &mut tx.group {
        let all = wanted.into_iter().map(|name| {
            let kept = found.remove(&name);
            (name, kept)
        });
        group.memo().answers.extend(all);
    }
    Ok(answer)
}

/// What is kept under several scopes and keys.
pub async fn read(
    tx: &mut Tx,
    names: &[(String, String)],
) -> Result<Vec<((String, String), Kept)>> {
    let sql = match tx.engine() {
        Engine::Sqlite => KEPT_SQLITE,
        Engine::Postgres => KEPT_POSTGRES,
    };
    let list = rows::to_json("idempotency.key", &names)?;
    look!(tx, |c| sqlx::query_as::<_, KeptRow>(sql).bind(list).fetch_all(c).await)?
        .into_iter()
        .map(|r| Ok(((r.scope, r.key), r.row.parse()?)))
        .collect()
}

/// Keeps an answer under a name that [`kept`] found free in this transaction. In a group commit it
/// is inserted with those of others.
pub async fn keep(tx: &mut Tx, call: &Call<'_>, response: Response, now: Millis) -> Result<()> {
    let new = NewAnswer {
        scope: call.scope.to_owned(),
        key: call.key.to_owned(),
        request_hash: *call.request_hash,
        owner: call.owner.to_owned(),
        at: now,
        response,
    };
    if let Some(group) = &mut tx.group {
        group.add_answer(new);
        return Ok(());
    }
    insert_all(tx, &[new]).await
}

/// The same for many, outside or at the end of a group commit.
pub(super) async fn insert_all(tx: &mut Tx, all: &[NewAnswer]) -> Result<()> {
    for (sql, some) in in_chunks(all, &[(128, KEEP_128), (16, KEEP_16), (1, KEEP)]) {
        look!(tx, |c| {
            let mut query = sqlx::query(sql);
            for a in some {
                query = query
                    .bind(&a.scope)
                    .bind(&a.key)
                    .bind(&a.request_hash[..])
                    .bind("done")
                    .bind(&a.owner)
                    .bind(a.at.0)
                    .bind(a.at.0)
                    .bind(i64::from(a.response.status))
                    .bind(&a.response.content_type)
                    .bind(&a.response.body);
            }
            query.execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// Forgets a call under way whose lease has run out; `false` where there is none.
pub async fn forget_lapsed(tx: &mut Tx, scope: &str, key: &str, now: Millis) -> Result<bool> {
    on!(tx, |c| sqlx::query(FORGET_LAPSED)
        .bind(scope)
        .bind(key)
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
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
    let found = row.parse()?;
    if found.request_hash != *call.request_hash {
        return Ok(Begun::Mismatch);
    }
    if let Some(response) = found.response {
        return Ok(Begun::Done(response));
    }
    if found.lease_until > now {
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
