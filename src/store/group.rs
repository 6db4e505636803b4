//! What the members of a group commit share while their transaction is open: what they leave for
//! its end, what was read for all of them, and the savepoint that one of them can be undone to.
//!
//! Most members only read, and leave rows to be inserted at the end, many in one statement. Their
//! reads ([`look!`](super::tx::look)) answer from what was read in this transaction before, and read
//! ahead for those who wait. Nobody else changes what they read: every writer of it takes the log's
//! head first, which the batch holds. Any other statement ([`on!`](super::tx::on)) of a member first
//! inserts what earlier ones left, so that it sees it, forgets what was read, and sets a savepoint.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::dossiers::Dossier;
use super::error::{Error, Result};
use super::generator_keys::GeneratorKey;
use super::idempotency::{self, Kept, NewAnswer};
use super::log::{self, Entry, Head, NewSalt};
use super::tx::{Failed, Tx};
use super::uses::{self, Use};
use crate::domain::ids::{ApiKeyId, CameoId};

/// How many of those who wait are read for at once.
const AHEAD: usize = 256;
/// The most cameos, and the most answers, that are kept in mind.
const MAX_MEMO: usize = 1024;

/// What a caller is going to read when its turn comes.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// These cameos.
    pub cameos: Vec<CameoId>,
    /// The answer that is kept under this scope and key.
    pub answer: Option<(String, String)>,
}

/// The wishes of those who wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Arc<Wish>>>,
}

impl Wishes {
    pub(super) fn add(&self, wish: &Arc<Wish>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiting().insert(number, wish.clone());
        number
    }

    pub(super) fn remove(&self, number: u64) {
        self.waiting().remove(&number);
    }

