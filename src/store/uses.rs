//! Every decision about a use of a cameo, allowed or denied.

use sqlx::FromRow;

use super::token_status::Place;
use super::tx::{Tx, in_chunks, look, many, on, sql};
use super::{Error, Result, rows};
use crate::domain::consent::{GrantRef, Purpose, Rule};
use crate::domain::ids::{ApiKeyId, CameoId, SceneId, UseId};
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO uses
        (id, cameo_id, generator_key, purpose, requester_sealed, outcome, rule, consent_version,
         issued_ms, expires_ms, kid, log_index, grant_id, parent_id, scene_id, status_list,
         status_index)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    const INSERT_16: &str = many!(INSERT, 16, 17);
    const INSERT_128: &str = many!(INSERT, 128, 17);
    const GET: &str = "SELECT id, cameo_id, generator_key, purpose, requester_sealed, outcome, rule,
            consent_version, issued_ms, expires_ms, kid, log_index, grant_id, parent_id, scene_id,
            status_list, status_index, token_status
        FROM uses WHERE id = $1";
    const BY_CAMEO: &str = "SELECT id, cameo_id, generator_key, purpose, requester_sealed, outcome,
            rule, consent_version, issued_ms, expires_ms, kid, log_index, grant_id, parent_id, scene_id,
            status_list, status_index, token_status
        FROM uses WHERE cameo_id = $1 AND log_index < $2 ORDER BY log_index DESC LIMIT $3";
    const BY_SCENE: &str = "SELECT id, cameo_id, generator_key, purpose, requester_sealed, outcome,
            rule, consent_version, issued_ms, expires_ms, kid, log_index, grant_id, parent_id, scene_id,
            status_list, status_index, token_status
        FROM uses WHERE scene_id = $1 ORDER BY log_index LIMIT 64";
}

/// How a request came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UseOutcome {
    /// A token was issued.
    Allowed {
        /// Until when it is valid.
        expires: Millis,
        /// The key that signed it.
        kid: String,
    },
    /// This rule refused.
    Denied(Rule),
}

/// One request for a cameo, and the answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Use {
    /// Its id: the token's `cti` where there is one.
    pub id: UseId,
    /// The cameo.
    pub cameo: CameoId,
    /// The API key of the generator that asked.
    pub generator: ApiKeyId,
    /// What for.
    pub purpose: Purpose,
    /// Who asked the generator, sealed with the cameo owner's key.
    pub requester_sealed: Vec<u8>,
    /// The answer.
    pub outcome: UseOutcome,
    /// The consent that was decided on; `None` where there was none.
    pub consent_version: Option<u32>,
    /// When.
    pub issued: Millis,
    /// The log's entry about it.
    pub log_index: u64,
    /// What allowed it; `None` where it was denied.
    pub grant: Option<GrantRef>,
    /// The use that made the video which this one's derives from.
    pub parent: Option<UseId>,
    /// What it was resolved together with.
    pub scene: Option<SceneId>,
    /// Where the token's status stands; `None` where none was issued.
    pub place: Option<Place>,
    /// The token's status: 0 valid, 1 revoked, 2 suspended. A new one is valid.
    pub token_status: u8,
}

impl std::fmt::Debug for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Use({} of {}, {:?})", self.id, self.cameo, self.outcome)
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    cameo_id: String,
    generator_key: String,
    purpose: String,
    requester_sealed: Vec<u8>,
    outcome: String,
    rule: Option<String>,
    consent_version: Option<i64>,
    issued_ms: i64,
    expires_ms: Option<i64>,
    kid: Option<String>,
    log_index: i64,
    grant_id: Option<String>,
    parent_id: Option<String>,
    scene_id: Option<String>,
    status_list: Option<i64>,
    status_index: Option<i64>,
    token_status: i64,
}

