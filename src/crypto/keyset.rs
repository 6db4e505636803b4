//! The public keys that verifiers fetch: as a COSE Key Set (`application/cose-key-set`, RFC 9052
//! §7) and as a JSON Web Key Set (RFC 7517, RFC 8037).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use coset::iana::{self, EnumI64 as _};
use coset::{AsCborValue as _, CoseKey, CoseKeyBuilder, CoseKeySet, KeyOperation, KeyType, Label};
use serde::{Deserialize, Serialize};

use super::cbor::{self, Value};
use super::{KeyId, VerifyingKey};

/// The media type of [`KeySet::to_cose`].
pub const COSE_KEY_SET: &str = "application/cose-key-set";
/// The media type of [`KeySet::to_jwks`].
pub const JWK_SET: &str = "application/jwk-set+json";

const MAX_KEYS: usize = 64;
const MAX_BYTES: usize = 64 << 10;

/// Why a published key set could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not deterministic CBOR.
    #[error("key set: {0}")]
    Cbor(#[from] cbor::Error),
    /// Not a key set.
    #[error("not a key set: {0}")]
    Malformed(&'static str),
    /// A key's `kid` is not the thumbprint of the key.
    #[error("the kid of a key in the set is not its thumbprint")]
    WrongKid,
    /// More keys or bytes than any honest set has.
    #[error("key set is too large (at most {MAX_KEYS} keys and {MAX_BYTES} bytes)")]
    TooLarge,
}

/// Ed25519 public keys by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet(BTreeMap<KeyId, VerifyingKey>);

impl KeySet {
    /// The key named `id`.
    pub fn get(&self, id: KeyId) -> Option<&VerifyingKey> {
        self.0.get(&id)
    }

    /// The keys, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyId, &VerifyingKey)> {
        self.0.iter()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The `COSE_KeySet`: an array of OKP keys with kid, alg `EdDSA`, `key_ops` verify, crv and x.
    pub fn to_cose(&self) -> Vec<u8> {
        let keys = self.0.iter().map(|(id, key)| cose_key(*id, key)).collect();
        // Encoding can only fail where a key's parameters hold a label twice.
        CoseKeySet(keys).to_cbor_value().map_or_else(|_| vec![0x80], |v| cbor::encode(&v))
    }

    /// Reads what [`to_cose`](Self::to_cose) writes. Keys of other types are passed over, as RFC
    /// 9052 §7 asks; an Ed25519 key must carry its thumbprint as kid.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn from_cose(bytes: &[u8]) -> Result<Self, Error> {
        let value = cbor::decode(bytes, MAX_BYTES)?;
        let set = CoseKeySet::from_cbor_value(value)
            .map_err(|_| Error::Malformed("expected an array of COSE_Key"))?;
        if set.0.len() > MAX_KEYS {
            return Err(Error::TooLarge);
        }
        let mut keys = BTreeMap::new();
        for key in set.0 {
            if let Some(public) = ed25519(&key)? {
                insert(&mut keys, public, &key.key_id)?;
            }
        }
        Ok(Self(keys))
    }

    /// The JSON Web Key Set.
    pub fn to_jwks(&self) -> Jwks {
        let keys = self
            .0
            .iter()
            .map(|(id, key)| Jwk {
                kty: "OKP".into(),
                crv: Some("Ed25519".into()),
                x: Some(BASE64URL.encode(key.as_bytes())),
                kid: Some(id.to_string()),
                alg: Some("EdDSA".into()),
                public_key_use: Some("sig".into()),
            })
            .collect();
        Jwks { keys }
    }

    /// Reads a JSON Web Key Set. Keys of other types are passed over (RFC 7517 §5).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn from_jwks(json: &[u8]) -> Result<Self, Error> {
        if json.len() > MAX_BYTES {
            return Err(Error::TooLarge);
        }
        let set: Jwks = serde_json::from_slice(json)
            .map_err(|_| Error::Malformed("expected {\"keys\":[…]} of JSON Web Keys"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(Error::TooLarge);
        }
        let mut keys = BTreeMap::new();
        for jwk in set.keys {
            if jwk.kty != "OKP" || jwk.crv.as_deref() != Some("Ed25519") {
                continue;
            }
            let x = jwk.x.and_then(|x| BASE64URL.decode(x).ok());
            let public = x
                .and_then(|x| <[u8; 32]>::try_from(x).ok())
                .map(VerifyingKey::from_bytes)
                .ok_or(Error::Malformed("x must be 32 bytes in base64url"))?;
            let kid = jwk.kid.as_deref().and_then(KeyId::parse).ok_or(Error::WrongKid)?;
            insert(&mut keys, public, &kid.0)?;
        }
        Ok(Self(keys))
    }
}

