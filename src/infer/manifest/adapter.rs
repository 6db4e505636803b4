//! The parameters of each adapter, as the manifest gives them.
//!
//! Pixel values are 0 to 255, image coordinates have their origin at the top left corner, `left`
//! and `right` are the viewer's. Tensor names are those of the ONNX graph.

use serde::Deserialize;

use super::Role;
use crate::domain::template::Metric;

/// An adapter with its parameters.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Adapter {
    /// `BlazeFace` face detector.
    Blazeface(BlazeFace),
    /// `YuNet` face detector.
    Yunet(YuNet),
    /// The 468-vertex face mesh.
    Facemesh(FaceMesh),
    /// Any network from an aligned face to a vector.
    FaceEmbedding(FaceEmbedding),
    /// Any network from a face crop to class probabilities.
    AntiSpoof(AntiSpoof),
    /// silero VAD.
    SileroVad(SileroVad),
    /// A speaker encoder over mel spectrograms.
    VoiceEncoder(VoiceEncoder),
    /// A Whisper model (ggml), transcribing words.
    Whisper(Whisper),
    /// A Whisper-architecture model (ggml) that knows digits only.
    WhisperDigits(WhisperDigits),
}

impl Adapter {
    /// The role that this adapter fills.
    pub fn role(&self) -> Role {
        match self {
            Self::Blazeface(_) | Self::Yunet(_) => Role::FaceDetector,
            Self::Facemesh(_) => Role::FaceMesh,
            Self::FaceEmbedding(_) => Role::FaceEmbedding,
            Self::AntiSpoof(_) => Role::AntiSpoof,
            Self::SileroVad(_) => Role::VoiceActivity,
            Self::VoiceEncoder(_) => Role::VoiceEmbedding,
            Self::Whisper(_) | Self::WhisperDigits(_) => Role::Transcription,
        }
    }

    /// The adapter's name, as the manifest spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Blazeface(_) => "blazeface",
            Self::Yunet(_) => "yunet",
            Self::Facemesh(_) => "facemesh",
            Self::FaceEmbedding(_) => "face_embedding",
            Self::AntiSpoof(_) => "anti_spoof",
            Self::SileroVad(_) => "silero_vad",
            Self::VoiceEncoder(_) => "voice_encoder",
            Self::Whisper(_) => "whisper",
            Self::WhisperDigits(_) => "whisper_digits",
        }
    }
}

/// How an image becomes an input tensor: resized to `width` x `height`, channels put into the
/// order of `colour`, then every channel `c` of a pixel `x` becomes `(x - mean[c]) / std[c]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Name of the input tensor (f32, one image per batch entry).
    pub tensor: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Order of the axes.
    pub layout: Layout,
    /// Order of the channels; `mean` and `std` follow it.
    pub colour: Colour,
    /// Subtracted from each channel.
    pub mean: [f32; 3],
    /// Divides each channel afterwards.
    pub std: [f32; 3],
}

/// Order of an image tensor's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Batch, channel, row, column.
    Nchw,
    /// Batch, row, column, channel.
    Nhwc,
}

/// Order of an image tensor's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// `BlazeFace` (Bazarevsky et al. 2019): an anchor-based detector whose boxes are relative to the
/// anchors' centres, in pixels of the input.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlazeFace {
    /// The input; the frame is letter-boxed into it.
    pub image: ImageInput,
    /// The anchor grids.
    pub grids: Vec<AnchorGrid>,
    /// Least probability (after the sigmoid) of a face.
    pub score_threshold: f32,
    /// Boxes that overlap more than this (intersection over union) are one face.
    pub nms_iou: f32,
}

/// A square grid of anchors: `cells` x `cells`, row by row, with `anchors` equal ones at the
/// centre of each cell.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorGrid {
    /// Cells along each side.
    pub cells: u32,
    /// Anchors per cell.
    pub anchors: u32,
    /// Output with one logit per anchor: (1, cells² · anchors, 1).
    pub scores: String,
    /// Output with the box and six keypoints per anchor: (1, cells² · anchors, 16), as centre x,
    /// centre y, width, height, then the points' x and y.
    pub boxes: String,
}

/// `YuNet` (Wu et al. 2023): an anchor-free detector with five keypoints. For each stride `s` it has
/// the outputs `cls_s`, `obj_s` (1, n, 1), `bbox_s` (1, n, 4) and `kps_s` (1, n, 10); the score of a
/// cell is the geometric mean of `cls` and `obj`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct YuNet {
    /// The input; the frame is letter-boxed into it.
    pub image: ImageInput,
    /// The strides, in pixels of the input.
    pub strides: Vec<u32>,
    /// Least score of a face.
    pub score_threshold: f32,
    /// Boxes that overlap more than this (intersection over union) are one face.
    pub nms_iou: f32,
}

/// The 468-vertex face mesh (Kartynnik et al. 2019).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceMesh {
    /// The input: a crop of the box's own shape with the eyes level.
    pub image: ImageInput,
    /// Side of the crop, as a multiple of the face box's longer side.
    pub crop_scale: f32,
    /// Output with the vertices: (1, 1404), as x, y, z in pixels of the input.
    pub mesh: String,
    /// Output with the probability that there is a face: (1, 1).
    pub presence: String,
    /// Below this presence the face counts as lost.
    pub presence_threshold: f32,
}

