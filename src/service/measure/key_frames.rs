//! The few frames of a capture that a reviewer may want to see: picked while frames go by, small, and
//! wiped when dropped.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use zeroize::Zeroizing;

use crate::domain::evidence::Pose;
use crate::domain::key_frame::{MAX_KEY_FRAMES, View};
use crate::domain::template::PoseBin;
use crate::identity::select::Selector;
use crate::infer;
use crate::infer::picture::{Crop, Frame, squeeze};

/// The longest side of a key frame, in pixels.
pub const MAX_SIDE: u32 = 320;
/// JPEG quality: a face stays a face, and the edge of a screen an edge.
const QUALITY: u8 = 82;

/// A frame for a reviewer.
pub struct KeyFrame {
    /// Why it was picked.
    pub view: View,
    /// When it was taken, in milliseconds from the start of the capture.
    pub t_ms: i64,
    /// The picture: baseline JPEG (ITU-T T.81) without metadata, at most [`MAX_SIDE`] pixels a side.
    pub jpeg: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for KeyFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyFrame({:?} at {} ms)", self.view, self.t_ms)
    }
}

/// A small picture of a whole frame with its time.
pub(super) struct Small {
    t_ms: i64,
    picture: Crop,
}

impl Small {
    pub(super) fn of(frame: &Frame<'_>, t_ms: i64) -> Result<Self, infer::Error> {
        let (w, h) = (frame.width(), frame.height());
        let scale = (MAX_SIDE as f32 / w.max(h) as f32).min(1.0);
        let fit = |side: u32| ((side as f32 * scale).round() as u32).clamp(1, MAX_SIDE);
        Ok(Self { t_ms, picture: squeeze(frame, &frame.area(), fit(w), fit(h))? })
    }
}

/// Picks key frames. It holds at most a picture for each pose and one for each doubt; the samples that are still to
/// be judged hold one each (at most 36 of 230 kB), since which of them is the worst turns out at the end.
#[derive(Default)]
pub(super) struct Picker {
    best: Selector<Option<Small>>,
    doubts: Vec<(View, Small)>,
}

impl Picker {
    /// Offers a frame with a face of this pose (degrees) and quality (0–100).
    pub(super) fn offer(
        &mut self,
        frame: &Frame<'_>,
        t_ms: i64,
        pose: Pose,
        quality: u8,
    ) -> Result<(), infer::Error> {
        let mut failure = None;
        self.best
            .offer(pose, quality, || Small::of(frame, t_ms).map_err(|e| failure = Some(e)).ok());
        failure.map_or(Ok(()), Err)
    }

    /// A frame that speaks against the capture.
    pub(super) fn doubt(&mut self, view: View, small: Small) {
        self.doubts.push((view, small));
    }

    /// At most [`MAX_KEY_FRAMES`], in order of time: the frontal one, what speaks against the capture,
    /// then the turns by quality.
    pub(super) fn finish(self) -> Vec<KeyFrame> {
        let (mut frontal, mut turned): (Vec<_>, Vec<_>) =
            self.best.into_selected().into_iter().partition(|s| s.bin == PoseBin::Frontal);
        turned.sort_by_key(|s| std::cmp::Reverse(s.quality));
        let of = |s: crate::identity::select::Selected<Option<Small>>| {
            Some((View::from(s.bin), s.payload?))
        };
        let ranked = frontal.drain(..).filter_map(of).chain(self.doubts);
        let mut picked: Vec<(View, Small)> = Vec::new();
        for (view, small) in ranked.chain(turned.into_iter().filter_map(of)) {
            let new = picked.iter().all(|(_, p)| p.t_ms != small.t_ms);
            if new && picked.len() < MAX_KEY_FRAMES {
                picked.push((view, small));
            }
        }
        picked.sort_by_key(|(_, p)| p.t_ms);
        picked.into_iter().filter_map(|(view, small)| encoded(view, &small)).collect()
    }
}

fn encoded(view: View, small: &Small) -> Option<KeyFrame> {
    let (w, h) = small.picture.size();
    // Room for all of it, so that no unwiped half stays behind where the buffer had to grow.
    let mut jpeg = Zeroizing::new(Vec::with_capacity(small.picture.rgb().len() + 4096));
    let mut encoder = JpegEncoder::new_with_quality(&mut *jpeg, QUALITY);
    match encoder.encode(small.picture.rgb(), w, h, ExtendedColorType::Rgb8) {
        Ok(()) => Some(KeyFrame { view, t_ms: small.t_ms, jpeg }),
        Err(error) => {
            tracing::error!(%error, "a key frame can't be encoded; the reviewer goes without it");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaw(yaw: f32) -> Pose {
        Pose { yaw, pitch: 0.0, roll: 0.0 }
    }

    #[test]
    fn small_whole_and_at_its_own_shape() {
        for (w, h, small) in [
            (640, 480, (320, 240)),
            (480, 1920, (80, 320)),
            (100, 60, (100, 60)),
            (4000, 1, (320, 1)),
        ] {
            let rgb = vec![90; w as usize * h as usize * 3];
            let frame = Frame::new(w, h, &rgb).unwrap();
            assert_eq!(Small::of(&frame, 0).unwrap().picture.size(), small, "{w} x {h}");
        }
    }

    #[test]
    fn the_frontal_one_then_doubts_then_turns() {
        let rgb = vec![128; 64 * 48 * 3];
        let frame = Frame::new(64, 48, &rgb).unwrap();
        let mut picker = Picker::default();
        for (i, angle) in [0.0, 30.0, -30.0, 2.0].into_iter().enumerate() {
            picker.offer(&frame, i as i64 * 100, yaw(angle), 50 + i as u8).unwrap();
        }
        picker.offer(&frame, 400, Pose { pitch: 25.0, ..yaw(0.0) }, 90).unwrap();
        picker.offer(&frame, 500, yaw(16.5), 99).unwrap(); // between two bins: no use
        picker.doubt(View::LeastLive, Small::of(&frame, 150).unwrap());
        picker.doubt(View::LeastAlike, Small::of(&frame, 400).unwrap()); // the same frame as `up`
        let kept = picker.finish();
        let seen: Vec<_> = kept.iter().map(|k| (k.view, k.t_ms)).collect();
        let expected = [
            (View::LeastLive, 150),
            (View::Right, 200),
            (View::Frontal, 300),
            (View::LeastAlike, 400),
        ];
        assert_eq!(seen, expected);
        for frame in &kept {
            let picture = image::load_from_memory(&frame.jpeg).unwrap().to_rgb8();
            assert_eq!(picture.dimensions(), (64, 48));
            assert!(picture.pixels().all(|p| p.0.iter().all(|v| v.abs_diff(128) < 4)));
            assert!(!format!("{frame:?}").contains("128"));
        }
    }

    #[test]
    fn nothing_offered_nothing_kept() {
        assert!(Picker::default().finish().is_empty());
    }
}
