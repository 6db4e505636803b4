//! The identity template: what is kept of a face and a voice.
//!
//! Everything here is biometric data: it is sealed before it is stored, it never implements
//! `Debug` in full, and it is wiped when dropped.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::evidence::Pose;

/// The version of this schema.
pub const TEMPLATE_VERSION: u16 = 1;

/// Which way the head pointed in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoseBin {
    /// Straight into the camera.
    Frontal,
    /// To the person's left.
    Left,
    /// To the person's right.
    Right,
    /// Up.
    Up,
    /// Down.
    Down,
}

impl PoseBin {
    /// Every bin, in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Frontal, Self::Left, Self::Right, Self::Up, Self::Down];

    /// The name used in JSON and in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frontal => "frontal",
            Self::Left => "left",
            Self::Right => "right",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The model whose space a vector lives in. Vectors of different models can't be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingModel {
    /// The manifest's id.
    pub id: String,
    /// SHA-256 of the installed file, lower-case hexadecimal.
    pub sha256: String,
    /// Length of its vectors.
    pub dim: u32,
    /// How its vectors are compared.
    pub metric: Metric,
}

/// How two embeddings are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Euclidean distance of the raw vectors.
    Euclidean,
    /// One minus the cosine of the angle between the vectors.
    Cosine,
}

impl Metric {
    /// The distance between two vectors of one length; infinite where the lengths differ or a
    /// vector has no direction.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        if a.len() != b.len() || a.is_empty() {
            return f32::INFINITY;
        }
        match self {
            Self::Euclidean => a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>().sqrt(),
            Self::Cosine => {
                let dot: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                let norms = norm(a) * norm(b);
                if norms > 0.0 { 1.0 - dot / norms } else { f32::INFINITY }
            }
        }
    }

    /// The name used in the manifest and in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Euclidean => "euclidean",
            Self::Cosine => "cosine",
        }
    }
}

/// Euclidean length of a vector.
pub fn norm(v: &[f32]) -> f32 {
    v.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// One face sample.
#[derive(Clone, PartialEq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct FaceTemplate {
    /// Which way the head pointed.
    #[zeroize(skip)]
    pub bin: PoseBin,
    /// The measured pose.
    #[zeroize(skip)]
    pub pose: Pose,
    /// The raw vector as the model gives it, not normalised: generators may want its norm.
    pub vector: Vec<f32>,
    /// Left eye, right eye, nose, left and right corner of the mouth (the person's own left and
    /// right), as fractions of the frame's width and height.
    pub keypoints: [[f32; 2]; 5],
    /// Width and height of that frame in pixels; `None` in templates of before it was kept.
    #[zeroize(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<[u32; 2]>,
    /// Quality of the sample, 0–100 (ISO/IEC 29794-5 convention: larger is better).
    #[zeroize(skip)]
    pub quality: u8,
}

/// One voice sample.
#[derive(Clone, PartialEq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct VoiceTemplate {
    /// The model.
    #[zeroize(skip)]
    pub model: EmbeddingModel,
    /// The raw vector.
    pub vector: Vec<f32>,
    /// How much speech it was made from, in milliseconds.
    #[zeroize(skip)]
    pub speech_ms: i64,
}

/// Everything that is kept of one enrolment.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// [`TEMPLATE_VERSION`].
    pub version: u16,
    /// The face embedding model.
    pub model: EmbeddingModel,
    /// At most one sample for each pose, frontal first; never empty.
    pub faces: Vec<FaceTemplate>,
    /// The voice, where a voice model is installed and there was speech.
    pub voice: Option<VoiceTemplate>,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({} faces, sealed from view)", self.faces.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert!((Metric::Euclidean.distance(&[0.0, 3.0], &[4.0, 0.0]) - 5.0).abs() < 1e-6);
        assert!(Metric::Cosine.distance(&[2.0, 0.0], &[7.0, 0.0]).abs() < 1e-6);
        assert!((Metric::Cosine.distance(&[1.0, 0.0], &[0.0, 1.0]) - 1.0).abs() < 1e-6);
        assert!(Metric::Cosine.distance(&[0.0], &[1.0]).is_infinite());
        assert!(Metric::Euclidean.distance(&[0.0], &[1.0, 2.0]).is_infinite());
    }
}
