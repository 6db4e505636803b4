//! `/tlog`: the log as static resources (C2SP tlog-tiles), and `/witness`: cosigning other logs
//! (C2SP tlog-witness).

use axum::body::Bytes;
use axum::extract::State as Ax;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::domain::access::Role;
use crate::http::State;
use crate::http::auth::Key;
use crate::http::body::Path;
use crate::http::problem::{Problem, ProblemBody, Type};
use crate::service::Error;
use crate::service::witness::Witnessed;
use crate::tlog::publish::Tiles;
use crate::tlog::tile::{CHECKPOINT, Content, Tile};
use crate::tlog::witness::{Answer, Request, SIZE_TYPE};

/// A tile never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// A checkpoint does, every second or so.
const BRIEFLY: &str = "public, max-age=1";
const TEXT: &str = "text/plain; charset=utf-8";

/// The published checkpoint, with the cosignatures of witnesses (C2SP tlog-checkpoint).
#[utoipa::path(get, path = "/tlog/checkpoint", tag = "audit",
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn published(Ax(state): Ax<State>) -> Result<Response, Problem> {
    let note = resource(&state, CHECKPOINT.to_owned()).await?;
    let headers = [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, BRIEFLY)];
    Ok((headers, note).into_response())
}

/// A tile of hashes or a bundle of entries: `<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]` (C2SP
/// tlog-tiles). Entries are for auditors alone where the operator chose so.
#[utoipa::path(get, path = "/tlog/tile/{*path}", tag = "audit",
    params(("path" = String, Path, description = "`0/000`, `1/x001/234.p/5`, `entries/000`")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn tile(
    Ax(state): Ax<State>,
    Path(path): Path<String>,
    key: Result<Key, Problem>,
) -> Result<Response, Problem> {
    // Only names that a tile can have reach the disk.
    let tile = Tile::parse(&format!("tile/{path}")).ok_or_else(missing)?;
    let private = tile.content == Content::Entries && !state.services.settings().log.public_entries;
    if private {
        key?.of(Role::Auditor)?;
    }
    let bytes = resource(&state, tile.path()).await?;
    let kept = if private { "private, max-age=31536000, immutable" } else { FOR_EVER };
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, kept)];
    Ok((headers, bytes).into_response())
}

/// A proof that an entry is in the log, as a file to take along (C2SP tlog-proof). It holds hashes
/// alone, so everyone may have it.
#[utoipa::path(get, path = "/tlog/proof/{index}", tag = "audit",
    params(("index" = u64, Path)),
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn proof(
    Ax(state): Ax<State>,
    Path(index): Path<u64>,
) -> Result<Response, Problem> {
    let file = state.services.proof_file(index).await?;
    let name = format!("attachment; filename=\"{index}.tlog-proof\"");
    let headers = [(header::CONTENT_TYPE, TEXT.to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, file).into_response())
}

/// Asks for a cosignature of another log's checkpoint (C2SP tlog-witness). Nobody needs a key for
/// that: the checkpoint's own signature is checked.
#[utoipa::path(post, path = "/witness/add-checkpoint", tag = "audit",
    request_body(content = String, content_type = "text/plain"),
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 400, description = "not such a request"),
        (status = 403, description = "no known key signed the checkpoint"),
        (status = 404, description = "not a log that is witnessed here"),
        (status = 409, description = "another size was cosigned last", content_type = "text/x.tlog.size"),
        (status = 422, description = "the log does not continue what was cosigned last")))]
pub(super) async fn add_checkpoint(Ax(state): Ax<State>, body: Bytes) -> Result<Response, Problem> {
    let request = match Request::parse(&body) {
        Ok(request) => request,
        Err(e) => return Ok(refused(StatusCode::BAD_REQUEST, &e.to_string())),
    };
    Ok(match state.services.add_checkpoint(&request).await? {
        Witnessed::Cosigned(line) => ([(header::CONTENT_TYPE, TEXT)], line).into_response(),
        Witnessed::Refused(answer) => match answer {
            Answer::Conflict(size) => {
                let headers = [(header::CONTENT_TYPE, SIZE_TYPE)];
                (StatusCode::CONFLICT, headers, format!("{size}\n")).into_response()
            }
            Answer::BadRequest(why) => refused(StatusCode::BAD_REQUEST, why),
            Answer::NotSigned => refused(StatusCode::FORBIDDEN, "no known key signed it"),
            Answer::UnknownLog => refused(StatusCode::NOT_FOUND, "not witnessed here"),
            Answer::NotConsistent | Answer::Cosign(_) => {
                refused(StatusCode::UNPROCESSABLE_ENTITY, "the proof does not verify")
            }
        },
    })
}

/// This service's key as a witness (C2SP tlog-cosignature), where it is one.
#[utoipa::path(get, path = "/.well-known/witness-key", tag = "audit",
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn witness_key(Ax(state): Ax<State>) -> Result<Response, Problem> {
    let key = state.services.witness_key()?.ok_or(Error::NotFound("witness"))?;
    Ok(([(header::CONTENT_TYPE, TEXT)], format!("{key}\n")).into_response())
}

async fn resource(state: &State, path: String) -> Result<Vec<u8>, Problem> {
    let folder = state.services.tiles().clone();
    let read = tokio::task::spawn_blocking(move || folder.get(&path)).await;
    match read {
        Ok(Ok(found)) => found.ok_or_else(missing),
        _ => Err(Error::Unavailable("the log's tiles can't be read").into()),
    }
}

fn missing() -> Problem {
    Problem::new(Type::NotFound, "the log has no such resource, or not yet")
}

/// tlog-witness has its own words for errors: the status.
fn refused(status: StatusCode, why: &str) -> Response {
    (status, [(header::CONTENT_TYPE, TEXT)], format!("{why}\n")).into_response()
}
