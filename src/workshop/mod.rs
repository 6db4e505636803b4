//! The workshop: attacks and degradations made out of genuine recordings, to measure with.
//!
//! ```text
//! footage + sound -> attack (one of the species, with its parameters) -> capture file
//!                 -> ladder (one rung of degradation)                 -> capture file
//! ```
//!
//! An [`attack::Attack`] is data: a species and its parameters. Together with its material and a
//! seed it makes the same capture every time. What needs no pixel of its own is a filter of the
//! `ffmpeg` program ([`picture`]); masks and puppets move pixels themselves ([`warp`]); sound is
//! worked on in memory ([`sound`]).
//!
//! The recordings are the operator's own and trusted: they are decoded by `ffmpeg` outside of the
//! sandbox of [`media`](crate::media). What is made here simulates an attack; a photograph of a real
//! print or screen is another thing, and a rate measured on simulations bounds nothing.

pub mod attack;
pub mod draw;
pub mod frames;
pub mod ladder;
mod looks;
pub mod picture;
mod program;
pub mod sound;
pub mod warp;

use std::path::PathBuf;

/// Samples per second of every sound here.
pub const RATE: usize = 16_000;

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `ffmpeg`.
    #[error("the program ffmpeg can't be started: is it installed?")]
    NoProgram(#[source] std::io::Error),
    /// `ffmpeg` refused; its first line of complaint.
    #[error("ffmpeg failed: {0}")]
    Program(String),
    /// What `ffmpeg` wrote is not what it was asked for.
    #[error("ffmpeg wrote something else than it was asked for: {0}")]
    Output(&'static str),
    /// A file can't be written or removed.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The attack needs something that the material lacks.
    #[error("{attack} needs {what}")]
    Material {
        /// The species.
        attack: &'static str,
        /// What is missing.
        what: &'static str,
    },
}

/// What comes of trying.
pub type Result<T> = std::result::Result<T, Error>;

/// A face in a frame: left, top, width and height as fractions of the frame.
pub type Face = [f32; 4];

/// A recording of a living person.
#[derive(Clone, Debug, PartialEq)]
pub struct Footage {
    /// The file.
    pub path: PathBuf,
    /// How much of it is used, from its start.
    pub seconds: f64,
}
