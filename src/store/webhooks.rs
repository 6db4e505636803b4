//! Where generators are told what they have to do, and what was sent there.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::{ApiKeyId, MessageId};
use crate::domain::uses::MessageState;
use crate::env::Millis;

sql! {
    const PUT: &str = "INSERT INTO webhooks
        (generator_key, url, secret_sealed, old_secret_sealed, old_until_ms, disabled_ms, created_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (generator_key) DO UPDATE SET url = excluded.url,
            secret_sealed = excluded.secret_sealed, old_secret_sealed = excluded.old_secret_sealed,
            old_until_ms = excluded.old_until_ms, disabled_ms = excluded.disabled_ms";
    const GET: &str = "SELECT generator_key, url, secret_sealed, old_secret_sealed, old_until_ms,
            disabled_ms, created_ms
        FROM webhooks WHERE generator_key = $1";
    const AFTER: &str = "SELECT generator_key, url, secret_sealed, old_secret_sealed, old_until_ms,
            disabled_ms, created_ms
        FROM webhooks WHERE generator_key > $1 ORDER BY generator_key LIMIT $2";
    const DISABLE: &str = "UPDATE webhooks SET disabled_ms = $2
        WHERE generator_key = $1 AND disabled_ms IS NULL";
    const DELETE: &str = "DELETE FROM webhooks WHERE generator_key = $1";
    const SEND: &str = "INSERT INTO webhook_messages
        (id, generator_key, kind, body, state, tries, next_ms, created_ms)
        VALUES ($1, $2, $3, $4, 'waiting', 0, $5, $5)";
    const CLAIM: &str = "UPDATE webhook_messages SET tries = tries + 1, next_ms = $2
        WHERE id = (SELECT id FROM webhook_messages
                WHERE state = 'waiting' AND next_ms <= $1 ORDER BY next_ms LIMIT 1)
            AND state = 'waiting' AND next_ms <= $1
        RETURNING id, generator_key, kind, body, state, tries, next_ms, failure, created_ms,
            settled_ms";
    const DELIVERED: &str = "UPDATE webhook_messages
        SET state = 'delivered', settled_ms = $3, failure = NULL
        WHERE id = $1 AND state = 'waiting' AND tries = $2";
    const AGAIN: &str = "UPDATE webhook_messages SET next_ms = $3, failure = $4
        WHERE id = $1 AND state = 'waiting' AND tries = $2";
    const DEAD: &str = "UPDATE webhook_messages SET state = 'dead', settled_ms = $3, failure = $4
        WHERE id = $1 AND state = 'waiting' AND tries = $2";
    const REPLAY: &str = "UPDATE webhook_messages
        SET state = 'waiting', settled_ms = NULL, tries = 0, next_ms = $3
        WHERE id = $1 AND generator_key = $2 AND state <> 'waiting'";
    const MESSAGES: &str = "SELECT id, generator_key, kind, body, state, tries, next_ms, failure,
            created_ms, settled_ms
        FROM webhook_messages WHERE generator_key = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
    const FORGET: &str = "DELETE FROM webhook_messages
        WHERE state = 'delivered' AND settled_ms < $1";
}

/// A generator's endpoint. Prints no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Whose it is.
    pub generator: ApiKeyId,
    /// Where messages are posted.
    pub url: String,
    /// The signing secret, wrapped by the master key.
    pub secret_sealed: Vec<u8>,
    /// The secret before a rotation, and until when messages are signed with it too.
    pub old_secret: Option<(Vec<u8>, Millis)>,
    /// Since when it is off: it answered 410.
    pub disabled: Option<Millis>,
    /// When it was first set.
    pub created: Millis,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({}, disabled: {:?})", self.generator, self.disabled)
    }
}

/// A message to a generator. It holds nothing personal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id: the same in every try (`webhook-id`).
    pub id: MessageId,
    /// Whom it is for.
    pub generator: ApiKeyId,
    /// What it tells, for instance `takedown.requested`.
    pub kind: String,
    /// JSON.
    pub body: String,
    /// Where it stands.
    pub state: MessageState,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried next.
    pub next: Millis,
    /// Why the last try failed.
    pub failure: Option<String>,
    /// When it was made.
    pub created: Millis,
    /// When it was delivered or given up.
    pub settled: Option<Millis>,
}

#[derive(FromRow)]
struct HookRow {
    generator_key: String,
    url: String,
    secret_sealed: Vec<u8>,
    old_secret_sealed: Option<Vec<u8>>,
    old_until_ms: Option<i64>,
    disabled_ms: Option<i64>,
    created_ms: i64,
}

impl HookRow {
    fn parse(self) -> Result<Webhook> {
        Ok(Webhook {
            generator: rows::parse("webhooks.generator_key", &self.generator_key)?,
            url: self.url,
            secret_sealed: self.secret_sealed,
            old_secret: self.old_secret_sealed.zip(self.old_until_ms.map(Millis)),
            disabled: self.disabled_ms.map(Millis),
            created: Millis(self.created_ms),
        })
    }
}

#[derive(FromRow)]
struct MessageRow {
    id: String,
    generator_key: String,
    kind: String,
    body: String,
    state: String,
    tries: i64,
    next_ms: i64,
    failure: Option<String>,
    created_ms: i64,
    settled_ms: Option<i64>,
}

