//! What was measured in a capture: the facts a verdict rests on.
//!
//! Evidence is plain numbers with their units, no pictures, no sound and no embeddings, so it can
//! be kept (sealed), shown to a reviewer, and replayed: the same evidence gives the same verdict.
//! It still describes a person (and holds what they said), so it is personal data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::challenge::Challenge;
use crate::env::Millis;

/// The version of this schema. A reader refuses evidence of a version it doesn't know.
///
/// Version 2 added [`SpeechEvidence::envelope`].
pub const EVIDENCE_VERSION: u16 = 2;
/// The oldest version that can still be read. What it lacks reads as not measured, so it is judged
/// again, but never verified.
pub const OLDEST_EVIDENCE_VERSION: u16 = 1;
/// Length of a step of [`VoiceEnvelope`] in milliseconds.
pub const ENVELOPE_STEP_MS: i64 = 20;

/// Everything measured in one capture.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`EVIDENCE_VERSION`].
    pub version: u16,
    /// What the person was asked to do.
    pub challenge: Challenge,
    /// The file, as the decoder saw it.
    pub media: MediaFacts,
    /// The models that measured, by role.
    pub models: BTreeMap<ModelRole, Vec<ModelRef>>,
    /// One entry for each decoded frame, in order of time.
    pub frames: Vec<FrameEvidence>,
    /// How alike the face of some frames is to the reference frame's, in time order.
    pub identity: IdentityEvidence,
    /// Presentation-attack scores of some frames; `None` where no anti-spoof model is installed.
    pub spoof: Option<SpoofEvidence>,
    /// What was heard.
    pub speech: SpeechEvidence,
}

#[cfg(all(test, feature = "service"))]
impl Evidence {
    /// A capture in which nothing was found.
    pub(crate) fn nothing(challenge: Challenge) -> Self {
        Self {
            version: EVIDENCE_VERSION,
            challenge,
            media: MediaFacts::default(),
            models: BTreeMap::new(),
            frames: vec![],
            identity: IdentityEvidence::default(),
            spoof: None,
            speech: SpeechEvidence::default(),
        }
    }
}

impl std::fmt::Debug for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Evidence({} frames, {} ms)", self.frames.len(), self.media.duration_ms)
    }
}

/// What a model does for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// Finds faces in a frame.
    FaceDetector,
    /// Places 468 landmarks on a face.
    FaceMesh,
    /// Turns an aligned face into a vector.
    FaceEmbedding,
    /// Tells a live face from a presentation attack.
    AntiSpoof,
    /// Hears the digits.
    Transcription,
    /// Tells speech from silence.
    VoiceActivity,
    /// Turns speech into a speaker vector.
    VoiceEmbedding,
}

impl ModelRole {
    /// Every role, in the order of the pipeline.
    pub const ALL: [Self; 7] = [
        Self::FaceDetector,
        Self::FaceMesh,
        Self::FaceEmbedding,
        Self::AntiSpoof,
        Self::Transcription,
        Self::VoiceActivity,
        Self::VoiceEmbedding,
    ];

    /// The name used in the manifest and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::FaceDetector => "face_detector",
            Self::FaceMesh => "face_mesh",
            Self::FaceEmbedding => "face_embedding",
            Self::AntiSpoof => "anti_spoof",
            Self::Transcription => "transcription",
            Self::VoiceActivity => "voice_activity",
            Self::VoiceEmbedding => "voice_embedding",
        }
    }

    /// Whether a set may hold several models for this role, whose scores are then averaged.
    pub fn is_ensemble(self) -> bool {
        matches!(self, Self::AntiSpoof)
    }
}

impl std::fmt::Display for ModelRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A model that took part, named so that it can be found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// The manifest's id.
    pub id: String,
    /// SHA-256 of the installed file, lower-case hexadecimal.
    pub sha256: String,
}

/// The file, as the decoder saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaFacts {
    /// Size of the upload in bytes.
    pub bytes: u64,
    /// SHA-256 of the upload, lower-case hexadecimal.
    pub sha256: String,
    /// FFmpeg's name of the container.
    pub container: String,
    /// FFmpeg's name of the video codec.
    pub video_codec: String,
    /// FFmpeg's name of the audio codec.
    pub audio_codec: String,
    /// Coded width in pixels, before scaling.
    pub width: u32,
    /// Coded height in pixels, before scaling.
    pub height: u32,
    /// Decoded frames.
    pub frames: u32,
    /// From the first frame's start to the last frame's, in milliseconds.
    pub duration_ms: i64,
    /// Length of the decoded sound in milliseconds.
    pub audio_ms: i64,
    /// When the whole file had come, by the clock that issued the challenge; `None` where it was
    /// not sent in answer to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Millis>,
}

