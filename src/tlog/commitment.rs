//! Salted commitments: an entry proves what was meant without saying it.
//!
//! `SHA-256("cameo.log.commitment.v1" ‖ 0x00 ‖ length of label, 1 byte ‖ label ‖ salt, 32 bytes ‖
//! body)`. The salt has 256 random bits and is kept with the subject's sealed data: who has it can
//! show what an entry is about; once it is destroyed nobody can, and the log still verifies. A
//! salt serves one entry, so that equal bodies in two entries can't be linked.

use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Hash;
use crate::crypto::hash::sha256_parts;
use crate::env::{self, Entropy};

/// What makes a commitment unguessable.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Salt([u8; 32]);

impl Salt {
    /// A fresh salt.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(env::random(entropy))
    }

    /// The salt of these bytes, which were random or derived from a secret key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sealed with the subject's data.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(redacted)")
    }
}

/// The commitment to `body` as the `label` of an entry (see [`super::entry::is_label`]).
pub fn commit(label: &str, salt: &Salt, body: &[u8]) -> Hash {
    // Labels that an entry accepts are far shorter than 256 bytes.
    let length = [label.len() as u8];
    Hash(sha256_parts(&[DOMAIN, &length, label.as_bytes(), &salt.0, body]))
}

/// Whether `commitment` is the one to `body` with this label and salt.
pub fn opens(commitment: &Hash, label: &str, salt: &Salt, body: &[u8]) -> bool {
    commit(label, salt, body).0.ct_eq(&commitment.0).into()
}

const DOMAIN: &[u8] = b"cameo.log.commitment.v1\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededEntropy;

    #[test]
    fn opens_only_with_label_salt_and_body() {
        let e = SeededEntropy::new(1);
        let (salt, other) = (Salt::generate(&e), Salt::generate(&e));
        let c = commit("subject", &salt, b"sub_1");
        assert!(opens(&c, "subject", &salt, b"sub_1"));
        assert!(!opens(&c, "subject", &other, b"sub_1"));
        assert!(!opens(&c, "record", &salt, b"sub_1"));
        assert!(!opens(&c, "subject", &salt, b"sub_2"));
        assert_eq!(format!("{salt:?}"), "Salt(redacted)");
    }
}
