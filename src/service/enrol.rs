//! Enrolling: a template becomes (the next version of) a person's cameo.

use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::domain::ids::{CameoId, SubjectId, VerificationId};
use crate::domain::template::Template;
use crate::env::Millis;
use crate::identity::template::{decode, encode};
use crate::store::Tx;
use crate::store::cameos::{self, Enrolment, SealedTemplate};

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

/// Opens a template.
pub(super) fn open_template(person: &Person, stored: &SealedTemplate) -> Result<Template> {
    let place = place(&stored.cameo, &stored.verification);
    let plain = person.open_bytes(Sealed::Template, &place, &stored.sealed)?;
    decode(&plain).map_err(|e| Error::Internal(format!("a stored template: {e}")))
}

fn place(cameo: &CameoId, verification: &VerificationId) -> String {
    format!("{cameo}:{verification}")
}
