//! Log entries: `docs/log.md` describes the format, `docs/log.cddl` defines it.
//!
//! An entry says that something happened: its kind, its time, public attributes that say nothing
//! about a person (an outcome, a purpose, the name of a rule, a key id), and commitments to what
//! is personal. Attribute values are short and of a small alphabet, so that free text, and with
//! it personal data, has no place to slip into.

use std::collections::BTreeMap;

use super::Hash;
use crate::crypto::cbor::{self, Fields, Value};
use crate::env::Millis;

/// The version of the entry format that this code writes and reads.
pub const VERSION: u64 = 1;
/// The longest entry in bytes: C2SP tlog-tiles gives it a 16-bit length.
pub const MAX_LEN: usize = 65_535;
/// The most attributes, and the most commitments, of one entry.
pub const MAX_FIELDS: usize = 16;

/// Why an entry is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not deterministic CBOR, or too long.
    #[error("log entry: {0}")]
    Encoding(#[from] cbor::Error),
    /// CBOR, but not an entry.
    #[error("not a log entry: {0}")]
    Malformed(&'static str),
    /// An entry of another version of the format.
    #[error("the log entry has version {0}; this program reads version {VERSION}")]
    UnknownVersion(u64),
    /// A kind of entry that this version of the format does not have.
    #[error("unknown kind of log entry: {0}")]
    UnknownKind(u64),
    /// An attribute's or a commitment's label is not 1 to 32 of a-z 0-9 _ starting with a letter.
    #[error("a label is 1 to 32 of a-z 0-9 _ and starts with a letter")]
    BadLabel,
    /// An attribute's value is not 1 to 128 of A-Z a-z 0-9 . _ : / + -
    #[error("the value of the attribute {0} is not 1 to 128 of A-Z a-z 0-9 . _ : / + -")]
    BadValue(String),
    /// More than [`MAX_FIELDS`].
    #[error("a log entry has at most {MAX_FIELDS} attributes and {MAX_FIELDS} commitments")]
    TooManyFields,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal),* $(,)?) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The number in the encoding. Numbers are never used again.
            pub fn number(self) -> u64 {
                match self { $(Self::$name => $number),* }
            }

            /// The name in JSON and in the database.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

kinds! {
    /// A person gave consent.
    ConsentGiven = 1 "consent_given",
    /// A person changed what they allow.
    ConsentChanged = 2 "consent_changed",
    /// A person withdrew consent.
    ConsentWithdrawn = 3 "consent_withdrawn",
    /// A verification got its verdict.
    Verdict = 4 "verdict",
    /// A use was allowed and a token issued.
    ResolveAllowed = 5 "resolve_allowed",
    /// A use was refused.
    ResolveDenied = 6 "resolve_denied",
    /// A reviewer decided.
    Review = 7 "review",
    /// A signing key was added or retired.
    KeyRotation = 8 "key_rotation",
    /// An API key was created.
    ApiKeyCreated = 9 "api_key_created",
    /// An API key was revoked.
    ApiKeyRevoked = 10 "api_key_revoked",
    /// An administrator did something else.
    Admin = 11 "admin",
    /// Data was destroyed: by schedule, on withdrawal or on request.
    Retention = 12 "retention",
    /// A person gave a grant to another.
    GrantGiven = 20 "grant_given",
    /// A person took a grant back.
    GrantRevoked = 21 "grant_revoked",
    /// A text that people are shown was kept.
    ConsentText = 22 "consent_text",
    /// Everything that is kept of a person was handed out.
    DataExported = 23 "data_exported",
    /// A person froze their cameo.
    CameoFrozen = 30 "cameo_frozen",
    /// A person ended the freeze.
    CameoThawed = 31 "cameo_thawed",
    /// A cameo was deleted and its person's key destroyed.
    CameoDeleted = 32 "cameo_deleted",
    /// A generator reported what became of a use.
    UseOutcome = 33 "use_outcome",
    /// A person objected to a use.
    TakedownRequested = 34 "takedown_requested",
    /// A generator answered an objection.
    TakedownAnswered = 35 "takedown_answered",
    /// A generator did not answer in time.
    TakedownEscalated = 36 "takedown_escalated",
    /// A generator's key or webhook changed.
    GeneratorKey = 37 "generator_key",
    /// An auditor read more than what everyone may: a search for a person, an export, a report.
    AuditRead = 40 "audit_read",
    /// A person's entries were opened to an auditor: asked for, approved, or read.
    Disclosure = 41 "disclosure",
}

