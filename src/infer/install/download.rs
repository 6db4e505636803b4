//! Fetching one file over HTTPS.

use std::io::Read;
use std::time::Duration;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// There was no answer, or none with status 200.
    #[error(
        "can't download {url}: {problem} (a network that blocks it: fetch the file elsewhere and name its folder with --from)"
    )]
    Failed {
        /// The address.
        url: String,
        /// What went wrong.
        problem: String,
    },
    /// The answer is longer than the file.
    #[error("the answer of {url} is longer than the {expected} bytes of the file")]
    TooLong {
        /// The address.
        url: String,
        /// Bytes that the manifest says.
        expected: u64,
    },
}

/// Fetches a file of at most `bytes` bytes. `progress` gets the number of bytes of each step.
pub(super) fn get(url: &str, bytes: u64, progress: &dyn Fn(u64)) -> Result<Vec<u8>, DownloadError> {
    get_with(url, bytes, progress, true)
}

fn get_with(
    url: &str,
    bytes: u64,
    progress: &dyn Fn(u64),
    https_only: bool,
) -> Result<Vec<u8>, DownloadError> {
    let failed = |problem: String| DownloadError::Failed { url: url.to_owned(), problem };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .https_only(https_only)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_global(Some(Duration::from_mins(30)))
        .build()
        .into();
    let answer = agent.get(url).call().map_err(|e| failed(e.to_string()))?;
    let mut body = answer.into_body().into_with_config().limit(bytes.saturating_add(1)).reader();
    let mut contents = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let n = body.read(&mut chunk).map_err(|e| failed(e.to_string()))?;
        if n == 0 {
            return Ok(contents);
        }
        contents.extend_from_slice(&chunk[..n]);
        progress(n as u64);
        if contents.len() as u64 > bytes {
            return Err(DownloadError::TooLong { url: url.to_owned(), expected: bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that answers once; answers its address.
    fn serve(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            while request.next().is_some_and(|l| l.is_ok_and(|l| !l.is_empty())) {}
            stream.write_all(answer).unwrap();
        });
        format!("http://{address}/model.onnx")
    }

    #[test]
    fn a_file_is_fetched() {
        let url = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        let seen = std::cell::Cell::new(0);
        let got = get_with(&url, 5, &|n| seen.set(seen.get() + n), false).unwrap();
        assert_eq!((got.as_slice(), seen.get()), (&b"hello"[..], 5));
    }

    #[test]
    fn an_answer_that_is_too_long_is_cut_off() {
        let url = serve(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello, hello, hello");
        let error = get_with(&url, 5, &|_| (), false).unwrap_err();
        assert!(matches!(error, DownloadError::TooLong { expected: 5, .. }), "{error}");
    }

    #[test]
    fn a_refusal_and_a_broken_answer_are_errors() {
        let url =
            serve(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert!(get_with(&url, 5, &|_| (), false).unwrap_err().to_string().contains("404"));
        let url = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhel");
        assert!(matches!(get_with(&url, 9, &|_| (), false), Err(DownloadError::Failed { .. })));
    }

    #[test]
    fn without_tls_nothing_is_fetched() {
        let error = get("http://127.0.0.1:9/model.onnx", 5, &|_| ()).unwrap_err();
        assert!(matches!(error, DownloadError::Failed { .. }), "{error}");
    }
}
