//! Decoding untrusted uploads in a sandboxed child process.
//!
//! ```text
//!            upload (stdin, read-only)
//!   host ────────────────────────────────▶ child: rlimits, Landlock, seccomp
//!   Decoder::decode                          one FFmpeg pass over the file
//!      ▲                                       video: RGB24, at most 640 on the long side
//!      └──── frames and samples (stdout) ───── audio: mono, 16 kHz
//! ```
//!
//! FFmpeg runs in the child alone: this program started again with the hidden subcommand
//! [`worker::SUBCOMMAND`]. The child gets the upload as an open descriptor, so it needs no file
//! system, no network and no other process, and [`sandbox`] takes all of that away before the
//! first byte is parsed. The host treats what comes back as hostile too (`protocol`), and a child
//! that dies, hangs or lies becomes an [`Error`] and nothing else.
//!
//! Frames are handed over one at a time and the pipe holds about one more, so memory does not grow
//! with the length of the capture: a receiver that is slow slows the child.
//!
//! # Time
//!
//! All times are milliseconds from the start of the capture, which is where its earlier stream
//! starts. Frame times strictly increase. Sample `i` of the audio belongs to the time of the first
//! audio message plus `i / 16` ms: gaps between packets are filled with silence.
//!
//! # What is accepted
//!
//! WebM/Matroska and MP4/MOV; VP8, VP9 and H.264; Opus, Vorbis and AAC. A few damaged packets are
//! skipped and counted ([`Totals::damaged_packets`]); a stream of which more is damaged than whole
//! is refused.

mod audio;
pub mod bench;
mod error;
mod ffmpeg;
mod host;
mod limits;
mod protocol;
pub mod sandbox;
mod sniff;
mod streams;
mod sys;
mod video;
pub mod worker;

use serde::{Deserialize, Serialize};

pub use self::error::{Budget, Error, Family, Part, StreamKind};
pub use self::host::{Decoder, Decoding};
pub use self::limits::Limits;

/// Longest side of a frame that is handed over, in pixels.
pub const MAX_SIDE: u32 = 640;

/// Samples per second of the audio that is handed over.
pub const SAMPLE_RATE: u32 = 16_000;

/// What a decode yields, in this order: one `Opened`, then frames and audio as they lie in the
/// file, then one `Done`.
#[derive(Clone, Debug)]
pub enum Event {
    /// The container was recognised and its streams can be decoded.
    Opened(MediaFacts),
    /// One picture.
    Frame(Frame),
    /// A piece of sound.
    Audio(Audio),
    /// The end of the capture.
    Done(Totals),
}

/// What the container says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaFacts {
    /// The file's format.
    pub container: Container,
    /// Codec of the video stream that is decoded.
    pub video_codec: VideoCodec,
    /// Codec of the audio stream that is decoded, if there is one.
    pub audio_codec: Option<AudioCodec>,
    /// Stored width in pixels: before rotation and scaling.
    pub width: u32,
    /// Stored height in pixels: before rotation and scaling.
    pub height: u32,
    /// Clockwise rotation in degrees (0, 90, 180 or 270) that the frames handed over already have.
    pub rotation: u16,
    /// Duration in the header; a live recording has none.
    pub declared_duration_ms: Option<u64>,
    /// Samples per second of the stored audio.
    pub audio_rate: Option<u32>,
    /// Channels of the stored audio.
    pub audio_channels: Option<u16>,
}

/// A decoded picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Number of the frame, from 0.
    pub index: u32,
    /// Presentation time in milliseconds from the start of the capture.
    pub t_ms: i64,
    /// Width in pixels, at most [`MAX_SIDE`].
    pub width: u32,
    /// Height in pixels, at most [`MAX_SIDE`].
    pub height: u32,
    /// `height` rows of `width` pixels of red, green, blue.
    pub rgb: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    /// Without the pixels: they show a person.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { index, t_ms, width, height, rgb: _ } = self;
        write!(f, "Frame {{ index: {index}, t_ms: {t_ms}, {width} x {height} }}")
    }
}

/// A piece of decoded sound: mono, [`SAMPLE_RATE`].
#[derive(Clone, PartialEq)]
pub struct Audio {
    /// Time of the first sample in milliseconds from the start of the capture.
    pub t_ms: i64,
    /// Samples, nominally within -1 and 1.
    pub samples: Vec<f32>,
}

impl std::fmt::Debug for Audio {
    /// Without the samples: they are a person's voice.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Audio {{ t_ms: {}, {} samples }}", self.t_ms, self.samples.len())
    }
}

/// What a whole decode amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Frames handed over.
    pub frames: u32,
    /// End of the last frame or sample, in milliseconds from the start of the capture.
    pub duration_ms: u64,
    /// Sound handed over, in milliseconds.
    pub audio_ms: u64,
    /// Silence that was filled in for missing sound, in milliseconds.
    pub audio_gaps_ms: u64,
    /// Packets and frames that were damaged and skipped.
    pub damaged_packets: u32,
    /// CPU time of the child from its start, in milliseconds, by its own account.
    pub decode_cpu_ms: u64,
    /// The sandbox layers that held.
    pub layers: sandbox::Layers,
}

/// A container format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    /// Matroska or its subset WebM.
    Matroska,
    /// ISO base media: MP4 or QuickTime.
    Mp4,
}

/// A video codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoCodec {
    /// VP8 (RFC 6386).
    Vp8,
    /// VP9.
    Vp9,
    /// H.264 (ITU-T H.264, ISO/IEC 14496-10).
    H264,
}

/// An audio codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioCodec {
    /// Opus (RFC 6716).
    Opus,
    /// Vorbis I.
    Vorbis,
    /// AAC (ISO/IEC 14496-3).
    Aac,
}
