//! The models: which there are, how they get onto a machine, and how they run.
//!
//! ```text
//! frame -> track: detect (blazeface | yunet) when there is nothing to track
//!                 facemesh, frame to frame -> pose, eyes, lips, look
//!       -> antispoof, embedding            on the frames that the caller picks
//! sound -> vad -> voice, whisper
//! ```
//!
//! - [`convert`]: from the formats that weights are published in to ONNX.
//! - [`manifest`]: every model with its source, hash, licence and adapter parameters.
//! - [`install`]: fetch, check and put in place; [`convert`]: from the formats that weights are
//!   published in to ONNX.
//! - [`session`]: ONNX Runtime, and a pool of single-threaded sessions for each model.
//! - [`picture`], [`geometry`]: frames, crops and tensors; rectangles and similarity transforms.
//! - One file for each model family: [`blazeface`], [`yunet`] (behind [`detect`]), [`facemesh`]
//!   (with [`pose`]), [`embedding`], [`antispoof`], [`vad`], [`voice`], [`whisper`].
//! - [`track`]: one face through the frames of a capture.
//!
//! Every call blocks for the milliseconds that a model takes: call from a thread that may.

pub mod antispoof;
pub mod blazeface;
pub mod convert;
pub mod detect;
pub mod digits_score;
pub mod digits_text;
pub mod embedding;
mod error;
pub mod facemesh;
mod frames;
pub mod geometry;
pub mod install;
pub mod manifest;
pub mod picture;
pub mod pose;
pub mod session;
pub mod track;
pub mod vad;
pub mod voice;
pub mod whisper;
pub mod yunet;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::domain::evidence::{ModelRef, ModelRole};

pub use error::Error;

use antispoof::AntiSpoof;
use detect::Detector;
use embedding::FaceEmbedder;
use facemesh::FaceMesh;
use manifest::adapter::{ImageInput, Layout};
use manifest::{Adapter, Manifest, Model, Role, Set};
use session::{Port, Runtime};
use vad::VoiceActivity;
use voice::VoiceEmbedder;
use whisper::{WhisperKind, WhisperModel};

/// Which models to load, from where, and how many captures they serve at once.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The set whose models are preferred; a role it doesn't fill is taken from the other.
    pub set: Set,
    /// The folder that the models are installed in.
    pub dir: PathBuf,
    /// The ONNX Runtime library.
    pub runtime: PathBuf,
    /// Sessions for each model, that is, how many captures can be measured at once without
    /// waiting for each other. Each session has the model's weights in memory once more.
    pub sessions: usize,
}

/// Everything that is installed, loaded and checked.
///
/// A role whose model isn't installed is `None`; what can't be measured without it is left out of
/// the evidence, and the verdict says so.
#[derive(Debug, Default)]
pub struct Models {
    /// Finds faces.
    pub detector: Option<Detector>,
    /// Places the face mesh.
    pub mesh: Option<FaceMesh>,
    /// Turns faces into vectors.
    pub embedder: Option<FaceEmbedder>,
    /// Tells live faces from recaptures.
    pub antispoof: Option<AntiSpoof>,
    /// Hears digits.
    pub transcription: Option<WhisperModel>,
    /// Tells speech from silence.
    pub vad: Option<VoiceActivity>,
    /// Turns speech into vectors.
    pub voice: Option<VoiceEmbedder>,
    refs: BTreeMap<ModelRole, Vec<ModelRef>>,
}

impl Models {
    /// Loads what the manifest names and the folder has. A role counts as installed where the
    /// files of all its models are there; a file that is there but isn't the manifest's is an
    /// error, not a missing model.
    ///
    /// # Errors
    /// [`Error::RuntimeMissing`], [`Error::RuntimeUnusable`], [`Error::ModelUnreadable`],
    /// [`Error::ModelAltered`], [`Error::ModelInvalid`], [`Error::Transcription`].
    pub fn load(manifest: &Manifest, options: &LoadOptions) -> Result<Self, Error> {
        let runtime = runtime(options)?;
        let mut models = Self::default();
        for role in Role::ALL {
            let chosen = manifest.filling(options.set, role);
            if !chosen.is_empty() && chosen.iter().all(|m| m.path(&options.dir).is_file()) {
                models.load_role(role, &chosen, &runtime, options)?;
            }
        }
        Ok(models)
    }

