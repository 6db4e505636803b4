//! `/v1/generator`: what a generator sets up for itself: keys that payloads are sealed to, and where
//! it is told of take-downs.

use axum::Json;
use axum::extract::State as Ax;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::crypto::KeyId;
use crate::domain::access::Role;
use crate::domain::ids::MessageId;
use crate::http::State;
use crate::http::api::time::time;
use crate::http::auth::Key;
use crate::http::body::{Body, Path, Query};
use crate::http::once::{self, IdempotencyKey, once};
use crate::http::problem::{Problem, ProblemBody, Type};
use crate::service::generators::RecipientInfo;
use crate::service::webhooks::{MAX_PAGE, Secret};
use crate::store::webhooks::{Message, Webhook};

/// A public key to register.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterKey {
    /// An X25519 public key (RFC 7748): 32 bytes, base64url without padding.
    #[schema(example = "QxDul9iMwfCIpVdsd6sM9cOseX8_lROcbIS1QpxZZio")]
    public_key: String,
    /// From when on tokens are sealed to it (RFC 3339), at most 90 days ahead; now where absent.
    /// Earlier keys are retired at that time: keep their private halves until the tokens under way
    /// have expired.
    #[serde(default)]
    not_before: Option<String>,
}

/// A registered key.
#[derive(Serialize, ToSchema)]
pub struct GeneratorKeyView {
    /// The first eight bytes of its COSE Key Thumbprint (RFC 9679), in hex.
    kid: String,
    /// The public key, base64url without padding.
    public_key: String,
    /// From when on tokens are sealed to it (RFC 3339).
    not_before: String,
    /// From when on they no longer are (RFC 3339).
    retire_at: Option<String>,
    /// When it was registered (RFC 3339).
    created_at: String,
}

/// An endpoint to set.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutWebhook {
    /// An HTTPS URL that is reachable from the service.
    #[schema(example = "https://generator.example/hooks/cameo")]
    url: String,
}

/// An endpoint.
#[derive(Serialize, ToSchema)]
pub struct WebhookView {
    /// Where messages are posted.
    url: String,
    /// The signing secret (Standard Webhooks): shown once, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Since when it is off, because it answered 410 (RFC 3339). Set it again to turn it on.
    disabled_at: Option<String>,
    /// Until when messages are signed with the secret before the last rotation too (RFC 3339).
    old_secret_until: Option<String>,
}

/// A message.
#[derive(Serialize, ToSchema)]
pub struct MessageView {
    /// Its id, which is also the header `webhook-id`.
    id: String,
    /// `takedown.requested` or `takedown.escalated`.
    kind: String,
    /// What was or will be posted.
    #[schema(value_type = Object)]
    body: serde_json::Value,
    /// `waiting`, `delivered` or `dead`.
    state: &'static str,
    /// How often it was tried.
    tries: u32,
    /// When it is tried next (RFC 3339), where it is waiting.
    next_try_at: Option<String>,
    /// Why the last try failed.
    failure: Option<String>,
    /// When it was made (RFC 3339).
    created_at: String,
}

/// Which page of messages.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct MessagesPage {
    /// The last message of the page before.
    #[param(value_type = Option<String>)]
    before: Option<MessageId>,
    /// At most so many, up to 100.
    #[serde(default = "most")]
    limit: u32,
}

fn most() -> u32 {
    MAX_PAGE
}

/// Registers a public key that this generator's tokens are sealed to.
#[utoipa::path(post, path = "/v1/generator/keys", tag = "generator",
    params(("Idempotency-Key" = String, Header)), request_body = RegisterKey,
    security(("api_key" = [])),
    responses((status = 201, body = GeneratorKeyView),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn register(
    Ax(state): Ax<State>,
    key: Key,
    idempotency: IdempotencyKey,
    Body(request): Body<RegisterKey>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Generator)?;
    let public = BASE64_URL_SAFE_NO_PAD.decode(&request.public_key).ok();
    let public = public.and_then(|b| <[u8; 32]>::try_from(b).ok()).ok_or_else(|| {
        Problem::new(Type::InvalidRequest, "public_key must be 32 bytes in base64url")
    })?;
    let from = request.not_before.as_deref().map(|t| time("not_before", t)).transpose()?;
    let services = &state.services;
    let route = "POST /v1/generator/keys";
    once(&state, caller.key.as_str(), route, &idempotency, &request, async |call| {
        let render = |info: &RecipientInfo| once::json(StatusCode::CREATED, &view(info));
        Ok(services.register_recipient(&caller.key, public, from, call, render).await?)
    })
    .await
}

/// Lists this generator's keys, the newest first, retired ones too.
#[utoipa::path(get, path = "/v1/generator/keys", tag = "generator", security(("api_key" = [])),
    responses((status = 200, body = Vec<GeneratorKeyView>)))]
pub(super) async fn list(
    Ax(state): Ax<State>,
    key: Key,
) -> Result<Json<Vec<GeneratorKeyView>>, Problem> {
    let caller = key.of(Role::Generator)?;
    Ok(Json(state.services.recipients(&caller.key).await?.iter().map(view).collect()))
}

