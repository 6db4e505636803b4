//! The transparency log: what an entry is, how entries hash into a tree, how a tree head is signed
//! and cosigned, how all of it is published as tiles, and how it is checked.
//!
//! - [`entry`]: the entry format (`docs/log.md`, `docs/log.cddl`).
//! - [`commitment`]: salted commitments, the only trace of personal data in an entry.
//! - [`merkle`]: RFC 9162 §2.1 hashing and the frontier to which entries are appended.
//! - [`proof`]: inclusion and consistency proofs, made and verified.
//! - [`checkpoint`]: signed tree heads (C2SP tlog-checkpoint in a C2SP signed-note).
//! - [`witness`]: cosignatures, and the protocol by which they are got (C2SP tlog-witness).
//! - [`tile`], [`publish`], [`prover`]: the log as static tiles (C2SP tlog-tiles), and proofs from them.
//! - [`proof_file`]: proofs to take along (C2SP tlog-proof).
//! - [`filter`], [`export`]: what auditors ask for, and files of it that can be checked alone.
//! - [`replay`]: checks a whole log against its checkpoints and says where it breaks; [`check`] does
//!   so from what is published alone.
//!
//! Only [`publish::Folder`] does I/O: it keeps tiles as files. The store keeps one row per entry (index, time, kind, entry bytes, leaf
//! hash) and one head row (size, [`Frontier`] bytes), both written in the transaction of the effect
//! that the entry records.

pub mod check;
pub mod checkpoint;
pub mod commitment;
pub mod entry;
pub mod export;
pub mod filter;
pub mod merkle;
pub mod proof;
pub mod proof_file;
pub mod prover;
pub mod publish;
pub mod replay;
pub mod tile;
pub mod witness;

pub use checkpoint::{Checkpoint, LogKey};
pub use commitment::Salt;
pub use entry::{Entry, Kind};
pub use filter::Filter;
pub use merkle::{Frontier, Hash, TreeHead, leaf_hash};
pub use prover::Prover;
pub use replay::Replay;
