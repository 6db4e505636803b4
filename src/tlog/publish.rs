//! Makes tiles out of entries as they come, in constant memory, and keeps them in a folder.
//!
//! Publishing can be cut off at any point and repeated: a tile's bytes follow from the entries, so
//! what lies there already is either the same or proof of a fork. The checkpoint is replaced last.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::merkle::{Hash, TreeHead, fold};
use super::tile::{self, BadTile, CHECKPOINT, Content, Subtree, Tile, WIDTH};

/// Where tiles are kept. Paths are those of C2SP tlog-tiles, below the log's prefix.
pub trait Tiles: Send + Sync {
    /// The resource at `path`, `None` where there is none.
    fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
    /// Keeps a resource durably, all or nothing. What is there is replaced.
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
    /// Keeps a resource durably unless one is there already, and says whether it did.
    ///
    /// As it stands here it is right where nobody else writes meanwhile.
    fn create(&self, path: &str, bytes: &[u8]) -> io::Result<bool> {
        if self.get(path)?.is_some() {
            return Ok(false);
        }
        self.put(path, bytes).map(|()| true)
    }
    /// Replaces a resource if it is still `old` (`None`: there is none), and says whether it did.
    ///
    /// As it stands here it is right where nobody else writes meanwhile.
    fn replace(&self, path: &str, old: Option<&[u8]>, new: &[u8]) -> io::Result<bool> {
        if self.get(path)?.as_deref() != old {
            return Ok(false);
        }
        self.put(path, new).map(|()| true)
    }
    /// Drops partial tiles that a full one replaces. It is no error where there are none.
    fn drop_partials(&self, full: &Tile) -> io::Result<()>;
}

/// Why tiles were not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed: the same may work later.
    #[error("the tiles can't be read or written: {0}")]
    Io(#[from] io::Error),
    /// What is published differs from what the entries say. No repetition helps.
    #[error("{path} is published with other bytes: the log was forked or the tiles were altered")]
    Conflict {
        /// The tile.
        path: String,
    },
    /// A tile that has to be there is not.
    #[error("{path} is missing from the published tiles")]
    Missing {
        /// The tile.
        path: String,
    },
    /// A tile's length is wrong.
    #[error("{path} is damaged: {cause}")]
    Damaged {
        /// The tile.
        path: String,
        /// How.
        cause: BadTile,
    },
    /// Somebody else replaced the checkpoint since it was read: it goes on from theirs.
    #[error("another process published meanwhile")]
    Overtaken,
    /// The entries don't lead to the root that is to be published.
    #[error("the entries do not lead to the root of the checkpoint of size {size}")]
    WrongRoot {
        /// The checkpoint's size.
        size: u64,
    },
}

impl Error {
    /// Whether trying again makes no sense.
    pub fn is_fatal(&self) -> bool {
        use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
        match self {
            Self::Io(e) => matches!(
                e.kind(),
                InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported
            ),
            Self::Overtaken => false,
            _ => true,
        }
    }
}

/// Tiles in the making: the right edge of the tree.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    size: u64,
    /// The hashes of each level's tile that is not full yet.
    levels: Vec<Vec<Hash>>,
    /// The entries of level 0's.
    bundle: Vec<u8>,
}