impl FromIterator<VerifyingKey> for KeySet {
    fn from_iter<I: IntoIterator<Item = VerifyingKey>>(keys: I) -> Self {
        Self(keys.into_iter().map(|k| (k.id(), k)).collect())
    }
}

/// A JSON Web Key Set, as served at `/.well-known/jwks.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// One JSON Web Key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `OKP`.
    pub kty: String,
    /// Curve: `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// The public key in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// The key's id: 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Algorithm: `EdDSA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// What the key is for: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub public_key_use: Option<String>,
}

fn cose_key(id: KeyId, key: &VerifyingKey) -> CoseKey {
    CoseKeyBuilder::new_okp_key()
        .key_id(id.0.to_vec())
        .algorithm(iana::Algorithm::EdDSA)
        .add_key_op(iana::KeyOperation::Verify)
        .param(CRV, Value::from(iana::EllipticCurve::Ed25519.to_i64()))
        .param(X, Value::Bytes(key.as_bytes().to_vec()))
        .build()
}

/// The Ed25519 key in `key`; `None` for a key of another type, or not for `EdDSA`.
fn ed25519(key: &CoseKey) -> Result<Option<VerifyingKey>, Error> {
    let param =
        |label| key.params.iter().find(|(l, _)| *l == Label::Int(label)).map(|(_, value)| value);
    let curve = param(CRV).and_then(cbor::int);
    let right_type = key.kty == KeyType::Assigned(iana::KeyType::OKP)
        && curve == Some(iana::EllipticCurve::Ed25519.to_i64());
    let verify = KeyOperation::Assigned(iana::KeyOperation::Verify);
    let right_use = (key.key_ops.is_empty() || key.key_ops.contains(&verify))
        && key
            .alg
            .as_ref()
            .is_none_or(|a| *a == coset::Algorithm::Assigned(iana::Algorithm::EdDSA));
    if !right_type || !right_use {
        return Ok(None);
    }
    param(X)
        .and_then(cbor::byte_array)
        .map(|x| Some(VerifyingKey::from_bytes(x)))
        .ok_or(Error::Malformed("x must be 32 bytes"))
}

fn insert(
    keys: &mut BTreeMap<KeyId, VerifyingKey>,
    key: VerifyingKey,
    kid: &[u8],
) -> Result<(), Error> {
    if kid != key.id().0 {
        return Err(Error::WrongKid);
    }
    keys.insert(key.id(), key);
    Ok(())
}

const CRV: i64 = iana::OkpKeyParameter::Crv as i64;
const X: i64 = iana::OkpKeyParameter::X as i64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;
    use crate::env::SeededEntropy;

    fn set() -> KeySet {
        (1..4)
            .map(|i| SigningKey::generate(&SeededEntropy::new(i)).unwrap().verifying_key())
            .collect()
    }

    #[test]
    fn both_forms_read_back() {
        let set = set();
        assert_eq!(KeySet::from_cose(&set.to_cose()).unwrap(), set);
        let json = serde_json::to_vec(&set.to_jwks()).unwrap();
        assert_eq!(KeySet::from_jwks(&json).unwrap(), set);
        assert_eq!(KeySet::from_cose(&KeySet::default().to_cose()).unwrap(), KeySet::default());
    }

    #[test]
    fn foreign_keys_are_passed_over_and_false_names_refused() {
        let json = br#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;
        assert!(KeySet::from_jwks(json).unwrap().is_empty());
        let mut jwks = set().to_jwks();
        jwks.keys[0].kid = Some("0000000000000000".into());
        let json = serde_json::to_vec(&jwks).unwrap();
        assert_eq!(KeySet::from_jwks(&json), Err(Error::WrongKid));
        let mut cose = set().to_cose();
        let kid = set().iter().next().unwrap().0.0;
        let at = cose.windows(8).position(|w| w == kid).unwrap();
        cose[at] ^= 1;
        assert_eq!(KeySet::from_cose(&cose), Err(Error::WrongKid));
        assert!(matches!(KeySet::from_cose(b"\xa0"), Err(Error::Malformed(_))));
        assert!(matches!(KeySet::from_jwks(b"{}"), Err(Error::Malformed(_))));
    }
}
