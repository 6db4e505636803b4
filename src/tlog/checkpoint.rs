//! Signed tree heads: C2SP tlog-checkpoint in a C2SP signed-note, with Ed25519.
//!
//! ```text
//! cameo.example/log
//! 4027
//! mVB3hjNTnhYdnlRaf9S8Hdx/t5NBHN7p1B6mDnsQsbM=
//!
//! — cameo.example/log Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGz…
//! ```
//!
//! The key's name is the log's origin, as the specification recommends. Signatures by other keys,
//! for instance witnesses' cosignatures, are kept but not needed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use signed_note::{Note, NoteError, Signature, VerificationError, Verifier, Verifiers};
use tlog_tiles::Checkpoint as Text;
use tlog_tiles::tlog::Hash as TextHash;

use super::merkle::{Hash, TreeHead};
use crate::crypto::{SigningKey, VerifyingKey};

/// The largest checkpoint, in bytes.
pub const MAX_LEN: usize = 64 << 10;

/// Why a checkpoint was not made or not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name can't be an origin or a key's name.
    #[error("an origin is 1 to 255 characters without white space, control characters and plus")]
    BadOrigin,
    /// The text of a verifier key is wrong.
    #[error("not a verifier key: expected <name>+<8 hex digits>+<base64 of an Ed25519 key>")]
    BadVerifierKey,
    /// Not a signed note, or its text is not a checkpoint.
    #[error("not a checkpoint: {0}")]
    Malformed(&'static str),
    /// A checkpoint of another log.
    #[error("the checkpoint is of another log than {expected}")]
    WrongOrigin {
        /// The log that was asked for.
        expected: String,
    },
    /// None of the known keys signed it.
    #[error("no known key signed the checkpoint")]
    UnknownKey,
    /// A known key is named, but the signature is not its own.
    #[error("the checkpoint's signature does not verify")]
    BadSignature,
}

/// A checkpoint whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// What it vouches for.
    pub head: TreeHead,
    /// Further lines, for other protocols; each ends with a newline.
    pub extension: String,
}

/// A log's public key under the log's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    origin: String,
    key: VerifyingKey,
    id: u32,
}

impl LogKey {
    /// The key of the log named `origin`.
    ///
    /// # Errors
    /// [`Error::BadOrigin`].
    pub fn new(origin: &str, key: VerifyingKey) -> Result<Self, Error> {
        check_origin(origin)?;
        let id = signed_note::key_id(origin, &typed(&key));
        Ok(Self { origin: origin.to_owned(), key, id })
    }

    /// Reads a verifier key, `<origin>+<key id>+<base64>`.
    ///
    /// # Errors
    /// [`Error::BadVerifierKey`], also where the key id is not the key's.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(origin), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::BadVerifierKey);
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_| Error::BadVerifierKey)?;
        let Some((&ALG_ED25519, key)) = key.split_first() else {
            return Err(Error::BadVerifierKey);
        };
        let key = <[u8; 32]>::try_from(key).map_err(|_| Error::BadVerifierKey)?;
        let key = Self::new(origin, VerifyingKey::from_bytes(key))?;
        if format!("{:08x}", key.id) == id { Ok(key) } else { Err(Error::BadVerifierKey) }
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The key itself, which also signs certificates of deletion.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.key
    }
}

/// The verifier key's text, as other tools take it.
impl std::fmt::Display for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = BASE64_STANDARD.encode(typed(&self.key));
        write!(f, "{}+{:08x}+{key}", self.origin, self.id)
    }
}

/// Signs the tree head of the log named `origin`.
///
/// # Errors
/// [`Error::BadOrigin`].
pub fn sign(origin: &str, head: &TreeHead, key: &SigningKey) -> Result<Vec<u8>, Error> {
    let text = Text::new(origin, head.size, TextHash(head.root.0), "")
        .map_err(|_| Error::BadOrigin)?
        .to_bytes();
    sign_note(origin, &text, key)
}

/// Signs any text under the log's name (C2SP signed-note). It must not be readable as a checkpoint.
pub(super) fn sign_note(origin: &str, text: &[u8], key: &SigningKey) -> Result<Vec<u8>, Error> {
    let log_key = LogKey::new(origin, key.verifying_key())?;
    let signature = Signature::new(origin.to_owned(), log_key.id, key.sign(text).to_vec())
        .map_err(|_| Error::BadOrigin)?;
    let note = Note::new(text, &[signature]).map_err(|_| Error::BadOrigin)?;
    Ok(note.to_bytes())
}

/// Checks a signed checkpoint against the keys of one log: at least one of them signed it, and no
/// signature by any of them is false.
///
/// # Errors
/// See [`Error`].
pub fn open(note: &[u8], keys: &[LogKey]) -> Result<Checkpoint, Error> {
    let note = open_note(note, keys)?;
    let text = Text::from_bytes(&note)
        .map_err(|_| Error::Malformed("its text is not origin, size and root"))?;
    if text.to_bytes() != note {
        return Err(Error::Malformed("its text is not in canonical form"));
    }
    if let Some(key) = keys.iter().find(|k| k.origin != text.origin()) {
        return Err(Error::WrongOrigin { expected: key.origin.clone() });
    }
    Ok(Checkpoint {
        origin: text.origin().to_owned(),
        head: TreeHead { size: text.size(), root: Hash(text.hash().0) },
        extension: text.extension().to_owned(),
    })
}

/// A size or an index as C2SP formats write it: decimal, without leading zeroes.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || text.starts_with(|c: char| ('1'..='9').contains(&c));
    text.parse().ok().filter(|_| canonical)
}