/// One decoded frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameEvidence {
    /// Position in the stream, from 0.
    pub index: u32,
    /// Presentation time in milliseconds from the first frame.
    pub t_ms: i64,
    /// Faces found, where the detector ran on this frame (it runs when there is nothing to track,
    /// and at intervals to look for a second face).
    pub detected: Option<u8>,
    /// The tracked face; `None` where none was found.
    pub face: Option<FaceEvidence>,
    /// Mean absolute difference of luma to the frame before, 0–255, on a 32 x 32 thumbnail. Zero
    /// means a repeated picture.
    pub change: f32,
}

/// The tracked face of one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceEvidence {
    /// Left, top, width and height as fractions of the frame.
    pub bbox: [f32; 4],
    /// The mesh model's own probability that a face is there, 0–1.
    pub presence: f32,
    /// Which way the head points.
    pub pose: Pose,
    /// Lid gap over eye width, the person's left eye and right eye.
    pub eye_open: [f32; 2],
    /// Inner lip gap over mouth width.
    pub mouth_open: f32,
    /// Distance between the eyes' centres in pixels of the decoded frame.
    pub inter_eye_px: f32,
    /// Mean luma inside the face box, 0–255.
    pub brightness: f32,
    /// Standard deviation of luma inside the face box, 0–128.
    pub contrast: f32,
    /// Variance of the Laplacian of the face scaled to 128 x 128 (larger is sharper).
    pub sharpness: f32,
}

/// Head pose in degrees, from the camera's view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// Above zero: turned to the person's own left.
    pub yaw: f32,
    /// Above zero: looking up.
    pub pitch: f32,
    /// Above zero: tilted towards the person's own left shoulder.
    pub roll: f32,
}

/// Embedding distances of sampled frames to the reference frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityEvidence {
    /// Distance above which two faces count as two people: the manifest's value for the model.
    pub threshold: f32,
    /// The samples, in order of time.
    pub samples: Vec<IdentitySample>,
}

/// One frame's distance to the reference frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySample {
    /// The frame.
    pub index: u32,
    /// Its time in milliseconds.
    pub t_ms: i64,
    /// Distance to the reference frame's embedding, in the model's own metric.
    pub distance: f32,
}

/// Presentation-attack scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoofEvidence {
    /// A live probability below this is an attack: the manifest's value for the model.
    pub threshold: f32,
    /// The samples, in order of time.
    pub samples: Vec<SpoofSample>,
}

/// One frame's presentation-attack score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoofSample {
    /// The frame.
    pub index: u32,
    /// Its time in milliseconds.
    pub t_ms: i64,
    /// Probability that the face is live, 0–1, averaged over the installed models.
    pub live: f32,
}

/// What was heard.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeechEvidence {
    /// Stretches of speech by the voice-activity model, in order.
    pub segments: Vec<SpeechSegment>,
    /// Level of the speech stretches in dB relative to full scale; `None` where there is none.
    pub level_dbfs: Option<f32>,
    /// Speech level over the level between the stretches, in dB; `None` where it can't be told.
    pub snr_db: Option<f32>,
    /// The digits; `None` where no transcription model is installed.
    pub transcript: Option<Transcript>,
    /// How loud the voice band is over time; `None` without sound, and in evidence of version 1.
    #[serde(default)]
    pub envelope: Option<VoiceEnvelope>,
}

impl std::fmt::Debug for SpeechEvidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpeechEvidence({} segments, …)", self.segments.len())
    }
}

/// Level of the sound between 1 and 4 kHz, where lips shape a voice the most, every
/// [`ENVELOPE_STEP_MS`].
///
/// It is kept to be held against the lips. One number of whole decibels each 20 ms holds the rhythm of what
/// was said: neither pitch nor formants, by which a speaker or a vowel is known.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoiceEnvelope {
    /// Where the first step begins, in milliseconds from the first video frame.
    pub start_ms: i64,
    /// Level of each step in dB relative to full scale.
    pub db: Vec<i8>,
}

impl std::fmt::Debug for VoiceEnvelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VoiceEnvelope({} steps, …)", self.db.len())
    }
}

/// A stretch of speech, in milliseconds from the first video frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeechSegment {
    /// Start.
    pub start_ms: i64,
    /// End.
    pub end_ms: i64,
}

/// The digits that the transcription model heard.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// The digits, in order. Empty: no digits were heard.
    pub digits: Vec<SpokenDigit>,
    /// Log-likelihood of the expected digits under the model minus that of the best rival one edit
    /// away, in nats per expected digit: above zero, the expected digits explain the sound better.
    /// `None` where the model can't score a given text.
    pub score: Option<f32>,
    /// Probability that digits are spoken at all, 0–1.
    pub digits_present: f32,
}

impl std::fmt::Debug for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transcript({} digits, …)", self.digits.len())
    }
}

/// One spoken digit.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpokenDigit {
    /// 0–9.
    pub digit: u8,
    /// Start in milliseconds from the first video frame, where the model tells.
    pub start_ms: Option<i64>,
    /// End in milliseconds from the first video frame, where the model tells.
    pub end_ms: Option<i64>,
    /// The model's probability of this digit, 0–1.
    pub confidence: f32,
}
