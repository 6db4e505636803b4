//! Verifications: the session, its current attempt, and the job of judging the capture. What
//! became of every attempt stands in [`attempts`].
//!
//! Every change is a compare-and-swap on state and attempt (and, while a worker has the job, on the
//! worker), and returns whether it applied: `false` means that somebody else was first.

use serde_json::Value;
use sqlx::FromRow;

pub use super::jobs::{Job, Settlement, claim, release, release_all, renew, settle, waiting};
use super::tx::{Tx, on, sql};
use super::{Error, Result, rows};
use super::{attempts, key_frames};
use crate::domain::challenge::Challenge;
use crate::domain::ids::{ApiKeyId, CameoId, SubjectId, VerificationId};
use crate::domain::verdict::Verdict;
use crate::domain::verification::State;
use crate::env::Millis;

macro_rules! columns {
    () => {
        "id, subject, app_key, locale, consent_text_version, state, attempt, challenge,
            client_token_hash, client_token_expires_ms, created_ms, updated_ms, expires_ms,
            capture_file, capture_sha256, capture_bytes, capture_received_ms, claimed_by,
            claimed_until_ms, tries, verdict, quality, timings, cameo_id, failure, reviewed_by,
            reviewed_ms, review_reason, attested_age"
    };
}

pub(super) use columns;

