//! `COSE_Sign1` (RFC 9052 §4.2) with Ed25519, written deterministically and read strictly.
//!
//! Everything that matters is in the protected header: `alg` (`EdDSA`, -8), `kid` and `typ` (RFC
//! 9596), and `content type` where there is one. The unprotected header may hold transparency
//! receipts (label 394) only, which are not looked at here; a verifier takes nothing from it.

use coset::iana;
use coset::{
    Algorithm, AsCborValue as _, ContentType, CoseSign1, CoseSign1Builder, HeaderBuilder, Label,
    TaggedCborSerializable as _,
};

use super::cbor::{self, Value};
use super::{KeyId, KeySet, SigningKey};

/// Why bytes are not an acceptable `COSE_Sign1`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not deterministic CBOR, too large, or followed by other bytes.
    #[error(transparent)]
    Cbor(#[from] cbor::Error),
    /// CBOR, but not a tagged `COSE_Sign1`.
    #[error("not a COSE_Sign1: {0}")]
    Malformed(&'static str),
    /// A header parameter in the unprotected bucket that does not belong there.
    #[error("header parameter {0} is not allowed in the unprotected header")]
    Unprotected(String),
    /// A critical header parameter that this verifier does not know.
    #[error("the message has critical header parameters that this verifier does not know")]
    UnknownCritical,
    /// Signed with an algorithm other than `EdDSA`.
    #[error("the algorithm is not EdDSA with Ed25519")]
    WrongAlgorithm,
    /// The message is of another type.
    #[error("the message's typ is not {expected}")]
    WrongType {
        /// The type that was asked for.
        expected: String,
    },
    /// The message has another content type.
    #[error("the message's content type is not the expected one")]
    WrongContentType,
    /// The `kid` is missing or not eight bytes.
    #[error("the message names no usable key id")]
    NoKeyId,
    /// The key is not in the key set.
    #[error("signing key {0} is not in the key set; fetch the key set again")]
    UnknownKey(KeyId),
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
}

/// What a message is, besides its payload.
#[derive(Debug, Clone, Copy)]
pub struct Profile<'a> {
    /// The media type of the whole message, in `typ`.
    pub typ: &'a str,
    /// The media type of the payload, where it has one of its own.
    pub content_type: Option<&'a str>,
    /// Data that is signed but not carried.
    pub external_aad: &'a [u8],
    /// The largest message accepted, in bytes.
    pub max_len: usize,
}

/// A message whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed it.
    pub key_id: KeyId,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Signs `payload` into a tagged `COSE_Sign1`.
///
/// # Errors
/// [`cbor::Error::TooLarge`] where the message would be one that [`verify`] refuses.
pub fn sign(key: &SigningKey, profile: &Profile<'_>, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
    let mut header = HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(key.id().0.to_vec())
        .value(TYP, Value::Text(profile.typ.to_owned()));
    if let Some(content_type) = profile.content_type {
        header = header.content_type(content_type.to_owned());
    }
    let bytes = CoseSign1Builder::new()
        .protected(header.build())
        .payload(payload)
        .create_signature(profile.external_aad, |m| key.sign(m).to_vec())
        .build()
        .to_tagged_vec()
        .map_err(|_| Error::Malformed("it can't be encoded"))?;
    if bytes.len() > profile.max_len {
        return Err(cbor::Error::TooLarge { len: bytes.len(), max: profile.max_len }.into());
    }
    Ok(bytes)
}

/// Checks a message against `profile` and the keys.
///
/// # Errors
/// See [`Error`]. The signature is checked before the payload is looked at.
pub fn verify(bytes: &[u8], profile: &Profile<'_>, keys: &KeySet) -> Result<Verified, Error> {
    let message = parse(bytes, profile.max_len)?;
    let header = &message.protected.header;
    if !header.crit.is_empty() {
        return Err(Error::UnknownCritical);
    }
    if header.alg != Some(Algorithm::Assigned(iana::Algorithm::EdDSA)) {
        return Err(Error::WrongAlgorithm);
    }
    let typ = header.rest.iter().find(|(label, _)| *label == Label::Int(TYP));
    if typ.and_then(|(_, v)| v.as_text()) != Some(profile.typ) {
        return Err(Error::WrongType { expected: profile.typ.to_owned() });
    }
    let content_type = match &header.content_type {
        None => None,
        Some(ContentType::Text(text)) => Some(text.as_str()),
        Some(ContentType::Assigned(_)) => return Err(Error::WrongContentType),
    };
    if content_type != profile.content_type {
        return Err(Error::WrongContentType);
    }
    let key_id = KeyId(header.key_id.as_slice().try_into().map_err(|_| Error::NoKeyId)?);
    let key = keys.get(key_id).ok_or(Error::UnknownKey(key_id))?;
    message.verify_signature(profile.external_aad, |signature, signed| {
        if key.verify(signed, signature) { Ok(()) } else { Err(Error::BadSignature) }
    })?;
    let payload = message.payload.ok_or(Error::Malformed("its payload is detached"))?;
    Ok(Verified { key_id, payload })
}

