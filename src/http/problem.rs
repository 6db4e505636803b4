//! Every error as `application/problem+json` (RFC 9457).
//!
//! `type` is `urn:cameo:problem:<slug>`: stable, and documented in `docs/problems.md`, which is
//! made from [`Type`] and checked to be current.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::domain::verification::State;
use crate::media;
use crate::service::Error;
use crate::service::resolve::Refusal;
use crate::store;

macro_rules! types {
    ($($variant:ident = $slug:literal, $status:ident, $title:literal, $fix:literal;)*) => {
        /// The problem types.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Type {
            $(#[doc = $title] $variant,)*
        }

        impl Type {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The last part of the type URI.
            pub fn slug(self) -> &'static str {
                match self { $(Self::$variant => $slug,)* }
            }

            /// The HTTP status it comes with.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// What happened, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What the client can do.
            pub fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)* }
            }
        }
    };
}

types! {
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "The credential is missing or not good", "Send `Authorization: Bearer …` with an API key, or with the client token of this verification.";
    Forbidden = "forbidden", FORBIDDEN, "The key has another role", "Use a key of the role that `detail` names.";
    NotFound = "not-found", NOT_FOUND, "There is no such thing", "Check the path and the id.";
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The path takes other methods", "See the `Allow` header and the API description.";
    InvalidRequest = "invalid-request", BAD_REQUEST, "The request is not valid", "Correct what `detail` names; the API description has the shape.";
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large", "Send less.";
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body is of a type that is not taken here", "Set `Content-Type` as the API description says.";
    IdempotencyKeyMissing = "idempotency-key-missing", BAD_REQUEST, "The Idempotency-Key header is missing", "Send a fresh random `Idempotency-Key` with each new request, and the same one when repeating it.";
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key was used for another request", "Use a fresh key for a new request.";
    IdempotencyInFlight = "idempotency-in-flight", CONFLICT, "The first request with this key is under way", "Repeat the request in a moment.";
    WrongState = "wrong-state", CONFLICT, "The verification is not in a state for this", "Read the verification and act on its `state`.";
    SecondReviewer = "second-reviewer-needed", CONFLICT, "Another reviewer has to approve", "You have approved this case; a check failed in it, so a second reviewer has to approve it too.";
    ChallengeExpired = "challenge-expired", CONFLICT, "The challenge has expired", "Ask for another attempt with `POST …/retry`.";
    LockedOut = "locked-out", TOO_MANY_REQUESTS, "Too many failed attempts", "Wait until `Retry-After` is over.";
    CaptureTooLarge = "capture-too-large", PAYLOAD_TOO_LARGE, "The capture is too large", "Record a shorter video or at a lower resolution.";
    CaptureBroken = "capture-broken-off", BAD_REQUEST, "The upload broke off", "Ask with HEAD how far a resumable upload is and go on from there; else send the whole file again.";
    UploadOffset = "upload-offset-mismatch", CONFLICT, "The piece does not follow what came before", "Go on from `expected_offset`, or ask with HEAD how far the upload is.";
    CaptureReplayed = "capture-replayed", CONFLICT, "This capture was sent before", "Record a new one for this challenge.";
    CaptureUnsupported = "capture-unsupported", UNSUPPORTED_MEDIA_TYPE, "The capture is of a format that is not taken", "Send WebM (VP8 or VP9 with Opus) or MP4 (H.264 with AAC).";
    CaptureInvalid = "capture-invalid", UNPROCESSABLE_ENTITY, "The capture can't be decoded", "Record again and send the whole file.";
    CaptureOverLimit = "capture-over-limit", UNPROCESSABLE_ENTITY, "The capture is over a limit", "Record a shorter video, at a lower resolution or frame rate.";
    ConsentChanged = "consent-changed", PRECONDITION_FAILED, "The consent changed in the meantime", "Read the consent, and send the change again on top of it.";
    Denied = "consent-denied", FORBIDDEN, "Consent does not allow this use", "The member `rule` names the rule that refused, and `refusals` says so for each cameo; docs/permissions.md has what to do about each rule.";
    TextKept = "consent-text-kept", CONFLICT, "The consent text is kept already and never changes", "Give the changed text a new version.";
    NoRecipientKey = "generator-key-missing", CONFLICT, "The generator has no key to seal to", "Make an X25519 key with `cameo token keygen` and register its public half with `POST /v1/generator/keys`.";
    TooManyReports = "too-many-reports", CONFLICT, "The use has as many reports as are kept", "Report a use when its state changes, not more often.";
    RequestSettled = "request-settled", CONFLICT, "The request is not pending any more", "Read the request and act on its `state`.";
    TooMany = "too-many-requests", TOO_MANY_REQUESTS, "Too many requests to use a cameo", "Wait until `Retry-After` is over; the person has not been disturbed.";
    JudgingFailed = "judging-failed", SERVICE_UNAVAILABLE, "The service could not judge the capture", "Ask for another attempt; this one does not count.";
    Busy = "busy", TOO_MANY_REQUESTS, "The service is at its limit", "Repeat the request after `Retry-After`.";
    Timeout = "timeout", SERVICE_UNAVAILABLE, "The request took too long", "Repeat the request.";
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The service can't do this now", "Repeat the request after `Retry-After`; `/readyz` says what is missing.";
    Internal = "internal", INTERNAL_SERVER_ERROR, "The service made a mistake", "Report it with the `X-Request-Id` of the answer.";
}

