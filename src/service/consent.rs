//! Consent: a person's permissions, as versions that are never overwritten.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ledger::Note;
use super::subject::{Person, Sealed};
use super::texts::Shown;
use super::{Error, Inner, Result};
use crate::domain::consent::{GrantRef, Permissions};
use crate::domain::ids::CameoId;
use crate::env::Millis;
use crate::run_tx;
use crate::store::Tx;
use crate::store::cameos::{self, Cameo, CameoState};
use crate::store::consents::{self, Consent, ConsentKind};
use crate::store::{grants, key_frames, token_status};
use crate::tlog::Kind;

/// One version of a person's consent.
#[derive(Clone, Debug)]
pub struct Version {
    /// From 1, without gaps.
    pub version: u32,
    /// Whether it was given, changed or withdrawn.
    pub kind: ConsentKind,
    /// What it allows; `None` where it was withdrawn.
    pub permissions: Option<Permissions>,
    /// The same in JSON, word for word as the log commits to it.
    pub(super) terms: Option<Vec<u8>>,
    /// The version of the text that the person agreed to.
    pub text_version: String,
    /// Its language, where the app said.
    pub locale: Option<String>,
    /// SHA-256 of the text, where it is kept.
    pub text_sha256: Option<[u8; 32]>,
    /// When.
    pub at: Millis,
    /// The log's entry about it.
    pub log_index: u64,
}

impl Inner {
    /// An active cameo.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn cameo(&self, id: &CameoId) -> Result<Cameo> {
        active(&mut self.db().read().await?, id).await
    }

    /// A version of the consent; the newest where none is named.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no cameo, no consent yet, or no such version.
    pub async fn consent(&self, id: &CameoId, version: Option<u32>) -> Result<Version> {
        let mut tx = self.db().snapshot().await?;
        let cameo = active(&mut tx, id).await?;
        let found = match version {
            None => consents::latest(&mut tx, id).await?,
            Some(v) => consents::get(&mut tx, id, v).await?,
        };
        let found = found.ok_or(Error::NotFound("consent of this cameo"))?;
        let person =
            self.known_person(&mut tx, &cameo.subject).await?.ok_or(Error::NotFound("cameo"))?;
        open_consent(&person, found)
    }

    /// Gives or changes consent. `expected` is the version that the caller has seen (0: none), so
    /// that two devices do not overwrite each other unseen; `None` takes whatever is there.
    ///
    /// # Errors
    /// [`Error::ConsentChanged`], [`Error::Invalid`], [`Error::NotFound`].
    pub async fn put_consent(
        &self,
        id: &CameoId,
        permissions: &Permissions,
        shown: &Shown,
        expected: Option<u32>,
    ) -> Result<Version> {
        permissions.check(self.clock().now())?;
        shown.check()?;
        self.append_consent(id, Some(permissions), shown, expected).await
    }

    /// Withdraws consent: from the return of this call no further token is issued.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no consent to withdraw.
    pub async fn withdraw_consent(&self, id: &CameoId) -> Result<Version> {
        let latest = self.consent(id, None).await?;
        if latest.kind == ConsentKind::Withdrawn {
            return Ok(latest);
        }
        let shown = Shown { version: latest.text_version, locale: latest.locale };
        self.append_consent(id, None, &shown, None).await
    }

    async fn append_consent(
        &self,
        id: &CameoId,
        permissions: Option<&Permissions>,
        shown: &Shown,
        expected: Option<u32>,
    ) -> Result<Version> {
        let now = self.clock().now();
        run_tx!(self.db(), "consent.append", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let cameo = active(tx, id).await?;
            let person = self.person(tx, &cameo.subject).await?;
            let latest = consents::latest(tx, id).await?;
            let current = latest.as_ref().map_or(0, |c| c.version);
            if expected.is_some_and(|e| e != current) {
                return Err(Error::ConsentChanged { current });
            }
            let standing = latest.is_some_and(|c| c.kind != ConsentKind::Withdrawn);
            let (kind, event) = match (permissions, standing) {
                (None, _) => (ConsentKind::Withdrawn, Kind::ConsentWithdrawn),
                (Some(_), false) => (ConsentKind::Given, Kind::ConsentGiven),
                (Some(_), true) => (ConsentKind::Changed, Kind::ConsentChanged),
            };
            let purposes = permissions.map(|p| p.scope.purposes.clone()).unwrap_or_default();
            let text = shown.find(tx, &purposes).await?;
            let version = current + 1;
            // Word for word what the log commits to, so that it can be shown to be that.
            let terms = permissions.map(terms).transpose()?;
            let sealed = terms
                .as_ref()
                .map(|t| self.seal_bytes(&person, Sealed::Permissions, &place(id, version), t))
                .transpose()?;
            let mut note = Note::new(event)
                .about(&person)
                .public("text_version", shown.version.as_str())
                .commit("cameo", id.as_str())
                .commit("version", version.to_be_bytes());
            if let Some(terms) = terms {
                note = note.commit("permissions", terms);
            }
            if let Some(text) = &text {
                note = note.commit("text_sha256", text.sha256);
            }
            let log_index = ledger.add(note)?;
            let row = Consent {
                cameo: id.clone(),
                version,
                kind,
                permissions_sealed: sealed,
                text_version: shown.version.clone(),
                locale: shown.locale.clone(),
                text_sha256: text.map(|t| t.sha256),
                at: now,
                log_index,
            };
            if kind == ConsentKind::Withdrawn {
                token_status::revoke(tx, id, now).await?;
            }
            // The entry stands before what refers to it.
            ledger.write(tx).await?;
            consents::append(tx, &row).await?;
            match kind {
                // No grant outlives the consent that it was given under, nor does a picture.
                ConsentKind::Withdrawn => {
                    grants::revoke_all(tx, id, now).await?;
                    key_frames::delete_of(tx, &cameo.subject).await?;
                }
                ConsentKind::Given => grants::forget_used(tx, id, &GrantRef::Standing).await?,
                ConsentKind::Changed => {}
            }
            open_consent(&person, row)
        })
    }
}

