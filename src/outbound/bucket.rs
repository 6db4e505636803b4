//! A bucket of an S3-compatible object store as the place of the log's tiles.
//!
//! What is written is never taken back: a tile is put where nothing lies yet (`If-None-Match: *`),
//! and the checkpoint is replaced only if it is still the one that was read (`If-Match`), so several
//! processes can publish without a lock. Partial tiles stay, as C2SP tlog-tiles permits; no rule of
//! the bucket may delete them, since those of the newest checkpoint may be in use for long.

#[cfg(test)]
pub(crate) mod fake;
mod sigv4;

use std::io;
use std::sync::Arc;

use secrecy::SecretString;
use ureq::http::{Method, Request, Response, StatusCode, Uri, header};

use self::sigv4::Signer;
use super::{Error, Outbound};
use crate::env::Clock;
use crate::tlog::publish::Tiles;
use crate::tlog::tile::Tile;

/// A bucket, or a prefix in one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Without a slash at the end.
    url: String,
    host: String,
    signer: Arc<Signer>,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
}

/// Who may write to a bucket.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The region that signatures name.
    pub region: String,
    /// The access key's id.
    pub access_key: String,
    /// The access key's secret.
    pub secret_key: SecretString,
}

impl Bucket {
    /// The bucket (with a prefix, if any) at this URL, in either style: `https://host/bucket/prefix`
    /// or `https://bucket.host/prefix`.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Address`].
    pub fn new(
        url: &str,
        credentials: Credentials,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        outbound.check(url)?;
        let url = url.trim_end_matches('/').to_owned();
        let uri: Uri = url.parse().map_err(|_| Error::Url("it is not a URL"))?;
        // So that what is signed is what is sent, whoever normalises it on the way.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
        if uri.query().is_some() || !uri.path().bytes().all(plain) || uri.path().contains("//") {
            return Err(Error::Url("a bucket's path is letters, digits, `.`, `_`, `-` and `/`"));
        }
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        Ok(Self { url, host, signer: Arc::new(Signer::new(credentials)), outbound, clock })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn read(&self, path: &str) -> io::Result<Option<(Vec<u8>, Option<String>)>> {
        let answer = self.call(Method::GET, path, None, Vec::new())?;
        match answer.status() {
            StatusCode::OK => {
                let etag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
                let etag = etag.map(str::to_owned);
                Ok(Some((answer.into_body(), etag)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(refused(path, status)),
        }
    }

    /// Whether it was written: not where the condition did not hold.
    fn write(&self, path: &str, only: Only<'_>, bytes: &[u8]) -> io::Result<bool> {
        let status = self.call(Method::PUT, path, only.header(), bytes.to_vec())?.status();
        match (status, only) {
            (status, _) if status.is_success() => Ok(true),
            (StatusCode::PRECONDITION_FAILED, Only::Absent | Only::Still(_))
            | (StatusCode::NOT_FOUND, Only::Still(_)) => Ok(false),
            _ => Err(refused(path, status)),
        }
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        condition: Option<(&str, &str)>,
        body: Vec<u8>,
    ) -> io::Result<Response<Vec<u8>>> {
        let url = format!("{}/{path}", self.url);
        let uri: Uri = url.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut headers = vec![("host", self.host.as_str())];
        headers.extend(condition);
        let now = self.clock.now();
        let signed = self.signer.sign(method.as_str(), uri.path(), &headers, &body, now);
        let mut request = Request::builder().method(method).uri(&url);
        for (name, value) in signed.iter().map(|(n, v)| (*n, v.as_str())).chain(condition) {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(io::Error::other)?;
        self.outbound.exchange(request).map_err(|e| match e {
            Error::Url(_) | Error::Header => io::Error::new(io::ErrorKind::InvalidInput, e),
            Error::Timeout => io::Error::new(io::ErrorKind::TimedOut, e),
            // A name that leads nowhere may lead somewhere again.
            Error::Address | Error::TooLong(_) | Error::Unreachable(_) => io::Error::other(e),
        })
    }
}

/// When a resource may be written.
#[derive(Clone, Copy)]
enum Only<'e> {
    Always,
    /// Where there is none.
    Absent,
    /// Where it still has this entity tag.
    Still(&'e str),
}

impl<'e> Only<'e> {
    fn header(self) -> Option<(&'static str, &'e str)> {
        match self {
            Self::Always => None,
            Self::Absent => Some(("if-none-match", "*")),
            Self::Still(tag) => Some(("if-match", tag)),
        }
    }
}

impl Tiles for Bucket {
    fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.read(path)?.map(|(bytes, _)| bytes))
    }

    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(path, Only::Always, bytes).map(drop)
    }

    fn create(&self, path: &str, bytes: &[u8]) -> io::Result<bool> {
        self.write(path, Only::Absent, bytes)
    }

    fn replace(&self, path: &str, old: Option<&[u8]>, new: &[u8]) -> io::Result<bool> {
        let there = self.read(path)?;
        if there.as_ref().map(|(bytes, _)| &bytes[..]) != old {
            return Ok(false);
        }
        match there {
            None => self.write(path, Only::Absent, new),
            Some((_, Some(tag))) => self.write(path, Only::Still(&tag), new),
            // Without it nothing can be replaced safely.
            Some((_, None)) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the object store sends no ETag, which is needed to replace the checkpoint",
            )),
        }
    }

