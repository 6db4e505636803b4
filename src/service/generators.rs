//! Generators: the keys that payloads are sealed to.

use std::time::Duration;

use serde::Serialize;

use super::ledger::Note;
use super::once::{Answer, Call};
use super::{Error, Inner, Result};
use crate::crypto::{KeyId, RecipientKey};
use crate::domain::access::Role;
use crate::domain::ids::ApiKeyId;
use crate::env::Millis;
use crate::run_tx;
use crate::store::generator_keys::{self, GeneratorKey, MAX_LISTED};
use crate::store::{Tx, api_keys};
use crate::tlog::Kind;
/// How far ahead a key may be registered.
const MAX_LEAD: Duration = Duration::from_hours(24 * 90);

/// A registered key.
#[derive(Clone, Debug, Serialize)]
pub struct RecipientInfo {
    /// The key's name: 16 hex digits of its COSE Key Thumbprint.
    pub kid: String,
    /// The public key's 32 bytes.
    #[serde(skip)]
    pub public: [u8; 32],
    /// From when on payloads are sealed to it.
    pub not_before: Millis,
    /// From when on they no longer are; the private key is needed for tokens issued before.
    pub retire_at: Option<Millis>,
    /// When it was registered.
    pub created: Millis,
}

impl Inner {
    /// Registers a generator's public key. Payloads are sealed to it from `not_before` on (now where
    /// none is named), and from then on no longer to earlier ones, whose private halves the
    /// generator keeps until the tokens under way have expired.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key that nothing can be sealed to, one that is registered, a time
    /// that lies behind or too far ahead, or too many keys; [`Error::NotFound`] where `generator` is
    /// no generator's API key.
    pub async fn register_recipient(
        &self,
        generator: &ApiKeyId,
        public: [u8; 32],
        not_before: Option<Millis>,
        call: &Call,
        answer: impl Fn(&RecipientInfo) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        let row = self.draft_recipient(generator, public, not_before)?;
        let answer = answer(&info(row.clone()));
        run_tx!(self.db(), "generators.register", |tx| {
            self.insert_recipient(tx, &row).await?;
            self.finish_once(tx, Some(call), &answer).await
        })?;
        Ok(answer)
    }

    /// The same from the command line, from now on.
    ///
    /// # Errors
    /// As [`Inner::register_recipient`].
    pub async fn add_recipient(
        &self,
        generator: &ApiKeyId,
        public: [u8; 32],
    ) -> Result<RecipientInfo> {
        let row = self.draft_recipient(generator, public, None)?;
        run_tx!(self.db(), "generators.add", |tx| self.insert_recipient(tx, &row).await)?;
        Ok(info(row))
    }

    fn draft_recipient(
        &self,
        generator: &ApiKeyId,
        public: [u8; 32],
        not_before: Option<Millis>,
    ) -> Result<GeneratorKey> {
        let key = RecipientKey::from_bytes(public).checked().map_err(|_| Error::Invalid {
            field: "public_key",
            reason: "must be an X25519 public key that is not of small order".into(),
        })?;
        let now = self.clock().now();
        let from = not_before.unwrap_or(now);
        if from < now.minus(Duration::from_mins(1)) || from > now.plus(MAX_LEAD) {
            let reason = "must lie ahead, at most 90 days".into();
            return Err(Error::Invalid { field: "not_before", reason });
        }
        Ok(GeneratorKey {
            generator: generator.clone(),
            kid: key.id().to_string(),
            public,
            not_before: from,
            retire_at: None,
            created: now,
        })
    }

    async fn insert_recipient(&self, tx: &mut Tx, row: &GeneratorKey) -> Result<()> {
        let mut ledger = self.ledger(tx).await?;
        known_generator(tx, &row.generator).await?;
        let earlier = generator_keys::list(tx, &row.generator).await?;
        if earlier.len() >= MAX_LISTED as usize {
            let reason = format!("there are {MAX_LISTED} already, which is the most");
            return Err(Error::Invalid { field: "public_key", reason });
        }
        if earlier.iter().any(|k| k.kid == row.kid) {
            let reason = "is registered already".into();
            return Err(Error::Invalid { field: "public_key", reason });
        }
        for old in earlier.iter().filter(|k| k.not_before <= row.not_before) {
            generator_keys::retire(tx, &row.generator, &old.kid, row.not_before).await?;
        }
        generator_keys::insert(tx, row).await?;
        let note = Note::new(Kind::GeneratorKey)
            .public("event", "registered")
            .public("generator", row.generator.as_str())
            .public("kid", row.kid.as_str());
        ledger.add(note)?;
        ledger.write(tx).await
    }

    /// A generator's keys, the newest first, retired ones too.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn recipients(&self, generator: &ApiKeyId) -> Result<Vec<RecipientInfo>> {
        let keys = generator_keys::list(&mut self.db().read().await?, generator).await?;
        Ok(keys.into_iter().map(info).collect())
    }

    /// Retires a key at once: it may be in other hands. Without another key, the generator gets no
    /// tokens.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the generator has no such key that is not retired.
    pub async fn retire_recipient(&self, generator: &ApiKeyId, kid: KeyId) -> Result<()> {
        let now = self.clock().now();
        run_tx!(self.db(), "generators.retire", |tx| {
            let mut ledger = self.ledger(tx).await?;
            if !generator_keys::retire(tx, generator, &kid.to_string(), now).await? {
                return Err(Error::NotFound("key of this generator that is not retired"));
            }
            let note = Note::new(Kind::GeneratorKey)
                .public("event", "retired")
                .public("generator", generator.as_str())
                .public("kid", kid.to_string());
            ledger.add(note)?;
            ledger.write(tx).await
        })
    }
}

/// Checks that this is the API key of a generator, and not revoked.
pub(super) async fn known_generator(tx: &mut Tx, generator: &ApiKeyId) -> Result<()> {
    match api_keys::get(tx, generator).await? {
        Some(k) if k.role == Role::Generator && k.revoked.is_none() => Ok(()),
        _ => Err(Error::NotFound("generator")),
    }
}

fn info(k: GeneratorKey) -> RecipientInfo {
    RecipientInfo {
        kid: k.kid,
        public: k.public,
        not_before: k.not_before,
        retire_at: k.retire_at,
        created: k.created,
    }
}
