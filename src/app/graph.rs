//! Asking the app who follows whom, over HTTP (docs/permissions.md).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::config::Graph;
use crate::domain::ids::SubjectId;
use crate::outbound::{Outbound, Policy};
use crate::service::graph::AskGraph;

/// What asks, where the configuration names an address.
///
/// # Errors
/// Where the address can't be called.
pub(super) fn asking(config: &Graph) -> Result<Option<Arc<dyn AskGraph>>> {
    let Some(url) = config.url.clone() else { return Ok(None) };
    let policy = Policy {
        allow_http: config.allow_private,
        allow_private: config.allow_private,
        timeout: Duration::from_millis(config.timeout_ms),
        max_answer: 1024,
        ..Policy::default()
    };
    let outbound = Outbound::new(policy);
    outbound.check(&url).context("graph.url")?;
    Ok(Some(Arc::new(AppGraph { outbound, url, token: config.token.clone() })))
}

#[derive(Debug)]
struct AppGraph {
    outbound: Outbound,
    url: String,
    token: Option<SecretString>,
}

#[derive(Deserialize)]
struct Answer {
    mutual: bool,
}

impl AskGraph for AppGraph {
    fn mutual<'a>(
        &'a self,
        owner: &'a SubjectId,
        requester: &'a SubjectId,
    ) -> BoxFuture<'a, Result<bool, String>> {
        async move {
            let question =
                serde_json::json!({ "person": owner.as_str(), "other": requester.as_str() });
            let bearer = self.token.as_ref().map(|t| format!("Bearer {}", t.expose_secret()));
            let headers: Vec<_> = bearer.iter().map(|b| ("authorization", b.as_str())).collect();
            let body = question.to_string().into_bytes();
            let answer = self.outbound.post(&self.url, "application/json", &headers, body).await;
            let answer = answer.map_err(|e| e.to_string())?;
            if answer.status != 200 {
                return Err(format!("it answered with status {}", answer.status));
            }
            serde_json::from_slice::<Answer>(&answer.body)
                .map(|a| a.mutual)
                .map_err(|_| "its answer is not {\"mutual\": true} or {\"mutual\": false}".into())
        }
        .boxed()
    }
}
