//! A verdict over two captures: one step done again, the other one standing from before.
//!
//! Picture, continuity and attacks are judged on the new capture as ever, and so is the
//! repeated step. The step that stands keeps the result it had; lips and voice belong to the step
//! that was spoken. Both captures have to show one
//! face, or the steps of two people could be put together; and what was open in the earlier capture
//! stays open, so that nobody is verified by a capture that was not judged live.

use super::{check_all, fuse, is_attack, result};
use crate::domain::evidence::{EVIDENCE_VERSION, Evidence};
use crate::domain::step::{Earlier, Step};
use crate::domain::verdict::{Check, CheckResult, Decision, ReasonCode, Status, Verdict};
use crate::liveness::Policy;

/// Checks of every verdict beside that of one step.
const OTHER_CHECKS: usize = 6;

/// The earlier attempt whose other step stands.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// Its number.
    pub attempt: u32,
    /// What was concluded there.
    pub verdict: &'a Verdict,
    /// Distance between its frontal face and the new capture's, in the embedding model's own metric;
    /// `None` where they can't be compared.
    pub distance: Option<f32>,
}

/// The step that can be done again alone: the only thing that failed, with the picture, the one face
/// and the other step found good. Nothing of a recording that was not made live stands.
pub fn step_to_repeat(verdict: &Verdict, policy: &Policy) -> Option<Step> {
    let status = |check| verdict.check(check).map(|c| c.status);
    let passed = |check| status(check) == Some(Status::Pass);
    let step = [Step::Speech, Step::Motion]
        .into_iter()
        .find(|s| status(s.check()) == Some(Status::Fail) && passed(s.other().check()))?;
    let sound = passed(Check::Quality) && passed(Check::Continuity);
    let attack = verdict.check(Check::Pad).is_none() || is_attack(&verdict.checks, policy);
    let live = !verdict.reasons().any(|r| r == ReasonCode::SpokenEarly);
    (verdict.decision == Decision::Rejected && sound && live && !attack).then_some(step)
}

/// Judges a capture that repeats `step`, with the other step's result taken from `base`.
pub fn judge_repeat(evidence: &Evidence, step: Step, base: &Base<'_>, policy: &Policy) -> Verdict {
    let checks = check_all(evidence, policy);
    let mut verdict = Verdict {
        decision: Decision::Review,
        checks,
        policy: policy.id(),
        earlier: Some(Earlier {
            attempt: base.attempt,
            check: step.other().check(),
            distance: base.distance.filter(|d| d.is_finite()),
            threshold: Some(evidence.identity.threshold).filter(|t| t.is_finite()).unwrap_or(0.0),
        }),
    };
    take_over(&mut verdict.checks, step, base, evidence.identity.threshold);
    let known = evidence.version == EVIDENCE_VERSION;
    verdict.decision = match fuse(&verdict.checks, policy) {
        Decision::Verified if !known || left_open(step, base.verdict) => Decision::Review,
        decision => decision,
    };
    verdict
}

/// Puts the earlier result of the step that stands in its place, and compares the faces.
fn take_over(checks: &mut [CheckResult], step: Step, base: &Base<'_>, threshold: f32) {
    let stands = step.other().check();
    for check in checks {
        let stays =
            check.check == stands || (check.check == Check::Sync && stands == Check::Speech);
        if stays && let Some(earlier) = base.verdict.check(check.check) {
            *check = earlier.clone();
        } else if check.check == Check::Continuity {
            let found = match base.distance {
                Some(d) if d <= threshold => continue,
                Some(_) => (Status::Fail, ReasonCode::FaceChanged),
                None if check.status == Status::Pass => {
                    (Status::Inconclusive, ReasonCode::IdentityUnclear)
                }
                None => (check.status, ReasonCode::IdentityUnclear),
            };
            let mut reasons = std::mem::take(&mut check.reasons);
            reasons.push(found.1);
            *check = result(Check::Continuity, found.0, check.score, check.threshold, reasons);
        }
    }
}

