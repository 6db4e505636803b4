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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// An app that answers once; answers the configuration that asks it, and what it was sent.
    fn app(answer: &'static str) -> (Graph, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mutual", listener.local_addr().unwrap());
        let (told, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut sent, mut chunk) = (Vec::new(), [0; 1024]);
            while !sent.ends_with(b"}") {
                let n = stream.read(&mut chunk).unwrap();
                sent.extend_from_slice(&chunk[..n]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            told.send(String::from_utf8(sent).unwrap()).unwrap();
        });
        let token = Some("hunter2".to_owned().into());
        (Graph { url: Some(url), token, allow_private: true, ..Graph::default() }, heard)
    }

    async fn ask(config: &Graph) -> Result<bool, String> {
        let (ann, bob) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        asking(config).unwrap().unwrap().mutual(&ann, &bob).await
    }

    #[tokio::test]
    async fn the_app_is_asked_as_documented() {
        let (config, heard) = app(
            "HTTP/1.1 200 OK\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"mutual\": true}",
        );
        assert_eq!(ask(&config).await, Ok(true));
        let sent = heard.recv().unwrap();
        assert!(sent.starts_with("POST /mutual HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("Bearer hunter2"), "{sent}");
        assert!(sent.ends_with(r#"{"other":"bob","person":"ann"}"#), "{sent}");
    }

    #[tokio::test]
    async fn anything_but_an_answer_is_none() {
        for answer in [
            "HTTP/1.1 500 Oops\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"mutual\": true}",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ntrue",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
            "nonsense",
        ] {
            let failed = ask(&app(answer).0).await.unwrap_err();
            assert!(!failed.contains("hunter2") && !failed.contains("bob"), "{failed}");
        }
        let closed = Graph { url: Some("http://127.0.0.1:9/".into()), ..Graph::default() };
        assert!(asking(&closed).is_err(), "plain HTTP needs allow_private");
        assert!(asking(&Graph::default()).unwrap().is_none());
    }
}
