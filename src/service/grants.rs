//! Grants to single people: listed and taken back. They are made by answering a request.

use serde::{Deserialize, Serialize};

use super::consent::{active, parse_terms};
use super::ledger::Note;
use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::domain::consent::{Grant, Scope};
use crate::domain::ids::{CameoId, GrantId, RequestId, SubjectId};
use crate::env::Millis;
use crate::run_tx;
use crate::store::grants::{self, StoredGrant};
use crate::store::token_status;
use crate::tlog::Kind;

/// A grant as the person sees it.
#[derive(Clone, Debug)]
pub struct GrantView {
    /// The grant.
    pub grant: Grant,
    /// The request that it answers.
    pub request: Option<RequestId>,
    /// When it was given.
    pub granted: Millis,
    /// When it was taken back, where it was.
    pub revoked: Option<Millis>,
    /// The log's entry about it.
    pub log_index: u64,
}

/// The most grants on one page.
pub const MAX_PAGE: u32 = 500;

/// What is sealed of a grant.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) to: SubjectId,
    /// What it covers, word for word as the log commits to it.
    pub(super) terms: Vec<u8>,
    /// The text that the person was shown.
    pub(super) text_version: String,
    pub(super) locale: Option<String>,
    pub(super) text_sha256: Option<[u8; 32]>,
}

impl Inner {
    /// A cameo's grants in the order in which they were given, revoked ones too.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown cameo.
    pub async fn grants(
        &self,
        id: &CameoId,
        after: Option<&GrantId>,
        limit: u32,
    ) -> Result<Vec<GrantView>> {
        let mut tx = self.db().snapshot().await?;
        let cameo = active(&mut tx, id).await?;
        let person = self.known_person(&mut tx, &cameo.subject).await?;
        let person = person.ok_or(Error::NotFound("cameo"))?;
        let stored = grants::of_cameo(&mut tx, id, after, limit.clamp(1, MAX_PAGE)).await?;
        stored.into_iter().map(|g| view(&person, g)).collect()
    }

    /// Takes a grant back: from the return of this call it allows nothing any more.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the cameo has no such grant, or it was taken back before.
    pub async fn revoke_grant(&self, id: &CameoId, grant: &GrantId) -> Result<GrantView> {
        let now = self.clock().now();
        run_tx!(self.db(), "grants.revoke", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let cameo = active(tx, id).await?;
            let person = self.person(tx, &cameo.subject).await?;
            let unknown = || Error::NotFound("grant of this cameo that stands");
            let stored = grants::get(tx, grant).await?.filter(|g| g.cameo == *id);
            let stored = stored.ok_or_else(unknown)?;
            if stored.revoked.is_some() {
                return Err(unknown());
            }
            token_status::revoke_grant(tx, id, grant.as_str(), now).await?;
            let note = Note::new(Kind::GrantRevoked)
                .about(&person)
                .commit("cameo", id.as_str())
                .commit("grant", grant.as_str());
            let log_index = ledger.add(note)?;
            ledger.write(tx).await?;
            grants::revoke(tx, grant, now, log_index).await?;
            let revoked_log_index = Some(log_index);
            view(&person, StoredGrant { revoked: Some(now), revoked_log_index, ..stored })
        })
    }

    /// A grant ready for the store.
    pub(super) fn seal_grant(
        &self,
        person: &Person,
        cameo: &CameoId,
        id: &GrantId,
        kept: &Kept,
        request: Option<&RequestId>,
        at: Millis,
        log_index: u64,
    ) -> Result<StoredGrant> {
        Ok(StoredGrant {
            id: id.clone(),
            cameo: cameo.clone(),
            grantee_tag: person.tag(&kept.to),
            grant_sealed: self.seal(person, Sealed::Grant, id.as_str(), kept)?,
            request: request.cloned(),
            granted: at,
            revoked: None,
            log_index,
            revoked_log_index: None,
        })
    }
}

/// Opens a stored grant.
pub(super) fn open_grant(person: &Person, stored: &StoredGrant) -> Result<Grant> {
    let kept = open_kept(person, stored)?;
    let scope: Scope = parse_terms(&kept.terms)?;
    Ok(Grant { id: stored.id.clone(), to: kept.to, scope })
}

/// The same with the text that the person was shown.
pub(super) fn open_kept(person: &Person, stored: &StoredGrant) -> Result<Kept> {
    person.open(Sealed::Grant, stored.id.as_str(), &stored.grant_sealed)
}

fn view(person: &Person, stored: StoredGrant) -> Result<GrantView> {
    Ok(GrantView {
        grant: open_grant(person, &stored)?,
        request: stored.request,
        granted: stored.granted,
        revoked: stored.revoked,
        log_index: stored.log_index,
    })
}
