//! Reaches witnesses over HTTP. Their addresses come from the configuration alone.

use std::time::Duration;

use crate::service::publish::Transport;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// A client with short patience: the log is published without a witness that is slow.
#[derive(Debug)]
pub(super) struct Http(ureq::Agent);

impl Http {
    pub(super) fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(10)))
            .build();
        Self(config.into())
    }
}

impl Transport for Http {
    fn post(&self, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let request = self.0.post(url).header("content-type", "text/plain; charset=utf-8");
        let mut answer = request.send(body).map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        Ok((status, body.map_err(|e| e.to_string())?))
    }
}
