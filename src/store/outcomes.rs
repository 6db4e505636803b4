//! What became of a permitted use, as its generator reports it.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Error, Result, rows};
use crate::domain::ids::UseId;
use crate::domain::uses::OutcomeState;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO use_outcomes
        (use_id, seq, state, content_sha256, manifest, at_ms, log_index)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (use_id, seq) DO NOTHING";
    const LIST: &str = "SELECT use_id, seq, state, content_sha256, manifest, at_ms, log_index
        FROM use_outcomes WHERE use_id = $1 ORDER BY seq LIMIT $2";
    const LATEST: &str = "SELECT use_id, seq, state, content_sha256, manifest, at_ms, log_index
        FROM use_outcomes WHERE use_id = $1 ORDER BY seq DESC LIMIT 1";
}

/// The most reports about one use.
pub const MAX_REPORTS: u32 = 64;

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The use.
    pub use_id: UseId,
    /// From 1, without gaps.
    pub seq: u32,
    /// Draft, published or deleted.
    pub state: OutcomeState,
    /// SHA-256 of the video's file.
    pub content_sha256: Option<[u8; 32]>,
    /// Where the video's C2PA manifest is found.
    pub manifest: Option<String>,
    /// When it was reported.
    pub at: Millis,
    /// The log's entry about it.
    pub log_index: u64,
}

#[derive(FromRow)]
struct Row {
    use_id: String,
    seq: i64,
    state: String,
    content_sha256: Option<Vec<u8>>,
    manifest: Option<String>,
    at_ms: i64,
    log_index: i64,
}

impl Row {
    fn parse(self) -> Result<Outcome> {
        let sha256 = self.content_sha256.as_deref();
        Ok(Outcome {
            use_id: rows::parse("use_outcomes.use_id", &self.use_id)?,
            seq: rows::count("use_outcomes.seq", self.seq)?,
            state: rows::parse("use_outcomes.state", &self.state)?,
            content_sha256: sha256
                .map(|b| rows::array("use_outcomes.content_sha256", b))
                .transpose()?,
            manifest: self.manifest,
            at: Millis(self.at_ms),
            log_index: rows::count("use_outcomes.log_index", self.log_index)?,
        })
    }
}

/// Adds a report.
///
/// # Errors
/// [`Error::Conflict`] where somebody else added one with this number.
pub async fn insert(tx: &mut Tx, o: &Outcome) -> Result<()> {
    let log_index = rows::integer("use_outcomes.log_index", o.log_index)?;
    let inserted = on!(tx, |c| sqlx::query(INSERT)
        .bind(o.use_id.as_str())
        .bind(i64::from(o.seq))
        .bind(o.state.name())
        .bind(o.content_sha256.as_ref().map(|b| &b[..]))
        .bind(o.manifest.as_deref())
        .bind(o.at.0)
        .bind(log_index)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if inserted { Ok(()) } else { Err(Error::conflict("use_outcomes")) }
}

/// The reports about a use, in order.
pub async fn list(tx: &mut Tx, use_id: &UseId) -> Result<Vec<Outcome>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(LIST)
        .bind(use_id.as_str())
        .bind(i64::from(MAX_REPORTS))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// The newest report about a use.
pub async fn latest(tx: &mut Tx, use_id: &UseId) -> Result<Option<Outcome>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(LATEST).bind(use_id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}
