//! Destroying what is kept of a person. What can't go (uses, versions of a consent) stays as
//! ciphertext under a key that is gone, and under the name of a cameo that leads to nobody.

use super::dialect::{Db, Engine};
use super::tx::{Tx, on, sql};
use super::{Error, Result};
use crate::domain::ids::{CameoId, SubjectId};
use crate::env::Millis;

sql! {
    const TEMPLATES: &str = "SELECT sealed FROM templates WHERE cameo_id = $1 ORDER BY version";
    const EVIDENCE: &str = "SELECT a.evidence_sealed FROM attempts a
        JOIN verifications v ON v.id = a.verification_id
        WHERE v.subject = $1 AND a.evidence_sealed IS NOT NULL
        ORDER BY a.verification_id, a.attempt";
    const CANDIDATES: &str = "SELECT a.candidate_sealed FROM attempts a
        JOIN verifications v ON v.id = a.verification_id
        WHERE v.subject = $1 AND a.candidate_sealed IS NOT NULL
        ORDER BY a.verification_id, a.attempt";
    const KEY_FRAMES: &str = "SELECT k.sealed FROM key_frames k
        JOIN verifications v ON v.id = k.verification_id
        WHERE v.subject = $1 ORDER BY k.verification_id, k.attempt, k.n";
    const CAPTURES: &str = "SELECT capture_file FROM verifications
        WHERE subject = $1 AND capture_file IS NOT NULL ORDER BY id";
    const BURY: &str = "UPDATE cameos SET state = 'deleted', deleted_ms = $2, subject = $3,
            changed_seq = (SELECT COALESCE(MAX(changed_seq), 0) + 1 FROM cameos)
        WHERE id = $1 AND state = 'active'";
    const DELETE_TEMPLATES: &str = "DELETE FROM templates WHERE cameo_id = $1";
    const DELETE_VERIFICATIONS: &str = "DELETE FROM verifications WHERE subject = $1";
    const DELETE_LOCKOUT: &str = "DELETE FROM lockouts WHERE subject = $1";
    const DELETE_GRANT_USES: &str = "DELETE FROM grant_uses WHERE cameo_id = $1";
    const DELETE_GRANTS: &str = "DELETE FROM grants WHERE cameo_id = $1";
    const DELETE_REQUESTS: &str = "DELETE FROM requests WHERE cameo_id = $1";
    const DELETE_FINDINGS: &str = "DELETE FROM findings WHERE matched = $1";
    const DELETE_MUTES: &str = "DELETE FROM mutes WHERE cameo_id = $1";
    const DELETE_MUTUALS_ONE: &str = "DELETE FROM mutuals WHERE one = $1";
    const DELETE_MUTUALS_OTHER: &str = "DELETE FROM mutuals WHERE other = $1";
}

/// What is about to go.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Sealed templates.
    pub templates: Vec<Vec<u8>>,
    /// Sealed evidence.
    pub evidence: Vec<Vec<u8>>,
    /// Sealed templates that a reviewer has not decided on.
    pub candidates: Vec<Vec<u8>>,
    /// Sealed key frames of a case in review.
    pub key_frames: Vec<Vec<u8>>,
    /// Names of capture files.
    pub captures: Vec<String>,
}

impl std::fmt::Debug for Remains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Remains({} templates, {} captures)", self.templates.len(), self.captures.len())
    }
}

/// Reads what there is of a person.
pub async fn remains(tx: &mut Tx, cameo: &CameoId, subject: &SubjectId) -> Result<Remains> {
    Ok(Remains {
        templates: blobs(tx, TEMPLATES, cameo.as_str()).await?,
        evidence: blobs(tx, EVIDENCE, subject.as_str()).await?,
        candidates: blobs(tx, CANDIDATES, subject.as_str()).await?,
        key_frames: blobs(tx, KEY_FRAMES, subject.as_str()).await?,
        captures: on!(tx, |c| sqlx::query_scalar::<_, String>(CAPTURES)
            .bind(subject.as_str())
            .fetch_all(c)
            .await)?,
    })
}

async fn blobs(tx: &mut Tx, sql: &'static str, whose: &str) -> Result<Vec<Vec<u8>>> {
    on!(tx, |c| sqlx::query_scalar::<_, Vec<u8>>(sql).bind(whose).fetch_all(c).await)
}

/// Deletes the cameo and everything else of the person but their key (see
/// [`subjects::delete`](super::subjects::delete)) and their salts in the log (see
/// [`log::delete_salts`](super::log::delete_salts)); `false` where the cameo is not active.
///
/// # Errors
/// Those of the database.
pub async fn bury(tx: &mut Tx, cameo: &CameoId, subject: &SubjectId, now: Millis) -> Result<bool> {
    // An id is as good as a name that nobody has: the column has to hold something.
    let nobody = format!("deleted.{cameo}");
    let buried = on!(tx, |c| sqlx::query(BURY)
        .bind(cameo.as_str())
        .bind(now.0)
        .bind(&nobody)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if !buried {
        return Ok(false);
    }
    for sql in [
        DELETE_TEMPLATES,
        DELETE_GRANT_USES,
        DELETE_GRANTS,
        DELETE_REQUESTS,
        DELETE_MUTES,
        DELETE_FINDINGS,
    ] {
        delete(tx, sql, cameo.as_str()).await?;
    }
    for sql in [DELETE_VERIFICATIONS, DELETE_LOCKOUT, DELETE_MUTUALS_ONE, DELETE_MUTUALS_OTHER] {
        delete(tx, sql, subject.as_str()).await?;
    }
    Ok(true)
}

async fn delete(tx: &mut Tx, sql: &'static str, whose: &str) -> Result<()> {
    on!(tx, |c| sqlx::query(sql).bind(whose).execute(c).await.map(|_| ()))
}

impl Db {
    /// Takes what was deleted off the disk too, as far as the engine can. SQLite overwrites it in
    /// its file (`secure_delete`); here the write-ahead log, which holds older pages, is emptied.
    /// PostgreSQL rewrites the tables that held names, keys and templates; its write-ahead log is recycled
    /// in its own time.
    ///
    /// # Errors
    /// [`Error::Busy`] where somebody reads what was before: the same again will work.
    pub async fn scrub(&self) -> Result<()> {
        match self.engine() {
            Engine::Sqlite => self.empty_wal().await,
            Engine::Postgres => self.rewrite(&HELD).await,
        }
    }
}

/// Tables that held a person's name, keys or templates in clear columns or under their key.
const HELD: [&str; 8] = [
    "subjects",
    "templates",
    "log_salts",
    "cameos",
    "verifications",
    "key_frames",
    "lockouts",
    "mutuals",
];

/// What [`Db::scrub`] answers where readers are in the way.
pub(super) fn in_the_way() -> Error {
    Error::Busy("a reader still sees what was deleted")
}
