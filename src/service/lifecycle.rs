//! A person says no: for now (freeze), or for good (delete).
//!
//! Each takes effect in the transaction of its log entry: a use that is decided later sees it, and
//! the status list says so from then on.

use std::time::Duration;

use serde::Serialize;

use super::consent::active;
use super::ledger::Note;
use super::{Error, Inner, Result};
use crate::crypto::KeyId;
use crate::crypto::cbor::{self, Fields, Value};
use crate::crypto::cose::{self, Profile};
use crate::crypto::hash::{Sha256, sha256};
use crate::crypto::{KeySet, VerifyingKey};
use crate::domain::ids::CameoId;
use crate::domain::uses::{DeletionReason, TakedownReason};
use crate::env::Millis;
use crate::run_tx;
use crate::store::cameos::{self, CameoState};
use crate::store::deletions::{self, Deletion};
use crate::store::{erasure, log, subjects, token_status};
use crate::tlog::Kind;

/// The media type of a certificate, and its `typ` header.
pub const CERTIFICATE: &str = "application/cameo-deletion+cbor";
/// The largest certificate, in bytes.
const MAX_CERTIFICATE: usize = 16 << 10;
const VERSION: u64 = 1;

/// How a freeze or a thaw ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Since when the cameo is frozen; `None`: it is not.
    pub since: Option<Millis>,
    /// Tokens under way that were suspended, or hold again.
    pub tokens: u64,
}

/// Something that was destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destroyed {
    /// What it was: `subject_key`, `template`, `evidence`, `candidate`, `capture`, `log_salts`.
    pub kind: String,
    /// How many there were.
    pub count: u64,
    /// SHA-256 over the SHA-256 of each, in hex: a copy that turns up later can be shown to be of
    /// what was destroyed. Zeros where the thing itself was not read.
    pub digest: String,
}

/// What a certificate of deletion says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Who says so.
    pub issuer: String,
    /// What was deleted.
    pub cameo: CameoId,
    /// Why.
    pub reason: DeletionReason,
    /// When.
    pub at: Millis,
    /// What was destroyed.
    pub destroyed: Vec<Destroyed>,
    /// The name of the log that has an entry about it.
    pub log: String,
    /// The entry.
    pub log_index: u64,
}

impl Inner {
    /// Freezes a cameo at once: from the return of this call no token is issued, and those under way
    /// are suspended. Freezing a frozen one changes nothing.
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
                sealed("template", &remains.templates),
                sealed("evidence", &remains.evidence),
                sealed("candidate", &remains.candidates),
                unread("capture", remains.captures.len() as u64),
            ];
            if let Some(subject) = &subject {
                let salts = log::delete_salts(tx, &subject.subject_ref).await?;
                subjects::delete(tx, &subject.subject).await?;
                destroyed
                    .insert(0, sealed("subject_key", std::slice::from_ref(&subject.wrapped_key)));
                destroyed.push(unread("log_salts", salts));
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
            let certificate = certificate.sign(self.signing().certifier())?;
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

    /// Takes what was deleted off the disk. Where readers are in the way, the sweep does it later:
    /// the key is gone in any case.
    async fn scrub(&self) {
        for pause in [0, 20, 100, 500] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.db().scrub().await.is_ok() {
                self.unscrubbed.store(false, std::sync::atomic::Ordering::SeqCst);
                return;
            }
        }
        self.unscrubbed.store(true, std::sync::atomic::Ordering::SeqCst);
        tracing::warn!("what was deleted is still in the write-ahead log: the sweep empties it");
    }

    /// Does what [`Inner::delete_cameo`] could not, for readers in its way.
    pub(super) async fn scrub_again(&self) {
        if self.unscrubbed.load(std::sync::atomic::Ordering::SeqCst) {
            self.scrub().await;
        }
    }
}

