//! A person's identity as a generator gets it, and the bounds of it.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Error;
use super::claims::{MAX_TEXT, check_text, invalid};
use crate::domain::template::{EmbeddingModel, Metric, PoseBin, Template, norm};

/// A person's identity for a generator.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The model of all face vectors.
    pub model: Model,
    /// One embedding for each pose, at most one of a pose, at least one.
    pub faces: Vec<FaceEmbedding>,
    /// The voice, where the consent includes it.
    pub voice: Option<VoiceEmbedding>,
}

/// The model that a vector comes from. Vectors of different models can't be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its name in the model manifest.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: [u8; 32],
    /// The length of its vectors, 1 to 4096.
    pub dim: u32,
    /// How its vectors are compared.
    pub metric: Metric,
}

/// Width and height of an aligned face in pixels.
pub const CROP_SIDE: usize = 512;

/// One face embedding. Wiped when dropped; its `Debug` shows no biometric value.
#[derive(Clone, PartialEq, Zeroize, ZeroizeOnDrop)]
pub struct FaceEmbedding {
    /// Which way the head pointed.
    #[zeroize(skip)]
    pub pose: PoseBin,
    /// The raw vector, not normalised.
    pub vector: Vec<f32>,
    /// Its Euclidean length.
    pub norm: f32,
    /// Quality, 0 to 100 (ISO/IEC 29794-5: larger is better).
    pub quality: u8,
    /// Left eye, right eye, nose, left and right corner of the mouth (the person's own left and
    /// right), as fractions of the frame's width and height.
    pub keypoints: [[f32; 2]; 5],
    /// Width and height of that frame in pixels, where known: gives the keypoints their aspect.
    pub frame: Option<[u32; 2]>,
    /// The aligned face, where the consent includes pictures: [`CROP_SIDE`] rows of as many pixels
    /// of red, green and blue.
    pub crop: Option<Vec<u8>>,
}

/// One voice embedding. Wiped when dropped; its `Debug` shows no biometric value.
#[derive(Clone, PartialEq, Zeroize, ZeroizeOnDrop)]
pub struct VoiceEmbedding {
    /// Its model.
    #[zeroize(skip)]
    pub model: Model,
    /// The raw vector, not normalised.
    pub vector: Vec<f32>,
    /// Its Euclidean length.
    pub norm: f32,
    /// How much speech it was made from, in milliseconds.
    pub speech_ms: u64,
}

impl Identity {
    /// The identity in `template`; its voice only where `with_voice`.
    ///
    /// # Errors
    /// [`Error::InvalidClaim`] where a model's hash is not one.
    pub fn of(template: &Template, with_voice: bool) -> Result<Self, Error> {
        let faces = template
            .faces
            .iter()
            .map(|face| FaceEmbedding {
                pose: face.bin,
                vector: face.vector.clone(),
                norm: norm(&face.vector),
                quality: face.quality,
                keypoints: face.keypoints,
                frame: face.frame,
                crop: None,
            })
            .collect();
        let voice = match &template.voice {
            Some(voice) if with_voice => Some(VoiceEmbedding {
                model: Model::of(&voice.model)?,
                vector: voice.vector.clone(),
                norm: norm(&voice.vector),
                speech_ms: u64::try_from(voice.speech_ms).unwrap_or(0),
            }),
            _ => None,
        };
        Ok(Self { model: Model::of(&template.model)?, faces, voice })
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        self.model.validate()?;
        if self.faces.is_empty() {
            return Err(invalid("faces", "there are none"));
        }
        for (i, face) in self.faces.iter().enumerate() {
            if self.faces[..i].iter().any(|f| f.pose == face.pose) {
                return Err(invalid("faces", "a pose is there twice"));
            }
            check_vector(&self.model, &face.vector, face.norm)?;
            if face.quality > 100 {
                return Err(invalid("quality", "it is above 100"));
            }
            // A face near the edge may have a point outside the frame, but not far outside.
            if !face.keypoints.iter().flatten().all(|v| (-1.0..=2.0).contains(v)) {
                return Err(invalid("keypoints", "one is not a fraction of the frame"));
            }
            if face.frame.is_some_and(|f| f.iter().any(|side| !(1..=65_535).contains(side))) {
                return Err(invalid("frame", "a side is not 1 to 65535 pixels"));
            }
            if face.crop.as_ref().is_some_and(|c| c.len() != CROP_SIDE * CROP_SIDE * 3) {
                return Err(invalid("crop", "it is not 512 x 512 pixels of three bytes"));
            }
        }
        if let Some(voice) = &self.voice {
            voice.model.validate()?;
            check_vector(&voice.model, &voice.vector, voice.norm)?;
        }
        Ok(())
    }
}

impl Model {
    /// The model of the manifest entry `model`.
    ///
    /// # Errors
    /// [`Error::InvalidClaim`] where its hash is not 64 hex digits.
    pub fn of(model: &EmbeddingModel) -> Result<Self, Error> {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(&model.sha256, &mut sha256)
            .map_err(|_| invalid("model", "its SHA-256 is not 64 hex digits"))?;
        Ok(Self { name: model.id.clone(), sha256, dim: model.dim, metric: model.metric })
    }

    fn validate(&self) -> Result<(), Error> {
        check_text("model", &self.name, MAX_TEXT)?;
        if !(1..=MAX_DIM).contains(&self.dim) {
            return Err(invalid("model", "its dimension is not 1 to 4096"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for FaceEmbedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaceEmbedding({}, {} values, redacted)", self.pose.name(), self.vector.len())
    }
}

impl std::fmt::Debug for VoiceEmbedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VoiceEmbedding({} values, redacted)", self.vector.len())
    }
}

const MAX_DIM: u32 = 4096;
/// How far the stated norm may be from the vector's own, relatively: covers any order of summing.
const NORM_TOLERANCE: f32 = 1e-3;

fn check_vector(model: &Model, vector: &[f32], stated: f32) -> Result<(), Error> {
    if vector.len() != model.dim as usize {
        return Err(invalid("vector", "its length is not the model's dimension"));
    }
    if !vector.iter().all(|v| v.is_finite()) || !stated.is_finite() {
        return Err(invalid("vector", "it holds a value that is not finite"));
    }
    let own = norm(vector);
    if own == 0.0 || !own.is_finite() || (stated - own).abs() > NORM_TOLERANCE * own {
        return Err(invalid("norm", "it is not the vector's Euclidean length, or that is zero"));
    }
    Ok(())
}
