//! Review: a person decides where the evidence did not.

use super::access::Caller;
use super::duplicates::Alike;
use super::gallery::Proposed;
use super::ledger::Note;
use super::onboard;
use super::progress::Stage;
use super::subject::{Person, Sealed};
use super::verify::evidence_place;
use super::{Error, Inner, Result};
use crate::domain::evidence::Evidence;
use crate::domain::ids::{CameoId, VerificationId};
use crate::domain::template::Template;
use crate::domain::verdict::{ReasonCode, Status, Verdict};
use crate::domain::verification::State;
use crate::env::Millis;
use crate::liveness::bundle::{BUNDLE_VERSION, Bundle, EarlierAttempt, policy_of};
use crate::run_tx;
use crate::store::key_frames::{self, KeyFrame};
use crate::store::verifications::{self, Review, Verification};
use crate::store::{Tx, attempts, failures, findings, review_approvals};
use crate::tlog::Kind;

/// What a reviewer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The person is live and did what was asked.
    Approve,
    /// They are not, or did not.
    Reject,
}

/// A case: what a reviewer sees of a verification.
#[derive(Debug)]
pub struct Case {
    /// The verification, with the verdict that left it open.
    pub verification: Verification,
    /// What was measured.
    pub evidence: Option<Evidence>,
    /// Whose face it seems to be besides.
    pub alike: Vec<Alike>,
    /// Which pictures of it may be looked at.
    pub key_frames: Vec<KeyFrame>,
    /// Another reviewer's approval, where two are needed: who, when, why.
    pub first: Option<Review>,
}

/// The longest reason, in characters.
pub const MAX_REASON: usize = 500;
/// The longest page of the queue.
pub const MAX_PAGE: u32 = 100;

