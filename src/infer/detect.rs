//! Finding faces in a whole frame: what every detector gives, and what they share.

use std::path::Path;

use super::blazeface::BlazeFace;
use super::error::Error;
use super::geometry::Area;
use super::manifest::{Adapter, Model};
use super::picture::Frame;
use super::session::Runtime;
use super::yunet::YuNet;

/// A face that a detector found, in pixels of the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Its box; may reach beyond the frame.
    pub area: Area,
    /// The detector's score, 0–1.
    pub score: f32,
    /// The centres of the person's right and left eye.
    pub eyes: [[f32; 2]; 2],
}

/// No frame has more faces than this: what a hostile picture can cost is bounded.
pub const MAX_FACES: usize = 32;

/// How much of the detector's input the frame fills at the second look.
const FROM_AFAR: f32 = 0.6;

/// Any face detector.
#[derive(Debug)]
pub enum Detector {
    /// See [`BlazeFace`].
    Blazeface(BlazeFace),
    /// See [`YuNet`].
    Yunet(YuNet),
}

impl Detector {
    /// Loads the detector that `model` describes.
    ///
    /// # Errors
    /// As of [`Pool::load`](super::session::Pool::load).
    pub fn load(
        runtime: &Runtime,
        model: &Model,
        dir: &Path,
        sessions: usize,
    ) -> Result<Self, Error> {
        match &model.adapter {
            Adapter::Blazeface(p) => {
                Ok(Self::Blazeface(BlazeFace::load(runtime, model, p.clone(), dir, sessions)?))
            }
            Adapter::Yunet(p) => {
                Ok(Self::Yunet(YuNet::load(runtime, model, p.clone(), dir, sessions)?))
            }
            _ => Err(super::wrong_adapter(model)),
        }
    }

    /// The faces of a frame, best first, at most [`MAX_FACES`]. Where there seem to be none, it
    /// looks again from further away: a face that fills the frame is larger than those that
    /// detectors learn.
    ///
    /// # Errors
    /// [`Error::Run`], [`Error::Picture`].
    pub fn detect(&self, frame: &Frame<'_>) -> Result<Vec<Detection>, Error> {
        let found = self.look(frame, 1.0)?;
        if found.is_empty() { self.look(frame, FROM_AFAR) } else { Ok(found) }
    }

    fn look(&self, frame: &Frame<'_>, fill: f32) -> Result<Vec<Detection>, Error> {
        match self {
            Self::Blazeface(d) => d.detect(frame, fill),
            Self::Yunet(d) => d.detect(frame, fill),
        }
    }
}

/// Non-maximum suppression: keeps the best of those that overlap by more than `iou`. Candidates
/// with a number that is none are dropped.
pub(super) fn suppress(mut candidates: Vec<Detection>, iou: f32) -> Vec<Detection> {
    candidates.retain(|d| {
        let numbers = [d.area.left, d.area.top, d.score];
        d.area.width > 0.0
            && d.area.height > 0.0
            && d.area.longer().is_finite()
            && numbers.iter().chain(d.eyes.as_flattened()).all(|v| v.is_finite())
    });
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    // A hostile picture may light up every anchor; comparing all pairs would then be quadratic.
    candidates.truncate(256);
    let mut kept: Vec<Detection> = Vec::new();
    for d in candidates {
        if kept.len() < MAX_FACES && kept.iter().all(|k| k.area.overlap(&d.area) <= iou) {
            kept.push(d);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(left: f32, score: f32) -> Detection {
        let area = Area { left, top: 0.0, width: 10.0, height: 10.0 };
        Detection { area, score, eyes: [[left + 3.0, 4.0], [left + 7.0, 4.0]] }
    }

    #[test]
    fn the_best_of_overlapping_ones_is_kept() {
        let kept = suppress(vec![face(0.0, 0.6), face(1.0, 0.9), face(50.0, 0.7)], 0.3);
        assert_eq!(kept, [face(1.0, 0.9), face(50.0, 0.7)]);
    }

    #[test]
    fn nonsense_is_dropped_and_the_number_is_bounded() {
        assert!(suppress(vec![face(f32::NAN, 0.9), face(f32::INFINITY, 0.9)], 0.3).is_empty());
        let many = (0..10_000).map(|i| face(i as f32 * 20.0, 0.9)).collect();
        assert_eq!(suppress(many, 0.3).len(), MAX_FACES);
    }
}
