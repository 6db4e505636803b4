//! Transactions, and the two macros that the aggregates are written with.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Sqlite, Transaction};

use super::dialect::{Db, Engine};
use super::error::{Error, Result};
use super::group::Group;

/// A connection under way, that the store's operations run on: from [`run_tx!`](crate::run_tx) to write, from
/// [`Db::read`] or [`Db::snapshot`] to read.
#[derive(Debug)]
pub struct Tx {
    link: Link,
    pub(super) failed: Option<Failed>,
    /// In a group commit: what its members leave for the end.
    pub(super) group: Option<Box<Group>>,
}

/// The four kinds of connection. Dropping a transaction rolls it back.
#[derive(Debug)]
pub(super) enum Link {
    SqliteTransaction(Transaction<'static, Sqlite>),
    SqliteConnection(PoolConnection<Sqlite>),
    PostgresTransaction(Transaction<'static, Postgres>),
    PostgresConnection(PoolConnection<Postgres>),
}

/// A connection, by driver.
pub(super) enum Held<'t> {
    Sqlite(&'t mut sqlx::SqliteConnection),
    Postgres(&'t mut sqlx::PgConnection),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The same again may work.
    Transient,
    /// It won't.
    Final,
}

/// Runs one typed body on whichever engine is there. The body gets the connection as `$c` and
/// returns a `Result<_, sqlx::Error>`; the whole is a `store::Result`.
macro_rules! on {
    ($tx:expr, |$c:ident| $body:expr) => {{
        let tx: &mut $crate::store::Tx = $tx;
        tx.enter().await?;
        let result = match tx.connection() {
            $crate::store::tx::Held::Sqlite($c) => $body,
            $crate::store::tx::Held::Postgres($c) => $body,
        };
        tx.note(result)
    }};
}

/// Runs a reading body whose result no other member of a batch can change, or an insertion at a
/// batch's end: it needs no savepoint. Anything else takes `on!`.
macro_rules! look {
    ($tx:expr, |$c:ident| $body:expr) => {{
        let tx: &mut $crate::store::Tx = $tx;
        let result = match tx.connection() {
            $crate::store::tx::Held::Sqlite($c) => $body,
            $crate::store::tx::Held::Postgres($c) => $body,
        };
        if let Err(e) = &result {
            tx.look_failed(e);
        }
        tx.note(result)
    }};
}

/// Declares a file's SQL texts, and lists them for the test that prepares each on both engines. A
/// name that ends in `_SQLITE` or `_POSTGRES` is for that engine only.
macro_rules! sql {
    ($(const $name:ident: &str = $text:expr;)*) => {
        $(const $name: &str = $text;)*
        /// Every SQL text of this file, with its name.
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

/// The text of an `INSERT … VALUES ($1, …)` for one row, made into one for `$rows` rows of
/// `$columns` values.
macro_rules! many {
    ($one:expr, $rows:expr, $columns:expr) => {{
        const LEN: usize = $crate::store::tx::many_len($one, $rows, $columns);
        const TEXT: [u8; LEN] = $crate::store::tx::many_text($one, $rows, $columns);
        match ::std::str::from_utf8(&TEXT) {
            Ok(text) => text,
            Err(_) => "",
        }
    }};
}

pub(super) use {look, many, on, sql};

/// The length of what [`many_text`] writes.
pub(super) const fn many_len(one: &str, rows: usize, columns: usize) -> usize {
    let mut len = values_at(one.as_bytes());
    let mut n = 1;
    while n <= rows * columns {
        len += digits(n) + 2; // `$`, and a bracket or comma after the number
        n += 1;
    }
    len + 2 * rows - 1 // an opening bracket for each row, a comma between two
}

/// The rows of placeholders after what stands before them in `one`.
pub(super) const fn many_text<const LEN: usize>(
    one: &str,
    rows: usize,
    columns: usize,
) -> [u8; LEN] {
    let mut out = [0; LEN];
    let one = one.as_bytes();
    let mut at = 0;
    while at < values_at(one) {
        out[at] = one[at];
        at += 1;
    }
    let mut n = 0;
    while n < rows * columns {
        if n % columns == 0 {
            if n > 0 {
                out[at] = b',';
                at += 1;
            }
            out[at] = b'(';
            at += 1;
        }
        n += 1;
        out[at] = b'$';
        at += 1;
        let (mut place, mut rest) = (digits(n), n);
        let width = place;
        while place > 0 {
            place -= 1;
            out[at + place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        at += width;
        out[at] = if n % columns == 0 { b')' } else { b',' };
        at += 1;
    }
    out
}

/// Where the last bracket opens.
const fn values_at(text: &[u8]) -> usize {
    let mut at = text.len();
    while at > 0 && text[at - 1] != b'(' {
        at -= 1;
    }
    at.saturating_sub(1)
}

const fn digits(mut n: usize) -> usize {
    let mut count = 1;
    while n >= 10 {
        n /= 10;
        count += 1;
    }
    count
}

/// Cuts `all` into pieces for statements that take so many rows each: largest first, one row last.
pub(super) fn in_chunks<'a, T>(
    mut all: &'a [T],
    statements: &'a [(usize, &'static str)],
) -> impl Iterator<Item = (&'static str, &'a [T])> {
    std::iter::from_fn(move || {
        let (rows, sql) = statements.iter().find(|(rows, _)| *rows <= all.len())?;
        let (some, rest) = all.split_at(*rows);
        all = rest;
        Some((*sql, some))
    })
}

/// How often a transaction is tried.
pub(super) const TRIES: u32 = 6;

impl Tx {
    pub(super) fn new(link: Link) -> Self {
        Self { link, failed: None, group: None }
    }

    pub(super) fn connection(&mut self) -> Held<'_> {
        match &mut self.link {
            Link::SqliteTransaction(t) => Held::Sqlite(t),
            Link::SqliteConnection(c) => Held::Sqlite(c),
            Link::PostgresTransaction(t) => Held::Postgres(t),
            Link::PostgresConnection(c) => Held::Postgres(c),
        }
    }

    /// Which engine this runs on.
    pub(super) fn engine(&self) -> Engine {
        match self.link {
            Link::SqliteTransaction(_) | Link::SqliteConnection(_) => Engine::Sqlite,
            Link::PostgresTransaction(_) | Link::PostgresConnection(_) => Engine::Postgres,
        }
    }

    /// Remembers a failed statement: what follows it can't be committed.
    pub(super) fn note<T>(&mut self, result: std::result::Result<T, sqlx::Error>) -> Result<T> {
        result.map_err(|e| {
            let e = Error::from(e);
            self.failed = Some(if e.is_transient() { Failed::Transient } else { Failed::Final });
            e
        })
    }

    /// Runs a statement that is no query: of transactions and settings.
    pub(super) async fn control(&mut self, sql: &'static str) -> Result<()> {
        use sqlx::Executor;
        let result = match self.connection() {
            Held::Sqlite(c) => c.execute(sql).await.map(|_| ()),
            Held::Postgres(c) => c.execute(sql).await.map(|_| ()),
        };
        self.note(result)
    }

    /// Rolls back; if the connection is broken, its end does so.
    pub(super) async fn roll_back(self) {
        match self.link {
            Link::SqliteTransaction(t) => t.rollback().await.unwrap_or_default(),
            Link::PostgresTransaction(t) => t.rollback().await.unwrap_or_default(),
            Link::SqliteConnection(_) | Link::PostgresConnection(_) => {}
        }
    }

    pub(super) async fn commit(self) -> Result<()> {
        let done = match self.link {
            Link::SqliteTransaction(t) => t.commit().await,
            Link::PostgresTransaction(t) => t.commit().await,
            Link::SqliteConnection(_) | Link::PostgresConnection(_) => Ok(()),
        };
        done.map_err(committing)
    }
}

/// Runs work in a writing transaction and commits it when it returns `Ok`:
/// `run_tx!(db, "name", |tx| …)`, where `db` is a [`Db`](crate::store::Db), `tx` becomes a
/// `&mut` [`Tx`](crate::store::Tx), and the work is the inside of an async block that returns a
/// `Result` whose error is made from [`store::Error`](crate::store::Error). The whole is that
/// `Result`.
///
/// Where another transaction gets in the way (a serialization failure, a deadlock, a busy file),
/// everything is rolled back and the work runs again, a few times: so it must have no effect
/// outside the transaction. After a statement that failed nothing is committed, even if the work
/// carries on. A future that is dropped half-way rolls back too. The name is for the log.
///
/// A macro and not a method with a closure: the future of an async closure that borrows what is
/// around it can't be shown to be `Send` (rust-lang/rust#102211), as every handler's must.
///
/// # Errors
/// What the work returns; [`Error::Busy`](crate::store::Error::Busy) after the last try;
/// [`Error::CommitUnknown`](crate::store::Error::CommitUnknown) where the connection broke during
/// the commit.
#[macro_export]
macro_rules! run_tx {
    ($db:expr, $name:expr, |$tx:ident| $work:expr) => {{
        let mut tries = $crate::store::Tries::new(&$db, $name);
        loop {
            let mut held = match tries.begin().await {
                Ok(held) => held,
                Err(e) => break Err(::core::convert::From::from(e)),
            };
            let result = {
                let $tx: &mut $crate::store::Tx = &mut held;
                async { $work }.await
            };
            if let Some(result) = tries.end(held, result).await {
                break result;
            }
        }
    }};
}

/// The tries of one transaction: the inside of [`run_tx!`](crate::run_tx).
#[doc(hidden)]
#[derive(Debug)]
pub struct Tries {
    db: Db,
    name: &'static str,
    tried: u32,
}

impl Tries {
    /// None yet.
    pub fn new(db: &Db, name: &'static str) -> Self {
        Self { db: db.clone(), name, tried: 0 }
    }

    /// Begins the next try.
    pub async fn begin(&mut self) -> Result<Tx> {
        self.tried += 1;
        self.db.begin().await
    }

    /// Ends it with the result of the work; `None` to try again.
    pub async fn end<T, E: From<Error>>(
        &mut self,
        tx: Tx,
        result: Result<T, E>,
    ) -> Option<Result<T, E>> {
        let failed = tx.failed;
        let (error, again) = match (result, failed) {
            (Ok(value), None) => match tx.commit().await {
                Ok(()) => return Some(Ok(value)),
                Err(e) => {
                    let again = e.is_transient();
                    (e.into(), again)
                }
            },
            (result, failed) => {
                // Before the pause: what it holds, others wait for.
                tx.roll_back().await;
                match (result, failed) {
                    (Err(e), failed) => (e, failed == Some(Failed::Transient)),
                    (Ok(_), Some(Failed::Transient)) => {
                        (Error::Busy("a statement had to wait").into(), true)
                    }
                    (Ok(_), _) => {
                        let e = format!("{} went on after a failed statement", self.name);
                        (Error::internal(e).into(), false)
                    }
                }
            }
        };
        if !again || self.tried >= TRIES {
            return Some(Err(error));
        }
        tracing::debug!(transaction = self.name, tries = self.tried, "run again");
        tokio::time::sleep(pause(self.tried)).await;
        None
    }
}

/// 5 ms, doubled with every attempt, plus up to as much again, so that two that collided part.
pub(super) fn pause(attempt: u32) -> Duration {
    use std::sync::atomic::{AtomicU32, Ordering};
    static TURN: AtomicU32 = AtomicU32::new(0);
    let spread = TURN.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9) >> 24;
    let base = 5_000_u64 << attempt.min(8);
    Duration::from_micros(base + base * u64::from(spread) / 256)
}

/// A commit that the database answered has failed; one that it didn't answer may hold.
fn committing(e: sqlx::Error) -> Error {
    match e {
        sqlx::Error::Database(_) => e.into(),
        other => match Error::from(other) {
            Error::Unavailable(cause) | Error::Internal(cause) => Error::CommitUnknown(cause),
            e => e,
        },
    }
}

#[cfg(test)]
mod tests {
    const ONE: &str = "REPLACE INTO t (a, b) VALUES ($1, $2)";

    #[test]
    fn one_row_becomes_many() {
        const MANY: &str = many!(ONE, 6, 2);
        assert_eq!(
            MANY,
            "REPLACE INTO t (a, b) VALUES ($1,$2),($3,$4),($5,$6),($7,$8),($9,$10),($11,$12)"
        );
    }
}
