//! Keys, signatures, sealing and the encodings they need. The only room that names `ring`.
//!
//! - [`hash`]: SHA-256, HMAC and HKDF.
//! - [`cbor`]: deterministic CBOR (RFC 8949 §4.2.1), written and read strictly.
//! - [`seal`]: the AES-256-GCM envelope and its associated data.
//! - [`master`]: the master key, key wrapping and the per-subject data keys.
//! - [`signing`]: Ed25519 keys; [`keyring`]: which one signs when; [`keyset`]: how verifiers get them.
//! - [`cose`]: messages of the type `COSE_Sign1`; [`encrypt`]: of the type `COSE_Encrypt0`.
//! - [`hpke`]: sealing to a recipient's public key.
//! - [`apikey`]: API key secrets.
//!
//! Nothing here prints a secret: every type that holds one has a redacted `Debug` and is wiped
//! when dropped.

pub mod apikey;
pub mod cbor;
pub mod cose;
pub mod encrypt;
pub mod hash;
pub mod hpke;
pub mod keyring;
pub mod keyset;
pub mod master;
pub mod seal;
pub mod signing;

pub use self::hpke::{RecipientKey, RecipientSecret};
pub use keyring::Keyring;
pub use keyset::KeySet;
pub use master::{KeyWrap, MasterKey, MasterKeys, SubjectKey};
pub use seal::Aad;
pub use signing::{KeyId, SigningKey, VerifyingKey};

/// Why a key or a sealed value could not be used. No variant carries key material or plaintext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text or bytes given as a key are not one.
    #[error("{what} is not usable as a key: {why}")]
    BadKey {
        /// Which key.
        what: &'static str,
        /// What is wrong with it and what to do.
        why: &'static str,
    },
    /// The sealed value was made by a later version of this program, or is not a sealed value.
    #[error(
        "unknown sealed-value format {0:#04x}; it needs a later version, or is not sealed data"
    )]
    UnknownFormat(u8),
    /// The sealed value is cut short.
    #[error("sealed value is too short to be whole")]
    Truncated,
    /// More bytes than one sealed value may hold.
    #[error("{len} bytes are too many for one sealed value (at most {max})")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The value was wrapped by a master key that is not configured here.
    #[error("wrapped by master key {0}, which is not configured; add it as a previous master key")]
    UnknownMasterKey(master::KekId),
    /// Authentication failed: another key, other associated data, or altered bytes.
    #[error("sealed value does not authenticate: wrong key, wrong owner, or altered bytes")]
    NotAuthentic,
}