impl Certificate {
    fn sign(&self, key: &crate::crypto::SigningKey) -> Result<Vec<u8>> {
        let text = |t: &str| Value::Text(t.to_owned());
        let destroyed = self
            .destroyed
            .iter()
            .map(|d| {
                let digest = hex::decode(&d.digest).unwrap_or_default();
                Value::Array(vec![text(&d.kind), Value::from(d.count), Value::Bytes(digest)])
            })
            .collect();
        let claims = [
            (1, Value::from(VERSION)),
            (2, text(&self.issuer)),
            (3, text(self.cameo.as_str())),
            (4, text(self.reason.name())),
            (5, Value::from(self.at.0)),
            (6, Value::Array(destroyed)),
            (7, text(&self.log)),
            (8, Value::from(self.log_index)),
        ];
        let claims = claims.into_iter().map(|(k, v)| (Value::from(k), v)).collect();
        cose::sign(key, &PROFILE, cbor::encode(&Value::Map(claims)))
            .map_err(|e| Error::Internal(format!("a certificate: {e}")))
    }

    /// Reads a certificate that the log's key signed.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn verify(bytes: &[u8], log_key: VerifyingKey) -> Result<(KeyId, Self), Unproven> {
        let keys: KeySet = [log_key].into_iter().collect();
        let message = cose::verify(bytes, &PROFILE, &keys)?;
        let value = cbor::decode(&message.payload, MAX_CERTIFICATE).map_err(cose::Error::from)?;
        let certificate = Self::of(value).ok_or(Unproven::Malformed)?;
        Ok((message.key_id, certificate))
    }

    fn of(value: Value) -> Option<Self> {
        let mut f = Fields::of(value)?;
        if cbor::uint(&f.take(1)?)? != VERSION {
            return None;
        }
        let mut text = |key| f.take(key)?.into_text().ok();
        let (issuer, cameo, reason, log) = (text(2)?, text(3)?, text(4)?, text(7)?);
        let destroyed = f.take(6)?.into_array().ok()?;
        Some(Self {
            issuer,
            cameo: cameo.parse().ok()?,
            reason: reason.parse().ok()?,
            at: Millis(cbor::int(&f.take(5)?)?),
            destroyed: destroyed.into_iter().map(thing).collect::<Option<_>>()?,
            log,
            log_index: cbor::uint(&f.take(8)?)?,
        })
    }
}

/// Why bytes are no certificate of deletion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Not signed by the log's key.
    #[error(transparent)]
    Envelope(#[from] cose::Error),
    /// Not of version 1.
    #[error("not a certificate of deletion of version 1")]
    Malformed,
}

fn thing(value: Value) -> Option<Destroyed> {
    let [kind, count, digest] = <[Value; 3]>::try_from(value.into_array().ok()?).ok()?;
    Some(Destroyed {
        kind: kind.into_text().ok()?,
        count: cbor::uint(&count)?,
        digest: hex::encode(cbor::byte_array::<32>(&digest)?),
    })
}

fn sealed(kind: &str, all: &[Vec<u8>]) -> Destroyed {
    let mut digest = Sha256::new();
    for one in all {
        digest.update(&sha256(one));
    }
    Destroyed { kind: kind.into(), count: all.len() as u64, digest: digest.finish_hex() }
}

fn unread(kind: &str, count: u64) -> Destroyed {
    Destroyed { kind: kind.into(), count, digest: hex::encode([0; 32]) }
}

const PROFILE: Profile<'_> =
    Profile { typ: CERTIFICATE, content_type: None, external_aad: b"", max_len: MAX_CERTIFICATE };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;
    use crate::env::SeededEntropy;

    #[test]
    fn a_certificate_holds_for_its_key_alone() {
        let e = SeededEntropy::new(1);
        let (ours, other) = (SigningKey::generate(&e).unwrap(), SigningKey::generate(&e).unwrap());
        let certificate = Certificate {
            issuer: "https://cameo.example".into(),
            cameo: "cam_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5".parse().unwrap(),
            reason: DeletionReason::Request,
            at: Millis(1_800_000_000_000),
            destroyed: vec![sealed("subject_key", &[vec![1]]), unread("capture", 0)],
            log: "cameo.example/log".into(),
            log_index: 7,
        };
        let bytes = certificate.sign(&ours).unwrap();
        let (kid, read) = Certificate::verify(&bytes, ours.verifying_key()).unwrap();
        assert_eq!((kid, &read), (ours.id(), &certificate));
        assert!(Certificate::verify(&bytes, other.verifying_key()).is_err());
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(Certificate::verify(&altered, ours.verifying_key()).is_err(), "byte {at}");
        }
    }
}
