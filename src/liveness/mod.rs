//! From evidence to a verdict: a pure judgement.
//!
//! [`judge`] reads [`Evidence`] under a [`Policy`] and answers the questions of
//! [`Check`], each in its own file: quality,
//! speech, motion, continuity, lips and voice (`sync`), presentation attacks (`pad`) and `injection`. It reads no clock, draws no random
//! number and runs no model, so stored evidence gives the same verdict again.
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
//! The challenge (speech, motion), continuity and quality are *gates*: one failure rejects, with
//! all reasons of all checks named, and the person can try again; one left open goes to review. The
//! checks that look for attacks (sync, pad, injection) are *weighed*: each gives a log-likelihood ratio that its reliability shrinks towards
//! zero. What speaks against a capture adds up, and rejects it from `fusion.reject_llr` on; what speaks for it
//! in one of them makes up for nothing in another, since each looks for another attack. A weighed check that
//! fails sends the capture to review, and so does one that is left open, unless its ratio before
//! shrinking was measured and says little against the capture (`sync.open_llr`, `fusion.open_llr`).
//! Everything passed: verified.

pub mod bundle;
mod continuity;
mod injection;
mod motion;
mod pad;
pub mod policy;
mod quality;
mod repeat;
mod speech;
mod sync;
mod timeline;

use crate::domain::evidence::{EVIDENCE_VERSION, Evidence};
use crate::domain::verdict::{Check, CheckResult, Decision, ReasonCode, Status, Verdict};

pub use pad::check as judge_pad;
pub use policy::Policy;
pub use repeat::{Base, judge_repeat, step_to_repeat};
pub use speech::{edit_distance, judge_reading};
pub use sync::{MouthSample, SyncMeasure, judge_sync, measure_sync};
use timeline::Timeline;

/// Judges a capture.
///
/// The order in which frames and samples are stored doesn't matter, their times do. Evidence of an
/// unknown version is judged as far as it is understood, and never verified.
pub fn judge(evidence: &Evidence, policy: &Policy) -> Verdict {
    let checks = check_all(evidence, policy);
    let decision = match fuse(&checks, policy) {
        Decision::Verified if evidence.version != EVIDENCE_VERSION => Decision::Review,
        decision => decision,
    };
    Verdict { decision, checks, policy: policy.id(), earlier: None }
}

/// Every check, in order.
fn check_all(evidence: &Evidence, policy: &Policy) -> Vec<CheckResult> {
    let timeline = Timeline::new(evidence, policy.quality.min_presence);
    vec![
        quality::check(evidence, &timeline, &policy.quality),
        speech::check(evidence, &timeline, &policy.speech),
        motion::check(&evidence.challenge.motions, &timeline, &policy.motion),
        continuity::check(&evidence.identity, &timeline, &policy.continuity),
        sync::check(&evidence.speech, &timeline, &policy.sync),
        pad::check(evidence.spoof.as_ref(), &policy.pad),
        injection::check(&timeline, &policy.injection),
    ]
}

/// Whether a check looks for an attack and is weighed; the others are gates.
fn is_weighed(check: Check) -> bool {
    matches!(check, Check::Sync | Check::Pad | Check::Injection)
}

/// The weighed checks that count.
fn weighed<'a>(
    checks: &'a [CheckResult],
    policy: &'a Policy,
) -> impl Iterator<Item = &'a CheckResult> {
    let counts = |c: &&CheckResult| c.check != Check::Sync || policy.sync.counts;
    checks.iter().filter(|c| is_weighed(c.check)).filter(counts)
}

/// Whether what speaks against a capture rejects it, whatever the gates say.
fn is_attack(checks: &[CheckResult], policy: &Policy) -> bool {
    let against: f32 = weighed(checks, policy).filter_map(|c| c.llr).map(|llr| llr.min(0.0)).sum();
    against <= policy.fusion.reject_llr
}

/// The log-likelihood ratio before its reliability shrank it; `None` where nothing was measured.
fn unshrunk(check: &CheckResult) -> Option<f32> {
    let (llr, reliability) = (check.llr?, check.reliability?);
    (reliability > 0.0).then(|| llr / reliability)
}

