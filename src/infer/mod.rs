//! The models: which there are, how they get onto a machine, and how they run.
//!
//! - [`manifest`]: every model with its source, hash, licence and adapter parameters.
//! - [`whisper`]: speech to digits; [`digits_text`] reads a general model's words, and
//!   [`digits_score`] compares an expected string with its rivals.

pub mod digits_score;
pub mod digits_text;
mod frames;
pub mod manifest;
pub mod whisper;