/// Retires a key at once: it may be in other hands.
#[utoipa::path(delete, path = "/v1/generator/keys/{kid}", tag = "generator",
    params(("kid" = String, Path)), security(("api_key" = [])),
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn retire(
    Ax(state): Ax<State>,
    key: Key,
    Path(kid): Path<String>,
) -> Result<StatusCode, Problem> {
    let caller = key.of(Role::Generator)?;
    let kid = KeyId::parse(&kid)
        .ok_or_else(|| Problem::new(Type::NotFound, "a kid is 16 hexadecimal digits"))?;
    state.services.retire_recipient(&caller.key, kid).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets where this generator is told of take-downs, and makes a fresh secret.
#[utoipa::path(put, path = "/v1/generator/webhook", tag = "generator",
    params(("Idempotency-Key" = String, Header)), request_body = PutWebhook,
    security(("api_key" = [])),
    responses((status = 200, body = WebhookView),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn put_webhook(
    Ax(state): Ax<State>,
    key: Key,
    idempotency: IdempotencyKey,
    Body(request): Body<PutWebhook>,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Generator)?;
    let services = &state.services;
    let route = "PUT /v1/generator/webhook";
    once(&state, caller.key.as_str(), route, &idempotency, &request, async |call| {
        Ok(services.put_webhook(&caller, &request.url, Some(call), with_secret).await?)
    })
    .await
}

/// Makes a fresh secret. Messages are signed with the old one too, for a day.
#[utoipa::path(post, path = "/v1/generator/webhook/secret", tag = "generator",
    params(("Idempotency-Key" = String, Header)), security(("api_key" = [])),
    responses((status = 200, body = WebhookView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn rotate_secret(
    Ax(state): Ax<State>,
    key: Key,
    idempotency: IdempotencyKey,
) -> Result<Response, Problem> {
    let caller = key.of(Role::Generator)?;
    let services = &state.services;
    let route = "POST /v1/generator/webhook/secret";
    once(&state, caller.key.as_str(), route, &idempotency, &(), async |call| {
        Ok(services.rotate_webhook_secret(&caller, Some(call), with_secret).await?)
    })
    .await
}

/// Reads the endpoint, without its secret.
#[utoipa::path(get, path = "/v1/generator/webhook", tag = "generator", security(("api_key" = [])),
    responses((status = 200, body = WebhookView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read_webhook(
    Ax(state): Ax<State>,
    key: Key,
) -> Result<Json<WebhookView>, Problem> {
    let caller = key.of(Role::Generator)?;
    Ok(Json(hook(&state.services.webhook(&caller).await?, None)))
}

/// Removes the endpoint. Take-downs are still listed under `/v1/takedowns`.
#[utoipa::path(delete, path = "/v1/generator/webhook", tag = "generator",
    security(("api_key" = [])),
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn delete_webhook(Ax(state): Ax<State>, key: Key) -> Result<StatusCode, Problem> {
    let caller = key.of(Role::Generator)?;
    state.services.delete_webhook(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists this generator's messages, the newest first, dead ones included.
#[utoipa::path(get, path = "/v1/generator/messages", tag = "generator", params(MessagesPage),
    security(("api_key" = [])), responses((status = 200, body = Vec<MessageView>)))]
pub(super) async fn messages(
    Ax(state): Ax<State>,
    key: Key,
    Query(page): Query<MessagesPage>,
) -> Result<Json<Vec<MessageView>>, Problem> {
    let caller = key.of(Role::Generator)?;
    let found = state.services.messages(&caller, page.before.as_ref(), page.limit).await?;
    Ok(Json(found.iter().map(message).collect()))
}

/// Sends a delivered or dead message once more, under the same id.
#[utoipa::path(post, path = "/v1/generator/messages/{id}/replay", tag = "generator",
    params(("id" = String, Path)), security(("api_key" = [])),
    responses((status = 202),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn replay(
    Ax(state): Ax<State>,
    key: Key,
    Path(id): Path<MessageId>,
) -> Result<StatusCode, Problem> {
    let caller = key.of(Role::Generator)?;
    state.services.replay_message(&caller, &id).await?;
    Ok(StatusCode::ACCEPTED)
}

fn view(k: &RecipientInfo) -> GeneratorKeyView {
    GeneratorKeyView {
        kid: k.kid.clone(),
        public_key: BASE64_URL_SAFE_NO_PAD.encode(k.public),
        not_before: k.not_before.rfc3339(),
        retire_at: k.retire_at.map(crate::env::Millis::rfc3339),
        created_at: k.created.rfc3339(),
    }
}

fn with_secret(webhook: &Webhook, secret: &Secret) -> crate::service::once::Answer {
    once::json(StatusCode::OK, &hook(webhook, Some(secret.expose().to_string())))
}

fn hook(webhook: &Webhook, secret: Option<String>) -> WebhookView {
    WebhookView {
        url: webhook.url.clone(),
        secret,
        disabled_at: webhook.disabled.map(crate::env::Millis::rfc3339),
        old_secret_until: webhook.old_secret.as_ref().map(|(_, until)| until.rfc3339()),
    }
}

fn message(m: &Message) -> MessageView {
    let waiting = m.settled.is_none();
    MessageView {
        id: m.id.to_string(),
        kind: m.kind.clone(),
        body: serde_json::from_str(&m.body).unwrap_or_default(),
        state: m.state.name(),
        tries: m.tries,
        next_try_at: waiting.then(|| m.next.rfc3339()),
        failure: m.failure.clone(),
        created_at: m.created.rfc3339(),
    }
}
