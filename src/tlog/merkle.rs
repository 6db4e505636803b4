//! The Merkle tree of RFC 9162 §2.1 (the same as RFC 6962 §2.1) over SHA-256.

use crate::crypto::hash::{sha256, sha256_parts};

/// The hash of an entry, a node or a tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The hash of an entry: SHA-256(0x00 ‖ entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(sha256_parts(&[&[0], entry]))
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(sha256_parts(&[&[1], &left.0, &right.0]))
}

/// The hash of a subtree that is made of perfect subtrees, given from left (largest) to right.
/// `None` for no subtrees.
pub fn fold(peaks: &[Hash]) -> Option<Hash> {
    let (last, rest) = peaks.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// A tree's size and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// How many entries the tree has.
    pub size: u64,
    /// Its root hash.
    pub root: Hash,
}

/// The right border of a tree: the roots of its perfect subtrees, from left (largest) to right,
/// one for each 1 in the binary form of its size. It is all that appending needs.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// The bytes are not those of a [`Frontier`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log's stored frontier is damaged; rebuild it from the entries")]
pub struct BadFrontier;

impl Frontier {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` entries with these perfect subtrees, largest first.
    ///
    /// # Errors
    /// [`BadFrontier`] where their number does not fit the size.
    pub fn of(size: u64, peaks: Vec<Hash>) -> Result<Self, BadFrontier> {
        if peaks.len() == size.count_ones() as usize {
            Ok(Self { size, peaks })
        } else {
            Err(BadFrontier)
        }
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry's leaf hash and returns its index. O(log n), amortised O(1).
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size;
        let mut hash = leaf;
        // Each trailing 1 of the size is a perfect subtree that the new one completes.
        for _ in 0..index.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
        index
    }

    /// The root hash; for the empty tree SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or_else(|| Hash(sha256(b"")))
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }

    /// `0x01 ‖ size, 8 bytes big-endian ‖ 32 bytes for each peak, largest first`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.size.to_be_bytes());
        self.peaks.iter().for_each(|h| out.extend_from_slice(&h.0));
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) writes.
    ///
    /// # Errors
    /// [`BadFrontier`] where the number of peaks does not fit the size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadFrontier> {
        let (&FORMAT, rest) = bytes.split_first().ok_or(BadFrontier)? else {
            return Err(BadFrontier);
        };
        let (size, rest) = rest.split_first_chunk::<8>().ok_or(BadFrontier)?;
        let size = u64::from_be_bytes(*size);
        let (peaks, []) = rest.as_chunks::<32>() else { return Err(BadFrontier) };
        Self::of(size, peaks.iter().copied().map(Hash).collect())
    }
}

const FORMAT: u8 = 1;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The eight leaves, and the roots over the first n of them, that the Certificate Transparency
    /// project publishes as its reference vectors.
    pub(crate) const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    pub(crate) const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// MTH of RFC 9162 §2.1.1, word for word.
    pub(crate) fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash(sha256(b"")),
            [leaf] => *leaf,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
            }
        }
    }

    pub(crate) fn leaves(n: usize) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn published_roots() {
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root().to_string(), ROOTS[0]);
        for (i, leaf) in LEAVES.iter().enumerate() {
            let index = frontier.append(leaf_hash(&hex::decode(leaf).unwrap()));
            assert_eq!(index, i as u64);
            assert_eq!(frontier.root().to_string(), ROOTS[i + 1], "size {}", i + 1);
        }
    }

    proptest! {
        #[test]
        fn appending_agrees_with_the_definition_across_a_restart(n in 0usize..300, cut in 0usize..300) {
            let leaves = leaves(n);
            let mut frontier = Frontier::new();
            for (i, leaf) in leaves.iter().enumerate() {
                if i == cut {
                    frontier = Frontier::from_bytes(&frontier.to_bytes()).unwrap();
                }
                frontier.append(*leaf);
            }
            prop_assert_eq!(frontier.head(), TreeHead { size: n as u64, root: naive_root(&leaves) });
        }

        #[test]
        fn damaged_frontiers_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(f) = Frontier::from_bytes(&bytes) {
                prop_assert_eq!(f.to_bytes(), bytes);
            }
        }
    }
}
