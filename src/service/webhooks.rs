//! Webhooks: messages to generators, as Standard Webhooks has them
//! (<https://www.standardwebhooks.com>): an id that stays the same over tries, a timestamp, and an
//! HMAC-SHA-256 over both and the body; two signatures while a secret rotates; 410 turns the
//! endpoint off; growing pauses between tries, then a dead letter that can be sent again.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::access::Caller;
use super::ledger::Note;
use super::once::{Answer, Call};
use super::{Error, Inner, Result, Services};
use crate::crypto::Aad;
use crate::crypto::hash::hmac_sha256;
use crate::domain::ids::{ApiKeyId, MessageId};
use crate::env::{below, random};
use crate::run_tx;
use crate::store::webhooks::{self, Message, Webhook};
use crate::tlog::Kind;

/// A signing secret. It is shown once.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// The text form: `whsec_` and base64.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("whsec_{}", BASE64_STANDARD.encode(self.0.as_slice())))
    }

    /// One signature of a message (`webhook-signature`): `v1,` and base64.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signed = format!("{id}.{timestamp}.").into_bytes();
        signed.extend_from_slice(body);
        format!("v1,{}", BASE64_STANDARD.encode(hmac_sha256(self.0.as_slice(), &signed)))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// How long messages are signed with the old secret too, after a rotation.
pub const OVERLAP: Duration = Duration::from_hours(24);
/// The longest page of messages.
pub const MAX_PAGE: u32 = 100;
/// The longest URL, in bytes.
const MAX_URL: usize = 2048;
/// Pauses after the first, second, … failed try; after the last one the message is dead. Each is
/// made up to a fifth longer, so that many messages don't come at once.
const PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];
/// How long one try may take, after which another process may make it.
const LEASE: Duration = Duration::from_mins(1);
/// How often the outbox is looked at when nobody says that something is in it.
const POLL: Duration = Duration::from_secs(5);
/// How long delivered messages are kept, to be looked at and sent again.
pub(super) const KEPT: Duration = Duration::from_hours(24 * 30);

/// How a try ended.
enum Tried {
    Delivered,
    Gone,
    Failed(String),
}

impl Inner {
    /// Sets a generator's endpoint, with a fresh secret.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL that can't be called from here.
    pub async fn put_webhook(
        &self,
        generator: &Caller,
        url: &str,
        call: Option<&Call>,
        answer: impl Fn(&Webhook, &Secret) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        if url.len() > MAX_URL {
            let reason = format!("must have at most {MAX_URL} characters");
            return Err(Error::Invalid { field: "url", reason });
        }
        self.parts
            .outbound
            .check(url)
            .map_err(|e| Error::Invalid { field: "url", reason: e.to_string() })?;
        self.write_webhook(generator, call, answer, |_| Ok(Some(url.to_owned()))).await
    }

    /// Gives the endpoint a new secret. Messages are signed with both for a day.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no endpoint.
    pub async fn rotate_webhook_secret(
        &self,
        generator: &Caller,
        call: Option<&Call>,
        answer: impl Fn(&Webhook, &Secret) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        let known = |old: Option<&Webhook>| {
            old.map(|_| None).ok_or(Error::NotFound("webhook of this generator"))
        };
        self.write_webhook(generator, call, answer, known).await
    }

