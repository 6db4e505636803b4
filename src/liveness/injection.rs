//! Was it recorded by a camera, or fed in from a file (injection, CEN/TS 18099)?
//!
//! No picture can tell for sure: the fresh challenge stands against a recording. What is looked for is a trace that
//! conversion leaves and a camera does not: a picture repeated at every fifth or sixth place, say, where 24 or
//! 25 pictures a second were made into 30. A camera in low light repeats pictures too, but every second one or most of them.
//!
//! Score: how many pictures repeat in such a rhythm.

use super::policy::InjectionPolicy;
use super::result;
use super::timeline::Timeline;
use crate::domain::verdict::{Check, CheckResult, ReasonCode, Status};

/// Rhythms that are looked for, in pictures from one repetition to the next.
const RHYTHMS: std::ops::RangeInclusive<usize> = 3..=15;

pub(super) fn check(timeline: &Timeline<'_>, p: &InjectionPolicy) -> CheckResult {
    let least = Some(p.min_repeats as f32);
    let frames = timeline.frames();
    if frames.len() < 2 {
        let reasons = vec![ReasonCode::FewFrames];
        return result(Check::Injection, Status::Inconclusive, None, least, reasons);
    }
    // A change that is not a number reads as none.
    let moves = |i: &usize| frames[*i].frame.change > p.still_change;
    let repeats: Vec<usize> = (1..frames.len()).filter(|i| !moves(i)).collect();
    let rhythmic = RHYTHMS.map(|rhythm| in_rhythm(&repeats, rhythm, p)).max().unwrap_or(0);
    if rhythmic < p.min_repeats.max(1) {
        return result(Check::Injection, Status::Pass, Some(rhythmic as f32), least, vec![]);
    }
    let reasons = vec![ReasonCode::RepeatedFrames];
    result(Check::Injection, Status::Fail, Some(rhythmic as f32), least, reasons)
        .weighing(-p.repeats_llr.abs(), 1.0)
}

/// How many of the steps between repetitions are whole multiples of `rhythm`; none where too many are not.
fn in_rhythm(repeats: &[usize], rhythm: usize, p: &InjectionPolicy) -> usize {
    let steps = repeats.windows(2).map(|w| w[1] - w[0]);
    let fitting = steps.filter(|step| step % rhythm == 0).count();
    let all = repeats.len().saturating_sub(1);
    if fitting as f32 >= all as f32 * p.rhythmic_share { fitting } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::Policy;

    fn rhythmic(repeats: &[usize]) -> usize {
        let p = Policy::balanced().injection;
        RHYTHMS.map(|r| in_rhythm(repeats, r, &p)).max().unwrap()
    }

    #[test]
    fn conversion_has_a_rhythm_and_a_slow_camera_another() {
        // As measured in a clip of 25 made into 30 pictures a second: some repetitions are missed.
        assert_eq!(rhythmic(&[12, 24, 36, 60, 66, 72, 90, 96, 120, 132, 144]), 10);
        assert_eq!(rhythmic(&[5, 10, 15, 20, 25, 30, 35, 40, 45]), 8);
        // As measured in a clip that stands still now and then.
        assert_eq!(rhythmic(&[4, 8, 11, 31, 54, 64, 88, 93, 98, 114, 131, 144, 149, 159, 169]), 0);
        // 10 and 15 pictures a second in a file of 30.
        let of_three: Vec<usize> = (0..90).filter(|i| i % 3 != 0).collect();
        assert_eq!(rhythmic(&of_three), 0);
        let of_two: Vec<usize> = (0..90).filter(|i| i % 2 != 0).collect();
        assert_eq!(rhythmic(&of_two), 0);
        assert_eq!(rhythmic(&[]), 0);
    }
}
