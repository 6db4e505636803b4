//! Consent receipts: what a person keeps of what they said.

use serde_json::json;

use super::consent::{Version, active, open_consent};
use super::grants::open_kept;
use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::domain::consent::{Permissions, Purpose, Scope};
use crate::domain::ids::{CameoId, GrantId};
use crate::env::Millis;
use crate::receipt::consent::{
    self as receipt, Event, Logged, Notice, Party, Processing, PurposeLine, Receipt,
};
use crate::store::consents::ConsentKind;
use crate::store::{Tx, cameos::Cameo, consents, grants, log};
use crate::tlog::Salt;

/// The forms of a signed receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A readable record with a JWS.
    Json,
    /// A `COSE_Sign1`.
    Cose,
}

impl Inner {
    /// The receipt of a version of the consent; the newest where none is named.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn consent_receipt(&self, id: &CameoId, version: Option<u32>) -> Result<Receipt> {
        let mut tx = self.db().snapshot().await?;
        let cameo = active(&mut tx, id).await?;
        let person = self.owner_of(&mut tx, id).await?;
        let found = match version {
            None => consents::latest(&mut tx, id).await?,
            Some(v) => consents::get(&mut tx, id, v).await?,
        };
        let found = open_consent(&person, found.ok_or(Error::NotFound("consent of this cameo"))?)?;
        self.receipt_of_version(&mut tx, &cameo, &person, &found).await
    }

    /// The receipt of a grant to one person.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn grant_receipt(&self, id: &CameoId, grant: &GrantId) -> Result<Receipt> {
        let mut tx = self.db().snapshot().await?;
        let cameo = active(&mut tx, id).await?;
        let person = self.owner_of(&mut tx, id).await?;
        self.receipt_of_grant(&mut tx, &cameo, &person, grant).await
    }

    /// A receipt, signed.
    ///
    /// # Errors
    /// [`Error::Internal`] where it can't be encoded.
    pub fn sign_receipt(&self, receipt: &Receipt, form: Form) -> Result<Vec<u8>> {
        let key = self.signing().receipts();
        let signed = match form {
            Form::Json => receipt.to_json(key),
            Form::Cose => receipt.to_cose(key),
        };
        signed.map_err(|e| Error::Internal(format!("a receipt: {e}")))
    }

    pub(super) async fn receipt_of_version(
        &self,
        tx: &mut Tx,
        cameo: &Cameo,
        person: &Person,
        consent: &Version,
    ) -> Result<Receipt> {
        let version = consent.version.to_be_bytes();
        let mut bodies: Vec<(&str, &[u8])> = vec![
            ("subject", &person.reference),
            ("cameo", cameo.id.as_str().as_bytes()),
            ("version", &version),
        ];
        if let Some(terms) = &consent.terms {
            bodies.push(("permissions", terms));
        }
        if let Some(hash) = &consent.text_sha256 {
            bodies.push(("text_sha256", hash));
        }
        let (log, at) = opened(tx, person, consent.log_index, &bodies).await?;
        let state = match consent.kind {
            ConsentKind::Given | ConsentKind::Changed => GIVEN,
            ConsentKind::Withdrawn => WITHDRAWN,
        };
        let event = event(consent.kind.name(), state, at, cameo, log);
        let text = Text {
            version: &consent.text_version,
            locale: consent.locale.as_deref(),
            sha256: consent.text_sha256.as_ref(),
        };
        let scope = consent.permissions.as_ref().map(|p: &Permissions| &p.scope);
        let id = format!("{}:{}", cameo.id, consent.version);
        self.receipt(
            cameo,
            cameo.id.as_str(),
            id,
            &text,
            scope,
            consent.terms.as_deref(),
            vec![event],
        )
    }

    pub(super) async fn receipt_of_grant(
        &self,
        tx: &mut Tx,
        cameo: &Cameo,
        person: &Person,
        grant: &GrantId,
    ) -> Result<Receipt> {
        let stored = grants::get(tx, grant).await?.filter(|g| g.cameo == cameo.id);
        let stored = stored.ok_or(Error::NotFound("grant of this cameo"))?;
        let kept = open_kept(person, &stored)?;
        let mut bodies: Vec<(&str, &[u8])> = vec![
            ("subject", &person.reference),
            ("cameo", cameo.id.as_str().as_bytes()),
            ("grant", grant.as_str().as_bytes()),
        ];
        let mut events = Vec::new();
        let mut terms = Some(kept.terms.as_slice());
        let revoked = match stored.revoked_log_index {
            None => None,
            Some(index) => Some(opened(tx, person, index, &bodies).await?),
        };
        bodies.push(("grantee", kept.to.as_str().as_bytes()));
        bodies.push(("scope", &kept.terms));
        if let Some(hash) = &kept.text_sha256 {
            bodies.push(("text_sha256", hash));
        }
        let (log, at) = opened(tx, person, stored.log_index, &bodies).await?;
        events.push(event("grant_given", GIVEN, at, cameo, log));
        if let Some((log, at)) = revoked {
            events.push(event("grant_revoked", WITHDRAWN, at, cameo, log));
            terms = None;
        }
        let text = Text {
            version: &kept.text_version,
            locale: kept.locale.as_deref(),
            sha256: kept.text_sha256.as_ref(),
        };
        let scope: Scope = super::consent::parse_terms(&kept.terms)?;
        let scope = terms.is_some().then_some(&scope);
        let id = format!("{grant}:{}", events.len());
        self.receipt(cameo, grant.as_str(), id, &text, scope, terms, events)
    }

    #[allow(clippy::too_many_arguments)] // the parts of a receipt
    fn receipt(
        &self,
        cameo: &Cameo,
        record: &str,
        receipt_id: String,
        text: &Text<'_>,
        scope: Option<&Scope>,
        terms: Option<&[u8]>,
        events: Vec<Event>,
    ) -> Result<Receipt> {
        let settings = self.settings();
        let controller = &settings.controller;
        let purposes = scope.map(|s| s.purposes.iter().map(|p| line(*p, s)).collect());
        let terms = terms.map(serde_json::from_slice).transpose();
        Ok(Receipt {
            context: json!({ "dpv": "https://w3id.org/dpv#", "pd": "https://w3id.org/dpv/pd#" }),
            schema_version: receipt::SCHEMA.to_owned(),
            receipt_id,
            record_id: record.to_owned(),
            issuer: settings.issuer.clone(),
            issued_at: self.clock().now().rfc3339(),
            pii_principal_id: cameo.subject.as_str().to_owned(),
            pii_processing: Processing {
                privacy_notice: controller.notice_url.clone(),
                notice: Notice {
                    version: text.version.to_owned(),
                    language: text.locale.map(str::to_owned),
                    sha256: text.sha256.map(hex::encode),
                },
                purposes: purposes.unwrap_or_default(),
            },
            party_identification: vec![Party {
                party_role: "dpv:DataController".to_owned(),
                party_name: controller.name.clone(),
                party_contact: controller.contact.clone(),
            }],
            events,
            terms: terms.map_err(|_| Error::Internal("what was granted does not parse".into()))?,
        })
    }
}