impl Builder {
    /// The edge of a published tree of `size` entries, read back from its tiles.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Io`].
    pub fn resume(tiles: &dyn Tiles, size: u64) -> Result<Self, Error> {
        let mut builder = Self { size, ..Self::default() };
        let mut level = 0;
        while level < 8 && size >> (8 * level) > 0 {
            let whole = size >> (8 * level);
            let edge = Tile::within(Content::Hashes(level), whole / WIDTH, size);
            let hashes = match edge.filter(|t| !t.is_full()) {
                Some(tile) => read_hashes(tiles, &tile)?,
                None => Vec::new(),
            };
            builder.levels.push(hashes);
            level += 1;
        }
        if let Some(tile) = Tile::within(Content::Entries, size / WIDTH, size) {
            builder.bundle = read_bundle(tiles, &tile)?;
        }
        Ok(builder)
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        // The hashes of a level are perfect subtrees to the left of those below.
        let mut peaks = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = &hashes[..];
            while !rest.is_empty() {
                let span = 1 << rest.len().ilog2();
                let (perfect, after) = rest.split_at(span);
                let root = Subtree::new(perfect.to_vec()).node(span.ilog2() as u8, 0);
                peaks.extend(root);
                rest = after;
            }
        }
        let empty = super::Frontier::new().root();
        TreeHead { size: self.size, root: fold(&peaks).unwrap_or(empty) }
    }

    /// Takes the next entry, and gives `sink` each tile that it fills.
    ///
    /// # Errors
    /// The sink's.
    pub fn push<E>(
        &mut self,
        entry: &[u8],
        leaf: Hash,
        sink: &mut impl FnMut(Tile, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        tile::push_entry(&mut self.bundle, entry);
        let index = self.size / WIDTH;
        self.size += 1;
        let full = |content, index| Tile { content, index, width: WIDTH as u16 };
        if self.size.is_multiple_of(WIDTH) {
            sink(full(Content::Entries, index), std::mem::take(&mut self.bundle))?;
        }
        let (mut hash, mut level, mut at) = (leaf, 0, index);
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            if hashes.len() < WIDTH as usize {
                return Ok(());
            }
            let hashes = std::mem::take(hashes);
            sink(full(Content::Hashes(level as u8), at), tile::encode_hashes(&hashes))?;
            let Some(root) = Subtree::new(hashes).node(8, 0) else { return Ok(()) };
            (hash, level, at) = (root, level + 1, at / WIDTH);
        }
    }

    /// Gives `sink` the partial tiles of the tree as it is now.
    ///
    /// # Errors
    /// The sink's.
    pub fn partials<E>(
        &self,
        sink: &mut impl FnMut(Tile, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.bundle.is_empty() {
            let width = (self.size % WIDTH) as u16;
            let tile = Tile { content: Content::Entries, index: self.size / WIDTH, width };
            sink(tile, self.bundle.clone())?;
        }
        for (level, hashes) in self.levels.iter().enumerate().filter(|(_, h)| !h.is_empty()) {
            let index = (self.size >> (8 * level)) / WIDTH;
            let content = Content::Hashes(level as u8);
            let tile = Tile { content, index, width: hashes.len() as u16 };
            sink(tile, tile::encode_hashes(hashes))?;
        }
        Ok(())
    }
}

/// Keeps a tile, unless the same is there.
///
/// # Errors
/// [`Error::Conflict`] where another is there; [`Error::Io`].
pub fn put_tile(tiles: &dyn Tiles, tile: &Tile, bytes: &[u8]) -> Result<(), Error> {
    let path = tile.path();
    if tiles.create(&path, bytes)? {
        return if tile.is_full() { Ok(tiles.drop_partials(tile)?) } else { Ok(()) };
    }
    match tiles.get(&path)? {
        Some(there) if there == bytes => Ok(()),
        Some(_) => Err(Error::Conflict { path }),
        None => Err(io::Error::other(format!("{path} went away while it was looked at")).into()),
    }
}

/// A tile that has to be there.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`].
pub fn require(tiles: &dyn Tiles, tile: &Tile) -> Result<Vec<u8>, Error> {
    let path = tile.path();
    if let Some(bytes) = tiles.get(&path)? {
        return Ok(bytes);
    }
    Err(Error::Missing { path })
}

/// The hashes of a tile that has to be there. Where a partial one was dropped, they are the first
/// of the full one's (tlog-tiles, "Partial Tiles").
///
/// # Errors
/// [`Error::Missing`], [`Error::Damaged`], [`Error::Io`].
pub fn read_hashes(tiles: &dyn Tiles, tile: &Tile) -> Result<Vec<Hash>, Error> {
    let damaged = |tile: &Tile, cause| Error::Damaged { path: tile.path(), cause };
    match require(tiles, tile) {
        Ok(bytes) => tile::decode_hashes(&bytes, tile.width).map_err(|c| damaged(tile, c)),
        Err(Error::Missing { path }) if !tile.is_full() => {
            let full = Tile { width: WIDTH as u16, ..*tile };
            let bytes = tiles.get(&full.path())?.ok_or(Error::Missing { path })?;
            let mut hashes =
                tile::decode_hashes(&bytes, full.width).map_err(|c| damaged(&full, c))?;
            hashes.truncate(usize::from(tile.width));
            Ok(hashes)
        }
        Err(e) => Err(e),
    }
}

/// The bytes of an entry bundle that has to be there, cut off a full one where it was dropped.
///
/// # Errors
/// [`Error::Missing`], [`Error::Damaged`], [`Error::Io`].
pub fn read_bundle(tiles: &dyn Tiles, tile: &Tile) -> Result<Vec<u8>, Error> {
    let damaged = |tile: &Tile, cause| Error::Damaged { path: tile.path(), cause };
    match require(tiles, tile) {
        Ok(bytes) => {
            tile::decode_bundle(&bytes, tile.width).map_err(|c| damaged(tile, c))?;
            Ok(bytes)
        }
        Err(Error::Missing { path }) if !tile.is_full() => {
            let full = Tile { width: WIDTH as u16, ..*tile };
            let mut bytes = tiles.get(&full.path())?.ok_or(Error::Missing { path })?;
            let entries = tile::decode_bundle(&bytes, full.width).map_err(|c| damaged(&full, c))?;
            let kept = entries.iter().take(usize::from(tile.width)).map(|e| e.len() + 2).sum();
            bytes.truncate(kept);
            Ok(bytes)
        }
        Err(e) => Err(e),
    }
}

