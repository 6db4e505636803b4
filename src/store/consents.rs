//! Consent as a history: a version for everything that the person said, never overwritten.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Error, Result, rows};
use crate::domain::ids::CameoId;
use crate::env::Millis;

sql! {
    const APPEND: &str = "INSERT INTO consents
        (cameo_id, version, kind, permissions_sealed, text_version, at_ms, log_index, locale,
         text_sha256)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (cameo_id, version) DO NOTHING";
    const LATEST: &str = "SELECT cameo_id, version, kind, permissions_sealed, text_version, at_ms,
            log_index, locale, text_sha256
        FROM consents WHERE cameo_id = $1 ORDER BY version DESC LIMIT 1";
    const GET: &str = "SELECT cameo_id, version, kind, permissions_sealed, text_version, at_ms,
            log_index, locale, text_sha256
        FROM consents WHERE cameo_id = $1 AND version = $2";
    const LIST: &str = "SELECT cameo_id, version, kind, permissions_sealed, text_version, at_ms,
            log_index, locale, text_sha256
        FROM consents WHERE cameo_id = $1 AND version > $2 ORDER BY version LIMIT $3";
}

/// What the person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentKind {
    /// They consented, for the first time or after withdrawing.
    Given,
    /// They changed what they permit.
    Changed,
    /// They withdrew.
    Withdrawn,
}

impl ConsentKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Given, Self::Changed, Self::Withdrawn];

    /// The name used in the store and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Changed => "changed",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl std::str::FromStr for ConsentKind {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|v| v.name() == s).ok_or(())
    }
}

/// One version.
#[derive(Clone, PartialEq, Eq)]
pub struct Consent {
    /// The cameo.
    pub cameo: CameoId,
    /// From 1, without gaps.
    pub version: u32,
    /// What happened.
    pub kind: ConsentKind,
    /// The [`Permissions`](crate::domain::consent::Permissions), sealed with the person's key;
    /// `None` where consent was withdrawn.
    pub permissions_sealed: Option<Vec<u8>>,
    /// Which text the person was shown.
    pub text_version: String,
    /// In which language, where the app said.
    pub locale: Option<String>,
    /// SHA-256 of the text, where it is kept.
    pub text_sha256: Option<[u8; 32]>,
    /// When.
    pub at: Millis,
    /// The log's entry about it.
    pub log_index: u64,
}

impl std::fmt::Debug for Consent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Consent({} version {}, {:?})", self.cameo, self.version, self.kind)
    }
}

#[derive(FromRow)]
pub(super) struct Row {
    pub(super) cameo_id: String,
    pub(super) version: i64,
    pub(super) kind: String,
    pub(super) permissions_sealed: Option<Vec<u8>>,
    pub(super) text_version: String,
    pub(super) at_ms: i64,
    pub(super) log_index: i64,
    pub(super) locale: Option<String>,
    pub(super) text_sha256: Option<Vec<u8>>,
}

impl Row {
    pub(super) fn parse(self) -> Result<Consent> {
        let kind = rows::parse("consents.kind", &self.kind)?;
        if (kind == ConsentKind::Withdrawn) != self.permissions_sealed.is_none() {
            return Err(Error::Corrupt { what: "consents.permissions_sealed" });
        }
        Ok(Consent {
            cameo: rows::parse("consents.cameo_id", &self.cameo_id)?,
            version: rows::count("consents.version", self.version)?,
            kind,
            permissions_sealed: self.permissions_sealed,
            text_version: self.text_version,
            locale: self.locale,
            text_sha256: self
                .text_sha256
                .map(|h| rows::array("consents.text_sha256", &h))
                .transpose()?,
            at: Millis(self.at_ms),
            log_index: rows::count("consents.log_index", self.log_index)?,
        })
    }
}

/// Appends a version. Its number says what the caller has seen: one more than the latest. The
/// log's entry must be there already (same transaction).
///
/// # Errors
/// [`Error::Conflict`] where the version is not the next one: somebody else was first.
pub async fn append(tx: &mut Tx, consent: &Consent) -> Result<()> {
    let latest = latest(tx, &consent.cameo).await?.map_or(0, |c| c.version);
    if latest.checked_add(1) != Some(consent.version) {
        return Err(Error::conflict("consents"));
    }
    let log_index = rows::integer("consents.log_index", consent.log_index)?;
    let appended = on!(tx, |c| sqlx::query(APPEND)
        .bind(consent.cameo.as_str())
        .bind(i64::from(consent.version))
        .bind(consent.kind.name())
        .bind(consent.permissions_sealed.as_deref())
        .bind(&consent.text_version)
        .bind(consent.at.0)
        .bind(log_index)
        .bind(consent.locale.as_deref())
        .bind(consent.text_sha256.as_ref().map(|h| &h[..]))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if appended { Ok(()) } else { Err(Error::conflict("consents")) }
}

/// The version that holds.
pub async fn latest(tx: &mut Tx, cameo: &CameoId) -> Result<Option<Consent>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(LATEST).bind(cameo.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// One version.
pub async fn get(tx: &mut Tx, cameo: &CameoId, version: u32) -> Result<Option<Consent>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET)
        .bind(cameo.as_str())
        .bind(i64::from(version))
        .fetch_optional(c)
        .await)?
    .map(Row::parse)
    .transpose()
}

/// Versions after `after` (0: from the first), at most `limit`, in order.
pub async fn list(tx: &mut Tx, cameo: &CameoId, after: u32, limit: u32) -> Result<Vec<Consent>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(LIST)
        .bind(cameo.as_str())
        .bind(i64::from(after))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(Row::parse)
    .collect()
}
