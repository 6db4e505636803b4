//! Tiles: the log as static resources that never change (C2SP tlog-tiles).
//!
//! A tile of level *l* holds up to 256 hashes, each over 256^*l* entries; an entry bundle holds the
//! entries of a level 0 tile. Full tiles never change, partial ones are named by their width. This
//! file names and encodes them; [`super::publish`] makes them, [`super::prover`] reads proofs from them.

use std::fmt::Write as _;

use super::entry;
use super::merkle::{Hash, node_hash};
use super::proof::Node;

/// The hashes or entries of a full tile.
pub const WIDTH: u64 = 256;
/// Where the checkpoint lies, beside the tiles.
pub const CHECKPOINT: &str = "checkpoint";

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Hashes of this level, at most 7 (256^8 entries are more than can be counted).
    Hashes(u8),
    /// Entries.
    Entries,
}

/// The name of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// What it holds.
    pub content: Content,
    /// Its position in its level.
    pub index: u64,
    /// How many hashes or entries it has, 1 to 256.
    pub width: u16,
}

/// The bytes are not those of a tile of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {0} hashes or entries")]
pub struct BadTile(u16);

impl Tile {
    /// The tile of `content` at `index` as it is in a tree of `size` entries; `None` where that
    /// tree has none there.
    pub fn within(content: Content, index: u64, size: u64) -> Option<Self> {
        let level = match content {
            Content::Hashes(level) => level,
            Content::Entries => 0,
        };
        let whole = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let width = whole.saturating_sub(index.checked_mul(WIDTH)?).min(WIDTH) as u16;
        (width > 0).then_some(Self { content, index, width })
    }

    /// Whether it can't grow any more.
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == WIDTH
    }

    /// Its path below the log's prefix, for instance `tile/0/x001/x234/067.p/5`.
    pub fn path(&self) -> String {
        let mut path = match self.content {
            Content::Hashes(level) => format!("tile/{level}/"),
            Content::Entries => "tile/entries/".to_owned(),
        };
        let digits = format!("{:03}", self.index);
        let padded = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
        for at in (0..padded.len()).step_by(3) {
            if at + 3 < padded.len() {
                path.push('x');
                path.push_str(&padded[at..at + 3]);
                path.push('/');
            } else {
                path.push_str(&padded[at..]);
            }
        }
        if !self.is_full() {
            let _ = write!(path, ".p/{}", self.width);
        }
        path
    }

    /// Reads a path; only what [`path`](Self::path) writes is accepted.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let content = match level {
            "entries" => Content::Entries,
            level => Content::Hashes(level.parse().ok().filter(|l| *l < 8)?),
        };
        let (digits, width) = match rest.split_once(".p/") {
            None => (rest, WIDTH as u16),
            Some((digits, width)) => (digits, width.parse().ok().filter(|w| (1..256).contains(w))?),
        };
        let index = digits.replace(['x', '/'], "").parse().ok()?;
        let tile = Self { content, index, width };
        (tile.path() == path).then_some(tile)
    }
}

/// The bytes of a tile of hashes.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|h| h.0).collect()
}

/// The hashes of a tile that is `width` wide.
///
/// # Errors
/// [`BadTile`] where there are more or fewer.
pub fn decode_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, BadTile> {
    match bytes.as_chunks::<32>() {
        (hashes, []) if hashes.len() == usize::from(width) => {
            Ok(hashes.iter().copied().map(Hash).collect())
        }
        _ => Err(BadTile(width)),
    }
}

