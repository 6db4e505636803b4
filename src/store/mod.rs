//! The database: SQLite or PostgreSQL behind one set of queries.
//!
//! Every operation is a function of the file of its aggregate and takes a [`Tx`]: writing ones from
//! [`run_tx!`](crate::run_tx), reading ones from [`Db::read`] (each statement by itself) or [`Db::snapshot`]
//! (all statements see one state).
//!
//! ```no_run
//! # use cameo::{run_tx, store::{self, Db, Options, meta}};
//! # async fn example() -> store::Result<()> {
//! let db = Db::connect("sqlite:var/cameo.db", &Options::default()).await?;
//! db.migrate().await?;
//! run_tx!(db, "set origin", |tx| meta::set(tx, "origin", b"cameo.example").await)?;
//! let origin = meta::get(&mut db.read().await?, "origin").await?;
//! # Ok(()) }
//! ```
//!
//! The engines differ in `dialect.rs` only. SQL is portable text: ids are TEXT (compared byte by
//! byte on both engines), times are milliseconds in BIGINT, blobs are BLOB or BYTEA. A row is not
//! trusted: what doesn't parse is [`Error::Corrupt`]. Blobs that are called *sealed* are ciphertext
//! made by `crypto`; no type here prints them.
//!
//! # Who waits for whom
//!
//! The log's head is the one row that most writing transactions meet at. [`log::lock_head`] takes
//! it first, before anything that a decision depends on is read: so a consent that was withdrawn is
//! seen by every use that is decided later.

mod dialect;
mod error;
mod group;
mod jobs;
mod rows;
mod tx;

pub mod api_keys;
pub mod attempts;
pub mod batch;
pub mod cameos;
pub mod captures_seen;
pub mod consents;
pub mod deletions;
pub mod disclosures;
pub mod dossiers;
pub mod enrolled;
pub mod erasure;
pub mod failures;
pub mod findings;
pub mod generator_keys;
pub mod grants;
pub mod graph;
pub mod idempotency;
pub mod key_frames;
pub mod log;
pub mod meta;
pub mod outcomes;
pub mod page_sessions;
pub mod protected_faces;
pub mod published;
pub mod reconcile;
pub mod requests;
pub mod review_approvals;
pub mod signing_keys;
pub mod subjects;
pub mod takedowns;
pub mod texts;
pub mod token_status;
pub mod uses;
pub mod verifications;
pub mod webhooks;

pub use dialect::{Db, Engine, Options, Pools};
pub use error::{Cause, Error, Result};
pub use tx::{Tries, Tx};

/// Every SQL text: the file it stands in, its name, and the text.
#[doc(hidden)]
pub fn statements() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    [
        ("api_keys", api_keys::STATEMENTS),
        ("attempts", attempts::STATEMENTS),
        ("cameos", cameos::STATEMENTS),
        ("captures_seen", captures_seen::STATEMENTS),
        ("consents", consents::STATEMENTS),
        ("deletions", deletions::STATEMENTS),
        ("erasure", erasure::STATEMENTS),
        ("disclosures", disclosures::STATEMENTS),
        ("dossiers", dossiers::STATEMENTS),
        ("enrolled", enrolled::STATEMENTS),
        ("failures", failures::STATEMENTS),
        ("findings", findings::STATEMENTS),
        ("generator_keys", generator_keys::STATEMENTS),
        ("grants", grants::STATEMENTS),
        ("graph", graph::STATEMENTS),
        ("idempotency", idempotency::STATEMENTS),
        ("jobs", jobs::STATEMENTS),
        ("key_frames", key_frames::STATEMENTS),
        ("log", log::STATEMENTS),
        ("meta", meta::STATEMENTS),
        ("outcomes", outcomes::STATEMENTS),
        ("requests", requests::STATEMENTS),
        ("protected_faces", protected_faces::STATEMENTS),
        ("review_approvals", review_approvals::STATEMENTS),
        ("published", published::STATEMENTS),
        ("reconcile", reconcile::STATEMENTS),
        ("page_sessions", page_sessions::STATEMENTS),
        ("signing_keys", signing_keys::STATEMENTS),
        ("subjects", subjects::STATEMENTS),
        ("texts", texts::STATEMENTS),
        ("takedowns", takedowns::STATEMENTS),
        ("token_status", token_status::STATEMENTS),
        ("uses", uses::STATEMENTS),
        ("verifications", verifications::STATEMENTS),
        ("webhooks", webhooks::STATEMENTS),
    ]
    .into_iter()
    .flat_map(|(file, all)| all.iter().map(move |(name, sql)| (file, *name, *sql)))
}
