//! The rows of the transparency log: entries, the Merkle tree's head, and the salts that open an
//! entry's commitments.
//!
//! An entry is appended in the transaction that has its effect: [`lock_head`], compute, [`append`].
//! Indices have no gaps, entries never change and the head never shrinks: the database's own
//! triggers refuse anything else. What the entry and frontier bytes mean is `tlog`'s business.

use sqlx::FromRow;

use super::dialect::Engine;
use super::tx::{Tx, in_chunks, many, on, sql};
use super::{Error, Result, rows};
use crate::env::Millis;

sql! {
    const HEAD: &str = "SELECT size, frontier FROM log_head WHERE id = 1";
    const LOCK_HEAD_POSTGRES: &str = "SELECT size, frontier FROM log_head WHERE id = 1 FOR UPDATE";
    const APPEND: &str = "INSERT INTO log_entries (idx, at_ms, kind, entry, leaf_hash)
        VALUES ($1, $2, $3, $4, $5)";
    const APPEND_16: &str = many!(APPEND, 16, 5);
    const APPEND_256: &str = many!(APPEND, 256, 5);
    const MOVE_HEAD: &str = "UPDATE log_head SET size = $2, frontier = $3
        WHERE id = 1 AND size = $1";
    const ENTRIES: &str = "SELECT idx, at_ms, kind, entry, leaf_hash FROM log_entries
        WHERE idx >= $1 AND idx < $2 ORDER BY idx LIMIT $3";
    const LEAF_HASHES: &str = "SELECT idx, leaf_hash FROM log_entries
        WHERE idx >= $1 AND idx < $2 ORDER BY idx";
    const ADD_SALT: &str = "INSERT INTO log_salts (idx, subject_ref, salt_sealed)
        VALUES ($1, $2, $3)";
    const ADD_SALT_16: &str = many!(ADD_SALT, 16, 3);
    const ADD_SALT_256: &str = many!(ADD_SALT, 256, 3);
    const SALTS: &str = "SELECT idx, salt_sealed FROM log_salts
        WHERE subject_ref = $1 AND idx >= $2 ORDER BY idx LIMIT $3";
    const DELETE_SALTS: &str = "DELETE FROM log_salts WHERE subject_ref = $1";
    const CHECKPOINT: &str = "SELECT size, note FROM log_checkpoint WHERE id = 1";
    const KEEP_CHECKPOINT: &str = "INSERT INTO log_checkpoint (id, size, note) VALUES (1, $1, $2)
        ON CONFLICT (id) DO UPDATE SET size = excluded.size, note = excluded.note";
}

/// The tree's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// How many entries there are: the next one's index.
    pub size: u64,
    /// The right edge of the Merkle tree, as `tlog` writes it; empty while there are no entries.
    pub frontier: Vec<u8>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place, from 0.
    pub index: u64,
    /// When it was appended.
    pub at: Millis,
    /// What it tells of.
    pub kind: String,
    /// The bytes that were hashed.
    pub entry: Vec<u8>,
    /// The Merkle leaf hash (RFC 6962 §2.1).
    pub leaf_hash: [u8; 32],
}

/// What opens an entry's commitments about one person.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt {
    /// The entry.
    pub index: u64,
    /// The salt, sealed with the person's key.
    pub salt_sealed: Vec<u8>,
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Salt({}, sealed)", self.index)
    }
}

/// A salt that is to be kept.
#[derive(Clone)]
pub(super) struct NewSalt {
    index: u64,
    subject_ref: [u8; 16],
    sealed: Vec<u8>,
}

impl std::fmt::Debug for NewSalt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewSalt({}, sealed)", self.index)
    }
}

#[derive(FromRow)]
struct HeadRow {
    size: i64,
    frontier: Vec<u8>,
}

#[derive(FromRow)]
struct EntryRow {
    idx: i64,
    at_ms: i64,
    kind: String,
    entry: Vec<u8>,
    leaf_hash: Vec<u8>,
}