/// A line that holds one hash in base64.
pub(super) fn hash_line(line: &str) -> Option<Hash> {
    BASE64_STANDARD.decode(line).ok()?.try_into().ok().map(Hash)
}

/// The text of a note that at least one of the keys signed, and no signature by any of them is
/// false.
pub(super) fn open_note(note: &[u8], keys: &[LogKey]) -> Result<Vec<u8>, Error> {
    if note.len() > MAX_LEN {
        return Err(Error::Malformed("it is too long"));
    }
    let note = Note::from_bytes(note).map_err(|_| Error::Malformed("it is not a signed note"))?;
    note.verify(&Known(keys)).map_err(|e| match e {
        NoteError::InvalidSignature { .. } => Error::BadSignature,
        _ => Error::UnknownKey,
    })?;
    Ok(note.text().to_vec())
}

impl Verifier for LogKey {
    fn name(&self) -> &str {
        &self.origin
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, msg: &[u8], sig: &[u8]) -> bool {
        self.key.verify(msg, sig)
    }
}

struct Known<'a>(&'a [LogKey]);

impl Verifiers for Known<'_> {
    fn verifier(&self, name: &str, id: u32) -> Result<&dyn Verifier, VerificationError> {
        self.0
            .iter()
            .find(|k| k.origin == name && k.id == id)
            .map(|k| k as &dyn Verifier)
            .ok_or_else(|| VerificationError::UnknownKey { name: name.to_owned(), id })
    }
}

/// signed-note's algorithm byte for Ed25519.
const ALG_ED25519: u8 = 1;

fn typed(key: &VerifyingKey) -> Vec<u8> {
    let mut out = vec![ALG_ED25519];
    out.extend_from_slice(key.as_bytes());
    out
}

fn check_origin(origin: &str) -> Result<(), Error> {
    let fits = origin.len() <= 255 && !origin.chars().any(char::is_control);
    if fits && signed_note::is_key_name_valid(origin) { Ok(()) } else { Err(Error::BadOrigin) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::SeededEntropy;

    const ORIGIN: &str = "cameo.example/log";
    const HEAD: TreeHead = TreeHead { size: 4027, root: Hash([9; 32]) };

    fn key(seed: u64) -> SigningKey {
        SigningKey::generate(&SeededEntropy::new(seed)).unwrap()
    }

    fn log_key(seed: u64) -> LogKey {
        LogKey::new(ORIGIN, key(seed).verifying_key()).unwrap()
    }

    #[test]
    fn a_checkpoint_opens_and_another_implementation_agrees() {
        let note = sign(ORIGIN, &HEAD, &key(1)).unwrap();
        let keys = [log_key(2), log_key(1)];
        let opened = open(&note, &keys).unwrap();
        assert_eq!(
            opened,
            Checkpoint { origin: ORIGIN.into(), head: HEAD, extension: String::new() }
        );
        // signed_note's own verifier uses ed25519-dalek where ours uses ring.
        let theirs = signed_note::StandardVerifier::new(&keys[1].to_string()).unwrap();
        let list = signed_note::VerifierList::new(vec![Box::new(theirs)]);
        assert!(Note::from_bytes(&note).unwrap().verify(&list).is_ok());
        assert_eq!(LogKey::parse(&keys[1].to_string()).unwrap(), keys[1]);
    }

    #[test]
    fn each_cause_has_its_error() {
        let note = sign(ORIGIN, &HEAD, &key(1)).unwrap();
        assert_eq!(open(&note, &[log_key(2)]), Err(Error::UnknownKey));
        assert_eq!(open(&note, &[]), Err(Error::UnknownKey));
        let forged = String::from_utf8(note.clone()).unwrap().replace("4027", "4028");
        assert_eq!(open(forged.as_bytes(), &[log_key(1)]), Err(Error::BadSignature));
        assert!(matches!(open(b"hello", &[log_key(1)]), Err(Error::Malformed(_))));
        assert!(matches!(open(&vec![b'a'; MAX_LEN + 1], &[]), Err(Error::Malformed(_))));
        for origin in ["", "two words", "a+b", "line\nbreak", &"x".repeat(256)] {
            assert_eq!(sign(origin, &HEAD, &key(1)), Err(Error::BadOrigin), "{origin}");
        }
        for text in ["", "a+b", "cameo.example/log+00000000+AQ==", "x+y+z"] {
            assert!(LogKey::parse(text).is_err(), "{text}");
        }
        // The same key vouches for a text that names another log.
        let text = Text::new("other.example/log", 1, TextHash([0; 32]), "").unwrap().to_bytes();
        let k = key(1);
        let s = Signature::new(ORIGIN.into(), log_key(1).id, k.sign(&text).to_vec()).unwrap();
        let note = Note::new(&text, &[s]).unwrap().to_bytes();
        assert_eq!(open(&note, &[log_key(1)]), Err(Error::WrongOrigin { expected: ORIGIN.into() }));
    }

    proptest! {
        #[test]
        fn altered_or_random_notes_never_open(at in any::<prop::sample::Index>(), bit in 0u8..8, junk in "\\PC{0,20}\n[0-9]{1,20}\n\\PC{0,60}\n\n— \\PC{0,60}\n") {
            let good = sign(ORIGIN, &HEAD, &key(1)).unwrap();
            let mut bytes = good.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(open(&bytes, &[log_key(1)]).is_err());
            prop_assert!(open(junk.as_bytes(), &[log_key(1)]).is_err());
        }
    }
}
