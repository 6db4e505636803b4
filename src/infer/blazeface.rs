//! `BlazeFace` (Bazarevsky et al. 2019): an anchor-based face detector.

use std::path::Path;

use super::detect::{Detection, suppress};
use super::error::Error;
use super::geometry::Area;
use super::manifest::{Model, adapter};
use super::picture::{Frame, letterbox};
use super::session::{Pool, Port, Runtime};

/// Numbers per anchor: centre, size and six points.
const BOX: usize = 16;

/// The detector and its parameters.
#[derive(Debug)]
pub struct BlazeFace {
    pool: Pool,
    params: adapter::BlazeFace,
}

impl BlazeFace {
    /// Loads the model; see [`Pool::load`].
    pub(super) fn load(
        runtime: &Runtime,
        model: &Model,
        params: adapter::BlazeFace,
        dir: &Path,
        sessions: usize,
    ) -> Result<Self, Error> {
        let mut outputs = Vec::new();
        for grid in &params.grids {
            let anchors = (grid.cells * grid.cells * grid.anchors) as usize;
            outputs.push(Port::f32(&grid.scores, &[Some(1), Some(anchors), Some(1)]));
            outputs.push(Port::f32(&grid.boxes, &[Some(1), Some(anchors), Some(BOX)]));
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
        for (grid, output) in self.params.grids.iter().zip(outputs.chunks_exact(2)) {
            let [scores, boxes] = output else { continue };
            let cell = image.width as f32 / grid.cells as f32;
            for (i, (logit, b)) in scores.data.iter().zip(boxes.data.chunks_exact(BOX)).enumerate()
            {
                let score = 1.0 / (1.0 + (-logit).exp());
                if score.is_nan() || score < self.params.score_threshold {
                    continue;
                }
                let at = i / grid.anchors as usize;
                let (row, column) = (at / grid.cells as usize, at % grid.cells as usize);
                let anchor = [(column as f32 + 0.5) * cell, (row as f32 + 0.5) * cell];
                let point = |k: usize| [(anchor[0] + b[k]) / scale, (anchor[1] + b[k + 1]) / scale];
                let [x, y] = point(0);
                let (width, height) = (b[2] / scale, b[3] / scale);
                candidates.push(Detection {
                    area: Area { left: x - width / 2.0, top: y - height / 2.0, width, height },
                    score,
                    eyes: [point(4), point(6)],
                });
            }
        }
        Ok(suppress(candidates, self.params.nms_iou))
    }
}
