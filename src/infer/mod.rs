//! The models: which there are, how they get onto a machine, and how they run.
//!
//! - [`convert`]: from the formats that weights are published in to ONNX.
//! - [`install`]: fetch, check, convert and put in place.
//! - [`manifest`]: every model with its source, hash, licence and adapter parameters.

pub mod convert;
pub mod install;
pub mod manifest;
