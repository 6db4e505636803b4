//! API key secrets: made once, shown once, stored as a digest.
//!
//! The text form is `cameo_<role>_<64 hex digits of secret><8 hex digits of checksum>`. The prefix
//! lets secret scanners find a leaked key, the checksum lets a client (and the service, before it
//! asks the database) tell a mistyped key from an unknown one. The secret has 256 random bits, so
//! a plain SHA-256 is enough to store it: there is nothing to guess, and so nothing to slow down.

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::hash::{Digest, sha256_parts};
use crate::env::{self, Entropy};

/// Why a text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not of the form of an API key.
    #[error("not an API key: expected cameo_<role>_<72 hex digits>")]
    Malformed,
    /// Of the right form, but mistyped or cut.
    #[error("the API key's checksum is wrong: it was mistyped or damaged")]
    Checksum,
    /// A role name that can't be part of a key.
    #[error("a role is 1 to 16 lower-case letters")]
    BadRole,
}

/// An API key with its secret.
pub struct ApiKey {
    text: Zeroizing<String>,
    role_len: usize,
}

impl ApiKey {
    /// A fresh key for `role` (1 to 16 lower-case ASCII letters).
    ///
    /// # Errors
    /// [`Error::BadRole`].
    pub fn generate(role: &str, entropy: &dyn Entropy) -> Result<Self, Error> {
        if !is_role(role) {
            return Err(Error::BadRole);
        }
        let secret = Zeroizing::new(env::random::<32>(entropy));
        let body = Zeroizing::new(format!("{PREFIX}{role}_{}", hex::encode(secret.as_slice())));
        let text = Zeroizing::new(format!("{}{}", *body, checksum(&body)));
        Ok(Self { text, role_len: role.len() })
    }

    /// Reads a key, as a client sends it.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Checksum`]; neither quotes the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (role, digits) = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .ok_or(Error::Malformed)?;
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if !is_role(role) || digits.len() != 72 || !digits.bytes().all(lower_hex) {
            return Err(Error::Malformed);
        }
        let (body, sum) = text.split_at(text.len() - 8);
        if checksum(body) != sum {
            return Err(Error::Checksum);
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), role_len: role.len() })
    }

    /// The whole key, to be shown to its owner once.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The role that the key says it has. What counts is the role stored with its digest.
    pub fn role(&self) -> &str {
        &self.text[PREFIX.len()..PREFIX.len() + self.role_len]
    }

    /// What is stored and looked up: SHA-256 over a label and the whole text.
    pub fn digest(&self) -> Digest {
        sha256_parts(&[b"cameo.api-key.v1\0", self.text.as_bytes()])
    }

    /// A public name for lists and logs, 16 hex digits: the start of the digest's digest, so that
    /// it gives nothing of the stored value away.
    pub fn public_id(&self) -> String {
        public_id(&self.digest())
    }

    /// Whether this is the key of a stored digest, in constant time.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.digest().as_slice().ct_eq(stored).into()
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({}, redacted)", self.role())
    }
}

/// The public name of the key with this stored digest; see [`ApiKey::public_id`].
pub fn public_id(digest: &Digest) -> String {
    hex::encode(&sha256_parts(&[b"cameo.api-key-id.v1\0", digest])[..8])
}

const PREFIX: &str = "cameo_";

fn is_role(role: &str) -> bool {
    (1..=16).contains(&role.len()) && role.bytes().all(|b| b.is_ascii_lowercase())
}

fn checksum(body: &str) -> String {
    hex::encode(&sha256_parts(&[b"cameo.api-key-checksum.v1\0", body.as_bytes()])[..4])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::SeededEntropy;

    #[test]
    fn made_read_and_matched() {
        let e = SeededEntropy::new(1);
        let key = ApiKey::generate("generator", &e).unwrap();
        let again = ApiKey::parse(key.expose()).unwrap();
        assert_eq!(again.role(), "generator");
        assert!(again.matches(&key.digest()));
        assert_eq!(again.public_id(), public_id(&key.digest()));
        assert!(!ApiKey::generate("generator", &e).unwrap().matches(&key.digest()));
        assert!(!key.matches(&key.digest()[..31]));
        assert_eq!(format!("{key:?}"), "ApiKey(generator, redacted)");
        assert_eq!(ApiKey::generate("App", &e).unwrap_err(), Error::BadRole);
        assert_eq!(ApiKey::generate("", &e).unwrap_err(), Error::BadRole);
    }

    proptest! {
        #[test]
        fn any_other_text_is_refused(at in 0usize..82, c in "[0-9a-z_é]", junk in "\\PC{0,90}") {
            let key = ApiKey::generate("app", &SeededEntropy::new(2)).unwrap();
            let mut text: Vec<char> = key.expose().chars().collect();
            text[at] = c.chars().next().unwrap();
            let text: String = text.into_iter().collect();
            prop_assert_eq!(ApiKey::parse(&text).is_ok(), text == key.expose());
            prop_assert!(ApiKey::parse(&junk).is_err());
        }
    }
}