/// Whether the earlier capture left anything open beside the step that is repeated. Lips and voice are
/// repeated with the digits: there, only what was found against them stays.
fn left_open(step: Step, earlier: &Verdict) -> bool {
    let others = earlier.checks.iter().filter(|c| c.check != step.check());
    let repeated = |c: &CheckResult| c.check == Check::Sync && step == Step::Speech;
    let settled =
        |c: &CheckResult| c.status == Status::Pass || (repeated(c) && c.status != Status::Fail);
    others.clone().count() < OTHER_CHECKS || !others.clone().all(settled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Fail, Inconclusive, Pass, Unavailable};

    const ORDER: [Check; 5] =
        [Check::Quality, Check::Speech, Check::Motion, Check::Continuity, Check::Pad];

    fn verdict(decision: Decision, statuses: [Status; 5]) -> Verdict {
        let check = |(check, status)| result(check, status, Some(0.5), Some(0.4), vec![]);
        let others = [(Check::Sync, Pass), (Check::Injection, Pass)];
        let checks = ORDER.into_iter().zip(statuses).chain(others).map(check).collect();
        Verdict { decision, checks, policy: "test/1".into(), earlier: None }
    }

    #[test]
    fn only_a_single_failed_step_can_be_repeated() {
        let policy = Policy::balanced();
        for (statuses, step) in [
            ([Pass, Fail, Pass, Pass, Pass], Some(Step::Speech)),
            ([Pass, Pass, Fail, Pass, Pass], Some(Step::Motion)),
            ([Pass, Pass, Fail, Pass, Unavailable], Some(Step::Motion)),
            ([Pass, Fail, Pass, Pass, Fail], Some(Step::Speech)),
            ([Pass, Fail, Fail, Pass, Pass], None),
            ([Pass, Fail, Inconclusive, Pass, Pass], None),
            ([Fail, Fail, Pass, Pass, Pass], None),
            ([Inconclusive, Fail, Pass, Pass, Pass], None),
            ([Pass, Fail, Pass, Fail, Pass], None),
            ([Pass, Fail, Pass, Unavailable, Pass], None),
            ([Pass, Pass, Pass, Fail, Pass], None),
        ] {
            let found = step_to_repeat(&verdict(Decision::Rejected, statuses), &policy);
            assert_eq!(found, step, "{statuses:?}");
            assert_eq!(step_to_repeat(&verdict(Decision::Review, statuses), &policy), None);
        }
        let mut attack = verdict(Decision::Rejected, [Pass, Fail, Pass, Pass, Fail]);
        attack.checks[4] = attack.checks[4].clone().weighing(-2.0, 1.0);
        assert_eq!(step_to_repeat(&attack, &policy), Some(Step::Speech));
        assert_eq!(step_to_repeat(&attack, &Policy::strict()), None);
        attack.checks.remove(4);
        assert_eq!(step_to_repeat(&attack, &policy), None);
    }

    #[test]
    fn the_other_step_stands_and_the_faces_must_be_one() {
        let earlier = verdict(Decision::Rejected, [Pass, Fail, Pass, Pass, Pass]);
        // The new capture alone leaves the motions open, as none were asked for.
        let fresh = verdict(Decision::Review, [Pass, Pass, Inconclusive, Pass, Pass]);
        for (distance, decision) in [
            (Some(0.2), Decision::Verified),
            (Some(0.4), Decision::Verified),
            (Some(0.41), Decision::Rejected),
            (Some(f32::NAN), Decision::Rejected),
            (Some(f32::INFINITY), Decision::Rejected),
            (None, Decision::Review),
        ] {
            let base = Base { attempt: 1, verdict: &earlier, distance };
            let mut checks = fresh.checks.clone();
            take_over(&mut checks, Step::Speech, &base, 0.4);
            assert_eq!(fuse(&checks, &Policy::balanced()), decision, "{distance:?}");
            assert_eq!(checks[2], earlier.checks[2]);
            assert_eq!(checks[1], fresh.checks[1], "the repeated step is judged anew");
        }
    }

    #[test]
    fn what_was_open_before_stays_open() {
        let open = |statuses| left_open(Step::Speech, &verdict(Decision::Rejected, statuses));
        assert!(!open([Pass, Fail, Pass, Pass, Pass]));
        assert!(open([Pass, Fail, Pass, Pass, Unavailable]));
        assert!(open([Pass, Fail, Pass, Pass, Fail]));
        let mut less = verdict(Decision::Rejected, [Pass, Fail, Pass, Pass, Pass]);
        less.checks.pop();
        assert!(left_open(Step::Speech, &less), "a check that is missing was not passed");
    }

    #[test]
    fn lips_and_voice_go_with_the_spoken_step() {
        let status = |v: &Verdict| v.check(Check::Sync).unwrap().status;
        let with_sync = |decision, statuses, sync| {
            let mut v = verdict(decision, statuses);
            v.checks[5].status = sync;
            v
        };
        let spoken = with_sync(Decision::Rejected, [Pass, Pass, Fail, Pass, Pass], Pass);
        let base = Base { attempt: 1, verdict: &spoken, distance: Some(0.2) };
        let mut fresh =
            with_sync(Decision::Review, [Pass, Inconclusive, Pass, Pass, Pass], Inconclusive);
        take_over(&mut fresh.checks, Step::Motion, &base, 0.4);
        assert_eq!(status(&fresh), Pass, "nothing was said the second time");

        let failed = [Pass, Fail, Pass, Pass, Pass];
        let silent = with_sync(Decision::Rejected, failed, Inconclusive);
        assert!(!left_open(Step::Speech, &silent));
        assert!(left_open(Step::Speech, &with_sync(Decision::Rejected, failed, Fail)));
        let base = Base { attempt: 1, verdict: &silent, distance: Some(0.2) };
        let mut fresh = with_sync(Decision::Review, [Pass, Pass, Inconclusive, Pass, Pass], Fail);
        take_over(&mut fresh.checks, Step::Speech, &base, 0.4);
        assert_eq!(status(&fresh), Fail, "what is said again is judged anew");
    }
}
