//! Did the head move as asked?
//!
//! Yaw and pitch become trajectories relative to the person's own rest pose, smoothed over time.
//! Wherever they leave the centre and come back, that is a turn; the turns are held against the
//! asked motions, in order. A turn that is already under way in the first frame doesn't count
//! either way: nobody saw it begin. Score: share of asked motions seen in order.

use super::policy::MotionPolicy;
use super::timeline::Timeline;
use super::{median, result};
use crate::domain::challenge::{MAX_MOTIONS, Motion};
use crate::domain::verdict::{Check, CheckResult, ReasonCode, Status};

/// Fewest frames with a face that make a trajectory.
const MIN_SAMPLES: usize = 10;
/// Most neighbours on each side that smoothing looks at, whatever their times say.
const MAX_NEIGHBOURS: usize = 30;
/// Share of the samples taken as the rest pose.
const REST_SHARE: f32 = 0.4;
/// Clusters this much wider than the tightest still qualify as rest, and the one nearest to the
/// camera's axis is taken: a pose held still in a turn must not become the rest pose. Degrees.
const REST_SPREAD: f32 = 6.0;
/// Shortest time over which speed is measured, in milliseconds.
const SPEED_BASE_MS: i64 = 50;

pub(super) fn check(asked: &[Motion], timeline: &Timeline<'_>, p: &MotionPolicy) -> CheckResult {
    if asked.is_empty() || asked.len() > MAX_MOTIONS {
        let reasons = vec![ReasonCode::MotionMissing];
        return result(Check::Motion, Status::Inconclusive, None, None, reasons);
    }
    let turns = trajectory(timeline, p).map_or_else(Vec::new, |samples| turns(&samples, p));
    let outcome = compare(asked, &turns, p);
    let status = if outcome.reasons.is_empty() { Status::Pass } else { Status::Fail };
    let score = outcome.matched as f32 / asked.len() as f32;
    result(Check::Motion, status, Some(score), Some(1.0), outcome.reasons)
}

struct Outcome {
    matched: usize,
    reasons: Vec<ReasonCode>,
}

fn compare(asked: &[Motion], turns: &[Turn], p: &MotionPolicy) -> Outcome {
    let (mut matched, mut incomplete) = (0, false);
    let mut weakest_answer = f32::INFINITY;
    let mut largest_unasked = 0.0_f32;
    for turn in turns {
        if matched == asked.len() {
            break; // what the head does when all is done is nobody's business
        }
        if turn.counts && turn.motion == asked[matched] {
            matched += 1;
            incomplete |= !turn.returned;
            weakest_answer = weakest_answer.min(turn.peak);
        } else if matched > 0 && turn.motion == asked[matched - 1] {
            // A second go at the same motion.
        } else {
            largest_unasked = largest_unasked.max(turn.peak);
        }
    }
    // A glance is small, and smaller than any answer.
    let unasked = largest_unasked >= p.unasked_factor
        || (largest_unasked >= p.glance_factor && largest_unasked >= weakest_answer);
    let mut reasons = Vec::new();
    if matched < asked.len() {
        let seen = |m: Motion| turns.iter().filter(|t| t.counts && t.motion == m).count();
        let wanted = |m: Motion| asked.iter().filter(|a| **a == m).count();
        let all_there = asked.iter().all(|m| seen(*m) >= wanted(*m));
        reasons.push(if all_there { ReasonCode::MotionOrder } else { ReasonCode::MotionMissing });
    } else if unasked {
        reasons.push(ReasonCode::MotionOrder);
    }
    if incomplete {
        reasons.push(ReasonCode::MotionIncomplete);
    }
    Outcome { matched, reasons }
}

/// A turn out of the centre.
#[derive(Clone, Debug, PartialEq)]
struct Turn {
    motion: Motion,
    /// Farthest angle, in units of the angle from which the head is out.
    peak: f32,
    /// Whether the head came back to the centre (or passed it on the way to the other side).
    returned: bool,
    /// Whether it counts as an answer: clearly along one axis, at a plausible speed and length.
    counts: bool,
}

/// The head's pose at one time, in degrees from rest.
#[derive(Clone, Copy, Debug)]
struct Sample {
    t_ms: i64,
    yaw: f32,
    pitch: f32,
    /// Speed in degrees a second, of the larger of both.
    speed: f32,
}

