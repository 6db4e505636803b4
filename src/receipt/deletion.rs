//! The certificate of deletion: what was destroyed, when and why, signed by the log's key.

use serde::Serialize;

use crate::crypto::cbor::{self, Fields, Value};
use crate::crypto::cose::{self, Profile};
use crate::crypto::hash::{Sha256, sha256};
use crate::crypto::{KeyId, KeySet, SigningKey, VerifyingKey};
use crate::domain::ids::CameoId;
use crate::domain::uses::DeletionReason;
use crate::env::Millis;

/// The media type of a certificate, and its `typ` header.
pub const TYPE: &str = "application/cameo-deletion+cbor";
/// The largest certificate, in bytes.
const MAX_LEN: usize = 16 << 10;
const VERSION: u64 = 1;

/// Something that was destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destroyed {
    /// What it was: `subject_key`, `template`, `evidence`, `candidate`, `capture`, `log_salts`.
    pub kind: String,
    /// How many there were.
    pub count: u64,
    /// SHA-256 over the SHA-256 of each, in hex: a copy that turns up later can be shown to be of
    /// what was destroyed. Zeros where the thing itself was not read.
    pub digest: String,
}

/// What a certificate of deletion says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Who says so.
    pub issuer: String,
    /// What was deleted.
    pub cameo: CameoId,
    /// Why.
    pub reason: DeletionReason,
    /// When.
    pub at: Millis,
    /// What was destroyed.
    pub destroyed: Vec<Destroyed>,
    /// The name of the log that has an entry about it.
    pub log: String,
    /// The entry.
    pub log_index: u64,
}

impl Destroyed {
    /// Ciphertexts that were read before they were destroyed.
    pub fn sealed(kind: &str, all: &[Vec<u8>]) -> Self {
        let mut digest = Sha256::new();
        for one in all {
            digest.update(&sha256(one));
        }
        Self { kind: kind.into(), count: all.len() as u64, digest: digest.finish_hex() }
    }

    /// Things that were destroyed without being read.
    pub fn unread(kind: &str, count: u64) -> Self {
        Self { kind: kind.into(), count, digest: hex::encode([0; 32]) }
    }
}

impl Certificate {
    /// Signs it with the log's key.
    ///
    /// # Errors
    /// [`cose::Error`] where it is too large.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, cose::Error> {
        let text = |t: &str| Value::Text(t.to_owned());
        let destroyed = self
            .destroyed
            .iter()
            .map(|d| {
                let digest = hex::decode(&d.digest).unwrap_or_default();
                Value::Array(vec![text(&d.kind), Value::from(d.count), Value::Bytes(digest)])
            })
            .collect();
        let claims = [
            (1, Value::from(VERSION)),
            (2, text(&self.issuer)),
            (3, text(self.cameo.as_str())),
            (4, text(self.reason.name())),
            (5, Value::from(self.at.0)),
            (6, Value::Array(destroyed)),
            (7, text(&self.log)),
            (8, Value::from(self.log_index)),
        ];
        let claims = claims.into_iter().map(|(k, v)| (Value::from(k), v)).collect();
        cose::sign(key, &PROFILE, cbor::encode(&Value::Map(claims)))
    }

    /// Reads a certificate that the log's key signed.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn verify(bytes: &[u8], log_key: VerifyingKey) -> Result<(KeyId, Self), Unproven> {
        let keys: KeySet = [log_key].into_iter().collect();
        let message = cose::verify(bytes, &PROFILE, &keys)?;
        let value = cbor::decode(&message.payload, MAX_LEN).map_err(cose::Error::from)?;
        let certificate = Self::of(value).ok_or(Unproven::Malformed)?;
        Ok((message.key_id, certificate))
    }

    fn of(value: Value) -> Option<Self> {
        let mut f = Fields::of(value)?;
        if cbor::uint(&f.take(1)?)? != VERSION {
            return None;
        }
        let mut text = |key| f.take(key)?.into_text().ok();
        let (issuer, cameo, reason, log) = (text(2)?, text(3)?, text(4)?, text(7)?);
        let destroyed = f.take(6)?.into_array().ok()?;
        Some(Self {
            issuer,
            cameo: cameo.parse().ok()?,
            reason: reason.parse().ok()?,
            at: Millis(cbor::int(&f.take(5)?)?),
            destroyed: destroyed.into_iter().map(thing).collect::<Option<_>>()?,
            log,
            log_index: cbor::uint(&f.take(8)?)?,
        })
    }
}

/// Why bytes are no certificate of deletion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Not signed by the log's key.
    #[error(transparent)]
    Envelope(#[from] cose::Error),
    /// Not of version 1.
    #[error("not a certificate of deletion of version 1")]
    Malformed,
}

fn thing(value: Value) -> Option<Destroyed> {
    let [kind, count, digest] = <[Value; 3]>::try_from(value.into_array().ok()?).ok()?;
    Some(Destroyed {
        kind: kind.into_text().ok()?,
        count: cbor::uint(&count)?,
        digest: hex::encode(cbor::byte_array::<32>(&digest)?),
    })
}

const PROFILE: Profile<'_> =
    Profile { typ: TYPE, content_type: None, external_aad: b"", max_len: MAX_LEN };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededEntropy;

    #[test]
    fn a_certificate_holds_for_its_key_alone() {
        let e = SeededEntropy::new(1);
        let (ours, other) = (SigningKey::generate(&e).unwrap(), SigningKey::generate(&e).unwrap());
        let certificate = Certificate {
            issuer: "https://cameo.example".into(),
            cameo: "cam_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5".parse().unwrap(),
            reason: DeletionReason::Request,
            at: Millis(1_800_000_000_000),
            destroyed: vec![
                Destroyed::sealed("subject_key", &[vec![1]]),
                Destroyed::unread("capture", 0),
            ],
            log: "cameo.example/log".into(),
            log_index: 7,
        };
        let bytes = certificate.sign(&ours).unwrap();
        let (kid, read) = Certificate::verify(&bytes, ours.verifying_key()).unwrap();
        assert_eq!((kid, &read), (ours.id(), &certificate));
        assert!(Certificate::verify(&bytes, other.verifying_key()).is_err());
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(Certificate::verify(&altered, ours.verifying_key()).is_err(), "byte {at}");
        }
    }
}
