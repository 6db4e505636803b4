//! Issuing: a use that was decided on becomes a token, a log entry and a record.

use super::access::Caller;
use super::decisions::Case;
use super::enrol::open_template;
use super::ledger::{Ledger, Note};
use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::crypto::RecipientKey;
use crate::domain::consent::{GrantRef, Obligations, Purpose, Rule};
use crate::domain::ids::{CameoId, SceneId, SubjectId, UseId};
use crate::env::Millis;
use crate::store::token_status::Place;
use crate::store::uses::{self, Use, UseOutcome};
use crate::store::{Tx, generator_keys};
use crate::tlog::Kind;
use crate::token::status::StatusRef;
use crate::token::{self, Claims, Identity, TokenId};

/// A use that was decided on, with what its token, its entry and its record say in any case.
pub(super) struct Decided<'a> {
    pub(super) use_id: UseId,
    pub(super) cameo: CameoId,
    pub(super) case: &'a Case,
    pub(super) person: &'a Person,
    pub(super) generator: &'a Caller,
    pub(super) requester: &'a SubjectId,
    pub(super) purpose: Purpose,
    /// The newest version of the consent; `None` where there never was one.
    pub(super) consent_version: Option<u32>,
    /// The use that made the video which this one's derives from.
    pub(super) parent: Option<&'a UseId>,
    /// What it is resolved together with.
    pub(super) scene: Option<&'a SceneId>,
    /// What the generator bound the token to.
    pub(super) request_digest: Option<[u8; 32]>,
    pub(super) at: Millis,
}

/// A token that was issued.
#[derive(Clone)]
pub struct Issued {
    /// The record of the use.
    pub use_id: UseId,
    /// The cameo.
    pub cameo: CameoId,
    /// The token: a `COSE_Sign1` with a CWT in it.
    pub token: zeroize::Zeroizing<Vec<u8>>,
    /// When it expires.
    pub expires: Millis,
    /// The version of the consent that allowed it.
    pub consent_version: u32,
    /// What allowed it.
    pub grant: GrantRef,
    /// The log's entry about it.
    pub log_index: u64,
}

impl Inner {
    /// Makes the token of a permitted use and its log entry, and returns them with the record, which
    /// goes into the store once the entry stands.
    pub(super) async fn issue_token(
        &self,
        tx: &mut Tx,
        ledger: &mut Ledger<'_>,
        decided: &Decided<'_>,
        grant: &GrantRef,
        obligations: &Obligations,
    ) -> Result<(Issued, Use)> {
        let now = decided.at;
        let stored = decided.case.dossier.template.as_ref().ok_or(Error::NotFound("cameo"))?;
        let template = open_template(decided.person, stored)?;
        let signer = self.signing().signer(now)?;
        let recipient = generator_keys::current(tx, &decided.generator.key, now).await?;
        let recipient = RecipientKey::from_bytes(recipient.ok_or(Error::NoRecipientKey)?.public);
        let place = self.places.take()?;
        let consent_version = decided.consent_version.unwrap_or(0);
        let expires_at = now.plus(self.settings().token_ttl).seconds();
        // A token does not outlive what it was granted under; whole seconds, at least one.
        let expires_at = match obligations.until {
            Some(until) => expires_at.min(until.seconds()).max(now.seconds() + 1),
            None => expires_at,
        };
        let claims = Claims {
            issuer: self.settings().issuer.clone(),
            subject: decided.person.pairwise(&decided.cameo, &decided.generator.key),
            audience: decided.generator.key.to_string(),
            issued_at: now.seconds(),
            not_before: now.seconds(),
            expires_at,
            token_id: TokenId::generate(self.entropy()),
            status: StatusRef { index: place.index, uri: self.status_uri(place.list) },
            consent_version: consent_version.into(),
            grant: grant.name().to_owned(),
            use_id: decided.use_id.to_string(),
            purpose: decided.purpose.name().to_owned(),
            requester: decided.requester.as_str().to_owned(),
            restrictions: obligations.restrictions.clone(),
            request_digest: decided.request_digest,
            parent: decided.parent.map(UseId::to_string),
        };
        let payload = Identity::of(&template, obligations.voice)?.into();
        let expires = Millis(claims.expires_at.saturating_mul(1000));
        let token = zeroize::Zeroizing::new(token::issue(
            &signer,
            &claims,
            &payload,
            &recipient,
            self.entropy(),
        )?);
        let kid = signer.id().to_string();
        let entry = decided
            .note(Kind::ResolveAllowed)
            .public("kid", kid.as_str())
            .commit("grant", grant.name())
            .commit("token", crate::crypto::hash::sha256(&token));
        let log_index = ledger.add(entry)?;
        let outcome = UseOutcome::Allowed { expires, kid };
        let record = self.record(decided, outcome, Some((grant.clone(), place)), log_index)?;
        let issued = Issued {
            use_id: decided.use_id.clone(),
            cameo: decided.cameo.clone(),
            token,
            expires,
            consent_version,
            grant: grant.clone(),
            log_index,
        };
        Ok((issued, record))
    }

    /// The log entry and the record of a refused use. `rule` is the public one: generators and
    /// auditors read both.
    pub(super) fn refuse(
        &self,
        ledger: &mut Ledger<'_>,
        decided: &Decided<'_>,
        rule: Rule,
    ) -> Result<Use> {
        let entry = decided.note(Kind::ResolveDenied).public("rule", rule.name());
        let log_index = ledger.add(entry)?;
        self.record(decided, UseOutcome::Denied(rule), None, log_index)
    }

    /// Keeps the record of a use. Its log entry must have been written.
    pub(super) async fn keep_use(&self, tx: &mut Tx, record: Use) -> Result<()> {
        Ok(uses::insert(tx, record).await?)
    }

    fn record(
        &self,
        decided: &Decided<'_>,
        outcome: UseOutcome,
        allowed: Option<(GrantRef, Place)>,
        log_index: u64,
    ) -> Result<Use> {
        let (grant, place_in_list) = allowed.unzip();
        let place = decided.use_id.to_string();
        let requester_sealed =
            self.seal(decided.person, Sealed::Requester, &place, decided.requester)?;
        Ok(Use {
            id: decided.use_id.clone(),
            cameo: decided.cameo.clone(),
            generator: decided.generator.key.clone(),
            purpose: decided.purpose,
            requester_sealed,
            outcome,
            consent_version: decided.consent_version,
            issued: decided.at,
            log_index,
            grant,
            parent: decided.parent.cloned(),
            scene: decided.scene.cloned(),
            place: place_in_list,
            token_status: 0,
        })
    }
}

impl<'a> Decided<'a> {
    /// What the log says in any case.
    fn note(&self, kind: Kind) -> Note<'a> {
        let mut note = Note::new(kind)
            .about(self.person)
            .public("use", self.use_id.as_str())
            .public("generator", self.generator.key.as_str())
            .public("purpose", self.purpose.name())
            .commit("cameo", self.cameo.as_str())
            .commit("requester", self.requester.as_str())
            .commit("consent_version", self.consent_version.unwrap_or(0).to_be_bytes());
        if let Some(parent) = self.parent {
            note = note.commit("parent", parent.as_str());
        }
        if let Some(scene) = self.scene {
            note = note.commit("scene", scene.as_str());
        }
        note
    }
}
