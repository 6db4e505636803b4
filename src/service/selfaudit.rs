//! The self-audit: the database, the tiles and every checkpoint that was shown, against each other.
//!
//! It finds what somebody with the database or the disk did behind the service's back. Whoever has
//! the signing key too can make a second history that is consistent in itself: that is what
//! witnesses and kept checkpoints are for.

use tokio_util::sync::CancellationToken;

use super::ledger::frontier;
use super::{Error, Inner, Result, Services};
use crate::store::{log, published};
use crate::tlog::publish::{Builder, Tiles};
use crate::tlog::replay::{Fault, Replay, Report, Row};
use crate::tlog::tile::{CHECKPOINT, Content, Tile, WIDTH};
use crate::tlog::{Hash, LogKey, TreeHead, checkpoint};

/// What the self-audit found wrong.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// The entries.
    #[error(transparent)]
    Log(#[from] Fault),
    /// The head that the database keeps does not follow from its entries.
    #[error("the database's head of {size} entries does not follow from the entries")]
    Head {
        /// Its size.
        size: u64,
    },
    /// A checkpoint is not signed by the log's key.
    #[error("the checkpoint {which} does not verify with the log's key: {cause}")]
    Checkpoint {
        /// Where it lies.
        which: String,
        /// Why not.
        cause: checkpoint::Error,
    },
    /// A tile is not what the entries say.
    #[error("{path} was altered: it does not hold what the entries say (entries from {first} on)")]
    TileAltered {
        /// The tile.
        path: String,
        /// The first entry below it.
        first: u64,
    },
    /// A tile is not there.
    #[error("{path} is missing: it holds the entries from {first} on")]
    TileMissing {
        /// The tile.
        path: String,
        /// The first entry below it.
        first: u64,
    },
}

impl Finding {
    /// A word for it, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Log(Fault::OutOfOrder { .. }) => "out_of_order",
            Self::Log(Fault::Altered { .. }) => "altered",
            Self::Log(Fault::Unreadable { .. }) => "unreadable",
            Self::Log(Fault::BackDated { .. }) => "back_dated",
            Self::Log(Fault::WrongRoot { .. }) => "wrong_root",
            Self::Log(Fault::Forked { .. }) => "forked",
            Self::Log(Fault::CutOff { .. }) => "cut_off",
            Self::Head { .. } => "head",
            Self::Checkpoint { .. } => "checkpoint",
            Self::TileAltered { .. } => "tile_altered",
            Self::TileMissing { .. } => "tile_missing",
        }
    }
}

/// Entries that are read at once.
const PAGE: u32 = 1000;

impl Services {
    /// Audits until `stop`, and raises the alarm through the metrics.
    pub async fn audit_until(&self, stop: CancellationToken) {
        let every = self.settings().log.audit_every;
        while tokio::time::timeout(every, stop.cancelled()).await.is_err() {
            let found = tokio::select! {
                found = self.self_audit(None, |_, _| ()) => found,
                () = stop.cancelled() => return,
            };
            match found {
                Ok(Ok(report)) => {
                    metrics::gauge!("cameo_log_audit_fault").set(0.0);
                    metrics::gauge!("cameo_log_audit_entries").set(report.head.size as f64);
                }
                Ok(Err(finding)) => {
                    metrics::gauge!("cameo_log_audit_fault").set(1.0);
                    metrics::counter!("cameo_log_audit_faults_total", "fault" => finding.name())
                        .increment(1);
                    tracing::error!(fault = finding.name(), finding = %finding, "THE LOG DOES NOT HOLD");
                }
                Err(e) => tracing::warn!(error = %e, "the self-audit broke off; it runs again"),
            }
        }
    }
}