impl Type {
    /// The type URI.
    pub fn uri(self) -> String {
        format!("urn:cameo:problem:{}", self.slug())
    }
}

/// An error on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Type,
    detail: String,
    retry_after: Option<u64>,
    extra: Map<String, Value>,
}

/// The JSON form of a problem (RFC 9457 §3). Some types add members, as `docs/problems.md` says.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:cameo:problem:<slug>`.
    #[schema(example = "urn:cameo:problem:challenge-expired")]
    pub r#type: String,
    /// What happened, the same for every occurrence of the type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do.
    pub detail: String,
}

impl Problem {
    /// A problem of this type.
    pub fn new(kind: Type, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None, extra: Map::new() }
    }

    /// Its type.
    pub fn kind(&self) -> Type {
        self.kind
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        let mut body = Map::from_iter([
            ("type".into(), json!(self.kind.uri())),
            ("title".into(), json!(self.kind.title())),
            ("status".into(), json!(self.kind.status().as_u16())),
            ("detail".into(), json!(self.detail)),
        ]);
        body.extend(self.extra.clone());
        Value::Object(body)
    }

    /// What a capture that could not be used is told, by the code that the store keeps.
    pub fn of_failure(code: &str) -> Self {
        let kind = match code {
            crate::service::verify::GAVE_UP => Type::JudgingFailed,
            "unsupported_container" | "unsupported_codec" | "not_a_container" => {
                Type::CaptureUnsupported
            }
            c if c.starts_with("too_") => Type::CaptureOverLimit,
            _ => Type::CaptureInvalid,
        };
        Self::new(kind, kind.fix()).with("code", code)
    }
}

/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.to_json())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Type::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(e: Error) -> Self {
        let detail = e.to_string();
        match e {
            Error::Unauthenticated(_) => Self::new(Type::Unauthenticated, detail),
            Error::Forbidden { .. } => Self::new(Type::Forbidden, detail),
            Error::NotFound(_) => Self::new(Type::NotFound, detail),
            Error::Invalid { field, .. } => {
                Self::new(Type::InvalidRequest, detail).with("field", field)
            }
            Error::WrongState(state) => {
                Self::new(Type::WrongState, wrong_state(state)).with("state", state.name())
            }
            Error::SecondReviewer => Self::new(Type::SecondReviewer, detail),
            Error::ChallengeExpired => Self::new(Type::ChallengeExpired, detail),
            Error::LockedOut { until, seconds } => {
                Self::new(Type::LockedOut, detail).with("until", until.rfc3339()).after(seconds)
            }
            Error::CaptureTooLarge { max } => {
                Self::new(Type::CaptureTooLarge, detail).with("max_bytes", max)
            }
            Error::CaptureBroken => Self::new(Type::CaptureBroken, detail),
            Error::UploadOffset { expected } => {
                Self::new(Type::UploadOffset, detail).with("expected_offset", expected)
            }
            Error::CaptureReplayed => Self::new(Type::CaptureReplayed, detail),
            Error::Capture(e) => Self::of_media(&e),
            Error::ConsentChanged { current } => {
                Self::new(Type::ConsentChanged, detail).with("current_version", current)
            }
            Error::TextKept => Self::new(Type::TextKept, detail),
            Error::NoRecipientKey => Self::new(Type::NoRecipientKey, detail),
            Error::TooManyReports { .. } => Self::new(Type::TooManyReports, detail),
            Error::RequestSettled => Self::new(Type::RequestSettled, detail),
            Error::TooMany { seconds } => Self::new(Type::TooMany, detail).after(seconds),
            Error::IdempotencyMismatch => Self::new(Type::IdempotencyKeyReused, detail),
            Error::IdempotencyInFlight => Self::new(Type::IdempotencyInFlight, detail).after(1),
            Error::Busy => Self::new(Type::Busy, detail).after(1),
            Error::Unavailable(_) => Self::new(Type::Unavailable, detail).after(10),
            Error::Store(e) => Self::of_store(&e),
            Error::Internal(cause) => {
                tracing::error!(%cause, "internal error");
                Self::internal()
            }
        }
    }
}

impl Problem {
    /// What a generator is told whose scene was refused.
    pub(super) fn refused(refusals: &[Refusal]) -> Self {
        let rule = Refusal::first_rule(refusals);
        let each: Vec<Value> = refusals
            .iter()
            .map(|r| {
                json!({ "cameo_id": r.cameo.as_str(), "use_id": r.use_id.as_str(), "rule": r.rule.name() })
            })
            .collect();
        Self::new(Type::Denied, format!("{} {}", rule.meaning(), rule.fix()))
            .with("rule", rule.name())
            .with("refusals", each)
    }

