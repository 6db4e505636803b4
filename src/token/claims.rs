//! What a conditioning token says in the open, and the bounds of it.

use super::status::StatusRef;
use super::{Error, MAX_LIFETIME};
use crate::crypto::cbor::{self, Value};
use crate::env::{self, Entropy};

/// `cti`: 128 random bits that name one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId(pub [u8; 16]);

impl TokenId {
    /// A fresh one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(env::random(entropy))
    }
}

impl std::fmt::Display for TokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The claims set. Times are whole seconds since 1970 (RFC 8392's `NumericDate`); texts are 1 to
/// 256 bytes without control characters.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// `iss`: the service's public URL.
    pub issuer: String,
    /// `sub`: the person's cameo, under a name that this one generator alone knows it by.
    pub subject: String,
    /// `aud`: the one generator that may use the token.
    pub audience: String,
    /// `iat`.
    pub issued_at: i64,
    /// `nbf`: not before `issued_at`.
    pub not_before: i64,
    /// `exp`: after `not_before`, at most [`MAX_LIFETIME`] after `issued_at`.
    pub expires_at: i64,
    /// `cti`.
    pub token_id: TokenId,
    /// Where the token's status stands.
    pub status: StatusRef,
    /// The version of the consent that allowed the use.
    pub consent_version: u64,
    /// What of that consent allowed it.
    pub grant: String,
    /// The record of this use: what outcomes are reported against.
    pub use_id: String,
    /// What the use is for.
    pub purpose: String,
    /// Who asked for the use, as the app refers to them.
    pub requester: String,
    /// What the generator has to heed, in words: at most 32 of at most 500 bytes.
    pub restrictions: Vec<String>,
    /// SHA-256 of the generator's own request (a prompt, say), where it bound the token to one.
    pub request_digest: Option<[u8; 32]>,
    /// The use whose video this one is derived from.
    pub parent: Option<String>,
}

impl Claims {
    /// Checks every bound that the type can't express; done when issuing and when verifying.
    ///
    /// # Errors
    /// [`Error::InvalidClaim`].
    pub fn validate(&self) -> Result<(), Error> {
        for (claim, text) in [
            ("iss", &self.issuer),
            ("sub", &self.subject),
            ("aud", &self.audience),
            ("status", &self.status.uri),
            ("grant", &self.grant),
            ("use_id", &self.use_id),
            ("purpose", &self.purpose),
            ("requester", &self.requester),
        ] {
            check_text(claim, text, MAX_TEXT)?;
        }
        if let Some(parent) = &self.parent {
            check_text("parent", parent, MAX_TEXT)?;
        }
        if self.not_before < self.issued_at {
            return Err(invalid("nbf", "it is before iat"));
        }
        if self.expires_at <= self.not_before {
            return Err(invalid("exp", "it is not after nbf"));
        }
        let lifetime = self.expires_at.saturating_sub(self.issued_at).unsigned_abs();
        if lifetime > MAX_LIFETIME.as_secs() {
            return Err(invalid("exp", "it is more than a day after iat"));
        }
        check_restrictions(&self.restrictions)
    }

    /// What a payload is sealed for: the external associated data of its `COSE_Encrypt0`. A payload
    /// that is lifted into another token does not open there.
    pub fn binding(&self) -> Vec<u8> {
        let text = |t: &str| Value::Text(t.to_owned());
        cbor::encode(&Value::Array(vec![
            text("cameo-payload-v2"),
            text(&self.issuer),
            text(&self.subject),
            text(&self.audience),
            text(&self.grant),
            text(&self.use_id),
            Value::Bytes(self.token_id.0.to_vec()),
        ]))
    }
}

pub(super) const MAX_TEXT: usize = 256;
const MAX_RESTRICTIONS: usize = 32;
const MAX_RESTRICTION: usize = 500;

pub(super) fn invalid(claim: &'static str, why: &'static str) -> Error {
    Error::InvalidClaim { claim, why }
}

pub(super) fn check_restrictions(restrictions: &[String]) -> Result<(), Error> {
    if restrictions.len() > MAX_RESTRICTIONS {
        return Err(invalid("restrictions", "there are more than 32"));
    }
    restrictions.iter().try_for_each(|text| check_text("restrictions", text, MAX_RESTRICTION))
}

pub(super) fn check_text(claim: &'static str, text: &str, max: usize) -> Result<(), Error> {
    if text.is_empty() {
        return Err(invalid(claim, "it is empty"));
    }
    if text.len() > max {
        return Err(invalid(claim, "it is too long"));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(claim, "it has control characters"));
    }
    Ok(())
}
