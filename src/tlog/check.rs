//! Checks a log from what it publishes alone: checkpoint, tiles and entry bundles, with nothing but
//! the log's key, and perhaps a checkpoint that was kept from before.

use super::checkpoint::{self, Checkpoint, LogKey};
use super::entry::Entry;
use super::merkle::{Hash, leaf_hash};
use super::prover::{Prover, ProverError};
use super::publish::{self, Builder, Tiles, read_bundle, read_hashes};
use super::replay::{Fault, Read, Replay, Report};
use super::tile::{self, CHECKPOINT, Content, Tile, WIDTH};

/// How a published log breaks.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// There is no checkpoint.
    #[error("the log publishes no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is not signed by the key it should be.
    #[error("the published checkpoint: {0}")]
    Checkpoint(#[from] checkpoint::Error),
    /// The past is another than it was.
    #[error(
        "the log of {size} entries is another than the one of the checkpoint that was kept: its \
         past was rewritten, or somebody was shown another log"
    )]
    Rewritten {
        /// The kept checkpoint's size.
        size: u64,
    },
    /// An entry.
    #[error(transparent)]
    Entry(#[from] Fault),
    /// A tile does not hold what those below it say.
    #[error("{path} does not hold the hashes of what lies below it (entries from {first} on)")]
    Tile {
        /// The tile.
        path: String,
        /// The first entry below it.
        first: u64,
    },
    /// Tiles are missing, or can't be read.
    #[error(transparent)]
    Tiles(#[from] publish::Error),
}

/// The published checkpoint, where one of `keys` signed it.
///
/// # Errors
/// [`Broken::NoCheckpoint`], [`Broken::Checkpoint`], [`Broken::Tiles`].
pub fn published(tiles: &dyn Tiles, keys: &[LogKey]) -> Result<(Checkpoint, Vec<u8>), Broken> {
    let note = tiles.get(CHECKPOINT).map_err(publish::Error::from)?.ok_or(Broken::NoCheckpoint)?;
    Ok((checkpoint::open(&note, keys)?, note))
}

/// Checks every entry and every tile of what is published. With `since`, a checkpoint that was
/// verified before, entries before it are taken as known, and that the log continues it is proven.
/// `each` gets every entry, and the tree's size.
///
/// # Errors
/// See [`Broken`].
pub fn check<T: Tiles + Clone + 'static>(
    tiles: &T,
    keys: &[LogKey],
    since: Option<&Checkpoint>,
    mut each: impl FnMut(u64, &Entry, u64),
) -> Result<Report, Broken> {
    let (shown, _) = published(tiles, keys)?;
    let head = shown.head;
    let mut heads = vec![head];
    let mut replay = match since.map(|c| c.head) {
        Some(old) if old.size > head.size => {
            return Err(Fault::CutOff { entries: head.size, checkpoint: old.size }.into());
        }
        Some(old) => {
            let rewritten = |e| match e {
                ProverError::OutOfRange(_) => Broken::Rewritten { size: old.size },
                ProverError::Tiles(e) => e.into(),
            };
            let prover = Prover::new(Box::new(tiles.clone()), head)?;
            let frontier = prover.frontier_at(old.size).map_err(rewritten)?;
            if frontier.root() != old.root {
                return Err(Broken::Rewritten { size: old.size });
            }
            heads.push(old);
            Replay::resume(frontier, heads)?
        }
        None => Replay::new(heads)?,
    };
    // Hashes above the entries are compared on the way, where the way starts at the first.
    let mut builder = since.is_none().then(Builder::default);
    let start = replay.frontier().size();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut next = start / WIDTH;
    let end = head.size.div_ceil(WIDTH);
    while next < end {
        // Reading, hashing and decoding a few tiles takes all processors; the order takes one.
        let some = next..end.min(next + TILES_EACH * threads);
        next = some.end;
        for loaded in load_all(tiles, some, head.size) {
            let loaded = loaded?;
            for (at, read, stored, bytes) in loaded.entries {
                if at < start {
                    continue;
                }
                let decoded = replay.push_read(at, stored, read)?;
                if let Some(builder) = &mut builder {
                    let entry = loaded.bundle.get(bytes).unwrap_or_default();
                    builder.push(entry, stored, &mut |tile, b| compare(tiles, tile, &b))?;
                }
                each(at, &decoded, head.size);
            }
        }
    }
    if let Some(builder) = &builder {
        builder.partials(&mut |tile, bytes| compare(tiles, tile, &bytes))?;
    }
    Ok(replay.finish()?)
}