impl Sample {
    /// The direction that dominates, and how far out along it and along the other axis, in units
    /// of the angle from which the head is out.
    fn lean(&self, p: &MotionPolicy) -> (Motion, f32, f32) {
        let yaw = self.yaw.abs() / p.yaw_out_deg;
        let pitch = self.pitch.abs() / p.pitch_out_deg;
        if yaw >= pitch {
            (if self.yaw >= 0.0 { Motion::Left } else { Motion::Right }, yaw, pitch)
        } else {
            (if self.pitch >= 0.0 { Motion::Up } else { Motion::Down }, pitch, yaw)
        }
    }
}

/// The smoothed trajectory; `None` where there is too little of it or no rest pose.
fn trajectory(timeline: &Timeline<'_>, p: &MotionPolicy) -> Option<Vec<Sample>> {
    let times: Vec<i64> = timeline.faces().map(|(t, _)| t).collect();
    if times.len() < MIN_SAMPLES {
        return None;
    }
    let raw = |f: fn(&crate::domain::evidence::Pose) -> f32| -> Vec<f32> {
        timeline.faces().map(|(_, face)| f(&face.pose)).collect()
    };
    let middle = |v: &[f32]| windowed(&times, v, p.smooth_ms, |w| median(w.iter().copied()));
    let mean = |v: &[f32]| {
        windowed(&times, v, p.smooth_ms / 2, |w| Some(w.iter().sum::<f32>() / w.len() as f32))
    };
    let (yaw_steps, pitch_steps) = (middle(&raw(|p| p.yaw)), middle(&raw(|p| p.pitch)));
    let (yaw, pitch) = (mean(&yaw_steps), mean(&pitch_steps));
    let yaw_rest = rest(&yaw)?;
    // Pitch at rest is that of the frames in which the head isn't turned aside.
    let straight = yaw.iter().zip(&pitch).filter(|(y, _)| (**y - yaw_rest).abs() < p.yaw_out_deg);
    let pitch_rest = rest(&straight.map(|(_, x)| *x).collect::<Vec<_>>())?;
    if !(yaw_rest.abs() <= p.max_rest_deg.0 && pitch_rest.abs() <= p.max_rest_deg.1) {
        return None;
    }
    let samples = (0..times.len()).map(|i| Sample {
        t_ms: times[i],
        yaw: yaw[i] - yaw_rest,
        pitch: pitch[i] - pitch_rest,
        speed: speed(&times, &yaw_steps, i).max(speed(&times, &pitch_steps, i)),
    });
    Some(samples.collect())
}

/// Applies `f` to the values within `half_ms` of each time.
fn windowed(
    times: &[i64],
    values: &[f32],
    half_ms: i64,
    f: impl Fn(&[f32]) -> Option<f32>,
) -> Vec<f32> {
    let near = |i: usize, j: usize| times[i].abs_diff(times[j]) <= half_ms.unsigned_abs();
    (0..values.len())
        .map(|i| {
            let (mut from, mut to) = (i, i);
            while from > 0 && i - from < MAX_NEIGHBOURS && near(i, from - 1) {
                from -= 1;
            }
            while to + 1 < values.len() && to - i < MAX_NEIGHBOURS && near(i, to + 1) {
                to += 1;
            }
            f(&values[from..=to]).unwrap_or(values[i])
        })
        .collect()
}

/// Degrees a second from sample `i` back to the first one at least [`SPEED_BASE_MS`] earlier.
fn speed(times: &[i64], values: &[f32], i: usize) -> f32 {
    let earlier = (i.saturating_sub(MAX_NEIGHBOURS)..i)
        .rev()
        .find(|j| times[i].saturating_sub(times[*j]) >= SPEED_BASE_MS);
    earlier.map_or(0.0, |j| {
        let seconds = times[i].saturating_sub(times[j]) as f32 / 1000.0;
        (values[i] - values[j]).abs() / seconds
    })
}

/// The rest angle: the middle of a tight cluster that holds [`REST_SHARE`] of all values.
fn rest(values: &[f32]) -> Option<f32> {
    let mut v = values.to_vec();
    v.sort_by(f32::total_cmp);
    let size = ((v.len() as f32 * REST_SHARE) as usize).max(1);
    let clusters =
        || v.windows(size).map(|w| (w[size - 1] - w[0], f32::midpoint(w[0], w[size - 1])));
    let tightest = clusters().map(|(width, _)| width).min_by(f32::total_cmp)?;
    clusters()
        .filter(|(width, _)| *width <= tightest + REST_SPREAD)
        .map(|(_, middle)| middle)
        .min_by(|a, b| a.abs().total_cmp(&b.abs()))
}

