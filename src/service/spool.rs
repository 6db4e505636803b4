//! Uploads on disk, from the first byte until they are judged.
//!
//! A file is written as `part-<random>`, and gets its final name when it is whole. What the database
//! does not know at start-up is an orphan of an unclean end and is deleted.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;

use super::{Error, Result};
use crate::crypto::hash::Sha256;
use crate::domain::ids::VerificationId;
use crate::env::{Entropy, Millis, random};

/// The folder of uploads, for its owner alone.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
}

/// A whole upload.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) sha256: [u8; 32],
    pub(super) bytes: u64,
}

/// An upload on its way in. Dropping it deletes the file.
#[derive(Debug)]
pub(super) struct Incoming {
    dir: PathBuf,
    /// Makes the final name its own: two uploads of one attempt must not meet.
    own: String,
    path: PathBuf,
    file: tokio::fs::File,
    hash: Sha256,
    bytes: u64,
    max: u64,
    done: bool,
}

impl Spool {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| {
            Error::Internal(format!("can't make the capture folder {}: {e}", dir.display()))
        })?;
        Ok(Self { dir: dir.to_owned() })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn receive(&self, max: u64, entropy: &dyn Entropy) -> Result<Incoming> {
        let own = hex::encode(random::<12>(entropy));
        let path = self.dir.join(format!("{PART}{own}"));
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = tokio::fs::File::from_std(file.map_err(|e| broken(&e))?);
        let dir = self.dir.clone();
        Ok(Incoming { dir, own, path, file, hash: Sha256::new(), bytes: 0, max, done: false })
    }

    /// Deletes a capture; one that is not there is as good as deleted.
    pub(super) fn delete(&self, name: &str) {
        match fs::remove_file(self.path(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::error!(error = %e, "can't delete a capture; it is tried again at the next start");
            }
            _ => {}
        }
    }

    /// Deletes the uploads that are not in `known` and were last written before `before`. Returns
    /// how many.
    pub(super) fn sweep(&self, known: &HashSet<String>, before: Millis) -> io::Result<usize> {
        let mut swept = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|n| is_ours(n)) else { continue };
            // What is gone by now was somebody else's to delete.
            let Ok(written) = entry.metadata().and_then(|m| m.modified()) else { continue };
            let written = written.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let written = Millis(i64::try_from(written.as_millis()).unwrap_or(i64::MAX));
            if !known.contains(name) && written < before {
                self.delete(name);
                swept += 1;
            }
        }
        Ok(swept)
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PART) || name.ends_with(".capture")
}

impl Incoming {
    pub(super) async fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.max {
            return Err(Error::CaptureTooLarge { max: self.max });
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).await.map_err(|e| broken(&e))
    }

    /// The file while it is still nameless, to look at it before it counts.
    pub(super) async fn flush(&mut self) -> Result<&Path> {
        self.file.flush().await.map_err(|e| broken(&e))?;
        self.file.sync_data().await.map_err(|e| broken(&e))?;
        Ok(&self.path)
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        self.hash.clone().finish()
    }

    /// Gives the file its final name.
    pub(super) fn keep(mut self, id: &VerificationId, attempt: u32) -> Result<Stored> {
        let name = format!("{id}-{attempt}-{}.capture", self.own);
        fs::rename(&self.path, self.dir.join(&name)).map_err(|e| broken(&e))?;
        // The name has to be on disk before the database speaks of it.
        fs::File::open(&self.dir).and_then(|d| d.sync_all()).map_err(|e| broken(&e))?;
        self.done = true;
        Ok(Stored { name, sha256: self.sha256(), bytes: self.bytes })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

const PART: &str = "part-";

fn broken(e: &io::Error) -> Error {
    if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Error::Unavailable("there is no room for uploads");
    }
    Error::Internal(format!("the capture folder: {e}"))
}
