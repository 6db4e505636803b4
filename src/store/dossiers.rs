//! What a decision about a cameo and its token rest on, read in one statement, for many cameos at
//! once.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::FromRow;

use super::cameos::{Cameo, SealedTemplate};
use super::consents::Consent;
use super::dialect::Engine;
use super::subjects::Subject;
use super::tx::{Tx, look, sql};
use super::{Error, Result, rows};
use crate::domain::ids::CameoId;
use crate::env::Millis;

sql! {
    const READ_SQLITE: &str = "SELECT c.id, c.subject, c.state, c.template_version, c.created_ms,
            c.deleted_ms, c.frozen_ms,
            s.subject_ref, s.wrapped_key, s.key_version, s.created_ms AS subject_created_ms,
            t.version AS t_version, t.verification_id, t.sealed, t.model_id, t.model_sha256,
            t.created_ms AS t_created_ms,
            k.version, k.kind, k.permissions_sealed, k.text_version, k.at_ms, k.log_index, k.locale,
            k.text_sha256,
            EXISTS (SELECT 1 FROM grants g WHERE g.cameo_id = c.id AND g.revoked_ms IS NULL)
                AS has_grants
        FROM json_each($1) w CROSS JOIN cameos c ON c.id = w.value
        LEFT JOIN subjects s ON s.subject = c.subject
        LEFT JOIN templates t ON t.cameo_id = c.id AND t.version = c.template_version
        LEFT JOIN consents k ON k.cameo_id = c.id
            AND k.version = (SELECT MAX(l.version) FROM consents l WHERE l.cameo_id = c.id)";
    const READ_POSTGRES: &str = "SELECT c.id, c.subject, c.state, c.template_version, c.created_ms,
            c.deleted_ms, c.frozen_ms,
            s.subject_ref, s.wrapped_key, s.key_version, s.created_ms AS subject_created_ms,
            t.version AS t_version, t.verification_id, t.sealed, t.model_id, t.model_sha256,
            t.created_ms AS t_created_ms,
            k.version, k.kind, k.permissions_sealed, k.text_version, k.at_ms, k.log_index, k.locale,
            k.text_sha256,
            EXISTS (SELECT 1 FROM grants g WHERE g.cameo_id = c.id AND g.revoked_ms IS NULL)
                AS has_grants
        FROM json_array_elements_text($1::text::json) w (value) JOIN cameos c ON c.id = w.value
        LEFT JOIN subjects s ON s.subject = c.subject
        LEFT JOIN templates t ON t.cameo_id = c.id AND t.version = c.template_version
        LEFT JOIN consents k ON k.cameo_id = c.id
            AND k.version = (SELECT MAX(l.version) FROM consents l WHERE l.cameo_id = c.id)";
}

/// A cameo with everything about it that a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dossier {
    /// The cameo, deleted or not.
    pub cameo: Cameo,
    /// Whose it is; `None` where they are forgotten.
    pub subject: Option<Subject>,
    /// The newest version of the consent, also a withdrawn one.
    pub consent: Option<Consent>,
    /// The newest template.
    pub template: Option<SealedTemplate>,
    /// Whether there is any grant to a single person that was not taken back.
    pub has_grants: bool,
}

#[derive(FromRow)]
struct Row {
    id: String,
    subject: String,
    state: String,
    template_version: i64,
    created_ms: i64,
    deleted_ms: Option<i64>,
    frozen_ms: Option<i64>,
    subject_ref: Option<Vec<u8>>,
    wrapped_key: Option<Vec<u8>>,
    key_version: Option<i64>,
    subject_created_ms: Option<i64>,
    t_version: Option<i64>,
    verification_id: Option<String>,
    sealed: Option<Vec<u8>>,
    model_id: Option<String>,
    model_sha256: Option<String>,
    t_created_ms: Option<i64>,
    version: Option<i64>,
    kind: Option<String>,
    permissions_sealed: Option<Vec<u8>>,
    text_version: Option<String>,
    at_ms: Option<i64>,
    log_index: Option<i64>,
    locale: Option<String>,
    text_sha256: Option<Vec<u8>>,
    has_grants: bool,
}