const GIVEN: &str = "dpv:ConsentGiven";
const WITHDRAWN: &str = "dpv:ConsentWithdrawn";

/// The text that the person was shown.
struct Text<'a> {
    version: &'a str,
    locale: Option<&'a str>,
    sha256: Option<&'a [u8; 32]>,
}

fn line(purpose: Purpose, scope: &Scope) -> PurposeLine {
    PurposeLine {
        purpose: purpose.name().to_owned(),
        purpose_type: purpose.dpv().to_owned(),
        sensitive: purpose.is_sensitive(),
        lawful_basis: "dpv:ExplicitlyExpressedConsent".to_owned(),
        pii_types: vec!["pd:Biometric".to_owned()],
        valid_until: scope.until.map(Millis::rfc3339),
    }
}

fn event(kind: &str, state: &str, at: Millis, cameo: &Cameo, log: Logged) -> Event {
    Event {
        event_type: kind.to_owned(),
        event_state: state.to_owned(),
        event_time: at.rfc3339(),
        entity: cameo.subject.as_str().to_owned(),
        log,
    }
}

/// An entry of the log with what opens it, and its time.
async fn opened(
    tx: &mut Tx,
    person: &Person,
    index: u64,
    bodies: &[(&str, &[u8])],
) -> Result<(Logged, Millis)> {
    let gone = || Error::Internal("an entry of the log that a consent names is not there".into());
    let entry = log::entries(tx, index, index + 1, 1).await?.pop().ok_or_else(gone)?;
    let salt = log::salts(tx, &person.reference, index, 1).await?.pop();
    let salt = salt.filter(|s| s.index == index).ok_or_else(gone)?;
    let salt: [u8; 32] = person.open(Sealed::Salt, &format!("log:{index}"), &salt.salt_sealed)?;
    let logged = Logged::new(index, &entry.entry, &Salt::from_bytes(salt), bodies);
    Ok((logged, entry.at))
}
