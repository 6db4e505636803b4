//! A person says no: for now (freeze), or for good (delete).
//!
//! Each takes effect in the transaction of its log entry: a use that is decided later sees it, and
//! the status list says so from then on.

use std::sync::PoisonError;
use std::time::Duration;

use super::consent::active;
use super::ledger::Note;
use super::{Error, Inner, Result};
use crate::domain::ids::CameoId;
use crate::domain::uses::{DeletionReason, TakedownReason};
use crate::env::Millis;
use crate::receipt::deletion::{Certificate, Destroyed};
use crate::run_tx;
use crate::store::cameos::{self, CameoState};
use crate::store::deletions::{self, Deletion};
use crate::store::{Engine, erasure, key_frames, log, subjects, token_status};
use crate::tlog::Kind;

/// How a freeze or a thaw ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Since when the cameo is frozen; `None`: it is not.
    pub since: Option<Millis>,
    /// Tokens under way that were suspended, or hold again.
    pub tokens: u64,
}

impl Inner {
    /// Freezes a cameo at once: from the return of this call no token is issued, and those under way
    /// are suspended. Key frames of a case in review go too. Freezing a frozen one changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn freeze(&self, id: &CameoId) -> Result<Frozen> {
        self.set_frozen(id, true).await
    }

    /// Ends a freeze: what was granted holds again, and so do the tokens that were suspended and
    /// have not expired.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn thaw(&self, id: &CameoId) -> Result<Frozen> {
        self.set_frozen(id, false).await
    }

    async fn set_frozen(&self, id: &CameoId, freeze: bool) -> Result<Frozen> {
        let now = self.clock().now();
        run_tx!(self.db(), "lifecycle.freeze", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let cameo = active(tx, id).await?;
            if cameo.frozen.is_some() == freeze {
                return Ok::<_, Error>(Frozen { since: cameo.frozen, tokens: 0 });
            }
            let person = self.person(tx, &cameo.subject).await?;
            let since = freeze.then_some(now);
            cameos::set_frozen(tx, id, since).await?;
            if freeze {
                key_frames::delete_of(tx, &cameo.subject).await?;
            }
            let (kind, tokens) = if freeze {
                (Kind::CameoFrozen, token_status::suspend(tx, id, now).await?)
            } else {
                (Kind::CameoThawed, token_status::resume(tx, id, now).await?)
            };
            ledger.add(Note::new(kind).about(&person).commit("cameo", id.as_str()))?;
            ledger.write(tx).await?;
            Ok(Frozen { since, tokens })
        })
    }

    /// Deletes a cameo for good, without touching the app's account: destroys the person's key, and
    /// with it whatever is sealed under it anywhere; deletes the rest; revokes the tokens under way;
    /// and certifies all of it. A cameo that was deleted before gives the same certificate.
    /// `takedown` asks the generators to take down the videos that they reported.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_cameo(
        &self,
        id: &CameoId,
        reason: DeletionReason,
        takedown: bool,
    ) -> Result<Deletion> {
        let now = self.clock().now();
        let (deletion, captures) = run_tx!(self.db(), "lifecycle.delete", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let cameo = cameos::get(tx, id).await?.ok_or(Error::NotFound("cameo"))?;
            if cameo.state == CameoState::Deleted {
                let known = deletions::get(tx, id).await?;
                return Ok((known.ok_or(Error::NotFound("cameo"))?, Vec::new()));
            }
            let remains = erasure::remains(tx, id, &cameo.subject).await?;
            let subject = subjects::get(tx, &cameo.subject).await?;
            if takedown {
                let why = TakedownReason::Deleted;
                self.open_takedowns(tx, &mut ledger, id, why).await?;
            }
            token_status::revoke(tx, id, now).await?;
            erasure::bury(tx, id, &cameo.subject, now).await?;
            let mut destroyed = vec![
                Destroyed::sealed("template", &remains.templates),
                Destroyed::sealed("evidence", &remains.evidence),
                Destroyed::sealed("candidate", &remains.candidates),
                Destroyed::sealed("key_frame", &remains.key_frames),
                Destroyed::unread("capture", remains.captures.len() as u64),
            ];
            if let Some(subject) = &subject {
                let salts = log::delete_salts(tx, &subject.subject_ref).await?;
                subjects::delete(tx, &subject.subject).await?;
                destroyed.insert(
                    0,
                    Destroyed::sealed("subject_key", std::slice::from_ref(&subject.wrapped_key)),
                );
                destroyed.push(Destroyed::unread("log_salts", salts));
            }
            // The cameo's id leads to nobody any more, so it may stand here for all to see.
            let note = Note::new(Kind::CameoDeleted)
                .public("cameo", id.as_str())
                .public("reason", reason.name());
            let log_index = ledger.add(note)?;
            let certificate = Certificate {
                issuer: self.settings().issuer.clone(),
                cameo: id.clone(),
                reason,
                at: now,
                destroyed,
                log: self.signing().origin().to_owned(),
                log_index,
            };
            let certificate = certificate
                .sign(self.signing().certifier())
                .map_err(|e| Error::Internal(format!("a certificate: {e}")))?;
            let deletion = Deletion { cameo: id.clone(), reason, certificate, at: now, log_index };
            ledger.write(tx).await?;
            deletions::insert(tx, &deletion).await?;
            Ok::<_, Error>((deletion, remains.captures))
        })?;
        self.forget_face(id);
        for name in &captures {
            self.spool.delete(name);
        }
        metrics::counter!("cameo_deletions_total", "reason" => reason.name()).increment(1);
        self.mail.notify_one();
        self.scrub().await;
        Ok(deletion)
    }

    /// The certificate of a cameo that was deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn deletion(&self, id: &CameoId) -> Result<Deletion> {
        let found = deletions::get(&mut self.db().read().await?, id).await?;
        found.ok_or(Error::NotFound("certificate of deletion"))
    }

    /// Takes what was deleted off the disk. Where readers are in the way, or the tables were rewritten
    /// a moment ago, the sweep does it later: the key is gone in any case.
    async fn scrub(&self) {
        if !self.may_rewrite() {
            self.unscrubbed.store(true, std::sync::atomic::Ordering::SeqCst);
            return;
        }
        for pause in [0, 20, 100, 500] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            // What is deleted from here on may come too late for this one, and says so itself.
            self.unscrubbed.store(false, std::sync::atomic::Ordering::SeqCst);
            if self.db().scrub().await.is_ok() {
                return;
            }
            self.unscrubbed.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        // Not all of the time that one that succeeds would give.
        *self.rewritten.lock().unwrap_or_else(PoisonError::into_inner) = None;
        tracing::warn!("what was deleted is still in the write-ahead log: the sweep empties it");
    }

    /// Whether it is time again, and if so, from now on.
    fn may_rewrite(&self) -> bool {
        let every = self.settings().rewrite_every;
        if every.is_zero() || self.db().engine() == Engine::Sqlite {
            return true;
        }
        let now = self.clock().now();
        let mut last = self.rewritten.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last <= now.minus(every));
        if due {
            *last = Some(now);
        }
        due
    }

    /// Does what [`Inner::delete_cameo`] could not, for readers in its way.
    pub(super) async fn scrub_again(&self) {
        if self.unscrubbed.load(std::sync::atomic::Ordering::SeqCst) {
            self.scrub().await;
        }
    }
}