sql! {
    const INSERT: &str = "INSERT INTO verifications
        (id, subject, app_key, locale, consent_text_version, state, attempt, challenge,
         client_token_hash, client_token_expires_ms, created_ms, updated_ms, expires_ms, tries,
         attested_age)
        VALUES ($1, $2, $3, $4, $5, 'pending', 1, $6, $7, $8, $9, $9, $10, 0, $11)";
    const GET: &str = concat!("SELECT ", columns!(), " FROM verifications WHERE id = $1");
    const BY_STATE: &str = concat!("SELECT ", columns!(), " FROM verifications
        WHERE state = $1 AND id > $2 ORDER BY id LIMIT $3");
    const BY_SUBJECT: &str = concat!("SELECT ", columns!(), " FROM verifications
        WHERE subject = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    const ATTACH: &str = "UPDATE verifications SET state = 'processing', capture_file = $3,
            capture_sha256 = $4, capture_bytes = $5, capture_received_ms = $6, updated_ms = $6,
            claimed_by = NULL, claimed_until_ms = NULL, tries = 0, failure = NULL
        WHERE id = $1 AND attempt = $2 AND state = 'pending' AND expires_ms > $6";
    const RETRY: &str = "UPDATE verifications SET state = 'pending', attempt = attempt + 1,
            challenge = $3, client_token_hash = $4, client_token_expires_ms = $5,
            expires_ms = $6, updated_ms = $7, capture_file = NULL, capture_sha256 = NULL,
            capture_bytes = NULL, capture_received_ms = NULL, claimed_by = NULL,
            claimed_until_ms = NULL, tries = 0, verdict = NULL, quality = NULL, timings = NULL,
            failure = NULL, reviewed_by = NULL, reviewed_ms = NULL, review_reason = NULL
        WHERE id = $1 AND attempt = $2 AND state IN ('rejected', 'expired', 'failed')";
    const REVIEW: &str = "UPDATE verifications SET state = $3, reviewed_by = $4, reviewed_ms = $5,
            review_reason = $6, cameo_id = $7, updated_ms = $5
        WHERE id = $1 AND attempt = $2 AND state = 'review'";
    const OVERDUE_REVIEWS: &str = concat!("SELECT ", columns!(), " FROM verifications
        WHERE state = 'review' AND updated_ms < $1 ORDER BY updated_ms LIMIT $2");
    const LAPSE_REVIEW: &str = "UPDATE verifications SET state = 'expired', updated_ms = $3
        WHERE id = $1 AND attempt = $2 AND state = 'review'";
    const EXPIRE: &str = "UPDATE verifications SET state = 'expired', updated_ms = $1
        WHERE state = 'pending' AND id IN (
            SELECT id FROM verifications WHERE state = 'pending' AND expires_ms <= $1
            ORDER BY expires_ms LIMIT $2)
        RETURNING id, attempt";
    const FILES: &str = "SELECT capture_file FROM verifications
        WHERE capture_file IS NOT NULL AND capture_file > $1 ORDER BY capture_file LIMIT $2";
    const KEPT_FILES: &str = "SELECT id, capture_file FROM verifications
        WHERE capture_file IS NOT NULL AND capture_received_ms < $1
            AND state NOT IN ('pending', 'processing')
        ORDER BY capture_received_ms LIMIT $2";
    const FORGET_FILE: &str = "UPDATE verifications SET capture_file = NULL
        WHERE id = $1 AND capture_file = $2 AND state NOT IN ('pending', 'processing')";
}

/// A verification as it starts: pending, at attempt 1.
#[derive(Clone)]
pub struct NewVerification {
    /// Its id.
    pub id: VerificationId,
    /// Who is to be verified.
    pub subject: SubjectId,
    /// The app's API key that asked.
    pub app_key: ApiKeyId,
    /// BCP 47 language tag of what the person is shown.
    pub locale: String,
    /// Which consent text they are shown.
    pub consent_text_version: String,
    /// The first attempt's cues; its end is the verification's too.
    pub challenge: Challenge,
    /// SHA-256 of the client token.
    pub client_token_hash: [u8; 32],
    /// Until when the client token works.
    pub client_token_expires: Millis,
    /// How old the app says the person is, in years.
    pub attested_age: Option<u8>,
    /// Now.
    pub created: Millis,
}

/// A verification.
#[derive(Clone, PartialEq)]
pub struct Verification {
    /// Its id.
    pub id: VerificationId,
    /// Who is to be verified.
    pub subject: SubjectId,
    /// The app's API key that asked.
    pub app_key: ApiKeyId,
    /// BCP 47 language tag of what the person is shown.
    pub locale: String,
    /// Which consent text they are shown.
    pub consent_text_version: String,
    /// Where it stands.
    pub state: State,
    /// The current attempt, from 1.
    pub attempt: u32,
    /// Its cues.
    pub challenge: Challenge,
    /// SHA-256 of the client token.
    pub client_token_hash: [u8; 32],
    /// Until when the client token works.
    pub client_token_expires: Millis,
    /// When it was made.
    pub created: Millis,
    /// When it last changed.
    pub updated: Millis,
    /// From when on the current attempt takes no capture.
    pub expires: Millis,
    /// The current attempt's capture.
    pub capture: Option<Capture>,
    /// What was concluded.
    pub verdict: Option<Verdict>,
    /// Face image quality components (ISO/IEC 29794-5), as JSON.
    pub quality: Option<Value>,
    /// How long each stage took, as JSON.
    pub timings: Option<Value>,
    /// The cameo that it led to.
    pub cameo: Option<CameoId>,
    /// The code of what went wrong, where the capture was refused or judging failed.
    pub failure: Option<String>,
    /// What a reviewer decided.
    pub review: Option<Review>,
    /// How old the app says the person is, in years.
    pub attested_age: Option<u8>,
}

impl std::fmt::Debug for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verification({}, {:?}, attempt {})", self.id, self.state, self.attempt)
    }
}

/// A capture, and who is judging it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Its file's name in the capture folder; `None` once it is deleted.
    pub file: Option<String>,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Its size.
    pub bytes: u64,
    /// When it had all come.
    pub received: Millis,
    /// The worker that has the job, and until when.
    pub claim: Option<(String, Millis)>,
    /// How often a worker has started on it: a capture that kills its worker comes back.
    pub tries: u32,
}

/// A capture on its way in.
#[derive(Clone, Copy, Debug)]
pub struct NewCapture<'a> {
    /// Its file's name in the capture folder, of `A-Z a-z 0-9 . _ -`.
    pub file: &'a str,
    /// SHA-256 of the file.
    pub sha256: &'a [u8; 32],
    /// Its size.
    pub bytes: u64,
}

