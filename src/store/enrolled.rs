//! Who is enrolled: what changed, in order, with the templates that a search compares.

use sqlx::FromRow;

use super::cameos::SealedTemplate;
use super::subjects::Subject;
use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::CameoId;
use crate::env::Millis;

macro_rules! columns {
    () => {
        "COALESCE(c.changed_seq, 0) AS seq, c.id, c.created_ms AS enrolled_ms, t.version,
            t.verification_id, t.sealed, t.model_id, t.model_sha256, t.created_ms,
            s.subject, s.subject_ref, s.wrapped_key, s.key_version, s.created_ms AS subject_ms
        FROM cameos c
        LEFT JOIN templates t ON t.cameo_id = c.id AND t.version = c.template_version
            AND c.state = 'active'
        LEFT JOIN subjects s ON s.subject = c.subject"
    };
}

sql! {
    const CHANGES: &str = concat!("SELECT ", columns!(), "
        WHERE c.changed_seq > $1 ORDER BY c.changed_seq LIMIT $2");
    const GET: &str = concat!("SELECT ", columns!(), " WHERE c.id = $1");
}

/// Where a cameo stands after its last change.
pub struct Change {
    /// Grows with every change, in the order of commits.
    pub seq: i64,
    /// The cameo.
    pub cameo: CameoId,
    /// When it was first enrolled.
    pub since: Millis,
    /// Its person and newest template; `None`: it was deleted.
    pub enrolled: Option<(Subject, SealedTemplate)>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Change({}, {}, enrolled: {})", self.seq, self.cameo, self.enrolled.is_some())
    }
}

#[derive(FromRow)]
struct Row {
    seq: i64,
    id: String,
    enrolled_ms: i64,
    version: Option<i64>,
    verification_id: Option<String>,
    sealed: Option<Vec<u8>>,
    model_id: Option<String>,
    model_sha256: Option<String>,
    created_ms: Option<i64>,
    subject: Option<String>,
    subject_ref: Option<Vec<u8>>,
    wrapped_key: Option<Vec<u8>>,
    key_version: Option<i64>,
    subject_ms: Option<i64>,
}

impl Row {
    fn parse(self) -> Result<Change> {
        let cameo: CameoId = rows::parse("cameos.id", &self.id)?;
        let template = match (
            self.version,
            self.verification_id,
            self.sealed,
            self.model_id.zip(self.model_sha256),
            self.created_ms,
        ) {
            (
                Some(version),
                Some(verification),
                Some(sealed),
                Some((id, sha256)),
                Some(created),
            ) => Some(SealedTemplate {
                cameo: cameo.clone(),
                version: rows::count("templates.version", version)?,
                verification: rows::parse("templates.verification_id", &verification)?,
                sealed,
                model_id: id,
                model_sha256: sha256,
                created: Millis(created),
            }),
            _ => None,
        };
        let subject = match (
            self.subject,
            self.subject_ref,
            self.wrapped_key,
            self.key_version,
            self.subject_ms,
        ) {
            (Some(subject), Some(reference), Some(wrapped_key), Some(version), Some(created)) => {
                Some(Subject {
                    subject: rows::parse("subjects.subject", &subject)?,
                    subject_ref: rows::array("subjects.subject_ref", &reference)?,
                    wrapped_key,
                    key_version: rows::count("subjects.key_version", version)?,
                    created: Millis(created),
                })
            }
            _ => None,
        };
        Ok(Change {
            seq: self.seq,
            cameo,
            since: Millis(self.enrolled_ms),
            enrolled: subject.zip(template),
        })
    }
}

/// The cameos that changed after `seq`, the earliest change first, at most `limit`. A cameo that
/// changed twice stands at its last change alone.
pub async fn changes(tx: &mut Tx, seq: i64, limit: u32) -> Result<Vec<Change>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(CHANGES)
        .bind(seq)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}

/// Where one cameo stands.
pub async fn get(tx: &mut Tx, id: &CameoId) -> Result<Option<Change>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}
