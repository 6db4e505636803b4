//! A verdict with everything it rests on, to be replayed by somebody else.
//!
//! It holds the challenge and the models' hashes (in the evidence), the evidence, the scores and
//! decision (in the verdict), and every threshold of the policy. It describes a person's capture and
//! what they said, so it is personal data. It holds no picture, sound, embedding, name, key or token.

use serde::{Deserialize, Serialize};

use super::{Base, Policy, judge, judge_repeat};
use crate::domain::evidence::{EVIDENCE_VERSION, Evidence};
use crate::domain::ids::VerificationId;
use crate::domain::verdict::{Check, Decision, Status, Verdict};

/// The version of this schema.
pub const BUNDLE_VERSION: u16 = 1;

/// A verdict with everything it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`BUNDLE_VERSION`].
    pub version: u16,
    /// Whose verdict it is: the log's entry commits to this id.
    pub verification: VerificationId,
    /// Which attempt.
    pub attempt: u32,
    /// What it was judged by.
    pub policy: Policy,
    /// What was measured.
    pub evidence: Evidence,
    /// What was concluded.
    pub verdict: Verdict,
    /// Where a single step was repeated: the attempt from which the other one stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<EarlierAttempt>,
}

/// An attempt that a later verdict builds on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierAttempt {
    /// Its number.
    pub attempt: u32,
    /// What was concluded.
    pub verdict: Verdict,
    /// What was measured; `None` where it is not kept any more.
    pub evidence: Option<Evidence>,
}

/// Why a bundle can't be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is of a version that this software doesn't read.
    #[error(
        "the bundle has version {bundle} and evidence of version {evidence}, but this release reads \
         {BUNDLE_VERSION} and {EVIDENCE_VERSION}: use the release that wrote it"
    )]
    Version {
        /// The bundle's.
        bundle: u16,
        /// Its evidence's.
        evidence: u16,
    },
    /// The parts belong to different verdicts.
    #[error("the bundle's parts do not belong together: {0}")]
    Torn(&'static str),
}

/// What a replay came to. The checks `identity` and `age` are taken as recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// Whether the replay came to the recorded verdict, and so did that of the earlier attempt where its
    /// evidence is there.
    pub same: bool,
    /// The verdict of the replay.
    pub verdict: Verdict,
    /// Whether the earlier attempt, where there is one, was replayed too.
    pub earlier_replayed: Option<bool>,
}

impl Bundle {
    /// Judges the evidence again.
    ///
    /// # Errors
    /// [`Error`].
    pub fn replay(&self) -> Result<Replay, Error> {
        if self.version != BUNDLE_VERSION || self.evidence.version != EVIDENCE_VERSION {
            let (bundle, evidence) = (self.version, self.evidence.version);
            return Err(Error::Version { bundle, evidence });
        }
        let (verdict, earlier) = match (self.evidence.challenge.step(), &self.earlier) {
            // Where the service had no earlier attempt to build on, it judged this one by itself.
            (_, None) if self.verdict.earlier.is_none() => {
                (judge(&self.evidence, &self.policy), None)
            }
            (_, None) => return Err(Error::Torn("the earlier attempt is missing")),
            (None, Some(_)) => return Err(Error::Torn("the challenge repeats no step")),
            (Some(step), Some(earlier)) => {
                if self.evidence.challenge.completes != Some(earlier.attempt) {
                    return Err(Error::Torn("the earlier attempt is another one"));
                }
                let distance = self.verdict.earlier.and_then(|e| e.distance);
                let base = Base { attempt: earlier.attempt, verdict: &earlier.verdict, distance };
                (judge_repeat(&self.evidence, step, &base, &self.policy), Some(earlier))
            }
        };
        let verdict = objected(verdict, &self.verdict);
        let before = earlier.and_then(|e| e.evidence.as_ref().map(|evidence| (e, evidence)));
        let same_before = before.is_none_or(|(e, evidence)| {
            objected(judge(evidence, &self.policy), &e.verdict) == e.verdict
        });
        Ok(Replay {
            same: verdict == self.verdict && same_before,
            verdict,
            earlier_replayed: earlier.map(|e| e.evidence.is_some()),
        })
    }
}