/// A reviewer's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The reviewer's API key.
    pub by: ApiKeyId,
    /// When.
    pub at: Millis,
    /// Why.
    pub reason: String,
}

/// What a new attempt starts with.
#[derive(Clone)]
pub struct Retry {
    /// Its cues; their end is the attempt's.
    pub challenge: Challenge,
    /// SHA-256 of the client token.
    pub client_token_hash: [u8; 32],
    /// Until when the client token works.
    pub client_token_expires: Millis,
    /// Now.
    pub at: Millis,
}

#[derive(FromRow)]
pub(super) struct Row {
    id: String,
    subject: String,
    app_key: String,
    locale: String,
    consent_text_version: String,
    state: String,
    attempt: i64,
    challenge: String,
    client_token_hash: Vec<u8>,
    client_token_expires_ms: i64,
    created_ms: i64,
    updated_ms: i64,
    expires_ms: i64,
    capture_file: Option<String>,
    capture_sha256: Option<Vec<u8>>,
    capture_bytes: Option<i64>,
    capture_received_ms: Option<i64>,
    claimed_by: Option<String>,
    claimed_until_ms: Option<i64>,
    tries: i64,
    verdict: Option<String>,
    quality: Option<String>,
    timings: Option<String>,
    cameo_id: Option<String>,
    failure: Option<String>,
    reviewed_by: Option<String>,
    reviewed_ms: Option<i64>,
    review_reason: Option<String>,
    attested_age: Option<i64>,
}

impl Row {
    pub(super) fn parse(self) -> Result<Verification> {
        let capture = self.capture()?;
        let review = match (&self.reviewed_by, self.reviewed_ms, self.review_reason) {
            (None, None, None) => None,
            (Some(by), Some(at), Some(reason)) => Some(Review {
                by: rows::parse("verifications.reviewed_by", by)?,
                at: Millis(at),
                reason,
            }),
            _ => return Err(Error::Corrupt { what: "verifications.reviewed_by" }),
        };
        Ok(Verification {
            id: rows::parse("verifications.id", &self.id)?,
            subject: rows::parse("verifications.subject", &self.subject)?,
            app_key: rows::parse("verifications.app_key", &self.app_key)?,
            locale: self.locale,
            consent_text_version: self.consent_text_version,
            state: rows::parse("verifications.state", &self.state)?,
            attempt: rows::count("verifications.attempt", self.attempt)?,
            challenge: challenge("verifications.challenge", &self.challenge)?,
            client_token_hash: rows::array(
                "verifications.client_token_hash",
                &self.client_token_hash,
            )?,
            client_token_expires: Millis(self.client_token_expires_ms),
            created: Millis(self.created_ms),
            updated: Millis(self.updated_ms),
            expires: Millis(self.expires_ms),
            capture,
            verdict: rows::json_opt("verifications.verdict", self.verdict.as_deref())?,
            quality: rows::json_opt("verifications.quality", self.quality.as_deref())?,
            timings: rows::json_opt("verifications.timings", self.timings.as_deref())?,
            cameo: rows::parse_opt("verifications.cameo_id", self.cameo_id.as_deref())?,
            failure: self.failure,
            review,
            attested_age: self
                .attested_age
                .map(|age| rows::count("verifications.attested_age", age))
                .transpose()?,
        })
    }

    fn capture(&self) -> Result<Option<Capture>> {
        let (Some(sha256), Some(bytes), Some(received)) =
            (&self.capture_sha256, self.capture_bytes, self.capture_received_ms)
        else {
            return Ok(None);
        };
        Ok(Some(Capture {
            file: self.capture_file.clone().map(file_name).transpose()?,
            sha256: rows::array("verifications.capture_sha256", sha256)?,
            bytes: rows::count("verifications.capture_bytes", bytes)?,
            received: Millis(received),
            claim: self.claimed_by.clone().zip(self.claimed_until_ms.map(Millis)),
            tries: rows::count("verifications.tries", self.tries)?,
        }))
    }
}