impl Kind {
    /// The kind with this number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.number() == number)
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.name() == name)
    }
}

/// A public attribute's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// 1 to 128 of `A-Z a-z 0-9 . _ : / + -`.
    Text(String),
    /// An unsigned number.
    Number(u64),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub kind: Kind,
    /// When, by the service's clock.
    pub time: Millis,
    /// Public attributes by label.
    pub attributes: BTreeMap<String, Attribute>,
    /// Commitments by label; see [`super::commitment`].
    pub commitments: BTreeMap<String, Hash>,
}

impl Entry {
    /// An entry without attributes and commitments.
    pub fn new(kind: Kind, time: Millis) -> Self {
        Self { kind, time, attributes: BTreeMap::new(), commitments: BTreeMap::new() }
    }

    /// Adds a public attribute. It must not say anything about a person.
    #[must_use]
    pub fn with(mut self, label: &str, value: impl Into<Attribute>) -> Self {
        self.attributes.insert(label.to_owned(), value.into());
        self
    }

    /// Adds a commitment made by [`super::commitment::commit`] with the same label.
    #[must_use]
    pub fn committing(mut self, label: &str, commitment: Hash) -> Self {
        self.commitments.insert(label.to_owned(), commitment);
        self
    }

    /// The entry's bytes: what is hashed into the tree.
    ///
    /// # Errors
    /// [`Error::BadLabel`], [`Error::BadValue`], [`Error::TooManyFields`],
    /// [`Error::Malformed`] for a time before 1970.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        self.validate()?;
        let attributes = self.attributes.iter().map(|(label, value)| {
            let value = match value {
                Attribute::Text(text) => Value::Text(text.clone()),
                Attribute::Number(n) => Value::from(*n),
            };
            (Value::Text(label.clone()), value)
        });
        let commitments = self
            .commitments
            .iter()
            .map(|(label, hash)| (Value::Text(label.clone()), Value::Bytes(hash.0.to_vec())));
        Ok(cbor::encode(&Value::Map(vec![
            (Value::from(VER), Value::from(VERSION)),
            (Value::from(KIND), Value::from(self.kind.number())),
            (Value::from(TIME), Value::from(self.time.0)),
            (Value::from(ATTRIBUTES), Value::Map(attributes.collect())),
            (Value::from(COMMITMENTS), Value::Map(commitments.collect())),
        ])))
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// See [`Error`]. Exactly what [`encode`](Self::encode) writes is accepted.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::of(cbor::decode(bytes, MAX_LEN)?).ok_or(Error::Malformed("no map"))?;
        let mut number =
            |key, what| f.take(key).as_ref().and_then(cbor::uint).ok_or(Error::Malformed(what));
        let version = number(VER, "no version")?;
        if version != VERSION {
            return Err(Error::UnknownVersion(version));
        }
        let kind = number(KIND, "no kind")?;
        let kind = Kind::from_number(kind).ok_or(Error::UnknownKind(kind))?;
        let time = i64::try_from(number(TIME, "no time")?)
            .map_err(|_| Error::Malformed("its time is out of range"))?;
        let attributes = labelled(f.take(ATTRIBUTES), |value| match value {
            Value::Text(text) => Some(Attribute::Text(text)),
            other => cbor::uint(&other).map(Attribute::Number),
        })?;
        let commitments =
            labelled(f.take(COMMITMENTS), |value| cbor::byte_array(&value).map(Hash))?;
        if !f.is_empty() {
            return Err(Error::Malformed("it has a field that version 1 does not have"));
        }
        let entry = Self { kind, time: Millis(time), attributes, commitments };
        entry.validate()?;
        Ok(entry)
    }

    fn validate(&self) -> Result<(), Error> {
        if self.time.0 < 0 {
            return Err(Error::Malformed("its time is before 1970"));
        }
        if self.attributes.len() > MAX_FIELDS || self.commitments.len() > MAX_FIELDS {
            return Err(Error::TooManyFields);
        }
        if !self.attributes.keys().chain(self.commitments.keys()).all(|l| is_label(l)) {
            return Err(Error::BadLabel);
        }
        for (label, value) in &self.attributes {
            if matches!(value, Attribute::Text(text) if !is_value(text)) {
                return Err(Error::BadValue(label.clone()));
            }
        }
        Ok(())
    }
}

