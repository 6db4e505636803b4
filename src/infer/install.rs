//! Getting models onto a machine: fetch, check, convert, put in place.
//!
//! What is fetched is checked against the manifest's size and SHA-256 *before* it is opened, and
//! what is converted is checked before it is put in place. A model's file appears under its name
//! only when it is whole: it is written beside it, flushed to disk and renamed. One installer at a
//! time works on a folder; another waits.

mod archive;
mod clients;
mod download;
mod state;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub use archive::ArchiveError;
pub use clients::{ClientError, Clients};
pub use download::DownloadError;
pub use state::{State, state};

use super::convert::{ConvertError, convert};
use super::manifest::{Converter, Manifest, Member, Model, Package, Sha256Hex, Source};
use crate::crypto::hash;

/// Beginning of the names of files and folders that an installer works with.
const WORK_PREFIX: &str = ".install-";

/// Puts models into a folder.
#[derive(Debug)]
pub struct Installer<'a> {
    manifest: &'a Manifest,
    places: Places,
    clients: Clients,
    progress: &'a dyn Progress,
    /// Fetched and checked package files, by key; removed with the installer.
    packages: RefCell<BTreeMap<String, PathBuf>>,
    work: TempDir,
    /// Held as long as this installer lives.
    _lock: File,
}

/// Where an installer reads and writes.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder that gets the models.
    pub dir: PathBuf,
    /// The folder of the committed models (`onnx/`).
    pub builtin: PathBuf,
    /// A folder with package files, sources or ready models, looked into before anything is
    /// fetched.
    pub from: Option<PathBuf>,
}

/// Who is told how far an installation is.
pub trait Progress: std::fmt::Debug {
    /// A step begins; `bytes` is its length where that is known.
    fn begin(&self, step: &str, bytes: Option<u64>);
    /// The current step has come so many bytes further (0: it is still alive).
    fn advance(&self, bytes: u64);
    /// The current step is over.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

/// What an installation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The right file was there already.
    AlreadyThere,
    /// The file was put in place.
    Installed,
}

/// Why a model could not be installed. Whatever the reason, its file is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Reading or writing on this machine failed.
    #[error("can't {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The source is a file that has to be handed over, and it wasn't.
    #[error(
        "the file {name} can't be fetched from anywhere: put it into a folder and name that with --from"
    )]
    NotHandedOver {
        /// The file's name.
        name: String,
    },
    /// A file of this repository is missing.
    #[error("{path} is missing: name the repository's onnx folder with --builtin")]
    NoBuiltin {
        /// Where it should be.
        path: PathBuf,
    },
    /// A package client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A download failed.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// A file does not have the size that the manifest says.
    #[error("{what} has {found} bytes instead of {expected}: it is cut short or another file")]
    WrongSize {
        /// Which file.
        what: String,
        /// Bytes found.
        found: u64,
        /// Bytes that the manifest says.
        expected: u64,
    },
    /// A file does not have the hash that the manifest says.
    #[error(
        "{what} has the SHA-256 {found} instead of {expected}: it was altered or is another file"
    )]
    WrongHash {
        /// Which file.
        what: String,
        /// The digest found.
        found: Sha256Hex,
        /// The digest that the manifest says.
        expected: Sha256Hex,
    },
    /// A package file can't be unpacked.
    #[error("can't unpack {file}: {source}")]
    Archive {
        /// The package file.
        file: String,
        /// The cause.
        source: ArchiveError,
    },
    /// A source can't be converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

