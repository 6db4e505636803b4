//! `/v1/audit`: the transparency log for auditors.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Ax;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::access::Role;
use crate::env::Millis;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Path, Query};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::Error;
use crate::store::published::Published;
use crate::tlog::export::Format;
use crate::tlog::{Filter, Hash};

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct EntriesQuery {
    /// The first index, or the `next` of the page before.
    #[serde(default)]
    from: u64,
    /// At most so many, up to 1000.
    #[serde(default = "hundred")]
    limit: u32,
    /// Only entries about the person of this pseudonym (32 hexadecimal digits). Such a search is
    /// an entry itself.
    subject_ref: Option<String>,
    /// Not before this time (milliseconds since 1970).
    since: Option<i64>,
    /// Before this time.
    until: Option<i64>,
    /// Kinds, separated by commas.
    #[param(example = "resolve_allowed,resolve_denied")]
    kind: Option<String>,
    /// A generator's key id.
    generator: Option<String>,
    /// A purpose.
    purpose: Option<String>,
    /// A verdict or other outcome.
    outcome: Option<String>,
    /// The rule that refused.
    rule: Option<String>,
}

/// What to export.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// `jsonl`, `csv` or `parquet`.
    #[serde(default = "jsonl")]
    #[param(value_type = String)]
    format: Format,
    /// Not before this time (milliseconds since 1970).
    since: Option<i64>,
    /// Before this time.
    until: Option<i64>,
    /// Kinds, separated by commas.
    kind: Option<String>,
    /// A generator's key id.
    generator: Option<String>,
    /// A purpose.
    purpose: Option<String>,
    /// A verdict or other outcome.
    outcome: Option<String>,
    /// The rule that refused.
    rule: Option<String>,
}

fn hundred() -> u32 {
    100
}

fn jsonl() -> Format {
    Format::Jsonl
}