impl EntryRow {
    fn parse(self) -> Result<Entry> {
        Ok(Entry {
            index: rows::count("log_entries.idx", self.idx)?,
            at: Millis(self.at_ms),
            kind: self.kind,
            entry: self.entry,
            leaf_hash: rows::array("log_entries.leaf_hash", &self.leaf_hash)?,
        })
    }
}

#[derive(FromRow)]
struct LeafRow {
    idx: i64,
    leaf_hash: Vec<u8>,
}

#[derive(FromRow)]
struct SaltRow {
    idx: i64,
    salt_sealed: Vec<u8>,
}

/// The head.
pub async fn head(tx: &mut Tx) -> Result<Head> {
    read_head(tx, HEAD).await
}

/// The newest checkpoint that was signed, with its size: it was kept in the transaction that moved
/// the head there. `None` while nothing was appended.
pub async fn checkpoint(tx: &mut Tx) -> Result<Option<(u64, Vec<u8>)>> {
    on!(tx, |c| sqlx::query_as::<_, (i64, Vec<u8>)>(CHECKPOINT).fetch_optional(c).await)?
        .map(|(size, note)| Ok((rows::count("log_checkpoint.size", size)?, note)))
        .transpose()
}

/// Keeps the signed checkpoint of the head, in the transaction that moved it.
pub async fn keep_checkpoint(tx: &mut Tx, size: u64, note: &[u8]) -> Result<()> {
    let size = rows::integer("log_checkpoint.size", size)?;
    on!(tx, |c| sqlx::query(KEEP_CHECKPOINT).bind(size).bind(note).execute(c).await.map(|_| ()))
}

/// The head, held until this transaction ends: nobody else appends meanwhile, on any replica.
/// Reads that follow see everything that was committed by those who appended before. On SQLite
/// every writing transaction holds that lock from its start.
pub async fn lock_head(tx: &mut Tx) -> Result<Head> {
    if let Some(group) = &tx.group {
        return Ok(group.head().clone());
    }
    let sql = match tx.engine() {
        Engine::Sqlite => HEAD,
        Engine::Postgres => LOCK_HEAD_POSTGRES,
    };
    read_head(tx, sql).await
}

async fn read_head(tx: &mut Tx, sql: &'static str) -> Result<Head> {
    let row = on!(tx, |c| sqlx::query_as::<_, HeadRow>(sql).fetch_optional(c).await)?
        .ok_or(Error::Corrupt { what: "log_head (the row is missing)" })?;
    Ok(Head { size: rows::count("log_head.size", row.size)?, frontier: row.frontier })
}