impl<'a> Installer<'a> {
    /// Prepares the folder and waits until no other installer works on it.
    pub fn new(
        manifest: &'a Manifest,
        places: Places,
        clients: Clients,
        progress: &'a dyn Progress,
    ) -> Result<Self, InstallError> {
        fs::create_dir_all(&places.dir).map_err(io_error("make the folder", &places.dir))?;
        let lock = File::create(places.dir.join(".lock"))
            .and_then(|f| f.lock().map(|()| f))
            .map_err(io_error("lock", &places.dir))?;
        remove_leftovers(&places.dir)?;
        let work = tempfile::Builder::new()
            .prefix(WORK_PREFIX)
            .tempdir_in(&places.dir)
            .map_err(io_error("make a folder in", &places.dir))?;
        let packages = RefCell::default();
        Ok(Self { manifest, places, clients, progress, packages, work, _lock: lock })
    }

    /// Sees to it that `model`'s file is in the folder.
    pub fn install(&self, model: &Model) -> Result<Outcome, InstallError> {
        self.progress.begin(&format!("{}: check", model.id), None);
        let found = state(model, &self.places.dir);
        self.progress.end();
        if found == State::Installed {
            return Ok(Outcome::AlreadyThere);
        }
        let ready = self.handed_over(&model.file, model.bytes, model.sha256)?;
        let contents = match ready {
            Some(contents) => contents,
            None => self.converted(model)?,
        };
        check(&contents, &format!("the finished file {}", model.file), model.bytes, model.sha256)?;
        self.put_in_place(&model.file, &contents)?;
        Ok(Outcome::Installed)
    }

    /// The model's file, made from its sources.
    fn converted(&self, model: &Model) -> Result<Vec<u8>, InstallError> {
        let sources = self.sources(model)?;
        if model.converter != Converter::None {
            self.progress.begin(&format!("{}: convert", model.id), None);
        }
        let converted = convert(model, sources);
        self.progress.end();
        Ok(converted?)
    }

    /// The contents of the model's source files, checked.
    fn sources(&self, model: &Model) -> Result<Vec<Vec<u8>>, InstallError> {
        match &model.source {
            Source::Package { package, members } => self.members(package, members),
            Source::Url { url, sha256, bytes } => {
                let name = url.rsplit('/').next().unwrap_or(url);
                if let Some(file) = self.handed_over(name, *bytes, *sha256)? {
                    return Ok(vec![file]);
                }
                self.progress.begin(&format!("{}: download", model.id), Some(*bytes));
                let contents = download::get(url, *bytes, &|n| self.progress.advance(n));
                self.progress.end();
                let contents = contents?;
                check(&contents, url, *bytes, *sha256)?;
                Ok(vec![contents])
            }
            Source::Builtin { path, sha256, bytes } => {
                let path = self.places.builtin.join(path);
                if !path.exists() {
                    return Err(InstallError::NoBuiltin { path });
                }
                Ok(vec![read_checked(&path, *bytes, *sha256)?])
            }
            Source::File { name, sha256, bytes } => self
                .handed_over(name, *bytes, *sha256)?
                .map(|file| vec![file])
                .ok_or_else(|| InstallError::NotHandedOver { name: name.clone() }),
        }
    }

    /// A file of this name from the `--from` folder, checked; `None` where there is none.
    fn handed_over(
        &self,
        name: &str,
        bytes: u64,
        sha256: Sha256Hex,
    ) -> Result<Option<Vec<u8>>, InstallError> {
        let Some(path) = self.places.from.as_ref().map(|from| from.join(name)) else {
            return Ok(None);
        };
        if path.exists() { read_checked(&path, bytes, sha256).map(Some) } else { Ok(None) }
    }

    fn members(&self, key: &str, members: &[Member]) -> Result<Vec<Vec<u8>>, InstallError> {
        let path = self.package(key)?;
        self.progress.begin(&format!("{key}: unpack"), None);
        let unpacked = archive::members(&path, members, &|| self.progress.advance(0));
        self.progress.end();
        unpacked.map_err(|source| InstallError::Archive {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            source,
        })
    }