/// Opens a version's permissions.
pub(super) fn open_consent(person: &Person, row: Consent) -> Result<Version> {
    let place = place(&row.cameo, row.version);
    let open = |sealed: &Vec<u8>| person.open_bytes(Sealed::Permissions, &place, sealed);
    let terms = row.permissions_sealed.as_ref().map(open).transpose()?;
    let permissions = terms.as_ref().map(|t| parse_terms(t)).transpose()?;
    Ok(Version {
        version: row.version,
        kind: row.kind,
        permissions,
        terms: terms.map(|t| t.to_vec()),
        text_version: row.text_version,
        locale: row.locale,
        text_sha256: row.text_sha256,
        at: row.at,
        log_index: row.log_index,
    })
}

/// What was granted, as JSON: the form that the log commits to.
pub(super) fn terms<T: Serialize>(granted: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(granted).map_err(|e| Error::Internal(format!("what was granted: {e}")))
}

/// Reads what [`terms`] wrote.
pub(super) fn parse_terms<T: DeserializeOwned>(terms: &[u8]) -> Result<T> {
    // Not the parser's words: they may quote the value.
    serde_json::from_slice(terms)
        .map_err(|_| Error::Internal("what was granted does not parse".into()))
}

/// The cameo, as long as it is not deleted: a deleted one is as if it never was.
pub(super) async fn active(tx: &mut Tx, id: &CameoId) -> Result<Cameo> {
    let found = cameos::get(tx, id).await?;
    found.filter(|c| c.state == CameoState::Active).ok_or(Error::NotFound("cameo"))
}

fn place(cameo: &CameoId, version: u32) -> String {
    format!("{cameo}:{version}")
}
