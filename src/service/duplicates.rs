//! One person, one identity: what the store knows about a face that wants to be enrolled.
//!
//! The liveness verdict is a function of the evidence. This is not: it depends on who is enrolled
//! when the verdict is settled. So it stands in checks of its own (`identity`, `age`), which are added
//! where something was found, and can only make the decision stricter:
//!
//! - the face of somebody who is enrolled under another subject, anywhere in this deployment: review;
//! - a protected face: review, or rejection where the configuration says so;
//! - on a re-verification, a face or a voice that is not the one of before: review. A template of
//!   another model can't be compared, which is review too: otherwise an account could be taken over
//!   after every change of models;
//! - too young, or of unknown age where an age is demanded: review.
//!
//! What the gallery proposed is compared again here, template by template and inside the settling
//! transaction, under the log's head; so is everyone who was enrolled since the gallery was asked. Of
//! two processes that settle one face under two subjects at once, the second therefore sees the first.

use super::enrol::open_template;
use super::gallery::{Proposed, frontal};
use super::subject::Person;
use super::{Error, Inner, Result};
use crate::domain::ids::{CameoId, SubjectId, VerificationId};
use crate::domain::template::{EmbeddingModel, Template};
use crate::domain::verdict::{Check, CheckResult, Decision, ReasonCode, Status, Verdict};
use crate::domain::verification::State;
use crate::env::Millis;
use crate::infer::embedding::FaceEmbedder;
use crate::store::enrolled::{self, Change};
use crate::store::findings::{self, Match};
use crate::store::verifications::Verification;
use crate::store::{Tx, cameos, protected_faces};

/// What a reviewer is told about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alike {
    /// Somebody who is enrolled under another subject.
    Enrolled {
        /// Their pseudonym in the log, hexadecimal.
        subject_ref: String,
        /// Since when they have been enrolled.
        since: Millis,
    },
    /// A protected face.
    Protected {
        /// What the operator calls it.
        label: String,
    },
    /// Somebody who is gone by now.
    Gone,
}

/// Somebody tried to enrol with a face like this cameo's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When.
    pub at: Millis,
    /// What became of it: `None` where the verification is gone.
    pub state: Option<State>,
}

/// The most notices that are shown.
pub const MAX_NOTICES: u32 = 100;
/// Enrolments that may come in between the search and the transaction that acts on it.
const MAX_LATE: u32 = 1000;

impl Inner {
    /// Asks the gallery about a face, before the transaction that enrols it.
    pub(super) async fn suspects(
        &self,
        subject: &SubjectId,
        template: &Template,
    ) -> Result<Proposed> {
        let Some(distance) = self.duplicate_distance(&template.model) else {
            return Ok(Proposed::default());
        };
        let own = cameos::active(&mut self.db().read().await?, subject).await?.map(|c| c.id);
        self.propose(template, own.as_ref(), distance).await
    }

    /// Whose face it is besides the subject's own. The caller holds the log's head.
    pub(super) async fn matches(
        &self,
        tx: &mut Tx,
        subject: &SubjectId,
        template: &Template,
        proposed: &Proposed,
    ) -> Result<Vec<Match>> {
        let Some(limit) = self.duplicate_distance(&template.model) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut compare = |change: &Change| -> Result<()> {
            if self.is_alike(change, subject, template, limit)? {
                found.push(Match::Duplicate(change.cameo.clone()));
            }
            Ok(())
        };
        if self.settings().identity.duplicates {
            let late = enrolled::changes(tx, proposed.through, MAX_LATE).await?;
            if late.len() == MAX_LATE as usize {
                return Err(Error::Busy);
            }
            for change in &late {
                compare(change)?;
            }
            for cameo in proposed.enrolled.iter().filter(|p| late.iter().all(|l| l.cameo != **p)) {
                if let Some(change) = enrolled::get(tx, cameo).await? {
                    compare(&change)?;
                }
            }
        }
        for id in &proposed.protected {
            let Some(face) = protected_faces::get(tx, id).await? else { continue };
            let face = self.open_protected(&face)?;
            if face.model == template.model
                && frontal(template)
                    .is_some_and(|f| face.model.metric.distance(f, &face.vector) <= limit)
            {
                found.push(Match::Protected(id.clone()));
            }
        }
        Ok(found)
    }

    /// What speaks against enrolling this person, apart from liveness. The caller holds the log's
    /// head.
    pub(super) async fn objections(
        &self,
        tx: &mut Tx,
        v: &Verification,
        person: &Person,
        template: &Template,
        matches: &[Match],
    ) -> Result<Vec<ReasonCode>> {
        let mut reasons: Vec<ReasonCode> = matches
            .iter()
            .map(|m| match m {
                Match::Duplicate(_) => ReasonCode::DuplicateIdentity,
                Match::Protected(_) => ReasonCode::ProtectedIdentity,
            })
            .collect();
        if let Some(cameo) = cameos::active(tx, &v.subject).await?
            && let Some(sealed) = cameos::template(tx, &cameo.id).await?
        {
            reasons.extend(self.changes_of_person(&open_template(person, &sealed)?, template));
        }
        reasons.sort_unstable();
        reasons.dedup();
        Ok(reasons)
    }

