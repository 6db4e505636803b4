//! The models: which there are, how they get onto a machine, and how they run.
//!
//! - [`convert`]: from the formats that weights are published in to ONNX.
//! - [`manifest`]: every model with its source, hash, licence and adapter parameters.

pub mod convert;
pub mod manifest;
