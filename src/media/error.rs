//! Why a capture could not be decoded, in terms of who can do something about it.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// A failed decode.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file has no bytes.
    #[error("the upload is empty: record the capture again and send the whole file")]
    Empty,
    /// The file is no media container that anyone would recognise.
    #[error(
        "the upload is not a video file: send WebM (VP8 or VP9 with Opus) or MP4 (H.264 with AAC)"
    )]
    NotAContainer,
    /// The file is of a kind that is known but not accepted.
    #[error(
        "{name} files are not accepted: send WebM (VP8 or VP9 with Opus) or MP4 (H.264 with AAC)"
    )]
    UnsupportedContainer {
        /// What the file is, for example `mpegts`.
        name: String,
    },
    /// The container is accepted, the codec of one stream is not.
    #[error(
        "the {stream} codec {name} is not accepted: use VP8, VP9 or H.264 for video and Opus, Vorbis or AAC for audio"
    )]
    UnsupportedCodec {
        /// The stream it was found in.
        stream: StreamKind,
        /// FFmpeg's name of the codec, for example `hevc`.
        name: String,
    },
    /// There is no video stream.
    #[error("the capture has no video: allow the camera and record again")]
    NoVideo,
    /// There is no audio stream.
    #[error("the capture has no sound: allow the microphone and record again")]
    NoAudio,
    /// The container or the streams are damaged beyond what can be decoded.
    #[error("the {part} of the capture is damaged and cannot be decoded: record it again")]
    Corrupt {
        /// The part that is damaged.
        part: Part,
    },
    /// The file ends before what it declares.
    #[error("the capture ends after {decoded_ms} ms of {declared_ms} ms: send the whole file")]
    Truncated {
        /// Duration that the container declares, in milliseconds.
        declared_ms: u64,
        /// Duration that could be decoded, in milliseconds.
        decoded_ms: u64,
    },
    /// More bytes than [`super::Limits::max_bytes`].
    #[error(
        "the upload has {bytes} bytes, the limit is {max}: record a shorter or smaller capture"
    )]
    TooLarge {
        /// Size of the upload.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// Longer than [`super::Limits::max_duration_ms`] or [`super::Limits::max_audio_ms`].
    #[error("the capture is longer than {max_ms} ms: record a shorter one")]
    TooLong {
        /// The limit, in milliseconds.
        max_ms: u64,
    },
    /// A picture larger than [`super::Limits::max_pixels`].
    #[error(
        "the picture of {width} x {height} has more than {max} pixels: record at a lower resolution"
    )]
    TooManyPixels {
        /// Stored width in pixels.
        width: u32,
        /// Stored height in pixels.
        height: u32,
        /// The limit.
        max: u64,
    },
    /// More frames than [`super::Limits::max_frames`].
    #[error(
        "the capture has more than {max} frames: record a shorter one or at a lower frame rate"
    )]
    TooManyFrames {
        /// The limit.
        max: u32,
    },
    /// Decoding took more time than it may.
    #[error("decoding used up its {budget}: record at a lower resolution or frame rate")]
    TooSlow {
        /// Which of the two budgets ran out.
        budget: Budget,
    },
    /// Decoding needed more memory than [`super::Limits::memory_bytes`].
    #[error("decoding needs more memory than allowed: record at a lower resolution")]
    TooMuchMemory,
    /// The stored upload could not be opened.
    #[error("the stored upload could not be opened")]
    Open(#[source] io::Error),
    /// The child could not be started.
    #[error("the decoder process could not be started")]
    Spawn(#[source] io::Error),
    /// A sandbox layer that is required does not hold on this machine.
    #[error("the sandbox layer {layer} is required and does not hold: {reason}")]
    SandboxRefused {
        /// The layer, for example `seccomp`.
        layer: String,
        /// What the system answered.
        reason: String,
    },
    /// The child ended without an answer.
    #[error("the decoder process died ({})", signal.map_or("no signal".to_owned(), |s| format!("signal {s}")))]
    ChildDied {
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
    /// The child sent what no honest child sends.
    #[error("the decoder process broke its protocol: {what}")]
    ChildMisbehaved {
        /// The rule that was broken.
        what: &'static str,
    },
    /// The receiver stopped the decode.
    #[error("the decode was stopped by its receiver")]
    Cancelled,
}

/// Who can do something about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// The sender: the file is wrong.
    Input,
    /// The sender: the file asks for too much.
    Limit,
    /// The operator: this machine could not do its part. Trying again may help.
    Ours,
}

impl Error {
    /// Who can do something about it.
    pub fn family(&self) -> Family {
        match self {
            Self::Empty
            | Self::NotAContainer
            | Self::UnsupportedContainer { .. }
            | Self::UnsupportedCodec { .. }
            | Self::NoVideo
            | Self::NoAudio
            | Self::Corrupt { .. }
            | Self::Truncated { .. } => Family::Input,
            Self::TooLarge { .. }
            | Self::TooLong { .. }
            | Self::TooManyPixels { .. }
            | Self::TooManyFrames { .. }
            | Self::TooSlow { .. }
            | Self::TooMuchMemory => Family::Limit,
            Self::Open(_)
            | Self::Spawn(_)
            | Self::SandboxRefused { .. }
            | Self::ChildDied { .. }
            | Self::ChildMisbehaved { .. }
            | Self::Cancelled => Family::Ours,
        }
    }

    /// A stable word for logs, metrics and problem types, for example `unsupported_codec`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAContainer => "not_a_container",
            Self::UnsupportedContainer { .. } => "unsupported_container",
            Self::UnsupportedCodec { .. } => "unsupported_codec",
            Self::NoVideo => "no_video",
            Self::NoAudio => "no_audio",
            Self::Corrupt { .. } => "corrupt",
            Self::Truncated { .. } => "truncated",
            Self::TooLarge { .. } => "too_large",
            Self::TooLong { .. } => "too_long",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::TooManyFrames { .. } => "too_many_frames",
            Self::TooSlow { .. } => "too_slow",
            Self::TooMuchMemory => "too_much_memory",
            Self::Open(_) => "open",
            Self::Spawn(_) => "spawn",
            Self::SandboxRefused { .. } => "sandbox_refused",
            Self::ChildDied { .. } => "child_died",
            Self::ChildMisbehaved { .. } => "child_misbehaved",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One of the two streams of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// The pictures.
    Video,
    /// The sound.
    Audio,
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Video => "video",
            Self::Audio => "audio",
        })
    }
}

/// A part of a capture that can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The file's structure.
    Container,
    /// The video stream.
    Video,
    /// The audio stream.
    Audio,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container",
            Self::Video => "video",
            Self::Audio => "audio",
        })
    }
}

/// A time budget of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// [`super::Limits::cpu_seconds`].
    Cpu,
    /// [`super::Limits::wall`].
    Wall,
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU time",
            Self::Wall => "waiting time",
        })
    }
}
