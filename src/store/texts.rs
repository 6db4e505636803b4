//! The texts that people are shown when they consent, word for word. A text never changes.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::consent::Purpose;
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO consent_texts (version, locale, body, purposes, sha256, at_ms)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (version, locale) DO NOTHING";
    const GET: &str = "SELECT version, locale, body, purposes, sha256, at_ms
        FROM consent_texts WHERE version = $1 AND locale = $2";
    const LOCALES: &str = "SELECT locale FROM consent_texts WHERE version = $1 ORDER BY locale";
}

/// A text in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The version, the same in every language.
    pub version: String,
    /// The language (BCP 47).
    pub locale: String,
    /// The words.
    pub body: String,
    /// The purposes that it names to the person.
    pub purposes: Vec<Purpose>,
    /// SHA-256 of the words.
    pub sha256: [u8; 32],
    /// When it was kept.
    pub at: Millis,
}

#[derive(FromRow)]
struct Row {
    version: String,
    locale: String,
    body: String,
    purposes: String,
    sha256: Vec<u8>,
    at_ms: i64,
}

impl Row {
    fn parse(self) -> Result<Text> {
        Ok(Text {
            version: self.version,
            locale: self.locale,
            body: self.body,
            purposes: rows::json("consent_texts.purposes", &self.purposes)?,
            sha256: rows::array("consent_texts.sha256", &self.sha256)?,
            at: Millis(self.at_ms),
        })
    }
}

/// Keeps a text; `false` where there is one of this version and language already.
pub async fn insert(tx: &mut Tx, text: &Text) -> Result<bool> {
    let purposes = rows::to_json("consent_texts.purposes", &text.purposes)?;
    on!(tx, |c| sqlx::query(INSERT)
        .bind(&text.version)
        .bind(&text.locale)
        .bind(&text.body)
        .bind(&purposes)
        .bind(&text.sha256[..])
        .bind(text.at.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// The text of this version in this language.
pub async fn get(tx: &mut Tx, version: &str, locale: &str) -> Result<Option<Text>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(version).bind(locale).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// The languages in which a version is there.
pub async fn locales(tx: &mut Tx, version: &str) -> Result<Vec<String>> {
    on!(tx, |c| sqlx::query_scalar(LOCALES).bind(version).fetch_all(c).await)
}
