//! The transparency log, as pure functions: what an entry is, how entries hash into a tree, how a
//! tree head is signed, and how all of it is checked.
//!
//! - [`entry`]: the entry format (`docs/log.md`, `docs/log.cddl`).
//! - [`commitment`]: salted commitments, the only trace of personal data in an entry.
//! - [`merkle`]: RFC 9162 §2.1 hashing and the frontier to which entries are appended.
//! - [`proof`]: inclusion and consistency proofs, made and verified.
//! - [`checkpoint`]: signed tree heads (C2SP tlog-checkpoint in a C2SP signed-note).
//! - [`replay`]: checks a whole log against its checkpoints and says where it breaks.
//!
//! Nothing here does I/O. The store keeps one row per entry (index, time, kind, entry bytes, leaf
//! hash) and one head row (size, [`Frontier`] bytes), both written in the transaction of the effect
//! that the entry records.

pub mod checkpoint;
pub mod commitment;
pub mod entry;
pub mod merkle;
pub mod proof;
pub mod replay;

pub use checkpoint::{Checkpoint, LogKey};
pub use commitment::Salt;
pub use entry::{Entry, Kind};
pub use merkle::{Frontier, Hash, TreeHead, leaf_hash};
pub use replay::Replay;