    /// In what a person differs from how they were enrolled before.
    fn changes_of_person(&self, before: &Template, now: &Template) -> Vec<ReasonCode> {
        let mut reasons = Vec::new();
        if before.model.sha256 != now.model.sha256 {
            reasons.push(ReasonCode::EnrolmentNotComparable);
        } else if let (Some(a), Some(b), Some(limit)) =
            (frontal(before), frontal(now), self.same_person_distance(&now.model))
            && before.model.metric.distance(a, b) > limit
        {
            reasons.push(ReasonCode::FaceMismatch);
        }
        // A soft signal: without two voices of one model there is none.
        if let (Some(a), Some(b), Some(model)) = (&before.voice, &now.voice, &self.models().voice)
            && a.model.sha256 == b.model.sha256
            && model.model().sha256 == b.model.sha256
            && b.model.metric.distance(&a.vector, &b.vector) > model.threshold()
        {
            reasons.push(ReasonCode::VoiceMismatch);
        }
        reasons
    }

    /// What the attested age speaks against.
    pub(super) fn objection_to_age(&self, v: &Verification) -> Option<ReasonCode> {
        let least = self.settings().identity.minimum_age?;
        match v.attested_age {
            None => Some(ReasonCode::AgeUnknown),
            Some(age) if age < least => Some(ReasonCode::UnderAge),
            Some(_) => None,
        }
    }

    /// Adds to a verdict what the store knows.
    pub(super) fn object(
        &self,
        verdict: &mut Verdict,
        identity: Vec<ReasonCode>,
        age: Option<ReasonCode>,
    ) {
        if verdict.decision == Decision::Rejected {
            return;
        }
        let barred = self.settings().identity.protected_rejects
            && identity.contains(&ReasonCode::ProtectedIdentity);
        let status = if barred { Status::Fail } else { Status::Inconclusive };
        for (check, status, reasons) in [
            (Check::Identity, status, identity),
            (Check::Age, Status::Inconclusive, age.into_iter().collect()),
        ] {
            if !reasons.is_empty() {
                verdict.decision = Decision::Review;
                let (score, threshold) = (None, None);
                let (llr, reliability) = (None, None);
                verdict.checks.push(CheckResult {
                    check,
                    status,
                    score,
                    threshold,
                    reasons,
                    llr,
                    reliability,
                });
            }
        }
        if barred {
            verdict.decision = Decision::Rejected;
        }
    }

    /// Keeps what was found, for the reviewer and for those who are enrolled.
    pub(super) async fn keep_matches(
        &self,
        tx: &mut Tx,
        v: &Verification,
        matches: &[Match],
        at: Millis,
    ) -> Result<()> {
        for found in matches {
            findings::insert(tx, &v.id, v.attempt, found, at).await?;
        }
        Ok(())
    }

    /// What was found for an attempt, as a reviewer may see it.
    pub(super) async fn alikes(
        &self,
        tx: &mut Tx,
        id: &VerificationId,
        attempt: u32,
    ) -> Result<Vec<Alike>> {
        let mut alikes = Vec::new();
        for finding in findings::of_attempt(tx, id, attempt).await? {
            alikes.push(match finding.matched {
                Match::Duplicate(cameo) => match enrolled::get(tx, &cameo).await? {
                    Some(Change { since, enrolled: Some((subject, _)), .. }) => {
                        Alike::Enrolled { subject_ref: hex::encode(subject.subject_ref), since }
                    }
                    _ => Alike::Gone,
                },
                Match::Protected(face) => match protected_faces::get(tx, &face).await? {
                    Some(face) => {
                        Alike::Protected { label: self.open_protected(&face)?.label.clone() }
                    }
                    None => Alike::Gone,
                },
            });
        }
        Ok(alikes)
    }

    /// Who tried to enrol with a face like that of this cameo's person: the newest first, at most
    /// [`MAX_NOTICES`]. It names nobody: the person learns that it happened.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn notices(&self, cameo: &CameoId) -> Result<Vec<Notice>> {
        let mut tx = self.db().read().await?;
        super::consent::active(&mut tx, cameo).await?;
        let found = findings::of_cameo(&mut tx, cameo, MAX_NOTICES).await?;
        Ok(found.into_iter().map(|f| Notice { at: f.at, state: f.state }).collect())
    }

    fn is_alike(
        &self,
        change: &Change,
        subject: &SubjectId,
        template: &Template,
        limit: f32,
    ) -> Result<bool> {
        let Some((other, sealed)) = &change.enrolled else { return Ok(false) };
        if other.subject == *subject || sealed.model_sha256 != template.model.sha256 {
            return Ok(false);
        }
        let theirs = open_template(&self.unwrap_person(other)?, sealed)?;
        Ok(match (frontal(&theirs), frontal(template)) {
            (Some(a), Some(b)) => template.model.metric.distance(a, b) <= limit,
            _ => false,
        })
    }

    /// Two faces of this model no further apart than this are taken for one person's.
    fn duplicate_distance(&self, model: &EmbeddingModel) -> Option<f32> {
        let embedder = self.models().embedder.as_ref().filter(|e| e.model().sha256 == model.sha256);
        let configured = self.settings().identity.duplicate_distance;
        configured.or_else(|| embedder.map(FaceEmbedder::duplicate))
    }

    fn same_person_distance(&self, model: &EmbeddingModel) -> Option<f32> {
        let embedder = self.models().embedder.as_ref().filter(|e| e.model().sha256 == model.sha256);
        embedder.map(FaceEmbedder::threshold).or(self.settings().identity.duplicate_distance)
    }
}
