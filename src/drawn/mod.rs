//! A computer-drawn head that answers a challenge, as a source of captures whose truth is known.
//!
//! Used by the demo (a machine without a camera still shows the whole story) and by tests. No
//! photograph of a person is involved: an implicit surface is sampled into a mesh once per
//! [`Look`], posed and painted frame by frame ([`Stage`]), made to speak with espeak-ng and
//! encoded with the `ffmpeg` program ([`record`]). For a given seed the frames, the sound and the
//! [`GroundTruth`] are the same every time.
//!
//! Detectors and the face mesh accept the head and measure what the truth says. It is no living
//! person, yet it is no recapture from a screen or a print either: to an anti-spoof model, which
//! looks for those, it is a file injected in place of a camera, and models differ on it. Different
//! looks stay close for a face embedding, so "another person" is better tested with real faces.

mod backdrop;
mod bytes;
mod capture;
mod head;
mod look;
mod mesh;
mod noise;
mod paint;
mod raster;
mod script;
mod speech;
mod stage;
mod vec3;

pub use capture::{Codec, FrameTruth, GroundTruth, Settings, Trick, record};
pub use look::{Colour, Hair, Look, Rgb, Shape};
pub use script::{MadeMotion, Pace, Script, SpokenDigit};
pub use stage::{Figure, Placement, Stage};

use serde::{Deserialize, Serialize};

/// The head's pose and expression at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FaceState {
    /// Degrees; positive towards the person's own left, the image's right.
    pub yaw: f32,
    /// Degrees; positive upwards.
    pub pitch: f32,
    /// Degrees; positive tilts the head towards the person's own left shoulder.
    pub roll: f32,
    /// 0 open, 1 closed.
    pub blink: f32,
    /// 0 shut, 1 wide open.
    pub mouth: f32,
    /// Sideways sway of the head, in head units, positive to the image's right.
    pub shift_x: f32,
    /// Sway up and down, in head units, positive downwards.
    pub shift_y: f32,
}

/// Why a capture could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No built-in look has this name.
    #[error("there is no look called {name:?}; choose one of {known}")]
    UnknownLook {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A look's text can't be drawn.
    #[error("the look can't be drawn: {0}")]
    BadLook(String),
    /// The picture's size is out of range.
    #[error(
        "a picture of {width} x {height} can't be drawn: both sides must be even and lie in 64..=1920"
    )]
    BadSize {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The frame rate is out of range.
    #[error("{0} frames a second can't be drawn: choose 1 to 120")]
    BadRate(f64),
    /// The script takes too long.
    #[error("the script takes longer than {limit_ms} ms: give it fewer digits or shorter pauses")]
    TooLong {
        /// The limit.
        limit_ms: u32,
    },
    /// A program that is needed isn't installed.
    #[error("{0} is not installed or not on the PATH: install the package {0}")]
    ToolMissing(&'static str),
    /// The digits couldn't be spoken.
    #[error("the digits could not be spoken: {0}")]
    Speech(String),
    /// ffmpeg refused or failed.
    #[error("ffmpeg could not encode the capture: {0}")]
    Encoding(String),
    /// A file or pipe failed.
    #[error("drawing a capture failed")]
    Io(#[source] std::io::Error),
}

impl Error {
    /// Why the program `tool` could not be started.
    fn tool(tool: &'static str, e: &std::io::Error) -> Self {
        match e.kind() {
            std::io::ErrorKind::NotFound => Self::ToolMissing(tool),
            kind => Self::Io(kind.into()),
        }
    }
}
