//! Inclusion and consistency proofs (RFC 9162 §2.1.3 and §2.1.4).
//!
//! Making a proof is split in two, so that the hashes may come from anywhere, at once or
//! asynchronously: a [`Plan`] names the nodes that are needed, and [`Plan::assemble`] makes the
//! proof out of their hashes. Every node is the root of a perfect subtree, so it never changes
//! once it exists.

use super::merkle::{Hash, TreeHead, fold, node_hash};

/// The root of the perfect subtree over the entries `index << level ..` of length `1 << level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// Height above the leaves.
    pub level: u8,
    /// Position among the nodes of its level.
    pub index: u64,
}

/// Where the hashes of nodes come from.
pub trait NodeReader {
    /// What can go wrong in reading.
    type Error;

    /// The hashes of `nodes`, in the same order.
    fn read(&self, nodes: &[Node]) -> Result<Vec<Hash>, Self::Error>;
}

/// The request makes no sense for a tree of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such proof: position or size {asked} lies outside a tree of {size} entries")]
pub struct OutOfRange {
    /// The index or the size asked for.
    pub asked: u64,
    /// The tree's size.
    pub size: u64,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Position or sizes contradict each other.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// Too few or too many hashes.
    #[error("the proof has {0} hashes, which does not fit the tree's size")]
    WrongLength(usize),
    /// The proof leads to another root.
    #[error("the proof leads to another root: the entry or the tree is not the one claimed")]
    WrongRoot,
}

/// The nodes that a proof needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    nodes: Vec<Node>,
    /// How many of the nodes go into each hash of the proof.
    groups: Vec<usize>,
}

impl Plan {
    /// The proof that entry `index` is in the tree of the first `size` entries.
    ///
    /// # Errors
    /// [`OutOfRange`] where `index` is not below `size`.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, OutOfRange> {
        if index >= size {
            return Err(OutOfRange { asked: index, size });
        }
        let mut ranges = Vec::new();
        let (mut lo, mut hi) = (0, size);
        while hi - lo > 1 {
            let mid = split(lo, hi);
            if index < mid {
                ranges.push((mid, hi));
                hi = mid;
            } else {
                ranges.push((lo, mid));
                lo = mid;
            }
        }
        Ok(Self::of(ranges))
    }

    /// The proof that the first `old` entries are the same in the trees of `old` and `new`
    /// entries.
    ///
    /// # Errors
    /// [`OutOfRange`] where `old` is above `new`.
    pub fn consistency(old: u64, new: u64) -> Result<Self, OutOfRange> {
        if old > new {
            return Err(OutOfRange { asked: old, size: new });
        }
        let mut ranges = Vec::new();
        let (mut lo, mut hi) = (0, new);
        if old > 0 {
            while old < hi {
                let mid = split(lo, hi);
                if old <= mid {
                    ranges.push((mid, hi));
                    hi = mid;
                } else {
                    ranges.push((lo, mid));
                    lo = mid;
                }
            }
            // The verifier knows the old root; any other subtree that ends there it must be told.
            if lo > 0 {
                ranges.push((lo, hi));
            }
        }
        Ok(Self::of(ranges))
    }

    /// The nodes whose hashes [`assemble`](Self::assemble) wants, in its order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The proof, from the hashes of [`nodes`](Self::nodes). `None` where there are more or fewer.
    pub fn assemble(&self, hashes: &[Hash]) -> Option<Vec<Hash>> {
        if hashes.len() != self.nodes.len() {
            return None;
        }
        let mut rest = hashes;
        let mut proof = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let (these, others) = rest.split_at_checked(*group)?;
            proof.push(fold(these)?);
            rest = others;
        }
        Some(proof)
    }

    /// Reads the nodes and makes the proof. `Ok(None)` where the reader gave too few hashes.
    ///
    /// # Errors
    /// The reader's.
    pub fn prove<R: NodeReader>(&self, reader: &R) -> Result<Option<Vec<Hash>>, R::Error> {
        Ok(self.assemble(&reader.read(&self.nodes)?))
    }

    /// The plan for subtrees `[lo, hi)` given from the root down; a proof goes from the leaf up.
    fn of(ranges: Vec<(u64, u64)>) -> Self {
        let mut plan = Self { nodes: Vec::new(), groups: Vec::new() };
        for (lo, hi) in ranges.into_iter().rev() {
            let before = plan.nodes.len();
            plan.nodes.extend(perfect_nodes(lo, hi));
            plan.groups.push(plan.nodes.len() - before);
        }
        plan
    }
}

