//! The key hierarchy: a master key wraps one data key per subject, a data key seals that
//! subject's biometrics. Destroying the wrapped data key destroys the subject's data for good.
//!
//! [`KeyWrap`] is what the service needs of its key store, few enough operations for a key-management
//! service or a PKCS#11 token (wrap, unwrap, HMAC); [`MasterKeys`] is the implementation with keys in
//! memory, read from a file or the environment.
//!
//! A wrapped key is `0x01 ‖ 8-byte id of the wrapping key ‖ sealed envelope` (see
//! [`seal`]), so that after a rotation it is known which key opens it.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::hash::{hkdf_sha256, sha256_parts};
use super::seal::{self, Aad};
use super::{Error, hash};
use crate::env::{self, Entropy};

/// Names a master key without revealing it: the first eight bytes of a labelled SHA-256 over it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KekId([u8; 8]);

impl std::fmt::Display for KekId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for KekId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KekId({self})")
    }
}

/// Something that wraps 256-bit keys: the key-encryption key of this deployment.
pub trait KeyWrap: Send + Sync + std::fmt::Debug {
    /// The key that wraps now.
    fn id(&self) -> KekId;

    /// The earlier ones that still unwrap.
    fn previous(&self) -> Vec<KekId>;

    /// All of them, the one that wraps now first.
    fn ids(&self) -> Vec<KekId> {
        std::iter::once(self.id()).chain(self.previous()).collect()
    }

    /// A key for another use, derived from the master key `id`: knowing it reveals nothing about the
    /// master key or about keys of other labels.
    ///
    /// # Errors
    /// [`Error::UnknownMasterKey`].
    fn derive(&self, id: KekId, label: &'static str) -> Result<Zeroizing<[u8; 32]>, Error>;

    /// Wraps `key`, bound to `aad`.
    fn wrap(&self, key: &[u8; 32], aad: &Aad, entropy: &dyn Entropy) -> Result<Vec<u8>, Error>;

    /// Unwraps what [`wrap`](Self::wrap) made with the same `aad`.
    fn unwrap(&self, wrapped: &[u8], aad: &Aad) -> Result<Zeroizing<[u8; 32]>, Error>;

    /// The same key wrapped by the current wrapping key, or `None` where it already is.
    fn rewrap(
        &self,
        wrapped: &[u8],
        aad: &Aad,
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, Error> {
        if wrapped_by(wrapped)? == self.id() {
            return Ok(None);
        }
        self.wrap(&*self.unwrap(wrapped, aad)?, aad, entropy).map(Some)
    }
}

/// Which key wrapped `wrapped`.
///
/// # Errors
/// [`Error::Truncated`], [`Error::UnknownFormat`].
pub fn wrapped_by(wrapped: &[u8]) -> Result<KekId, Error> {
    Ok(split_wrapped(wrapped)?.0)
}

/// The 256-bit master key.
#[derive(Clone)]
pub struct MasterKey {
    id: KekId,
    secret: Zeroizing<[u8; 32]>,
}

impl MasterKey {
    /// A fresh key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self::of(env::random(entropy))
    }

    /// The key made of these 32 bytes.
    ///
    /// # Errors
    /// [`Error::BadKey`] where all bytes are the same: that is a placeholder, not a key.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, Error> {
        if bytes.iter().all(|b| *b == bytes[0]) {
            return Err(bad("all its bytes are the same; generate 32 random bytes"));
        }
        Ok(Self::of(bytes))
    }

    /// Reads 32 bytes written as 64 hex digits or as base64 (either alphabet, with or without
    /// padding). White space around the text is ignored.
    ///
    /// # Errors
    /// [`Error::BadKey`]; the message never quotes the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let mut bytes = Zeroizing::new([0; 32]);
        if text.len() == 64 && hex::decode_to_slice(text, bytes.as_mut_slice()).is_ok() {
            return Self::from_bytes(*bytes);
        }
        if text.len() > 64 {
            return Err(bad("expected 32 bytes as 64 hex digits or as base64; this is longer"));
        }
        let lenient =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        for alphabet in [&STANDARD, &URL_SAFE] {
            if let Ok(decoded) = GeneralPurpose::new(alphabet, lenient).decode(text) {
                let decoded = Zeroizing::new(decoded);
                if let Ok(decoded) = <[u8; 32]>::try_from(decoded.as_slice()) {
                    return Self::from_bytes(decoded);
                }
            }
        }
        Err(bad("expected 32 bytes as 64 hex digits or as base64"))
    }

    /// The key as 64 hex digits, to be written to a key file.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.secret.as_slice()))
    }

    /// The key's public name.
    pub fn id(&self) -> KekId {
        self.id
    }

    /// A key for another use, derived with HKDF: knowing it reveals nothing about the master key
    /// or about keys of other uses.
    pub fn derive(&self, label: &'static str) -> Zeroizing<[u8; 32]> {
        hkdf_sha256(self.secret.as_slice(), b"cameo.master-key.v1", label.as_bytes())
    }

    fn of(bytes: [u8; 32]) -> Self {
        let secret = Zeroizing::new(bytes);
        let mut id = [0; 8];
        id.copy_from_slice(&sha256_parts(&[b"cameo.master-key-id.v1", secret.as_slice()])[..8]);
        Self { id: KekId(id), secret }
    }

    fn wrapping_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive("key-wrap")
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({}, redacted)", self.id)
    }
}