    /// The path of a package file, fetched at most once and checked.
    fn package(&self, key: &str) -> Result<PathBuf, InstallError> {
        if let Some(path) = self.packages.borrow().get(key) {
            return Ok(path.clone());
        }
        // The manifest was checked: a source names a package that is there.
        let Some(package) = self.manifest.package(key) else {
            return Err(InstallError::NotHandedOver { name: key.to_owned() });
        };
        let handed_over = self.places.from.as_ref().map(|from| from.join(&package.file));
        let path = match handed_over.filter(|p| p.exists()) {
            Some(path) => path,
            None => self.fetched(key, package)?,
        };
        check_file(&path, package.bytes, package.sha256)?;
        self.packages.borrow_mut().insert(key.to_owned(), path.clone());
        Ok(path)
    }

    fn fetched(&self, key: &str, package: &Package) -> Result<PathBuf, InstallError> {
        let step = format!("{key}: fetch {} {}", package.name, package.version);
        self.progress.begin(&step, None);
        let fetched = self.clients.fetch(package, self.work.path(), &|| self.progress.advance(0));
        self.progress.end();
        Ok(fetched?)
    }

    fn put_in_place(&self, name: &str, contents: &[u8]) -> Result<(), InstallError> {
        let target = self.places.dir.join(name);
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new()
                .prefix(WORK_PREFIX)
                .permissions(readable())
                .tempfile_in(&self.places.dir)?;
            file.write_all(contents)?;
            file.as_file().sync_all()?;
            file.persist(&target).map_err(|e| e.error)?;
            File::open(&self.places.dir)?.sync_all()
        };
        write().map_err(io_error("write", &target))
    }
}

/// Read by everyone, written by the owner.
fn readable() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o644)
}

/// Removes what an installer that was killed left behind.
fn remove_leftovers(dir: &Path) -> Result<(), InstallError> {
    for entry in fs::read_dir(dir).map_err(io_error("read the folder", dir))? {
        let entry = entry.map_err(io_error("read the folder", dir))?;
        if entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
            let path = entry.path();
            let removed = match entry.file_type() {
                Ok(t) if t.is_dir() => fs::remove_dir_all(&path),
                _ => fs::remove_file(&path),
            };
            removed.map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

/// Reads a file that must have this size and digest.
fn read_checked(path: &Path, bytes: u64, sha256: Sha256Hex) -> Result<Vec<u8>, InstallError> {
    check_size(path, bytes)?;
    let mut contents = Vec::new();
    File::open(path)
        .and_then(|f| f.take(bytes.saturating_add(1)).read_to_end(&mut contents))
        .map_err(io_error("read", path))?;
    check(&contents, &path.display().to_string(), bytes, sha256)?;
    Ok(contents)
}

/// Checks size and digest of a file without holding it in memory.
fn check_file(path: &Path, bytes: u64, sha256: Sha256Hex) -> Result<(), InstallError> {
    check_size(path, bytes)?;
    let found = state::digest(path).map_err(io_error("read", path))?;
    expect_hash(&path.display().to_string(), found, sha256)
}

fn check_size(path: &Path, expected: u64) -> Result<(), InstallError> {
    let found = fs::metadata(path).map_err(io_error("read", path))?.len();
    expect_size(&path.display().to_string(), found, expected)
}

fn check(contents: &[u8], what: &str, bytes: u64, sha256: Sha256Hex) -> Result<(), InstallError> {
    expect_size(what, contents.len() as u64, bytes)?;
    expect_hash(what, Sha256Hex(hash::sha256(contents)), sha256)
}

fn expect_size(what: &str, found: u64, expected: u64) -> Result<(), InstallError> {
    if found == expected {
        Ok(())
    } else {
        Err(InstallError::WrongSize { what: what.to_owned(), found, expected })
    }
}

fn expect_hash(what: &str, found: Sha256Hex, expected: Sha256Hex) -> Result<(), InstallError> {
    if found == expected {
        Ok(())
    } else {
        Err(InstallError::WrongHash { what: what.to_owned(), found, expected })
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Io { doing, path, source }
}

#[cfg(test)]
mod tests;
