//! Proofs out of tiles.
//!
//! An inclusion proof is the siblings within the perfect subtree that the entry lies in, then what
//! stands to the right of that subtree as one hash, then the perfect subtrees to its left from the
//! nearest to the farthest (RFC 9162 §2.1.3). The last two are the same for every entry of a
//! subtree and are made once; the siblings come from at most one cached tile for each eight levels.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::merkle::{Hash, TreeHead, fold};
use super::proof::{Node, NodeReader, OutOfRange, Plan};
use super::publish::{Error, Tiles, read_hashes};
use super::tile::{Content, Subtree, Tile, place};

/// The tiles that are kept in memory: 16 KiB each.
const CACHED: usize = 2048;

/// Makes proofs about one tree from its published tiles.
pub struct Prover {
    tiles: Box<dyn Tiles>,
    head: TreeHead,
    /// The perfect subtrees, from left (largest) to right, each with its first entry and height.
    peaks: Vec<(u64, u8, Hash)>,
    /// For each, everything to its right as one hash.
    right: Vec<Option<Hash>>,
    cache: RwLock<HashMap<(u8, u64), Arc<Subtree>>>,
}

/// Why a proof was not made.
#[derive(Debug, thiserror::Error)]
pub enum ProverError {
    /// No such entry or tree.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The tiles fail.
    #[error(transparent)]
    Tiles(#[from] Error),
}

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prover({} entries)", self.head.size)
    }
}

impl Prover {
    /// A prover for the tree of `head`, whose tiles are in `tiles`.
    ///
    /// # Errors
    /// [`Error::WrongRoot`] where the tiles don't have that root; those of reading them.
    pub fn new(tiles: Box<dyn Tiles>, head: TreeHead) -> Result<Self, Error> {
        let cache = RwLock::default();
        let mut prover = Self { tiles, head, peaks: Vec::new(), right: Vec::new(), cache };
        let mut start = 0;
        for height in (0..64u8).rev().filter(|h| head.size >> h & 1 == 1) {
            let hash = prover.node(Node { level: height, index: start >> height })?;
            prover.peaks.push((start, height, hash));
            start += 1 << height;
        }
        let hashes: Vec<Hash> = prover.peaks.iter().map(|p| p.2).collect();
        prover.right = (1..=hashes.len()).map(|i| fold(&hashes[i..])).collect();
        let root = fold(&hashes).unwrap_or_else(|| super::Frontier::new().root());
        if root == head.root { Ok(prover) } else { Err(Error::WrongRoot { size: head.size }) }
    }

    /// The tree.
    pub fn head(&self) -> TreeHead {
        self.head
    }

    /// The leaf hash of entry `index`.
    ///
    /// # Errors
    /// [`ProverError`].
    pub fn leaf(&self, index: u64) -> Result<Hash, ProverError> {
        if index >= self.head.size {
            return Err(OutOfRange { asked: index, size: self.head.size }.into());
        }
        Ok(self.node(Node { level: 0, index })?)
    }

    /// The proof that entry `index` is in the tree, from the leaf up.
    ///
    /// # Errors
    /// [`ProverError`].
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, ProverError> {
        let size = self.head.size;
        let at = self.peaks.partition_point(|(start, ..)| *start <= index);
        let Some((at, &(_, height, _))) = at
            .checked_sub(1)
            .and_then(|at| Some((at, self.peaks.get(at)?)))
            .filter(|_| index < size)
        else {
            return Err(OutOfRange { asked: index, size }.into());
        };
        let mut proof = Vec::with_capacity(usize::from(height) + 1 + at);
        let mut tile: Option<(u8, Arc<Subtree>)> = None;
        for level in 0..height {
            let sibling = Node { level, index: (index >> level) ^ 1 };
            let (tile_level, tile_index, in_tile, pos) = place(sibling);
            // Siblings of eight levels lie in the same tile as the node's own.
            let subtree = match &tile {
                Some((held, subtree)) if *held == tile_level => subtree,
                _ => &tile.insert((tile_level, self.subtree(tile_level, tile_index)?)).1,
            };
            proof.push(subtree.node(in_tile, pos).ok_or(OutOfRange { asked: index, size })?);
        }
        proof.extend(self.right.get(at).copied().flatten());
        proof.extend(self.peaks[..at].iter().rev().map(|p| p.2));
        Ok(proof)
    }