    fn first(&self) -> Vec<Arc<Wish>> {
        self.waiting().values().take(AHEAD).cloned().collect()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Wish>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's docs.
#[derive(Debug)]
pub(super) struct Group {
    first: Head,
    head: Head,
    left: Left,
    /// How it was before the current member.
    before: (Head, Lengths),
    savepoint: Savepoint,
    memo: Memo,
    wishes: Arc<Wishes>,
}

/// Rows that are inserted at the end.
#[derive(Debug, Default)]
struct Left {
    entries: Vec<Entry>,
    salts: Vec<NewSalt>,
    uses: Vec<Use>,
    answers: Vec<NewAnswer>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    entries: usize,
    salts: usize,
    uses: usize,
    answers: usize,
}

/// What was read under the log's head, also that there is nothing.
#[derive(Debug, Default)]
pub(super) struct Memo {
    pub(super) dossiers: HashMap<CameoId, Option<Arc<Dossier>>>,
    pub(super) answers: HashMap<(String, String), Option<Kept>>,
    pub(super) keys: HashMap<ApiKeyId, Arc<[GeneratorKey]>>,
}

/// Where the newest savepoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Savepoint {
    None,
    /// Before an earlier member.
    Past,
    /// Before the current member.
    Current,
    /// It can't be said: a statement failed.
    Lost,
}

impl Left {
    fn lengths(&self) -> Lengths {
        Lengths {
            entries: self.entries.len(),
            salts: self.salts.len(),
            uses: self.uses.len(),
            answers: self.answers.len(),
        }
    }
}

impl Group {
    pub(super) fn at(head: Head, wishes: Arc<Wishes>) -> Self {
        Self {
            first: head.clone(),
            before: (head.clone(), Lengths::default()),
            head,
            left: Left::default(),
            savepoint: Savepoint::None,
            memo: Memo::default(),
            wishes,
        }
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// How many of the log's entries wait for the end.
    pub(super) fn entries(&self) -> usize {
        self.left.entries.len()
    }

    pub(super) fn append(&mut self, old: &Head, entries: Vec<Entry>, new: Head) -> Result<()> {
        if *old != self.head {
            return Err(Error::conflict("log_head"));
        }
        self.left.entries.extend(entries);
        self.head = new;
        Ok(())
    }

    pub(super) fn add_salt(&mut self, salt: NewSalt) {
        self.left.salts.push(salt);
    }

    pub(super) fn add_use(&mut self, new: Use) {
        self.left.uses.push(new);
    }

    /// Those who come after see it at once.
    pub(super) fn add_answer(&mut self, answer: NewAnswer) {
        self.memo.answers.insert(answer.name(), Some(answer.kept()));
        self.left.answers.push(answer);
    }

    pub(super) fn memo(&mut self) -> &mut Memo {
        &mut self.memo
    }

    /// Those of `own` and of the wishes of those who wait that were not read yet.
    pub(super) fn unread_cameos(&mut self, own: &CameoId) -> Vec<CameoId> {
        if self.memo.dossiers.len() >= MAX_MEMO {
            self.memo.dossiers.clear();
        }
        let wishes = self.wishes.first();
        let mut all: Vec<CameoId> = wishes
            .iter()
            .flat_map(|w| &w.cameos)
            .filter(|id| !self.memo.dossiers.contains_key(*id))
            .take(AHEAD)
            .chain([own])
            .cloned()
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The same for kept answers.
    pub(super) fn unread_answers(&mut self, own: (String, String)) -> Vec<(String, String)> {
        if self.memo.answers.len() >= MAX_MEMO {
            self.memo.answers.clear();
            // What was left for the end stands nowhere else.
            let left = self.left.answers.iter().map(|a| (a.name(), Some(a.kept())));
            self.memo.answers.extend(left);
        }
        let wishes = self.wishes.first();
        let wanted = wishes.iter().filter_map(|w| w.answer.as_ref());
        let mut all: Vec<_> = wanted
            .filter(|name| !self.memo.answers.contains_key(*name))
            .take(AHEAD)
            .cloned()
            .collect();
        all.push(own);
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Tx {
    /// Whether this is a batch: then its checkpoint is signed at its end, and not by its members.
    pub fn is_batch(&self) -> bool {
        self.group.is_some()
    }

    /// Makes a batch's member ready for a statement that may write: see the module's docs.
    pub(super) async fn enter(&mut self) -> Result<()> {
        let Some(group) = &mut self.group else { return Ok(()) };
        // What this statement changes was read otherwise.
        group.memo = Memo::default();
        let sql = match group.savepoint {
            Savepoint::Current => return Ok(()),
            Savepoint::None => "SAVEPOINT member",
            Savepoint::Past => "RELEASE SAVEPOINT member; SAVEPOINT member",
            Savepoint::Lost => return Err(Error::Busy("the batch broke")),
        };
        group.savepoint = Savepoint::Lost;
        let earlier = &mut group.before.1;
        let uses: Vec<Use> = group.left.uses.drain(..earlier.uses).collect();
        let answers: Vec<NewAnswer> = group.left.answers.drain(..earlier.answers).collect();
        (earlier.uses, earlier.answers) = (0, 0);
        let inserted = match uses::insert_all(self, &uses).await {
            Ok(()) => idempotency::insert_all(self, &answers).await,
            failed => failed,
        };
        if inserted.is_err() {
            // Not this member's fault: all of them run again.
            self.failed = Some(Failed::Transient);
            return Err(Error::Busy("the batch broke"));
        }
        self.control(sql).await?;
        self.set_savepoint(Savepoint::Current);
        Ok(())
    }

    /// A reading statement of a member failed. The whole transaction may have then (on PostgreSQL it
    /// has, SQLite ends it where the disk or memory fails), unless there is a savepoint to go back to.
    pub(super) fn look_failed(&mut self, e: &sqlx::Error) {
        let here = matches!(e, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_));
        if let Some(group) = &mut self.group
            && !here
            && group.savepoint != Savepoint::Current
        {
            group.savepoint = Savepoint::Lost;
        }
    }

    /// Writes what the members left for the end, and returns the head that is to be signed; `None`
    /// where nothing was appended.
    pub(super) async fn settle(&mut self) -> Result<Option<Head>> {
        let Some(group) = self.group.take() else { return Ok(None) };
        let Group { first, head, left, .. } = *group;
        if !left.entries.is_empty() {
            log::append(self, &first, left.entries, head.clone()).await?;
        }
        log::add_salts(self, &left.salts).await?;
        uses::insert_all(self, &left.uses).await?;
        idempotency::insert_all(self, &left.answers).await?;
        Ok((head != first).then_some(head))
    }

    /// Takes back what the current member did.
    pub(super) async fn undo(&mut self) -> Result<()> {
        self.failed = None;
        let Some(group) = &mut self.group else { return Ok(()) };
        let (head, lengths) = &group.before;
        group.head = head.clone();
        group.left.entries.truncate(lengths.entries);
        group.left.salts.truncate(lengths.salts);
        group.left.uses.truncate(lengths.uses);
        for answer in group.left.answers.drain(lengths.answers..) {
            group.memo.answers.remove(&answer.name());
        }
        match group.savepoint {
            Savepoint::None | Savepoint::Past => Ok(()),
            Savepoint::Lost => Err(Error::Busy("the batch broke")),
            // It stays where it is, for the next member.
            Savepoint::Current => {
                group.memo = Memo::default();
                self.control("ROLLBACK TO SAVEPOINT member").await
            }
        }
    }

    /// What the current member did stays.
    pub(super) fn keep(&mut self) {
        if let Some(group) = &mut self.group {
            group.before = (group.head.clone(), group.left.lengths());
            if group.savepoint == Savepoint::Current {
                group.savepoint = Savepoint::Past;
            }
        }
    }

    fn set_savepoint(&mut self, savepoint: Savepoint) {
        if let Some(group) = &mut self.group {
            group.savepoint = savepoint;
        }
    }
}
