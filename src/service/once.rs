//! Calls that carry an Idempotency-Key: the effect happens once, and its answer is kept with it.
//!
//! [`Inner::begin_once`] claims the key first, in a transaction of its own, for calls that do more than
//! one transaction can hold. A use case whose effect is one transaction takes a [`Call`] from
//! [`Inner::call`] instead, looks for the kept answer where it has the effect, and needs no claim.

use std::time::Duration;

use super::{Error, Inner, Result};
use crate::crypto;
use crate::crypto::seal::{self, Aad};
use crate::env::random;
use crate::run_batched;
use crate::run_tx;
use crate::store::{Tx, idempotency};

/// An answer as it goes over the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// A call that is to be carried out once.
#[derive(Clone)]
pub struct Call {
    scope: String,
    key: String,
    request_hash: [u8; 32],
    owner: String,
}

/// The answer to a call that may have been carried out before.
pub struct Given {
    /// The answer.
    pub answer: Answer,
    /// Whether it was kept: the call had no effect this time.
    pub replayed: bool,
}

/// What to do with a call.
pub enum Begun {
    /// Carry it out, and keep its answer.
    Run(Call),
    /// It was carried out before: answer this.
    Done(Answer),
}

/// The longest Idempotency-Key, in bytes.
pub const MAX_KEY: usize = 255;
/// How long answers are kept: long enough for every retry of a client, and no longer, since an answer
/// may hold a token.
pub const KEPT: Duration = Duration::from_hours(1);
/// After this time a call that never ended may be carried out by another.
const LEASE: Duration = Duration::from_mins(1);
/// What the key of kept answers is derived for.
const ANSWERS: &str = "kept-answers";
/// The media types that answers have.
const TYPES: [&str; 3] = ["application/json", "application/cwt", "application/problem+json"];

impl Inner {
    /// Begins a call to `route` under the Idempotency-Key `key` of whoever `scope` names; `request_hash` is a
    /// SHA-256 over everything that makes the request what it is.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad key, [`Error::IdempotencyMismatch`],
    /// [`Error::IdempotencyInFlight`].
    pub async fn begin_once(
        &self,
        scope: &str,
        route: &'static str,
        key: &str,
        request_hash: [u8; 32],
    ) -> Result<Begun> {
        let call = self.call(scope, route, key, request_hash)?;
        let now = self.clock().now();
        let begun = run_batched!(self.batch(), "idempotency.begin", |tx| {
            idempotency::begin(tx, &call.row(), now, now.plus(LEASE)).await
        })?;
        match begun {
            idempotency::Begun::Run => Ok(Begun::Run(call)),
            idempotency::Begun::InFlight => Err(Error::IdempotencyInFlight),
            idempotency::Begun::Mismatch => Err(Error::IdempotencyMismatch),
            idempotency::Begun::Done(kept) => Ok(Begun::Done(self.open_answer(&call, &kept)?)),
        }
    }

    /// The answer that was kept for such a call, if it was carried out. For who can't be known any
    /// more, since that very answer replaced their credential; nothing is written.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad key.
    pub async fn kept_answer(
        &self,
        scope: &str,
        route: &'static str,
        key: &str,
        request_hash: [u8; 32],
    ) -> Result<Option<Answer>> {
        let call = self.call(scope, route, key, request_hash)?;
        let mut tx = self.db().read().await?;
        let kept = idempotency::kept(&mut tx, &call.scope, &call.key).await?;
        let own = kept.filter(|k| k.request_hash == call.request_hash).and_then(|k| k.response);
        own.map(|response| self.open_answer(&call, &response)).transpose()
    }