impl Row {
    fn parse(self) -> Result<Use> {
        let named = |purpose: &&Purpose| purpose.name() == self.purpose;
        let purpose =
            *Purpose::ALL.iter().find(named).ok_or(Error::Corrupt { what: "uses.purpose" })?;
        let outcome = match (self.outcome.as_str(), self.rule.as_deref(), self.expires_ms, self.kid)
        {
            ("allowed", None, Some(expires), Some(kid)) => {
                UseOutcome::Allowed { expires: Millis(expires), kid }
            }
            ("denied", Some(rule), None, None) => UseOutcome::Denied(
                Rule::ALL
                    .iter()
                    .copied()
                    .find(|r| r.name() == rule)
                    .ok_or(Error::Corrupt { what: "uses.rule" })?,
            ),
            _ => return Err(Error::Corrupt { what: "uses.outcome" }),
        };
        Ok(Use {
            id: rows::parse("uses.id", &self.id)?,
            cameo: rows::parse("uses.cameo_id", &self.cameo_id)?,
            generator: rows::parse("uses.generator_key", &self.generator_key)?,
            purpose,
            requester_sealed: self.requester_sealed,
            outcome,
            consent_version: self
                .consent_version
                .map(|v| rows::count("uses.consent_version", v))
                .transpose()?,
            issued: Millis(self.issued_ms),
            log_index: rows::count("uses.log_index", self.log_index)?,
            grant: rows::parse_opt("uses.grant_id", self.grant_id.as_deref())?,
            parent: rows::parse_opt("uses.parent_id", self.parent_id.as_deref())?,
            scene: rows::parse_opt("uses.scene_id", self.scene_id.as_deref())?,
            place: match self.status_list.zip(self.status_index) {
                None => None,
                Some((list, index)) => Some(Place {
                    list: rows::count("uses.status_list", list)?,
                    index: rows::count("uses.status_index", index)?,
                }),
            },
            token_status: rows::count("uses.token_status", self.token_status)?,
        })
    }
}

/// Adds a use. The log's entry must be there already (same transaction). In a group commit it is
/// inserted with those of others.
///
/// # Errors
/// [`Error::Conflict`] where the id is taken.
pub async fn insert(tx: &mut Tx, new: Use) -> Result<()> {
    if let Some(group) = &mut tx.group {
        group.add_use(new);
        return Ok(());
    }
    insert_all(tx, &[new]).await
}

/// The same for many, outside or at the end of a group commit.
pub(super) async fn insert_all(tx: &mut Tx, all: &[Use]) -> Result<()> {
    for (sql, some) in in_chunks(all, &[(128, INSERT_128), (16, INSERT_16), (1, INSERT)]) {
        let indices = some.iter().map(|u| rows::integer("uses.log_index", u.log_index));
        let indices = indices.collect::<Result<Vec<_>>>()?;
        look!(tx, |c| {
            let mut query = sqlx::query(sql);
            for (u, log_index) in some.iter().zip(indices) {
                let (outcome, rule, expires, kid) = match &u.outcome {
                    UseOutcome::Allowed { expires, kid } => {
                        ("allowed", None, Some(expires.0), Some(&**kid))
                    }
                    UseOutcome::Denied(rule) => ("denied", Some(rule.name()), None, None),
                };
                query = query
                    .bind(u.id.as_str())
                    .bind(u.cameo.as_str())
                    .bind(u.generator.as_str())
                    .bind(u.purpose.name())
                    .bind(&u.requester_sealed)
                    .bind(outcome)
                    .bind(rule)
                    .bind(u.consent_version.map(i64::from))
                    .bind(u.issued.0)
                    .bind(expires)
                    .bind(kid)
                    .bind(log_index)
                    .bind(u.grant.as_ref().map(GrantRef::name))
                    .bind(u.parent.as_ref().map(UseId::as_str))
                    .bind(u.scene.as_ref().map(SceneId::as_str))
                    .bind(u.place.map(|p| i64::from(p.list)))
                    .bind(u.place.map(|p| i64::from(p.index)));
            }
            query.execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// The use of this id.
pub async fn get(tx: &mut Tx, id: &UseId) -> Result<Option<Use>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// Uses of a cameo, the newest first, at most `limit`; `before` is the log index of the last one
/// of the page before.
pub async fn by_cameo(
    tx: &mut Tx,
    cameo: &CameoId,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Use>> {
    let before = before.map_or(i64::MAX, |b| i64::try_from(b).unwrap_or(i64::MAX));
    on!(tx, |c| sqlx::query_as::<_, Row>(BY_CAMEO)
        .bind(cameo.as_str())
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// The uses that were resolved together.
pub async fn by_scene(tx: &mut Tx, scene: &SceneId) -> Result<Vec<Use>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(BY_SCENE).bind(scene.as_str()).fetch_all(c).await)?
        .into_iter()
        .map(Row::parse)
        .collect()
}
