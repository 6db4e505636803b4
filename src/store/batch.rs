//! Group commit: the work of many callers in one durable transaction, with one signed checkpoint.
//!
//! [`run_batched!`](crate::run_batched) takes the place of [`run_tx!`](crate::run_tx) where many write
//! at once. A caller waits for its turn, gets the open transaction, does its work, and hands the
//! transaction to the next who waits. Who finds nobody waiting, or the batch full, closes it: the
//! log's entries of all members are inserted, the head moves once, its checkpoint is signed and
//! kept, and one commit makes everything durable. Only then does any of the members return.
//!
//! So while one batch is on its way to the disk, the next fills; nobody waits for a timer, and a
//! lone caller commits at once. A member sees what those before it in the batch did. One that
//! fails, or whose future is dropped, is undone alone (see `group`). Where a batch can't be committed, none of its members has happened, and each runs
//! again; where the database refused the commit, each runs in a transaction of its own, so that
//! the one that is to blame is the one that fails.
//!
//! The head's lock is taken before the first savepoint and held to the end: on PostgreSQL several
//! processes alternate batch by batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::dialect::{Db, Engine};
use super::error::{Cause, Error, Result};
pub use super::group::Wish;
use super::group::{Group, Wishes};
use super::log::{self, Head};
use super::tx::{Failed, TRIES, Tries, Tx, pause};

/// Signs a head: the bytes of its checkpoint, or in words why not.
pub type Sign = dyn Fn(&Head) -> Result<Vec<u8>, String> + Send + Sync;

/// The members that one batch takes.
const MAX_MEMBERS: usize = 4096;
/// The log's entries that one batch takes.
const MAX_ENTRIES: usize = 16_384;
/// How long a batch takes members.
const MAX_OPEN: Duration = Duration::from_millis(50);

/// Where callers meet to commit together. Cheap to clone.
#[derive(Clone)]
pub struct Batcher {
    shared: Arc<Shared>,
    /// What this caller is going to read.
    wish: Option<Arc<Wish>>,
}

struct Shared {
    db: Db,
    sign: Box<Sign>,
    slot: Arc<Mutex<Option<Open>>>,
    /// How many wait for their turn.
    waiting: AtomicUsize,
    /// What they are going to read.
    wishes: Arc<Wishes>,
}

type Guard = OwnedMutexGuard<Option<Open>>;

/// A batch that still takes members.
struct Open {
    tx: Tx,
    members: usize,
    since: Instant,
    /// A member went away in the middle of its work, which has to be undone first.
    undo: bool,
    outcome: watch::Sender<Outcome>,
}

/// How a batch ended; its members wait for it.
#[derive(Clone, Debug)]
enum Outcome {
    Pending,
    Committed,
    /// Nothing happened; the same may work.
    Again,
    /// Nothing happened, as one of the members is refused: each for itself.
    Alone,
    /// The connection broke during the commit.
    Unknown(Cause),
}

impl std::fmt::Debug for Batcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batcher({} waiting)", self.shared.waiting.load(Ordering::Relaxed))
    }
}

impl Batcher {
    /// A meeting place for writers to `db`. `sign` makes the checkpoint that is kept with each
    /// batch's last head.
    pub fn new(db: Db, sign: Box<Sign>) -> Self {
        let slot = Arc::new(Mutex::new(None));
        let (waiting, wishes) = (AtomicUsize::new(0), Arc::default());
        Self { shared: Arc::new(Shared { db, sign, slot, waiting, wishes }), wish: None }
    }

    /// The same place, for a caller that says what it is going to read: while it waits, that can be
    /// read together with what others read.
    #[must_use]
    pub fn wishing(&self, wish: Wish) -> Self {
        Self { shared: self.shared.clone(), wish: Some(Arc::new(wish)) }
    }

    async fn turn(&self) -> Seat {
        let mut waiting = Waiting::new(self);
        let guard = self.shared.slot.clone().lock_owned().await;
        waiting.over = true;
        Seat { shared: self.shared.clone(), guard: Some(guard), working: false }
    }
}

impl Shared {
    /// Lets the next one have the batch, or closes it.
    fn leave(self: &Arc<Self>, mut guard: Guard) {
        let passes =
            |open: &Open| self.waiting.load(Ordering::SeqCst) > 0 && (open.undo || open.has_room());
        if guard.as_ref().is_some_and(passes) {
            return;
        }
        let Some(open) = guard.take() else { return };
        // A task of its own: the caller whose turn ends here may go away, and others wait.
        if let Ok(runtime) = Handle::try_current() {
            let shared = self.clone();
            runtime.spawn(async move { shared.close(open, guard).await });
        }
    }

