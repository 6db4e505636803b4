//! Cameos and their sealed templates. A person has at most one active cameo; each enrolment adds a
//! version of the template.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Error, Result, rows};
use crate::domain::ids::{CameoId, SubjectId, VerificationId};
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO cameos (id, subject, state, template_version, created_ms)
        VALUES ($1, $2, 'active', 0, $3)
        ON CONFLICT (subject) WHERE state = 'active' DO NOTHING";
    const GET: &str = "SELECT id, subject, state, template_version, created_ms, deleted_ms, frozen_ms
        FROM cameos WHERE id = $1";
    const ACTIVE: &str = "SELECT id, subject, state, template_version, created_ms, deleted_ms, frozen_ms
        FROM cameos WHERE subject = $1 AND state = 'active'";
    const NEXT_VERSION: &str = "UPDATE cameos SET template_version = template_version + 1,
            changed_seq = (SELECT COALESCE(MAX(changed_seq), 0) + 1 FROM cameos)
        WHERE id = $1 AND state = 'active' RETURNING template_version";
    const ADD_TEMPLATE: &str = "INSERT INTO templates
        (cameo_id, version, verification_id, sealed, model_id, model_sha256, created_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    const TEMPLATE: &str = "SELECT t.cameo_id, t.version, t.verification_id, t.sealed, t.model_id,
            t.model_sha256, t.created_ms
        FROM templates t JOIN cameos c ON c.id = t.cameo_id AND c.template_version = t.version
        WHERE c.id = $1 AND c.state = 'active'";
    const SET_FROZEN: &str = "UPDATE cameos SET frozen_ms = $2
        WHERE id = $1 AND state = 'active'";
    const DELETE_OLD: &str = "DELETE FROM templates WHERE cameo_id = $1 AND version < $2";
}

/// Where a cameo stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameoState {
    /// It can be used, as far as consent allows.
    Active,
    /// Its templates are gone.
    Deleted,
}

impl CameoState {
    /// The name used in the store and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
        }
    }
}

impl std::str::FromStr for CameoState {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        [Self::Active, Self::Deleted].into_iter().find(|v| v.name() == s).ok_or(())
    }
}

/// An enrolled identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cameo {
    /// Its id.
    pub id: CameoId,
    /// Whose it is.
    pub subject: SubjectId,
    /// Where it stands.
    pub state: CameoState,
    /// The newest template's version, from 1.
    pub template_version: u32,
    /// When it was first enrolled.
    pub created: Millis,
    /// When it was deleted.
    pub deleted: Option<Millis>,
    /// Since when it is frozen, where it is: nobody gets a token.
    pub frozen: Option<Millis>,
}

/// One enrolment's template.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedTemplate {
    /// The cameo.
    pub cameo: CameoId,
    /// From 1, without gaps.
    pub version: u32,
    /// The verification that it was made from.
    pub verification: VerificationId,
    /// The [`Template`](crate::domain::template::Template), sealed with the person's key.
    pub sealed: Vec<u8>,
    /// The embedding model's id in the manifest.
    pub model_id: String,
    /// SHA-256 of the model's file, lower-case hexadecimal.
    pub model_sha256: String,
    /// When it was made.
    pub created: Millis,
}

impl std::fmt::Debug for SealedTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedTemplate({} version {})", self.cameo, self.version)
    }
}

/// A template on its way in.
#[derive(Clone, Copy)]
pub struct Enrolment<'a> {
    /// The verification that it was made from.
    pub verification: &'a VerificationId,
    /// See [`SealedTemplate::sealed`].
    pub sealed: &'a [u8],
    /// See [`SealedTemplate::model_id`].
    pub model_id: &'a str,
    /// See [`SealedTemplate::model_sha256`].
    pub model_sha256: &'a str,
    /// Now.
    pub at: Millis,
}

#[derive(FromRow)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) state: String,
    pub(super) template_version: i64,
    pub(super) created_ms: i64,
    pub(super) deleted_ms: Option<i64>,
    pub(super) frozen_ms: Option<i64>,
}

