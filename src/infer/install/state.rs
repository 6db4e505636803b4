//! Whether a model's file is there and whole.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::crypto::hash::Sha256;
use crate::infer::manifest::{Model, Sha256Hex};

/// What is found under a model's file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The file of the manifest.
    Installed,
    /// Nothing.
    Missing,
    /// A file of another size or digest.
    Damaged,
    /// Something that can't be read.
    Unreadable,
}

impl State {
    /// One word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Looks at `model`'s file in the folder `dir` and computes its digest.
pub fn state(model: &Model, dir: &Path) -> State {
    let path = model.path(dir);
    let found = match std::fs::metadata(&path) {
        Ok(m) if m.is_file() => m.len(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return State::Missing,
        _ => return State::Unreadable,
    };
    if found != model.bytes {
        return State::Damaged;
    }
    match digest(&path) {
        Ok(d) if d == model.sha256 => State::Installed,
        Ok(_) => State::Damaged,
        Err(_) => State::Unreadable,
    }
}

/// The SHA-256 of a file.
pub(super) fn digest(path: &Path) -> io::Result<Sha256Hex> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(Sha256Hex(hash.finish()))
}
