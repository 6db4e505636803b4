//! Audit: the log's entries, its signed heads, and proofs.

use super::ledger::frontier;
use super::publish::PublishError;
use super::{Error, Inner, Result};
use crate::env::Millis;
use crate::store::log;
use crate::store::published::{self, Published};
use crate::tlog::proof_file::ProofFile;
use crate::tlog::prover::ProverError;
use crate::tlog::publish::{self, Tiles};
use crate::tlog::tile::CHECKPOINT;
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

/// The longest page of published checkpoints.
pub const MAX_CHECKPOINTS: u32 = 100;
/// The longest page of entries.
pub const MAX_PAGE: u32 = 1000;

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

    /// The head, signed (C2SP tlog-checkpoint), as it is committed now. What was published of it is
    /// in [`Inner::tiles`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn checkpoint(&self) -> Result<Vec<u8>> {
        Ok(self.signed_head().await?.1)
    }

    /// Checkpoints as they were published, with the witnesses' cosignatures; the largest first, below
    /// `below` entries, at most [`MAX_CHECKPOINTS`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn published_checkpoints(&self, below: u64, limit: u32) -> Result<Vec<Published>> {
        let limit = limit.clamp(1, MAX_CHECKPOINTS);
        Ok(published::before(&mut self.db().read().await?, below, limit).await?)
    }

    /// Proves that entry `index` is in the log.
    ///
    /// # Errors
    /// [`Error::NotFound`] beyond the end; [`Error::Unavailable`] where the tiles can't be read.
    pub async fn prove_inclusion(&self, index: u64) -> Result<Inclusion> {
        let prover = self.prover().await?;
        on_tiles(move || {
            let (leaf_hash, proof) = (prover.leaf(index)?, prover.inclusion(index)?);
            Ok(Inclusion { index, leaf_hash, head: prover.head(), proof })
        })
        .await
    }

    /// The same as a file to take along (C2SP tlog-proof), with the cosignatures that the published
    /// checkpoint has where it is of the same size.
    ///
    /// # Errors
    /// As of [`prove_inclusion`](Self::prove_inclusion).
    pub async fn proof_file(&self, index: u64) -> Result<Vec<u8>> {
        let p = self.prove_inclusion(index).await?;
        let folder = self.tiles().clone();
        let key = self.signing.log_key()?;
        let shown =
            on_tiles(move || Ok(folder.get(CHECKPOINT).map_err(publish::Error::from)?)).await?;
        let fits = |note: &Vec<u8>| {
            checkpoint::open(note, std::slice::from_ref(&key)).is_ok_and(|c| c.head == p.head)
        };
        let checkpoint = match shown.filter(fits) {
            Some(note) => note,
            None => self.signing.sign(&p.head)?,
        };
        Ok(ProofFile { extra: None, index, proof: p.proof, checkpoint }.to_bytes())
    }

    /// Proves that the log now continues the log of `old_size` entries.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the log never had that many; [`Error::Unavailable`] where the
    /// tiles can't be read.
    pub async fn prove_consistency(&self, old_size: u64) -> Result<Consistency> {
        let prover = self.prover().await?;
        on_tiles(move || {
            let proof = prover.consistency(old_size)?;
            Ok(Consistency { old_size, head: prover.head(), proof })
        })
        .await
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

/// Reads tiles away from the threads that serve.
async fn on_tiles<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProverError> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|e| Error::Internal(format!("a proof: {e}")))?;
    done.map_err(|e| match e {
        ProverError::OutOfRange(_) => Error::NotFound("log entry or log of that size"),
        ProverError::Tiles(e) => PublishError::from(e).into(),
    })
}
