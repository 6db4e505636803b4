//! Identifiers.
//!
//! Our own ids are a short prefix and a [ULID](https://github.com/ulid/spec): sortable by creation
//! time, 80 random bits, safe in URLs. Ids that the app gives us (subjects, requesters) are opaque
//! strings of a bounded alphabet.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::env::{Clock, Entropy, random};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix or the ULID behind it is wrong.
    #[error("not a {kind} id: expected `{prefix}_` and 26 characters of Crockford base 32")]
    Malformed {
        /// What was expected.
        kind: &'static str,
        /// The prefix that such an id starts with.
        prefix: &'static str,
    },
    /// An app-given id is empty, too long, or has a character outside the alphabet.
    #[error("{kind} must be 1 to {max} characters of A-Z a-z 0-9 . _ : @ -")]
    External {
        /// What was expected.
        kind: &'static str,
        /// The longest that is taken.
        max: usize,
    },
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A new id.
            pub fn new(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                Self(mint($prefix, clock, entropy))
            }

            /// The text form.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The ULID behind the prefix.
            pub fn to_bytes(&self) -> [u8; 16] {
                let text = self.0.get($prefix.len() + 1..).unwrap_or_default();
                ulid::Ulid::from_string(text).map_or([0; 16], |u| u.0.to_be_bytes())
            }

            /// What [`Self::to_bytes`] gave.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(format!("{}_{}", $prefix, ulid::Ulid(u128::from_be_bytes(bytes))))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                parse(s, $kind, $prefix).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(s: String) -> Result<Self, IdError> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One verification session: a challenge and the attempts to meet it.
    VerificationId, "verification", "ver"
);
id!(
    /// An enrolled identity that generators can ask for.
    CameoId, "cameo", "cam"
);
id!(
    /// One permitted use of a cameo: the token's `cti`.
    UseId, "use", "use"
);
id!(
    /// A grant to one person, besides the standing permissions.
    GrantId, "grant", "gra"
);
id!(
    /// Somebody's request to use a cameo.
    RequestId, "request", "req"
);
id!(
    /// Several cameos that were resolved together.
    SceneId, "scene", "sce"
);
id!(
    /// A person's objection to a use.
    TakedownId, "take-down", "tkd"
);
id!(
    /// A message to a generator.
    MessageId, "message", "msg"
);
id!(
    /// An API key's public part.
    ApiKeyId, "API key", "key"
);
id!(
    /// A face that nobody may enrol.
    ProtectedId, "protected face", "pro"
);
id!(
    /// A request to open one person's entries in the log to an auditor.
    DisclosureId, "disclosure", "dis"
);

macro_rules! external_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                let ok = (1..=EXTERNAL_MAX).contains(&s.len())
                    && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@-".contains(&b));
                if ok {
                    Ok(Self(s.to_owned()))
                } else {
                    Err(IdError::External { kind: $kind, max: EXTERNAL_MAX })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(s: String) -> Result<Self, IdError> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        /// Names a person in somebody else's system, so it is not printed.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

/// The longest app-given id, in bytes.
pub const EXTERNAL_MAX: usize = 128;

external_id!(
    /// The app's own name for a person. Personal data: never logged.
    SubjectId, "subject id"
);

fn mint(prefix: &str, clock: &dyn Clock, entropy: &dyn Entropy) -> String {
    let ms = u64::try_from(clock.now().0).unwrap_or(0);
    let mut low = [0; 16];
    low[6..].copy_from_slice(&random::<10>(entropy));
    let ulid = ulid::Ulid::from_parts(ms, u128::from_be_bytes(low));
    format!("{prefix}_{ulid}")
}

fn parse(s: &str, kind: &'static str, prefix: &'static str) -> Result<String, IdError> {
    let malformed = IdError::Malformed { kind, prefix };
    let rest = s.strip_prefix(prefix).and_then(|r| r.strip_prefix('_'));
    let Some(rest) = rest else { return Err(malformed) };
    match ulid::Ulid::from_string(rest) {
        // Only the canonical spelling: an id is compared and indexed as text.
        Ok(u) if u.to_string() == rest => Ok(s.to_owned()),
        _ => Err(malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{ManualClock, Millis, SeededEntropy};

    #[test]
    fn ids_round_trip_and_sort_by_time() {
        let clock = ManualClock::at(Millis(1_700_000_000_000));
        let rng = SeededEntropy::new(1);
        let a = VerificationId::new(&clock, &rng);
        clock.advance(std::time::Duration::from_millis(1));
        let b = VerificationId::new(&clock, &rng);
        assert!(a < b);
        assert_eq!(a.as_str().parse::<VerificationId>(), Ok(a.clone()));
        assert!(a.as_str().parse::<CameoId>().is_err());
        assert_eq!(VerificationId::from_bytes(a.to_bytes()), a);
        assert!(a.as_str().to_lowercase().parse::<VerificationId>().is_err());
    }

    #[test]
    fn app_given_ids_keep_to_their_alphabet() {
        assert!("user:42@example".parse::<SubjectId>().is_ok());
        for bad in ["", "a b", "ü", "a/b", &"x".repeat(129)] {
            assert!(bad.parse::<SubjectId>().is_err(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", "bob".parse::<SubjectId>().unwrap()), "SubjectId(…)");
    }
}
