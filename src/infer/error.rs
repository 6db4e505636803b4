//! What can go wrong in the inference room.

use std::path::PathBuf;

use crate::domain::evidence::ModelRole;

/// Why a model can't be loaded or didn't run.
///
/// Messages name models, files and tensor shapes, never pictures, sounds or vectors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ONNX Runtime library is not where the configuration says.
    #[error(
        "the ONNX Runtime library is not at {path}: install it (`make run` does) or set its path in \
         the configuration"
    )]
    RuntimeMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there but can't be used as ONNX Runtime.
    #[error("{path} can't be used as the ONNX Runtime library: {detail}")]
    RuntimeUnusable {
        /// The library.
        path: PathBuf,
        /// The loader's reason.
        detail: String,
    },
    /// A model's file is not installed.
    #[error("the model {id} is not installed at {path}: run `cameo models install`")]
    ModelMissing {
        /// The manifest's id.
        id: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A model's file can't be read.
    #[error("the model {id} can't be read from {path}: {source}")]
    ModelUnreadable {
        /// The manifest's id.
        id: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A model's file is not the one the manifest names.
    #[error(
        "the file of the model {id} is not the one in the manifest ({detail}): run `cameo models \
         install` again"
    )]
    ModelAltered {
        /// The manifest's id.
        id: String,
        /// What differs.
        detail: String,
    },
    /// A model's graph is not what its adapter needs.
    #[error("the model {id} can't be used: {detail}")]
    ModelInvalid {
        /// The manifest's id.
        id: String,
        /// What differs from the manifest, or the runtime's reason.
        detail: String,
    },
    /// No model is installed for a role that the work at hand can't do without.
    #[error("no {} model is installed: run `cameo models install`", .0.name())]
    RoleMissing(ModelRole),
    /// An input is not what the function takes: a caller's mistake or a hostile frame.
    #[error("the {what} has the wrong size: {detail}")]
    Shape {
        /// Which input.
        what: &'static str,
        /// What it has and what it should have.
        detail: String,
    },
    /// A model failed on an input.
    #[error("the model {id} failed: {detail}")]
    Run {
        /// The manifest's id.
        id: String,
        /// The runtime's reason.
        detail: String,
    },
    /// A picture operation failed.
    #[error("a picture operation failed: {0}")]
    Picture(String),
    /// The transcription model can't be loaded or failed.
    #[error(transparent)]
    Transcription(#[from] super::whisper::WhisperError),
}

impl From<opencv::Error> for Error {
    fn from(e: opencv::Error) -> Self {
        Self::Picture(format!("OpenCV code {}", e.code))
    }
}
