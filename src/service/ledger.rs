//! Writing to the transparency log, in the transaction of the effect.
//!
//! Take the [`Ledger`] first in a transaction: it holds the log's head, so whatever is read after it
//! is not overtaken by another writer (see `store`).

use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::env::Millis;
use crate::store::{Tx, log};
use crate::tlog::{self, Frontier, Kind, Salt, commitment};

/// What is to be remembered: public words, and commitments to what only the person may open.
pub(super) struct Note<'a> {
    kind: Kind,
    person: Option<&'a Person>,
    public: Vec<(&'static str, String)>,
    secret: Vec<(&'static str, Vec<u8>)>,
}

impl<'a> Note<'a> {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, person: None, public: Vec::new(), secret: Vec::new() }
    }

    /// Whom it is about. Their pseudonym is committed to, not told.
    pub(super) fn about(mut self, person: &'a Person) -> Self {
        self.secret.push(("subject", person.reference.to_vec()));
        self.person = Some(person);
        self
    }

    /// Something everyone may read. Never personal data.
    pub(super) fn public(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.public.push((label, value.into()));
        self
    }

    /// Something that is committed to with a salt that the person keeps.
    pub(super) fn commit(mut self, label: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.secret.push((label, body.into()));
        self
    }
}

/// The log's head, held until the transaction ends.
pub(super) struct Ledger<'a> {
    inner: &'a Inner,
    now: Millis,
    head: log::Head,
    frontier: Frontier,
    entries: Vec<log::Entry>,
    salts: Vec<(u64, [u8; 16], Vec<u8>)>,
}

impl Inner {
    /// Takes the log's head for this transaction.
    pub(super) async fn ledger(&self, tx: &mut Tx) -> Result<Ledger<'_>> {
        let head = log::lock_head(tx).await?;
        let frontier = frontier(&head)?;
        let now = self.clock().now();
        Ok(Ledger { inner: self, now, head, frontier, entries: Vec::new(), salts: Vec::new() })
    }
}

/// The tree that a head stands for.
pub(super) fn frontier(head: &log::Head) -> Result<Frontier> {
    // The schema starts with an empty log, before anything could encode its tree.
    if head.size == 0 && head.frontier.is_empty() {
        return Ok(Frontier::new());
    }
    let frontier = Frontier::from_bytes(&head.frontier)
        .map_err(|e| Error::Internal(format!("the log's head: {e}")))?;
    if frontier.size() == head.size {
        Ok(frontier)
    } else {
        Err(Error::Internal("the log's head contradicts itself".into()))
    }
}

impl Ledger<'_> {
    /// Adds an entry and returns its index.
    pub(super) fn add(&mut self, note: Note<'_>) -> Result<u64> {
        let index = self.frontier.size();
        let salt = Salt::generate(self.inner.entropy());
        let mut entry = tlog::Entry::new(note.kind, self.now);
        for (label, value) in note.public {
            entry = entry.with(label, value);
        }
        for (label, body) in &note.secret {
            entry = entry.committing(label, commitment::commit(label, &salt, body));
        }
        let bytes = entry.encode().map_err(|e| Error::Internal(format!("a log entry: {e}")))?;
        let leaf = tlog::leaf_hash(&bytes);
        self.frontier.append(leaf);
        self.entries.push(log::Entry {
            index,
            at: self.now,
            kind: note.kind.name().to_owned(),
            entry: bytes,
            leaf_hash: leaf.0,
        });
        if let Some(person) = note.person {
            let place = format!("log:{index}");
            let sealed = self.inner.seal(person, Sealed::Salt, &place, &salt.expose())?;
            self.salts.push((index, person.reference, sealed));
        }
        Ok(index)
    }

    /// Writes what was added, and the signed checkpoint of what the log is then; in a group commit
    /// the batch does the latter once for all. Without this nothing is written.
    pub(super) async fn write(self, tx: &mut Tx) -> Result<()> {
        let new = log::Head { size: self.frontier.size(), frontier: self.frontier.to_bytes() };
        let size = new.size;
        log::append(tx, &self.head, self.entries, new).await?;
        if !tx.is_batch() {
            let note = self.inner.signing.sign(&self.frontier.head())?;
            log::keep_checkpoint(tx, size, &note).await?;
        }
        for (index, reference, sealed) in &self.salts {
            log::add_salt(tx, *index, reference, sealed).await?;
        }
        Ok(())
    }
}