/// One published entry, with the proof that it is in the published tree.
///
/// # Errors
/// See [`Broken`]; an index beyond the end is [`Fault::CutOff`].
pub fn entry<T: Tiles + Clone + 'static>(
    tiles: &T,
    keys: &[LogKey],
    index: u64,
) -> Result<(Vec<u8>, Checkpoint), Broken> {
    let (shown, _) = published(tiles, keys)?;
    let beyond = Fault::CutOff { entries: shown.head.size, checkpoint: index.saturating_add(1) };
    if index >= shown.head.size {
        return Err(beyond.into());
    }
    let tile = Tile::within(Content::Entries, index / WIDTH, shown.head.size).ok_or(beyond)?;
    let bundle = read_bundle(tiles, &tile)?;
    let entries = tile::decode_bundle(&bundle, tile.width)
        .map_err(|cause| publish::Error::Damaged { path: tile.path(), cause })?;
    let bytes = entries.get((index % WIDTH) as usize).map(|e| e.to_vec()).unwrap_or_default();
    let prover = Prover::new(Box::new(tiles.clone()), shown.head)?;
    let leaf: Hash = match prover.leaf(index) {
        Ok(leaf) => leaf,
        Err(ProverError::Tiles(e)) => return Err(e.into()),
        Err(ProverError::OutOfRange(_)) => return Err(Fault::Altered { index }.into()),
    };
    // The prover has computed the published root from this leaf's tile.
    let proof = prover.inclusion(index).map_err(|_| Fault::Altered { index })?;
    let holds = super::proof::verify_inclusion(&leaf, index, &shown.head, &proof).is_ok();
    if leaf == leaf_hash(&bytes) && holds {
        Ok((bytes, shown))
    } else {
        Err(Fault::Altered { index }.into())
    }
}

/// Tiles that a thread loads at once.
const TILES_EACH: u64 = 16;

/// The entries of one tile: index, what was read, the hash in the tile, and where the bytes lie.
struct Loaded {
    bundle: Vec<u8>,
    entries: Vec<(u64, Read, Hash, std::ops::Range<usize>)>,
}

/// Loads tiles on all processors, and returns them in order.
fn load_all<T: Tiles>(
    tiles: &T,
    indices: std::ops::Range<u64>,
    size: u64,
) -> Vec<Result<Loaded, Broken>> {
    let parts: Vec<Vec<u64>> =
        indices.collect::<Vec<_>>().chunks(TILES_EACH as usize).map(<[u64]>::to_vec).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| {
                scope.spawn(move || -> Vec<_> {
                    part.into_iter().map(|index| load(tiles, index, size)).collect()
                })
            })
            .collect();
        let broke_off =
            || Err(publish::Error::Io(std::io::Error::other("a thread broke off")).into());
        threads.into_iter().flat_map(|t| t.join().unwrap_or_else(|_| vec![broke_off()])).collect()
    })
}

fn load<T: Tiles>(tiles: &T, index: u64, size: u64) -> Result<Loaded, Broken> {
    let missing = || publish::Error::Missing { path: format!("tile {index}") };
    let entries = Tile::within(Content::Entries, index, size).ok_or_else(missing)?;
    let hashes = Tile::within(Content::Hashes(0), index, size).ok_or_else(missing)?;
    let bundle = read_bundle(tiles, &entries)?;
    let hashes = read_hashes(tiles, &hashes)?;
    let bytes = tile::decode_bundle(&bundle, entries.width)
        .map_err(|cause| publish::Error::Damaged { path: entries.path(), cause })?;
    let mut from = 0;
    let entries = (index * WIDTH..)
        .zip(bytes.iter().zip(hashes))
        .map(|(at, (entry, stored))| {
            let place = from + 2..from + 2 + entry.len();
            from = place.end;
            (at, Read::new(entry), stored, place)
        })
        .collect();
    Ok(Loaded { bundle, entries })
}

fn compare(tiles: &dyn Tiles, tile: Tile, bytes: &[u8]) -> Result<(), Broken> {
    // Bundles and leaf hashes were read and compared entry by entry.
    let Content::Hashes(level @ 1..) = tile.content else { return Ok(()) };
    let same = tile::encode_hashes(&read_hashes(tiles, &tile)?) == bytes;
    let first = (tile.index * WIDTH) << (8 * u32::from(level));
    if same { Ok(()) } else { Err(Broken::Tile { path: tile.path(), first }) }
}