    /// The proof that the tree continues the tree of its first `old` entries.
    ///
    /// # Errors
    /// [`ProverError`].
    pub fn consistency(&self, old: u64) -> Result<Vec<Hash>, ProverError> {
        let plan = Plan::consistency(old, self.head.size)?;
        let proof = plan.prove(self)?;
        Ok(proof.ok_or(OutOfRange { asked: old, size: self.head.size })?)
    }

    /// The tree of the first `size` entries.
    ///
    /// # Errors
    /// [`ProverError`].
    pub fn head_at(&self, size: u64) -> Result<TreeHead, ProverError> {
        Ok(self.frontier_at(size)?.head())
    }

    /// The same with all that appending needs.
    ///
    /// # Errors
    /// [`ProverError`].
    pub fn frontier_at(&self, size: u64) -> Result<super::Frontier, ProverError> {
        if size > self.head.size {
            return Err(OutOfRange { asked: size, size: self.head.size }.into());
        }
        let mut peaks = Vec::new();
        let mut start = 0;
        for level in (0..64u8).rev().filter(|h| size >> h & 1 == 1) {
            peaks.push(self.node(Node { level, index: start >> level })?);
            start += 1 << level;
        }
        super::Frontier::of(size, peaks).map_err(|_| OutOfRange { asked: size, size }.into())
    }

    fn node(&self, node: Node) -> Result<Hash, Error> {
        let (level, index, height, pos) = place(node);
        let found = self.subtree(level, index)?.node(height, pos);
        found.ok_or_else(|| Error::Missing {
            path: format!("node {} of level {}", node.index, node.level),
        })
    }

    fn subtree(&self, level: u8, index: u64) -> Result<Arc<Subtree>, Error> {
        let held = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(subtree) = held.get(&(level, index)) {
            return Ok(subtree.clone());
        }
        drop(held);
        let tile = Tile::within(Content::Hashes(level), index, self.head.size)
            .ok_or_else(|| Error::Missing { path: format!("tile {index} of level {level}") })?;
        let subtree = Arc::new(Subtree::new(read_hashes(&*self.tiles, &tile)?));
        let mut held = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= CACHED {
            held.clear();
        }
        held.insert((level, index), subtree.clone());
        Ok(subtree)
    }
}

impl NodeReader for Prover {
    type Error = Error;

    fn read(&self, nodes: &[Node]) -> Result<Vec<Hash>, Error> {
        nodes.iter().map(|n| self.node(*n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::merkle::leaf_hash;
    use super::super::proof::{MemoryNodes, verify_consistency, verify_inclusion};
    use super::super::publish::{Builder, Folder, put_tile};
    use super::*;

    #[test]
    fn proofs_from_tiles_are_those_from_memory() {
        let dir = tempfile::tempdir().unwrap();
        let tiles = Folder::new(dir.path());
        let mut builder = Builder::default();
        let mut leaves = Vec::new();
        for size in [1u64, 2, 3, 255, 256, 257, 700, 1024, 1300] {
            let mut sink = |t: Tile, bytes: Vec<u8>| put_tile(&tiles, &t, &bytes);
            while builder.size() < size {
                let entry = builder.size().to_be_bytes();
                leaves.push(leaf_hash(&entry));
                builder.push(&entry, leaf_hash(&entry), &mut sink).unwrap();
            }
            builder.partials(&mut sink).unwrap();
            let head = builder.head();
            let prover = Prover::new(Box::new(tiles.clone()), head).unwrap();
            let memory = MemoryNodes::new(leaves.clone());
            for index in (0..size).step_by(7).chain([size - 1]) {
                let proof = prover.inclusion(index).unwrap();
                let plan = Plan::inclusion(index, size).unwrap();
                assert_eq!(proof, plan.prove(&memory).unwrap().unwrap(), "{index} of {size}");
                let leaf = prover.leaf(index).unwrap();
                verify_inclusion(&leaf, index, &head, &proof).unwrap();
                let old = prover.head_at(index).unwrap();
                verify_consistency(&old, &head, &prover.consistency(index).unwrap()).unwrap();
            }
            assert!(prover.inclusion(size).is_err());
            assert!(prover.consistency(size + 1).is_err());
            assert!(prover.leaf(u64::MAX).is_err());
            let wrong = TreeHead { root: Hash([1; 32]), ..head };
            let refused = Prover::new(Box::new(tiles.clone()), wrong);
            assert!(matches!(refused, Err(Error::WrongRoot { .. })));
        }
    }
}