/// The filter of a query. The queries can't share a struct for it: flattened, a number of a query
/// string is not read as one.
macro_rules! asked {
    ($query:ident) => {
        Filter {
            since: $query.since.map(Millis),
            until: $query.until.map(Millis),
            kinds: $query
                .kind
                .map(|names| names.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            generator: $query.generator,
            purpose: $query.purpose,
            outcome: $query.outcome,
            rule: $query.rule,
        }
    };
}

/// An entry.
#[derive(Serialize, ToSchema)]
pub struct EntryView {
    /// Its place, from 0.
    index: u64,
    /// The bytes that are hashed, base64: CBOR as docs/log.md describes.
    entry: String,
    /// SHA-256(0x00 ‖ entry), hexadecimal (RFC 6962 §2.1).
    leaf_hash: String,
}

/// A page of the log.
#[derive(Serialize, ToSchema)]
pub struct Entries {
    /// The entries, in order and without gaps.
    entries: Vec<EntryView>,
    /// The `from` of the next page, where there may be one.
    next: Option<u64>,
}

/// How effects and entries agree.
#[derive(Serialize, ToSchema)]
pub struct ReconciliationView {
    /// Effects that have their entry, by kind: `uses`, `consents`, `grants`, `revocations`,
    /// `outcomes`, `deletions`, `takedowns`.
    agree: BTreeMap<&'static str, u64>,
    /// Where they don't agree; at most 100.
    mismatches: Vec<MismatchView>,
}

/// A place where effect and entry don't agree.
#[derive(Serialize, ToSchema)]
pub struct MismatchView {
    /// The entry, or where it should be.
    index: u64,
    /// Of what: a name in `agree`.
    of: &'static str,
    /// What is wrong.
    what: &'static str,
}

/// An inclusion proof (RFC 9162 §2.1.3).
#[derive(Serialize, ToSchema)]
pub struct InclusionView {
    /// The entry.
    index: u64,
    /// Its leaf hash, hexadecimal.
    leaf_hash: String,
    /// The tree's size.
    size: u64,
    /// The tree's root, hexadecimal.
    root: String,
    /// Sibling hashes from the leaf up, hexadecimal.
    proof: Vec<String>,
}

/// A consistency proof (RFC 9162 §2.1.4).
#[derive(Serialize, ToSchema)]
pub struct ConsistencyView {
    /// The earlier size.
    old_size: u64,
    /// The size now.
    size: u64,
    /// The root now, hexadecimal.
    root: String,
    /// The hashes, hexadecimal.
    proof: Vec<String>,
}

/// Reads entries, all or those that are asked for. A page can be short, even empty, and still have a
/// next one; what is appended meanwhile changes no page.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", params(EntriesQuery),
    security(("api_key" = [])),
    responses((status = 200, body = Entries),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn entries(
    Ax(state): Ax<State>,
    key: Key,
    Query(q): Query<EntriesQuery>,
) -> Result<Json<Entries>, Problem> {
    let caller = key.of(Role::Auditor)?;
    let filter = asked!(q);
    let subject = match q.subject_ref {
        None => None,
        Some(text) => {
            let mut reference = [0; 16];
            hex::decode_to_slice(&text, &mut reference).map_err(|_| Error::Invalid {
                field: "subject_ref",
                reason: "must be 32 hexadecimal digits".into(),
            })?;
            Some(reference)
        }
    };
    let found = state.services.search(&caller, &filter, subject, q.from, q.limit).await?;
    let entries = found
        .entries
        .iter()
        .map(|e| EntryView {
            index: e.index,
            entry: BASE64_STANDARD.encode(&e.bytes),
            leaf_hash: hex(&e.leaf_hash),
        })
        .collect();
    Ok(Json(Entries { entries, next: found.next }))
}

/// Exports entries with their proofs and a signed manifest at the end, to be checked alone with
/// `cameo audit verify --bundle`. The answer streams. An export is an entry itself.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", params(ExportQuery),
    security(("api_key" = [])),
    responses((status = 200, content_type = "application/jsonl", body = String),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn export(
    Ax(state): Ax<State>,
    key: Key,
    Query(q): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Auditor)?;
    let filter = asked!(q);
    let pieces = state.services.export(&caller, filter, q.format).await?;
    // A piece that fails ends the answer without the manifest, which a check finds.
    let body = axum::body::Body::from_stream(pieces.inspect_err(|e| {
        tracing::error!(error = %e, "an export broke off");
    }));
    let name = format!("attachment; filename=\"log.{}\"", q.format.extension());
    let headers = [
        (header::CONTENT_TYPE, q.format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}

/// Compares effects with their entries, both ways: every use, consent, report, deletion and take-down;
/// and every grant that is kept has its entry.
#[utoipa::path(get, path = "/v1/audit/reconciliation", tag = "audit", security(("api_key" = [])),
    responses((status = 200, body = ReconciliationView),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn reconciliation(
    Ax(state): Ax<State>,
    key: Key,
) -> Result<Json<ReconciliationView>, Problem> {
    key.of(Role::Auditor)?;
    let found = state.services.reconcile().await?;
    let mismatches = found.mismatches.iter();
    Ok(Json(ReconciliationView {
        agree: found.agree,
        mismatches: mismatches
            .map(|m| MismatchView { index: m.index, of: m.of, what: m.what })
            .collect(),
    }))
}

/// The signed head of the log (C2SP tlog-checkpoint).
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "audit",
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn checkpoint(Ax(state): Ax<State>) -> Result<Response, Problem> {
    let note = state.services.checkpoint().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

/// Which checkpoints.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct CheckpointsQuery {
    /// Only those of fewer entries: the `next` of the page before.
    before: Option<u64>,
    /// At most so many, up to 100.
    #[serde(default = "twenty")]
    limit: u32,
}

fn twenty() -> u32 {
    20
}

/// A checkpoint as it was published.
#[derive(Serialize, ToSchema)]
pub struct PublishedView {
    /// How many entries it covers.
    size: u64,
    /// When it was first published (RFC 3339).
    at: String,
    /// The signed note (C2SP tlog-checkpoint), with the cosignatures of witnesses.
    note: String,
}

/// A page of published checkpoints, the largest first.
#[derive(Serialize, ToSchema)]
pub struct Checkpoints {
    /// The checkpoints.
    checkpoints: Vec<PublishedView>,
    /// The `before` of the next page, where there may be one.
    next: Option<u64>,
}

/// Lists the checkpoints that were published, with the cosignatures of witnesses.
#[utoipa::path(get, path = "/v1/audit/checkpoints", tag = "audit", params(CheckpointsQuery),
    security(("api_key" = [])),
    responses((status = 200, body = Checkpoints),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn checkpoints(
    Ax(state): Ax<State>,
    key: Key,
    Query(q): Query<CheckpointsQuery>,
) -> Result<Json<Checkpoints>, Problem> {
    key.of(Role::Auditor)?;
    let below = q.before.unwrap_or(u64::MAX);
    let found = state.services.published_checkpoints(below, q.limit).await?;
    let full = found.len() >= q.limit.clamp(1, crate::service::audit::MAX_CHECKPOINTS) as usize;
    let next = found.last().filter(|c| full && c.size > 0).map(|c| c.size);
    let view = |c: Published| PublishedView {
        size: c.size,
        at: c.at.rfc3339(),
        note: String::from_utf8_lossy(&c.note).into_owned(),
    };
    Ok(Json(Checkpoints { checkpoints: found.into_iter().map(view).collect(), next }))
}

/// Proves that an entry is in the log.
#[utoipa::path(get, path = "/v1/audit/proofs/inclusion/{index}", tag = "audit",
    params(("index" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = InclusionView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn inclusion(
    Ax(state): Ax<State>,
    key: Key,
    Path(index): Path<u64>,
) -> Result<Json<InclusionView>, Problem> {
    key.of(Role::Auditor)?;
    let p = state.services.prove_inclusion(index).await?;
    Ok(Json(InclusionView {
        index: p.index,
        leaf_hash: hex(&p.leaf_hash),
        size: p.head.size,
        root: hex(&p.head.root),
        proof: p.proof.iter().map(hex).collect(),
    }))
}

/// Proves that the log continues the log of an earlier size.
#[utoipa::path(get, path = "/v1/audit/proofs/consistency/{old_size}", tag = "audit",
    params(("old_size" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = ConsistencyView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn consistency(
    Ax(state): Ax<State>,
    key: Key,
    Path(old_size): Path<u64>,
) -> Result<Json<ConsistencyView>, Problem> {
    key.of(Role::Auditor)?;
    let p = state.services.prove_consistency(old_size).await?;
    Ok(Json(ConsistencyView {
        old_size: p.old_size,
        size: p.head.size,
        root: hex(&p.head.root),
        proof: p.proof.iter().map(hex).collect(),
    }))
}

fn hex(hash: &Hash) -> String {
    hex::encode(hash.0)
}
