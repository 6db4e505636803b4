//! Signatures on requests: AWS Signature Version 4 for S3, in the `Authorization` header
//! ("Signature Calculations for the Authorization Header", Amazon S3 API reference).

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Credentials;
use crate::crypto::hash::{hmac_sha256, sha256};
use crate::env::Millis;

/// Signs with one access key.
#[derive(Debug)]
pub(super) struct Signer {
    credentials: Credentials,
}

impl Signer {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials }
    }

    /// The headers that the request needs besides those given. `path` has nothing in it that would
    /// have to be escaped, there is no query, and the given names are in lower case.
    pub(super) fn sign(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        now: Millis,
    ) -> Vec<(&'static str, String)> {
        let Credentials { region, access_key, secret_key } = &self.credentials;
        let (time, digest) = (basic(now), hex::encode(sha256(body)));
        let day = time.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{region}/s3/aws4_request");
        let mut all = headers.to_vec();
        all.extend([("x-amz-content-sha256", digest.as_str()), ("x-amz-date", time.as_str())]);
        all.sort_unstable();
        let lines: String = all.iter().map(|(n, v)| format!("{n}:{}\n", v.trim())).collect();
        let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{digest}");
        let canonical = hex::encode(sha256(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let key = signing_key(secret_key, day, region);
        let signature = hex::encode(hmac_sha256(key.as_slice(), to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={access_key}/{scope},SignedHeaders={names},Signature={signature}"
        );
        vec![
            ("x-amz-content-sha256", digest),
            ("x-amz-date", time),
            ("authorization", authorization),
        ]
    }
}

fn signing_key(secret: &SecretString, day: &str, region: &str) -> Zeroizing<[u8; 32]> {
    let start = Zeroizing::new(format!("AWS4{}", secret.expose_secret()));
    let mut key = Zeroizing::new(hmac_sha256(start.as_bytes(), day.as_bytes()));
    for part in [region, "s3", "aws4_request"] {
        key = Zeroizing::new(hmac_sha256(key.as_slice(), part.as_bytes()));
    }
    key
}

/// ISO 8601's basic form: `20130524T000000Z`.
fn basic(at: Millis) -> String {
    let full = at.rfc3339();
    let seconds = full.split('.').next().unwrap_or_default();
    seconds.chars().filter(|c| !"-:".contains(*c)).chain(['Z']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Example: GET Object" of the API reference.
    #[test]
    fn the_published_example() {
        let signer = Signer::new(Credentials {
            region: "us-east-1".into(),
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        });
        let headers = [("host", "examplebucket.s3.amazonaws.com"), ("range", "bytes=0-9")];
        let now = Millis(1_369_353_600_000);
        let signed = signer.sign("GET", "/test.txt", &headers, b"", now);
        assert_eq!(signed[1], ("x-amz-date", "20130524T000000Z".into()));
        assert_eq!(
            signed[2].1,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }
}
