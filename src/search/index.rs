//! The index: blocks of codes, and the scan over them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use zeroize::Zeroize;

use super::code::{self, Coded, padded};
use super::kernel;
use crate::domain::template::Metric;

/// Whose a vector is. What it stands for is the caller's matter.
pub type Key = [u8; 16];

/// The longest vector.
pub const MAX_DIM: usize = 2048;
/// Vectors of so many values or more are scanned by their signs first.
pub const PREFILTERED: usize = 256;
/// Vectors that are compared in full after the scan of the signs.
pub const CANDIDATES: usize = 2048;

/// Rows of a block: its signs stay in a processor's second-level cache while they are counted.
const ROWS: usize = 4096;

/// Why a vector is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An index holds vectors of 1 to [`MAX_DIM`] values.
    #[error("an index holds vectors of 1 to {MAX_DIM} values")]
    NoIndex,
    /// It is of another length than the others.
    #[error("the vector has {found} values, those of the index have {expected}")]
    Dimension {
        /// The index's.
        expected: usize,
        /// The vector's.
        found: usize,
    },
    /// It is zero, not finite, or so small or large that its length can't be held.
    #[error("the vector has no direction or a value that is not finite")]
    NoDirection,
    /// Rows are counted in 32 bits.
    #[error("the index is full")]
    Full,
}

/// Somebody near.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Whose vector.
    pub key: Key,
    /// How far it is, by the index's metric, as far as the codes tell.
    pub distance: f32,
}

/// Embeddings of one model. See the [module](super) for how it works.
pub struct Index {
    dim: usize,
    metric: Metric,
    blocks: Vec<Block>,
    len: usize,
    rows: HashMap<Key, Vec<u32>>,
    candidates: usize,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({} vectors of {} values)", self.len, self.dim)
    }
}

/// Up to [`ROWS`] vectors, column by column.
struct Block {
    keys: Vec<Key>,
    scale: Vec<f32>,
    squared: Vec<f32>,
    values: Vec<i8>,
    /// Empty where nothing is prefiltered.
    signs: Vec<u64>,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.scale.zeroize();
        self.squared.zeroize();
        self.values.zeroize();
        self.signs.zeroize();
    }
}