    /// Writes an endpoint with a fresh secret; `url` gives a new URL, or `None` to keep the old one
    /// and its secret for a while.
    async fn write_webhook(
        &self,
        generator: &Caller,
        call: Option<&Call>,
        answer: impl Fn(&Webhook, &Secret) -> Answer + Send + Sync,
        url: impl Fn(Option<&Webhook>) -> Result<Option<String>> + Send + Sync,
    ) -> Result<Answer> {
        let now = self.clock().now();
        let secret = Secret(Zeroizing::new(random(self.entropy())));
        let sealed = self.parts.master.wrap(&secret.0, &aad(&generator.key), self.entropy())?;
        run_tx!(self.db(), "webhooks.put", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let old = webhooks::get(tx, &generator.key).await?;
            let new_url = url(old.as_ref())?;
            let overlap = old.as_ref().filter(|_| new_url.is_none());
            let hook = Webhook {
                generator: generator.key.clone(),
                url: match (&new_url, &old) {
                    (Some(url), _) => url.clone(),
                    (None, Some(old)) => old.url.clone(),
                    (None, None) => return Err(Error::NotFound("webhook of this generator")),
                },
                secret_sealed: sealed.clone(),
                old_secret: overlap.map(|o| (o.secret_sealed.clone(), now.plus(OVERLAP))),
                disabled: None,
                created: old.as_ref().map_or(now, |o| o.created),
            };
            webhooks::put(tx, &hook).await?;
            let event = if overlap.is_some() { "webhook_rotated" } else { "webhook_set" };
            let note = Note::new(Kind::GeneratorKey)
                .public("event", event)
                .public("generator", generator.key.as_str());
            ledger.add(note)?;
            ledger.write(tx).await?;
            let answer = answer(&hook, &secret);
            self.finish_once(tx, call, &answer).await?;
            Ok(answer)
        })
    }

    /// A generator's endpoint.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn webhook(&self, generator: &Caller) -> Result<Webhook> {
        let found = webhooks::get(&mut self.db().read().await?, &generator.key).await?;
        found.ok_or(Error::NotFound("webhook of this generator"))
    }

    /// Removes a generator's endpoint.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_webhook(&self, generator: &Caller) -> Result<()> {
        let gone = run_tx!(self.db(), "webhooks.delete", |tx| {
            webhooks::delete(tx, &generator.key).await
        })?;
        if gone { Ok(()) } else { Err(Error::NotFound("webhook of this generator")) }
    }

    /// A generator's messages, the newest first, dead ones included.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn messages(
        &self,
        generator: &Caller,
        before: Option<&MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>> {
        let mut tx = self.db().read().await?;
        let limit = limit.clamp(1, MAX_PAGE);
        Ok(webhooks::messages(&mut tx, &generator.key, before, limit).await?)
    }

    /// Sends a delivered or dead message once more.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the generator has no such message that is settled.
    pub async fn replay_message(&self, generator: &Caller, id: &MessageId) -> Result<()> {
        let now = self.clock().now();
        let again = run_tx!(self.db(), "webhooks.replay", |tx| {
            webhooks::replay(tx, id, &generator.key, now).await
        })?;
        if !again {
            return Err(Error::NotFound("settled message of this generator"));
        }
        self.mail.notify_one();
        Ok(())
    }

    /// Makes one try of the message that has been due longest; `false` where none is due.
    ///
    /// # Errors
    /// Those of the store. That a message could not be delivered is none.
    pub async fn deliver_one(&self) -> Result<bool> {
        let now = self.clock().now();
        let claimed = run_tx!(self.db(), "webhooks.claim", |tx| {
            webhooks::claim(tx, now, now.plus(LEASE)).await
        })?;
        let Some(message) = claimed else { return Ok(false) };
        let hook = webhooks::get(&mut self.db().read().await?, &message.generator).await?;
        let tried = match hook {
            None => Tried::Gone,
            Some(hook) if hook.disabled.is_some() => Tried::Gone,
            Some(hook) => self.post(&hook, &message).await?,
        };
        let now = self.clock().now();
        let outcome = match &tried {
            Tried::Delivered => "delivered",
            Tried::Gone => "gone",
            Tried::Failed(_) => "failed",
        };
        metrics::counter!("cameo_webhook_tries_total", "outcome" => outcome).increment(1);
        run_tx!(self.db(), "webhooks.settle", |tx| {
            match &tried {
                Tried::Delivered => webhooks::delivered(tx, &message, now).await,
                Tried::Gone => {
                    webhooks::disable(tx, &message.generator, now).await?;
                    webhooks::dead(tx, &message, now, "the endpoint is gone").await
                }
                Tried::Failed(why) => match self.pause(message.tries) {
                    Some(pause) => webhooks::again(tx, &message, now.plus(pause), why).await,
                    None => webhooks::dead(tx, &message, now, why).await,
                },
            }
        })?;
        Ok(true)
    }

    async fn post(&self, hook: &Webhook, message: &Message) -> Result<Tried> {
        let now = self.clock().now();
        let mut secrets = vec![hook.secret_sealed.as_slice()];
        if let Some((old, until)) = &hook.old_secret
            && *until > now
        {
            secrets.push(old);
        }
        let mut signatures = Vec::new();
        for sealed in secrets {
            let secret = Secret(self.parts.master.unwrap(sealed, &aad(&hook.generator))?);
            signatures.push(secret.sign(
                message.id.as_str(),
                now.seconds(),
                message.body.as_bytes(),
            ));
        }
        let (timestamp, signatures) = (now.seconds().to_string(), signatures.join(" "));
        let headers = [
            ("webhook-id", message.id.as_str()),
            ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", signatures.as_str()),
        ];
        let body = message.body.clone().into_bytes();
        let sent = self.parts.outbound.post(&hook.url, "application/json", &headers, body).await;
        Ok(match sent {
            Ok(answer) if (200..300).contains(&answer.status) => Tried::Delivered,
            Ok(answer) if answer.status == 410 => Tried::Gone,
            Ok(answer) => Tried::Failed(format!("the endpoint answered {}", answer.status)),
            Err(e) => Tried::Failed(e.to_string()),
        })
    }

    /// How long to wait after try number `tries`; `None` after the last.
    fn pause(&self, tries: u32) -> Option<Duration> {
        let pause = *PAUSES.get((tries as usize).checked_sub(1)?)?;
        let more = f64::from(below(self.entropy(), 1000)) / 5000.0;
        Some(pause.mul_f64(1.0 + more))
    }
}

impl Services {
    /// Delivers messages until `stop`.
    pub(super) async fn messenger(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let more = match self.deliver_one().await {
                Ok(more) => more,
                Err(e) => {
                    tracing::error!(error = %e, "the outbox can't be worked on");
                    false
                }
            };
            if !more {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = self.mail.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        }
    }
}

pub(super) fn aad(generator: &ApiKeyId) -> Aad {
    Aad::new("webhook-secret").text(generator.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's reference libraries.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let key = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        let signature = BASE64_STANDARD.encode(hmac_sha256(&key, signed));
        assert_eq!(signature, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");

        let secret = Secret(Zeroizing::new([7; 32]));
        let text = secret.expose();
        let raw = BASE64_STANDARD.decode(text.strip_prefix("whsec_").unwrap()).unwrap();
        let again = format!("v1,{}", BASE64_STANDARD.encode(hmac_sha256(&raw, b"msg_1.5.{}")));
        assert_eq!(secret.sign("msg_1", 5, b"{}"), again);
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
    }
}
