//! Face embeddings: any network from an aligned face to a vector (dlib's `ResNet`, `SFace`, …).

use std::path::Path;

use super::error::Error;
use super::facemesh::{Mesh, VERTICES};
use super::geometry::Similarity;
use super::manifest::{Model, adapter};
use super::picture::{Crop, Frame, warp};
use super::session::{Pool, Port, Runtime};
use crate::domain::template::EmbeddingModel;

/// The model and its parameters.
#[derive(Debug)]
pub struct FaceEmbedder {
    pool: Pool,
    params: adapter::FaceEmbedding,
    model: EmbeddingModel,
}

impl FaceEmbedder {
    /// Loads the model; see [`Pool::load`].
    pub(super) fn load(
        runtime: &Runtime,
        model: &Model,
        params: adapter::FaceEmbedding,
        dir: &Path,
        sessions: usize,
    ) -> Result<Self, Error> {
        let known = params.alignment.points.iter().flat_map(|p| &p.vertices);
        if params.alignment.points.len() < 2 || known.clone().any(|v| *v as usize >= VERTICES) {
            return Err(Error::ModelInvalid {
                id: model.id.clone(),
                detail: "its alignment needs two or more points of the mesh".to_owned(),
            });
        }
        let inputs = vec![super::image_port(&params.image)];
        let outputs = vec![Port::f32(&params.output, &[Some(1), Some(params.dimensions as usize)])];
        let pool = Pool::load(runtime, model, dir, inputs, outputs, sessions)?;
        let space = EmbeddingModel {
            id: model.id.clone(),
            sha256: model.sha256.to_string(),
            dim: params.dimensions,
            metric: params.metric,
        };
        Ok(Self { pool, params, model: space })
    }

    /// The space that its vectors live in.
    pub fn model(&self) -> &EmbeddingModel {
        &self.model
    }

    /// Two faces further apart than this (in the model's own metric) count as two people.
    pub fn threshold(&self) -> f32 {
        self.params.same_person
    }

    /// Two faces no further apart than this are so much alike that one person may have enrolled
    /// twice. Stricter than [`Self::threshold`]: each is compared with everyone.
    pub fn duplicate(&self) -> f32 {
        self.params.duplicate.unwrap_or(self.params.same_person)
    }

    /// Cuts the face out of a frame as the network wants it: the similarity transform that brings
    /// the points of the mesh closest to the template's. `None` where they have no extent.
    ///
    /// # Errors
    /// [`Error::Picture`].
    pub fn align(&self, frame: &Frame<'_>, mesh: &Mesh) -> Result<Option<Crop>, Error> {
        let (image, alignment) = (&self.params.image, &self.params.alignment);
        let place = |t: f32, size: u32| {
            (alignment.padding + t) / (1.0 + 2.0 * alignment.padding) * size as f32
        };
        let (mut template, mut seen) = (Vec::new(), Vec::new());
        for p in &alignment.points {
            let vertices: Vec<usize> = p.vertices.iter().map(|v| usize::from(*v)).collect();
            template.push([place(p.x, image.width), place(p.y, image.height)]);
            seen.push(mesh.mean(&vertices));
        }
        // Fitted towards the template, as the residual there is what the network sees.
        let Some(to_crop) = Similarity::fit(&seen, &template) else { return Ok(None) };
        Ok(Some(warp(frame, &to_crop.inverse(), image.width, image.height)?))
    }

    /// The vector of an aligned face, as the network gives it: not normalised.
    ///
    /// # Errors
    /// [`Error::Shape`] where the crop is not from [`FaceEmbedder::align`]; [`Error::Run`].
    pub fn embed(&self, aligned: &Crop) -> Result<Vec<f32>, Error> {
        let mut outputs = self.pool.run_on_crop(&self.params.image, aligned)?;
        let vector = outputs.pop().map(|o| o.data).unwrap_or_default();
        if vector.iter().all(|v| v.is_finite()) {
            Ok(vector)
        } else {
            Err(Error::Run {
                id: self.pool.id().to_owned(),
                detail: "its vector is not finite".to_owned(),
            })
        }
    }
}
