//! `/v1/verifications`: the app opens one, the person's device answers it.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State as Ax;
use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::access::Role;
use crate::domain::ids::{SubjectId, VerificationId};
use crate::domain::verdict::{CheckResult, ReasonCode, Verdict};
use crate::http::State;
use crate::http::auth::{Bearer, Key};
use crate::http::body::{Body, Path};
use crate::http::once::{self, IdempotencyKey, once};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::Error;
use crate::service::onboard::{Start, Started};
use crate::service::progress::Stage;
use crate::store::verifications::Verification;

/// What the app asks for.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVerification {
    /// The app's own id of the person: 1 to 128 characters of `A-Z a-z 0-9 . _ : @ -`.
    #[schema(value_type = String, example = "user-42")]
    pub subject: SubjectId,
    /// BCP 47 language tag of what the person is shown.
    #[serde(default = "english")]
    #[schema(example = "en")]
    pub locale: String,
    /// The version of the consent text that the person is shown and agrees to.
    #[schema(example = "2026-11")]
    pub consent_text_version: String,
    /// How old the person is, in years, as the app has established it: 0 to 150. Where the service
    /// demands an age (`verification.minimum_age`), one that is lower or not stated leads to review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 29)]
    pub attested_age: Option<u8>,
}

fn english() -> String {
    "en".into()
}

/// What the person is asked to do: read the digits aloud, then make the motions in order, each out
/// and back to the centre.
#[derive(Serialize, ToSchema)]
pub struct ChallengeView {
    /// The digits, in the groups in which they are to be shown.
    #[schema(example = json!(["471", "903"]))]
    pub groups: Vec<String>,
    /// `left`, `right`, `up` or `down`; the person's own left and right.
    #[schema(example = json!(["left", "up"]))]
    pub motions: Vec<&'static str>,
    /// When it was issued (RFC 3339).
    pub issued_at: String,
    /// From when on no capture is taken (RFC 3339).
    pub expires_at: String,
    /// The longest capture, in seconds.
    pub max_duration_s: u64,
    /// The largest capture, in bytes.
    pub max_bytes: u64,
    /// Where a single step is repeated: the attempt from which the other step stands. The cues of that
    /// other one are left out here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completes: Option<u32>,
}

/// What a verdict took over from an earlier attempt.
#[derive(Serialize, ToSchema)]
pub struct EarlierView {
    /// The attempt.
    pub attempt: u32,
    /// The check whose result comes from there: `speech` or `motion`.
    pub check: &'static str,
    /// Distance between the faces of both captures, in the embedding model's metric; null where they could not be
    /// compared.
    pub face_distance: Option<f32>,
    /// Distance above which they count as two people.
    pub face_threshold: f32,
}

/// For how long what is kept, in seconds after the verdict. Zero: not at all.
#[derive(Serialize, ToSchema)]
pub struct KeepsView {
    /// The recording itself.
    pub capture_s: u64,
    /// What was measured in it.
    pub evidence_s: u64,
    /// Where one step alone failed: an encrypted sample of face or voice, so that it can be repeated.
    pub sample_s: u64,
    /// Where a reviewer has to decide: up to four small encrypted pictures, at most so long and not after the
    /// decision.
    pub key_frames_s: u64,
}

/// A check of the verdict.
#[derive(Serialize, ToSchema)]
pub struct CheckView {
    /// `quality`, `speech`, `motion`, `continuity`, `sync`, `pad`, `injection`; where something was found,
    /// `identity` and `age` too.
    pub check: &'static str,
    /// `pass`, `fail`, `inconclusive` or `unavailable`.
    #[schema(value_type = String)]
    pub status: crate::domain::verdict::Status,
    /// The measured value, in the check's own unit.
    pub score: Option<f32>,
    /// The value that the score is held against.
    pub threshold: Option<f32>,
    /// Natural logarithm of how much likelier the measurement is in a genuine capture than in an attack.
    pub llr: Option<f32>,
    /// How far the measurement can be relied on, 0 to 1; it has shrunk `llr` towards zero already.
    pub reliability: Option<f32>,
    /// Why it did not pass.
    pub reasons: Vec<ReasonView>,
}

