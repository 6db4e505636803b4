//! Audit: the log's entries, its signed heads, and proofs.

use super::ledger::frontier;
use super::{Error, Inner, Result};
use crate::env::Millis;
use crate::store::log;
use crate::tlog::proof::{MemoryNodes, Plan};
use crate::tlog::{self, Hash, TreeHead, checkpoint};

/// One entry as it is stored: its bytes are what is hashed.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    /// Its place, from 0.
    pub index: u64,
    /// When it was appended.
    pub at: Millis,
    /// The bytes; see [`tlog::Entry::decode`].
    pub bytes: Vec<u8>,
    /// The RFC 6962 leaf hash.
    pub leaf_hash: Hash,
}

/// A proof that an entry is in the log.
#[derive(Clone, Debug)]
pub struct Inclusion {
    /// The entry.
    pub index: u64,
    /// Its leaf hash.
    pub leaf_hash: Hash,
    /// The tree that it is in.
    pub head: TreeHead,
    /// Sibling hashes, from the leaf up (RFC 9162 §2.1.3).
    pub proof: Vec<Hash>,
}

/// A proof that a tree grew out of an earlier one.
#[derive(Clone, Debug)]
pub struct Consistency {
    /// The earlier size.
    pub old_size: u64,
    /// The tree now.
    pub head: TreeHead,
    /// The hashes (RFC 9162 §2.1.4).
    pub proof: Vec<Hash>,
}

/// The longest page of entries.
pub const MAX_PAGE: u32 = 1000;
/// The largest log for which proofs are computed from all its leaf hashes; beyond it they have to
/// come from tiles.
pub const MAX_PROOF_SIZE: u64 = 1 << 20;

impl Inner {
    /// Entries from index `from` on, in order.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn entries(&self, from: u64, limit: u32) -> Result<Vec<StoredEntry>> {
        let mut tx = self.db().snapshot().await?;
        let size = log::head(&mut tx).await?.size;
        let rows = log::entries(&mut tx, from, size, limit.clamp(1, MAX_PAGE)).await?;
        Ok(rows
            .into_iter()
            .map(|e| StoredEntry {
                index: e.index,
                at: e.at,
                bytes: e.entry,
                leaf_hash: Hash(e.leaf_hash),
            })
            .collect())
    }

    /// The log's size and root now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tree_head(&self) -> Result<TreeHead> {
        Ok(frontier(&log::head(&mut self.db().read().await?).await?)?.head())
    }

    /// The head, signed (C2SP tlog-checkpoint).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn checkpoint(&self) -> Result<Vec<u8>> {
        let head = self.tree_head().await?;
        checkpoint::sign(self.signing.origin(), &head, self.signing.log())
            .map_err(|e| Error::Internal(format!("a checkpoint: {e}")))
    }

    /// Proves that entry `index` is in the log.
    ///
    /// # Errors
    /// [`Error::NotFound`] beyond the end; [`Error::Unavailable`] where the log is too long.
    pub async fn prove_inclusion(&self, index: u64) -> Result<Inclusion> {
        let of = move |size| Plan::inclusion(index, size).map_err(|_| Error::NotFound("log entry"));
        let (head, proof) = self.prove(of).await?;
        let leaf = log::leaf_hashes(&mut self.db().read().await?, index, index + 1).await?;
        let leaf_hash = leaf.first().copied().map(Hash).ok_or(Error::NotFound("log entry"))?;
        Ok(Inclusion { index, leaf_hash, head, proof })
    }

    /// Proves that the log now continues the log of `old_size` entries.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the log never had that many; [`Error::Unavailable`] where it is
    /// too long.
    pub async fn prove_consistency(&self, old_size: u64) -> Result<Consistency> {
        let of = move |size| {
            Plan::consistency(old_size, size).map_err(|_| Error::NotFound("log of that size"))
        };
        let (head, proof) = self.prove(of).await?;
        Ok(Consistency { old_size, head, proof })
    }

    /// Makes a proof about the log as it is now.
    async fn prove(
        &self,
        plan: impl FnOnce(u64) -> Result<Plan> + Send,
    ) -> Result<(TreeHead, Vec<Hash>)> {
        let _turn = self.proofs.acquire().await.map_err(|_| Error::Busy)?;
        let mut tx = self.db().snapshot().await?;
        let stored = log::head(&mut tx).await?;
        let plan = plan(stored.size)?;
        if stored.size > MAX_PROOF_SIZE {
            return Err(Error::Unavailable("the log is too long for proofs from this endpoint"));
        }
        let leaves = log::leaf_hashes(&mut tx, 0, stored.size).await?;
        let head = frontier(&stored)?.head();
        let hashing = tokio::task::spawn_blocking(move || {
            plan.prove(&MemoryNodes::new(leaves.into_iter().map(Hash).collect()))
        });
        let proof = hashing.await.ok().and_then(Result::ok).flatten();
        let proof =
            proof.ok_or_else(|| Error::Internal("the log has too few leaf hashes".into()))?;
        Ok((head, proof))
    }

    /// Replays the whole log from the database against its head, and says where it breaks.
    ///
    /// # Errors
    /// Those of the store; a break is no error but the inner result.
    pub async fn replay(&self) -> Result<Result<tlog::replay::Report, tlog::replay::Fault>> {
        let head = self.tree_head().await?;
        let mut replay = match tlog::Replay::new(vec![head]) {
            Ok(replay) => replay,
            Err(fault) => return Ok(Err(fault)),
        };
        let mut from = 0;
        loop {
            let page = self.entries(from, MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.index + 1;
            for e in &page {
                let row =
                    tlog::replay::Row { index: e.index, entry: &e.bytes, leaf_hash: e.leaf_hash };
                if let Err(fault) = replay.push(&row) {
                    return Ok(Err(fault));
                }
            }
        }
        Ok(replay.finish())
    }
}
