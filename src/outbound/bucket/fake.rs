//! As much of an S3-compatible object store as the log needs, on a port of its own: objects in
//! memory, conditional writes, and signatures that are checked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::sigv4::Signer;
use super::{Bucket, Credentials};
use crate::crypto::hash::sha256;
use crate::env::SystemClock;
use crate::outbound::{Outbound, Policy};

/// The running store. It stops when it is dropped.
pub(crate) struct Store {
    at: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: HashMap<String, Vec<u8>>,
    /// What is written right after the next reading of it.
    meanwhile: Option<(String, Vec<u8>)>,
    /// The status of every answer.
    answer: Option<u16>,
    stopped: bool,
}

pub(crate) fn credentials(secret: &str) -> Credentials {
    Credentials {
        region: "eu-test-1".into(),
        access_key: "AKTEST".into(),
        secret_key: secret.into(),
    }
}

pub(crate) fn outbound() -> Outbound {
    Outbound::new(Policy {
        allow_http: true,
        allow_private: true,
        timeout: Duration::from_secs(5),
        max_answer: 32 << 20,
        ..Policy::default()
    })
}

impl Store {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().stopped {
                    return;
                }
                let _ = serve(stream.unwrap(), at, &shared);
            }
        });
        Self { at, state }
    }

    /// The bucket, for somebody with this secret; `secret` is the right one.
    pub(crate) fn bucket(&self, secret: &str) -> Bucket {
        let url = format!("http://{}/bucket/log/", self.at);
        Bucket::new(&url, credentials(secret), outbound(), Arc::new(SystemClock)).unwrap()
    }

    /// Writes a resource right after it is read next.
    pub(crate) fn meanwhile(&self, path: &str, bytes: &[u8]) {
        let write = (format!("/bucket/log/{path}"), bytes.to_vec());
        self.state.lock().unwrap().meanwhile = Some(write);
    }

    pub(crate) fn answer(&self, status: u16) {
        self.state.lock().unwrap().answer = Some(status);
    }

    /// The names of what it holds, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let mut names: Vec<_> =
            state.objects.keys().map(|k| k.trim_start_matches("/bucket/log/").to_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.state.lock().unwrap().stopped = true;
        // The listener waits for one more.
        let _ = TcpStream::connect(self.at);
    }
}

fn serve(stream: TcpStream, at: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    input.read_line(&mut first)?;
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let words: Vec<&str> = first.split(' ').collect();
    let (status, tag, answer) = handle(words[0], words[1], &headers, body, at, state);
    let tag = tag.map(|t| format!("ETag: {t}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{tag}Connection: close\r\n\r\n",
        answer.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer)
}

fn handle(
    method: &str,
    path: &str,
    headers: &HashMap<String, String>,
    body: Vec<u8>,
    at: SocketAddr,
    state: &Mutex<State>,
) -> (u16, Option<String>, Vec<u8>) {
    let mut state = state.lock().unwrap();
    if let Some(status) = state.answer {
        return (status, None, Vec::new());
    }
    if !is_signed(method, path, headers, &body, at) {
        return (403, None, Vec::new());
    }
    let tag = |bytes: &[u8]| format!("\"{}\"", hex::encode(&sha256(bytes)[..8]));
    let there = state.objects.get(path).cloned();
    if method == "GET" {
        if let Some((path, bytes)) = state.meanwhile.take_if(|(p, _)| p == path) {
            state.objects.insert(path, bytes);
        }
        return match there {
            Some(bytes) => (200, Some(tag(&bytes)), bytes),
            None => (404, None, Vec::new()),
        };
    }
    let absent = headers.get("if-none-match").is_none_or(|_| there.is_none());
    let still = headers.get("if-match").is_none_or(|t| there.is_some_and(|b| tag(&b) == *t));
    if !absent || !still {
        return (412, None, Vec::new());
    }
    state.objects.insert(path.to_owned(), body);
    (200, None, Vec::new())
}

/// Signs the same again. The clock is the sender's, to the second: two are tried.
fn is_signed(
    method: &str,
    path: &str,
    headers: &HashMap<String, String>,
    body: &[u8],
    at: SocketAddr,
) -> bool {
    let host = at.to_string();
    let mut given = vec![("host", host.as_str())];
    for name in ["if-match", "if-none-match"] {
        given.extend(headers.get(name).map(|value| (name, value.as_str())));
    }
    let now = crate::env::Clock::now(&SystemClock);
    let signer = Signer::new(credentials("secret"));
    (0..10).any(|ago| {
        let then = crate::env::Millis(now.0 - ago * 1000);
        let wanted = signer.sign(method, path, &given, body, then);
        wanted.iter().all(|(name, value)| headers.get(*name) == Some(value))
    })
}
