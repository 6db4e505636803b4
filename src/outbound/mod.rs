//! Calls that the service makes: to the app's graph, to generators' webhooks, to witnesses, and to
//! the [`bucket`] that holds the log's tiles.
//!
//! The addresses come from the configuration or from whoever registered them, so they are hostile:
//! HTTPS only, no address inside the operator's network (checked on what the name resolves to, for
//! each connection, so that a name can't change its mind in between), no redirect, no proxy, a bound
//! on time and on the answer. A [`Policy`] can open the first two for a graph beside the service.

mod address;
pub mod bucket;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use ureq::Agent;
use ureq::config::AutoHeaderValue;
use ureq::http::{Method, Request, Response, Uri};
use ureq::unversioned::transport::DefaultConnector;

/// What may be called, and how.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whether plain HTTP will do.
    pub allow_http: bool,
    /// Whether an address inside the operator's network will do.
    pub allow_private: bool,
    /// How long a call may take, from resolving the name to the last byte of the answer.
    pub timeout: Duration,
    /// The longest answer that is read, in bytes.
    pub max_answer: u64,
    /// Calls at once; others wait, within their time.
    pub at_once: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow_http: false,
            allow_private: false,
            timeout: Duration::from_secs(10),
            max_answer: 64 << 10,
            at_once: 16,
        }
    }
}

/// An answer of any status.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// May hold what nobody should read in a log.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

/// Why a call did not get an answer. Neither the body nor a header is ever part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The URL can't be called under the policy. The same again will fail again.
    #[error("the URL can't be called: {0}")]
    Url(&'static str),
    /// The name leads into the operator's network, or nowhere.
    #[error("the host's addresses can't be called: none is a public one")]
    Address,
    /// A header can't be sent.
    #[error("a header of the call is not valid")]
    Header,
    /// It took too long.
    #[error("no answer came in time")]
    Timeout,
    /// The answer is longer than it may be.
    #[error("the answer is longer than {0} bytes")]
    TooLong(u64),
    /// The other side could not be reached, or broke off.
    #[error("the host could not be reached: {0}")]
    Unreachable(String),
}

/// Makes calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbound {
    agent: Agent,
    policy: Policy,
    free: Arc<Semaphore>,
}

