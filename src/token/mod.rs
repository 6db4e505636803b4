//! The conditioning token: what a generator receives when a person's consent allows a use.
//!
//! A CBOR Web Token (RFC 8392) in a `COSE_Sign1` signed with Ed25519. It says who may do what with
//! whose likeness until when, and carries the identity sealed to the one generator that it is for
//! (HPKE): raw embedding vectors per pose with their norms, keypoints and quality, and the voice
//! where the consent includes it. `docs/token.md` and `docs/token.cddl` describe the format;
//! `tests/vectors/token.json` holds examples.
//!
//! ```
//! # use cameo::{crypto::*, env::*, token};
//! # fn demo(key: &SigningKey, generator: &RecipientSecret, claims: &token::Claims,
//! #     payload: &token::Payload, keys: &KeySet, now: Millis, e: &dyn Entropy) -> Result<(), token::Error> {
//! let bytes = token::issue(key, claims, payload, &generator.public(), e)?;
//! // The generator:
//! let expect = token::Expectations::new("https://cameo.example", "gen_1", now);
//! let verified = token::verify(&bytes, keys, &expect)?;
//! let opened = verified.open(generator)?;
//! assert_eq!(&opened, payload);
//! # Ok(()) }
//! ```
//!
//! [`status`] says whether a token still holds, [`export`] writes what a generator's pipeline takes.

mod claims;
mod codec;
pub mod export;
mod identity;
mod payload;
pub mod safetensors;
pub mod status;

use std::time::Duration;

use zeroize::Zeroizing;

pub use claims::{Claims, TokenId};
pub use identity::{CROP_SIDE, FaceEmbedding, Identity, Model, VoiceEmbedding};
pub use payload::Payload;

use crate::crypto::cose::{self, Profile};
use crate::crypto::{KeyId, KeySet, RecipientKey, RecipientSecret, SigningKey, encrypt};
use crate::env::{Entropy, Millis};

/// The token's `typ` header.
pub const TYPE: &str = "application/cameo-conditioning+cwt";
/// The version of the claims set that this code writes and reads.
pub const VERSION: u64 = 2;
/// The largest token, in bytes.
pub const MAX_LEN: usize = 1 << 20;
/// The longest a token may live.
pub const MAX_LIFETIME: Duration = Duration::from_hours(24);
/// The clock difference that a verifier forgives unless told otherwise.
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);

