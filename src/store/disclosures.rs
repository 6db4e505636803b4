//! Requests to open one person's entries to an auditor.

use sqlx::FromRow;

use super::tx::{Tx, on, sql};
use super::{Result, rows};
use crate::domain::ids::{ApiKeyId, DisclosureId};
use crate::env::Millis;

sql! {
    const INSERT: &str = "INSERT INTO disclosures
        (id, case_number, subject_ref, asked_by, asked_ms) VALUES ($1, $2, $3, $4, $5)";
    const GET: &str = "SELECT id, case_number, subject_ref, asked_by, asked_ms, approved_by, until_ms
        FROM disclosures WHERE id = $1";
    const APPROVE: &str = "UPDATE disclosures SET approved_by = $2, approved_ms = $3, until_ms = $4
        WHERE id = $1 AND approved_by IS NULL AND asked_by <> $2";
}

/// A request, and how far it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// Its id.
    pub id: DisclosureId,
    /// What it is for.
    pub case_number: String,
    /// Whose entries.
    pub subject_ref: [u8; 16],
    /// The auditor's key.
    pub asked_by: ApiKeyId,
    /// When.
    pub asked: Millis,
    /// Who approved, and until when it can be read.
    pub approved: Option<(ApiKeyId, Millis)>,
}

impl std::fmt::Debug for Disclosure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disclosure({}, approved: {})", self.id, self.approved.is_some())
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    case_number: String,
    subject_ref: Vec<u8>,
    asked_by: String,
    asked_ms: i64,
    approved_by: Option<String>,
    until_ms: Option<i64>,
}

impl Row {
    fn parse(self) -> Result<Disclosure> {
        let approved = match (self.approved_by, self.until_ms) {
            (Some(by), Some(until)) => {
                Some((rows::parse("disclosures.approved_by", &by)?, Millis(until)))
            }
            _ => None,
        };
        Ok(Disclosure {
            id: rows::parse("disclosures.id", &self.id)?,
            case_number: self.case_number,
            subject_ref: rows::array("disclosures.subject_ref", &self.subject_ref)?,
            asked_by: rows::parse("disclosures.asked_by", &self.asked_by)?,
            asked: Millis(self.asked_ms),
            approved,
        })
    }
}

/// Adds a request that nobody has approved.
pub async fn insert(tx: &mut Tx, new: &Disclosure) -> Result<()> {
    on!(tx, |c| sqlx::query(INSERT)
        .bind(new.id.as_str())
        .bind(&new.case_number)
        .bind(&new.subject_ref[..])
        .bind(new.asked_by.as_str())
        .bind(new.asked.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// The request of this id.
pub async fn get(tx: &mut Tx, id: &DisclosureId) -> Result<Option<Disclosure>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// Approves a request until `until`: whether it waited for that, and `by` is another than who asked.
pub async fn approve(
    tx: &mut Tx,
    id: &DisclosureId,
    by: &ApiKeyId,
    now: Millis,
    until: Millis,
) -> Result<bool> {
    on!(tx, |c| sqlx::query(APPROVE)
        .bind(id.as_str())
        .bind(by.as_str())
        .bind(now.0)
        .bind(until.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}