    fn internal() -> Self {
        Self::new(Type::Internal, "The request could not be carried out. Nothing was changed.")
    }

    fn of_store(e: &store::Error) -> Self {
        tracing::error!(error = %e, "the store failed");
        match e {
            store::Error::Unavailable(_) | store::Error::CommitUnknown(_) => {
                Self::new(Type::Unavailable, "the database is not available").after(5)
            }
            _ => Self::internal(),
        }
    }

    fn of_media(e: &media::Error) -> Self {
        match e.family() {
            media::Family::Ours => {
                tracing::error!(error = %e, "the decoder failed");
                Self::new(Type::Unavailable, "the decoder is not available").after(5)
            }
            _ => Self { detail: e.to_string(), ..Self::of_failure(e.code()) },
        }
    }
}

fn wrong_state(state: State) -> String {
    let hint = match state {
        State::Pending => "send a capture first",
        State::Processing => "wait until the capture is judged",
        State::Verified => "it is over, and the person is verified",
        State::Rejected | State::Expired | State::Failed => "ask for another attempt",
        State::Review => "a reviewer has to decide",
    };
    format!("the verification is {}: {hint}", state.name())
}

/// Answers what no route takes.
pub async fn not_found() -> Problem {
    Problem::new(Type::NotFound, "there is no such path; see /openapi.json")
}

/// Answers a method that a path does not take.
pub async fn method_not_allowed() -> Problem {
    Problem::new(Type::MethodNotAllowed, "this path takes other methods")
}

/// Answers a request whose handler panicked: a bug, and no reason to fall over.
#[allow(clippy::needless_pass_by_value)] // the shape that the layer asks for
pub fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    metrics::counter!("cameo_panics_total").increment(1);
    Problem::internal().into_response()
}

/// `docs/problems.md`.
pub fn catalogue() -> String {
    let head = "# Problem types\n\n\
         Every error answer is `application/problem+json` (RFC 9457). `type` is stable; branch on it \
         and not on the words.\n\nThis page is made from `src/http/problem.rs` by `make docs`.\n\n\
         | type | status | what happened | what to do |\n| --- | --- | --- | --- |\n";
    let rows = Type::ALL.iter().map(|t| {
        let (uri, status) = (t.uri(), t.status().as_u16());
        format!("| `{uri}` | {status} | {} | {} |\n", t.title(), t.fix())
    });
    std::iter::once(head.to_owned()).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::Role;
    use crate::env::Millis;

    #[test]
    fn every_cause_has_its_type() {
        let table = [
            (Error::Unauthenticated("x"), "unauthenticated", 401),
            (Error::Forbidden { needed: Role::App }, "forbidden", 403),
            (Error::NotFound("x"), "not-found", 404),
            (Error::Invalid { field: "f", reason: "r".into() }, "invalid-request", 400),
            (Error::WrongState(State::Review), "wrong-state", 409),
            (Error::ChallengeExpired, "challenge-expired", 409),
            (Error::LockedOut { until: Millis(0), seconds: 1 }, "locked-out", 429),
            (Error::CaptureTooLarge { max: 1 }, "capture-too-large", 413),
            (Error::CaptureBroken, "capture-broken-off", 400),
            (Error::SecondReviewer, "second-reviewer-needed", 409),
            (Error::UploadOffset { expected: 7 }, "upload-offset-mismatch", 409),
            (Error::CaptureReplayed, "capture-replayed", 409),
            (Error::Capture(media::Error::Empty), "capture-invalid", 422),
            (Error::Capture(media::Error::NotAContainer), "capture-unsupported", 415),
            (Error::Capture(media::Error::TooLong { max_ms: 1 }), "capture-over-limit", 422),
            (Error::Capture(media::Error::ChildDied { signal: None }), "unavailable", 503),
            (Error::ConsentChanged { current: 1 }, "consent-changed", 412),
            (Error::TextKept, "consent-text-kept", 409),
            (Error::NoRecipientKey, "generator-key-missing", 409),
            (Error::TooManyReports { max: 1 }, "too-many-reports", 409),
            (Error::RequestSettled, "request-settled", 409),
            (Error::TooMany { seconds: 1 }, "too-many-requests", 429),
            (Error::IdempotencyMismatch, "idempotency-key-reused", 422),
            (Error::IdempotencyInFlight, "idempotency-in-flight", 409),
            (Error::Busy, "busy", 429),
            (Error::Unavailable("x"), "unavailable", 503),
            (Error::Internal("the secret cause".into()), "internal", 500),
        ];
        for (error, slug, status) in table {
            let text = format!("{error:?}");
            let p = Problem::from(error);
            assert_eq!((p.kind().slug(), p.kind().status().as_u16()), (slug, status), "{text}");
            let body = p.to_json().to_string();
            assert!(!body.contains("secret cause"));
        }
    }

    #[test]
    fn slugs_stay_apart() {
        let slugs: std::collections::BTreeSet<_> = Type::ALL.iter().map(|t| t.slug()).collect();
        assert_eq!(slugs.len(), Type::ALL.len());
    }
}