/// Why a token was not issued or not accepted. No variant carries biometric data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The envelope or its signature is not acceptable.
    #[error(transparent)]
    Envelope(#[from] cose::Error),
    /// The claims set is not deterministic CBOR.
    #[error("claims: {0}")]
    Encoding(#[from] crate::crypto::cbor::Error),
    /// The claims set has another version.
    #[error("the token has version {0}; this verifier reads version {VERSION}")]
    UnknownVersion(u64),
    /// The payload is of a kind that this verifier can't read.
    #[error("the token's payload is of kind {0}, which this verifier does not read")]
    UnknownPayload(u64),
    /// The sealed payload does not open.
    #[error("the payload: {0}")]
    Sealed(#[from] encrypt::Error),
    /// The payload is not a container of tensors.
    #[error("the payload: {0}")]
    Container(#[from] safetensors::Malformed),
    /// A claim that must be there is not.
    #[error("the claim {0} is missing")]
    MissingClaim(&'static str),
    /// A claim has a wrong type or a value out of bounds.
    #[error("the claim {claim} is invalid: {why}")]
    InvalidClaim {
        /// The claim's name.
        claim: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another service issued the token.
    #[error("the token was issued by another issuer than expected")]
    WrongIssuer,
    /// The token is meant for another generator.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// Its time has not come.
    #[error("the token is not valid before {0} (seconds since 1970)")]
    NotYetValid(i64),
    /// Its time is over.
    #[error("the token expired at {0} (seconds since 1970)")]
    Expired(i64),
    /// It claims to be issued in the future.
    #[error("the token claims to be issued at {0} (seconds since 1970), which is in the future")]
    IssuedInFuture(i64),
}

impl Error {
    /// A stable name for the cause, the same in every implementation and in the test vectors.
    pub fn code(&self) -> &'static str {
        use crate::crypto::cbor;
        match self {
            Self::Envelope(cose::Error::Cbor(e)) | Self::Encoding(e) => match e {
                cbor::Error::TooLarge { .. } => "too_large",
                cbor::Error::Malformed => "malformed",
                cbor::Error::TrailingBytes(_) => "trailing_bytes",
                cbor::Error::NotDeterministic => "not_deterministic",
                cbor::Error::DuplicateKey => "duplicate_key",
            },
            Self::Envelope(e) => match e {
                cose::Error::Cbor(_) | cose::Error::Malformed(_) => "malformed",
                cose::Error::Unprotected(_) => "unprotected_header",
                cose::Error::UnknownCritical => "unknown_critical",
                cose::Error::WrongAlgorithm => "wrong_algorithm",
                cose::Error::WrongType { .. } => "wrong_type",
                cose::Error::WrongContentType => "wrong_content_type",
                cose::Error::NoKeyId => "no_key_id",
                cose::Error::UnknownKey(_) => "unknown_key",
                cose::Error::BadSignature => "bad_signature",
            },
            Self::Sealed(e) => match e {
                encrypt::Error::OtherKey(_) => "sealed_to_other_key",
                encrypt::Error::Key(_) => "does_not_open",
                encrypt::Error::WrongAlgorithm => "wrong_sealing_algorithm",
                encrypt::Error::Cbor(_) | encrypt::Error::Malformed(_) => "malformed_sealing",
            },
            Self::Container(_) => "malformed_container",
            Self::UnknownVersion(_) => "unknown_version",
            Self::UnknownPayload(_) => "unknown_payload",
            Self::MissingClaim(_) => "missing_claim",
            Self::InvalidClaim { .. } => "invalid_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::NotYetValid(_) => "not_yet_valid",
            Self::Expired(_) => "expired",
            Self::IssuedInFuture(_) => "issued_in_future",
        }
    }
}

/// What a verifier knows beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Expectations<'a> {
    /// The issuer it trusts: `iss`.
    pub issuer: &'a str,
    /// Its own name at that issuer: `aud`.
    pub audience: &'a str,
    /// The time.
    pub now: Millis,
    /// How far the two clocks may differ.
    pub leeway: Duration,
}

impl<'a> Expectations<'a> {
    /// These, with [`DEFAULT_LEEWAY`].
    pub fn new(issuer: &'a str, audience: &'a str, now: Millis) -> Self {
        Self { issuer, audience, now, leeway: DEFAULT_LEEWAY }
    }
}

/// A token that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The key that signed it.
    pub key_id: KeyId,
    /// What it says.
    pub claims: Claims,
    /// The payload: a `COSE_Encrypt0` to a key of the audience.
    pub sealed: Vec<u8>,
}

impl Verified {
    /// The key that the payload is sealed to.
    ///
    /// # Errors
    /// [`Error::Sealed`] where it is not a `COSE_Encrypt0` of HPKE.
    pub fn recipient(&self) -> Result<KeyId, Error> {
        Ok(encrypt::recipient(&self.sealed, MAX_LEN)?)
    }

    /// Opens the payload with the generator's own key.
    ///
    /// # Errors
    /// [`Error::Sealed`] for another key; otherwise what is wrong with the payload.
    pub fn open(&self, secret: &RecipientSecret) -> Result<Payload, Error> {
        Payload::decode(&self.open_raw(secret)?, &self.claims)
    }

    /// The same as the safetensors file that it is.
    ///
    /// # Errors
    /// [`Error::Sealed`] for another key.
    pub fn open_raw(&self, secret: &RecipientSecret) -> Result<Zeroizing<Vec<u8>>, Error> {
        Ok(encrypt::open(secret, &self.claims.binding(), &self.sealed, MAX_LEN)?)
    }
}

/// Makes a token: `payload` sealed to `recipient`, and signed with the claims.
///
/// # Errors
/// [`Error::InvalidClaim`] for what [`verify`] or [`Verified::open`] would refuse;
/// [`Error::Envelope`] for a token above [`MAX_LEN`].
pub fn issue(
    key: &SigningKey,
    claims: &Claims,
    payload: &Payload,
    recipient: &RecipientKey,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, Error> {
    sign(key, claims, &seal(claims, payload, recipient, entropy)?)
}

/// Seals the payload of the token that will say `claims`.
///
/// # Errors
/// As [`issue`].
pub fn seal(
    claims: &Claims,
    payload: &Payload,
    recipient: &RecipientKey,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, Error> {
    claims.validate()?;
    let plain = payload.encode(claims)?;
    Ok(encrypt::seal(recipient, &claims.binding(), &plain, entropy)?)
}

/// Signs `claims` and a payload that [`seal`] made for them.
///
/// # Errors
/// As [`issue`].
pub fn sign(key: &SigningKey, claims: &Claims, sealed: &[u8]) -> Result<Vec<u8>, Error> {
    claims.validate()?;
    Ok(cose::sign(key, &PROFILE, codec::encode(claims, sealed))?)
}

/// Checks a token's signature, its form and its claims.
///
/// # Errors
/// One variant of [`Error`] for each cause. The signature is checked first, so every other answer
/// is about what the issuer really said.
pub fn verify(bytes: &[u8], keys: &KeySet, expect: &Expectations<'_>) -> Result<Verified, Error> {
    let message = cose::verify(bytes, &PROFILE, keys)?;
    let (claims, sealed) = codec::decode(&message.payload)?;
    claims.validate()?;
    if claims.issuer != expect.issuer {
        return Err(Error::WrongIssuer);
    }
    if claims.audience != expect.audience {
        return Err(Error::WrongAudience);
    }
    let earliest = expect.now.minus(expect.leeway).seconds();
    let latest = expect.now.plus(expect.leeway).seconds();
    if claims.issued_at > latest {
        return Err(Error::IssuedInFuture(claims.issued_at));
    }
    if claims.not_before > latest {
        return Err(Error::NotYetValid(claims.not_before));
    }
    if claims.expires_at <= earliest {
        return Err(Error::Expired(claims.expires_at));
    }
    Ok(Verified { key_id: message.key_id, claims, sealed })
}

const PROFILE: Profile<'_> =
    Profile { typ: TYPE, content_type: None, external_aad: b"", max_len: MAX_LEN };
