//! `/v1/audit`: the transparency log.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::access::Role;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::{Path, Query};
use crate::http::problem::{Problem, ProblemBody};
use crate::tlog::Hash;

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct EntriesPage {
    /// The first index.
    #[serde(default)]
    from: u64,
    /// At most so many, up to 1000.
    #[serde(default = "hundred")]
    limit: u32,
}

fn hundred() -> u32 {
    100
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

/// Reads entries.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", params(EntriesPage),
    security(("api_key" = [])),
    responses((status = 200, body = Entries),
        (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn entries(
    Ax(state): Ax<State>,
    key: Key,
    Query(page): Query<EntriesPage>,
) -> Result<Json<Entries>, Problem> {
    key.of(Role::Auditor)?;
    let found = state.services.entries(page.from, page.limit).await?;
    let full = found.len() >= page.limit.clamp(1, crate::service::audit::MAX_PAGE) as usize;
    let next = found.last().filter(|_| full).map(|e| e.index + 1);
    let entries = found
        .iter()
        .map(|e| EntryView {
            index: e.index,
            entry: BASE64_STANDARD.encode(&e.bytes),
            leaf_hash: hex(&e.leaf_hash),
        })
        .collect();
    Ok(Json(Entries { entries, next }))
}

/// The signed head of the log (C2SP tlog-checkpoint).
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "audit",
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn checkpoint(Ax(state): Ax<State>) -> Result<Response, Problem> {
    let note = state.services.checkpoint().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
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
