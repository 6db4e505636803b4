//! From evidence to a verdict: a pure judgement.
//!
//! [`judge`] reads [`Evidence`] under a [`Policy`] and answers the five questions of
//! [`Check`], each in its own file: quality,
//! speech, motion, continuity and presentation attacks (`pad`). It reads no clock, draws no random number and runs no model, so
//! stored evidence gives the same verdict again.
//!
//! Three rules hold throughout:
//! - **Total.** Any evidence gives a verdict: empty, out of order, absurd or not a number.
//! - **Missing or unreliable evidence never counts as a pass.** A number that is not a number reads
//!   as the worst one of its kind; a check without what it needs is open (`inconclusive` or
//!   `unavailable`) or fails.
//! - **Worse evidence never improves the decision**, and no single frame decides one.
//!
//! # Fusion
//!
//! The challenge (speech, motion), continuity and quality are hard gates: one failure rejects, with
//! all reasons of all checks named, and the person can try again. A presentation-attack check that
//! fails by itself sends the capture to review unless the policy's `pad.rejects_below` says
//! otherwise; see [`Policy::balanced`] for why. What is open or unavailable goes to review.
//! Everything passed: verified.

pub mod bundle;
mod continuity;
mod motion;
mod pad;
pub mod policy;
mod quality;
mod repeat;
mod speech;
mod timeline;

use crate::domain::evidence::{EVIDENCE_VERSION, Evidence};
use crate::domain::verdict::{Check, CheckResult, Decision, ReasonCode, Status, Verdict};

pub use pad::check as judge_pad;
pub use policy::Policy;
pub use repeat::{Base, judge_repeat, step_to_repeat};
pub use speech::{edit_distance, judge_reading};
use timeline::Timeline;

/// Judges a capture.
///
/// The order in which frames and samples are stored doesn't matter, their times do. Evidence of an
/// unknown version is judged as far as it is understood, and never verified.
pub fn judge(evidence: &Evidence, policy: &Policy) -> Verdict {
    let (checks, overwhelming_attack) = check_all(evidence, policy);
    let decision = match fuse(&checks, overwhelming_attack) {
        Decision::Verified if evidence.version != EVIDENCE_VERSION => Decision::Review,
        decision => decision,
    };
    Verdict { decision, checks, policy: policy.id(), earlier: None }
}

/// Every check, and whether the anti-spoof score alone rejects.
fn check_all(evidence: &Evidence, policy: &Policy) -> (Vec<CheckResult>, bool) {
    let timeline = Timeline::new(evidence, policy.quality.min_presence);
    let checks = vec![
        quality::check(evidence, &timeline, &policy.quality),
        speech::check(evidence, &timeline, &policy.speech),
        motion::check(&evidence.challenge.motions, &timeline, &policy.motion),
        continuity::check(&evidence.identity, &timeline, &policy.continuity),
        pad::check(evidence.spoof.as_ref(), &policy.pad),
    ];
    (checks, pad::overwhelming(evidence.spoof.as_ref(), &policy.pad))
}

fn fuse(checks: &[CheckResult], overwhelming_attack: bool) -> Decision {
    let gate_failed = checks.iter().any(|c| c.check != Check::Pad && c.status == Status::Fail);
    if gate_failed || overwhelming_attack {
        Decision::Rejected
    } else if checks.iter().all(|c| c.status == Status::Pass) {
        Decision::Verified
    } else {
        Decision::Review
    }
}

/// A check's result. Reasons are put into the order of [`ReasonCode`], which within each check runs
/// from what is missing altogether to what is merely unclear; numbers that are not finite are left
/// out, so that a verdict can always be written as JSON.
fn result(
    check: Check,
    status: Status,
    score: Option<f32>,
    threshold: Option<f32>,
    mut reasons: Vec<ReasonCode>,
) -> CheckResult {
    reasons.sort_unstable();
    reasons.dedup();
    let finite = |x: Option<f32>| x.filter(|x| x.is_finite());
    CheckResult { check, status, score: finite(score), threshold: finite(threshold), reasons }
}

/// The median; `None` of nothing. Numbers that are not finite have to be filtered out before.
fn median(values: impl IntoIterator<Item = f32>) -> Option<f32> {
    let mut v: Vec<f32> = values.into_iter().collect();
    v.sort_by(f32::total_cmp);
    let upper = *v.get(v.len() / 2)?;
    Some(if v.len() % 2 == 1 { upper } else { f32::midpoint(v[v.len() / 2 - 1], upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_decision_of_every_combination() {
        use Status::{Fail, Inconclusive, Pass, Unavailable};
        let checks = |gate, pad| {
            [(Check::Quality, Pass), (Check::Motion, gate), (Check::Pad, pad)]
                .map(|(check, status)| result(check, status, None, None, vec![]))
        };
        for (gate, pad, overwhelming, decision) in [
            (Pass, Pass, false, Decision::Verified),
            (Pass, Fail, false, Decision::Review),
            (Pass, Fail, true, Decision::Rejected),
            (Pass, Inconclusive, false, Decision::Review),
            (Pass, Unavailable, false, Decision::Review),
            (Inconclusive, Pass, false, Decision::Review),
            (Unavailable, Pass, false, Decision::Review),
            (Fail, Pass, false, Decision::Rejected),
            (Fail, Fail, false, Decision::Rejected),
            (Fail, Unavailable, false, Decision::Rejected),
        ] {
            assert_eq!(fuse(&checks(gate, pad), overwhelming), decision, "{gate:?} {pad:?}");
        }
    }

    #[test]
    fn results_hold_only_finite_numbers_and_each_reason_once() {
        let reasons = vec![ReasonCode::FewFrames, ReasonCode::NoFace, ReasonCode::FewFrames];
        let r = result(Check::Quality, Status::Fail, Some(f32::NAN), Some(1.0), reasons);
        assert_eq!(r.score, None);
        assert_eq!(r.threshold, Some(1.0));
        assert_eq!(r.reasons, [ReasonCode::NoFace, ReasonCode::FewFrames]);
    }
}
