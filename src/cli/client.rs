//! A small HTTP client for commands that speak to a service.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A service, and the credential to use with it.
#[derive(Clone)]
pub(super) struct Client {
    agent: ureq::Agent,
    base: String,
    credential: Option<String>,
}

/// An answer of any status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

impl Client {
    pub(super) fn new(base: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(2)))
            .build()
            .into();
        Self { agent, base: base.trim_end_matches('/').to_owned(), credential: None }
    }

    /// The same service with this bearer credential.
    pub(super) fn with(&self, credential: &str) -> Self {
        Self { credential: Some(credential.to_owned()), ..self.clone() }
    }

    pub(super) fn get(&self, path: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = self.agent.get(&url);
        if let Some(credential) = &self.credential {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        answer(request.call(), &url)
    }

    /// Sends a body, with an Idempotency-Key where one is given.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
        idempotency_key: Option<&str>,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = match method {
            "PUT" => self.agent.put(&url),
            _ => self.agent.post(&url),
        };
        request = request.header("content-type", content_type);
        if let Some(credential) = &self.credential {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        answer(request.send(body), &url)
    }

    pub(super) fn get_json(&self, path: &str) -> Result<Value> {
        self.get(path)?.json(path)
    }

    pub(super) fn post_json(&self, path: &str, body: &Value, key: &str) -> Result<Value> {
        let body = body.to_string();
        self.send("POST", path, "application/json", body.as_bytes(), Some(key))?.json(path)
    }
}

impl Answer {
    /// The body of a success as JSON; a problem becomes an error with its words.
    pub(super) fn json(&self, path: &str) -> Result<Value> {
        serde_json::from_slice(self.success(path)?)
            .with_context(|| format!("{path} did not answer in JSON"))
    }

    /// The body of a success.
    pub(super) fn success(&self, path: &str) -> Result<&[u8]> {
        if (200..300).contains(&self.status) {
            return Ok(&self.body);
        }
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let words = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        bail!("{path} answered {}: {} ({})", self.status, words("detail"), words("type"));
    }
}

fn answer(
    result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    url: &str,
) -> Result<Answer> {
    let mut response = result.with_context(|| format!("{url} can't be reached"))?;
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_vec()
        .with_context(|| format!("the answer of {url} broke off"))?;
    Ok(Answer { status, body })
}
