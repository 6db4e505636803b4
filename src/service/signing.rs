//! The keys that sign: tokens (a ring that rotates) and checkpoints of the log (one for its life).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::ledger::Note;
use super::{Error, Inner, Parts, Result};
use crate::crypto::keyring::{Keyring, Slot};
use crate::crypto::{KeyId, KeySet, SigningKey, VerifyingKey};
use crate::env::Millis;
use crate::run_tx;
use crate::store::batch::Sign;
use crate::store::{Tx, log, meta, signing_keys};
use crate::tlog::export::Writer;
use crate::tlog::{Filter, Kind, LogKey, TreeHead, checkpoint};

/// How long verifiers may keep the published keys before they ask again.
pub const KEYS_MAX_AGE: Duration = Duration::from_mins(5);

/// The keys that sign.
#[derive(Debug)]
pub struct Signing {
    tokens: RwLock<Keyring>,
    log: SigningKey,
    receipts: SigningKey,
    witness: SigningKey,
    origin: String,
}

impl Signing {
    pub(super) async fn open(parts: &Parts) -> Result<Self> {
        check_master(parts).await?;
        let log = kept_key(parts, LOG_KEY, CHECKPOINT).await?;
        let receipts = kept_key(parts, RECEIPT_KEY, RECEIPT).await?;
        let witness = kept_key(parts, WITNESS_KEY, COSIGNATURE).await?;
        let origin = origin(&parts.settings.issuer);
        let signing = Self { tokens: RwLock::default(), log, receipts, witness, origin };
        signing.load(parts).await?;
        Ok(signing)
    }

    /// The public keys of tokens, those to come and those that tokens under way still need.
    pub fn published(&self, now: Millis) -> KeySet {
        self.ring().published(now)
    }

    /// The key that signs tokens now.
    pub(super) fn signer(&self, now: Millis) -> Result<Arc<SigningKey>> {
        let ring = self.ring();
        ring.signer(now).cloned().map_err(|_| Error::Unavailable("no signing key is active"))
    }

    /// Signs a checkpoint of the log (C2SP tlog-checkpoint).
    pub(super) fn sign(&self, head: &TreeHead) -> Result<Vec<u8>> {
        checkpoint::sign(&self.origin, head, &self.log)
            .map_err(|e| Error::Internal(format!("a checkpoint: {e}")))
    }

    /// Ends an export with its signed manifest.
    pub(super) fn end_export(
        &self,
        export: Writer,
        filter: &Filter,
        note: &[u8],
    ) -> Result<Vec<u8>> {
        export
            .finish(filter, &self.origin, note, &self.log)
            .map_err(|e| Error::Internal(format!("an export's manifest: {e}")))
    }

    /// Signs checkpoints for the store's group commit.
    pub(super) fn signer_of_batches(self: Arc<Self>) -> Box<Sign> {
        Box::new(move |head: &log::Head| {
            let frontier = super::ledger::frontier(head).map_err(|e| e.to_string())?;
            self.sign(&frontier.head()).map_err(|e| e.to_string())
        })
    }

    /// The key that cosigns the checkpoints of other logs: one of its own, as one key must not
    /// make two kinds of statements.
    pub(super) fn witness(&self) -> &SigningKey {
        &self.witness
    }

    /// The public half of the key that signs checkpoints.
    pub(super) fn verifying_key(&self) -> VerifyingKey {
        self.log.verifying_key()
    }

    /// The key that signs consent receipts: one for the life of the database, since people keep
    /// their receipts.
    pub(super) fn receipts(&self) -> &SigningKey {
        &self.receipts
    }

    /// The public keys of consent receipts.
    pub fn receipt_keys(&self) -> KeySet {
        std::iter::once(self.receipts.verifying_key()).collect()
    }

    /// The log's name: the public URL without its scheme (C2SP tlog-checkpoint).
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The log's public key under its name.
    ///
    /// # Errors
    /// Where the name can't be one, which was checked when this was opened.
    pub fn log_key(&self) -> Result<LogKey> {
        LogKey::new(&self.origin, self.log.verifying_key())
            .map_err(|e| Error::Internal(format!("the log's name: {e}")))
    }

    /// The log's key again, for what has to hold as long as the log: certificates of deletion, and
    /// the checkpoints of use receipts.
    pub(super) fn certifier(&self) -> &SigningKey {
        &self.log
    }

    fn ring(&self) -> std::sync::RwLockReadGuard<'_, Keyring> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load(&self, parts: &Parts) -> Result<()> {
        let stored = signing_keys::list(&mut parts.db.read().await?).await?;
        let slots = stored.iter().map(|k| slot(parts, k)).collect::<Result<Vec<_>>>()?;
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Keyring::new(slots);
        Ok(())
    }
}

impl Inner {
    /// Reads the signing keys again: another process may have rotated them.
    ///
    /// # Errors
    /// Those of the store, and [`Error::Internal`] where a key does not unwrap.
    pub async fn reload_keys(&self) -> Result<()> {
        self.signing.load(&self.parts).await
    }