/// Appends entries and moves the head from `old` to `new`, in this transaction; in a group commit,
/// at its end.
///
/// # Errors
/// [`Error::Conflict`] where the head is no longer `old`; [`Error::Refused`] from the database
/// itself where an index would leave a gap; [`Error::Internal`] where `entries` don't lead from
/// `old` to `new`.
pub async fn append(tx: &mut Tx, old: &Head, entries: Vec<Entry>, new: Head) -> Result<()> {
    let expected = old.size..new.size;
    if !entries.iter().map(|e| e.index).eq(expected) {
        return Err(Error::internal("log: the entries don't lead from the old head to the new"));
    }
    if let Some(group) = &mut tx.group {
        return group.append(old, entries, new);
    }
    let moved = on!(tx, |c| sqlx::query(MOVE_HEAD)
        .bind(rows::integer("log_head.size", old.size)?)
        .bind(rows::integer("log_head.size", new.size)?)
        .bind(&new.frontier)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if !moved {
        return Err(Error::conflict("log_head"));
    }
    for (sql, some) in in_chunks(&entries, &[(256, APPEND_256), (16, APPEND_16), (1, APPEND)]) {
        on!(tx, |c| {
            let mut query = sqlx::query(sql);
            for e in some {
                query = query
                    .bind(rows::integer("log_entries.idx", e.index)?)
                    .bind(e.at.0)
                    .bind(&e.kind)
                    .bind(&e.entry)
                    .bind(&e.leaf_hash[..]);
            }
            query.execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// Entries from index `from` up to (not including) `to`, at most `limit`, in order.
///
/// # Errors
/// [`Error::Corrupt`] where one is missing in between.
pub async fn entries(tx: &mut Tx, from: u64, to: u64, limit: u32) -> Result<Vec<Entry>> {
    let found = raw_entries(tx, from, to, limit).await?;
    gapless(from, found.iter().map(|e| e.index))?;
    Ok(found)
}

/// The same as they lie there, with gaps where there are any: for those who look for them.
pub async fn raw_entries(tx: &mut Tx, from: u64, to: u64, limit: u32) -> Result<Vec<Entry>> {
    on!(tx, |c| sqlx::query_as::<_, EntryRow>(ENTRIES)
        .bind(clamp(from))
        .bind(clamp(to))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(EntryRow::parse)
    .collect()
}

/// The leaf hashes of indices `from` up to (not including) `to`, in order.
///
/// # Errors
/// [`Error::Corrupt`] where one is missing in between.
pub async fn leaf_hashes(tx: &mut Tx, from: u64, to: u64) -> Result<Vec<[u8; 32]>> {
    let found = on!(tx, |c| sqlx::query_as::<_, LeafRow>(LEAF_HASHES)
        .bind(clamp(from))
        .bind(clamp(to))
        .fetch_all(c)
        .await)?;
    gapless(from, found.iter().map(|r| u64::try_from(r.idx).unwrap_or(u64::MAX)))?;
    found.into_iter().map(|r| rows::array("log_entries.leaf_hash", &r.leaf_hash)).collect()
}

/// Keeps what opens entry `index` for the person behind `subject_ref`; in a group commit, at its
/// end.
pub async fn add_salt(
    tx: &mut Tx,
    index: u64,
    subject_ref: &[u8; 16],
    salt_sealed: &[u8],
) -> Result<()> {
    let salt = NewSalt { index, subject_ref: *subject_ref, sealed: salt_sealed.to_vec() };
    if let Some(group) = &mut tx.group {
        group.add_salt(salt);
        return Ok(());
    }
    add_salts(tx, &[salt]).await
}

/// The same for many.
pub(super) async fn add_salts(tx: &mut Tx, salts: &[NewSalt]) -> Result<()> {
    for (sql, some) in in_chunks(salts, &[(256, ADD_SALT_256), (16, ADD_SALT_16), (1, ADD_SALT)]) {
        on!(tx, |c| {
            let mut query = sqlx::query(sql);
            for s in some {
                query = query
                    .bind(rows::integer("log_salts.idx", s.index)?)
                    .bind(&s.subject_ref[..])
                    .bind(&s.sealed);
            }
            query.execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// A person's salts from entry `from` on, at most `limit`, in order.
pub async fn salts(
    tx: &mut Tx,
    subject_ref: &[u8; 16],
    from: u64,
    limit: u32,
) -> Result<Vec<Salt>> {
    on!(tx, |c| sqlx::query_as::<_, SaltRow>(SALTS)
        .bind(&subject_ref[..])
        .bind(clamp(from))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(|r| Ok(Salt { index: rows::count("log_salts.idx", r.idx)?, salt_sealed: r.salt_sealed }))
    .collect()
}

/// Deletes a person's salts: their entries stay, and can't be opened any more. Returns how many.
pub async fn delete_salts(tx: &mut Tx, subject_ref: &[u8; 16]) -> Result<u64> {
    on!(tx, |c| sqlx::query(DELETE_SALTS)
        .bind(&subject_ref[..])
        .execute(c)
        .await
        .map(|r| r.rows_affected()))
}

/// A bound of a range: beyond 63 bits there is nothing.
fn clamp(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn gapless(from: u64, indices: impl Iterator<Item = u64>) -> Result<()> {
    if indices.zip(from..).all(|(found, expected)| found == expected) {
        Ok(())
    } else {
        Err(Error::Corrupt { what: "log_entries (an entry is missing)" })
    }
}