impl Row {
    fn parse(self) -> Result<Dossier> {
        let cameo = super::cameos::Row {
            id: self.id,
            subject: self.subject,
            state: self.state,
            template_version: self.template_version,
            created_ms: self.created_ms,
            deleted_ms: self.deleted_ms,
            frozen_ms: self.frozen_ms,
        }
        .parse()?;
        let subject = match self.subject_ref {
            None => None,
            Some(reference) => Some(Subject {
                subject: cameo.subject.clone(),
                subject_ref: rows::array("subjects.subject_ref", &reference)?,
                wrapped_key: there("subjects.wrapped_key", self.wrapped_key)?,
                key_version: rows::count(
                    "subjects.key_version",
                    there("subjects.key_version", self.key_version)?,
                )?,
                created: Millis(there("subjects.created_ms", self.subject_created_ms)?),
            }),
        };
        let template = match self.t_version {
            None => None,
            Some(version) => Some(SealedTemplate {
                cameo: cameo.id.clone(),
                version: rows::count("templates.version", version)?,
                verification: rows::parse(
                    "templates.verification_id",
                    &there("templates.verification_id", self.verification_id)?,
                )?,
                sealed: there("templates.sealed", self.sealed)?,
                model_id: there("templates.model_id", self.model_id)?,
                model_sha256: there("templates.model_sha256", self.model_sha256)?,
                created: Millis(there("templates.created_ms", self.t_created_ms)?),
            }),
        };
        let consent = match self.version {
            None => None,
            Some(version) => Some(
                super::consents::Row {
                    cameo_id: cameo.id.as_str().to_owned(),
                    version,
                    kind: there("consents.kind", self.kind)?,
                    permissions_sealed: self.permissions_sealed,
                    text_version: there("consents.text_version", self.text_version)?,
                    at_ms: there("consents.at_ms", self.at_ms)?,
                    log_index: there("consents.log_index", self.log_index)?,
                    locale: self.locale,
                    text_sha256: self.text_sha256,
                }
                .parse()?,
            ),
        };
        Ok(Dossier { cameo, subject, consent, template, has_grants: self.has_grants })
    }
}

/// A column that is NULL only where the row it comes from isn't there.
fn there<T>(what: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or(Error::Corrupt { what })
}

/// The dossier of one cameo; `None` where there never was such a cameo. In a group commit it is read
/// together with those of the callers who wait, under the log's head.
pub async fn get(tx: &mut Tx, id: &CameoId) -> Result<Option<Arc<Dossier>>> {
    let Some(group) = &mut tx.group else {
        return Ok(read(tx, std::slice::from_ref(id)).await?.remove(id));
    };
    if let Some(known) = group.memo().dossiers.get(id) {
        return Ok(known.clone());
    }
    let wanted = group.unread_cameos(id);
    let mut found = match read(tx, &wanted).await {
        Ok(found) => found,
        // A broken row of another's must not be in this one's way.
        Err(Error::Corrupt { .. }) if wanted.len() > 1 => {
            tx.failed = None;
            return Ok(read(tx, std::slice::from_ref(id)).await?.remove(id));
        }
        Err(e) => return Err(e),
    };
    let own = found.get(id).cloned();
    if let Some(group) = &mut tx.group {
        let all = wanted.into_iter().map(|id| {
            let dossier = found.remove(&id);
            (id, dossier)
        });
        group.memo().dossiers.extend(all);
    }
    Ok(own)
}

/// The dossiers of several cameos; of those that never were, none.
pub async fn read(tx: &mut Tx, ids: &[CameoId]) -> Result<HashMap<CameoId, Arc<Dossier>>> {
    let sql = match tx.engine() {
        Engine::Sqlite => READ_SQLITE,
        Engine::Postgres => READ_POSTGRES,
    };
    let list = rows::to_json("cameos.id", &ids)?;
    let found = look!(tx, |c| sqlx::query_as::<_, Row>(sql).bind(list).fetch_all(c).await)?;
    found.into_iter().map(|r| r.parse().map(|d| (d.cameo.id.clone(), Arc::new(d)))).collect()
}
