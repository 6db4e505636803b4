//! Effects by the log's index that they refer to: for the comparison of effects and entries.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::tlog::Kind;
use crate::tlog::entry::{Attribute, Entry};

sql! {
    const USES: &str = "SELECT log_index, 'resolve_' || outcome AS kind, id AS name FROM uses
        WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index";
    const USES_BEYOND: &str = "SELECT log_index FROM uses WHERE log_index >= $1
        ORDER BY log_index LIMIT 100";
    const CONSENTS: &str = "SELECT log_index, 'consent_' || kind AS kind, text_version AS name
        FROM consents WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index";
    const CONSENTS_BEYOND: &str = "SELECT log_index FROM consents WHERE log_index >= $1
        ORDER BY log_index LIMIT 100";
    const GRANTS: &str = "SELECT log_index, 'grant_given' AS kind, NULL AS name FROM grants
        WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index";
    const GRANTS_BEYOND: &str = "SELECT log_index FROM grants WHERE log_index >= $1
        ORDER BY log_index LIMIT 100";
    const REVOCATIONS: &str = "SELECT revoked_log_index AS log_index, 'grant_revoked' AS kind,
        NULL AS name FROM grants
        WHERE revoked_log_index >= $1 AND revoked_log_index < $2 ORDER BY revoked_log_index";
    const REVOCATIONS_BEYOND: &str = "SELECT revoked_log_index FROM grants
        WHERE revoked_log_index >= $1 ORDER BY revoked_log_index LIMIT 100";
    const OUTCOMES: &str = "SELECT log_index, 'use_outcome' AS kind, use_id AS name FROM use_outcomes
        WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index";
    const OUTCOMES_BEYOND: &str = "SELECT log_index FROM use_outcomes WHERE log_index >= $1
        ORDER BY log_index LIMIT 100";
    const DELETIONS: &str = "SELECT log_index, 'cameo_deleted' AS kind, cameo_id AS name
        FROM deletions WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index";
    const DELETIONS_BEYOND: &str = "SELECT log_index FROM deletions WHERE log_index >= $1
        ORDER BY log_index LIMIT 100";
    const TAKEDOWNS: &str = "SELECT count(*) FROM takedowns";
}

/// Effects of a kind that refer to their entry.
#[derive(Debug)]
pub struct Source {
    /// What they are called.
    pub name: &'static str,
    /// The kinds of their entries.
    pub kinds: &'static [Kind],
    /// Whether each entry of these kinds has its effect for ever. Where it hasn't, effects go with
    /// the person's data.
    pub kept: bool,
    /// The public attribute of the entry that names the effect, where there is one.
    label: &'static str,
    list: &'static str,
    beyond: &'static str,
}

/// All of them.
pub const SOURCES: &[Source] = &[
    Source {
        name: "uses",
        kinds: &[Kind::ResolveAllowed, Kind::ResolveDenied],
        kept: true,
        label: "use",
        list: USES,
        beyond: USES_BEYOND,
    },
    Source {
        name: "consents",
        kinds: &[Kind::ConsentGiven, Kind::ConsentChanged, Kind::ConsentWithdrawn],
        kept: true,
        label: "text_version",
        list: CONSENTS,
        beyond: CONSENTS_BEYOND,
    },
    Source {
        name: "grants",
        kinds: &[Kind::GrantGiven],
        kept: false,
        label: "",
        list: GRANTS,
        beyond: GRANTS_BEYOND,
    },
    Source {
        name: "revocations",
        kinds: &[Kind::GrantRevoked],
        kept: false,
        label: "",
        list: REVOCATIONS,
        beyond: REVOCATIONS_BEYOND,
    },
    Source {
        name: "outcomes",
        kinds: &[Kind::UseOutcome],
        kept: true,
        label: "use",
        list: OUTCOMES,
        beyond: OUTCOMES_BEYOND,
    },
    Source {
        name: "deletions",
        kinds: &[Kind::CameoDeleted],
        kept: true,
        label: "cameo",
        list: DELETIONS,
        beyond: DELETIONS_BEYOND,
    },
];

/// An effect that refers to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The entry.
    pub index: u64,
    kind: String,
    label: &'static str,
    name: Option<String>,
}

impl Effect {
    /// Whether the entry is of this effect.
    pub fn is_of(&self, entry: &Entry) -> bool {
        let named = |name| match entry.attributes.get(self.label) {
            Some(Attribute::Text(text)) => text == name,
            _ => false,
        };
        entry.kind.name() == self.kind && self.name.as_ref().is_none_or(named)
    }
}

#[derive(FromRow)]
struct Row {
    log_index: i64,
    kind: String,
    name: Option<String>,
}

/// Effects whose entries lie from index `from` up to (not including) `to`, in order.
pub async fn effects(tx: &mut Tx, source: &Source, from: u64, to: u64) -> Result<Vec<Effect>> {
    let (from, to) = (rows::integer("log_index", from)?, rows::integer("log_index", to)?);
    let sql = source.list;
    on!(tx, |c| sqlx::query_as::<_, Row>(sql).bind(from).bind(to).fetch_all(c).await)?
        .into_iter()
        .map(|r| {
            let index = rows::count("log_index", r.log_index)?;
            Ok(Effect { index, kind: r.kind, label: source.label, name: r.name })
        })
        .collect()
}

/// Indices that effects refer to and that the log of `size` entries does not have, at most 100.
pub async fn beyond(tx: &mut Tx, source: &Source, size: u64) -> Result<Vec<u64>> {
    let size = rows::integer("log_head.size", size)?;
    let sql = source.beyond;
    let rows: Vec<i64> = on!(tx, |c| sqlx::query_scalar(sql).bind(size).fetch_all(c).await)?;
    Ok(rows.into_iter().filter_map(|i| u64::try_from(i).ok()).collect())
}

/// How many take-downs there are. They name their entry by their id, not by its index.
pub async fn takedowns(tx: &mut Tx) -> Result<u64> {
    let count: i64 = on!(tx, |c| sqlx::query_scalar(TAKEDOWNS).fetch_one(c).await)?;
    rows::count("takedowns", count)
}