/// Why a check did not pass, and what to do about it.
#[derive(Serialize, ToSchema)]
pub struct ReasonView {
    /// A stable code.
    #[schema(example = "wrong_digits")]
    pub code: &'static str,
    /// What was found.
    pub meaning: &'static str,
    /// What the person can do.
    pub advice: &'static str,
}

/// The outcome of the checks.
#[derive(Serialize, ToSchema)]
pub struct VerdictView {
    /// `verified`, `rejected` or `review`.
    #[schema(value_type = String)]
    pub decision: crate::domain::verdict::Decision,
    /// Name and version of the policy.
    pub policy: String,
    /// Every check.
    pub checks: Vec<CheckView>,
    /// What was taken over from an earlier attempt, where this one repeated a single step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier: Option<EarlierView>,
}

/// A reviewer's decision.
#[derive(Serialize, ToSchema)]
pub struct ReviewView {
    /// When (RFC 3339).
    pub at: String,
    /// Why.
    pub reason: String,
}

/// A verification.
#[derive(Serialize, ToSchema)]
pub struct VerificationView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: VerificationId,
    /// `pending`, `processing`, `verified`, `rejected`, `review`, `expired` or `failed`.
    #[schema(value_type = String)]
    pub state: crate::domain::verification::State,
    /// The attempt, from 1.
    pub attempt: u32,
    /// BCP 47 language tag of what the person is shown.
    pub locale: String,
    /// The version of the consent text that the person is shown.
    pub consent_text_version: String,
    /// For how long what is kept.
    pub keeps: KeepsView,
    /// What the person is asked to do; only while an answer is awaited.
    pub challenge: Option<ChallengeView>,
    /// What a retry would ask for now: `everything`, or where nothing else failed `speech` or `motion`
    /// alone. Null where there is nothing to retry. What is asked stands in the new challenge.
    pub retry: Option<&'static str>,
    /// What was concluded.
    pub verdict: Option<VerdictView>,
    /// Face image quality components by the names of ISO/IEC 29794-5 (OFIQ), 0 to 100.
    pub quality: Option<Value>,
    /// How long each stage took, in milliseconds.
    pub timings: Option<Value>,
    /// The cameo; only when verified.
    pub cameo_id: Option<String>,
    /// Why the capture could not be judged; only when failed.
    pub failure: Option<ProblemBody>,
    /// What a reviewer decided.
    pub review: Option<ReviewView>,
    /// When it was opened (RFC 3339).
    pub created_at: String,
    /// When it last changed (RFC 3339).
    pub updated_at: String,
}

/// A new attempt, with the token for the person's device.
#[derive(Serialize, ToSchema)]
pub struct StartedView {
    /// The verification.
    #[serde(flatten)]
    pub verification: VerificationView,
    /// Bearer credential for this verification alone. It is shown once.
    #[schema(example = "cameo_client_…")]
    pub client_token: String,
    /// Until when the token is good (RFC 3339).
    pub client_token_expires_at: String,
}

/// Opens a verification: the first challenge goes out.
#[utoipa::path(post, path = "/v1/verifications", tag = "onboarding",
    params(("Idempotency-Key" = String, Header, description = "A fresh random text for each new request")),
    request_body = CreateVerification, security(("api_key" = [])),
    responses(
        (status = 201, body = StartedView),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn create(
    Ax(state): Ax<State>,
    key: Key,
    idempotency: IdempotencyKey,
    Body(request): Body<CreateVerification>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::App)?;
    let start = Start {
        subject: request.subject.clone(),
        locale: request.locale.clone(),
        consent_text_version: request.consent_text_version.clone(),
        attested_age: request.attested_age,
    };
    let services = &state.services;
    once(
        &state,
        caller.key.as_str(),
        "POST /v1/verifications",
        &idempotency,
        &request,
        async |call| {
            let render = |s: &Started| once::json(StatusCode::CREATED, &started(&state, s));
            Ok(services.start(&caller.key, &start, Some(call), render).await?)
        },
    )
    .await
}