/// Every perfect node of a log, computed from its leaf hashes: 64 bytes of memory for each entry.
#[derive(Debug, Clone)]
pub struct MemoryNodes {
    levels: Vec<Vec<Hash>>,
}

impl MemoryNodes {
    /// The nodes over these leaf hashes.
    pub fn new(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|l| l.len() > 1) {
            let (pairs, _) = below.as_chunks::<2>();
            let level = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
            levels.push(level);
        }
        Self { levels }
    }
}

impl NodeReader for MemoryNodes {
    type Error = OutOfRange;

    fn read(&self, nodes: &[Node]) -> Result<Vec<Hash>, OutOfRange> {
        let size = self.levels.first().map_or(0, Vec::len) as u64;
        nodes
            .iter()
            .map(|node| {
                self.levels
                    .get(usize::from(node.level))
                    .and_then(|level| level.get(usize::try_from(node.index).ok()?))
                    .copied()
                    .ok_or(OutOfRange { asked: node.index << node.level.min(63), size })
            })
            .collect()
    }
}

/// Checks that the entry with this leaf hash is entry `index` of the tree (RFC 9162 §2.1.3.2).
///
/// # Errors
/// See [`ProofError`].
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    head: &TreeHead,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if index >= head.size {
        return Err(OutOfRange { asked: index, size: head.size }.into());
    }
    let wrong_length = ProofError::WrongLength(proof.len());
    let (mut at, mut last) = (index, head.size - 1);
    let mut root = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(wrong_length);
        }
        if at & 1 == 1 || at == last {
            root = node_hash(sibling, &root);
            climb_to_right_child(&mut at, &mut last);
        } else {
            root = node_hash(&root, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    if root == head.root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Checks that `new` is `old` with entries appended (RFC 9162 §2.1.4.2). Every tree extends the
/// empty one, with an empty proof.
///
/// # Errors
/// See [`ProofError`].
pub fn verify_consistency(
    old: &TreeHead,
    new: &TreeHead,
    proof: &[Hash],
) -> Result<(), ProofError> {
    let wrong_length = ProofError::WrongLength(proof.len());
    if old.size > new.size {
        return Err(OutOfRange { asked: old.size, size: new.size }.into());
    }
    if old.size == new.size || old.size == 0 {
        let empty = super::Frontier::new().root();
        let same = if old.size == new.size { old.root == new.root } else { old.root == empty };
        return match (proof, same) {
            ([], true) => Ok(()),
            ([], false) => Err(ProofError::WrongRoot),
            _ => Err(wrong_length),
        };
    }
    // A perfect old tree is itself the first node, and the proof leaves it out.
    let (first, rest) = if old.size.is_power_of_two() {
        (old.root, proof)
    } else {
        proof.split_first().map(|(f, r)| (*f, r)).ok_or(wrong_length)?
    };
    let (mut at, mut last) = (old.size - 1, new.size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old_root, mut new_root) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(wrong_length);
        }
        if at & 1 == 1 || at == last {
            old_root = node_hash(sibling, &old_root);
            new_root = node_hash(sibling, &new_root);
            climb_to_right_child(&mut at, &mut last);
        } else {
            new_root = node_hash(&new_root, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    if old_root == old.root && new_root == new.root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// On the right border a node without a sibling is passed up unchanged.
fn climb_to_right_child(at: &mut u64, last: &mut u64) {
    while *at != 0 && *at & 1 == 0 {
        *at >>= 1;
        *last >>= 1;
    }
}

/// Where RFC 9162 splits `[lo, hi)`: after the largest power of two smaller than its length.
fn split(lo: u64, hi: u64) -> u64 {
    lo + (1 << (hi - lo - 1).ilog2())
}

/// The perfect subtrees that make up `[lo, hi)`, a subtree of the tree: largest first.
fn perfect_nodes(mut lo: u64, hi: u64) -> impl Iterator<Item = Node> {
    std::iter::from_fn(move || {
        let level = (hi - lo).checked_ilog2()?;
        let node = Node { level: level as u8, index: lo >> level };
        lo += 1 << level;
        Some(node)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tlog_tiles::tlog as theirs;

    use super::super::merkle::leaf_hash;
    use super::super::merkle::tests::{LEAVES, ROOTS, leaves, naive_root};
    use super::*;

    fn head(leaves: &[Hash]) -> TreeHead {
        TreeHead { size: leaves.len() as u64, root: naive_root(leaves) }
    }

    fn inclusion(nodes: &MemoryNodes, index: u64, size: u64) -> Vec<Hash> {
        Plan::inclusion(index, size).unwrap().prove(nodes).unwrap().unwrap()
    }

    fn consistency(nodes: &MemoryNodes, old: u64, new: u64) -> Vec<Hash> {
        Plan::consistency(old, new).unwrap().prove(nodes).unwrap().unwrap()
    }

    /// PATH and PROOF of RFC 9162 §2.1.3.1 and §2.1.4.1, word for word.
    fn naive_path(index: usize, d: &[Hash]) -> Vec<Hash> {
        if d.len() <= 1 {
            return vec![];
        }
        let (left, right) = d.split_at(d.len().next_power_of_two() / 2);
        let (mut path, sibling) = if index < left.len() {
            (naive_path(index, left), naive_root(right))
        } else {
            (naive_path(index - left.len(), right), naive_root(left))
        };
        path.push(sibling);
        path
    }

    fn naive_subproof(m: usize, d: &[Hash], whole: bool) -> Vec<Hash> {
        if m == d.len() {
            return if whole { vec![] } else { vec![naive_root(d)] };
        }
        let (left, right) = d.split_at(d.len().next_power_of_two() / 2);
        let (mut path, sibling) = if m <= left.len() {
            (naive_subproof(m, left, whole), naive_root(right))
        } else {
            (naive_subproof(m - left.len(), right, false), naive_root(left))
        };
        path.push(sibling);
        path
    }

    #[test]
    fn proofs_between_the_published_roots() {
        let leaves: Vec<Hash> = LEAVES.map(|l| leaf_hash(&hex::decode(l).unwrap())).to_vec();
        let nodes = MemoryNodes::new(leaves.clone());
        let published = |n: u64| TreeHead {
            size: n,
            root: Hash(hex::decode(ROOTS[n as usize]).unwrap().try_into().unwrap()),
        };
        for new in 0..=8u64 {
            for old in 0..=new {
                let proof = consistency(&nodes, old, new);
                verify_consistency(&published(old), &published(new), &proof).unwrap();
            }
            for index in 0..new {
                let proof = inclusion(&nodes, index, new);
                let leaf = &leaves[index as usize];
                verify_inclusion(leaf, index, &published(new), &proof).unwrap();
            }
        }
        // Published with the leaves: the audit path of the first entry in the tree of eight.
        assert_eq!(
            inclusion(&nodes, 0, 8)[0].to_string(),
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
        );
    }

    #[test]
    fn what_lies_outside_is_refused() {
        assert!(Plan::inclusion(3, 3).is_err());
        assert!(Plan::inclusion(0, 0).is_err());
        assert!(Plan::consistency(4, 3).is_err());
        let nodes = MemoryNodes::new(leaves(3));
        assert!(Plan::inclusion(0, 9).unwrap().prove(&nodes).is_err());
        assert_eq!(Plan::inclusion(0, 9).unwrap().assemble(&[]), None);
        let big = Plan::inclusion(u64::MAX - 1, u64::MAX).unwrap();
        assert!(big.nodes().len() <= 64 * 64);
        let huge = TreeHead { size: u64::MAX, root: Hash([0; 32]) };
        assert!(verify_inclusion(&Hash([0; 32]), 5, &huge, &[Hash([0; 32]); 70]).is_err());
    }

    proptest! {
        #[test]
        fn proofs_agree_with_the_definition_and_verify(size in 1usize..200, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
            let all = leaves(size);
            let nodes = MemoryNodes::new(all.clone());
            let new = b.index(size) + 1;
            let index = a.index(new);
            let (tree, leaf) = (&all[..new], all[index]);

            let path = inclusion(&nodes, index as u64, new as u64);
            prop_assert_eq!(&path, &naive_path(index, tree));
            prop_assert_eq!(verify_inclusion(&leaf, index as u64, &head(tree), &path), Ok(()));

            let old = index + 1;
            let proof = consistency(&nodes, old as u64, new as u64);
            prop_assert_eq!(&proof, &naive_subproof(old, tree, true));
            let old_head = head(&all[..old]);
            prop_assert_eq!(verify_consistency(&old_head, &head(tree), &proof), Ok(()));
        }

        /// Another implementation of the same tree accepts our proofs.
        #[test]
        fn proofs_satisfy_tlog_tiles(size in 1usize..200, a in any::<prop::sample::Index>()) {
            let all = leaves(size);
            let nodes = MemoryNodes::new(all.clone());
            let index = a.index(size);
            let convert = |h: &Hash| theirs::Hash(h.0);
            let (n, root) = (size as u64, convert(&naive_root(&all)));
            let path: Vec<_> = inclusion(&nodes, index as u64, n).iter().map(convert).collect();
            prop_assert!(theirs::check_record(&path, n, root, index as u64, convert(&all[index])).is_ok());
            let old = index + 1;
            let proof: Vec<_> = consistency(&nodes, old as u64, n).iter().map(convert).collect();
            let old_root = convert(&naive_root(&all[..old]));
            prop_assert!(theirs::check_tree(&proof, n, root, old as u64, old_root).is_ok());
        }

        #[test]
        fn altered_proofs_fail(size in 2usize..100, a in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), what in 0u8..5) {
            let all = leaves(size);
            let nodes = MemoryNodes::new(all.clone());
            let index = a.index(size);
            let new = head(&all);
            let old = head(&all[..=index]);
            let mut path = inclusion(&nodes, index as u64, new.size);
            let mut proof = consistency(&nodes, old.size, new.size);
            let (mut leaf, mut old) = (all[index], old);
            match what {
                0 => { let i = at.index(path.len()); path[i].0[3] ^= 1; if let Some(h) = proof.last_mut() { h.0[0] ^= 1 } else { old.root.0[0] ^= 1 } }
                1 => { path.push(Hash([0; 32])); proof.push(Hash([0; 32])); }
                2 => { path.pop(); if proof.pop().is_none() { old.root.0[0] ^= 1 } }
                3 => { leaf.0[0] ^= 1; old.root.0[0] ^= 1 }
                _ => { path.insert(0, Hash([1; 32])); proof.insert(0, Hash([1; 32])); }
            }
            prop_assert!(verify_inclusion(&leaf, index as u64, &new, &path).is_err());
            prop_assert!(verify_consistency(&old, &new, &proof).is_err());
        }

        #[test]
        fn arbitrary_proofs_never_panic(a in any::<u64>(), b in any::<u64>(), n in 0usize..80, x in any::<u8>()) {
            let proof = vec![Hash([x; 32]); n];
            let heads = [a, b].map(|size| TreeHead { size, root: Hash([x; 32]) });
            let _ = verify_inclusion(&Hash([x; 32]), a, &heads[1], &proof);
            let _ = verify_consistency(&heads[0], &heads[1], &proof);
            let _ = Plan::inclusion(a, b);
            let _ = Plan::consistency(a, b);
        }
    }
}
