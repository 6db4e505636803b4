//! Onboarding: challenges go out, captures come in.

use futures::{Stream, StreamExt};

use super::once::{Answer, Call};
use super::progress::Stage;
use super::spool::{self, Incoming};
use super::{Error, Inner, Result, Services};
use crate::crypto::hash::sha256;
use crate::domain::challenge::Challenge;
use crate::domain::ids::{ApiKeyId, SubjectId, VerificationId};
use crate::domain::verification::{Event, State};
use crate::env::{Millis, random};
use crate::run_tx;
use crate::store::captures_seen::{self, Seen};
use crate::store::verifications::{self, NewCapture, NewVerification, Retry, Verification};
use crate::store::{self, Tx, attempts, failures};

/// What an app asks for.
#[derive(Clone, Debug)]
pub struct Start {
    /// Who is to be verified.
    pub subject: SubjectId,
    /// BCP 47 language tag.
    pub locale: String,
    /// The version of the consent text that the person is shown.
    pub consent_text_version: String,
    /// How old the app says the person is, in years.
    pub attested_age: Option<u8>,
}

/// A verification, and the secret with which its person's device may go on.
#[derive(Clone)]
pub struct Started {
    /// The verification.
    pub verification: Verification,
    /// The client token. It is not kept.
    pub client_token: ClientToken,
}

/// A bearer secret for one verification.
#[derive(Clone)]
pub struct ClientToken(zeroize::Zeroizing<String>);

impl ClientToken {
    /// The text, to be handed to the person's device.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Which part of a capture a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it, or nothing: an upload that breaks off leaves nothing behind.
    Whole,
    /// What follows the first `offset` bytes (0: from the start, whatever came before). What came stays
    /// when the connection is lost, for as long as the attempt is open.
    From {
        /// Bytes that came before.
        offset: u64,
        /// Whether the capture ends with this.
        last: bool,
    },
}

/// What came of a request that brings a capture.
#[derive(Clone, Debug)]
pub enum Received {
    /// All is here, and the capture is queued.
    Whole(Box<Verification>),
    /// So many bytes are here, and more have to come.
    Part {
        /// The bytes that are here.
        offset: u64,
    },
}

/// What every client token begins with, so that secret scanners know them.
pub const CLIENT_TOKEN_PREFIX: &str = "cameo_client_";
/// How long after its challenge's time what came of an upload lies at most.
const PART_AGE: std::time::Duration = std::time::Duration::from_mins(30);
/// The longest locale and text version.
const MAX_TEXT: usize = 64;
/// Nobody is older.
const MAX_AGE: u8 = 150;

impl Inner {
    /// Opens a verification and issues its first challenge.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::LockedOut`]; those of the store.
    pub async fn start(
        &self,
        app: &ApiKeyId,
        request: &Start,
        call: Option<&Call>,
        answer: impl Fn(&Started) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        word("locale", &request.locale)?;
        word("consent_text_version", &request.consent_text_version)?;
        if request.attested_age.is_some_and(|age| age > MAX_AGE) {
            let reason = format!("must be 0 to {MAX_AGE} years");
            return Err(Error::Invalid { field: "attested_age", reason });
        }
        let now = self.clock().now();
        let (token, hash) = self.client_token();
        let new = NewVerification {
            id: VerificationId::new(self.clock(), self.entropy()),
            subject: request.subject.clone(),
            app_key: app.clone(),
            locale: request.locale.clone(),
            consent_text_version: request.consent_text_version.clone(),
            challenge: self.challenge(now)?,
            client_token_hash: hash,
            client_token_expires: now.plus(self.settings().client_token_ttl),
            attested_age: request.attested_age,
            created: now,
        };
        run_tx!(self.db(), "onboard.start", |tx| {
            self.refuse_locked(tx, &new.subject, now).await?;
            verifications::insert(tx, &new).await?;
            let verification = get(tx, &new.id).await?;
            let started = Started { verification, client_token: token.clone() };
            let answer = answer(&started);
            self.finish_once(tx, call, &answer).await?;
            Ok(answer)
        })
    }