/// The current master key and earlier ones that may still have wrapped something.
#[derive(Debug, Clone)]
pub struct MasterKeys {
    current: MasterKey,
    previous: Vec<MasterKey>,
}

impl MasterKeys {
    /// Wraps under `current`; unwraps under it and under `previous`.
    pub fn new(current: MasterKey, previous: Vec<MasterKey>) -> Self {
        Self { current, previous }
    }

    fn of(&self, id: KekId) -> Result<&MasterKey, Error> {
        let mut all = std::iter::once(&self.current).chain(&self.previous);
        all.find(|k| k.id == id).ok_or(Error::UnknownMasterKey(id))
    }
}

impl From<MasterKey> for MasterKeys {
    fn from(current: MasterKey) -> Self {
        Self::new(current, Vec::new())
    }
}

impl KeyWrap for MasterKeys {
    fn id(&self) -> KekId {
        self.current.id
    }

    fn previous(&self) -> Vec<KekId> {
        self.previous.iter().map(MasterKey::id).collect()
    }

    fn derive(&self, id: KekId, label: &'static str) -> Result<Zeroizing<[u8; 32]>, Error> {
        Ok(self.of(id)?.derive(label))
    }

    fn wrap(&self, key: &[u8; 32], aad: &Aad, entropy: &dyn Entropy) -> Result<Vec<u8>, Error> {
        let sealed = seal::seal(&self.current.wrapping_key(), aad, key, entropy)?;
        let mut out = vec![WRAP_FORMAT];
        out.extend_from_slice(&self.current.id.0);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    fn unwrap(&self, wrapped: &[u8], aad: &Aad) -> Result<Zeroizing<[u8; 32]>, Error> {
        let (id, sealed) = split_wrapped(wrapped)?;
        let plain = seal::open(&self.of(id)?.wrapping_key(), aad, sealed)?;
        <[u8; 32]>::try_from(plain.as_slice()).map(Zeroizing::new).map_err(|_| Error::Truncated)
    }
}

/// Whose data key it is, and which of theirs: a re-enrolment has the next version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The subject's stable internal reference.
    pub subject: &'a str,
    /// The enrolment's version.
    pub version: u32,
}

impl Owner<'_> {
    fn aad(&self, label: &'static str) -> Aad {
        Aad::new(label).text(self.subject).number(self.version.into())
    }
}

/// The key that seals one subject's data.
#[derive(Clone)]
pub struct SubjectKey(Zeroizing<[u8; 32]>);

impl SubjectKey {
    /// A fresh key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new(env::random(entropy)))
    }

    /// Wraps the key for storage, bound to its owner.
    ///
    /// # Errors
    /// Those of the wrapping key.
    pub fn wrap(
        &self,
        kek: &dyn KeyWrap,
        owner: Owner<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        kek.wrap(&self.0, &owner.aad("subject-key"), entropy)
    }

    /// Unwraps the key of `owner`.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] where it was wrapped for another owner or version;
    /// [`Error::UnknownMasterKey`].
    pub fn unwrap(kek: &dyn KeyWrap, wrapped: &[u8], owner: Owner<'_>) -> Result<Self, Error> {
        kek.unwrap(wrapped, &owner.aad("subject-key")).map(Self)
    }

    /// Wraps the key of `owner` under the current master key, or `None` where it already is.
    ///
    /// # Errors
    /// As [`unwrap`](Self::unwrap).
    pub fn rewrap(
        kek: &dyn KeyWrap,
        wrapped: &[u8],
        owner: Owner<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, Error> {
        kek.rewrap(wrapped, &owner.aad("subject-key"), entropy)
    }

    /// Seals `plaintext`, the owner's `what` (for instance `"template"`).
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn seal(
        &self,
        what: &'static str,
        owner: Owner<'_>,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        seal::seal(&self.0, &owner.aad(what), plaintext, entropy)
    }

    /// Opens what [`seal`](Self::seal) made for the same `what` and `owner`.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`], [`Error::Truncated`], [`Error::UnknownFormat`].
    pub fn open(
        &self,
        what: &'static str,
        owner: Owner<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        seal::open(&self.0, &owner.aad(what), sealed)
    }

    /// A 32-byte secret derived from this key, for instance the salt of the subject's log
    /// commitments: it goes when the key goes.
    pub fn derive(&self, label: &'static str, context: &[u8]) -> Zeroizing<[u8; 32]> {
        let prk = hkdf_sha256(self.0.as_slice(), b"cameo.subject-key.v1", label.as_bytes());
        Zeroizing::new(hash::hmac_sha256(prk.as_slice(), context))
    }
}

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKey(redacted)")
    }
}