/// Whether `label` may name an attribute or a commitment: 1 to 32 of `a-z 0-9 _`, a letter first.
pub fn is_label(label: &str) -> bool {
    label.len() <= 32
        && label.starts_with(|c: char| c.is_ascii_lowercase())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_value(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/+-".contains(&b))
}

fn labelled<T>(
    map: Option<Value>,
    read: impl Fn(Value) -> Option<T>,
) -> Result<BTreeMap<String, T>, Error> {
    let map = map
        .and_then(|v| v.into_map().ok())
        .ok_or(Error::Malformed("attributes or commitments are missing"))?;
    if map.len() > MAX_FIELDS {
        return Err(Error::TooManyFields);
    }
    map.into_iter()
        .map(|(label, value)| {
            let label = label.into_text().map_err(|_| Error::BadLabel)?;
            let value = read(value)
                .ok_or(Error::Malformed("an attribute or commitment has a wrong type"))?;
            Ok((label, value))
        })
        .collect()
}

const VER: i64 = 1;
const KIND: i64 = 2;
const TIME: i64 = 3;
const ATTRIBUTES: i64 = 4;
const COMMITMENTS: i64 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> Entry {
        Entry::new(Kind::ResolveDenied, Millis(1_700_000_000_000))
            .with("purpose", "advertising")
            .with("rule", "purpose_not_allowed")
            .with("consent_version", 3)
            .committing("subject", Hash([7; 32]))
    }

    #[test]
    fn an_entry_reads_back() {
        let bytes = entry().encode().unwrap();
        assert_eq!(Entry::decode(&bytes).unwrap(), entry());
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind.number()), Some(*kind));
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        }
    }

    #[test]
    fn free_text_has_no_place() {
        for text in ["", "Jane Doe", "jane@example", &"x".repeat(129), "é"] {
            assert!(
                matches!(entry().with("who", text).encode(), Err(Error::BadValue(_))),
                "{text}"
            );
        }
        for label in ["", "Who", "1st", "a b", &"x".repeat(33)] {
            assert_eq!(entry().with(label, 1).encode(), Err(Error::BadLabel), "{label}");
            assert_eq!(entry().committing(label, Hash([0; 32])).encode(), Err(Error::BadLabel));
        }
        let crowded = (0..17).fold(entry(), |e, i| e.with(&format!("a{i}"), i));
        assert_eq!(crowded.encode(), Err(Error::TooManyFields));
        assert!(Entry::new(Kind::Admin, Millis(-1)).encode().is_err());
    }

    #[test]
    fn the_largest_entry_fits_a_tile() {
        let label = |i: usize| format!("{}{i:02}", "x".repeat(30));
        let full = (0..MAX_FIELDS).fold(Entry::new(Kind::Admin, Millis(i64::MAX)), |e, i| {
            e.with(&label(i), "v".repeat(128)).committing(&label(i), Hash([1; 32]))
        });
        assert!(full.encode().unwrap().len() <= MAX_LEN);
    }

    #[test]
    fn other_versions_and_kinds_are_named() {
        let with = |key: usize, value: u64| {
            let mut map = cbor::decode(&entry().encode().unwrap(), MAX_LEN).unwrap();
            map.as_map_mut().unwrap()[key].1 = Value::from(value);
            Entry::decode(&cbor::encode(&map))
        };
        assert_eq!(with(0, 2), Err(Error::UnknownVersion(2)));
        assert_eq!(with(1, 99), Err(Error::UnknownKind(99)));
        assert!(matches!(Entry::decode(&[0xa0]), Err(Error::Malformed(_))));
        assert!(matches!(Entry::decode(&vec![0; MAX_LEN + 1]), Err(Error::Encoding(_))));
    }

    proptest! {
        #[test]
        fn accepted_bytes_are_what_encode_writes(at in any::<prop::sample::Index>(), bit in 0u8..8, junk in proptest::collection::vec(any::<u8>(), 0..99)) {
            let mut bytes = entry().encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            for bytes in [bytes, junk] {
                if let Ok(e) = Entry::decode(&bytes) {
                    prop_assert_eq!(e.encode().unwrap(), bytes);
                }
            }
        }
    }
}
