//! Reading a few files out of a package (`.tgz`, `.tar.gz` or `.whl`) without unpacking it.
//!
//! Nothing in an archive decides where something is written: the wanted members are read into
//! memory by their exact names. An archive with an absolute path, a path out of its folder or a
//! link is refused as a whole all the same, for no honest package of models has one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use flate2::read::GzDecoder;

use crate::infer::manifest::Member;

/// Most entries of an archive.
const MOST_ENTRIES: usize = 100_000;

/// Most bytes that a compressed tar archive may unpack to.
const MOST_UNPACKED: u64 = 2 << 30;

/// Why an archive can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is cut short or damaged.
    #[error("it is cut short or damaged: {0}")]
    Damaged(String),
    /// Its name says that it is something else than a package.
    #[error("it is neither a .tgz, a .tar.gz nor a .whl file")]
    UnknownKind,
    /// An entry's path leaves the archive's folder.
    #[error("its entry {0:?} leads out of the archive's folder")]
    HostilePath(String),
    /// An entry is a link or a device.
    #[error("its entry {0:?} is neither a file nor a folder")]
    NotAFile(String),
    /// It has more entries, or unpacks to more bytes, than a package may.
    #[error("it unpacks to too much")]
    TooLarge,
    /// A wanted file isn't in it.
    #[error("it has no file {0:?}")]
    NoMember(String),
    /// A wanted file is in it twice.
    #[error("it has the file {0:?} twice")]
    Twice(String),
    /// A wanted file has another size than the manifest says.
    #[error("its file {path:?} does not have {expected} bytes")]
    WrongSize {
        /// The file.
        path: String,
        /// Bytes that the manifest says.
        expected: u64,
    },
}

/// The contents of the `wanted` files of a package, in that order. `alive` is called now and then.
pub(super) fn members(
    archive: &Path,
    wanted: &[Member],
    alive: &dyn Fn(),
) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let file = BufReader::new(File::open(archive).map_err(damaged)?);
    let mut found = Found::new(wanted);
    if is_wheel(archive) {
        from_zip(file, &mut found, alive)?;
    } else if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
        from_tar(file, &mut found, alive)?;
    } else {
        return Err(ArchiveError::UnknownKind);
    }
    found.in_order()
}

/// Whether a package file is a wheel (a zip archive).
pub(super) fn is_wheel(file: &Path) -> bool {
    file.extension().is_some_and(|e| e == "whl")
}

fn from_tar(file: impl Read, found: &mut Found<'_>, alive: &dyn Fn()) -> Result<(), ArchiveError> {
    let unpacked = Bounded { inner: GzDecoder::new(file), left: MOST_UNPACKED };
    let mut archive = tar::Archive::new(unpacked);
    for (i, entry) in archive.entries().map_err(damaged)?.enumerate() {
        let mut entry = entry.map_err(damaged)?;
        if i >= MOST_ENTRIES {
            return Err(ArchiveError::TooLarge);
        }
        alive();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        check_path(&path)?;
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let size = entry.size();
            found.offer(&path, size, &mut entry)?;
        } else if !kind.is_dir() && !kind.is_pax_global_extensions() {
            return Err(ArchiveError::NotAFile(path));
        }
    }
    // The rest is padding, and the checksum that shows the whole to be undamaged.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(())
}

fn from_zip(
    file: impl Read + io::Seek,
    found: &mut Found<'_>,
    alive: &dyn Fn(),
) -> Result<(), ArchiveError> {
    let zip_error = |e: zip::result::ZipError| ArchiveError::Damaged(e.to_string());
    let mut archive = zip::ZipArchive::new(file).map_err(zip_error)?;
    if archive.len() > MOST_ENTRIES {
        return Err(ArchiveError::TooLarge);
    }
    for i in 0..archive.len() {
        alive();
        let mut entry = archive.by_index(i).map_err(zip_error)?;
        let path = entry.name().map_err(zip_error)?.into_owned();
        check_path(&path)?;
        if entry.is_symlink() {
            return Err(ArchiveError::NotAFile(path));
        }
        if !entry.is_dir() {
            let size = entry.size();
            found.offer(&path, size, &mut entry)?;
        }
    }
    Ok(())
}

/// The wanted files and what was found of them.
struct Found<'a> {
    wanted: &'a [Member],
    contents: BTreeMap<&'a str, Vec<u8>>,
}

impl<'a> Found<'a> {
    fn new(wanted: &'a [Member]) -> Self {
        Self { wanted, contents: BTreeMap::new() }
    }

    /// Takes an entry's contents where they are wanted. `size` is what the archive claims.
    fn offer(
        &mut self,
        path: &str,
        size: u64,
        contents: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let Some(member) = self.wanted.iter().find(|m| m.path == path) else { return Ok(()) };
        let wrong_size =
            || ArchiveError::WrongSize { path: path.to_owned(), expected: member.bytes };
        if size != member.bytes {
            return Err(wrong_size());
        }
        let mut bytes = Vec::new();
        // The claim is not to be trusted either.
        contents.take(member.bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(damaged)?;
        if bytes.len() as u64 != member.bytes {
            return Err(wrong_size());
        }
        match self.contents.insert(&member.path, bytes) {
            None => Ok(()),
            Some(_) => Err(ArchiveError::Twice(path.to_owned())),
        }
    }

    fn in_order(mut self) -> Result<Vec<Vec<u8>>, ArchiveError> {
        self.wanted
            .iter()
            .map(|m| {
                let contents = self.contents.remove(m.path.as_str());
                contents.ok_or_else(|| ArchiveError::NoMember(m.path.clone()))
            })
            .collect()
    }
}

fn check_path(path: &str) -> Result<(), ArchiveError> {
    let inside =
        Path::new(path).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if inside && !path.contains(['\\', '\0']) {
        Ok(())
    } else {
        Err(ArchiveError::HostilePath(path.to_owned()))
    }
}

/// A reader that fails rather than yield more than so many bytes.
struct Bounded<R> {
    inner: R,
    left: u64,
}

/// Carried by the `io::Error` of a [`Bounded`] reader at its end.
#[derive(Debug, thiserror::Error)]
#[error("too large")]
struct OverTheLimit;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.left =
            self.left.checked_sub(n as u64).ok_or_else(|| io::Error::other(OverTheLimit))?;
        Ok(n)
    }
}

#[allow(clippy::needless_pass_by_value)] // the form that `map_err` wants
fn damaged(e: io::Error) -> ArchiveError {
    if e.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<OverTheLimit>) {
        ArchiveError::TooLarge
    } else {
        ArchiveError::Damaged(e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_stops_at_its_limit() {
        let read = |left| {
            let mut out = Vec::new();
            Bounded { inner: io::repeat(1).take(100), left }
                .read_to_end(&mut out)
                .map(|_| out.len())
        };
        assert_eq!(read(100).unwrap(), 100);
        assert!(matches!(damaged(read(99).unwrap_err()), ArchiveError::TooLarge));
    }

    #[test]
    fn paths_stay_inside() {
        for good in ["a/b.txt", "./a", "a/./b", "..a/b..c"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in ["/etc/passwd", "../a", "a/../../b", "a\\..\\b", "a\0b"] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }
}
