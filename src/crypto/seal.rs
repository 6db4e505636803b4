//! The sealed envelope: AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce.
//!
//! ```text
//! byte 0      format: 0x01 = AES-256-GCM, random nonce
//! bytes 1-12  nonce
//! the rest    ciphertext, then the 16-byte tag
//! ```
//!
//! The format byte is authenticated together with the caller's [`Aad`]. Random nonces limit one
//! key to 2^32 seals (SP 800-38D §8.3): data keys are per subject, and the master key only wraps
//! keys, so both stay far below.

use ring::aead::{AES_256_GCM, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::Error;
use crate::env::{self, Entropy};

/// Largest plaintext of one envelope, in bytes.
pub const MAX_PLAINTEXT: usize = 64 << 20;
/// How much longer an envelope is than its plaintext, in bytes.
pub const OVERHEAD: usize = 1 + NONCE_LEN + TAG_LEN;

const FORMAT: u8 = 1;
const TAG_LEN: usize = 16;

/// Associated data: what the envelope is about, in an injective encoding (a label, then
/// length-prefixed fields), so that a value sealed for one place does not open in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aad(Vec<u8>);

impl Aad {
    /// Associated data of the use named `label`, for instance `"subject-key"`.
    pub fn new(label: &'static str) -> Self {
        Self(b"cameo.v1".to_vec()).text(label)
    }

    /// Adds a text field.
    #[must_use]
    pub fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, field: u64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// Adds a byte field.
    #[must_use]
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }
}

/// Seals `plaintext` under `key`, bound to `aad`.
///
/// # Errors
/// [`Error::TooLarge`] above [`MAX_PLAINTEXT`].
pub fn seal(
    key: &[u8; 32],
    aad: &Aad,
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, Error> {
    let too_large = Error::TooLarge { len: plaintext.len(), max: MAX_PLAINTEXT };
    if plaintext.len() > MAX_PLAINTEXT {
        return Err(too_large);
    }
    let nonce: [u8; NONCE_LEN] = env::random(entropy);
    let mut out = Vec::with_capacity(plaintext.len() + OVERHEAD);
    out.push(FORMAT);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plaintext);
    let tag = aead_key(key)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            full_aad(aad),
            &mut out[1 + NONCE_LEN..],
        )
        .map_err(|_| too_large)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Opens an envelope made by [`seal`].
///
/// # Errors
/// [`Error::NotAuthentic`] for another key, other `aad` or altered bytes; [`Error::Truncated`],
/// [`Error::UnknownFormat`] and [`Error::TooLarge`] for what can't be an envelope of this format.
pub fn open(key: &[u8; 32], aad: &Aad, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (&format, rest) = sealed.split_first().ok_or(Error::Truncated)?;
    if format != FORMAT {
        return Err(Error::UnknownFormat(format));
    }
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Error::Truncated)?;
    if body.len() < TAG_LEN {
        return Err(Error::Truncated);
    }
    if body.len() > MAX_PLAINTEXT + TAG_LEN {
        return Err(Error::TooLarge { len: body.len(), max: MAX_PLAINTEXT + TAG_LEN });
    }
    let mut plain = Zeroizing::new(body.to_vec());
    let len = aead_key(key)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), full_aad(aad), &mut plain)
        .map_err(|_| Error::NotAuthentic)?
        .len();
    plain.truncate(len);
    Ok(plain)
}

fn aead_key(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| Error::BadKey { what: "sealing key", why: "AES-256 needs 32 bytes" })
}

fn full_aad(aad: &Aad) -> ring::aead::Aad<Vec<u8>> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&aad.0);
    ring::aead::Aad::from(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::SeededEntropy;

    const KEY: [u8; 32] = [7; 32];

    fn aad() -> Aad {
        Aad::new("test").text("subject").number(3)
    }

    #[test]
    fn opens_only_with_its_key_and_its_aad() {
        let e = SeededEntropy::new(1);
        let sealed = seal(&KEY, &aad(), b"template", &e).unwrap();
        assert_eq!(sealed.len(), b"template".len() + OVERHEAD);
        assert_eq!(open(&KEY, &aad(), &sealed).unwrap().as_slice(), b"template");
        assert_eq!(open(&[8; 32], &aad(), &sealed), Err(Error::NotAuthentic));
        let other = Aad::new("test").text("subject").number(4);
        assert_eq!(open(&KEY, &other, &sealed), Err(Error::NotAuthentic));
        assert_ne!(sealed, seal(&KEY, &aad(), b"template", &e).unwrap(), "nonces are fresh");
    }

    #[test]
    fn aad_fields_do_not_run_into_each_other() {
        assert_ne!(Aad::new("t").text("ab").text("c"), Aad::new("t").text("a").text("bc"));
        assert_ne!(Aad::new("t").text(""), Aad::new("t"));
    }

    proptest! {
        #[test]
        fn altered_or_random_envelopes_never_open(
            plain in proptest::collection::vec(any::<u8>(), 0..64),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
            junk in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut sealed = seal(&KEY, &aad(), &plain, &SeededEntropy::new(2)).unwrap();
            for cut in 0..sealed.len() {
                prop_assert!(open(&KEY, &aad(), &sealed[..cut]).is_err());
            }
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(open(&KEY, &aad(), &sealed).is_err());
            prop_assert!(open(&KEY, &aad(), &junk).is_err());
        }
    }
}