    /// A call that claims nothing. The rest is as in [`begin_once`](Self::begin_once).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad key.
    pub fn call(
        &self,
        scope: &str,
        route: &'static str,
        key: &str,
        request_hash: [u8; 32],
    ) -> Result<Call> {
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::Invalid {
                field: "Idempotency-Key",
                reason: format!("must be 1 to {MAX_KEY} printable ASCII characters"),
            });
        }
        Ok(Call {
            scope: format!("{scope} {route}"),
            key: key.to_owned(),
            request_hash,
            owner: hex::encode(random::<16>(self.entropy())),
        })
    }

    /// The answer that was given to this call before, under the log's head: then there is nothing to
    /// carry out.
    pub(super) async fn answer_within(&self, tx: &mut Tx, call: &Call) -> Result<Option<Answer>> {
        let Some(kept) = idempotency::kept(tx, &call.scope, &call.key).await? else {
            return Ok(None);
        };
        if kept.request_hash != call.request_hash {
            return Err(Error::IdempotencyMismatch);
        }
        if let Some(response) = kept.response {
            return self.open_answer(call, &response).map(Some);
        }
        // An earlier version of the program claimed keys.
        let now = self.clock().now();
        if idempotency::forget_lapsed(tx, &call.scope, &call.key, now).await? {
            Ok(None)
        } else {
            Err(Error::IdempotencyInFlight)
        }
    }

    /// Keeps the answer of a call that claimed nothing.
    pub(super) async fn keep_answer(
        &self,
        tx: &mut Tx,
        call: &Call,
        answer: &Answer,
    ) -> Result<()> {
        let kept = self.seal_answer(call, answer)?;
        Ok(idempotency::keep(tx, &call.row(), kept, self.clock().now()).await?)
    }

    /// Gives a call up that had no effect, so that it can be made again.
    pub async fn abandon_once(&self, call: &Call) {
        let done =
            run_tx!(self.db(), "idempotency.abandon", |tx| idempotency::abandon(tx, &call.row())
                .await);
        if let Err(e) = done {
            tracing::warn!(error = %e, "an abandoned call blocks its key until its lease ends");
        }
    }

    /// Keeps the answer in the transaction that has the effect. It may hold a token, so it is
    /// sealed.
    pub(super) async fn finish_once(
        &self,
        tx: &mut Tx,
        call: Option<&Call>,
        answer: &Answer,
    ) -> Result<()> {
        let Some(call) = call else { return Ok(()) };
        let kept = self.seal_answer(call, answer)?;
        if idempotency::finish(tx, &call.row(), &kept).await? {
            Ok(())
        } else {
            Err(Error::IdempotencyInFlight)
        }
    }

    fn seal_answer(&self, call: &Call, answer: &Answer) -> Result<idempotency::Response> {
        let body = seal::seal(&*self.answer_key()?, &call.aad(), &answer.body, self.entropy())?;
        Ok(idempotency::Response {
            status: answer.status,
            content_type: answer.content_type.to_owned(),
            body,
        })
    }

    /// Opens a kept answer, also one of before the master key was changed.
    fn open_answer(&self, call: &Call, kept: &idempotency::Response) -> Result<Answer> {
        let content_type = TYPES
            .into_iter()
            .find(|t| *t == kept.content_type)
            .ok_or_else(|| Error::Internal("an answer of an unknown type is kept".into()))?;
        let mut opened = Err(crypto::Error::NotAuthentic);
        let master = &self.parts.master;
        for id in master.ids() {
            opened = seal::open(&*master.derive(id, ANSWERS)?, &call.aad(), &kept.body);
            if opened.is_ok() {
                break;
            }
        }
        Ok(Answer { status: kept.status, content_type, body: opened?.to_vec() })
    }

    fn answer_key(&self) -> Result<zeroize::Zeroizing<[u8; 32]>> {
        Ok(self.parts.master.derive(self.parts.master.id(), ANSWERS)?)
    }
}

impl Call {
    /// The scope and the key.
    pub(super) fn name(&self) -> (String, String) {
        (self.scope.clone(), self.key.clone())
    }

    fn row(&self) -> idempotency::Call<'_> {
        idempotency::Call {
            scope: &self.scope,
            key: &self.key,
            request_hash: &self.request_hash,
            owner: &self.owner,
        }
    }

    fn aad(&self) -> Aad {
        Aad::new("kept-answer").text(&self.scope).text(&self.key)
    }
}