impl Outbound {
    /// Calls under this policy.
    pub fn new(policy: Policy) -> Self {
        let config = Agent::config_builder()
            .https_only(!policy.allow_http)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(policy.timeout))
            .max_response_header_size(16 << 10)
            .user_agent(AutoHeaderValue::Provided(Arc::new(AGENT.to_owned())))
            .build();
        let resolver = address::Public::new(policy.allow_private);
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Self { agent, policy, free: Arc::new(Semaphore::new(policy.at_once.max(1))) }
    }

    /// Checks what can be checked of a URL without calling it: for those who register one.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Address`] for an address inside the network that is written out.
    pub fn check(&self, url: &str) -> Result<(), Error> {
        let uri: Uri = url.parse().map_err(|_| Error::Url("it is not a URL"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if self.policy.allow_http => {}
            _ => return Err(Error::Url("it must start with https://")),
        }
        let authority = uri.authority().ok_or(Error::Url("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(Error::Url("it must not hold a user name or password"));
        }
        if authority.host().is_empty() {
            return Err(Error::Url("it names no host"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        match host.parse() {
            Ok(ip) if !self.policy.allow_private && !address::is_public(ip) => Err(Error::Address),
            _ => Ok(()),
        }
    }

    /// Posts a body.
    ///
    /// # Errors
    /// See [`Error`]. An answer of any status is no error.
    pub async fn post(
        &self,
        url: &str,
        content_type: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, Error> {
        let mut all = vec![("content-type", content_type)];
        all.extend_from_slice(headers);
        self.call(Method::POST, url, &all, Some(body)).await
    }

    /// Gets a resource.
    ///
    /// # Errors
    /// As [`Outbound::post`].
    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, Error> {
        self.call(Method::GET, url, headers, None).await
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Error> {
        self.check(url)?;
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.unwrap_or_default()).map_err(|_| Error::Header)?;
        let waiting = tokio::time::timeout(self.policy.timeout, self.free.clone().acquire_owned());
        let Ok(Ok(permit)) = waiting.await else { return Err(Error::Timeout) };
        let (agent, most) = (self.agent.clone(), self.policy.max_answer);
        let done = tokio::task::spawn_blocking(move || {
            // Held until the thread is free again, also where the caller went away.
            let _permit = permit;
            send(&agent, request, most)
        });
        let answer =
            done.await.unwrap_or_else(|_| Err(Error::Unreachable("the call broke off".into())))?;
        Ok(Answer { status: answer.status().as_u16(), body: answer.into_body() })
    }

    /// Sends a request to a URL that [`check`](Self::check) let through, on this thread.
    fn exchange(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Error> {
        send(&self.agent, request, self.policy.max_answer)
    }
}

const AGENT: &str = concat!("cameo/", env!("CARGO_PKG_VERSION"));

fn send(agent: &Agent, request: Request<Vec<u8>>, most: u64) -> Result<Response<Vec<u8>>, Error> {
    let answered = if request.method() == Method::GET {
        agent.run(request.map(|_| ()))
    } else {
        agent.run(request)
    };
    let answer = answered.map_err(|e| cause(&e, most))?;
    let (parts, body) = answer.into_parts();
    let body = body.into_with_config().limit(most).read_to_vec();
    Ok(Response::from_parts(parts, body.map_err(|e| cause(&e, most))?))
}

/// The cause without the URL: it may hold a secret.
fn cause(e: &ureq::Error, most: u64) -> Error {
    match e {
        ureq::Error::Timeout(_) => Error::Timeout,
        ureq::Error::BodyExceedsLimit(_) => Error::TooLong(most),
        ureq::Error::HostNotFound => Error::Address,
        ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => {
            Error::Url("it can't be called")
        }
        ureq::Error::Io(e) => Error::Unreachable(e.kind().to_string()),
        ureq::Error::ConnectionFailed => Error::Unreachable("no connection".into()),
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => Error::Unreachable("TLS failed".into()),
        _ => Error::Unreachable("the exchange failed".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    const OPEN: Policy = Policy {
        allow_http: true,
        allow_private: true,
        timeout: Duration::from_secs(5),
        max_answer: 100,
        at_once: 2,
    };

    /// A server that answers once and hands out what it was sent; answers its URL.
    fn serve(answer: &'static [u8]) -> (String, std::sync::mpsc::Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (told, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let (mut sent, mut chunk) = (Vec::new(), [0; 1024]);
            while let Ok(n @ 1..) = stream.read(&mut chunk) {
                sent.extend_from_slice(&chunk[..n]);
                // A body may come after its headers.
                let end: &[u8] = if sent.starts_with(b"POST") { b"END" } else { b"\r\n\r\n" };
                if sent.ends_with(end) {
                    break;
                }
            }
            stream.write_all(answer).unwrap();
            told.send(sent).ok();
        });
        (url, heard)
    }

    #[tokio::test]
    async fn a_body_arrives_with_its_headers_and_the_answer_comes_back() {
        let (url, heard) =
            serve(b"HTTP/1.1 410 Gone\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        let headers = [("webhook-id", "msg_1")];
        let outbound = Outbound::new(OPEN);
        let answer =
            outbound.post(&url, "application/json", &headers, b"{} END".to_vec()).await.unwrap();
        assert_eq!(answer, Answer { status: 410, body: b"hello".to_vec() });
        let sent = String::from_utf8(heard.recv().unwrap()).unwrap();
        assert!(sent.starts_with("POST /hook HTTP/1.1\r\n"), "{sent}");
        for part in ["webhook-id: msg_1", "content-type: application/json", "{} END"] {
            assert!(sent.contains(part), "{part} is not in {sent}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_a_long_answer_an_error() {
        let (url, _) = serve(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(Outbound::new(OPEN).get(&url, &[]).await.unwrap().status, 302);
        let (url, _) = serve(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789-over",
        );
        assert_eq!(Outbound::new(OPEN).get(&url, &[]).await, Err(Error::TooLong(100)));
    }

    #[tokio::test]
    async fn silence_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let outbound = Outbound::new(Policy { timeout: Duration::from_millis(200), ..OPEN });
        assert_eq!(outbound.get(&url, &[]).await, Err(Error::Timeout));
    }

    #[tokio::test]
    async fn nothing_inside_the_network_is_called() {
        let closed = Outbound::new(Policy { allow_http: true, allow_private: false, ..OPEN });
        let (url, heard) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(closed.get(&url, &[]).await, Err(Error::Address));
        // By a name too: what it resolves to counts.
        let named = url.replace("127.0.0.1", "localhost");
        assert_eq!(closed.get(&named, &[]).await, Err(Error::Address));
        assert!(heard.recv_timeout(Duration::from_millis(50)).is_err(), "it was called");
        for url in [
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://10.1.2.3/",
        ] {
            assert_eq!(closed.check(url), Err(Error::Address), "{url}");
        }
    }

    #[test]
    fn urls_that_are_none() {
        let strict = Outbound::new(Policy::default());
        for url in [
            "",
            "example.com",
            "http://example.com/",
            "ftp://example.com/",
            "https://user:secret@example.com/",
            "https://",
            "file:///etc/passwd",
        ] {
            assert!(matches!(strict.check(url), Err(Error::Url(_))), "{url}");
        }
        assert_eq!(strict.check("https://example.com/hook?x=1"), Ok(()));
    }
}
