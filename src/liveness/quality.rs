//! Is there one face, and is the picture good enough to judge?
//!
//! Faults of the picture are judged by medians over the frames, so a blurred or dark moment (in a
//! fast turn, say) doesn't refuse a good capture. Score: share of frames with a face.

use super::policy::QualityPolicy;
use super::timeline::Timeline;
use super::{median, result};
use crate::domain::evidence::{Evidence, FaceEvidence};
use crate::domain::verdict::{Check, CheckResult, ReasonCode, Status};

pub(super) fn check(
    evidence: &Evidence,
    timeline: &Timeline<'_>,
    p: &QualityPolicy,
) -> CheckResult {
    let mut reasons = Vec::new();
    let share = face_share(timeline);
    let looked = timeline.frames().iter().filter(|m| m.frame.detected >= Some(1)).count();
    let mostly_seen = share >= p.min_face_share;
    if !mostly_seen || longest_face_gap(timeline) > p.max_face_gap_ms || looked < p.min_detections {
        reasons.push(ReasonCode::NoFace);
    }
    let several = timeline.frames().iter().filter(|m| m.frame.detected >= Some(2)).count();
    if several >= p.second_face_frames {
        reasons.push(ReasonCode::MultipleFaces);
    }
    reasons.extend(picture_faults(timeline, p));
    reasons.extend(timing_faults(evidence, timeline, p));
    let status = if reasons.is_empty() { Status::Pass } else { Status::Fail };
    result(Check::Quality, status, Some(share), Some(p.min_face_share), reasons)
}

fn face_share(timeline: &Timeline<'_>) -> f32 {
    let all = timeline.frames().len();
    if all == 0 { 0.0 } else { timeline.faces().count() as f32 / all as f32 }
}

/// The longest time without a face in milliseconds, the ends of the video included.
fn longest_face_gap(timeline: &Timeline<'_>) -> i64 {
    let Some((first, last)) = timeline.bounds() else { return 0 };
    let times = timeline.faces().map(|(t, _)| t).chain([last]);
    let mut before = first;
    let mut longest = 0;
    for t in times {
        longest = longest.max(t.saturating_sub(before));
        before = t;
    }
    longest
}

fn picture_faults(timeline: &Timeline<'_>, p: &QualityPolicy) -> Vec<ReasonCode> {
    let typical =
        |measure: fn(&FaceEvidence) -> f32| median(timeline.faces().map(|(_, f)| measure(f)));
    // Without a face there is nothing to say about its picture: `no_face` says it all.
    let (Some(size), Some(light), Some(detail)) =
        (typical(|f| f.inter_eye_px), typical(|f| f.brightness), typical(|f| f.sharpness))
    else {
        return Vec::new();
    };
    let frontal = timeline
        .faces()
        .filter(|(_, f)| {
            f.pose.yaw.abs() <= p.frontal_deg.0 && f.pose.pitch.abs() <= p.frontal_deg.1
        })
        .count();
    let faults = [
        (size >= p.min_inter_eye_px, ReasonCode::FaceTooSmall),
        (light >= p.min_brightness, ReasonCode::FaceTooDark),
        (light <= p.max_brightness, ReasonCode::FaceTooBright),
        (detail >= p.min_sharpness, ReasonCode::FaceBlurred),
        (frontal >= p.min_frontal_frames, ReasonCode::NotFrontal),
    ];
    faults.into_iter().filter(|(good, _)| !good).map(|(_, reason)| reason).collect()
}

fn timing_faults(
    evidence: &Evidence,
    timeline: &Timeline<'_>,
    p: &QualityPolicy,
) -> Vec<ReasonCode> {
    let mut reasons = Vec::new();
    let duration_ms = timeline.duration_ms().min(evidence.media.duration_ms);
    if duration_ms < p.min_duration_ms {
        reasons.push(ReasonCode::TooShort);
    }
    let frames = timeline.frames();
    let fps = frames.len().saturating_sub(1) as f32 * 1000.0 / timeline.duration_ms().max(1) as f32;
    let gap = frames.windows(2).map(|w| w[1].t_ms.saturating_sub(w[0].t_ms)).max().unwrap_or(0);
    let fluent = fps >= p.min_fps;
    if !fluent || gap > p.max_frame_gap_ms {
        reasons.push(ReasonCode::FewFrames);
    }
    reasons
}
