//! 1:N search: whose enrolled vectors lie nearest to this one?
//!
//! An [`Index`] keeps compact codes of embeddings in memory and compares a query with *all* of
//! them: nothing is trained, no graph is built, and what was inserted is found at once.
//!
//! 1. **Sign bits.** A vector of [`PREFILTERED`] values or more is scanned by its signs first: the
//!    share of signs in which two vectors differ estimates the angle between them (Charikar 2002),
//!    with a standard deviation of `sqrt(p(1-p)/dim)`. The [`CANDIDATES`] with the fewest differing
//!    signs go on. Shorter vectors have too few signs for that and are as cheap to compare in full,
//!    so all of them go on.
//! 2. **Eight bits a value.** The candidates are ranked by the distance between the query in 12 bits
//!    a value and the stored vector in 8. Against the exact distance that errs by about 0.0003 for
//!    unit vectors of 512 values.
//!
//! A caller that keeps the vectors themselves elsewhere compares the best few again; the service
//! does so with the sealed templates.
//!
//! Memory per vector of `d` values: `d` bytes of values, `d / 8` of signs where it is prefiltered,
//! 8 for scale and length, 16 for the key, and about 40 in the map of keys: 640 bytes at 512
//! values, 192 at 128. It is given in blocks that never move, so nothing is left behind by growth,
//! and it is overwritten when a vector is removed.
//!
//! The room is pure: no I/O, no clock, no lock. Readers share an index by reference.

mod code;
mod index;
mod kernel;
#[cfg(test)]
mod tests;

pub use index::{CANDIDATES, Hit, Index, Key, MAX_DIM, PREFILTERED, Refused};