impl MessageRow {
    fn parse(self) -> Result<Message> {
        Ok(Message {
            id: rows::parse("webhook_messages.id", &self.id)?,
            generator: rows::parse("webhook_messages.generator_key", &self.generator_key)?,
            kind: self.kind,
            body: self.body,
            state: rows::parse("webhook_messages.state", &self.state)?,
            tries: rows::count("webhook_messages.tries", self.tries)?,
            next: Millis(self.next_ms),
            failure: self.failure,
            created: Millis(self.created_ms),
            settled: self.settled_ms.map(Millis),
        })
    }
}

/// Sets a generator's endpoint, whatever it was.
pub async fn put(tx: &mut Tx, hook: &Webhook) -> Result<()> {
    let (old, until) = hook.old_secret.as_ref().map(|(s, t)| (s, t.0)).unzip();
    on!(tx, |c| sqlx::query(PUT)
        .bind(hook.generator.as_str())
        .bind(&hook.url)
        .bind(&hook.secret_sealed)
        .bind(old)
        .bind(until)
        .bind(hook.disabled.map(|t| t.0))
        .bind(hook.created.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// A generator's endpoint.
pub async fn get(tx: &mut Tx, generator: &ApiKeyId) -> Result<Option<Webhook>> {
    on!(tx, |c| sqlx::query_as::<_, HookRow>(GET).bind(generator.as_str()).fetch_optional(c).await)?
        .map(HookRow::parse)
        .transpose()
}

/// Endpoints in the order of their generators, after one of them.
pub async fn after(tx: &mut Tx, generator: &str, limit: u32) -> Result<Vec<Webhook>> {
    on!(tx, |c| sqlx::query_as::<_, HookRow>(AFTER)
        .bind(generator)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(HookRow::parse)
    .collect()
}

/// Turns an endpoint off; `false` where it is off already or not there.
pub async fn disable(tx: &mut Tx, generator: &ApiKeyId, at: Millis) -> Result<bool> {
    on!(tx, |c| sqlx::query(DISABLE)
        .bind(generator.as_str())
        .bind(at.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Removes an endpoint; `false` where there is none.
pub async fn delete(tx: &mut Tx, generator: &ApiKeyId) -> Result<bool> {
    on!(tx, |c| sqlx::query(DELETE)
        .bind(generator.as_str())
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Puts a message on its way.
pub async fn send(
    tx: &mut Tx,
    id: &MessageId,
    generator: &ApiKeyId,
    kind: &str,
    body: &str,
    now: Millis,
) -> Result<()> {
    on!(tx, |c| sqlx::query(SEND)
        .bind(id.as_str())
        .bind(generator.as_str())
        .bind(kind)
        .bind(body)
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Takes the message that has been due longest, for one try; nobody else takes it before `until`.
pub async fn claim(tx: &mut Tx, now: Millis, until: Millis) -> Result<Option<Message>> {
    on!(tx, |c| sqlx::query_as::<_, MessageRow>(CLAIM)
        .bind(now.0)
        .bind(until.0)
        .fetch_optional(c)
        .await)?
    .map(MessageRow::parse)
    .transpose()
}

/// The try that `message` was claimed for worked; `false` where somebody else has it by now.
pub async fn delivered(tx: &mut Tx, message: &Message, at: Millis) -> Result<bool> {
    on!(tx, |c| sqlx::query(DELIVERED)
        .bind(message.id.as_str())
        .bind(i64::from(message.tries))
        .bind(at.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// It did not, and is made again at `next`.
pub async fn again(tx: &mut Tx, message: &Message, next: Millis, failure: &str) -> Result<bool> {
    unsettled(tx, AGAIN, message, next, failure).await
}

/// It did not, and is not made again.
pub async fn dead(tx: &mut Tx, message: &Message, at: Millis, failure: &str) -> Result<bool> {
    unsettled(tx, DEAD, message, at, failure).await
}

async fn unsettled(
    tx: &mut Tx,
    sql: &'static str,
    message: &Message,
    at: Millis,
    failure: &str,
) -> Result<bool> {
    on!(tx, |c| sqlx::query(sql)
        .bind(message.id.as_str())
        .bind(i64::from(message.tries))
        .bind(at.0)
        .bind(failure)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Sends a settled message once more; `false` where there is none of this generator.
pub async fn replay(
    tx: &mut Tx,
    id: &MessageId,
    generator: &ApiKeyId,
    now: Millis,
) -> Result<bool> {
    on!(tx, |c| sqlx::query(REPLAY)
        .bind(id.as_str())
        .bind(generator.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// A generator's messages, the newest first; `before` is the last one of the page before.
pub async fn messages(
    tx: &mut Tx,
    generator: &ApiKeyId,
    before: Option<&MessageId>,
    limit: u32,
) -> Result<Vec<Message>> {
    on!(tx, |c| sqlx::query_as::<_, MessageRow>(MESSAGES)
        .bind(generator.as_str())
        .bind(before.map_or("~", MessageId::as_str))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(MessageRow::parse)
    .collect()
}

/// Forgets messages that were delivered before `before`.
pub async fn forget(tx: &mut Tx, before: Millis) -> Result<u64> {
    on!(tx, |c| sqlx::query(FORGET).bind(before.0).execute(c).await.map(|r| r.rows_affected()))
}
