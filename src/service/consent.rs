//! Consent: a person's permissions, as versions that are never overwritten.

use super::ledger::Note;
use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::domain::consent::{GrantRef, Permissions};
use crate::domain::ids::CameoId;
use crate::env::Millis;
use crate::run_tx;
use crate::store::Tx;
use crate::store::cameos::{self, Cameo, CameoState};
use crate::store::consents::{self, Consent, ConsentKind};
use crate::store::{grants, token_status};
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
    /// The version of the text that the person agreed to.
    pub text_version: String,
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
        text_version: &str,
        expected: Option<u32>,
    ) -> Result<Version> {
        permissions.check(self.clock().now())?;
        super::onboard::word("text_version", text_version)?;
        self.append_consent(id, Some(permissions), text_version, expected).await
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
        self.append_consent(id, None, &latest.text_version, None).await
    }

    async fn append_consent(
        &self,
        id: &CameoId,
        permissions: Option<&Permissions>,
        text_version: &str,
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
            let version = current + 1;
            let sealed = permissions
                .map(|p| self.seal(&person, Sealed::Permissions, &place(id, version), p))
                .transpose()?;
            let mut note = Note::new(event)
                .about(&person)
                .public("text_version", text_version)
                .commit("cameo", id.as_str())
                .commit("version", version.to_be_bytes());
            if let Some(p) = permissions {
                let body = serde_json::to_vec(p)
                    .map_err(|e| Error::Internal(format!("permissions: {e}")))?;
                note = note.commit("permissions", body);
            }
            let log_index = ledger.add(note)?;
            let row = Consent {
                cameo: id.clone(),
                version,
                kind,
                permissions_sealed: sealed,
                text_version: text_version.to_owned(),
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
                // No grant outlives the consent that it was given under.
                ConsentKind::Withdrawn => {
                    grants::revoke_all(tx, id, now).await?;
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
    let permissions = match &row.permissions_sealed {
        None => None,
        Some(sealed) => {
            let place = place(&row.cameo, row.version);
            Some(person.open(Sealed::Permissions, &place, sealed)?)
        }
    };
    Ok(Version {
        version: row.version,
        kind: row.kind,
        permissions,
        text_version: row.text_version,
        at: row.at,
        log_index: row.log_index,
    })
}

/// The cameo, as long as it is not deleted: a deleted one is as if it never was.
pub(super) async fn active(tx: &mut Tx, id: &CameoId) -> Result<Cameo> {
    let found = cameos::get(tx, id).await?;
    found.filter(|c| c.state == CameoState::Active).ok_or(Error::NotFound("cameo"))
}

fn place(cameo: &CameoId, version: u32) -> String {
    format!("{cameo}:{version}")
}
