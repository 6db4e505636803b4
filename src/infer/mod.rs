//! The models: which there are, how they get onto a machine, and how they run.
//!
//! - [`convert`]: from the formats that weights are published in to ONNX.
//! - [`manifest`]: every model with its source, hash, licence and adapter parameters.
//! - [`whisper`]: speech to digits; [`digits_text`] reads a general model's words, and
//!   [`digits_score`] compares an expected string with its rivals.

pub mod convert;
pub mod digits_score;
pub mod digits_text;
mod frames;
pub mod manifest;
pub mod whisper;