impl Index {
    /// An empty index of vectors of `dim` values.
    ///
    /// # Errors
    /// [`Refused::NoIndex`].
    pub fn new(dim: usize, metric: Metric) -> Result<Self, Refused> {
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(Refused::NoIndex);
        }
        let (blocks, rows) = (Vec::new(), HashMap::new());
        Ok(Self { dim, metric, blocks, len: 0, rows, candidates: CANDIDATES })
    }

    /// The same with another number of candidates than [`CANDIDATES`], for measurements.
    #[must_use]
    pub fn with_candidates(mut self, candidates: usize) -> Self {
        self.candidates = candidates.max(1);
        self
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is a vector of this key.
    pub fn contains(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
    }

    /// Adds a vector. One key may have several.
    ///
    /// # Errors
    /// [`Refused::Dimension`], [`Refused::NoDirection`], [`Refused::Full`]; nothing is changed then.
    pub fn insert(&mut self, key: Key, vector: &[f32]) -> Result<(), Refused> {
        self.check(vector)?;
        let coded = code::store(vector, self.metric)?;
        let row = u32::try_from(self.len).map_err(|_| Refused::Full)?;
        if self.len == self.blocks.len() * ROWS {
            self.blocks.push(Block::new(self.dim));
        }
        self.write(self.len, key, &coded);
        self.len += 1;
        self.rows.entry(key).or_default().push(row);
        Ok(())
    }

    /// Takes every vector of a key out and overwrites it; returns how many there were.
    pub fn remove(&mut self, key: &Key) -> usize {
        let mut removed = 0;
        while let Some(row) = self.rows.get_mut(key).and_then(Vec::pop) {
            self.close(row as usize);
            removed += 1;
        }
        self.rows.remove(key);
        removed
    }

    /// The keys whose vectors lie nearest to `query`, at most `count`, the nearest first; each key
    /// once, with its nearest vector. Vectors of the key `except` are left out.
    ///
    /// # Errors
    /// [`Refused::Dimension`], [`Refused::NoDirection`].
    pub fn nearest(
        &self,
        query: &[f32],
        count: usize,
        except: Option<&Key>,
    ) -> Result<Vec<Hit>, Refused> {
        self.check(query)?;
        let query = code::ask(query, self.metric)?;
        let mut best = Best { hits: Vec::with_capacity(count), count, except };
        if self.dim < PREFILTERED || self.len <= self.candidates {
            for (number, block) in self.blocks.iter().enumerate() {
                let rows = (self.len - number * ROWS).min(ROWS);
                self.rank(block, &query, 0..rows, &mut best);
            }
        } else {
            for row in self.fewest_differing(&query.signs) {
                let (block, row) = (row as usize / ROWS, row as usize % ROWS);
                self.rank(&self.blocks[block], &query, std::iter::once(row), &mut best);
            }
        }
        if self.metric == Metric::Euclidean {
            for hit in &mut best.hits {
                // Rounding may leave a little below nothing.
                hit.distance = hit.distance.max(0.0).sqrt();
            }
        }
        Ok(best.hits)
    }

    fn check(&self, vector: &[f32]) -> Result<(), Refused> {
        if vector.len() == self.dim {
            Ok(())
        } else {
            Err(Refused::Dimension { expected: self.dim, found: vector.len() })
        }
    }

    fn write(&mut self, row: usize, key: Key, coded: &Coded<i8>) {
        let width = padded(self.dim);
        let (block, row) = (&mut self.blocks[row / ROWS], row % ROWS);
        block.keys[row] = key;
        block.scale[row] = coded.scale;
        block.squared[row] = coded.squared;
        block.values[row * width..(row + 1) * width].copy_from_slice(&coded.values);
        if self.dim >= PREFILTERED {
            let words = coded.signs.len();
            block.signs[row * words..(row + 1) * words].copy_from_slice(&coded.signs);
        }
    }

    /// Moves the last vector into a row that became free, and overwrites where it was.
    fn close(&mut self, row: usize) {
        let last = self.len - 1;
        if row != last {
            let (coded, key) = self.read(last);
            self.write(row, key, &coded);
            if let Entry::Occupied(mut rows) = self.rows.entry(key) {
                for r in rows.get_mut().iter_mut().filter(|r| **r as usize == last) {
                    *r = row as u32;
                }
            }
        }
        let none = Coded {
            signs: vec![0; padded(self.dim).div_ceil(64)].into(),
            values: vec![0; padded(self.dim)].into(),
            scale: 0.0,
            squared: 0.0,
        };
        self.write(last, Key::default(), &none);
        self.len = last;
        self.blocks.truncate(self.len.div_ceil(ROWS));
    }

    fn read(&self, row: usize) -> (Coded<i8>, Key) {
        let width = padded(self.dim);
        let words = width.div_ceil(64);
        let (block, row) = (&self.blocks[row / ROWS], row % ROWS);
        let signs = block.signs.get(row * words..(row + 1) * words);
        let coded = Coded {
            signs: signs.map_or_else(|| vec![0; words], <[u64]>::to_vec).into(),
            values: block.values[row * width..(row + 1) * width].to_vec().into(),
            scale: block.scale[row],
            squared: block.squared[row],
        };
        (coded, block.keys[row])
    }

    /// The rows that may hold the nearest vector by their signs, in order: those that differ in at
    /// most [`margin`] more than the best one, and of these the [`Self::candidates`] best.
    fn fewest_differing(&self, signs: &[u64]) -> Vec<u32> {
        let keep = self.candidates;
        let mut found: Vec<(u16, u32)> = Vec::with_capacity(2 * keep);
        let (mut best, mut bound) = (u16::MAX, u16::MAX);
        let mut bits = [0u16; ROWS];
        for (number, block) in self.blocks.iter().enumerate() {
            let first = number * ROWS;
            let bits = &mut bits[..(self.len - first).min(ROWS)];
            kernel::differing(signs, &block.signs, bits);
            for (row, bits) in bits.iter().copied().enumerate() {
                if bits > bound {
                    continue;
                }
                if bits < best {
                    best = bits;
                    bound = bound.min(best.saturating_add(margin(best, self.dim)));
                }
                found.push((bits, (first + row) as u32));
                if found.len() == 2 * keep {
                    let (_, worst, _) = found.select_nth_unstable(keep - 1);
                    bound = bound.min(worst.0.saturating_sub(1));
                    found.truncate(keep);
                }
            }
        }
        found.retain(|(bits, _)| *bits <= best.saturating_add(margin(best, self.dim)));
        if found.len() > keep {
            found.select_nth_unstable(keep - 1);
            found.truncate(keep);
        }
        // In the order of memory: the processor fetches ahead.
        let mut rows: Vec<u32> = found.into_iter().map(|(_, row)| row).collect();
        rows.sort_unstable();
        rows
    }

    fn rank(
        &self,
        block: &Block,
        query: &Coded<i16>,
        rows: impl Iterator<Item = usize>,
        best: &mut Best<'_>,
    ) {
        kernel::dots(&query.values, &block.values, rows, |row, dot| {
            let product = query.scale * block.scale[row] * dot as f32;
            let distance = match self.metric {
                Metric::Cosine => 1.0 - product,
                // Squared: the root of the few that are kept is taken at the end.
                Metric::Euclidean => query.squared + block.squared[row] - 2.0 * product,
            };
            best.offer(distance, &block.keys[row]);
        });
    }
}

/// How many more signs than the best row's `best` a row may differ in and still be the nearest: six
/// standard deviations of the difference of two such counts, each of variance `dim * p * (1 - p)`.
fn margin(best: u16, dim: usize) -> u16 {
    let (best, dim) = (f32::from(best), dim as f32);
    (6.0 * (2.0 * best * (1.0 - best / dim)).max(1.0).sqrt()).ceil() as u16
}

impl Block {
    fn new(dim: usize) -> Self {
        let width = padded(dim);
        let words = if dim >= PREFILTERED { width.div_ceil(64) } else { 0 };
        Self {
            keys: vec![Key::default(); ROWS],
            scale: vec![0.0; ROWS],
            squared: vec![0.0; ROWS],
            values: vec![0; ROWS * width],
            signs: vec![0; ROWS * words],
        }
    }
}

/// The nearest so far, sorted, each key once.
struct Best<'a> {
    hits: Vec<Hit>,
    count: usize,
    except: Option<&'a Key>,
}

impl Best<'_> {
    #[inline]
    fn offer(&mut self, distance: f32, key: &Key) {
        let full = self.hits.len() == self.count;
        if full && self.hits.last().is_none_or(|worst| distance >= worst.distance) {
            return;
        }
        self.place(distance, key);
    }

    fn place(&mut self, distance: f32, key: &Key) {
        if self.except == Some(key) {
            return;
        }
        if let Some(known) = self.hits.iter().position(|h| h.key == *key) {
            if self.hits[known].distance <= distance {
                return;
            }
            self.hits.remove(known);
        }
        let at = self.hits.partition_point(|h| h.distance <= distance);
        self.hits.insert(at, Hit { key: *key, distance });
        self.hits.truncate(self.count);
    }
}
