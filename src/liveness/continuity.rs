//! Is it one and the same face throughout, in one unbroken recording of something that lives?
//!
//! Three looks: the embeddings of sampled frames against the reference frame's; box, size and pose
//! from frame to frame; and pictures that repeat. Score: the second-largest distance to the
//! reference (the largest may be a bad frame), held against the model's threshold.

use std::collections::BTreeMap;

use super::policy::ContinuityPolicy;
use super::result;
use super::timeline::Timeline;
use crate::domain::evidence::{FaceEvidence, IdentityEvidence, IdentitySample};
use crate::domain::verdict::{Check, CheckResult, ReasonCode, Status};

pub(super) fn check(
    identity: &IdentityEvidence,
    timeline: &Timeline<'_>,
    p: &ContinuityPolicy,
) -> CheckResult {
    let mut reasons = Vec::new();
    let compared = Comparison::of(identity, timeline, p);
    if compared.longest_run >= p.changed_run.max(1) {
        reasons.push(ReasonCode::FaceChanged);
    }
    if jumps(timeline, p) > 0 {
        reasons.push(ReasonCode::FaceJumped);
    }
    if frozen(timeline, p) {
        reasons.push(ReasonCode::FrozenVideo);
    }
    let status = if !reasons.is_empty() {
        Status::Fail
    } else if compared.enough {
        Status::Pass
    } else {
        reasons.push(ReasonCode::IdentityUnclear);
        Status::Inconclusive
    };
    result(Check::Continuity, status, compared.second_largest, Some(identity.threshold), reasons)
}

struct Comparison {
    /// Samples in a row that are another face's.
    longest_run: usize,
    /// Whether there are enough good samples, over enough of the time, to say it is one face.
    enough: bool,
    second_largest: Option<f32>,
}

impl Comparison {
    fn of(identity: &IdentityEvidence, timeline: &Timeline<'_>, p: &ContinuityPolicy) -> Self {
        let mut samples: Vec<&IdentitySample> = identity.samples.iter().collect();
        samples.sort_by_key(|s| (s.t_ms, s.index, s.distance.to_bits()));
        let mut faces: BTreeMap<u32, &FaceEvidence> = BTreeMap::new();
        for m in timeline.frames() {
            if let Some(face) = m.face {
                faces.entry(m.frame.index).or_insert(face);
            }
        }
        let limit = |s: &IdentitySample| {
            let turned = faces
                .get(&s.index)
                .is_some_and(|f| f.pose.yaw.abs().max(f.pose.pitch.abs()) >= p.turned_deg);
            identity.threshold * if turned { p.turned_slack } else { 1.0 }
        };

        let (mut run, mut longest_run, mut over) = (0, 0, 0);
        // A lone sample above the limit is a bad frame only where good ones stand on both sides:
        // at an end it may be the start of somebody else.
        let mut good_ends = 0;
        for (i, sample) in samples.iter().enumerate() {
            if sample.distance > limit(sample) {
                run += 1;
                over += 1;
                longest_run = longest_run.max(run);
            } else if sample.distance >= 0.0 && sample.distance <= limit(sample) {
                run = 0;
                good_ends += usize::from(i == 0) + usize::from(i + 1 == samples.len());
            } else {
                // No distance at all: no other face, but no proof of the same one either.
                over += 1;
            }
        }
        let span = match (samples.first(), samples.last()) {
            (Some(first), Some(last)) => last.t_ms.saturating_sub(first.t_ms),
            _ => 0,
        };
        let mut distances: Vec<f32> =
            samples.iter().map(|s| s.distance).filter(|d| d.is_finite()).collect();
        distances.sort_by(|a, b| b.total_cmp(a));
        Self {
            longest_run,
            enough: identity.threshold.is_finite()
                && identity.threshold > 0.0
                && samples.len() >= p.min_samples.max(1)
                && good_ends == 2
                && over as f32 <= samples.len() as f32 * p.max_lone_share
                && span as f32 >= timeline.duration_ms() as f32 * p.min_span_share,
            second_largest: distances.get(1).copied(),
        }
    }
}

/// How often the face jumps. Each face is compared with the last one that belonged; one that
/// doesn't fit is a jump only if the next one doesn't fit either, else it was a tracking error.
fn jumps(timeline: &Timeline<'_>, p: &ContinuityPolicy) -> usize {
    let faces: Vec<(i64, &FaceEvidence)> = timeline.faces().collect();
    let mut jumps = 0;
    let mut anchor = 0;
    for i in 1..faces.len() {
        if fits(faces[anchor], faces[i], p) {
            anchor = i;
        } else if faces.get(i + 1).is_some_and(|next| !fits(faces[anchor], *next, p)) {
            jumps += 1;
            anchor = i;
        }
    }
    jumps
}

/// Whether one face can be the other a moment later.
fn fits(a: (i64, &FaceEvidence), b: (i64, &FaceEvidence), p: &ContinuityPolicy) -> bool {
    let gap_ms = b.0.saturating_sub(a.0);
    if gap_ms > p.jump_max_gap_ms {
        return true; // too long ago to tell; the embeddings have to
    }
    let seconds = gap_ms as f32 / 1000.0;
    let (from, to) = (a.1, b.1);
    let centre = |f: &FaceEvidence, axis: usize| f.bbox[axis] + f.bbox[axis + 2] / 2.0;
    // In units of the face's own width and height, so the frame's shape doesn't matter.
    let moved = |axis: usize| {
        let size = from.bbox[axis + 2].max(to.bbox[axis + 2]);
        (centre(to, axis) - centre(from, axis)) / size
    };
    let scaled = |axis: usize| (to.bbox[axis + 2] / from.bbox[axis + 2]).ln().abs();
    let turned = (to.pose.yaw - from.pose.yaw).abs().max((to.pose.pitch - from.pose.pitch).abs());
    moved(0).hypot(moved(1)) <= p.jump_faces + p.jump_faces_per_s * seconds
        && scaled(0).max(scaled(1)) <= p.jump_scale + p.jump_scale_per_s * seconds
        && turned <= p.jump_deg + p.jump_deg_per_s * seconds
}

/// Whether the picture stands still for too long at once, or for too much of the time.
fn frozen(timeline: &Timeline<'_>, p: &ContinuityPolicy) -> bool {
    let (mut stretch, mut longest, mut total) = (0_i64, 0_i64, 0_i64);
    for pair in timeline.frames().windows(2) {
        let gap = pair[1].t_ms.saturating_sub(pair[0].t_ms);
        if pair[1].frame.change > p.still_change {
            stretch = 0;
        } else {
            // Also where the change is not a number.
            stretch = stretch.saturating_add(gap);
            total = total.saturating_add(gap);
            longest = longest.max(stretch);
        }
    }
    longest > p.max_still_ms
        || total as f32 > timeline.duration_ms().max(1) as f32 * p.max_still_share
}