impl Inner {
    /// Verifications that wait for a reviewer, the oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn review_queue(
        &self,
        after: Option<&VerificationId>,
        limit: u32,
    ) -> Result<Vec<Verification>> {
        let mut tx = self.db().read().await?;
        Ok(verifications::by_state(&mut tx, State::Review, after, limit.clamp(1, MAX_PAGE)).await?)
    }

    /// One case with its evidence. The look is logged before it is given: evidence describes a
    /// person.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none or it is not in review.
    pub async fn inspect_case(&self, caller: &Caller, id: &VerificationId) -> Result<Case> {
        run_tx!(self.db(), "review.inspect", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let verification = onboard::get(tx, id).await?;
            if verification.state != State::Review {
                return Err(Error::NotFound("case in review"));
            }
            let person = self
                .known_person(tx, &verification.subject)
                .await?
                .ok_or(Error::NotFound("case in review"))?;
            let place = evidence_place(id, verification.attempt);
            let evidence = match attempts::evidence(tx, id, verification.attempt).await? {
                None => None,
                Some(sealed) => Some(person.open(Sealed::Evidence, &place, &sealed)?),
            };
            ledger.add(
                Note::new(Kind::Review)
                    .about(&person)
                    .public("action", "inspect")
                    .public("reviewer", caller.key.as_str())
                    .commit("verification", id.as_str()),
            )?;
            ledger.write(tx).await?;
            let alike = self.alikes(tx, id, verification.attempt).await?;
            let first = review_approvals::get(tx, id, verification.attempt).await?;
            let key_frames = key_frames::list(tx, id, verification.attempt).await?;
            Ok(Case { verification, evidence, alike, key_frames, first })
        })
    }

    /// Settles a case. An approval enrols the identity that was measured; where a check failed, that takes a
    /// second reviewer ([`Settings::override_by_two`](super::Settings)), and the first one's approval leaves
    /// the case in review.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a reason; [`Error::NotFound`]; [`Error::WrongState`] where it is
    /// not in review (any more); [`Error::SecondReviewer`] for who approved it first.
    pub async fn decide_case(
        &self,
        caller: &Caller,
        id: &VerificationId,
        decision: Decision,
        reason: &str,
    ) -> Result<Verification> {
        if reason.trim().is_empty() || reason.chars().count() > MAX_REASON {
            return Err(Error::Invalid {
                field: "reason",
                reason: format!("must say why, in at most {MAX_REASON} characters"),
            });
        }
        let now = self.clock().now();
        let proposed = match decision {
            Decision::Approve => self.suspects_of_case(id).await?,
            Decision::Reject => Proposed::default(),
        };
        let decided = run_tx!(self.db(), "review.decide", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let v = onboard::get(tx, id).await?;
            if v.state != State::Review {
                return Err(Error::WrongState(v.state));
            }
            let person = self.person(tx, &v.subject).await?;
            let review = Review { by: caller.key.clone(), at: now, reason: reason.to_owned() };
            if decision == Decision::Approve && self.takes_two(&v) {
                match review_approvals::get(tx, id, v.attempt).await? {
                    Some(first) if first.by == review.by => return Err(Error::SecondReviewer),
                    Some(_) => {}
                    None => {
                        self.candidate(tx, &person, &v).await?;
                        review_approvals::insert(tx, id, v.attempt, &review).await?;
                        ledger.add(
                            Note::new(Kind::Review)
                                .about(&person)
                                .public("action", "approve_first")
                                .public("reviewer", caller.key.as_str())
                                .commit("verification", id.as_str())
                                .commit("reason", reason),
                        )?;
                        ledger.write(tx).await?;
                        return Ok(Some(v));
                    }
                }
            }
            let (to, cameo) = match decision {
                Decision::Reject => (State::Rejected, None),
                Decision::Approve => {
                    let template = self.candidate(tx, &person, &v).await?;
                    if self.finds_more(tx, &v, &template, &proposed, now).await? {
                        return Ok(None);
                    }
                    self.refuse_unseen(tx, &v, &person, &template).await?;
                    let cameo: CameoId =
                        self.enrol(tx, &person, &v.subject, id, &template, now).await?;
                    (State::Verified, Some(cameo))
                }
            };
            let attempt = v.attempt;
            if !verifications::review(tx, id, attempt, to, &review, cameo.as_ref()).await? {
                return Err(Error::WrongState(onboard::get(tx, id).await?.state));
            }
            if to == State::Verified {
                failures::clear(tx, &v.subject).await?;
            } else {
                self.count_failure(tx, &v, now).await?;
            }
            let mut note = Note::new(Kind::Review)
                .about(&person)
                .public("action", "decide")
                .public("outcome", to.name())
                .public("reviewer", caller.key.as_str())
                .commit("verification", id.as_str())
                .commit("reason", reason);
            if let Some(cameo) = &cameo {
                note = note.commit("cameo", cameo.as_str());
            }
            ledger.add(note)?;
            ledger.write(tx).await?;
            onboard::get(tx, id).await.map(Some)
        })?;
        let decided = decided.ok_or_else(|| Error::Invalid {
            field: "decision",
            reason: "somebody else has been enrolled with this face meanwhile: look at the case \
                     again"
                .into(),
        })?;
        if decided.state == State::Review {
            return Ok(decided);
        }
        self.progress.set(id, Stage::Settled);
        metrics::counter!("cameo_reviews_total", "outcome" => decided.state.name()).increment(1);
        Ok(decided)
    }

    /// Asks the gallery about the face of a case.
    async fn suspects_of_case(&self, id: &VerificationId) -> Result<Proposed> {
        let mut tx = self.db().read().await?;
        let v = onboard::get(&mut tx, id).await?;
        let person = self.known_person(&mut tx, &v.subject).await?;
        let sealed = attempts::candidate(&mut tx, id, v.attempt).await?;
        drop(tx);
        let (Some(person), Some(sealed)) = (person, sealed) else {
            return Ok(Proposed::default());
        };
        let place = evidence_place(id, v.attempt);
        self.suspects(&v.subject, &person.open(Sealed::Template, &place, &sealed)?).await
    }

    /// Whether there are matches by now that the reviewer has not seen; they are kept, to be seen.
    async fn finds_more(
        &self,
        tx: &mut Tx,
        v: &Verification,
        template: &Template,
        proposed: &Proposed,
        now: Millis,
    ) -> Result<bool> {
        let known = findings::of_attempt(tx, &v.id, v.attempt).await?;
        let mut found = self.matches(tx, &v.subject, template, proposed).await?;
        found.retain(|m| known.iter().all(|k| k.matched != *m));
        self.keep_matches(tx, v, &found, now).await?;
        Ok(!found.is_empty())
    }

    /// Refuses what speaks against this enrolment by now and was not in the verdict that the reviewer saw:
    /// another face was enrolled for the account meanwhile, or the models were changed, and nobody
    /// would have compared the two.
    async fn refuse_unseen(
        &self,
        tx: &mut Tx,
        v: &Verification,
        person: &Person,
        template: &Template,
    ) -> Result<()> {
        let refuse = |reason: &str| {
            Err(Error::Invalid {
                field: "decision",
                reason: format!("{reason}: reject the case, so that the person can try again"),
            })
        };
        let current = self.models().embedder.as_ref().map(|e| &e.model().sha256);
        if current.is_some_and(|sha256| *sha256 != template.model.sha256) {
            return refuse("the face was measured with a model that is not in use any more");
        }
        let seen: Vec<ReasonCode> = v.verdict.iter().flat_map(Verdict::reasons).collect();
        let objections = self.objections(tx, v, person, template, &[]).await?;
        if objections.iter().any(|r| !seen.contains(r)) {
            return refuse(
                "another enrolment of this account came first, and differs from this one",
            );
        }
        Ok(())
    }

    /// The template that an approval enrols.
    async fn candidate(&self, tx: &mut Tx, person: &Person, v: &Verification) -> Result<Template> {
        let sealed = attempts::candidate(tx, &v.id, v.attempt).await?.ok_or(Error::Invalid {
            field: "decision",
            reason:
                "nothing could be enrolled from this capture: reject it, so that the person can \
                     try again"
                    .into(),
        })?;
        person.open(Sealed::Template, &evidence_place(&v.id, v.attempt), &sealed)
    }

    /// Whether an approval goes against a check, and so takes two.
    fn takes_two(&self, v: &Verification) -> bool {
        let failed = |verdict: &Verdict| verdict.checks.iter().any(|c| c.status == Status::Fail);
        self.settings().override_by_two && v.verdict.as_ref().is_some_and(failed)
    }

    /// Everything that a verdict rests on, to be replayed elsewhere. The look is logged before it is
    /// given.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such attempt, it has no verdict, or its evidence is not
    /// kept any more; [`Error::Unavailable`] where its policy is not this release's.
    pub async fn bundle(
        &self,
        caller: &Caller,
        id: &VerificationId,
        attempt: Option<u32>,
    ) -> Result<Bundle> {
        const NONE: Error = Error::NotFound("verdict whose evidence is kept");
        run_tx!(self.db(), "review.bundle", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let verification = onboard::get(tx, id).await?;
            let attempt = attempt.unwrap_or(verification.attempt);
            let person = self.known_person(tx, &verification.subject).await?.ok_or(NONE)?;
            let (verdict, evidence) = judged(tx, &person, id, attempt).await?.ok_or(NONE)?;
            let evidence = evidence.ok_or(NONE)?;
            let policy = policy_of(&verdict.policy, &self.settings().policy).ok_or(
                Error::Unavailable("the policy of that verdict belongs to another release"),
            )?;
            let earlier = match verdict.earlier {
                None => None,
                Some(e) => judged(tx, &person, id, e.attempt).await?.map(|(verdict, evidence)| {
                    EarlierAttempt { attempt: e.attempt, verdict, evidence }
                }),
            };
            ledger.add(
                Note::new(Kind::Review)
                    .about(&person)
                    .public("action", "bundle")
                    .public("reviewer", caller.key.as_str())
                    .commit("verification", id.as_str()),
            )?;
            ledger.write(tx).await?;
            Ok(Bundle {
                version: BUNDLE_VERSION,
                verification: id.clone(),
                attempt,
                policy,
                evidence,
                verdict,
                earlier,
            })
        })
    }

    /// Ends the cases that nobody decided in time, each in its own transaction with its log entry.
    pub(super) async fn lapse_reviews(&self) -> Result<()> {
        let now = self.clock().now();
        let before = now.minus(self.settings().review_within);
        let overdue =
            verifications::overdue_reviews(&mut self.db().read().await?, before, MAX_PAGE).await?;
        let mut outcome = Ok(());
        for v in overdue {
            let lapsed: Result<bool> = run_tx!(self.db(), "review.lapse", |tx| {
                let mut ledger = self.ledger(tx).await?;
                if !verifications::lapse_review(tx, &v.id, v.attempt, now).await? {
                    return Ok::<_, Error>(false);
                }
                let person = self.person(tx, &v.subject).await?;
                ledger.add(
                    Note::new(Kind::Review)
                        .about(&person)
                        .public("action", "lapse")
                        .public("outcome", State::Expired.name())
                        .commit("verification", v.id.as_str()),
                )?;
                ledger.write(tx).await?;
                Ok(true)
            });
            match lapsed {
                Ok(true) => {
                    self.progress.set(&v.id, Stage::Settled);
                    metrics::counter!("cameo_reviews_total", "outcome" => "lapsed").increment(1);
                }
                Ok(false) => {}
                // One case that can't be ended keeps no other one from it.
                Err(e) => outcome = Err(e),
            }
        }
        outcome
    }
}

/// An attempt's verdict, and its evidence where that is kept.
async fn judged(
    tx: &mut Tx,
    person: &Person,
    id: &VerificationId,
    attempt: u32,
) -> Result<Option<(Verdict, Option<Evidence>)>> {
    let Some(verdict) = attempts::get(tx, id, attempt).await?.and_then(|a| a.verdict) else {
        return Ok(None);
    };
    let sealed = attempts::evidence(tx, id, attempt).await?;
    let place = evidence_place(id, attempt);
    let open = |sealed: Vec<u8>| person.open(Sealed::Evidence, &place, &sealed);
    Ok(Some((verdict, sealed.map(open).transpose()?)))
}
