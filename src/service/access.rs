//! API keys: who is calling, and what they may.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::oneshot;

use super::ledger::Note;
use super::once::{Answer, Call};
use super::{Error, Inner, Result};
use crate::crypto::apikey;
use crate::domain::access::Role;
use crate::domain::ids::ApiKeyId;
use crate::env::Millis;
use crate::run_tx;
use crate::store::{self, Tx, api_keys, token_status};
use crate::tlog::Kind;

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The key's public id.
    pub key: ApiKeyId,
    /// What it may.
    pub role: Role,
}

/// A key as it is listed: without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct KeyInfo {
    /// The public id.
    pub id: ApiKeyId,
    /// What it may.
    pub role: Role,
    /// What its owner calls it.
    pub name: String,
    /// When it was made.
    pub created_at: Millis,
    /// When it was revoked, where it was.
    pub revoked_at: Option<Millis>,
}

/// Hashes of keys that callers came with, and who wants to know.
type Asked = Vec<([u8; 32], oneshot::Sender<Option<api_keys::ApiKey>>)>;

/// Callers whose keys are being looked up.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    asked: Mutex<Asked>,
    turn: tokio::sync::Mutex<()>,
}

impl Lookups {
    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest name of a key, in characters.
pub const MAX_NAME: usize = 64;

impl Inner {
    /// Who calls with this `Authorization` credential.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] where the text is no key of ours or was revoked.
    pub async fn authenticate(&self, credential: &str) -> Result<Caller> {
        const UNKNOWN: Error = Error::Unauthenticated("this API key is unknown or was revoked");
        let key = apikey::ApiKey::parse(credential).map_err(|_| UNKNOWN)?;
        let digest = key.digest();
        match self.key_of(digest).await? {
            Some(k) if k.revoked.is_none() && key.matches(&k.secret_hash) => {
                Ok(Caller { key: k.id, role: k.role })
            }
            _ => Err(UNKNOWN),
        }
    }

    /// The key of this hash, as it stands after this call began. Those who ask while one is reading
    /// wait, and the next one reads for all of them.
    async fn key_of(&self, digest: [u8; 32]) -> Result<Option<api_keys::ApiKey>> {
        let (tell, mut told) = oneshot::channel();
        self.lookups.asked().push((digest, tell));
        tokio::select! {
            biased;
            found = &mut told => {
                if let Ok(found) = found {
                    return Ok(found);
                }
            }
            _turn = self.lookups.turn.lock() => {
                let asked = std::mem::take(&mut *self.lookups.asked());
                let mut tx = self.db().read().await?;
                let mut known = HashMap::new();
                for (digest, tell) in asked {
                    let key = match known.entry(digest) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(new) => {
                            new.insert(api_keys::by_hash(&mut tx, &digest).await?)
                        }
                    };
                    // One that went away needs no answer.
                    let _ = tell.send(key.clone());
                }
                if let Ok(found) = told.try_recv() {
                    return Ok(found);
                }
            }
        }
        // Whoever was reading for this one failed or went away.
        Ok(api_keys::by_hash(&mut self.db().read().await?, &digest).await?)
    }

    /// Makes a key and returns its secret, which is not kept.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad name; those of the store.
    pub async fn create_key(&self, role: Role, name: &str) -> Result<(KeyInfo, apikey::ApiKey)> {
        let (row, secret) = self.draft_key(role, name)?;
        run_tx!(self.db(), "access.create", |tx| self.insert_key(tx, &row).await)?;
        Ok((info(row), secret))
    }

    /// The same under an Idempotency-Key, whose kept answer holds the secret, sealed.
    ///
    /// # Errors
    /// As [`Inner::create_key`].
    pub async fn create_key_once(
        &self,
        role: Role,
        name: &str,
        call: &Call,
        answer: impl Fn(&KeyInfo, &str) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        let (row, secret) = self.draft_key(role, name)?;
        let answer = answer(&info(row.clone()), secret.expose());
        run_tx!(self.db(), "access.create", |tx| {
            self.insert_key(tx, &row).await?;
            self.finish_once(tx, Some(call), &answer).await
        })?;
        Ok(answer)
    }

    fn draft_key(&self, role: Role, name: &str) -> Result<(api_keys::ApiKey, apikey::ApiKey)> {
        let bad = |c: char| c.is_control();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(bad) {
            return Err(Error::Invalid {
                field: "name",
                reason: format!("must be 1 to {MAX_NAME} characters without control characters"),
            });
        }
        let secret = apikey::ApiKey::generate(role.name(), self.entropy())
            .map_err(|e| Error::Internal(e.to_string()))?;
        let now = self.clock().now();
        let row = api_keys::ApiKey {
            id: ApiKeyId::new(self.clock(), self.entropy()),
            role,
            name: name.to_owned(),
            secret_hash: secret.digest(),
            created: now,
            revoked: None,
        };
        Ok((row, secret))
    }

    async fn insert_key(&self, tx: &mut Tx, row: &api_keys::ApiKey) -> Result<()> {
        let mut ledger = self.ledger(tx).await?;
        api_keys::insert(tx, row).await.map_err(|e| match e {
            store::Error::Conflict { .. } => {
                Error::Invalid { field: "name", reason: "is another key's name".into() }
            }
            e => e.into(),
        })?;
        let note = Note::new(Kind::ApiKeyCreated)
            .public("key", row.id.as_str())
            .public("role", row.role.name());
        ledger.add(note)?;
        ledger.write(tx).await
    }

    /// Revokes a key, at once.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, or it was revoked before.
    pub async fn revoke_key(&self, id: &ApiKeyId) -> Result<()> {
        let now = self.clock().now();
        run_tx!(self.db(), "access.revoke", |tx| {
            let mut ledger = self.ledger(tx).await?;
            if !api_keys::revoke(tx, id, now).await? {
                return Err(Error::NotFound("active API key"));
            }
            token_status::revoke_generator(tx, id, now).await?;
            ledger.add(Note::new(Kind::ApiKeyRevoked).public("key", id.as_str()))?;
            ledger.write(tx).await
        })
    }

    /// Every key, without secrets.
    pub async fn list_keys(&self) -> Result<Vec<KeyInfo>> {
        let keys = api_keys::list(&mut self.db().read().await?).await?;
        Ok(keys.into_iter().map(info).collect())
    }

    /// On the very first start, when there is no key at all: an admin key, to make others with.
    pub async fn bootstrap(&self) -> Result<Option<apikey::ApiKey>> {
        if api_keys::any(&mut self.db().read().await?).await? {
            return Ok(None);
        }
        match self.create_key(Role::Admin, "first admin").await {
            Ok((_, secret)) => Ok(Some(secret)),
            // Another replica was first.
            Err(Error::Invalid { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl Caller {
    /// Whether the caller may do what `needed` may.
    ///
    /// # Errors
    /// [`Error::Forbidden`], naming the role.
    pub fn require(&self, needed: Role) -> Result<()> {
        if self.role == needed { Ok(()) } else { Err(Error::Forbidden { needed }) }
    }
}

fn info(k: api_keys::ApiKey) -> KeyInfo {
    KeyInfo { id: k.id, role: k.role, name: k.name, created_at: k.created, revoked_at: k.revoked }
}
