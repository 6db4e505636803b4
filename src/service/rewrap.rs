//! A new master key: everything that the old one wrapped is wrapped anew, while the service runs.
//!
//! First every process gets the new key as current and the old one as previous
//! (`secrets.previous_master_key_files`): both open, the new one wraps. Then [`Inner::rewrap`] moves
//! what is stored. When it says that nothing is left, the old key can go, and with it every copy of
//! a wrapped key that was made before.

use super::ledger::Note;
use super::signing::{
    CHECKPOINT, COSIGNATURE, LOG_KEY, MASTER_ID, RECEIPT, RECEIPT_KEY, TOKEN, WITNESS_KEY,
};
use super::subject::owner;
use super::webhooks::aad;
use super::{Error, Inner, Result};
use crate::crypto::master::SubjectKey;
use crate::crypto::{KeyId, SigningKey};
use crate::run_tx;
use crate::store::{meta, signing_keys, subjects, webhooks};
use crate::tlog::Kind;

/// What was wrapped anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// People's keys.
    pub subjects: u64,
    /// Keys that sign tokens, and the log's own.
    pub signing_keys: u64,
    /// Secrets of webhooks.
    pub webhooks: u64,
    /// Protected faces' keys.
    pub protected: u64,
}

/// The keys that are made once, by their names in the store and what they are wrapped for: the
/// log's, that of consent receipts, and the witness's.
const KEPT_KEYS: [(&str, &str); 3] =
    [(LOG_KEY, CHECKPOINT), (RECEIPT_KEY, RECEIPT), (WITNESS_KEY, COSIGNATURE)];
/// Rows moved in one transaction: short, so that nobody waits long.
const BATCH: u32 = 100;

impl Inner {
    /// Wraps under the current master key whatever an earlier one wrapped. It can be broken off and
    /// run again; what came in between is not touched.
    ///
    /// # Errors
    /// [`Error::Internal`] where something was wrapped by a key that is not configured; those of
    /// the store.
    pub async fn rewrap(&self) -> Result<Rewrapped> {
        let done = Rewrapped {
            subjects: self.rewrap_subjects().await?,
            signing_keys: self.rewrap_signing_keys().await?,
            webhooks: self.rewrap_webhooks().await?,
            protected: self.rewrap_protected().await?,
        };
        let id = self.parts.master.id().to_string();
        run_tx!(self.db(), "rewrap.done", |tx| {
            let mut ledger = self.ledger(tx).await?;
            if meta::get(tx, MASTER_ID).await?.as_deref() == Some(id.as_bytes()) {
                return Ok::<_, Error>(());
            }
            meta::set(tx, MASTER_ID, id.as_bytes()).await?;
            let note =
                Note::new(Kind::KeyRotation).public("event", "master_key").public("kid", &*id);
            ledger.add(note)?;
            ledger.write(tx).await
        })?;
        Ok(done)
    }

    async fn rewrap_subjects(&self) -> Result<u64> {
        let (mut moved, mut after) = (0, String::new());
        loop {
            let page = subjects::after(&mut self.db().read().await?, &after, BATCH).await?;
            let Some(last) = page.last() else { return Ok(moved) };
            after = last.subject.as_str().to_owned();
            let mut fresh = Vec::new();
            for subject in &page {
                let reference = hex::encode(subject.subject_ref);
                let (kek, wrapped) = (&*self.parts.master, &subject.wrapped_key);
                if let Some(new) =
                    SubjectKey::rewrap(kek, wrapped, owner(&reference), self.entropy())?
                {
                    fresh.push((subject, new));
                }
            }
            moved += run_tx!(self.db(), "rewrap.subjects", |tx| {
                let mut moved = 0;
                for (subject, new) in &fresh {
                    // Where they were deleted meanwhile, they stay deleted.
                    let old = &subject.wrapped_key;
                    moved += u64::from(subjects::rewrap(tx, &subject.subject, old, new).await?);
                }
                Ok::<_, Error>(moved)
            })?;
        }
    }

    async fn rewrap_signing_keys(&self) -> Result<u64> {
        let kek = &*self.parts.master;
        let mut moved = 0;
        let stored = signing_keys::list(&mut self.db().read().await?).await?;
        for key in &stored {
            let broken = || Error::Internal("a signing key has a broken name".into());
            let id = KeyId::parse(&key.kid).ok_or_else(broken)?;
            let new = SigningKey::rewrap(kek, &key.sealed_seed, TOKEN, id, self.entropy())?;
            let Some(new) = new else { continue };
            moved += u64::from(run_tx!(self.db(), "rewrap.token", |tx| {
                signing_keys::reseal(tx, &key.kid, &key.sealed_seed, &new).await
            })?);
        }
        for (name, purpose) in KEPT_KEYS {
            let kept = meta::get(&mut self.db().read().await?, name).await?;
            let parts = kept.as_deref().and_then(<[u8]>::split_first_chunk::<8>);
            let Some((id, wrapped)) = parts else { continue };
            let new = SigningKey::rewrap(kek, wrapped, purpose, KeyId(*id), self.entropy())?;
            let Some(new) = new else { continue };
            let value = [id.as_slice(), &new].concat();
            run_tx!(self.db(), "rewrap.kept", |tx| meta::set(tx, name, &value).await)?;
            moved += 1;
        }
        Ok(moved)
    }

    async fn rewrap_webhooks(&self) -> Result<u64> {
        let kek = &*self.parts.master;
        let (mut moved, mut after) = (0, String::new());
        loop {
            let page = webhooks::after(&mut self.db().read().await?, &after, BATCH).await?;
            let Some(last) = page.last() else { return Ok(moved) };
            after = last.generator.as_str().to_owned();
            for generator in page.iter().map(|h| &h.generator) {
                // Read again in the transaction: a secret may be rotated at this moment.
                moved += run_tx!(self.db(), "rewrap.webhook", |tx| {
                    let _ledger = self.ledger(tx).await?;
                    let Some(mut hook) = webhooks::get(tx, generator).await? else {
                        return Ok(0);
                    };
                    let aad = aad(generator);
                    let new = kek.rewrap(&hook.secret_sealed, &aad, self.entropy())?;
                    let old = match &hook.old_secret {
                        Some((sealed, _)) => kek.rewrap(sealed, &aad, self.entropy())?,
                        None => None,
                    };
                    let changed = u64::from(new.is_some() || old.is_some());
                    if let Some(new) = new {
                        hook.secret_sealed = new;
                    }
                    if let (Some(new), Some((sealed, _))) = (old, &mut hook.old_secret) {
                        *sealed = new;
                    }
                    if changed > 0 {
                        webhooks::put(tx, &hook).await?;
                    }
                    Ok::<_, Error>(changed)
                })?;
            }
        }
    }
}