/// Adds an entry to a bundle's bytes: its length in two bytes, big-endian, before it. Entries are
/// no longer than [`entry::MAX_LEN`].
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    debug_assert!(entry.len() <= entry::MAX_LEN);
    bundle.extend_from_slice(&(entry.len() as u16).to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// The entries of a bundle that is `width` wide.
///
/// # Errors
/// [`BadTile`] where there are more or fewer, or one is cut off.
pub fn decode_bundle(mut bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BadTile> {
    let mut entries = Vec::with_capacity(usize::from(width));
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or(BadTile(width))?;
        entries.push(entry);
        bytes = rest;
    }
    if bytes.is_empty() && entries.len() == usize::from(width) {
        Ok(entries)
    } else {
        Err(BadTile(width))
    }
}

/// A tile's hashes with the levels of the tree between them and the next tile's.
#[derive(Debug, Clone)]
pub struct Subtree {
    levels: Vec<Vec<Hash>>,
}

impl Subtree {
    /// The nodes over a tile's hashes.
    pub fn new(hashes: Vec<Hash>) -> Self {
        let mut levels = vec![hashes];
        while let Some(below) = levels.last().filter(|l| l.len() > 1) {
            let (pairs, _) = below.as_chunks::<2>();
            levels.push(pairs.iter().map(|[l, r]| node_hash(l, r)).collect());
        }
        Self { levels }
    }

    /// The node `height` (0 to 8) above the tile's hashes, the `at`-th of its row.
    pub fn node(&self, height: u8, at: usize) -> Option<Hash> {
        self.levels.get(usize::from(height))?.get(at).copied()
    }
}

/// Where a node lies: level and index of its tile, height above the tile's hashes (0 to 7), and
/// position in that row.
pub fn place(node: Node) -> (u8, u64, u8, usize) {
    let (level, height) = (node.level / 8, node.level % 8);
    let in_row = 8 - u32::from(height);
    (level, node.index >> in_row, height, (node.index & ((1 << in_row) - 1)) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::merkle::tests::{leaves, naive_root};
    use super::*;

    /// The specification's own examples.
    #[test]
    fn paths_are_the_specifications() {
        let tile = Tile { content: Content::Hashes(3), index: 1_234_067, width: 256 };
        assert_eq!(tile.path(), "tile/3/x001/x234/067");
        let of = |level, index| Tile::within(Content::Hashes(level), index, 70_000);
        assert_eq!(of(0, 272).unwrap().path(), "tile/0/272");
        assert_eq!(of(0, 273).unwrap().path(), "tile/0/273.p/112");
        assert_eq!(of(0, 274), None);
        assert_eq!(of(1, 0).unwrap().path(), "tile/1/000");
        assert_eq!(of(1, 1).unwrap().path(), "tile/1/001.p/17");
        assert_eq!(of(2, 0).unwrap().path(), "tile/2/000.p/1");
        assert_eq!(of(3, 0), None);
        let at_256 = |level| Tile::within(Content::Hashes(level), 0, 256).unwrap().path();
        assert_eq!((at_256(0), at_256(1)), ("tile/0/000".into(), "tile/1/000.p/1".into()));
        assert_eq!(
            Tile::within(Content::Entries, 1000, 256_005).unwrap().path(),
            "tile/entries/x001/000.p/5"
        );
    }

    #[test]
    fn other_paths_are_refused() {
        for path in [
            "",
            "tile/0",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/8/000",
            "tile/0/x000/001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/05",
            "tile/0/1/000",
            "tile/-1/000",
            "tile/entries/x001",
            "tile/0/../000",
            "tile/0/000.p/1/2",
            "tile/0/x001/x234/067x",
            "tile/0/999/999/999/999/999/999/999/999",
            "checkpoint",
            "/tile/0/000",
            "tile/+1/000",
        ] {
            assert_eq!(Tile::parse(path), None, "{path}");
        }
    }

    #[test]
    fn bundles_read_back_and_damaged_ones_do_not() {
        let mut bundle = Vec::new();
        for entry in [&b"abc"[..], b"", b"z"] {
            push_entry(&mut bundle, entry);
        }
        assert_eq!(bundle, b"\0\x03abc\0\0\0\x01z");
        assert_eq!(decode_bundle(&bundle, 3).unwrap(), [&b"abc"[..], b"", b"z"]);
        assert!(decode_bundle(&bundle, 2).is_err());
        assert!(decode_bundle(&bundle[..bundle.len() - 1], 3).is_err());
        assert!(decode_bundle(&[0], 0).is_err());
        assert!(decode_hashes(&[0; 33], 1).is_err());
        assert!(decode_hashes(&[0; 64], 1).is_err());
    }

    #[test]
    fn a_subtree_has_the_nodes_of_the_definition() {
        let all = leaves(256);
        let subtree = Subtree::new(all.clone());
        for height in 0..=8u8 {
            let span = 1 << height;
            for at in 0..256 / span {
                let node = naive_root(&all[at * span..(at + 1) * span]);
                assert_eq!(subtree.node(height, at), Some(node));
            }
        }
        assert_eq!(Subtree::new(all[..5].to_vec()).node(2, 1), None);
        assert_eq!(place(Node { level: 0, index: 300 }), (0, 1, 0, 44));
        assert_eq!(place(Node { level: 7, index: 3 }), (0, 1, 7, 1));
        assert_eq!(place(Node { level: 8, index: 300 }), (1, 1, 0, 44));
    }

    proptest! {
        #[test]
        fn paths_read_back(level in 0u8..8, index in any::<u64>(), width in 1u16..=256, entries in any::<bool>()) {
            let content = if entries { Content::Entries } else { Content::Hashes(level) };
            let tile = Tile { content, index, width };
            prop_assert_eq!(Tile::parse(&tile.path()), Some(tile));
        }

        #[test]
        fn arbitrary_paths_and_bundles_never_panic(path in "(tile/)?[0-9a-z/.]{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..99), width in any::<u16>()) {
            if let Some(tile) = Tile::parse(&path) {
                prop_assert_eq!(tile.path(), path);
            }
            let _ = decode_bundle(&bytes, width);
            let _ = decode_hashes(&bytes, width);
        }
    }
}
