//! A use receipt: proof that a use stands in the log. A generator can refuse a token without one, and
//! a person can prove a use with it offline, knowing the log's public key alone.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::ids::UseId;
use crate::tlog::entry::Attribute;
use crate::tlog::proof::{ProofError, verify_inclusion};
use crate::tlog::{Checkpoint, Entry, Hash, Kind, LogKey, checkpoint, leaf_hash};
use crate::token::Verified;

/// The receipt, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UseReceipt {
    /// The use.
    pub use_id: UseId,
    /// The entry's place in the log.
    pub index: u64,
    /// The entry's bytes, base64: CBOR as docs/log.md describes.
    pub entry: String,
    /// Sibling hashes from the leaf up, hexadecimal (RFC 9162 §2.1.3).
    pub proof: Vec<String>,
    /// The signed checkpoint that the proof leads to (C2SP tlog-checkpoint).
    pub checkpoint: String,
}

/// Why a receipt proves nothing about a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// A part of it is not of its form.
    #[error("the receipt is not of its form: {0}")]
    Malformed(&'static str),
    /// The checkpoint does not hold.
    #[error("the receipt's checkpoint: {0}")]
    Checkpoint(#[from] checkpoint::Error),
    /// The proof does not lead to the checkpoint.
    #[error("the receipt's proof: {0}")]
    Proof(#[from] ProofError),
    /// The entry is about something else.
    #[error("the receipt is not of this token: its entry has another {0}")]
    OtherToken(&'static str),
}

impl UseReceipt {
    /// Checks that the use of this token stands in the log of `key`.
    ///
    /// # Errors
    /// See [`Unproven`].
    pub fn verify(&self, token: &Verified, key: &LogKey) -> Result<Checkpoint, Unproven> {
        let bytes = BASE64_STANDARD.decode(&self.entry);
        let bytes = bytes.map_err(|_| Unproven::Malformed("its entry is not base64"))?;
        let hash = |text: &String| {
            let mut hash = [0; 32];
            hex::decode_to_slice(text, &mut hash)
                .map(|()| Hash(hash))
                .map_err(|_| Unproven::Malformed("a hash is not 64 hexadecimal digits"))
        };
        let proof: Vec<Hash> = self.proof.iter().map(hash).collect::<Result<_, _>>()?;
        let checkpoint = checkpoint::open(self.checkpoint.as_bytes(), std::slice::from_ref(key))?;
        verify_inclusion(&leaf_hash(&bytes), self.index, &checkpoint.head, &proof)?;
        let entry =
            Entry::decode(&bytes).map_err(|_| Unproven::Malformed("its entry does not decode"))?;
        if entry.kind != Kind::ResolveAllowed {
            return Err(Unproven::OtherToken("kind"));
        }
        let claims = &token.claims;
        let kid = token.key_id.to_string();
        for (label, ours) in [
            ("use", &claims.use_id),
            ("generator", &claims.audience),
            ("purpose", &claims.purpose),
            ("kid", &kid),
        ] {
            if entry.attributes.get(label) != Some(&Attribute::Text(ours.clone())) {
                return Err(Unproven::OtherToken(label));
            }
        }
        Ok(checkpoint)
    }
}