#[derive(FromRow)]
struct AttemptRow {
    id: String,
    attempt: i64,
}

#[derive(FromRow)]
struct FileRow {
    id: String,
    capture_file: String,
}

/// Adds a verification and opens its first attempt.
///
/// # Errors
/// [`Error::Conflict`] where the id is taken; [`Error::Reference`] where there is no such API key.
pub async fn insert(tx: &mut Tx, new: &NewVerification) -> Result<()> {
    let challenge = rows::to_json("challenge", &new.challenge)?;
    on!(tx, |c| sqlx::query(INSERT)
        .bind(new.id.as_str())
        .bind(new.subject.as_str())
        .bind(new.app_key.as_str())
        .bind(&new.locale)
        .bind(&new.consent_text_version)
        .bind(&challenge)
        .bind(&new.client_token_hash[..])
        .bind(new.client_token_expires.0)
        .bind(new.created.0)
        .bind(new.challenge.expires_at.0)
        .bind(new.attested_age.map(i64::from))
        .execute(c)
        .await
        .map(|_| ()))?;
    attempts::open(tx, &new.id, 1, &challenge, new.created).await
}

/// The verification of this id.
pub async fn get(tx: &mut Tx, id: &VerificationId) -> Result<Option<Verification>> {
    on!(tx, |c| sqlx::query_as::<_, Row>(GET).bind(id.as_str()).fetch_optional(c).await)?
        .map(Row::parse)
        .transpose()
}

