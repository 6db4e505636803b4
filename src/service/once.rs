//! Calls that carry an Idempotency-Key: the effect happens once, and its answer is kept with it.

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
            idempotency::Begun::Done(kept) => Ok(Begun::Done(self.answer(&call, &kept)?)),
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
        let kept = idempotency::kept(&mut tx, &call.scope, &call.key, &call.request_hash).await?;
        kept.map(|kept| self.answer(&call, &kept)).transpose()
    }

    fn call(
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

    fn answer(&self, call: &Call, kept: &idempotency::Response) -> Result<Answer> {
        let body = self.open_answer(call, &kept.body)?;
        let content_type = TYPES
            .into_iter()
            .find(|t| *t == kept.content_type)
            .ok_or_else(|| Error::Internal("an answer of an unknown type is kept".into()))?;
        Ok(Answer { status: kept.status, content_type, body: body.to_vec() })
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
        let body = seal::seal(&*self.answer_key()?, &call.aad(), &answer.body, self.entropy())?;
        let kept = idempotency::Response {
            status: answer.status,
            content_type: answer.content_type.to_owned(),
            body,
        };
        if idempotency::finish(tx, &call.row(), &kept).await? {
            Ok(())
        } else {
            Err(Error::IdempotencyInFlight)
        }
    }

    /// Opens a kept answer, also one of before the master key was changed.
    fn open_answer(&self, call: &Call, kept: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        let mut opened = Err(crypto::Error::NotAuthentic);
        let master = &self.parts.master;
        for id in master.ids() {
            opened = seal::open(&*master.derive(id, ANSWERS)?, &call.aad(), kept);
            if opened.is_ok() {
                break;
            }
        }
        Ok(opened?)
    }

    fn answer_key(&self) -> Result<zeroize::Zeroizing<[u8; 32]>> {
        Ok(self.parts.master.derive(self.parts.master.id(), ANSWERS)?)
    }
}

impl Call {
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