/// Tiles as files below a folder, which any web server can serve as it is.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The tiles below `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Waits until no other process publishes here, and keeps it so until the file is dropped.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.0)?;
        let file =
            File::options().create(true).truncate(false).write(true).open(self.0.join(".lock"))?;
        file.lock()?;
        Ok(file)
    }
}

impl Tiles for Folder {
    fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Written beside, flushed, and renamed; the folder is flushed too, so that the name lasts.
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let to = self.0.join(path);
        let folder = to.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        make_readable(file.as_file())?;
        file.as_file().sync_data()?;
        file.persist(&to).map_err(|e| e.error)?;
        File::open(folder)?.sync_all()
    }

    fn drop_partials(&self, full: &Tile) -> io::Result<()> {
        match fs::remove_dir_all(self.0.join(format!("{}.p", full.path()))) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// Tiles are public, whichever server hands them out.
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// Replaces the published checkpoint, which was `old` when it was read.
///
/// # Errors
/// [`Error::Overtaken`], [`Error::Io`].
pub fn put_checkpoint(tiles: &dyn Tiles, old: Option<&[u8]>, note: &[u8]) -> Result<(), Error> {
    if tiles.replace(CHECKPOINT, old, note)? { Ok(()) } else { Err(Error::Overtaken) }
}

#[cfg(test)]
mod tests {
    use super::super::merkle::leaf_hash;
    use super::super::merkle::tests::naive_root;
    use super::*;

    fn entry(i: u64) -> Vec<u8> {
        format!("entry {i}").into_bytes()
    }

    fn publish(tiles: &Folder, builder: &mut Builder, to: u64) -> Result<(), Error> {
        let mut sink = |tile: Tile, bytes: Vec<u8>| put_tile(tiles, &tile, &bytes);
        while builder.size() < to {
            let e = entry(builder.size());
            builder.push(&e, leaf_hash(&e), &mut sink)?;
        }
        builder.partials(&mut sink)
    }

    #[test]
    fn tiles_grow_across_restarts_and_their_roots_are_right() {
        let dir = tempfile::tempdir().unwrap();
        let tiles = Folder::new(dir.path().join("log"));
        let leaves: Vec<Hash> = (0..66_000).map(|i| leaf_hash(&entry(i))).collect();
        let mut builder = Builder::default();
        assert_eq!(builder.head(), super::super::Frontier::new().head());
        for size in [1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 66_000] {
            publish(&tiles, &mut builder, size).unwrap();
            let root = naive_root(&leaves[..size as usize]);
            assert_eq!(builder.head(), TreeHead { size, root });
            // A process that starts now goes on from the tiles.
            builder = Builder::resume(&tiles, size).unwrap();
            assert_eq!(builder.head(), TreeHead { size, root }, "resumed at {size}");
            // Publishing again changes nothing.
            publish(&tiles, &mut builder, size).unwrap();
        }
        // Partial tiles are gone where full ones stand.
        assert!(tiles.get("tile/0/000.p/255").unwrap().is_none());
        assert!(tiles.get("tile/0/257.p/208").unwrap().is_some());
        let early = Tile { content: Content::Hashes(0), index: 0, width: 255 };
        assert_eq!(read_hashes(&tiles, &early).unwrap(), leaves[..255]);
    }

    #[test]
    fn a_fork_and_a_gap_are_fatal_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let tiles = Folder::new(dir.path());
        let mut builder = Builder::default();
        publish(&tiles, &mut builder, 300).unwrap();
        let mut other = Builder::default();
        let mut sink = |tile: Tile, bytes: Vec<u8>| put_tile(&tiles, &tile, &bytes);
        let forked = (0..256).try_for_each(|_| other.push(b"x", leaf_hash(b"x"), &mut sink));
        let e = forked.unwrap_err();
        assert!(
            e.is_fatal() && matches!(&e, Error::Conflict { path } if path == "tile/entries/000")
        );
        fs::remove_file(dir.path().join("tile/0/001.p/44")).unwrap();
        let e = Builder::resume(&tiles, 300).unwrap_err();
        assert!(matches!(&e, Error::Missing { path } if path == "tile/0/001.p/44"), "{e}");
        fs::write(dir.path().join("tile/0/001.p/44"), b"short").unwrap();
        assert!(matches!(Builder::resume(&tiles, 300), Err(Error::Damaged { .. })));
    }
}
