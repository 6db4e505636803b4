//! What auditors read: entries by what they say, exports, and whether effects and entries agree.
//! Reading more than what everyone may is itself an entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{Stream, unfold};

use super::access::Caller;
use super::audit::{MAX_PAGE, StoredEntry};
use super::ledger::Note;
use super::{Error, Inner, Result, Services};
use crate::env::Millis;
use crate::run_batched;
use crate::store::{log, reconcile, takedowns};
use crate::tlog::entry::Attribute;
use crate::tlog::export::{Format, Line, Writer};
use crate::tlog::replay::CLOCK_TOLERANCE;
use crate::tlog::{Entry, Filter, Hash, Kind, Prover};

/// A page of what was asked for.
#[derive(Clone, Debug)]
pub struct Found {
    /// The entries, in order.
    pub entries: Vec<StoredEntry>,
    /// Where the next page starts, where there may be one. Entries that are appended meanwhile come
    /// after it, so no page changes.
    pub next: Option<u64>,
}

/// Where effects and entries don't agree.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mismatch {
    /// The entry, or where it should be.
    pub index: u64,
    /// Of what: a name in [`Reconciled::agree`].
    pub of: &'static str,
    /// What is wrong.
    pub what: &'static str,
}

/// How many effects and entries agree, and where they don't.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reconciled {
    /// Effects with their entry: `uses`, `consents`, `grants`, `revocations`, `outcomes`,
    /// `deletions`, `takedowns`.
    pub agree: BTreeMap<&'static str, u64>,
    /// The first of the mismatches.
    pub mismatches: Vec<Mismatch>,
}

const UNRECORDED: &str = "an entry whose effect is not recorded";
const WITHOUT_ENTRY: &str = "an effect without an entry";

impl Reconciled {
    fn note(&mut self, index: u64, of: &'static str, wrong: Option<&'static str>) {
        match wrong {
            Some(what) => self.mismatches.push(Mismatch { index, of, what }),
            None => *self.agree.entry(of).or_default() += 1,
        }
    }
}

/// Compares the effects of one kind with a stretch of entries, both in order.
fn compare(
    source: &reconcile::Source,
    effects: Vec<reconcile::Effect>,
    entries: &[(u64, Entry)],
    found: &mut Reconciled,
) {
    let mut effects = effects.into_iter().peekable();
    for (index, entry) in entries {
        let effect = effects.next_if(|e| e.index == *index);
        let of_kind = source.kinds.contains(&entry.kind);
        match &effect {
            Some(e) if e.is_of(entry) => found.note(*index, source.name, None),
            Some(_) => {
                found.note(*index, source.name, Some("an effect that its entry contradicts"));
            }
            None if of_kind && source.kept => found.note(*index, source.name, Some(UNRECORDED)),
            None => {}
        }
    }
    for effect in effects {
        found.note(effect.index, source.name, Some(WITHOUT_ENTRY));
    }
}

/// Entries that one request looks at.
const MAX_SCAN: u64 = 20_000;
/// Mismatches that are listed.
const MAX_LISTED: usize = 100;

