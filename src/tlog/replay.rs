//! Checks a log from its entries: that they are all there, in order, unaltered, and hash to what
//! the signed checkpoints say. Where they don't, says at which entry it breaks.

use std::time::Duration;

use super::entry::{self, Entry};
use super::merkle::{Frontier, Hash, TreeHead, leaf_hash};
use crate::env::Millis;

/// How far an entry's time may lie before an earlier entry's: several processes append, each with
/// its own clock.
pub const CLOCK_TOLERANCE: Duration = Duration::from_mins(1);

/// A stored entry.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its position, from 0.
    pub index: u64,
    /// Its bytes.
    pub entry: &'a [u8],
    /// The leaf hash stored with it.
    pub leaf_hash: Hash,
}

/// How a log breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The entries are not 0, 1, 2, …
    #[error(
        "entry {expected} is missing: entry {found} comes in its place (dropped, doubled or reordered)"
    )]
    OutOfOrder {
        /// The index that had to come.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// The bytes are not those that were hashed.
    #[error("entry {index} was altered: its bytes do not have the hash stored with it")]
    Altered {
        /// The entry.
        index: u64,
    },
    /// The bytes are no entry.
    #[error("entry {index} can't be read: {cause}")]
    Unreadable {
        /// The entry.
        index: u64,
        /// Why.
        cause: entry::Error,
    },
    /// The entry claims to be older than those before it.
    #[error("entry {index} is back-dated: {behind_ms} ms before an earlier entry")]
    BackDated {
        /// The entry.
        index: u64,
        /// By how much.
        behind_ms: i64,
    },
    /// The entries do not lead to a checkpoint's root, though each has its stored hash: an entry
    /// was replaced together with its hash, or the log was forked.
    #[error(
        "the entries from {from} to {to} are not those of the checkpoint of size {to}: one was replaced, or the log was forked"
    )]
    WrongRoot {
        /// The entries before this index agree with the previous checkpoint.
        from: u64,
        /// The size of the checkpoint that disagrees.
        to: u64,
    },
    /// Two checkpoints of one size have different roots.
    #[error("two checkpoints of size {size} contradict each other: the log was forked")]
    Forked {
        /// The size.
        size: u64,
    },
    /// A checkpoint covers entries that are not there.
    #[error(
        "the log ends after {entries} entries, but a checkpoint covers {checkpoint}: it was cut off"
    )]
    CutOff {
        /// The entries that are there.
        entries: u64,
        /// The checkpoint's size.
        checkpoint: u64,
    },
}

/// An entry's bytes, hashed and decoded.
#[derive(Debug)]
pub(super) struct Read {
    leaf: Hash,
    entry: Result<Entry, entry::Error>,
}

impl Read {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { leaf: leaf_hash(bytes), entry: Entry::decode(bytes) }
    }
}

/// What a clean replay found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The tree of all entries.
    pub head: TreeHead,
    /// How many of them the largest checkpoint covers.
    pub covered: u64,
    /// How many checkpoints agreed.
    pub checkpoints: usize,
}

/// A replay in progress: entries are pushed in order, in constant memory.
#[derive(Debug, Clone)]
pub struct Replay {
    frontier: Frontier,
    /// Heads not reached yet, the next one last.
    heads: Vec<TreeHead>,
    agreed: usize,
    covered: u64,
    latest: Millis,
}

impl Replay {
    /// A replay from the first entry against the heads of verified checkpoints, in any order.
    ///
    /// # Errors
    /// [`Fault::Forked`] where two heads contradict each other.
    pub fn new(heads: Vec<TreeHead>) -> Result<Self, Fault> {
        Self::resume(Frontier::new(), heads)
    }