    /// A verification, for the app that may see all of them.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn verification(&self, id: &VerificationId) -> Result<Verification> {
        let found = get(&mut self.db().read().await?, id).await?;
        // The sweep lets it expire in its own time; a reader must not see a challenge as open that
        // is not.
        if found.state == State::Pending && self.clock().now() >= found.expires {
            self.expire_overdue().await?;
            return get(&mut self.db().read().await?, id).await;
        }
        Ok(found)
    }

    /// The verification that a client token is for.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for any token but the one of this verification.
    pub async fn verification_of_client(
        &self,
        id: &VerificationId,
        token: &str,
    ) -> Result<Verification> {
        const BAD: Error = Error::Unauthenticated(
            "the client token is not good for this verification, or has expired",
        );
        let found = match self.verification(id).await {
            Err(Error::NotFound(_)) => return Err(BAD),
            found => found?,
        };
        let good = subtle::ConstantTimeEq::ct_eq(
            sha256(token.as_bytes()).as_slice(),
            found.client_token_hash.as_slice(),
        );
        if bool::from(good) && self.clock().now() < found.client_token_expires {
            Ok(found)
        } else {
            Err(BAD)
        }
    }

    /// Opens another attempt with a new challenge and a new client token. Where nothing but one step
    /// failed, the challenge asks for that step alone (see [`repeat`](super::repeat)).
    ///
    /// # Errors
    /// [`Error::WrongState`] where nothing failed; [`Error::LockedOut`].
    pub async fn retry(
        &self,
        verification: &Verification,
        call: Option<&Call>,
        answer: impl Fn(&Started) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        verification.state.after(Event::Retried).map_err(|e| Error::WrongState(e.0))?;
        let now = self.clock().now();
        let (token, hash) = self.client_token();
        let id = &verification.id;
        let opened = run_tx!(self.db(), "onboard.retry", |tx| {
            self.refuse_locked(tx, &verification.subject, now).await?;
            let repeat = self.repeat_now(tx, verification, now).await?;
            let challenge = match repeat {
                Some(repeat) => self.repeat_challenge(verification, repeat, now)?,
                None => self.challenge(now)?,
            };
            attempts::drop_samples(tx, id, repeat.map_or(0, |r| r.attempt)).await?;
            let retry = Retry {
                challenge,
                client_token_hash: hash,
                client_token_expires: now.plus(self.settings().client_token_ttl),
                at: now,
            };
            if !verifications::retry(tx, id, verification.attempt, &retry).await? {
                return Err(Error::WrongState(get(tx, id).await?.state));
            }
            let verification = get(tx, id).await?;
            let started = Started { verification, client_token: token.clone() };
            let answer = answer(&started);
            self.finish_once(tx, call, &answer).await?;
            Ok(answer)
        });
        // A kept capture has no row any more that its retention could be read from.
        if let (Ok(_), Some(file)) =
            (&opened, verification.capture.as_ref().and_then(|c| c.file.as_deref()))
        {
            self.spool.delete(file);
        }
        if opened.is_ok() {
            self.spool.delete(&spool::part(id, verification.attempt));
        }
        opened
    }

    pub(super) fn challenge(&self, now: Millis) -> Result<Challenge> {
        let rules = &self.settings().challenge;
        let drawn = match &self.settings().script {
            Some(s) => {
                Challenge::new(s.digits.clone(), s.motions.clone(), now, now.plus(rules.ttl))
            }
            None => Challenge::draw(rules, now, self.entropy()),
        };
        drawn.map_err(|e| Error::Internal(e.to_string()))
    }

    fn client_token(&self) -> (ClientToken, [u8; 32]) {
        let secret = zeroize::Zeroizing::new(random::<32>(self.entropy()));
        let text = format!("{CLIENT_TOKEN_PREFIX}{}", hex::encode(secret.as_slice()));
        let hash = sha256(text.as_bytes());
        (ClientToken(zeroize::Zeroizing::new(text)), hash)
    }

    /// Deletes what came of uploads that nobody goes on with.
    pub(super) fn sweep_parts(&self, now: Millis) {
        let untouched = now.minus(self.settings().challenge.ttl.saturating_add(PART_AGE));
        if let Err(e) = self.spool.sweep_parts(untouched) {
            tracing::warn!(error = %e, "the capture folder can't be swept; it is tried again");
        }
    }

    async fn refuse_locked(&self, tx: &mut Tx, subject: &SubjectId, now: Millis) -> Result<()> {
        match failures::locked_until(tx, subject, now).await? {
            Some(until) => {
                let seconds = u64::try_from((until.0 - now.0).max(0)).unwrap_or(0).div_ceil(1000);
                Err(Error::LockedOut { until, seconds })
            }
            None => Ok(()),
        }
    }
}

