//! Is it a live face and not a presentation attack (ISO/IEC 30107-3)?
//!
//! The model scores single frames; the check takes their trimmed mean and the share of frames
//! above the model's own threshold, so neither one bad frame nor one good one decides. Score:
//! the trimmed mean of the live probability, held against the model's threshold.

use super::policy::PadPolicy;
use super::result;
use crate::domain::evidence::SpoofEvidence;
use crate::domain::verdict::{Check, CheckResult, ReasonCode, Status};

/// Frames from which the mean is as sure as it gets.
const FULL_SAMPLES: f32 = 6.0;

/// Judges the anti-spoof samples alone.
pub fn check(spoof: Option<&SpoofEvidence>, p: &PadPolicy) -> CheckResult {
    let Some(spoof) = spoof else {
        let reasons = vec![ReasonCode::PadUnavailable];
        return result(Check::Pad, Status::Unavailable, None, None, reasons);
    };
    let threshold = spoof.threshold;
    let Some(summary) = Summary::of(spoof, p) else {
        let reasons = vec![ReasonCode::PadUncertain];
        return result(Check::Pad, Status::Inconclusive, None, Some(threshold), reasons);
    };
    if !(threshold > 0.0 && threshold <= 1.0) {
        // A threshold that lets everything pass, or nothing, is no measure of anything.
        let reasons = vec![ReasonCode::PadUncertain];
        return result(Check::Pad, Status::Inconclusive, Some(summary.mean), None, reasons);
    }
    let (status, reasons) = if summary.mean >= threshold && summary.live_share >= p.min_live_share {
        (Status::Pass, vec![])
    } else if summary.mean < threshold * p.attack_below {
        (Status::Fail, vec![ReasonCode::PadAttack])
    } else {
        (Status::Inconclusive, vec![ReasonCode::PadUncertain])
    };
    // Neighbouring frames say much the same: more of them make the mean surer, not the odds longer.
    let reliability = spoof.samples.len() as f32 / FULL_SAMPLES;
    result(Check::Pad, status, Some(summary.mean), Some(threshold), reasons)
        .weighing(log_odds(summary.mean, threshold, p), reliability)
}

/// Odds of the mean over odds of the threshold, as a logarithm; a mean of nothing but zeros or ones
/// says no more than one in a hundred.
fn log_odds(mean: f32, threshold: f32, p: &PadPolicy) -> f32 {
    let logit = |x: f32| {
        let x = x.clamp(0.01, 0.99);
        (x / (1.0 - x)).ln()
    };
    (logit(mean) - logit(threshold)).clamp(-p.max_llr.abs(), p.max_llr.abs())
}

struct Summary {
    mean: f32,
    live_share: f32,
}

impl Summary {
    /// `None` where there are too few samples.
    fn of(spoof: &SpoofEvidence, p: &PadPolicy) -> Option<Self> {
        // What is no probability reads as the worst one.
        let live = |x: f32| if (0.0..=1.0).contains(&x) { x } else { 0.0 };
        let mut scores: Vec<f32> = spoof.samples.iter().map(|s| live(s.live)).collect();
        if scores.len() < p.min_samples.max(1) {
            return None;
        }
        scores.sort_by(f32::total_cmp);
        let n = scores.len();
        let trim = ((n as f32 * p.trim_share) as usize).min((n - 1) / 2);
        let kept = &scores[trim..n - trim];
        let above = scores.iter().filter(|s| **s >= spoof.threshold).count();
        Some(Self {
            mean: kept.iter().sum::<f32>() / kept.len() as f32,
            live_share: above as f32 / n as f32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::SpoofSample;
    use crate::liveness::Policy;

    fn spoof(scores: &[f32]) -> SpoofEvidence {
        let sample = |(i, live): (usize, &f32)| SpoofSample {
            index: i as u32,
            t_ms: i as i64 * 300,
            live: *live,
        };
        SpoofEvidence { threshold: 0.5, samples: scores.iter().enumerate().map(sample).collect() }
    }

    fn status(scores: &[f32]) -> Status {
        check(Some(&spoof(scores)), &Policy::balanced().pad).status
    }

    #[test]
    fn one_bad_frame_never_decides() {
        assert_eq!(status(&[0.9, 0.9, 0.0, 0.9, 0.9, 0.9]), Status::Pass);
        assert_eq!(status(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), Status::Fail);
    }

    #[test]
    fn bands() {
        assert_eq!(status(&[0.4; 8]), Status::Inconclusive);
        assert_eq!(status(&[0.1; 8]), Status::Fail);
        assert_eq!(status(&[0.9, 0.9]), Status::Inconclusive);
        assert_eq!(status(&[]), Status::Inconclusive);
        // A high mean carried by half of the frames.
        assert_eq!(status(&[1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3, 0.3]), Status::Inconclusive);
        assert_eq!(check(None, &Policy::balanced().pad).status, Status::Unavailable);
    }

    #[test]
    fn absurd_numbers_read_as_the_worst() {
        assert_eq!(status(&[f32::NAN; 8]), Status::Fail);
        assert_eq!(status(&[7.0; 8]), Status::Fail);
        for threshold in [f32::NAN, 0.0, -1.0, f32::INFINITY] {
            let s = SpoofEvidence { threshold, ..spoof(&[1.0; 8]) };
            assert_ne!(check(Some(&s), &Policy::balanced().pad).status, Status::Pass);
        }
    }

    #[test]
    fn the_weight_grows_with_the_score_within_its_bounds() {
        let p = Policy::balanced().pad;
        let llr = |score: f32, n: usize| check(Some(&spoof(&vec![score; n])), &p).llr.unwrap();
        assert!((llr(0.0, 8) + p.max_llr).abs() < 1e-6);
        assert!((llr(1.0, 8) - p.max_llr).abs() < 1e-6);
        assert!(llr(0.5, 8).abs() < 1e-6);
        assert!(llr(0.3, 8) < llr(0.4, 8) && llr(0.7, 3) < llr(0.7, 6));
        assert_eq!(check(Some(&spoof(&[0.9])), &p).llr, None);
    }
}