impl Inner {
    /// Entries from index `from` on that the filter lets through, and where `subject` is given, that
    /// are about the person of this pseudonym. Looks at a bounded number of entries, so a page can
    /// be short and still have a next one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown kind; those of the store.
    pub async fn search(
        &self,
        caller: &Caller,
        filter: &Filter,
        subject: Option<[u8; 16]>,
        from: u64,
        limit: u32,
    ) -> Result<Found> {
        filter.check().map_err(|e| Error::Invalid { field: "kind", reason: e.to_string() })?;
        let limit = limit.clamp(1, MAX_PAGE);
        if from == 0 && (subject.is_some() || !self.settings().log.public_entries) {
            self.note_read(caller, if subject.is_some() { "subject" } else { "entries" }).await?;
        }
        if let Some(subject) = subject {
            return self.search_subject(filter, subject, from, limit).await;
        }
        let mut tx = self.db().snapshot().await?;
        let size = log::head(&mut tx).await?.size;
        let mut at = match filter.since.filter(|_| from == 0) {
            Some(since) => first_at(&mut tx, since, size).await?,
            None => from,
        };
        let end = at.saturating_add(MAX_SCAN).min(size);
        let mut entries = Vec::new();
        while at < end {
            let page = log::entries(&mut tx, at, end, MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            at = last.index + 1;
            if over(filter, last.at) {
                at = size;
            }
            for e in page {
                if matches(filter, &e)? {
                    entries.push(stored(e));
                }
                if entries.len() == limit as usize {
                    let next = entries.last().map(|e| e.index + 1).filter(|next| *next < size);
                    return Ok(Found { entries, next });
                }
            }
        }
        Ok(Found { entries, next: (at < size).then_some(at) })
    }

    /// A person's salts say which entries are about them; once those are destroyed nothing does.
    async fn search_subject(
        &self,
        filter: &Filter,
        subject: [u8; 16],
        from: u64,
        limit: u32,
    ) -> Result<Found> {
        let mut tx = self.db().snapshot().await?;
        let salts = log::salts(&mut tx, &subject, from, limit).await?;
        let full = salts.len() == limit as usize;
        let next = salts.last().filter(|_| full).map(|s| s.index + 1);
        let mut entries = Vec::new();
        for salt in salts {
            let found = log::entries(&mut tx, salt.index, salt.index + 1, 1).await?;
            for e in found {
                if matches(filter, &e)? {
                    entries.push(stored(e));
                }
            }
        }
        Ok(Found { entries, next })
    }

    /// Remembers that an auditor read something.
    pub(super) async fn note_read(&self, caller: &Caller, what: &'static str) -> Result<()> {
        run_batched!(self.batch(), "audit.read", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let note = Note::new(Kind::AuditRead).public("auditor", caller.key.as_str());
            ledger.add(note.public("what", what))?;
            ledger.write(tx).await
        })
    }

    /// Compares every use and every version of a consent with its entry, both ways.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn reconcile(&self) -> Result<Reconciled> {
        let mut tx = self.db().snapshot().await?;
        let size = log::head(&mut tx).await?.size;
        let mut found = Reconciled::default();
        let mut from = 0;
        while from < size && found.mismatches.len() < MAX_LISTED {
            let to = size.min(from + u64::from(MAX_PAGE));
            let stored = log::entries(&mut tx, from, to, MAX_PAGE).await?;
            let entries =
                stored.iter().map(|e| Ok((e.index, decode(e)?))).collect::<Result<Vec<_>>>()?;
            for source in reconcile::SOURCES {
                let effects = reconcile::effects(&mut tx, source, from, to).await?;
                compare(source, effects, &entries, &mut found);
            }
            for (index, entry) in &entries {
                if entry.kind == Kind::TakedownRequested {
                    let recorded = match entry.attributes.get("takedown") {
                        Some(Attribute::Text(id)) => match id.parse() {
                            Ok(id) => takedowns::get(&mut tx, &id).await?.is_some(),
                            Err(_) => false,
                        },
                        _ => false,
                    };
                    found.note(*index, "takedowns", (!recorded).then_some(UNRECORDED));
                }
            }
            from = to;
        }
        for source in reconcile::SOURCES {
            for index in reconcile::beyond(&mut tx, source, size).await? {
                found.note(index, source.name, Some(WITHOUT_ENTRY));
            }
        }
        let named = found.agree.get("takedowns").copied().unwrap_or(0);
        if from >= size && reconcile::takedowns(&mut tx).await? > named {
            found.note(size, "takedowns", Some(WITHOUT_ENTRY));
        }
        found.mismatches.truncate(MAX_LISTED);
        Ok(found)
    }
}