    /// Makes a first key for tokens where there is none.
    pub(super) async fn ensure_signing_key(&self) -> Result<()> {
        run_tx!(self.db(), "signing.first", |tx| {
            let ledger = self.ledger(tx).await?;
            if signing_keys::list(tx).await?.is_empty() {
                self.add_key(tx, ledger, Duration::ZERO).await?;
            }
            Ok::<_, Error>(())
        })?;
        self.reload_keys().await
    }

    /// Adds a signing key. It is published at once, signs when every verifier's copy of the keys
    /// has run out, and the old ones retire when the last token that they signed has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn rotate_signing_key(&self) -> Result<(KeyId, Millis)> {
        let done = run_tx!(self.db(), "signing.rotate", |tx| {
            let ledger = self.ledger(tx).await?;
            self.add_key(tx, ledger, KEYS_MAX_AGE).await
        })?;
        self.reload_keys().await?;
        Ok(done)
    }

    async fn add_key(
        &self,
        tx: &mut Tx,
        mut ledger: super::ledger::Ledger<'_>,
        lead: Duration,
    ) -> Result<(KeyId, Millis)> {
        let now = self.clock().now();
        let stored = signing_keys::list(tx).await?;
        let slots = stored.iter().map(|k| slot(&self.parts, k)).collect::<Result<Vec<_>>>()?;
        let overlap = crate::token::DEFAULT_LEEWAY + self.settings().token_ttl;
        let plan = Keyring::new(slots).plan_rotation(now, lead, overlap);
        let key = SigningKey::generate(self.entropy())?;
        let id = key.id();
        for (old, at) in &plan.retire {
            signing_keys::retire(tx, &old.to_string(), *at).await?;
        }
        let row = signing_keys::SigningKey {
            kid: id.to_string(),
            sealed_seed: key.wrap(&*self.parts.master, TOKEN, self.entropy())?,
            public: *key.verifying_key().as_bytes(),
            not_before: plan.not_before,
            retire_at: None,
            created: now,
        };
        signing_keys::insert(tx, &row).await?;
        ledger.add(Note::new(Kind::KeyRotation).public("kid", id.to_string()))?;
        ledger.write(tx).await?;
        Ok((id, plan.not_before))
    }
}

/// What a wrapped key is for.
pub(super) const TOKEN: &str = "token";
pub(super) const CHECKPOINT: &str = "checkpoint";
/// Where the database says which master key it belongs to.
pub(super) const MASTER_ID: &str = "master_key_id";
pub(super) const LOG_KEY: &str = "log_key";
pub(super) const RECEIPT_KEY: &str = "receipt_key";
pub(super) const RECEIPT: &str = "consent-receipt";
pub(super) const WITNESS_KEY: &str = "witness_key";
pub(super) const COSIGNATURE: &str = "cosignature";

fn slot(parts: &Parts, stored: &signing_keys::SigningKey) -> Result<Slot> {
    let id = KeyId::parse(&stored.kid)
        .ok_or_else(|| Error::Internal("a signing key has a broken name".into()))?;
    let key = SigningKey::unwrap(&*parts.master, &stored.sealed_seed, TOKEN, id)?;
    Ok(Slot { key: Arc::new(key), not_before: stored.not_before, retire_at: stored.retire_at })
}

/// A wrong master key must not go unnoticed until somebody's identity does not open.
async fn check_master(parts: &Parts) -> Result<()> {
    let ours = parts.master.id().to_string();
    let stored = run_tx!(&parts.db, "signing.master", |tx| meta::get_or_set(
        tx,
        MASTER_ID,
        ours.as_bytes()
    )
    .await)?;
    // An earlier key of ours will do: then what it wrapped is still to be wrapped anew.
    let known = parts.master.ids().iter().any(|id| stored == id.to_string().as_bytes());
    if known {
        Ok(())
    } else {
        Err(Error::Unavailable(
            "the master key is not the one this database was made with: give the right one",
        ))
    }
}

/// A key that is made once and kept in the database, wrapped for `purpose`.
async fn kept_key(parts: &Parts, name: &str, purpose: &str) -> Result<SigningKey> {
    let fresh = SigningKey::generate(&*parts.entropy)?;
    let mut value = fresh.id().0.to_vec();
    value.extend(fresh.wrap(&*parts.master, purpose, &*parts.entropy)?);
    let stored = run_tx!(&parts.db, "signing.log", |tx| meta::get_or_set(tx, name, &value).await)?;
    let broken = || Error::Internal(format!("the key {name} is broken"));
    let (id, wrapped) = stored.split_first_chunk::<8>().ok_or_else(broken)?;
    Ok(SigningKey::unwrap(&*parts.master, wrapped, purpose, KeyId(*id))?)
}

/// A log's name is the URL prefix of its tiles without the scheme (C2SP tlog-tiles).
fn origin(issuer: &str) -> String {
    let name = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    format!("{name}/tlog")
}