fn turns(samples: &[Sample], p: &MotionPolicy) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut started: Option<usize> = None;
    let mut seen_centre = false;
    for (i, sample) in samples.iter().enumerate() {
        let gap = i > 0 && sample.t_ms.saturating_sub(samples[i - 1].t_ms) > p.max_gap_ms;
        if gap {
            // What happened in between is unknown: the turn ends unfinished.
            if let (Some(from), true) = (started, seen_centre) {
                turns.extend(split(&samples[from..i], false, p));
            }
            (started, seen_centre) = (None, false);
        }
        let (_, lean, _) = sample.lean(p);
        if lean <= p.back_share {
            if let (Some(from), true) = (started, seen_centre) {
                turns.extend(split(&samples[from..=i], true, p));
            }
            (started, seen_centre) = (None, true);
        } else if started.is_none() && lean >= 1.0 {
            started = Some(i);
        }
    }
    if let (Some(from), true) = (started, seen_centre) {
        turns.extend(split(&samples[from..], false, p));
    }
    turns
}

/// One way out of the centre (and back) as turns: several, where the head went from one direction
/// to another without resting in between.
fn split(way: &[Sample], returned: bool, p: &MotionPolicy) -> Vec<Turn> {
    // Stretches of one dominant direction; samples that are nearly back belong to the stretch
    // before them.
    let mut stretches: Vec<(Motion, usize)> = Vec::new();
    for (i, sample) in way.iter().enumerate() {
        let (motion, lean, _) = sample.lean(p);
        if lean >= 1.0 && stretches.last().is_none_or(|(m, _)| *m != motion) {
            stretches.push((motion, i));
        }
    }
    let bounds: Vec<(Motion, usize, usize)> = stretches
        .iter()
        .enumerate()
        .map(|(k, (m, from))| (*m, *from, stretches.get(k + 1).map_or(way.len() - 1, |n| n.1)))
        .filter(|(_, from, to)| way[*to].t_ms.saturating_sub(way[*from].t_ms) >= p.min_out_ms)
        .collect();
    let mut turns: Vec<Turn> = Vec::new();
    for (k, (motion, from, to)) in bounds.iter().enumerate() {
        let next = bounds.get(k + 1).map(|(m, _, _)| *m);
        let back = next.map_or(returned, |m| m == opposite(*motion));
        let turn = measure(*motion, &way[*from..=*to], back, p);
        match turns.last_mut() {
            // A wobble in between was too short to count: one turn after all.
            Some(last) if last.motion == turn.motion => {
                last.peak = last.peak.max(turn.peak);
                last.returned = turn.returned;
                last.counts |= turn.counts;
            }
            _ => turns.push(turn),
        }
    }
    turns
}

fn measure(motion: Motion, way: &[Sample], returned: bool, p: &MotionPolicy) -> Turn {
    let (mut peak, mut across) = (0.0, 0.0);
    for sample in way {
        let (direction, along, other) = sample.lean(p);
        if direction == motion && along > peak {
            (peak, across) = (along, other);
        }
    }
    let length = way[way.len() - 1].t_ms.saturating_sub(way[0].t_ms);
    let plausible = length <= p.max_out_ms && way.iter().all(|s| s.speed <= p.max_speed_deg_s);
    Turn { motion, peak, returned, counts: plausible && peak >= across * p.dominance }
}