/// A verdict with the objections that were recorded: whether a face is enrolled under another account, and
/// how old the person is, rests on what the service knew and not on the evidence.
fn objected(mut verdict: Verdict, recorded: &Verdict) -> Verdict {
    if verdict.decision == Decision::Rejected {
        return verdict;
    }
    let known = |check| matches!(check, Check::Identity | Check::Age);
    for check in recorded.checks.iter().filter(|c| known(c.check) && c.status != Status::Pass) {
        verdict.decision = match (check.status, verdict.decision) {
            (Status::Fail, _) | (_, Decision::Rejected) => Decision::Rejected,
            _ => Decision::Review,
        };
        verdict.checks.push(check.clone());
    }
    verdict
}

/// The policy that a verdict names: the one in use, or one that this release has.
pub fn policy_of(id: &str, in_use: &Policy) -> Option<Policy> {
    [in_use.clone(), Policy::convenience(), Policy::balanced(), Policy::strict()]
        .into_iter()
        .find(|p| p.id() == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::challenge::{Challenge, Motion};
    use crate::domain::step::Step;
    use crate::env::Millis;

    fn challenge() -> Challenge {
        Challenge::new(vec![4, 7, 1, 9], vec![Motion::Left], Millis(0), Millis(9)).unwrap()
    }

    fn bundle() -> Bundle {
        let (evidence, policy) = (Evidence::nothing(challenge()), Policy::balanced());
        Bundle {
            version: BUNDLE_VERSION,
            verification: "ver_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5".parse().unwrap(),
            attempt: 1,
            verdict: judge(&evidence, &policy),
            policy,
            evidence,
            earlier: None,
        }
    }

    #[test]
    fn a_bundle_replays_to_its_verdict_and_to_no_other() {
        let bundle = bundle();
        let text = serde_json::to_string(&bundle).unwrap();
        let read: Bundle = serde_json::from_str(&text).unwrap();
        assert_eq!(read, bundle);
        assert!(read.replay().unwrap().same);
        let mut bent = bundle.clone();
        bent.verdict.decision = crate::domain::verdict::Decision::Verified;
        assert!(!bent.replay().unwrap().same);
        let mut looser = bundle.clone();
        looser.policy.quality.min_face_share = 0.0;
        looser.policy.version += 1;
        assert!(!looser.replay().unwrap().same, "the verdict names its policy");
        let mut future = bundle;
        future.version = 9;
        assert_eq!(future.replay(), Err(Error::Version { bundle: 9, evidence: EVIDENCE_VERSION }));
    }

    #[test]
    fn what_the_service_knew_is_taken_as_recorded() {
        let fine = |decision| Verdict { decision, checks: vec![], ..bundle().verdict };
        let mut recorded = fine(Decision::Review);
        let mut open = bundle().verdict.checks[0].clone();
        (open.check, open.status) = (Check::Age, Status::Inconclusive);
        recorded.checks.push(open.clone());
        assert_eq!(objected(fine(Decision::Verified), &recorded), recorded);
        // An objection never makes a rejected capture better, and is no cover for a better decision.
        assert_eq!(objected(fine(Decision::Rejected), &recorded), fine(Decision::Rejected));
        (open.check, open.status) = (Check::Identity, Status::Fail);
        recorded.checks.push(open);
        assert_eq!(objected(fine(Decision::Verified), &recorded).decision, Decision::Rejected);
    }

    #[test]
    fn two_attempts_are_replayed_together() {
        let first = bundle();
        let evidence = Evidence::nothing(challenge().only(Step::Speech, 1));
        let base = Base { attempt: 1, verdict: &first.verdict, distance: Some(0.25) };
        let verdict = judge_repeat(&evidence, Step::Speech, &base, &first.policy);
        let earlier = EarlierAttempt {
            attempt: 1,
            verdict: first.verdict.clone(),
            evidence: Some(first.evidence.clone()),
        };
        let both = Bundle { attempt: 2, evidence, verdict, earlier: Some(earlier), ..first };
        let replay = both.replay().unwrap();
        assert_eq!((replay.same, replay.earlier_replayed), (true, Some(true)));
        let mut bent = both.clone();
        if let Some(earlier) = &mut bent.earlier {
            earlier.verdict.checks[2].status = crate::domain::verdict::Status::Pass;
        }
        assert!(!bent.replay().unwrap().same, "the earlier evidence tells");
        let torn = Bundle { earlier: None, ..both };
        assert!(matches!(torn.replay(), Err(Error::Torn(_))));
    }
}
