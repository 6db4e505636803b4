//! What one upload may cost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds on one upload and on the child that decodes it.
///
/// The child checks the bounds that need decoding (duration, pixels, frames), the kernel enforces
/// the child's CPU time and memory, and the host enforces bytes and wall time and checks everything
/// that the child claims against these bounds again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Size of the uploaded file, in bytes.
    pub max_bytes: u64,
    /// Time of the last frame, in milliseconds from the start of the capture.
    pub max_duration_ms: u64,
    /// Width times height of the stored picture, before scaling.
    pub max_pixels: u64,
    /// Number of video frames.
    pub max_frames: u32,
    /// Length of the audio, in milliseconds.
    pub max_audio_ms: u64,
    /// CPU time of the child, in whole seconds (`RLIMIT_CPU`).
    pub cpu_seconds: u64,
    /// Time spent waiting for the child. The time that the receiver of the frames takes is not
    /// counted, so a busy machine does not turn into the sender's fault.
    pub wall: Duration,
    /// Memory that the child may map on top of what it has when it starts, in bytes (`RLIMIT_AS`).
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// A 30 s capture of up to 60 frames per second and up to 4K, in 64 MiB.
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_duration_ms: 30_000,
            max_pixels: 4096 * 2304,
            max_frames: 1800,
            max_audio_ms: 31_000,
            cpu_seconds: 30,
            wall: Duration::from_mins(1),
            memory_bytes: 512 << 20,
        }
    }
}