/// Reads a verification.
#[utoipa::path(get, path = "/v1/verifications/{id}", tag = "onboarding",
    params(("id" = String, Path)), security(("api_key" = []), ("client_token" = [])),
    responses(
        (status = 200, body = VerificationView),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn read(
    Ax(state): Ax<State>,
    bearer: Bearer,
    Path(id): Path<VerificationId>,
) -> Result<axum::Json<VerificationView>, Problem> {
    let found = bearer.verification(&state, &id).await?;
    Ok(axum::Json(view(&state, &found)))
}

/// Opens another attempt after one that was rejected, failed or expired: a new challenge and a new
/// client token; the old token is good no more. Where nothing but one step failed (`retry` says so), the
/// challenge asks for that step alone, for as long as the service keeps what it needs for that.
#[utoipa::path(post, path = "/v1/verifications/{id}/retry", tag = "onboarding",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    security(("api_key" = []), ("client_token" = [])),
    responses(
        (status = 201, body = StartedView),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn retry(
    Ax(state): Ax<State>,
    bearer: Bearer,
    idempotency: IdempotencyKey,
    Path(id): Path<VerificationId>,
) -> Result<Response, Problem> {
    const ROUTE: &str = "POST /v1/verifications/{id}/retry";
    // A device that lost the answer asks again with the token that the first answer replaced: the
    // kept answer belongs to whoever holds that token, so the token names the scope.
    let scope = bearer.scope();
    let found = match bearer.verification(&state, &id).await {
        Ok(found) => found,
        Err(refused) if bearer.is_of_a_client() => {
            return once::kept(&state, &scope, ROUTE, &idempotency, &id).await?.ok_or(refused);
        }
        Err(refused) => return Err(refused),
    };
    once(&state, &scope, ROUTE, &idempotency, &id, async |call| {
        let render = |s: &Started| once::json(StatusCode::CREATED, &started(&state, s));
        Ok(state.services.retry(&found, Some(call), render).await?)
    })
    .await
}

/// Follows a verification as server-sent events: `progress` with a stage while it is worked on,
/// `verification` with the whole whenever its state changes; ends when it is settled.
#[utoipa::path(get, path = "/v1/verifications/{id}/events", tag = "onboarding",
    params(("id" = String, Path)), security(("api_key" = []), ("client_token" = [])),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(super) async fn events(
    Ax(state): Ax<State>,
    bearer: Bearer,
    Path(id): Path<VerificationId>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = std::sync::Arc::clone(&state.streams).try_acquire_owned();
    let place = place.map_err(|_| Error::Busy)?;
    let found = bearer.verification(&state, &id).await?;
    Ok(Sse::new(follow(state, found, place))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// How often the database is asked: another process may be the one that judges.
const POLL: Duration = Duration::from_secs(1);
/// The longest an event stream goes on; a client that still waits connects again.
const FOLLOW: Duration = Duration::from_mins(15);

fn follow(
    state: State,
    first: Verification,
    place: tokio::sync::OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    struct Following {
        state: State,
        last: Verification,
        stage: Stage,
        held: std::sync::Arc<tokio::sync::watch::Sender<Stage>>,
        seen: tokio::sync::watch::Receiver<Stage>,
        over: bool,
        until: tokio::time::Instant,
        _place: tokio::sync::OwnedSemaphorePermit,
    }
    let held = state.services.progress().follow(&first.id);
    let seen = held.subscribe();
    let opening = event("verification", &view(&state, &first));
    let over = first.state.is_settled();
    let until = tokio::time::Instant::now() + FOLLOW;
    let start = Following {
        state,
        last: first,
        stage: Stage::Waiting,
        held,
        seen,
        over,
        until,
        _place: place,
    };
    let rest = stream::unfold(start, |mut f| async move {
        while !f.over && tokio::time::Instant::now() < f.until {
            tokio::select! {
                () = f.state.closing.cancelled() => break,
                _ = tokio::time::timeout(POLL, f.seen.changed()) => {}
            }
            let stage = *f.seen.borrow_and_update();
            let now = f.state.services.verification(&f.last.id).await.ok()?;
            if now.state != f.last.state || now.attempt != f.last.attempt {
                f.over = now.state.is_settled();
                f.last = now;
                let shown = event("verification", &view(&f.state, &f.last));
                return Some((shown, f));
            }
            if stage != f.stage {
                f.stage = stage;
                return Some((event("progress", &serde_json::json!({ "stage": stage })), f));
            }
        }
        drop(f.held);
        None
    });
    stream::once(async { opening }).chain(rest).map(Ok)
}

fn event<T: Serialize>(name: &str, data: &T) -> Event {
    Event::default().event(name).json_data(data).unwrap_or_default()
}

fn started(state: &State, s: &Started) -> StartedView {
    StartedView {
        verification: view(state, &s.verification),
        client_token: s.client_token.expose().to_owned(),
        client_token_expires_at: s.verification.client_token_expires.rfc3339(),
    }
}

pub(super) fn view(state: &State, v: &Verification) -> VerificationView {
    use crate::domain::verification::State as S;
    let settings = state.services.settings();
    let challenge = (v.state == S::Pending).then(|| ChallengeView {
        groups: v.challenge.groups(),
        motions: v.challenge.motions.iter().map(|m| m.name()).collect(),
        issued_at: v.challenge.issued_at.rfc3339(),
        expires_at: v.challenge.expires_at.rfc3339(),
        max_duration_s: state.services.decoder().limits().max_duration_ms / 1000,
        max_bytes: settings.max_capture_bytes,
        completes: v.challenge.completes,
    });
    let retry =
        v.state.after(crate::domain::verification::Event::Retried).is_ok().then(|| {
            state.services.repeatable(v).map_or("everything", |repeat| repeat.step.name())
        });
    let failure = v.failure.as_deref().map(|code| {
        let p = Problem::of_failure(code);
        ProblemBody {
            r#type: p.kind().uri(),
            title: p.kind().title().into(),
            status: p.kind().status().as_u16(),
            detail: format!("{} ({code})", p.kind().fix()),
        }
    });
    VerificationView {
        id: v.id.clone(),
        state: v.state,
        attempt: v.attempt,
        locale: v.locale.clone(),
        consent_text_version: v.consent_text_version.clone(),
        keeps: KeepsView {
            capture_s: settings.keep_capture.as_secs(),
            evidence_s: settings.keep_evidence.as_secs(),
            sample_s: settings.repeat_within.as_secs(),
            key_frames_s: settings.frames_within().as_secs(),
        },
        challenge,
        retry,
        verdict: v.verdict.as_ref().map(verdict),
        quality: v.quality.clone(),
        timings: v.timings.clone(),
        cameo_id: v.cameo.as_ref().map(ToString::to_string),
        failure,
        review: v
            .review
            .as_ref()
            .map(|r| ReviewView { at: r.at.rfc3339(), reason: r.reason.clone() }),
        created_at: v.created.rfc3339(),
        updated_at: v.updated.rfc3339(),
    }
}

fn verdict(v: &Verdict) -> VerdictView {
    let reason =
        |r: &ReasonCode| ReasonView { code: r.code(), meaning: r.meaning(), advice: r.advice() };
    let check = |c: &CheckResult| CheckView {
        check: c.check.name(),
        status: c.status,
        score: c.score,
        threshold: c.threshold,
        llr: c.llr,
        reliability: c.reliability,
        reasons: c.reasons.iter().map(reason).collect(),
    };
    VerdictView {
        decision: v.decision,
        policy: v.policy.clone(),
        checks: v.checks.iter().map(check).collect(),
        earlier: v.earlier.map(|e| EarlierView {
            attempt: e.attempt,
            check: e.check.name(),
            face_distance: e.distance,
            face_threshold: e.threshold,
        }),
    }
}
