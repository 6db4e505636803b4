//! The frames in order of time, with the faces that can be relied on.

use crate::domain::evidence::{Evidence, FaceEvidence, FrameEvidence};

/// A capture's frames in order of time.
pub(super) struct Timeline<'a> {
    frames: Vec<Moment<'a>>,
}

/// A frame, with its face where that can be relied on.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    /// Milliseconds from the first frame.
    pub(super) t_ms: i64,
    pub(super) frame: &'a FrameEvidence,
    pub(super) face: Option<&'a FaceEvidence>,
}

impl<'a> Timeline<'a> {
    /// Sorts the frames by time. The storage order never shows: frames of one time are sorted by
    /// all they hold.
    pub(super) fn new(evidence: &'a Evidence, min_presence: f32) -> Self {
        let mut frames: Vec<Moment<'_>> = evidence
            .frames
            .iter()
            .map(|frame| Moment {
                t_ms: frame.t_ms,
                frame,
                face: frame.face.as_ref().filter(|f| f.presence >= min_presence && sane(f)),
            })
            .collect();
        frames.sort_by_cached_key(|m| (m.t_ms, m.frame.index, contents(m.frame)));
        Self { frames }
    }

    pub(super) fn frames(&self) -> &[Moment<'a>] {
        &self.frames
    }

    /// The frames with a reliable face.
    pub(super) fn faces(&self) -> impl Iterator<Item = (i64, &'a FaceEvidence)> + '_ {
        self.frames.iter().filter_map(|m| Some((m.t_ms, m.face?)))
    }

    /// Time from the first frame to the last in milliseconds.
    pub(super) fn duration_ms(&self) -> i64 {
        match (self.frames.first(), self.frames.last()) {
            (Some(first), Some(last)) => last.t_ms.saturating_sub(first.t_ms),
            _ => 0,
        }
    }

    /// Time of the first frame and of the last in milliseconds; `None` without frames.
    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        Some((self.frames.first()?.t_ms, self.frames.last()?.t_ms))
    }
}

/// Whether every number of a face can be a measurement.
fn sane(f: &FaceEvidence) -> bool {
    let pose = [f.pose.yaw, f.pose.pitch, f.pose.roll];
    let rest = [f.mouth_open, f.inter_eye_px, f.brightness, f.contrast, f.sharpness];
    pose.iter().all(|a| a.abs() <= 180.0)
        && f.bbox.iter().all(|x| x.abs() <= 4.0)
        && f.bbox[2] > 0.0
        && f.bbox[3] > 0.0
        && rest.iter().chain(&f.eye_open).all(|x| x.is_finite())
}

/// Everything a frame holds, as a key that can be compared.
fn contents(frame: &FrameEvidence) -> (u32, Option<u8>, Vec<u32>) {
    let numbers = frame.face.as_ref().map_or_else(Vec::new, |f| {
        let pose = [f.pose.yaw, f.pose.pitch, f.pose.roll];
        let rest =
            [f.presence, f.mouth_open, f.inter_eye_px, f.brightness, f.contrast, f.sharpness];
        let all = f.bbox.iter().chain(&pose).chain(&f.eye_open).chain(&rest);
        all.map(|x| x.to_bits()).collect()
    });
    (frame.change.to_bits(), frame.detected, numbers)
}