impl Services {
    /// Takes a capture, or a piece of it: streams it to disk, looks at its first bytes, and queues it.
    ///
    /// The same file again, while or after it is judged, gives the same answer.
    ///
    /// # Errors
    /// [`Error::WrongState`], [`Error::ChallengeExpired`], [`Error::LockedOut`],
    /// [`Error::CaptureTooLarge`], [`Error::CaptureBroken`], [`Error::Capture`],
    /// [`Error::CaptureReplayed`], [`Error::Busy`], [`Error::UploadOffset`]. After each the verification
    /// is as before, and nothing is left on disk but the piece that [`Part`] lets stay.
    pub async fn receive_capture<E>(
        &self,
        verification: &Verification,
        part: Part,
        body: impl Stream<Item = Result<bytes::Bytes, E>> + Send,
    ) -> Result<Received> {
        let now = self.clock().now();
        let id = &verification.id;
        let first_time = verification.state == State::Pending;
        if verification.state == State::Expired || first_time && now >= verification.expires {
            return Err(Error::ChallengeExpired);
        }
        if !first_time && (verification.capture.is_none() || part != Part::Whole) {
            return Err(Error::WrongState(verification.state));
        }
        if first_time {
            let mut tx = self.db().read().await?;
            self.refuse_locked(&mut tx, &verification.subject, now).await?;
            if verifications::waiting(&mut tx).await? >= u64::from(self.settings().max_queue) {
                return Err(Error::Busy);
            }
        }

        let mut incoming = self.incoming(verification, part).await?;
        self.take(&mut incoming, body).await?;
        if matches!(part, Part::From { last: false, .. }) {
            return Ok(Received::Part { offset: incoming.pause().await? });
        }
        // Whole, and so either taken or of no use: nothing of it is gone on with.
        incoming.give_up();
        let path = incoming.flush().await?.to_owned();
        if !first_time {
            let same = verification.capture.as_ref().is_some_and(|c| c.sha256 == incoming.sha256());
            return if same {
                Ok(Received::Whole(Box::new(self.verification(id).await?)))
            } else {
                Err(Error::WrongState(verification.state))
            };
        }
        self.inspect(path).await?;

        // From here on file and row belong together: a client that hangs up must not part them.
        let (services, verification) = (self.clone(), verification.clone());
        let queueing = tokio::spawn(async move {
            let stored = incoming.keep(&verification.id, verification.attempt)?;
            let queued = services.queue(&verification, &stored).await;
            // Where the commit's fate is unknown the file stays: a later sweep decides.
            let unknown = matches!(&queued, Err(Error::Store(store::Error::CommitUnknown(_))));
            let taken = matches!(&queued, Ok((_, true)));
            if !taken && !unknown {
                services.spool.delete(&stored.name);
            }
            queued.map(|(verification, _)| verification)
        });
        let queued =
            queueing.await.map_err(|e| Error::Internal(format!("queueing broke off: {e}")))??;
        Ok(Received::Whole(Box::new(queued)))
    }

    /// How far the upload of the current attempt is: bytes, and whether that is all.
    ///
    /// # Errors
    /// [`Error::ChallengeExpired`]; [`Error::Busy`] where another process holds the upload.
    pub async fn received(&self, verification: &Verification) -> Result<(u64, bool)> {
        if let Some(capture) = &verification.capture {
            return Ok((capture.bytes, true));
        }
        if verification.state != State::Pending {
            return Err(Error::ChallengeExpired);
        }
        let name = spool::part(&verification.id, verification.attempt);
        Ok((self.spool.received(&name, self.entropy()).await?, false))
    }