impl Inner {
    /// Checks the whole log: entries against each other, the head, every checkpoint that was
    /// published, and the tiles; and `since`, a head that somebody kept. `progress` is told how many
    /// of how many entries were read.
    ///
    /// # Errors
    /// Those of the store and the disk; what is wrong with the log is no error but the inner result.
    pub async fn self_audit(
        &self,
        since: Option<TreeHead>,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<Result<Report, Finding>> {
        // Nothing is published while the checkpoints are read, so that they belong together.
        let still = self.publication_still().await?;
        let key = self.signing.verifying_key();
        let mut heads: Vec<TreeHead> = since.into_iter().collect();
        let folder = self.tiles().clone();
        let place = folder.to_string();
        let tiles = folder.clone();
        let read = tokio::task::spawn_blocking(move || tiles.get(CHECKPOINT)).await;
        let read = read.map_err(|e| Error::Internal(format!("the self-audit: {e}")))?;
        let shown = match read.map_err(|e| disk(&e))? {
            None => None,
            Some(note) => match own_head(&note, key) {
                Ok(head) => Some(head),
                Err(cause) => {
                    let which = format!("in {place}");
                    return Ok(Err(Finding::Checkpoint { which, cause }));
                }
            },
        };
        heads.extend(shown);
        let mut above = 0;
        loop {
            let page = published::after(&mut self.db().read().await?, above, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            above = *last;
            for (size, note) in &page {
                match own_head(note, key) {
                    Ok(head) => heads.push(head),
                    Err(cause) => {
                        let which = format!("of size {size} in the database");
                        return Ok(Err(Finding::Checkpoint { which, cause }));
                    }
                }
            }
        }
        let mut tx = self.db().snapshot().await?;
        let stored = frontier(&log::head(&mut tx).await?)?.head();
        if let Some((size, note)) = log::checkpoint(&mut tx).await? {
            match own_head(&note, key) {
                Ok(head) => heads.push(head),
                Err(cause) => {
                    let which = format!("of size {size}, the newest in the database");
                    return Ok(Err(Finding::Checkpoint { which, cause }));
                }
            }
        }
        drop((tx, still));
        let tiled = shown.map_or(0, |h| h.size);
        let replay = match Replay::new(heads) {
            Ok(replay) => replay,
            Err(fault) => return Ok(Err(fault.into())),
        };
        let mut check = Check { replay, builder: Builder::default(), tiled };
        let mut from = 0;
        while from < stored.size {
            let page =
                log::raw_entries(&mut self.db().read().await?, from, stored.size, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.index + 1;
            let folder = folder.clone();
            let work = move || check.page(&folder, &page).map(|found| (check, found));
            let done = tokio::task::spawn_blocking(work).await;
            let (back, found) = done
                .map_err(|e| Error::Internal(format!("the self-audit: {e}")))?
                .map_err(|e| disk(&e))?;
            check = back;
            if let Err(finding) = found {
                return Ok(Err(finding));
            }
            progress(from, stored.size);
        }
        let computed = check.replay.frontier().head();
        Ok(match check.replay.finish() {
            Err(fault) => Err(fault.into()),
            Ok(_) if computed != stored => Err(Finding::Head { size: stored.size }),
            Ok(report) => Ok(report),
        })
    }
}

/// Entries and tiles side by side.
struct Check {
    replay: Replay,
    builder: Builder,
    /// The size that the tiles have to have.
    tiled: u64,
}

impl Check {
    fn page(
        &mut self,
        tiles: &dyn Tiles,
        page: &[log::Entry],
    ) -> std::io::Result<Result<(), Finding>> {
        for e in page {
            let row = Row { index: e.index, entry: &e.entry, leaf_hash: Hash(e.leaf_hash) };
            if let Err(fault) = self.replay.push(&row) {
                return Ok(Err(fault.into()));
            }
            if self.builder.size() >= self.tiled {
                continue;
            }
            let mut compare = |tile: Tile, bytes: Vec<u8>| compare(tiles, &tile, &bytes);
            let mut found = self.builder.push(&e.entry, row.leaf_hash, &mut compare);
            if found.is_ok() && self.builder.size() == self.tiled {
                found = self.builder.partials(&mut compare);
            }
            match found {
                Ok(()) => {}
                Err(Compared::Wrong(finding)) => return Ok(Err(finding)),
                Err(Compared::Disk(e)) => return Err(e),
            }
        }
        Ok(Ok(()))
    }
}

enum Compared {
    Wrong(Finding),
    Disk(std::io::Error),
}

fn compare(tiles: &dyn Tiles, tile: &Tile, bytes: &[u8]) -> Result<(), Compared> {
    let path = tile.path();
    let first = match tile.content {
        Content::Entries => tile.index * WIDTH,
        Content::Hashes(level) => (tile.index * WIDTH) << (8 * u32::from(level)),
    };
    let mut there = tiles.get(&path).map_err(Compared::Disk)?;
    if there.is_none() && !tile.is_full() {
        // Dropped when the full one came, which begins with the same bytes.
        let full = Tile { width: WIDTH as u16, ..*tile };
        there = tiles.get(&full.path()).map_err(Compared::Disk)?;
        if let Some(there) = &mut there {
            there.truncate(bytes.len());
        }
    }
    match there {
        None => Err(Compared::Wrong(Finding::TileMissing { path, first })),
        Some(there) if there != bytes => Err(Compared::Wrong(Finding::TileAltered { path, first })),
        Some(_) => Ok(()),
    }
}

/// The head of a checkpoint signed by this key, under whatever name the log had then.
pub(super) fn own_head(
    note: &[u8],
    key: crate::crypto::VerifyingKey,
) -> Result<TreeHead, checkpoint::Error> {
    let origin = note.split(|b| *b == b'\n').next().unwrap_or_default();
    let origin = std::str::from_utf8(origin).map_err(|_| checkpoint::Error::BadOrigin)?;
    Ok(checkpoint::open(note, &[LogKey::new(origin, key)?])?.head)
}

fn disk(e: &std::io::Error) -> Error {
    tracing::warn!(error = %e, "the tiles can't be read");
    Error::Unavailable("the log's tiles can't be read")
}
