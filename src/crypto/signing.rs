//! Ed25519 keys (RFC 8032).
//!
//! A key is named by its [`KeyId`]: the first eight bytes of its COSE Key Thumbprint (RFC 9679),
//! so that a name can't be given to another key by mistake.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::cbor::{self, Value};
use super::hash::sha256;
use super::master::KeyWrap;
use super::{Aad, Error};
use crate::env::{self, Entropy};

/// The length of an Ed25519 signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// Names a signing key: `kid` in COSE (8 bytes) and in JWK (16 hex digits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// Reads the 16 hex digits that [`Display`](std::fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 8];
        hex::decode_to_slice(text, &mut id).ok().map(|()| Self(id))
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// The key of these bytes (RFC 8032 §5.1.5). Bytes that are no point of the curve verify
    /// nothing.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The COSE Key Thumbprint: SHA-256 over the deterministic encoding of the key's required
    /// parameters kty, crv and x (RFC 9679 §3, §4.1).
    pub fn thumbprint(&self) -> [u8; 32] {
        sha256(&cbor::encode(&Value::Map(vec![
            (Value::from(1), Value::from(1)),  // kty: OKP
            (Value::from(-1), Value::from(6)), // crv: Ed25519
            (Value::from(-2), Value::Bytes(self.0.to_vec())),
        ])))
    }

    /// The key's name.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&self.thumbprint()[..8]);
        KeyId(id)
    }

    /// Whether `signature` is this key's signature of `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({})", self.id())
    }
}

/// An Ed25519 key pair.
pub struct SigningKey {
    id: KeyId,
    public: VerifyingKey,
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
}

impl SigningKey {
    /// A fresh key.
    ///
    /// # Errors
    /// As [`from_seed`](Self::from_seed).
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, Error> {
        Self::from_seed(&env::random(entropy))
    }

    /// The key of a 32-byte seed (RFC 8032's private key).
    ///
    /// # Errors
    /// [`Error::BadKey`] where the seed is not accepted.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| Error::BadKey { what: "an Ed25519 seed", why: "it was not accepted" })?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref())
            .map(VerifyingKey)
            .map_err(|_| Error::BadKey { what: "an Ed25519 key", why: "its length is wrong" })?;
        Ok(Self { id: public.id(), public, pair, seed: Zeroizing::new(*seed) })
    }

    /// The key's name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut out = [0; SIGNATURE_LEN];
        for (to, from) in out.iter_mut().zip(self.pair.sign(message).as_ref()) {
            *to = *from;
        }
        out
    }

    /// Wraps the seed for storage, bound to `purpose` (for instance `"token"` or `"checkpoint"`)
    /// and to the key's name.
    ///
    /// # Errors
    /// Those of the wrapping key.
    pub fn wrap(
        &self,
        kek: &dyn KeyWrap,
        purpose: &str,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        kek.wrap(&self.seed, &wrap_aad(purpose, self.id), entropy)
    }

    /// Unwraps the key named `id` that was wrapped for `purpose`.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] for another purpose or name; [`Error::UnknownMasterKey`].
    pub fn unwrap(
        kek: &dyn KeyWrap,
        wrapped: &[u8],
        purpose: &str,
        id: KeyId,
    ) -> Result<Self, Error> {
        let key = Self::from_seed(&*kek.unwrap(wrapped, &wrap_aad(purpose, id))?)?;
        if key.id == id { Ok(key) } else { Err(Error::NotAuthentic) }
    }

    /// Wraps the key under the current master key, or `None` where it already is.
    ///
    /// # Errors
    /// As [`unwrap`](Self::unwrap).
    pub fn rewrap(
        kek: &dyn KeyWrap,
        wrapped: &[u8],
        purpose: &str,
        id: KeyId,
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, Error> {
        kek.rewrap(wrapped, &wrap_aad(purpose, id), entropy)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, redacted)", self.id)
    }
}

fn wrap_aad(purpose: &str, id: KeyId) -> Aad {
    Aad::new("signing-key").text(purpose).bytes(&id.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{MasterKey, MasterKeys};
    use crate::env::SeededEntropy;

    /// RFC 8032 §7.1, test 2.
    #[test]
    fn rfc_8032_test_2() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let key = SigningKey::from_seed(&hex::decode(seed).unwrap().try_into().unwrap()).unwrap();
        assert_eq!(
            hex::encode(key.verifying_key().as_bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            hex::encode(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(key.verifying_key().verify(&[0x72], &signature));
        assert!(!key.verifying_key().verify(&[0x73], &signature));
        assert!(!key.verifying_key().verify(&[0x72], &signature[..63]));
    }

    #[test]
    fn a_wrapped_key_comes_back_only_under_its_name_and_purpose() {
        let e = SeededEntropy::new(4);
        let kek = MasterKeys::from(MasterKey::generate(&e));
        let key = SigningKey::generate(&e).unwrap();
        let wrapped = key.wrap(&kek, "token", &e).unwrap();
        let back = SigningKey::unwrap(&kek, &wrapped, "token", key.id()).unwrap();
        assert_eq!(back.sign(b"m"), key.sign(b"m"));
        assert!(SigningKey::unwrap(&kek, &wrapped, "checkpoint", key.id()).is_err());
        assert!(SigningKey::unwrap(&kek, &wrapped, "token", KeyId([0; 8])).is_err());
        assert_eq!(KeyId::parse(&key.id().to_string()), Some(key.id()));
        assert_eq!(KeyId::parse("zz"), None);
    }

    #[test]
    fn bytes_off_the_curve_verify_nothing() {
        assert!(!VerifyingKey::from_bytes([0xff; 32]).verify(b"", &[0; 64]));
    }
}
