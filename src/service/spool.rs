//! Uploads on disk, from the first byte until they are judged.
//!
//! A file is written as `part-<random>`, and gets its final name when it is whole. One that may come in
//! pieces is `part-<verification>-<attempt>`: it stays when the connection is lost, and goes with
//! the attempt. What the database does not know at start-up is an orphan of an unclean end and is
//! deleted.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::{Error, Result};
use crate::crypto::hash::Sha256;
use crate::domain::ids::VerificationId;
use crate::env::{Entropy, Millis, random};

/// The folder of uploads, for its owner alone.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    /// Who is writing a part in this process: a newer request ends the older, which may hang on a
    /// connection that is long gone.
    writing: Mutex<HashMap<String, CancellationToken>>,
}

/// A whole upload.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) sha256: [u8; 32],
    pub(super) bytes: u64,
}

/// An upload on its way in. Dropping it deletes the file, unless it may go on later.
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
    /// Whether the file stays when this is dropped.
    stays: bool,
    /// Whether bytes came in an earlier request, which the hash has not seen.
    resumed: bool,
    /// Cancelled when a newer request takes over.
    superseded: CancellationToken,
}

impl Spool {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| {
            Error::Internal(format!("can't make the capture folder {}: {e}", dir.display()))
        })?;
        Ok(Self { dir: dir.to_owned(), writing: Mutex::default() })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Begins a whole upload of this name. Who still sends another one of that name to this process
    /// is sent away.
    pub(super) fn receive(&self, name: &str, max: u64, entropy: &dyn Entropy) -> Result<Incoming> {
        let superseded = self.supersede(name);
        let own = hex::encode(random::<12>(entropy));
        let path = self.dir.join(format!("{PART}{own}"));
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = tokio::fs::File::from_std(file.map_err(|e| broken(&e))?);
        Ok(Incoming {
            dir: self.dir.clone(),
            own,
            path,
            file,
            hash: Sha256::new(),
            bytes: 0,
            max,
            stays: false,
            resumed: false,
            superseded,
        })
    }

    /// Goes on with the part of this name, or begins it. Whoever else writes to it in this process is
    /// sent away first; where another process holds it, [`Error::Busy`].
    pub(super) async fn resume(
        &self,
        name: &str,
        max: u64,
        entropy: &dyn Entropy,
    ) -> Result<Incoming> {
        let superseded = self.supersede(name);
        // Where this comes to nothing, nobody writes under this token.
        let forgotten = superseded.clone().drop_guard();
        let path = self.dir.join(name);
        let file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| broken(&e))?;
        let mut tries = 0;
        while let Err(e) = file.try_lock() {
            if let fs::TryLockError::Error(e) = e {
                return Err(broken(&e));
            }
            tries += 1;
            if tries > LOCK_TRIES || superseded.is_cancelled() {
                return Err(Error::Busy);
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        // The one before may have ended the part, and this be an open file without a name.
        if !same_file(&file, &path) {
            return Err(Error::Busy);
        }
        let bytes = file.metadata().map_err(|e| broken(&e))?.len();
        forgotten.disarm();
        Ok(Incoming {
            dir: self.dir.clone(),
            own: hex::encode(random::<12>(entropy)),
            path,
            file: tokio::fs::File::from_std(file),
            hash: Sha256::new(),
            bytes,
            max,
            stays: true,
            resumed: bytes > 0,
            superseded,
        })
    }

    /// Ends what another request of this process writes under this name; the answer is cancelled
    /// when yet another comes.
    fn supersede(&self, name: &str) -> CancellationToken {
        let token = CancellationToken::new();
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        writing.retain(|_, token| !token.is_cancelled());
        if let Some(older) = writing.insert(name.to_owned(), token.clone()) {
            older.cancel();
        }
        token
    }

    /// How many bytes of a part are there.
    pub(super) async fn received(&self, name: &str, entropy: &dyn Entropy) -> Result<u64> {
        if !self.dir.join(name).exists() {
            return Ok(0);
        }
        // What an older request still writes would not be counted.
        Ok(self.resume(name, u64::MAX, entropy).await?.bytes)
    }

    /// Deletes the parts that nobody has written to since `before`.
    pub(super) fn sweep_parts(&self, before: Millis) -> io::Result<usize> {
        let mut swept = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|n| n.starts_with(PART)) else { continue };
            if written(&entry).is_some_and(|at| at < before) {
                self.delete(name);
                swept += 1;
            }
        }
        Ok(swept)
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
            let Some(written) = written(&entry) else { continue };
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

/// The name of what came so far for an attempt.
pub(super) fn part(id: &VerificationId, attempt: u32) -> String {
    format!("{PART}{id}-{attempt}")
}

fn written(entry: &fs::DirEntry) -> Option<Millis> {
    let at = entry.metadata().and_then(|m| m.modified()).ok()?;
    let at = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Some(Millis(i64::try_from(at.as_millis()).unwrap_or(i64::MAX)))
}

fn same_file(file: &fs::File, path: &Path) -> bool {
    let of = |m: io::Result<fs::Metadata>| m.ok().map(|m| (m.dev(), m.ino()));
    of(file.metadata()).is_some_and(|here| of(fs::metadata(path)) == Some(here))
}

impl Incoming {
    /// How many bytes are there.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a newer request has taken over.
    pub(super) fn superseded(&self) -> CancellationToken {
        self.superseded.clone()
    }

    /// Throws away what came in earlier requests.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).await.map_err(|e| broken(&e))?;
        (self.bytes, self.resumed) = (0, false);
        Ok(())
    }

    /// The file will not be gone on with.
    pub(super) fn give_up(&mut self) {
        self.stays = false;
    }

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
        if !self.path.exists() {
            // The attempt ended while this came, and its part went with it.
            return Err(Error::ChallengeExpired);
        }
        if self.resumed {
            self.hash = hash_of(self.path.clone()).await?;
            self.resumed = false;
        }
        Ok(&self.path)
    }

    /// What came so far is in the file; more may come in another request.
    pub(super) async fn pause(&mut self) -> Result<u64> {
        self.file.flush().await.map_err(|e| broken(&e))?;
        Ok(self.bytes)
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
        self.stays = true;
        Ok(Stored { name, sha256: self.sha256(), bytes: self.bytes })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Not in the way of others any more: the next look at who writes forgets this one.
        self.superseded.cancel();
        if !self.stays {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The hash of a file that came in pieces.
async fn hash_of(path: PathBuf) -> Result<Sha256> {
    let hashing = tokio::task::spawn_blocking(move || {
        let mut file = fs::File::open(path)?;
        let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hash),
                n => hash.update(&piece[..n]),
            }
        }
    });
    hashing
        .await
        .map_err(|e| Error::Internal(format!("hashing broke off: {e}")))?
        .map_err(|e| broken(&e))
}

const PART: &str = "part-";
/// How often, and with what pauses, a part is tried that an older request still holds.
const LOCK_TRIES: u32 = 150;
/// See [`LOCK_TRIES`].
const LOCK_PAUSE: Duration = Duration::from_millis(20);

fn broken(e: &io::Error) -> Error {
    if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Error::Unavailable("there is no room for uploads");
    }
    Error::Internal(format!("the capture folder: {e}"))
}
