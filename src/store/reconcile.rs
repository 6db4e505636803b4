//! Effects by the log's index that they refer to: for the comparison of effects and entries.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::tlog::entry::{Attribute, Entry};

sql! {
    const USES: &str = "SELECT log_index, id AS name, outcome AS detail FROM uses
        WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index";
    const CONSENTS: &str = "SELECT log_index, text_version AS name, kind AS detail FROM consents
        WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index";
    const USES_BEYOND: &str = "SELECT log_index FROM uses WHERE log_index >= $1
        ORDER BY log_index LIMIT 100";
    const CONSENTS_BEYOND: &str = "SELECT log_index FROM consents WHERE log_index >= $1
        ORDER BY log_index LIMIT 100";
}

/// An effect that has an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The entry.
    pub index: u64,
    label: &'static str,
    name: String,
    kind: String,
}

impl Effect {
    /// Whether the entry is of this effect.
    pub fn is_of(&self, entry: &Entry) -> bool {
        let named = entry.attributes.get(self.label);
        entry.kind.name() == self.kind
            && matches!(named, Some(Attribute::Text(name)) if *name == self.name)
    }
}

#[derive(FromRow)]
struct Row {
    log_index: i64,
    name: String,
    detail: String,
}

/// Uses whose entries lie from index `from` up to (not including) `to`, in order.
pub async fn uses(tx: &mut Tx, from: u64, to: u64) -> Result<Vec<Effect>> {
    effects(tx, USES, "use", "resolve", from, to).await
}

/// Versions of consents, in the same way.
pub async fn consents(tx: &mut Tx, from: u64, to: u64) -> Result<Vec<Effect>> {
    effects(tx, CONSENTS, "text_version", "consent", from, to).await
}

/// Indices that effects refer to and that the log of `size` entries does not have, at most 100 of
/// each kind.
pub async fn beyond(tx: &mut Tx, size: u64) -> Result<Vec<u64>> {
    let size = rows::integer("log_head.size", size)?;
    let mut found = Vec::new();
    for sql in [USES_BEYOND, CONSENTS_BEYOND] {
        let rows: Vec<i64> = on!(tx, |c| sqlx::query_scalar(sql).bind(size).fetch_all(c).await)?;
        found.extend(rows.into_iter().filter_map(|i| u64::try_from(i).ok()));
    }
    Ok(found)
}

async fn effects(
    tx: &mut Tx,
    sql: &'static str,
    label: &'static str,
    prefix: &str,
    from: u64,
    to: u64,
) -> Result<Vec<Effect>> {
    let (from, to) = (rows::integer("log_index", from)?, rows::integer("log_index", to)?);
    on!(tx, |c| sqlx::query_as::<_, Row>(sql).bind(from).bind(to).fetch_all(c).await)?
        .into_iter()
        .map(|r| {
            let index = rows::count("log_index", r.log_index)?;
            Ok(Effect { index, label, name: r.name, kind: format!("{prefix}_{}", r.detail) })
        })
        .collect()
}