const WRAP_FORMAT: u8 = 1;

fn split_wrapped(wrapped: &[u8]) -> Result<(KekId, &[u8]), Error> {
    let (&format, rest) = wrapped.split_first().ok_or(Error::Truncated)?;
    if format != WRAP_FORMAT {
        return Err(Error::UnknownFormat(format));
    }
    let (id, sealed) = rest.split_first_chunk::<8>().ok_or(Error::Truncated)?;
    Ok((KekId(*id), sealed))
}

fn bad(why: &'static str) -> Error {
    Error::BadKey { what: "the master key", why }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

    use super::*;
    use crate::env::SeededEntropy;

    const OWNER: Owner<'_> = Owner { subject: "sub_1", version: 1 };

    #[test]
    fn every_spelling_gives_the_same_key_and_nothing_prints_it() {
        let bytes: [u8; 32] = env::random(&SeededEntropy::new(5));
        let key = MasterKey::from_bytes(bytes).unwrap();
        for text in [
            hex::encode(bytes),
            hex::encode_upper(bytes),
            format!("  {}\n", BASE64_STANDARD.encode(bytes)),
            BASE64_URL_SAFE_NO_PAD.encode(bytes),
            key.to_hex().to_string(),
        ] {
            assert_eq!(MasterKey::parse(&text).unwrap().id(), key.id());
        }
        assert!(!format!("{key:?}").contains(&hex::encode(&bytes[..4])));
        for text in ["", "secret", &"0".repeat(64), &"ab".repeat(31), &"ab".repeat(400)] {
            assert!(matches!(MasterKey::parse(text), Err(Error::BadKey { .. })), "{text}");
        }
    }

    #[test]
    fn a_subject_key_opens_only_for_its_owner() {
        let e = SeededEntropy::new(1);
        let kek = MasterKeys::from(MasterKey::generate(&e));
        let key = SubjectKey::generate(&e);
        let wrapped = key.wrap(&kek, OWNER, &e).unwrap();
        let sealed = key.seal("template", OWNER, b"vector", &e).unwrap();

        let again = SubjectKey::unwrap(&kek, &wrapped, OWNER).unwrap();
        assert_eq!(again.open("template", OWNER, &sealed).unwrap().as_slice(), b"vector");
        assert_eq!(again.open("voice", OWNER, &sealed), Err(Error::NotAuthentic));
        for other in [Owner { version: 2, ..OWNER }, Owner { subject: "sub_2", ..OWNER }] {
            assert!(SubjectKey::unwrap(&kek, &wrapped, other).is_err());
            assert_eq!(again.open("template", other, &sealed), Err(Error::NotAuthentic));
        }
        assert_ne!(*key.derive("salt", b"1"), *key.derive("salt", b"2"));
        assert_eq!(format!("{key:?}"), "SubjectKey(redacted)");
    }

    #[test]
    fn rewrapping_moves_to_the_new_master_key_and_then_rests() {
        let e = SeededEntropy::new(2);
        let (old, new) = (MasterKey::generate(&e), MasterKey::generate(&e));
        let before = MasterKeys::from(old.clone());
        let during = MasterKeys::new(new.clone(), vec![old]);
        let after = MasterKeys::from(new);
        let key = SubjectKey::generate(&e);
        let sealed = key.seal("template", OWNER, b"x", &e).unwrap();
        let wrapped = key.wrap(&before, OWNER, &e).unwrap();
        assert!(matches!(
            SubjectKey::unwrap(&after, &wrapped, OWNER),
            Err(Error::UnknownMasterKey(id)) if id == before.id()
        ));
        let moved = SubjectKey::rewrap(&during, &wrapped, OWNER, &e).unwrap().unwrap();
        assert_eq!(wrapped_by(&moved).unwrap(), after.id());
        assert_eq!(SubjectKey::rewrap(&during, &moved, OWNER, &e).unwrap(), None);
        let key = SubjectKey::unwrap(&after, &moved, OWNER).unwrap();
        assert_eq!(key.open("template", OWNER, &sealed).unwrap().as_slice(), b"x");

        // What was derived from the old one is still at hand as long as the old one is.
        assert_eq!(during.previous(), [before.id()]);
        let old = before.derive(before.id(), "answers").unwrap();
        assert_eq!(during.derive(before.id(), "answers").unwrap(), old);
        assert_eq!(after.derive(before.id(), "answers"), Err(Error::UnknownMasterKey(before.id())));
    }

    #[test]
    fn derived_keys_differ_by_label() {
        let k = MasterKey::generate(&SeededEntropy::new(3));
        assert_ne!(*k.derive("a"), *k.derive("b"));
        assert_ne!(*k.derive("key-wrap"), *k.secret);
    }
}