    fn drop_partials(&self, _: &Tile) -> io::Result<()> {
        Ok(())
    }
}

/// The kind says whether the same may work later; see [`crate::tlog::publish::Error::is_fatal`].
fn refused(path: &str, status: StatusCode) -> io::Error {
    use io::ErrorKind;
    let (kind, what) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (ErrorKind::PermissionDenied, "check the access key and what it may do")
        }
        StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED => {
            (ErrorKind::Unsupported, "it has to take conditional writes (If-None-Match, If-Match)")
        }
        StatusCode::NOT_FOUND => (ErrorKind::InvalidInput, "there is no such bucket"),
        s if s.is_redirection() => (ErrorKind::InvalidInput, "the bucket is in another region"),
        _ => (ErrorKind::Other, "it is tried again"),
    };
    io::Error::new(kind, format!("{path}: the object store answered {status}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::fake::Store;
    use super::*;
    use crate::tlog::publish::{self, put_tile};
    use crate::tlog::tile::Content;

    #[test]
    fn a_resource_is_created_once_and_replaced_only_as_it_was_read() {
        let store = Store::start();
        let (one, other) = (store.bucket("secret"), store.bucket("secret"));
        assert_eq!(one.get("checkpoint").unwrap(), None);
        assert!(one.replace("checkpoint", None, b"1").unwrap());
        assert!(!other.replace("checkpoint", None, b"2").unwrap(), "it was there");
        assert!(!other.replace("checkpoint", Some(b"0"), b"2").unwrap(), "it was another");
        assert!(other.replace("checkpoint", Some(b"1"), b"2").unwrap());
        assert_eq!(one.get("checkpoint").unwrap().unwrap(), b"2");
        // Between reading and writing somebody else writes: the store itself refuses.
        store.meanwhile("checkpoint", b"3");
        assert!(!one.replace("checkpoint", Some(b"2"), b"4").unwrap());
        assert_eq!(other.get("checkpoint").unwrap().unwrap(), b"3");

        assert!(one.create("tile/0/000", b"a").unwrap());
        assert!(!other.create("tile/0/000", b"b").unwrap());
        assert_eq!(one.get("tile/0/000").unwrap().unwrap(), b"a");
        let tile = Tile { content: Content::Hashes(0), index: 0, width: 256 };
        assert!(put_tile(&other, &tile, b"a").is_ok());
        let fork = put_tile(&other, &tile, b"b").unwrap_err();
        assert!(matches!(&fork, publish::Error::Conflict { .. }) && fork.is_fatal());
    }

    #[test]
    fn what_helps_is_told_from_what_does_not() {
        let store = Store::start();
        let fatal = |e: io::Error| publish::Error::from(e).is_fatal();
        let e = store.bucket("another secret").get("checkpoint").unwrap_err();
        assert!(e.to_string().contains("check the access key"), "{e}");
        assert!(fatal(e));
        store.answer(503);
        let e = store.bucket("secret").create("tile/0/000", b"a").unwrap_err();
        assert!(e.to_string().contains("503") && !fatal(e));
        store.answer(501);
        assert!(fatal(store.bucket("secret").create("tile/0/000", b"a").unwrap_err()));
        let bucket = store.bucket("secret");
        drop(store);
        assert!(!fatal(bucket.get("checkpoint").unwrap_err()), "nobody answers");
    }

    #[test]
    fn only_plain_urls_and_no_secret_is_shown() {
        let store = Store::start();
        let shown = format!("{:?}", store.bucket("hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
        for path in ["/b?x=1", "/b c", "/b%20c", "/a//b"] {
            let made = Bucket::new(
                &format!("https://s3.example{path}"),
                fake::credentials("secret"),
                fake::outbound(),
                Arc::new(crate::env::SystemClock),
            );
            assert!(matches!(made, Err(Error::Url(_))), "{path}");
        }
    }
}