fn fuse(checks: &[CheckResult], policy: &Policy) -> Decision {
    let gates = || checks.iter().filter(|c| !is_weighed(c.check));
    let passed_over = |check| match check {
        Check::Sync => policy.sync.open_llr,
        _ => policy.fusion.open_llr,
    };
    let settled = |c: &CheckResult| match c.status {
        Status::Pass => true,
        // Neither what was not measured nor a doubt that rests on little may be passed over.
        Status::Inconclusive => unshrunk(c).is_some_and(|llr| llr >= passed_over(c.check)),
        Status::Fail | Status::Unavailable => false,
    };
    if gates().any(|c| c.status == Status::Fail) || is_attack(checks, policy) {
        Decision::Rejected
    } else if gates().all(|c| c.status == Status::Pass) && weighed(checks, policy).all(settled) {
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
    CheckResult {
        check,
        status,
        score: finite(score),
        threshold: finite(threshold),
        reasons,
        llr: None,
        reliability: None,
    }
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
        let checks = |gate, pad, llr| {
            let made = |check, status| result(check, status, None, None, vec![]);
            [
                made(Check::Quality, Pass),
                made(Check::Motion, gate),
                made(Check::Pad, pad).weighing(llr, 1.0),
            ]
        };
        let p = Policy::balanced();
        for (gate, pad, llr, decision) in [
            (Pass, Pass, 1.0, Decision::Verified),
            (Pass, Fail, -1.5, Decision::Review),
            (Pass, Fail, -2.5, Decision::Rejected),
            (Pass, Inconclusive, -0.2, Decision::Review),
            (Pass, Unavailable, f32::NAN, Decision::Review),
            (Inconclusive, Pass, 1.0, Decision::Review),
            (Unavailable, Pass, 1.0, Decision::Review),
            (Fail, Pass, 1.0, Decision::Rejected),
            (Fail, Fail, -1.5, Decision::Rejected),
            (Fail, Unavailable, f32::NAN, Decision::Rejected),
        ] {
            assert_eq!(fuse(&checks(gate, pad, llr), &p), decision, "{gate:?} {pad:?}");
        }
        let mut little = checks(Pass, Inconclusive, f32::NAN);
        assert_eq!(fuse(&little, &p), Decision::Review, "not measured");
        let convenience = Policy::convenience();
        for (llr, decision) in [(-0.4, Decision::Verified), (-1.2, Decision::Review)] {
            for reliability in [1.0, 0.3] {
                little[2] = little[2].clone().weighing(llr, reliability);
                assert_eq!(fuse(&little, &convenience), decision, "{llr} {reliability}");
            }
        }
        for (pad, llr, decision) in [
            (Inconclusive, -0.2, Decision::Verified),
            (Inconclusive, -1.0, Decision::Review),
            (Fail, 0.0, Decision::Review),
            (Unavailable, f32::NAN, Decision::Review),
        ] {
            assert_eq!(fuse(&checks(Pass, pad, llr), &convenience), decision, "{pad:?}");
        }
    }

    #[test]
    fn doubts_add_up_and_nothing_makes_up_for_them() {
        let decision = |sync: f32, pad: f32, p: &Policy| {
            let made = |check, llr: f32| {
                let status = if llr < 0.0 { Status::Fail } else { Status::Pass };
                result(check, status, None, None, vec![]).weighing(llr, 1.0)
            };
            fuse(&[made(Check::Sync, sync), made(Check::Pad, pad)], p)
        };
        let p = Policy::balanced();
        assert_eq!(decision(-1.4, 1.5, &p), Decision::Review);
        assert_eq!(decision(-1.4, -1.2, &p), Decision::Rejected);
        assert_eq!(decision(3.0, -1.2, &p), Decision::Review);
        let mut deaf = p;
        deaf.sync.counts = false;
        assert_eq!(decision(-3.0, 1.0, &deaf), Decision::Verified);
    }

    #[test]
    fn results_hold_only_finite_numbers_and_each_reason_once() {
        let reasons = vec![ReasonCode::FewFrames, ReasonCode::NoFace, ReasonCode::FewFrames];
        let r = result(Check::Quality, Status::Fail, Some(f32::NAN), Some(1.0), reasons);
        assert_eq!(r.score, None);
        assert_eq!(r.threshold, Some(1.0));
        assert_eq!(r.reasons, [ReasonCode::NoFace, ReasonCode::FewFrames]);
    }

    proptest::proptest! {
        #[test]
        fn worse_checks_never_improve_the_decision(
            checks in proptest::collection::vec((0usize..7, 0usize..4, -4.0f32..4.0), 1..7),
            which in 0usize..7,
            status in 0usize..4,
            by in 0.0f32..4.0,
        ) {
            // From worst to best; what could not be measured is no better than what was left open.
            const STATUSES: [Status; 4] =
                [Status::Fail, Status::Unavailable, Status::Inconclusive, Status::Pass];
            let rank = |d| match d {
                Decision::Rejected => 0,
                Decision::Review => 1,
                Decision::Verified => 2,
            };
            let made = |(check, status, llr): &(usize, usize, f32)| {
                result(Check::ALL[*check], STATUSES[*status], None, None, vec![]).weighing(*llr, 1.0)
            };
            let mut worse = checks.clone();
            let changed = which % worse.len();
            worse[changed].1 = worse[changed].1.min(status);
            worse[changed].2 -= by;
            for p in [Policy::convenience(), Policy::balanced(), Policy::strict()] {
                let decide = |c: &[_]| rank(fuse(&c.iter().map(made).collect::<Vec<_>>(), &p));
                proptest::prop_assert!(decide(&worse) <= decide(&checks));
            }
        }
    }
}
