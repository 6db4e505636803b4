//! `COSE_Encrypt0` (RFC 9052 §5.2) with HPKE-4, as draft-ietf-cose-hpke's integrated encryption
//! defines it: `alg` (42) and the recipient key's `kid` are protected, the encapsulated key stands
//! in `ek` (-4) of the unprotected header, `info` is empty, and the associated data is the
//! `Enc_structure` of RFC 9052 §5.3 with the caller's external data.

use zeroize::Zeroizing;

use super::cbor::{self, Value};
use super::hpke::{RecipientKey, RecipientSecret, Sealed};
use super::{Error as KeyError, KeyId};
use crate::env::Entropy;

/// Why bytes are not an acceptable `COSE_Encrypt0`, or do not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not deterministic CBOR, too large, or followed by other bytes.
    #[error(transparent)]
    Cbor(#[from] cbor::Error),
    /// CBOR, but not a tagged `COSE_Encrypt0` with the headers that belong there.
    #[error("not a COSE_Encrypt0 of HPKE: {0}")]
    Malformed(&'static str),
    /// Sealed with another algorithm.
    #[error("the sealing algorithm is not HPKE-4")]
    WrongAlgorithm,
    /// Sealed to another key.
    #[error("it is sealed to the key {0}: open it with that key")]
    OtherKey(KeyId),
    /// It does not open.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Seals `plaintext` to `recipient`, bound to `external_aad`.
///
/// # Errors
/// [`Error::Key`] for a key that nothing can be sealed to.
pub fn seal(
    recipient: &RecipientKey,
    external_aad: &[u8],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, Error> {
    let protected = protected(recipient.id());
    let sealed =
        recipient.seal(b"", &enc_structure(&protected, external_aad), plaintext, entropy)?;
    let parts = vec![
        Value::Bytes(protected),
        Value::Map(vec![(Value::from(EK), Value::Bytes(sealed.enc.to_vec()))]),
        Value::Bytes(sealed.ciphertext),
    ];
    Ok(cbor::encode(&Value::Tag(ENCRYPT0, Box::new(Value::Array(parts)))))
}

/// Opens what [`seal`] made.
///
/// # Errors
/// See [`Error`]; [`KeyError::NotAuthentic`] for other data or altered bytes.
pub fn open(
    secret: &RecipientSecret,
    external_aad: &[u8],
    message: &[u8],
    max_len: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let Parsed { key_id, protected, sealed } = parse(message, max_len)?;
    if key_id != secret.public().id() {
        return Err(Error::OtherKey(key_id));
    }
    Ok(secret.open(b"", &enc_structure(&protected, external_aad), &sealed)?)
}

/// The key that a message is sealed to, without opening it.
///
/// # Errors
/// As [`open`], for the form.
pub fn recipient(message: &[u8], max_len: usize) -> Result<KeyId, Error> {
    Ok(parse(message, max_len)?.key_id)
}

struct Parsed {
    key_id: KeyId,
    protected: Vec<u8>,
    sealed: Sealed,
}

fn parse(message: &[u8], max_len: usize) -> Result<Parsed, Error> {
    let Value::Tag(ENCRYPT0, inner) = cbor::decode(message, max_len)? else {
        return Err(Error::Malformed("expected CBOR tag 16"));
    };
    let parts = inner.into_array().ok().and_then(|parts| <[Value; 3]>::try_from(parts).ok());
    let Some([Value::Bytes(protected), Value::Map(unprotected), Value::Bytes(ciphertext)]) = parts
    else {
        return Err(Error::Malformed("expected three parts with an attached ciphertext"));
    };
    let header = cbor::decode(&protected, protected.len())?;
    let header = header.as_map().ok_or(Error::Malformed("the protected header is no map"))?;
    let mut key_id = None;
    let mut algorithm = None;
    for (label, value) in header {
        match cbor::int(label) {
            Some(ALG) => algorithm = cbor::int(value),
            Some(KID) => key_id = cbor::byte_array(value).map(KeyId),
            _ => return Err(Error::Malformed("its protected header holds something else")),
        }
    }
    if algorithm != Some(HPKE_4) {
        return Err(Error::WrongAlgorithm);
    }
    let key_id = key_id.ok_or(Error::Malformed("kid is missing or not eight bytes"))?;
    let enc = match unprotected.as_slice() {
        [(label, value)] if cbor::int(label) == Some(EK) => cbor::byte_array(value),
        _ => None,
    };
    let enc = enc.ok_or(Error::Malformed("its unprotected header is not ek alone"))?;
    Ok(Parsed { key_id, protected, sealed: Sealed { enc, ciphertext } })
}

fn protected(id: KeyId) -> Vec<u8> {
    cbor::encode(&Value::Map(vec![
        (Value::from(ALG), Value::from(HPKE_4)),
        (Value::from(KID), Value::Bytes(id.0.to_vec())),
    ]))
}

/// RFC 9052 §5.3.
fn enc_structure(protected: &[u8], external_aad: &[u8]) -> Vec<u8> {
    cbor::encode(&Value::Array(vec![
        Value::Text("Encrypt0".into()),
        Value::Bytes(protected.to_vec()),
        Value::Bytes(external_aad.to_vec()),
    ]))
}

/// The tag of `COSE_Encrypt0`.
const ENCRYPT0: u64 = 16;
const ALG: i64 = 1;
const KID: i64 = 4;
/// Encapsulated key; the value that draft-ietf-cose-hpke assumes.
const EK: i64 = -4;
/// The algorithm HPKE-4; the value that draft-ietf-cose-hpke assumes.
const HPKE_4: i64 = 42;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::SeededEntropy;

    const MAX: usize = 4096;

    #[test]
    fn opens_with_its_key_and_its_aad_alone() {
        let e = SeededEntropy::new(3);
        let secret = RecipientSecret::generate(&e).unwrap();
        let other = RecipientSecret::generate(&e).unwrap();
        let message = seal(&secret.public(), b"aad", b"plain", &e).unwrap();
        assert_eq!(open(&secret, b"aad", &message, MAX).unwrap().as_slice(), b"plain");
        assert_eq!(recipient(&message, MAX), Ok(secret.public().id()));
        let named = Err(Error::OtherKey(secret.public().id()));
        assert_eq!(open(&other, b"aad", &message, MAX), named);
        let refused = Err(Error::Key(KeyError::NotAuthentic));
        assert_eq!(open(&secret, b"other", &message, MAX), refused);
        for at in 0..message.len() {
            let mut altered = message.clone();
            altered[at] ^= 1;
            assert!(open(&secret, b"aad", &altered, MAX).is_err(), "byte {at}");
            assert!(open(&secret, b"aad", &message[..at], MAX).is_err());
        }
    }

    #[test]
    fn other_algorithms_and_headers_are_refused() {
        let e = SeededEntropy::new(4);
        let secret = RecipientSecret::generate(&e).unwrap();
        let with = |header: Vec<(i64, Value)>, ek: i64| {
            let map = |m: Vec<(i64, Value)>| {
                Value::Map(m.into_iter().map(|(k, v)| (Value::from(k), v)).collect())
            };
            let parts = vec![
                Value::Bytes(cbor::encode(&map(header))),
                map(vec![(ek, Value::Bytes(vec![9; 32]))]),
                Value::Bytes(vec![0; 20]),
            ];
            let message = cbor::encode(&Value::Tag(16, Box::new(Value::Array(parts))));
            open(&secret, b"", &message, MAX).unwrap_err()
        };
        let kid = || (KID, Value::Bytes(secret.public().id().0.to_vec()));
        assert_eq!(with(vec![(ALG, Value::from(41)), kid()], EK), Error::WrongAlgorithm);
        assert_eq!(with(vec![kid()], EK), Error::WrongAlgorithm);
        let alg = || (ALG, Value::from(HPKE_4));
        assert!(matches!(with(vec![alg()], EK), Error::Malformed(_)));
        assert!(matches!(with(vec![alg(), kid()], 5), Error::Malformed(_)));
        assert!(matches!(with(vec![alg(), kid(), (2, Value::Null)], EK), Error::Malformed(_)));
        let right = Error::Key(KeyError::NotAuthentic);
        assert_eq!(with(vec![alg(), kid()], EK), right);
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk in proptest::collection::vec(any::<u8>(), 0..200)) {
            let secret = RecipientSecret::generate(&SeededEntropy::new(5)).unwrap();
            prop_assert!(open(&secret, b"", &junk, MAX).is_err());
        }
    }
}