    async fn close(&self, mut open: Open, guard: Guard) {
        let kept = !open.undo || open.tx.undo().await.is_ok();
        let outcome = if kept && open.members > 0 {
            self.commit(open.tx).await
        } else {
            open.tx.roll_back().await;
            Outcome::Again
        };
        metrics::counter!("cameo_commit_batches_total").increment(1);
        metrics::counter!("cameo_commit_members_total").increment(open.members as u64);
        let _ = open.outcome.send(outcome);
        drop(guard);
    }

    async fn commit(&self, mut tx: Tx) -> Outcome {
        if let Err(e) = self.seal(&mut tx).await {
            tracing::debug!(error = %e, "a batch was not written");
            tx.roll_back().await;
            return if e.is_transient() { Outcome::Again } else { Outcome::Alone };
        }
        match tx.commit().await {
            Ok(()) => Outcome::Committed,
            Err(Error::CommitUnknown(cause)) => Outcome::Unknown(cause),
            Err(e) if e.is_transient() => Outcome::Again,
            Err(_) => Outcome::Alone,
        }
    }

    /// Writes what the members left for the end.
    async fn seal(&self, tx: &mut Tx) -> Result<()> {
        let Some(head) = tx.settle().await? else { return Ok(()) };
        let note = (self.sign)(&head).map_err(Error::internal)?;
        log::keep_checkpoint(tx, head.size, &note).await
    }
}

impl Open {
    async fn begin(shared: &Shared) -> Result<Self> {
        let mut tx = shared.db.begin().await?;
        let head = log::lock_head(&mut tx).await?;
        // The log's entries come last, and rows refer to them before.
        tx.control(match shared.db.engine() {
            Engine::Sqlite => "PRAGMA defer_foreign_keys = ON",
            Engine::Postgres => "SET CONSTRAINTS ALL DEFERRED",
        })
        .await?;
        tx.group = Some(Box::new(Group::at(head, shared.wishes.clone())));
        let (outcome, _) = watch::channel(Outcome::Pending);
        Ok(Self { tx, members: 0, since: Instant::now(), undo: false, outcome })
    }

    fn has_room(&self) -> bool {
        let entries = self.tx.group.as_ref().map_or(0, |g| g.entries());
        self.members < MAX_MEMBERS && entries < MAX_ENTRIES && self.since.elapsed() < MAX_OPEN
    }
}

/// One who waits is counted, so that the one before it doesn't close the batch.
struct Waiting {
    shared: Arc<Shared>,
    wish: Option<u64>,
    over: bool,
}

impl Waiting {
    fn new(batcher: &Batcher) -> Self {
        let shared = batcher.shared.clone();
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        let wish = batcher.wish.as_ref().map(|w| shared.wishes.add(w));
        Self { shared, wish, over: false }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
        if let Some(wish) = self.wish {
            self.shared.wishes.remove(wish);
        }
        // Gone before its turn, perhaps the one that the batch was left open for.
        if let (false, Ok(runtime)) = (self.over, Handle::try_current()) {
            let shared = self.shared.clone();
            runtime.spawn(async move {
                let guard = shared.slot.clone().lock_owned().await;
                shared.leave(guard);
            });
        }
    }
}

/// A member's turn with the batch.
struct Seat {
    shared: Arc<Shared>,
    guard: Option<Guard>,
    working: bool,
}

impl Seat {
    /// Opens a batch where there is none, and sweeps up after a member that went away.
    async fn start(&mut self) -> Result<()> {
        let Some(slot) = self.guard.as_deref_mut() else { return Ok(()) };
        if let Some(open) = slot.as_mut().filter(|o| o.undo) {
            match open.tx.undo().await {
                Ok(()) => open.undo = false,
                // Its members find out by the closed channel, and run again.
                Err(_) => *slot = None,
            }
        }
        if slot.is_none() {
            *slot = Some(Open::begin(&self.shared).await?);
        }
        self.working = true;
        Ok(())
    }

    fn open(&mut self) -> Option<&mut Open> {
        self.guard.as_deref_mut()?.as_mut()
    }

    /// Ends the turn with its work done.
    fn done(mut self) -> Option<watch::Receiver<Outcome>> {
        self.working = false;
        let open = self.open()?;
        open.members += 1;
        open.tx.keep();
        Some(open.outcome.subscribe())
    }