    /// A replay that goes on after the entries of `frontier`, which was verified before. Heads of
    /// smaller trees are passed over.
    ///
    /// # Errors
    /// [`Fault::Forked`], [`Fault::WrongRoot`] where a head of just this size disagrees.
    pub fn resume(frontier: Frontier, mut heads: Vec<TreeHead>) -> Result<Self, Fault> {
        heads.retain(|h| h.size >= frontier.size());
        heads.sort_by_key(|h| std::cmp::Reverse((h.size, h.root)));
        heads.dedup();
        if let Some(pair) = heads.windows(2).find(|w| w[0].size == w[1].size) {
            return Err(Fault::Forked { size: pair[0].size });
        }
        let covered = frontier.size();
        let mut replay = Self { frontier, heads, agreed: 0, covered, latest: Millis(0) };
        replay.compare()?;
        Ok(replay)
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// The [`Fault`] that this entry shows.
    pub fn push(&mut self, row: &Row<'_>) -> Result<Entry, Fault> {
        self.push_read(row.index, row.leaf_hash, Read::new(row.entry))
    }

    /// Takes the next entry, which was hashed and decoded already: on another thread, perhaps.
    ///
    /// # Errors
    /// The [`Fault`] that this entry shows.
    pub(super) fn push_read(
        &mut self,
        found: u64,
        stored: Hash,
        read: Read,
    ) -> Result<Entry, Fault> {
        let index = self.frontier.size();
        if found != index {
            return Err(Fault::OutOfOrder { expected: index, found });
        }
        let leaf = read.leaf;
        if leaf != stored {
            return Err(Fault::Altered { index });
        }
        let entry = read.entry.map_err(|cause| Fault::Unreadable { index, cause })?;
        if entry.time.plus(CLOCK_TOLERANCE) < self.latest {
            return Err(Fault::BackDated { index, behind_ms: self.latest.0 - entry.time.0 });
        }
        self.latest = self.latest.max(entry.time);
        self.frontier.append(leaf);
        self.compare()?;
        Ok(entry)
    }

    /// Ends the replay.
    ///
    /// # Errors
    /// [`Fault::CutOff`] where a checkpoint was not reached.
    pub fn finish(self) -> Result<Report, Fault> {
        if let Some(head) = self.heads.first() {
            return Err(Fault::CutOff { entries: self.frontier.size(), checkpoint: head.size });
        }
        Ok(Report { head: self.frontier.head(), covered: self.covered, checkpoints: self.agreed })
    }

    /// The tree so far.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    fn compare(&mut self) -> Result<(), Fault> {
        let Some(head) = self.heads.pop_if(|h| h.size == self.frontier.size()) else {
            return Ok(());
        };
        if head.root != self.frontier.root() {
            return Err(Fault::WrongRoot { from: self.covered, to: head.size });
        }
        self.covered = head.size;
        self.agreed += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Kind;
    use super::*;

    struct Log {
        rows: Vec<(u64, Vec<u8>, Hash)>,
        heads: Vec<TreeHead>,
    }

    /// 20 entries a second apart, with checkpoints of 5, 12 and 20.
    fn log() -> Log {
        let mut frontier = Frontier::new();
        let (mut rows, mut heads) = (Vec::new(), Vec::new());
        for i in 0..20u64 {
            let bytes = encoded(i, 1_000_000 + 1000 * i as i64);
            let leaf = leaf_hash(&bytes);
            frontier.append(leaf);
            rows.push((i, bytes, leaf));
            if [5, 12, 20].contains(&frontier.size()) {
                heads.push(frontier.head());
            }
        }
        Log { rows, heads }
    }

    fn encoded(number: u64, time: i64) -> Vec<u8> {
        Entry::new(Kind::Admin, Millis(time)).with("n", number).encode().unwrap()
    }

    fn check(log: &Log) -> Result<Report, Fault> {
        let mut replay = Replay::new(log.heads.clone())?;
        for (index, entry, leaf_hash) in &log.rows {
            replay.push(&Row { index: *index, entry, leaf_hash: *leaf_hash })?;
        }
        replay.finish()
    }

    fn tampered(change: impl FnOnce(&mut Log)) -> Fault {
        let mut log = log();
        change(&mut log);
        check(&log).unwrap_err()
    }

    #[test]
    fn an_honest_log_is_clean_also_in_two_parts() {
        let log = log();
        let report = check(&log).unwrap();
        assert_eq!(report, Report { head: log.heads[2], covered: 20, checkpoints: 3 });

        let mut first = Replay::new(vec![]).unwrap();
        for (index, entry, leaf_hash) in &log.rows[..7] {
            first.push(&Row { index: *index, entry, leaf_hash: *leaf_hash }).unwrap();
        }
        let mut second = Replay::resume(first.frontier().clone(), log.heads.clone()).unwrap();
        for (index, entry, leaf_hash) in &log.rows[7..] {
            second.push(&Row { index: *index, entry, leaf_hash: *leaf_hash }).unwrap();
        }
        assert_eq!(second.finish().unwrap().checkpoints, 2);
    }

    #[test]
    fn every_tampering_is_found_by_name() {
        assert_eq!(tampered(|l| l.rows[3].1[9] ^= 1), Fault::Altered { index: 3 });
        assert_eq!(tampered(|l| l.rows[3].2.0[9] ^= 1), Fault::Altered { index: 3 });
        assert_eq!(
            tampered(|l| drop(l.rows.remove(6))),
            Fault::OutOfOrder { expected: 6, found: 7 }
        );
        assert_eq!(tampered(|l| l.rows.swap(2, 3)), Fault::OutOfOrder { expected: 2, found: 3 });
        assert_eq!(
            tampered(|l| l.rows.insert(4, l.rows[3].clone())),
            Fault::OutOfOrder { expected: 4, found: 3 }
        );
        assert_eq!(
            tampered(|l| l.rows.truncate(15)),
            Fault::CutOff { entries: 15, checkpoint: 20 }
        );
        let replace = |l: &mut Log, i: usize, bytes: Vec<u8>| {
            let leaf = leaf_hash(&bytes);
            l.rows[i] = (i as u64, bytes, leaf);
        };
        assert_eq!(
            tampered(|l| replace(l, 8, encoded(99, 1_008_000))),
            Fault::WrongRoot { from: 5, to: 12 }
        );
        assert_eq!(
            tampered(|l| replace(l, 8, encoded(8, 1_007_000 - 60_001))),
            Fault::BackDated { index: 8, behind_ms: 60_001 }
        );
        assert!(matches!(
            tampered(|l| replace(l, 8, vec![0xa0])),
            Fault::Unreadable { index: 8, .. }
        ));
        assert_eq!(
            tampered(|l| l.heads.push(TreeHead { size: 12, root: Hash([0; 32]) })),
            Fault::Forked { size: 12 }
        );
        let stored = tampered(|l| {
            // Entries moved together with consistent indexes.
            let (a, b) = (l.rows[13].clone(), l.rows[14].clone());
            l.rows[13] = (13, b.1, b.2);
            l.rows[14] = (14, a.1, a.2);
        });
        assert_eq!(stored, Fault::WrongRoot { from: 12, to: 20 });
    }

    #[test]
    fn an_empty_log_is_clean() {
        let head = Frontier::new().head();
        let report = Replay::new(vec![head]).unwrap().finish().unwrap();
        assert_eq!(report, Report { head, covered: 0, checkpoints: 1 });
    }
}