fn opposite(motion: Motion) -> Motion {
    match motion {
        Motion::Left => Motion::Right,
        Motion::Right => Motion::Left,
        Motion::Up => Motion::Down,
        Motion::Down => Motion::Up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::Policy;
    use Motion::{Down, Left, Right, Up};

    /// Samples at 25 fps that run through way points `(yaw, pitch)`, 400 ms from one to the next.
    fn way(points: &[(f32, f32)]) -> Vec<Sample> {
        let mut out = Vec::new();
        for pair in points.windows(2) {
            for k in 0..10 {
                let f = k as f32 / 10.0;
                let mix = |a: f32, b: f32| a + (b - a) * f;
                let t_ms = out.len() as i64 * 40;
                let (yaw, pitch) = (mix(pair[0].0, pair[1].0), mix(pair[0].1, pair[1].1));
                out.push(Sample { t_ms, yaw, pitch, speed: 60.0 });
            }
        }
        out
    }

    fn seen(points: &[(f32, f32)]) -> Vec<(Motion, bool)> {
        let policy = Policy::balanced().motion;
        turns(&way(points), &policy).iter().map(|t| (t.motion, t.returned)).collect()
    }

    const C: (f32, f32) = (0.0, 0.0);

    #[test]
    fn turns_are_found_with_their_way_back() {
        assert_eq!(seen(&[C, C, (30.0, -6.0), C, C]), [(Left, true)]);
        assert_eq!(seen(&[C, (-30.0, 5.0), (-30.0, 5.0), C]), [(Right, true)]);
        assert_eq!(seen(&[C, (4.0, 20.0), C, (0.0, -20.0), C, C]), [(Up, true), (Down, true)]);
        assert_eq!(seen(&[C, (30.0, 0.0), (30.0, 0.0)]), [(Left, false)]);
        assert_eq!(seen(&[C, (8.0, 6.0), C, (-8.0, -6.0), C]), []);
    }

    #[test]
    fn straight_from_side_to_side_passes_the_centre_but_around_it_does_not() {
        let side_to_side = [C, (30.0, 0.0), (30.0, 0.0), (-30.0, 0.0), (-30.0, 0.0), C, C];
        assert_eq!(seen(&side_to_side), [(Left, true), (Right, true)]);
        let around = [C, (30.0, 0.0), (30.0, 0.0), (0.0, 22.0), (0.0, 22.0), C, C];
        assert_eq!(seen(&around), [(Left, false), (Up, true)]);
    }

    #[test]
    fn a_turn_under_way_at_the_start_is_no_turn() {
        assert_eq!(seen(&[(0.0, -25.0), (0.0, -25.0), C, (30.0, 0.0), C, C]), [(Left, true)]);
    }

    #[test]
    fn the_order_of_turns_decides() {
        let policy = Policy::balanced().motion;
        let turn = |motion| Turn { motion, peak: 2.0, returned: true, counts: true };
        let reasons = |asked: &[Motion], seen: &[Motion]| {
            let turns: Vec<_> = seen.iter().map(|m| turn(*m)).collect();
            compare(asked, &turns, &policy).reasons
        };
        assert_eq!(reasons(&[Left, Up], &[Left, Up]), []);
        assert_eq!(reasons(&[Left, Up], &[Left, Left, Up]), []);
        assert_eq!(reasons(&[Left, Up], &[Left, Up, Down]), []);
        assert_eq!(reasons(&[Left, Up], &[Up, Left]), [ReasonCode::MotionOrder]);
        assert_eq!(reasons(&[Left, Up], &[Right, Left, Up]), [ReasonCode::MotionOrder]);
        assert_eq!(reasons(&[Left, Up], &[Left, Right, Up]), [ReasonCode::MotionOrder]);
        assert_eq!(reasons(&[Left, Up], &[Left]), [ReasonCode::MotionMissing]);
        assert_eq!(reasons(&[Left, Up], &[]), [ReasonCode::MotionMissing]);
        assert_eq!(reasons(&[Left, Right, Left], &[Left, Right]), [ReasonCode::MotionMissing]);

        let gentle = |peaks: [f32; 3]| {
            let made = [Left, Right, Left].into_iter().zip(peaks);
            let turns: Vec<_> = made.map(|(m, peak)| Turn { peak, ..turn(m) }).collect();
            compare(&[Right, Left], &turns, &policy).reasons
        };
        assert_eq!(gentle([1.4, 1.5, 1.1]), [ReasonCode::MotionOrder]);
        assert_eq!(gentle([1.4, 2.5, 2.2]), []);
        assert_eq!(gentle([1.7, 2.5, 2.2]), [ReasonCode::MotionOrder]);
        assert_eq!(gentle([1.1, 1.5, 1.0]), []);
    }

    #[test]
    fn rest_is_the_tight_cluster_near_the_camera() {
        let mut yaw = vec![2.0; 50];
        yaw.extend(vec![30.0; 50]);
        assert_eq!(rest(&yaw), Some(2.0));
        assert_eq!(rest(&[]), None);
    }
}