    /// Loads just these models, all of which must be there; a model whose `file` is an absolute path
    /// may lie anywhere.
    ///
    /// # Errors
    /// As of [`Models::load`], and [`Error::ModelMissing`].
    pub fn load_only(chosen: &[&Model], options: &LoadOptions) -> Result<Self, Error> {
        let runtime = runtime(options)?;
        let mut models = Self::default();
        for role in Role::ALL {
            let of: Vec<&Model> = chosen.iter().copied().filter(|m| m.role == role).collect();
            if !of.is_empty() {
                models.load_role(role, &of, &runtime, options)?;
            }
        }
        Ok(models)
    }

    fn load_role(
        &mut self,
        role: Role,
        chosen: &[&Model],
        runtime: &Runtime,
        options: &LoadOptions,
    ) -> Result<(), Error> {
        let refs = chosen
            .iter()
            .map(|m| ModelRef { id: m.id.clone(), sha256: m.sha256.to_string() })
            .collect();
        self.refs.insert(role, refs);
        let (dir, n) = (options.dir.as_path(), options.sessions);
        if role == Role::AntiSpoof {
            self.antispoof = Some(AntiSpoof::load(runtime, chosen, dir, n)?);
            return Ok(());
        }
        let [model] = chosen else { return Ok(()) };
        match &model.adapter {
            Adapter::Blazeface(_) | Adapter::Yunet(_) => {
                self.detector = Some(Detector::load(runtime, model, dir, n)?);
            }
            Adapter::Facemesh(p) => {
                self.mesh = Some(FaceMesh::load(runtime, model, p.clone(), dir, n)?);
            }
            Adapter::FaceEmbedding(p) => {
                self.embedder = Some(FaceEmbedder::load(runtime, model, p.clone(), dir, n)?);
            }
            Adapter::SileroVad(p) => {
                self.vad = Some(VoiceActivity::load(runtime, model, p.clone(), dir, n)?);
            }
            Adapter::VoiceEncoder(p) => {
                self.voice = Some(VoiceEmbedder::load(runtime, model, p.clone(), dir, n)?);
            }
            Adapter::Whisper(_) => {
                self.transcription = Some(load_whisper(model, dir, WhisperKind::General)?);
            }
            Adapter::WhisperDigits(_) => {
                self.transcription = Some(load_whisper(model, dir, WhisperKind::Digits)?);
            }
            Adapter::AntiSpoof(_) => return Err(wrong_adapter(model)),
        }
        Ok(())
    }

    /// The roles without a model, in the order of the pipeline.
    pub fn missing(&self) -> Vec<ModelRole> {
        ModelRole::ALL.into_iter().filter(|r| !self.refs.contains_key(r)).collect()
    }

    /// The loaded models by role.
    pub fn refs(&self) -> &BTreeMap<ModelRole, Vec<ModelRef>> {
        &self.refs
    }
}

fn runtime(options: &LoadOptions) -> Result<Runtime, Error> {
    // Crops are small: OpenCV's threads would cost more than they gain.
    opencv::core::set_num_threads(1)?;
    Runtime::load(&options.runtime)
}

fn load_whisper(model: &Model, dir: &Path, kind: WhisperKind) -> Result<WhisperModel, Error> {
    let bytes = session::read_checked(model, dir)?;
    Ok(WhisperModel::from_bytes(&bytes, kind, 1)?)
}

/// The extents of one image's tensor.
fn extents(image: &ImageInput) -> [usize; 4] {
    let (w, h) = (image.width as usize, image.height as usize);
    match image.layout {
        Layout::Nchw => [1, 3, h, w],
        Layout::Nhwc => [1, h, w, 3],
    }
}

/// The port of one image's tensor.
fn image_port(image: &ImageInput) -> Port {
    Port::f32(&image.tensor, &extents(image).map(Some))
}

fn wrong_adapter(model: &Model) -> Error {
    Error::ModelInvalid {
        id: model.id.clone(),
        detail: format!("the adapter {} does not fit its role", model.adapter.name()),
    }
}