    async fn incoming(&self, verification: &Verification, part: Part) -> Result<Incoming> {
        let max = self.settings().max_capture_bytes;
        let name = spool::part(&verification.id, verification.attempt);
        let Part::From { offset, .. } = part else {
            return self.spool.receive(&name, max, self.entropy());
        };
        let mut incoming = self.spool.resume(&name, max, self.entropy()).await?;
        if offset == 0 {
            incoming.restart().await?;
        } else if offset != incoming.bytes() {
            return Err(Error::UploadOffset { expected: incoming.bytes() });
        }
        Ok(incoming)
    }

    /// Writes the pieces of a body, until they end, break off, are too many, or a newer request comes.
    async fn take<E>(
        &self,
        incoming: &mut Incoming,
        body: impl Stream<Item = Result<bytes::Bytes, E>> + Send,
    ) -> Result<()> {
        let superseded = incoming.superseded();
        let mut body = std::pin::pin!(body);
        loop {
            let piece = tokio::select! {
                piece = body.next() => piece.map(Result::ok),
                () = superseded.cancelled() => Some(None),
            };
            match piece {
                None => return Ok(()),
                Some(Some(piece)) => {
                    let written = incoming.write(&piece).await;
                    if matches!(written, Err(Error::CaptureTooLarge { .. })) {
                        incoming.give_up();
                    }
                    written?;
                }
                Some(None) => {
                    incoming.pause().await?;
                    return Err(Error::CaptureBroken);
                }
            }
        }
    }

    /// Opens the upload in the sandbox far enough to know that it is a capture.
    async fn inspect(&self, path: std::path::PathBuf) -> Result<()> {
        // Each look is a process: not more at once than captures are judged.
        let _turn = self.looks.acquire().await.map_err(|_| Error::Busy)?;
        let mut opening = self.decoder().start(path, 1);
        match opening.next().await {
            Some(Ok(_)) => Ok(()),
            Some(Err(e)) => Err(Error::Capture(e)),
            None => Err(Error::Internal("the decoder said nothing".into())),
        }
    }

    /// The verification with its capture, and whether that is this file and not the same sent twice at
    /// once.
    async fn queue(
        &self,
        verification: &Verification,
        stored: &super::spool::Stored,
    ) -> Result<(Verification, bool)> {
        let id = &verification.id;
        let now = self.clock().now();
        let (queued, taken) = run_tx!(self.db(), "onboard.capture", |tx| {
            if captures_seen::see(tx, &stored.sha256, id, now).await? == Seen::Before {
                let current = get(tx, id).await?;
                let same = current.capture.as_ref().is_some_and(|c| c.sha256 == stored.sha256);
                return if same && current.attempt == verification.attempt {
                    Ok((current, false))
                } else {
                    Err(Error::CaptureReplayed)
                };
            }
            let capture =
                NewCapture { file: &stored.name, sha256: &stored.sha256, bytes: stored.bytes };
            let attempt = verification.attempt;
            if !verifications::attach_capture(tx, id, attempt, &capture, now).await? {
                let current = get(tx, id).await?;
                return Err(match current.state {
                    State::Pending => Error::ChallengeExpired,
                    other => Error::WrongState(other),
                });
            }
            Ok((get(tx, id).await?, true))
        })?;
        if taken {
            self.progress.set(id, Stage::Queued);
            self.work.notify_one();
            metrics::counter!("cameo_captures_received_total").increment(1);
        }
        Ok((queued, taken))
    }
}

pub(super) async fn get(tx: &mut Tx, id: &VerificationId) -> Result<Verification> {
    verifications::get(tx, id).await?.ok_or(Error::NotFound("verification"))
}

/// A short machine-readable word: a language tag, a version.
pub(super) fn word(field: &'static str, text: &str) -> Result<()> {
    let ok = (1..=MAX_TEXT).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if ok {
        Ok(())
    } else {
        Err(Error::Invalid {
            field,
            reason: format!("must be 1 to {MAX_TEXT} characters of A-Z a-z 0-9 - . _"),
        })
    }
}
