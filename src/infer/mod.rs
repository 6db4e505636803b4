//! The models: which there are, how they get onto a machine, and how they run.
//!
//! - [`manifest`]: every model with its source, hash, licence and adapter parameters.

pub mod digits_score;
pub mod digits_text;
pub mod manifest;
pub mod whisper;
