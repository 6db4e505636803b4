//! A computer-drawn head (draft docs).
mod backdrop;
mod bytes;
mod head;
mod look;
mod mesh;
mod noise;
mod paint;
mod raster;
mod stage;
mod vec3;

pub use look::{Colour, Hair, Look, Rgb, Shape};
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
    #[error("a picture of {width} x {height} can't be drawn: both sides must be even and lie in 64..=1920")]
    BadSize {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
}