impl Row {
    pub(super) fn parse(self) -> Result<Cameo> {
        Ok(Cameo {
            id: rows::parse("cameos.id", &self.id)?,
            subject: rows::parse("cameos.subject", &self.subject)?,
            state: rows::parse("cameos.state", &self.state)?,
            template_version: rows::count("cameos.template_version", self.template_version)?,
            created: Millis(self.created_ms),
            deleted: self.deleted_ms.map(Millis),
            frozen: self.frozen_ms.map(Millis),
        })
    }
}

#[derive(FromRow)]
struct TemplateRow {
    cameo_id: String,
    version: i64,
    verification_id: String,
    sealed: Vec<u8>,
    model_id: String,
    model_sha256: String,
    created_ms: i64,
}

/// The cameo of this id, deleted or not.
pub async fn get(tx: &mut Tx, id: &CameoId) -> Result<Option<Cameo>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// A person's active cameo.
pub async fn active(tx: &mut Tx, subject: &SubjectId) -> Result<Option<Cameo>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(ACTIVE).bind(subject.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// The person's active cameo, or a new one of id `fresh`: needed before a template can be sealed,
/// since sealing binds it to its cameo. Of several at once, all get the same cameo.
pub async fn open(tx: &mut Tx, subject: &SubjectId, fresh: &CameoId, at: Millis) -> Result<Cameo> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(fresh.as_str())
        .bind(subject.as_str())
        .bind(at.0)
        .execute(c)
        .await
        .map(|_| ()))?;
    active(tx, subject).await?.ok_or_else(|| Error::conflict("cameos"))
}

/// Adds the next version of a cameo's template and returns that version. The caller holds the log's
/// head: [`enrolled`](super::enrolled) counts changes in its order.
///
/// # Errors
/// [`Error::Conflict`] where the cameo isn't there or was deleted.
pub async fn enrol(tx: &mut Tx, cameo: &CameoId, enrolment: &Enrolment<'_>) -> Result<u32> {
    let version = on!(tx, |c| sqlx::query_scalar::<_, i64>(NEXT_VERSION)
        .bind(cameo.as_str())
        .fetch_optional(c)
        .await)?
    .ok_or_else(|| Error::conflict("cameos"))?;
    on!(tx, |c| sqlx::query(ADD_TEMPLATE)
        .bind(cameo.as_str())
        .bind(version)
        .bind(enrolment.verification.as_str())
        .bind(enrolment.sealed)
        .bind(enrolment.model_id)
        .bind(enrolment.model_sha256)
        .bind(enrolment.at.0)
        .execute(c)
        .await
        .map(|_| ()))?;
    rows::count("cameos.template_version", version)
}

/// The newest template of an active cameo.
pub async fn template(tx: &mut Tx, id: &CameoId) -> Result<Option<SealedTemplate>> {
    let row = on!(tx, |c| sqlx::query_as::<_, TemplateRow>(TEMPLATE)
        .bind(id.as_str())
        .fetch_optional(c)
        .await)?;
    row.map(|r| {
        Ok(SealedTemplate {
            cameo: rows::parse("templates.cameo_id", &r.cameo_id)?,
            version: rows::count("templates.version", r.version)?,
            verification: rows::parse("templates.verification_id", &r.verification_id)?,
            sealed: r.sealed,
            model_id: r.model_id,
            model_sha256: r.model_sha256,
            created: Millis(r.created_ms),
        })
    })
    .transpose()
}

/// Deletes the templates that came before `version`.
pub async fn delete_older(tx: &mut Tx, id: &CameoId, version: u32) -> Result<u64> {
    on!(tx, |c| sqlx::query(DELETE_OLD)
        .bind(id.as_str())
        .bind(i64::from(version))
        .execute(c)
        .await
        .map(|r| r.rows_affected()))
}

/// Freezes a cameo, or thaws it; `false` where it isn't active.
pub async fn set_frozen(tx: &mut Tx, id: &CameoId, since: Option<Millis>) -> Result<bool> {
    on!(tx, |c| sqlx::query(SET_FROZEN)
        .bind(id.as_str())
        .bind(since.map(|t| t.0))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}