    /// Ends the turn with its work undone.
    async fn undo(mut self) {
        if let Some(open) = self.open()
            && open.tx.undo().await.is_err()
            && let Some(slot) = self.guard.as_deref_mut()
        {
            *slot = None;
        }
        self.working = false;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(mut guard) = self.guard.take() else { return };
        if let Some(open) = guard.as_mut().filter(|_| self.working) {
            open.undo = true;
        }
        self.shared.leave(guard);
    }
}

/// Runs work as a member of a group commit: `run_batched!(batcher, "name", |tx| …)`, where `batcher`
/// is a [`Batcher`](crate::store::batch::Batcher) and the rest is as in [`run_tx!`](crate::run_tx). It
/// returns when the work is durable. The work may run more than once, and must not wait for
/// anything but `tx`: others wait for it.
#[macro_export]
macro_rules! run_batched {
    ($batcher:expr, $name:expr, |$tx:ident| $work:expr) => {{
        let mut turns = $crate::store::batch::Turns::new(&$batcher, $name);
        loop {
            let mut turn = match turns.begin().await {
                Ok(turn) => turn,
                Err(e) => break Err(::core::convert::From::from(e)),
            };
            let result = match turn.tx() {
                Ok($tx) => async { $work }.await,
                Err(e) => Err(::core::convert::From::from(e)),
            };
            if let Some(result) = turns.end(turn, result).await {
                break result;
            }
        }
    }};
}

/// The tries of one member: the inside of [`run_batched!`](crate::run_batched).
#[doc(hidden)]
#[derive(Debug)]
pub struct Turns {
    batcher: Batcher,
    name: &'static str,
    tried: u32,
    alone: Option<Tries>,
}

/// One try.
#[doc(hidden)]
#[allow(private_interfaces)]
pub struct Turn(Place);

enum Place {
    Member(Seat),
    Alone(Tx),
}

impl Turn {
    /// The transaction.
    pub fn tx(&mut self) -> Result<&mut Tx> {
        match &mut self.0 {
            Place::Alone(tx) => Ok(tx),
            Place::Member(seat) => match seat.open() {
                Some(open) => Ok(&mut open.tx),
                None => Err(Error::internal("a turn without a batch")),
            },
        }
    }
}

impl Turns {
    /// None yet.
    pub fn new(batcher: &Batcher, name: &'static str) -> Self {
        Self { batcher: batcher.clone(), name, tried: 0, alone: None }
    }

    /// Begins the next try: waits for the turn.
    pub async fn begin(&mut self) -> Result<Turn> {
        self.tried += 1;
        if let Some(alone) = &mut self.alone {
            return Ok(Turn(Place::Alone(alone.begin().await?)));
        }
        let mut seat = self.batcher.turn().await;
        seat.start().await?;
        Ok(Turn(Place::Member(seat)))
    }

    /// Ends it with the result of the work, and waits for the commit; `None` to try again.
    pub async fn end<T, E: From<Error>>(
        &mut self,
        turn: Turn,
        result: Result<T, E>,
    ) -> Option<Result<T, E>> {
        let mut seat = match (turn.0, &mut self.alone) {
            (Place::Member(seat), _) => seat,
            (Place::Alone(tx), Some(tries)) => return tries.end(tx, result).await,
            (Place::Alone(_), None) => return Some(result),
        };
        let failed = seat.open().and_then(|open| open.tx.failed);
        match (result, failed) {
            (Ok(value), None) => {
                let ended = match seat.done() {
                    Some(outcome) => ended(outcome).await,
                    None => Outcome::Again,
                };
                match ended {
                    Outcome::Committed => return Some(Ok(value)),
                    Outcome::Unknown(cause) => {
                        return Some(Err(Error::CommitUnknown(cause).into()));
                    }
                    Outcome::Alone => {
                        self.alone = Some(Tries::new(&self.batcher.shared.db, self.name));
                        return None;
                    }
                    Outcome::Again | Outcome::Pending => {}
                }
                if self.tried >= TRIES {
                    return Some(Err(Error::Busy("a batch could not be committed").into()));
                }
            }
            (result, failed) => {
                seat.undo().await;
                if failed != Some(Failed::Transient) || self.tried >= TRIES {
                    return Some(result.and_then(|_| {
                        let e = format!("{} went on after a failed statement", self.name);
                        Err(Error::internal(e).into())
                    }));
                }
            }
        }
        tokio::time::sleep(pause(self.tried)).await;
        None
    }
}

/// Waits for the end of the batch. One that went away without a word left nothing behind.
async fn ended(mut outcome: watch::Receiver<Outcome>) -> Outcome {
    let found = outcome.wait_for(|o| !matches!(o, Outcome::Pending)).await;
    found.map_or(Outcome::Again, |o| o.clone())
}