/// Reads the structure, strictly, without trusting anything in it.
fn parse(bytes: &[u8], max_len: usize) -> Result<CoseSign1, Error> {
    let value = cbor::decode(bytes, max_len)?;
    let Value::Tag(CoseSign1::TAG, inner) = value else {
        return Err(Error::Malformed("expected CBOR tag 18"));
    };
    let Some([Value::Bytes(protected), Value::Map(unprotected), Value::Bytes(_), Value::Bytes(_)]) =
        inner.as_array().map(Vec::as_slice)
    else {
        return Err(Error::Malformed("expected four parts with an attached payload"));
    };
    if let Some((label, _)) = unprotected.iter().find(|(l, _)| *l != Value::from(RECEIPTS)) {
        return Err(Error::Unprotected(label_name(label)));
    }
    if !cbor::decode(protected, protected.len())?.is_map() {
        return Err(Error::Malformed("the protected header is not a map"));
    }
    CoseSign1::from_cbor_value(*inner).map_err(|_| Error::Malformed("a header has a wrong type"))
}

/// A label for an error message: registered ones by number, others only as what they are.
fn label_name(label: &Value) -> String {
    cbor::int(label).map_or_else(|| "with a text label".to_owned(), |n| n.to_string())
}

/// `typ`, RFC 9596.
const TYP: i64 = 16;
/// `receipts`, of COSE receipts.
const RECEIPTS: i64 = 394;

#[cfg(test)]
mod tests {
    use coset::{CborSerializable as _, Header};

    use super::*;
    use crate::env::SeededEntropy;

    const PROFILE: Profile<'_> = Profile {
        typ: "application/test+cose",
        content_type: None,
        external_aad: b"aad",
        max_len: 1000,
    };

    fn key() -> SigningKey {
        SigningKey::generate(&SeededEntropy::new(9)).unwrap()
    }

    fn keys() -> KeySet {
        [key().verifying_key()].into_iter().collect()
    }

    /// A correctly signed message with headers of the test's choice.
    fn custom(protected: Header, unprotected: Header) -> Vec<u8> {
        CoseSign1Builder::new()
            .protected(protected)
            .unprotected(unprotected)
            .payload(b"hello".to_vec())
            .create_signature(PROFILE.external_aad, |m| key().sign(m).to_vec())
            .build()
            .to_tagged_vec()
            .unwrap()
    }

    fn good_header() -> HeaderBuilder {
        HeaderBuilder::new()
            .algorithm(iana::Algorithm::EdDSA)
            .key_id(key().id().0.to_vec())
            .value(TYP, Value::Text(PROFILE.typ.into()))
    }

    #[test]
    fn what_is_signed_verifies() {
        let bytes = sign(&key(), &PROFILE, b"hello".to_vec()).unwrap();
        assert_eq!(bytes, custom(good_header().build(), Header::default()));
        let verified = verify(&bytes, &PROFILE, &keys()).unwrap();
        assert_eq!(verified, Verified { key_id: key().id(), payload: b"hello".to_vec() });
        assert_eq!(cbor::encode(&cbor::decode(&bytes, 1000).unwrap()), bytes);
    }

    #[test]
    fn each_cause_has_its_error() {
        let bytes = sign(&key(), &PROFILE, b"hello".to_vec()).unwrap();
        let err =
            |bytes: &[u8], profile: Profile<'_>| verify(bytes, &profile, &keys()).unwrap_err();

        assert_eq!(
            verify(&bytes, &PROFILE, &KeySet::default()),
            Err(Error::UnknownKey(key().id()))
        );
        assert_eq!(err(&bytes, Profile { external_aad: b"", ..PROFILE }), Error::BadSignature);
        assert_eq!(
            err(&bytes, Profile { typ: "x/y", ..PROFILE }),
            Error::WrongType { expected: "x/y".into() }
        );
        assert_eq!(
            err(&bytes, Profile { content_type: Some("x/y"), ..PROFILE }),
            Error::WrongContentType
        );
        assert!(matches!(
            err(&bytes, Profile { max_len: bytes.len() - 1, ..PROFILE }),
            Error::Cbor(cbor::Error::TooLarge { .. })
        ));
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(err(&long, PROFILE), Error::Cbor(cbor::Error::TrailingBytes(1)));
        assert!(matches!(err(&bytes[1..], PROFILE), Error::Malformed(_)), "no tag");

        let none = Header::default;
        let header = good_header().algorithm(iana::Algorithm::ES256).build();
        assert_eq!(err(&custom(header, none()), PROFILE), Error::WrongAlgorithm);
        let header = good_header().add_critical(iana::HeaderParameter::ContentType).build();
        assert_eq!(err(&custom(header, none()), PROFILE), Error::UnknownCritical);
        let header = good_header().key_id(vec![1, 2]).build();
        assert_eq!(err(&custom(header, none()), PROFILE), Error::NoKeyId);
        let only_kid = HeaderBuilder::new().key_id(key().id().0.to_vec()).build();
        let alg = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build();
        assert_eq!(err(&custom(only_kid, alg.clone()), PROFILE), Error::Unprotected("1".into()));
        assert_eq!(
            err(&custom(good_header().build(), alg), PROFILE),
            Error::Unprotected("1".into())
        );
        assert!(
            verify(
                &custom(
                    good_header().build(),
                    HeaderBuilder::new().value(RECEIPTS, Value::Null).build()
                ),
                &PROFILE,
                &keys()
            )
            .is_ok()
        );
        assert!(Header::default().to_vec().is_ok());
    }

    #[test]
    fn too_large_is_found_when_signing() {
        assert!(sign(&key(), &PROFILE, vec![0; 1000]).is_err());
    }
}
