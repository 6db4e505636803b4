//! Presentation-attack detection: any networks from a face crop to class probabilities
//! (`MiniFASNet`, the project's own), their live probabilities averaged.

use std::path::Path;

use super::error::Error;
use super::geometry::Area;
use super::manifest::adapter::{self, Activation, Calibration, Shrink};
use super::manifest::{Adapter, Model};
use super::picture::{Crop, Frame, squeeze, stretch};
use super::session::{Pool, Port, Runtime};

/// The installed anti-spoof networks, one or more.
#[derive(Debug)]
pub struct AntiSpoof {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    pool: Pool,
    params: adapter::AntiSpoof,
}

impl AntiSpoof {
    /// Loads the networks; see [`Pool::load`].
    pub(super) fn load(
        runtime: &Runtime,
        models: &[&Model],
        dir: &Path,
        sessions: usize,
    ) -> Result<Self, Error> {
        let mut members = Vec::new();
        for model in models {
            let Adapter::AntiSpoof(params) = &model.adapter else {
                return Err(super::wrong_adapter(model));
            };
            let inputs = vec![super::image_port(&params.image)];
            let outputs =
                vec![Port::f32(&params.output, &[Some(1), Some(params.classes as usize)])];
            let pool = Pool::load(runtime, model, dir, inputs, outputs, sessions)?;
            members.push(Member { pool, params: params.clone() });
        }
        Ok(Self { members })
    }

    /// An averaged live probability below this is an attack.
    pub fn threshold(&self) -> f32 {
        let sum: f32 = self.members.iter().map(|m| m.params.threshold).sum();
        sum / self.members.len().max(1) as f32
    }

    /// What the networks want to see of a face whose box is `face`: one crop for each.
    ///
    /// # Errors
    /// [`Error::Picture`].
    pub fn crops(&self, frame: &Frame<'_>, face: &Area) -> Result<Vec<Crop>, Error> {
        self.members
            .iter()
            .map(|m| {
                let area = enlarge(face, m.params.crop_scale, frame);
                let (width, height) = (m.params.image.width, m.params.image.height);
                match m.params.shrink {
                    Shrink::Linear => stretch(frame, &area, width, height),
                    Shrink::Area => squeeze(frame, &area, width, height),
                }
            })
            .collect()
    }

    /// Probability that a face is live, 0–1, averaged over the networks: of a calibrated one, the
    /// posterior at even odds.
    ///
    /// # Errors
    /// [`Error::Shape`] where the crops are not from [`AntiSpoof::crops`]; [`Error::Run`].
    pub fn live(&self, crops: &[Crop]) -> Result<f32, Error> {
        if crops.len() != self.members.len() {
            return Err(Error::Shape {
                what: "list of crops",
                detail: format!("{} for {} models", crops.len(), self.members.len()),
            });
        }
        let mut sum = 0.0;
        for (member, crop) in self.members.iter().zip(crops) {
            sum += member.live(crop)?;
        }
        Ok(sum / self.members.len().max(1) as f32)
    }
}

impl Member {
    fn live(&self, crop: &Crop) -> Result<f32, Error> {
        let outputs = self.pool.run_on_crop(&self.params.image, crop)?;
        let classes = outputs.first().map_or(&[][..], |o| &o.data);
        let live = match self.params.activation {
            Activation::None => classes.get(self.params.live_class as usize).copied(),
            Activation::Softmax => softmax(classes, self.params.live_class as usize),
        };
        match live {
            Some(p) if p.is_finite() => {
                let p = p.clamp(0.0, 1.0);
                Ok(self.params.calibration.map_or(p, |c| calibrated(p, c)))
            }
            _ => Err(Error::Run {
                id: self.pool.id().to_owned(),
                detail: "its live probability is not a number".to_owned(),
            }),
        }
    }
}

/// The face's box made `scale` times as large about its centre at its own shape, less where the
/// frame is too small for that, and moved inside the frame where it would leave it.
fn enlarge(face: &Area, scale: f32, frame: &Frame<'_>) -> Area {
    let whole = frame.area();
    let scale = scale.min(whole.width / face.width).min(whole.height / face.height);
    let (width, height) = (face.width * scale, face.height * scale);
    let [x, y] = face.centre();
    Area {
        left: (x - width / 2.0).min(whole.width - width).max(0.0),
        top: (y - height / 2.0).min(whole.height - height).max(0.0),
        width,
        height,
    }
}

/// The probability at even odds that a calibration makes of a network's own.
fn calibrated(p: f32, c: Calibration) -> f32 {
    let p = p.clamp(f32::EPSILON, 1.0 - f32::EPSILON);
    let llr = (c.slope * (p / (1.0 - p)).ln() + c.offset).clamp(-c.limit, c.limit);
    1.0 / (1.0 + (-llr).exp())
}

fn softmax(logits: &[f32], class: usize) -> Option<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|v| (v - top).exp()).sum();
    logits.get(class).map(|v| (v - top).exp() / sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crop_stays_inside_the_frame() {
        let rgb = vec![0; 100 * 80 * 3];
        let frame = Frame::new(100, 80, &rgb).unwrap();
        let face = Area { left: 70.0, top: 30.0, width: 20.0, height: 25.0 };
        assert_eq!(
            enlarge(&face, 2.0, &frame),
            Area { left: 60.0, top: 17.5, width: 40.0, height: 50.0 }
        );
        // Too large: as large as the frame's height allows, moved to the left.
        assert_eq!(
            enlarge(&face, 4.0, &frame),
            Area { left: 36.0, top: 0.0, width: 64.0, height: 80.0 }
        );
    }

    #[test]
    fn a_calibrated_probability_never_says_more_than_its_limit() {
        let c = Calibration { slope: 0.5, offset: -1.0, limit: 2.0 };
        let odds = |p: f32| (p / (1.0 - p)).ln();
        assert!((odds(calibrated(0.5, c)) + 1.0).abs() < 1e-4);
        assert!((odds(calibrated(0.9, c)) - (0.5 * odds(0.9) - 1.0)).abs() < 1e-4);
        assert!((odds(calibrated(0.0, c)) + 2.0).abs() < 1e-4);
        assert!((odds(calibrated(1.0, c)) - 2.0).abs() < 1e-4);
    }

    #[test]
    fn softmax_of_a_class() {
        assert!((softmax(&[0.0, 0.0], 1).unwrap() - 0.5).abs() < 1e-6);
        assert!((softmax(&[1e4, 0.0], 0).unwrap() - 1.0).abs() < 1e-6);
        assert_eq!(softmax(&[1.0], 3), None);
    }
}
