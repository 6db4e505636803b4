//! Enrolling: a template becomes (the next version of) a person's cameo.

use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::domain::ids::{ApiKeyId, CameoId, SubjectId, VerificationId};
use crate::domain::template::Template;
use crate::env::{Millis, random};
use crate::identity::template::{decode, encode};
use crate::run_tx;
use crate::store::Tx;
use crate::store::cameos::{self, Enrolment, SealedTemplate};
use crate::store::verifications::{self, NewVerification};

impl Inner {
    /// Seals the template and makes it the current one. Earlier ones are deleted: they have no
    /// purpose any more.
    pub(super) async fn enrol(
        &self,
        tx: &mut Tx,
        person: &Person,
        subject: &SubjectId,
        verification: &VerificationId,
        template: &Template,
        at: Millis,
    ) -> Result<CameoId> {
        let fresh = CameoId::new(self.clock(), self.entropy());
        let cameo = cameos::open(tx, subject, &fresh, at).await?.id;
        let plain = encode(template).map_err(|e| Error::Internal(format!("a template: {e}")))?;
        let place = place(&cameo, verification);
        let sealed = self.seal_bytes(person, Sealed::Template, &place, &plain)?;
        let enrolment = Enrolment {
            verification,
            sealed: &sealed,
            model_id: &template.model.id,
            model_sha256: &template.model.sha256,
            at,
        };
        let version = cameos::enrol(tx, &cameo, &enrolment).await?;
        cameos::delete_older(tx, &cameo, version).await?;
        Ok(cameo)
    }
}

impl Inner {
    /// Enrols a template that was not measured here, past challenge and verdict: for benchmarks and
    /// tests of what comes after. No route leads here.
    ///
    /// # Errors
    /// Those of the store; [`Error::Internal`] for a template that is none.
    #[doc(hidden)]
    pub async fn enrol_given(
        &self,
        app: &ApiKeyId,
        subject: &SubjectId,
        template: &Template,
    ) -> Result<CameoId> {
        let now = self.clock().now();
        let new = NewVerification {
            id: VerificationId::new(self.clock(), self.entropy()),
            subject: subject.clone(),
            app_key: app.clone(),
            locale: "en".into(),
            consent_text_version: "given".into(),
            challenge: self.challenge(now)?,
            client_token_hash: random(self.entropy()),
            client_token_expires: now,
            attested_age: None,
            created: now,
        };
        run_tx!(self.db(), "enrol.given", |tx| {
            let _held = self.ledger(tx).await?;
            verifications::insert(tx, &new).await?;
            let person = self.person(tx, subject).await?;
            self.enrol(tx, &person, subject, &new.id, template, now).await
        })
    }
}

/// Opens a template.
pub(super) fn open_template(person: &Person, stored: &SealedTemplate) -> Result<Template> {
    let place = place(&stored.cameo, &stored.verification);
    let plain = person.open_bytes(Sealed::Template, &place, &stored.sealed)?;
    decode(&plain).map_err(|e| Error::Internal(format!("a stored template: {e}")))
}

fn place(cameo: &CameoId, verification: &VerificationId) -> String {
    format!("{cameo}:{verification}")
}