/// Verifications in a state, the oldest first, at most `limit`; `after` is the last one of the
/// page before.
pub async fn by_state(
    tx: &mut Tx,
    state: State,
    after: Option<&VerificationId>,
    limit: u32,
) -> Result<Vec<Verification>> {
    let after = after.map_or("", VerificationId::as_str);
    all(on!(tx, |c| sqlx::query_as::<_, Row>(BY_STATE)
        .bind(state.name())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?)
}

/// A person's verifications, the newest first, at most `limit`; `before` is the last one of the
/// page before.
pub async fn by_subject(
    tx: &mut Tx,
    subject: &SubjectId,
    before: Option<&VerificationId>,
    limit: u32,
) -> Result<Vec<Verification>> {
    // `~` comes after everything that an id is made of.
    let before = before.map_or("~", VerificationId::as_str);
    all(on!(tx, |c| sqlx::query_as::<_, Row>(BY_SUBJECT)
        .bind(subject.as_str())
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?)
}

/// Takes the capture of a pending attempt whose time is not up: it is then processing.
pub async fn attach_capture(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    capture: &NewCapture<'_>,
    now: Millis,
) -> Result<bool> {
    file_name(capture.file.to_owned())?;
    let bytes = rows::integer("capture_bytes", capture.bytes)?;
    on!(tx, |c| sqlx::query(ATTACH)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(capture.file)
        .bind(&capture.sha256[..])
        .bind(bytes)
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

/// Opens the attempt after `attempt`, where that one was rejected, expired or failed.
pub async fn retry(tx: &mut Tx, id: &VerificationId, attempt: u32, retry: &Retry) -> Result<bool> {
    let challenge = rows::to_json("challenge", &retry.challenge)?;
    let retried = on!(tx, |c| sqlx::query(RETRY)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(&challenge)
        .bind(&retry.client_token_hash[..])
        .bind(retry.client_token_expires.0)
        .bind(retry.challenge.expires_at.0)
        .bind(retry.at.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if retried {
        attempts::open(tx, id, attempt.saturating_add(1), &challenge, retry.at).await?;
    }
    Ok(retried)
}

/// Settles an attempt in review: `to` is verified or rejected. Its candidate template and its key
/// frames are deleted; read the template before with [`attempts::candidate`].
pub async fn review(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    to: State,
    review: &Review,
    cameo: Option<&CameoId>,
) -> Result<bool> {
    let reviewed = on!(tx, |c| sqlx::query(REVIEW)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(to.name())
        .bind(review.by.as_str())
        .bind(review.at.0)
        .bind(&review.reason)
        .bind(cameo.map(CameoId::as_str))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if reviewed {
        key_frames::delete(tx, id).await?;
        attempts::review(tx, id, attempt, to).await?;
    }
    Ok(reviewed)
}

/// Verifications that have waited for a reviewer since before `before`, at most `limit`.
pub async fn overdue_reviews(tx: &mut Tx, before: Millis, limit: u32) -> Result<Vec<Verification>> {
    all(on!(tx, |c| sqlx::query_as::<_, Row>(OVERDUE_REVIEWS)
        .bind(before.0)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?)
}

/// Ends an attempt that no reviewer decided; its candidate template and its key frames are deleted.
pub async fn lapse_review(
    tx: &mut Tx,
    id: &VerificationId,
    attempt: u32,
    now: Millis,
) -> Result<bool> {
    let lapsed = on!(tx, |c| sqlx::query(LAPSE_REVIEW)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(now.0)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))?;
    if lapsed {
        key_frames::delete(tx, id).await?;
        attempts::review(tx, id, attempt, State::Expired).await?;
    }
    Ok(lapsed)
}

/// Expires pending attempts whose time is up at `now`, at most `limit`; returns which.
pub async fn expire_overdue(
    tx: &mut Tx,
    now: Millis,
    limit: u32,
) -> Result<Vec<(VerificationId, u32)>> {
    let found = on!(tx, |c| sqlx::query_as::<_, AttemptRow>(EXPIRE)
        .bind(now.0)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?;
    let mut expired = Vec::with_capacity(found.len());
    for row in found {
        let id = rows::parse("verifications.id", &row.id)?;
        let attempt = rows::count("verifications.attempt", row.attempt)?;
        let nothing = attempts::Found::default();
        attempts::close(tx, &id, attempt, State::Expired, &nothing, now).await?;
        expired.push((id, attempt));
    }
    Ok(expired)
}

/// Names of the capture files that rows know, in order, after `after` (empty: from the first), at
/// most `limit`: what is in the capture folder beside these is an orphan.
pub async fn capture_files(tx: &mut Tx, after: &str, limit: u32) -> Result<Vec<String>> {
    on!(tx, |c| sqlx::query_scalar::<_, String>(FILES)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)
}

/// Capture files of settled attempts that came before `before`, at most `limit`: their retention
/// is over.
pub async fn kept_captures(
    tx: &mut Tx,
    before: Millis,
    limit: u32,
) -> Result<Vec<(VerificationId, String)>> {
    on!(tx, |c| sqlx::query_as::<_, FileRow>(KEPT_FILES)
        .bind(before.0)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?
    .into_iter()
    .map(|r| Ok((rows::parse("verifications.id", &r.id)?, file_name(r.capture_file)?)))
    .collect()
}

/// Forgets a settled attempt's capture file: delete it after the commit.
pub async fn forget_capture(tx: &mut Tx, id: &VerificationId, file: &str) -> Result<bool> {
    on!(tx, |c| sqlx::query(FORGET_FILE)
        .bind(id.as_str())
        .bind(file)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1))
}

pub(super) fn all(found: Vec<Row>) -> Result<Vec<Verification>> {
    found.into_iter().map(Row::parse).collect()
}

/// A challenge column: JSON that also keeps the rules of a challenge.
pub(super) fn challenge(what: &'static str, text: &str) -> Result<Challenge> {
    let c: Challenge = rows::json(what, text)?;
    Challenge::new(c.digits, c.motions, c.issued_at, c.expires_at)
        .map(|checked| Challenge { completes: c.completes, ..checked })
        .map_err(|_| Error::Corrupt { what })
}

/// A name that can't lead out of its folder.
fn file_name(name: String) -> Result<String> {
    let ok = (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if ok { Ok(name) } else { Err(Error::Corrupt { what: "verifications.capture_file" }) }
}
