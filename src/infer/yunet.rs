//! `YuNet` (Wu et al. 2023): an anchor-free face detector with five keypoints.

use std::path::Path;

use super::detect::{Detection, suppress};
use super::error::Error;
use super::geometry::Area;
use super::manifest::{Model, adapter};
use super::picture::{Frame, letterbox};
use super::session::{Pool, Port, Runtime};

/// The detector and its parameters.
#[derive(Debug)]
pub struct YuNet {
    pool: Pool,
    params: adapter::YuNet,
}

impl YuNet {
    /// Loads the model; see [`Pool::load`].
    pub(super) fn load(
        runtime: &Runtime,
        model: &Model,
        params: adapter::YuNet,
        dir: &Path,
        sessions: usize,
    ) -> Result<Self, Error> {
        let mut outputs = Vec::new();
        for stride in &params.strides {
            let cells = (params.image.width / stride) * (params.image.height / stride);
            for (name, each) in [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)] {
                let extents = [Some(1), Some(cells as usize), Some(each)];
                outputs.push(Port::f32(format!("{name}_{stride}"), &extents));
            }
        }
        let inputs = vec![super::image_port(&params.image)];
        let pool = Pool::load(runtime, model, dir, inputs, outputs, sessions)?;
        Ok(Self { pool, params })
    }

    /// The faces of a frame that is fitted into `fill` of the input, best first.
    pub(super) fn detect(&self, frame: &Frame<'_>, fill: f32) -> Result<Vec<Detection>, Error> {
        let image = &self.params.image;
        let (crop, scale) = letterbox(frame, image.width, image.height, fill)?;
        let outputs = self.pool.run_on_crop(image, &crop)?;
        let mut candidates = Vec::new();
        for (stride, output) in self.params.strides.iter().zip(outputs.chunks_exact(4)) {
            let [class, object, boxes, points] = output else { continue };
            let columns = (image.width / stride) as usize;
            let step = *stride as f32 / scale;
            let cells = class.data.iter().zip(&object.data);
            let places = boxes.data.chunks_exact(4).zip(points.data.chunks_exact(10));
            for (i, ((class, object), (b, points))) in cells.zip(places).enumerate() {
                let score = (class.clamp(0.0, 1.0) * object.clamp(0.0, 1.0)).sqrt();
                if score.is_nan() || score < self.params.score_threshold {
                    continue;
                }
                let (x, y) = ((i % columns) as f32, (i / columns) as f32);
                let at = |dx: f32, dy: f32| [(x + dx) * step, (y + dy) * step];
                let centre = at(b[0], b[1]);
                let (width, height) = (b[2].exp() * step, b[3].exp() * step);
                candidates.push(Detection {
                    area: Area {
                        left: centre[0] - width / 2.0,
                        top: centre[1] - height / 2.0,
                        width,
                        height,
                    },
                    score,
                    eyes: [at(points[0], points[1]), at(points[2], points[3])],
                });
            }
        }
        Ok(suppress(candidates, self.params.nms_iou))
    }
}