/// A network that turns an aligned face into a vector.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceEmbedding {
    /// The input: the aligned face.
    pub image: ImageInput,
    /// Output with the vector: (n, `dimensions`).
    pub output: String,
    /// Length of the vector.
    pub dimensions: u32,
    /// Where the face must lie in the input.
    pub alignment: Alignment,
    /// How two vectors are compared.
    pub metric: Metric,
    /// Greatest distance by that metric between two images of one person.
    pub same_person: f32,
    /// Greatest distance at which a face among many is taken for that of the same person; where it
    /// isn't stated, `same_person`.
    #[serde(default)]
    pub duplicate: Option<f32>,
}

/// Where a face must lie in an aligned crop: the similarity transform (Umeyama 1991) that brings the
/// points of the mesh closest to the template's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alignment {
    /// Border around the template as a fraction of its size: a template coordinate `t` lies at
    /// `(padding + t) / (1 + 2 · padding)` of the crop's width or height.
    #[serde(default)]
    pub padding: f32,
    /// The template.
    pub points: Vec<TemplatePoint>,
}

/// One point of an alignment template.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplatePoint {
    /// The vertices of the 468-vertex mesh whose mean is this point.
    pub vertices: Vec<u16>,
    /// Horizontal position as a fraction of the template's width.
    pub x: f32,
    /// Vertical position as a fraction of the template's height.
    pub y: f32,
}

/// A network that tells a live face from a recapture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AntiSpoof {
    /// The input: a crop of the box's own shape around the face, moved inside the frame where it would leave it.
    pub image: ImageInput,
    /// Side of the crop, as a multiple of the face box's.
    pub crop_scale: f32,
    /// Output with one value per class: (1, `classes`).
    pub output: String,
    /// Number of classes.
    pub classes: u32,
    /// Index of the class "live".
    pub live_class: u32,
    /// What makes probabilities of the output.
    pub activation: Activation,
    /// How a crop larger than the input is made smaller.
    #[serde(default)]
    pub shrink: Shrink,
    /// What the class "live"'s probability is worth as evidence; without it, it stands as it is.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// Least probability of the class "live" in a live frame (after calibration).
    pub threshold: f32,
}

/// How a picture is made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shrink {
    /// Bilinear samples, whatever lies between them.
    #[default]
    Linear,
    /// The mean of the pixels that fall into one: independent of the camera's resolution.
    Area,
}

/// A log-likelihood ratio of live against attack, in nats, from a network's probability `p`:
/// `slope * ln(p / (1 - p)) + offset`, within plus and minus `limit`. The limit says how far the
/// model can be relied on with cameras that it never saw.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Nats per nat of the network's own log odds.
    pub slope: f32,
    /// Added to that, in nats.
    pub offset: f32,
    /// Largest amount, in nats.
    pub limit: f32,
}

/// What makes probabilities of a network's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Nothing: the output holds probabilities.
    None,
    /// A softmax over the classes.
    Softmax,
}

/// silero VAD: inputs `input` (1, context + window), `state` (2, 1, `state`) and `sr`; outputs
/// `output` (1, 1), the probability of speech, and `stateN`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SileroVad {
    /// Samples per second.
    pub sample_rate: u32,
    /// New samples per step.
    pub window: u32,
    /// Samples of the step before that are put in front.
    pub context: u32,
    /// Width of the recurrent state.
    pub state: u32,
    /// Least probability of a step with speech.
    pub threshold: f32,
}

/// A speaker encoder over mel spectrograms (Wan et al. 2018).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoiceEncoder {
    /// Name of the input: (windows, `window_frames`, `mel_bands`).
    pub input: String,
    /// Name of the output: (windows, `dimensions`), unit vectors.
    pub output: String,
    /// Length of the vector.
    pub dimensions: u32,
    /// Samples per second.
    pub sample_rate: u32,
    /// Length of the Fourier transform in samples (Hann window, power spectrum, Slaney mel filters).
    pub n_fft: u32,
    /// Step from frame to frame in samples.
    pub hop: u32,
    /// Mel bands.
    pub mel_bands: u32,
    /// Frames per window.
    pub window_frames: u32,
    /// Windows per second of speech.
    pub windows_per_second: f32,
    /// A last window that covers less than this part of its length is left out.
    pub least_coverage: f32,
    /// Quieter speech is amplified to this level, in dB below full scale.
    pub level_dbfs: f32,
    /// How two vectors are compared.
    pub metric: Metric,
    /// Greatest distance by that metric between two recordings of one speaker.
    pub same_speaker: f32,
}

/// A Whisper model in ggml format.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whisper {
    /// Language code.
    pub language: String,
    /// Length of the audio window in milliseconds (30,000 for the published models); longer
    /// captures are cut into windows at pauses.
    pub window_ms: u32,
    /// Whether flash attention is on (on a CPU it costs time and accuracy).
    #[serde(default)]
    pub flash_attention: bool,
}

/// A Whisper-architecture model in ggml format whose only text tokens are digits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhisperDigits {
    /// Length of the audio window in milliseconds; longer captures are cut at pauses.
    pub window_ms: u32,
    /// Most digits in a window.
    pub most_digits: u32,
    /// Whether flash attention is on (on a CPU it costs time and accuracy).
    #[serde(default)]
    pub flash_attention: bool,
    /// Token id of each digit, 0 to 9.
    pub digit_tokens: [u32; 10],
    /// Least mean log-probability per token of a transcript that counts as digits heard.
    #[serde(default)]
    pub least_mean_logprob: Option<f32>,
}