impl Services {
    /// An export of what the filter lets through of the log as it is now: pieces, made as they are
    /// read, in constant memory.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown kind; those of the store and the tiles.
    pub async fn export(
        &self,
        caller: &Caller,
        filter: Filter,
        format: Format,
    ) -> Result<impl Stream<Item = Result<Vec<u8>>> + Send + 'static + use<>> {
        filter.check().map_err(|e| Error::Invalid { field: "kind", reason: e.to_string() })?;
        self.note_read(caller, "export").await?;
        let prover = self.prover().await?;
        let size = prover.head().size;
        let from = match filter.since {
            Some(since) => first_at(&mut self.db().snapshot().await?, since, size).await?,
            None => 0,
        };
        let (writer, start) = Writer::new(format);
        let export =
            Export { services: self.clone(), prover, filter, writer: Some(writer), from, start };
        Ok(unfold(export, |mut export| async move {
            let piece = export.piece().await.transpose()?;
            Some((piece, export))
        }))
    }
}

/// An export under way.
struct Export {
    services: Services,
    prover: Arc<Prover>,
    filter: Filter,
    /// Gone after the last piece.
    writer: Option<Writer>,
    from: u64,
    start: Vec<u8>,
}

impl Export {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(mut writer) = self.writer.take() else { return Ok(None) };
        let mut out = std::mem::take(&mut self.start);
        let size = self.prover.head().size;
        while out.is_empty() && self.from < size {
            let mut tx = self.services.db().read().await?;
            let page = log::entries(&mut tx, self.from, size, MAX_PAGE).await?;
            drop(tx);
            let Some(last) = page.last() else { break };
            self.from = if over(&self.filter, last.at) { size } else { last.index + 1 };
            let (prover, filter) = (self.prover.clone(), self.filter.clone());
            let work = move || -> Result<_> {
                let mut out = Vec::new();
                for e in page {
                    if !matches(&filter, &e)? {
                        continue;
                    }
                    let broken = |what: String| Error::Internal(format!("an export: {what}"));
                    let proof = prover.inclusion(e.index).map_err(|e| broken(e.to_string()))?;
                    let line = Line { index: e.index, bytes: e.entry, proof };
                    writer.entry(&line, &mut out).map_err(|e| broken(e.to_string()))?;
                }
                Ok((writer, out))
            };
            let done = tokio::task::spawn_blocking(work).await;
            (writer, out) = done.map_err(|e| Error::Internal(format!("an export: {e}")))??;
        }
        if out.is_empty() {
            let last = self.services.end_export(writer, &self.filter, &self.prover)?;
            return Ok(Some(last));
        }
        self.writer = Some(writer);
        Ok(Some(out))
    }
}

impl Inner {
    fn end_export(&self, writer: Writer, filter: &Filter, prover: &Prover) -> Result<Vec<u8>> {
        let note = self.signing.sign(&prover.head())?;
        self.signing.end_export(writer, filter, &note)
    }
}

/// The first entry that may be as late as `since`: clocks may be apart, so a little before.
async fn first_at(tx: &mut crate::store::Tx, since: Millis, size: u64) -> Result<u64> {
    let since = since.minus(CLOCK_TOLERANCE);
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = log::entries(tx, middle, middle + 1, 1).await?;
        if found.first().is_some_and(|e| e.at < since) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Whether nothing that is asked for comes after an entry of this time.
fn over(filter: &Filter, at: Millis) -> bool {
    filter.until.is_some_and(|until| at > until.plus(CLOCK_TOLERANCE))
}

fn matches(filter: &Filter, e: &log::Entry) -> Result<bool> {
    // Most are told apart by what the row says beside the bytes.
    if !filter.kinds.is_empty() && !filter.kinds.contains(&e.kind) {
        return Ok(false);
    }
    Ok(filter.is_all() || filter.matches(&decode(e)?))
}

fn decode(e: &log::Entry) -> Result<Entry> {
    Entry::decode(&e.entry).map_err(|cause| Error::Internal(format!("entry {}: {cause}", e.index)))
}

fn stored(e: log::Entry) -> StoredEntry {
    StoredEntry { index: e.index, at: e.at, bytes: e.entry, leaf_hash: Hash(e.leaf_hash) }
}
